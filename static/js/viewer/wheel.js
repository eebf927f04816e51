// From what a wheel or a trackpad sends to slices. A wheel's notch is one slice; a trackpad's many
// small steps add up to one. What a trackpad goes on sending once the fingers have left it (a second
// or two, smaller and smaller) moves nothing: no event says that it is that, so it is told by its form.

const NOTCH_PX = 50; // a wheel's notch is at least so much, a trackpad's step less
const BUMP_PX = 4; // the notch of a wheel that is turned slowly on macOS; it comes alone
const SLICE_PX = 30;
const PAUSE_MS = 120; // after so long without anything, what comes is new
const FRAMES_MS = 40; // a trackpad sends in every frame or two; notches of a wheel are further apart
const SHRUNK = 0.6; // of the largest
const SHRINKING = 5; // events since the largest
const PUSHED = 1.6; // so much more at once is fingers again
const LEVEL = 0.9; // what keeps so much of its size does not run out: it is moved,
const LEVEL_OVER = 8; // over so many events,
const LEVEL_PX = 4; // if it is larger than this, under which nobody can tell
const MERGED = 1.3; // so much more, in more time, are several steps that a busy browser sends as one

export class Wheel {
  #rest = 0; // px that are not a slice yet
  #last = { at: -Infinity, sign: 0, size: 0, gap: 1 }; // of one step
  #sizes = []; // the last of this push, smoothed, px
  #largest = 0; // of all of this push,
  #since = 0; // so many events ago
  #isCoasting = false;

  /** dy: how far it was turned, in px, down is positive; at: when, in ms. How many slices that is. */
  turn(dy, at) {
    if (!dy) return 0;
    const before = this.#last;
    const [sign, size, gap] = [Math.sign(dy), Math.abs(dy), Math.max(1, at - before.at)];
    if (gap > PAUSE_MS || sign !== before.sign) {
      this.#last = { at, sign, size, gap: Math.min(gap, FRAMES_MS) };
      this.#rest = 0;
      this.#push(size);
      return size >= BUMP_PX ? sign : this.#moved(dy);
    }
    const steps = size > MERGED * before.size ? Math.max(1, Math.round(gap / before.gap)) : 1;
    this.#last = { at, sign, size: size / steps, gap: gap / steps };
    return this.#coasts(size / steps, gap) ? 0 : this.#moved(dy);
  }

  #moved(dy) {
    if (Math.abs(dy) >= NOTCH_PX) { this.#rest = 0; return Math.sign(dy); }
    this.#rest += dy;
    const by = Math.trunc(this.#rest / SLICE_PX);
    this.#rest -= by * SLICE_PX;
    return by;
  }

  #push(size) {
    this.#sizes = [size];
    this.#largest = size;
    this.#since = 0;
    this.#isCoasting = false;
  }

  #coasts(size, gap) {
    const smoothed = this.#sizes.at(-1);
    if (size > PUSHED * smoothed) { this.#push(size); return false; }
    const now = (smoothed + size) / 2;
    this.#sizes = [...this.#sizes.slice(-LEVEL_OVER), now];
    this.#since += 1;
    if (now >= this.#largest) { this.#largest = now; this.#since = 0; }
    const isShrinking = now < SHRUNK * this.#largest && this.#since >= SHRINKING;
    if (isShrinking && gap <= FRAMES_MS) this.#isCoasting = true;
    const isLevel = now > LEVEL_PX && now >= LEVEL * this.#sizes[0];
    if (this.#isCoasting && isLevel) this.#push(now);
    return this.#isCoasting;
  }
}
