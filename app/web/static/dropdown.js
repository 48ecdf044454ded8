// A button with a panel below it, which closes as people expect of one: by Escape, and by a click elsewhere.

import { el } from "./dom.js";

/** A <details> with `summary` (text or elements) and what is in its panel. */
export function dropdown({ className, summary, panel, signal }) {
  const found = el("details", { className }, el("summary", { className: "quiet" }, summary), panel);
  document.addEventListener("click", (event) => {
    if (!found.contains(event.target)) found.open = false;
  }, { signal });
  found.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !found.open) return;
    found.open = false;
    found.querySelector("summary").focus();
  });
  return found;
}
