// The case page: slice list, viewer, lesion panel and the keys that join them.
//
// What is chosen (a lesion, or a box that is being marked) is the one thing that keys and buttons act on.
// The panel follows it, and while it has not caught up nothing of a review is obeyed. What is stored goes
// through the outbox, which lets nothing go before the server has it.

import { besideOfAddress, closeBeside, isOpen, marksChanged, moveBeside, openBeside, placeOfBeside, toggleBeside } from "./beside.js";
import { Cine, speedOf } from "./cine.js";
import { habitsOf, keepHabit, windowOf } from "./habits.js";
import { listPageKeys } from "./help.js";
import { bind } from "./hotkeys.js";
import { choose, drawLesions, load, onLesionsDrawn, settlePanel, standsFor, step } from "./lesions.js";
import { drawTools, isBeingKept, keep, removeKept } from "./keeping.js";
import { $, byId, data, images, page, panel, reviews, say, state, tell, toCanvas, undo, viewer } from "./page.js";
import { current, neighbour, open, otherSeries, tellBeside, windowOfAddress } from "./slices.js";
import { tryAgain } from "./unsaved.js";
import { removeChosen } from "./writing.js";
import { Mouse } from "./viewer/viewer.js";

page.addEventListener("click", (event) => {
  const link = event.target.closest("[data-lesion]");
  if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    choose(state.lesions.find((lesion) => lesion.id === link.dataset.lesion));
    return;
  }
  const slice = event.target.closest("[data-slice]");
  if (slice && byId.has(slice.dataset.slice) && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    open(byId.get(slice.dataset.slice));
    return;
  }
  const action = event.target.closest("[data-do]");
  if (action) actions[action.dataset.do]();
  const preset = event.target.closest("[data-preset]");
  if (preset) viewer.preset(Number(preset.dataset.preset));
});

// ---- keys -----------------------------------------------------------------------------------

// Keys that come while nothing is there to take them are not kept for later: they are said not to be taken.
function unheard({ last }) {
  if (!state.chosen || panel.hears) return false;
  panel.missed(last);
  tell("Not taken: what was typed before the lesion was here and ready. Type it again.");
  return true;
}

function answer(digit) {
  if (unheard({ last: false })) return true;
  const taken = panel.answer(digit);
  if (taken) {
    say(`${taken.question}: ${taken.says}`);
    // Enter must save now, and not press what was clicked before.
    if (document.activeElement?.closest("a, button, summary")) toCanvas();
    return true;
  }
  return false;
}

