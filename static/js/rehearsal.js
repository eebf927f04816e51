// The rehearsal with its progress: one line of JSON per simulated study, the outcome in the last.

import { lines } from "./ndjson.js";

const form = document.querySelector("[data-rehearsal]");
const outcome = document.querySelector("[data-outcome]");

function said(text) {
  const line = document.createElement("p");
  line.textContent = text;
  outcome.replaceChildren(line);
}

async function rehearse(url) {
  const bar = document.createElement("progress");
  bar.className = "progress__bar";
  bar.setAttribute("aria-label", "Simulated studies");
  outcome.replaceChildren(bar);
  const response = await fetch(url, {
    headers: { Accept: "application/x-ndjson, application/json" }, credentials: "same-origin",
  });
  if (!response.ok) {
    const body = await response.json().catch(() => ({}));
    said(body.detail ?? "The server refused. Reload the page and try again.");
    return;
  }
  for await (const line of lines(response)) {
    if (line.html !== undefined) outcome.innerHTML = line.html;
    else { bar.max = line.total; bar.value = line.done; }
  }
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("button");
  const url = `${form.action}?${new URLSearchParams(new FormData(form))}`;
  history.replaceState(null, "", url);
  button.disabled = true;
  try {
    await rehearse(url);
  } catch {
    said("The server could not be reached, or stopped half way. Nothing was changed; try again.");
  } finally {
    button.disabled = false;
  }
});
