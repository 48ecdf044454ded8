// What a search has found: what was asked, what it is worth, and the candidates, page by page.

import * as api from "../api.js";
import { announce, button, el } from "../dom.js";
import * as format from "../format.js";
import { failure } from "../messages.js";
import { go } from "../router.js";
import { conditions, write } from "../search/state.js";
import { card } from "./card.js";
import { Pages } from "./pages.js";
import { toolbar } from "./toolbar.js";

const PAGE = 48;
const AHEAD = "1600px 0px";

/** The answer to one search within `root`. */
export class Results {
  queryId;
  /** Settled when it is known what was judged before: until then `verdictOn` knows of nothing. Never fails. */
  recalled = Promise.resolve();
  #root;
  #about;
  #pages;
  #cursor;
  #ending = new AbortController();
  #verdicts = new Map(); // identity id -> { id, verdict }
  #given = Promise.resolve(); // settled when the newest verdict was answered
  #identified = new Map(); // identity id -> what was said of it as the person who is looked for
  #heard = new Set(); // identities of which something was said here: what is recalled later is older
  #weakSaid = false;
  #answer;
  #bar;
  #foot = el("div", { className: "foot" });
  #near = null;
  #loading = false;

  constructor(root, answer, about) {
    [this.#root, this.#answer, this.#about] = [root, answer, about];
    this.queryId = answer.query_id;
    about.signal.addEventListener("abort", () => this.end());
    this.#bar = toolbar(this.queryId, about.state, {
      onNamed: () => about.onNamed(this.queryId), onRefine: () => about.onNamed(this.queryId, { refine: true }), signal: this.#ending.signal,
    });
    const list = el("div", { className: "pages" });
    root.replaceChildren(this.#summary(), list, this.#foot);
    this.#pages = new Pages(list, (candidate, rank) => this.#card(candidate, rank), this.#ending.signal);
    announce(`${format.count(answer.candidates.length, "candidate", "candidates")} for ${about.asked}`);
    this.#add(answer);
    this.#watchEnd();
    if (about.state.verdicts > 0) this.recalled = this.#recallVerdicts();
    if (about.state.query !== null) void this.#recallIdentifications();
  }

  /** Stop loading and watching. */
  end() {
    this.#ending.abort();
  }

