import assert from "node:assert/strict";
import { test } from "node:test";

import { adjusted, aspectOf, boxBetween, boxInMiddle, cursorOf, diameterMm, fit, gripAt, handlesOf, isAlike, isInSight, isInside, lieOf, MAX_ZOOM, nudged, panned, rectOf, scaleBarMm, squareAround, toScreen, toSlice, zoomedAbout } from "../../static/js/viewer/geometry.js";

const SIZE = { width: 800, height: 600 };
const SQUARE = { rows: 512, columns: 512, spacing_mm: [0.7, 0.7] };
const TALL = { rows: 100, columns: 200, spacing_mm: [3, 1] }; // pixels three times as high as wide
const FLAT = { rows: 300, columns: 120, spacing_mm: [0.5, 1] };
const BARE = { rows: 64, columns: 80, spacing_mm: null };
const ALL = [SQUARE, TALL, FLAT, BARE];

const near = (found, wanted, what) => {
  [].concat(found).forEach((value, at) => {
    const other = [].concat(wanted)[at];
    assert.ok(Math.abs(value - other) < 1e-9, `${what ?? ""} ${value} is not ${other}`);
  });
};
const inside = ([x, y, w, h], image) => x >= 0 && y >= 0 && w >= 0 && h >= 0
  && x + w <= image.columns + 1e-9 && y + h <= image.rows + 1e-9;

test("a slice without spacing has square pixels and no millimetres", () => {
  assert.equal(aspectOf(BARE), 1);
  assert.equal(diameterMm([0, 0, 10, 20], BARE), null);
});

test("a diameter is the longer side in millimetres, not in pixels", () => {
  assert.equal(diameterMm([0, 0, 20, 10], TALL), 30); // 20 × 1 mm wide, 10 × 3 mm high
  assert.equal(diameterMm([0, 0, 40, 10], TALL), 40);
});

test("only slices of one size and one shape of pixel share a view", () => {
  assert.ok(isAlike(SQUARE, { ...SQUARE, spacing_mm: [0.9, 0.9] }));
  assert.ok(!isAlike(SQUARE, { ...SQUARE, rows: 511 }));
  assert.ok(!isAlike(SQUARE, { ...SQUARE, columns: 511 }));
  assert.ok(!isAlike(SQUARE, { ...SQUARE, spacing_mm: [0.7, 0.8] }));
});

test("the view that fits shows the whole slice and touches two edges of the canvas", () => {
  for (const image of ALL) {
    const [x, y, w, h] = rectOf(lieOf(fit(image, SIZE), SIZE, image), [0, 0, image.columns, image.rows]);
    assert.ok(x >= -1e-9 && y >= -1e-9 && w <= 800 + 1e-9 && h <= 600 + 1e-9);
    assert.ok(Math.abs(w - 800) < 1e-9 || Math.abs(h - 600) < 1e-9);
    near(h / w, (image.rows * aspectOf(image)) / image.columns, "shape");
  }
});

test("a point of the slice comes back from the canvas, at every zoom and aspect", () => {
  for (const image of ALL) {
    for (const zoom of [0.05, 0.5, 1, 2.37, MAX_ZOOM]) {
      const lie = lieOf({ zoom, cx: 30.5, cy: 12.25 }, SIZE, image);
      for (const [x, y] of [[0, 0], [image.columns, image.rows], [17.3, 41.9]]) {
        const at = toScreen(lie, x, y);
        const back = toSlice(lie, at.x, at.y);
        near([back.x, back.y], [x, y], `zoom ${zoom}`);
      }
    }
  }
});

test("the middle of the view is in the middle of the canvas", () => {
  const at = toScreen(lieOf({ zoom: 3, cx: 10, cy: 20 }, SIZE, TALL), 10, 20);
  near([at.x, at.y], [400, 300]);
});

test("zooming keeps the point under the pointer", () => {
  for (const image of ALL) {
    const view = { ...fit(image, SIZE), cx: image.columns / 2 + 3 };
    for (const [px, py] of [[400, 300], [350, 310], [420, 280]]) {
      const before = toSlice(lieOf(view, SIZE, image), px, py);
      const after = toSlice(lieOf(zoomedAbout(view, 1.25, { px, py }, SIZE, image), SIZE, image), px, py);
      near([after.x, after.y], [before.x, before.y]);
    }
  }
});

test("zooming ends at half the view that fits and at the greatest zoom", () => {
  const view = fit(SQUARE, SIZE);
  const middle = { px: 400, py: 300 };
  assert.equal(zoomedAbout(view, 1e6, middle, SIZE, SQUARE).zoom, MAX_ZOOM);
  assert.equal(zoomedAbout(view, 1e-6, middle, SIZE, SQUARE).zoom, view.zoom / 2);
});

