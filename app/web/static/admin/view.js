// Administration: what only a key with the scope admin may see and do, each part at its own address.

import * as api from "../api.js";
import { button, el } from "../dom.js";
import { loading, message } from "../messages.js";
import { go, link } from "../router.js";
import { session } from "../session.js";
import { signedIn } from "../signin.js";

const PARTS = [
  { name: "keys", title: "Keys", load: () => import("./keys.js") },
  { name: "audit", title: "Audit", load: () => import("./audit.js") },
  { name: "retention", title: "Retention", load: () => import("./retention.js") },
];

export async function mount(root, parameters, signal) {
  const part = PARTS.find(({ name }) => name === parameters.get("part")) ?? PARTS[0];
  const body = el("div", { className: "part" }, loading("Loading …"));
  root.append(el("h1", {}, "Administration"), body);
  session.set(await api.get("/v1/session", signal));
  if (!session.may("admin")) {
    body.replaceChildren(denied(parameters));
    return;
  }
  const tabs = PARTS.map(({ name, title }) => {
    const found = link({ view: "admin", part: name }, title);
    if (name === part.name) found.setAttribute("aria-current", "page");
    return found;
  });
  body.before(el("nav", { className: "tabs", ariaLabel: "Administration" }, tabs));
  document.title = `${part.title} – Descry`;
  const module = await part.load();
  if (signal.aborted) return;
  body.replaceChildren();
  await module.mount(body, parameters, signal);
}

function denied(parameters) {
  const { name, scopes } = session.now;
  return message("For administrators only",
    el("p", {}, "This needs a key with the right ", el("code", {}, "admin"), ". You use the key ", el("strong", {}, name),
      scopes.length > 0 ? `, which has: ${scopes.join(", ")}.` : ", which has no right."),
    button("Use another key", async () => {
      if (await signedIn({ code: "key_required" })) go(parameters);
    }, { className: "primary" }));
}
