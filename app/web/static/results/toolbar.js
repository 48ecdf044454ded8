// What can be done with an answer: keep it under a name, take it away as a file, refine it by what was judged.

import * as api from "../api.js";
import { announce, button, el } from "../dom.js";
import { dropdown } from "../dropdown.js";
import { failure } from "../messages.js";

const FORMATS = [["pdf", "PDF to print"], ["html", "Web page to print"], ["csv", "CSV table"], ["json", "JSON"]];

/** The toolbar of a query: `element`, and `judged(count)` for how many verdicts there are. */
export function toolbar(queryId, state, { onNamed, onRefine, signal }) {
  const judged = el("span", { className: "judged" });
  const refine = button("Refine by verdicts", onRefine, { className: "primary", hidden: true });
  const keep = button(state.savedAs ? `Saved as “${state.savedAs}”` : "Save search", () => form.hidden ? show() : hide(), { "aria-expanded": "false" });
  const name = el("input", { type: "text", maxLength: 200, ariaLabel: "Name of the saved search", placeholder: "Name", value: state.savedAs ?? "" });
  const told = el("div", {});
  const form = el("form", { className: "save", hidden: true }, name, el("button", { type: "submit", className: "primary" }, "Save"), told);

  function show() {
    form.hidden = false;
    keep.setAttribute("aria-expanded", "true");
    name.focus();
  }

  function hide() {
    form.hidden = true;
    keep.setAttribute("aria-expanded", "false");
    keep.focus();
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      const saved = await api.send("PATCH", `/v1/queries/${queryId}`, { name: name.value.trim() || null }, signal);
      keep.textContent = saved.name === null ? "Save search" : `Saved as “${saved.name}”`;
      told.replaceChildren();
      hide();
      announce(saved.name === null ? "The search is not saved any more" : `Saved as ${saved.name}`);
      onNamed();
    } catch (error) {
      if (error.name !== "AbortError") told.replaceChildren(failure(api.asProblem(error)));
    }
  });

  const files = FORMATS.map(([format, text]) => el("li", {}, el("a", {
    href: api.address(`/v1/queries/${queryId}/results`, { format, use_feedback: state.refine ? "true" : null }),
    download: `descry-${queryId.slice(0, 12)}.${format}`,
  }, text)));
  const menu = dropdown({ className: "export", summary: "Export", panel: el("ul", { role: "list" }, files), signal });

  return {
    element: el("div", { className: "toolbar" }, keep, menu, refine, judged, form),
    judged(count) {
      refine.hidden = count === 0;
      judged.textContent = count === 0 ? "" : `${count} judged`;
    },
  };
}
