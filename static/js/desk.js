// The reading desk. Keys answer, Enter commits, the next trial is already decoded. An answer is kept
// in this browser until the server has it; its key makes sure that it is stored once. One that the
// server refuses stops the desk: it and those after it stay here until the reader has decided.

import { browserStorage, Queue } from './desk/queue.js';

const AWAY_MS = 60_000; // no key for so long counts as idle
const FIRST_RETRY_MS = 2_000;
const LONGEST_RETRY_MS = 15_000;
const READ_MS = 700; // a message is not answered sooner than it can be read

const desk = document.querySelector("[data-desk]");
const find = (name) => desk.querySelector(`[data-${name}]`);
const form = find("answers");
const stage = find("stage");
const cover = find("cover");
const saved = find("saved");
const said = find("said");
const words = find("words");
const commitButton = form.querySelector(".desk__commit");
const pauseButton = find("pause");
const pauseKey = desk.dataset.pauseKey.toLowerCase();
const address = `/readings/${desk.dataset.token}`;
const store = `hepatica-desk:${desk.dataset.token}`;
const rules = JSON.parse(desk.dataset.rules);
const radios = [...form.querySelectorAll("input[type=radio]")];
const boxes = [...form.querySelectorAll("input[name=reasons]")];
const byKey = new Map([...radios, ...boxes].map((r) => [(r.dataset.hotkey ?? r.value).toLowerCase(), r]));
const questions = { rating: "1 to 6", lesion_class: "lesion class", class_confidence: "how sure of the class" };
const asked = Object.keys(questions).filter((name) => radios.some((r) => r.name === name));
const CALLED_SYNTHETIC = 4;
const firstWords = words.textContent;

// ---- what is known of the reading -------------------------------------------------------------

let state = JSON.parse(desk.dataset.desk);
let trial = null; // {token, position} on the stage
let given = []; // answers to this trial in the order of the keys, for Backspace
const current = Object.fromEntries(asked.map((name) => [name, null])); // the chosen radio of each question
let earlier = null; // the answer gone back to, where the protocol allows it
let feedback = ""; // on a practice image, until it was read
let aside = false; // the reading goes on in another tab
let changes = 0;
let paused = false;
let waiting = false; // nothing to show until the network is back
let stopped = null; // {answer, reason}: refused by the server; nothing is sent before it is decided
const pictures = new Map(); // token → Promise<HTMLImageElement>, decoded

const answers = new Queue(desk.dataset.token, browserStorage());

// what the storage did not take would go with the page
window.addEventListener("beforeunload", (event) => { if (answers.unsafe) event.preventDefault(); });

function uuid() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16)); // plain http has no randomUUID
  return [...bytes].map((b) => b.toString(16).padStart(2, "0")).join("");
}

// ---- time: looking, page hidden, idle ---------------------------------------------------------

const clock = {
  active: 0, hidden: 0, idle: 0, at: performance.now(), touched: performance.now(),
  away: document.hidden,
  count() {
    const now = performance.now();
    const passed = now - this.at;
    if (this.away) this.hidden += passed;
    else if (paused || waiting || stopped) this.idle += passed;
    else {
      const active = Math.max(0, Math.min(now, this.touched + AWAY_MS) - this.at);
      this.active += active;
      this.idle += passed - active;
    }
    this.at = now;
  },
  touch() { this.count(); this.touched = this.at; },
  restart() { this.count(); this.active = this.hidden = this.idle = 0; this.touched = this.at; },
};
document.addEventListener("visibilitychange", () => {
  clock.count(); // what passed until now belongs to the state before
  clock.away = document.hidden;
  clock.touched = clock.at;
});
for (const kind of ["keydown", "pointerdown", "pointermove"]) {
  document.addEventListener(kind, () => clock.touch(), { capture: true, passive: true });
}

// ---- pictures ---------------------------------------------------------------------------------

function picture(token) {
  if (!pictures.has(token)) {
    const loading = (async () => {
      const answer = await fetch(`/pixels/${token}`, { credentials: "same-origin" });
      if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
      const image = new Image(rules.image_px, rules.image_px);
      image.className = stage.querySelector("[data-image]").className;
      image.alt = "Lesion image";
      image.dataset.image = "";
      image.src = URL.createObjectURL(await answer.blob());
      await image.decode();
      return image;
    })();
    loading.catch(() => pictures.delete(token));
    pictures.set(token, loading);
  }
  return pictures.get(token);
}