function sendReview() {
  if (unheard({ last: true })) return true;
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

const cine = new Cine({
  step: (by) => {
    const next = neighbour(by);
    if (next === current()) return false;
    open(next);
    return true;
  },
  isHere: () => !viewer.stale,
  tells: (words) => { $("[data-hud=film]").textContent = words; },
});

const tool = (name) => () => viewer.setTool(viewer.tool === name ? "window" : name);

const actions = {
  box: tool("box"),
  circle: tool("circle"),
  length: tool("length"),
  rectangle: tool("rectangle"),
  disc: tool("disc"),
  outline: tool("outline"),
  invert: () => viewer.toggleInvert(),
  smooth: () => viewer.toggleSmooth(),
  reset: () => viewer.reset(),
  marks: () => viewer.toggleMarks(),
  larger: () => viewer.zoomBy(1.25),
  smaller: () => viewer.zoomBy(0.8),
  previous: () => step(-1),
  next: () => step(1),
  again: tryAgain,
  beside: toggleBeside,
  keep,
  remove: () => removeKept() || isBeingKept() || viewer.removeMeasure(),
  map: () => {
    if (!panel.toggleMap()) say("No score is shown here, so there is nothing to draw a map of.");
  },
};

function takeBack() {
  if (!undo.take()) say("Nothing to take back.");
}

const marking = () => viewer.tool === "box" || viewer.tool === "circle";
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
  ...(data.series.length > 1 ? {
    n: { run: () => open(otherSeries(1)), label: "Next, previous series at the same level", group: "Slices", shown: ["N", "Shift+N"] },
    "Shift+n": { run: () => open(otherSeries(-1)) },
  } : {}),
  v: { run: toggleBeside, label: "Another stack beside this one: a phase, another case of the patient", group: "Slices" },
  "Alt+pageup": { run: () => moveBeside(-1), repeat: true, label: "Move the stack beside alone", group: "Slices", shown: ["Alt", "Page ↑ ↓"] },
  "Alt+pagedown": { run: () => moveBeside(1), repeat: true },
  b: { run: actions.box, label: "Box around a lesion", group: "Lesions" },
  c: { run: actions.circle, label: "Circle from its centre", group: "Lesions" },
  "Shift+arrowup": { ...grow(0, -1), label: "Size a box by keys", group: "Lesions", shown: ["Shift", "arrows"] },
  "Shift+arrowdown": grow(0, 1),
  "Shift+arrowleft": grow(-1, 0),
  "Shift+arrowright": grow(1, 0),
  d: { run: actions.length, label: "Distance", group: "Measure" },
  e: { run: actions.disc, label: "Values in a circle", group: "Measure" },
  g: { run: actions.rectangle, label: "Values in a box", group: "Measure" },
  f: { run: actions.outline, label: "Values in an outline, free-hand", group: "Measure" },
  delete: { run: () => actions.remove() || removeChosen(), label: "Delete the measure that was clicked, or the last; where there is none, the lesion", group: "Measure", shown: ["Del"] },
  k: { run: keep, label: "Keep the measure with the chosen lesion", group: "Measure" },
  "Ctrl+z": { run: takeBack, label: "Take the last measure or mark back", group: "Measure" },
  "Meta+z": { run: takeBack },
  ".": { run: () => cine.start(1, speedOf(current().series)), label: "Play on, back, while held: as fast as the file asks, else 10 a second", group: "Slices", shown: [".", ","] },
  ",": { run: () => cine.start(-1, speedOf(current().series)) },
  enter: {
    run: () => (marking() && viewer.draft ? viewer.confirm() : sendReview()),
    label: "Mark the box; save your class", group: "Lesions",
  },
  escape: { run: () => viewer.cancel(), label: "Leave the tool", group: "Lesions" },
  "[": { run: actions.previous, label: "Previous lesion", group: "Lesions" },
  "]": { run: actions.next, label: "Next lesion", group: "Lesions" },
  a: { run: () => panel.toggleAnswer() || (say("No score is shown here."), true), label: "What is behind the network's line, open or closed", group: "Lesions" },
  m: { run: actions.map, label: "Map of what moves the score, on or off", group: "Lesions" },
  l: { run: () => panel.compare(), label: "Compare with other lesions", group: "Lesions" },
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
};
for (let n = 1; n <= 9; n += 1) keys[String(n)] = { run: () => answer(n) };
keys["1"] = { ...keys["1"], label: "Your class, then confidence", group: "Your class", shown: ["1", "…", "n"] };
data.presets.forEach((preset, n) => {
  keys[`Shift+${n + 1}`] = { run: () => viewer.preset(n), label: `${preset.name} window`, group: "Image" };
});
bind(keys);
function listAllKeys() {
  const isPacs = viewer.mouse === Mouse.pacs;
  listPageKeys([
    { group: "Mouse", label: "Window and level", shown: [isPacs ? "right drag" : "left drag"] },
    { group: "Mouse", label: "Slices", shown: ["wheel"] },
    { group: "Mouse", label: "Ten slices at a time", shown: ["Shift", "wheel"] },
    ...(isPacs ? [{ group: "Mouse", label: "Through the slices", shown: ["left drag"] }] : [{ group: "Mouse", label: "Zoom", shown: ["right drag"] }]),
    { group: "Mouse", label: "Zoom at the cursor", shown: ["Ctrl", "wheel"] },
    { group: "Mouse", label: "Pan", shown: ["middle drag"] },
    { group: "Mouse", label: "Pan", shown: ["Space", "drag"] },
    { group: "Mouse", label: "Reset the view", shown: ["double click"] },
    { group: "Mouse", label: "Select a lesion or a measure", shown: ["click"] },
    { group: "Your class", label: "Save from the note", shown: ["Ctrl", "↵"] },
  ]);
}

