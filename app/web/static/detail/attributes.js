// Attributes of people and images, for the panel.

import { el } from "../dom.js";
import * as format from "../format.js";

/** Attributes that all images share, with those of the identity; and for each image those of its own. */
export function split(identity) {
  const [first, ...others] = identity.images.map((image) => image.attributes);
  const same = (key, value) => others.every((attributes) => JSON.stringify(attributes[key]) === JSON.stringify(value));
  const shared = Object.entries(first ?? {}).filter(([key, value]) => same(key, value));
  const keys = new Set(shared.map(([key]) => key));
  const own = identity.images.map((image) =>
    Object.fromEntries(Object.entries(image.attributes).filter(([key]) => !keys.has(key))),
  );
  return { shared: { ...Object.fromEntries(shared), ...identity.attributes }, own };
}

/** Attributes as a list of terms, or null. */
export function attributeTable(attributes) {
  const pairs = format.attributeList(attributes);
  if (pairs.length === 0) return null;
  return el("dl", { className: "attributes" }, pairs.map(({ name, value }) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}
