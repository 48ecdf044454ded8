// What one person has proposed as an identification and another one confirms or refuses, and what became of others.

import * as api from "../api.js";
import { arrange, button, el } from "../dom.js";
import * as format from "../format.js";
import { decisions, stateMark, story } from "../detail/identify.js";
import { Detail } from "../detail/panel.js";
import { failure, loading, message } from "../messages.js";
import { go, link } from "../router.js";
import { nothing, write } from "../search/state.js";
import { once, turns } from "../turns.js";

const [PAGE, PICTURES] = [20, 6];

export async function mount(root, parameters, signal) {
  const refresh = () => {
    void waiting.load();
    void decided.load();
  };
  let touched = false;
  const touch = () => {
    touched = true;
  };
  const detail = new Detail({
    onClose: () => {
      if (touched) refresh();
      touched = false;
    },
    onChanged: touch, onDeleted: touch,
    onSearch: (part, label) => go(write({ ...nothing(), ...part }), { state: { label } }),
  });
  const look = (id) => void detail.open(id, { candidate: null, rank: null, words: null, queryId: null, identified: touch });
  const decided = section("Decided", null, look, signal);
  const waiting = section("Waiting for a second person", "proposed", look, signal, () => void decided.load());
  root.append(el("h1", {}, "Identifications"),
    el("p", { className: "lead" }, "A search finds candidates. One of them is identified when two people say so, each with a key of their own: one proposes, another one confirms."),
    waiting.element, decided.element, detail.element);
  signal.addEventListener("abort", () => detail.close({ quietly: true }));
  refresh();
}

function section(title, state, look, signal, onChanged = () => {}) {
  const rows = el("ul", { className: "rows", role: "list" });
  const foot = el("div", { className: "foot" });
  const body = el("div", {}, loading("Loading …"));
  const kept = new Map(); // id -> its row, as it was told last: somebody may be writing in it
  const rowOf = (one) => {
    const about = JSON.stringify(one);
    if (kept.get(one.id)?.about !== about) kept.set(one.id, { about, element: row(one, look, onChanged) });
    return kept.get(one.id).element;
  };
  const turn = turns();
  const more = async (before) => {
    const newest = turn();
    try {
      const page = await api.get(api.address("/v1/identifications", { state, limit: PAGE, before }), signal);
      if (!newest()) return;
      const shown = page.identifications.filter((one) => state !== null || one.state !== "proposed").map(rowOf);
      arrange(rows, before === null ? shown : [...new Set([...rows.children, ...shown])]);
      if (rows.childElementCount > 0) arrange(body, [rows]);
      else body.replaceChildren(...(page.next_before ? [] : [empty(state)]));
      foot.replaceChildren(...(page.next_before ? [button("Earlier ones", once(() => more(page.next_before)))] : []));
    } catch (error) {
      if (error.name === "AbortError" || !newest()) return;
      body.replaceChildren(failure(api.asProblem(error), () => void more(before)));
    }
  };
  return { element: el("section", { ariaLabel: title }, el("h2", {}, title), body, foot), load: () => more(null) };
}

function empty(state) {
  return state === null
    ? message("Nobody was identified yet", el("p", {}, "Open a candidate of a search, then “Mark as identification”."), link({}, "Search", { className: "primary" }))
    : message("Nothing waits for a second person");
}

function row(one, look, onChanged) {
  const name = one.identity === null ? `Identity ${one.identity_id}` : format.nameOf(one.identity);
  const pictures = one.image_ids.slice(0, PICTURES).map((id) => el("img", {
    src: `/v1/images/${id}/thumbnail`, alt: `Image ${id} of ${name}`, loading: "lazy", decoding: "async",
  }));
  const asked = one.query === null ? "The search was deleted" : `Looked for ${one.query.words}`;
  const found = el("li", { className: "row identification" },
    el("div", { className: "row-main" },
      el("div", { className: "card-head" }, el("h3", {}, `${name}`), stateMark(one)),
      el("p", {}, asked), one.state === "confirmed" ? null : el("p", { className: "hint" }, one.notice),
      el("div", { className: "evidence-strip" }, pictures), story(one),
      el("div", { className: "actions" }, one.identity === null ? null : button("Look at all images", () => look(one.identity_id), { ariaLabel: `Look at all images of ${name}` })),
      decisions(one, (changed) => {
        const next = row(changed, look, onChanged);
        found.replaceWith(next);
        next.querySelector("h3").tabIndex = -1;
        next.querySelector("h3").focus();
        onChanged();
      })));
  return found;
}
