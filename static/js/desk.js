// The reading desk. Keys answer, Enter commits, the next trial is already decoded. An answer is kept
// in this browser until the server has it; its key makes sure that it is stored once.

const AWAY_MS = 60_000; // no key for so long counts as idle
const FIRST_RETRY_MS = 2_000;
const LONGEST_RETRY_MS = 15_000;

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
const radios = [...form.querySelectorAll("input[type=radio]")];
const byKey = new Map(radios.map((r) => [(r.dataset.hotkey ?? r.value).toLowerCase(), r]));
const firstWords = words.textContent;

// ---- what is known of the reading -------------------------------------------------------------

let state = JSON.parse(desk.dataset.desk);
let trial = null; // {token, position} on the stage
let given = []; // answers to this trial in the order of the keys, for Backspace
const current = { rating: null, lesion_class: null }; // the chosen radio of each question
let changes = 0;
let paused = false;
let waiting = false; // nothing to show until the network is back
const pictures = new Map(); // token → Promise<HTMLImageElement>, decoded

let memory = null; // where storage is refused, the page itself keeps the answers
function queue() {
  if (memory) return memory;
  try { return JSON.parse(localStorage.getItem(store)) ?? []; } catch { return []; }
}
function keep(answers) {
  try {
    if (answers.length) localStorage.setItem(store, JSON.stringify(answers));
    else localStorage.removeItem(store);
    memory = null;
  } catch { memory = answers; }
}

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
    else if (paused || waiting) this.idle += passed;
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
      const image = new Image(512, 512);
      image.className = "desk__image";
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
  const kept = queue().length;
  saved.classList.toggle("is-kept", kept > 0 && trouble !== "");
  if (kept && trouble === "sign-in") {
    saved.replaceChildren(`${kept} kept here, not yet sent: `, signInLink());
  } else if (kept && trouble) {
    saved.textContent = `${kept} kept here, not yet sent${trouble === "away" ? "" : `: ${trouble}`}`;
  } else if (kept) saved.textContent = "saving";
  else saved.textContent = answeredHere ? "saved" : "";
}
let answeredHere = 0;

function signInLink() {
  const link = document.createElement("a");
  link.href = `/sessions/new?next=${encodeURIComponent(address)}`;
  link.textContent = "sign in again";
  return link;
}

function showLeft() {
  const minutes = state.minutes_left;
  find("left").textContent = minutes ? `about ${minutes} min left` : "";
}

function coverWith(title, text) {
  find("cover-title").textContent = title;
  if (text) find("cover-text").textContent = text;
  cover.hidden = false;
}

async function showTrial(next) {
  clock.restart();
  trial = next;
  given = [];
  changes = 0;
  for (const radio of radios) radio.checked = false;
  current.rating = current.lesion_class = null;
  showAnswer();
  if (!trial) return wait();
  waiting = false;
  find("position").textContent = trial.position;
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
  if (!paused) cover.hidden = true;
  clock.restart();
  say(`Trial ${trial.position} of ${state.total}.`);
  return undefined;
}

/** Nothing to show: the reading is over, or the next pictures are not here yet. */
function wait() {
  const left = state.total - state.answered - queue().length;
  waiting = true;
  trial = null;
  if (left <= 0) {
    coverWith("That was the last image", "The last answers are on their way. Keep this page open until they are saved.");
    if (!queue().length) location.replace(address);
  } else {
    coverWith("Waiting for the network", "Your answers are kept in this browser and are sent as soon as the server answers. Reading goes on by itself.");
    if (!queue().length) retryLater();
  }
}

function showAnswer() {
  words.textContent = current.rating?.getAttribute("aria-label") ?? firstWords;
  const complete = Boolean(current.rating && current.lesion_class);
  commitButton.setAttribute("aria-disabled", String(!complete));
}

// ---- answering --------------------------------------------------------------------------------

function choose(radio) {
  const before = current[radio.name];
  if (before === radio) return;
  if (before) changes += 1;
  radio.checked = true;
  current[radio.name] = radio;
  given.push({ name: radio.name, before });
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
  if (!trial || paused) return undefined;
  if (!current.rating || !current.lesion_class) {
    const missing = [!current.rating && "1 to 6", !current.lesion_class && "lesion class"].filter(Boolean).join(" and ");
    words.textContent = `Still missing: ${missing}`;
    return say(`Still missing: ${missing}.`);
  }
  clock.count();
  keep([...queue(), {
    trial: trial.token,
    key: form.elements.key.value,
    rating: current.rating.value,
    lesion_class: current.lesion_class.value,
    active_ms: Math.round(clock.active),
    hidden_ms: Math.round(clock.hidden),
    idle_ms: Math.round(clock.idle),
    changes,
  }]);
  answeredHere += 1;
  forget(trial.token);
  const next = state.upcoming.find((one) => one.position === trial.position + 1) ?? null;
  state.upcoming = state.upcoming.filter((one) => one.position > trial.position);
  showTrial(next);
  showSaved();
  return send();
}

