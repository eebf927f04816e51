// The case page: slice list, viewer, lesion panel and the keys that join them.
//
// What is chosen (a lesion, or a box that is being marked) is the one thing that keys and buttons act on.
// The panel follows it, and while it has not caught up nothing of a review is obeyed. What is stored goes
// through the outbox, which lets nothing go before the server has it.

import { openDialog, onOtherPerson } from "./dialogs.js";
import { Drafts } from "./drafts.js";
import { Refusal, request } from "./fragment.js";
import { bind, listKeys } from "./hotkeys.js";
import { Outbox, uuid } from "./outbox.js";
import { Panel, filledIn } from "./panel.js";
import { PixelStore } from "./pixels.js";
import { Viewer } from "./viewer.js";

const data = JSON.parse(document.getElementById("case-data").textContent);
const $ = (selector, root = document) => root.querySelector(selector);
const page = $("[data-case]");
const images = data.series.flatMap((series) => series.images.map((image) => ({ ...image, series })));
const byId = new Map(images.map((image) => [image.id, image]));
const rows = new Map([...page.querySelectorAll("[data-image]")].map((row) => [row.dataset.image, row]));

const store = new PixelStore();
const viewer = new Viewer({ canvas: $("#slice"), store, presets: data.presets });
const panel = new Panel($("#lesion-panel"));
const outbox = new Outbox();
const reviews = new Drafts(data.person.id, "review");   // lesion id → what is filled in
const boxes = new Drafts(data.person.id, "box");        // id of the lesion to be → what is drawn

let lesions = data.lesions;
let chosen = null;       // null, { lesion }, or { box } while a box is being marked
let direction = 1;
let reading = null;      // the request for the panel; only the newest counts
let stranger = false;    // somebody else signed in in this browser: nothing is sent any more

/** For the live region: what the person who cannot see the picture must hear. */
function say(text) { $("#viewer-says").textContent = text; }

/** On the page as well: what was stored, of which lesion. */
function tell(text) { $("#panel-says").textContent = text; }

const toCanvas = () => $("#slice")?.focus({ preventScroll: true });

// ---- slices ---------------------------------------------------------------------------------

const current = () => viewer.wanted ?? images[0];

function neighbour(by) {
  const image = current();
  const own = image.series.images;
  const index = Math.min(own.length - 1, Math.max(0, image.number - 1 + by));
  return byId.get(own[index].id);
}

function open(image, { keep = false } = {}) {
  if (!image) return;
  direction = Math.sign(image.number - current().number) || direction;
  markRow(image);
  viewer.show(image);
  if (!keep) remember();
}

let chosenRow = page.querySelector("[data-image][aria-current]");

function markRow(image) {
  const row = rows.get(image.id);
  if (chosenRow === row) return;
  chosenRow?.removeAttribute("aria-current");
  chosenRow?.setAttribute("tabindex", "-1");
  chosenRow = row;
  row?.setAttribute("aria-current", "true");
  row?.setAttribute("tabindex", "0");
  keepInSight(row, row?.closest("[data-slices]"));
}

// Scrolls the list alone; scrollIntoView would also scroll the page on narrow screens. The headings of
// the slice list stick to its top, hence the room above.
function keepInSight(row, list) {
  if (!row || !list) return;
  const a = row.getBoundingClientRect();
  const b = list.getBoundingClientRect();
  if (a.top < b.top + 64) list.scrollTop += a.top - b.top - 64;
  else if (a.bottom > b.bottom) list.scrollTop += a.bottom - b.bottom + 8;
}

function prefetchAround(image) {
  const near = [];
  const own = image.series.images;
  const at = image.number - 1;
  for (let step = 1; step <= 12; step += 1) {
    near.push(own[at + direction * step]);
    if (step <= 4) near.push(own[at - direction * step]);
  }
  store.prefetch(near.filter(Boolean));
}

let addressTimer = 0;

// The address follows the slice, so that a reload or a copied link shows the same one.
function remember() {
  clearTimeout(addressTimer);
  addressTimer = setTimeout(() => history.replaceState(history.state, "", address()), 250);
}

function address() {
  const query = new URLSearchParams();
  const lesion = chosen?.lesion;
  if (lesion) query.set("lesion", lesion.id);
  const image = current();
  if (!lesion || lesion.image_id !== image.id) query.set("image", image.id);
  return `${location.pathname}?${query}`;
}

