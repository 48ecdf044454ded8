// The frame of the page: menu, what there is to search, and the view that the address asks for.

import { account, known } from "./account.js";
import * as api from "./api.js";
import { denied } from "./denied.js";
import { announce, byId, el } from "./dom.js";
import * as format from "./format.js";
import { failure } from "./messages.js";
import { here, link, onChange } from "./router.js";
import { session } from "./session.js";
import { stock } from "./stock.js";
import { homeOf, VIEWS } from "./views.js";

let shown = null; // { view, module, parameters, ending, refused }

/** The view that an address asks for; of none, the first one that the key may use. */
function viewOf(parameters) {
  const asked = VIEWS.find(({ name }) => name === parameters.get("view"));
  return asked ?? (parameters.size > 0 || session.now === null ? VIEWS[0] : homeOf(session));
}

/** Show what the address asks for. */
async function show() {
  const parameters = here();
  const view = viewOf(parameters);
  if (shown?.view === view && shown.module?.stays?.(shown.parameters, parameters)) {
    mark(view);
    shown.parameters = parameters;
    shown.module.update(parameters);
    return;
  }
  shown?.ending.abort();
  byId("view").inert = true; // what is still shown has ended: a click in it would be lost without a word
  const ending = new AbortController();
  const own = (shown = { view, parameters, ending, module: null, refused: null });
  announce("");
  try {
    await known();
    if (ending.signal.aborted) return;
    own.view = viewOf(parameters);
    mark(own.view);
    document.title = own.view === VIEWS[0] ? "Descry" : `${own.view.title} – Descry`;
    own.refused = !session.may(own.view.need);
    if (own.refused) {
      put(denied(own.view, homeOf(session)));
      return;
    }
    const root = el("div", { className: `view view-${own.view.name}` });
    own.module = await api.part(own.view.load);
    if (ending.signal.aborted) return;
    put(root);
    await own.module.mount(root, parameters, ending.signal);
  } catch (error) {
    if (error.name === "AbortError" || ending.signal.aborted) return;
    put(failure(api.asProblem(error), () => void show()));
  }
}

function put(content) {
  byId("view").replaceChildren(content);
  byId("view").inert = false;
}

function mark(view) {
  for (const item of document.querySelectorAll("#menu a")) {
    if (item.dataset.view === view.name) {
      item.setAttribute("aria-current", "page");
      // On a phone the menu is wider than the screen.
      const nav = item.closest("nav");
      nav.scrollLeft = Math.max(0, item.offsetLeft + item.offsetWidth - nav.offsetLeft - nav.clientWidth);
    } else item.removeAttribute("aria-current");
  }
}

/** What the key may use; drawn anew only if that is something else, so that nobody loses the focus. */
function menu() {
  if (session.now === null) return;
  const views = VIEWS.filter(({ need }) => session.may(need));
  const drawn = [...document.querySelectorAll("#menu a")].map((item) => item.dataset.view);
  if (views.map(({ name }) => name).join() === drawn.join()) return;
  const items = views.map(({ name, title }) => {
    const item = link(name === VIEWS[0].name ? {} : { view: name }, title);
    item.dataset.view = name;
    return el("li", {}, item);
  });
  byId("menu").replaceChildren(...items);
  if (shown !== null) mark(shown.view);
}

/** Another key may open what this one did not, and the other way round. */
function followKey() {
  menu();
  if (session.now !== null && shown !== null && shown.refused === session.may(shown.view.need)) void show();
}

/** Who asks first: what a key may not know is not asked for. */
async function refresh() {
  try {
    await known({ anew: true });
  } catch {
    return; // the view tells why
  }
  await stock.refresh();
}

function tellStock(found) {
  const { identities, images, model_version: model, heads_blurred: blurred } = found ?? {};
  byId("gallery").textContent = found === null ? "" : [
    format.count(identities, "identity", "identities"),
    format.count(images, "image", "images"),
    model === null ? "no active model" : `model ${model.name}`,
    ...(blurred ? ["heads are blurred"] : []),
  ].join(" · ");
}

session.onChange(followKey);
account(byId("account"));
stock.onChange(tellStock);
onChange(() => void show());
// Whoever has just run an ingest in the terminal, or has signed in elsewhere, comes back to a page that knows.
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") void refresh();
});
void refresh();
void show();
