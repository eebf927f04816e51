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
