// What the page says when there are no cards to show.

import { el } from "./dom.js";
import { sentence } from "./format.js";

/** Before the first search. */
export function welcome() {
  const tips = [
    ["What to write", "Clothes and their colours, hair, hat, glasses, bags and things carried. Leave out what you do not know."],
    ["What the score means", "How well words and picture agree. Compare it within one answer only; it is no probability."],
    ["What an answer is", "Candidates, not identifications. Open a candidate and look at all of its images before you act."],
  ];
  return el("div", { className: "tips" }, tips.map(([title, text]) => el("section", {}, el("h2", {}, title), el("p", {}, text))));
}

/** The gallery holds nobody. */
export function emptyGallery() {
  return message(
    "The gallery is empty",
    el("p", {}, "Take a folder of pictures (JPEG, PNG or WebP) into it:"),
    command("descry ingest FOLDER"),
    el("p", { className: "hint" }, "A manifest.csv or manifest.jsonl in the folder can add identity, camera, time, description " +
      "and attributes to each file. New images can be searched at once."),
  );
}

/** Nothing can be encoded. */
export function noModel() {
  return message(
    "No model version is active",
    el("p", {}, "Register a checkpoint, then switch to it:"),
    command("descry models register PATH"),
    command("descry models activate ID"),
  );
}

/** A problem, with a button where trying again can help. */
export function failure(problem, retry) {
  const wait = problem.retryAfter === null ? null : hint(`Try again in about ${problem.retryAfter} s.`);
  const id = problem.requestId ? hint(`The server's log names this request ${problem.requestId}.`) : null;
  const again = problem.again ? el("button", { type: "button", className: "primary" }, "Try again") : null;
  again?.addEventListener("click", retry);
  const found = message(problem.title, el("p", {}, ...withCode(sentence(problem.detail ?? ""))), wait, id, again);
  found.classList.add("bad");
  found.setAttribute("role", "alert");
  return found;
}

function message(title, ...children) {
  return el("div", { className: "message" }, el("h2", {}, title), ...children);
}

function hint(text) {
  return el("p", { className: "hint" }, text);
}

function command(text) {
  return el("pre", {}, el("code", {}, text));
}

/** `commands` between backticks, as the API's messages write them, in the type of commands. */
function withCode(text) {
  return text.split("`").map((part, index) => (index % 2 === 1 ? el("code", {}, part) : part));
}
