// The picture to search with: chosen, dropped anywhere on the page, or pasted.

import { button, el } from "../dom.js";
import { Crop } from "./crop.js";

/** The field for a picture. `onChange()` is called when there is another one or none, `onRefused()` for what is no file. */
export class PictureField {
  element;
  #input;
  #body = el("div", { className: "picture-body" });
  #crop = null;
  #others = 0;
  #onChange;

  constructor({ onChange, onRefused }, signal) {
    this.#onChange = onChange;
    this.#input = el("input", {
      id: "file", type: "file", accept: "image/jpeg,image/png,image/webp", className: "unseen",
      "aria-labelledby": "picture-label file-label",
    });
    this.#input.addEventListener("change", () => {
      this.take([...this.#input.files]);
      this.#input.value = ""; // so that choosing the same file again is a change
    });
    this.element = el("div", { className: "show" },
      el("span", { className: "label", id: "picture-label" }, "Show a picture"),
      el("div", { id: "drop", className: "drop" }, this.#input, this.#body));
    this.clear();
    this.#followDrags(onRefused, signal);
    document.addEventListener("paste", (event) => {
      const files = [...(event.clipboardData?.files ?? [])];
      if (files.length === 0) return;
      event.preventDefault();
      this.take(files);
    }, { signal });
  }

  /** The first of some files. */
  take(files) {
    if (files.length === 0) return;
    this.#others = files.length - 1;
    this.show(files[0]);
    this.#onChange();
  }

  /** Show a file to crop. */
  show(file) {
    this.#crop?.end();
    this.#crop = new Crop(file);
    this.#fill(file.name || "Pasted picture", this.#crop.element, this.#crop.hint);
  }

  /** Show a picture of the gallery, or say that there was one: neither can be cropped. */
  showGiven(name, address, about) {
    this.#drop();
    const image = address ? el("img", { className: "given", src: address, alt: "The picture that is searched with" }) : null;
    this.#fill(name, image, el("p", { className: "hint" }, about));
  }

  /** Invite to choose one. */
  clear() {
    this.#drop();
    this.element.querySelector("#drop").classList.remove("filled");
    this.#body.replaceChildren(el("label", { htmlFor: "file", id: "file-label", className: "invite" },
      el("span", {}, el("strong", {}, "Choose a picture"), " ",
        el("span", { className: "only-wide" }, "of one person, drop it anywhere on this page, or paste it"),
        el("span", { className: "only-phone" }, "of one person"))));
  }

  /** Whether a file was given. */
  get filled() {
    return this.#crop !== null;
  }

  /** What is searched with: the file as it is, or the part of it that was marked; null without one. */
  async file() {
    return this.#crop === null ? null : this.#crop.file();
  }

  /** What should be said about the files that were given. */
  get note() {
    return this.#others > 0 ? `${this.#others + 1} pictures were given; the first one is used` : null;
  }

  #drop() {
    this.#crop?.end();
    this.#crop = null;
    this.#others = 0;
  }

  #fill(name, shown, about) {
    this.element.querySelector("#drop").classList.add("filled");
    const remove = button("Remove", () => {
      this.clear();
      this.#onChange();
      this.#input.focus();
    });
    this.#body.replaceChildren(el("div", { className: "preview" }, shown,
      el("div", { className: "about" },
        el("p", { className: "name", id: "picture-name" }, name), about,
        el("div", { className: "actions" }, el("label", { htmlFor: "file", id: "file-label", className: "quiet" }, "Another"), remove))));
  }

  #followDrags(onRefused, signal) {
    // Everywhere, for a file that misses the field would otherwise replace the page.
    document.addEventListener("dragover", (event) => {
      event.preventDefault();
      document.body.classList.add("dragging");
    }, { signal });
    document.addEventListener("dragleave", (event) => {
      if (event.relatedTarget === null) document.body.classList.remove("dragging");
    }, { signal });
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      document.body.classList.remove("dragging");
      const files = [...(event.dataTransfer?.files ?? [])];
      if (files.length === 0) onRefused();
      this.take(files);
    }, { signal });
  }
}
