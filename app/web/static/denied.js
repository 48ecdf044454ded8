// What stands in the place of a view that the key may not use.

import { button, el } from "./dom.js";
import { message } from "./messages.js";
import { link } from "./router.js";
import { session } from "./session.js";
import { signedIn } from "./signin.js";

/** Says what the view needs and what the key has; `home`: a view that it may use. */
export function denied(view, home) {
  const { name, scopes } = session.now;
  return message(view.need === "admin" ? "For administrators only" : `This key does not open ${view.title}`,
    el("p", {}, "This needs a key with the right ", el("code", {}, view.need), ". You use the key ", el("strong", {}, name), `, which has: ${scopes.join(", ")}.`),
    el("div", { className: "actions" },
      // With another key the page draws itself anew.
      button("Use another key", () => void signedIn({ code: "key_required" }), { className: "primary" }),
      link(home.name === "search" ? {} : { view: home.name }, `Go to ${home.title}`, { className: "quiet" })));
}
