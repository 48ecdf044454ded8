// How much there is to search, known once for all views.

import * as api from "./api.js";
import { session } from "./session.js";

const listeners = new Set();
let [asked, told] = [0, 0]; // numbers of the newest question, and of the newest one that was answered

export const stock = {
  /** The gallery's summary, or null while nobody knows. */
  now: null,
  /** Why it is not known, or null. */
  problem: null,

  /** Ask the server; never rejects. Nobody knows without a key that may search. */
  async refresh() {
    if (session.now !== null && !session.may("search")) {
      told = asked += 1;
      [this.now, this.problem] = [null, null];
      for (const listener of listeners) listener(null);
      return;
    }
    const turn = (asked += 1);
    const [now, problem] = await api.get("/v1/gallery").then((found) => [found, null], (error) => [null, api.asProblem(error)]);
    if (turn < told) return; // something newer is known
    told = turn;
    [this.now, this.problem] = [now, problem];
    for (const listener of listeners) listener(this.now);
  },

  /** Call back when it is known anew, until the signal is aborted. */
  onChange(listener, signal) {
    listeners.add(listener);
    signal?.addEventListener("abort", () => listeners.delete(listener));
  },
};
