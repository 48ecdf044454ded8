// Which words of the description the best image bears out, and where the images speak for them.

import * as api from "../api.js";
import { button, el } from "../dom.js";
import * as format from "../format.js";
import { failure, hint } from "../messages.js";

const ABOUT = "Press one to see where. The number: how far it stands out on the best image from the same thing in other colours and from other things, of 100; 50 is one of many.";

/** The section of a description. It loads by itself; heat is laid over the figures when it is asked for. */
export class Evidence {
  element;
  #words;
  #figures;
  #signal;
  #list = el("ul", { className: "phrases", role: "list" });
  #phrases = el("div", {}, hint("Looking at the words …"));
  #told = el("div", {});
  #pressed = null;

  constructor(words, identity, candidate, figures, signal) {
    [this.#words, this.#figures, this.#signal] = [words, figures, signal];
    const whole = button("Everything", () => void this.#heat(whole, words), { className: "quiet phrase", "aria-pressed": "false", title: "Show where the whole description is seen" });
    this.#list.append(el("li", {}, whole));
    this.element = el("section", { className: "evidence", ariaLabel: "Evidence" }, el("h3", {}, "What speaks for the description, and where"),
      this.#list, this.#phrases, this.#told);
    void this.#load(candidate?.images[0].id ?? identity.images[0]?.id ?? null);
  }

  async #load(imageId) {
    if (imageId === null) return;
    try {
      const { phrases, warnings } = await api.send("POST", `/v1/images/${imageId}/support`, { query: this.#words }, this.#signal);
      const notes = warnings.map(({ message }) => hint(format.sentence(message)));
      this.#list.prepend(...phrases.map((phrase) => this.#row(phrase)));
      this.#phrases.replaceChildren(...(phrases.length > 0 ? [hint(ABOUT)] : []), ...notes);
    } catch (error) {
      if (error.name !== "AbortError") this.#phrases.replaceChildren(failure(api.asProblem(error)));
    }
  }

  #row({ text, support, absent }) {
    const told = support === null ? null : Math.round(support * 100);
    const bar = told === null ? null : el("span", { className: "bar", ariaHidden: "true" }, el("span"));
    if (bar) bar.firstChild.style.inlineSize = `${told}%`;
    const number = told === null ? null : el("span", { className: "number" }, String(told), el("span", { className: "unseen" }, " of 100"));
    const denied = absent ? el("span", { className: "hint" }, "denied") : null;
    const where = button([], () => void this.#heat(where, text), { className: "quiet phrase", "aria-pressed": "false", title: "Show where it is seen" });
    where.append(...[el("span", {}, text), bar, number, denied].filter(Boolean));
    return el("li", {}, where);
  }

  async #heat(pressed, query) {
    const off = this.#pressed === pressed;
    this.#pressed?.setAttribute("aria-pressed", "false");
    this.#pressed = off ? null : pressed;
    if (!off) pressed.setAttribute("aria-pressed", "true");
    this.#told.replaceChildren(...(off ? [] : [hint("The hottest place is red whatever the score: heat says where, not whether.")]));
    try {
      await this.#figures.heat(off ? null : query);
    } catch (error) {
      if (error.name === "AbortError" || this.#pressed !== (off ? null : pressed)) return; // or something else was pressed
      pressed.setAttribute("aria-pressed", "false");
      this.#pressed = null;
      this.#told.replaceChildren(failure(api.asProblem(error)));
    }
  }
}
