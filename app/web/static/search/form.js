// The form of a search: words, what the person is without, a picture, and conditions.

import { button, el, field } from "../dom.js";
import { Filters } from "./filters.js";
import { PictureField } from "./picture.js";
import { turns } from "../turns.js";
import { asks, nothing } from "./state.js";

const CHANGED = "Changed since the last search: press Search.";
const HINT = "Clothes and colours, hair, hat and glasses, bags, things carried. In English.";
const EXAMPLES = [
  "a woman with long blonde hair in a red coat",
  "man in a black hoodie and blue jeans with a cap",
  "woman in a yellow dress with a handbag",
  "older man in a white shirt and brown trousers",
  "a person in a purple jacket with a red suitcase",
];

/** The form. `onSearch(state, file)` is called with what is asked for, `onClear()` when the picture was taken away. */
export class Form {
  element;
  picture;
  filters;
  #state = nothing();
  #query;
  #hint;
  #without;
  #chips = el("ul", { className: "denied", role: "list", ariaLabel: "What the person is without" });
  #handlers;
  #signal;
  #turn = turns();
  #searched = null; // the conditions that were searched with; null while nothing was

  constructor(handlers, signal) {
    [this.#handlers, this.#signal] = [handlers, signal];
    this.#query = el("textarea", {
      id: "query", rows: 1, maxLength: 2000, enterKeyHint: "search", spellcheck: true, autocomplete: "off",
      "aria-describedby": "hint", placeholder: "a woman in a red coat with a black backpack",
    });
    this.#hint = el("p", { id: "hint", className: "hint", role: "status" }, HINT);
    this.#without = el("input", { id: "without", type: "text", maxLength: 200, autocomplete: "off", placeholder: "a hat" });
    this.picture = new PictureField({
      onChange: () => {
        this.#state = { ...this.#state, like: null, person: null, query: null, refine: false, uploaded: false };
        this.say(this.picture.note ?? "");
        if (!this.picture.filled) handlers.onClear();
      },
      onRefused: () => this.say("Drop a picture file: JPEG, PNG or WebP."),
    }, signal);
    this.filters = new Filters(this.#state, () => this.#compare(), signal);
    this.element = this.#drawn();
    this.#wire(signal);
  }

  /** Show what is asked for. The picture is shown by the caller, who knows whether there is one. */
  show(state) {
    this.#turn(); // a picture that is still being cut belongs to what was asked before
    this.#state = state;
    this.#query.value = state.words;
    this.#without.value = "";
    this.filters.show(state);
    this.#drawChips();
    this.#searched = asks(state, state.uploaded) ? conditionsOf(state) : null;
    this.say("");
    this.#fit();
  }

  /** What is still on its way is not asked for: a picture takes a while to be cut. */
  forget() {
    this.#turn();
  }

  /** A word on the form, in place of the hint; empty for the hint. */
  say(text) {
    this.#hint.textContent = text || HINT;
    this.#hint.classList.toggle("urgent", text !== "");
  }

  focus() {
    this.#query.focus();
  }

  /** Ask for what the form says. */
  async submit() {
    this.#deny();
    const { purpose, collection, cameras, from, to, hours, named, attributes, more, group } = this.filters.state;
    const state = {
      ...this.#state, words: this.#query.value.trim(), purpose, collection, cameras, from, to, hours, named, attributes, more, group,
      query: null, refine: false,
    };
    if (this.#state.uploaded && !this.picture.filled) {
      this.say("The picture of this search is not kept: choose it again, or remove it.");
      return;
    }
    if (!asks(state, this.picture.filled)) {
      this.say(state.without.length > 0 ? "Say also what the person looks like, or choose a picture." : "Say what the person looks like, or choose a picture.");
      this.focus();
      return;
    }
    if (this.filters.lacksPurpose) {
      this.filters.requirePurpose();
      return;
    }
    const newest = this.#turn();
    let file = null;
    try {
      file = await this.picture.file();
    } catch {
      this.say("This picture cannot be cut here; search with the whole of it, or choose another one.");
      return;
    }
    if (newest() && !this.#signal.aborted) this.#handlers.onSearch(state, file);
  }

  #drawn() {
    const examples = EXAMPLES.map((text) => el("li", {}, button(text, () => {
      this.#query.value = text;
      void this.submit();
    }, { className: "chip" })));
    return el("form", { id: "search", className: "search", role: "search", noValidate: true },
      el("div", { className: "ask" },
        el("label", { htmlFor: "query" }, "Describe the person"),
        el("div", { className: "box" }, this.#query, el("button", { type: "submit", className: "primary" }, "Search")),
        this.#hint,
        el("ul", { id: "examples", className: "chips", role: "list", ariaLabel: "Examples" }, examples)),
      this.picture.element,
      el("div", { className: "narrow" },
        el("div", { className: "deny" }, el("label", { htmlFor: "without" }, "Without"), this.#without,
          button("Add", () => this.#deny(true), { ariaLabel: "Add to what the person is without" }), this.#chips),
        el("div", { className: "purpose" }, field("Purpose or case", this.filters.purpose), this.filters.note),
        this.filters.toggle), this.filters.element);
  }

  #wire(signal) {
    this.element.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.submit();
    });
    this.#query.addEventListener("input", () => {
      this.#fit();
      this.#compare();
    });
    this.#query.addEventListener("keydown", (event) => {
      // While an input method composes, Enter belongs to it.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      void this.submit();
    });
    this.#without.addEventListener("keydown", (event) => {
      if (event.isComposing || !(event.key === "Enter" || event.key === ",")) return;
      if (!this.#without.value.trim()) return; // Enter in an empty field searches
      event.preventDefault();
      this.#deny(true);
    });
    addEventListener("resize", () => this.#fit(), { signal });
    document.addEventListener("keydown", (event) => {
      const typing = event.target.closest?.("input, textarea, select, dialog");
      if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      this.focus();
    }, { signal });
  }

  /** Take what was typed as something that the person is without. */
  #deny(stay = false) {
    const text = this.#without.value.replace(/^(without|no)\s+/i, "").replace(/,\s*$/, "").trim();
    if (text && !this.#state.without.includes(text)) this.#state = { ...this.#state, without: [...this.#state.without, text].slice(0, 8) };
    this.#without.value = "";
    this.#drawChips();
    if (stay) {
      this.#compare();
      this.#without.focus();
    }
  }

  /** A condition that is in the form and not in the answer below it would be taken for one of the answer's. */
  #compare() {
    const now = conditionsOf({ ...this.filters.state, without: this.#state.without });
    this.say(this.#searched !== null && now !== this.#searched ? CHANGED : "");
  }

  #drawChips() {
    const chips = this.#state.without.map((text) => el("li", {}, el("span", {}, text), button("✕", () => {
      this.#state = { ...this.#state, without: this.#state.without.filter((one) => one !== text) };
      this.#drawChips();
      this.#compare();
      this.#without.focus();
    }, { className: "drop-chip", ariaLabel: `Not without ${text} any more` })));
    this.#chips.replaceChildren(...chips);
    this.#chips.hidden = chips.length === 0;
  }

  #fit() {
    this.#query.style.blockSize = "auto";
    this.#query.style.blockSize = `${this.#query.scrollHeight}px`;
  }
}

function conditionsOf({ without, collection, cameras, from, to, hours, named, attributes, group }) {
  return JSON.stringify([without, collection, [...cameras].sort(), from, to, hours, named, attributes, group]);
}
