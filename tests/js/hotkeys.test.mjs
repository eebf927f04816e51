import assert from "node:assert/strict";
import { test } from "node:test";

import { bind, nameOf, readable } from "../../static/js/hotkeys.js";
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
  assert.equal(nameOf(event("&", { code: "Digit1" })), "&"); // a French keyboard without Shift types a sign
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
