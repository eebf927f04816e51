// The answers of one reading that the server has not got yet. Each is an item of its own in the browser's
// storage, so that two tabs never write over one another; where the storage takes no more, the page
// itself keeps it. Nothing leaves the queue but by `remove`, once the server has it, or when it is set
// aside: in the storage, or in the page alone once the reader knows that.

const PLACES = 15;

export class Queue {
  #held = []; // {order, answer}: what the storage did not take
  #heldAside = []; // of what was set aside

  /** token: of the reading; storage: localStorage, or null where there is none. */
  constructor(token, storage) {
    this.prefix = `hepatica-desk:${token}:`;
    this.asidePrefix = `hepatica-aside:${token}:`;
    this.storage = storage;
    this.#takeOverOlder(`hepatica-desk:${token}`);
  }

  /** Every answer, the first first. */
  all() {
    return [...this.#stored(), ...this.#held].sort((a, b) => a.order - b.order).map((item) => item.answer);
  }

  get length() { return this.all().length; }

  /** How many would be lost with this page, because the storage did not take them. */
  get unsafe() { return this.#held.length; }

  /** The same, of what was set aside. */
  get unsafeAside() { return this.#heldAside.length; }

  add(answer) {
    const last = [...this.#stored(), ...this.#held].reduce((most, item) => Math.max(most, item.order), 0);
    const order = Math.max(Date.now(), last + 1);
    if (!this.#store(order, answer)) this.#held.push({ order, answer });
  }

  /** The server has it. */
  remove(key) {
    this.#held = this.#held.filter((item) => item.answer.key !== key);
    for (const item of this.#stored()) if (item.answer.key === key) this.storage.removeItem(item.name);
    this.#held = this.#held.filter(({ order, answer }) => !this.#store(order, answer)); // room again?
    this.#heldAside = this.#heldAside.filter((aside) => !this.#storeAside(aside));
  }

  /** The server will not have it: kept beside the queue, with the reason; false, and nothing is changed,
   * where the storage has no room for that. */
  setAside(answer, reason) {
    const aside = asideOf(answer, reason);
    if (!this.#storeAside(aside)) {
      const stored = this.#stored().find((item) => item.answer.key === answer.key);
      if (!stored) return false;
      this.storage.removeItem(stored.name); // it makes room for itself
      if (!this.#storeAside(aside)) {
        if (!this.#store(stored.order, stored.answer)) this.#held.push({ order: stored.order, answer: stored.answer });
        return false;
      }
    }
    this.remove(answer.key);
    return true;
  }

  /** The same where there is no room, as the reader knows: the page itself keeps it as long as it is there. */
  setAsideHere(answer, reason) {
    this.#heldAside.push(asideOf(answer, reason));
    this.remove(answer.key);
  }

  /** What was set aside in this browser, or in this page. */
  aside() {
    const stored = this.#names(this.asidePrefix).map((name) => parsed(this.storage.getItem(name))).filter(Boolean);
    return [...stored, ...this.#heldAside];
  }

  #names(prefix) {
    const names = [];
    for (let at = 0; at < (this.storage?.length ?? 0); at += 1) {
      const name = this.storage.key(at);
      if (name.startsWith(prefix)) names.push(name);
    }
    return names;
  }

  #stored() {
    return this.#names(this.prefix).flatMap((name) => {
      const answer = parsed(this.storage.getItem(name));
      const order = Number(name.slice(this.prefix.length, this.prefix.length + PLACES));
      return answer?.key ? [{ name, order, answer }] : []; // what cannot be read stays where it is
    });
  }

  #store(order, answer) {
    try {
      this.storage.setItem(`${this.prefix}${String(order).padStart(PLACES, "0")}:${answer.key}`, JSON.stringify(answer));
      return true;
    } catch { return false; }
  }

  #storeAside(aside) {
    try {
      this.storage.setItem(this.asidePrefix + aside.key, JSON.stringify(aside));
      return true;
    } catch { return false; }
  }

  /** An earlier version kept all of them in one item. */
  #takeOverOlder(name) {
    const older = parsed(this.storage?.getItem(name) ?? "");
    if (!Array.isArray(older)) return;
    for (const answer of older) this.add(answer);
    this.storage.removeItem(name);
  }
}

const asideOf = (answer, reason) => ({ ...answer, reason, at: new Date().toISOString() });

/** localStorage, or null where the browser refuses it. */
export function browserStorage() {
  try { return window.localStorage; } catch { return null; }
}

/** sessionStorage, or null where the browser refuses it. */
export function tabStorage() {
  try { return window.sessionStorage; } catch { return null; }
}

function parsed(text) {
  try { return JSON.parse(text); } catch { return null; }
}
