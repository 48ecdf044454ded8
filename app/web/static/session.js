// Who uses the page, and what they may do: as the server said it last.

const listeners = new Set();

export const session = {
  /** `GET /v1/session`, or null while nobody knows. */
  now: null,

  set(found) {
    this.now = found;
    for (const listener of listeners) listener(found);
  },

  /** Whether a scope is held; what needs none may be used by everybody. */
  may(scope) {
    return scope === undefined || this.now?.scopes.includes(scope) === true;
  },

  /** Whether a search within a collection ("": everywhere) must say what it is for; no, while nobody knows. */
  wantsPurpose(collection) {
    return this.now?.purpose_required === true && !this.now.purpose_free_collections.includes(collection);
  },

  /** Hear of changes, until `signal` ends it. */
  onChange(listener, signal) {
    listeners.add(listener);
    signal?.addEventListener("abort", () => listeners.delete(listener));
  },
};
