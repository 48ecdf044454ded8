// What is searched for: as it stands in the address, in the form, and in the request. An address never holds a picture;
// a search with one is named by its query, whose vector the server keeps.

import * as format from "../format.js";

const PERSON = "identity";

/** Nothing is searched for. `more`: conditions that the form has no field for, as the API takes them. */
export function nothing() {
  return {
    words: "", without: [], like: null, person: null, query: null, refine: false,
    collection: "", cameras: [], from: "", to: "", hours: "", named: "", attributes: [], more: null,
    purpose: "", group: PERSON,
  };
}

/** What an address asks for. */
export function read(parameters) {
  const text = (name) => (parameters.get(name) ?? "").trim();
  const number = (name) => (/^[1-9]\d{0,15}$/.test(text(name)) ? Number(text(name)) : null);
  const many = (name) => parameters.getAll(name).map((one) => one.trim()).filter(Boolean);
  return {
    ...nothing(),
    words: text("q"), without: many("not"), like: number("like"), person: number("person"),
    query: /^[0-9a-f]{32}$/.test(text("query")) ? text("query") : null, refine: text("refine") === "1",
    collection: text("collection"), cameras: many("camera"), from: text("from"), to: text("to"),
    hours: /^\d\d:\d\d-\d\d:\d\d$/.test(text("hours")) ? text("hours") : "",
    named: ["yes", "no"].includes(text("named")) ? text("named") : "",
    attributes: many("attr").map(parsed).filter(isCondition), more: parsed(text("more")),
    purpose: text("purpose"), group: text("group") === "image" ? "image" : PERSON,
  };
}

/** The parameters of an address. */
export function write(state) {
  const found = new URLSearchParams();
  const add = (name, value) => value && found.append(name, value);
  if (state.query) {
    add("query", state.query);
    add("refine", state.refine ? "1" : "");
    return found;
  }
  add("q", state.words);
  state.without.forEach((one) => add("not", one));
  for (const name of ["like", "person", "collection"]) add(name, state[name] === null ? "" : String(state[name]));
  state.cameras.forEach((one) => add("camera", one));
  for (const name of ["from", "to", "hours", "named"]) add(name, state[name]);
  state.attributes.forEach((one) => add("attr", JSON.stringify(one)));
  add("more", state.more ? JSON.stringify(state.more) : "");
  add("purpose", state.purpose);
  add("group", state.group === PERSON ? "" : state.group);
  return found;
}

/** Whether there is something to search for. */
export function asks(state, file = null) {
  return Boolean(state.words || state.like || state.person || state.query || file);
}

/** What a query that was asked looks like in the form. */
export function ofDefinition({ definition, purpose }) {
  const parts = definition.parts ?? [definition.query === undefined ? {} : { text: definition.query }];
  const { cameras = [], captured_at: span, time_of_day: hours, provisional, image_attributes: image = [],
    identity_attributes: person = [], ...others } = definition.filters ?? {};
  const kept = (conditions) => conditions.filter((one) => one.op === "eq");
  const other = (conditions) => conditions.filter((one) => one.op !== "eq");
  const more = {
    ...others,
    ...(other(image).length > 0 ? { image_attributes: other(image) } : {}),
    ...(other(person).length > 0 ? { identity_attributes: other(person) } : {}),
  };
  for (const name of Object.keys(more)) if (more[name] === null) delete more[name];
  return {
    ...nothing(),
    words: parts.map((part) => part.text).filter(Boolean).join(", "),
    without: (definition.negatives ?? []).map((part) => part.text).filter(Boolean),
    like: parts.find((part) => part.image_id)?.image_id ?? null,
    person: parts.find((part) => part.identity_id)?.identity_id ?? null,
    uploaded: definition.picture !== undefined || parts.some((part) => part.picture),
    collection: definition.collection ?? "", cameras,
    from: span?.from ?? "", to: span?.to ?? "", hours: hours ? `${hours.from}-${hours.to}` : "",
    named: provisional === undefined || provisional === null ? "" : provisional ? "no" : "yes",
    attributes: [...kept(image).map((one) => ["image", one.field, one.value]),
      ...kept(person).map((one) => [PERSON, one.field, one.value])],
    more: Object.keys(more).length > 0 ? more : null,
    purpose: purpose ?? "", group: definition.group_by ?? PERSON,
  };
}

