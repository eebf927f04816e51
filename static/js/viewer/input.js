// Pointer, wheel and the Space key over the canvas. It tells its delegate what is meant and knows
// nothing of slices or boxes.

import { clamp } from "./geometry.js";
import { Wheel } from "./wheel.js";

const HANDLE_PX = 7;
const TOUCH_HANDLE_PX = 14;
const CLICK_PX = 3;
const FAST = 10; // slices at a time with Shift
const STACK_PX = 6; // so far is one slice when dragging through them

/** What the pointers that are down are doing. */
export const Gesture = Object.freeze({
  none: "none", window: "window", box: "box", circle: "circle", adjust: "adjust", pan: "pan", pinch: "pinch",
  zoom: "zoom", stack: "stack", measure: "measure",
});

/** What is drawn on a slice, and means nothing on the next one. */
const ON_SLICE = [Gesture.box, Gesture.circle, Gesture.adjust, Gesture.measure];

export const Button = Object.freeze({ left: 0, middle: 1, right: 2 });

/**
 * The delegate:
 *   isReady                        whether there is a slice to point at
 *   gestureFrom({px, py}, reach, button) → {kind, …} that begins there with the left or right button, or null
 *   shapeAt({px, py} | null)       → the CSS cursor while nothing is dragged; null: the place is not known
 *   dragged(gesture, {px, py})     it went on; only once it is more than a click
 *   dropped(gesture)               it ended; gesture.moved tells a drag from a click
 *   abandoned()                    it ended without a result
 *   pannedBy(dx, dy), zoomedBy(factor, px, py), scrolledBy(slices)
 *   doubled({px, py})              a double click or tap
 *   pointedAt({px, py} | null)     the pointer moved, or left
 */
export class Input {
  #pointers = new Map();
  #gesture = null; // {kind, start, last, moved, …}
  #isSpaceDown = false;
  #wheel = new Wheel();
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
    on(this.canvas, "contextmenu", (event) => event.preventDefault()); // the right button drags
    on(this.canvas, "dblclick", (event) => { if (this.delegate.isReady) this.delegate.doubled(this.#at(event)); });
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
    this.#wheel = new Wheel();
  }

  get gesture() { return this.#gesture?.kind ?? Gesture.none; }

  /** What was being dragged is no longer; the pointer may still be down. */
  drop() { this.#gesture = null; }

  /** Another slice came: what was drawn on the one before is dropped, and is answered with true; else the drag goes on, and is no click any more. */
  leaveSlice() {
    if (this.#gesture && !ON_SLICE.includes(this.#gesture.kind)) this.#gesture.moved = true;
    else if (this.#gesture) {
      this.drop();
      return true;
    }
    return false;
  }

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
    if (!this.delegate.isReady || event.button > Button.right) return;
    if (this.#gesture && this.#pointers.has(event.pointerId)) return; // a second button of the same mouse
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
    if (event.button === Button.middle || this.#isSpaceDown) this.#gesture = { kind: Gesture.pan, start: at, last: at };
    else {
      const reach = event.pointerType === "touch" ? TOUCH_HANDLE_PX : HANDLE_PX;
      const begun = this.delegate.gestureFrom(at, reach, event.button);
      this.#gesture = begun && { ...begun, start: at, last: at };
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
    } else if (gesture.kind === Gesture.zoom) {
      this.delegate.zoomedBy(Math.exp((gesture.last.py - at.py) * 0.01), gesture.start.px, gesture.start.py);
      gesture.last = at;
    } else if (gesture.kind === Gesture.stack) this.#stack(gesture, at);
    else if (gesture.moved) this.delegate.dragged(gesture, at);
  }

  #stack(gesture, at) {
    const by = Math.trunc((at.py - gesture.last.py) / STACK_PX);
    if (by === 0) return;
    gesture.last = { px: at.px, py: gesture.last.py + by * STACK_PX };
    this.delegate.scrolledBy(by);
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
    // with Shift, browsers turn the wheel sideways
    const dy = (event.shiftKey && !event.deltaY ? event.deltaX : event.deltaY) * unit;
    const stride = event.shiftKey ? FAST : 1;
    if (event.ctrlKey || event.metaKey) {
      const { px, py } = this.#at(event);
      this.delegate.zoomedBy(Math.exp(-clamp(dy, -60, 60) * 0.005), px, py);
      return;
    }
    const by = this.#wheel.turn(dy, event.timeStamp);
    if (by !== 0) this.delegate.scrolledBy(by * stride);
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
