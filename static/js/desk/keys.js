// Which key means what, in which state of the desk.

import { digitBelow } from "../hotkeys.js";
import { Change } from "./display.js";
import { DeskState } from "./states.js";

export const Meaning = Object.freeze({
  list: "list",           // show the keys
  setAside: "setAside",   // the answer that was refused
  takeOver: "takeOver",   // read in this tab
  readOn: "readOn",       // what was told of a practice image was read
  pause: "pause",         // or go on
  commit: "commit",
  undo: "undo",
  answer: "answer",       // {name, value, isReason}
  turn: "turn",           // {by}
  picture: "picture",     // {change}
  nothing: "nothing",     // a key of ours that is held down: the browser shall not have it either
});

/**
 * What a key means: {means, …} or null where it is none of ours.
 *
 * event: {key, code, shiftKey, repeat, …}; state: a DeskState; layout: {pauseKey, answers: Map key → {name, value,
 * isReason}, back, window, zoom}: lower-case keys, and what the protocol lets readers do.
 */
export function meaningOf(event, state, layout) {
  const typed = meaningOfKey(event, state, layout);
  if (typed) return typed;
  const key = digitBelow(event);
  return key ? meaningOfKey({ key, repeat: event.repeat }, state, layout) : null;
}

function meaningOfKey({ key: typed, shiftKey = false, repeat = false }, state, layout) {
  const key = typed.toLowerCase();
  const once = (means) => ({ means: repeat ? Meaning.nothing : means });
  const onEnter = (means) => (key === "enter" ? { means } : null);
  if (key === "?") return { means: Meaning.list };
  if (state === DeskState.refused) return repeat ? null : onEnter(Meaning.setAside);
  if (state === DeskState.aside) return onEnter(Meaning.takeOver);
  if (state === DeskState.told) return repeat ? null : onEnter(Meaning.readOn);
  if (key === layout.pauseKey) return once(Meaning.pause);
  if (![DeskState.loading, DeskState.showing].includes(state)) return null;
  if (key === "enter") return once(Meaning.commit);
  if (key === "backspace") return { means: Meaning.undo };
  if (layout.answers.has(key)) return { means: Meaning.answer, ...layout.answers.get(key) };
  if (layout.back && key === "arrowleft") return { means: Meaning.turn, by: -1 };
  if (layout.back && key === "arrowright") return { means: Meaning.turn, by: 1 };
  const change = changeOf(key, shiftKey, layout);
  return change && { means: Meaning.picture, change };
}

function changeOf(key, shiftKey, { window: mayWindow, zoom: mayZoom }) {
  if (mayWindow && key === "arrowup") return shiftKey ? Change.harder : Change.brighter;
  if (mayWindow && key === "arrowdown") return shiftKey ? Change.softer : Change.darker;
  if (mayZoom && (key === "+" || key === "=")) return Change.larger;
  if (mayZoom && key === "-") return Change.smaller;
  if ((mayWindow || mayZoom) && key === "0") return Change.plain;
  return null;
}

/** The delegate: state, layout, keyPressed({means, …}). */
export class Keys {
  #stopping = null;

  /** commitButton: Enter and Space on any other button or link are that one's own. */
  constructor({ commitButton, delegate }) {
    this.commitButton = commitButton;
    this.delegate = delegate;
  }

  start() {
    if (this.#stopping) return;
    this.#stopping = new AbortController();
    document.addEventListener("keydown", (event) => this.#pressed(event), { signal: this.#stopping.signal });
  }

  stop() {
    this.#stopping?.abort();
    this.#stopping = null;
  }

  #pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (document.querySelector("dialog[open]")) return;
    const control = event.target.closest?.("button, a");
    const presses = event.key === "Enter" || event.key === " ";
    if (presses && control && control !== this.commitButton) return;
    const meaning = meaningOf(event, this.delegate.state, this.delegate.layout);
    if (!meaning) return;
    event.preventDefault();
    if (meaning.means !== Meaning.nothing) this.delegate.keyPressed(meaning);
  }
}
