// Ranked identities as cards.

import { el } from "./dom.js";
import * as format from "./format.js";

const ATTRIBUTES_SHOWN = 6;
const WIDE = 0.8; // pictures wider than this part of their height are shown whole, not cut to a person's shape

/** The block above the cards: how many, what was asked, what the server made of it, how long it took. */
export function summary(answer, asked, notes) {
  const { took_ms: took, model_version: model } = answer;
  const split = `words or picture to vector ${format.milliseconds(took.encode)}, search ` +
    `${format.milliseconds(took.search)}, metadata ${format.milliseconds(took.fetch)}`;
  const sentences = [...notes, ...answer.warnings.map((warning) => warning.message)];
  return el(
    "div",
    { className: "summary" },
    el(
      "div",
      { className: "headline" },
      el("h2", {}, headline(answer, asked)),
      el("p", { className: "took", title: split }, `${format.milliseconds(took.total)} · model ${model.name}`),
    ),
    answer.no_good_match === true
      ? el("p", { className: "no-match" }, "No good match: the person is probably not in what was searched.")
      : null,
    sentences.length === 0
      ? null
      : el("ul", { className: "notes", role: "list" }, sentences.map((text) => el("li", {}, format.sentence(text)))),
  );
}

/** "24 candidates for “...”". */
export function headline(answer, asked) {
  return `${format.count(answer.candidates.length, "candidate", "candidates")} for ${asked}`;
}

/** The card of one candidate. `onOpen(candidate, rank)` is called when it is chosen. */
export function card(candidate, rank, onOpen) {
  const { identity, images, score } = candidate;
  const [best] = images;
  const name = format.nameOf(identity);
  const open = el("button", { type: "button", className: "open" }, name);
  open.setAttribute("aria-label", `${name}, rank ${rank}, score ${format.score(score)}: show all images`);
  open.addEventListener("click", () => onOpen(candidate, rank));
  return el(
    "li",
    { className: images.length < 3 ? "card few" : "card" },
    el(
      "header",
      {},
      el("span", { className: "rank", title: "Rank" }, String(rank)),
      el("h3", {}, open),
      identity.provisional ? provisional() : null,
      scoreOf(candidate),
    ),
    el("div", { className: "strip" }, images.map((image) => thumbnail(image))),
    el(
      "div",
      { className: "facts" },
      whereAndWhen(best),
      best.description === null ? null : el("p", { className: "description" }, best.description),
      attributeTags({ ...identity.attributes, ...best.attributes }),
    ),
  );
}

/** Grey cards in the place of those to come. */
export function skeleton() {
  const blank = () => el("li", { className: "card blank" }, el("div", { className: "strip" }, [1, 2, 3, 4].map(() => el("span"))));
  return el("ol", { className: "cards", role: "list", ariaHidden: "true" }, Array.from({ length: 6 }, blank));
}

/** The mark of an identity that was made for one picture. */
export function provisional() {
  return el("span", { className: "badge", title: "Made for one picture; nobody has named this person yet" }, "provisional");
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

/** An <img> of the gallery, shaped like a person unless the picture is wide. */
export function portrait(image, address, loading = "lazy") {
  const alt = image.description ?? `Image ${image.id}`;
  const wide = image.width > WIDE * image.height;
  return el("img", { alt, loading, decoding: "async", className: wide ? "portrait whole" : "portrait", src: address });
}

function thumbnail(image) {
  const picture = portrait(image, image.thumbnail_url);
  const about = [image.source_name, image.camera, image.captured_at && format.instant(image.captured_at), `score ${format.score(image.score)}`];
  picture.title = about.filter(Boolean).join("\n");
  return picture;
}

function scoreOf({ score, confidence, parts }) {
  const bar = el("span", { className: "bar", ariaHidden: "true" }, el("span"));
  // Of several parts the score is a sum of log-odds, which has no length; cosines below nothing in common have none either.
  const length = parts === null ? score : (confidence ?? 0);
  bar.firstChild.style.inlineSize = `${Math.max(0, Math.min(1, length)) * 100}%`;
  const title = parts === null
    ? "Similarity of the query and the best image (cosine). Compare it within one answer only."
    : "What is asked for and what is denied say together of the best image. Compare it within one answer only.";
  return el("span", { className: "score", title }, el("span", { className: "unseen" }, "score "), format.score(score), bar);
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
