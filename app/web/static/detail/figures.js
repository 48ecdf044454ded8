// All images of an identity, a few dozen at a time.

import * as api from "../api.js";
import { button, el } from "../dom.js";
import * as format from "../format.js";
import { failure } from "../messages.js";
import { portrait, whereAndWhen } from "../results/card.js";
import { session } from "../session.js";
import { once } from "../turns.js";
import { attributeTable } from "./attributes.js";

const AT_ONCE = 48;

/** The figures; `reveal(ids)` brings some of them to the eye, `heat(query)` lays heat over them. */
export class Figures {
  element;
  #identity;
  #own;
  #about;
  #list = el("div", { className: "figures" });
  #shown = 0;
  #foot = el("div", { className: "foot" });
  #heated = null; // the words of the heat that is shown
  #addresses = [];
  #queue = Promise.resolve();

  constructor(identity, own, about) {
    [this.#identity, this.#own, this.#about] = [identity, own, about];
    this.element = el("div", {}, this.#list, this.#foot);
    about.signal.addEventListener("abort", () => this.#addresses.forEach((one) => URL.revokeObjectURL(one)));
    this.#more(AT_ONCE);
  }

  /** Scroll to the first of some images and mark all of them. */
  reveal(ids) {
    const wanted = new Set(ids);
    const last = this.#identity.images.findLastIndex((image) => wanted.has(image.id));
    if (last >= this.#shown) this.#more(last + 1 - this.#shown);
    const found = [...this.#list.children].filter((figure) => wanted.has(Number(figure.dataset.image)));
    for (const figure of this.#list.children) figure.classList.toggle("marked", found.includes(figure));
    found[0]?.scrollIntoView({ block: "nearest" });
    found[0]?.focus({ preventScroll: true });
  }

  /** Lay heat for some words over all images, or with null take it away. */
  async heat(query) {
    this.#heated = query;
    const images = [...this.#list.querySelectorAll("img.portrait")];
    if (query === null) {
      for (const image of images) image.src = image.dataset.plain;
      return;
    }
    for (const image of images) {
      if (this.#heated !== query || this.#about.signal.aborted) return;
      await this.#heatOne(image, query);
    }
  }

  async #heatOne(image, query) {
    const found = await api.blob(`/v1/images/${image.closest("figure").dataset.image}/heatmap`, this.#about.signal, { query });
    if (this.#heated !== query) return;
    const address = URL.createObjectURL(found);
    this.#addresses.push(address);
    image.src = address;
  }

  #more(count) {
    const { images } = this.#identity;
    const next = images.slice(this.#shown, this.#shown + count);
    this.#list.append(...next.map((image, index) => this.#figure(image, this.#own[this.#shown + index])));
    this.#shown += next.length;
    const left = images.length - this.#shown;
    this.#foot.replaceChildren(...(left > 0 ? [button(`${format.number(left)} more images`, () => {
      this.#more(AT_ONCE);
      if (this.#heated !== null) void this.heat(this.#heated).catch(() => {});
    })] : []));
  }

  #figure(image, attributes) {
    const scored = this.#about.scores.get(image.id);
    const picture = portrait(image, image.url);
    picture.dataset.plain = image.url;
    const describe = el("div", {});
    return el("figure", { "data-image": String(image.id), tabIndex: -1 }, picture,
      el("figcaption", {}, whereAndWhen(image),
        scored && this.#about.scores.size < this.#identity.images.length ? el("p", { className: "hint" }, "Among the best images of this answer") : null,
        image.near_duplicate_of === null ? null : el("p", { className: "hint" }, `Looks the same as image ${image.near_duplicate_of}`),
        image.source_name === null ? null : el("p", { className: "hint" }, `File ${image.source_name}`),
        image.description === null ? null : el("p", { className: "description" }, image.description),
        attributeTable(attributes),
        describe,
        el("div", { className: "actions" },
          button("Search with this picture", () => this.#about.onSearch(image)),
          session.may("ingest") ? button(image.description === null ? "Describe" : "Describe otherwise",
            (event) => this.#describe(image, describe, event.target), { className: "textual" }) : null,
          session.may("admin") ? button("Delete image", () => this.#about.onDelete(image), { className: "textual dangerous" }) : null)));
  }

  #describe(image, place, opener) {
    const text = el("textarea", { rows: 4, maxLength: 4000, value: image.description ?? "", ariaLabel: "Description of this image" });
    const told = el("div", {});
    const close = () => {
      place.replaceChildren();
      opener.focus();
    };
    const save = once(async () => {
      try {
        const changed = await api.send("PATCH", `/v1/images/${image.id}`, { description: text.value.trim() || null });
        const at = this.#identity.images.indexOf(image);
        this.#identity.images[at] = changed;
        const fresh = this.#figure(changed, this.#own[at]);
        place.closest("figure").replaceWith(fresh);
        fresh.focus({ preventScroll: true });
      } catch (error) {
        told.replaceChildren(failure(api.asProblem(error)));
      }
    });
    place.replaceChildren(text, el("p", { className: "hint" }, "Searches do not change by it; a retraining learns from it."), told,
      el("div", { className: "actions" }, button("Save", () => void save(), { className: "primary" }), button("Cancel", close)));
    text.focus();
  }
}