viewer.addEventListener("slice", ({ detail: { image } }) => {
  $("[data-hud=series]").textContent = image.series.label;
  $("[data-hud=uncalibrated]").hidden = image.calibrated;
  for (const button of page.querySelectorAll("[data-preset]")) button.disabled = !image.calibrated;
  const here = lesions.filter((lesion) => lesion.image_id === image.id).length;
  $("#slice").setAttribute("aria-label",
    `CT slice ${image.number} of ${image.series.images.length}, ${image.series.label}${here ? `, ${here} ${here === 1 ? "lesion" : "lesions"} marked` : ""}`);
  prefetchAround(image);
});

// List, address and slider say what is asked for; the corner of the picture says what is in it.
viewer.addEventListener("wanted", () => {
  const { wanted, image, fault } = viewer;
  const total = wanted.series.images.length;
  const scrub = $("#scrub");
  scrub.max = total;
  scrub.value = wanted.number;
  scrub.setAttribute("aria-valuetext", `slice ${wanted.number} of ${total}`);
  $("[data-hud=slice]").textContent = fault ? `slice ${wanted.number}/${total} not loaded`
    : viewer.stale && image ? `slice ${image.number}/${image.series.images.length}, loading ${wanted.number} …`
    : viewer.stale ? `loading slice ${wanted.number} …`
    : `slice ${wanted.number}/${total}`;
  $("[data-hud=slice]").classList.toggle("hud__warn", fault !== null);
  const note = $("#slice-fault");
  const text = fault ? `Slice ${wanted.number} could not be loaded: ${fault.error.message}${image ? ` What you see, dimmed, is slice ${image.number}.` : ""}${fault.error.status === 401 ? " Sign in (opens in a new tab), then press Try again." : ""}` : "";
  if ($("[data-text]", note).textContent !== text) $("[data-text]", note).textContent = text;
  $("[data-sign-in]", note).hidden = fault?.error.status !== 401;
  note.hidden = !fault;
});
viewer.addEventListener("scroll", ({ detail: { by } }) => open(neighbour(by)));
viewer.addEventListener("say", ({ detail: { text } }) => say(text));
viewer.addEventListener("window", ({ detail: { width, level } }) => {
  $("[data-hud=window]").textContent = `W ${width} L ${level}`;
  for (const button of page.querySelectorAll("[data-preset]")) {
    const preset = data.presets[Number(button.dataset.preset)];
    button.setAttribute("aria-pressed", String(viewer.calibrated && preset.width === width && preset.level === level));
  }
});
viewer.addEventListener("cursor", ({ detail: { x, y, value } }) => {
  const unit = viewer.calibrated ? "HU" : "grey";
  $("[data-hud=value]").textContent = value === null ? "" : `${String(value).replace("-", "−")} ${unit}`;
  $("[data-hud=place]").textContent = value === null ? "" : `x ${x} y ${y}`;
});
viewer.addEventListener("view", ({ detail: { zoom } }) => {
  $("[data-hud=zoom]").textContent = `${Math.round(zoom * 100)} %`;
});
viewer.addEventListener("settings", ({ detail }) => {
  for (const [name, on] of Object.entries({ invert: detail.invert, smooth: detail.smooth })) {
    $(`[data-do=${name}]`).setAttribute("aria-pressed", String(on));
  }
});
viewer.addEventListener("tool", ({ detail: { tool } }) => {
  for (const name of ["box", "circle"]) $(`[data-do=${name}]`).setAttribute("aria-pressed", String(tool === name));
  $("[data-hud=hint]").textContent = {
    box: "Drag a box around the lesion, or arrow keys and ↵. Esc leaves.",
    circle: "Drag from the centre outwards, or arrow keys and ↵. Esc leaves.",
    window: "",
  }[tool];
});

page.addEventListener("click", (event) => {
  const row = event.target.closest("[data-image]");
  if (row && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    open(byId.get(row.dataset.image));
    return;
  }
  const link = event.target.closest("[data-lesion]");
  if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    choose(lesions.find((lesion) => lesion.id === link.dataset.lesion));
    return;
  }
  const action = event.target.closest("[data-do]");
  if (action) actions[action.dataset.do]();
  const preset = event.target.closest("[data-preset]");
  if (preset) viewer.preset(Number(preset.dataset.preset));
});
$("#scrub").addEventListener("input", (event) => {
  open(neighbour(Number(event.target.value) - current().number));
});

