// What one person has proposed as an identification and another one confirms or refuses, and what became of others.

import * as api from "../api.js";
import { button, el } from "../dom.js";
import * as format from "../format.js";
import { decisions, stateMark, story } from "../detail/identify.js";
import { Detail } from "../detail/panel.js";
import { failure, loading, message } from "../messages.js";
import { go, link } from "../router.js";
import { nothing, write } from "../search/state.js";

const [PAGE, PICTURES] = [20, 6];

export async function mount(root, parameters, signal) {
  const refresh = () => {
    void waiting.load();
    void decided.load();
  };
  const detail = new Detail({
    onClose: refresh, onChanged: () => {}, onDeleted: () => {},
    onSearch: (part, label) => go(write({ ...nothing(), ...part }), { state: { label } }),
  });
  const decided = section("Decided", null, detail, signal);
  const waiting = section("Waiting for a second person", "proposed", detail, signal, () => void decided.load());
  root.append(el("h1", {}, "Identifications"),
    el("p", { className: "lead" }, "A search finds candidates. One of them is identified when two people say so, each with a key of their own: one proposes, another one confirms."),
    waiting.element, decided.element, detail.element);
  signal.addEventListener("abort", () => detail.close({ quietly: true }));
  refresh();
}

function section(title, state, detail, signal, onChanged = () => {}) {
  const rows = el("ul", { className: "rows", role: "list" });
  const foot = el("div", { className: "foot" });
  const body = el("div", {}, loading("Loading …"));
  const more = async (before) => {
    try {
      const page = await api.get(api.address("/v1/identifications", { state, limit: PAGE, before }), signal);
      if (before === null) rows.replaceChildren();
      const shown = page.identifications.filter((one) => state !== null || one.state !== "proposed");
      rows.append(...shown.map((one) => row(one, detail, onChanged)));
      if (rows.childElementCount > 0) body.replaceChildren(rows);
      else body.replaceChildren(...(page.next_before ? [] : [empty(state)]));
      foot.replaceChildren(...(page.next_before ? [button("Earlier ones", () => void more(page.next_before))] : []));
    } catch (error) {
      if (error.name === "AbortError") return;
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

function row(one, detail, onChanged) {
  const name = one.identity === null ? `Identity ${one.identity_id}` : format.nameOf(one.identity);
  const look = () => void detail.open(one.identity_id, { candidate: null, rank: null, words: null, queryId: null, verdict: null });
  const pictures = one.image_ids.slice(0, PICTURES).map((id) => el("img", {
    src: `/v1/images/${id}/thumbnail`, alt: `Image ${id} of ${name}`, loading: "lazy", decoding: "async",
  }));
  const asked = one.query === null ? "The search was deleted" : `Looked for ${one.query.words}`;
  const found = el("li", { className: "row identification" },
    el("div", { className: "row-main" },
      el("div", { className: "card-head" }, el("h3", {}, `${name}`), stateMark(one)),
      el("p", {}, asked), one.state === "confirmed" ? null : el("p", { className: "hint" }, one.notice),
      el("div", { className: "evidence-strip" }, pictures), story(one),
      el("div", { className: "actions" }, one.identity === null ? null : button("Look at all images", look, { ariaLabel: `Look at all images of ${name}` })),
      decisions(one, (changed) => {
        const next = row(changed, detail, onChanged);
        found.replaceWith(next);
        next.querySelector("h3").tabIndex = -1;
        next.querySelector("h3").focus();
        onChanged();
      })));
  return found;
}
