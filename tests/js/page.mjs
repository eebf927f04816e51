// Stand-ins for what a page gives its scripts: just enough of it, and it counts who listens.

import { setMaxListeners } from "node:events";

setMaxListeners(0); // many parts end by one signal

/** An EventTarget that knows how many listeners it has. */
export class Target extends EventTarget {
  #listening = new Set();

  get listeners() { return this.#listening.size; }

  addEventListener(kind, run, options = {}) {
    const forget = () => this.#listening.delete(run);
    super.addEventListener(kind, run, options);
    this.#listening.add(run);
    options.signal?.addEventListener("abort", forget);
  }

  removeEventListener(kind, run, options) {
    super.removeEventListener(kind, run, options);
    this.#listening.delete(run);
  }

  /** Dispatch an event with these properties; returns it. */
  fire(kind, properties = {}) {
    const event = new Event(kind, { cancelable: true });
    for (const [name, value] of Object.entries(properties)) Object.defineProperty(event, name, { value });
    this.dispatchEvent(event);
    return event;
  }
}

/** localStorage as the browser has it; full or blocked where a test says so. */
export class Storage {
  items = new Map();
  isFull = false;

  get length() { return this.items.size; }
  key(at) { return [...this.items.keys()].sort()[at] ?? null; } // in no order that one may rely on
  getItem(name) { return this.items.get(name) ?? null; }
  removeItem(name) { this.items.delete(name); }
  setItem(name, text) {
    if (this.isFull) throw new Error("QuotaExceededError");
    this.items.set(name, String(text));
  }
}

/** setTimeout that waits for `pass`. */
export class Timers {
  now = 0;
  #waiting = new Map();
  #last = 0;

  set = (run, ms = 0) => { this.#waiting.set(this.#last += 1, { run, at: this.now + ms }); return this.#last; };
  clear = (id) => this.#waiting.delete(id);
  get size() { return this.#waiting.size; }

  async pass(ms) {
    const end = this.now + ms;
    for (;;) {
      const [id, next] = [...this.#waiting].filter(([, one]) => one.at <= end).sort((a, b) => a[1].at - b[1].at)[0] ?? [];
      if (!next) break;
      this.now = next.at;
      this.#waiting.delete(id);
      next.run();
      await settled();
    }
    this.now = end;
    await settled();
  }
}

/** When all that waits for nothing but promises is done. */
export async function settled() {
  for (let turn = 0; turn < 3; turn += 1) await new Promise((resolve) => { setImmediate(resolve); });
}

/** An element that takes whatever is set on it. */
export class Element extends Target {
  dataset = {}; style = {}; attributes = {}; textContent = ""; hidden = false;
  checked = false; value = "";
  classes = new Set();
  found = new Map();
  classList = { toggle: (name, on) => { if (on) this.classes.add(name); else this.classes.delete(name); } };

  constructor(properties = {}) { super(); Object.assign(this, properties); }

  /** The same stand-in each time for the same selector. */
  querySelector(selector) {
    if (!this.found.has(selector)) this.found.set(selector, new Element({ firstChild: {} }));
    return this.found.get(selector);
  }

  querySelectorAll() { return []; }
  setAttribute(name, value) { this.attributes[name] = String(value); }
  getAttribute(name) { return this.attributes[name] ?? null; }
  append(...parts) { this.textContent += parts.join(""); }
  replaceChildren(...parts) { this.textContent = parts.map((part) => part.textContent ?? part).join(""); }
  getBoundingClientRect() { return { left: 0, top: 0, width: 800, height: 600 }; }
  closest() { return null; }
  focus() { this.isFocused = true; }
  blur() {}
  setPointerCapture() {}
  getContext() { return PEN; }
}

const PEN = new Proxy({}, {
  get: (kept, name) => kept[name] ?? (name === "measureText" ? () => ({ width: 10 }) : () => {}),
  set: () => true,
});

/** Put the stand-ins where the scripts look for them; returns {window, document, timers, observers, frames}. */
export function standIn(context) {
  const page = { window: new Target(), document: new Target(), timers: new Timers(), observers: new Set(), frames: new Map() };
  Object.assign(page.window, { devicePixelRatio: 1, screen: { width: 1280, height: 800 } });
  Object.assign(page.document, {
    hidden: false, documentElement: {}, querySelector: () => null, createElement: () => new Element(),
  });
  let frame = 0;
  const globals = {
    window: page.window,
    document: page.document,
    setTimeout: page.timers.set,
    clearTimeout: page.timers.clear,
    getComputedStyle: () => ({ getPropertyValue: () => "" }),
    requestAnimationFrame: (run) => { page.frames.set(frame += 1, run); return frame; },
    cancelAnimationFrame: (id) => page.frames.delete(id),
    ResizeObserver: class {
      observe() { page.observers.add(this); }
      disconnect() { page.observers.delete(this); }
    },
    ImageData: class { constructor(width, height) { Object.assign(this, { width, height, data: new Uint8ClampedArray(4 * width * height) }); } },
    Image: class extends Element { async decode() {} replaceWith() {} },
    BroadcastChannel: Channel,
  };
  const before = Object.keys(globals).map((name) => [name, Object.getOwnPropertyDescriptor(globalThis, name)]);
  for (const [name, value] of Object.entries(globals)) {
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  }
  context.after(() => {
    for (const [name, old] of before) {
      if (old) Object.defineProperty(globalThis, name, old);
      else delete globalThis[name];
    }
    Channel.open.clear();
  });
  return page;
}

/** BroadcastChannel that delivers at once. */
export class Channel {
  static open = new Set();

  constructor(name) { this.name = name; Channel.open.add(this); }
  close() { Channel.open.delete(this); }
  postMessage(data) {
    for (const other of [...Channel.open]) {
      if (other !== this && other.name === this.name) other.onmessage?.({ data });
    }
  }
}
