// The HTTP API, and what can go wrong with it.

import { session } from "./session.js";
import { signedIn } from "./signin.js";

const PATIENCE_MS = 60_000;

/** Why there is no answer, in words for people. `again`: the same request may succeed later. */
export class Problem extends Error {
  constructor({ code, title, status = null, detail = "", again = false, retryAfter = null, requestId = null, fields = [] }) {
    super(detail || title);
    Object.assign(this, { code, title, status, detail, again, retryAfter, requestId, fields });
  }
}

/** The JSON at a path. */
export function get(path, signal) {
  return exchange(path, { signal }, json);
}

/** Send JSON, or a form with files; returns the JSON of the answer, or null. */
export function send(method, path, body, signal, patience) {
  const form = body instanceof FormData;
  const headers = form || body === undefined ? {} : { "Content-Type": "application/json" };
  const content = form || body === undefined ? body : JSON.stringify(body);
  return exchange(path, { method, headers, body: content, signal }, json, patience);
}

/** The bytes of an answer to a GET, or with a body to a POST. */
export function blob(path, signal, body) {
  const options = body === undefined ? {} : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  return exchange(path, { ...options, signal }, (response) => response.blob());
}

/** A path with parameters; those that are null or empty are left out, lists are repeated. */
export function address(path, parameters) {
  const given = Object.entries(parameters).flatMap(([name, value]) => [value].flat().map((one) => [name, one]));
  const query = new URLSearchParams(given.filter(([, value]) => value !== null && value !== undefined && value !== ""));
  return query.size > 0 ? `${path}?${query}` : path;
}

/** An answer that is still being written; the caller reads its body. */
export async function stream(path, signal) {
  const ask = () => fetch(path, { signal, headers: { Accept: "text/event-stream" } });
  const response = await admitted(ask).catch((error) => {
    throw error instanceof Problem || error.name === "AbortError" ? error : unanswered(error);
  });
  if (!response.ok) throw problemOf(response.status, response.headers, await response.text());
  return response.body;
}

/**
 * Upload a form or a file and tell how far it is: `onProgress(sent, all)`, in bytes. fetch() cannot tell. A key is asked
 * for before: a server that refuses a large body may cut the connection before its reason is read.
 */
export async function upload(path, body, headers, onProgress, signal) {
  for (;;) {
    await get("/v1/session", signal);
    try {
      return await sent(path, body, headers, onProgress, signal);
    } catch (error) {
      if (error.status !== 401 || !(await signedIn(error))) throw error; // the key ended meanwhile
    }
  }
}

function sent(path, body, headers, onProgress, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", path);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.addEventListener("progress", (event) => onProgress(event.loaded, event.total));
    request.addEventListener("error", () => reject(unanswered(new TypeError("network"), body)));
    request.addEventListener("abort", () => reject(new DOMException("the upload was given up", "AbortError")));
    request.addEventListener("load", () => {
      const told = { get: (name) => request.getResponseHeader(name) };
      if (request.status >= 200 && request.status < 300) resolve(JSON.parse(request.responseText));
      else reject(problemOf(request.status, told, request.responseText));
    });
    signal.addEventListener("abort", () => request.abort());
    request.send(body);
  });
}

/** A part of the page. What cannot be fetched is told as any request without an answer. */
export async function part(load) {
  try {
    return await load();
  } catch (error) {
    throw error instanceof TypeError ? unanswered(error) : error;
  }
}

/** Errors of the page itself are told like all others: a blank page helps nobody. */
export function asProblem(error) {
  if (error instanceof Problem) return error;
  console.error(error);
  return new Problem({ code: "page_error", title: "The page failed", detail: String(error?.message ?? error), again: true });
}

async function json(response) {
  return response.status === 204 ? null : response.json();
}

async function exchange(path, options, read, patience = PATIENCE_MS) {
  const limit = AbortSignal.timeout(patience);
  const signal = options.signal ? AbortSignal.any([options.signal, limit]) : limit;
  try {
    let first = true;
    const response = await admitted(() => {
      const within = first ? signal : (options.signal ?? AbortSignal.timeout(patience)); // typing a key takes its time
      first = false;
      return fetch(path, { ...options, signal: within });
    });
    if (!response.ok) throw problemOf(response.status, response.headers, await response.text());
    return await read(response);
  } catch (error) {
    if (error instanceof Problem || error.name === "AbortError") throw error;
    throw unanswered(error, options.body);
  }
}

/** The answer to a request, which is made again once a key was given if it needs one. */
async function admitted(request) {
  const response = await request();
  if (response.status !== 401) return response;
  const problem = problemOf(response.status, response.headers, await response.text());
  if (!(await signedIn(problem))) {
    session.set(null); // nobody is signed in
    throw problem;
  }
  return request();
}

function unanswered(error, body) {
  if (error.name === "TimeoutError") {
    return new Problem({ code: "timeout", title: "No answer", again: true, detail: "The server takes too long." });
  }
  // A file that was moved or changed since it was chosen, and a connection that is cut, look alike to a browser.
  const file = body instanceof FormData || body instanceof Blob ? " If it runs, a file may be too large, or was moved: choose it again." : "";
  return new Problem({
    code: "unreachable",
    title: "The server cannot be reached",
    detail: `Check that \`descry serve\` is running and that this machine can reach it.${file}`,
    again: true,
  });
}

function problemOf(status, headers, text) {
  const told = parsed(text);
  const again = status === 429 || status >= 500;
  const seconds = Number.parseInt(headers.get("Retry-After") ?? "", 10);
  return new Problem({
    code: told.code ?? `http_${status}`,
    status,
    title: status === 413 ? "This is too large" : (told.title ?? "The server refused the request"),
    detail: told.detail ?? `It answered with status ${status}.`,
    again,
    retryAfter: again && Number.isFinite(seconds) ? seconds : null,
    requestId: status >= 500 ? (told.request_id ?? null) : null,
    fields: told.errors ?? [],
  });
}

function parsed(text) {
  try {
    return JSON.parse(text) ?? {};
  } catch {
    return {};
  }
}
