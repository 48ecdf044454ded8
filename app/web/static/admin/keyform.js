// The form for a new key.

import * as api from "../api.js";
import { el, field } from "../dom.js";
import { failure, hint } from "../messages.js";

const SCOPES = [
  ["search", "search", "search, look at candidates, judge them"],
  ["ingest", "ingest", "upload pictures and videos, change what is known of people"],
  ["admin", "admin", "everything: delete, models, exports, keys, audit"],
];

/**
 * A <details> with the form. `first`: it is the key that closes an open server, an administrator's.
 * `onMake(wanted)` makes it; what it rejects with is told here, and what was filled in stays.
 */
export function keyForm({ first, collections, onMake }) {
  const name = el("input", { type: "text", maxLength: 200, required: true, autocomplete: "off", spellcheck: false });
  const expiry = el("input", { type: "datetime-local" });
  const scopes = SCOPES.map(([value]) => el("input", { type: "checkbox", value, defaultChecked: first ? value === "admin" : value === "search", disabled: first }));
  const where = limits(collections);
  const told = el("div", { className: "told" });
  const submit = el("button", { type: "submit", className: "primary" }, "Make the key");
  const chosen = () => scopes.filter((one) => one.checked).map((one) => one.value);
  const follow = () => where.allow(!chosen().includes("admin"));
  for (const one of scopes) one.addEventListener("change", follow);
  follow();

  const form = el("form", { className: "key-form" },
    el("div", { className: "filter-grid" }, field("Name", name, "Who or what it is for."), field("Expires", expiry, "By this computer's clock. Left out: never.")),
    el("fieldset", {}, el("legend", {}, "What it may do"), SCOPES.map(([, text, about], index) => el("label", { className: "choice" }, scopes[index],
      el("span", {}, el("strong", {}, text), " ", el("span", { className: "hint" }, about))))),
    where.element, told, el("div", { className: "actions" }, submit));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const over = expiry.value && new Date(expiry.value) <= new Date() ? "The time at which it expires is over already." : null;
    const problem = chosen().length === 0 ? "Tick at least one thing that it may do." : where.problem() ?? over;
    if (problem) {
      told.replaceChildren(failure(new api.Problem({ code: "key_form", title: "The key was not made", detail: problem })));
      return;
    }
    submit.disabled = true;
    told.replaceChildren();
    try {
      await onMake({ name: name.value.trim(), scopes: chosen(), collections: where.value(), expires_at: expiry.value ? new Date(expiry.value).toISOString() : null });
      form.reset();
      follow();
      details.open = false;
    } catch (error) {
      if (error.name !== "AbortError") told.replaceChildren(failure(api.asProblem(error)));
    }
    submit.disabled = false;
  });
  const details = el("details", { className: "panel-card new-key" }, el("summary", {}, "New key"), form);
  return details;
}

/** Which collections: all, or some. An administrator's key cannot be limited. */
function limits(collections) {
  const group = el("input", { type: "radio", name: "limits", value: "all", defaultChecked: true });
  const some = el("input", { type: "radio", name: "limits", value: "some" });
  const boxes = collections.map((value) => el("input", { type: "checkbox", value }));
  const list = el("div", { className: "choices" }, boxes.map((box) => el("label", { className: "choice" }, box, el("span", {}, box.value))));
  const note = hint("A key of an administrator is good for all of them.");
  const element = el("fieldset", { className: "limits" }, el("legend", {}, "Collections"),
    el("label", { className: "choice" }, group, el("span", {}, "All, also those that are made later")),
    el("label", { className: "choice" }, some, el("span", {}, "Only these; whatever lies outside does not exist for its holder")), list, note);
  const limited = () => some.checked && !some.disabled;
  const follow = () => {
    list.hidden = !limited();
  };
  for (const one of [group, some]) one.addEventListener("change", follow);
  const ticked = () => boxes.filter((box) => box.checked).map((box) => box.value);
  return {
    element,
    allow(may) {
      [group.disabled, some.disabled] = [!may, !may];
      note.hidden = may;
      follow();
    },
    value: () => (limited() ? ticked() : null),
    problem: () => (limited() && ticked().length === 0 ? "Tick the collections that it is for, or let it be good for all." : null),
  };
}
