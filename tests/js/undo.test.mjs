import assert from "node:assert/strict";
import { test } from "node:test";

import { Undo } from "../../static/js/undo.js";

test("what was done last is taken back first, and once", () => {
  const undo = new Undo();
  const taken = [];
  undo.push(() => taken.push("measure"));
  undo.push(() => taken.push("box"));
  assert.deepEqual([undo.take(), undo.take(), undo.take()], [true, true, false]);
  assert.deepEqual(taken, ["box", "measure"]);
});

test("what cannot be taken back yet stays until it can", () => {
  const undo = new Undo();
  let isReady = false;
  undo.push(() => isReady);
  undo.take();
  isReady = true;
  assert.equal(undo.take(), true);
  assert.equal(undo.take(), false);
});

test("what is on its way keeps its place, whenever its answer comes", () => {
  const undo = new Undo();
  const taken = [];
  const box = undo.begin(() => taken.push("not yet"));
  undo.push(() => taken.push("measure"));
  box.settle(() => taken.push("box"));
  undo.take();
  undo.take();
  assert.deepEqual(taken, ["measure", "box"]);
});

test("what is on its way cannot be taken back, and what came to nothing need not", () => {
  const undo = new Undo();
  const taken = [];
  undo.push(() => taken.push("measure"));
  const box = undo.begin(() => taken.push("not yet"));
  undo.take();
  box.leave();
  undo.take();
  assert.deepEqual(taken, ["not yet", "measure"]);
});
