// The wizard: what is typed is kept on the server while it is typed, so that Back, a reload or a closed
// tab loses nothing. The server tells when another tab changed the same step. What was stored without an
// answer that arrived is known there as this page's own: by the page's id, the count of what it sent, and
// the id of the sketch that it begins.

import { uuid } from "./outbox.js";

const WAIT_MS = 700;
const PATIENCE_MS = 30_000; // an answer that takes longer counts as none

const form = document.querySelector("[data-sketch]");
const words = form.querySelector("[data-kept-words]");
const { seen, page, turn, sketch } = form.elements;
let timer = 0;
let changed = false;
let inFlight = null;
let unreached = false; // the last try had no answer

// set here and not by the server, so that a page that comes out of the browser's memory keeps its own
page.value = uuid();
turn.value = 0;
if (sketch) sketch.value = uuid();

function say(text) { words.textContent = text; }

async function store() {
  clearTimeout(timer);
  if (inFlight) await inFlight.catch(() => {}); // who began it tells of it
  if (!changed) return;
  changed = false;
  unreached = false;
  turn.value = Number(turn.value) + 1;
  const data = new URLSearchParams(new FormData(form));
  data.set("go", "keep");
  inFlight = fetch(form.action, {
    method: "POST", body: data, headers: { Accept: "application/json" }, credentials: "same-origin", keepalive: true,
    signal: AbortSignal.timeout(PATIENCE_MS),
  });
  try {
    const reply = await inFlight;
    const body = await reply.json();
    if (!reply.ok) throw new Error(body.detail);
    seen.value = body.seen;
    if (!form.action.endsWith(body.address)) { // the first words make the sketch
      form.action = body.address;
      history.replaceState(null, "", body.address);
    }
    if (!changed) say("Kept."); // what was typed meanwhile is not yet
  } catch (error) {
    changed = true;
    unreached = error instanceof TypeError || error instanceof SyntaxError || error.name === "TimeoutError";
    say(unreached
      ? "Not kept: the server cannot be reached. It is tried again as you go on typing, and when the network is back."
      : `Not kept: ${error.message ?? "the server refused it."}`);
  } finally { inFlight = null; }
}

form.addEventListener("input", () => {
  changed = true;
  if (words.textContent === "Kept.") say("");
  clearTimeout(timer);
  timer = setTimeout(store, WAIT_MS);
});
// Typed before this script was there, or filled in again by the browser: no event tells of it.
function differs(field) {
  if (field.type === "hidden") return false;
  if (field.type === "checkbox" || field.type === "radio") return field.checked !== field.defaultChecked;
  if (field.options) { // with none named in the page, the first one is shown
    const options = [...field.options];
    return options.some((one) => one.defaultSelected)
      ? options.some((one) => one.selected !== one.defaultSelected) : field.selectedIndex > 0;
  }
  return "defaultValue" in field && field.value !== field.defaultValue;
}

document.addEventListener("visibilitychange", () => { if (document.hidden) store(); });
window.addEventListener("online", store);
window.addEventListener("pagehide", store);

let sent = false;
let passes = false;
form.addEventListener("submit", async (event) => {
  if (passes) { passes = false; changed = false; turn.value = Number(turn.value) + 1; return; }
  if (sent) { event.preventDefault(); return; }
  sent = true;
  clearTimeout(timer);
  if (!changed && !inFlight) { turn.value = Number(turn.value) + 1; return; }
  event.preventDefault(); // what was typed is kept first: on the browser's own error page it would be lost
  const { submitter } = event;
  await store();
  if (unreached) { sent = false; return; }
  passes = true;
  form.requestSubmit(submitter);
  passes = false;
});
window.addEventListener("pageshow", () => { sent = false; });

// What was typed while an answer is awaited cannot follow it once the page is gone.
window.addEventListener("beforeunload", (event) => { if (changed && inFlight) event.preventDefault(); });

if ([...form.elements].some(differs)) { changed = true; timer = setTimeout(store, WAIT_MS); }