function fetchAhead() {
  for (const one of state.upcoming) picture(one.token).catch(() => {});
}

function forget(token) {
  const old = pictures.get(token);
  pictures.delete(token);
  old?.then((image) => URL.revokeObjectURL(image.src), () => {});
}

// ---- showing ----------------------------------------------------------------------------------

function say(text) { said.textContent = text; }

function showSaved() {
  const kept = answers.length;
  saved.classList.toggle("is-kept", kept > 0 && trouble !== "");
  if (kept && trouble === "sign-in") {
    saved.replaceChildren(`${kept} kept here, not yet sent: `, signInLink());
  } else if (kept && trouble === "other-reader") {
    saved.replaceChildren(`${kept} kept here, not yet sent: somebody else is signed in. Sign out in `, elsewhereLink(), ", then sign in again as the reader");
  } else if (kept && trouble) {
    saved.textContent = `${kept} kept here, not yet sent${trouble === "away" ? "" : `: ${trouble}`}`;
  } else if (kept) saved.textContent = "saving";
  else saved.textContent = answeredHere ? "saved" : "";
  if (answers.unsafe) saved.append(`; this browser has no room for ${answers.unsafe}: keep this page open`);
  if (paused && !cover.hidden) find("cover-text").textContent = pauseText();
}
let answeredHere = 0;

/** What is true of the answers when the reader goes away now. */
function whereAnswersAre() {
  const kept = answers.length;
  const here = kept === 1 ? "1 answer is kept" : `${kept} answers are kept`;
  if (answers.unsafe) return `${here} in this page and not sent yet, and this browser has no room for ${answers.unsafe === 1 ? "one" : answers.unsafe}: keep the page open until the server is back.`;
  if (kept) return `${here} in this browser and not sent yet. You can close it; open the reading in this same browser again, and they are sent.`;
  return "Every answer so far is stored; you can close the browser and go on here later.";
}

function signInLink() {
  const link = document.createElement("a");
  link.href = `/sessions/new?next=${encodeURIComponent(address)}`;
  if (answers.unsafe) link.target = "_blank"; // this page must stay
  link.textContent = "sign in again";
  return link;
}

/** A page of the person who is signed in now; this one must stay. */
function elsewhereLink() {
  const link = document.createElement("a");
  link.href = "/readings";
  link.target = "_blank";
  link.textContent = "another tab";
  return link;
}

function showLeft() {
  const minutes = state.minutes_left;
  find("left").textContent = minutes ? `about ${minutes} min left` : "";
}

function coverWith(title, text, goOnWords = "") {
  find("cover-title").textContent = title;
  if (text) find("cover-text").textContent = text;
  find("go-on").hidden = !goOnWords;
  if (goOnWords) find("go-on").firstChild.textContent = `${goOnWords} `;
  cover.hidden = false;
}

function showPlace(position) {
  const practice = position <= rules.practice;
  find("block").textContent = practice ? "Practice" : "Image";
  find("position").textContent = practice ? position : position - rules.practice;
  find("of").textContent = practice ? rules.practice : state.total - rules.practice;
}

async function showTrial(next, answer = null) {
  clock.restart();
  trial = next;
  earlier = answer;
  given = [];
  changes = 0;
  for (const one of [...radios, ...boxes]) one.checked = false;
  for (const name of asked) {
    current[name] = answer ? radios.find((r) => r.name === name && r.value === String(answer[name])) : null;
    if (current[name]) current[name].checked = true;
  }
  for (const box of boxes) box.checked = Boolean(answer?.reasons.includes(box.value));
  resetView();
  showAnswer();
  if (!trial) return wait();
  waiting = false;
  showPlace(trial.position);
  form.elements.trial.value = trial.token;
  form.elements.key.value = uuid();
  let image;
  try {
    image = await picture(trial.token);
  } catch {
    if (trial === next) wait();
    return undefined;
  }
  if (trial !== next) return undefined;
  stage.querySelector("[data-image]").replaceWith(image);
  applyView();
  if (!paused && !aside && !stopped) cover.hidden = true;
  clock.restart();
  if (!answer) goOnWith(takeBegun(trial.token));
  say(`${find("block").textContent} ${find("position").textContent} of ${find("of").textContent}.`);
  return undefined;
}

// A trial that was begun before the page was loaded again: its keys and its time are taken up.

const begunName = `${store}:begun`;

