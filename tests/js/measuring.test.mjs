import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { Measures } from "../../static/js/viewer/measures.js";
import { Kind, extended, isMeant, isOn, keepable, lengthOf, radiiOf, regionOf, saysOf } from "../../static/js/viewer/measuring.js";

const image = { rows: 60, columns: 80, calibrated: true, spacing_mm: [2, 0.5] }; // rows 2 mm apart, columns 0.5 mm
const ramp = () => Int16Array.from({ length: 60 * 80 }, (_, n) => (n % 80) - 20); // value: column - 20
const near = (a, b, by = 1e-9) => assert.ok(Math.abs(a - b) <= by, `${a} is not ${b}`);
const at = (x, y) => ({ x, y });

test("a length is in mm by the spacing of its own direction", () => {
  near(lengthOf([at(0, 0), at(10, 0)], image).mm, 5);
  near(lengthOf([at(0, 0), at(0, 10)], image).mm, 20);
  near(lengthOf([at(0, 0), at(8, 1.5)], image).mm, 5);
  assert.equal(lengthOf([at(0, 0), at(3, 4)], { ...image, spacing_mm: null }).mm, null);
  near(lengthOf([at(0, 0), at(3, 4)], image).px, 5);
});

test("a region holds the pixels whose centre is within", () => {
  const found = regionOf(Kind.rectangle, [at(24, 14), at(20.4, 10.4)], image, ramp());
  // columns 20.5 … 23.5 are 20 … 23, rows 10.5 … 13.5 are 10 … 13
  assert.deepEqual([found.n, found.low, found.high], [16, 0, 3]);
  near(found.mean, 1.5);
  near(found.sd, Math.sqrt((4 * (2.25 + 0.25 + 0.25 + 2.25)) / 15));
  near(found.mm2, 3.6 * 3.6 * 1);
});

test("a disc is round in mm, whatever the pixels are", () => {
  const points = [at(40, 30), at(52, 30)]; // 6 mm
  assert.deepEqual(radiiOf(points, image), { rx: 12, ry: 3 });
  const found = regionOf(Kind.disc, points, image, ramp());
  near(found.mm2, Math.PI * 36);
  near(found.n, Math.PI * 36, 6); // pixels of 1 mm²
  near(found.mean, 19.5);
});

test("an outline is what it encloses, also when it is not convex", () => {
  const shape = [at(10, 10), at(20, 10), at(20, 20), at(15, 20), at(15, 15), at(10, 15)];
  const found = regionOf(Kind.outline, shape, image, ramp());
  assert.equal(found.n, 75);
  near(found.mm2, 75);
});

test("what leaves the slice is cut, and what holds no pixel says so", () => {
  assert.equal(regionOf(Kind.rectangle, [at(-5, -5), at(2, 1)], image, ramp()).n, 2);
  assert.equal(regionOf(Kind.rectangle, [at(5.6, 5.6), at(6.4, 6.4)], image, ramp()), null);
  assert.deepEqual(saysOf(Kind.rectangle, [at(5.6, 5.6), at(6.4, 6.4)], image, ramp()), ["no pixel within"]);
});

test("one pixel has no spread", () => {
  const found = regionOf(Kind.rectangle, [at(5, 5), at(6, 6)], image, ramp());
  assert.deepEqual([found.n, found.sd], [1, null]);
});

test("values are HU where they are, and grey with pixels where nothing is known", () => {
  const corners = [at(0, 0), at(4, 4)];
  assert.deepEqual(saysOf(Kind.rectangle, corners, image, ramp()), ["−18.5 ± 1.2 HU", "−20 to −17", "16.0 mm², 16 px"]);
  const picture = { ...image, calibrated: false, spacing_mm: null };
  assert.deepEqual(saysOf(Kind.rectangle, corners, picture, ramp()), ["−18.5 ± 1.2 grey", "−20 to −17", "16 px, uncalibrated"]);
  assert.deepEqual(saysOf(Kind.length, corners, picture, ramp()), ["5.7 px, uncalibrated"]);
  const large = saysOf(Kind.rectangle, [at(0, 0), at(40, 30)], image, ramp());
  assert.equal(large[2], "12.00 cm², 1200 px");
});

