// The planner with its progress: one line of JSON per step; when it is over, or is stopped, the page
// is asked for again and shows what is known by then.

import { lines } from "./ndjson.js";

const form = document.querySelector("[data-planner]");
const place = document.querySelector("[data-progress]");
let stop = null;

function said(text) {
  const line = document.createElement("p");
  line.textContent = text;
  place.replaceChildren(line);
}

function shown() {
  const box = document.createElement("div");
  box.className = "progress";
  const words = document.createElement("span");
  const bar = document.createElement("progress");
  bar.className = "progress__bar";
  bar.setAttribute("aria-label", "Simulated studies");
  const button = document.createElement("button");
  button.type = "button";
  button.className = "button";
  button.textContent = "Stop";
  button.addEventListener("click", () => stop?.abort());
  box.append(words, bar);
  place.replaceChildren(box, button);
  return (line) => {
    const text = line.total ? `${line.done} ${line.text}` : line.text;
    words.textContent = [text, line.left].filter(Boolean).join(", ");
    if (line.total) { bar.max = line.total; bar.value = line.done; }
  };
}

/** Whether the page is to be asked for: false where the server said why not. */
async function simulate(url) {
  stop = new AbortController();
  const show = shown();
  const response = await fetch(url, {
    headers: { Accept: "application/x-ndjson, application/json" },
    credentials: "same-origin",
    signal: stop.signal,
  });
  if (!response.ok || !response.headers.get("content-type")?.includes("ndjson")) return true;
  let over = false;
  for await (const line of lines(response)) {
    if (line.over) over = true;
    else show(line);
  }
  if (!over) said("The server stopped half way. What was done is kept; simulate again to go on.");
  return over;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("button:not([type=button])");
  const fields = new URLSearchParams(new FormData(form));
  const url = `${form.action}?${fields}`;
  fields.delete("run");
  button.disabled = true;
  try {
    if (await simulate(url)) location.assign(`${form.action}?${fields}`);
  } catch (error) {
    if (error.name === "AbortError") location.assign(`${form.action}?${fields}`);
    else said("The server could not be reached, or stopped half way. What was done is kept.");
  } finally {
    button.disabled = false;
    stop = null;
  }
});
