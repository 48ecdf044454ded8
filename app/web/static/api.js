// The HTTP API, and what can go wrong with it.

const PATIENCE_MS = 60_000;

/** Why there is no answer, in words for people. `again`: the same request may succeed later. */
export class Problem extends Error {
  constructor({ code, title, detail = "", again = false, retryAfter = null, requestId = null }) {
    super(detail || title);
    Object.assign(this, { code, title, detail, again, retryAfter, requestId });
  }
}

export async function gallery(signal) {
  return json("/v1/gallery", { signal });
}

export async function identity(id, signal) {
  return json(`/v1/identities/${id}`, { signal });
}

export async function picture(imageId, signal) {
  return exchange(`/v1/images/${imageId}/file`, { signal }, (response) => response.blob());
}

export async function searchText(query, limit, signal) {
  const body = JSON.stringify({ query, limit });
  return json("/v1/search/text", { method: "POST", headers: { "Content-Type": "application/json" }, body, signal });
}

export async function searchImage(file, limit, signal) {
  const body = new FormData();
  body.append("file", file, file.name || "picture");
  body.append("limit", String(limit));
  return json("/v1/search/image", { method: "POST", body, signal });
}

function json(path, options) {
  return exchange(path, options, (response) => response.json());
}

async function exchange(path, options, read) {
  const patience = AbortSignal.timeout(PATIENCE_MS);
  const signal = options.signal ? AbortSignal.any([options.signal, patience]) : patience;
  try {
    const response = await fetch(path, { ...options, signal });
    if (!response.ok) throw await problemOf(response);
    return await read(response);
  } catch (error) {
    if (error instanceof Problem || error.name === "AbortError") throw error;
    throw unanswered(error, options.body);
  }
}

function unanswered(error, body) {
  if (error.name === "TimeoutError") {
    return new Problem({ code: "timeout", title: "No answer", again: true, detail: "The server takes too long." });
  }
  // A file that was moved or changed since it was chosen, and a connection that is cut, look alike to a browser.
  const file = body instanceof FormData ? " If it runs, the picture may be too large, or was moved: choose it again." : "";
  return new Problem({
    code: "unreachable",
    title: "The server cannot be reached",
    detail: `Check that \`descry serve\` is running and that this machine can reach it.${file}`,
    again: true,
  });
}

async function problemOf(response) {
  const told = await response.json().catch(() => ({}));
  const again = response.status === 429 || response.status >= 500;
  const seconds = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
  // The server calls it a body; the only one of that size that this page sends is a picture.
  const title = response.status === 413 ? "The picture is too large" : told.title;
  return new Problem({
    code: told.code ?? `http_${response.status}`,
    title: title ?? "The server refused the request",
    detail: told.detail ?? `It answered with status ${response.status}.`,
    again,
    retryAfter: again && Number.isFinite(seconds) ? seconds : null,
    requestId: response.status >= 500 ? (told.request_id ?? null) : null,
  });
}
