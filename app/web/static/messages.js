// What the page says when there is nothing else to show, and what it asks before something is lost.

import { button, el } from "./dom.js";
import { sentence } from "./format.js";
import { link } from "./router.js";
import { session } from "./session.js";

/** A block with a title in the middle of a view. */
export function message(title, ...children) {
  return el("div", { className: "message" }, el("h2", {}, title), ...children);
}

export function hint(text) {
  return el("p", { className: "hint" }, text);
}

export function command(text) {
  return el("pre", {}, el("code", {}, text));
}

/** The gallery holds nobody. */
export function emptyGallery() {
  if (!session.may("ingest")) {
    return message("The gallery is empty", el("p", {}, "Somebody with the right ", el("code", {}, "ingest"), " takes pictures into it; they can be searched at once."));
  }
  return message(
    "The gallery is empty",
    el("p", {}, "Take pictures into it (JPEG, PNG or WebP):"),
    link({ view: "gallery" }, "Upload pictures", { className: "primary" }),
    el("p", {}, "Or at the command line, for folders of any size:"),
    command("descry ingest FOLDER"),
    hint("A manifest.csv or manifest.jsonl in the folder can add identity, camera, time, description and attributes to each " +
      "file. New images can be searched at once."),
  );
}

/** Nothing can be encoded. */
export function noModel() {
  if (!session.may("admin")) {
    return message("No model version is active", el("p", {}, "Nothing can be searched until an administrator switches to one."));
  }
  return message(
    "No model version is active",
    el("p", {}, "Take the one that comes with Descry, or a checkpoint of your own in place of --shipped:"),
    command("descry models register --shipped --activate"),
    link({ view: "models" }, "Model versions", { className: "quiet" }),
  );
}

/** A problem, with a button where trying again can help. */
export function failure(problem, retry = null) {
  const wait = problem.retryAfter === null ? null : hint(`Try again in about ${problem.retryAfter} s.`);
  const id = problem.requestId ? hint(`The server's log names this request ${problem.requestId}.`) : null;
  const keyless = problem.status === 401; // to try again is to be asked for a key
  const again = (problem.again || keyless) && retry ? button(keyless ? "Sign in" : "Try again", retry, { className: "primary" }) : null;
  const found = message(problem.title, el("p", {}, ...withCode(sentence(problem.detail ?? ""))), wait, id, again);
  found.classList.add("bad");
  found.setAttribute("role", "alert");
  return found;
}

/** Grey lines in the place of what is loaded. */
export function loading(text) {
  return el("p", { className: "loading", role: "status" }, text);
}

/** Ask before something is lost. Resolves to whether it was agreed to; Cancel has the focus. */
export function confirmed({ title, text, agree }) {
  return new Promise((resolve) => {
    const close = (answer) => () => {
      dialog.returnValue = answer;
      dialog.close(answer);
    };
    const dialog = el(
      "dialog",
      { className: "asking", "aria-labelledby": "confirm-title", "aria-describedby": "confirm-text" },
      el("h2", { id: "confirm-title" }, title),
      el("p", { id: "confirm-text" }, text),
      el(
        "div",
        { className: "actions" },
        button("Cancel", close("no"), { autofocus: true }),
        button(agree, close("yes"), { className: "danger" }),
      ),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** `commands` between backticks, as the API's messages write them, in the type of commands. */
function withCode(text) {
  return text.split("`").map((part, index) => (index % 2 === 1 ? el("code", {}, part) : part));
}
