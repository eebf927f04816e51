// The lesion panel. It is bound to one lesion: `lesion` is the id whose form is here and live, and null
// from the moment another one is asked for until that one's answer is in. Whoever obeys a key or a button
// of the review asks for `form` first, which is null whenever the form must do nothing.

import { request, swap } from "./fragment.js";

const FIELDS = ["lesion_class", "confidence", "basis", "note"];
const ONE_GO_MS = 1_000; // keys that follow each other faster were typed in one go
const UNSEEN_MS = 600; // nobody has read in less what was filled in before
const $ = (selector, root) => root.querySelector(selector);
const clone = (id) => document.getElementById(id).content.cloneNode(true);

/** What is filled in: {lesion_class, confidence, basis, note}, "" where nothing is. */
export function filledIn(form) {
  const data = new FormData(form);
  return Object.fromEntries(FIELDS.map((name) => [name, String(data.get(name) ?? "")]));
}

/** Events: "filled" ({ lesion, values, empty }), "discarded" ({ lesion }). */
export class Panel extends EventTarget {
  #root;
  #lesion = null;
  #listening = -1;
  #basis = "";
  #retry = null;
  #deafUntil = 0;
  #seenFrom = 0;
  #waking = 0;

  constructor(root) {
    super();
    this.#root = root;
    root.addEventListener("change", (event) => { this.#ask(event.target); this.#tell(event.target); });
    root.addEventListener("input", (event) => this.#tell(event.target));
    root.addEventListener("toggle", (event) => this.#load(event.target), true); // it does not bubble
    root.addEventListener("click", (event) => {
      if (event.target.closest("[data-discard]") && this.form) this.#discard();
      const link = event.target.closest("[data-loaded] a.chip");
      if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
        event.preventDefault();
        this.#choose(link);
      }
    });
  }

  /** What is asked of the server only when somebody opens it; once, unless no answer came. */
  async #load(details) {
    if (!details.open || !details.dataset.load) return;
    const address = details.dataset.load;
    const place = $("[data-loaded]", details);
    delete details.dataset.load;
    place.textContent = "Asking the network …";
    try {
      place.innerHTML = (await request(address)).html;
    } catch (refusal) {
      details.dataset.load = address;
      place.textContent = `${refusal.message} Close this and open it again.`;
    }
  }

  /** Another choice within what was loaded: its answer comes in its place, the newest one only. */
  async #choose(link) {
    const place = link.closest("[data-loaded]");
    const address = link.getAttribute("href");
    place.dataset.asked = address;
    place.setAttribute("aria-busy", "true");
    const isNewest = () => place.isConnected && place.dataset.asked === address;
    try {
      const { html } = await request(address);
      if (!isNewest()) return;
      const group = link.closest("nav")?.getAttribute("aria-label");
      const hadFocus = place.contains(document.activeElement);
      place.innerHTML = html;
      if (hadFocus) $(`nav[aria-label="${group}"] [aria-current]`, place)?.focus({ preventScroll: true });
    } catch (refusal) {
      if (isNewest()) place.textContent = `${refusal.message} Load the lesion again.`;
    }
    if (isNewest()) place.removeAttribute("aria-busy");
  }

  /** What of the panel was opened or closed now; null where it is not there. */
  #toggled(selector) {
    const details = this.article ? $(selector, this.article) : null;
    if (!details) return null;
    const lies = details.parentElement.closest("details"); // behind the line of the answer
    details.open = !(details.open && (lies?.open ?? true));
    if (lies && details.open) lies.open = true;
    return details;
  }

  /** Open or close the map of what moves the score; false where there is none to open. */
  toggleMap() {
    const map = this.#toggled("[data-saliency]");
    if (!map) return false;
    this.#load(map).then(() => { if (map.open) map.scrollIntoView({ block: "start" }); });
    return true;
  }

