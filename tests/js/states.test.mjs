import assert from "node:assert/strict";
import { test } from "node:test";

import { DeskState, DeskStates } from "../../static/js/desk/states.js";
import { States } from "../../static/js/states.js";

const { empty, loading, showing, answered, told, waiting, finished, paused, refused, aside, cramped } = DeskState;

function at(...stages) {
  const states = new DeskStates();
  for (const stage of stages) states.stageBecomes(stage);
  return states;
}

test("a move that the table does not name throws and changes nothing", () => {
  const states = new States({ a: ["b"], b: [] }, "a");
  states.become("b");
  assert.throws(() => states.become("a"), /What is b cannot become a/);
  assert.equal(states.now, "b");
});

test("the desk begins empty, and no picture is shown without a trial that was loading", () => {
  assert.equal(new DeskStates().now, empty);
  assert.throws(() => at(showing), /cannot become showing/);
  assert.throws(() => at(waiting, showing), /cannot become showing/);
  assert.equal(at(loading, showing).now, showing);
});

test("nothing is told of an image that was not answered", () => {
  assert.throws(() => at(loading, told), /cannot become told/);
  assert.throws(() => at(loading, showing, told), /cannot become told/);
  assert.equal(at(loading, showing, answered, told).now, told);
});

test("after what was told comes another image, never the same one", () => {
  assert.throws(() => at(loading, answered, told, showing), /cannot become showing/);
  assert.equal(at(loading, answered, told, loading).now, loading);
});

test("a reading that has ended is not answered", () => {
  assert.throws(() => at(loading, finished, answered), /cannot become answered/);
  assert.throws(() => at(loading, finished, showing), /cannot become showing/);
});

test("a hold stands before the stage, which goes on below", () => {
  const states = at(loading);
  states.hold(paused);
  assert.equal(states.now, paused);
  assert.ok(!states.isLooking);
  assert.ok(states.hasTrial);
  states.stageBecomes(showing);
  assert.equal(states.now, paused);
  states.release();
  assert.equal(states.now, showing);
  assert.ok(states.isLooking);
});

test("a trial without room for its images waits, and what holds the desk stands before that", () => {
  const states = at(waiting);
  assert.ok(states.roomBecomes(false));
  assert.ok(!states.roomBecomes(false));
  assert.equal(states.now, waiting); // nothing needs room
  states.stageBecomes(loading);
  states.stageBecomes(showing);
  assert.equal(states.now, cramped);
  assert.ok(states.hasTrial && !states.isLooking);
  states.hold(refused);
  assert.equal(states.now, refused);
  states.release();
  assert.equal(states.now, cramped);
  states.roomBecomes(true);
  assert.equal(states.now, showing);
});

test("a refusal ends a pause, and no pause begins over a refusal", () => {
  const states = at(loading, showing);
  states.hold(paused);
  states.hold(refused);
  assert.throws(() => states.hold(paused), /refused cannot become paused/);
  states.release();
  assert.equal(states.now, showing);
});

test("what stands aside does not come back by itself", () => {
  const states = at(loading, showing);
  states.hold(aside);
  assert.throws(() => states.release(), /aside cannot become free/);
  assert.throws(() => states.hold(paused), /aside cannot become paused/);
  states.hold(refused); // an answer that only this page has
  states.release();
  assert.equal(states.now, aside);
});

test("nothing is released that is not held", () => {
  assert.throws(() => at(loading, showing).release(), /free cannot become free/);
});

test("only an image before the reader is looked at", () => {
  for (const stages of [[], [waiting], [loading, answered], [loading, answered, told], [loading, finished]]) {
    assert.ok(!at(...stages).isLooking, stages.at(-1));
  }
  assert.ok(at(loading).isLooking);
});
