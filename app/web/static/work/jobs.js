// Jobs: the list, and one of them.

import * as api from "../api.js";
import { arrange, button, el } from "../dom.js";
import * as format from "../format.js";
import { failure, hint, loading, message } from "../messages.js";
import { go, link } from "../router.js";
import { ended, pause } from "../sse.js";
import { once } from "../turns.js";
import { JobCard, kindOf, progressOf, stateBadge } from "./job.js";

const LOOK_MS = 2_000;
const PAGE = 30;
const STATES = [["", "All"], ["running", "Running"], ["queued", "Waiting"], ["failed", "Failed"], ["succeeded", "Done"], ["cancelled", "Cancelled"], ["superseded", "Superseded"]];

export async function mount(root, parameters, signal) {
  const id = parameters.get("job");
  if (id) await one(root, id, signal);
  else await all(root, parameters.get("state") ?? "", signal);
}

async function one(root, id, signal) {
  root.append(el("p", {}, link({ view: "jobs" }, "← All jobs")), loading("Loading the job …"));
  const job = await api.get(`/v1/jobs/${encodeURIComponent(id)}`, signal);
  const card = new JobCard({ ...job, log: ended(job) ? job.log : [] }, {
    signal, openLog: true, onRetry: (again) => go({ view: "jobs", job: again.id }, { replace: true }),
  });
  const facts = [`Asked for ${format.instant(job.created_at)}`, job.started_at && `began ${format.instant(job.started_at)}`,
    job.finished_at && `ended ${format.instant(job.finished_at)}`, job.worker && `by ${job.worker}`].filter(Boolean).join(" · ");
  root.lastChild.replaceWith(el("h1", {}, kindOf(job)), el("p", { className: "hint" }, facts), card.element);
  if (!ended(job)) card.follow();
}

async function all(root, state, signal) {
  const filter = el("div", { className: "tabs", role: "group", ariaLabel: "Which jobs" }, STATES.map(([value, text]) => {
    const found = link(value ? { view: "jobs", state: value } : { view: "jobs" }, text);
    if (value === state) found.setAttribute("aria-current", "true");
    return found;
  }));
  const list = el("ul", { className: "rows", role: "list" });
  const body = el("div", {}, loading("Loading the jobs …"));
  const foot = el("div", { className: "foot" });
  root.append(el("h1", {}, "Jobs"), filter, body, foot);
  const empty = none(state);
  const older = new Map();
  const kept = new Map(); // id -> its row: a link that is drawn anew loses the click that has begun
  const rowOf = (job) => {
    if (!kept.has(job.id)) kept.set(job.id, row(job));
    const { element, draw: redraw } = kept.get(job.id);
    redraw(job);
    return element;
  };
  const draw = ({ jobs, next_before: before }) => {
    const shown = [...jobs, ...[...older.values()].filter(({ id }) => !jobs.some((job) => job.id === id))];
    const focused = list.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    arrange(list, shown.map(rowOf));
    if (focused) list.querySelector(`a[href="${focused}"]`)?.focus({ preventScroll: true });
    arrange(body, [shown.length > 0 ? list : empty]);
    if (older.size === 0) next(before);
  };
  let below = null; // where the button goes on; one that is the same stays
  const next = (before) => {
    if (before === below) return;
    below = before;
    foot.replaceChildren(...(before ? [button("Earlier jobs", once(() => more(before)))] : []));
  };
  const more = async (before) => {
    try {
      const page = await api.get(api.address("/v1/jobs", { state, limit: PAGE, before }), signal);
      for (const job of page.jobs) older.set(job.id, job);
      arrange(list, [...new Set([...list.children, ...page.jobs.map(rowOf)])]);
      next(page.next_before);
    } catch (error) {
      if (error.name === "AbortError") return;
      foot.replaceChildren(failure(api.asProblem(error), once(() => more(before))));
    }
  };
  void watch(body, draw, state, signal);
}

/** Ask again while something is under way and somebody looks. */
async function watch(body, draw, state, signal) {
  for (;;) {
    try {
      if (document.visibilityState === "visible") draw(await api.get(api.address("/v1/jobs", { state, limit: PAGE }), signal));
    } catch (error) {
      if (error.name === "AbortError") return;
      body.replaceChildren(failure(api.asProblem(error)), hint("It is asked again every few seconds."));
    }
    try {
      await pause(LOOK_MS, signal);
    } catch {
      return;
    }
  }
}

function none(state) {
  return state ? message("No such job", el("p", {}, "There are no jobs in this state.")) : message("No jobs yet",
    el("p", {}, "Uploads, exports, activations and retrainings appear here while they run and afterwards."),
    link({ view: "gallery" }, "Upload pictures", { className: "primary" }));
}

/** The row of a job: `element`, and `draw(job)` for what it is now. Its link stays the same. */
function row({ id, kind }) {
  const main = el("div", { className: "row-main" }, link({ view: "jobs", job: id }, kindOf({ kind }), { className: "row-name" }));
  const element = el("li", { className: "row" }, main);
  let drawn = "";
  const draw = (job) => {
    if (drawn === JSON.stringify(job)) return;
    drawn = JSON.stringify(job);
    while (main.childElementCount > 1) main.lastChild.remove();
    main.append(el("p", { className: "hint" }, factsOf(job)), ...(ended(job) ? [] : [progressOf(job)]));
    if (element.childElementCount > 1) element.lastChild.remove();
    element.append(stateBadge(job));
  };
  return { element, draw };
}

function factsOf(job) {
  const { counts } = job;
  const told = counts === null ? "" : [counts.ingested > 0 && `${format.number(counts.ingested)} taken in`,
    counts.duplicate > 0 && format.count(counts.duplicate, "duplicate", "duplicates"), counts.rejected > 0 && `${format.number(counts.rejected)} refused`].filter(Boolean).join(", ");
  return [format.instant(job.created_at), told, job.error?.message].filter(Boolean).join(" · ");
}
