// Where a slice lies on the canvas, and the boxes on it. Nothing here knows a page.
//
// Slice pixels: x to the right, y down; pixel (row r, column c) covers [c, c+1) × [r, r+1).
// A box is [x, y, width, height] in slice pixels, a point {x, y} in slice pixels or {px, py} in CSS
// pixels of the canvas. A view is {zoom, cx, cy}: CSS pixels per column, and the slice pixel in the
// middle. A lie is a view on a canvas: {zoom, cx, cy, width, height, aspect}.

export const MAX_ZOOM = 40;
const LEAST_ZOOM = 0.01;
const SCALE_BAR_MM = [1, 2, 5, 10, 20, 50, 100, 200];

export const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

/** Height of a pixel over its width. */
export function aspectOf(image) {
  return image.spacing_mm ? image.spacing_mm[0] / image.spacing_mm[1] : 1;
}

/** Longer side of a box in mm, or null without spacing. */
export function diameterMm(box, image) {
  if (!image.spacing_mm) return null;
  return Math.max(box[2] * image.spacing_mm[1], box[3] * image.spacing_mm[0]);
}

/** Whether two slices lie on the canvas in the same way, so that a view of one serves the other. */
export function isAlike(one, other) {
  return one.rows === other.rows && one.columns === other.columns && aspectOf(one) === aspectOf(other);
}

// ---- the view -----------------------------------------------------------------------------------

/** The view that shows the whole slice on a canvas of {width, height} CSS pixels. */
export function fit(image, { width, height }) {
  const zoom = Math.min(width / image.columns, height / (image.rows * aspectOf(image)));
  return { zoom: Math.max(zoom, LEAST_ZOOM), cx: image.columns / 2, cy: image.rows / 2 };
}

export function lieOf(view, { width, height }, image) {
  return { ...view, width, height, aspect: aspectOf(image) };
}

/** Canvas CSS pixels → slice pixels. */
export function toSlice(lie, px, py) {
  return {
    x: lie.cx + (px - lie.width / 2) / lie.zoom,
    y: lie.cy + (py - lie.height / 2) / (lie.zoom * lie.aspect),
  };
}

/** Slice pixels → canvas CSS pixels. */
export function toScreen(lie, x, y) {
  return {
    x: (x - lie.cx) * lie.zoom + lie.width / 2,
    y: (y - lie.cy) * lie.zoom * lie.aspect + lie.height / 2,
  };
}

/** A box as [x, y, width, height] in CSS pixels. */
export function rectOf(lie, [x, y, w, h]) {
  const a = toScreen(lie, x, y);
  const b = toScreen(lie, x + w, y + h);
  return [a.x, a.y, b.x - a.x, b.y - a.y];
}

/** The view at `factor` times the zoom, with the same slice pixel under (px, py) as far as it can be. */
export function zoomedAbout(view, factor, { px, py }, size, image) {
  const fixed = toSlice(lieOf(view, size, image), px, py);
  const zoom = clamp(view.zoom * factor, fit(image, size).zoom / 2, MAX_ZOOM);
  const moved = toSlice(lieOf({ ...view, zoom }, size, image), px, py);
  return inSight({ zoom, cx: view.cx + fixed.x - moved.x, cy: view.cy + fixed.y - moved.y }, image);
}

/** The view after the slice was moved by (dx, dy) CSS pixels. */
export function panned(view, dx, dy, image) {
  const { zoom, cx, cy } = view;
  return inSight({ zoom, cx: cx - dx / zoom, cy: cy - dy / (zoom * aspectOf(image)) }, image);
}

/** The middle of the canvas stays over the slice. */
function inSight({ zoom, cx, cy }, image) {
  return { zoom, cx: clamp(cx, 0, image.columns), cy: clamp(cy, 0, image.rows) };
}

/** Whether the whole box is on the canvas. */
export function isInSight(lie, box) {
  const [x, y, w, h] = rectOf(lie, box);
  return x >= 0 && y >= 0 && x + w <= lie.width && y + h <= lie.height;
}

/** The longest bar of a round length that takes at most 22 % of the width; the shortest bar at least. */
export function scaleBarMm(pixelsPerMm, width) {
  return SCALE_BAR_MM.filter((step) => step * pixelsPerMm <= width * 0.22).at(-1) ?? SCALE_BAR_MM[0];
}

// ---- boxes --------------------------------------------------------------------------------------

