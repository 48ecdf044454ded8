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

  onChange(listener) {
    listeners.add(listener);
  },
};
