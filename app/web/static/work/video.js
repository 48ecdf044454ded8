// A video: what is asked before it is uploaded, and what its job found in it.

import { button, el, field } from "../dom.js";
import * as format from "../format.js";
import { hint } from "../messages.js";

export const VIDEOS_PATH = "/v1/gallery/videos";
const CAMERA_CHARS = 200;
const LOST = 20;
const FOUND = [["tracks", "Tracks found"], ["ingested", "Crops taken in"], ["duplicate", "Duplicates"], ["rejected", "Refused"], ["frames", "Frames looked at"]];

/** Asks which camera took a video, and when. `onReady({camera, start})`: both may be empty. */
export function videoForm(file, collection, onReady) {
  const camera = el("input", { type: "text", maxLength: CAMERA_CHARS, autocomplete: "off" });
  const start = el("input", { type: "datetime-local", step: "1" });
  const form = el("form", { className: "panel-card", ariaLabel: `Video ${file.name}` },
    el("div", { className: "card-head" }, el("h3", {}, `${file.name} into ${collection}`), hint(format.bytes(file.size))),
    el("div", { className: "filter-grid" }, field("Camera", camera, "May be left out."),
      field("Time of the first frame", start, "In your time zone. Left out, it is what the file or its name says.")),
    el("div", { className: "actions" }, el("button", { type: "submit", className: "primary" }, "Upload the video"), button("Not this video", () => form.remove())));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    onReady({ camera: camera.value.trim(), start: start.value ? new Date(start.value).toISOString() : "" });
  });
  return form;
}

/** What a job has found so far, and the parts of the video that cannot be decoded; null before it has looked. */
export function videoFacts({ progress, state }) {
  if (!progress || progress.frames === undefined) return null;
  const lost = progress.lost ?? [];
  const rows = FOUND.map(([name, text]) => el("div", { className: progress[name] > 0 ? name : `${name} none` }, el("dt", {}, text), el("dd", {}, format.number(progress[name] ?? 0))));
  return el("div", { className: "outcome-room" }, el("dl", { className: "counts" }, rows),
    state === "succeeded" && progress.tracks === 0 ? hint("Nobody was found who walks or stands before the camera.") : null,
    lost.length > 0 ? el("div", { className: "outcome warn" }, el("strong", {}, `${format.count(lost.length, "part", "parts")} of the video cannot be decoded; the rest is taken.`),
      el("ul", {}, lost.slice(0, LOST).map(({ from_s: from, to_s: to }) => el("li", {}, `${clock(from)} to ${clock(to)}`)),
        lost.length > LOST ? el("li", {}, `and ${format.number(lost.length - LOST)} more`) : null)) : null);
}

/** Seconds as 1:02:03.4. */
function clock(seconds) {
  const [hours, minutes, rest] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, (seconds % 60).toFixed(1)];
  return `${hours > 0 ? `${hours}:${String(minutes).padStart(2, "0")}` : minutes}:${rest.padStart(4, "0")}`;
}
