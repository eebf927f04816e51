// Drafts: what a person has filled in or drawn and what is not stored yet. They live in this tab alone
// (sessionStorage, or memory where there is none), under the person's id, and hold nothing but what
// that person typed. They end when it is stored, at sign-out, and when somebody else signs in.

import { ROOT } from "./root.js";

const PREFIX = `hepatica-draft${ROOT}:`; // another installation on this host has its own

function storage() {
  try { return window.sessionStorage; } catch { return null; } // forbidden by the browser's settings
}

/** Forget every draft in this tab, but for those of one person. */
export function forgetDrafts({ butOf = null } = {}) {
  const store = storage();
  if (!store) return;
  for (const key of Object.keys(store)) {
    if (key.startsWith(PREFIX) && (butOf === null || !key.startsWith(`${PREFIX}${butOf}:`))) store.removeItem(key);
  }
}

export class Drafts {
  #kept = new Map();
  #prefix;

  /** kind: "review" or "box". Drafts of other people are forgotten. */
  constructor(person, kind) {
    this.#prefix = `${PREFIX}${person}:${kind}:`;
    forgetDrafts({ butOf: person });
    const store = storage();
    if (!store) return;
    for (const key of Object.keys(store)) {
      if (!key.startsWith(this.#prefix)) continue;
      try { this.#kept.set(key.slice(this.#prefix.length), JSON.parse(store.getItem(key))); } catch { store.removeItem(key); }
    }
  }

  get size() { return this.#kept.size; }
  has(id) { return this.#kept.has(id); }
  get(id) { return this.#kept.get(id) ?? null; }
  all() { return [...this.#kept.entries()]; }

  set(id, value) {
    this.#kept.set(id, value);
    try { storage()?.setItem(this.#prefix + id, JSON.stringify(value)); } catch { /* full: this page only */ }
  }

  remove(id) {
    this.#kept.delete(id);
    try { storage()?.removeItem(this.#prefix + id); } catch { /* as above */ }
  }

  /** What was drafted for one id is drafted for another from now on. */
  move(from, to) {
    const value = this.get(from);
    if (value === null) return;
    this.remove(from);
    this.set(to, value);
  }

  forget() {
    for (const id of [...this.#kept.keys()]) this.remove(id);
  }
}
