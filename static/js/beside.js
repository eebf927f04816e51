// A second stack beside the first: another phase of the case, or an earlier or later case of the same
// patient. It scrolls with the first and has its window; nothing is marked in it.

import { request } from "./fragment.js";
import { $, byId, data, say, state, store, toCanvas, viewer } from "./page.js";
import { rooted } from "./root.js";
import { current, neighbour, nameOf, open, remember } from "./slices.js";
import { levelOf, linkedBy, placeSays, within } from "./stacks.js";
import { Viewer } from "./viewer/viewer.js";

const SIDES = ["left", "right", "top", "bottom"];
const pane = $("#beside");
const choice = $("#beside-series");

let second = null;      // the viewer of the pane, once it was opened
let others = null;      // the promise of the patient's other cases
let stacks = [];        // {key, label, images, lesions, isSameCase}
let chosen = null;      // the stack that is shown; null while the pane is closed
let offset = 0;         // slices that it is ahead of where it would lie
let isLinked = true;

const own = () => data.series.map((series) => ({
  key: series.images[0].id, label: nameOf(series), isSameCase: true,
  images: series.images.map(({ id }) => byId.get(id)), lesions: () => state.lesions,
}));

/** Whether the pane is open. */
export const isOpen = () => chosen !== null;

/** For the address: the stack and how far it was moved; null while the pane is closed. */
export const placeOfBeside = () => (chosen ? `${chosen.key}${offset ? `,${offset}` : ""}` : null);

async function otherCases() {
  const { html } = await request(rooted(`/cases/${data.case_id}/beside`), { headers: { Accept: "application/json" } });
  const { cases, closed } = JSON.parse(html);
  const found = cases.flatMap((one) => one.series.map((series) => ({
    key: series.images[0].id, label: `${one.label}, ${nameOf(series)}`, isSameCase: false,
    images: series.images.map((image) => ({ ...image, series })), lesions: () => one.lesions,
  })));
  return { found, closed };
}

function fill() {
  choice.replaceChildren(...stacks.map((stack, at) => new Option(
    `${stack.label}, ${stack.images.length} ${stack.images.length === 1 ? "slice" : "slices"}`, String(at), false, stack === chosen)));
}

/** Where in the chosen stack the slice of the first one lies. */
function level() {
  const image = current();
  return levelOf(image, chosen.images, image.series.images.length, chosen);
}

function show() {
  const { at, by } = level();
  $("[data-beside=link]").textContent = isLinked ? linkedBy(by, offset) : "not linked";
  const target = chosen.images[within(at + offset, chosen.images)];
  if (isLinked && second.wanted !== target) second.show(target);
}

function move(by) {
  const at = within(chosen.images.indexOf(second.wanted) + by, chosen.images);
  offset = at - level().at;
  second.show(chosen.images[at]);
  show();
  remember();
}

function make() {
  second = new Viewer({ canvas: $("#beside-slice"), store, presets: data.presets });
  second.mouse = viewer.mouse;
  if (viewer.window && viewer.calibrated) second.setFirstWindow(viewer.window);
  second.addEventListener("slice", ({ detail: { image } }) => {
    for (const side of SIDES) $(`[data-beside-edge=${side}]`).textContent = image.edges?.[side] ?? "";
    $("[data-beside=uncalibrated]").hidden = image.calibrated;
    follow(second, viewer);
  });
  second.addEventListener("wanted", () => {
    const { wanted, image, fault, stale } = second;
    const total = chosen?.images.length ?? 0;
    const words = fault ? `slice ${wanted.number}/${total} not loaded: ${fault.error.message}`
      : stale ? `loading slice ${wanted.number} …`
      : [`slice ${wanted.number}/${total}`, placeSays(wanted)].filter(Boolean).join(", ");
    $("[data-beside=slice]").textContent = words;
    $("[data-beside=slice]").classList.toggle("hud__warn", fault !== null);
    $("[data-beside-again]").hidden = fault === null;
    $("#beside-slice").setAttribute("aria-label", `Beside it: ${chosen?.label ?? ""}, ${words}`);
  });
  second.addEventListener("scroll", ({ detail: { by } }) => (isLinked ? open(neighbour(by)) : move(by)));
  second.addEventListener("window", () => follow(viewer, second));
  second.addEventListener("cursor", ({ detail: { value } }) => {
    $("[data-beside=value]").textContent = value === null ? "" : `${String(value).replace("-", "−")} ${second.calibrated ? "HU" : "grey"}`;
  });
  second.addEventListener("say", ({ detail: { text } }) => say(text));
}

