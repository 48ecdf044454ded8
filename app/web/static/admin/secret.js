// A key that was just made. Nobody can show it again.

import { announce, button, el } from "../dom.js";
import { hint } from "../messages.js";

/** The panel with the key. `note`: what it has changed, or null. `onDone()`: it was kept. */
export function secret(made, note, onDone) {
  const shown = el("input", { type: "text", readOnly: true, value: made.key, className: "secret", spellcheck: false, autocomplete: "off", ariaLabel: `The key ${made.name}` });
  shown.addEventListener("focus", () => shown.select());
  const copy = button("Copy", async () => {
    const copied = await copyOf(shown);
    copy.textContent = copied ? "Copied" : "Copy it by hand";
    announce(copied ? "Copied" : "The browser does not let this page copy; the key is selected");
  }, { className: "primary" });
  return el("section", { className: "panel-card made", ariaLabel: "New key" },
    el("h2", { tabIndex: -1 }, `The key ${made.name}`),
    el("p", {}, "It is shown this once. Copy it now; the server keeps no copy that could be read."),
    el("div", { className: "secret-line" }, shown, copy),
    note === null ? null : hint(note),
    el("div", { className: "actions" }, button("I have kept it", onDone)));
}

async function copyOf(input) {
  try {
    await navigator.clipboard.writeText(input.value); // there is none on plain HTTP beyond this machine
    return true;
  } catch {
    input.select();
    return document.execCommand("copy");
  }
}
