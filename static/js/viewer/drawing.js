// The canvas: the slice through its grey table, the marks over it, the scale bar. It draws what its
// delegate's `scene` says, once a frame, and decides nothing.

import { GreyTable } from "../pixels.js";
import { diameterMm, rectOf, scaleBarMm, toScreen } from "./geometry.js";
import { Kind, pathOf } from "./measuring.js";

const RESTED_MS = 120; // a frame so long after the one before is drawn in full quality
const TEXT_PX = 13; // at the usual size of text
const USUAL_PX = 16;
const COLORS = ["mark", "mark-soft", "stage", "stage-text"];

/**
 * The delegate:
 *   scene     what is to be drawn: {image, pixels, lie, window, invert, smooth, isDim, words, marks,
 *             handles, pending, draft, measures}; image null: nothing yet. marks: [{box, shape, square,
 *             number, isChosen}], handles: [{x, y}], pending: [{box, shape, words}], draft: {box, kind} or null,
 *             measures: [{kind, points, says, isChosen, kept}], kept: {by, number} where it is kept with a lesion
 *   resized() the canvas has another size
 *   drawn()   a frame is done
 */
export class Drawing {
  size = { width: 0, height: 0, ratio: 1 };
  #context = null;
  #bitmap = null; #imageData = null; #out = null; #table = null;
  #hasNewGreys = true;
  #frame = 0;
  #drawnAt = -Infinity;
  #rest = 0; // the timer of the frame in full quality
  #observer = null;
  #larger = 1; // text of the page over its usual size
  #colors = {};

  constructor({ canvas, delegate }) {
    this.canvas = canvas;
    this.delegate = delegate;
  }