test("a slice cannot be moved out of sight", () => {
  const view = { zoom: 2, cx: 100, cy: 50 };
  assert.deepEqual(panned(view, 1e6, 1e6, TALL), { zoom: 2, cx: 0, cy: 0 });
  assert.deepEqual(panned(view, -1e6, -1e6, TALL), { zoom: 2, cx: 200, cy: 100 });
  near(Object.values(panned(view, 20, 60, TALL)), [2, 90, 40]); // 60 px are 10 rows of 6 px
});

test("a view is left as it was by whoever asks for another", () => {
  const view = Object.freeze({ zoom: 2, cx: 100, cy: 50 });
  zoomedAbout(view, 2, { px: 1, py: 1 }, SIZE, TALL);
  panned(view, 5, 5, TALL);
  assert.deepEqual(view, { zoom: 2, cx: 100, cy: 50 });
});

test("a box is in sight only when all of it is", () => {
  const lie = lieOf({ zoom: 10, cx: 40, cy: 30 }, SIZE, BARE); // shows x 0 to 80, y 0 to 60
  assert.ok(isInSight(lie, [0, 0, 80, 60]));
  assert.ok(!isInSight(lie, [0, 0, 80, 60.1]));
  assert.ok(!isInSight(lie, [-0.1, 0, 10, 10]));
});

test("the scale bar is round, and no longer than 22 % of the canvas where one so short exists", () => {
  assert.equal(scaleBarMm(2, 800), 50); // 100 px; the next, 200 px, is more than 176
  assert.equal(scaleBarMm(0.88, 800), 200);
  assert.equal(scaleBarMm(1e3, 800), 1);
});

test("a box between two corners is the same from every corner", () => {
  const wanted = [10, 20, 30, 5];
  for (const [a, b] of [[[10, 20], [40, 25]], [[40, 25], [10, 20]], [[10, 25], [40, 20]], [[40, 20], [10, 25]]]) {
    assert.deepEqual(boxBetween({ x: a[0], y: a[1] }, { x: b[0], y: b[1] }, SQUARE), wanted);
  }
});

test("a box drawn beyond the edges ends at them", () => {
  assert.deepEqual(boxBetween({ x: -50, y: -1 }, { x: 900, y: 40 }, BARE), [0, 0, 80, 40]);
  assert.deepEqual(boxBetween({ x: -50, y: -9 }, { x: -1, y: -1 }, BARE), [0, 0, 0, 0]); // wholly outside: nothing
});

test("a circle keeps its centre and stays inside the slice, as high as wide in millimetres", () => {
  for (const image of ALL) {
    for (const center of [{ x: 5, y: 5 }, { x: image.columns - 1, y: image.rows / 2 }, { x: 0, y: 0 }]) {
      const box = squareAround(center, 30, image);
      assert.ok(inside(box, image), `${box}`);
      near([box[0] + box[2] / 2, box[1] + box[3] / 2], [center.x, center.y]);
      near(box[3] * aspectOf(image), box[2]);
    }
  }
  assert.deepEqual(squareAround({ x: -5, y: 10 }, 30, BARE).slice(2), [0, 0]); // begun outside
});

test("the first box of the keys is in the middle of the view and fits the slice", () => {
  assert.deepEqual(boxInMiddle({ zoom: 1, cx: 100, cy: 60 }, SQUARE), [76, 36, 48, 48]);
  assert.equal(boxInMiddle({ zoom: 40, cx: 100, cy: 60 }, SQUARE)[2], 8);
  assert.equal(boxInMiddle({ zoom: 1, cx: 3, cy: 3 }, { rows: 6, columns: 6 })[2], 6);
  const [, , width, height] = boxInMiddle({ zoom: 1, cx: 100, cy: 60 }, { ...SQUARE, spacing_mm: [2.4, 0.8] });
  assert.equal(width * 0.8, height * 2.4);
});

test("a box moved by keys stops at the edges with its size kept", () => {
  assert.deepEqual(nudged([10, 10, 20, 20], { dx: -100, dy: 100 }, BARE), [0, 44, 20, 20]);
  assert.deepEqual(nudged([10, 10, 20, 20], { dx: 1 }, BARE), [11, 10, 20, 20]);
});