  /** The candidate of an identity with its rank, as far as it is in the answer. */
  find(id) {
    for (const entry of this.#pages.entries()) if (entry.candidate.identity.id === id) return entry;
    return null;
  }

  verdictOn(id) {
    return this.#verdicts.get(id)?.verdict ?? null;
  }

  /**
   * The button of a verdict was pressed: it is given, or taken back if it was given before. Resolves to the verdict that
   * holds now, or null. One after the other: of two at once, the page and the server might keep different ones.
   */
  press(id, pressed) {
    const given = this.#given.then(async () => {
      const verdict = this.verdictOn(id) === pressed ? null : pressed;
      await this.#give(id, verdict);
      return verdict;
    });
    this.#given = given.catch(() => {});
    return given;
  }

  async #give(id, verdict) {
    const before = this.#verdicts.get(id);
    const path = `/v1/queries/${this.queryId}/feedback`;
    if (verdict === null) {
      if (before) await api.send("DELETE", `${path}/${before.id}`);
      this.#verdicts.delete(id);
    } else {
      const { feedback } = await api.send("POST", path, [{ identity_id: id, verdict }]);
      this.#remember(feedback);
    }
    this.#about.onNamed(this.queryId);
    this.#bar.judged(this.#verdicts.size);
    this.#pages.redraw(id);
  }

  /** Somebody was proposed as the person who is looked for, or decided on that. */
  identified(one) {
    if (one.query_id !== this.queryId) return;
    this.#identified.set(one.identity_id, one);
    this.#heard.add(one.identity_id);
    this.#about.onNamed(this.queryId);
    this.#pages.redraw(one.identity_id);
  }

  /** Give the card of a candidate the focus, unless something else has it: the one that was left may have been drawn anew. */
  focus(id) {
    const now = document.activeElement; // in a panel that was closed something has it a moment longer
    if (now === document.body || now.closest("dialog:not([open])")) this.#root.querySelector(`[data-id="${id}"] .open`)?.focus({ preventScroll: true });
  }

  /** An identity has another name or other attributes. */
  rename(identity) {
    this.#pages.redraw(identity.id, (candidate) => ({ ...candidate, identity: { ...candidate.identity, ...identity } }));
  }

  /** An identity is gone. */
  remove(id) {
    this.#pages.redraw(id, () => null);
  }

  #remember(feedback) {
    for (const { id, identity_id: whom, image_id: image, verdict, counts } of feedback) {
      if (counts && image === null) this.#verdicts.set(whom, { id, verdict });
    }
  }

  async #recallVerdicts() {
    try {
      const { feedback } = await api.get(`/v1/queries/${this.queryId}/feedback`, this.#ending.signal);
      this.#remember(feedback);
    } catch {
      return; // the marks are lacking; giving a verdict tells what is wrong
    }
    this.#bar.judged(this.#verdicts.size);
    for (const id of this.#verdicts.keys()) this.#pages.redraw(id);
  }

  async #recallIdentifications() {
    let found;
    try {
      found = await api.get(api.address("/v1/identifications", { query_id: this.queryId, limit: 500 }), this.#ending.signal);
    } catch {
      return; // the marks are lacking; the view of identifications tells what is wrong
    }
    for (const one of [...found.identifications].reverse()) {
      if (!this.#heard.has(one.identity_id) && this.#identified.get(one.identity_id)?.state !== "confirmed") this.#identified.set(one.identity_id, one);
    }
    for (const id of this.#identified.keys()) this.#pages.redraw(id);
  }

  #card(candidate, rank) {
    return card(candidate, rank, { onOpen: this.#about.onOpen, verdict: this.verdictOn(candidate.identity.id), said: this.#identified.get(candidate.identity.id) });
  }

  #summary() {
    const { took_ms: took, model_version: model, warnings, no_good_match: nobody, calibrated } = this.#answer;
    const { asked, state, note } = this.#about;
    const split = `words or picture to vector ${format.milliseconds(took.encode)}, search ` +
      `${format.milliseconds(took.search)}, metadata ${format.milliseconds(took.fetch)}`;
    const sentences = [...(note ? [note] : []), ...warnings.map((warning) => warning.message)];
    if (!calibrated) sentences.push("this model version does not know what its scores mean: compare them within this answer only");
    const title = state.refine ? `Candidates for ${asked}, refined by what was judged` : `Candidates for ${asked}`;
    const chips = conditions(state).map(({ text, state: without }) => el("li", {}, el("span", {}, text),
      button("✕", () => go(write(without)), { className: "drop-chip", ariaLabel: `Search without the condition: ${text}` })));
    return el("div", { className: "summary" },
      el("div", { className: "headline" },
        el("div", {}, el("h2", { title }, title),
          el("p", { className: "took", title: split }, `${format.milliseconds(took.total)} · model ${model.name}`)),
        this.#bar.element),
      chips.length > 0 ? el("ul", { className: "conditions-set", role: "list", ariaLabel: "Conditions" }, chips) : null,
      nobody === true ? el("p", { className: "no-match" }, el("strong", {}, "No good match."), " The person is probably not in what was searched. The nearest candidates follow.") : null,
      sentences.length === 0 ? null : el("ul", { className: "notes", role: "list" }, sentences.map((text) => el("li", {}, format.sentence(text)))));
  }

  #add({ candidates, next_cursor: cursor }) {
    this.#cursor = cursor;
    const { weak_below: weak } = this.#answer;
    const at = weak === null || this.#weakSaid ? -1 : candidates.findIndex(({ score }) => score < weak);
    this.#weakSaid ||= at >= 0;
    const from = this.#pages.count + at + 1;
    const line = at < 0 ? null : { from, draw: () => weakLine(from === 1) };
    this.#pages.add(candidates, line);
    this.#foot.replaceChildren(...(cursor === null
      ? [el("p", { className: "hint" }, this.#pages.count > 1 ? `All ${format.number(this.#pages.count)} candidates are shown.` : "This is the only candidate.")]
      : [button("More candidates", () => void this.#more(true))]));
  }

  #watchEnd() {
    const near = new IntersectionObserver((seen) => {
      if (seen.some(({ isIntersecting }) => isIntersecting) && scrollY > 0) void this.#more(false);
    }, { rootMargin: AHEAD });
    near.observe(this.#foot);
    this.#ending.signal.addEventListener("abort", () => near.disconnect());
    this.#near = near;
  }

  async #more(asked) {
    if (this.#loading || this.#cursor === null) return;
    this.#loading = true;
    const wait = this.#foot.querySelector("button");
    if (wait) wait.disabled = true;
    try {
      const body = { cursor: this.#cursor, limit: PAGE, use_feedback: this.#about.state.refine };
      const answer = await api.send("POST", `/v1/queries/${this.queryId}/search`, body, this.#ending.signal);
      const known = this.#pages.count;
      this.#add(answer);
      announce(`${format.count(this.#pages.count, "candidate", "candidates")} now`);
      if (asked) this.#root.querySelector(`.card[value="${known + 1}"] .open, ol:last-of-type .open`)?.focus({ preventScroll: true });
      this.#near.unobserve(this.#foot); // observed anew, it tells again where it is
      this.#near.observe(this.#foot);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.#foot.replaceChildren(failure(api.asProblem(error), () => {
        this.#foot.replaceChildren(button("More candidates", () => void this.#more(true)));
        void this.#more(true);
      }));
    } finally {
      this.#loading = false;
    }
  }
}

function weakLine(all) {
  return el("li", { className: "weak-line" }, el("span", {}, all ? "Weak matches only: these are rather not the person" : "Weak matches below: rather not the person"));
}