// ---- lesions --------------------------------------------------------------------------------

const isChosen = (lesion) => chosen?.lesion?.id === lesion.id;
const reviewOf = (id) => `review:${id}`;

function drawLesions() {
  viewer.setLesions(lesions);
  const list = $("#lesion-list");
  const template = $("#lesion-row");
  list.replaceChildren(...lesions.map((lesion) => {
    const row = template.content.firstElementChild.cloneNode(true);
    const link = $("[data-lesion]", row);
    const image = byId.get(lesion.image_id);
    link.dataset.lesion = lesion.id;
    link.href = `?lesion=${lesion.id}`;
    $("[data-name]", link).textContent = `Lesion ${lesion.number}`;
    $("[data-where]", link).textContent = image ? `slice ${image.number}` : "";
    $("[data-claims]", link).replaceChildren(...lesion.claims.map((claim) => {
      const text = document.createElement("span");
      text.className = `claim claim--${claim.by}`;
      text.textContent = claim.text;
      return text;
    }));
    $("[data-covered]", link).hidden = !lesion.covered;
    $("[data-unsaved]", link).hidden = !reviews.has(lesion.id);
    if (isChosen(lesion)) link.setAttribute("aria-current", "true");
    return row;
  }));
  keepInSight($("[aria-current]", list), list);
  $("#lesion-none").hidden = lesions.length > 0;
  $("[data-lesion-count]").textContent = String(lesions.length);
  const counts = new Map();
  for (const lesion of lesions) counts.set(lesion.image_id, (counts.get(lesion.image_id) ?? 0) + 1);
  for (const [id, row] of rows) {
    const count = counts.get(id) ?? 0;
    const dot = $("[data-dot]", row);
    dot.hidden = count === 0;
    $("[data-dot-text]", row).textContent = count ? `${count} marked` : "";
  }
}

function takeIn(lesion) {
  lesions = [...lesions.filter((other) => other.id !== lesion.id), lesion].sort((a, b) => a.number - b.number);
  if (isChosen(lesion)) chosen = { lesion };
}

function takeOut(id) {
  lesions = lesions.filter((lesion) => lesion.id !== id);
  reviews.remove(id);
}

/** The lesion that an answer tells of; a Refusal when it is not the one that was asked for. */
function lesionOf(answer, id, write) {
  let told = null;
  try { told = JSON.parse(answer.headers.get("X-Lesion")); } catch { /* not ours */ }
  if (told?.id === id && told.person === data.person.id) return told;
  if (told && told.person !== data.person.id) {
    throw new Refusal(409, "Somebody else", "Somebody else is signed in in this browser now.", { person_changed: true });
  }
  throw new Refusal(0, "Another answer", write
    ? "something else answered in the server's place, so it is not known whether this was stored."
    : "something else answered in the server's place.");
}

function showPanel(html, lesion) {
  const draft = reviews.get(lesion.id);
  if (draft && !panel.show(html, lesion, draft)) reviews.remove(lesion.id); // it is what was stored
  else if (!draft) panel.show(html, lesion);
  settlePanel(lesion);
}

function settlePanel(lesion) {
  const item = outbox.get(reviewOf(lesion.id));
  if (item?.state === "sending") panel.saving(item.words);
  if (outbox.isSending(`withdrawal:${lesion.id}`)) panel.saving("");
  viewer.select(lesion.id, { editable: panel.editable });
}

/** What a refusal asks for, in words, after what happened. */
function why(refusal) {
  if (refusal.status === 401) return "you are signed out. Sign in (opens in a new tab), then press Try again.";
  return refusal.message;
}

/** Whatever the panel's request answers from now on, it is not heard. */
function stopReading() {
  reading?.abort();
  reading = null;
}

