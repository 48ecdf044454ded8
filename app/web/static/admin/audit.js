// The audit: who did what, for what, newest first; what is looked for stands in the address.

import * as api from "../api.js";
import { Detail } from "../detail/panel.js";
import { announce, button, el, field } from "../dom.js";
import * as format from "../format.js";
import { command, failure, hint, loading, message } from "../messages.js";
import { go, link } from "../router.js";
import { turns } from "../turns.js";
import { KINDS, OTHERS } from "./actions.js";
import { grouped, line } from "./entry.js";
import { verifier } from "./verify.js";

const PATH = "/v1/admin/audit";
const PAGE = 100;
const FILTERS = ["actor", "action", "outcome", "since", "until", "identity", "image", "words"];
const HERE = { view: "admin", part: "audit" };
/** Outcomes that are looked for most; any other code can be written. */
const OUTCOMES = ["ok", "key_required", "key_invalid", "scope_missing", "purpose_required", "http_404", "internal_error"];
const WIDE = "(min-width: 821px)";

export async function mount(root, parameters, signal) {
  const wanted = Object.fromEntries(FILTERS.map((name) => [name, (parameters.get(name) ?? "").trim()]));
  const detail = new Detail({
    onClose: () => {}, onSearch: (part) => go(Object.fromEntries(Object.entries(part).map(([name, id]) => [name, String(id)]))),
    onChanged: () => {}, onDeleted: () => {},
  });
  signal.addEventListener("abort", () => detail.close({ quietly: true }));
  const list = new Entries(wanted, detail, signal);
  root.append(
    el("p", { className: "lead" }, "Every search, view, export, change and refusal, by whom and what for. Reading this is entered too."),
    verifier(signal), filterForm(wanted), list.element, exportHint(), detail.element);
  await list.more(null);
}

class Entries {
  element;
  #wanted;
  #detail;
  #signal;
  #turn = turns();
  #entries = [];
  #rows = el("ol", { className: "rows entries", role: "list" });
  #told = el("div", { className: "told" });
  #body = el("div", {}, loading("Loading the audit …"));
  #foot = el("div", { className: "foot" });

