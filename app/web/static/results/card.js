// Ranked identities as cards.

import { button, el } from "../dom.js";
import * as format from "../format.js";
import { stateMark } from "../detail/identify.js";

const ATTRIBUTES_SHOWN = 6;
const WIDE = 0.8; // pictures wider than this part of their height are shown whole, not cut to a person's shape
const NO_LENGTH = "Similarity of the query and the best image. This model version does not know what its scores mean.";

/** The card of one candidate. `onOpen(id)` is called when it is chosen; `verdict` is confirm, reject or null. */
export function card(candidate, rank, { onOpen, verdict, said, grouped }) {
  const { identity, images } = candidate;
  const [best] = images;
  const name = format.nameOf(identity);
  const open = button(name, () => onOpen(identity.id), { className: "open" });
  open.setAttribute("aria-label", `${name}, rank ${rank}, ${worth(candidate)}: open`);
  return el(
    "li",
    { className: images.length < 3 ? "card few" : "card", "data-id": String(identity.id), value: rank },
    el(
      "div",
      { className: "head" },
      el("span", { className: "rank", title: "Rank", elementtiming: rank === 1 ? "first-result" : null }, String(rank)),
      el("h3", {}, open),
      identity.provisional ? provisional() : null,
      mark(verdict),
      standing(said) ? stateMark(said) : null,
      scoreOf(candidate),
    ),
    el("div", { className: "strip" }, images.map((image) => thumbnail(image, grouped))),
    el(
      "div",
      { className: "facts" },
      whereAndWhen(best),
      best.description === null ? null : el("p", { className: "description" }, best.description),
      attributeTags({ ...identity.attributes, ...best.attributes }),
    ),
  );
}

/** How good a candidate is, in words. */
export function worth({ score, confidence }) {
  return confidence === null ? `similarity ${format.score(score)}` : `${format.likelihood(confidence)}, ${format.percent(confidence)}`;
}

/** Grey cards in the place of those to come. */
export function skeleton() {
  const blank = () => el("li", { className: "card blank" }, el("div", { className: "strip" }, [1, 2, 3, 4].map(() => el("span"))));
  return el("ol", { className: "cards", role: "list", ariaHidden: "true" }, Array.from({ length: 6 }, blank));
}

/** The mark of an identity that was made for one picture. */
export function provisional() {
  return el("span", { className: "badge", title: "Nobody has named this person yet" }, "provisional");
}

/** The mark of a verdict, or null. */
export function mark(verdict) {
  if (!verdict) return null;
  return el("span", { className: `badge ${verdict}` }, verdict === "confirm" ? "✓ confirmed" : "✕ rejected");
}

/** Whether what was said of somebody as the person who is looked for still stands. */
function standing(said) {
  return said?.state === "proposed" || said?.state === "confirmed";
}

/** Camera and time of an image. */
export function whereAndWhen(image) {
  const time = image.captured_at === null
    ? null
    : el("time", { dateTime: image.captured_at }, format.instant(image.captured_at));
  if (image.camera === null && time === null) {
    return el("p", { className: "where none" }, image.source_name ?? "Camera and time unknown");
  }
  return el("p", { className: "where" }, image.camera === null ? null : el("span", { className: "camera" }, image.camera), time);
}

/** An <img> of the gallery in a place of fixed shape: that of a person, unless the picture is wide. */
export function portrait(image, address, loading = "lazy") {
  const alt = image.description ?? `Image ${image.id}`;
  const wide = image.width > WIDE * image.height;
  return el("img", {
    alt, loading, decoding: "async", className: wide ? "portrait whole" : "portrait", width: image.width, height: image.height,
    src: address,
  });
}

function thumbnail(image) {
  const picture = portrait(image, image.thumbnail_url);
  const about = [image.source_name, image.camera, image.captured_at && format.instant(image.captured_at)];
  picture.title = about.filter(Boolean).join("\n");
  return picture;
}

function scoreOf({ score, confidence }) {
  const bar = el("span", { className: "bar", ariaHidden: "true" }, el("span"));
  bar.firstChild.style.inlineSize = `${Math.max(0, Math.min(1, confidence ?? score)) * 100}%`;
  if (confidence === null) {
    return el("span", { className: "score", title: NO_LENGTH }, el("span", { className: "unseen" }, "similarity "), format.score(score), bar);
  }
  const title = "How likely it is that this is the person, by all scores of this answer. A candidate, not an identification.";
  return el("span", { className: "score", title },
    el("span", { className: "told" }, el("span", { className: "word" }, format.likelihood(confidence)), " ", format.percent(confidence)), bar);
}

function attributeTags(attributes) {
  const pairs = format.attributeList(attributes);
  if (pairs.length === 0) return null;
  // First what tells the most, and what the eye can check at once: "red long coat" before "build average".
  const tags = [...pairs.filter((pair) => pair.many), ...pairs.filter((pair) => !pair.many)]
    .slice(0, ATTRIBUTES_SHOWN)
    .map(({ name, value }) => el("li", {}, el("span", { className: "key" }, name), ` ${value}`));
  const left = pairs.length - tags.length;
  if (left > 0) tags.push(el("li", { className: "more-tags", title: `${left} more in the details` }, `+${left}`));
  return el("ul", { className: "tags", role: "list", ariaLabel: "Attributes" }, tags);
}
