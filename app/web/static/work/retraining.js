// A retraining: what it is made from, what it would be, and its start.

import * as api from "../api.js";
import { button, el, field } from "../dom.js";
import * as format from "../format.js";
import { failure, hint } from "../messages.js";

const PLAN_MS = 180_000; // a step may be tried to estimate the pace
const METHODS = [["", "The recipe's (DGCMIA)"], ["clip_baseline", "CLIP baseline"], ["dgcmia", "DGCMIA"], ["hkgr", "HKGR"], ["lgur", "LGUR"], ["hpl", "HPL"]];

/** The section. `onQueued(job)` is called when one was asked for. */
export function retraining(models, { signal, onQueued }) {
  const name = el("input", { type: "text", maxLength: 200, autocomplete: "off" });
  const method = el("select", {}, METHODS.map(([value, text]) => el("option", { value }, text)));
  const base = el("select", {}, [["", "The active one"], ...(models?.models ?? []).map((one) => [String(one.id), one.name])].map(([value, text]) => el("option", { value }, text)));
  const epochs = el("input", { type: "number", min: "1", max: "1000", inputMode: "numeric" });
  const feedback = el("input", { type: "checkbox" });
  const auto = el("input", { type: "checkbox" });
  const told = el("div", { className: "told" });
  const check = button("Check and estimate", () => void ask(true));
  const start = el("button", { type: "submit", className: "primary" }, "Start the retraining");

  function body(dryRun) {
    return {
      name: name.value.trim() || null, method: method.value || null, base: base.value ? Number(base.value) : null,
      set: epochs.value ? [`schedule.epochs=${Number(epochs.value)}`] : [], feedback: feedback.checked,
      activate: auto.checked ? "auto" : "manual", dry_run: dryRun,
    };
  }

  async function ask(dryRun) {
    [check.disabled, start.disabled] = [true, true];
    told.replaceChildren(hint(dryRun ? "Checking; a step may be tried …" : "Checking …"));
    try {
      const answer = await api.send("POST", "/v1/admin/retraining-jobs", body(dryRun), signal, PLAN_MS);
      told.replaceChildren(...(dryRun ? [plan(answer)] : []));
      if (!dryRun) onQueued(answer);
    } catch (error) {
      if (error.name !== "AbortError") told.replaceChildren(failure(api.asProblem(error)));
    }
    [check.disabled, start.disabled] = [false, false];
  }

  const form = el("form", { className: "retraining" },
    el("div", { className: "filter-grid" }, field("Name of the candidate", name, "retrained-… if it is left out."), field("Go on from", base),
      field("Method", method, "DGCMIA needs no identities."), field("Epochs", epochs, "The recipe's if it is left out.")),
    el("label", { className: "choice" }, feedback, el("span", {}, "Learn also from confirmed candidates of searches")),
    el("label", { className: "choice" }, auto, el("span", {}, "Let the candidate answer at once if the gate accepts it")),
    told, el("div", { className: "actions" }, start, check));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void ask(false);
  });
  return el("section", { className: "panel-card", ariaLabel: "Retraining" }, el("h2", {}, "Retraining"),
    hint("Learns this gallery's cameras and words from images that have a description. The candidate answers only if it gains on people that it was not trained on."), form);
}

function plan({ recipe, method, images, pairs, epochs, steps, seconds, disk_bytes: disk, disk_free_bytes: free }) {
  const sides = Object.entries(images).map(([side, count]) => `${format.number(count)} ${side}`).join(", ");
  const rows = [["Recipe", `${recipe}, method ${method}`], ["Described images", sides], ["Pairs", format.number(pairs)],
    ["Steps", `${format.number(steps)} in ${format.count(epochs, "epoch", "epochs")}`],
    ["Time", seconds === null ? "unknown" : `about ${format.duration(seconds)}`], ["Disk", `${format.bytes(disk)} of ${format.bytes(free)} that are free`]];
  return el("dl", { className: "attributes plan" }, rows.map(([term, text]) => el("div", {}, el("dt", {}, term), el("dd", {}, text))));
}
