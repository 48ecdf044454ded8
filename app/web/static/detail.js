// The panel with everything that is known of one identity.

import * as api from "./api.js";
import { byId, el } from "./dom.js";
import * as format from "./format.js";
import { portrait, provisional, whereAndWhen } from "./results.js";
import { failure } from "./messages.js";

/** The dialog. `onSearch(image, label)` is called to search with one of its pictures. */
export class Detail {
  #dialog = byId("detail");
  #onSearch;
  #loading = null;

  constructor(onSearch) {
    this.#onSearch = onSearch;
    this.#dialog.addEventListener("close", () => this.#loading?.abort());
    // A click beside the panel hits the dialog itself: its own padding is zero.
    this.#dialog.addEventListener("click", (event) => {
      if (event.target === this.#dialog) this.#dialog.close();
    });
  }

  /** Show a candidate: first what the answer told, then all its images. */
  async open(candidate, rank) {
    this.#loading?.abort();
    const loading = (this.#loading = new AbortController());
    const body = el("div", { className: "body", ariaBusy: "true" }, el("p", { className: "hint" }, "Loading all images …"));
    this.#dialog.replaceChildren(el("div", { className: "panel" }, this.#head(candidate, rank), body));
    if (!this.#dialog.open) this.#dialog.showModal();
    try {
      const identity = await api.identity(candidate.identity.id, loading.signal);
      body.replaceChildren(...this.#images(identity, candidate));
    } catch (error) {
      if (error.name === "AbortError") return;
      body.replaceChildren(failure(error, () => this.open(candidate, rank)));
    }
    body.ariaBusy = "false";
  }

  close() {
    this.#dialog.close();
  }

  #head({ identity, score }, rank) {
    const close = el("button", { type: "button", className: "close", ariaLabel: "Close", autofocus: true }, "✕");
    close.addEventListener("click", () => this.close());
    return el(
      "header",
      {},
      el(
        "div",
        {},
        el("h2", { id: "detail-title" }, format.nameOf(identity), identity.provisional ? provisional() : null),
        el("p", { className: "hint" }, `Candidate ${rank}, score ${format.score(score)}. A candidate, not an identification.`),
      ),
      close,
    );
  }

  #images(identity, candidate) {
    const scores = new Map(candidate.images.map((image) => [image.id, image.score]));
    const { shared, own } = split(identity);
    const name = format.nameOf(identity);
    const figures = identity.images.map((image, index) => this.#figure(image, own[index], scores.get(image.id), name));
    const parts = [
      attributeList(shared),
      el("h3", {}, format.count(identity.images.length, "image", "images")),
      el("div", { className: "figures" }, figures),
    ];
    return parts.filter((part) => part !== null);
  }

  #figure(image, attributes, score, name) {
    const search = el("button", { type: "button", className: "quiet" }, "Search with this picture");
    search.addEventListener("click", () => {
      this.close();
      this.#onSearch(image.id, [name, image.camera].filter(Boolean).join(", "));
    });
    return el(
      "figure",
      {},
      portrait(image, image.url),
      el(
        "figcaption",
        {},
        whereAndWhen(image),
        score === undefined ? null : el("p", { className: "hint" }, `Score ${format.score(score)}`),
        image.source_name === null ? null : el("p", { className: "hint" }, `File ${image.source_name}`),
        image.description === null ? null : el("p", { className: "description" }, image.description),
        attributeList(attributes),
        search,
      ),
    );
  }
}

/** Attributes that all images share, with those of the identity; and for each image those of its own. */
function split(identity) {
  const [first, ...others] = identity.images.map((image) => image.attributes);
  const same = (key, value) => others.every((attributes) => JSON.stringify(attributes[key]) === JSON.stringify(value));
  const shared = Object.entries(first ?? {}).filter(([key, value]) => same(key, value));
  const keys = new Set(shared.map(([key]) => key));
  const own = identity.images.map((image) =>
    Object.fromEntries(Object.entries(image.attributes).filter(([key]) => !keys.has(key))),
  );
  return { shared: { ...Object.fromEntries(shared), ...identity.attributes }, own };
}

function attributeList(attributes) {
  const pairs = format.attributeList(attributes);
  if (pairs.length === 0) return null;
  const rows = pairs.map(({ name, value }) => el("div", {}, el("dt", {}, name), el("dd", {}, value)));
  return el("dl", { className: "attributes" }, rows);
}
