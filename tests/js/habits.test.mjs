import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { Cine, speedOf } from "../../static/js/cine.js";
import { habitsOf, keepHabit, windowOf } from "../../static/js/habits.js";

let kept;
beforeEach(() => {
  kept = new Map();
  globalThis.localStorage = { getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => { kept.set(key, value); } };
});
afterEach(() => { delete globalThis.localStorage; });

test("each person has their own habits, and one does not undo another", () => {
  keepHabit("ann", "mouse", "pacs");
  keepHabit("ann", "window", { width: 150, level: 60 });
  assert.deepEqual(habitsOf("ann"), { mouse: "pacs", window: { width: 150, level: 60 } });
  assert.deepEqual(habitsOf("bob"), {});
});

test("what is no window is none", () => {
  assert.deepEqual(windowOf({ window: { width: 150, level: -60 } }), { width: 150, level: -60 });
  assert.deepEqual(windowOf({ window: { width: 150, level: -60, curve: "sigmoid" } }), { width: 150, level: -60, curve: "sigmoid" });
  assert.deepEqual(windowOf({ window: { width: 150, level: -60, curve: "table" } }), { width: 150, level: -60 });
  for (const bad of [{}, { window: null }, { window: { width: 0, level: 1 } }, { window: { width: "1", level: 1 } }, { window: { width: 5 } }]) {
    assert.equal(windowOf(bad), null);
  }
});

test("a storage that is damaged, or not there, is as if nothing had been chosen", () => {
  for (const text of ["{", "null", "5"]) {
    kept.set("habits of ann", text);
    assert.deepEqual(habitsOf("ann"), {});
  }
  globalThis.localStorage = { getItem() { throw new Error("no"); }, setItem() { throw new Error("no"); } };
  assert.deepEqual(habitsOf("ann"), {});
  keepHabit("ann", "mouse", "pacs");
});

test("the film plays while the key is held, waits for late slices, and ends at the end", (context) => {
  context.mock.timers.enable({ apis: ["setInterval"] });
  const target = new EventTarget();
  globalThis.document = target;
  globalThis.window = target;
  const steps = [];
  let isHere = true;
  const told = [];
  const cine = new Cine({ step: (by) => { steps.push(by); return steps.length < 5; }, isHere: () => isHere, tells: (words) => told.push(words) });
  cine.start(1, speedOf({ per_second: null }));
  context.mock.timers.tick(200);
  assert.deepEqual(steps, [1, 1, 1]);
  isHere = false;
  context.mock.timers.tick(500);
  assert.equal(steps.length, 3);
  isHere = true;
  target.dispatchEvent(new Event("keyup"));
  context.mock.timers.tick(500);
  assert.equal(steps.length, 3);
  assert.equal(cine.plays, false);
  assert.deepEqual(told, ["10 slices a second", ""]);
  cine.start(-1, speedOf({ per_second: 25 }));
  context.mock.timers.tick(39); // 40 ms a slice
  assert.equal(steps.length, 4);
  context.mock.timers.tick(1000);
  assert.deepEqual(steps, [1, 1, 1, -1, -1]);
  assert.deepEqual(told.slice(2), ["25 slices a second, as the file asks", ""]);
  assert.equal(cine.plays, false);
  delete globalThis.document;
  delete globalThis.window;
});