async function load(lesion) {
  stopReading();
  const mine = new AbortController();
  reading = mine;
  panel.loading(`Lesion ${lesion.number}`, "Loading … The keys of the review wait until it is here.");
  viewer.select(lesion.id);
  try {
    const answer = await request(`/lesions/${lesion.id}`, { signal: mine.signal });
    if (reading !== mine) return;
    const told = lesionOf(answer, lesion.id, false);
    takeIn(told);
    if (isChosen(lesion)) showPanel(answer.html, told);
    drawLesions();
  } catch (refusal) {
    if (reading !== mine) return;
    if (!(refusal instanceof Refusal)) throw refusal;
    if (refusal.body.person_changed) otherPerson(refusal.message);
    else if (refusal.body.withdrawn) withdrawnElsewhere(lesion, refusal);
    else {
      panel.failed(`Lesion ${lesion.number}`, `Lesion ${lesion.number} could not be loaded: ${why(refusal)}`, {
        retry: () => load(lesion), signIn: refusal.status === 401,
      });
      say(`Lesion ${lesion.number} could not be loaded. T tries again.`);
    }
  } finally {
    if (reading === mine) reading = null;
  }
}

function withdrawnElsewhere(lesion, refusal) {
  const wasChosen = isChosen(lesion);
  if (reviews.has(lesion.id)) refuse(`${refusal.message} What you had filled in for it was not saved.`);
  takeOut(lesion.id);
  if (wasChosen) {
    stopReading();
    chosen = null;
    viewer.select(null);
    const next = refusal.body.withdrawn.replaced_by;
    panel.failed(`Lesion ${lesion.number}`, refusal.message, {
      successor: next ? { href: `?lesion=${next}`, text: "Open the lesion in its place" } : null,
    });
  }
  drawLesions();
}

function choose(lesion, { push = true } = {}) {
  if (stranger) return;
  if (!lesion) {
    stopReading();
    chosen = null;
    drawLesions();
    viewer.select(null);
    panel.empty();
    return;
  }
  const again = isChosen(lesion) && panel.lesion === lesion.id;
  chosen = { lesion };
  drawLesions();
  $(".case__side").scrollTop = 0;
  const image = byId.get(lesion.image_id);
  if (image) open(image, { keep: true });
  viewer.reveal(lesion.box);
  if (push && !again) history.pushState({ lesion: lesion.id }, "", address());
  say(`${lesion.label}${image ? `, slice ${image.number}` : ""}${lesion.covered ? ", score covered" : ""}`);
  if (!again) load(lesion);
}

/** Choose a lesion and ask for its panel anew, even if it is here. */
function goTo(id) {
  const lesion = lesions.find((one) => one.id === id);
  if (lesion && isChosen(lesion)) load(lesion);
  else choose(lesion);
}

function step(by) {
  if (lesions.length === 0) { say("No lesion is marked in this case."); return; }
  const index = lesions.findIndex(isChosen);
  const next = index < 0 ? (by > 0 ? 0 : lesions.length - 1) : (index + by + lesions.length) % lesions.length;
  choose(lesions[next]);
}

viewer.addEventListener("pick", ({ detail: { lesion } }) => choose(lesion));

// ---- marking --------------------------------------------------------------------------------

function drawBoxes() {
  viewer.setPending(boxes.all().map(([id, { image, box }]) => ({
    image_id: image, box, words: outbox.isSending(`box:${id}`) ? "marking …" : "not marked yet",
  })));
}

/** Send a drawn box; the lesion gets the id that is made here, so that it is marked once. */
function mark(image, box, replaces = null) {
  if (stranger) return;
  const id = uuid();
  boxes.set(id, { case: data.case_id, image: image.id, box, replaces: replaces && { id: replaces.id, number: replaces.number } });
  viewer.setTool("window");
  tell("");
  // What is typed from now on is meant for this box, not for the lesion whose panel was here.
  stopReading();
  chosen = { box: id };
  viewer.select(null);
  panel.loading(`New lesion, slice ${image.number}`, "Marking … The keys of the review wait until it is marked.");
  drawLesions();
  outbox.put(boxItem(id));
  drawBoxes();
}

