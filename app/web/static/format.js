// From the API's values to what people read.

const NUMBER = new Intl.NumberFormat();
const INSTANT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

/** "1,234 images", "1 image". */
export function count(number, one, many) {
  return `${NUMBER.format(number)} ${number === 1 ? one : many}`;
}

/** An ISO 8601 instant in the reader's own time zone and manner. */
export function instant(iso) {
  const date = new Date(iso);
  return Number.isNaN(date.getTime()) ? iso : INSTANT.format(date);
}

/** A cosine with three decimals and a true minus sign. */
export function score(value) {
  return value.toFixed(3).replace("-", "\u2212");
}

export function milliseconds(value) {
  return value < 10 ? `${value.toFixed(1)} ms` : `${NUMBER.format(Math.round(value))} ms`;
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
    return { name: name.replaceAll("_", " "), value: words.join(" "), many: words.length > 1 };
  });
}

function siblings(attributes, base) {
  return Object.keys(attributes).filter((key) => SUFFIX.exec(key)?.[1] === base).length;
}
