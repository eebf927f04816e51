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

async function refusalOf(response) {
  let body = {};
  try { body = await response.json(); } catch { /* not JSON: the status has to do */ }
  return new Refusal(response.status, body.title ?? "Refused",
    body.detail ?? `The server answered ${response.status}. Reload the page and try again.`, body);
}

/**
 * Ask for a fragment. Returns { html, headers, status }.
 * @throws {Refusal} with the server's words, also when it cannot be reached.
 */
export async function request(url, { method = "GET", body, headers = {}, signal } = {}) {
  let response;
  try {
    response = await fetch(url, {
      method, body, signal, credentials: "same-origin",
      headers: { "X-Fragment": "1", ...headers },
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, "Not reached", "The server cannot be reached. Nothing was changed; try again.");
  }
  if (!response.ok) throw await refusalOf(response);
  return { html: await response.text(), headers: response.headers, status: response.status };
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
export function poll(element) {
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
