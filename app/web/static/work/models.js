// Model versions: what is known of each, which one answers, and how another one is made.

import * as api from "../api.js";
import { announce, button, el } from "../dom.js";
import * as format from "../format.js";
import { command, confirmed, failure, hint, loading, message } from "../messages.js";
import { link } from "../router.js";
import { session } from "../session.js";
import { pause } from "../sse.js";
import { stock } from "../stock.js";
import { turns } from "../turns.js";
import { JobCard } from "./job.js";
import { retraining } from "./retraining.js";

const [LOOKS, LOOK_MS] = [20, 500];
const STATES = {
  active: "answers now", ready: "ready to answer", encoding: "is being encoded", registered: "registered", retired: "retired",
  candidate: "waits for the gate", refused: "refused by the gate",
};

export async function mount(root, parameters, signal) {
  const list = el("div", { className: "uploads" }, loading("Loading the model versions …"));
  const jobs = el("div", { className: "uploads" });
  const tolds = new Map(); // model id -> what is said of it: the list may be drawn anew before its answer comes
  const toldOf = ({ id }) => {
    if (!tolds.has(id)) tolds.set(id, el("div", { className: "told" }));
    return tolds.get(id);
  };
  const turn = turns();
  const refresh = async () => {
    const newest = turn();
    try {
      const found = await api.get("/v1/models", signal);
      if (!newest()) return found;
      list.replaceChildren(...(found.models.length > 0 ? [...found.models].reverse().map((one) => version(one, found, change, toldOf(one))) : [none()]));
      return found;
    } catch (error) {
      if (error.name === "AbortError" || !newest()) return null;
      list.replaceChildren(failure(api.asProblem(error), () => void refresh()));
      return null;
    }
  };
  const followed = new Set();
  const follow = (job, title) => {
    if (followed.has(job.id)) return; // what was begun here is found among those that run as well
    followed.add(job.id);
    const card = new JobCard(job, { title, signal, onEnd: () => void settle(refresh, signal).catch(() => {}) });
    jobs.prepend(card.element);
    card.follow();
  };
  // An activation or a rollback: at once, or by a job.
  let sending = false;
  const change = async (model, path, body, told) => {
    if (sending) return; // two clicks send once
    sending = true;
    told.replaceChildren();
    try {
      const answer = await api.send("POST", `/v1/models/${model.id}/${path}`, body, signal).finally(() => (sending = false));
      if (answer.kind) follow(answer, `Encoding the gallery for ${model.name}`);
      else announce(`${answer.name} answers now`);
      await settle(refresh, signal);
    } catch (error) {
      if (error.name !== "AbortError") told.replaceChildren(failure(api.asProblem(error)));
    }
  };
  root.append(el("h1", {}, "Models"), jobs, el("section", { ariaLabel: "Versions" }, el("h2", {}, "Versions"), list));
  const found = await refresh();
  if (session.may("admin")) root.append(retraining(found, { signal, onQueued: (job) => follow(job, "Retraining") }));
  if (!session.may("ingest")) return;
  // In this order: a job that begins meanwhile is found twice rather than not at all.
  const { jobs: queued } = await api.get("/v1/jobs?state=queued&limit=20", signal);
  const { jobs: running } = await api.get("/v1/jobs?state=running&limit=20", signal);
  for (const job of [...queued, ...running].filter(({ kind }) => kind === "retraining" || kind === "indexing")) follow(job);
}

/** The server follows an activation by another process within seconds; until then its summary names the version before. */
async function settle(refresh, signal) {
  const found = await refresh();
  for (let look = 0; look < LOOKS; look += 1) {
    await stock.refresh();
    if (found === null || stock.now?.model_version?.id === found.active_id) return;
    await pause(LOOK_MS, signal);
  }
}

function none() {
  if (!session.may("admin")) return message("No model version is registered", el("p", {}, "An administrator registers the first one."));
  return message("No model version is registered", el("p", {}, "Take the one that comes with Descry, or a checkpoint of your own in place of --shipped:"), command("descry models register --shipped"));
}