  constructor(wanted, detail, signal) {
    [this.#wanted, this.#detail, this.#signal] = [wanted, detail, signal];
    this.element = el("section", { ariaLabel: "Entries" },
      el("div", { className: "card-head" }, el("h2", {}, "Entries"), button("Look again", () => void this.more(null))), this.#told, this.#body, this.#foot);
  }

  /** The entries below a number; null: the newest. */
  async more(before) {
    const newest = this.#turn();
    try {
      const page = await api.get(api.address(PATH, { ...this.#wanted, limit: PAGE, before }), this.#signal);
      if (!newest()) return; // somebody looked again
      if (before === null) {
        this.#entries = [];
        this.#rows.replaceChildren();
      }
      const shown = this.#rows.childElementCount;
      this.#entries.push(...page.entries);
      this.#draw();
      const next = page.next_before;
      const older = button("Older", () => {
        older.disabled = true; // the same page twice would be shown twice
        void this.more(next);
      });
      this.#foot.replaceChildren(...(next === null ? [] : [older]));
      this.#told.replaceChildren();
      announce(`${format.count(this.#entries.length, "entry", "entries")} of the audit`);
      // The button that was pressed is another one now: go on reading where the new entries begin.
      if (before !== null) this.#rows.children[Math.min(shown, this.#rows.childElementCount - 1)]?.querySelector("summary").focus({ preventScroll: true });
    } catch (error) {
      if (error.name === "AbortError" || !newest()) return;
      const told = failure(api.asProblem(error), () => void this.more(before));
      // What is shown already stays; its button is the one that tries again.
      if (before === null) this.#body.replaceChildren(told);
      else this.#foot.replaceChildren(told);
    }
  }

  #draw() {
    const handlers = { onPerson: (id) => this.#person(id), onImage: (id) => void this.#image(id) };
    const groups = grouped(this.#entries);
    // The last line may go on in the new page; those before it stay, and with them what was opened in them.
    const kept = Math.max(0, this.#rows.childElementCount - 1);
    while (this.#rows.childElementCount > kept) this.#rows.lastChild.remove();
    this.#rows.append(...groups.slice(kept).map((group) => line(group, handlers)));
    this.#body.replaceChildren(groups.length > 0 ? this.#rows : this.#none());
  }

  #none() {
    return Object.values(this.#wanted).some(Boolean)
      ? message("No such entry", el("p", {}, "Nothing in the audit is like that."), link(HERE, "Show all", { className: "primary" }))
      : message("Nothing was entered yet", el("p", {}, "The first entry is that of this look: it is here when you look again."));
  }

  #person(id) {
    void this.#detail.open(id, { candidate: null, rank: null, words: "", queryId: null });
  }

  async #image(id) {
    try {
      this.#person((await api.get(`/v1/images/${id}`, this.#signal)).identity_id);
    } catch (error) {
      if (error.name === "AbortError") return;
      const told = failure(api.asProblem(error));
      this.#told.replaceChildren(told);
      told.scrollIntoView({ block: "nearest" });
    }
  }
}

function filterForm(wanted) {
  const text = (name, properties = {}) => el("input", { type: "text", name, value: wanted[name], autocomplete: "off", spellcheck: false, maxLength: 250, ...properties });
  const id = (name) => el("input", { type: "number", name, min: "1", step: "1", value: wanted[name], inputMode: "numeric" });
  const time = (name) => el("input", { type: "datetime-local", name, value: local(wanted[name]) });
  const outcomes = el("datalist", { id: "audit-outcomes" }, OUTCOMES.map((value) => el("option", { value })));
  const outcome = text("outcome", { maxLength: 64 });
  outcome.setAttribute("list", outcomes.id);
  const form = el("form", { className: "audit-form" },
    el("div", { className: "filter-grid" },
      field("Who", text("actor"), "Name of a key, open, or cli:USER."), field("What", actions(wanted.action)),
      field("Outcome", outcome, "ok, or the code of an error."), field("Words", text("words"), "In the query, the purpose, a name."),
      field("From", time("since")), field("Until", time("until")), field("Person", id("identity"), "Its number."), field("Image", id("image"), "Its number.")),
    outcomes, el("div", { className: "actions" }, el("button", { type: "submit", className: "primary" }, "Show"), link(HERE, "Show all", { className: "textual" })));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const given = [...new FormData(form)].map(([name, value]) => [name, value.trim()]).filter(([, value]) => value);
    const told = given.map(([name, value]) => [name, name === "since" || name === "until" ? new Date(value).toISOString() : value]);
    go({ ...HERE, ...Object.fromEntries(told) });
  });
  const set = Object.values(wanted).filter(Boolean).length;
  return el("details", { className: "panel-card audit-filter", open: set > 0 || matchMedia(WIDE).matches },
    el("summary", {}, set > 0 ? `Filters (${set})` : "Filters"), form);
}

function actions(chosen) {
  const option = (value, text) => el("option", { value, selected: value === chosen }, text);
  const groups = KINDS.map(([kind, title, names]) => el("optgroup", { label: title },
    option(`${kind}.*`, `${title}: any`), Object.entries(names).map(([value, text]) => option(value, text))));
  const known = chosen === "" || chosen in OTHERS || KINDS.some(([kind, , names]) => chosen === `${kind}.*` || chosen in names);
  return el("select", { name: "action" }, option("", "Anything"), known ? null : option(chosen, chosen), groups,
    el("optgroup", { label: "Others" }, Object.entries(OTHERS).map(([value, words]) => option(value, words))));
}

function exportHint() {
  return el("section", { ariaLabel: "Export" }, el("h2", {}, "Export"),
    hint("All entries as JSON lines, the head of the chain last; at the command line, for it can be large:"),
    el("div", { className: "message plain" }, command("descry audit export --out audit.jsonl")));
}

/** An instant as a field for date and time wants it, by this computer's clock. */
function local(iso) {
  const date = new Date(iso || Number.NaN);
  if (Number.isNaN(date.getTime())) return "";
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}
