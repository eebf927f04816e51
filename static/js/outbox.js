// What was given to the server and is not known to be stored: sent at once, kept until the server says
// that it has it, and sent again when the person asks. What is sent again is the very same, under ids
// by which the server takes it once.

/** Whether trying again the same can help: no answer, session over, the server at fault or busy. */
const mayHelp = ({ status }) => status === 0 || status === 401 || status === 408 || status === 429 || status >= 500;

/** Whether it is certain that nothing was stored: the server refused. */
export const isKnown = ({ status }) => status >= 400 && status < 500;

/**
 * Events: "change" (any item came, went, or changed).
 * An item: { key, title(known) → words, send() → Promise, done(answer), refused(refusal, final) → true when it is dealt
 * with and need not be shown; may go: {text, run}, drop: {text, run}, left() when it comes to nothing }; the outbox adds
 * state ("sending", "failed", "refused") and refusal.
 */
export class Outbox extends EventTarget {
  #items = new Map();

  get items() { return [...this.#items.values()]; }
  get size() { return this.#items.size; }
  get(key) { return this.#items.get(key) ?? null; }
  isSending(key) { return this.get(key)?.state === "sending"; }

  /** Send it now; false when one of the same key is on its way. */
  put(item) {
    if (this.isSending(item.key)) { item.left?.(); return false; }
    this.get(item.key)?.left?.();
    this.#items.set(item.key, item);
    this.#send(item);
    return true;
  }

  /** Keep it without sending, as one that failed. */
  keep(item, refusal) {
    Object.assign(item, { state: "failed", refusal });
    this.#items.set(item.key, item);
    this.#changed();
  }

  /** Send again what failed; returns how many. */
  again(key = null) {
    const failed = this.items.filter((item) => item.state === "failed" && (key === null || item.key === key));
    for (const item of failed) this.#send(item);
    return failed.length;
  }

  drop(key) {
    if (this.isSending(key)) return;
    this.get(key)?.left?.();
    this.#items.delete(key);
    this.#changed();
  }

  clear() {
    for (const item of this.items) item.left?.();
    this.#items.clear();
    this.#changed();
  }

  async #send(item) {
    item.state = "sending";
    item.refusal = null;
    this.#changed();
    let answer;
    try {
      answer = await item.send();
    } catch (refusal) {
      if (this.get(item.key) !== item) return; // cleared meanwhile
      const final = !mayHelp(refusal);
      item.state = final ? "refused" : "failed";
      item.refusal = refusal;
      const isOver = item.refused?.(refusal, final);
      if (isOver || final) item.left?.();
      if (isOver) this.#items.delete(item.key);
      this.#changed();
      return;
    }
    if (this.get(item.key) !== item) return;
    this.#items.delete(item.key);
    item.done(answer);
    this.#changed();
  }

  #changed() { this.dispatchEvent(new Event("change")); }
}

/** A random UUID; crypto.randomUUID is there on HTTPS and localhost only. */
export function uuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