/** The conditions as the API takes them, or null. */
export function filtersOf(state) {
  const found = { ...state.more };
  if (state.cameras.length > 0) found.cameras = state.cameras;
  if (state.from || state.to) found.captured_at = { from: state.from || null, to: state.to || null };
  if (state.hours) {
    const [from, to] = state.hours.split("-");
    found.time_of_day = { from, to, timezone: Intl.DateTimeFormat().resolvedOptions().timeZone };
  }
  if (state.named) found.provisional = state.named === "no";
  for (const of of ["image", PERSON]) {
    const own = state.attributes.filter(([whose]) => whose === of).map(([, name, value]) => ({ field: name, op: "eq", value }));
    const name = `${of}_attributes`;
    if (own.length > 0) found[name] = [...(found[name] ?? []), ...own];
  }
  return Object.keys(found).length > 0 ? found : null;
}

/** The request of a search: its path and body. `file` is a picture, or null. */
export function request(state, file, limit) {
  const options = {
    limit, images_per_identity: 4, group_by: state.group, collection: state.collection || null, filters: filtersOf(state),
    purpose: state.purpose || null,
  };
  const parts = [
    ...(state.words ? [{ text: state.words }] : []),
    ...(file ? [{ picture: "picture" }] : []),
    ...(state.like ? [{ image_id: state.like }] : []),
    ...(state.person ? [{ identity_id: state.person }] : []),
  ];
  const negatives = state.without.map((text) => ({ text }));
  if (parts.length === 1 && negatives.length === 0 && state.words) {
    return { path: "/v1/search/text", body: { query: state.words, ...options } };
  }
  if (parts.length === 1 && negatives.length === 0 && file) {
    const given = Object.entries({ ...options, filters: options.filters && JSON.stringify(options.filters) });
    return { path: "/v1/search/image", body: form(given.filter(([, value]) => value !== null), "file", file) };
  }
  const query = { parts, negatives, ...options };
  const body = file ? form([["query", JSON.stringify(query)]], "files", file) : query;
  return { path: "/v1/search/composed", body };
}

/** What a search is called above its results. `label` names a picture. */
export function inWords(state, label) {
  const sought = [
    state.words && `“${state.words}”`,
    state.like && `the picture of ${label ?? `image ${state.like}`}`,
    state.person && `the pictures of ${label ?? `identity ${state.person}`}`,
    state.uploaded && "your picture",
  ].filter(Boolean);
  const without = state.without.map((one) => `“${one}”`);
  return sought.join(" and ") + (without.length > 0 ? `, without ${without.join(", ")}` : "");
}

/** The conditions in words, each with the state that there would be without it. */
export function conditions(state) {
  const found = [];
  const add = (text, change) => found.push({ text, state: { ...state, query: null, refine: false, ...change } });
  if (state.collection) add(`collection ${state.collection}`, { collection: "" });
  for (const camera of state.cameras) add(`camera ${camera}`, { cameras: state.cameras.filter((one) => one !== camera) });
  if (state.from) add(`from ${format.instant(state.from)}`, { from: "" });
  if (state.to) add(`until ${format.instant(state.to)}`, { to: "" });
  if (state.hours) add(`at ${state.hours.replace("-", " to ")}`, { hours: "" });
  if (state.named) add(state.named === "yes" ? "named people" : "unnamed people", { named: "" });
  state.attributes.forEach((one, index) => {
    const [whose, name, value] = one;
    const words = `${format.fieldName(name)} is ${value}${whose === PERSON ? " (person)" : ""}`;
    add(words, { attributes: state.attributes.filter((_, at) => at !== index) });
  });
  if (state.more) add("other conditions", { more: null });
  return found;
}

function form(fields, name, file) {
  const body = new FormData();
  for (const [key, value] of fields) body.append(key, String(value));
  body.append(name, file, name === "files" ? "picture" : file.name || "picture");
  return body;
}

function parsed(text) {
  try {
    return text ? JSON.parse(text) : null;
  } catch {
    return null;
  }
}

function isCondition(one) {
  return Array.isArray(one) && one.length === 3 && ["image", PERSON].includes(one[0]) && typeof one[1] === "string";
}