function boxItem(id) {
  const { image: imageId, box: [x, y, width, height], replaces } = boxes.get(id);
  const image = byId.get(imageId);
  const what = replaces ? `The new box of lesion ${replaces.number}` : "The box";
  const body = new URLSearchParams({ x, y, width, height, lesion: id, person: data.person.id });
  if (replaces) body.set("replaces", replaces.id);
  return {
    key: `box:${id}`,
    title: `${what} on slice ${image.number} is not marked:`,
    go: { text: `Show slice ${image.number}`, run: () => open(image) },
    drop: { text: "Discard the box", run: () => dropBox(id) },
    send: async () => {
      const answer = await request(`/images/${imageId}/lesions`, { method: "POST", body, keepalive: true });
      return { html: answer.html, lesion: lesionOf(answer, id, true) };
    },
    done: ({ html, lesion }) => {
      boxes.remove(id);
      if (replaces) {
        reviews.move(replaces.id, id);
        takeOut(replaces.id);
      }
      const mine = chosen?.box === id || (replaces && isChosen(replaces));
      if (mine) chosen = { lesion };
      takeIn(lesion);
      if (mine) {
        stopReading();
        showPanel(html, lesion);
        history.pushState({ lesion: id }, "", address());
      }
      drawLesions();
      tell(replaces ? `Lesion ${replaces.number} was replaced by lesion ${lesion.number}.`
        : `Lesion ${lesion.number} marked on slice ${image.number}.`);
      if (mine && lesion.covered) say("Score covered until you give your own class.");
    },
    refused: (refusal, final) => {
      if (refusal.body.person_changed) { otherPerson(refusal.message); return true; }
      if (!final) {
        if (chosen?.box === id) panel.loading(`New lesion, slice ${image.number}`, "Not marked yet. The box is kept here.");
        return false;
      }
      boxes.remove(id);
      if (refusal.body.withdrawn) takeOut(replaces.id);
      if (chosen?.box === id) choose(lesions.find((lesion) => lesion.id === replaces?.id));
      refuse(`${what} on slice ${image.number} was not marked. ${refusal.message}`);
      drawLesions();
      return true;
    },
  };
}

function dropBox(id) {
  const { replaces } = boxes.get(id);
  boxes.remove(id);
  outbox.drop(`box:${id}`);
  if (chosen?.box === id) choose(lesions.find((lesion) => lesion.id === replaces?.id));
  drawBoxes();
}

viewer.addEventListener("marked", ({ detail: { image, box } }) => mark(image, box));
// A mark is never overwritten: the new box is a new lesion, the old one is withdrawn with it.
viewer.addEventListener("adjusted", ({ detail: { lesion, box } }) => mark(byId.get(lesion.image_id), box, lesion));

// ---- reviews and withdrawals ----------------------------------------------------------------

function refuse(text) {
  const note = $("#refusal").content.firstElementChild.cloneNode(true);
  $("[data-text]", note).textContent = text;
  $("#panel-notes").append(note);
}

panel.addEventListener("filled", ({ detail: { lesion, values, empty } }) => {
  if (empty) reviews.remove(lesion); else reviews.set(lesion, values);
  drawLesions();
});
panel.addEventListener("discarded", ({ detail: { lesion } }) => {
  reviews.remove(lesion);
  outbox.drop(reviewOf(lesion));
  drawLesions();
});

function save(form) {
  const lesion = chosen?.lesion;
  // Three times the same id: what is chosen, whose panel it is, and what the form says it is for.
  if (stranger || !lesion || form !== panel.form || form.elements.lesion.value !== lesion.id) return;
  const values = filledIn(form);
  const said = (name) => $(`[name=${name}]:checked`, form).dataset.says;
  const words = `${said("lesion_class")}, confidence ${said("confidence")}`;
  const body = new URLSearchParams(new FormData(form));
  const item = {
    key: reviewOf(lesion.id),
    words,
    title: `Lesion ${lesion.number}, ${words}, is not saved:`,
    go: { text: `Go to lesion ${lesion.number}`, run: () => goTo(lesion.id) },
    drop: { text: "Hide this", run: () => outbox.drop(reviewOf(lesion.id)) },
    send: async () => {
      const answer = await request(`/lesions/${lesion.id}/reviews`, { method: "POST", body, keepalive: true });
      return { html: answer.html, told: lesionOf(answer, lesion.id, true) };
    },
    done: ({ html, told }) => {
      if (JSON.stringify(reviews.get(lesion.id)) === JSON.stringify(values)) reviews.remove(lesion.id);
      takeIn(told);
      if (isChosen(lesion)) {
        stopReading(); // an older answer must not come over this one
        showPanel(html, told);
      }
      drawLesions();
      tell(`Saved for lesion ${lesion.number}: ${words}.`);
    },
    refused: (refusal) => {
      if (refusal.body.person_changed) { otherPerson(refusal.message); return true; }
      if (refusal.body.withdrawn) {
        refuse(`${refusal.message} Your class for it (${words}) was not saved${values.note.trim() ? `, nor the note “${values.note.trim()}”` : ""}.`);
        reviews.remove(lesion.id);
        withdrawnElsewhere(lesion, refusal);
        return true;
      }
      if (isChosen(lesion)) panel.unsaved();
      return false;
    },
  };
  tell("");
  if (!outbox.put(item)) return;
  panel.saving(words);
  toCanvas();
}