function keepBegun() {
  if (!trial || earlier) return;
  clock.count();
  const chosen = Object.fromEntries(asked.map((name) => [name, current[name]?.value ?? null]));
  const reasons = boxes.filter((box) => box.checked).map((box) => box.value);
  const { active, hidden, idle } = clock;
  try {
    sessionStorage.setItem(begunName, JSON.stringify({
      trial: trial.token, chosen, reasons, changes, view, active, hidden, idle,
    }));
  } catch { /* no room: the trial begins anew */ }
}
window.addEventListener("pagehide", keepBegun);

function takeBegun(token) {
  try {
    const found = JSON.parse(sessionStorage.getItem(begunName));
    sessionStorage.removeItem(begunName);
    return found?.trial === token ? found : null;
  } catch { return null; }
}

function goOnWith(begun) {
  if (!begun) return;
  Object.assign(clock, { active: begun.active, hidden: begun.hidden, idle: begun.idle });
  if (given.length) return; // keys that were faster than the picture count
  for (const name of asked) {
    current[name] = radios.find((r) => r.name === name && r.value === begun.chosen[name]) ?? null;
    if (current[name]) current[name].checked = true;
  }
  for (const box of boxes) box.checked = begun.reasons.includes(box.value);
  ({ changes, view } = begun);
  applyView();
  showAnswer();
}

/** Nothing to show: the reading is over, or the next pictures are not here yet. */
function wait() {
  const left = state.total - state.answered - answers.all().filter((one) => !one.revises).length;
  waiting = true;
  trial = null;
  if (left <= 0) {
    coverWith("That was the last image", "The last answers are on their way. Keep this page open until they are saved.");
    if (!answers.length) location.replace(address);
  } else if (trouble === "sign-in" || trouble === "other-reader") {
    const what = trouble === "sign-in" ? "You are signed out." : "Somebody else is signed in in this browser.";
    coverWith("Waiting for your sign-in", `${what} ${whereAnswersAre()} Reading goes on by itself as soon as its own reader is signed in.`);
    if (!answers.length) retryLater();
  } else {
    coverWith("Waiting for the network", "Your answers are kept in this browser and are sent as soon as the server answers. Reading goes on by itself.");
    if (!answers.length) retryLater();
  }
}

function showAnswer() {
  words.textContent = current.rating?.getAttribute("aria-label") ?? firstWords;
  const complete = asked.every((name) => current[name]);
  form.querySelector("[data-reasons]")?.classList.toggle("is-off", !calledSynthetic());
  commitButton.setAttribute("aria-disabled", String(!complete));
}

// ---- the picture: brightness, contrast, zoom, as far as the protocol lets ----------------------

const plain = { brightness: 0, contrast: 1, window_changes: 0, zoom: 1, zoom_changes: 0 };
let view = { ...plain };

function resetView() { view = { ...plain }; applyView(); }

function applyView() {
  const image = stage.querySelector("[data-image]");
  image.style.transform = view.zoom === 1 ? "" : `scale(${view.zoom})`;
  for (const part of stage.querySelectorAll("[data-window]")) {
    part.setAttribute("slope", view.contrast);
    part.setAttribute("intercept", 0.5 - 0.5 * view.contrast + view.brightness);
  }
}

/** Whether the key was one for the picture. */
function changeView(event) {
  const key = event.key;
  const within = (value, low, high) => Math.min(high, Math.max(low, Math.round(value * 1000) / 1000));
  if (rules.window && (key === "ArrowUp" || key === "ArrowDown")) {
    const up = key === "ArrowUp" ? 1 : -1;
    if (event.shiftKey) view.contrast = within(view.contrast * 1.1 ** up, 0.25, 8);
    else view.brightness = within(view.brightness + 0.04 * up, -0.8, 0.8);
    view.window_changes += 1;
  } else if (rules.zoom && (key === "+" || key === "=" || key === "-")) {
    view.zoom = within(view.zoom * (key === "-" ? 0.8 : 1.25), 1, 4);
    view.zoom_changes += 1;
  } else if ((rules.window || rules.zoom) && key === "0") {
    const { window_changes, zoom_changes } = view;
    view = { ...plain, window_changes: window_changes + 1, zoom_changes: zoom_changes + 1 };
  } else return false;
  applyView();
  return true;
}

// ---- answering --------------------------------------------------------------------------------

function calledSynthetic() { return Number(current.rating?.value ?? 0) >= CALLED_SYNTHETIC; }