  /** Open or close what is behind the network's line; false where no answer is shown. */
  toggleAnswer() {
    const details = this.#toggled("[data-answer]");
    if (!details) return false;
    if (details.open) details.scrollIntoView({ block: "nearest" });
    return true;
  }

  /** Open or close the comparison with other lesions; false where the panel has none, as while it is covered. */
  compare() {
    const details = this.#toggled("[data-compare]");
    if (!details) return false;
    if (details.open) details.scrollIntoView({ block: "nearest" });
    return true;
  }

  get lesion() { return this.#lesion; }
  get article() { return this.#lesion === null ? null : $("[data-panel]", this.#root); }
  get editable() { return this.article?.hasAttribute("data-editable") ?? false; }
  get hasFailed() { return this.#retry !== null; }

  /** The live review form; null while it is loading, being saved, or there is none. */
  get form() {
    const form = this.article ? $("[data-review]", this.article) : null;
    return form && !form.inert ? form : null;
  }

  /** Whether the keys of the review are taken now. */
  get hears() { return this.form !== null && performance.now() >= Math.max(this.#deafUntil, this.#seenFrom); }

  /**
   * A key of the review came that was not taken. What is typed in one go counts as one: when its first keys
   * came before the lesion was here, the others must not become another answer than was meant. last: the
   * key ended it, so what comes next is meant anew.
   */
  missed(last) {
    this.#deafUntil = last ? 0 : performance.now() + ONE_GO_MS;
    this.#wake();
  }

  #wake() {
    this.#listenFor(this.#listening);
    clearTimeout(this.#waking);
    const wait = Math.max(this.#deafUntil, this.#seenFrom) - performance.now();
    this.#waking = setTimeout(() => this.#listenFor(this.#firstUnanswered()), Math.max(0, wait) + 1);
  }

  // ---- what is in it ------------------------------------------------------------------------

  empty() {
    this.#clear();
    this.#root.replaceChildren(clone("panel-empty"));
  }

  /** Nothing of the lesion before remains, from now on. */
  loading(title, text) { this.#notice("panel-loading", title, text); }

  /** Say that it is not here; retry is called for the button and the key, and null offers neither. */
  failed(title, text, { retry = null, signIn = false, successor = null } = {}) {
    this.#notice("panel-failed", title, text);
    this.#retry = retry;
    $("[data-again]", this.#root).hidden = retry === null;
    $("[data-sign-in]", this.#root).hidden = !signIn;
    if (successor) {
      const link = $("[data-successor]", this.#root);
      link.href = successor.href;
      link.textContent = successor.text;
      link.hidden = false;
    }
  }

  /** Try again what failed; false when nothing did. */
  again() {
    if (!this.#retry) return false;
    this.#retry();
    return true;
  }

  /** The server's panel of this lesion, with what was drafted for it. */
  show(html, lesion, draft = null) {
    this.#clear();
    swap(this.#root, html);
    return this.adopt(lesion, draft);
  }

  /** The panel that is in the page already. Returns the draft that is in it, or null. */
  adopt(lesion, draft = null) {
    const article = $("[data-panel]", this.#root);
    if (article?.dataset.panel !== lesion.id) { this.#clear(); return null; }
    this.#lesion = lesion.id;
    this.#basis = $("[name=basis]", article)?.value ?? "";
    const kept = draft && !this.#isStored(article, draft) ? draft : null;
    if (kept) this.#fill(kept);
    this.#listenFor(this.#firstUnanswered());
    this.#seenFrom = kept ? performance.now() + UNSEEN_MS : 0;
    this.#wake();
    return kept;
  }

  /** The form does nothing while it, or the withdrawal of its lesion, is on its way; its button says what is. */
  hold(text) {
    const form = this.form;
    if (!form) return;
    form.inert = true;
    $("[data-save-text]", form).dataset.before ??= $("[data-save-text]", form).textContent;
    $("[data-save-text]", form).textContent = text;
    this.#listenFor(-1);
  }

  /** It is live again: what was sent is not stored. */
  release() {
    const form = this.article ? $("[data-review]", this.article) : null;
    if (!form?.inert) return;
    form.inert = false;
    const text = $("[data-save-text]", form);
    text.textContent = text.dataset.before ?? text.textContent;
    this.#listenFor(this.#firstUnanswered());
  }

  #clear() {
    this.#lesion = null;
    this.#retry = null;
    this.#listening = -1;
  }

  #notice(template, title, text) {
    this.#clear();
    const notice = clone(template);
    $("[data-title]", notice).textContent = title;
    $("[data-text]", notice).textContent = text;
    this.#root.replaceChildren(notice);
  }

  // ---- drafts -------------------------------------------------------------------------------

  #isStored(article, draft) {
    const { ownClass, ownConfidence, ownBasis, ownNote } = article.dataset;
    return ownClass === draft.lesion_class && ownConfidence === draft.confidence
      && ownBasis === draft.basis && ownNote === draft.note.trim();
  }

  #fill(draft) {
    const form = $("[data-review]", this.article);
    if (!form) return;
    for (const name of ["lesion_class", "confidence"]) {
      for (const choice of form.querySelectorAll(`[name=${name}]`)) choice.checked = choice.value === draft[name];
    }
    if (draft.basis) $("[name=basis]", form).value = draft.basis;
    $("[name=note]", form).value = draft.note;
    form.closest("details")?.setAttribute("open", "");
    $("[data-draft]", form).hidden = false;
  }

  #tell(target) {
    const form = this.form;
    if (!form || !form.contains(target)) return;
    const values = filledIn(form);
    const empty = !values.lesion_class && !values.confidence && !values.note.trim() && values.basis === this.#basis;
    $("[data-draft]", form).hidden = empty;
    this.dispatchEvent(new CustomEvent("filled", { detail: { lesion: this.#lesion, values, empty } }));
  }

  #discard() {
    const form = this.form;
    form.reset();
    $("[data-draft]", form).hidden = true;
    this.#listenFor(0);
    this.dispatchEvent(new CustomEvent("discarded", { detail: { lesion: this.#lesion } }));
  }

  // ---- the review by keys: class, then confidence, then Enter -------------------------------

  get #questions() { return this.form ? [...this.form.querySelectorAll("[data-question]")] : []; }

  #firstUnanswered() {
    const questions = this.#questions;
    const open = questions.findIndex((question) => !$(":checked", question));
    return open < 0 ? questions.length - 1 : open;
  }

  #listenFor(n) {
    const questions = this.#root.querySelectorAll("[data-question]");
    this.#listening = this.form ? n : -1;
    questions.forEach((question, index) => question.classList.toggle("is-listening", this.hears && index === this.#listening));
  }

  #ask(target) {
    const question = target.closest("[data-question]");
    const questions = this.#questions;
    if (!question || !questions.includes(question)) return;
    this.#listenFor(Math.min(questions.indexOf(question) + 1, questions.length - 1));
  }

  /** A number key: the choice of the question that listens, as {question, says}; null when none took it. */
  answer(digit) {
    if (!this.hears) return null;
    const question = this.#questions[this.#listening];
    const choice = question ? $(`input[data-key="${digit}"]`, question) : null;
    if (!choice) return null;
    question.closest("details")?.setAttribute("open", "");
    choice.checked = true;
    choice.dispatchEvent(new Event("change", { bubbles: true }));
    return { question: $("legend", question).textContent.trim(), says: choice.dataset.says };
  }

  /** Back to the question before; false when there is none. */
  back() {
    if (this.#listening < 1) return false;
    this.#listenFor(this.#listening - 1);
    return true;
  }

  /** The form to send with Enter: live, on the screen and with a class; else null. */
  get ready() {
    const form = this.form;
    if (!this.hears || form.closest("details:not([open])")) return null;
    return $("[name=lesion_class]:checked", form) ? form : null;
  }
}
