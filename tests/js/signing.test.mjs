// What is said of the end of a sign-in, and when it is looked at again.

import assert from "node:assert/strict";
import test from "node:test";

import { briefly, outlook, wordsOf } from "../../static/js/signing.js";

test("nothing is said earlier than ten minutes before, and then it is looked at", () => {
  assert.deepEqual(outlook({ idle_s: 7200, ends_s: 43_200 }, 0), { kind: "", at: 0, nextMs: 6_600_000 });
  assert.deepEqual(outlook({ idle_s: 7200, ends_s: 7200 }, 0).nextMs, 6_600_000);
});

test("the sooner of the two ends is told with its time; of one moment it is the one that nothing moves", () => {
  assert.deepEqual(outlook({ idle_s: 600, ends_s: 4000 }, 5000), { kind: "idle", at: 605_000, nextMs: 60_000 });
  assert.deepEqual(outlook({ idle_s: 300, ends_s: 300 }, 0), { kind: "ends", at: 300_000, nextMs: 60_000 });
  assert.equal(outlook({ idle_s: 20, ends_s: 900 }, 0).nextMs, 21_000, "once more when it has ended");
});

test("only where use helps a button says to stay", () => {
  assert.match(wordsOf("idle", 0)[0], /unless you go on/);
  assert.equal(wordsOf("idle", 0)[1], "Stay signed in");
  assert.match(wordsOf("ends", 0)[0], /nothing moves that/);
  assert.equal(wordsOf("ends", 0)[1], "Sign in again");
  assert.match(wordsOf("over", 0)[0], /has ended/);
  for (const kind of ["idle", "ends", "over"]) {
    assert.ok(briefly(kind, 0)[0].length < 40, "it has to fit beside an image");
    assert.equal(briefly(kind, 0)[1], wordsOf(kind, 0)[1]);
  }
});
