// What the last search of this visit was for: ten searches of one case say it once. It stands in the form, where whoever
// searches sees and changes it, and goes with the tab or with the key that it was written under.

import { session } from "../session.js";

const last = { key: null, purpose: "" };

export const purposes = {
  remember(purpose) {
    [last.key, last.purpose] = [holder(), purpose];
  },

  /** The purpose that a new search begins with; empty for somebody else. */
  get last() {
    return last.key === holder() ? last.purpose : "";
  },
};

function holder() {
  return session.now?.key_id ?? null;
}
