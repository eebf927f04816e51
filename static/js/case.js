// The case page: slice list, viewer, lesion panel and the keys that join them.

import { bind, listKeys } from "./hotkeys.js";
import { openDialog } from "./dialogs.js";
import { request, submit, swap } from "./fragment.js";
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
const panel = $("#lesion-panel");
const emptyPanel = $("#panel-empty").innerHTML;

let lesions = data.lesions;
let selected = null;
let direction = 1;
let panelRequest = null;

function say(text) { $("#viewer-says").textContent = text; }

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
  if (selected) query.set("lesion", selected.id);
  const image = current();
  if (!selected || selected.image_id !== image.id) query.set("image", image.id);
  return `${location.pathname}?${query}`;
}

viewer.addEventListener("slice", ({ detail: { image } }) => {
  $("[data-hud=slice]").textContent = `slice ${image.number}/${image.series.images.length}`;
  $("[data-hud=series]").textContent = image.series.label;
  $("[data-hud=uncalibrated]").hidden = image.calibrated;
  const scrub = $("#scrub");
  scrub.max = image.series.images.length;
  scrub.value = image.number;
  scrub.setAttribute("aria-valuetext", `slice ${image.number} of ${image.series.images.length}`);
  for (const button of page.querySelectorAll("[data-preset]")) button.disabled = !image.calibrated;
  const here = lesions.filter((lesion) => lesion.image_id === image.id).length;
  $("#slice").setAttribute("aria-label",
    `CT slice ${image.number} of ${image.series.images.length}, ${image.series.label}${here ? `, ${here} ${here === 1 ? "lesion" : "lesions"} marked` : ""}`);
  prefetchAround(image);
});
viewer.addEventListener("scroll", ({ detail: { by } }) => open(neighbour(by)));
viewer.addEventListener("say", ({ detail: { text } }) => say(text));
viewer.addEventListener("refused", ({ detail: { text } }) => say(text));
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
    $("[data-label]", link).textContent = lesion.label;
    $("[data-where]", link).textContent = image ? `slice ${image.number}` : "";
    $("[data-covered]", link).hidden = !lesion.covered;
    if (lesion.id === selected?.id) link.setAttribute("aria-current", "true");
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
  selected = lesion;
  drawLesions();
}

function showPanel(html) {
  swap(panel, html);
  viewer.select(selected?.id ?? null, { editable: $("[data-editable]", panel) !== null });
  listenFor($("[data-review]", panel) ? 0 : -1);
}

/** Ask for a panel; a skeleton after 300 ms, and only the newest answer counts. */
async function panelFrom(ask) {
  panelRequest?.abort();
  const mine = new AbortController();
  panelRequest = mine;
  const slow = setTimeout(() => { panel.setAttribute("aria-busy", "true"); panel.classList.add("is-busy"); }, 300);
  try {
    const answer = await ask(mine.signal);
    if (panelRequest !== mine) return null;
    const told = answer.headers.get("X-Lesion");
    if (told) takeIn(JSON.parse(told));
    if (answer.status !== 204) showPanel(answer.html);
    return answer;
  } catch (error) {
    if (error.name === "AbortError") return null;
    refuse(error.message);
    return null;
  } finally {
    clearTimeout(slow);
    if (panelRequest === mine) { panel.removeAttribute("aria-busy"); panel.classList.remove("is-busy"); }
  }
}

function refuse(text) {
  viewer.setLesions(lesions);
  const note = $("#refusal").content.firstElementChild.cloneNode(true);
  $("[data-text]", note).textContent = text;
  $("#panel-notes").replaceChildren(note);
}

async function choose(lesion, { push = true } = {}) {
  $("#panel-notes").replaceChildren();
  if (!lesion) {
    selected = null;
    drawLesions();
    viewer.select(null);
    swap(panel, emptyPanel);
    listenFor(-1);
    return;
  }
  selected = lesion;
  drawLesions();
  viewer.select(lesion.id);
  const image = byId.get(lesion.image_id);
  if (image) open(image, { keep: true });
  viewer.reveal(lesion.box);
  if (push) history.pushState({ lesion: lesion.id }, "", address());
  say(`${lesion.label}${image ? `, slice ${image.number}` : ""}${lesion.covered ? ", score covered" : ""}`);
  await panelFrom((signal) => request(`/lesions/${lesion.id}`, { signal }));
}

function step(by) {
  if (lesions.length === 0) { say("No lesion is marked in this case."); return; }
  const index = lesions.findIndex((lesion) => lesion.id === selected?.id);
  const next = index < 0 ? (by > 0 ? 0 : lesions.length - 1) : (index + by + lesions.length) % lesions.length;
  choose(lesions[next]);
}

