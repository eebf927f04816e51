// The answers on their way to the server, one by one and in their order, again after a while where it
// cannot be reached. One that the server refuses stops them all until the reader has decided.

import { States } from "../states.js";

export const SILENCE_MS = 20_000; // without an answer for so long, the network counts as gone
const FIRST_RETRY_MS = 2_000;
const LONGEST_RETRY_MS = 15_000;
const REFUSED = new Set([404, 409, 422]);

export const SendingState = Object.freeze({
  idle: "idle",       // nothing is under way
  sending: "sending",
  asking: "asking",   // how the reading stands; an answer that is sent meanwhile goes before
  waiting: "waiting", // for the next try
  refused: "refused", // until `settle`
});
const { idle, sending, asking, waiting, refused } = SendingState;

const MOVES = Object.freeze({
  [idle]: [sending, asking, waiting],
  [sending]: [idle, refused],
  [asking]: [idle, sending],
  [waiting]: [idle, sending, asking, waiting],
  [refused]: [idle],
});

/** Why answers are kept although they were tried; other words are the server's own. */
export const Trouble = Object.freeze({
  none: "", away: "away", signedOut: "sign-in", otherReader: "other-reader",
});

/**
 * The delegate:
 *   isAside                   another tab reads: only what is in this page alone is sent
 *   stored(news)              the server has an answer; it is out of the queue
 *   wasRefused(answer, reason)
 *   allSent()                 nothing is left
 *   learned(news)             the answer to `again` where nothing was to be sent
 *   signedOut()               the same, without a session
 *   changed()                 what is kept, or the trouble
 */
export class Sending {
  trouble = Trouble.none;
  #states = new States(MOVES, idle);
  #retries = 0;
  #timer = 0;
  #question = null;
  #stopping = null;

  /** address: of the reading; queue: a Queue. */
  constructor({ address, queue, delegate }) {
    this.address = address;
    this.queue = queue;
    this.delegate = delegate;
  }

