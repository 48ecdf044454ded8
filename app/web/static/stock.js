// How much there is to search, known once for all views.

import * as api from "./api.js";
import { session } from "./session.js";

const listeners = new Set();

export const stock = {
  /** The gallery's summary, or null while nobody knows. */
  now: null,
  /** Why it is not known, or null. */
  problem: null,

  /** Ask the server; never rejects. Nobody knows without a key that may search. */
  async refresh() {
    if (session.now !== null && !session.may("search")) {
      [this.now, this.problem] = [null, null];
      for (const listener of listeners) listener(null);
      return;
    }
    try {
      this.now = await api.get("/v1/gallery");
      this.problem = null;
    } catch (error) {
      this.now = null;
      this.problem = api.asProblem(error);
    }
    for (const listener of listeners) listener(this.now);
  },

  /** Call back when it is known anew, until the signal is aborted. */
  onChange(listener, signal) {
    listeners.add(listener);
    signal?.addEventListener("abort", () => listeners.delete(listener));
  },
};
