// One line of the audit: who did what, when and what for; or several that say the same.

import { button, el } from "../dom.js";
import * as format from "../format.js";
import { hint } from "../messages.js";
import { conditions, inWords as sought, ofDefinition } from "../search/state.js";
import { inWords } from "./actions.js";

const MOMENT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const CLOCK = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
/** What a search is made of; everything else that was written is told by its name. */
const OF_SEARCHES = new Set(["query", "parts", "negatives", "picture", "filters", "collection", "group_by", "purpose"]);

/** Entries in groups, newest first: those that follow each other and differ in nothing but ids are one line. */
export function grouped(entries) {
  const groups = [];
  for (const entry of entries) {
    const last = groups.at(-1);
    if (last && alike(last[0], entry)) last.push(entry);
    else groups.push([entry]);
  }
  return groups;
}

function alike(one, other) {
  const silent = ({ words, words_erased: erased }) => words === null && !erased;
  return silent(one) && silent(other) && ["actor", "key_id", "action", "outcome"].every((name) => one[name] === other[name]);
}

/** The element of a group. `onPerson(id)`, `onImage(id)`: somebody wants to see it. */
export function line(group, handlers) {
  const [newest, oldest] = [group[0], group.at(-1)];
  const times = group.length > 1 ? `, ${format.number(group.length)} times` : "";
  const facts = el("details", { className: "entry-facts" }, el("summary", {}, "Details"));
  facts.addEventListener("toggle", () => {
    // Up to a thousand ids: made when somebody looks.
    if (facts.open && facts.childElementCount === 1) facts.append(details(group, handlers));
  });
  const bad = newest.outcome === "ok" ? null : el("span", { className: "badge failed" }, newest.outcome);
  return el("li", { className: "entry", "data-sequence": String(newest.sequence) },
    el("p", { className: "entry-when" }, el("time", { dateTime: newest.at, title: newest.at }, MOMENT.format(new Date(newest.at))),
      group.length > 1 ? el("span", {}, ` since ${since(oldest, newest)}`) : null),
    el("div", { className: "entry-main" },
      el("p", { className: "entry-what" }, el("strong", {}, newest.actor), ` ${inWords(newest.action)}${times} `, bad),
      ...written(newest), reach(group), facts));
}

/** The time of the oldest, with its day if that is another one. */
function since(oldest, newest) {
  const [from, to] = [new Date(oldest.at), new Date(newest.at)];
  return format.day(from) === format.day(to) ? CLOCK.format(from) : MOMENT.format(from);
}

function written({ words, words_erased: erased, facts }) {
  if (erased) return [el("p", { className: "erased" }, "What was written has been erased.")];
  if (words === null) return facts.wanted ? [told("Wanted", inWords(facts.wanted))] : [];
  if (words.unreadable) return [el("p", { className: "erased" }, "What was written cannot be read: somebody has changed it.")];
  const { purpose } = words;
  const state = ofDefinition({ definition: { ...words, filters: words.filters ?? undefined }, purpose });
  const asked = sought({ ...state, uploaded: false }, null);
  const narrowed = conditions(state).map(({ text }) => text).join(", ");
  const others = Object.entries(words).filter(([name, value]) => !OF_SEARCHES.has(name) && value !== false);
  return [
    asked ? told("Sought", asked) : null,
    ...pictures(words).map((hash) => told("Picture", el("code", { className: "hash" }, hash))),
    narrowed ? told("Among", narrowed) : null,
    purpose ? told("For", purpose) : null,
    facts.wanted ? told("Wanted", inWords(facts.wanted)) : null,
    ...others.map(([name, value]) => told(label(name), typeof value === "string" ? value : JSON.stringify(value))),
  ].filter(Boolean);
}

/** The hashes of the pictures that were searched by; of a part that has none, its name. */
function pictures({ picture, parts = [], negatives = [] }) {
  const all = [picture, ...parts.map((part) => part.picture), ...negatives.map((part) => part.picture)];
  return all.filter(Boolean).map((one) => (typeof one === "string" ? one : one.sha256 ?? JSON.stringify(one)));
}

function told(name, value) {
  return el("p", { className: "entry-word" }, el("span", {}, name), " ", value);
}

function label(name) {
  const text = format.fieldName(name);
  return text[0].toUpperCase() + text.slice(1);
}

/** How many people and images came back, or were changed. */
function reach(group) {
  const [people, images] = [all(group, "identity_ids"), all(group, "image_ids")];
  const parts = [people.length > 0 && format.count(people.length, "person", "people"), images.length > 0 && format.count(images.length, "image", "images"),
    group[0].facts.version && `model version ${group[0].facts.version}`].filter(Boolean);
  return parts.length > 0 ? hint(parts.join(" · ")) : null;
}

function details(group, { onPerson, onImage }) {
  const [newest, oldest] = [group[0], group.at(-1)];
  const ids = (name, open, what) => {
    const found = all(group, name);
    return found.length === 0 ? null : el("span", { className: "ids" }, found.map((id) => button(String(id), () => open(id), { className: "textual", ariaLabel: `Show ${what} ${id}` })));
  };
  const { target, request, ...others } = newest.facts;
  const rows = [
    ["Number", group.length > 1 ? `${oldest.sequence} to ${newest.sequence}` : String(newest.sequence)],
    ["Who", newest.key_id === null ? newest.actor : `${newest.actor}, key ${newest.key_id}`],
    ["Action", el("code", {}, newest.action)], ["Outcome", el("code", {}, newest.outcome)],
    ["Request", group.length > 1 ? null : [target, request].filter(Boolean).join(", ")],
    ...(group.length > 1 ? [] : Object.entries(others).filter(([, value]) => value !== null).map(([name, value]) => [label(name), typeof value === "object" ? JSON.stringify(value) : String(value)])),
    ["People", ids("identity_ids", onPerson, "person")], ["Images", ids("image_ids", onImage, "image")],
    ["Hash", group.length > 1 ? null : el("code", { className: "hash" }, newest.hash)],
  ].filter(([, value]) => value);
  return el("dl", { className: "entry-list" }, rows.map(([term, value]) => el("div", {}, el("dt", {}, term), el("dd", {}, value))));
}

function all(group, name) {
  return [...new Set(group.flatMap((entry) => entry[name]))];
}
