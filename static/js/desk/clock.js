// How long an image was looked at: time without a key counts as idle, and so does every rest; time with
// the page hidden is counted apart.

const AWAY_MS = 60_000; // no key for so long counts as idle
const SIGNS_OF_LIFE = ["keydown", "pointerdown", "pointermove"];

export class Clock {
  #now;
  #times = { active: 0, hidden: 0, idle: 0 }; // ms
  #at; // until when it is counted
  #touched;
  #isHidden = false;
  #isResting = false;
  #stopping = null;

  /** now: a function of the time in ms, which never goes back. */
  constructor({ now = () => performance.now() } = {}) {
    this.#now = now;
    this.#at = this.#touched = now();
  }

  start() {
    if (this.#stopping) return;
    this.#stopping = new AbortController();
    const { signal } = this.#stopping;
    this.hide(document.hidden);
    document.addEventListener("visibilitychange", () => this.hide(document.hidden), { signal });
    for (const kind of SIGNS_OF_LIFE) {
      document.addEventListener(kind, () => this.touch(), { capture: true, passive: true, signal });
    }
  }

  stop() {
    this.#count();
    this.#stopping?.abort();
    this.#stopping = null;
  }

  /** {active, hidden, idle} in ms, up to now. */
  get times() {
    this.#count();
    return { ...this.#times };
  }

  /** The reader is here. */
  touch() {
    this.#count();
    this.#touched = this.#at;
  }

  /** The page is hidden, or seen again. */
  hide(isHidden) {
    this.touch();
    this.#isHidden = isHidden;
  }

  /** Nothing is there to be looked at, or there is again. */
  rest(isResting) {
    if (isResting === this.#isResting) return;
    this.touch();
    this.#isResting = isResting;
  }

  /** Another image: from zero. */
  restart() {
    this.touch();
    this.#times = { active: 0, hidden: 0, idle: 0 };
  }

  /** Go on from times that were kept. */
  takeUp({ active, hidden, idle }) {
    this.#count();
    this.#times = { active, hidden, idle };
  }

  // What passed until now belongs to the state until now: every change counts first.
  #count() {
    const now = this.#now();
    const passed = now - this.#at;
    if (this.#isHidden) this.#times.hidden += passed;
    else if (this.#isResting) this.#times.idle += passed;
    else {
      const active = Math.max(0, Math.min(now, this.#touched + AWAY_MS) - this.#at);
      this.#times.active += active;
      this.#times.idle += passed - active;
    }
    this.#at = now;
  }
}
