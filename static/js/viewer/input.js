// Pointer, wheel and the Space key over the canvas. It tells its delegate what is meant and knows
// nothing of slices or boxes.

import { clamp } from "./geometry.js";

const HANDLE_PX = 7;
const TOUCH_HANDLE_PX = 14;
const CLICK_PX = 3;
const NOTCH = 50; // a wheel's notch is at least so much, a trackpad's step less
const STEP = 30;

/** What the pointers that are down are doing. */
export const Gesture = Object.freeze({
  none: "none", window: "window", box: "box", circle: "circle", adjust: "adjust", pan: "pan", pinch: "pinch",
});

/**
 * The delegate:
 *   isReady                        whether there is a slice to point at
 *   gestureFrom({px, py}, reach)   → {kind, …} that begins there with the main button, or null
 *   shapeAt({px, py} | null)       → the CSS cursor while nothing is dragged; null: the place is not known
 *   dragged(gesture, {px, py})     it went on; only once it is more than a click
 *   dropped(gesture)               it ended; gesture.moved tells a drag from a click
 *   abandoned()                    it ended without a result
 *   pannedBy(dx, dy), zoomedBy(factor, px, py), scrolledBy(slices)
 *   pointedAt({px, py} | null)     the pointer moved, or left
 */
export class Input {
  #pointers = new Map();
  #gesture = null; // {kind, start, last, moved, …}
  #isSpaceDown = false;
  #wheel = 0;
  #stopping = null;

  constructor({ canvas, delegate }) {
    this.canvas = canvas;
    this.delegate = delegate;
  }

  start() {
    if (this.#stopping) return;
    this.#stopping = new AbortController();
    const { signal } = this.#stopping;
    const on = (target, kind, run, options = {}) => target.addEventListener(kind, run, { ...options, signal });
    on(this.canvas, "pointerdown", (event) => this.#down(event));
    on(this.canvas, "pointermove", (event) => this.#move(event));
    on(this.canvas, "pointerup", (event) => this.#up(event));
    on(this.canvas, "pointercancel", (event) => this.#up(event, true));
    on(this.canvas, "pointerleave", () => { if (!this.#gesture) this.delegate.pointedAt(null); });
    on(this.canvas, "wheel", (event) => this.#turn(event), { passive: false });
    on(this.canvas, "auxclick", (event) => { if (event.button === 1) event.preventDefault(); });
    on(document, "keydown", (event) => this.#keyDown(event));
    on(document, "keyup", (event) => { if (event.key === " ") this.#letSpaceGo(); });
    on(window, "blur", () => this.#letSpaceGo());
  }

  stop() {
    this.#stopping?.abort();
    this.#stopping = null;
    this.#pointers.clear();
    this.#gesture = null;
    this.#isSpaceDown = false;
    this.#wheel = 0;
  }

  get gesture() { return this.#gesture?.kind ?? Gesture.none; }

  /** What was being dragged is no longer; the pointer may still be down. */
  drop() { this.#gesture = null; }

  /** The cursor as the delegate has it now. */
  showShape(at = null) {
    if (this.#isSpaceDown || this.gesture === Gesture.pan) {
      this.canvas.style.cursor = this.#gesture ? "grabbing" : "grab";
    } else this.canvas.style.cursor = this.delegate.shapeAt(at);
  }

  #at(event) {
    const frame = this.canvas.getBoundingClientRect();
    return { px: event.clientX - frame.left, py: event.clientY - frame.top };
  }

  #down(event) {
    if (!this.delegate.isReady || event.button > 1) return;
    const at = this.#at(event);
    this.canvas.setPointerCapture(event.pointerId);
    this.canvas.focus({ preventScroll: true });
    event.preventDefault();
    this.#pointers.set(event.pointerId, at);
    if (this.#pointers.size === 2) {
      this.#gesture = { kind: Gesture.pinch, ...this.#pinch() };
      this.delegate.abandoned();
      return;
    }
    if (event.button === 1 || this.#isSpaceDown) this.#gesture = { kind: Gesture.pan, start: at, last: at };
    else {
      const reach = event.pointerType === "touch" ? TOUCH_HANDLE_PX : HANDLE_PX;
      const begun = this.delegate.gestureFrom(at, reach);
      this.#gesture = begun && { ...begun, start: at };
    }
    this.showShape();
  }

  #move(event) {
    if (!this.delegate.isReady) return;
    const at = this.#at(event);
    if (this.#pointers.has(event.pointerId)) this.#pointers.set(event.pointerId, at);
    if (this.#gesture) this.#drag(this.#gesture, at);
    else this.showShape(at);
    this.delegate.pointedAt(at);
  }

  #drag(gesture, at) {
    if (gesture.kind === Gesture.pinch) {
      const now = this.#pinch();
      this.delegate.pannedBy(now.px - gesture.px, now.py - gesture.py);
      this.delegate.zoomedBy(now.distance / gesture.distance, now.px, now.py);
      Object.assign(gesture, now);
      return;
    }
    gesture.moved ||= Math.hypot(at.px - gesture.start.px, at.py - gesture.start.py) > CLICK_PX;
    if (gesture.kind === Gesture.pan) {
      this.delegate.pannedBy(at.px - gesture.last.px, at.py - gesture.last.py);
      gesture.last = at;
    } else if (gesture.moved) this.delegate.dragged(gesture, at);
  }

  #pinch() {
    const [a, b] = [...this.#pointers.values()];
    return { distance: Math.max(10, Math.hypot(a.px - b.px, a.py - b.py)), px: (a.px + b.px) / 2, py: (a.py + b.py) / 2 };
  }

  #up(event, isCancelled = false) {
    this.#pointers.delete(event.pointerId);
    const gesture = this.#gesture;
    if (!gesture) return;
    this.#gesture = null;
    this.showShape();
    if (isCancelled || gesture.kind === Gesture.pinch) this.delegate.abandoned();
    else this.delegate.dropped(gesture);
  }

  #turn(event) {
    if (!this.delegate.isReady) return;
    event.preventDefault();
    const unit = event.deltaMode === 1 ? 33 : event.deltaMode === 2 ? 400 : 1;
    const dy = event.deltaY * unit;
    if (event.ctrlKey || event.metaKey) {
      const { px, py } = this.#at(event);
      this.delegate.zoomedBy(Math.exp(-clamp(dy, -60, 60) * 0.005), px, py);
      return;
    }
    // A notch of a wheel is one slice; a trackpad sends many small steps that add up to one.
    if (Math.abs(dy) >= NOTCH) { this.#wheel = 0; this.delegate.scrolledBy(Math.sign(dy)); return; }
    this.#wheel += dy;
    const by = Math.trunc(this.#wheel / STEP);
    if (by !== 0) { this.#wheel -= by * STEP; this.delegate.scrolledBy(by); }
  }

  #keyDown(event) {
    if (event.key !== " " || event.target.closest("input, textarea, select, button, a, summary")) return;
    event.preventDefault();
    if (this.#isSpaceDown) return;
    this.#isSpaceDown = true;
    this.showShape();
  }

  #letSpaceGo() {
    this.#isSpaceDown = false;
    this.showShape();
  }
}
