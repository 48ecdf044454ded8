// The page: what is asked for, by which address, and what is shown for it. One search at a time.

import * as api from "./api.js";
import { Detail } from "./detail.js";
import { byId, el } from "./dom.js";
import * as format from "./format.js";
import { emptyGallery, failure, noModel, welcome } from "./messages.js";
import { PictureZone } from "./picture.js";
import { card, headline, skeleton, summary } from "./results.js";

const FIRST = 18;
const MOST = 100; // of the API
const EXAMPLES = [
  "a woman with long blonde hair in a red coat",
  "man in a black hoodie and blue jeans with a cap",
  "woman in a yellow dress with a handbag",
  "older man in a white shirt and brown trousers",
  "a person in a purple jacket with a red suitcase",
];

const query = byId("query");
const view = byId("view");
const status = byId("status");
const hint = byId("hint");
const HINT = hint.textContent;

/** Pictures of this visit by number, so that "back" finds them again: they cannot be written into an address. */
const pictures = new Map();
let current = new AbortController();
let stock = null; // the gallery's summary, once known

const zone = new PictureZone({
  onPicture: (file, others) => {
    const key = pictures.size + 1;
    const notes = others > 0 ? [`${format.count(others + 1, "picture was", "pictures were")} given; the first one is used`] : [];
    pictures.set(key, { file, notes });
    go("/", { picture: key });
  },
  onRemove: () => go("/"),
  onRefused: () => say("Drop a picture file: JPEG, PNG or WebP."),
});
const detail = new Detail((id, label) => {
  go(`/?like=${id}`, { label });
  byId("results").focus({ preventScroll: true }); // the card that had the focus is gone
});

/** Go to an address within the page: a new entry of the history, unless it is where we are. */
function go(address, state = {}) {
  const here = location.pathname + location.search === address && state.picture === undefined && !history.state?.picture;
  history[here ? "replaceState" : "pushState"](state, "", address);
  scrollTo({ top: 0 });
  void show();
}

/** What the address asks for, or null. */
function wanted() {
  const parameters = new URLSearchParams(location.search);
  const text = (parameters.get("q") ?? "").trim();
  if (text) return { text, asked: `“${text}”`, notes: [] };
  const like = Number(parameters.get("like"));
  if (Number.isSafeInteger(like) && like > 0) {
    const label = history.state?.label ?? `image ${like}`;
    return { like, label, asked: `the picture of ${label}`, notes: [] };
  }
  const kept = pictures.get(history.state?.picture);
  if (kept) return { file: kept.file, label: kept.file.name, asked: "your picture", notes: kept.notes };
  return null;
}

/** Show what the address asks for. What was under way is abandoned, what was shown is gone at once. */
async function show() {
  current.abort();
  const { signal } = (current = new AbortController());
  const search = wanted();
  detail.close();
  query.value = search?.text ?? "";
  fit();
  say("");
  status.textContent = "";
  zone.show(search?.file ?? null, search?.label, "The picture is not kept, only the numbers it is searched by.");
  document.title = search ? `${search.text ?? search.label} – Descry` : "Descry";
  document.body.classList.toggle("searching", search !== null);
  if (search === null) {
    view.replaceChildren(lacking() ?? welcome());
    return;
  }
  status.textContent = "Searching";
  view.ariaBusy = "true";
  view.replaceChildren(skeleton());
  try {
    if (search.like) await fetchPicture(search, signal);
    const limit = history.state?.limit ?? FIRST;
    const answer = await ask(search, limit, signal);
    if (answer.candidates.length === 0) await countGallery(signal);
    present(search, answer, limit);
  } catch (error) {
    if (error.name === "AbortError") return;
    status.textContent = "";
    view.replaceChildren(error.code === "no_active_model" ? noModel() : failure(asProblem(error), show));
  }
  view.ariaBusy = "false";
}

async function fetchPicture(search, signal) {
  search.file = await api.picture(search.like, signal);
  signal.throwIfAborted();
  zone.show(search.file, search.label, "A picture of this gallery.");
}

async function ask(search, limit, signal) {
  const answer = await (search.text === undefined
    ? api.searchImage(search.file, limit, signal)
    : api.searchText(search.text, limit, signal));
  signal.throwIfAborted();
  return answer;
}

function present(search, answer, limit) {
  if (answer.candidates.length === 0) {
    status.textContent = "The gallery is empty";
    view.replaceChildren(emptyGallery());
    return;
  }
  const list = el("ol", { className: "cards", role: "list" });
  view.replaceChildren(summary(answer, search.asked, search.notes), list);
  status.textContent = headline(answer, search.asked);
  append(list, answer.candidates, 0);
  offerMore(search, list, answer, limit);
}

