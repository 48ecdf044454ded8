// Keys: who has one, what it is good for, and new ones. A secret is shown once, where it is made.

import * as api from "../api.js";
import { announce, button, el } from "../dom.js";
import * as format from "../format.js";
import { confirmed, failure, hint, loading, message } from "../messages.js";
import { session } from "../session.js";
import { begin } from "../signin.js";
import { turns } from "../turns.js";
import { keyForm } from "./keyform.js";
import { secret } from "./secret.js";

const PATH = "/v1/admin/keys";

export async function mount(root, parameters, signal) {
  const view = new Keys(root, signal);
  await view.refresh();
}

class Keys {
  #who = el("div", {});
  #made = el("div", { className: "told" });
  #list = el("section", { ariaLabel: "Keys" }, loading("Loading the keys …"));
  #form = el("div", {});
  #keys = [];
  #turn = turns();
  #signal;

  constructor(root, signal) {
    this.#signal = signal;
    root.append(this.#who, this.#made, this.#form, this.#list);
  }

  async refresh() {
    const newest = this.#turn();
    try {
      // One after the other: of a key that has ended is asked once, and the others then know the new one.
      session.set(await api.get("/v1/session", this.#signal));
      const [{ keys }, { collections }] = await Promise.all([api.get(PATH, this.#signal), api.get("/v1/collections", this.#signal)]);
      if (!newest()) return; // something was done meanwhile
      this.#keys = keys;
      this.#draw(collections.map(({ name }) => name));
    } catch (error) {
      if (error.name === "AbortError" || !newest()) return;
      this.#list.replaceChildren(failure(api.asProblem(error), () => void this.refresh()));
    }
  }

  #draw(collections) {
    const { open, name } = session.now;
    this.#who.replaceChildren(open ? openNotice() : el("p", { className: "who" }, "You use the key ", el("strong", {}, name), "."));
    // What is being filled in stays as long as it is true.
    const about = JSON.stringify([open, collections]);
    if (this.#form.dataset.about !== about) {
      const form = keyForm({ first: open, collections, onMake: (wanted) => this.#make(wanted) });
      form.open = open || this.#keys.length === 0;
      this.#form.dataset.about = about;
      this.#form.replaceChildren(form);
    }
    this.#drawList();
  }

  #drawList() {
    const valid = this.#keys.filter((key) => stateOf(key) === "valid").reverse();
    const over = this.#keys.filter((key) => stateOf(key) !== "valid").reverse();
    const rows = (keys) => el("ul", { className: "rows", role: "list" }, keys.map((key) => this.#row(key)));
    this.#list.replaceChildren(el("h2", {}, "Keys"),
      valid.length > 0 ? rows(valid) : message("No key is valid", el("p", {}, session.now.open
        ? "Nobody needs one yet." : "Nobody can sign in with one.")),
      ...(over.length > 0 ? [el("details", { className: "over" }, el("summary", {}, `Revoked and expired (${over.length})`), rows(over))] : []));
  }

  #row(key) {
    const state = stateOf(key);
    const own = key.id === session.now.key_id;
    const told = el("div", { className: "told" });
    const facts = [["May", key.scopes.join(", ")], ["Collections", key.collections === null ? "all" : key.collections.join(", ") || "none that is left"],
      state === "revoked" ? ["Revoked", format.instant(key.revoked_at)] : [state === "expired" ? "Expired" : "Expires", key.expires_at ? format.instant(key.expires_at) : "never"],
      ["Last used", key.last_used_at ? format.instant(key.last_used_at) : "never"], ["Made", format.instant(key.created_at)]];
    return el("li", { className: "row key-row", "data-key": String(key.id) },
      el("div", { className: "row-main" },
        el("p", { className: "key-name" }, el("strong", {}, key.name), own ? el("span", { className: "badge active" }, "you use it") : null,
          state === "valid" ? null : el("span", { className: "badge" }, state)),
        el("code", { className: "prefix" }, `descry_${key.prefix}_…`)),
      state === "revoked" ? null : el("div", { className: "actions" },
        button("Rotate", () => void this.#rotate(key, own, told), { ariaLabel: `Rotate ${key.name}` }),
        button("Revoke", () => void this.#revoke(key, own, told), { className: "quiet dangerous", ariaLabel: `Revoke ${key.name}` })),
      el("dl", { className: "key-facts" }, facts.map(([term, text]) => el("div", {}, el("dt", {}, term), el("dd", {}, text)))), told);
  }

  /** Make a key; what the server refuses is for the form to tell. */
  async #make(wanted) {
    const first = session.now.open;
    const made = await api.send("POST", PATH, wanted, this.#signal);
    const note = first ? await this.#use(made.key, "The server is closed now, and this page uses the key.") : null;
    await this.#show(made, note);
  }

  /** Show a secret, and what it has changed in the list. */
  async #show(made, note) {
    const shown = secret(made, note, () => this.#made.replaceChildren());
    this.#made.replaceChildren(shown);
    await this.refresh();
    announce(`The key ${made.name} is shown once; copy it now`);
    shown.querySelector("h2").focus();
    shown.scrollIntoView({ block: "nearest" });
  }

  async #rotate(key, own, told) {
    const agreed = await confirmed({
      title: `Give ${key.name} a new secret?`, agree: "Rotate it",
      text: `What ${own ? "you use" : "its holder uses"} until now ends at once. The new secret is shown once; ${own ? "this page goes on with it" : "give it to whoever needs it"}.`,
    });
    if (!agreed) return;
    try {
      const made = await api.send("POST", `${PATH}/${key.id}/rotate`, undefined, this.#signal);
      await this.#show(made, own ? await this.#use(made.key, "This page uses it already.") : null);
    } catch (error) {
      if (error.name !== "AbortError") told.replaceChildren(failure(api.asProblem(error)));
    }
  }

  async #revoke(key, own, told) {
    const others = this.#keys.some((one) => one.id !== key.id && stateOf(one) === "valid" && one.scopes.includes("admin"));
    const text = ["Whoever uses it is refused from now on. A revoked key cannot be brought back.", own ? "You use it yourself: this page will ask for another one." : "",
      key.scopes.includes("admin") && !others ? "It is the last one of an administrator: only descry keys create at the command line can make another one then." : ""];
    if (!(await confirmed({ title: `Revoke ${key.name}?`, text: text.filter(Boolean).join(" "), agree: "Revoke it" }))) return;
    try {
      await api.send("DELETE", `${PATH}/${key.id}`, undefined, this.#signal);
      announce(`${key.name} is revoked`);
      await this.refresh();
    } catch (error) {
      if (error.name !== "AbortError") told.replaceChildren(failure(api.asProblem(error)));
    }
  }

  /** Go on with a key; without an answer the page asks for it at the next request. */
  async #use(key, note) {
    const refused = await begin(key).catch(() => "The server did not answer.");
    return refused === null ? note : `The page could not sign in with it: ${refused} Keep the key, it will be asked for.`;
  }
}

function openNotice() {
  return el("div", { className: "outcome warn" }, el("strong", {}, "This server is open."),
    "Everyone on this machine may do everything. With the first key that ends: from then on every request needs one.",
    hint("The first key is an administrator's, so that it can make the others."));
}

function stateOf(key) {
  if (key.revoked_at !== null) return "revoked";
  return key.expires_at !== null && Date.parse(key.expires_at) <= Date.now() ? "expired" : "valid";
}
