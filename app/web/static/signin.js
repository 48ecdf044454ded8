// Asks for a key where the server wants one. The key goes into a cookie that scripts cannot read, for as long as the
// browser is open: pictures and downloads, which carry no header, are let in by it as well.

import { button, el } from "./dom.js";
import { session } from "./session.js";

const WHERE = "Whoever looks after this server makes keys: in the page under Administration, or with descry keys create.";

let asking = null;

/** Ask once, whoever needs it. Resolves to whether a key was accepted. */
export function signedIn(problem) {
  asking ??= ask(problem).finally(() => {
    asking = null;
  });
  return asking;
}

function ask(problem) {
  return new Promise((resolve) => {
    const field = el("input", { id: "key", type: "password", autocomplete: "off", spellcheck: false, required: true });
    const trouble = el("p", { className: "hint", role: "alert" });
    const dialog = el(
      "dialog",
      { className: "asking", "aria-labelledby": "key-title", "aria-describedby": "key-reason" },
      el("h2", { id: "key-title" }, "A key is needed"),
      el("p", { id: "key-reason" }, problem.code === "key_required" ? WHERE : problem.detail),
      el(
        "form",
        { onsubmit: (event) => enter(event, field, trouble, dialog) },
        el("label", { className: "key" }, "Key", field),
        trouble,
        el(
          "div",
          { className: "actions" },
          button("Cancel", () => dialog.close("no")),
          el("button", { type: "submit", className: "primary" }, "Sign in"),
        ),
      ),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
    field.focus();
  });
}

/** Use a key from now on. Resolves to null, or to why it is not accepted; rejects if nobody answers. */
export async function begin(key) {
  const response = await fetch("/v1/session", { method: "POST", headers: { Authorization: `Bearer ${key}` } });
  const told = await response.json();
  if (!response.ok) return told.detail ?? "The key is not accepted.";
  session.set(told);
  return null;
}

async function enter(event, field, trouble, dialog) {
  event.preventDefault();
  trouble.textContent = "";
  try {
    const refused = await begin(field.value.trim());
    if (refused === null) {
      dialog.close("yes");
      return;
    }
    trouble.textContent = refused;
  } catch {
    trouble.textContent = "The server cannot be reached, or this is no key.";
  }
  field.select();
}
