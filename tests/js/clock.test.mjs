import assert from "node:assert/strict";
import { test } from "node:test";

import { Clock } from "../../static/js/desk/clock.js";
import { standIn } from "./page.mjs";

function started() {
  const time = { now: 1_000 };
  return { time, clock: new Clock({ now: () => time.now }), pass(ms) { time.now += ms; } };
}

test("looking counts as active for a minute after the last key, then as idle", () => {
  const { clock, pass } = started();
  pass(59_000);
  assert.deepEqual(clock.times, { active: 59_000, hidden: 0, idle: 0 });
  pass(31_000);
  assert.deepEqual(clock.times, { active: 60_000, hidden: 0, idle: 30_000 });
});

test("a key begins the minute anew, and what was idle stays idle", () => {
  const { clock, pass } = started();
  pass(90_000);
  clock.touch();
  pass(10_000);
  assert.deepEqual(clock.times, { active: 70_000, hidden: 0, idle: 30_000 });
});

test("time with the page hidden is neither active nor idle", () => {
  const { clock, pass } = started();
  pass(5_000);
  clock.hide(true);
  pass(100_000);
  clock.hide(false);
  pass(5_000);
  assert.deepEqual(clock.times, { active: 10_000, hidden: 100_000, idle: 0 });
});

test("a rest is idle however long it is, and looking begins anew after it", () => {
  const { clock, pass } = started();
  pass(5_000);
  clock.rest(true);
  pass(2_000);
  clock.touch(); // a key while resting is no looking
  pass(98_000);
  clock.rest(false);
  pass(50_000);
  assert.deepEqual(clock.times, { active: 55_000, hidden: 0, idle: 100_000 });
});

test("a hidden rest is hidden", () => {
  const { clock, pass } = started();
  clock.rest(true);
  clock.hide(true);
  pass(3_000);
  assert.deepEqual(clock.times, { active: 0, hidden: 3_000, idle: 0 });
});

test("another image begins at zero", () => {
  const { clock, pass } = started();
  pass(5_000);
  clock.restart();
  pass(1_000);
  assert.deepEqual(clock.times, { active: 1_000, hidden: 0, idle: 0 });
});

test("times that were kept are gone on with, and what passed before them is not added", () => {
  const { clock, pass } = started();
  pass(5_000);
  clock.takeUp({ active: 100, hidden: 200, idle: 300 });
  pass(50);
  assert.deepEqual(clock.times, { active: 150, hidden: 200, idle: 300 });
});

test("all the time that passed is counted once, whatever happened", () => {
  const { clock, time, pass } = started();
  const steps = [() => clock.touch(), () => clock.hide(true), () => clock.rest(true), () => clock.hide(false), () => clock.rest(false)];
  const begun = time.now;
  for (let round = 0; round < 40; round += 1) {
    pass(7_000 + 997 * round);
    steps[(round * 3) % steps.length]();
  }
  const { active, hidden, idle } = clock.times;
  assert.equal(active + hidden + idle, time.now - begun);
  assert.ok(active > 0 && hidden > 0 && idle > 0);
});

test("from start to stop it follows the page, and after that nothing of it", (context) => {
  const { document } = standIn(context);
  const { clock, pass } = started();
  clock.start();
  clock.start(); // twice is once
  pass(90_000);
  document.fire("keydown");
  pass(1_000);
  document.hidden = true;
  document.fire("visibilitychange");
  pass(500);
  assert.deepEqual(clock.times, { active: 61_000, hidden: 500, idle: 30_000 });
  assert.equal(document.listeners, 4);
  clock.stop();
  assert.equal(document.listeners, 0);
});
