// The reading desk. Keys answer, Enter commits, the next trial is already decoded. An answer is kept
// in this browser until the server has it; its key makes sure that it is stored once. One that the
// server refuses stops the desk: it and those after it stay here until the reader has decided.

import { uuid } from "../outbox.js";
import { rooted } from "../root.js";
import { Answer } from "./answer.js";
import { Begun } from "./begun.js";
import { Clock } from "./clock.js";
import { Display } from "./display.js";
import { Keys, Meaning } from "./keys.js";
import { Pictures } from "./pictures.js";
import { Queue } from "./queue.js";
import { Sending, Trouble } from "./sending.js";
import { DeskState, DeskStates } from "./states.js";
import { Tabs } from "./tabs.js";
import { View } from "./view.js";
import { coverOf, Wait, whereAnswersAre } from "./words.js";

const { loading, answered, told, waiting, finished, paused, refused, aside, cramped, showing } = DeskState;
const READ_MS = 700; // a message is not answered sooner than it can be read

export class Desk {
  #states = new DeskStates();
  #trial = null;      // {token, position, key, earlier}: on the stage; earlier: the answer gone back to
  #reading;           // what the server last told: {state, answered, total, minutes_left, upcoming}
  #wait = Wait.network;
  #pause = { title: "Paused", words: "" };
  #feedback = "";
  #refusal = null;    // {answer, reason, at, hasNoRoom}: no room for it beside the queue, as the cover says
  #hasAnswered = false;
  #isSigningIn = false;
  #stopping = null;

  /**
   * element: the desk; keyList: the dialog of its keys; storage and session: localStorage and
   * sessionStorage, null where the browser refuses them; page: {replace(address), assign(address),
   * reload()}, the way to elsewhere; signIn: asks for a sign-in over the page, and says whether the
   * reader is signed in then.
   */
  constructor({ element, keyList, storage, session, page, signIn = async () => false }) {
    this.signIn = signIn;
    const { token, pauseKey } = element.dataset;
    this.page = page;
    this.rules = JSON.parse(element.dataset.rules);
    this.#reading = JSON.parse(element.dataset.desk);
    this.address = rooted(`/readings/${token}`);
    const name = `hepatica-desk:${token}`;
    this.queue = new Queue(token, storage);
    this.view = new View({ element, keyList, delegate: this });
    this.answer = new Answer(this.view);
    this.layout = { pauseKey: pauseKey.toLowerCase(), answers: this.view.keys, ...this.rules };
    this.display = new Display();
    this.clock = new Clock();
    this.begun = new Begun(`${name}:begun`, session);
    this.pictures = new Pictures({
      sizePx: this.rules.image_px, className: this.view.images[0].className, sides: this.rules.sides,
    });
    this.keys = new Keys({ commitButton: this.view.commitButton, delegate: this });
    this.sending = new Sending({ address: this.address, queue: this.queue, delegate: this });
    this.tabs = new Tabs({ name, session, delegate: this });
  }

