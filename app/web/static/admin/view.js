// Administration: what only a key with the scope admin may see and do, each part at its own address.

import * as api from "../api.js";
import { el } from "../dom.js";
import { loading } from "../messages.js";
import { link } from "../router.js";

const PARTS = [
  { name: "keys", title: "Keys", load: () => import("./keys.js") },
  { name: "audit", title: "Audit", load: () => import("./audit.js") },
  { name: "retention", title: "Retention", load: () => import("./retention.js") },
];

export async function mount(root, parameters, signal) {
  const part = PARTS.find(({ name }) => name === parameters.get("part")) ?? PARTS[0];
  const body = el("div", { className: "part" }, loading("Loading …"));
  root.append(el("h1", {}, "Administration"), body);
  const tabs = PARTS.map(({ name, title }) => {
    const found = link({ view: "admin", part: name }, title);
    if (name === part.name) found.setAttribute("aria-current", "page");
    return found;
  });
  body.before(el("nav", { className: "tabs", ariaLabel: "Administration" }, tabs));
  document.title = `${part.title} – Descry`;
  const module = await api.part(part.load);
  if (signal.aborted) return;
  body.replaceChildren();
  await module.mount(body, parameters, signal);
}