function tick(box) {
  if (!calledSynthetic()) return say("Reasons are for images that you call synthetic, 4 to 6.");
  box.checked = !box.checked;
  return say(`${box.getAttribute("aria-label")}${box.checked ? "" : " taken away"}`);
}

function choose(radio) {
  const before = current[radio.name];
  if (before === radio) return;
  if (before) changes += 1;
  radio.checked = true;
  current[radio.name] = radio;
  given.push({ name: radio.name, before });
  if (!calledSynthetic()) for (const box of boxes) box.checked = false;
  showAnswer();
  say(radio.getAttribute("aria-label"));
}

function undo() {
  const last = given.pop();
  if (!last) return say("Nothing to take back.");
  current[last.name].checked = false;
  current[last.name] = last.before;
  if (last.before) last.before.checked = true;
  changes += 1;
  showAnswer();
  return say("Taken back.");
}

function commit() {
  if (!trial || paused || stopped) return undefined;
  const missing = asked.filter((name) => !current[name]).map((name) => questions[name]).join(" and ");
  if (missing) {
    words.textContent = `Still missing: ${missing}`;
    return say(`Still missing: ${missing}.`);
  }
  clock.count();
  const answer = Object.fromEntries(asked.map((name) => [name, current[name].value]));
  const reasons = boxes.filter((box) => box.checked).map((box) => box.value);
  if (earlier) {
    const same = asked.every((name) => String(earlier[name]) === answer[name])
      && reasons.join() === earlier.reasons.join();
    if (same) return showTrial(state.upcoming[0]);
  }
  answers.add({
    trial: trial.token,
    key: form.elements.key.value,
    ...answer,
    reasons,
    active_ms: Math.round(clock.active),
    hidden_ms: Math.round(clock.hidden),
    idle_ms: Math.round(clock.idle),
    changes,
    revises: Boolean(earlier),
    view: JSON.stringify({
      px: stage.querySelector("[data-image]").offsetWidth, dpr: window.devicePixelRatio, ...view,
    }),
  });
  answeredHere += 1;
  forget(trial.token);
  const place = trial.position;
  if (earlier) showTrial(state.upcoming[0]);
  else {
    const next = state.upcoming.find((one) => one.position === place + 1) ?? null;
    state.upcoming = state.upcoming.filter((one) => one.position > place);
    if (place <= rules.practice) waitForFeedback();
    else {
      showTrial(next);
      const read = place - rules.practice;
      if (rules.break_every && read % rules.break_every === 0 && place < state.total) offerBreak(read);
    }
  }
  showSaved();
  return send();
}

function waitForFeedback() {
  trial = null;
  waiting = true;
  coverWith("Practice", "Your answer is on its way.");
}

function showFeedback(text) {
  feedback = text;
  const last = state.upcoming[0] && state.upcoming[0].position > rules.practice;
  coverWith("Practice", `${text}${last ? " The practice ends here: from now on nothing is told." : ""}`, "Go on");
  say(`${text} Press Enter to go on.`);
}

function offerBreak(read) {
  pause(true, `${read} images are read. Rest your eyes.`);
  find("cover-title").textContent = "Time for a break";
  say("Time for a break.");
}

/** Go to an earlier trial or forward again; the server gives the picture's token and the answer. */
async function turnTo(position) {
  if (!rules.back || answers.length) return undefined;
  const now = state.upcoming[0]?.position;
  if (position <= rules.practice || position > now) return say("There is no image to go to.");
  if (position === now) return showTrial(state.upcoming[0]);
  try {
    const reply = await fetch(`${address}?position=${position}`, { headers: { accept: "application/json" }, credentials: "same-origin" });
    if (!reply.ok) throw new Error(String(reply.status));
    const found = await reply.json();
    return showTrial({ token: found.token, position: found.position }, found);
  } catch { return say("The earlier image cannot be reached now."); }
}

// ---- sending ----------------------------------------------------------------------------------

let sending = false;
let trouble = ""; // "", "away", "sign-in", "other-reader", or words
let retry = 0;
let timer = 0;

async function send() {
  if (sending || stopped || (aside && !answers.unsafe)) return;
  sending = true;
  clearTimeout(timer);
  try {
    for (let [first] = answers.all(); first; [first] = answers.all()) {
      const outcome = await sendOne(first);
      if (outcome === "stored") answers.remove(first.key);
      else if (outcome !== "later") stop(first, outcome);
      if (outcome !== "stored") break;
    }
  } finally {
    sending = false;
  }
  showSaved();
  if (stopped) return;
  if (answers.length) { retryLater(); return; }
  if (!trial && waiting && !feedback) goOn();
}

