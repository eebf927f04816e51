// The viewer: one slice on a canvas, window and level, zoom, pan, and boxes around lesions.
// Coordinates are slice pixels (see geometry.js).

import { rangeOf } from "../pixels.js";
import { Drawing } from "./drawing.js";
import { adjusted, aspectOf, boxBetween, boxInMiddle, clamp, cursorOf, diameterMm, fit, gripAt, handlesOf, isAlike, isInSight, isInside, lieOf, middleOf, nudged, panned, squareAround, toScreen, toSlice, zoomedAbout } from "./geometry.js";
import { Button, Gesture, Input } from "./input.js";
import { Loading } from "./loading.js";
import { Measures } from "./measures.js";
import { Kind, extended, isMeant, isOn, keepable, saysOf } from "./measuring.js";

const HANDLE_PX = 7;
/** How wide a window in HU may be, and between which values its level lies. */
const MOST_HU = { width: 8000, least: -2048, most: 4000 };
const HOW_TO = {
  box: "Box: drag around the lesion, or arrow keys to place a box, Shift and arrow keys to size it, Enter to mark it, Escape to leave.",
  circle: "Circle: drag from the centre outwards, or arrow keys to place it, Shift and arrow keys to size it, Enter to mark it, Escape to leave.",
  length: "Distance: drag from one end to the other. Delete removes it, Ctrl and Z takes it back, Escape leaves.",
  rectangle: "Values in a box: drag over it. Delete removes it, Ctrl and Z takes it back, Escape leaves.",
  disc: "Values in a circle: drag from its centre. Delete removes it, Ctrl and Z takes it back, Escape leaves.",
  outline: "Values in an outline: drag around it. Delete removes it, Ctrl and Z takes it back, Escape leaves.",
};

/** What the buttons of the mouse do while no tool is chosen. */
export const Mouse = Object.freeze({
  /** left: window and level; right: zoom; middle: pan. */
  window: "window",
  /** As in most PACS: left: through the slices, or the tool; right: window and level; middle: pan. */
  pacs: "pacs",
});

/** What is on the screen: nothing yet, the slice that was asked for, another one until it comes, or for want of it. */
export const Shown = Object.freeze({ nothing: "nothing", wanted: "wanted", stale: "stale", failed: "failed" });

/**
 * Events (all CustomEvent, detail in braces):
 *   slice {image}            a slice is on the screen
 *   wanted {}                what is asked for, shown or failed (wanted, image, fault) has changed
 *   cursor {x, y, value}     value null outside the slice
 *   window {width, level, curve, steps, isChosen}  isChosen: somebody set it, and no slice brought it
 *   tool {tool}              view {zoom}     settings {invert, smooth, marks}
 *   scroll {by}              the wheel asks for other slices
 *   marked {image, box, shape}  a box was drawn or confirmed; shape: "box", or "circle" within it
 *   adjusted {lesion, box}   a handle of the selected lesion was let go
 *   pick {lesion}            a lesion was clicked
 *   measured {kind, says}    a length or region was placed; says: its lines
 *   chosen {measure}         the measure that is chosen, {id, kind, points, says, kept}, or null
 *   undoable {undo}          a measure came or went; undo() takes that back
 *   say {text}               for the live region
 *
 * While the slice that is asked for is not the one on the screen (`stale`), nothing can be marked, moved
 * or picked: a box must never land on another slice than the list and the address say.
 *
 * It listens, draws and loads from `start` to `stop`.
 */
export class Viewer extends EventTarget {
  #presets;
  #drawing; #input; #loading;
  #pixels = null; #image = null; // what is on the screen
  #view = null; // null: the whole slice, whatever the size of the canvas
  #windows = { hu: null, grey: null };
  #isGreyChosen = false;
  #settings = { invert: false, smooth: true, marks: true };
  #lesions = []; #pending = []; #selected = null; #isEditable = false;
  #tool = "window";
  #draft = null; // {kind, image, box, lesion?}
  #measures = new Measures();
  #kept = []; #keptSays = new Map(); // id → its lines, counted once
  #measuring = null; // {kind, image, points} while one is dragged
  #mouse = Mouse.window;
  #cursor = null; // {px, py}
  #openings = [];

