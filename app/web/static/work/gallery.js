// The gallery: its collections, and uploads of pictures with live progress and everything that was refused.

import * as api from "../api.js";
import { announce, button, el, field } from "../dom.js";
import * as format from "../format.js";
import { failure, hint, loading, message } from "../messages.js";
import { link } from "../router.js";
import { stock } from "../stock.js";
import { chosen, dropped, formOf, sorted } from "./files.js";
import { JobCard } from "./job.js";

const UPLOAD_PATH = "/v1/gallery/batches";
const ACCEPT = "image/jpeg,image/png,image/webp,.zip,.tar,.tgz,.tar.gz,.jsonl,.csv";

export async function mount(root, parameters, signal) {
  const collections = el("div", {}, loading("Loading the collections …"));
  const names = el("datalist", { id: "collection-names" });
  const refresh = async () => {
    try {
      const found = (await api.get("/v1/collections", signal)).collections;
      names.replaceChildren(...found.map(({ name }) => el("option", { value: name })));
      collections.replaceChildren(...listed(found));
    } catch (error) {
      if (error.name === "AbortError") return;
      collections.replaceChildren(failure(api.asProblem(error), () => void refresh()));
    }
  };
  root.append(el("h1", {}, "Gallery"), new Uploader(refresh, signal).element, names,
    el("section", { ariaLabel: "Collections" }, el("h2", {}, "Collections"), collections));
  await refresh();
}

function listed(found) {
  if (found.every(({ images }) => images === 0)) return [message("No images yet", el("p", {}, "What you upload above can be searched as soon as it is taken in."))];
  return [el("ul", { className: "rows", role: "list" }, found.map(({ name, images, created_at: since }) => el("li", { className: "row" },
    el("div", { className: "row-main" }, el("strong", {}, name), el("p", { className: "hint" }, `${format.count(images, "image", "images")} · since ${format.instant(since)}`)),
    link({ collection: name }, "Search in it", { className: "quiet", ariaLabel: `Search in ${name}` }))))];
}

class Uploader {
  element;
  #collection = el("input", { type: "text", maxLength: 200, value: "default", required: true, autocomplete: "off" });
  #told = el("div", { className: "told" });
  #uploads = el("div", { className: "uploads" });
  #onDone;
  #signal;

  constructor(onDone, signal) {
    [this.#onDone, this.#signal] = [onDone, signal];
    const files = this.#input({ id: "upload-files", accept: ACCEPT });
    const folder = this.#input({ id: "upload-folder", webkitdirectory: true });
    const zone = el("div", { id: "upload-drop", className: "drop large" },
      el("p", {}, el("strong", {}, "Drop pictures, a folder or an archive here")),
      hint("JPEG, PNG or WebP; zip or tar. A manifest.csv or manifest.jsonl beside the pictures can say who, where and when."),
      el("div", { className: "actions" }, files, el("label", { htmlFor: "upload-files", className: "primary" }, "Choose files"),
        folder, el("label", { htmlFor: "upload-folder", className: "quiet" }, "Choose a folder")));
    this.#collection.setAttribute("list", "collection-names");
    this.element = el("section", { className: "upload", ariaLabel: "Upload" }, zone,
      field("Into the collection", this.#collection, "It is made if it is new."), this.#told, this.#uploads);
    this.#followDrags(zone);
  }

  #input(properties) {
    const found = el("input", { type: "file", multiple: true, className: "unseen", ...properties });
    found.addEventListener("change", () => {
      const all = chosen(found.files);
      found.value = "";
      this.#take(all);
    });
    return found;
  }

  #followDrags(zone) {
    const signal = this.#signal;
    document.addEventListener("dragover", (event) => {
      event.preventDefault();
      zone.classList.add("over");
    }, { signal });
    document.addEventListener("dragleave", (event) => {
      if (event.relatedTarget === null) zone.classList.remove("over");
    }, { signal });
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      zone.classList.remove("over");
      dropped(event.dataTransfer).then((all) => this.#take(all), (error) => this.#say(failure(api.asProblem(error))));
    }, { signal });
  }

  #say(...parts) {
    this.#told.replaceChildren(...parts);
  }

  #take(all) {
    const batch = sorted(all);
    const collection = this.#collection.value.trim();
    if (batch.problem || !collection) {
      const detail = batch.problem ?? "Name the collection that they go into.";
      this.#say(failure(new api.Problem({ code: "batch", title: "Nothing was uploaded", detail })));
      return;
    }
    this.#say();
    void this.#send(batch, collection);
  }

  async #send(batch, collection) {
    const size = [batch.archive, batch.manifest, ...(batch.files ?? [])].filter(Boolean).reduce((sum, { file }) => sum + file.size, 0);
    const what = batch.archive ? batch.archive.file.name : format.count(batch.files.length, "file", "files");
    const bar = el("progress", { max: size || 1, value: 0, ariaLabel: `Upload of ${what}` });
    const line = el("p", { className: "hint" }, "Sending …");
    const stop = new AbortController();
    this.#signal.addEventListener("abort", () => stop.abort());
    const left = batch.left > 0 ? hint(`${format.count(batch.left, "hidden file", "hidden files")} of the system left out.`) : null;
    const cancel = button("Give up", () => stop.abort());
    const card = el("article", { className: "panel-card", ariaLabel: `Upload of ${what}` },
      el("div", { className: "card-head" }, el("h3", {}, `${what} into ${collection}`), cancel), bar, line, left);
    this.#uploads.prepend(card);
    announce(`Uploading ${what}`);
    try {
      const job = await api.upload(api.address(UPLOAD_PATH, { collection }), formOf(batch), { "Idempotency-Key": crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}` },
        (sent, of) => {
          bar.max = of || size;
          bar.value = sent;
          line.textContent = `${format.bytes(sent)} of ${format.bytes(of || size)} sent`;
        }, stop.signal);
      const followed = new JobCard(job, { title: `${what} into ${collection}`, signal: this.#signal, onEnd: () => {
        void stock.refresh();
        void this.#onDone();
      } });
      card.replaceWith(...[followed.element, left].filter(Boolean));
      followed.follow();
    } catch (error) {
      if (error.name === "AbortError") card.replaceChildren(hint(`The upload of ${what} was given up; nothing of it is kept.`));
      else card.replaceChildren(el("h3", {}, `${what} into ${collection}`), failure(api.asProblem(error), () => {
        card.remove();
        void this.#send(batch, collection);
      }));
    }
  }
}
