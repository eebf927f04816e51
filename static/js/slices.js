// The slices of the case page: the bar, the choice of a series, the address, and what the corners of the picture say.

import { CURVES } from "./habits.js";
import { $, byId, data, images, page, say, state, store, toCanvas, viewer } from "./page.js";
import { levelOf, placeSays } from "./stacks.js";

const TOOLS = ["box", "circle", "length", "rectangle", "disc", "outline"];
let direction = 1;

export const current = () => viewer.wanted ?? images[0];

export function neighbour(by) {
  const image = current();
  const own = image.series.images;
  const index = Math.min(own.length - 1, Math.max(0, image.number - 1 + by));
  return byId.get(own[index].id);
}

export function open(image, { keep = false } = {}) {
  if (!image) return;
  direction = Math.sign(image.number - current().number) || direction;
  viewer.show(image);
  if (!keep) remember();
}

// Scrolls the list alone; scrollIntoView would also scroll the page on narrow screens. A row keeps
// some of the list above it in sight.
export function keepInSight(row, list) {
  if (!row || !list) return;
  const a = row.getBoundingClientRect();
  const b = list.getBoundingClientRect();
  if (a.top < b.top + 64) list.scrollTop += a.top - b.top - 64;
  else if (a.bottom > b.bottom) list.scrollTop += a.bottom - b.bottom + 8;
}

/**
 * The slice of another series of the case at the same table position, or as far through it where the
 * positions cannot be compared; by: how many series further, in a circle.
 */
export function otherSeries(by) {
  const image = current();
  const at = data.series.findIndex(({ id }) => id === image.series.id);
  return levelWith(image, data.series[(at + by + data.series.length) % data.series.length]);
}

/** Of a series, the slice that lies nearest to another one. */
function levelWith(image, series) {
  const same = series.images.map(({ id }) => byId.get(id));
  return same[levelOf(image, same, image.series.images.length).at];
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

const WINDOW = new RegExp(`^(\\d{1,4}),(-?\\d{1,4})(?:,(${CURVES.join("|")}))?$`);
let addressTimer = 0;
let isWindowChosen = false; // a window that nobody chose here is not in the address

/** The window in HU that the address names, as width,level or width,level,curve; null where it names none. */
export function windowOfAddress() {
  const [, width, level, curve] = WINDOW.exec(new URLSearchParams(location.search).get("window") ?? "") ?? [];
  isWindowChosen = Number(width) >= 1;
  return isWindowChosen ? { width: Number(width), level: Number(level), curve } : null;
}

// The address follows the slice, so that a reload or a copied link shows the same one.
export function remember() {
  clearTimeout(addressTimer);
  addressTimer = setTimeout(() => history.replaceState(history.state, "", address()), 250);
}

let besideOf = () => null; // the stack beside this one, for the address

/** What tells the stack that is shown beside; it is asked at each change of the address. */
export function tellBeside(place) { besideOf = place; }

export function address() {
  const query = new URLSearchParams();
  const lesion = state.chosen?.lesion;
  if (lesion) query.set("lesion", lesion.id);
  const image = current();
  if (!lesion || lesion.image_id !== image.id) query.set("image", image.id);
  if (isWindowChosen && viewer.calibrated) {
    const { width, level, curve } = viewer.window;
    query.set("window", [width, level, ...(CURVES.includes(curve) ? [curve] : [])].join(","));
  }
  if (besideOf()) query.set("beside", besideOf());
  return `${location.pathname}?${query}`;
}

// What lies beyond each edge, from the file's cosines; nothing where the file does not tell.
const SIDES = ["left", "right", "top", "bottom"];

function showPlace(image) {
  for (const side of SIDES) $(`[data-edge=${side}]`).textContent = image.edges?.[side] ?? "";
  $("[data-hud=scanner]").textContent = [
    image.series.description,
    image.instance_number === null ? "" : `instance ${image.instance_number}`,
    placeSays(image),
  ].filter(Boolean).join(", ");
}

/** Where a slice is, in words: of several series, in which one. */
export const whereOf = (image) => `${data.series.length > 1 ? `${image.series.label}, ` : ""}slice ${image.number}`;

/** What a series is called here, and by its file as far as that was kept. */
export const nameOf = ({ label, description }) => (description ? `${label}, ${description}` : label);

let shownSeries = null;

function showSeries(series) {
  if (series === shownSeries) return;
  shownSeries = series;
  const choice = $("#series");
  if (choice) choice.value = String(data.series.indexOf(series));
  else $("[data-hud=series]").textContent = series.label;
  for (const button of page.querySelectorAll("[data-preset]")) button.disabled = !series.images[0].calibrated;
  drawTicks();
}

$("#series")?.addEventListener("change", ({ target }) => {
  open(levelWith(current(), data.series[Number(target.value)]));
  toCanvas();
});

viewer.addEventListener("slice", ({ detail: { image } }) => {
  showPlace(image);
  showSeries(image.series);
  $("[data-hud=uncalibrated]").hidden = image.calibrated;
  const here = state.lesions.filter((lesion) => lesion.image_id === image.id).length;
  $("#slice").setAttribute("aria-label",
    `CT slice ${image.number} of ${image.series.images.length}, ${nameOf(image.series)}${here ? `, ${here} ${here === 1 ? "lesion" : "lesions"} marked` : ""}${image.edges ? `, edges ${SIDES.map((side) => `${side} ${image.edges[side]}`).join(", ")}` : ""}`);
  prefetchAround(image);
});

// Address and bar say what is asked for; the corner of the picture says what is in it.
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
  const text = fault ? `Slice ${wanted.number} could not be loaded: ${fault.error.message}${image ? ` What you see, dimmed, is slice ${image.number}.` : ""}${fault.error.status === 401 ? " Sign in again, and it is tried again." : ""}` : "";
  if ($("[data-text]", note).textContent !== text) $("[data-text]", note).textContent = text;
  $("[data-sign-in]", note).hidden = fault?.error.status !== 401;
  note.hidden = !fault;
});
viewer.addEventListener("scroll", ({ detail: { by } }) => open(neighbour(by)));
viewer.addEventListener("say", ({ detail: { text } }) => say(text));
let shownWindow = null;

