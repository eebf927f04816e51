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
const LEVEL = 0.9; // what has kept so much of its size over
const LEVEL_OVER = 8; // so many events does not run out but is moved; of less than
const LEVEL_PX = 4; // this nobody can tell
const MERGED = 1.3; // so much more, in more time, are several steps that a busy browser sends as one

export class Wheel {
  #rest = 0; // px that are not a slice yet
  #last = { at: -Infinity, sign: 0, size: 0, gap: 1 }; // of one step
  #sizes = []; // of this push, smoothed, px
  #largest = 0; // its place among them
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
    this.#largest = 0;
    this.#isCoasting = false;
  }

  #coasts(size, gap) {
    const smoothed = this.#sizes.at(-1);
    if (size > PUSHED * smoothed) { this.#push(size); return false; }
    this.#sizes.push((smoothed + size) / 2);
    const last = this.#sizes.length - 1;
    const now = this.#sizes[last];
    if (now >= this.#sizes[this.#largest]) this.#largest = last;
    const isShrinking = now < SHRUNK * this.#sizes[this.#largest] && last - this.#largest >= SHRINKING;
    if (isShrinking && gap <= FRAMES_MS) this.#isCoasting = true;
    const isLevel = now > LEVEL_PX && now >= LEVEL * this.#sizes[Math.max(0, last - LEVEL_OVER)];
    if (this.#isCoasting && isLevel) this.#push(now);
    return this.#isCoasting;
  }
}