  start() {
    if (this.#observer) return;
    this.#context = this.canvas.getContext("2d", { alpha: false });
    this.#bitmap = document.createElement("canvas");
    const style = getComputedStyle(document.documentElement);
    for (const name of COLORS) this.#colors[name] = style.getPropertyValue(`--${name}`).trim() || "#fff";
    this.#observer = new ResizeObserver(() => this.#resize());
    this.#observer.observe(this.canvas);
    this.#resize();
  }

  stop() {
    this.#observer?.disconnect();
    this.#observer = null;
    cancelAnimationFrame(this.#frame);
    clearTimeout(this.#rest);
    this.#frame = 0;
    this.#drawnAt = -Infinity;
    this.#bitmap = this.#imageData = this.#out = this.#table = null;
    this.#hasNewGreys = true;
  }

  /** Draw in the next frame; newGreys: another slice, window or inversion. */
  schedule({ newGreys = false } = {}) {
    this.#hasNewGreys ||= newGreys;
    if (this.#frame || !this.#observer) return;
    this.#frame = requestAnimationFrame(() => this.#draw());
  }

  #resize() {
    const ratio = window.devicePixelRatio || 1;
    const { width, height } = this.canvas.getBoundingClientRect();
    if (!width || !height) return;
    this.size = { width, height, ratio };
    this.#larger = parseFloat(getComputedStyle(document.documentElement).fontSize) / USUAL_PX || 1;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    // Setting the size clears the canvas: paint before the browser shows it black.
    cancelAnimationFrame(this.#frame);
    this.#draw();
    this.delegate.resized();
  }

  #draw() {
    this.#frame = 0;
    const c = this.#context;
    const { width, height, ratio } = this.size;
    if ((window.devicePixelRatio || 1) !== ratio) { this.#resize(); return; }
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.fillStyle = this.#colors.stage;
    c.fillRect(0, 0, width, height);
    const scene = this.delegate.scene;
    if (scene.image) {
      if (this.#hasNewGreys) this.#developGreys(scene);
      const { x, y } = toScreen(scene.lie, 0, 0);
      const b = toScreen(scene.lie, scene.image.columns, scene.image.rows);
      c.imageSmoothingEnabled = scene.smooth;
      c.imageSmoothingQuality = scene.smooth && this.#isHurried() ? "low" : "high";
      c.globalAlpha = scene.isDim ? 0.3 : 1;
      c.drawImage(this.#bitmap, x, y, b.x - x, b.y - y);
      c.globalAlpha = 1;
      if (!scene.isDim) {
        this.#drawMarks(c, scene);
        for (const measure of scene.measures) this.#drawMeasure(c, measure, scene);
        this.#drawScaleBar(c, scene);
      }
    }
    if (scene.words) this.#words(c, scene.words);
    this.delegate.drawn();
  }

  /**
   * Whether frames follow each other fast, or a page waits for its first one, so that one in full quality,
   * which takes longer, comes after them.
   */
  #isHurried() {
    const now = performance.now();
    const isFast = this.#drawnAt === -Infinity || now - this.#drawnAt < RESTED_MS;
    this.#drawnAt = now;
    clearTimeout(this.#rest);
    if (isFast) this.#rest = setTimeout(() => this.schedule(), RESTED_MS);
    return isFast;
  }

  #developGreys({ image, pixels, window: { width, level, curve, steps }, invert }) {
    if (this.#table?.dtype !== image.dtype) {
      this.#table = new GreyTable(image.dtype);
      this.#table.dtype = image.dtype;
    }
    if (this.#imageData?.width !== image.columns || this.#imageData.height !== image.rows) {
      this.#bitmap.width = image.columns;
      this.#bitmap.height = image.rows;
      this.#imageData = new ImageData(image.columns, image.rows);
      this.#out = new Uint32Array(this.#imageData.data.buffer);
    }
    this.#table.set(width, level, invert, curve, steps);
    this.#table.map(pixels, this.#out);
    this.#bitmap.getContext("2d").putImageData(this.#imageData, 0, 0);
    this.#hasNewGreys = false;
  }

  #words(c, text) {
    const { width, height } = this.size;
    const step = 18 * this.#larger;
    c.font = `${15 * this.#larger}px system-ui, sans-serif`;
    c.textAlign = "center";
    c.fillStyle = "rgb(0 0 0 / 0.75)";
    const wide = Math.min(width, c.measureText(text).width + 32);
    c.fillRect((width - wide) / 2, height / 2 - step, wide, 2 * step);
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

  #drawMarks(c, { image, lie, marks, handles, pending, draft }) {
    const { mark, "mark-soft": soft } = this.#colors;
    for (const { box, shape, square, number, isChosen } of marks) {
      const rect = rectOf(lie, box);
      if (isChosen) this.#stroke(c, () => c.rect(...rectOf(lie, square)), soft, 1, [5, 4]);
      this.#stroke(c, () => outline(c, shape, rect), mark, isChosen ? 2 : 1);
      this.#label(c, String(number), rect[0], rect[1] - 5, mark, isChosen);
    }
    for (const spot of handles) this.#handle(c, spot);
    for (const { box, shape, words } of pending) {
      const rect = rectOf(lie, box);
      this.#stroke(c, () => outline(c, shape, rect), mark, 2, [3, 3]);
      this.#label(c, words, rect[0], rect[1] + rect[3] + USUAL_PX * this.#larger, mark, true);
    }
    if (draft) this.#drawDraft(c, draft, lie, image);
  }

  #drawDraft(c, { box, kind }, lie, image) {
    const { mark } = this.#colors;
    const rect = rectOf(lie, box);
    this.#stroke(c, () => outline(c, kind, rect), mark, 2);
    const mm = diameterMm(box, image);
    const text = mm === null ? `${Math.max(box[2], box[3]).toFixed(0)} px, uncalibrated` : `${mm.toFixed(1)} mm`;
    this.#label(c, text, rect[0], rect[1] + rect[3] + USUAL_PX * this.#larger, mark, true);
  }

  #drawMeasure(c, measure, { lie, image }) {
    const path = pathOf(lie, measure, image);
    const { kind, isChosen, kept } = measure;
    const says = kept ? [...measure.says, `lesion ${kept.number}, ${kept.by}`] : measure.says;
    const color = this.#colors["mark-soft"];
    const isOpen = kind === Kind.length;
    this.#stroke(c, () => {
      path.forEach(({ x, y }, n) => (n ? c.lineTo(x, y) : c.moveTo(x, y)));
      if (!isOpen) c.closePath();
    }, color, isChosen ? 2 : 1.2);
    if (isOpen) for (const { x, y } of path) this.#stroke(c, () => c.arc(x, y, 3, 0, 7), color, 1.2);
    const right = path.reduce((a, b) => (b.x > a.x ? b : a));
    const step = USUAL_PX * this.#larger;
    const x = Math.min(right.x + 8, Math.max(4, lie.width - 150 * this.#larger)); // stays on the canvas
    const y = Math.min(Math.max(right.y, step), lie.height - step * says.length);
    says.forEach((line, n) => this.#label(c, line, x, y + step * n, color, n === 0));
  }

  #handle(c, { x, y }) {
    c.fillStyle = this.#colors.mark;
    c.strokeStyle = "#000";
    c.lineWidth = 1;
    c.fillRect(x - 3.5, y - 3.5, 7, 7);
    c.strokeRect(x - 3.5, y - 3.5, 7, 7);
  }

  #label(c, text, x, y, color, isStrong) {
    c.font = `${isStrong ? "600 " : ""}${TEXT_PX * this.#larger}px system-ui, sans-serif`;
    c.lineWidth = 3;
    c.lineJoin = "round";
    c.strokeStyle = "rgb(0 0 0 / 0.8)";
    c.strokeText(text, x, y);
    c.fillStyle = color;
    c.fillText(text, x, y);
  }

  #drawScaleBar(c, { image, lie }) {
    const { width, height } = this.size;
    const y = height - 14;
    const color = this.#colors["stage-text"];
    if (!image.spacing_mm) {
      c.textAlign = "center";
      this.#label(c, image.calibrated ? "no pixel spacing" : "uncalibrated", width / 2, y, color, false);
      c.textAlign = "start";
      return;
    }
    const perMm = lie.zoom / image.spacing_mm[1];
    const mm = scaleBarMm(perMm, width);
    const long = mm * perMm;
    const x = (width - long) / 2;
    this.#stroke(c, () => {
      c.moveTo(x, y - 5); c.lineTo(x, y); c.lineTo(x + long, y); c.lineTo(x + long, y - 5);
    }, color, 1.5);
    c.textAlign = "center";
    this.#label(c, `${mm} mm`, width / 2, y - 6, color, false);
    c.textAlign = "start";
  }
}

/** The line of a mark of that shape in its rectangle. */
function outline(c, shape, [x, y, w, h]) {
  if (shape === "circle") c.ellipse(x + w / 2, y + h / 2, w / 2, h / 2, 0, 0, 2 * Math.PI);
  else c.rect(x, y, w, h);
}
