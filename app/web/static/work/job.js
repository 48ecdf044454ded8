// One job: what it is, how far it is, what it refused, and what can be done with it.

import * as api from "../api.js";
import { announce, button, el } from "../dom.js";
import * as format from "../format.js";
import { failure, hint } from "../messages.js";
import { link } from "../router.js";
import { session } from "../session.js";
import { ended, followJob } from "../sse.js";
import { once, turns } from "../turns.js";
import { curves } from "./chart.js";
import { videoFacts } from "./video.js";

const KINDS = { ingest: "Taking in pictures", indexing: "Encoding the gallery", export: "Export", retraining: "Retraining", video: "Taking in a video", association: "Grouping people" };
const STATES = { queued: "waits for a worker", running: "running", succeeded: "done", failed: "failed", cancelled: "cancelled", superseded: "superseded" };
const PHASES = { looking: "looking for people", data: "writing the data set", training: "training", comparison: "comparing with the active model", done: "done" };
const ITEMS = 200;

/** What kind of work a job is. */
export function kindOf(job) {
  return KINDS[job.kind] ?? job.kind;
}

/** The mark of a job's state. */
export function stateBadge(job) {
  const text = job.cancel_requested && !ended(job) ? "is being cancelled" : STATES[job.state];
  return el("span", { className: `badge state ${job.state}` }, text);
}

/** How far a job is, as a bar with words. */
export function progressOf(job) {
  const { done, total, unit } = job;
  const words = total === null ? "" : `${format.number(done)} of ${format.number(total)} ${unit}`;
  const left = job.progress?.seconds_left;
  const phase = job.progress?.phase && !ended(job) ? PHASES[job.progress.phase] ?? job.progress.phase : "";
  const parts = [words, phase, left && job.state === "running" ? `about ${format.duration(left)} left` : ""].filter(Boolean);
  const bar = ended(job) || total === 0 ? null : el("progress", { ariaLabel: `Progress of ${kindOf(job)}`, max: total ?? 1, ...(total === null ? {} : { value: done }) });
  return el("div", { className: "progress" }, bar, parts.length > 0 ? hint(parts.join(" · ")) : null);
}

/** The panel of one job. `follow()` keeps it true; `onEnd(job)` is called when it has ended. */
export class JobCard {
  element = el("article", { className: "panel-card job" });
  #job;
  #about;
  #rejected = el("div", { className: "refusals" });
  #log = el("ol", { className: "log" });
  #told = el("div", {});
  #acts = { about: "", element: el("div", { className: "actions", hidden: true }) };
  #lost = false; // the connection, as it is told
  #counted = -1;
  #listed = turns();
  #stop = new AbortController();