function mark(image, box) {
  $("#panel-notes").replaceChildren();
  const [x, y, width, height] = box;
  const body = new URLSearchParams({ x, y, width, height });
  return panelFrom((signal) => request(`/images/${image.id}/lesions`, { method: "POST", body, signal }));
}

function afterMark() {
  viewer.setTool("window");
  history.pushState({ lesion: selected.id }, "", address());
  say(`${selected.label} marked on slice ${current().number}.${selected.covered ? " Score covered until you give your own class." : ""}`);
}

viewer.addEventListener("pick", ({ detail: { lesion } }) => choose(lesion));
viewer.addEventListener("marked", async ({ detail: { image, box } }) => {
  if (await mark(image, box)) afterMark();
});
viewer.addEventListener("adjusted", async ({ detail: { lesion: old, box } }) => {
  // A mark is never overwritten: the new box is a new lesion, the old one is withdrawn.
  if (!await mark(byId.get(old.image_id), box)) return;
  try {
    await request(`/lesions/${old.id}/withdrawal`, { method: "POST" });
    lesions = lesions.filter((lesion) => lesion.id !== old.id);
    drawLesions();
    afterMark();
    say(`Lesion ${old.number} was replaced by lesion ${selected.number}.`);
  } catch (error) {
    refuse(`The new box was marked, but lesion ${old.number} could not be withdrawn: ${error.message}`);
  }
});

panel.addEventListener("submit", async (event) => {
  const form = event.target;
  if (form.matches("[data-review]")) {
    event.preventDefault();
    $("#panel-notes").replaceChildren();
    if (form.dataset.sent) return;
    form.dataset.sent = "1";
    const answer = await panelFrom((signal) => submit(form, { submitter: event.submitter, signal }));
    delete form.dataset.sent;
    if (answer) { say("Your class is recorded. The score is shown."); $("#slice").focus({ preventScroll: true }); }
  } else if (form.matches("[data-withdrawal]")) {
    event.preventDefault();
    const gone = selected;
    try {
      await submit(form);
    } catch (error) { refuse(error.message); return; }
    lesions = lesions.filter((lesion) => lesion.id !== gone.id);
    await choose(null);
    history.replaceState(null, "", address());
    say(`Lesion ${gone.number} was withdrawn.`);
  }
});

// ---- the review by keys: class, then confidence, then Enter ---------------------------------

let listening = -1;

/** Which question of the review the number keys answer: 0 the class, 1 the confidence, −1 none. */
function listenFor(n) {
  const questions = [...panel.querySelectorAll("[data-question]")];
  listening = questions.length ? n : -1;
  questions.forEach((question, index) => question.classList.toggle("is-listening", index === listening));
}

panel.addEventListener("change", (event) => {
  const question = event.target.closest("[data-question]");
  if (!question) return;
  const questions = [...panel.querySelectorAll("[data-question]")];
  listenFor(Math.min(questions.indexOf(question) + 1, questions.length - 1));
});

function answer(digit) {
  const question = panel.querySelectorAll("[data-question]")[listening];
  if (!question) return false;
  question.closest("details")?.setAttribute("open", "");
  const choice = $(`input[data-key="${digit}"]`, question);
  if (!choice) return false;
  choice.checked = true;
  say(`${$("legend", question).textContent.trim()}: ${choice.dataset.says}`);
  choice.dispatchEvent(new Event("change", { bubbles: true }));
  return true;
}

function sendReview() {
  const form = $("[data-review]", panel);
  if (!form || !form.querySelector("[name=lesion_class]:checked")) return false;
  form.requestSubmit();
  return true;
}

// ---- keys -----------------------------------------------------------------------------------

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
  backspace: { run: () => (listening > 0 ? listenFor(listening - 1) : false), label: "Back one question", group: "Your class" },
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
]);

// ---- start ----------------------------------------------------------------------------------

function fromAddress({ push }) {
  const query = new URLSearchParams(location.search);
  // without an address of its own the case opens at the lesion that the server chose
  const wanted = query.get("lesion") ?? (query.has("image") ? null : data.selected_lesion);
  const lesion = lesions.find((one) => one.id === wanted);
  const image = byId.get(query.get("image")) ?? byId.get(lesion?.image_id) ?? images[0];
  return { lesion, image, push };
}

window.addEventListener("popstate", () => {
  const { lesion, image } = fromAddress({ push: false });
  choose(lesion, { push: false });
  open(image, { keep: true });
});

if (images.length > 0) {
  for (const row of rows.values()) row.setAttribute("tabindex", "-1");
  const { lesion, image } = fromAddress({ push: false });
  if (lesion) selected = lesion;
  drawLesions();
  markRow(image);
  viewer.show(image);
  if (lesion) {
    viewer.select(lesion.id, { editable: $("[data-editable]", panel) !== null });
    listenFor($("[data-review]", panel) ? 0 : -1);
  }
  $("#slice").focus({ preventScroll: true });
}