function version(model, all, change, told) {
  const active = model.id === all.active_id;
  const before = all.models.find(({ id }) => id === all.predecessor_id);
  const facts = [`${model.method} on ${model.backbone}`, `since ${format.instant(model.created_at)}`,
    model.parent_id && `trained from ${all.models.find(({ id }) => id === model.parent_id)?.name ?? `version ${model.parent_id}`}`,
    model.missing > 0 && `${format.count(model.missing, "image is", "images are")} not encoded for it`].filter(Boolean).join(" · ");
  const activate = async (despite) => {
    const agreed = !despite || (await confirmed({
      title: `Let ${model.name} answer although the gate did not accept it?`,
      text: "The gate measured it on people that it was not trained on, and found no gain or a loss. Searches may become worse.",
      agree: "Activate it",
    }));
    if (agreed) await change(model, "activate", { despite_gate: despite }, told);
  };
  const judged = model.status === "refused" || model.status === "candidate";
  const actions = !session.may("admin") ? [] : active
    ? [before ? button(`Roll back to ${before.name}`, () => void change(model, "rollback", undefined, told)) : null]
    : [button("Activate", () => void activate(judged), { className: judged ? "quiet dangerous" : "primary", disabled: model.status === "encoding", ariaLabel: `Activate ${model.name}` })];
  return el("article", { className: active ? "panel-card model active" : "panel-card model", ariaLabel: `Model version ${model.name}` },
    el("div", { className: "card-head" }, el("h3", {}, model.name), el("span", { className: `badge state ${model.status}` }, STATES[model.status] ?? model.status)),
    hint(facts), figures(model.metrics), verdict(model), quality(model.calibration), told,
    el("div", { className: "actions" }, actions.filter(Boolean), model.job_id && session.may("ingest") ? link({ view: "jobs", job: model.job_id }, "Its retraining", { className: "textual" }) : null));
}

function figures(metrics) {
  const shown = ["R@1", "R@5", "R@10", "mAP", "mINP"].filter((name) => typeof metrics[name] === "number");
  if (shown.length === 0) return hint("Nothing was measured of it here.");
  const on = [metrics.data, metrics.split, metrics.queries && `${format.number(metrics.queries)} queries`].filter(Boolean).join(", ");
  return el("div", {}, el("dl", { className: "counts" }, shown.map((name) => el("div", {}, el("dt", {}, name), el("dd", {}, metrics[name].toFixed(1))))),
    on ? hint(`On ${on}.`) : null);
}

function quality(calibration) {
  const text = calibration.confidence?.text;
  if (!text) return hint("It does not know what its scores mean: answers have no confidence.");
  return hint(`Confidence learnt from ${format.number(text.queries)} queries of ${text.data} ${text.split}, off by ${(100 * text.error).toFixed(1)} points on average.`);
}

function verdict({ gate, status }) {
  if (!gate) return null;
  const sets = (gate.sets ?? []).map((one) => {
    const cells = ["R@1", "mAP"].flatMap((name) => [one[name].candidate.toFixed(2), one[name].active.toFixed(2), `${signed(one[name].difference)} [${signed(one[name].low)}, ${signed(one[name].high)}]`]);
    return el("tr", {}, el("th", { scope: "row" }, `${one.data} ${one.split}`), cells.map((text) => el("td", { className: "number" }, text)));
  });
  const names = ["R@1", "mAP"].flatMap((name) => [name, "active", "difference"]);
  return el("details", { className: "gate", open: status === "refused" },
    el("summary", {}, gate.accepted ? "The gate accepted it" : "The gate refused it"),
    el("ul", {}, (gate.reasons ?? []).map(({ message: text }) => el("li", {}, format.sentence(text)))),
    sets.length > 0 ? el("div", { className: "table-room", tabIndex: 0, role: "region", ariaLabel: "What the gate measured" },
      el("table", {}, el("thead", {}, el("tr", {}, ["Split", ...names].map((text) => el("th", { scope: "col" }, text)))), el("tbody", {}, sets))) : null);
}

function signed(value) {
  return `${value >= 0 ? "+" : "\u2212"}${Math.abs(value).toFixed(2)}`;
}