function withdraw(form) {
  const lesion = chosen?.lesion;
  if (stranger || !lesion || panel.lesion !== lesion.id || form.elements.lesion.value !== lesion.id) return;
  const key = `withdrawal:${lesion.id}`;
  const body = new URLSearchParams(new FormData(form));
  const gone = (text) => {
    const wasChosen = isChosen(lesion);
    takeOut(lesion.id);
    outbox.drop(reviewOf(lesion.id));
    if (wasChosen) { choose(null); history.replaceState(null, "", address()); } else drawLesions();
    tell(text);
  };
  outbox.put({
    key,
    title: `Lesion ${lesion.number} is not withdrawn:`,
    go: { text: `Go to lesion ${lesion.number}`, run: () => goTo(lesion.id) },
    drop: { text: "Leave it", run: () => outbox.drop(key) },
    send: () => request(`/lesions/${lesion.id}/withdrawal`, { method: "POST", body, keepalive: true }),
    done: () => gone(`Lesion ${lesion.number} was withdrawn.`),
    refused: (refusal) => {
      if (refusal.body.person_changed) { otherPerson(refusal.message); return true; }
      if (refusal.body.withdrawn) { gone(refusal.message); return true; }
      if (isChosen(lesion)) panel.unsaved();
      return false;
    },
  });
  panel.saving("nothing: withdrawing");
}

page.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.matches("[data-review]")) { event.preventDefault(); save(form); }
  else if (form.matches("[data-withdrawal]")) { event.preventDefault(); withdraw(form); }
});

// ---- what waits, and trying again -----------------------------------------------------------

outbox.addEventListener("change", () => {
  const waiting = outbox.items.filter((item) => item.state !== "sending");
  $("#unsent").replaceChildren(...waiting.map((item) => {
    const note = $("#unsent-item").content.firstElementChild.cloneNode(true);
    $("[data-title]", note).textContent = item.title;
    $("[data-text]", note).textContent = why(item.refusal);
    const [again, go, drop] = ["again", "go", "drop"].map((name) => $(`[data-${name}]`, note));
    again.hidden = item.state !== "failed";
    again.addEventListener("click", () => outbox.again(item.key));
    $("[data-sign-in]", note).hidden = item.refusal.status !== 401;
    go.textContent = item.go.text;
    go.addEventListener("click", () => { item.go.run(); toCanvas(); });
    drop.textContent = item.drop.text;
    drop.addEventListener("click", () => { item.drop.run(); toCanvas(); });
    return note;
  }));
  drawBoxes();
  const lesion = chosen?.lesion;
  const item = lesion && outbox.get(reviewOf(lesion.id));
  if (item?.state === "sending") panel.saving(item.words);
});

function tryAgain() {
  if (stranger) { location.reload(); return; }
  const tried = [viewer.retry(), panel.again(), outbox.again() > 0].some(Boolean);
  say(tried ? "Trying again." : "Nothing waits to be tried again.");
}

// The panel, like a slice, comes back by itself; what is written waits for the person.
for (const [target, name] of [[window, "online"], [document, "visibilitychange"]]) {
  target.addEventListener(name, () => { if (!document.hidden && !stranger) panel.again(); });
}

function otherPerson(text) {
  stranger = true;
  stopReading();
  chosen = null;
  reviews.forget();
  boxes.forget();
  outbox.clear();
  viewer.select(null);
  viewer.setTool("window");
  panel.failed("Somebody else is signed in", `${text} What was not saved here is gone.`, { retry: () => location.reload() });
  say("Somebody else is signed in in this browser. Reload the page.");
}
onOtherPerson(data.person.id, () => otherPerson("Somebody else has signed in in this browser, so this page takes nothing any more. Reload it."));

