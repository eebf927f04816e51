// A trial that was begun before the page was loaded again: its keys and its time are taken up. Kept in
// this tab alone.

export class Begun {
  /** name: of the item; storage: sessionStorage, or null where there is none. */
  constructor(name, storage) {
    this.name = name;
    this.storage = storage;
  }

  /** record: {trial, …}, with the trial's token. */
  keep(record) {
    try { this.storage?.setItem(this.name, JSON.stringify(record)); } catch { /* no room: the trial begins anew */ }
  }

  /** What was kept of the trial, once; null where it is another one's or none. */
  take(token) {
    try {
      const found = JSON.parse(this.storage?.getItem(this.name) ?? "null");
      this.storage?.removeItem(this.name);
      return found?.trial === token ? found : null;
    } catch { return null; }
  }
}
