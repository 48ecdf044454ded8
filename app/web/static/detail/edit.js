// Name and attributes of an identity, to change.

import * as api from "../api.js";
import { button, el, field } from "../dom.js";
import { failure } from "../messages.js";
import { once } from "../turns.js";

/** The form. `onSaved(identity)` is called with what it is now. */
export function editor(identity, { onSaved, onCancel }) {
  const name = el("input", { type: "text", maxLength: 200, value: identity.external_id ?? "", autocomplete: "off" });
  const rows = el("ul", { className: "pairs", role: "list" });
  const told = el("div", {});
  const add = (key = "", value = "") => {
    const inputs = [["Attribute", key], ["Value", value]].map(([ariaLabel, content]) => el("input", { type: "text", maxLength: 200, ariaLabel, value: content, autocomplete: "off" }));
    // What is no plain text stays what it is unless it is written anew.
    inputs[1].dataset.was = typeof value === "string" ? "" : JSON.stringify(value);
    if (inputs[1].dataset.was) inputs[1].value = inputs[1].dataset.was;
    const row = el("li", {}, inputs, button("Remove", () => row.remove(), { className: "textual" }));
    rows.append(row);
    return inputs[0];
  };
  for (const [key, value] of Object.entries(identity.attributes)) add(key, value);

  const form = el("form", { className: "editor", ariaLabel: "Edit the person" },
    field("Name", name, "The person's name or number elsewhere; empty for none."),
    el("fieldset", {}, el("legend", {}, "Attributes of the person"), rows, button("Add an attribute", () => add().focus())),
    told,
    el("div", { className: "actions" }, el("button", { type: "submit", className: "primary" }, "Save"), button("Cancel", onCancel)));
  const save = once(async () => {
    try {
      onSaved(await api.send("PATCH", `/v1/identities/${identity.id}`, { external_id: name.value.trim() || null, attributes: read(rows) }));
    } catch (error) {
      told.replaceChildren(failure(api.asProblem(error)));
    }
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void save();
  });
  return form;
}

function read(rows) {
  const pairs = [...rows.children].map((row) => {
    const [key, value] = row.querySelectorAll("input");
    return [key.value.trim(), value.dataset.was && value.value === value.dataset.was ? JSON.parse(value.value) : value.value.trim()];
  });
  return Object.fromEntries(pairs.filter(([key]) => key !== ""));
}
