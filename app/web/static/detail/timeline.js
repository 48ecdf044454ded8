// Where and when a person was seen: a line for each camera, a mark for each sighting.

import { button, el, svg } from "../dom.js";
import * as format from "../format.js";
import { hint } from "../messages.js";

const [WIDTH, LANE, LEFT, RIGHT, TOP, FOOT] = [900, 30, 190, 30, 12, 30];
const MOST_LANES = 14;
const NAME_CHARS = 24;

/** The section of a timeline. `onChoose(imageIds)` is called for the sighting that was chosen. */
export function timeline(times, onChoose) {
  const cameras = [...new Set(times.sightings.map(placeOf))];
  const rows = times.sightings.map((sighting) => el("li", {},
    button([sighting.camera ?? "Unknown camera", format.span(sighting.first_at, sighting.last_at)].join(", "), () => onChoose(sighting.image_ids), { className: "textual" }),
    el("span", { className: "hint" }, format.count(sighting.image_ids.length, "image", "images"))));
  const undated = times.undated.reduce((sum, group) => sum + group.image_ids.length, 0);
  return el("section", { className: "timeline", ariaLabel: "Timeline" },
    el("h3", {}, `Seen ${format.count(times.sightings.length, "time", "times")} by ${format.count(cameras.length, "camera", "cameras")}`),
    el("div", { className: "chart-room" }, drawn(times, cameras.slice(0, MOST_LANES), onChoose)),
    cameras.length > MOST_LANES ? hint(`The drawing has the first ${MOST_LANES} cameras; the list has all.`) : null,
    undated > 0 ? hint(`Of ${format.count(undated, "image", "images")} nobody knows when they were taken.`) : null,
    times.next_cursor === null ? null : hint("Only the first 200 sightings are shown."),
    el("details", {}, el("summary", {}, "As a list"), el("ol", { className: "sightings" }, rows)));
}

function placeOf({ collection, camera }) {
  return JSON.stringify([collection, camera]);
}

function drawn(times, cameras, onChoose) {
  const [first, last] = [Date.parse(times.first_at), Date.parse(times.last_at)];
  const length = Math.max(1, last - first);
  const x = (moment) => LEFT + ((WIDTH - LEFT - RIGHT) * (moment - first)) / length;
  const y = (index) => TOP + LANE * (index + 0.5);
  const height = TOP + LANE * cameras.length + FOOT;
  const lanes = cameras.flatMap((place, index) => {
    const name = JSON.parse(place)[1] ?? "Unknown camera";
    const short = name.length > NAME_CHARS ? `${name.slice(0, NAME_CHARS - 1)}…` : name;
    return [svg("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(index), y2: y(index), class: "lane" }),
      svg("text", { x: LEFT - 12, y: y(index) + 4, class: "lane-name" }, short)];
  });
  const marks = times.sightings.filter((sighting) => cameras.includes(placeOf(sighting))).map((sighting) => {
    const row = cameras.indexOf(placeOf(sighting));
    const [from, to] = [x(Date.parse(sighting.first_at)), x(Date.parse(sighting.last_at))];
    const mark = svg("rect", { x: from - 7, y: y(row) - 7, width: to - from + 14, height: 14, rx: 7, class: "mark" },
      svg("title", {}, `${sighting.camera ?? "Unknown camera"}, ${format.span(sighting.first_at, sighting.last_at)}`));
    mark.addEventListener("click", () => onChoose(sighting.image_ids));
    return mark;
  });
  const path = times.sightings.filter((sighting) => cameras.includes(placeOf(sighting)))
    .map((sighting) => `${x(Date.parse(sighting.first_at))},${y(cameras.indexOf(placeOf(sighting)))}`).join(" ");
  const ticks = axis(first, last).map((moment) => svg("text", { x: x(moment), y: height - 8, class: "tick" }, tick(moment, last - first)));
  // The list beside it says the same to whoever does not see it.
  return svg("svg", { viewBox: `0 0 ${WIDTH} ${height}`, class: "timeline-chart", "aria-hidden": "true", focusable: "false" },
    ...lanes, svg("polyline", { points: path, class: "route" }), ...marks, ...ticks);
}

function axis(first, last) {
  if (last - first < 1000) return [first];
  return [0, 1 / 3, 2 / 3, 1].map((part) => first + (last - first) * part);
}

function tick(moment, length) {
  const date = new Date(moment);
  if (length > 3 * 86_400_000) return format.day(date);
  return length > 12 * 3_600_000 ? format.instant(date) : format.clock(date);
}