viewer.addEventListener("window", ({ detail: { width, level, curve = "linear", steps, isChosen } }) => {
  if (isChosen && viewer.calibrated && !steps) { isWindowChosen = true; remember(); }
  if (`${width} ${level} ${curve}` === shownWindow) return;
  shownWindow = `${width} ${level} ${curve}`;
  $("[data-hud=window]").textContent = steps ? "by table" : `W ${width} L ${String(level).replace("-", "−")}`;
  for (const button of page.querySelectorAll("[data-preset]")) {
    const preset = data.presets[Number(button.dataset.preset)];
    const isIt = preset.width === width && preset.level === level && (preset.curve ?? "linear") === curve && preset.steps === steps;
    button.setAttribute("aria-pressed", String(viewer.calibrated && isIt));
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
  $("[data-hud=unmarked]").hidden = detail.marks;
});
viewer.addEventListener("tool", ({ detail: { tool } }) => {
  for (const name of TOOLS) $(`[data-do=${name}]`).setAttribute("aria-pressed", String(tool === name));
  $("[data-hud=hint]").textContent = {
    box: "Drag a box around the lesion, or arrow keys and ↵. Esc leaves.",
    circle: "Drag from the centre outwards, or arrow keys and ↵. Esc leaves.",
    length: "Drag from end to end. Del deletes, Esc leaves.",
    rectangle: "Drag over the region. Del deletes, Esc leaves.",
    disc: "Drag from the centre. Del deletes, Esc leaves.",
    outline: "Drag around the region. Del deletes, Esc leaves.",
    window: "",
  }[tool];
});
$("#scrub").addEventListener("input", (event) => {
  open(neighbour(Number(event.target.value) - current().number));
});

/** A tick of the bar where lesions are marked, in the series that is shown. */
export function drawTicks() {
  const { series } = current();
  const last = Math.max(1, series.images.length - 1);
  const chosen = state.chosen?.lesion?.image_id;
  const marked = new Set(state.lesions.map((lesion) => lesion.image_id));
  $("#scrub-ticks").replaceChildren(...series.images.filter(({ id }) => marked.has(id)).map(({ id, number }) => {
    const tick = document.createElement("span");
    tick.className = `scrub__tick${id === chosen ? " is-chosen" : ""}`;
    // the middle of the thumb runs from half its length to half its length before the end
    tick.style.insetInlineStart = `calc(var(--thumb) / 2 + (100% - var(--thumb)) * ${(number - 1) / last})`;
    return tick;
  }));
}