  /** canvas: the element; store: a PixelStore; presets: [{name, width, level, curve, steps}] in HU; curve and steps as in GreyTable, "linear" where none is. */
  constructor({ canvas, store, presets }) {
    super();
    this.#presets = presets;
    this.#windows.hu = { width: presets[0].width, level: presets[0].level };
    this.#drawing = new Drawing({ canvas, delegate: this });
    this.#input = new Input({ canvas, delegate: this });
    this.#loading = new Loading({ store, delegate: this });
  }

  start() {
    this.#drawing.start();
    this.#input.start();
    this.#loading.start();
  }

  stop() {
    this.#loading.stop();
    this.#input.stop();
    this.#drawing.stop();
  }

  // ---- what is shown ------------------------------------------------------------------------

  get shown() {
    if (this.fault) return Shown.failed;
    if (this.#loading.wanted !== null && this.#loading.wanted !== this.#image) return Shown.stale;
    return this.#image ? Shown.wanted : Shown.nothing;
  }

  get image() { return this.#image; }
  get wanted() { return this.#loading.wanted ?? this.#image; }
  get stale() { return [Shown.stale, Shown.failed].includes(this.shown); }
  /** { image, error: NoPixels } of the wanted slice when it could not be had; else null. */
  get fault() { return this.#loading.fault; }
  get tool() { return this.#tool; }
  get draft() { return this.#draft; }
  get selected() { return this.#selected; }
  get calibrated() { return this.#image?.calibrated ?? true; }
  get window() { return this.#image && !this.#image.calibrated ? this.#windows.grey : this.#windows.hu; }
  get zoom() { return this.#sight?.zoom ?? 1; }
  get settings() { return { ...this.#settings }; }
  get mouse() { return this.#mouse; }
  set mouse(mouse) { if (Object.values(Mouse).includes(mouse)) this.#mouse = mouse; }
  /** Of the slice on the screen: [{id, kind, points, says, kept}]; kept: whose it is, where it stands with a lesion. */
  get measures() {
    const kept = this.stale ? [] : this.#kept.filter(({ image_id: id }) => id === this.#image?.id);
    return [...this.#measures.of(this.#image?.id), ...kept.map((one) => ({ ...one, says: this.#saysOfKept(one) }))];
  }
  /** The one of them that is chosen, or null. */
  get chosenMeasure() { return this.measures.find(({ id }) => id === this.#measures.chosen) ?? null; }

  /** Show a slice. While one is on its way only the newest wish is kept, so fast scrolling stays near. */
  show(image) { this.#loading.ask(image); }

  /** Ask again for the slice that failed; false when none did. */
  retry() { return this.#loading.retry(); }

  // of the loading

  arrived(image, pixels, request) {
    const before = this.#image;
    const same = before !== null && isAlike(before, image);
    if (!same) this.#view = null;
    if (before !== image) this.#leaveSlice();
    if (before !== null && before.calibrated !== image.calibrated) this.#input.drop(); // other values are in the window
    this.#image = image;
    this.#pixels = pixels;
    if (before !== image) this.#chooseMeasure(null);
    if (!image.calibrated && (!this.#isGreyChosen || before?.dtype !== image.dtype)) this.#showFullRange();
    this.#openings.push(request);
    this.#drawing.schedule({ newGreys: true });
    this.#emit("slice", { image });
    this.#emit("wanted", {});
    this.#windowShown();
    if (!same) this.#emit("view", { zoom: this.zoom });
    this.#tellCursor();
  }

  failed() {
    this.#leaveSlice();
    this.#drawing.schedule();
    this.#tellCursor();
    this.#emit("wanted", {});
  }

  askedFor() { this.#emit("wanted", {}); }

  waitChanged() { this.#drawing.schedule(); }

  /** A box or measure that is being dragged stays with no slice but its own. */
  #leaveSlice() {
    if (!this.#input.leaveSlice()) return;
    this.#draft = null;
    this.#measuring = null;
    this.#say("What was being drawn is dropped: another slice came.");
  }

  #fullRange() {
    if (this.#image.dtype === "uint8") return { width: 256, level: 128 };
    const [low, high] = rangeOf(this.#pixels);
    return { width: Math.max(2, high - low + 1), level: (low + high + 1) / 2 };
  }

  /** Pictures that are not calibrated have nothing in common: each is shown whole, until a window is chosen. */
  #showFullRange() {
    this.#windows.grey = this.#fullRange();
    this.#isGreyChosen = false;
  }

  // ---- window, zoom, settings ---------------------------------------------------------------

  setWindow(width, level, curve = this.#curve, steps = undefined) {
    const target = this.window;
    if (!target) return;
    const grey = !this.calibrated;
    target.width = clamp(Math.round(width), 1, grey ? 65536 : MOST_HU.width);
    target.curve = curve;
    target.steps = steps;
    target.level = clamp(Math.round(level), grey ? 0 : MOST_HU.least, grey ? 65535 : MOST_HU.most);
    if (grey) this.#isGreyChosen = true;
    this.#drawing.schedule({ newGreys: true });
    this.#emit("window", { ...target, isChosen: true });
  }

  /** How a width and level that are changed are drawn: a table has neither, and is left. */
  get #curve() { return this.window?.curve === "table" ? "linear" : this.window?.curve; }

  /** The window in HU that the first slice is shown with; before `show`. */
  setFirstWindow({ width, level, curve, steps }) {
    this.#windows.hu = { width: clamp(width, 1, MOST_HU.width), level: clamp(level, MOST_HU.least, MOST_HU.most), curve, steps };
  }

  /** The n-th preset, counted from 0. Presets are in HU: an uncalibrated picture gets its full range. */
  preset(n) {
    if (!this.#image || !this.#presets[n]) return;
    if (!this.calibrated) {
      this.#showFullRange();
      this.#windowShown();
      this.#say("Uncalibrated: window presets need Hounsfield units. Full range shown.");
      return;
    }
    const { name, width, level, curve, steps } = this.#presets[n];
    this.setWindow(width, level, curve ?? "linear", steps);
    this.#say(curve === "table" ? `${name}: by the table of the file` : `${name} window, width ${width}, level ${level}`);
  }

  /** Back to the whole slice, the first preset, neither inverted nor crisp. */
  reset() {
    this.#view = null;
    this.#settings = { invert: false, smooth: true, marks: true };
    if (this.#image && this.calibrated) this.setWindow(this.#presets[0].width, this.#presets[0].level, "linear");
    else if (this.#image) {
      this.#showFullRange();
      this.#windowShown();
    }
    this.#drawing.schedule({ newGreys: true });
    this.#emit("settings", this.settings);
    this.#emit("view", { zoom: this.zoom });
    this.#say("View reset");
  }

  #windowShown() {
    this.#drawing.schedule({ newGreys: true });
    this.#emit("window", { ...this.window, isChosen: false });
  }

  toggleInvert() { this.#toggle("invert", "Inverted", "Not inverted"); }
  toggleSmooth() { this.#toggle("smooth", "Smooth", "Crisp pixels"); }
  toggleMarks() { this.#toggle("marks", "Marks shown", "Marks hidden"); }

  #toggle(name, on, off) {
    this.#settings[name] = !this.#settings[name];
    this.#drawing.schedule({ newGreys: true });
    this.#emit("settings", this.settings);
    this.#say(this.#settings[name] ? on : off);
  }

  /** The view as it is, the one that fits included; null where there is nothing to see yet. */
  get #sight() {
    if (this.#view) return this.#view;
    return this.#image && this.#drawing.size.width ? fit(this.#image, this.#drawing.size) : null;
  }

  get #lie() { return lieOf(this.#sight, this.#drawing.size, this.#image); }

  /** Zoom by a factor, keeping the point under (px, py) in CSS pixels of the canvas; default the middle. */
  zoomBy(factor, px = this.#drawing.size.width / 2, py = this.#drawing.size.height / 2) {
    if (!this.#sight) return;
    this.#view = zoomedAbout(this.#sight, factor, { px, py }, this.#drawing.size, this.#image);
    this.#drawing.schedule();
    this.#emit("view", { zoom: this.zoom });
  }

  panBy(dx, dy) {
    if (!this.#sight) return;
    this.#view = panned(this.#sight, dx, dy, this.#image);
    this.#drawing.schedule();
  }

  /** Bring a box into sight without changing the zoom, if it is not in sight already. */
  reveal(box) {
    if (!this.#view || !this.#image || isInSight(this.#lie, box)) return;
    this.#view = { zoom: this.#view.zoom, cx: box[0] + box[2] / 2, cy: box[1] + box[3] / 2 };
    this.#drawing.schedule();
  }

  /** Canvas CSS pixels → slice pixels. */
  toSlice(px, py) { return toSlice(this.#lie, px, py); }

  /** Slice pixels → canvas CSS pixels. */
  toScreen(x, y) { return toScreen(this.#lie, x, y); }

  // ---- lesions and marking ------------------------------------------------------------------

  /** lesions: [{id, image_id, number, box, shape, square, covered, label}] of every slice. */
  setLesions(lesions) {
    this.#lesions = lesions;
    this.#drawing.schedule();
  }

  /** Boxes that were drawn and are not stored yet: [{image_id, box, shape, words}]. */
  setPending(pending) {
    this.#pending = pending;
    this.#drawing.schedule();
  }

  /** The measures that are kept with lesions: [{id, image_id, kind, points, kept: {by, number, …}}] of every slice. */
  setKept(kept) {
    this.#kept = kept;
    this.#drawing.schedule();
    this.#chooseMeasure(this.#measures.chosen);
  }

  #saysOfKept({ id, kind, points }) {
    if (!this.#keptSays.has(id)) this.#keptSays.set(id, saysOf(kind, points, this.#image, this.#pixels));
    return this.#keptSays.get(id);
  }

  #chooseMeasure(id) {
    this.#measures.chosen = id;
    this.#emit("chosen", { measure: id === null ? null : this.chosenMeasure });
  }

  /** Select a lesion by id, or none; editable: its box gets drag handles. */
  select(id, { editable = false } = {}) {
    this.#selected = id;
    this.#isEditable = editable;
    this.#drawing.schedule();
  }

  /** "window" (no tool), "box" or "circle" for a lesion, or a kind of measure. */
  setTool(tool) {
    this.#tool = tool;
    this.#drop();
    this.#input.showShape();
    this.#emit("tool", { tool });
    if (tool !== "window" && !this.#settings.marks) this.toggleMarks(); // what is drawn is seen
    if (HOW_TO[tool]) this.#say(HOW_TO[tool]);
  }

  /** Keyboard marking: move the draft by (dx, dy) and grow it by (dw, dh), in slice pixels. */
  nudge(dx, dy, dw = 0, dh = 0) {
    if (!["box", "circle"].includes(this.#tool) || !this.#image || this.#refuseStale()) return;
    const image = this.#image;
    let by = { dx, dy, dw, dh };
    if (this.#draft?.image !== image) {
      this.#draft = { image, box: boxInMiddle(this.#sight, image), kind: this.#tool };
      if (dx || dy) by = { dw, dh }; // the first key only places it
    }
    this.#draft.box = nudged(this.#draft.box, by, image, { round: this.#tool === "circle" });
    this.#drawing.schedule();
    const [x, y] = this.#draft.box;
    this.#say(`Box at x ${Math.round(x)}, y ${Math.round(y)}, ${this.#sizeText(this.#draft.box)}`);
  }

  /** Mark the draft as it stands. */
  confirm() {
    if (!this.#draft || this.#refuseStale()) return false;
    if (this.#draft.image !== this.#image) {
      this.#say(`The box was placed on slice ${this.#draft.image.number}. Go back there to mark it, or press Escape to drop it.`);
      return true;
    }
    this.#finish(this.#draft);
    return true;
  }

  /** Delete the measure of this visit that was clicked, or the last one of this slice; false when there is none. */
  removeMeasure() {
    const gone = this.#image && !this.stale ? this.#measures.remove(this.#image.id) : null;
    if (!gone) return false;
    this.#drawing.schedule();
    this.#chooseMeasure(null);
    this.#emit("undoable", { undo: () => this.undoMeasure() });
    this.#say(`Deleted: ${gone.says.join(", ")}. Ctrl and Z brings it back.`);
    return true;
  }

  /** The measure of this visit that is to be kept: the one that was clicked, or the last of this slice; or null. */
  get toKeep() {
    if (!this.#image || this.stale) return null;
    const chosen = this.chosenMeasure;
    if (chosen) return chosen.kept ? null : { ...chosen, image: this.#image };
    const last = this.#measures.of(this.#image.id).at(-1);
    return last ? { ...last, image: this.#image } : null;
  }

  /** A measure of this visit stands with a lesion now (keptAs: its id there), or no longer. */
  gaveMeasure(id, keptAs) {
    this.#measures.give(id);
    if (this.#measures.chosen === id) this.#chooseMeasure(keptAs);
    this.#drawing.schedule();
  }

  tookBackMeasure(id) {
    this.#measures.takeBack(id);
    this.#drawing.schedule();
  }

  /** Take the last placing or deleting of a measure back; false when there was none. */
  undoMeasure() {
    const slice = this.#measures.undo();
    if (slice === null) return false;
    this.#drawing.schedule();
    this.#chooseMeasure(null);
    this.#say(slice === this.#image?.id ? "Taken back" : "Taken back, on another slice");
    return true;
  }

  /** Drop the draft, or leave the tool when there is none. */
  cancel() {
    if (this.#draft || this.#input.gesture !== Gesture.none) { this.#drop(); return true; }
    if (this.#tool !== "window") { this.setTool("window"); return true; }
    return false;
  }

  #drop() {
    this.#draft = null;
    this.#measuring = null;
    this.#input.drop();
    this.#drawing.schedule();
  }

  #refuseStale() {
    if (!this.stale) return false;
    this.#say(`Slice ${this.wanted.number} is not here yet; nothing can be marked until it is.`);
    return true;
  }

  #finish(draft) {
    const [, , w, h] = draft.box;
    this.#draft = null;
    this.#drawing.schedule();
    if (w < 2 || h < 2) {
      this.#say("Too small to mark: draw the box around the whole lesion.");
      return;
    }
    const box = draft.box.map((v) => Math.round(v * 100) / 100);
    if (draft.lesion) this.#emit("adjusted", { lesion: draft.lesion, box });
    else this.#emit("marked", { image: draft.image, box, shape: draft.kind });
  }

  #sizeText(box) {
    const mm = diameterMm(box, this.#image);
    const px = `${Math.round(box[2])} by ${Math.round(box[3])} pixels`;
    return mm === null ? px : `${px}, ${mm.toFixed(1)} mm`;
  }

  #here() { return this.#lesions.filter((lesion) => lesion.image_id === this.#image?.id); }

  /** The lesion whose box has handles now. */
  #editing() {
    if (!this.#isEditable || !this.#settings.marks || this.stale) return null;
    return this.#here().find((lesion) => lesion.id === this.#selected) ?? null;
  }

  #grip(at, reach) {
    const lesion = this.#editing();
    const grip = lesion && gripAt(this.#lie, lesion.box, at, reach);
    return grip && { lesion, grip };
  }

  #lesionAt({ px, py }) {
    if (!this.#settings.marks || this.stale) return null;
    const point = this.toSlice(px, py);
    const hits = this.#here().filter(({ box }) => isInside(point, box));
    hits.sort((a, b) => a.box[2] * a.box[3] - b.box[2] * b.box[3]);
    return hits[0] ?? null;
  }

  // ---- of the input -------------------------------------------------------------------------

  get isReady() { return this.#image !== null; }

  gestureFrom(at, reach, button = Button.left) {
    if (button === Button.right) return this.#mouse === Mouse.pacs ? this.#windowing() : { kind: Gesture.zoom };
    const from = this.toSlice(at.px, at.py);
    const grabbed = this.#grip(at, reach);
    if (grabbed) return { kind: Gesture.adjust, from, ...grabbed, origin: [...grabbed.lesion.box] };
    if (this.#tool in Kind) return this.#refuseStale() ? null : { kind: Gesture.measure, from };
    if (this.#tool !== "window") return this.#refuseStale() ? null : { kind: Gesture[this.#tool], from };
    return this.#mouse === Mouse.pacs ? { kind: Gesture.stack } : this.#windowing();
  }

  #windowing() {
    const { width, level } = this.window;
    return { kind: Gesture.window, width, level, step: Math.max(1, width / 250) };
  }

  dragged(gesture, { px, py }) {
    const { kind, start, from } = gesture;
    if (kind === Gesture.window) {
      this.setWindow(gesture.width + (px - start.px) * gesture.step, gesture.level + (py - start.py) * gesture.step);
      return;
    }
    const image = this.#image;
    const to = this.toSlice(px, py);
    if (kind === Gesture.measure) {
      this.#measuring = this.#measureTo(from, to);
      this.#drawing.schedule();
      return;
    }
    if (kind === Gesture.box) this.#draft = { kind: "box", image, box: boxBetween(from, to, image) };
    else if (kind === Gesture.circle) {
      this.#draft = { kind: "circle", image, box: this.#roundTo(from, to) };
    } else if (kind === Gesture.adjust) {
      const { lesion, grip, origin } = gesture;
      const isRound = lesion.shape === "circle" && !grip.move; // a circle stays one, about its centre
      const box = isRound ? this.#roundTo(middleOf(origin), to) : adjusted(origin, grip, from, to, image);
      this.#draft = { kind: lesion.shape ?? "box", image, lesion, box };
    }
    this.#drawing.schedule();
  }

  #roundTo(centre, to) {
    const radius = Math.hypot(to.x - centre.x, (to.y - centre.y) * aspectOf(this.#image));
    return squareAround(centre, radius, this.#image);
  }

  #measureTo(from, to) {
    const [start, end] = [from, to].map(({ x, y }) => keepable({ x: clamp(x, 0, this.#image.columns), y: clamp(y, 0, this.#image.rows) }));
    if (this.#tool !== Kind.outline) return { kind: this.#tool, image: this.#image, points: [start, end] };
    const points = extended(this.#measuring?.points ?? [start], end);
    return { kind: this.#tool, image: this.#image, points };
  }

  #place() {
    const { kind, image, points } = this.#measuring;
    this.#measuring = null;
    if (image !== this.#image || !isMeant(kind, points)) return;
    const says = saysOf(kind, points, image, this.#pixels);
    const { id } = this.#measures.place(image.id, { kind, points, says });
    this.#chooseMeasure(id);
    this.#emit("undoable", { undo: () => this.undoMeasure() });
    this.#say(says.join(", "));
    this.#emit("measured", { kind, says });
  }

  #pickMeasure(at) {
    const hit = this.measures.find((one) => isOn(this.#lie, one, this.#image, at));
    this.#chooseMeasure(hit?.id ?? null);
    return hit !== undefined;
  }

  dropped({ kind, moved, start }) {
    if (kind === Gesture.measure) {
      if (this.#measuring) this.#place();
      else this.#pickMeasure(start);
      this.#drawing.schedule();
      return;
    }
    if (kind === Gesture.zoom) return;
    if ([Gesture.box, Gesture.circle, Gesture.adjust].includes(kind) && moved && this.#draft) this.#finish(this.#draft);
    else if (!moved && kind !== Gesture.pan && !this.#pickMeasure(start)) {
      const hit = this.#lesionAt(start);
      if (hit) this.#emit("pick", { lesion: hit });
    }
    this.#drawing.schedule();
  }

  abandoned() {
    this.#draft = null;
    this.#measuring = null;
    this.#drawing.schedule();
  }

  /** A double click on no lesion, with no tool: as the view was at first. */
  doubled(at) {
    if (this.#tool === "window" && !this.#lesionAt(at) && !this.#pickMeasure(at)) this.reset();
  }

  pannedBy(dx, dy) { this.panBy(dx, dy); }
  zoomedBy(factor, px, py) { this.zoomBy(factor, px, py); }
  scrolledBy(by) { this.#emit("scroll", { by }); }

  pointedAt(at) {
    this.#cursor = at;
    this.#tellCursor();
  }

  shapeAt(at) {
    const grabbed = at && this.#image ? this.#grip(at, HANDLE_PX) : null;
    if (grabbed) return cursorOf(grabbed.grip);
    return this.#tool === "window" ? "default" : "crosshair";
  }

  #tellCursor() {
    if (!this.#cursor || !this.#pixels || this.fault) { this.#emit("cursor", { x: null, y: null, value: null }); return; }
    const point = this.toSlice(this.#cursor.px, this.#cursor.py);
    const x = Math.floor(point.x);
    const y = Math.floor(point.y);
    const isOnSlice = x >= 0 && y >= 0 && x < this.#image.columns && y < this.#image.rows;
    this.#emit("cursor", { x, y, value: isOnSlice ? this.#pixels[y * this.#image.columns + x] : null });
  }

  // ---- of the drawing -----------------------------------------------------------------------

  get scene() {
    const image = this.#image;
    const words = this.#loading.isSlow && !this.fault ? `Loading slice ${this.wanted.number} …` : "";
    if (!image) return { image, words };
    const { invert, smooth, marks } = this.#settings;
    const lie = this.#lie;
    const draft = this.#draft?.image === image ? this.#draft : null;
    const editing = draft ? null : this.#editing();
    return {
      image, pixels: this.#pixels, lie, window: this.window, invert, smooth, words, draft,
      isDim: this.fault !== null, // what is on the screen is not what was asked for
      marks: marks ? this.#here()
        .filter((lesion) => this.#draft?.lesion?.id !== lesion.id)
        .map(({ id, box, square, number, shape }) => ({ box, square, number, shape, isChosen: id === this.#selected })) : [],
      handles: editing ? handlesOf(lie, editing.box) : [],
      measures: this.#measuresToDraw(image),
      pending: this.#pending.filter(({ image_id: id }) => id === image.id),
    };
  }

  #measuresToDraw(image) {
    if (!this.#settings.marks) return [];
    const placed = this.measures.map((one) => ({ ...one, isChosen: one.id === this.#measures.chosen }));
    const dragged = this.#measuring;
    if (dragged?.image !== image || !isMeant(dragged.kind, dragged.points)) return placed;
    const says = saysOf(dragged.kind, dragged.points, image, this.#pixels);
    return [...placed, { ...dragged, says, isChosen: true }];
  }

  resized() { if (this.#image) this.#emit("view", { zoom: this.zoom }); }

  drawn() {
    if (!this.#openings.length) return;
    const openings = this.#openings;
    this.#openings = [];
    // A task after this frame's callback runs once the frame has been handed to the compositor.
    setTimeout(() => {
      const end = performance.now();
      for (const { image, start, cached } of openings) {
        performance.measure("slice-open", { start, end, detail: { image: image.id, cached } });
      }
    }, 0);
  }

  #say(text) { this.#emit("say", { text }); }
  #emit(name, detail) { this.dispatchEvent(new CustomEvent(name, { detail })); }
}
