// Time of one trial, kept apart: active (looking), idle (no sign of life for a while), hidden (another
// tab or window). Wall time is the sum of the three.

const SIGNS = ["keydown", "pointerdown", "pointermove", "wheel", "touchstart"];

export class Stopwatch {
  #state = "stopped";
  #since = 0;
  #lastSign = 0;
  #total = { active: 0, hidden: 0, idle: 0 };
  #remove = null;

  /**
   * idleAfterMs: without a sign of life for so long, the time from then on is idle.
   * now: a monotonic clock in ms.
   */
  constructor({ idleAfterMs = 30_000, now = () => performance.now(), page = document } = {}) {
    this.idleAfterMs = idleAfterMs;
    this.now = now;
    this.page = page;
  }

  get running() { return this.#state !== "stopped"; }

  /** Start from zero. */
  start() {
    this.stop();
    this.#total = { active: 0, hidden: 0, idle: 0 };
    this.resume();
  }

  /** Go on after a pause, without counting the pause. */
  resume() {
    if (this.running) return;
    this.#since = this.#lastSign = this.now();
    this.#state = this.page.hidden ? "hidden" : "seen";
    const sign = () => this.sign();
    const visible = () => this.#visibility();
    for (const name of SIGNS) this.page.addEventListener(name, sign, { passive: true, capture: true });
    this.page.addEventListener("visibilitychange", visible);
    this.#remove = () => {
      for (const name of SIGNS) this.page.removeEventListener(name, sign, { capture: true });
      this.page.removeEventListener("visibilitychange", visible);
    };
  }

  /** Stop (also: pause). Returns the reading. */
  stop() {
    if (this.running) {
      this.#settle();
      this.#state = "stopped";
      this.#remove?.();
      this.#remove = null;
    }
    return this.read();
  }

  /** A sign of life; events on the page call this by themselves. */
  sign() {
    if (this.#state !== "seen") return;
    this.#settle();
    this.#lastSign = this.now();
  }

  /** { active_ms, hidden_ms, idle_ms } so far, whole milliseconds; the watch goes on. */
  read() {
    if (this.running) this.#settle();
    const { active, hidden, idle } = this.#total;
    return { active_ms: Math.round(active), hidden_ms: Math.round(hidden), idle_ms: Math.round(idle) };
  }

  #settle() {
    const now = this.now();
    if (this.#state === "hidden") {
      this.#total.hidden += now - this.#since;
    } else {
      const turnsIdle = Math.max(this.#since, this.#lastSign + this.idleAfterMs);
      this.#total.active += Math.max(0, Math.min(now, turnsIdle) - this.#since);
      this.#total.idle += Math.max(0, now - turnsIdle);
    }
    this.#since = now;
  }

  #visibility() {
    this.#settle();
    this.#state = this.page.hidden ? "hidden" : "seen";
    if (this.#state === "seen") this.#lastSign = this.now();
  }
}