function append(list, candidates, from) {
  const open = (candidate, rank) => void detail.open(candidate, rank);
  list.append(...candidates.slice(from).map((candidate, index) => card(candidate, from + index + 1, open)));
}

/** A button for more candidates, as long as there can be any. */
function offerMore(search, list, answer, limit) {
  const shown = answer.candidates.length;
  if (shown < limit || shown >= MOST) return;
  const more = el("button", { type: "button", className: "quiet" }, "More candidates");
  const foot = el("div", { className: "foot" }, more);
  more.addEventListener("click", () => void extend(search, list, answer, Math.min(MOST, limit * 2), foot));
  view.append(foot);
}

async function extend(search, list, before, limit, foot) {
  const { signal } = current;
  const button = foot.querySelector("button");
  button.disabled = true;
  try {
    const answer = await ask(search, limit, signal);
    history.replaceState({ ...history.state, limit }, "");
    const ids = (candidates) => candidates.map((candidate) => candidate.identity.id).join();
    const known = before.candidates.length;
    // If the gallery changed meanwhile, the cards on the page are no longer the first ones of this answer.
    if (ids(answer.candidates.slice(0, known)) !== ids(before.candidates)) {
      present(search, answer, limit);
      return;
    }
    foot.remove();
    view.querySelector(".summary").replaceWith(summary(answer, search.asked, search.notes));
    status.textContent = headline(answer, search.asked);
    append(list, answer.candidates, known);
    list.children[known]?.querySelector("button").focus({ preventScroll: true });
    offerMore(search, list, answer, limit);
  } catch (error) {
    if (error.name === "AbortError") return;
    foot.replaceChildren(failure(asProblem(error), () => void extend(search, list, before, limit, foot)), button);
    button.disabled = false;
  }
}

/** What stands in the way of any search, or null. */
function lacking() {
  if (stock === null) return null;
  if (stock.model_version === null) return noModel();
  return stock.images === 0 ? emptyGallery() : null;
}

/** Ask how much there is to search, and say so in the header. */
async function countGallery(signal) {
  const line = byId("gallery");
  try {
    stock = await api.gallery(signal);
    const { identities, images, model_version: model } = stock;
    line.textContent = [
      format.count(identities, "identity", "identities"),
      format.count(images, "image", "images"),
      model === null ? "no active model" : `model ${model.name}`,
    ].join(" · ");
  } catch (error) {
    if (error.name === "AbortError") throw error;
    stock = null;
    line.textContent = "";
    if (wanted() === null) view.replaceChildren(failure(asProblem(error), begin));
    return;
  }
  if (wanted() === null) view.replaceChildren(lacking() ?? welcome());
}

/** Errors of the page itself are told like all others: a blank page helps nobody. */
function asProblem(error) {
  if (error instanceof api.Problem) return error;
  console.error(error);
  return new api.Problem({ code: "page", title: "The page failed", detail: String(error) });
}

function say(text) {
  hint.textContent = text || HINT;
  hint.classList.toggle("urgent", text !== "");
}

/** The query box is as tall as its text. */
function fit() {
  query.style.blockSize = "auto";
  query.style.blockSize = `${query.scrollHeight}px`;
}

function submit() {
  const text = query.value.trim();
  if (!text) {
    say("Say what the person looks like, or choose a picture.");
    query.focus();
    return;
  }
  go(`/?${new URLSearchParams({ q: text })}`);
}

function wire() {
  byId("search").addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  query.addEventListener("input", () => {
    fit();
    say("");
  });
  query.addEventListener("keydown", (event) => {
    // While an input method composes, Enter belongs to it.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    submit();
  });
  byId("examples").append(...EXAMPLES.map(example));
  window.addEventListener("popstate", () => void show());
  window.addEventListener("resize", fit);
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, textarea, dialog");
    if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    query.focus();
  });
  // Whoever has just run an ingest in the terminal comes back to a page that knows.
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") void countGallery();
  });
}

function example(text) {
  const chip = el("button", { type: "button", className: "chip" }, text);
  chip.addEventListener("click", () => go(`/?${new URLSearchParams({ q: text })}`));
  return el("li", {}, chip);
}

async function begin() {
  await Promise.all([countGallery(), show()]);
  if (wanted() === null && matchMedia("(pointer: fine)").matches) query.focus();
}

wire();
void begin();
