// Server-rendered fragments: fetch one, swap it in, poll while it says so.

/** What the server refused, in its own words (problem+json), or that it could not be reached. */
export class Refusal extends Error {
  constructor(status, title, detail, body = {}) {
    super(detail || title);
    this.status = status;
    this.title = title;
    this.body = body;
  }
}

const PATIENCE_MS = 30_000; // an answer that takes longer counts as none

function refusalOf(response, text) {
  let body = {};
  try { body = JSON.parse(text); } catch { /* not JSON: the status has to do */ }
  return new Refusal(response.status, body.title ?? "Refused",
    body.detail ?? `The server answered ${response.status}.`, body);
}

/**
 * Ask for a fragment. Returns { html, headers, status }. keepalive: the request outlives the page.
 * patienceMs: an answer that takes longer counts as none.
 * @throws {Refusal} with the server's words; with status 0 when no answer came. A write without an
 *   answer may or may not have been stored, and the words say so.
 */
export async function request(url, { method = "GET", body, headers = {}, signal, keepalive = false, patienceMs = PATIENCE_MS } = {}) {
  const control = new AbortController();
  const stop = () => control.abort();
  signal?.addEventListener("abort", stop, { once: true });
  if (signal?.aborted) stop();
  const timer = setTimeout(stop, patienceMs);
  try {
    const response = await fetch(url, {
      method, body, keepalive, signal: control.signal, credentials: "same-origin",
      headers: { "X-Fragment": "1", ...headers },
    });
    const text = await response.text();
    if (!response.ok) throw refusalOf(response, text);
    return { html: text, headers: response.headers, status: response.status };
  } catch (error) {
    if (error instanceof Refusal || signal?.aborted) throw error;
    throw new Refusal(0, "No answer", method === "GET"
      ? "the server cannot be reached."
      : "the server did not answer, so it is not known whether this was stored.");
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", stop);
  }
}

/** Put a fragment inside target, tell the page ("fragment:swap"), and poll what asks for it. */
export function swap(target, html) {
  target.innerHTML = html;
  target.dispatchEvent(new CustomEvent("fragment:swap", { bubbles: true }));
  watch(target);
}

/** Send a form as a fragment request (urlencoded, or multipart where the form says so). */
export function submit(form, { submitter, signal } = {}) {
  const data = new FormData(form, submitter);
  const body = form.enctype === "multipart/form-data" ? data : new URLSearchParams(data);
  const method = form.method.toUpperCase();
  if (method === "GET") return request(`${form.action}?${body}`, { signal });
  return request(form.action, { method, body, signal });
}

/**
 * Poll one element: after data-refresh-ms it is replaced by what data-refresh-url answers, as long
 * as the answer carries data-refresh-ms itself. Waits while the page is hidden; after a failure it
 * waits longer, up to 30 s. Returns a function that stops it.
 */
function poll(element) {
  let current = element;
  let failures = 0;
  let timer = 0;
  let stopped = false;

  function again() {
    const ms = Number(current.dataset.refreshMs);
    if (stopped || !ms || !current.isConnected) return;
    timer = setTimeout(refresh, Math.min(30_000, ms * 2 ** failures));
  }

  async function refresh() {
    if (stopped || !current.isConnected) return;
    if (document.hidden) { document.addEventListener("visibilitychange", refresh, { once: true }); return; }
    try {
      const { html } = await request(current.dataset.refreshUrl);
      if (stopped || !current.isConnected) return;
      const box = document.createElement("template");
      box.innerHTML = html.trim();
      const next = box.content.firstElementChild;
      if (!next) return;
      current.replaceWith(next);
      current = next;
      polled.add(next);
      failures = 0;
      next.dispatchEvent(new CustomEvent("fragment:swap", { bubbles: true }));
    } catch {
      failures = Math.min(failures + 1, 6);
    }
    again();
  }

  polled.add(element);
  again();
  return () => { stopped = true; clearTimeout(timer); };
}

const polled = new WeakSet();

/** Start polling every element under root that asks for it. */
export function watch(root = document) {
  for (const element of root.querySelectorAll("[data-refresh-ms][data-refresh-url]")) {
    if (!polled.has(element)) poll(element);
  }
}

watch();
