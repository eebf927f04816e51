// What can be taken back while the page is open, in the order in which it was begun: measures and marks alike.

const KEPT_STEPS = 200;

export class Undo {
  #acts = [];

  /** act() takes one thing back; it returns false where it cannot yet, and then stays. */
  push(act) {
    this.#acts.push(act);
    if (this.#acts.length > KEPT_STEPS) this.#acts.shift();
  }

  /**
   * A place for what is on its way: its answer may come after that of something later. until: what is done
   * instead of taking it back; settle(act): now it can be; leave(): it came to nothing.
   */
  begin(until) {
    const step = () => act();
    let act = () => { until(); return false; };
    this.push(step);
    return {
      settle: (found) => { act = found; },
      leave: () => { this.#acts = this.#acts.filter((one) => one !== step); },
    };
  }

  /** Take back what was done last; false when there is nothing. */
  take() {
    const act = this.#acts.pop();
    if (!act) return false;
    if (act() === false) this.#acts.push(act);
    return true;
  }
}
