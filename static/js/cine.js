// Playing through the slices while a key is held.

const USUAL_PER_S = 10; // where the file does not say

/** How fast a series is played: {perSecond, words}. */
export function speedOf({ per_second: asked }) {
  if (!asked) return { perSecond: USUAL_PER_S, words: `${USUAL_PER_S} slices a second` };
  return { perSecond: asked, words: `${Number(asked.toFixed(1))} slices a second, as the file asks` };
}

/**
 * step(by) shows the next slice and returns false at the end; isHere(): the last one is on the screen;
 * tells(words) says how fast it plays, and "" when it no longer does.
 */
export class Cine {
  #timer = 0;
  #step;
  #isHere;
  #tells;

  constructor({ step, isHere, tells }) {
    this.#step = step;
    this.#isHere = isHere;
    this.#tells = tells;
  }

  get plays() { return this.#timer !== 0; }

  /** Play in a direction, 1 or -1, until the key is let go; one slice at once. speed: as `speedOf`. */
  start(direction, { perSecond, words }) {
    this.stop();
    const next = () => {
      if (!this.plays) return;
      // a slice that is late holds the film up; none is left out
      if (this.#isHere() && this.#step(direction) === false) this.stop();
    };
    this.#timer = setInterval(next, 1000 / perSecond);
    this.#tells(words);
    document.addEventListener("keyup", this.stop);
    window.addEventListener("blur", this.stop);
    next();
  }

  stop = () => {
    clearInterval(this.#timer);
    if (this.#timer) this.#tells("");
    this.#timer = 0;
    document.removeEventListener("keyup", this.stop);
    window.removeEventListener("blur", this.stop);
  };
}
