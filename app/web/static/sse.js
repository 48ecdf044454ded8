// Jobs as they happen. Server-sent events are read from a fetch: unlike EventSource it says why there is no answer.

import * as api from "./api.js";

const PAUSE_MS = 1_500;
const FINAL = new Set(["succeeded", "failed", "cancelled", "superseded"]);

export function ended(job) {
  return FINAL.has(job.state);
}

/**
 * Follow a job until it has ended: `onJob(job)` whenever it changed, `onLine(line)` for each line of its log, once.
 * A connection that breaks is made again; `onLost(problem)` says so. Rejects only if there is no such job.
 */
export async function followJob(id, { onJob, onLine = () => {}, onLost = () => {} }, signal) {
  let last = 0;
  for (;;) {
    try {
      for await (const { event, data } of events(`/v1/jobs/${id}/events`, signal)) {
        if (event === "log" && data.id > last) {
          last = data.id;
          onLine(data);
        } else if (event === "job") {
          onJob(data);
          if (ended(data)) return;
        }
      }
    } catch (error) {
      if (error.name === "AbortError" || (error instanceof api.Problem && !error.again)) throw error;
      onLost(api.asProblem(error));
    }
    await pause(PAUSE_MS, signal);
  }
}

/** Every event of a stream, with its data from JSON. */
async function* events(path, signal) {
  const reader = (await api.stream(path, signal)).pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read().catch((error) => {
      if (error.name === "AbortError") throw error;
      throw new api.Problem({ code: "cut", title: "The connection was cut", again: true });
    });
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split("\n").map((line) => line.split(/: ?(.*)/s)));
      if (fields.data) yield { event: fields.event ?? "message", data: JSON.parse(fields.data) };
    }
  }
}

/** Wait; rejects when the signal is aborted. */
export function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    }, { once: true });
  });
}