/** A square around a centre, kept inside the slice; radius in column widths. */
export function squareAround(center, radius, image) {
  const aspect = aspectOf(image);
  const r = Math.max(0, Math.min(
    radius, center.x, image.columns - center.x, center.y * aspect, (image.rows - center.y) * aspect,
  ));
  return [center.x - r, center.y - r / aspect, 2 * r, (2 * r) / aspect];
}

/** The box between two corners, clipped to the slice. */
export function boxBetween(a, b, image) {
  const x0 = clamp(Math.min(a.x, b.x), 0, image.columns);
  const x1 = clamp(Math.max(a.x, b.x), 0, image.columns);
  const y0 = clamp(Math.min(a.y, b.y), 0, image.rows);
  const y1 = clamp(Math.max(a.y, b.y), 0, image.rows);
  return [x0, y0, x1 - x0, y1 - y0];
}

/** The first box of marking by keys: in the middle of the view, as large as a lesion is at its zoom. */
export function boxInMiddle(view, image) {
  const aspect = aspectOf(image); // as wide as high in mm
  const side = Math.min(image.columns, image.rows * aspect, Math.max(8, Math.round(48 / Math.max(1, view.zoom / 2))));
  const box = [view.cx - side / 2, view.cy - side / aspect / 2, side, side / aspect];
  return aspect === 1 ? box.map(Math.round) : box;
}

/**
 * A box moved by (dx, dy) and grown by (dw, dh) slice pixels, at least 2 by 2 and inside the slice.
 * round: grown about its middle, by as many mm in height as in width.
 */
export function nudged([x, y, w, h], { dx = 0, dy = 0, dw = 0, dh = 0 }, image, { round = false } = {}) {
  if (round) {
    dw = dw || dh;
    dh = dw / aspectOf(image);
    dx -= dw / 2;
    dy -= dh / 2;
  }
  const width = clamp(w + dw, 2, image.columns);
  const height = clamp(h + dh, 2, image.rows);
  return [clamp(x + dx, 0, image.columns - width), clamp(y + dy, 0, image.rows - height), width, height];
}

export function middleOf([x, y, w, h]) {
  return { x: x + w / 2, y: y + h / 2 };
}

export function isInside({ x, y }, [left, top, w, h]) {
  return x >= left && x <= left + w && y >= top && y <= top + h;
}

// ---- handles ------------------------------------------------------------------------------------

const HANDLES = [[0, 0], [0.5, 0], [1, 0], [1, 0.5], [1, 1], [0.5, 1], [0, 1], [0, 0.5]];

/** The handles of a box: {fx, fy} as shares of its sides, {x, y} in CSS pixels. */
export function handlesOf(lie, [x, y, w, h]) {
  return HANDLES.map(([fx, fy]) => ({ fx, fy, ...toScreen(lie, x + fx * w, y + fy * h) }));
}

/** What of a box is under (px, py): a handle {fx, fy} within reach, its edge {move: true}, or null. */
export function gripAt(lie, box, { px, py }, reach, edgeReach = 4) {
  for (const { fx, fy, x, y } of handlesOf(lie, box)) {
    if (Math.abs(x - px) <= reach && Math.abs(y - py) <= reach) return { fx, fy };
  }
  return isOnEdge(lie, box, { px, py }, edgeReach) ? { move: true } : null;
}

function isOnEdge(lie, box, { px, py }, reach) {
  const [x, y, w, h] = rectOf(lie, box);
  const inside = px >= x - reach && px <= x + w + reach && py >= y - reach && py <= y + h + reach;
  const deep = px > x + reach && px < x + w - reach && py > y + reach && py < y + h - reach;
  return inside && !deep;
}

/** The box after its grip was dragged from one slice pixel to another, inside the slice. */
export function adjusted([x, y, w, h], grip, from, to, image) {
  const dx = to.x - from.x;
  const dy = to.y - from.y;
  if (grip.move) return [clamp(x + dx, 0, image.columns - w), clamp(y + dy, 0, image.rows - h), w, h];
  const left = x + (grip.fx === 0 ? dx : 0);
  const right = x + w + (grip.fx === 1 ? dx : 0);
  const top = y + (grip.fy === 0 ? dy : 0);
  const bottom = y + h + (grip.fy === 1 ? dy : 0);
  return boxBetween({ x: left, y: top }, { x: right, y: bottom }, image);
}

/** The CSS cursor over a grip. */
export function cursorOf({ move, fx, fy }) {
  if (move) return "move";
  if (fx === 0.5) return "ns-resize";
  if (fy === 0.5) return "ew-resize";
  return fx === fy ? "nwse-resize" : "nesw-resize";
}
