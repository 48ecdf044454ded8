// People are quicker than answers: what keeps an answer that was overtaken, and a second click, from doing harm.

/** Numbers what is asked. `begin()` gives a function that says whether nothing was asked since. */
export function turns() {
  let last = 0;
  return () => {
    const mine = (last += 1);
    return () => mine === last;
  };
}

/** A handler that is deaf while what it began is under way: two clicks send once. */
export function once(work) {
  let busy = false;
  return async (...given) => {
    if (busy) return;
    busy = true;
    try {
      await work(...given);
    } finally {
      busy = false;
    }
  };
}
