// The viewer: one slice on a canvas, window and level, zoom, pan, and boxes around lesions.
// Coordinates are slice pixels, x to the right, y down; pixel (row r, column c) covers [c, c+1) × [r, r+1).

import { GreyTable, rangeOf } from "./pixels.js";

const HANDLE_PX = 7;
const TOUCH_HANDLE_PX = 14;
const CLICK_PX = 3;
const SLOW_MS = 300;
const STUCK_MS = 3_000; // a slice that takes longer no longer holds up the next one
const RETRY_MS = [2_000, 4_000, 8_000, 15_000, 30_000];
const SCALE_BAR_MM = [1, 2, 5, 10, 20, 50, 100, 200];
const MAX_ZOOM = 40;

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

/** A square around a centre, kept inside the slice; radius in column widths. */
export function squareAround(center, radius, image) {
  const aspect = aspectOf(image);
  const r = Math.max(0, Math.min(
    radius, center.x, image.columns - center.x, center.y * aspect, (image.rows - center.y) * aspect,
  ));
  return [center.x - r, center.y - r / aspect, 2 * r, (2 * r) / aspect];
}

/** The box between two corners, clipped to the slice. */
export function boxBetween(a, b, image) {
  const x0 = clamp(Math.min(a.x, b.x), 0, image.columns);
  const x1 = clamp(Math.max(a.x, b.x), 0, image.columns);
  const y0 = clamp(Math.min(a.y, b.y), 0, image.rows);
  const y1 = clamp(Math.max(a.y, b.y), 0, image.rows);
  return [x0, y0, x1 - x0, y1 - y0];
}

/** Height of a pixel over its width. */
export function aspectOf(image) {
  return image.spacing_mm ? image.spacing_mm[0] / image.spacing_mm[1] : 1;
}

/** Longer side of a box in mm, or null without spacing. */
export function diameterMm(box, image) {
  if (!image.spacing_mm) return null;
  return Math.max(box[2] * image.spacing_mm[1], box[3] * image.spacing_mm[0]);
}

/**
 * Events (all CustomEvent, detail in braces):
 *   slice {image}            a slice is on the screen
 *   wanted {}                what is asked for, shown or failed (wanted, image, fault) has changed
 *   cursor {x, y, value}     value null outside the slice
 *   window {width, level}    tool {tool}     view {zoom}    settings {invert, smooth, marks}
 *   scroll {by}              the wheel asks for other slices
 *   marked {image, box}      a box was drawn or confirmed
 *   adjusted {lesion, box}   a handle of the selected lesion was let go
 *   pick {lesion}            a lesion was clicked
 *   say {text}               for the live region
 *
 * While the slice that is asked for is not the one on the screen (`stale`), nothing can be marked, moved
 * or picked: a box must never land on another slice than the list and the address say.
 */
export class Viewer extends EventTarget {
  #canvas; #context; #store; #presets;
  #bitmap = document.createElement("canvas");
  #imageData = null; #out = null; #table = null;
  #pixels = null;
  #image = null; #wanted = null; #loading = null; #slow = false;
  #fault = null; #retries = 0; #retryTimer = 0;   // fault: { image, error }
  #view = null;            // { zoom: CSS px per column, cx, cy: slice pixel at the middle }
  #windows = { hu: null, grey: null };
  #invert = false; #smooth = true; #marks = true;
  #lesions = []; #selected = null; #editable = false;
  #tool = "window"; #draft = null; #pending = [];
  #pointers = new Map(); #drag = null; #space = false; #wheel = 0;
  #cursor = null; #size = { width: 0, height: 0, ratio: 1 };
  #frame = 0; #dirty = true; #openings = [];
  #colors = {};