/** An answer was refused: it and all after it stay here, and the reader is told. */
function stop(answer, reason) {
  stopped = { answer, reason, at: performance.now() };
  trouble = reason;
  clock.count();
  paused = false;
  pauseButton.setAttribute("aria-pressed", "false");
  const given = [answer.rating && `rating ${answer.rating}`, answer.lesion_class].filter(Boolean).join(", ");
  const after = answers.length - 1;
  const kept = after ? ` So ${after === 1 ? "is 1 later answer" : `are ${after} later answers`}, not sent yet.` : "";
  coverWith(
    "An answer was not taken",
    `${reason} Your answer (${given}) is kept in this browser.${kept} Set aside, it stays in this browser and is not sent; what follows is sent then.`,
    "Set it aside and go on",
  );
  find("go-on").focus();
  say(`An answer was not taken. ${reason} Press Enter to set it aside and go on.`);
}

function setAside() {
  const { answer, reason, at } = stopped;
  if (performance.now() - at < READ_MS) return; // that Enter was meant for the image before
  answers.setAside(answer, reason);
  stopped = null;
  trouble = "";
  keepBegun();
  trial = null;
  waiting = true;
  coverWith("Going on", "Asking the server where the reading stands.");
  again();
}

function encoded(answer) {
  const body = new URLSearchParams();
  for (const [name, value] of Object.entries(answer)) {
    for (const one of Array.isArray(value) ? value : [value]) body.append(name, one);
  }
  return body;
}

async function sendOne(answer) {
  let reply;
  try {
    reply = await fetch(address, {
      method: "POST",
      headers: { accept: "application/json" },
      body: encoded(answer),
      credentials: "same-origin",
    });
  } catch {
    trouble = "away";
    return "later";
  }
  const body = await reply.json().catch(() => null);
  if (reply.ok && Number.isInteger(body?.answered)) {
    trouble = "";
    retry = 0;
    learn(body, answer.key);
    if (body.feedback && waiting && !trial) showFeedback(body.feedback);
    return "stored";
  }
  if (body?.other_reader) { trouble = "other-reader"; return "later"; } // it says nothing of the answer
  if (REFUSED.has(reply.status) && body?.detail) return body.detail;
  // the rest is not about this answer, or not by our server: a network's own sign-in page, for one
  trouble = reply.status === 401 ? "sign-in" : reply.status >= 500 ? "away" : body?.detail ?? "away";
  return "later";
}

const REFUSED = new Set([404, 409, 422]);

/** Take over what the server says, but never go back behind what was answered here. */
function learn(news, storedKey) {
  // the one just stored is still in the queue
  const behind = answers.all().filter((one) => !one.revises && one.key !== storedKey).length;
  const first = (earlier ? null : trial?.position) ?? news.answered + behind + 1;
  state = { ...news, upcoming: news.upcoming.filter((one) => one.position >= first) };
  showLeft();
  fetchAhead();
}

function goOn() {
  if (state.state !== "reading") { location.replace(address); return; }
  const next = state.upcoming[0];
  if (next) showTrial(next);
  else retryLater();
}

function retryLater() {
  showSaved();
  clearTimeout(timer);
  if (trouble === "other-reader") return; // each try under another name is an event; the tab's return is waited for
  const delay = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** retry);
  retry += 1;
  timer = setTimeout(again, delay);
}

async function again() {
  if (stopped) return;
  if (answers.length) { await send(); return; }
  if (aside) return;
  try {
    const reply = await fetch(address, { headers: { accept: "application/json" }, credentials: "same-origin" });
    if (reply.status === 401) { location.replace(address); return; } // the way to sign in
    if (!reply.ok) throw new Error(String(reply.status));
    const news = await reply.json();
    if (!Array.isArray(news.upcoming)) throw new Error("not our server");
    state = news;
    trouble = "";
    retry = 0;
    showSaved();
    fetchAhead();
    goOn();
  } catch { retryLater(); }
}
window.addEventListener("online", () => { retry = 0; again(); });
document.addEventListener("visibilitychange", () => { // after the sign-in in another tab
  if (!document.hidden && trouble === "other-reader") { retry = 0; again(); }
});

// ---- keys -------------------------------------------------------------------------------------

let pauseWords = "";

function pauseText() {
  return `${pauseWords} Press ${pauseKey.toUpperCase()} to go on. ${whereAnswersAre()}`.trim();
}

