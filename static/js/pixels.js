// Slices as typed arrays: fetched once, kept while there is room, the neighbours ahead of time.

import { rooted } from "./root.js";

const ARRAYS = { int16: Int16Array, uint16: Uint16Array, uint8: Uint8Array };
const SILENCE_MS = 20_000; // a slice of which nothing arrives for so long has failed

/** Why a slice is not here, in words for people; status 0: no answer, or an incomplete one. */
export class NoPixels extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

export class PixelStore {
  #kept = new Map();      // id → array, oldest use first
  #pending = new Map();   // id → promise
  #queue = [];
  #running = 0;
  #urgent = 0;
  #bytes = 0;

  /** budgetBytes: decoded pixels kept at most; parallel: prefetches at a time. */
  constructor({ budgetBytes = 256 * 2 ** 20, parallel = 3 } = {}) {
    this.budgetBytes = budgetBytes;
    this.parallel = parallel;
  }

  /** The pixels if they are here, at once. */
  peek(image) {
    const array = this.#kept.get(image.id);
    if (array) { this.#kept.delete(image.id); this.#kept.set(image.id, array); }
    return array ?? null;
  }

  /** The pixels, row by row. Rejects with NoPixels. */
  get(image) {
    const here = this.peek(image);
    if (here) return Promise.resolve(here);
    // No prefetch starts while somebody waits for a slice.
    this.#urgent += 1;
    return this.#arrival(image, "high").finally(() => { this.#urgent -= 1; this.#pump(); });
  }

  #arrival(image, priority) {
    let promise = this.#pending.get(image.id);
    if (!promise) {
      promise = this.#fetch(image, priority).finally(() => this.#pending.delete(image.id));
      this.#pending.set(image.id, promise);
    }
    return promise;
  }

  /** Fetch these next, nearest first; replaces what was queued before. */
  prefetch(images) {
    this.#queue = images.filter((image) => !this.#kept.has(image.id) && !this.#pending.has(image.id));
    this.#pump();
  }

  #pump() {
    while (this.#urgent === 0 && this.#running < this.parallel && this.#queue.length > 0) {
      const image = this.#queue.shift();
      this.#running += 1;
      this.#arrival(image, "low").catch(() => {}).finally(() => { this.#running -= 1; this.#pump(); });
    }
  }

  async #fetch(image, priority) {
    const array = new ARRAYS[image.dtype](image.rows * image.columns);
    await this.#receive(image, priority, new Uint8Array(array.buffer));
    this.#kept.set(image.id, array);
    this.#bytes += array.byteLength;
    for (const [id, old] of this.#kept) {
      if (this.#bytes <= this.budgetBytes || id === image.id) break;
      this.#kept.delete(id);
      this.#bytes -= old.byteLength;
    }
    return array;
  }

  async #receive(image, priority, bytes) {
    const path = rooted(`/images/${image.id}/pixels`);
    const { control, answer } = taken(path) ?? asked(path, priority);
    let timer = 0;
    const heard = () => { clearTimeout(timer); timer = setTimeout(() => control.abort(), SILENCE_MS); };
    heard();
    let at = 0;
    try {
      const response = await answer;
      if (!response.ok) throw new NoPixels(response.status, await wordsOf(response));
      const reader = response.body.getReader();
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        heard();
        if (at + part.value.length > bytes.length) throw new NoPixels(0, "something else arrived in its place.");
        bytes.set(part.value, at);
        at += part.value.length;
      }
      if (at !== bytes.length) throw new NoPixels(0, "it arrived incomplete.");
    } catch (error) {
      if (error instanceof NoPixels) throw error;
      throw new NoPixels(0, at > 0 ? "it arrived incomplete." : "the server cannot be reached.");
    } finally {
      clearTimeout(timer);
    }
  }
}

function asked(path, priority) {
  const control = new AbortController();
  const headers = { Accept: "application/octet-stream, application/json" };
  return { control, answer: fetch(path, { priority, signal: control.signal, headers }) };
}

/** What first.js has asked for already, once; null where it is another slice. */
function taken(path) {
  const first = globalThis.firstPixels;
  if (first?.path !== path) return null;
  delete globalThis.firstPixels;
  return first;
}

async function wordsOf(response) {
  if (response.status === 401) return "you are signed out.";
  const text = await response.text().catch(() => "");
  try { return JSON.parse(text).detail; } catch { return `the server answered ${response.status}.`; }
}

/** Smallest and largest value of an array. */
export function rangeOf(array) {
  let low = array[0];
  let high = array[0];
  for (let i = 1; i < array.length; i += 1) {
    const v = array[i];
    if (v < low) low = v; else if (v > high) high = v;
  }
  return [low, high];
}

const shade = (g, invert) => {
  const v = invert ? 255 - g : g;
  return (0xff000000 | (v << 16) | (v << 8) | v) >>> 0;
};

/**
 * A table from stored value (plus `offset`) to an opaque grey RGBA pixel.
 * The linear window of PS3.3 C.11.2.1.2; a width below 1 is taken as 1.
 */
export class GreyTable {
  constructor(dtype) {
    this.offset = dtype === "int16" ? 32768 : 0;
    this.table = new Uint32Array(dtype === "uint8" ? 256 : 65536);
    this.key = "";
  }

  /**
   * curve: "linear", "linear-exact" or "sigmoid" (PS3.3 C.11.2.1.2 and 3); or "table", which is
   * drawn by steps alone, [[value, grey], …]: from that value on it is that grey.
   */
  set(width, level, invert, curve = "linear", steps = []) {
    const key = `${width} ${level} ${invert} ${curve} ${steps}`;
    if (key === this.key) return;
    this.key = key;
    const { table, offset } = this;
    if (curve === "table") { this.#stepped(steps, invert); return; }
    if (curve !== "linear") { this.#curved(curve, width, level, invert); return; }
    const w = Math.max(1, width);
    const low = level - 0.5 - (w - 1) / 2;
    const high = level - 0.5 + (w - 1) / 2;
    const grey = (g) => shade(g, invert);
    const first = Math.min(table.length, Math.max(0, Math.floor(low) + offset + 1));
    const last = Math.min(table.length, Math.max(first, Math.floor(high) + offset + 1));
    table.fill(grey(0), 0, first);
    for (let i = first; i < last; i += 1) {
      table[i] = grey(Math.round(((i - offset - (level - 0.5)) / (w - 1) + 0.5) * 255));
    }
    table.fill(grey(255), last);
  }

  #curved(curve, width, level, invert) {
    const { table, offset } = this;
    for (let i = 0; i < table.length; i += 1) {
      const x = (i - offset - level) / width;
      const share = curve === "sigmoid" ? 1 / (1 + Math.exp(-4 * x)) : Math.min(1, Math.max(0, x + 0.5));
      table[i] = shade(Math.round(255 * share), invert);
    }
  }

  #stepped(steps, invert) {
    const { table, offset } = this;
    table.fill(shade(steps[0][1], invert));
    for (const [value, grey] of steps) {
      table.fill(shade(grey, invert), Math.min(table.length, Math.max(0, value + offset)));
    }
  }

  /** Map pixels into a Uint32Array of the same length. */
  map(pixels, out) {
    const { table, offset } = this;
    for (let i = 0; i < pixels.length; i += 1) out[i] = table[pixels[i] + offset];
  }
}