// Boxes and drafts stay in this tab, so a link within it loses nothing; closing it would.
let leavingBy = null;
document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href]");
  const inTab = link && !link.target && link.origin === location.origin && !event.ctrlKey && !event.metaKey && !event.shiftKey;
  leavingBy = inTab ? link : null;
});
window.addEventListener("beforeunload", (event) => {
  if (stranger) return;
  const drafted = reviews.size + boxes.size > 0 && leavingBy === null;
  if (outbox.items.some((item) => item.state !== "refused") || drafted) event.preventDefault();
});

// ---- keys -----------------------------------------------------------------------------------

function answer(digit) {
  const taken = panel.answer(digit);
  if (taken) {
    say(`${taken.question}: ${taken.says}`);
    // Enter must save now, and not press what was clicked before.
    if (document.activeElement?.closest("a, button, summary")) toCanvas();
    return true;
  }
  if (chosen && !panel.form) say("The review does not listen yet: the lesion is not here, or is being saved.");
  return false;
}

function sendReview() {
  const form = panel.ready;
  if (!form) {
    if (panel.form) say("Choose a class first, by its number.");
    return false;
  }
  if (!$("[name=confidence]:checked", form)) {
    tell("Not saved yet: choose a confidence, 1 to 5.");
    return true;
  }
  form.requestSubmit();
  return true;
}

const actions = {
  box: () => viewer.setTool(viewer.tool === "box" ? "window" : "box"),
  circle: () => viewer.setTool(viewer.tool === "circle" ? "window" : "circle"),
  invert: () => viewer.toggleInvert(),
  smooth: () => viewer.toggleSmooth(),
  reset: () => viewer.reset(),
  marks: () => viewer.toggleMarks(),
  larger: () => viewer.zoomBy(1.25),
  smaller: () => viewer.zoomBy(0.8),
  previous: () => step(-1),
  next: () => step(1),
  keys: () => openDialog($("#keys")),
  again: tryAgain,
};

const marking = () => viewer.tool !== "window";
const arrow = (x, y) => ({
  repeat: true,
  run: () => {
    if (marking()) viewer.nudge(x, y);
    else if (y) open(neighbour(y));
    else return false;
    return true;
  },
});
const grow = (x, y) => ({ repeat: true, when: marking, run: () => viewer.nudge(0, 0, x, y) });
const pan = (x, y) => ({ repeat: true, run: () => viewer.panBy(x, y) });