test("a box sized by keys is never smaller than 2 by 2 nor larger than the slice", () => {
  assert.deepEqual(nudged([10, 10, 20, 20], { dw: -100, dh: -100 }, BARE), [10, 10, 2, 2]);
  assert.deepEqual(nudged([10, 10, 20, 20], { dw: 1000, dh: 1000 }, BARE), [0, 0, 80, 64]);
});

test("a circle grows about its middle, as high as wide in millimetres", () => {
  const box = nudged([50, 40, 30, 10], { dh: 6 }, TALL, { round: true });
  assert.deepEqual(box, [47, 39, 36, 12]);
  assert.deepEqual(nudged([50, 40, 30, 10], { dw: 6 }, TALL, { round: true }), box);
});

test("a point on the edge of a box counts as inside", () => {
  assert.ok(isInside({ x: 10, y: 10 }, [10, 10, 5, 5]));
  assert.ok(isInside({ x: 15, y: 15 }, [10, 10, 5, 5]));
  assert.ok(!isInside({ x: 15.01, y: 15 }, [10, 10, 5, 5]));
});

test("a box has eight handles, at its corners and the middles of its sides", () => {
  const lie = lieOf({ zoom: 2, cx: 40, cy: 30 }, SIZE, BARE);
  const spots = handlesOf(lie, [20, 10, 20, 10]);
  assert.equal(new Set(spots.map(({ x, y }) => `${x} ${y}`)).size, 8);
  const [x, y, w, h] = rectOf(lie, [20, 10, 20, 10]);
  for (const spot of spots) near([spot.x, spot.y], [x + spot.fx * w, y + spot.fy * h]);
});

test("a handle is held within reach, the edge elsewhere, and neither inside nor outside", () => {
  const lie = lieOf({ zoom: 10, cx: 40, cy: 30 }, SIZE, BARE); // slice (x, y) is at (10 x, 10 y)
  const box = [20, 20, 20, 20];
  assert.deepEqual(gripAt(lie, box, { px: 207, py: 193 }, 7), { fx: 0, fy: 0 });
  assert.deepEqual(gripAt(lie, box, { px: 401, py: 300 }, 7), { fx: 1, fy: 0.5 });
  assert.deepEqual(gripAt(lie, box, { px: 250, py: 203 }, 7), { move: true });
  assert.equal(gripAt(lie, box, { px: 250, py: 250 }, 7), null);
  assert.equal(gripAt(lie, box, { px: 250, py: 190 }, 7), null);
  assert.deepEqual(gripAt(lie, box, { px: 212, py: 188 }, 14), { fx: 0, fy: 0 }); // a finger reaches farther
});

test("a dragged handle moves its own sides only", () => {
  const from = { x: 0, y: 0 };
  const to = { x: 5, y: -3 };
  const box = [20, 20, 20, 20];
  assert.deepEqual(adjusted(box, { fx: 0, fy: 0 }, from, to, BARE), [25, 17, 15, 23]);
  assert.deepEqual(adjusted(box, { fx: 1, fy: 1 }, from, to, BARE), [20, 20, 25, 17]);
  assert.deepEqual(adjusted(box, { fx: 0.5, fy: 0 }, from, to, BARE), [20, 17, 20, 23]);
  assert.deepEqual(adjusted(box, { fx: 1, fy: 0.5 }, from, to, BARE), [20, 20, 25, 20]);
});

test("a handle dragged over the opposite side turns the box over, and ends at the edges", () => {
  const from = { x: 20, y: 20 };
  assert.deepEqual(adjusted([20, 20, 20, 20], { fx: 0, fy: 0 }, from, { x: 50, y: 20 }, BARE), [40, 20, 10, 20]);
  assert.deepEqual(adjusted([20, 20, 20, 20], { fx: 0, fy: 0 }, from, { x: -99, y: -99 }, BARE), [0, 0, 40, 40]);
});

test("a moved box keeps its size at the edges", () => {
  const moved = (to) => adjusted([20, 20, 20, 10], { move: true }, { x: 0, y: 0 }, to, BARE);
  assert.deepEqual(moved({ x: 999, y: -999 }), [60, 0, 20, 10]);
  assert.deepEqual(moved({ x: 3, y: 4 }), [23, 24, 20, 10]);
});

test("each grip has the cursor of its direction", () => {
  assert.equal(cursorOf({ move: true }), "move");
  assert.equal(cursorOf({ fx: 0, fy: 0 }), "nwse-resize");
  assert.equal(cursorOf({ fx: 1, fy: 0 }), "nesw-resize");
  assert.equal(cursorOf({ fx: 0.5, fy: 1 }), "ns-resize");
  assert.equal(cursorOf({ fx: 0, fy: 0.5 }), "ew-resize");
});
