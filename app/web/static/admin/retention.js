// How long images are kept: a rule for a collection, or for one of its cameras, which goes before.

import * as api from "../api.js";
import { announce, button, el, field } from "../dom.js";
import * as format from "../format.js";
import { confirmed, failure, hint, loading } from "../messages.js";

const PATH = "/v1/admin/retention";
const MOST_DAYS = "36500";

export async function mount(root, parameters, signal) {
  const body = el("div", {}, loading("Loading the rules …"));
  root.append(el("p", { className: "lead" }, "Images are erased for good when they are older than a rule says, by when they were taken, else by when they were taken in. Without a rule they are kept."), body);
  const draw = async () => {
    try {
      const [{ rules }, { collections }] = await Promise.all([api.get(PATH, signal), api.get("/v1/collections", signal)]);
      body.replaceChildren(editor(rules, collections.map(({ name }) => name), draw, signal));
    } catch (error) {
      if (error.name !== "AbortError") body.replaceChildren(failure(api.asProblem(error), () => void draw()));
    }
  };
  await draw();
}

function editor(rules, collections, again, signal) {
  const rows = el("ul", { className: "rows", role: "list" });
  const none = hint("There is no rule: every image is kept until somebody deletes it.");
  const told = el("div", { className: "told" });
  const count = () => {
    none.hidden = rows.childElementCount > 0;
    rows.hidden = !none.hidden;
  };
  const add = (rule, focus = false) => {
    const made = row(rule, collections, () => {
      made.remove();
      count();
      adder.focus();
    });
    rows.append(made);
    count();
    if (focus) made.querySelector("select").focus();
  };
  const adder = button("Add a rule", () => add({ collection: collections[0] ?? "", camera: null, days: 30, due: null }, true));
  const save = el("button", { type: "submit", className: "primary" }, "Save the rules");
  rules.forEach((rule) => add(rule));
  count();
  const form = el("form", { className: "uploads" }, none, rows, told, el("div", { className: "actions" }, save, adder));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const wanted = [...rows.children].map((one) => one.rule());
    const agreed = await confirmed({
      title: "Set these rules?", agree: "Set them",
      text: wanted.length > 0 ? "Images that are older are erased within a minute, with everything that is searched by. That cannot be undone."
        : "No image is erased by its age any more.",
    });
    if (!agreed) return;
    save.disabled = true;
    try {
      await api.send("PUT", PATH, { rules: wanted }, signal);
      announce("The rules are set");
      await again();
    } catch (error) {
      if (error.name !== "AbortError") told.replaceChildren(failure(api.asProblem(error)));
    }
    save.disabled = false;
  });
  return form;
}

function row({ collection, camera, days, due }, collections, onRemove) {
  const names = collections.includes(collection) ? collections : [collection, ...collections];
  const where = el("select", {}, names.filter(Boolean).map((value) => el("option", { value, selected: value === collection }, value)));
  const which = el("input", { type: "text", maxLength: 200, value: camera ?? "", autocomplete: "off", placeholder: "All cameras" });
  const kept = el("input", { type: "number", min: "1", max: MOST_DAYS, step: "1", required: true, value: String(days), inputMode: "numeric" });
  const found = el("li", { className: "row rule" },
    el("div", { className: "filter-grid" }, field("Collection", where), field("Camera", which), field("Days", kept)),
    due === null ? null : el("span", { className: due > 0 ? "badge failed" : "badge" }, due > 0 ? `${format.count(due, "image", "images")} due` : "none due"),
    button("Remove", onRemove, { className: "textual dangerous", ariaLabel: `Remove the rule of ${collection}` }));
  found.rule = () => ({ collection: where.value, camera: which.value.trim() || null, days: Number(kept.value) });
  return found;
}