// ---- sending ----------------------------------------------------------------------------------

let sending = false;
let trouble = ""; // "", "away", "sign-in", or words
let retry = 0;
let timer = 0;

async function send() {
  if (sending) return;
  sending = true;
  clearTimeout(timer);
  let refused = "";
  try {
    for (let answers = queue(); answers.length; answers = queue()) {
      const outcome = await sendOne(answers[0]);
      if (outcome === "later") break;
      // by key: another tab may have changed the queue meanwhile
      keep(queue().filter((one) => one.key !== answers[0].key));
      if (outcome !== "stored") refused = outcome;
    }
  } finally {
    sending = false;
  }
  showSaved();
  if (refused) {
    sessionStorage.setItem(store, refused);
    location.replace(address);
    return;
  }
  if (queue().length) { retryLater(); return; }
  if (!trial && waiting) goOn();
}

async function sendOne(answer) {
  let reply;
  try {
    reply = await fetch(address, {
      method: "POST",
      headers: { accept: "application/json" },
      body: new URLSearchParams(answer),
      credentials: "same-origin",
    });
  } catch {
    trouble = "away";
    return "later";
  }
  if (reply.ok) {
    trouble = "";
    retry = 0;
    learn(await reply.json());
    return "stored";
  }
  const problem = await reply.json().catch(() => ({}));
  if (reply.status === 409 || reply.status === 422) return problem.detail ?? "An answer was refused.";
  trouble = reply.status === 401 ? "sign-in" : reply.status >= 500 ? "away" : problem.detail ?? "away";
  return "later";
}

/** Take over what the server says, but never go back behind what was answered here. */
function learn(news) {
  const behind = queue().length - 1; // the one just stored is still in it
  const first = trial?.position ?? news.answered + behind + 1;
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
  const delay = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** retry);
  retry += 1;
  timer = setTimeout(again, delay);
}

async function again() {
  if (queue().length) { await send(); return; }
  try {
    const reply = await fetch(address, { headers: { accept: "application/json" }, credentials: "same-origin" });
    if (reply.status === 401) { location.replace(address); return; } // the way to sign in
    if (!reply.ok) throw new Error(String(reply.status));
    state = await reply.json();
    retry = 0;
    goOn();
  } catch { retryLater(); }
}
window.addEventListener("online", () => { retry = 0; again(); });

// ---- keys -------------------------------------------------------------------------------------

function pause() {
  if (waiting) return;
  clock.count();
  paused = !paused;
  pauseButton.setAttribute("aria-pressed", String(paused));
  if (paused) {
    coverWith("Paused", `Press ${pauseKey.toUpperCase()} to go on. Every answer so far is stored; you can close the browser and go on here later.`);
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
  else if (key === pauseKey) { if (!event.repeat) pause(); }
  else if (paused || !trial) return;
  else if (key === "enter") { if (!event.repeat) commit(); }
  else if (key === "backspace") undo();
  else if (byKey.has(key)) choose(byKey.get(key));
  else return;
  event.preventDefault();
});

form.addEventListener("submit", (event) => { event.preventDefault(); commit(); });
form.addEventListener("change", (event) => { // by mouse, arrows or a screen reader
  if (event.target.type === "radio") choose(event.target);
});
pauseButton.addEventListener("click", () => { pause(); pauseButton.blur(); });
find("keys").addEventListener("click", (event) => {
  event.currentTarget.blur();
  document.querySelector("#desk-keys").showModal();
});

// ---- begin ------------------------------------------------------------------------------------

const note = sessionStorage.getItem(store);
if (note) {
  sessionStorage.removeItem(store);
  saved.textContent = note;
  say(note);
}
fetchAhead();
if (queue().length) { // answers of an earlier visit come first
  trial = null;
  waiting = true;
  coverWith("Sending answers", "Answers from an earlier visit are kept in this browser and are being sent.");
  showSaved();
  send();
} else {
  showTrial(state.upcoming[0]);
}
