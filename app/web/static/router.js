// Which view an address shows. Everything that is shown can be reloaded, bookmarked and gone back to.

import { el } from "./dom.js";

const listeners = [];
let returning = null; // until a step back that was asked for has been made

/** The parameters of the address. */
export function here() {
  return new URLSearchParams(location.search);
}

/** The address of parameters: an object, or URLSearchParams. */
export function addressOf(parameters) {
  const query = parameters instanceof URLSearchParams ? parameters : new URLSearchParams(parameters);
  return query.size > 0 ? `/?${query}` : "/";
}

/** Go somewhere within the page: a new entry of the history unless `replace`, or unless it is where we are. */
export function go(parameters, { state = {}, replace = false } = {}) {
  if (returning !== null) {
    void returning.then(() => go(parameters, { state, replace }));
    return;
  }
  const address = addressOf(parameters);
  const same = location.pathname + location.search === address;
  history[replace || same ? "replaceState" : "pushState"](state, "", address);
  for (const listener of listeners) listener();
}

/** Step back. It takes the browser a while; an entry that was made meanwhile would be left again. */
export function back() {
  if (returning !== null) return;
  returning = new Promise((resolve) => {
    for (const event of ["popstate", "pageshow"]) addEventListener(event, resolve, { once: true });
  });
  void returning.then(() => (returning = null));
  history.back();
}

/** Settled as soon as no step back is under way. */
export async function settled() {
  await returning;
}

/** Change the address without showing anything anew. */
export function rename(parameters, state = history.state) {
  history.replaceState(state, "", addressOf(parameters));
}

/** Call back whenever the address has changed. */
export function onChange(listener) {
  listeners.push(listener);
  if (listeners.length === 1) addEventListener("popstate", () => listeners.forEach((one) => one()));
}

/** A link within the page. */
export function link(parameters, text, properties = {}) {
  const found = el("a", { href: addressOf(parameters), ...properties }, text);
  found.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey || event.button !== 0) return;
    event.preventDefault();
    go(parameters);
    scrollTo({ top: 0 });
  });
  return found;
}