test("a click is no measure, and hardly moving adds no corner", () => {
  assert.equal(isMeant(Kind.length, [at(1, 1), at(1.5, 1.5)]), false);
  assert.equal(isMeant(Kind.outline, [at(1, 1), at(9, 9)]), false);
  assert.equal(extended([at(1, 1)], at(1.2, 1.2)).length, 1);
  assert.equal(extended([at(1, 1)], at(3, 1)).length, 2);
});

test("a measure is met on its line, not beside it", () => {
  const lie = { zoom: 10, cx: 40, cy: 30, width: 800, height: 2400, aspect: 4 };
  const line = { kind: Kind.length, points: [at(10, 10), at(20, 10)] };
  assert.equal(isOn(lie, line, image, { px: 150, py: 402 }), true);
  assert.equal(isOn(lie, line, image, { px: 150, py: 410 }), false);
  assert.equal(isOn(lie, line, image, { px: 220, py: 400 }), false);
  const box = { kind: Kind.rectangle, points: [at(10, 10), at(20, 20)] };
  assert.equal(isOn(lie, box, image, { px: 150, py: 600 }), false); // its middle
  assert.equal(isOn(lie, box, image, { px: 100, py: 600 }), true);
});

test("what was placed or deleted is taken back, in turn, slice by slice", () => {
  const measures = new Measures();
  const placed = (slice) => measures.of(slice).map(({ kind }) => kind);
  measures.place("a", { kind: Kind.length });
  measures.place("b", { kind: Kind.disc });
  measures.place("a", { kind: Kind.outline });
  measures.chosen = measures.of("a")[0].id;
  assert.equal(measures.remove("a").kind, Kind.length);
  assert.equal(measures.remove("a").kind, Kind.outline); // none is chosen: the last
  assert.equal(measures.remove("a"), null);
  assert.equal(measures.undo(), "a");
  assert.equal(measures.undo(), "a");
  assert.deepEqual(placed("a"), [Kind.length, Kind.outline]);
  assert.equal(measures.undo(), "a");
  assert.equal(measures.undo(), "b");
  assert.deepEqual([placed("a"), placed("b")], [[Kind.length], []]);
  measures.undo();
  assert.equal(measures.undo(), null);
});

// ---- the same as the server (ml/images/ruler.py) ------------------------------------------------

const table = JSON.parse(readFileSync(new URL("measures.json", import.meta.url), "utf-8"));
const pattern = Int16Array.from({ length: 60 * 80 }, (_, n) => {
  const [r, c] = [Math.floor(n / 80), n % 80];
  return ((7 * c + 13 * r + r * c) % 251) - 120;
});

for (const { kind, points, spacing_mm, calibrated, says } of table.cases) {
  test(`${kind} from ${points[0]}: what the server says as well`, () => {
    const slice = { rows: 60, columns: 80, spacing_mm, calibrated };
    assert.deepEqual(saysOf(kind, points.map(([x, y]) => ({ x, y })), slice, pattern), says);
  });
}

test("a point is kept to hundredths of a pixel", () => {
  assert.deepEqual(keepable({ x: 1.23456, y: 9.999 }), { x: 1.23, y: 10 });
});

test("what is kept with a lesion is out of sight here, and undo goes on in turn", () => {
  const measures = new Measures();
  const first = measures.place("a", { kind: Kind.length });
  measures.place("a", { kind: Kind.disc });
  measures.give(first.id);
  assert.deepEqual(measures.of("a").map(({ kind }) => kind), [Kind.disc]);
  assert.equal(measures.undo(), "a");
  measures.takeBack(first.id);
  assert.deepEqual(measures.of("a").map(({ kind }) => kind), [Kind.length]);
  measures.undo();
  assert.deepEqual(measures.of("a"), []);
});
