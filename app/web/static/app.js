// The frame of the page: menu, what there is to search, and the view that the address asks for.

import * as api from "./api.js";
import { announce, byId, el } from "./dom.js";
import * as format from "./format.js";
import { failure } from "./messages.js";
import { here, link, onChange } from "./router.js";
import { stock } from "./stock.js";
import { VIEWS } from "./views.js";

let shown = null; // { view, module, parameters, ending }

/** Show what the address asks for. */
async function show() {
  const parameters = here();
  const view = VIEWS.find(({ name }) => name === parameters.get("view")) ?? VIEWS[0];
  mark(view);
  if (shown?.view === view && shown.module?.stays?.(shown.parameters, parameters)) {
    shown.parameters = parameters;
    shown.module.update(parameters);
    return;
  }
  shown?.ending.abort();
  const ending = new AbortController();
  const own = (shown = { view, parameters, ending, module: null });
  const root = el("div", { className: `view view-${view.name}` });
  announce("");
  document.title = view === VIEWS[0] ? "Descry" : `${view.title} – Descry`;
  try {
    own.module = await view.load();
    if (ending.signal.aborted) return;
    byId("view").replaceChildren(root);
    await own.module.mount(root, parameters, ending.signal);
  } catch (error) {
    if (error.name === "AbortError" || ending.signal.aborted) return;
    byId("view").replaceChildren(failure(api.asProblem(error), () => void show()));
  }
}

function mark(view) {
  for (const item of document.querySelectorAll("#menu a")) {
    if (item.dataset.view === view.name) item.setAttribute("aria-current", "page");
    else item.removeAttribute("aria-current");
  }
}

function menu() {
  const items = VIEWS.map(({ name, title }, index) => {
    const item = link(index === 0 ? {} : { view: name }, title);
    item.dataset.view = name;
    return el("li", {}, item);
  });
  byId("menu").replaceChildren(...items);
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

menu();
stock.onChange(tellStock);
onChange(() => void show());
// Whoever has just run an ingest in the terminal comes back to a page that knows.
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") void stock.refresh();
});
void stock.refresh();
void show();