// What a person is used to stays with them in this browser.
const habits = habitsOf(data.person.id);
if (habits.mouse) viewer.mouse = habits.mouse;
const lastWindow = windowOfAddress() ?? windowOf(habits);
if (lastWindow) viewer.setFirstWindow(lastWindow);
$("#mouse").value = viewer.mouse;
$("#mouse").addEventListener("change", ({ target }) => {
  viewer.mouse = target.value;
  keepHabit(data.person.id, "mouse", target.value);
  listAllKeys();
});
listAllKeys();
let windowTimer = 0;
viewer.addEventListener("window", ({ detail: { width, level, curve, steps, isChosen } }) => {
  if (!isChosen || !viewer.calibrated || steps) return; // a link's window, or a table of this file, is no habit
  clearTimeout(windowTimer);
  windowTimer = setTimeout(() => keepHabit(data.person.id, "window", { width, level, curve }), 400);
});
page.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.matches("textarea")) sendReview();
});

// After a click the keys belong to the picture again: arrows must scroll it, not change a class that was
// clicked, and Enter must save, not press what was clicked.
let byPointer = false;
document.addEventListener("pointerdown", () => { byPointer = true; }, true);
document.addEventListener("keydown", () => { byPointer = false; }, true);
page.addEventListener("click", (event) => {
  if (byPointer && event.target.closest("[data-lesion], [data-do], [data-preset], [data-another] > summary, .radio-keys__option")) toCanvas();
});
page.addEventListener("change", (event) => { if (byPointer && event.target.matches(".review select, #scrub")) toCanvas(); });

$("[data-about]")?.addEventListener("click", (event) => {
  event.preventDefault();
  $("#about").open = true;
  $("#about").scrollIntoView();
  $("#about select").focus();
});

// Back to the work list as it was: its search, filters and order stand in its address.
const cameFrom = document.referrer ? new URL(document.referrer) : null;
if (cameFrom?.origin === location.origin && cameFrom.pathname === $("[data-to-list]").pathname) $("[data-to-list]").search = cameFrom.search;

// ---- start ----------------------------------------------------------------------------------

function fromAddress() {
  const query = new URLSearchParams(location.search);
  // without an address of its own the case opens at the lesion that the server chose
  const wanted = standsFor(query.get("lesion") ?? (query.has("image") ? null : data.selected_lesion));
  const lesion = state.lesions.find((one) => one.id === wanted);
  const image = byId.get(query.get("image")) ?? byId.get(lesion?.image_id) ?? viewer.wanted ?? images[0];
  return { lesion, image, isGone: wanted !== null && !lesion };
}

window.addEventListener("popstate", () => {
  const { lesion, image, isGone } = fromAddress();
  choose(lesion, { push: false });
  open(image, { keep: true });
  if (isGone) tell("The lesion that was open there is not here any more.");
  const beside = besideOfAddress();
  if (beside) openBeside(beside.key, beside.moved);
  else if (isOpen()) closeBeside();
});
window.addEventListener("pageshow", (event) => {
  if (event.persisted && state.chosen?.lesion) load(state.chosen.lesion);
});

tellBeside(placeOfBeside);
onLesionsDrawn(() => { marksChanged(); drawTools(); });

if (images.length > 0) {
  const beside = besideOfAddress(); // before the address follows the slice
  const { lesion, image } = fromAddress();
  if (lesion) state.chosen = { lesion };
  drawLesions();
  document.body.dataset.begun = "";
  viewer.start();
  viewer.show(image);
  if (lesion) {
    const draft = reviews.get(lesion.id);
    if (draft && !panel.adopt(lesion, draft)) reviews.remove(lesion.id);
    else if (!draft) panel.adopt(lesion);
    settlePanel(lesion);
    drawLesions();
  }
  if (beside) openBeside(beside.key, beside.moved);
  toCanvas();
}
