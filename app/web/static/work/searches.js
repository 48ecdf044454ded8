// Searches that were asked: saved ones, and those of the last days.

import * as api from "../api.js";
import { announce, button, el } from "../dom.js";
import * as format from "../format.js";
import { confirmed, failure, loading, message } from "../messages.js";
import { link } from "../router.js";
import { once } from "../turns.js";

const PAGE = 50;

export async function mount(root, parameters, signal) {
  const list = (saved) => section(saved, signal);
  root.append(el("h1", {}, "Past searches"),
    el("p", { className: "lead" }, "Every search is kept for a while with what it was for; a saved one until it is deleted."),
    list(true), list(false));
}

function section(saved, signal) {
  const rows = el("ul", { className: "rows", role: "list" });
  const foot = el("div", { className: "foot" });
  const body = el("div", {}, loading("Loading …"));
  const more = async (cursor) => {
    try {
      const page = await api.get(api.address("/v1/queries", { saved: String(saved), limit: PAGE, cursor }), signal);
      rows.append(...page.queries.map((query) => row(query, signal)));
      body.replaceChildren(rows.childElementCount > 0 ? rows : empty(saved));
      foot.replaceChildren(...(page.next_cursor ? [button("Earlier searches", once(() => more(page.next_cursor)))] : []));
    } catch (error) {
      if (error.name === "AbortError") return;
      body.replaceChildren(failure(api.asProblem(error), () => void more(cursor)));
    }
  };
  void more(null);
  return el("section", { ariaLabel: saved ? "Saved" : "Recent" }, el("h2", {}, saved ? "Saved" : "Recent"), body, foot);
}

function empty(saved) {
  return saved
    ? message("No search is saved", el("p", {}, "“Save search” above the results keeps one under a name."))
    : message("Nothing was searched for in the last days", link({}, "Search", { className: "primary" }));
}

function row(query, signal) {
  const name = query.name ?? query.words;
  const told = el("div", {});
  const facts = [
    query.name === null ? null : query.words,
    query.purpose === null ? null : `for ${query.purpose}`,
    format.instant(query.created_at),
    query.feedback > 0 ? format.count(query.feedback, "verdict", "verdicts") : null,
    query.outdated ? "its picture belongs to another model version: it cannot be asked again without it" : null,
  ].filter(Boolean).join(" · ");
  const remove = button("Delete", async () => {
    const agreed = await confirmed({ title: "Forget this search?", text: "The search and the verdicts on it are removed for good.", agree: "Forget it" });
    if (!agreed) return;
    try {
      await api.send("DELETE", `/v1/queries/${query.id}`, undefined, signal);
      found.remove();
      announce("Forgotten");
    } catch (error) {
      if (error.name !== "AbortError") told.replaceChildren(failure(api.asProblem(error)));
    }
  }, { className: "textual dangerous", ariaLabel: `Delete the search ${name}` });
  const found = el("li", { className: "row" },
    el("div", { className: "row-main" }, query.outdated ? el("strong", {}, name) : link({ query: query.id }, name, { className: "row-name" }),
      el("p", { className: "hint" }, facts), told), remove);
  return found;
}
