// The cards of an answer, page by page. Of a long answer only the pages near the screen have elements; the others are
// empty lists of the same height, so that ten thousand cards scroll like fifty.

import { el } from "../dom.js";

const NEAR = "2500px 0px";
const AT_ONCE = 1; // cards of the first page that are drawn before the next frame: each costs 2 ms of it

/** Pages of cards within `root`. `draw(candidate, rank)` makes a card; `onEnd()` is called when the end comes near. */
export class Pages {
  #root;
  #draw;
  #pages = [];
  #count = 0;
  #near;
  #width = 0;
  #resizes;

  constructor(root, draw, signal) {
    [this.#root, this.#draw] = [root, draw];
    this.#near = new IntersectionObserver((seen) => {
      for (const { target, isIntersecting } of seen) this.#turn(this.#pages[Number(target.dataset.page)], isIntersecting);
    }, { rootMargin: NEAR });
    this.#resizes = new ResizeObserver(() => this.#resized());
    this.#resizes.observe(root);
    signal.addEventListener("abort", () => this.end());
  }

  end() {
    this.#near.disconnect();
    this.#resizes.disconnect();
  }

  /** How many cards there are. */
  get count() {
    return this.#count;
  }

  /** Add candidates below; `line`, if given, is drawn above the first one whose rank is its `from` or higher. */
  add(candidates, line = null) {
    const list = el("ol", { className: "cards", role: "list", "data-page": String(this.#pages.length) });
    const page = { list, entries: candidates.map((candidate, index) => ({ candidate, rank: this.#count + index + 1 })), line, filled: false };
    this.#count += candidates.length;
    this.#pages.push(page);
    this.#root.append(list);
    if (this.#pages.length === 1) this.#begin(page);
    else this.#fill(page);
    this.#near.observe(list);
    return list;
  }

  /** Every candidate with its rank. */
  *entries() {
    for (const { entries } of this.#pages) yield* entries;
  }

  /** Draw the cards of an identity anew; with null they are taken away. */
  redraw(id, change = (candidate) => candidate) {
    for (const page of this.#pages) {
      if (!page.entries.some(({ candidate }) => candidate.identity.id === id)) continue;
      page.entries = page.entries.flatMap(({ candidate, rank }) => {
        const now = candidate.identity.id === id ? change(candidate) : candidate;
        return now === null ? [] : [{ candidate: now, rank }];
      });
      if (page.filled) this.#fill(page);
    }
  }

  /** The first card of all, and the others once it has been painted: with six it misses a frame of 60 a second. */
  #begin(page) {
    page.list.replaceChildren(...this.#cards(page, 0, AT_ONCE));
    page.list.ariaBusy = "true";
    page.filled = true;
    const rest = () => {
      if (page.list.childElementCount > 0 && !page.whole) page.list.append(...this.#cards(page, AT_ONCE));
      page.whole = true;
      page.list.ariaBusy = "false";
    };
    requestAnimationFrame(() => setTimeout(rest));
  }

  #cards(page, from, to = Infinity) {
    const { line } = page;
    const below = line === null ? -1 : page.entries.findIndex(({ rank }) => rank >= line.from);
    return page.entries.slice(from, to).flatMap(({ candidate, rank }, index) => {
      const one = this.#draw(candidate, rank);
      return index + from === below ? [line.draw(), one] : [one];
    });
  }

  #fill(page) {
    const focused = page.list.contains(document.activeElement) ? document.activeElement.closest("[data-id]")?.dataset.id : null;
    page.list.style.blockSize = "";
    page.list.replaceChildren(...this.#cards(page, 0));
    [page.filled, page.whole] = [true, true];
    if (focused) page.list.querySelector(`[data-id="${focused}"] .open`)?.focus({ preventScroll: true });
  }

  #turn(page, near) {
    if (near && !page.filled) this.#fill(page);
    else if (!near && page.filled && !page.list.contains(document.activeElement)) {
      const { height } = page.list.getBoundingClientRect();
      if (height === 0) return; // the view is hidden
      page.columns = this.#columns();
      page.height = height;
      page.list.style.blockSize = `${height}px`;
      page.list.replaceChildren();
      page.filled = false;
    }
  }

  /** Pages without elements get about the height that they would have at the new width. */
  #resized() {
    const width = this.#root.clientWidth;
    if (width === this.#width) return;
    this.#width = width;
    const columns = this.#columns();
    for (const page of this.#pages) {
      if (!page.filled) page.list.style.blockSize = `${(page.height * page.columns) / columns}px`;
    }
  }

  #columns() {
    const full = this.#pages.find(({ filled }) => filled);
    return full ? getComputedStyle(full.list).gridTemplateColumns.split(" ").length : 1;
  }
}