const keys = {
  arrowup: { ...arrow(0, -1), label: "Previous, next slice", group: "Slices", shown: ["↑", "↓"] },
  arrowdown: arrow(0, 1),
  arrowleft: arrow(-1, 0),
  arrowright: arrow(1, 0),
  pageup: { run: () => open(neighbour(-10)), repeat: true, label: "Ten slices back, on", group: "Slices", shown: ["Page ↑", "Page ↓"] },
  pagedown: { run: () => open(neighbour(10)), repeat: true },
  home: { run: () => open(neighbour(-1e6)), label: "First, last slice", group: "Slices", shown: ["Home", "End"] },
  end: { run: () => open(neighbour(1e6)) },
  b: { run: actions.box, label: "Box around a lesion", group: "Lesions" },
  c: { run: actions.circle, label: "Circle from its centre", group: "Lesions" },
  "Shift+arrowup": { ...grow(0, -1), label: "Size a box by keys", group: "Lesions", shown: ["Shift", "arrows"] },
  "Shift+arrowdown": grow(0, 1),
  "Shift+arrowleft": grow(-1, 0),
  "Shift+arrowright": grow(1, 0),
  enter: {
    run: () => (marking() && viewer.draft ? viewer.confirm() : sendReview()),
    label: "Mark the box; save your class", group: "Lesions",
  },
  escape: { run: () => viewer.cancel(), label: "Leave the tool", group: "Lesions" },
  "[": { run: actions.previous, label: "Previous lesion", group: "Lesions" },
  "]": { run: actions.next, label: "Next lesion", group: "Lesions" },
  t: { run: tryAgain, label: "Try again what failed", group: "Lesions" },
  backspace: { run: () => panel.back(), label: "Back one question", group: "Your class" },
  r: { run: actions.reset, label: "Reset the view", group: "Image" },
  i: { run: actions.invert, label: "Invert", group: "Image" },
  s: { run: actions.smooth, label: "Smooth or crisp", group: "Image" },
  h: { run: actions.marks, label: "Hide or show marks", group: "Image" },
  "+": { run: actions.larger, repeat: true, label: "Larger, smaller", group: "Image", shown: ["+", "−"] },
  "=": { run: actions.larger, repeat: true },
  "-": { run: actions.smaller, repeat: true },
  "Alt+arrowup": { ...pan(0, 40), label: "Move the image", group: "Image", shown: ["Alt", "arrows"] },
  "Alt+arrowdown": pan(0, -40),
  "Alt+arrowleft": pan(40, 0),
  "Alt+arrowright": pan(-40, 0),
  "?": { run: actions.keys, label: "This list", group: "Image" },
};
for (let n = 1; n <= 9; n += 1) keys[String(n)] = { run: () => answer(n) };
keys["1"] = { ...keys["1"], label: "Your class, then confidence", group: "Your class", shown: ["1", "…", "n"] };
data.presets.forEach((preset, n) => {
  keys[`Shift+${n + 1}`] = { run: () => viewer.preset(n), label: `${preset.name} window`, group: "Image" };
});
bind(keys);
listKeys($("#keys-list"), [
  { group: "Mouse", label: "Window and level", shown: ["left drag"] },
  { group: "Mouse", label: "Slices", shown: ["wheel"] },
  { group: "Mouse", label: "Zoom at the cursor", shown: ["Ctrl", "wheel"] },
  { group: "Mouse", label: "Pan", shown: ["Space", "drag"] },
  { group: "Mouse", label: "Select a lesion", shown: ["click"] },
  { group: "Your class", label: "Save from the note", shown: ["Ctrl", "↵"] },
]);
page.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.matches("textarea")) sendReview();
});

// After a click the keys belong to the picture again: arrows must scroll it, not change a class that was
// clicked, and Enter must save, not press what was clicked.
let byPointer = false;
document.addEventListener("pointerdown", () => { byPointer = true; }, true);
document.addEventListener("keydown", () => { byPointer = false; }, true);
page.addEventListener("click", (event) => {
  if (byPointer && event.target.closest("[data-image], [data-lesion], [data-do], [data-preset], [data-another] > summary, .radio-keys__option")) toCanvas();
});
page.addEventListener("change", (event) => { if (byPointer && event.target.matches(".review select")) toCanvas(); });

$("[data-about]")?.addEventListener("click", (event) => {
  event.preventDefault();
  $("#about").open = true;
  $("#about").scrollIntoView();
  $("#about select").focus();
});

// ---- start ----------------------------------------------------------------------------------

function fromAddress() {
  const query = new URLSearchParams(location.search);
  // without an address of its own the case opens at the lesion that the server chose
  const wanted = query.get("lesion") ?? (query.has("image") ? null : data.selected_lesion);
  const lesion = lesions.find((one) => one.id === wanted);
  const image = byId.get(query.get("image")) ?? byId.get(lesion?.image_id) ?? images[0];
  return { lesion, image };
}

window.addEventListener("popstate", () => {
  const { lesion, image } = fromAddress();
  choose(lesion, { push: false });
  open(image, { keep: true });
});
window.addEventListener("pageshow", (event) => {
  leavingBy = null;
  if (event.persisted && chosen?.lesion) load(chosen.lesion);
});

if (images.length > 0) {
  for (const row of rows.values()) row.setAttribute("tabindex", "-1");
  const { lesion, image } = fromAddress();
  if (lesion) chosen = { lesion };
  drawLesions();
  markRow(image);
  viewer.show(image);
  if (lesion) {
    const draft = reviews.get(lesion.id);
    if (draft && !panel.adopt(lesion, draft)) reviews.remove(lesion.id);
    else if (!draft) panel.adopt(lesion);
    settlePanel(lesion);
    drawLesions();
  }
  for (const [id, drawn] of boxes.all()) {
    if (drawn.case === data.case_id && byId.has(drawn.image)) {
      outbox.keep(boxItem(id), new Refusal(0, "Left", "the page was left before the server had answered, so it is not known whether this was stored."));
    }
  }
  toCanvas();
}
