// The contact sheet: portions of grey bytes drawn into canvases as they arrive. Changing a field draws
// again at once; a request that is no longer wanted is dropped. Images are chosen one by one, and one
// seed is looked at large, beside the nearest ROI that its generator learned from.

import { openDialog } from "./dialogs.js";
import { request } from "./fragment.js";
import { bind } from "./hotkeys.js";
import { rooted } from "./root.js";

const SIDE = 64;
const PORTION = 16;
const EVALUATIONS = 80; // of a network in one portion: of a diffusion model an image takes many
const form = document.querySelector("[data-synthetics]");
const picking = document.querySelector("[data-picking]");
const sheet = document.querySelector("[data-sheet]");
const progress = document.querySelector("[data-progress]");
const bar = progress?.querySelector("progress");
const status = document.querySelector("[data-status]");
const dialog = document.getElementById("synthetic");
const chosen = new Map(); // generator → truncation → the seeds of the pictures that were chosen
let running = null;
let order = null;
let wanted = 0; // the seed that was asked for last in the large view

function asked() {
  const option = form.checkpoint.selectedOptions[0];
  return {
    checkpoint: form.checkpoint.value,
    lesionClass: option.dataset.class,
    kind: option.dataset.kind,
    beside: form.beside.value,
    besideClass: form.beside.selectedOptions[0].dataset.class,
    evaluations: often(),
    count: Number(form.count.value),
    seed: Number(form.seed.value),
    truncation: Number(form.truncation.value),
  };
}

function often() {
  return Math.max(...[form.checkpoint, form.beside].map((field) => Number(field.selectedOptions[0].dataset.evaluations ?? 1)));
}

// Fewer at a time, the longer each takes; the server refuses more.
function limit() {
  const evaluations = often();
  const most = Math.max(1, Math.floor(Number(form.dataset.most) / evaluations));
  form.count.max = most;
  if (Number(form.count.value) > most) form.count.value = most;
  form.querySelector("[data-slow]").hidden = evaluations === 1;
  form.querySelector("[data-evaluations-said]").textContent = evaluations;
  form.querySelector("[data-most-said]").textContent = most;
}

/** A seed is another picture at another truncation: the seeds of each are apart. */
function chosenOf({ checkpoint, truncation }) {
  if (!chosen.has(checkpoint)) chosen.set(checkpoint, new Map());
  const seeds = chosen.get(checkpoint);
  if (!seeds.has(truncation)) seeds.set(truncation, new Set());
  return seeds.get(truncation);
}

/** What is chosen at other truncations, in words; "" where nothing is. */
function chosenApart({ checkpoint, truncation }) {
  const others = [...(chosen.get(checkpoint) ?? [])].filter(([one, seeds]) => one !== truncation && seeds.size);
  if (others.length === 0) return "";
  return ` At truncation ${others.map(([one, seeds]) => `${one}: ${seeds.size}`).join(", ")} chosen, of which nothing is taken here.`;
}

// ---- the sheet ------------------------------------------------------------------------------

