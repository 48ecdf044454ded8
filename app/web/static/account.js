// Who uses the page: asked once, shown at the top of every view, with the way out.

import * as api from "./api.js";
import { button, el, svg } from "./dom.js";
import { dropdown } from "./dropdown.js";
import { failure } from "./messages.js";
import { link } from "./router.js";
import { session } from "./session.js";

let asking = null;

/** Make sure that the session is known; `anew`: ask even if it is. Rejects if nobody answers, or no key is accepted. */
export function known({ anew = false } = {}) {
  if (session.now !== null && !anew) return Promise.resolve();
  asking ??= api.get("/v1/session").then((found) => session.set(found)).finally(() => {
    asking = null;
  });
  return asking;
}

/** Draw who is signed in within `place`, and keep it true. */
export function account(place) {
  let ending = new AbortController();
  let drawn = null;
  session.onChange((now) => {
    const about = JSON.stringify(now);
    if (about === drawn) return; // it may be open, or have the focus
    drawn = about;
    ending.abort();
    ending = new AbortController();
    place.replaceChildren(now === null ? button("Sign in", () => location.reload()) : menu(now, ending.signal));
  });
}

function menu(now, signal) {
  const panel = el("div", { className: "panel" }, now.open ? openness() : holder(now));
  const name = now.open ? "Open server" : now.name;
  const found = dropdown({ className: "account", summary: [person(), el("span", { className: "account-name" }, name)], panel, signal });
  found.querySelector("summary").title = now.open ? "Nobody needs a key" : `Signed in with the key ${name}`;
  panel.addEventListener("click", (event) => {
    if (event.target.closest("a")) found.open = false;
  });
  return found;
}

function holder({ name, scopes, collections }) {
  const told = el("div", { className: "told" });
  const limits = collections === null ? [] : [el("p", { className: "hint" },
    collections.length > 0 ? `Within: ${collections.join(", ")}` : "Within no collection that is left")];
  return [el("p", {}, "Signed in with the key ", el("strong", {}, name)), el("p", { className: "hint" }, `May: ${scopes.join(", ")}`), ...limits,
    told, button("Sign out", () => void signOut(told))];
}

function openness() {
  return [el("p", {}, el("strong", {}, "Nobody needs a key yet.")),
    el("p", { className: "hint" }, "Everyone on this machine may do everything. With the first key that ends."),
    link({ view: "admin" }, "Make the first key", { className: "textual" })];
}

/** Let the browser forget the key; nothing that it showed stays on the screen. */
async function signOut(told) {
  try {
    await api.send("DELETE", "/v1/session");
    location.assign("/");
  } catch (error) {
    told.replaceChildren(failure(api.asProblem(error)));
  }
}

function person() {
  return svg("svg", { viewBox: "0 0 20 20", "aria-hidden": "true", focusable: "false" },
    svg("circle", { cx: 10, cy: 6.6, r: 3.4 }), svg("path", { d: "M3.4 17.2a6.6 6.6 0 0 1 13.2 0z" }));
}
