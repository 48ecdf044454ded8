// Whether the audit is whole.

import * as api from "../api.js";
import { announce, el, field } from "../dom.js";
import * as format from "../format.js";
import { failure, hint } from "../messages.js";

const PATIENCE_MS = 600_000; // it goes over every entry

export function verifier(signal) {
  const head = el("input", { type: "text", autocomplete: "off", spellcheck: false, maxLength: 100 });
  const told = el("div", { className: "told", role: "status" });
  const start = el("button", { type: "submit", className: "primary" }, "Verify");
  const form = el("form", { className: "verify-form" },
    el("div", { className: "card-head" }, el("h2", {}, "Is it whole?"), start),
    hint("Each entry is bound to the one before by a hash: whatever is changed, removed, put in or moved shows."),
    el("details", {}, el("summary", {}, "Was the end cut off?"), field("Head that was noted earlier", head, "SEQUENCE:HASH, as a verification told it.")));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    start.disabled = true;
    told.replaceChildren(hint("Going over every entry …"));
    try {
      const found = await api.send("GET", api.address("/v1/admin/audit/verify", { head: head.value.trim() }), undefined, signal, PATIENCE_MS);
      told.replaceChildren(found.whole ? whole(found) : broken(found));
      announce(found.whole ? "The audit is whole" : "The audit was tampered with");
    } catch (error) {
      if (error.name !== "AbortError") told.replaceChildren(failure(api.asProblem(error)));
    }
    start.disabled = false;
  });
  return el("section", { className: "panel-card", ariaLabel: "Verification" }, form, told);
}

function whole({ entries, erased, head }) {
  const gone = erased > 0 ? ` Of ${format.number(erased)} the words were erased, which is no problem.` : "";
  return el("div", { className: "outcome good" }, el("strong", {}, "The audit is whole."),
    `${format.count(entries, "entry was", "entries were")} verified.${gone}`, ...noted(head));
}

function broken({ entries, problems, head }) {
  const rows = problems.map(({ sequence, kind, message }) => el("tr", {}, el("td", { className: "number" }, String(sequence)),
    el("td", {}, format.sentence(message)), el("td", {}, el("code", {}, kind))));
  return el("div", { className: "outcome bad" }, el("strong", {}, "The audit was tampered with. "),
    `${format.count(problems.length, "problem", "problems")}${problems.length >= 100 ? " or more" : ""} in ${format.count(entries, "entry", "entries")}.`,
    el("div", { className: "table-room", tabIndex: 0, role: "region", ariaLabel: "What was done to the audit" },
      el("table", {}, el("thead", {}, el("tr", {}, ["Entry", "What", "Kind"].map((text) => el("th", { scope: "col" }, text)))), el("tbody", {}, rows))),
    ...noted(head));
}

function noted(head) {
  return [el("p", {}, "Its head: ", el("code", { className: "hash" }, head)), hint("Note it elsewhere: given here another time, it shows whether entries were cut off since.")];
}
