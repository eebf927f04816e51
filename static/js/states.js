// A thing is in one state at a time, and only the moves that were thought of are made.

export class States {
  #moves;
  #now;

  /** moves: state → the states that may follow; first: the state to begin in. */
  constructor(moves, first) {
    this.#moves = moves;
    this.#now = first;
  }

  get now() { return this.#now; }

  is(...states) { return states.includes(this.#now); }

  /** Throws where the table has no such move: that order of events was thought to be impossible. */
  become(next) {
    if (!this.#moves[this.#now].includes(next)) throw new Error(`What is ${this.#now} cannot become ${next}.`);
    this.#now = next;
  }
}
