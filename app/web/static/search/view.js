// The view of a search: the form, and what it finds. One search at a time.

import * as api from "../api.js";
import { announce, el } from "../dom.js";
import { Detail } from "../detail/panel.js";
import * as format from "../format.js";
import { emptyGallery, failure, hint, noModel } from "../messages.js";
import { Results } from "../results/results.js";
import { skeleton } from "../results/card.js";
import { back, go, here, rename, settled } from "../router.js";
import { stock } from "../stock.js";
import { Form } from "./form.js";
import { purposes } from "./purpose.js";
import { asks, conditions, inWords, nothing, ofDefinition, read, request, write } from "./state.js";

const FIRST = 24;
const SKELETON_AFTER_MS = 150;

/** Pictures of this visit by query, so that "back" finds them again: they cannot be written into an address. */
const pictures = new Map();
let shown = null; // the view that is mounted

export async function mount(root, parameters, signal) {
  shown = new SearchView(root, signal);
  await shown.show(parameters);
}

/** Opening and closing a candidate, and what the view itself has renamed, are no new search. */
export function stays() {
  return shown !== null;
}

export function update(parameters) {
  void shown.show(parameters);
}

class SearchView {
  #signal;
  #form;
  #area;
  #detail;
  #results = null;
  #current = new AbortController();
  #asked = Promise.resolve(); // settled when the newest search has been answered, refused or abandoned
  #key = null; // of the search that is shown
  #alias = null; // the key that it had before it was named by its query
  #state = nothing();

