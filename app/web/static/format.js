// From the API's values to what people read.

const NUMBER = new Intl.NumberFormat();
const INSTANT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const CLOCK = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const DAY = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
const UNITS = ["bytes", "KB", "MB", "GB", "TB"];
/** From which confidence on which word is used. The words say how likely it is, never that it is. */
const WORDS = [[0.8, "likely"], [0.5, "rather likely"], [0.2, "possible"], [0.05, "doubtful"], [0, "unlikely"]];

/** "1,234 images", "1 image". */
export function count(number, one, many) {
  return `${NUMBER.format(number)} ${number === 1 ? one : many}`;
}

export function number(value) {
  return NUMBER.format(value);
}

/** An ISO 8601 instant in the reader's own time zone and manner. */
export function instant(iso) {
  const date = new Date(iso);
  return Number.isNaN(date.getTime()) ? iso : INSTANT.format(date);
}

/** A span of time, with the day once if it is the same. */
export function span(first, last) {
  const [from, to] = [new Date(first), new Date(last)];
  if (INSTANT.format(from) === INSTANT.format(to)) return INSTANT.format(from);
  const same = DAY.format(from) === DAY.format(to);
  return `${INSTANT.format(from)} – ${same ? CLOCK.format(to) : INSTANT.format(to)}`;
}

export function clock(date) {
  return CLOCK.format(date);
}

export function day(date) {
  return DAY.format(date);
}

/** A cosine with three decimals and a true minus sign. */
export function score(value) {
  return value.toFixed(3).replace("-", "\u2212");
}

/** A probability in percent, never rounded to certainty. */
export function percent(value) {
  if (value >= 0.995) return "> 99 %";
  if (value < 0.005) return "< 1 %";
  return `${Math.round(value * 100)} %`;
}

/** A probability in words. */
export function likelihood(confidence) {
  return WORDS.find(([least]) => confidence >= least)?.[1] ?? "unlikely";
}

export function milliseconds(value) {
  return value < 10 ? `${value.toFixed(1)} ms` : `${NUMBER.format(Math.round(value))} ms`;
}

/** About how long something takes. */
export function duration(seconds) {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

export function bytes(size) {
  const step = Math.min(UNITS.length - 1, size > 0 ? Math.floor(Math.log10(size) / 3) : 0);
  const value = size / 1000 ** step;
  return `${value >= 10 || step === 0 ? Math.round(value) : value.toFixed(1)} ${UNITS[step]}`;
}

/** The first letter large and a full stop at the end: the API's messages are lower-case clauses. */
export function sentence(text) {
  const trimmed = text.trim();
  if (!trimmed) return "";
  return trimmed[0].toUpperCase() + trimmed.slice(1) + (/[.!?)]$/.test(trimmed) ? "" : ".");
}

/** What an identity is called. */
export function nameOf(identity) {
  return identity.external_id ?? `Unnamed ${identity.id}`;
}

/** The name of an attribute as people read it. */
export function fieldName(key) {
  return key.replaceAll("_", " ");
}

const SUFFIX = /^(.+)_(length|style|colour|color|pattern)$/;

/**
 * Attributes as {name, value, many}: `upper: "coat"`, `upper_colour: "red"` become one, upper: "red coat", and
 * `hair_length`, `hair_colour` become hair: "long brown", for that is how people say it. `many`: made of several.
 */
export function attributeList(attributes) {
  const groups = new Map();
  for (const [key, value] of Object.entries(attributes)) {
    const text = typeof value === "string" ? value : JSON.stringify(value);
    const base = SUFFIX.exec(key)?.[1];
    const belongs = base !== undefined && (base in attributes || siblings(attributes, base) > 1);
    const name = belongs ? base : key;
    const words = groups.get(name) ?? groups.set(name, { about: [], noun: [] }).get(name);
    if (!belongs) words.noun.push(text);
    else if (text !== "plain") words.about.push(text);
  }
  return [...groups].map(([name, { about, noun }]) => {
    const words = [...about, ...noun];
    return { name: fieldName(name), value: words.join(" "), many: words.length > 1 };
  });
}

function siblings(attributes, base) {
  return Object.keys(attributes).filter((key) => SUFFIX.exec(key)?.[1] === base).length;
}
