// What the desk is doing: what is on its stage, and what holds it over that. While something holds the
// desk the stage below may go on: a picture comes, an answer is stored.

import { States } from "../states.js";

export const DeskState = Object.freeze({
  empty: "empty",         // before the start
  loading: "loading",     // a trial whose picture is not here yet; its keys count already
  showing: "showing",     // a trial with its picture
  answered: "answered",   // a practice image was answered; what is told of it is on its way
  told: "told",           // and stands there until it was read
  waiting: "waiting",     // nothing to show before the server has answered
  finished: "finished",   // the last image was answered; its answers are on their way
  paused: "paused",       // held by the reader, or for a break
  refused: "refused",     // held until the reader has decided about an answer that was not taken
  cramped: "cramped",     // a trial that waits for room: the window is too small for the promised size
  aside: "aside",         // held for good: the reading goes on in another tab
});

const { empty, loading, showing, answered, told, waiting, finished, paused, refused, cramped, aside } = DeskState;
const FREE = "free";

const ON_STAGE = Object.freeze({
  [empty]: [loading, waiting],
  [loading]: [loading, showing, answered, waiting, finished],
  [showing]: [loading, answered, waiting, finished],
  [answered]: [told, loading, waiting],
  [told]: [told, loading, waiting],
  [waiting]: [told, loading, waiting, finished],
  [finished]: [loading, waiting, finished],
});

const HOLDS = Object.freeze({
  [FREE]: [paused, refused, aside],
  [paused]: [FREE, refused, aside],
  [refused]: [FREE, aside],
  [aside]: [refused], // an answer that only this page has
});

export class DeskStates {
  #stage = new States(ON_STAGE, empty);
  #hold = new States(HOLDS, FREE);
  #heldBefore = FREE;
  #hasRoom = true;

  /** What the reader is before: the hold, a trial without room for it, or what is on the stage. */
  get now() {
    if (this.isHeld) return this.#hold.now;
    return this.hasTrial && !this.#hasRoom ? cramped : this.#stage.now;
  }

  get stage() { return this.#stage.now; }

  get isHeld() { return !this.#hold.is(FREE); }

  /** Whether the time is one of looking at an image. */
  get isLooking() { return this.is(loading, showing); }

  is(...states) { return states.includes(this.now); }

  /** Whether a trial is on the stage, held or not. */
  get hasTrial() { return this.#stage.is(loading, showing); }

  /** Another thing on the stage. */
  stageBecomes(next) { this.#stage.become(next); }

  /** Whether the window has room for the images; false where that is known already. */
  roomBecomes(hasRoom) {
    const isNew = hasRoom !== this.#hasRoom;
    this.#hasRoom = hasRoom;
    return isNew;
  }

  /** paused, refused or aside. */
  hold(next) {
    this.#heldBefore = this.#hold.now;
    this.#hold.become(next);
  }

  /** Nothing holds it any more; but a tab that stood aside before a refusal stands aside again. */
  release() {
    this.#hold.become(this.#hold.is(refused) && this.#heldBefore === aside ? aside : FREE);
  }
}
