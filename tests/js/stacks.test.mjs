import assert from "node:assert/strict";
import { test } from "node:test";

import { levelOf, linkedBy, placeSays, within } from "../../static/js/stacks.js";

const stack = (...places) => places.map((mm, at) => ({ number: at + 1, place: mm === null ? null : ["z", mm] }));

test("a slice lies beside the one at the same table position, whatever the thickness", () => {
  const thick = stack(0, 5, 10, 15);
  assert.deepEqual(levelOf({ number: 9, place: ["z", 9] }, thick, 16), { at: 2, by: "table" });
  assert.deepEqual(levelOf({ number: 1, place: ["z", -100] }, thick, 16), { at: 0, by: "table" });
});

test("where positions cannot be compared it is as far through the stack", () => {
  const other = stack(0, 5, 10, 15, 20);
  for (const image of [{ number: 3, place: null }, { number: 3, place: ["x", 10] }]) {
    assert.deepEqual(levelOf(image, other, 5), { at: 2, by: "share" });
  }
  assert.deepEqual(levelOf({ number: 5, place: ["z", 3] }, stack(null, null), 5), { at: 1, by: "share" });
});

test("a tilted slice lies where its middle does, not where its corner does", () => {
  const tilted = [29.3, 34.3, 100].map((mm, at) => ({ number: at + 1, place: ["z", mm], middle: mm + 65.7 }));
  assert.deepEqual(levelOf({ number: 14, place: ["z", 95], middle: 95 }, tilted, 20), { at: 0, by: "table" });
});

test("coordinates of two frames of reference are not compared", () => {
  const of = (frame, images) => images.map((image) => ({ ...image, series: { frame } }));
  const image = { number: 1, place: ["z", 20], series: { frame: "1" } };
  assert.deepEqual(levelOf(image, of("2", stack(0, 10, 20)), 3), { at: 0, by: "share" });
  assert.deepEqual(levelOf(image, of("1", stack(0, 10, 20)), 3), { at: 2, by: "table" });
});

test("the table of another case is another table", () => {
  const image = { number: 1, place: ["z", 20] };
  assert.deepEqual(levelOf(image, stack(0, 10, 20), 3, { isSameCase: false }), { at: 0, by: "share" });
});

test("a stack of one slice lies beside every slice", () => {
  assert.equal(levelOf({ number: 7, place: null }, stack(null), 9).at, 0);
  assert.equal(levelOf({ number: 1, place: null }, stack(1, 2, 3), 1).at, 0);
});

test("an offset stays within the stack and is told", () => {
  assert.equal(within(-3, stack(1, 2)), 0);
  assert.equal(within(9, stack(1, 2)), 1);
  assert.equal(linkedBy("table", 0), "linked by table position");
  assert.equal(linkedBy("share", -1), "linked by place in the stack, −1 slice");
  assert.equal(linkedBy("table", 4), "linked by table position, +4 slices");
});

test("a tilted slice is told by the place of its middle, as it is linked", () => {
  assert.equal(placeSays({ place: ["z", -20], middle: -35 }), "z −35.0 mm");
  assert.equal(placeSays({ place: ["z", 12.5], middle: null }), "z 12.5 mm");
  assert.equal(placeSays({ place: null, middle: null }), "");
});
