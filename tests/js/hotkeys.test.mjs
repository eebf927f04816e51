import assert from "node:assert/strict";
import { test } from "node:test";

import { bind, digitBelow, nameOf, readable } from "../../static/js/hotkeys.js";
import { standIn } from "./page.mjs";

const event = (key, more = {}) => ({ key, code: "", ...more });

test("letters and digits take part in Shift, signs are named as typed", () => {
  assert.equal(nameOf(event("b")), "b");
  assert.equal(nameOf(event("B", { shiftKey: true })), "Shift+b");
  assert.equal(nameOf(event("?", { shiftKey: true })), "?");
  assert.equal(nameOf(event("ArrowUp", { shiftKey: true })), "Shift+arrowup");
});

test("a digit key with Shift means the digit, on every keyboard and block of keys", () => {
  assert.equal(nameOf(event("!", { shiftKey: true, code: "Digit1" })), "Shift+1");
  assert.equal(nameOf(event("1", { code: "Numpad1" })), "1");
});

const FRENCH = [..."à&é\"'(-è_ç"].map((key, digit) => [key, digit]);

test("a keyboard that types signs in the row of digits has the digits there too", () => {
  for (const [key, digit] of FRENCH) assert.equal(digitBelow(event(key, { code: `Digit${digit}` })), String(digit), key);
  assert.equal(nameOf(event("1", { code: "Digit1", shiftKey: true })), "Shift+1"); // what its Shift types stays a preset
  assert.equal(digitBelow(event("1", { code: "Digit1", shiftKey: true })), "");
});

test("no other key is taken for a digit", () => {
  const altGr = { getModifierState: (name) => name === "AltGraph" };
  for (const [key, more] of [
    ["1", { code: "Digit1" }], ["!", { code: "Digit1", shiftKey: true }], ["{", { code: "Digit7", ...altGr }],
    ["¡", { code: "Digit1", altKey: true }], ["&", { code: "Digit1", ctrlKey: true }], ["&", { code: "Digit1", metaKey: true }],
    ["&", { code: "" }], ["q", { code: "KeyA" }], ["é", { code: "Semicolon" }], ["Dead", { code: "Digit2" }], ["End", { code: "Numpad1" }],
    ["j", { code: "Digit1" }],
  ]) assert.equal(digitBelow(event(key, more)), "", `${key} ${JSON.stringify(more)}`);
});

test("a sign that is bound anywhere on the page is no digit", (context) => {
  const { document } = standIn(context);
  globalThis.Element = class {};
  context.after(() => { delete globalThis.Element; });
  const ran = [];
  const unbind = [
    bind({ "-": () => ran.push("smaller") }),
    bind({ 1: () => ran.push("1"), 6: () => ran.push("6"), "Shift+1": () => ran.push("preset") }),
  ];
  const press = (key, more = {}) => document.fire("keydown", { key, code: "", ...more });
  assert.ok(press("&", { code: "Digit1" }).defaultPrevented);
  press("-", { code: "Digit6" });
  press("6", { code: "Digit6", shiftKey: true, getModifierState: () => false });
  press("1", { code: "Digit1", shiftKey: true });
  press("&");
  assert.deepEqual(ran, ["1", "smaller", "preset"]);
  for (const one of unbind) one();
});

test("AltGr types a sign and is no modifier", () => {
  const altGr = { ctrlKey: true, altKey: true, getModifierState: (name) => name === "AltGraph" };
  assert.equal(nameOf(event("[", altGr)), "[");
  assert.equal(nameOf(event("[", { ctrlKey: true, altKey: true })), "Ctrl+Alt+[");
});

test("keys are listed as people read them", () => {
  assert.deepEqual(readable("Shift+1"), ["Shift", "1"]);
  assert.deepEqual(readable("+"), ["+"]);
  assert.deepEqual(readable("arrowup"), ["↑"]);
  assert.deepEqual(readable("b"), ["B"]);
});

test("a bound key runs once, unless it may repeat, and not after it is unbound", (context) => {
  const { document } = standIn(context);
  globalThis.Element = class {};
  context.after(() => { delete globalThis.Element; });
  const ran = [];
  const unbind = bind({
    b: () => ran.push("b"),
    r: { repeat: true, run: () => ran.push("r") },
    n: { when: () => false, run: () => ran.push("n") },
    l: () => false,
  });
  const press = (key, more = {}) => document.fire("keydown", { key, code: "", ...more });
  assert.ok(press("b").defaultPrevented);
  assert.ok(press("b", { repeat: true }).defaultPrevented); // kept from the browser, without effect
  press("r", { repeat: true });
  assert.ok(!press("n").defaultPrevented);
  assert.ok(!press("l").defaultPrevented);
  assert.deepEqual(ran, ["b", "r"]);
  unbind();
  press("b");
  assert.deepEqual(ran, ["b", "r"]);
  assert.equal(document.listeners, 0);
});
