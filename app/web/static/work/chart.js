// The course of a training: losses, and quality on the split that it is measured on.

import { el, svg } from "../dom.js";

const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [440, 190, 46, 12, 12, 26];

/** Two charts of a curve as a job tells it, or null while there is nothing to draw. */
export function curves({ losses, quality }) {
  const charts = [
    chart("Loss", losses, (value) => value.toFixed(value < 10 ? 2 : 0), false),
    chart("Quality on held-out people, %", pick(quality), (value) => value.toFixed(1), true),
  ].filter(Boolean);
  return charts.length > 0 ? el("div", { className: "curves" }, charts) : null;
}

/** R@1 and mAP tell enough. */
function pick(quality) {
  const chosen = Object.entries(quality).filter(([name]) => ["R@1", "mAP"].includes(name));
  return Object.fromEntries(chosen.length > 0 ? chosen : Object.entries(quality).slice(0, 2));
}

function chart(title, lines, tell, dots) {
  const names = Object.keys(lines).filter((name) => lines[name].length > 0);
  if (names.length === 0) return null;
  const points = names.flatMap((name) => lines[name]);
  const [steps, values] = [points.map(([step]) => step), points.map(([, value]) => value)];
  // A loss is seen against nothing; percentages that hardly differ would be one line against 0.
  const low = dots ? Math.max(0, Math.floor(Math.min(...values) - 2)) : Math.min(0, ...values);
  const high = dots ? Math.min(100, Math.ceil(Math.max(...values) + 1)) : Math.max(...values);
  const last = Math.max(...steps, 1);
  const x = (step) => LEFT + ((WIDTH - LEFT - RIGHT) * step) / last;
  const y = (value) => HEIGHT - BOTTOM - ((HEIGHT - TOP - BOTTOM) * (value - low)) / (high - low || 1);
  const grid = [low, (low + high) / 2, high].flatMap((value) => [
    svg("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value), class: "grid" }),
    svg("text", { x: LEFT - 6, y: y(value) + 4, class: "tick end" }, tell(value)),
  ]);
  const ends = [[0, "0"], [last, `step ${last}`]].map(([step, text]) => svg("text", { x: x(step), y: HEIGHT - 8, class: step === 0 ? "tick start" : "tick end" }, text));
  const drawn = names.flatMap((name, index) => [
    svg("polyline", { points: lines[name].map(([step, value]) => `${x(step)},${y(value)}`).join(" "), class: `line line-${index}` }),
    ...(dots ? lines[name].map(([step, value]) => svg("circle", { cx: x(step), cy: y(value), r: 3, class: `dot line-${index}` })) : []),
  ]);
  const told = names.map((name) => `${name} ${tell(lines[name].at(-1)[1])}`).join(", ");
  return el("figure", { className: "curve" },
    el("figcaption", {}, title),
    svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${title}, up to step ${last}; now ${told}` }, ...grid, ...ends, ...drawn),
    el("ul", { className: "legend", role: "list" }, names.map((name, index) => el("li", {}, el("span", { className: `key line-${index}`, ariaHidden: "true" }), `${name} `, el("strong", {}, tell(lines[name].at(-1)[1]))))));
}