/** Give one viewer the window of the other, where both are in HU and it is another one. */
function follow(one, other) {
  if (!chosen || !second.image || !one.calibrated || !other.calibrated || !other.window) return;
  const { width, level: middle, curve = "linear", steps } = other.window;
  const own = one.window;
  if (own.width !== width || own.level !== middle || (own.curve ?? "linear") !== curve) one.setWindow(width, middle, curve, steps);
}

/** The marks of the case that is shown, where the pane shows a stack of it. */
export function marksChanged() {
  if (chosen) second.setLesions(chosen.lesions());
}

function choose(stack, moved = 0) {
  chosen = stack;
  offset = moved;
  isLinked = true;
  $("#beside-linked").checked = true;
  second.setLesions(stack.lesions());
  fill();
  show();
  remember();
}

/** Open the pane: with the stack of a key, or else with the one that follows the stack on the screen. */
export async function openBeside(key = null, moved = 0) {
  pane.hidden = false;
  if (!second) { make(); second.start(); }
  $("[data-do=beside]").setAttribute("aria-pressed", "true");
  stacks = own();
  const following = stacks[(data.series.findIndex(({ id }) => id === current().series.id) + 1) % stacks.length];
  const first = stacks.find((stack) => stack.key === key) ?? following;
  choose(first, first.key === key ? moved : 0);
  others ??= otherCases();
  try {
    const { found, closed } = await others;
    if (!chosen) return;
    stacks = [...own(), ...found];
    chosen = stacks.find((stack) => stack.key === chosen.key);
    const wanted = stacks.find((stack) => stack.key === key);
    const alone = stacks.length > 1 && stacks.filter(({ isSameCase }) => isSameCase).length === 1 && key === null;
    if (wanted && wanted !== chosen) choose(wanted, moved);
    else if (alone) choose(found[0]);
    else fill();
    $("[data-beside=closed]").hidden = closed === 0;
    $("[data-beside=closed]").textContent = closed === 0 ? "" : `${closed} more of this patient closed to you while you read`;
    if (key !== null && !wanted) say("The stack that the address names beside this one is not here.");
  } catch (error) {
    others = null; // asked again when it is opened again
    $("[data-beside=closed]").hidden = false;
    $("[data-beside=closed]").textContent = `Other cases of this patient could not be asked for: ${error.message}`;
  }
}

export function closeBeside() {
  pane.hidden = true;
  chosen = null;
  second?.stop();
  second = null;
  $("[data-do=beside]").setAttribute("aria-pressed", "false");
  remember();
  toCanvas();
}

export function toggleBeside() {
  if (isOpen()) closeBeside();
  else openBeside();
}

/** Scroll the pane alone: it stays linked, so much further on. */
export function moveBeside(by) {
  if (!isOpen()) return false;
  move(by);
  say(`Beside: slice ${second.wanted.number}, ${linkedBy(level().by, offset)}`);
  return true;
}

/** What the address asks for: the key of a stack and by how much it was moved. */
export function besideOfAddress() {
  const [, key, moved] = /^([0-9a-f-]{36})(?:,(-?\d{1,5}))?$/.exec(new URLSearchParams(location.search).get("beside") ?? "") ?? [];
  return key ? { key, moved: Number(moved ?? 0) } : null;
}

viewer.addEventListener("wanted", () => { if (chosen && isLinked) show(); });
viewer.addEventListener("window", () => follow(second, viewer));
choice?.addEventListener("change", () => { choose(stacks[Number(choice.value)]); toCanvas(); });
$("#beside-linked")?.addEventListener("change", ({ target }) => {
  isLinked = target.checked;
  if (isLinked) move(0); // linked again where it is
  else show();
  toCanvas();
});
$("[data-beside-again]")?.addEventListener("click", () => second.retry());
$("#mouse")?.addEventListener("change", ({ target }) => { if (second) second.mouse = target.value; });
