// What the reader sees of the desk, and what is done by mouse. It shows what it is told.

import { rooted } from "../root.js";
import { Trouble } from "./sending.js";

const QUESTIONS = {
  rating: "1 to 6", choice: "left or right", lesion_class: "lesion class", class_confidence: "how sure of the class",
};
const IN_WORDS = ["rating", "choice"]; // their labels stand below the keys

/**
 * The delegate:
 *   committed(), chosen(name, value), reasonTicked(value, isOn) → false where none may be given
 *   takesAnswers    whether an image is looked at; answeredCovered(): by mouse, where none is
 *   roomChanged()   the stage has another size, or the window is on another screen
 *   goneOn()        the button of the cover
 *   leaving(href), pauseAsked()
 */
export class View {
  #stopping = null;

  /** element: the desk; keyList: the dialog of the keys; delegate: as above. */
  constructor({ element, keyList, delegate }) {
    this.element = element;
    this.keyList = keyList;
    this.delegate = delegate;
    this.form = this.#find("answers");
    this.stage = this.#find("stage");
    this.cover = this.#find("cover");
    this.radios = [...this.form.querySelectorAll("input[type=radio]")];
    this.boxes = [...this.form.querySelectorAll("input[name=reasons]")];
    this.commitButton = this.form.querySelector(".desk__commit");
    this.promised = element.dataset.promised ?? null; // width of an image in mm, where the protocol has one
    this.firstWords = this.#find("words").textContent;
  }

  #find(name) { return this.element.querySelector(`[data-${name}]`); }

  start() {
    if (this.#stopping) return;
    this.#stopping = new AbortController();
    const { signal } = this.#stopping;
    const on = (target, kind, run) => target.addEventListener(kind, run, { signal });
    on(this.form, "submit", (event) => { event.preventDefault(); this.delegate.committed(); });
    on(this.form, "change", (event) => this.#changed(event.target)); // by mouse, arrows or a screen reader
    on(this.#find("go-on"), "click", () => this.delegate.goneOn());
    on(this.#find("leave"), "click", (event) => {
      event.preventDefault();
      this.delegate.leaving(event.currentTarget.href);
    });
    on(this.#find("pause"), "click", (event) => {
      this.delegate.pauseAsked();
      event.currentTarget.blur();
    });
    on(this.#find("keys"), "click", (event) => {
      event.currentTarget.blur();
      this.showKeys();
    });
    this.#watchRoom(signal);
  }