  /** canvas: the element; store: a PixelStore; presets: [{name, width, level}] in HU. */
  constructor({ canvas, store, presets }) {
    super();
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d", { alpha: false });
    this.#store = store;
    this.#presets = presets;
    this.#windows.hu = { width: presets[0].width, level: presets[0].level };
    const style = getComputedStyle(document.documentElement);
    for (const name of ["mark", "mark-soft", "stage", "stage-text"]) {
      this.#colors[name] = style.getPropertyValue(`--${name}`).trim() || "#fff";
    }
    window.addEventListener("online", () => this.#again());
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.#again(); });
    new ResizeObserver(() => this.#resize()).observe(canvas);
    this.#resize();
    this.#listen();
  }

  // ---- what is shown ------------------------------------------------------------------------

  get image() { return this.#image; }
  get wanted() { return this.#wanted ?? this.#image; }
  get stale() { return this.#wanted !== null && this.#wanted !== this.#image; }
  /** { image, error: NoPixels } of the wanted slice when it could not be had; else null. */
  get fault() { return this.#fault; }
  get tool() { return this.#tool; }
  get draft() { return this.#draft; }
  get selected() { return this.#selected; }
  get calibrated() { return this.#image?.calibrated ?? true; }
  get window() { return this.#image && !this.#image.calibrated ? this.#windows.grey : this.#windows.hu; }
  get zoom() { return (this.#view ?? this.#fit())?.zoom ?? 1; }
  get settings() { return { invert: this.#invert, smooth: this.#smooth, marks: this.#marks }; }

  /** Show a slice. While one is on its way only the newest wish is kept, so fast scrolling stays near. */
  show(image) {
    performance.mark("slice-request", { detail: { image: image.id } });
    const request = { image, start: performance.now(), cached: true };
    if (this.#fault?.image !== image) this.#forgive();
    this.#wanted = image;
    const here = this.#store.peek(image);
    if (here) { this.#display(image, here, request); return; }
    request.cached = false;
    this.#emit("wanted", {});
    this.#load(image, request);
  }

  /** Ask again for the slice that failed; false when none did. */
  retry() {
    if (!this.#fault) return false;
    this.#retries = 0;
    this.#again({ asked: true });
    return true;
  }

  // What only signing in or other rights would mend is asked again when the page is looked at anew.
  #again({ asked = false, byItself = false } = {}) {
    const fault = this.#fault;
    if (!fault || (byItself && !(fault.error.status === 0 || fault.error.status >= 500))) return;
    if (!asked && [403, 404].includes(fault.error.status)) return;
    clearTimeout(this.#retryTimer);
    this.#load(fault.image, { image: fault.image, start: performance.now(), cached: false });
  }

  #forgive() {
    clearTimeout(this.#retryTimer);
    this.#fault = null;
    this.#retries = 0;
  }

  async #load(image, request) {
    if (this.#loading) { this.#loading.next = { image, request }; return; }
    const mine = { next: null };
    this.#loading = mine;
    const release = () => {
      if (this.#loading !== mine) return;
      this.#loading = null;
      if (mine.next && this.#wanted === mine.next.image) this.#load(mine.next.image, mine.next.request);
    };
    const slow = setTimeout(() => { this.#slow = true; this.#schedule(); }, SLOW_MS);
    const stuck = setTimeout(release, STUCK_MS);
    try {
      const pixels = await this.#store.get(image);
      // A slice that was scrolled past is still the nearest thing to show, unless the wanted one is up.
      if (this.#wanted === image || (this.stale && !this.#fault)) this.#display(image, pixels, request);
    } catch (error) {
      if (this.#wanted === image && this.#image !== image) this.#failed(image, error);
    } finally {
      clearTimeout(slow);
      clearTimeout(stuck);
      this.#slow = false;
      release();
      this.#schedule();
    }
  }

  #failed(image, error) {
    this.#fault = { image, error };
    clearTimeout(this.#retryTimer);
    const wait = RETRY_MS[Math.min(this.#retries, RETRY_MS.length - 1)];
    this.#retries += 1;
    this.#retryTimer = setTimeout(() => this.#again({ byItself: true }), wait);
    this.#drag = null;
    this.#schedule();
    this.#tellCursor();
    this.#emit("wanted", {});
  }

  #display(image, pixels, request) {
    const before = this.#image;
    const same = before && before.rows === image.rows && before.columns === image.columns
      && aspectOf(before) === aspectOf(image);
    if (!same) this.#view = null;
    if (before !== image) this.#drag = null;
    this.#image = image;
    this.#pixels = pixels;
    if (this.#wanted === image) this.#forgive();
    if (!image.calibrated && (!this.#windows.grey || before?.dtype !== image.dtype)) this.#windows.grey = this.#fullRange();
    if (!this.#table || this.#table.dtype !== image.dtype) {
      this.#table = new GreyTable(image.dtype);
      this.#table.dtype = image.dtype;
    }
    if (!this.#imageData || this.#imageData.width !== image.columns || this.#imageData.height !== image.rows) {
      this.#bitmap.width = image.columns;
      this.#bitmap.height = image.rows;
      this.#imageData = new ImageData(image.columns, image.rows);
      this.#out = new Uint32Array(this.#imageData.data.buffer);
    }
    this.#dirty = true;
    this.#openings.push(request);
    this.#schedule();
    this.#emit("slice", { image });
    this.#emit("wanted", {});
    this.#emit("window", this.window);
    if (!same) this.#emit("view", { zoom: this.zoom });
    this.#tellCursor();
  }

  #fullRange() {
    if (this.#image.dtype === "uint8") return { width: 256, level: 128 };
    const [low, high] = rangeOf(this.#pixels);
    return { width: Math.max(2, high - low + 1), level: (low + high + 1) / 2 };
  }

  // ---- window, zoom, settings ---------------------------------------------------------------

  setWindow(width, level) {
    const target = this.window;
    if (!target) return;
    const grey = !this.calibrated;
    target.width = clamp(Math.round(width), 1, grey ? 65536 : 8000);
    target.level = clamp(Math.round(level), grey ? 0 : -2048, grey ? 65535 : 4000);
    this.#dirty = true;
    this.#schedule();
    this.#emit("window", target);
  }

  /** The n-th preset, counted from 0. Presets are in HU: an uncalibrated picture gets its full range. */
  preset(n) {
    if (!this.#image || !this.#presets[n]) return;
    if (!this.calibrated) {
      const full = this.#fullRange();
      this.setWindow(full.width, full.level);
      this.#emit("say", { text: "Uncalibrated: window presets need Hounsfield units. Full range shown." });
      return;
    }
    const { name, width, level } = this.#presets[n];
    this.setWindow(width, level);
    this.#emit("say", { text: `${name} window, width ${width}, level ${level}` });
  }

  /** Back to the whole slice, the first preset, neither inverted nor crisp. */
  reset() {
    this.#view = null;
    this.#invert = false;
    this.#smooth = true;
    this.#marks = true;
    if (this.#image) {
      const first = this.calibrated ? this.#presets[0] : this.#fullRange();
      this.setWindow(first.width, first.level);
    }
    this.#dirty = true;
    this.#schedule();
    this.#emit("settings", this.settings);
    this.#emit("view", { zoom: this.zoom });
    this.#emit("say", { text: "View reset" });
  }

  toggleInvert() { this.#invert = !this.#invert; this.#settle(this.#invert ? "Inverted" : "Not inverted"); }
  toggleSmooth() { this.#smooth = !this.#smooth; this.#settle(this.#smooth ? "Smooth" : "Crisp pixels"); }
  toggleMarks() { this.#marks = !this.#marks; this.#settle(this.#marks ? "Marks shown" : "Marks hidden"); }

  #settle(text) {
    this.#dirty = true;
    this.#schedule();
    this.#emit("settings", this.settings);
    this.#emit("say", { text });
  }

  /** Zoom by a factor, keeping the point under (px, py) in CSS pixels of the canvas; default the middle. */
  zoomBy(factor, px = this.#size.width / 2, py = this.#size.height / 2) {
    if (!this.#image) return;
    const fixed = this.toSlice(px, py);
    const view = this.#ownView();
    view.zoom = clamp(view.zoom * factor, this.#fit().zoom / 2, MAX_ZOOM);
    const moved = this.toSlice(px, py);
    view.cx += fixed.x - moved.x;
    view.cy += fixed.y - moved.y;
    this.#keepInSight(view);
    this.#schedule();
    this.#emit("view", { zoom: view.zoom });
  }

  panBy(dx, dy) {
    if (!this.#image) return;
    const view = this.#ownView();
    view.cx -= dx / view.zoom;
    view.cy -= dy / (view.zoom * aspectOf(this.#image));
    this.#keepInSight(view);
    this.#schedule();
  }

  /** Bring a box into sight without changing the zoom, if it is not in sight already. */
  reveal(box) {
    if (!this.#view || !this.#image) return;
    const a = this.toScreen(box[0], box[1]);
    const b = this.toScreen(box[0] + box[2], box[1] + box[3]);
    if (a.x >= 0 && a.y >= 0 && b.x <= this.#size.width && b.y <= this.#size.height) return;
    this.#view.cx = box[0] + box[2] / 2;
    this.#view.cy = box[1] + box[3] / 2;
    this.#schedule();
  }

  #keepInSight(view) {
    view.cx = clamp(view.cx, 0, this.#image.columns);
    view.cy = clamp(view.cy, 0, this.#image.rows);
  }

  #fit() {
    const image = this.#image;
    if (!image || !this.#size.width) return null;
    const zoom = Math.min(
      this.#size.width / image.columns, this.#size.height / (image.rows * aspectOf(image)),
    );
    return { zoom: Math.max(zoom, 0.01), cx: image.columns / 2, cy: image.rows / 2 };
  }

  #ownView() { this.#view ??= this.#fit(); return this.#view; }

  /** Canvas CSS pixels → slice pixels. */
  toSlice(px, py) {
    const view = this.#view ?? this.#fit();
    const aspect = aspectOf(this.#image);
    return {
      x: view.cx + (px - this.#size.width / 2) / view.zoom,
      y: view.cy + (py - this.#size.height / 2) / (view.zoom * aspect),
    };
  }

  /** Slice pixels → canvas CSS pixels. */
  toScreen(x, y) {
    const view = this.#view ?? this.#fit();
    const aspect = aspectOf(this.#image);
    return {
      x: (x - view.cx) * view.zoom + this.#size.width / 2,
      y: (y - view.cy) * view.zoom * aspect + this.#size.height / 2,
    };
  }

  // ---- lesions and marking ------------------------------------------------------------------

  /** lesions: [{id, image_id, number, box, square, covered, label}] of every slice. */
  setLesions(lesions) {
    this.#lesions = lesions;
    this.#schedule();
  }

  /** Boxes that were drawn and are not stored yet: [{image_id, box, words}]. */
  setPending(pending) {
    this.#pending = pending;
    this.#schedule();
  }

  /** Select a lesion by id, or none; editable: its box gets drag handles. */
  select(id, { editable = false } = {}) {
    this.#selected = id;
    this.#editable = editable;
    this.#schedule();
  }

  /** "window" (left drag sets the window), "box" or "circle". */
  setTool(tool) {
    this.#tool = tool;
    this.#draft = null;
    this.#drag = null;
    this.#showCursorShape();
    this.#schedule();
    this.#emit("tool", { tool });
    if (tool === "box") this.#emit("say", { text: "Box: drag around the lesion, or arrow keys to place a box, Shift and arrow keys to size it, Enter to mark it, Escape to leave." });
    if (tool === "circle") this.#emit("say", { text: "Circle: drag from the centre outwards, or arrow keys to place it, Shift and arrow keys to size it, Enter to mark it, Escape to leave." });
  }

  /** Keyboard marking: move the draft by (dx, dy) and grow it by (dw, dh), in slice pixels. */
  nudge(dx, dy, dw = 0, dh = 0) {
    if (this.#tool === "window" || !this.#image || this.#refuseStale()) return;
    const image = this.#image;
    if (this.#draft?.image !== image) {
      const view = this.#view ?? this.#fit();
      const side = Math.min(image.columns, image.rows, Math.max(8, Math.round(48 / Math.max(1, view.zoom / 2))));
      this.#draft = { image, box: [view.cx - side / 2, view.cy - side / 2, side, side].map(Math.round), kind: this.#tool };
      if (dx || dy) { dx = 0; dy = 0; }
    }
    let [x, y, w, h] = this.#draft.box;
    if (this.#tool === "circle") { const by = dw || dh; dw = by; dh = by / aspectOf(image); dx -= dw / 2; dy -= dh / 2; }
    w = clamp(w + dw, 2, image.columns);
    h = clamp(h + dh, 2, image.rows);
    x = clamp(x + dx, 0, image.columns - w);
    y = clamp(y + dy, 0, image.rows - h);
    this.#draft.box = [x, y, w, h];
    this.#schedule();
    this.#emit("say", { text: `Box at x ${Math.round(x)}, y ${Math.round(y)}, ${this.#sizeText(this.#draft.box)}` });
  }

  /** Mark the draft as it stands. */
  confirm() {
    if (!this.#draft || this.#refuseStale()) return false;
    if (this.#draft.image !== this.#image) {
      this.#emit("say", { text: `The box was placed on slice ${this.#draft.image.number}. Go back there to mark it, or press Escape to drop it.` });
      return true;
    }
    this.#finish(this.#draft);
    return true;
  }

  #refuseStale() {
    if (!this.stale) return false;
    this.#emit("say", { text: `Slice ${this.#wanted.number} is not here yet; nothing can be marked until it is.` });
    return true;
  }

  /** Drop the draft, or leave the tool when there is none. */
  cancel() {
    if (this.#draft || this.#drag) { this.#draft = null; this.#drag = null; this.#schedule(); return true; }
    if (this.#tool !== "window") { this.setTool("window"); return true; }
    return false;
  }

  #finish(draft) {
    const [, , w, h] = draft.box;
    if (w < 2 || h < 2) {
      this.#draft = null;
      this.#schedule();
      this.#emit("say", { text: "Too small to mark: draw the box around the whole lesion." });
      return;
    }
    this.#draft = null;
    this.#schedule();
    const box = draft.box.map((v) => Math.round(v * 100) / 100);
    if (draft.lesion) this.#emit("adjusted", { lesion: draft.lesion, box });
    else this.#emit("marked", { image: draft.image, box });
  }

  #sizeText(box) {
    const mm = diameterMm(box, this.#image);
    const px = `${Math.round(box[2])} by ${Math.round(box[3])} pixels`;
    return mm === null ? px : `${px}, ${mm.toFixed(1)} mm`;
  }

  #here() { return this.#lesions.filter((lesion) => lesion.image_id === this.#image?.id); }

  #handles(box) {
    const [x, y, w, h] = box;
    const spots = [];
    for (const [fx, fy] of [[0, 0], [0.5, 0], [1, 0], [1, 0.5], [1, 1], [0.5, 1], [0, 1], [0, 0.5]]) {
      spots.push({ fx, fy, ...this.toScreen(x + fx * w, y + fy * h) });
    }
    return spots;
  }

  #editing() {
    if (!this.#editable || !this.#marks || this.stale) return null;
    return this.#here().find((lesion) => lesion.id === this.#selected) ?? null;
  }

  #grab(px, py, reach) {
    const lesion = this.#editing();
    if (!lesion) return null;
    for (const spot of this.#handles(lesion.box)) {
      if (Math.abs(spot.x - px) <= reach && Math.abs(spot.y - py) <= reach) return { lesion, fx: spot.fx, fy: spot.fy };
    }
    return this.#onEdge(lesion.box, px, py, 4) ? { lesion, move: true } : null;
  }

  #onEdge(box, px, py, reach) {
    const a = this.toScreen(box[0], box[1]);
    const b = this.toScreen(box[0] + box[2], box[1] + box[3]);
    const inside = px >= a.x - reach && px <= b.x + reach && py >= a.y - reach && py <= b.y + reach;
    const deep = px > a.x + reach && px < b.x - reach && py > a.y + reach && py < b.y - reach;
    return inside && !deep;
  }

  #lesionAt(px, py) {
    if (!this.#marks || this.stale) return null;
    const p = this.toSlice(px, py);
    const hits = this.#here().filter(({ box: [x, y, w, h] }) => p.x >= x && p.x <= x + w && p.y >= y && p.y <= y + h);
    hits.sort((a, b) => a.box[2] * a.box[3] - b.box[2] * b.box[3]);
    return hits[0] ?? null;
  }

  // ---- pointer, wheel, keys that are held ---------------------------------------------------

  #listen() {
    const canvas = this.#canvas;
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    canvas.addEventListener("pointerup", (event) => this.#up(event));
    canvas.addEventListener("pointercancel", (event) => this.#up(event, true));
    canvas.addEventListener("pointerleave", () => { if (!this.#drag) { this.#cursor = null; this.#tellCursor(); } });
    canvas.addEventListener("wheel", (event) => this.#onWheel(event), { passive: false });
    canvas.addEventListener("auxclick", (event) => { if (event.button === 1) event.preventDefault(); });
    document.addEventListener("keydown", (event) => {
      if (event.key !== " " || event.target.closest("input, textarea, select, button, a, summary")) return;
      event.preventDefault();
      if (!this.#space) { this.#space = true; this.#showCursorShape(); }
    });
    document.addEventListener("keyup", (event) => { if (event.key === " ") { this.#space = false; this.#showCursorShape(); } });
    window.addEventListener("blur", () => { this.#space = false; this.#showCursorShape(); });
  }

  #at(event) {
    const frame = this.#canvas.getBoundingClientRect();
    return { px: event.clientX - frame.left, py: event.clientY - frame.top };
  }

  #down(event) {
    if (!this.#image || !this.#pixels || event.button > 1) return;
    const { px, py } = this.#at(event);
    this.#canvas.setPointerCapture(event.pointerId);
    this.#canvas.focus({ preventScroll: true });
    event.preventDefault();
    this.#pointers.set(event.pointerId, { px, py });
    if (this.#pointers.size === 2) {
      this.#draft = null;
      this.#drag = { kind: "pinch", ...this.#pinch() };
      this.#schedule();
      return;
    }
    const start = { px, py, ...this.toSlice(px, py) };
    const reach = event.pointerType === "touch" ? TOUCH_HANDLE_PX : HANDLE_PX;
    const grabbed = event.button === 0 && !this.#space ? this.#grab(px, py, reach) : null;
    if (event.button === 1 || this.#space) this.#drag = { kind: "pan", start, last: start };
    else if (grabbed) this.#drag = { kind: "adjust", start, grabbed, origin: [...grabbed.lesion.box] };
    else if (this.#tool !== "window") { if (!this.#refuseStale()) this.#drag = { kind: this.#tool, start }; }
    else this.#drag = { kind: "window", start, ...this.window, step: Math.max(1, this.window.width / 250) };
    this.#showCursorShape();
  }

  #pinch() {
    const [a, b] = [...this.#pointers.values()];
    return { distance: Math.max(10, Math.hypot(a.px - b.px, a.py - b.py)), px: (a.px + b.px) / 2, py: (a.py + b.py) / 2 };
  }

  #move(event) {
    if (!this.#image || !this.#pixels) return;
    const { px, py } = this.#at(event);
    const p = this.toSlice(px, py);
    this.#cursor = { px, py };
    if (this.#pointers.has(event.pointerId)) this.#pointers.set(event.pointerId, { px, py });
    const drag = this.#drag;
    if (!drag) { this.#showCursorShape(px, py); this.#tellCursor(); return; }
    const far = drag.start && Math.hypot(px - drag.start.px, py - drag.start.py) > CLICK_PX;
    drag.moved ||= far;
    if (drag.kind === "pinch") {
      const now = this.#pinch();
      this.panBy(now.px - drag.px, now.py - drag.py);
      this.zoomBy(now.distance / drag.distance, now.px, now.py);
      Object.assign(drag, now);
    } else if (drag.kind === "pan") {
      this.panBy(px - drag.last.px, py - drag.last.py);
      drag.last = { px, py };
    } else if (drag.kind === "window" && drag.moved) {
      this.setWindow(drag.width + (px - drag.start.px) * drag.step, drag.level + (py - drag.start.py) * drag.step);
    } else if (drag.kind === "box" && drag.moved) {
      this.#draft = { kind: "box", image: this.#image, box: boxBetween(drag.start, p, this.#image) };
    } else if (drag.kind === "circle" && drag.moved) {
      const radius = Math.hypot(p.x - drag.start.x, (p.y - drag.start.y) * aspectOf(this.#image));
      this.#draft = { kind: "circle", image: this.#image, box: squareAround(drag.start, radius, this.#image) };
    } else if (drag.kind === "adjust" && drag.moved) {
      this.#draft = { kind: "box", image: this.#image, lesion: drag.grabbed.lesion, box: this.#adjusted(drag, p) };
    }
    this.#schedule();
    this.#tellCursor();
  }

  #adjusted({ grabbed, origin: [x, y, w, h], start }, p) {
    const dx = p.x - start.x;
    const dy = p.y - start.y;
    if (grabbed.move) {
      return [clamp(x + dx, 0, this.#image.columns - w), clamp(y + dy, 0, this.#image.rows - h), w, h];
    }
    const left = x + (grabbed.fx === 0 ? dx : 0);
    const right = x + w + (grabbed.fx === 1 ? dx : 0);
    const top = y + (grabbed.fy === 0 ? dy : 0);
    const bottom = y + h + (grabbed.fy === 1 ? dy : 0);
    return boxBetween({ x: left, y: top }, { x: right, y: bottom }, this.#image);
  }

  #up(event, cancelled = false) {
    this.#pointers.delete(event.pointerId);
    const drag = this.#drag;
    if (!drag) return;
    this.#drag = null;
    this.#showCursorShape();
    if (cancelled || drag.kind === "pinch") { this.#draft = null; this.#schedule(); return; }
    if (["box", "circle", "adjust"].includes(drag.kind) && drag.moved && this.#draft) {
      this.#finish(this.#draft);
    } else if (!drag.moved && drag.kind !== "pan") {
      const hit = this.#lesionAt(drag.start.px, drag.start.py);
      if (hit) this.#emit("pick", { lesion: hit });
    }
    this.#schedule();
  }

  #onWheel(event) {
    if (!this.#image) return;
    event.preventDefault();
    const unit = event.deltaMode === 1 ? 33 : event.deltaMode === 2 ? 400 : 1;
    const dy = event.deltaY * unit;
    if (event.ctrlKey || event.metaKey) {
      const { px, py } = this.#at(event);
      this.zoomBy(Math.exp(-clamp(dy, -60, 60) * 0.005), px, py);
      return;
    }
    // A notch of a wheel is one slice; a trackpad sends many small steps that add up to one.
    if (Math.abs(dy) >= 50) { this.#wheel = 0; this.#emit("scroll", { by: Math.sign(dy) }); return; }
    this.#wheel += dy;
    const by = Math.trunc(this.#wheel / 30);
    if (by !== 0) { this.#wheel -= by * 30; this.#emit("scroll", { by }); }
  }

  #showCursorShape(px, py) {
    let shape = this.#tool === "window" ? "default" : "crosshair";
    if (this.#space || this.#drag?.kind === "pan") shape = this.#drag ? "grabbing" : "grab";
    else if (px !== undefined && this.#image) {
      const grabbed = this.#grab(px, py, HANDLE_PX);
      if (grabbed?.move) shape = "move";
      else if (grabbed) {
        const diagonal = grabbed.fx === grabbed.fy ? "nwse-resize" : "nesw-resize";
        shape = grabbed.fx === 0.5 ? "ns-resize" : grabbed.fy === 0.5 ? "ew-resize" : diagonal;
      }
    }
    this.#canvas.style.cursor = shape;
  }

  #tellCursor() {
    if (!this.#cursor || !this.#pixels || this.#fault) { this.#emit("cursor", { x: null, y: null, value: null }); return; }
    const p = this.toSlice(this.#cursor.px, this.#cursor.py);
    const x = Math.floor(p.x);
    const y = Math.floor(p.y);
    const inside = x >= 0 && y >= 0 && x < this.#image.columns && y < this.#image.rows;
    this.#emit("cursor", { x, y, value: inside ? this.#pixels[y * this.#image.columns + x] : null });
  }

  #emit(name, detail) { this.dispatchEvent(new CustomEvent(name, { detail })); }

  // ---- drawing ------------------------------------------------------------------------------

  #resize() {
    const ratio = window.devicePixelRatio || 1;
    const { width, height } = this.#canvas.getBoundingClientRect();
    if (!width || !height) return;
    this.#size = { width, height, ratio };
    this.#canvas.width = Math.round(width * ratio);
    this.#canvas.height = Math.round(height * ratio);
    // Setting the size clears the canvas: paint before the browser shows it black.
    cancelAnimationFrame(this.#frame);
    this.#draw();
    this.#emit("view", { zoom: this.zoom });
  }

  #schedule() {
    if (this.#frame) return;
    this.#frame = requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    this.#frame = 0;
    const c = this.#context;
    const { width, height, ratio } = this.#size;
    if ((window.devicePixelRatio || 1) !== ratio) { this.#resize(); return; }
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.fillStyle = this.#colors.stage;
    c.fillRect(0, 0, width, height);
    const image = this.#image;
    if (image && this.#pixels) {
      if (this.#dirty) {
        const { width: w, level } = this.window;
        this.#table.set(w, level, this.#invert);
        this.#table.map(this.#pixels, this.#out);
        this.#bitmap.getContext("2d").putImageData(this.#imageData, 0, 0);
        this.#dirty = false;
      }
      const a = this.toScreen(0, 0);
      const b = this.toScreen(image.columns, image.rows);
      c.imageSmoothingEnabled = this.#smooth;
      c.imageSmoothingQuality = "high";
      c.globalAlpha = this.#fault ? 0.3 : 1; // what is on the screen is not what was asked for
      c.drawImage(this.#bitmap, a.x, a.y, b.x - a.x, b.y - a.y);
      c.globalAlpha = 1;
      if (!this.#fault) {
        this.#drawMarks(c);
        this.#drawScaleBar(c);
      }
    }
    if (this.#slow && !this.#fault) this.#words(c, `Loading slice ${this.#wanted.number} …`);
    this.#report();
  }

  #words(c, text) {
    const { width, height } = this.#size;
    c.font = "15px system-ui, sans-serif";
    c.textAlign = "center";
    c.fillStyle = "rgb(0 0 0 / 0.75)";
    const wide = Math.min(width, c.measureText(text).width + 32);
    c.fillRect((width - wide) / 2, height / 2 - 18, wide, 36);
    c.fillStyle = this.#colors["stage-text"];
    c.fillText(text, width / 2, height / 2 + 5, width - 16);
    c.textAlign = "start";
  }

  #stroke(c, shape, color, width = 1.5, dash = []) {
    // A dark line beneath keeps a mark visible on white and on black.
    for (const [style, w] of [["rgb(0 0 0 / 0.7)", width + 2], [color, width]]) {
      c.beginPath();
      shape();
      c.setLineDash(dash);
      c.strokeStyle = style;
      c.lineWidth = w;
      c.stroke();
    }
    c.setLineDash([]);
  }

  #drawMarks(c) {
    const mark = this.#colors.mark;
    if (this.#marks) {
      for (const lesion of this.#here()) {
        if (this.#draft?.lesion?.id === lesion.id) continue;
        const chosen = lesion.id === this.#selected;
        const rect = this.#rect(lesion.box);
        if (chosen) this.#stroke(c, () => c.rect(...this.#rect(lesion.square)), this.#colors["mark-soft"], 1, [5, 4]);
        this.#stroke(c, () => c.rect(...rect), mark, chosen ? 2 : 1);
        this.#label(c, String(lesion.number), rect[0], rect[1] - 5, mark, chosen);
      }
      const editing = this.#draft?.image === this.#image ? null : this.#editing();
      if (editing) for (const spot of this.#handles(editing.box)) this.#handle(c, spot);
    }
    for (const { image_id, box, words } of this.#pending) {
      if (image_id !== this.#image.id) continue;
      const rect = this.#rect(box);
      this.#stroke(c, () => c.rect(...rect), mark, 2, [3, 3]);
      this.#label(c, words, rect[0], rect[1] + rect[3] + 16, mark, true);
    }
    if (this.#draft?.image === this.#image) {
      const { box, kind } = this.#draft;
      const [x, y, w, h] = this.#rect(box);
      if (kind === "circle") this.#stroke(c, () => c.ellipse(x + w / 2, y + h / 2, w / 2, h / 2, 0, 0, 7), mark, 1.5);
      this.#stroke(c, () => c.rect(x, y, w, h), mark, kind === "circle" ? 1 : 2);
      const mm = diameterMm(box, this.#image);
      const text = mm === null ? `${Math.max(box[2], box[3]).toFixed(0)} px, uncalibrated` : `${mm.toFixed(1)} mm`;
      this.#label(c, text, x, y + h + 16, mark, true);
    }
  }

  #rect([x, y, w, h]) {
    const a = this.toScreen(x, y);
    const b = this.toScreen(x + w, y + h);
    return [a.x, a.y, b.x - a.x, b.y - a.y];
  }

  #handle(c, { x, y }) {
    c.fillStyle = this.#colors.mark;
    c.strokeStyle = "#000";
    c.lineWidth = 1;
    c.fillRect(x - 3.5, y - 3.5, 7, 7);
    c.strokeRect(x - 3.5, y - 3.5, 7, 7);
  }

  #label(c, text, x, y, color, strong) {
    c.font = `${strong ? "600 " : ""}13px system-ui, sans-serif`;
    c.lineWidth = 3;
    c.lineJoin = "round";
    c.strokeStyle = "rgb(0 0 0 / 0.8)";
    c.strokeText(text, x, y);
    c.fillStyle = color;
    c.fillText(text, x, y);
  }

  #drawScaleBar(c) {
    const { width, height } = this.#size;
    const y = height - 14;
    const spacing = this.#image.spacing_mm;
    const color = this.#colors["stage-text"];
    if (!spacing) {
      c.textAlign = "center";
      this.#label(c, this.#image.calibrated ? "no pixel spacing" : "uncalibrated", width / 2, y, color, false);
      c.textAlign = "start";
      return;
    }
    const perMm = this.zoom / spacing[1];
    const mm = SCALE_BAR_MM.filter((step) => step * perMm <= width * 0.22).at(-1) ?? SCALE_BAR_MM[0];
    const long = mm * perMm;
    const x = (width - long) / 2;
    this.#stroke(c, () => {
      c.moveTo(x, y - 5); c.lineTo(x, y); c.lineTo(x + long, y); c.lineTo(x + long, y - 5);
    }, color, 1.5);
    c.textAlign = "center";
    this.#label(c, `${mm} mm`, width / 2, y - 6, color, false);
    c.textAlign = "start";
  }

  #report() {
    if (!this.#openings.length || !this.#pixels) return;
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
}