  start() {
    if (this.#stopping) return;
    this.#stopping = new AbortController();
    const { signal } = this.#stopping;
    const afresh = () => { this.#retries = 0; this.again(); };
    window.addEventListener("online", afresh, { signal });
    document.addEventListener("visibilitychange", () => { // after the sign-in in another tab
      if (!document.hidden && this.trouble === Trouble.otherReader) afresh();
    }, { signal });
  }

  /** What is under way is let be: an answer that is stored leaves the queue, and nothing more is said. */
  stop() {
    this.#stopping?.abort();
    this.#stopping = null;
    this.rest();
  }

  get state() { return this.#states.now; }

  // ---- the way of an answer -----------------------------------------------------------------

  /** Send what is in the queue; nothing while that is being done, or while a refusal waits. */
  async send() {
    if (!this.#stopping || this.#states.is(sending, refused)) return;
    if (this.delegate.isAside && !this.queue.unsafe) return;
    clearTimeout(this.#timer);
    this.#states.become(sending);
    let refusal = null;
    try {
      refusal = await this.#sendAll();
    } finally {
      this.#states.become(refusal && this.#stopping ? refused : idle);
    }
    if (!this.#stopping) return;
    if (refusal) {
      this.trouble = refusal.reason;
      this.delegate.wasRefused(refusal.answer, refusal.reason);
    }
    this.delegate.changed();
    if (refusal) return;
    if (this.queue.length) this.later();
    else this.delegate.allSent();
  }

  /** The answer that was refused, with the reason; null when all are sent, or the rest must wait. */
  async #sendAll() {
    for (let [first] = this.queue.all(); first; [first] = this.queue.all()) {
      const { news = null, reason = null } = await this.#sendOne(first);
      if (reason) return { answer: first, reason };
      if (!news) return null;
      this.queue.remove(first.key);
      if (!this.#stopping) return null;
      this.trouble = Trouble.none;
      this.#retries = 0;
      this.delegate.stored(news);
    }
    return null;
  }

  /** {news} when it is stored, {reason} when it is refused, {} when it has to wait. */
  async #sendOne(answer) {
    let reply;
    try {
      reply = await fetch(this.address, {
        method: "POST",
        headers: { accept: "application/json" },
        body: encoded(answer),
        credentials: "same-origin",
        signal: AbortSignal.timeout(SILENCE_MS), // its key makes it safe to send it again
      });
    } catch {
      this.trouble = Trouble.away;
      return {};
    }
    const body = await reply.json().catch(() => null);
    if (reply.ok && Number.isInteger(body?.answered)) return { news: body };
    if (body?.other_reader) { this.trouble = Trouble.otherReader; return {}; } // it says nothing of the answer
    if (REFUSED.has(reply.status) && body?.detail) return { reason: body.detail };
    // the rest is not about this answer, or not by our server: a network's own sign-in page, for one
    if (reply.status === 401) this.trouble = Trouble.signedOut;
    else this.trouble = reply.status >= 500 ? Trouble.away : body?.detail ?? Trouble.away;
    return {};
  }

  /** The reader has decided about the refused answer: the others may go. */
  settle() {
    this.#states.become(idle);
    this.trouble = Trouble.none;
  }

  // ---- again --------------------------------------------------------------------------------

  /** Try again after a while; nothing while something is under way or a refusal waits. */
  later() {
    if (!this.#stopping || !this.#states.is(idle, waiting)) return;
    clearTimeout(this.#timer);
    if (this.trouble === Trouble.otherReader) { // each try under another name is an event
      if (this.#states.is(waiting)) this.#states.become(idle);
      this.delegate.changed();
      return;
    }
    this.#timer = setTimeout(() => this.again(), Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** this.#retries));
    this.#retries += 1;
    this.#states.become(waiting);
    this.delegate.changed();
  }

  /** No further try by itself, and no refusal to decide about: another tab has the reading. */
  rest() {
    clearTimeout(this.#timer);
    if (this.#states.is(waiting, refused, asking)) this.#states.become(idle);
  }

  /** Send what is kept; where nothing is, ask how the reading stands. */
  async again() {
    if (!this.#stopping || this.#states.is(refused)) return;
    if (this.queue.length) { await this.send(); return; }
    if (this.delegate.isAside || this.#states.is(sending, asking)) return;
    clearTimeout(this.#timer);
    this.#states.become(asking);
    const question = this.#question = {};
    const answer = await this.#ask(this.address);
    if (!this.#states.is(asking) || this.#question !== question) return; // what was sent meanwhile tells more
    this.#states.become(idle);
    if (answer.status === 401) { this.delegate.signedOut(); return; }
    if (!Array.isArray(answer.body?.upcoming)) { this.later(); return; }
    this.trouble = Trouble.none;
    this.#retries = 0;
    this.delegate.changed();
    this.delegate.learned(answer.body);
  }

  /** An earlier trial with its answer; null where it cannot be had. */
  async earlier(position) {
    const { body } = await this.#ask(`${this.address}?position=${position}`);
    return body?.token ? body : null;
  }

  /** Whether a page of ours can be reached now. */
  async reaches(href) {
    try {
      const reply = await fetch(href, { credentials: "same-origin", cache: "no-store" });
      return reply.ok;
    } catch { return false; }
  }

  async #ask(address) {
    try {
      const reply = await fetch(address, {
        headers: { accept: "application/json" }, credentials: "same-origin", signal: AbortSignal.timeout(SILENCE_MS),
      });
      return { status: reply.status, body: reply.ok ? await reply.json() : null };
    } catch { return { status: 0, body: null }; }
  }
}

// given_at is this browser's clock: only how long ago that is means something elsewhere.
function encoded({ given_at: givenAt, ...answer }) {
  const body = new URLSearchParams();
  if (Number.isFinite(givenAt)) body.append("waited_ms", Math.round(Date.now() - givenAt));
  for (const [name, value] of Object.entries(answer)) {
    for (const one of Array.isArray(value) ? value : [value]) body.append(name, one);
  }
  return body;
}
