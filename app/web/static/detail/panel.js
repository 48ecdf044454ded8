// The panel with everything that is known of one identity.

import * as api from "../api.js";
import { announce, button, el } from "../dom.js";
import * as format from "../format.js";
import { confirmed, failure, loading } from "../messages.js";
import { session } from "../session.js";
import { provisional as unnamed, worth } from "../results/card.js";
import { attributeTable, split } from "./attributes.js";
import { editor } from "./edit.js";
import { Evidence } from "./evidence.js";
import { Figures } from "./figures.js";
import { identifications, proposal } from "./identify.js";
import { timeline } from "./timeline.js";

const VERDICTS = [["confirm", "Confirm"], ["reject", "Reject"]];

/**
 * The dialog. `onClose(id)`: it was closed by its own means. `onSearch(part, label)`: search with `{like}` or `{person}`.
 * `onChanged(identity)`, `onDeleted(id)`: the gallery is another one now.
 */
export class Detail {
  element;
  #handlers;
  #loading = null;
  #shown = null; // the id that is shown
  #quiet = 0; // events of closing that are still to come and that nobody is to hear of

  constructor(handlers) {
    this.#handlers = handlers;
    this.element = el("dialog", { id: "detail", className: "detail", "aria-labelledby": "detail-title" });
    this.element.addEventListener("close", () => {
      if (this.#quiet > 0) {
        this.#quiet -= 1;
        return;
      }
      if (this.element.open) return; // opened again before this event came
      handlers.onClose(this.#end());
    });
    // A click beside the panel hits the dialog itself: its own padding is zero.
    this.element.addEventListener("click", (event) => {
      if (event.target === this.element) this.element.close();
    });
  }

  /** Show an identity; `about` says how the answer has it: candidate and rank, words, verdict, and how to judge. */
  async open(id, about) {
    if (this.#shown === id && this.element.open) return;
    this.#shown = id;
    this.#loading?.abort();
    const ending = (this.#loading = new AbortController());
    const body = el("div", { className: "body" }, loading("Loading all images …"));
    const head = el("header", {}, this.#title(about.candidate?.identity ?? null, about), this.#closer());
    // What is outside of a dialog is not read out while it is open.
    const status = el("p", { className: "unseen live", role: "status" });
    this.element.replaceChildren(el("div", { className: "panel" }, head, status, body));
    if (!this.element.open) this.element.showModal();
    this.element.scrollTop = 0;
    try {
      const [identity, times, said] = await Promise.all([
        api.get(`/v1/identities/${id}`, ending.signal), api.get(`/v1/identities/${id}/timeline?limit=200`, ending.signal),
        api.get(api.address("/v1/identifications", { identity_id: id }), ending.signal),
        about.recalled, // a button that does not know of a verdict yet would give it again where it should take it back
      ]);
      head.firstChild.replaceWith(this.#title(identity, about, said.identifications));
      this.#fill(body, { identity, times, said: said.identifications }, about, ending.signal);
    } catch (error) {
      if (error.name === "AbortError") return;
      body.replaceChildren(failure(api.asProblem(error), () => {
        this.#shown = null;
        void this.open(id, about);
      }));
    }
  }

  /** Close it; quietly, if the address knows already. */
  close({ quietly = false } = {}) {
    if (!this.element.open) return;
    if (quietly) {
      this.#quiet += 1; // the event comes later, when somebody else may be shown
      this.#end();
    }
    this.element.close();
  }

  /** What was shown is shown no more; returns its id. */
  #end() {
    this.#loading?.abort();
    const id = this.#shown;
    this.#shown = null;
    return id;
  }

  #closer() {
    return button("✕", () => this.element.close(), { className: "close", ariaLabel: "Close", autofocus: true });
  }

  #title(identity, { candidate, rank }, said = []) {
    const notice = said.find(({ state }) => state === "confirmed")?.notice ?? "A candidate, not an identification.";
    const place = candidate ? `Candidate ${rank}, ${worth(candidate)}. ${notice}` : notice;
    const name = identity === null ? "Candidate" : format.nameOf(identity);
    return el("div", {},
      el("h2", { id: "detail-title" }, name, identity?.provisional ? unnamed() : null), el("p", { className: "hint" }, place));
  }

  #fill(body, { identity, times, said }, about, signal) {
    const { shared, own } = split(identity);
    const told = el("div", {});
    const figures = new Figures(identity, own, {
      scores: new Map((about.candidate?.images ?? []).map((image) => [image.id, image])),
      onSearch: (image) => this.#handlers.onSearch({ like: image.id }, [format.nameOf(identity), image.camera].filter(Boolean).join(", ")),
      onDelete: (image) => void this.#deleteImage(image, identity, about, told, signal), signal,
    });
    const evidence = about.words ? new Evidence(about.words, identity, about.candidate, figures, signal) : null;
    const facts = attributeTable(shared);
    body.replaceChildren(
      this.#actions(identity, said, about, told, signal),
      told,
      ...[identifications(said, (one) => {
        about.identified?.(one);
        this.#again(identity.id, about, signal);
      }), facts, evidence?.element].filter(Boolean),
      el("section", { ariaLabel: "Images" }, el("h3", {}, format.count(identity.images.length, "image", "images")), figures.element),
      ...(times.sightings.length > 0 ? [timeline(times, (ids) => figures.reveal(ids))] : []),
    );
    announce(`${format.nameOf(identity)}: ${format.count(identity.images.length, "image", "images")}`);
  }

  #actions(identity, said, about, told, signal) {
    const buttons = about.queryId === null ? [] : VERDICTS.map(([verdict, text]) => button(text, () => judge(verdict), {
      className: `quiet verdict ${verdict}`, "aria-pressed": String(about.verdict() === verdict),
    }));
    const judge = async (verdict) => {
      try {
        const now = await about.judge(verdict);
        buttons.forEach((one, index) => one.setAttribute("aria-pressed", String(VERDICTS[index][0] === now)));
        told.replaceChildren();
        announce(now === null ? "Verdict taken back" : now === "confirm" ? "Confirmed" : "Rejected");
      } catch (error) {
        if (error.name !== "AbortError") told.replaceChildren(failure(api.asProblem(error)));
      }
    };
    const edit = button("Edit", () => {
      const form = editor(identity, {
        onSaved: (changed) => {
          const { images, ...known } = changed;
          this.#handlers.onChanged(known);
          this.#again(identity.id, about, signal);
        },
        onCancel: () => {
          told.replaceChildren();
          edit.focus();
        },
      });
      told.replaceChildren(form);
      form.querySelector("input").focus();
    });
    const name = format.nameOf(identity);
    return el("div", { className: "actions main-actions" }, buttons, this.#identify(identity, said, about, told, signal),
      button("More like this person", () => this.#handlers.onSearch({ person: identity.id }, name)),
      session.may("ingest") ? edit : null,
      session.may("admin") ? button("Delete", () => void this.#deletePerson(identity, told, signal), { className: "quiet dangerous" }) : null);
  }

  /** The button by which a candidate of a search is proposed as the person who is looked for. */
  #identify(identity, said, about, told, signal) {
    const standing = said.some(({ query_id: query, state }) => query === about.queryId && ["proposed", "confirmed"].includes(state));
    if (about.queryId === null || standing) return null;
    const mark = button("Mark as identification", () => {
      const form = proposal(identity, {
        queryId: about.queryId, purpose: about.purpose,
        onDone: (made) => {
          about.identified?.(made);
          this.#again(identity.id, about, signal);
        },
        onCancel: () => {
          told.replaceChildren();
          mark.focus();
        },
      });
      told.replaceChildren(form);
      form.querySelector("input").focus();
    });
    return mark;
  }

  /** Load it anew, unless it was left meanwhile: `signal` is that of what was shown. */
  #again(id, about, signal) {
    if (signal.aborted) return;
    this.#shown = null;
    void this.open(id, about);
  }

  async #deletePerson(identity, told, signal) {
    const images = format.count(identity.images.length, "image", "images");
    const agreed = await confirmed({
      title: `Delete ${format.nameOf(identity)}?`,
      text: `The person, ${images} and everything that is searched by are removed for good. No search finds them again. This cannot be undone.`,
      agree: `Delete ${images}`,
    });
    if (!agreed) return;
    await this.#remove(`/v1/identities/${identity.id}`, identity.id, told, signal);
  }

  async #deleteImage(image, identity, about, told, signal) {
    const last = identity.images.length === 1;
    const agreed = await confirmed({
      title: "Delete this image?",
      text: `The image is removed for good${last && identity.provisional ? ", and with it this unnamed person" : ""}. This cannot be undone.`,
      agree: "Delete 1 image",
    });
    if (!agreed) return;
    if (last) await this.#remove(`/v1/images/${image.id}`, identity.id, told, signal);
    else if (await this.#send(`/v1/images/${image.id}`, told)) this.#again(identity.id, about, signal);
  }

  async #remove(path, id, told, signal) {
    if (!(await this.#send(path, told))) return;
    this.#handlers.onDeleted(id);
    announce("Deleted");
    if (!signal.aborted) this.element.close();
  }

  async #send(path, told) {
    try {
      await api.send("DELETE", path);
      return true;
    } catch (error) {
      told.replaceChildren(failure(api.asProblem(error)));
      return false;
    }
  }
}
