// Playing through the slices while a key is held.

const PER_S = 10;

/** step(by) shows the next slice and returns false at the end; isHere(): the last one is on the screen. */
export class Cine {
  #timer = 0;
  #step;
  #isHere;

  constructor({ step, isHere }) {
    this.#step = step;
    this.#isHere = isHere;
  }

  get plays() { return this.#timer !== 0; }

  /** Play in a direction, 1 or -1, until the key is let go; one slice at once. */
  start(direction) {
    this.stop();
    const next = () => {
      if (!this.plays) return;
      // a slice that is late holds the film up; none is left out
      if (this.#isHere() && this.#step(direction) === false) this.stop();
    };
    this.#timer = setInterval(next, 1000 / PER_S);
    document.addEventListener("keyup", this.stop);
    window.addEventListener("blur", this.stop);
    next();
  }

  stop = () => {
    clearInterval(this.#timer);
    this.#timer = 0;
    document.removeEventListener("keyup", this.stop);
    window.removeEventListener("blur", this.stop);
  };
}
