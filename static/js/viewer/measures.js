// The measures of a visit, slice by slice: what was placed, which is chosen, and the way back.
// What is kept with a lesion stands with the lesion; here it is out of sight from then on.

const KEPT_STEPS = 200;

/** Kept until the page is left; `undo` takes the last placing or deleting back. */
export class Measures {
  #bySlice = new Map(); // image id → [measure]
  #past = []; // {image, before: [measure]}
  #next = 1;
  #given = new Set(); // ids of those that are kept with a lesion
  chosen = null; // id

  of(imageId) { return this.#all(imageId).filter(({ id }) => !this.#given.has(id)); }

  #all(imageId) { return this.#bySlice.get(imageId) ?? []; }

  /** It is kept with a lesion now, and drawn as that; or no longer. */
  give(id) { this.#given.add(id); }
  takeBack(id) { this.#given.delete(id); }

  place(imageId, measure) {
    const placed = { ...measure, id: this.#next };
    this.#next += 1;
    this.#change(imageId, [...this.#all(imageId), placed]);
    this.chosen = placed.id;
    return placed;
  }

  /** Delete the chosen measure of a slice, or its last one; what went, or null. */
  remove(imageId) {
    const here = this.of(imageId);
    const gone = here.find(({ id }) => id === this.chosen) ?? here.at(-1) ?? null;
    if (gone) this.#change(imageId, this.#all(imageId).filter((one) => one !== gone));
    this.chosen = null;
    return gone;
  }

  /** Take the last change back; the id of its slice, or null where nothing was changed. */
  undo() {
    const step = this.#past.pop();
    if (!step) return null;
    this.#bySlice.set(step.imageId, step.before);
    this.chosen = null;
    return step.imageId;
  }

  #change(imageId, now) {
    this.#past.push({ imageId, before: this.#all(imageId) });
    if (this.#past.length > KEPT_STEPS) this.#past.shift();
    this.#bySlice.set(imageId, now);
  }
}