  start() {
    if (this.#stopping) return;
    this.#stopping = new AbortController();
    const { signal } = this.#stopping;
    // what the storage did not take would go with the page
    window.addEventListener("beforeunload", (event) => { if (this.queue.unsafe + this.queue.unsafeAside) event.preventDefault(); }, { signal });
    window.addEventListener("pagehide", () => this.#keepBegun(), { signal });
    window.addEventListener("signing-in", () => this.#signingIn(), { signal });
    window.addEventListener("signing-in-over", () => this.#signedInOrNot(), { signal });
    window.addEventListener("signed-in", () => this.sending.again(), { signal });
    for (const part of [this.clock, this.view, this.keys, this.sending, this.tabs]) part.start();
    this.roomChanged();
    this.#fetchAhead();
    if (!this.queue.length) { this.#show(this.#reading.upcoming[0]); return; }
    this.#waitFor(Wait.earlier); // they come first
    this.changed();
    this.sending.send();
  }

  stop() {
    this.#stopping?.abort();
    this.#stopping = null;
    this.#keepBegun();
    for (const part of [this.tabs, this.sending, this.keys, this.view, this.clock, this.pictures]) part.stop();
  }

  get state() { return this.#states.now; }
  get takesAnswers() { return this.#states.isLooking; }
  get isAside() { return this.#states.is(aside); }

  get #answers() {
    const { queue } = this;
    return { kept: queue.length, unsafe: queue.unsafe, aside: queue.aside().length, unsafeAside: queue.unsafeAside };
  }

  // ---- an image, from its showing to its answer ---------------------------------------------

  #show(trial, earlier = null) {
    this.clock.restart();
    this.#trial = null;
    this.answer.begin(earlier);
    this.display.reset();
    this.view.showDisplay(this.display.values);
    this.view.showAnswer(this.answer);
    if (!trial) { this.#waitOrEnd(); return; }
    this.#trial = { ...trial, key: uuid(), earlier };
    this.#stageBecomes(loading);
    this.view.hidePictures();
    this.view.showTrial({ ...this.#trial, ...this.#placeOf(trial.position) });
    this.#showPicture(this.#trial);
  }

  async #showPicture(trial) {
    const images = await this.pictures.get(trial.token).catch(() => null);
    if (this.#trial !== trial || !this.#stopping) return;
    if (!images) { this.#waitOrEnd(); return; }
    this.view.showPictures(images);
    this.view.showDisplay(this.display.values);
    this.clock.restart();
    this.#stageBecomes(showing);
    if (!trial.earlier) this.#goOnWith(this.begun.take(trial.token));
    if (this.#states.is(cramped)) this.#sayCramped();
    else this.view.sayPlace();
  }

  #placeOf(position) {
    const { practice, thing } = this.rules;
    const isPractice = position <= practice;
    return {
      isPractice,
      thing: thing === "pair" ? "Pair" : "Image",
      place: isPractice ? position : position - practice,
      of: isPractice ? practice : this.#reading.total - practice,
    };
  }

  chosen(name, value) {
    if (!this.answer.choose(name, value)) return;
    this.view.showAnswer(this.answer);
    this.view.sayChoice(name, value);
  }

  answeredCovered() {
    this.view.showAnswer(this.answer);
    this.view.say("Not taken: no image is shown.");
  }

  reasonTicked(value, isOn) { return this.answer.tick(value, isOn) !== null; }

  #tick(value) {
    const isOn = this.answer.tick(value);
    if (isOn !== null) this.view.showAnswer(this.answer);
    this.view.sayReason(value, isOn);
  }

  #undo() {
    const isUndone = this.answer.undo();
    if (isUndone) this.view.showAnswer(this.answer);
    this.view.say(isUndone ? "Taken back." : "Nothing to take back.");
  }

  #changePicture(change) {
    this.display.change(change);
    this.view.showDisplay(this.display.values);
  }

  committed() {
    this.roomChanged(); // what is stored was seen whole
    if (!this.#states.isLooking) return;
    // keys count before the picture is there; nobody has seen it
    if (!this.#states.is(showing)) { this.view.say(`The ${this.rules.thing} is not here yet.`); return; }
    const { missing } = this.answer;
    if (missing.length) { this.view.showMissing(missing); return; }
    const { earlier, token, position } = this.#trial;
    if (earlier && this.answer.isSameAs(earlier)) { this.#show(this.#reading.upcoming[0]); return; }
    this.queue.add(this.#given());
    this.#hasAnswered = true;
    this.pictures.forget(token);
    if (earlier) this.#show(this.#reading.upcoming[0]);
    else this.#goOnAfter(position);
    this.changed();
    this.sending.send();
  }

  /** The answer as it is sent. */
  #given() {
    const { token, key, earlier } = this.#trial;
    const { active, hidden, idle } = this.clock.times;
    return {
      trial: token,
      key,
      ...this.answer.chosen,
      reasons: this.answer.reasons,
      active_ms: Math.round(active),
      hidden_ms: Math.round(hidden),
      idle_ms: Math.round(idle),
      changes: this.answer.changes,
      given_at: Date.now(),
      revises: Boolean(earlier),
      view: JSON.stringify({ px: this.view.sidePx, dpr: window.devicePixelRatio, ...this.display.values }),
    };
  }

  #goOnAfter(position) {
    const { upcoming, total } = this.#reading;
    const { practice, break_every: every } = this.rules;
    this.#reading.upcoming = upcoming.filter((one) => one.position > position);
    if (position <= practice) {
      this.#trial = null;
      this.#stageBecomes(answered);
      return;
    }
    this.#show(upcoming.find((one) => one.position === position + 1) ?? null);
    const read = position - practice;
    if (every && read % every === 0 && position < total) this.#offerBreak(read);
  }

  // ---- what was begun before the page was loaded again --------------------------------------

  #keepBegun() {
    if (!this.#trial || this.#trial.earlier) return;
    const { chosen, reasons, changes } = this.answer;
    this.begun.keep({
      trial: this.#trial.token, chosen, reasons, changes, view: this.display.values, ...this.clock.times,
    });
  }

  #goOnWith(begun) {
    if (!begun) return;
    this.clock.takeUp(begun);
    if (this.answer.isBegun) return; // keys that were faster than the picture count
    this.answer.takeUp(begun);
    this.display.takeUp(begun.view);
    this.view.showDisplay(this.display.values);
    this.view.showAnswer(this.answer);
  }

  // ---- nothing to show ----------------------------------------------------------------------

  /** The reading is over, or the next pictures are not here yet. */
  #waitOrEnd() {
    const kept = this.queue.all().filter((one) => !one.revises).length;
    const isOver = this.#reading.total - this.#reading.answered - kept <= 0;
    if (!isOver) {
      this.#waitFor(this.#awaited);
      if (!this.queue.length) this.sending.later();
      return;
    }
    this.#trial = null;
    this.#stageBecomes(finished);
    if (!this.queue.length) this.page.replace(this.address);
  }

  /** What there is nothing to show for. */
  get #awaited() {
    switch (this.sending.trouble) {
      case Trouble.signedOut: return Wait.signedOut;
      case Trouble.otherReader: return Wait.otherReader;
      default: return Wait.network;
    }
  }

  #waitFor(wait) {
    this.#trial = null;
    this.#wait = wait;
    this.#stageBecomes(waiting);
  }

  #goOn() {
    if (this.#reading.state !== "reading") { this.page.replace(this.address); return; }
    const [next] = this.#reading.upcoming;
    if (next) { this.#show(next); return; }
    this.#waitFor(this.#awaited);
    this.sending.later();
  }

  #readOn() {
    this.#feedback = "";
    this.#goOn();
  }

  /** Go to an earlier trial or forward again; the server gives the picture's token and the answer. */
  async #turnTo(position) {
    if (this.queue.length) return;
    const from = this.#trial;
    const now = this.#reading.upcoming[0]?.position;
    if (position <= this.rules.practice || position > now) { this.view.say(`There is no ${this.rules.thing} to go to.`); return; }
    if (position === now) { this.#show(this.#reading.upcoming[0]); return; }
    const found = await this.sending.earlier(position);
    if (this.#trial !== from || !this.#states.isLooking) return; // the reader has gone on
    if (found) {
      this.#keepBegun(); // for the way back: its keys and its time
      this.#show({ token: found.token, position: found.position }, found);
    } else this.view.say(`The earlier ${this.rules.thing} cannot be reached now.`);
  }

  // ---- of the sending -----------------------------------------------------------------------

  stored(news) {
    this.#learn(news);
    if (news.feedback && [answered, told, waiting].includes(this.#states.stage)) this.#tell(news.feedback);
  }

  allSent() {
    if (!this.#states.hasTrial && this.#states.stage !== told) this.#goOn();
  }

  /** A trial on the stage stays there, with its keys and its time, unless it is answered elsewhere. */
  learned(news) {
    const { stage, hasTrial } = this.#states;
    const isCurrent = hasTrial && (this.#trial.earlier || this.#trial.position > news.answered);
    this.#learn(news);
    if (news.state !== "reading" || !(isCurrent || stage === told)) this.#goOn();
  }

  /** In place, so that the trial stays; else by the page for it, which leads back. */
  async signedOut() {
    if (await this.signIn()) return;
    if (this.#stopping) this.page.replace(this.address);
  }

  changed() {
    const { queue } = this;
    this.view.showSaved({
      kept: queue.length,
      unsafe: queue.unsafe,
      trouble: this.sending.trouble,
      hasAnswered: this.#hasAnswered,
      signIn: rooted(`/sessions/new?next=${encodeURIComponent(this.address)}`),
    });
    if (this.#states.is(paused)) this.#showCover();
  }

  /** An answer was refused: it and all after it stay here, and the reader is told. */
  wasRefused(answer, reason) {
    this.#refusal = { answer, reason, at: performance.now() };
    this.#hold(refused);
    this.view.focusGoOn();
    this.view.say(`An answer was not taken. ${reason} Press Enter to set it aside and go on.`);
  }

  #setAside() {
    const { answer, reason, at, hasNoRoom } = this.#refusal;
    if (performance.now() - at < READ_MS) return; // that Enter was meant for the image before
    if (hasNoRoom) this.queue.setAsideHere(answer, reason);
    else if (!this.queue.setAside(answer, reason)) {
      this.#refusal = { answer, reason, at: performance.now(), hasNoRoom: true };
      this.#showCover();
      this.view.say("This browser has no room to keep that answer. Write it down, then press Enter to go on.");
      return;
    }
    this.#refusal = null;
    this.#keepBegun();
    this.#states.release();
    this.#waitFor(Wait.decided);
    this.sending.settle();
    this.sending.again();
  }

  /** Take over what the server says, but never go back behind what was answered here. */
  #learn(news) {
    const behind = this.queue.all().filter((one) => !one.revises).length;
    const mine = this.#trial && !this.#trial.earlier ? this.#trial.position : null;
    const first = mine ?? news.answered + behind + 1;
    this.#reading = { ...news, upcoming: news.upcoming.filter((one) => one.position >= first) };
    this.view.showLeft(news.minutes_left);
    this.#fetchAhead();
  }

  #fetchAhead() { this.pictures.fetchAhead(this.#reading.upcoming.map((one) => one.token)); }

  #tell(feedback) {
    const next = this.#reading.upcoming[0];
    const isLast = next && next.position > this.rules.practice;
    this.#feedback = `${feedback}${isLast ? " The practice ends here: from now on nothing is told." : ""}`;
    this.#stageBecomes(told);
    this.view.say(`${feedback} Press Enter to go on.`);
  }

  // ---- pause, another tab, away -------------------------------------------------------------

  pauseAsked() {
    if (this.#states.is(paused)) {
      this.#release();
      if (this.#states.is(cramped)) this.#sayCramped();
      else this.view.say("Going on.");
    } else if (this.#states.isLooking) this.#pauseWith("Paused", "", "Paused.");
  }

  /** The picture is covered while the reader types a password: that time counts as idle. */
  #signingIn() {
    if (!this.#states.isLooking) return;
    this.#isSigningIn = true;
    this.#pauseWith("Signing in", "", "Paused for the sign-in.");
  }

  #signedInOrNot() {
    if (!this.#isSigningIn) return;
    this.#isSigningIn = false;
    if (this.#states.is(paused)) this.pauseAsked();
  }

  #offerBreak(read) {
    if (this.#states.isHeld) return;
    this.#pauseWith("Time for a break", `${read} ${this.rules.thing}s are read. Rest your eyes.`, "Time for a break.");
  }

  #pauseWith(title, words, said) {
    this.#pause = { title, words };
    this.#hold(paused);
    this.view.say(said);
  }

  standAside() {
    if (this.isAside) return;
    this.#refusal = null; // the tab that reads on is told as well
    this.sending.rest();
    this.#hold(aside);
    this.view.say("This reading is open in another tab. Press Enter to read here instead.");
  }

  // ---- room for images of a promised size ---------------------------------------------------

  /** The window or the stage has another size: where images of a promised size have no room, all waits. */
  roomChanged() {
    if (this.rules.screen) this.view.showOtherScreen(isOtherScreen(this.rules.screen));
    const wasCramped = this.#states.is(cramped);
    const isNew = this.#states.roomBecomes(this.view.hasRoom);
    if (this.#states.is(cramped)) this.#settle(); // its numbers are other ones, too
    if (isNew && this.#states.is(cramped)) this.#sayCramped();
    if (!wasCramped || this.#states.is(cramped)) return;
    this.view.uncover();
    this.#settle();
    this.view.say("There is room now. Going on.");
  }

  #sayCramped() { this.view.say("This window is too small for the images. Make it larger, or fill the screen with it."); }

  #takeOver() {
    this.tabs.claim();
    this.page.reload();
  }

  /** Never to the browser's own error page. */
  async leaving(href) {
    if (await this.sending.reaches(href) && !this.queue.unsafe) { this.page.assign(href); return; }
    const words = `The server cannot be reached, so this page stays. ${whereAnswersAre(this.#answers)}`;
    this.view.tellOnCover(words);
    this.view.say(words);
  }

  // ---- keys, buttons and the cover ----------------------------------------------------------

  keyPressed({ means, name, value, isReason, by, change }) {
    switch (means) {
      case Meaning.list: this.view.showKeys(); break;
      case Meaning.setAside: this.#setAside(); break;
      case Meaning.takeOver: this.#takeOver(); break;
      case Meaning.readOn: this.#readOn(); break;
      case Meaning.pause: this.pauseAsked(); break;
      case Meaning.commit: this.committed(); break;
      case Meaning.undo: this.#undo(); break;
      case Meaning.answer: if (isReason) this.#tick(value); else this.chosen(name, value); break;
      case Meaning.turn: this.#turnTo(this.#trial.position + by); break;
      case Meaning.picture: this.#changePicture(change); break;
      default: throw new Error(`No key means ${means}.`);
    }
  }

  goneOn() {
    if (this.#states.is(refused)) this.#setAside();
    else if (this.isAside) this.#takeOver();
    else if (this.#states.is(told)) this.#readOn();
  }

  #stageBecomes(stage) {
    this.#states.stageBecomes(stage);
    this.#settle();
  }

  #hold(by) {
    this.#states.hold(by);
    this.#settle();
  }

  #release() {
    this.#states.release();
    if (this.#states.isLooking) this.view.uncover();
    this.#settle();
  }

  #settle() {
    this.clock.rest(!this.#states.isLooking);
    this.view.showPaused(this.#states.is(paused));
    this.#showCover();
  }

  #showCover() {
    if (this.#states.is(showing)) this.view.uncover();
    const cover = coverOf(this.state, {
      wait: this.#wait, pause: this.#pause, pauseKey: this.layout.pauseKey, feedback: this.#feedback,
      refusal: this.#refusal, room: this.view.room, ...this.#answers,
    });
    if (cover) this.view.coverWith(...cover); // while a picture is loading, what stands there stays
  }
}

/** Whether this is another screen than the one that was matched: [device pixel ratio, width, height]. */
function isOtherScreen(matched) {
  const now = [window.devicePixelRatio, window.screen.width, window.screen.height];
  return !now.every((value, place) => Math.abs(value - matched[place]) < 0.01);
}