  /** Tell of every other size of the stage, from now on. */
  #watchRoom(signal) {
    const watch = new ResizeObserver(() => this.delegate.roomChanged());
    watch.observe(this.stage);
    signal.addEventListener("abort", () => watch.disconnect());
    window.addEventListener("resize", () => this.delegate.roomChanged(), { signal });
  }

  stop() {
    this.#stopping?.abort();
    this.#stopping = null;
  }

  #changed(input) {
    if (!this.delegate.takesAnswers) { this.delegate.answeredCovered(); return; }
    if (input.type === "radio") this.delegate.chosen(input.name, input.value);
    else if (input.name === "reasons" && !this.delegate.reasonTicked(input.value, input.checked)) {
      input.checked = false;
      this.say(this.#whyNoReasons);
    }
  }

  // ---- what may be answered -----------------------------------------------------------------

  /** question → its values, of the questions that the protocol asks. */
  get choices() {
    const names = [...new Set(this.radios.map((one) => one.name))];
    return Object.fromEntries(names.map((name) => [name, this.radios.filter((one) => one.name === name).map((one) => one.value)]));
  }

  /** The rating from which on reasons may be given, and why not before. */
  get reasonsFrom() { return Number(this.#find("reasons")?.dataset.reasonsFrom ?? Infinity); }
  get #whyNoReasons() { return this.#find("reasons").dataset.reasons; }

  get reasons() { return this.boxes.map((box) => box.value); }

  /** Lower-case key → {name, value, isReason}. */
  get keys() {
    return new Map([...this.radios, ...this.boxes].map((input) => [
      (input.dataset.hotkey ?? input.value).toLowerCase(),
      { name: input.name, value: input.value, isReason: input.type === "checkbox" },
    ]));
  }

  #rowOf(name) { return this.radios.find((one) => one.name === name).closest("fieldset"); }

  /** The grades that were given, each with what it means. */
  #graded(chosen) {
    const given = Object.entries(chosen).filter(([name, value]) => value !== null && this.#rowOf(name).dataset.missing);
    return given.map(([name, value]) => this.#labelOf(name, value)).join("; ");
  }

  #labelOf(name, value) {
    return [...this.radios, ...this.boxes].find((one) => one.name === name && one.value === value)?.getAttribute("aria-label");
  }

  // ---- the image and its answer -------------------------------------------------------------

  /** One, or the two of a pair from the left. */
  get images() { return [...this.stage.querySelectorAll("[data-image]")]; }

  /** Width and height of an image as it is laid out, in CSS pixels, before any enlargement. */
  get sidePx() { return this.images[0].offsetWidth; }

  /** {promised, sidePx, beside, width, height}: what images of a promised size need, and the room there is. */
  get room() {
    const style = getComputedStyle(this.stage);
    const { top, width, height } = this.stage.getBoundingClientRect();
    const seen = Math.min(height, window.innerHeight - window.scrollY - top); // without scrolling
    const within = (size, ...ends) => Math.floor(ends.reduce((left, end) => left - (Number.parseFloat(style.getPropertyValue(end)) || 0), size));
    return {
      promised: this.promised,
      sidePx: this.sidePx,
      beside: this.images.length,
      width: within(width, "padding-left", "padding-right"),
      height: within(seen, "padding-top", "padding-bottom"),
    };
  }

  /** Images without a promised size take the room there is. */
  get hasRoom() {
    if (this.promised === null) return true;
    const { images, room } = this;
    const last = images.at(-1);
    return last.offsetLeft + last.offsetWidth - images[0].offsetLeft <= room.width && room.sidePx <= room.height;
  }

  showTrial({ token, key, isPractice, thing, place, of }) {
    this.form.elements.trial.value = token;
    this.form.elements.key.value = key;
    this.#find("block").textContent = isPractice ? "Practice" : thing;
    this.#find("position").textContent = place;
    this.#find("of").textContent = of;
  }

  sayPlace() {
    const [block, place, of] = ["block", "position", "of"].map((name) => this.#find(name).textContent);
    this.say(`${block} ${place} of ${of}.`);
  }

  /** All at once, in the place of those that stand there. */
  showPictures(images) {
    this.images.forEach((old, at) => old.replaceWith(images[at]));
    for (const image of images) image.style.visibility = "";
  }

  /** Of the trial before, while this one's are on their way. */
  hidePictures() { for (const image of this.images) image.style.visibility = "hidden"; }

  showDisplay({ zoom, contrast, brightness }) {
    for (const image of this.images) image.style.transform = zoom === 1 ? "" : `scale(${zoom})`;
    for (const part of this.stage.querySelectorAll("[data-window]")) {
      part.setAttribute("slope", contrast);
      part.setAttribute("intercept", 0.5 - 0.5 * contrast + brightness);
    }
  }

  /** answer: an Answer. */
  showAnswer(answer) {
    const { chosen, reasons } = answer;
    for (const radio of this.radios) radio.checked = chosen[radio.name] === radio.value;
    for (const box of this.boxes) box.checked = reasons.includes(box.value);
    const [asked] = IN_WORDS.filter((name) => name in chosen);
    const label = this.#labelOf(asked, chosen[asked]) ?? this.#graded(chosen);
    this.#find("words").textContent = label || this.firstWords;
    this.#find("reasons")?.classList.toggle("is-off", !answer.mayHaveReasons);
    this.commitButton.setAttribute("aria-disabled", String(answer.missing.length > 0));
  }

  sayChoice(name, value) { this.say(this.#labelOf(name, value)); }

  /** isOn: null where no reason may be given. */
  sayReason(value, isOn) {
    this.say(isOn === null ? this.#whyNoReasons : `${this.#labelOf("reasons", value)}${isOn ? "" : " taken away"}`);
  }

  showMissing(names) {
    const missing = names.map((name) => QUESTIONS[name] ?? this.#rowOf(name).dataset.missing).join(" and ");
    this.#find("words").textContent = `Still missing: ${missing}`;
    this.say(`Still missing: ${missing}.`);
  }

  // ---- the cover and the bar ----------------------------------------------------------------

  coverWith(title, text, goOnWords = "") {
    this.#find("cover-title").textContent = title;
    this.#find("cover-text").textContent = text;
    this.#find("go-on").hidden = !goOnWords;
    if (goOnWords) this.#find("go-on").firstChild.textContent = `${goOnWords} `;
    this.cover.hidden = false;
  }

  uncover() { this.cover.hidden = true; }

  focusGoOn() { this.#find("go-on").focus(); }

  /** Words of the cover that stands there. */
  tellOnCover(text) { this.#find("cover-text").textContent = text; }

  showPaused(isPaused) { this.#find("pause").setAttribute("aria-pressed", String(isPaused)); }

  showLeft(minutes) { this.#find("left").textContent = minutes ? `about ${minutes} min left` : ""; }

  showOtherScreen(isOther) { this.#find("notice").hidden = !isOther; }

  /** kept: answers not sent; unsafe: of them in this page alone; hasAnswered: on this page. */
  showSaved({ kept, unsafe, trouble, hasAnswered, signIn }) {
    const saved = this.#find("saved");
    saved.classList.toggle("is-kept", kept > 0 && trouble !== Trouble.none);
    if (kept && trouble === Trouble.signedOut) {
      const link = document.createElement("a");
      link.href = signIn;
      link.dataset.signIn = "";
      link.textContent = "sign in again";
      saved.replaceChildren(`${kept} kept here, not yet sent: `, link);
    } else if (kept && trouble === Trouble.otherReader) {
      const link = document.createElement("a"); // this page must stay
      link.href = rooted("/readings");
      link.target = "_blank";
      link.textContent = "another tab";
      saved.replaceChildren(`${kept} kept here, not yet sent: somebody else is signed in. Sign out in `, link, ", then sign in again as the reader");
    } else if (kept && trouble !== Trouble.none) {
      saved.textContent = `${kept} kept here, not yet sent${trouble === Trouble.away ? "" : `: ${trouble}`}`;
    } else if (kept) saved.textContent = "saving";
    else saved.textContent = hasAnswered ? "saved" : "";
    if (unsafe) saved.append(`; this browser has no room for ${unsafe}: keep this page open`);
  }

  showKeys() { this.keyList.showModal(); }

  say(text) { this.#find("said").textContent = text; }
}