function paint(canvas, grey) {
  canvas.width = SIDE;
  canvas.height = SIDE;
  const picture = new ImageData(SIDE, SIDE);
  for (let i = 0; i < grey.length; i += 1) {
    picture.data[4 * i] = picture.data[4 * i + 1] = picture.data[4 * i + 2] = grey[i];
    picture.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(picture, 0, 0);
}

function cell(seed) {
  const item = document.createElement("li");
  item.className = "sheet__item";
  const button = document.createElement("button");
  button.type = "button";
  button.className = "sheet__button sheet__pictures";
  const whose = order.beside ? `${order.lesionClass} and ${order.besideClass}` : order.lesionClass;
  button.setAttribute("aria-label", `Enlarge synthetic ${whose}, seed ${seed}`);
  const canvases = [order.checkpoint, order.beside].filter(Boolean)
    .map(() => document.createElement("canvas"));
  button.append(...canvases);
  button.addEventListener("click", () => enlarge(seed));
  const label = document.createElement("label");
  label.className = "sheet__label";
  const box = document.createElement("input");
  box.type = "checkbox";
  box.name = "chosen";
  box.value = seed;
  box.setAttribute("aria-label", `Choose seed ${seed}`);
  box.checked = chosenOf(order).has(seed);
  box.addEventListener("change", () => choose(seed, box.checked));
  label.append(box, String(seed));
  item.append(button, label);
  return { item, canvases };
}

async function portion(generator, start, count, signal) {
  const reply = await fetch(
    rooted(`/synthetics/${generator}/sheet?seed=${order.seed + start}&count=${count}&truncation=${order.truncation}`),
    { signal, headers: { accept: "application/json" } },
  );
  if (!reply.ok) throw new Error((await reply.json()).detail);
  return new Uint8Array(await reply.arrayBuffer());
}

async function draw({ remember }) {
  if (!form.checkValidity()) return;
  running?.abort();
  const mine = new AbortController();
  running = mine;
  order = asked();
  const own = order;
  describe();
  if (remember) keepAddress();
  const cells = Array.from({ length: own.count }, (_, n) => cell(own.seed + n));
  sheet.classList.toggle("sheet--two", Boolean(own.beside));
  sheet.replaceChildren(...cells.map(({ item }) => item));
  const started = performance.now();
  const size = Math.max(1, Math.min(PORTION, Math.floor(EVALUATIONS / own.evaluations)));
  try {
    for (let start = 0; start < own.count; start += size) {
      const count = Math.min(size, own.count - start);
      const generators = [own.checkpoint, own.beside].filter(Boolean);
      const drawn = await Promise.all(
        generators.map((one) => portion(one, start, count, mine.signal)),
      );
      if (running !== mine) return;
      for (let n = 0; n < count; n += 1) {
        drawn.forEach((grey, which) => {
          paint(cells[start + n].canvases[which], grey.subarray(n * SIDE * SIDE, (n + 1) * SIDE * SIDE));
        });
      }
      report(start + count, own.count, performance.now() - started);
    }
    status.textContent = `${own.count} images drawn.`;
    performance.measure("sheet", { start: started, end: performance.now() });
  } catch (error) {
    if (error.name !== "AbortError") {
      status.textContent = `Not drawn: ${error.message}`;
      status.classList.remove("visually-hidden");
    }
  } finally {
    if (running === mine) progress.hidden = true;
  }
}

function describe() {
  const { checkpoint, beside, lesionClass, count, seed, truncation, kind } = order;
  picking.action = rooted(`/synthetics/${checkpoint}/download`);
  picking.seed.value = seed;
  picking.count.value = count;
  picking.truncation.value = truncation;
  const card = form.querySelector("[data-card]");
  card.href = rooted(`/checkpoints/${checkpoint}`);
  card.textContent = `Card of ${checkpoint}`;
  document.querySelector("[data-trained-on]").hidden = kind !== "phantom";
  document.querySelector("[data-sheet-title]").textContent =
    `${count} synthetic ROIs of class ${lesionClass}, seeds ${seed} to ${seed + count - 1}`
    + (truncation === 1 ? "" : `, truncation ${truncation}`);
  document.querySelector("[data-compared]").hidden = !beside;
  document.querySelector("[data-left]").textContent = checkpoint;
  document.querySelector("[data-right]").textContent = beside;
  status.classList.add("visually-hidden");
  tellChosen();
}

function report(done, total, elapsed) {
  progress.hidden = elapsed < 300 || done >= total;
  bar.max = total;
  bar.value = done;
  progress.querySelector("[data-progress-text]").textContent = `${done} of ${total} drawn`;
  const left = Math.ceil(((elapsed / done) * (total - done)) / 1000);
  progress.querySelector("[data-progress-left]").textContent = `about ${left} s left`;
}

// ---- choosing -------------------------------------------------------------------------------

function choose(seed, wanted) {
  const seeds = chosenOf(order);
  if (wanted) seeds.add(seed);
  else seeds.delete(seed);
  const box = sheet.querySelector(`[name=chosen][value="${seed}"]`);
  if (box) box.checked = wanted;
  if (dialog.open && Number(dialog.dataset.seed) === seed) {
    dialog.querySelector("[data-large-chosen]").checked = wanted;
  }
  tellChosen();
  keepAddress();
}

/** Most images of one download of the generator on the left: fewer, the longer each takes. */
function mostTaken() {
  const evaluations = Number(form.checkpoint.selectedOptions[0].dataset.evaluations ?? 1);
  return Math.max(1, Math.floor(Number(form.dataset.most) / evaluations));
}

function tellChosen() {
  const seeds = [...chosenOf(order)].sort((one, other) => one - other);
  const most = Number(picking.dataset.most);
  const taken = mostTaken();
  const elsewhere = seeds.filter((one) => one < order.seed || one >= order.seed + order.count);
  picking.querySelector("[data-elsewhere]").replaceChildren(...elsewhere.map((one) => {
    const field = document.createElement("input");
    field.type = "hidden";
    field.name = "chosen";
    field.value = one;
    return field;
  }));
  const words = picking.querySelector("[data-chosen-words]");
  if (seeds.length === 0) words.textContent = "None chosen: all are downloaded. Tick some to take these alone.";
  else if (seeds.length > most) words.textContent = `${seeds.length} chosen; at most ${most} can be taken one by one.`;
  else {
    const shown = seeds.length > 12 ? `${seeds.slice(0, 12).join(", ")} …` : seeds.join(", ");
    words.textContent = `${seeds.length} chosen: ${seeds.length === 1 ? "seed" : "seeds"} ${shown}`;
    if (seeds.length > taken) words.textContent += `${/…$/.test(shown) ? " " : ". "}${order.checkpoint} draws at most ${taken} for a download: choose no more at a time to download them.`;
  }
  for (const button of picking.querySelectorAll("[name=format]")) button.disabled = seeds.length > Math.min(most, taken);
  const apart = chosenApart(order);
  if (apart) words.textContent += `${/[.…]$/.test(words.textContent) ? "" : "."}${apart}`;
  picking.querySelector("[data-choose-none]").hidden = seeds.length === 0;
  const use = picking.querySelector("[data-use]");
  if (!use) return;
  use.setAttribute("formaction", rooted(`/synthetics/${order.checkpoint}/sketches`));
  const unfit = seeds.length === 0 || order.truncation !== 1;
  use.disabled = unfit || seeds.length > most;
  picking.querySelector("[data-use-needs]").hidden = !unfit;
}

// The address holds what is chosen of this generator; its place in the history what is of all others too.
function keepAddress() {
  const { checkpoint, beside, count, seed, truncation } = order;
  const query = new URLSearchParams({ checkpoint, count, seed });
  if (beside) query.set("beside", beside);
  if (truncation !== 1) query.set("truncation", truncation);
  for (const one of chosenOf(order)) query.append("chosen", one);
  const all = [...chosen].map(([name, scales]) => [name, [...scales].map(([one, seeds]) => [one, [...seeds]])]);
  history.replaceState({ chosen: all }, "", rooted(`/synthetics?${query}`));
}

/** What was chosen of others before the page was loaded again; of its own the address tells. */
function recall(own) {
  for (const [checkpoint, scales] of history.state?.chosen ?? []) {
    for (const [truncation, seeds] of scales) {
      const into = chosenOf({ checkpoint, truncation });
      if (into !== own) for (const one of seeds) into.add(one);
    }
  }
}

// ---- large ----------------------------------------------------------------------------------

// What is shown changes at once, with its number and its choice: no picture stands under another's.
async function enlarge(seed) {
  wanted = seed;
  const of = order;
  const { checkpoint, beside, truncation } = of;
  const query = new URLSearchParams({ truncation, beside });
  let shown;
  try {
    ({ html: shown } = await request(rooted(`/synthetics/${checkpoint}/${seed}?${query}`)));
  } catch (error) {
    shown = document.createElement("p");
    shown.textContent = `Seed ${seed} is not shown: ${error.message}`;
  }
  if (wanted !== seed) return; // another one was asked for since
  const body = dialog.querySelector("[data-large]");
  if (typeof shown === "string") body.innerHTML = shown;
  else body.replaceChildren(shown);
  dialog.dataset.seed = seed;
  dialog.querySelector("[data-large-seed]").textContent = seed;
  dialog.querySelector("[data-large-chosen]").checked = chosenOf(of).has(seed);
  dialog.querySelector("[data-large-step='-1']").disabled = seed === 0;
  if (!dialog.open) openDialog(dialog);
}

function step(by) {
  if (wanted + by >= 0) enlarge(wanted + by);
}

if (form && sheet) {
  // as the page came: the browser may have filled in the form as it was left
  const shown = [...form.checkpoint.options].find((one) => one.defaultSelected) ?? form.checkpoint.selectedOptions[0];
  const atFirst = chosenOf({ checkpoint: shown.value, truncation: Number(form.truncation.defaultValue) });
  for (const field of picking.querySelectorAll("[data-elsewhere] input")) atFirst.add(Number(field.value));
  recall(atFirst);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (form.reportValidity()) draw({ remember: true });
  });
  form.addEventListener("input", (event) => {
    if (event.target !== form.count) limit();
    draw({ remember: true });
  });
  form.querySelector("[data-next-seeds]").addEventListener("click", () => {
    form.seed.value = Number(form.seed.value) + Number(form.count.value);
    draw({ remember: true });
  });
  picking.querySelector("[data-choose-none]").addEventListener("click", () => {
    for (const seed of [...chosenOf(order)]) choose(seed, false);
  });
  for (const button of dialog.querySelectorAll("[data-large-step]")) {
    button.addEventListener("click", () => step(Number(button.dataset.largeStep)));
  }
  const large = dialog.querySelector("[data-large-chosen]");
  large.addEventListener("change", () => choose(Number(dialog.dataset.seed), large.checked));
  dialog.addEventListener("close", () => { wanted = -1; }); // what comes late opens nothing again
  dialog.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "ArrowLeft") step(-1);
    else if (event.key === "ArrowRight") step(1);
    else if (event.key.toLowerCase() === "x") choose(Number(dialog.dataset.seed), !large.checked);
    else return;
    event.preventDefault();
  });
  draw({ remember: false });
} else {
  const go = (way) => document.querySelector(`a[rel=${way}]`)?.click();
  bind({ arrowleft: () => go("prev"), arrowright: () => go("next") });
}
