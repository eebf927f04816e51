// The answer to the image on the stage, while it is being given.

export class Answer {
  #chosen = {};
  #given = []; // in the order of the keys, for taking back
  #reasons = new Set();
  #changes = 0;

  /**
   * choices: question → its values as text; reasons: the values of the reasons, in their order;
   * reasonsFrom: the rating from which on reasons may be given.
   */
  constructor({ choices, reasons, reasonsFrom }) {
    this.reasonsFrom = reasonsFrom;
    this.choices = choices;
    this.everyReason = reasons;
    this.begin();
  }

  /** Anew, or from what was answered earlier: {question: value, …, reasons}. */
  begin(earlier = null) {
    this.#given = [];
    this.#changes = 0;
    this.#fill(earlier ?? {}, earlier?.reasons ?? []);
  }

  /** From what was begun before the page was loaded again. */
  takeUp({ chosen, reasons, changes }) {
    this.#changes = changes;
    this.#fill(chosen, reasons);
  }

  #fill(values, reasons) {
    for (const [name, known] of Object.entries(this.choices)) {
      this.#chosen[name] = known.find((value) => value === String(values[name])) ?? null;
    }
    this.#reasons = new Set(this.everyReason.filter((reason) => reasons.includes(reason)));
  }

  /** question → value, or null where there is none yet. */
  get chosen() { return { ...this.#chosen }; }

  get reasons() { return this.everyReason.filter((reason) => this.#reasons.has(reason)); }

  /** How often a choice was changed or taken back. */
  get changes() { return this.#changes; }

  /** Whether a key was given to it. */
  get isBegun() { return this.#given.length > 0; }

  get missing() { return Object.keys(this.choices).filter((name) => this.#chosen[name] === null); }

  get mayHaveReasons() { return Number(this.#chosen.rating ?? 0) >= this.reasonsFrom; }

  /** False when it was chosen already. */
  choose(name, value) {
    const before = this.#chosen[name];
    if (before === value) return false;
    if (before !== null) this.#changes += 1;
    this.#chosen[name] = value;
    this.#given.push({ name, before });
    if (!this.mayHaveReasons) this.#reasons.clear();
    return true;
  }

  /** Whether the reason is given now; null where none may be. */
  tick(reason, isOn = !this.#reasons.has(reason)) {
    if (!this.mayHaveReasons) return null;
    if (isOn) this.#reasons.add(reason);
    else this.#reasons.delete(reason);
    return isOn;
  }

  /** Take the last choice back; false when there is none. */
  undo() {
    const last = this.#given.pop();
    if (!last) return false;
    this.#chosen[last.name] = last.before;
    if (!this.mayHaveReasons) this.#reasons.clear();
    this.#changes += 1;
    return true;
  }

  isSameAs(earlier) {
    return Object.keys(this.choices).every((name) => String(earlier[name]) === this.#chosen[name])
      && this.reasons.join() === earlier.reasons.join();
  }
}
