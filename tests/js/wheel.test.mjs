import assert from "node:assert/strict";
import { test } from "node:test";

import { Wheel } from "../../static/js/viewer/wheel.js";

/** Slices of each of [px, ms since the one before]. */
function slices(events) {
  const wheel = new Wheel();
  let at = 1000;
  return events.map(([dy, gap]) => wheel.turn(dy, at += gap));
}
const sum = (numbers) => numbers.reduce((all, one) => all + one, 0);
const fill = (count, event) => Array.from({ length: count }, () => event);

/** Fingers for `pushed` frames at `px` each, then what macOS sends after them: less and less for two seconds. */
function flick(px, pushed, gap = 16) {
  const after = [];
  for (let left = px; left >= 0.5; left *= 0.955) after.push([Math.max(1, Math.round(left)), gap]);
  return { fingers: fill(pushed, [px, gap]), after };
}

test("each notch of a wheel is one slice, however fast and however it slows down", () => {
  for (const gap of [5, 16, 60, 400]) assert.equal(sum(slices(fill(40, [100, gap]))), 40);
  const slowing = [15, 20, 30, 40, 55, 70, 90, 110, 119, 150, 300].map((gap) => [-120, gap]);
  assert.equal(sum(slices(slowing)), -11);
});

test("a wheel on macOS moves at its first notch, and its notches that grow and shrink all count", () => {
  assert.deepEqual(slices([[4, 500], [4, 300], [-4, 300]]), [1, 1, -1]);
  const notches = [4, 10, 22, 40, 60, 60, 40, 31, 30, 30, 30].map((px) => [px, 60]);
  const counted = slices(notches);
  assert.ok(counted.slice(6).every((by) => by === 1), counted);
});

test("small steps of a trackpad add up to slices, both ways", () => {
  assert.equal(sum(slices(fill(90, [10, 16]))), 30);
  assert.equal(sum(slices(fill(90, [-10, 16]))), -30);
  assert.equal(sum(slices([[2, 500], [1, 16], [-1, 16]])), 0); // a finger that only rests there
});

test("what a trackpad sends after the fingers have left moves little, and not for long", () => {
  for (const px of [12, 30, 80, 200]) {
    const { fingers, after } = flick(px, 8);
    const counted = slices([...fingers, ...after]).slice(8);
    const until = counted.findLastIndex((by) => by !== 0);
    assert.ok(after.length * 16 > 900, "it goes on for a second or more");
    assert.ok(until * 16 <= 350, `${px} px: the last slice after ${until * 16} ms`);
  }
});

test("two steps that a busy browser sends as one are no new push", () => {
  const { fingers, after } = flick(60, 8);
  const merged = [];
  for (let n = 0; n < after.length; n += 1) {
    if (n % 7 === 3 && n + 1 < after.length) { merged.push([after[n][0] + after[n + 1][0], 32]); n += 1; } else merged.push(after[n]);
  }
  const counted = slices([...fingers, ...merged]).slice(8);
  assert.ok(counted.findLastIndex((by) => by !== 0) * 16 <= 400, counted);
});

test("fingers that come back, turn round or slow down and go on are followed", () => {
  const { fingers, after } = flick(60, 8);
  const again = slices([...fingers, ...after.slice(0, 30), ...fill(20, [60, 16])]).slice(-20);
  assert.equal(sum(again), 20);
  const back = slices([...fingers, ...after.slice(0, 30), ...fill(30, [-10, 16])]).slice(-30);
  assert.ok(sum(back) <= -10);
  const slower = [...fill(8, [30, 16]), ...[26, 22, 18, 15, 12, 10, 8].map((px) => [px, 16]), ...fill(60, [6, 16])];
  assert.ok(sum(slices(slower).slice(-60)) >= 9); // 360 px are twelve slices
});
