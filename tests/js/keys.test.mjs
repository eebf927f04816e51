import assert from "node:assert/strict";
import { test } from "node:test";

import { Keys, Meaning, meaningOf } from "../../static/js/desk/keys.js";
import { DeskState } from "../../static/js/desk/states.js";
import { Element, standIn } from "./page.mjs";

const rating = { name: "rating", value: "5", isReason: false };
const reason = { name: "reasons", value: "edge", isReason: true };
const LAYOUT = {
  pauseKey: "p", answers: new Map([["5", rating], ["e", reason]]), back: true, window: true, zoom: true,
};
const PLAIN = { ...LAYOUT, back: false, window: false, zoom: false };
const meaning = (key, state = DeskState.showing, more = {}, layout = LAYOUT) => meaningOf({ key, ...more }, state, layout);
const OURS = ["Enter", "Backspace", "5", "e", "p", "ArrowLeft", "ArrowRight", "ArrowUp", "+", "-", "0"];

test("a refused answer lets Enter through and no other key", () => {
  for (const key of OURS.slice(1)) assert.equal(meaning(key, DeskState.refused), null, key);
  assert.deepEqual(meaning("Enter", DeskState.refused), { means: Meaning.setAside });
});

test("an Enter that is held down decides about nothing", () => {
  const held = { repeat: true };
  assert.equal(meaning("Enter", DeskState.refused, held), null);
  assert.equal(meaning("Enter", DeskState.told, held), null);
  assert.deepEqual(meaning("Enter", DeskState.showing, held), { means: Meaning.nothing });
  assert.deepEqual(meaning("p", DeskState.showing, held), { means: Meaning.nothing });
});

test("a tab that stands aside takes the reading back by Enter and hears nothing else", () => {
  for (const key of OURS.slice(1)) assert.equal(meaning(key, DeskState.aside), null, key);
  assert.deepEqual(meaning("Enter", DeskState.aside), { means: Meaning.takeOver });
});

test("what is told of a practice image is read on by Enter alone", () => {
  for (const key of OURS.slice(1)) assert.equal(meaning(key, DeskState.told), null, key);
  assert.deepEqual(meaning("Enter", DeskState.told), { means: Meaning.readOn });
});

test("no answer is taken where no image is, nor in a pause", () => {
  for (const state of [DeskState.paused, DeskState.waiting, DeskState.finished, DeskState.answered, DeskState.empty]) {
    for (const key of OURS.filter((one) => one !== "p")) assert.equal(meaning(key, state), null, `${key} ${state}`);
  }
});

test("the pause key pauses and goes on", () => {
  for (const state of [DeskState.showing, DeskState.loading, DeskState.paused]) {
    assert.deepEqual(meaning("P", state), { means: Meaning.pause });
  }
});

test("the list of keys comes in every state", () => {
  for (const state of Object.values(DeskState)) assert.deepEqual(meaning("?", state), { means: Meaning.list });
});

test("keys that are faster than the picture count", () => {
  assert.deepEqual(meaning("5", DeskState.loading), { means: Meaning.answer, ...rating });
  assert.deepEqual(meaning("Enter", DeskState.loading), { means: Meaning.commit });
});

test("each key of an image means one thing", () => {
  assert.deepEqual(meaning("5"), { means: Meaning.answer, ...rating });
  assert.deepEqual(meaning("E"), { means: Meaning.answer, ...reason });
  assert.deepEqual(meaning("Enter"), { means: Meaning.commit });
  assert.deepEqual(meaning("Backspace"), { means: Meaning.undo });
  assert.deepEqual(meaning("ArrowLeft"), { means: Meaning.turn, by: -1 });
  assert.deepEqual(meaning("ArrowRight"), { means: Meaning.turn, by: 1 });
  const change = (key, more) => meaning(key, DeskState.showing, more).change;
  assert.equal(change("ArrowUp"), "brighter");
  assert.equal(change("ArrowDown"), "darker");
  assert.equal(change("ArrowUp", { shiftKey: true }), "harder");
  assert.equal(change("ArrowDown", { shiftKey: true }), "softer");
  assert.equal(change("+"), "larger");
  assert.equal(change("="), "larger");
  assert.equal(change("-"), "smaller");
  assert.equal(change("0"), "plain");
  assert.equal(meaning("x"), null);
});

test("a keyboard that types signs in the row of digits answers there without Shift, and keeps its signs", () => {
  const french = (key, digit, more) => meaning(key, DeskState.showing, { code: `Digit${digit}`, ...more });
  assert.deepEqual(french("(", 5), { means: Meaning.answer, ...rating });
  assert.deepEqual(french("5", 5, { shiftKey: true }), { means: Meaning.answer, ...rating });
  assert.equal(french("à", 0).change, "plain");
  assert.equal(french("-", 6).change, "smaller");
  assert.equal(french("%", 5, { shiftKey: true }), null); // as other keyboards type there
  assert.equal(meaning("(", DeskState.showing, { code: "Digit9" }), null);
  assert.equal(meaning("(", DeskState.refused, { code: "Digit5" }), null);
});

test("what the protocol does not let readers do has no key", () => {
  for (const key of ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "+", "=", "-", "0"]) {
    assert.equal(meaning(key, DeskState.showing, {}, PLAIN), null, key);
  }
  assert.equal(meaning("+", DeskState.showing, {}, { ...PLAIN, window: true }), null);
  assert.equal(meaning("ArrowUp", DeskState.showing, {}, { ...PLAIN, zoom: true }), null);
});

function listening(context, state = DeskState.showing) {
  const page = standIn(context);
  const pressed = [];
  const commitButton = new Element();
  const keys = new Keys({ commitButton, delegate: { state, layout: LAYOUT, keyPressed: ({ means }) => pressed.push(means) } });
  keys.start();
  // an event has its target once it is dispatched: the document stands for what has the focus
  const press = (key, more = {}, control = null) => {
    page.document.closest = () => control;
    return page.document.fire("keydown", { key, ...more });
  };
  return { ...page, keys, press, pressed, commitButton };
}

test("a key with Ctrl, Alt or Meta, or one that composes, is the browser's", (context) => {
  const { press, pressed } = listening(context);
  for (const name of ["ctrlKey", "altKey", "metaKey", "isComposing"]) press("5", { [name]: true });
  assert.deepEqual(pressed, []);
  assert.ok(press("5").defaultPrevented);
  assert.deepEqual(pressed, [Meaning.answer]);
});

test("Enter on a button or link is that one's own, but for the button that commits", (context) => {
  const { press, pressed, commitButton } = listening(context);
  assert.ok(!press("Enter", {}, new Element()).defaultPrevented);
  assert.deepEqual(pressed, []);
  press("Enter", {}, commitButton);
  assert.deepEqual(pressed, [Meaning.commit]);
});

test("while a dialog is open no key reaches the desk", (context) => {
  const { press, pressed, document } = listening(context);
  document.querySelector = (selector) => (selector === "dialog[open]" ? new Element() : null);
  press("5");
  assert.deepEqual(pressed, []);
});

test("a key of ours that is held down is kept from the browser and does nothing", (context) => {
  const { press, pressed } = listening(context);
  assert.ok(press("Enter", { repeat: true }).defaultPrevented);
  assert.deepEqual(pressed, []);
});

test("after stop no key is heard", (context) => {
  const { keys, press, pressed, document } = listening(context);
  assert.equal(document.listeners, 1);
  keys.stop();
  assert.equal(document.listeners, 0);
  press("5");
  assert.deepEqual(pressed, []);
});
