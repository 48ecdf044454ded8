// Whether somebody is the person who was looked for: one person proposes it here, another one confirms it.

import * as api from "../api.js";
import { announce, button, el, field } from "../dom.js";
import * as format from "../format.js";
import { failure } from "../messages.js";
import { once } from "../turns.js";

const STATES = {
  proposed: "waits for a second person", confirmed: "confirmed by two people", refused: "refused", withdrawn: "withdrawn", lapsed: "lapsed",
};
const LAPSES = {
  expired: "nobody confirmed it in time", query_deleted: "its search was deleted", key_revoked: "the key that proposed it was revoked",
  images_apart: "its images belong to different people now",
};
const ACTS = {
  confirm: { text: "Confirm", send: "Confirm", label: "Anything to add", needed: false, name: "note", done: "Confirmed by two people" },
  refuse: { text: "Refuse", send: "Refuse", label: "Why it is somebody else", needed: true, name: "reason", done: "Refused" },
  withdraw: { text: "Withdraw", send: "Withdraw", label: "Why it is taken back", needed: true, name: "reason", done: "Withdrawn" },
};

/** The mark of a state. */
export function stateMark({ state }) {
  return el("span", { className: `badge identified ${state}` }, `${state === "confirmed" ? "✓ " : ""}${STATES[state]}`);
}

/** Who said what about one, oldest first. */
export function story(one) {
  const said = (what, { name, at, note }) => el("li", {}, el("strong", {}, `${what} by ${name}`), ` ${format.instant(at)}`, note ? el("span", { className: "said" }, ` “${note}”`) : null);
  const share = one.image_ids.length === one.images_of_identity
    ? format.count(one.image_ids.length, "image", "images")
    : `${one.image_ids.length} of ${format.count(one.images_of_identity, "image", "images")}`;
  const lines = [
    said("Proposed", one.proposed),
    one.decided ? said(one.state === "refused" ? "Refused" : "Confirmed", one.decided) : null,
    one.withdrawn ? said("Withdrawn", one.withdrawn) : null,
    one.lapsed_at ? el("li", {}, `Lapsed ${format.instant(one.lapsed_at)}: ${LAPSES[one.lapsed_because]}`) : null,
  ];
  const until = one.state === "proposed" ? `, to be confirmed before ${format.instant(one.expires_at)}` : "";
  return el("div", { className: "story" }, el("ul", { role: "list" }, lines.filter(Boolean)),
    el("p", { className: "hint" }, `For ${one.purpose}; rests on ${share}${until}`));
}

/** Buttons for what may be done with one. `onDone(changed)` is called with what it is then. */
export function decisions(one, onDone) {
  if (one.may.length === 0) return null;
  const room = el("div", {});
  const buttons = one.may.map((act) => {
    const { text } = ACTS[act];
    const chosen = button(text, () => {
      const form = decision(one, act, { onDone, onCancel: () => {
        room.replaceChildren();
        chosen.focus();
      } });
      room.replaceChildren(form);
      form.querySelector("textarea").focus();
    }, { className: act === "confirm" ? "primary" : "quiet", ariaLabel: `${text} identification ${one.id}` });
    return chosen;
  });
  return el("div", { className: "decisions" }, el("div", { className: "actions" }, buttons), room);
}

function decision(one, act, { onDone, onCancel }) {
  const { send, label, needed, name, done } = ACTS[act];
  const words = el("textarea", { rows: 2, maxLength: 1000, required: needed });
  const told = el("div", {});
  const hint = act === "confirm" ? "You say that this is the person, as a second one who has looked at the images yourself." : null;
  const form = el("form", { className: "editor", ariaLabel: `${send} identification ${one.id}` }, field(label, words, hint), told,
    el("div", { className: "actions" }, el("button", { type: "submit", className: "primary" }, send), button("Cancel", onCancel)));
  const decide = once(async () => {
    try {
      const changed = await api.send("POST", `/v1/identifications/${one.id}/${act}`, { [name]: words.value.trim() || null });
      onDone(changed);
      announce(done);
    } catch (error) {
      if (error.name !== "AbortError") told.replaceChildren(failure(api.asProblem(error)));
    }
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void decide();
  });
  return form;
}

/** The form by which a candidate is proposed. `onDone(made)`, `onCancel()`. */
export function proposal(identity, { queryId, purpose, onDone, onCancel }) {
  const reason = el("input", { type: "text", maxLength: 200, required: true, value: purpose ?? "", autocomplete: "off" });
  const words = el("textarea", { rows: 2, maxLength: 1000, required: true });
  const told = el("div", {});
  const form = el("form", { className: "editor", ariaLabel: "Mark as identification" },
    el("p", { className: "hint" }, "You say that this candidate is the person who is looked for. It counts only when a second person, with another key, confirms it."),
    field("Purpose or case", reason), field("By what you recognise the person", words), told,
    el("div", { className: "actions" }, el("button", { type: "submit", className: "primary" }, "Propose"), button("Cancel", onCancel)));
  const propose = once(async () => {
    try {
      const body = { query_id: queryId, identity_id: identity.id, purpose: reason.value, note: words.value };
      onDone(await api.send("POST", "/v1/identifications", body));
      announce("Proposed: a second person confirms or refuses it");
    } catch (error) {
      if (error.name !== "AbortError") told.replaceChildren(failure(api.asProblem(error)));
    }
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void propose();
  });
  return form;
}

/** What was said about a person as the one who is looked for; null if nothing was. `onChanged(one)`. */
export function identifications(found, onChanged) {
  if (found.length === 0) return null;
  const item = (one) => el("li", { className: "identification" }, stateMark(one), story(one), decisions(one, onChanged));
  return el("section", { ariaLabel: "Identification" }, el("h3", {}, "Identification"), el("ul", { role: "list", className: "identifications" }, found.map(item)));
}
