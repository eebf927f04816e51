// What can be taken back while the page is open, in the order it was done: measures and marks alike.

const KEPT_STEPS = 200;

export class Undo {
  #acts = [];

  /** act() takes one thing back; it returns false where it cannot yet, and then stays. */
  push(act) {
    this.#acts.push(act);
    if (this.#acts.length > KEPT_STEPS) this.#acts.shift();
  }

  /** Take back what was done last; false when there is nothing. */
  take() {
    const act = this.#acts.pop();
    if (!act) return false;
    if (act() === false) this.#acts.push(act);
    return true;
  }
}