  constructor(job, about) {
    this.#about = about;
    about.signal.addEventListener("abort", () => this.#stop.abort());
    this.element.append(this.#told, this.#rejected, this.#acts.element,
      el("details", { className: "log-room", open: about.openLog ?? false }, el("summary", {}, "Log"), this.#log));
    this.#draw(job);
    for (const line of job.log ?? []) this.#line(line);
  }

  /** Keep the panel true until the job has ended. */
  follow() {
    const handlers = {
      onJob: (job) => {
        if (this.#lost) this.#told.replaceChildren();
        this.#lost = false;
        this.#draw(job);
      },
      onLine: (line) => this.#line(line),
      onLost: (problem) => {
        this.#lost = true;
        this.#told.replaceChildren(hint(`${problem.title}; trying again.`));
      },
    };
    followJob(this.#job.id, handlers, this.#stop.signal).then(() => this.#about.onEnd?.(this.#job), (error) => {
      if (error.name !== "AbortError") this.#told.replaceChildren(failure(api.asProblem(error)));
    });
  }

  #draw(job) {
    const was = this.#job;
    this.#job = job;
    this.element.ariaLabel = this.#about.title ?? kindOf(job);
    const counts = job.counts && el("dl", { className: "counts" }, ["ingested", "duplicate", "rejected", "waiting"].map((name) =>
      el("div", { className: job.counts[name] > 0 ? name : `${name} none` }, el("dt", {}, NAMES[name]), el("dd", {}, format.number(job.counts[name])))));
    const curve = job.progress?.curve ? curves(job.progress.curve) : null;
    while (this.element.firstChild !== this.#told) this.element.firstChild.remove();
    this.#told.before(...[
      el("div", { className: "card-head" }, el("h3", {}, this.#about.title ?? kindOf(job)), stateBadge(job)),
      progressOf(job), counts, job.kind === "video" ? videoFacts(job) : null, this.#outcome(job), curve,
    ].filter(Boolean));
    this.#drawActions(job);
    if (job.counts && job.counts.rejected !== this.#counted) {
      this.#counted = job.counts.rejected;
      if (this.#counted > 0) void this.#listRejected();
    }
    if (ended(job) && was && !ended(was)) announce(`${kindOf(job)}: ${STATES[job.state]}`);
  }

  #line({ at, level, message }) {
    this.#log.append(el("li", { className: level }, el("time", { dateTime: at }, format.instant(at)), ` ${message}`));
  }

  #outcome(job) {
    const superseded = job.state === "superseded"; // by a later choice: the work is done
    if (job.error) return el("div", { className: superseded ? "outcome warn" : "outcome bad" }, el("strong", {}, superseded ? "Another version was chosen: " : "It failed: "), format.sentence(job.error.message), " ", el("code", {}, job.error.code));
    const told = job.progress ?? {};
    if (job.kind === "retraining" && told.phase === "done" && told.reasons) {
      return el("div", { className: told.accepted ? "outcome good" : "outcome warn" },
        el("strong", {}, told.accepted ? "The gate accepted the candidate." : "The gate refused the candidate."),
        el("ul", {}, told.reasons.map(({ message }) => el("li", {}, format.sentence(message)))),
        told.overtaken ? hint(`It does not answer by itself: version ${told.overtaken.version} was asked for since.`) : null,
        link({ view: "models" }, "Model versions", { className: "textual" }));
    }
    if (job.kind === "ingest" && job.state === "succeeded" && job.counts?.duplicate > 0) {
      const { duplicate } = job.counts;
      return hint(`${format.count(duplicate, "file was", "files were")} in the collection already, byte for byte; nothing was added for ${duplicate === 1 ? "it" : "them"}.`);
    }
    return null;
  }

  /** The buttons, if they are others than before: one that is drawn anew with each event loses the click that has begun. */
  #drawActions(job) {
    const over = ended(job);
    const about = JSON.stringify([job.id, over, over || job.cancel_requested, job.retryable, job.result_url]);
    if (about === this.#acts.about) return;
    this.#acts.about = about;
    const buttons = this.#actions(job);
    this.#acts.element.hidden = buttons.length === 0;
    this.#acts.element.replaceChildren(...buttons);
  }

  #actions(job) {
    const act = (path, after) => once(async () => {
      try {
        after(await api.send("POST", `/v1/jobs/${job.id}/${path}`, undefined, this.#about.signal));
        this.#told.replaceChildren();
      } catch (error) {
        if (error.name !== "AbortError") this.#told.replaceChildren(failure(api.asProblem(error)));
      }
    });
    return [
      ended(job) || job.cancel_requested ? null : button("Cancel", act("cancel", (now) => {
        if (!ended(this.#job)) this.#draw(now); // its events may have told the end before this answer came
      })),
      job.retryable && ended(job) ? button("Try again what is left", act("retry", (again) => {
        this.#stop.abort();
        this.#stop = new AbortController();
        this.#log.replaceChildren();
        this.#listed(); // what is on its way is of the job before
        this.#rejected.replaceChildren();
        this.#counted = -1;
        this.#draw(again);
        this.follow();
        this.#about.onRetry?.(again);
      })) : null,
      job.result_url && session.may("admin") ? el("a", { href: job.result_url, download: "", className: "primary" }, "Download the file") : null,
    ].filter(Boolean);
  }

  async #listRejected(after = -1, rows = el("tbody")) {
    const path = `/v1/jobs/${this.#job.id}/items`;
    const newest = this.#listed();
    try {
      const page = await api.get(api.address(path, { status: "rejected", limit: ITEMS, after: String(after) }), this.#about.signal);
      if (!newest()) return; // more were refused meanwhile
      rows.append(...page.items.map(({ name, code, message }) => el("tr", {}, el("td", { className: "file" }, name), el("td", {}, format.sentence(message ?? "")), el("td", {}, el("code", {}, code ?? "")))));
      const more = page.next_after === null ? null : button("More", once(() => this.#listRejected(page.next_after, rows)));
      this.#rejected.replaceChildren(...[el("h4", {}, `Refused: ${format.count(this.#counted, "file", "files")}`),
        el("div", { className: "table-room", tabIndex: 0, role: "region", ariaLabel: "Files that were refused" },
          el("table", {}, el("thead", {}, el("tr", {}, ["File", "Reason", "Code"].map((text) => el("th", { scope: "col" }, text)))), rows)), more].filter(Boolean));
    } catch (error) {
      if (error.name !== "AbortError" && newest()) this.#rejected.replaceChildren(failure(api.asProblem(error), () => void this.#listRejected()));
    }
  }
}

const NAMES = { ingested: "Taken in", duplicate: "Duplicates", rejected: "Refused", waiting: "Waiting" };
