// The slices of the case page: list, slider, address, and what the corners of the picture say.

import { $, byId, data, images, page, say, state, store, viewer } from "./page.js";

const TOOLS = ["box", "circle", "length", "rectangle", "disc", "outline"];
const rows = new Map([...page.querySelectorAll("[data-image]")].map((row) => [row.dataset.image, row]));
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
  markRow(image);
  viewer.show(image);
  if (!keep) remember();
}

let chosenRow = page.querySelector("[data-image][aria-current]");

export function markRow(image) {
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
export function keepInSight(row, list) {
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

export function address() {
  const query = new URLSearchParams();
  const lesion = state.chosen?.lesion;
  if (lesion) query.set("lesion", lesion.id);
  const image = current();
  if (!lesion || lesion.image_id !== image.id) query.set("image", image.id);
  return `${location.pathname}?${query}`;
}

// What lies beyond each edge, from the file's cosines; nothing where the file does not tell.
const SIDES = ["left", "right", "top", "bottom"];

function showPlace(image) {
  for (const side of SIDES) $(`[data-edge=${side}]`).textContent = image.edges?.[side] ?? "";
  $("[data-hud=scanner]").textContent = [
    image.instance_number === null ? "" : `instance ${image.instance_number}`,
    image.place === null ? "" : `${image.place[0]} ${image.place[1].toFixed(1).replace("-", "−")} mm`,
  ].filter(Boolean).join(", ");
}

viewer.addEventListener("slice", ({ detail: { image } }) => {
  showPlace(image);
  $("[data-hud=series]").textContent = image.series.label;
  $("[data-hud=uncalibrated]").hidden = image.calibrated;
  for (const button of page.querySelectorAll("[data-preset]")) button.disabled = !image.calibrated;
  const here = state.lesions.filter((lesion) => lesion.image_id === image.id).length;
  $("#slice").setAttribute("aria-label",
    `CT slice ${image.number} of ${image.series.images.length}, ${image.series.label}${here ? `, ${here} ${here === 1 ? "lesion" : "lesions"} marked` : ""}${image.edges ? `, edges ${SIDES.map((side) => `${side} ${image.edges[side]}`).join(", ")}` : ""}`);
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
viewer.addEventListener("window", ({ detail: { width, level, curve = "linear", steps } }) => {
  $("[data-hud=window]").textContent = steps ? "by table" : `W ${width} L ${level}`;
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

/** The rows of the list get a dot where lesions are marked; from the start only one row is in the tab order. */
export function markDots() {
  const counts = new Map();
  for (const lesion of state.lesions) counts.set(lesion.image_id, (counts.get(lesion.image_id) ?? 0) + 1);
  for (const [id, row] of rows) {
    const count = counts.get(id) ?? 0;
    const dot = $("[data-dot]", row);
    dot.hidden = count === 0;
    $("[data-dot-text]", row).textContent = count ? `${count} marked` : "";
  }
}

for (const row of rows.values()) row.setAttribute("tabindex", "-1");