  constructor(root, signal) {
    this.#signal = signal;
    this.#form = new Form({
      onSearch: (state, file) => this.#ask(state, file),
      onClear: () => {
        if (this.#key !== "" && !this.#state.words) go({});
      },
    }, signal);
    this.#area = el("section", { id: "results", className: "results", tabIndex: -1, ariaLabel: "Results" });
    this.#detail = new Detail({
      onClose: (id) => this.#closed(id),
      onSearch: (part, label) => this.#like(part, label),
      onChanged: (identity) => this.#results?.rename(identity),
      onDeleted: (id) => this.#results?.remove(id),
    });
    root.append(el("h1", { className: "unseen" }, "Find a person by a description or a picture"), this.#form.element, this.#area, this.#detail.element);
    stock.onChange(() => {
      if (this.#key === "") this.#area.replaceChildren(...this.#before());
    }, signal);
    signal.addEventListener("abort", () => {
      this.#current.abort();
      this.#detail.close({ quietly: true });
      document.body.classList.remove("searching");
      shown = null;
    });
  }

  /** Show what an address asks for. What was under way is abandoned, what was shown is gone at once. */
  async show(parameters) {
    const state = read(parameters);
    const open = () => Number(here().get("open")) || null; // it may be another one by the time that there is an answer
    const key = asks(state) ? write(state).toString() : "";
    if (key === this.#alias) this.#name(this.#state.query, open());
    else if (key !== this.#key) {
      [this.#key, this.#alias] = [key, null];
      this.#form.forget();
      void this.#search(state, null);
    }
    // A candidate that is opened knows the answer. Whoever asked meanwhile opens it, if it is to be opened.
    const asked = this.#asked;
    await asked;
    if (asked === this.#asked && !this.#signal.aborted) this.#open(open());
  }

  /** The address of a search that is named by its query. */
  #name(queryId, open = null) {
    const parameters = write({ ...nothing(), query: queryId });
    this.#key = parameters.toString();
    if (open) parameters.set("open", String(open));
    rename(parameters);
  }

  /** What the form asks for becomes a new address; a picture has one only when it was searched with. */
  async #ask(state, file) {
    scrollTo({ top: 0 });
    if (file !== null) {
      await settled();
      this.#alias = null;
      history[this.#key === "picture" ? "replaceState" : "pushState"]({}, "", "/"); // twice the same is no step to go back to
      this.#key = "picture";
      void this.#search(state, file);
      return;
    }
    this.#alias = null;
    if (write(state).toString() === this.#key) {
      void this.#search(state, null); // once more
    } else {
      go(write(state), { state: { label: history.state?.label } });
    }
  }

  #like(part, label) {
    this.#detail.close({ quietly: true });
    const { collection, purpose } = this.#state;
    go(write({ ...nothing(), ...part, collection, purpose }), { state: { label } });
    this.#area.focus({ preventScroll: true }); // the card that had the focus is gone
    scrollTo({ top: 0 });
  }

  #search(state, file) {
    this.#asked = this.#run(state, file);
    return this.#asked;
  }

  async #run(state, file) {
    this.#current.abort();
    const { signal } = (this.#current = new AbortController());
    this.#detail.close({ quietly: true });
    this.#results?.end();
    this.#results = null;
    performance.mark("descry:asked");
    announce("");
    try {
      const recalled = state.query === null ? null : this.#recall(state, signal);
      if (recalled !== null) this.#wait(signal); // cards of the search before would be opened as if they were of this one
      const asked = recalled === null ? { ...state, uploaded: file !== null } : await recalled;
      this.#state = asked;
      // The question leaves before anything is drawn: what is drawn meanwhile costs the answer nothing.
      const answered = asks(asked, file) ? this.#answer(asked, file, signal) : null;
      answered?.catch(() => {}); // told where it is waited for
      const filled = answered === null ? { ...asked, purpose: asked.purpose || purposes.last } : asked;
      this.#fill(filled, file, pictures.get(state.query) ?? null);
      if (answered === null) {
        this.#area.ariaBusy = "false";
        this.#area.replaceChildren(...this.#before());
        return;
      }
      if (recalled === null) this.#wait(signal);
      const answer = await answered;
      signal.throwIfAborted();
      if (file !== null) {
        pictures.set(answer.query_id, file);
        this.#name(answer.query_id);
      }
      await this.#present(asked, answer, signal);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.#refuse(api.asProblem(error), () => void this.#search(state, file));
    }
    this.#area.ariaBusy = "false";
  }

  /** A query that was asked before, with what it asked. */
  async #recall(state, signal) {
    const query = await api.get(`/v1/queries/${state.query}`, signal);
    return { ...ofDefinition(query), query: state.query, refine: state.refine, savedAs: query.name, verdicts: query.feedback };
  }

  #fill(state, file, kept) {
    const label = history.state?.label;
    this.#form.show(state);
    // A picture that was searched with just now is in the form already, with the box that was drawn.
    if (file === null) this.#fillPicture(state, kept, label);
    const title = state.words || (label ?? (state.uploaded || file ? "a picture" : ""));
    document.title = asks(state, file) ? `${title || "a picture"} – Descry` : "Descry";
    document.body.classList.toggle("searching", asks(state, file));
  }

  #fillPicture(state, kept, label) {
    if (kept !== null) this.#form.picture.show(kept);
    else if (state.like) this.#form.picture.showGiven(label ?? `Image ${state.like}`, `/v1/images/${state.like}/thumbnail`, "A picture of this gallery.");
    else if (state.person) this.#form.picture.showGiven(label ?? `Identity ${state.person}`, null, "All pictures of this person together.");
    else if (state.uploaded) this.#form.picture.showGiven("Your picture", null, "The picture was not kept, only the numbers that it is searched by.");
    else this.#form.picture.clear();
  }

  #wait(signal) {
    this.#area.ariaBusy = "true";
    this.#area.replaceChildren();
    // An answer is mostly there before anyone could see that it is waited for.
    setTimeout(() => {
      if (signal.aborted || this.#area.childElementCount > 0) return;
      announce("Searching");
      this.#area.replaceChildren(skeleton());
    }, SKELETON_AFTER_MS);
  }

  #answer(state, file, signal) {
    if (state.query !== null) {
      return api.send("POST", `/v1/queries/${state.query}/search`, { limit: FIRST, use_feedback: state.refine }, signal);
    }
    const { path, body } = request(state, file, FIRST);
    return api.send("POST", path, body, signal);
  }

  async #present(state, answer, signal) {
    if (answer.candidates.length === 0) {
      await stock.refresh();
      signal.throwIfAborted();
      announce("Nothing was found");
      this.#area.replaceChildren(stock.now?.images === 0 ? emptyGallery() : this.#nobody(state));
      return;
    }
    purposes.remember(state.purpose);
    this.#results = new Results(this.#area, answer, {
      state,
      asked: inWords(state, history.state?.label),
      note: this.#form.picture.note,
      onOpen: (id) => this.#openCard(id),
      onNamed: (queryId, change) => this.#kept(queryId, change),
      signal,
    });
    performance.mark("descry:shown");
  }

  /** The query is what counts from now on: it was saved, or judged. */
  #kept(queryId, { refine = false } = {}) {
    // A verdict can be answered after the search was left: the address is that of another one by then.
    if (this.#signal.aborted || this.#results?.queryId !== queryId) return;
    if (refine) {
      const parameters = write({ ...nothing(), query: queryId, refine });
      if (parameters.toString() === this.#key) void this.#search(read(parameters), null);
      else go(parameters);
      return;
    }
    if (this.#state.query === queryId) return;
    this.#alias = this.#key;
    this.#state = { ...this.#state, query: queryId };
    this.#name(queryId, here().get("open"));
  }

  #openCard(id) {
    const parameters = here();
    parameters.set("open", String(id));
    go(parameters, { state: { ...history.state, opened: true } });
  }

  #open(id) {
    if (id === null) {
      this.#detail.close({ quietly: true });
      return;
    }
    const { candidate, rank } = this.#results?.find(id) ?? {};
    void this.#detail.open(id, {
      candidate, rank, words: this.#state.words, queryId: this.#results?.queryId ?? null,
      recalled: this.#results?.recalled, verdict: () => this.#results?.verdictOn(id) ?? null, judge: this.#judge(id),
      purpose: this.#state.purpose, identified: (one) => this.#results?.identified(one),
    });
  }

  /** What a verdict is given by: it belongs to the answer in which the candidate was opened. */
  #judge(id) {
    const results = this.#results;
    return (verdict) => results.press(id, verdict);
  }

  /** The candidate was closed by its own means: the address follows. */
  #closed(id) {
    this.#results?.focus(id);
    if (history.state?.opened) back();
    else if (here().has("open")) {
      const parameters = here();
      parameters.delete("open");
      rename(parameters);
    }
  }

  #refuse(problem, again) {
    announce("");
    if (problem.code === "no_active_model") {
      this.#area.replaceChildren(noModel());
      return;
    }
    const purpose = problem.code.includes("purpose") || problem.fields.some(({ location }) => location.endsWith(".purpose"));
    // The server's words are for those who write requests; the field below says it for those who look at it.
    const missing = problem.code === "purpose_required";
    this.#area.replaceChildren(failure(missing ? { ...problem, detail: "Write above what the search is for, such as a case, then search." } : problem, again));
    if (purpose) this.#form.filters.requirePurpose(missing ? undefined : format.sentence(problem.detail));
  }

  #nobody(state) {
    const given = conditions(state);
    const chips = given.map(({ text, state: without }) => el("li", {}, el("button", {
      type: "button", className: "chip", onclick: () => go(write(without)), ariaLabel: `Search without: ${text}`,
    }, `${text} ✕`)));
    return el("div", { className: "message" },
      el("h2", {}, given.length > 0 ? "Nobody meets these conditions" : "Nobody was found"),
      given.length > 0 ? el("p", {}, "No image of the gallery has all of them. Take one away:") : el("p", {}, "All images were left out of this search."),
      el("ul", { className: "chips", role: "list" }, chips));
  }

  #before() {
    const problem = stock.problem;
    if (problem !== null) return [failure(problem, () => void stock.refresh())];
    if (stock.now !== null && stock.now.model_version === null) return [noModel()];
    if (stock.now !== null && stock.now.images === 0) return [emptyGallery()];
    const tips = [
      ["What to write", "Clothes and their colours, hair, hat, glasses, bags and things carried. Leave out what you do not know."],
      ["What the confidence means", "How likely it is that this is the person, judged by all scores of the answer. It says nothing about who it is."],
      ["What an answer is", "Candidates, not identifications. Open a candidate and look at all of its images before you act."],
    ];
    return [el("div", { className: "tips" }, tips.map(([title, text]) => el("section", {}, el("h2", {}, title), hint(text))))];
  }
}
