// The conditions of a search: collection, cameras, time, attributes, and what the search is for.

import * as api from "../api.js";
import { button, el, field } from "../dom.js";
import * as format from "../format.js";
import { failure, hint } from "../messages.js";
import { session } from "../session.js";

const SHOWN_CAMERAS = 8;
const BY_NAME = new Intl.Collator(undefined, { numeric: true }); // platform 2 before platform 10
const OF_HOURS = "Any day, by this computer's clock; it may pass midnight.";
const NAMED = [["", "Everybody"], ["yes", "Named people only"], ["no", "Unnamed people only"]];

/** The panel with all conditions. `onChange()` is called whenever one has changed. */
export class Filters {
  element;
  #state;
  #onChange;
  #signal;
  #loaded = null; // the collection whose cameras and attributes are shown
  #asked = null; // the one whose are on their way
  #facets = null;
  toggle;
  #body = el("div", { id: "filters", className: "filter-body", hidden: true, role: "group", ariaLabel: "Filters" });
  #attributes = el("div", { className: "conditions" });
  note = el("span", { className: "hint", id: "purpose-note" });
  purpose = el("input", { id: "purpose", type: "text", maxLength: 200, autocomplete: "off", "aria-describedby": "purpose-note" });

  constructor(state, onChange, signal) {
    [this.#state, this.#onChange, this.#signal] = [state, onChange, signal];
    this.element = this.#body;
    this.toggle = button("Filters", () => {
      this.#body.hidden = !this.#body.hidden;
      this.toggle.setAttribute("aria-expanded", String(!this.#body.hidden));
      if (!this.#body.hidden) void this.#load();
    }, { className: "quiet filter-toggle", "aria-expanded": "false", "aria-controls": "filters" });
    this.purpose.addEventListener("input", () => {
      this.#allowPurpose();
      this.#set({ purpose: this.purpose.value.trim() });
    });
    session.onChange(() => this.#markPurpose(), signal);
    this.#markPurpose();
  }

  /** The conditions as they are in the form. */
  get state() {
    return this.#state;
  }

  /** Show other conditions. */
  show(state) {
    const same = JSON.stringify(fields(state)) === JSON.stringify(fields(this.#state));
    this.#state = state;
    this.purpose.value = state.purpose;
    this.#allowPurpose();
    this.#count();
    if (!this.#body.hidden && !same) void this.#load();
  }

  /** Whether the purpose is needed and missing. */
  get lacksPurpose() {
    return session.wantsPurpose(this.#state.collection) && this.#state.purpose === "";
  }

  /** The purpose is required: say so where it is written. */
  requirePurpose(told = "Say what the search is for, such as a case.") {
    this.purpose.required = true;
    this.purpose.setAttribute("aria-invalid", "true");
    this.note.textContent = told;
    this.purpose.focus();
  }

  #allowPurpose() {
    this.purpose.removeAttribute("aria-invalid");
    this.note.textContent = "";
  }

  #markPurpose() {
    this.purpose.required = session.wantsPurpose(this.#state.collection);
  }

  #set(change) {
    this.#state = { ...this.#state, ...change };
    this.#count();
    this.#onChange();
  }

  #count() {
    const { collection, cameras, from, to, hours, named, attributes, more, group } = this.#state;
    const set = [collection, ...cameras, from, to, hours, named, ...attributes, more, group === "image"].filter(Boolean).length;
    this.#markPurpose();
    this.toggle.textContent = set > 0 ? `Filters (${set})` : "Filters";
  }

  async #load() {
    const { collection } = this.#state;
    if (this.#loaded === collection) this.#asked = null;
    else if (this.#asked === collection) return; // drawn twice, what was typed meanwhile would be lost
    else {
      this.#asked = collection;
      this.#body.replaceChildren(hint("Loading what this gallery can be filtered by …"));
      try {
        const [facets, { collections }] = await Promise.all([
          api.get(api.address("/v1/gallery/facets", { collection }), this.#signal),
          api.get("/v1/collections", this.#signal),
        ]);
        if (this.#asked !== collection) return; // another one was chosen meanwhile
        this.#facets = { ...facets, collections };
        [this.#loaded, this.#asked] = [collection, null];
      } catch (error) {
        if (error.name === "AbortError" || this.#asked !== collection) return;
        this.#asked = null;
        this.#body.replaceChildren(failure(api.asProblem(error), () => void this.#load()));
        return;
      }
    }
    this.#draw();
  }

  #draw() {
    const { collections, first_at: first, last_at: last } = this.#facets;
    const names = collections.map(({ name, images }) => [name, `${name} (${format.number(images)})`]);
    this.#drawAttributes();
    this.#body.replaceChildren(
      el("div", { className: "filter-grid" },
        field("Collection", this.#select([["", "All collections"], ...names], this.#state.collection, (collection) => {
          this.#set({ collection, cameras: [] });
          void this.#load();
        })),
        field("People", this.#select(NAMED, this.#state.named, (named) => this.#set({ named }))),
        field("Each card shows", this.#select([["identity", "A person"], ["image", "A single image"]], this.#state.group,
          (group) => this.#set({ group })))),
      el("div", { className: "filter-grid" }, this.#time(first, last), this.#hours()),
      this.#cameras(),
      el("fieldset", {}, el("legend", {}, "Attributes"), this.#attributes),
    );
  }

  #select(options, chosen, onPick) {
    const items = options.map(([value, text]) => el("option", { value, selected: value === chosen }, text));
    const found = el("select", {}, items);
    found.addEventListener("change", () => onPick(found.value));
    return found;
  }

  #cameras() {
    const { cameras } = this.#facets;
    const list = el("div", { className: "choices" });
    const unknown = this.#state.cameras.filter((name) => !cameras.some((one) => one.name === name));
    const all = [...unknown.map((name) => ({ name, images: 0 })), ...cameras].sort((one, other) => BY_NAME.compare(one.name, other.name));
    const box = ({ name, images }) => {
      const input = el("input", { type: "checkbox", checked: this.#state.cameras.includes(name) });
      input.addEventListener("change", () => {
        const others = this.#state.cameras.filter((one) => one !== name);
        this.#set({ cameras: input.checked ? [...others, name] : others });
      });
      return el("label", { className: "choice" }, input, el("span", {}, name), el("span", { className: "count" }, format.number(images)));
    };
    const draw = (text) => {
      const found = all.filter(({ name }) => name.toLowerCase().includes(text.toLowerCase()));
      list.replaceChildren(...(found.length > 0 ? found.map(box) : [hint("No camera is called like that.")]));
    };
    draw("");
    const search = el("input", { type: "search", placeholder: "Find a camera", ariaLabel: "Find a camera" });
    search.addEventListener("input", () => draw(search.value));
    return el("fieldset", {}, el("legend", {}, "Cameras"),
      all.length > SHOWN_CAMERAS ? search : null,
      all.length > 0 ? list : hint("No image of this gallery says by which camera it was taken."));
  }

  #time(first, last) {
    const input = (name, label) => {
      const found = el("input", { type: "datetime-local", value: local(this.#state[name]), min: local(first, true), ariaLabel: label });
      found.addEventListener("change", () => this.#set({ [name]: found.value ? new Date(found.value).toISOString() : "" }));
      return found;
    };
    return el("fieldset", { className: "time" }, el("legend", {}, "Taken"),
      el("div", { className: "pair" }, input("from", "Taken from"), el("span", {}, "to"), input("to", "Taken until")),
      hint(first === null ? "No image of this gallery says when it was taken." : `The gallery goes from ${format.instant(first)} to ${format.instant(last)}.`));
  }

  #hours() {
    const [from = "", to = ""] = this.#state.hours.split("-");
    const told = hint(OF_HOURS);
    const inputs = [["From this time of day", from], ["Until this time of day", to]].map(([ariaLabel, value]) => el("input", { type: "time", ariaLabel, value }));
    const change = () => {
      const [begin, end] = inputs.map((one) => one.value);
      const same = begin && begin === end;
      const half = Boolean(begin) !== Boolean(end);
      told.textContent = same ? "From and until are the same time: leave both out for the whole day."
        : half ? "Both times are needed: until then the whole day is searched." : OF_HOURS;
      const hours = begin && end && !same ? `${begin}-${end}` : "";
      if (hours !== this.#state.hours) this.#set({ hours });
    };
    for (const one of inputs) one.addEventListener("change", change);
    return el("fieldset", { className: "time" }, el("legend", {}, "Time of day"),
      el("div", { className: "pair" }, inputs[0], el("span", {}, "to"), inputs[1]), told);
  }

  #drawAttributes() {
    const rows = this.#state.attributes.map(([whose, name, value], index) => el("li", {},
      el("span", {}, `${format.fieldName(name)} is ${value}${whose === "identity" ? " (person)" : ""}`),
      button("Remove", () => {
        this.#set({ attributes: this.#state.attributes.filter((_, at) => at !== index) });
        this.#drawAttributes();
      }, { className: "textual", ariaLabel: `Remove the condition ${format.fieldName(name)}` })));
    const known = [...this.#facets.image_attributes.map((one) => ["image", one]), ...this.#facets.identity_attributes.map((one) => ["identity", one])];
    this.#attributes.replaceChildren(el("ul", { role: "list" }, rows),
      known.length > 0 ? this.#adder(known) : hint("The newest images have no attributes."));
  }

  #adder(known) {
    const [names, values] = [el("select", { ariaLabel: "Attribute" }), el("select", { ariaLabel: "Value" })];
    names.append(...known.map(([whose, { field: name }], index) =>
      el("option", { value: String(index) }, format.fieldName(name) + (whose === "identity" ? " (person)" : ""))));
    const fill = () => values.replaceChildren(...known[Number(names.value)][1].values.map(({ value, count }, index) =>
      el("option", { value: String(index) }, `${value} (${format.number(count)})`)));
    names.addEventListener("change", fill);
    fill();
    const add = button("Add", () => {
      const [whose, facet] = known[Number(names.value)];
      const { value } = facet.values[Number(values.value)];
      this.#set({ attributes: [...this.#state.attributes, [whose, facet.field, value]] });
      this.#drawAttributes();
      this.#attributes.querySelector("select").focus();
    }, { ariaLabel: "Add this condition" });
    return el("div", { className: "adder" }, names, el("span", {}, "is"), values, add);
  }
}

function fields({ collection, cameras, from, to, hours, named, attributes, group }) {
  return [collection, cameras, from, to, hours, named, attributes, group];
}

/** An instant as a field for date and time wants it, by this computer's clock. */
function local(iso, floor = false) {
  if (!iso) return "";
  const date = new Date(iso);
  if (Number.isNaN(date.getTime())) return "";
  const here = new Date(date.getTime() - date.getTimezoneOffset() * 60_000);
  return here.toISOString().slice(0, floor ? 10 : 16) + (floor ? "T00:00" : "");
}
