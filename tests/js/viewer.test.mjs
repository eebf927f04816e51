import assert from "node:assert/strict";
import { test } from "node:test";

import { Shown, Viewer } from "../../static/js/viewer/viewer.js";
import { Element, settled, standIn } from "./page.mjs";

const EVENTS = ["slice", "wanted", "cursor", "window", "tool", "view", "settings", "scroll", "marked", "adjusted", "pick", "measured", "say"];
const image = (number, more = {}) => ({
  id: `i${number}`, number, rows: 60, columns: 80, dtype: "int16", calibrated: true, spacing_mm: [1, 1], ...more,
});
const pixels = () => new Int16Array(60 * 80).fill(7);

/** A store in which slices come when the test says so. */
class Store {
  here = new Map();
  #asked = new Map();

  peek(one) { return this.here.get(one.id) ?? null; }
  get(one) {
    if (!this.#asked.has(one.id)) this.#asked.set(one.id, Promise.withResolvers?.() ?? promise());
    return this.#asked.get(one.id).promise;
  }
  async arrive(one) { this.here.set(one.id, pixels()); await this.#end(one, (way) => way.resolve(pixels())); }
  async fail(one, status = 0) { await this.#end(one, (way) => way.reject(Object.assign(new Error("away"), { status }))); }
  async #end(one, how) {
    const way = this.#asked.get(one.id);
    this.#asked.delete(one.id);
    how(way);
    await settled();
  }
  asks(one) { return this.#asked.has(one.id); }
}

function promise() {
  const way = {};
  way.promise = new Promise((resolve, reject) => Object.assign(way, { resolve, reject }));
  return way;
}

function made(context, { here = [] } = {}) {
  const page = standIn(context);
  const canvas = new Element();
  const store = new Store();
  for (const one of here) store.here.set(one.id, pixels());
  const viewer = new Viewer({ canvas, store, presets: [{ name: "Liver", width: 150, level: 60 }, { name: "Bone", width: 2000, level: 300 }] });
  const events = [];
  for (const name of EVENTS) viewer.addEventListener(name, ({ detail }) => events.push([name, detail]));
  viewer.start();
  const pointer = (kind, px, py, more = {}) => canvas.fire(kind, { clientX: px, clientY: py, pointerId: 1, button: 0, pointerType: "mouse", ...more });
  const drag = (from, to, more = {}) => {
    pointer("pointerdown", ...from, more);
    pointer("pointermove", ...to, more);
    pointer("pointerup", ...to, more);
  };
  const of = (name) => events.filter(([one]) => one === name).map(([, detail]) => detail);
  page.document.closest = () => null; // what has the focus is no field
  return { ...page, canvas, store, viewer, events, of, pointer, drag };
}

const ONE = image(1);
const TWO = image(2);
// 80 × 60 on a canvas of 800 × 600: slice (x, y) is at (10 x, 10 y)

test("a slice that is here is shown at once; one that is not is waited for", async (context) => {
  const { viewer, store, of } = made(context, { here: [ONE] });
  assert.equal(viewer.shown, Shown.nothing);
  viewer.show(ONE);
  assert.equal(viewer.shown, Shown.wanted);
  viewer.show(TWO);
  assert.equal(viewer.shown, Shown.stale);
  assert.equal(viewer.image, ONE);
  assert.equal(viewer.wanted, TWO);
  await store.arrive(TWO);
  assert.equal(viewer.shown, Shown.wanted);
  assert.deepEqual(of("slice").map((detail) => detail.image.number), [1, 2]);
});

test("nothing can be marked on a slice that is not the one asked for", (context) => {
  const { viewer, of, drag } = made(context, { here: [ONE] });
  viewer.show(ONE);
  viewer.setTool("box");
  viewer.show(TWO);
  drag([100, 100], [300, 300]);
  viewer.nudge(1, 0);
  assert.equal(viewer.draft, null);
  assert.deepEqual(of("marked"), []);
  assert.match(of("say").at(-1).text, /Slice 2 is not here yet/);
});

test("a box that was begun is not carried to the slice that comes meanwhile", async (context) => {
  const { viewer, of, pointer, store } = made(context, { here: [ONE] });
  viewer.show(ONE);
  viewer.setTool("box");
  pointer("pointerdown", 100, 100);
  pointer("pointermove", 300, 300);
  viewer.show(TWO);
  await store.arrive(TWO);
  pointer("pointermove", 400, 400);
  pointer("pointerup", 400, 400);
  assert.deepEqual(of("marked"), []);
});

test("a slice that cannot be had says so, is asked again by itself, and then is shown", async (context) => {
  const { viewer, store, timers, of } = made(context, { here: [ONE] });
  viewer.show(ONE);
  viewer.show(TWO);
  await store.fail(TWO);
  assert.equal(viewer.shown, Shown.failed);
  assert.equal(viewer.fault.image, TWO);
  assert.ok(viewer.stale);
  await timers.pass(1_999);
  assert.ok(!store.asks(TWO));
  await timers.pass(1);
  assert.ok(store.asks(TWO));
  await store.arrive(TWO);
  assert.equal(viewer.fault, null);
  assert.equal(of("slice").at(-1).image, TWO);
});

test("what only other rights would mend is asked for again by the person alone", async (context) => {
  const { viewer, store, timers, window } = made(context);
  viewer.show(TWO);
  await store.fail(TWO, 403);
  await timers.pass(120_000);
  window.fire("online");
  assert.ok(!store.asks(TWO));
  assert.ok(viewer.retry());
  assert.ok(store.asks(TWO));
});

test("while one slice is on its way only the newest wish is kept", async (context) => {
  const { viewer, store } = made(context);
  const [three, four] = [image(3), image(4)];
  for (const one of [TWO, three, four]) viewer.show(one);
  assert.ok(!store.asks(three) && !store.asks(four));
  await store.arrive(TWO);
  assert.equal(viewer.image, TWO); // the nearest thing to show
  assert.ok(!store.asks(three) && store.asks(four));
});

test("a slice that is stuck no longer holds up the next one, and its lateness replaces nothing", async (context) => {
  const { viewer, store, timers } = made(context);
  viewer.show(ONE);
  viewer.show(TWO);
  await timers.pass(3_000);
  assert.ok(store.asks(TWO));
  await store.arrive(TWO);
  await store.arrive(ONE);
  assert.equal(viewer.image, TWO);
});

test("a drag draws a box in slice pixels; a click or a sliver marks nothing", (context) => {
  const { viewer, drag, of } = made(context, { here: [ONE] });
  viewer.show(ONE);
  viewer.setTool("box");
  drag([100, 200], [102, 201]);
  drag([100, 200], [300, 205]);
  assert.deepEqual(of("marked"), []);
  assert.match(of("say").at(-1).text, /Too small/);
  drag([100, 200], [300, 350]);
  assert.deepEqual(of("marked"), [{ image: ONE, box: [10, 20, 20, 15], shape: "box" }]);
});

test("a circle is drawn from its centre", (context) => {
  const { viewer, drag, of } = made(context, { here: [ONE] });
  viewer.show(ONE);
  viewer.setTool("circle");
  drag([400, 300], [450, 300]);
  assert.deepEqual(of("marked"), [{ image: ONE, box: [35, 25, 10, 10], shape: "circle" }]);
});

test("a cancelled drag marks nothing, nor does a second finger", (context) => {
  const { viewer, pointer, of } = made(context, { here: [ONE] });
  viewer.show(ONE);
  viewer.setTool("box");
  pointer("pointerdown", 100, 100);
  pointer("pointermove", 300, 300);
  pointer("pointercancel", 300, 300);
  pointer("pointerdown", 100, 100);
  pointer("pointermove", 300, 300);
  pointer("pointerdown", 500, 500, { pointerId: 2 });
  pointer("pointerup", 500, 500, { pointerId: 2 });
  pointer("pointerup", 300, 300);
  assert.deepEqual(of("marked"), []);
  assert.equal(viewer.draft, null);
});

const lesion = { id: "l", image_id: "i1", number: 1, box: [20, 20, 20, 20], square: [18, 18, 24, 24] };

test("a click picks the smallest lesion under it, a drag none, and hidden marks cannot be picked", (context) => {
  const { viewer, drag, of } = made(context, { here: [ONE] });
  viewer.show(ONE);
  viewer.setLesions([{ ...lesion, id: "large", box: [10, 10, 50, 40] }, lesion, { ...lesion, id: "elsewhere", image_id: "i2", box: [29, 29, 2, 2] }]);
  drag([300, 300], [301, 300]);
  assert.deepEqual(of("pick").map((detail) => detail.lesion.id), ["l"]);
  drag([300, 300], [350, 300]);
  viewer.toggleMarks();
  drag([300, 300], [300, 300]);
  assert.equal(of("pick").length, 1);
});

test("a handle of the chosen lesion adjusts its box only where it may be edited", (context) => {
  const { viewer, drag, of } = made(context, { here: [ONE] });
  viewer.show(ONE);
  viewer.setLesions([lesion]);
  viewer.select("l");
  drag([400, 400], [450, 420]);
  assert.deepEqual(of("adjusted"), []);
  viewer.select("l", { editable: true });
  drag([400, 400], [450, 420]);
  assert.deepEqual(of("adjusted"), [{ lesion, box: [20, 20, 25, 22] }]);
});

test("a circle that is made larger stays one about its centre, and one that is moved keeps its size", (context) => {
  const { viewer, drag, of } = made(context, { here: [ONE] });
  const circle = { ...lesion, shape: "circle", box: [20, 20, 20, 20] };
  viewer.show(ONE);
  viewer.setLesions([circle]);
  viewer.select("l", { editable: true });
  drag([400, 300], [450, 300]); // its right edge, 5 pixels on
  assert.deepEqual(of("adjusted").at(-1), { lesion: circle, box: [15, 15, 30, 30] });
  drag([250, 200], [280, 220]); // the line between two handles
  assert.deepEqual(of("adjusted").at(-1), { lesion: circle, box: [23, 22, 20, 20] });
});

test("keys place, size and mark a box, and Escape drops it before it leaves the tool", (context) => {
  const { viewer, of } = made(context, { here: [ONE] });
  viewer.show(ONE);
  viewer.nudge(1, 0); // no tool: nothing
  assert.equal(viewer.draft, null);
  viewer.setTool("box");
  viewer.nudge(1, 0);
  const placed = [...viewer.draft.box];
  viewer.nudge(1, 0);
  viewer.nudge(0, 0, 0, 3);
  assert.deepEqual(viewer.draft.box, [placed[0] + 1, placed[1], placed[2], placed[3] + 3]);
  assert.ok(viewer.confirm());
  assert.equal(of("marked").length, 1);
  assert.ok(!viewer.confirm());
  viewer.nudge(1, 0);
  assert.ok(viewer.cancel());
  assert.equal(viewer.tool, "box");
  assert.ok(viewer.cancel());
  assert.equal(viewer.tool, "window");
  assert.ok(!viewer.cancel());
});

test("a box that was placed on another slice is not marked here", (context) => {
  const { viewer, of } = made(context, { here: [ONE, TWO] });
  viewer.show(ONE);
  viewer.setTool("box");
  viewer.nudge(1, 0);
  viewer.show(TWO);
  assert.ok(viewer.confirm());
  assert.deepEqual(of("marked"), []);
  assert.match(of("say").at(-1).text, /placed on slice 1/);
});

test("the left drag sets the window, Space and the middle button move the slice", (context) => {
  const { viewer, drag, document, of } = made(context, { here: [ONE] });
  viewer.show(ONE);
  drag([100, 100], [150, 90]);
  assert.deepEqual([viewer.window.width, viewer.window.level], [200, 50]);
  const before = viewer.toScreen(40, 30);
  document.fire("keydown", { key: " " });
  drag([100, 100], [150, 90]);
  document.fire("keyup", { key: " " });
  drag([100, 100], [150, 90], { button: 1 });
  const after = viewer.toScreen(40, 30);
  assert.deepEqual([after.x - before.x, after.y - before.y], [100, -20]);
  assert.deepEqual([viewer.window.width, viewer.window.level], [200, 50]);
  assert.deepEqual(of("pick"), []);
});

test("two fingers zoom about their middle and move the slice with it; two that only tremble change little", (context) => {
  const { viewer, pointer, of } = made(context, { here: [ONE] });
  viewer.show(ONE);
  const finger = (id) => ({ pointerId: id, pointerType: "touch" });
  const at = (px, py) => { pointer("pointermove", px, py); return of("cursor").at(-1); };
  const middle = at(405, 305);
  pointer("pointerdown", 305, 305, finger(1));
  pointer("pointerdown", 505, 305, finger(2));
  pointer("pointermove", 306, 305, finger(1));
  assert.ok(Math.abs(viewer.zoom / 10 - 1) < 0.01);
  pointer("pointermove", 205, 305, finger(1));
  pointer("pointermove", 605, 305, finger(2));
  assert.ok(Math.abs(viewer.zoom / 10 - 2) < 0.05, viewer.zoom);
  pointer("pointermove", 205, 405, finger(1));
  pointer("pointermove", 605, 405, finger(2));
  pointer("pointerup", 205, 405, finger(1));
  pointer("pointerup", 605, 405, finger(2));
  assert.deepEqual(at(405, 405), middle); // what was between the fingers still is
  assert.deepEqual([viewer.window.width, viewer.window.level], [150, 60]);
  assert.deepEqual(of("marked"), []);
});

test("a notch of the wheel is one slice, small steps add up to one, and with Ctrl it zooms", (context) => {
  const { viewer, canvas, of } = made(context, { here: [ONE] });
  viewer.show(ONE);
  const turn = (deltaY, more = {}) => canvas.fire("wheel", { deltaY, deltaMode: 0, clientX: 400, clientY: 300, ...more });
  turn(120);
  for (let step = 0; step < 3; step += 1) turn(-10);
  assert.deepEqual(of("scroll"), [{ by: 1 }, { by: -1 }]);
  const zoom = viewer.zoom;
  turn(-40, { ctrlKey: true });
  assert.ok(viewer.zoom > zoom);
  assert.equal(of("scroll").length, 2);
});

test("the cursor tells the value under it, and none outside the slice or of a slice that failed", async (context) => {
  const { viewer, pointer, of, store } = made(context, { here: [ONE] });
  viewer.show(ONE);
  pointer("pointermove", 105, 207);
  assert.deepEqual(of("cursor").at(-1), { x: 10, y: 20, value: 7 });
  viewer.panBy(200, 0);
  pointer("pointermove", 105, 207);
  assert.equal(of("cursor").at(-1).value, null);
  pointer("pointermove", 405, 207);
  assert.equal(of("cursor").at(-1).value, 7);
  viewer.show(TWO);
  await store.fail(TWO);
  assert.equal(of("cursor").at(-1).value, null);
});

test("presets are refused to a picture without Hounsfield units, which gets its full range", (context) => {
  const plain = image(1, { calibrated: false, dtype: "uint8" });
  const { viewer, of } = made(context, { here: [plain] });
  viewer.show(plain);
  viewer.preset(1);
  assert.deepEqual([viewer.window.width, viewer.window.level], [256, 128]);
  assert.match(of("say").at(-1).text, /Uncalibrated/);
});

test("a slice of another size begins at its own view; one of the same size keeps it", (context) => {
  const small = image(3, { rows: 30 });
  const { viewer, store } = made(context, { here: [ONE, TWO] });
  store.here.set(small.id, new Int16Array(30 * 80));
  viewer.show(ONE);
  viewer.zoomBy(2);
  viewer.show(TWO);
  assert.equal(viewer.zoom, 20);
  viewer.show(small);
  assert.equal(viewer.zoom, 10);
});

test("the first slice and those that follow each other fast are drawn in haste, and in full quality once they rest", async (context) => {
  const { viewer, canvas, frames, timers } = made(context, { here: [ONE, TWO] });
  const qualities = [];
  const pen = canvas.getContext();
  let now = 0;
  context.mock.method(performance, "now", () => now);
  viewer.stop();
  canvas.getContext = () => new Proxy(pen, {
    set: (_, name, value) => { if (name === "imageSmoothingQuality") qualities.push(value); return true; },
  });
  viewer.start();
  const draw = () => { const due = [...frames.values()]; frames.clear(); for (const run of due) run(); };
  viewer.show(ONE);
  draw();
  assert.deepEqual(qualities, ["low"]);
  now += 120;
  await timers.pass(120);
  draw();
  now += 500;
  viewer.show(TWO);
  draw();
  now += 16;
  viewer.show(ONE);
  draw();
  assert.deepEqual(qualities.slice(1), ["high", "high", "low"]);
  now += 120;
  await timers.pass(120);
  draw();
  assert.equal(qualities.at(-1), "high");
  assert.equal(frames.size, 0); // and then nothing is drawn any more
});

test("stop takes away every listener, observer, timer and frame, and start brings the viewer back", async (context) => {
  const { viewer, store, canvas, window, document, timers, frames, observers, of } = made(context, { here: [ONE] });
  viewer.start(); // twice is once
  viewer.show(ONE);
  viewer.show(TWO);
  const listeners = () => canvas.listeners + window.listeners + document.listeners;
  assert.ok(listeners() > 8);
  assert.ok(timers.size > 0);
  assert.equal(observers.size, 1);
  viewer.stop();
  assert.equal(listeners(), 0);
  assert.equal(observers.size, 0);
  assert.equal(timers.size, 0);
  assert.equal(frames.size, 0);
  await store.arrive(TWO);
  assert.equal(viewer.image, ONE);
  assert.equal(timers.size + frames.size, 0);
  assert.equal(of("slice").length, 1);
  viewer.start();
  viewer.show(TWO);
  assert.equal(viewer.image, TWO);
  assert.ok(frames.size > 0);
});

test("a failed slice is not asked for again after stop", async (context) => {
  const { viewer, store, timers, window } = made(context);
  viewer.show(TWO);
  await store.fail(TWO);
  viewer.stop();
  await timers.pass(120_000);
  window.fire("online");
  assert.ok(!store.asks(TWO));
  assert.equal(viewer.fault, null);
});

test("what was on its way at stop does not come after the next start", async (context) => {
  const { viewer, store, of } = made(context);
  viewer.show(ONE);
  viewer.stop();
  viewer.start();
  viewer.show(TWO);
  await store.arrive(ONE);
  assert.deepEqual(of("slice"), []);
  await store.arrive(TWO);
  assert.deepEqual(of("slice").map((detail) => detail.image.number), [2]);
});

test("a drag that comes back to where it began is no click", (context) => {
  const { viewer, pointer, of } = made(context, { here: [ONE] });
  viewer.show(ONE);
  viewer.setLesions([lesion]);
  pointer("pointerdown", 300, 300);
  pointer("pointermove", 340, 300);
  pointer("pointermove", 300, 300);
  pointer("pointerup", 300, 300);
  assert.deepEqual(of("pick"), []);
});

test("a length is dragged, said, deleted and brought back", (context) => {
  const { viewer, of, drag } = made(context, { here: [ONE] });
  viewer.show(ONE);
  viewer.setTool("length");
  drag([100, 100], [130, 140]);
  assert.deepEqual(viewer.measures.map(({ kind, says }) => [kind, says]), [["length", ["5.0 mm"]]]);
  assert.deepEqual(of("measured"), [{ kind: "length", says: ["5.0 mm"] }]);
  assert.equal(of("say").at(-1).text, "5.0 mm");
  assert.equal(viewer.removeMeasure(), true);
  assert.deepEqual(viewer.measures, []);
  assert.equal(viewer.undoMeasure(), true);
  assert.equal(viewer.measures.length, 1);
});

test("a region says its values; a click places none", (context) => {
  const { viewer, drag, pointer } = made(context, { here: [ONE] });
  viewer.show(ONE);
  viewer.setTool("rectangle");
  drag([100, 100], [200, 200]);
  assert.deepEqual(viewer.measures[0].says, ["7.0 ± 0.0 HU", "7 to 7", "1.00 cm², 100 px"]);
  pointer("pointerdown", 300, 300);
  pointer("pointerup", 300, 300);
  assert.equal(viewer.measures.length, 1);
});

test("an outline that another slice cuts short leaves none of its corners to the next one", (context) => {
  const { viewer, of, pointer } = made(context, { here: [ONE, TWO] });
  viewer.show(ONE);
  viewer.setTool("outline");
  pointer("pointerdown", 100, 100);
  for (const [px, py] of [[300, 100], [300, 300]]) pointer("pointermove", px, py);
  viewer.show(TWO);
  assert.match(of("say").at(-1).text, /dropped/);
  pointer("pointermove", 200, 200);
  pointer("pointerup", 200, 200);
  assert.deepEqual(viewer.measures, []);
  pointer("pointerdown", 500, 400);
  for (const [px, py] of [[600, 400], [600, 500], [500, 500]]) pointer("pointermove", px, py);
  pointer("pointerup", 500, 500);
  assert.deepEqual(viewer.measures.map(({ points }) => points), [[{ x: 50, y: 40 }, { x: 60, y: 40 }, { x: 60, y: 50 }, { x: 50, y: 50 }]]);
});

test("a box whose resizing another slice cuts short stands where it stood", (context) => {
  const { viewer, of, pointer } = made(context, { here: [ONE, TWO] });
  viewer.setLesions([{ id: "a", image_id: "i1", number: 1, box: [10, 10, 20, 20], shape: "box" }]);
  viewer.show(ONE);
  viewer.select("a", { editable: true });
  pointer("pointerdown", 300, 300);
  pointer("pointermove", 400, 400);
  viewer.show(TWO);
  pointer("pointerup", 400, 400);
  viewer.show(ONE);
  assert.deepEqual(of("adjusted"), []);
  assert.equal(viewer.scene.draft, null);
  assert.deepEqual(viewer.scene.marks.map(({ box }) => box), [[10, 10, 20, 20]]);
});

test("dragging through the slices, and a window that is dragged, go on when slices come", (context) => {
  const { viewer, of, pointer } = made(context, { here: [ONE, TWO] });
  viewer.addEventListener("scroll", () => viewer.show(viewer.image === ONE ? TWO : ONE));
  viewer.show(ONE);
  viewer.mouse = "pacs";
  pointer("pointerdown", 400, 100);
  for (let py = 102; py <= 160; py += 2) pointer("pointermove", 400, py);
  pointer("pointerup", 400, 160);
  assert.equal(of("scroll").reduce((sum, { by }) => sum + by, 0), 10);
  const { width } = viewer.window;
  pointer("pointerdown", 400, 100, RIGHT);
  pointer("pointermove", 420, 100, RIGHT);
  viewer.show(viewer.image === ONE ? TWO : ONE);
  pointer("pointermove", 500, 100, RIGHT);
  pointer("pointerup", 500, 100, RIGHT);
  assert.equal(viewer.window.width, width + 100);
});

test("what is drawn is seen: a tool brings hidden marks back", (context) => {
  const { viewer, of } = made(context, { here: [ONE] });
  viewer.show(ONE);
  viewer.toggleMarks();
  viewer.setTool("length");
  assert.equal(viewer.settings.marks, true);
  assert.equal(of("settings").at(-1).marks, true);
});

test("pictures that are not calibrated are each shown whole until somebody sets a window", (context) => {
  const [low, high] = [3, 4].map((n) => image(n, { calibrated: false, dtype: "uint16" }));
  const { viewer, store } = made(context, { here: [] });
  store.here.set(low.id, Uint16Array.from({ length: 60 * 80 }, (_, n) => n));
  store.here.set(high.id, Uint16Array.from({ length: 60 * 80 }, (_, n) => 20_000 + n));
  const shown = (one) => { viewer.show(one); return [viewer.window.width, viewer.window.level]; };
  assert.deepEqual(shown(low), [4800, 2400]);
  assert.deepEqual(shown(high), [4800, 22_400]);
  viewer.setWindow(1000, 21_000);
  assert.deepEqual(shown(low), [1000, 21_000]);
  viewer.reset();
  assert.deepEqual(shown(high), [4800, 22_400]);
});

test("a first window lies within what a window may be, and nobody chose it", (context) => {
  const { viewer, of } = made(context, { here: [ONE] });
  viewer.setFirstWindow({ width: 9999, level: -9999, curve: "sigmoid" });
  viewer.show(ONE);
  assert.deepEqual(of("window").at(-1), { width: 8000, level: -2048, curve: "sigmoid", steps: undefined, isChosen: false });
  viewer.preset(0);
  assert.equal(of("window").at(-1).isChosen, true);
});

test("nothing is measured on a slice that is not the one asked for", (context) => {
  const { viewer, drag } = made(context, { here: [ONE] });
  viewer.show(ONE);
  viewer.setTool("length");
  viewer.show(TWO);
  drag([100, 100], [200, 200]);
  assert.deepEqual(viewer.measures, []);
});

const LEFT = { button: 0 };
const RIGHT = { button: 2 };
test("the right button zooms, the left one sets the window; as in a PACS the right one sets the window", (context) => {
  const { viewer, of, drag } = made(context, { here: [ONE] });
  viewer.show(ONE);
  const before = viewer.zoom;
  drag([400, 300], [400, 200], RIGHT);
  assert.ok(viewer.zoom > before);
  const width = viewer.window.width;
  drag([400, 300], [450, 300], LEFT);
  assert.ok(viewer.window.width > width);
  viewer.mouse = "pacs";
  const wider = viewer.window.width;
  drag([400, 300], [450, 300], RIGHT);
  assert.ok(viewer.window.width > wider);
  assert.deepEqual(of("scroll"), []);
  drag([400, 300], [400, 325], LEFT);
  assert.equal(of("scroll").reduce((sum, { by }) => sum + by, 0), 4);
  viewer.mouse = "nonsense";
  assert.equal(viewer.mouse, "pacs");
});

test("a double click resets the view; with a tool or on a lesion it does not", (context) => {
  const { viewer, canvas } = made(context, { here: [ONE] });
  viewer.show(ONE);
  viewer.setLesions([{ id: "a", image_id: ONE.id, number: 1, box: [10, 10, 10, 10], square: [5, 5, 20, 20] }]);
  const twice = (clientX, clientY) => canvas.fire("dblclick", { clientX, clientY });
  viewer.setWindow(50, 50);
  twice(150, 150);
  viewer.setTool("box");
  twice(500, 500);
  assert.equal(viewer.window.width, 50);
  viewer.setTool("window");
  twice(500, 500);
  assert.equal(viewer.window.width, 150);
});

test("Shift and the wheel go ten slices, whichever way the browser turns it", (context) => {
  const { viewer, canvas, of } = made(context, { here: [ONE] });
  viewer.show(ONE);
  canvas.fire("wheel", { deltaX: 0, deltaY: 100, deltaMode: 0, shiftKey: true });
  canvas.fire("wheel", { deltaX: -100, deltaY: 0, deltaMode: 0, shiftKey: true });
  canvas.fire("wheel", { deltaX: -100, deltaY: 0, deltaMode: 0, shiftKey: false });
  assert.deepEqual(of("scroll").map(({ by }) => by), [10, -10]);
});
