// The picture to search with: chosen, dropped anywhere on the page, or pasted.

import { byId } from "./dom.js";

/** Wires the drop zone. `onPicture(file, others)` is called for a new picture, `onRemove()` when it is taken away. */
export class PictureZone {
  #zone = byId("drop");
  #input = byId("file");
  #image = byId("preview-image");
  #address = null;

  constructor({ onPicture, onRemove, onRefused }) {
    const take = (files) => {
      if (files.length > 0) onPicture(files[0], files.length - 1);
    };
    this.#input.addEventListener("change", () => {
      take([...this.#input.files]);
      this.#input.value = ""; // so that choosing the same file again is a change
    });
    byId("remove").addEventListener("click", () => {
      onRemove();
      this.#input.focus();
    });
    this.#image.addEventListener("error", () => this.#zone.classList.add("blind"));
    this.#followDrags(take, onRefused);
    document.addEventListener("paste", (event) => {
      const files = [...(event.clipboardData?.files ?? [])];
      if (files.length === 0) return;
      event.preventDefault();
      take(files);
    });
  }

  /** Show a picture, or with null the invitation to choose one. */
  show(blob, name = "", about = "") {
    if (this.#address !== null) URL.revokeObjectURL(this.#address);
    this.#address = blob === null ? null : URL.createObjectURL(blob);
    this.#zone.classList.remove("blind");
    this.#zone.classList.toggle("filled", blob !== null);
    byId("preview").hidden = blob === null;
    byId("file-label").hidden = blob !== null;
    byId("preview-name").textContent = name;
    byId("preview-about").textContent = about;
    if (this.#address === null) this.#image.removeAttribute("src");
    else this.#image.src = this.#address;
  }

  #followDrags(take, onRefused) {
    // Everywhere, for a file that misses the zone would otherwise replace the page.
    document.addEventListener("dragover", (event) => {
      event.preventDefault();
      document.body.classList.add("dragging");
    });
    document.addEventListener("dragleave", (event) => {
      if (event.relatedTarget === null) document.body.classList.remove("dragging");
    });
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      document.body.classList.remove("dragging");
      const files = [...(event.dataTransfer?.files ?? [])];
      if (files.length === 0) onRefused();
      take(files);
    });
  }
}