function pause(on = !paused, words_ = "") {
  if (waiting || aside || stopped) return;
  clock.count();
  paused = on;
  pauseButton.setAttribute("aria-pressed", String(paused));
  if (paused) {
    pauseWords = words_;
    coverWith("Paused", pauseText());
    say("Paused.");
  } else {
    cover.hidden = true;
    clock.touch();
    say("Going on.");
  }
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (document.querySelector("dialog[open]")) return;
  const key = event.key.toLowerCase();
  const control = event.target.closest?.("button, a");
  if ((key === "enter" || key === " ") && control && control !== commitButton) return;
  if (key === "?") document.querySelector("#desk-keys").showModal();
  else if (stopped) { if (key !== "enter" || event.repeat) return; setAside(); }
  else if (aside) { if (key !== "enter") return; takeOver(); }
  else if (feedback) { if (key !== "enter" || event.repeat) return; readFeedback(); }
  else if (key === pauseKey) { if (!event.repeat) pause(); }
  else if (paused || !trial) return;
  else if (key === "enter") { if (!event.repeat) commit(); }
  else if (key === "backspace") undo();
  else if (byKey.has(key)) {
    if (byKey.get(key).type === "checkbox") tick(byKey.get(key));
    else choose(byKey.get(key));
  } else if (rules.back && (key === "arrowleft" || key === "arrowright")) turnTo(trial.position + (key === "arrowleft" ? -1 : 1));
  else if (changeView(event)) { /* done */ }
  else return;
  event.preventDefault();
});

form.addEventListener("submit", (event) => { event.preventDefault(); commit(); });
form.addEventListener("change", (event) => { // by mouse, arrows or a screen reader
  if (event.target.type === "radio") choose(event.target);
  else if (event.target.name === "reasons" && !calledSynthetic()) {
    event.target.checked = false;
    say("Reasons are for images that you call synthetic, 4 to 6.");
  }
});
find("go-on").addEventListener("click", () => {
  if (stopped) setAside();
  else if (aside) takeOver();
  else readFeedback();
});
find("leave").addEventListener("click", async (event) => { // never to the browser's own error page
  event.preventDefault();
  const { href } = event.currentTarget;
  clock.count();
  try {
    const reply = await fetch(href, { credentials: "same-origin", cache: "no-store" });
    if (reply.ok && !answers.unsafe) { location.assign(href); return; }
  } catch { /* said below */ }
  find("cover-text").textContent = `The server cannot be reached, so this page stays. ${whereAnswersAre()}`;
  say(`The server cannot be reached, so this page stays. ${whereAnswersAre()}`);
});
function readFeedback() {
  feedback = "";
  goOn();
}
pauseButton.addEventListener("click", () => { pause(); pauseButton.blur(); });
find("keys").addEventListener("click", (event) => {
  event.currentTarget.blur();
  document.querySelector("#desk-keys").showModal();
});

// ---- one tab at a time ------------------------------------------------------------------------

const tabs = "BroadcastChannel" in window ? new BroadcastChannel(store) : null;

function standAside() {
  clock.count();
  aside = true;
  stopped = null; // the tab that reads on is told as well
  clearTimeout(timer);
  coverWith("This reading is open in another tab", "Two tabs at once would mix up the times. Go on there, or press Enter to read here instead.", "Read here");
  say("This reading is open in another tab. Press Enter to read here instead.");
}

function takeOver() {
  sessionStorage.setItem(`${store}:mine`, "1");
  location.reload();
}

if (tabs) {
  tabs.onmessage = ({ data }) => {
    if (data === "here?" && !aside) tabs.postMessage("here");
    else if (data === "here" || data === "mine") standAside();
  };
  const mine = sessionStorage.getItem(`${store}:mine`);
  sessionStorage.removeItem(`${store}:mine`);
  tabs.postMessage(mine ? "mine" : "here?");
}

// ---- begin ------------------------------------------------------------------------------------

if (rules.screen) {
  const now = [window.devicePixelRatio, window.screen.width, window.screen.height];
  find("notice").hidden = now.every((value, place) => Math.abs(value - rules.screen[place]) < 0.01);
}
fetchAhead();
if (answers.length) { // answers of an earlier visit come first
  trial = null;
  waiting = true;
  coverWith("Sending answers", "Answers from an earlier visit are kept in this browser and are being sent.");
  showSaved();
  send();
} else {
  showTrial(state.upcoming[0]);
}
