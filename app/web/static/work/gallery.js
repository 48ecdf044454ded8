// The gallery: its collections, and uploads of pictures and videos with live progress and everything that was refused.

import * as api from "../api.js";
import { announce, button, el, field } from "../dom.js";
import * as format from "../format.js";
import { failure, hint, loading, message } from "../messages.js";
import { link } from "../router.js";
import { session } from "../session.js";
import { stock } from "../stock.js";
import { turns } from "../turns.js";
import { chosen, dropped, formOf, sorted } from "./files.js";
import { JobCard } from "./job.js";
import { VIDEOS_PATH, videoForm } from "./video.js";

const UPLOAD_PATH = "/v1/gallery/batches";
const ACCEPT = "image/jpeg,image/png,image/webp,.zip,.tar,.tgz,.tar.gz,.jsonl,.csv,video/*,.mkv,.avi,.mts,.m2ts,.wmv,.gif";

export async function mount(root, parameters, signal) {
  const collections = el("div", {}, loading("Loading the collections …"));
  const names = el("datalist", { id: "collection-names" });
  const turn = turns();
  const refresh = async () => {
    const newest = turn();
    try {
      const found = (await api.get("/v1/collections", signal)).collections;
      if (!newest()) return; // an upload has ended since
      names.replaceChildren(...found.map(({ name }) => el("option", { value: name })));
      collections.replaceChildren(...listed(found));
    } catch (error) {
      if (error.name === "AbortError" || !newest()) return;
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
    session.may("search") ? link({ collection: name }, "Search in it", { className: "quiet", ariaLabel: `Search in ${name}` }) : null)))];
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
      el("p", {}, el("strong", {}, "Drop pictures, a folder, an archive or a video here")),
      hint("JPEG, PNG or WebP; zip or tar; MP4, MOV, MKV or AVI. A manifest.csv or manifest.jsonl beside the pictures can say who, where and when."),
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
    if (batch.video) this.#ask(batch, collection);
    else void this.#send(ofPictures(batch, collection));
  }

  /** Of a video it is asked which camera took it, and when. */
  #ask({ video: { file }, left }, collection) {
    const form = videoForm(file, collection, (about) => {
      form.remove();
      void this.#send({
        what: file.name, collection, left, body: file, size: file.size, headers: { "Content-Type": "application/octet-stream", ...key() },
        path: api.address(VIDEOS_PATH, { name: file.name, collection, ...about }),
      });
    });
    this.#uploads.prepend(form);
    form.querySelector("input").focus();
  }

  async #send(upload) {
    const { what, collection, size } = upload;
    const title = `${what} into ${collection}`;
    const bar = el("progress", { max: size || 1, value: 0, ariaLabel: `Upload of ${what}` });
    const line = el("p", { className: "hint" }, "Sending …");
    const stop = new AbortController();
    this.#signal.addEventListener("abort", () => stop.abort());
    const left = upload.left > 0 ? hint(`${format.count(upload.left, "hidden file", "hidden files")} of the system left out.`) : null;
    const card = el("article", { className: "panel-card", ariaLabel: `Upload of ${what}` },
      el("div", { className: "card-head" }, el("h3", {}, title), button("Give up", () => stop.abort())), bar, line, left);
    this.#uploads.prepend(card);
    announce(`Uploading ${what}`);
    try {
      const job = await api.upload(upload.path, upload.body, upload.headers, (sent, of) => {
        bar.max = of || size;
        bar.value = sent;
        line.textContent = `${format.bytes(sent)} of ${format.bytes(of || size)} sent`;
      }, stop.signal);
      const followed = new JobCard(job, { title, signal: this.#signal, onEnd: () => {
        void stock.refresh();
        void this.#onDone();
      } });
      card.replaceWith(...[followed.element, left].filter(Boolean));
      followed.follow();
    } catch (error) {
      if (error.name === "AbortError") card.replaceChildren(hint(`The upload of ${what} was given up; nothing of it is kept.`));
      else card.replaceChildren(el("h3", {}, title), failure(api.asProblem(error), () => {
        card.remove();
        void this.#send(upload);
      }));
    }
  }
}

function ofPictures(batch, collection) {
  const all = [batch.archive, batch.manifest, ...(batch.files ?? [])].filter(Boolean);
  return {
    what: batch.archive ? batch.archive.file.name : format.count(batch.files.length, "file", "files"), collection, left: batch.left, body: formOf(batch),
    size: all.reduce((sum, { file }) => sum + file.size, 0), headers: key(), path: api.address(UPLOAD_PATH, { collection }),
  };
}

/** One for each upload, however often it is tried: what had arrived after all is not taken in twice. */
function key() {
  return { "Idempotency-Key": crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}` };
}
