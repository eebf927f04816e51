// Which slice is asked for, and how it comes: one at a time, the newest wish next, again after a failure.

const SLOW_MS = 300;
const STUCK_MS = 3_000; // a slice that takes longer no longer holds up the next one
const RETRY_MS = [2_000, 4_000, 8_000, 15_000, 30_000];
const LASTING = [403, 404]; // nothing but the person's own wish asks for such a slice again

/**
 * The delegate:
 *   stale                            whether the slice on the screen is not the one asked for
 *   image                            the slice on the screen
 *   arrived(image, pixels, request)  to be shown; request {image, start (ms), cached}
 *   failed()                         `fault` is set
 *   askedFor()                       a slice that is not here was asked for
 *   waitChanged()                    isSlow may have changed
 */
export class Loading {
  wanted = null;
  fault = null; // {image, error: NoPixels} of the wanted slice
  isSlow = false;
  #current = null; // the one on its way: {next}
  #retries = 0;
  #retryTimer = 0;
  #timers = new Set();
  #stopping = null;

  constructor({ store, delegate }) {
    this.store = store;
    this.delegate = delegate;
  }

  start() {
    if (this.#stopping) return;
    this.#stopping = new AbortController();
    const { signal } = this.#stopping;
    window.addEventListener("online", () => this.#again(), { signal });
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.#again(); }, { signal });
  }

  /** What is on its way no longer arrives. */
  stop() {
    this.#stopping?.abort();
    this.#stopping = null;
    this.#forgive();
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    this.#current = null;
    this.isSlow = false;
    this.wanted = null;
  }

  ask(image) {
    performance.mark("slice-request", { detail: { image: image.id } });
    const request = { image, start: performance.now(), cached: true };
    if (this.fault?.image !== image) this.#forgive();
    this.wanted = image;
    const here = this.store.peek(image);
    if (here) { this.#arrived(image, here, request); return; }
    request.cached = false;
    this.delegate.askedFor();
    this.#load(image, request);
  }

  /** False when none failed. */
  retry() {
    if (!this.fault) return false;
    this.#retries = 0;
    this.#again({ isAsked: true });
    return true;
  }

  // What only signing in or other rights would mend is asked again when the page is looked at anew.
  #again({ isAsked = false, byItself = false } = {}) {
    const fault = this.fault;
    if (!fault || (byItself && !(fault.error.status === 0 || fault.error.status >= 500))) return;
    if (!isAsked && LASTING.includes(fault.error.status)) return;
    clearTimeout(this.#retryTimer);
    this.#load(fault.image, { image: fault.image, start: performance.now(), cached: false });
  }

  #forgive() {
    clearTimeout(this.#retryTimer);
    this.fault = null;
    this.#retries = 0;
  }

  async #load(image, request) {
    if (this.#current) { this.#current.next = { image, request }; return; }
    const mine = { next: null };
    this.#current = mine;
    const started = this.#stopping;
    const release = () => {
      if (this.#current !== mine) return;
      this.#current = null;
      if (mine.next && this.wanted === mine.next.image) this.#load(mine.next.image, mine.next.request);
    };
    const slow = this.#after(SLOW_MS, () => { this.isSlow = true; this.delegate.waitChanged(); });
    const stuck = this.#after(STUCK_MS, release);
    const isStopped = () => !this.#stopping || this.#stopping !== started;
    try {
      const pixels = await this.store.get(image);
      if (isStopped()) return;
      // A slice that was scrolled past is still the nearest thing to show, unless the wanted one is up.
      if (this.wanted === image || (this.delegate.stale && !this.fault)) this.#arrived(image, pixels, request);
    } catch (error) {
      if (!isStopped() && this.wanted === image && this.delegate.image !== image) this.#failed(image, error);
    } finally {
      for (const timer of [slow, stuck]) { clearTimeout(timer); this.#timers.delete(timer); }
      if (!isStopped()) {
        this.isSlow = false;
        release();
        this.delegate.waitChanged();
      }
    }
  }

  #after(ms, run) {
    const timer = setTimeout(run, ms);
    this.#timers.add(timer);
    return timer;
  }

  #arrived(image, pixels, request) {
    if (this.wanted === image) this.#forgive();
    this.delegate.arrived(image, pixels, request);
  }

  #failed(image, error) {
    this.fault = { image, error };
    clearTimeout(this.#retryTimer);
    const wait = RETRY_MS[Math.min(this.#retries, RETRY_MS.length - 1)];
    this.#retries += 1;
    this.#retryTimer = setTimeout(() => this.#again({ byItself: true }), wait);
    this.delegate.failed();
  }
}
