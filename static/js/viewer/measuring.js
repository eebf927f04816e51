// What is measured on a slice: a length, or the values within a region. Pure; coordinates are slice pixels.
//
// A measure is {id, kind, points: [{x, y}, …], says: [line, …]}: of a length its two ends, of a rectangle
// two corners, of a disc its centre and a point of its edge, of an outline its corners in order. An outline
// encloses what it goes round, however often and whichever way.

import { aspectOf, toScreen } from "./geometry.js";

export const Kind = Object.freeze({ length: "length", rectangle: "rectangle", disc: "disc", outline: "outline" });

const LEAST_STEP = 0.7; // of a free-hand outline: nearer points than so many pixels are one

/** Length of a line in slice pixels {px} and, with spacing, {mm}; else mm is null. */
export function lengthOf([a, b], image) {
  const dx = b.x - a.x;
  const dy = b.y - a.y;
  const mm = image.spacing_mm ? Math.hypot(dx * image.spacing_mm[1], dy * image.spacing_mm[0]) : null;
  return { px: Math.hypot(dx, dy), mm };
}

/**
 * The values of the pixels whose centre lies within a region: {n, mean, sd, low, high, mm2}.
 * sd is that of a sample, null of one value; mm2 is the area of the shape, of its pixels where it leaves
 * the slice or its outline crosses itself, null without spacing.
 * Null where no centre lies within.
 */
export function regionOf(kind, points, image, pixels) {
  const [left, top, right, bottom] = boundsOf(kind, points, image);
  const roundsOf = roundsIn(kind, points, image);
  let most = 0;
  let least = 0;
  let n = 0;
  let sum = 0; // of whole numbers: exact
  let mean = 0;
  let squares = 0;
  let low = Infinity;
  let high = -Infinity;
  for (let row = Math.max(0, Math.floor(top)); row < Math.min(image.rows, Math.ceil(bottom)); row += 1) {
    for (let column = Math.max(0, Math.floor(left)); column < Math.min(image.columns, Math.ceil(right)); column += 1) {
      const rounds = roundsOf(column + 0.5, row + 0.5);
      if (rounds === 0) continue;
      if (rounds > most) most = rounds;
      if (rounds < least) least = rounds;
      const value = pixels[row * image.columns + column];
      n += 1;
      sum += value;
      const off = value - mean; // Welford: no sum of squares that cancels
      mean += off / n;
      squares += off * (value - mean);
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  if (n === 0) return null;
  return { n, mean: sum / n, sd: n > 1 ? Math.sqrt(squares / (n - 1)) : null, low, high, mm2: areaWithin(kind, points, image, n, most - least <= 1) };
}

/** Whether a measure is large enough to have been meant. */
export function isMeant(kind, points) {
  if (kind === Kind.outline) return points.length >= 3;
  return Math.hypot(points[1].x - points[0].x, points[1].y - points[0].y) >= 1;
}

/** A point as it can be kept: to hundredths of a pixel, so that what is kept says what was drawn. */
export const keepable = ({ x, y }) => ({ x: Math.round(x * 100) / 100, y: Math.round(y * 100) / 100 });

/** The outline with another point, unless it is hardly another. */
export function extended(points, to) {
  const last = points[points.length - 1];
  return Math.hypot(to.x - last.x, to.y - last.y) < LEAST_STEP ? points : [...points, to];
}

/** What a measure says, in lines: for the picture and for the live region. */
export function saysOf(kind, points, image, pixels) {
  if (kind === Kind.length) {
    const { px, mm } = lengthOf(points, image);
    return [mm === null ? `${px.toFixed(1)} px, uncalibrated` : `${mm.toFixed(1)} mm`];
  }
  const found = regionOf(kind, points, image, pixels);
  if (found === null) return ["no pixel within"];
  const unit = image.calibrated ? "HU" : "grey";
  const spread = found.sd === null ? "" : ` ± ${found.sd.toFixed(1)}`;
  const area = found.mm2 === null ? `${found.n} px, uncalibrated` : `${areaText(found.mm2)}, ${found.n} px`;
  return [`${signed(found.mean.toFixed(1))}${spread} ${unit}`, `${signed(found.low)} to ${signed(found.high)}`, area];
}

const signed = (value) => String(value).replace("-", "−");
const areaText = (mm2) => (mm2 < 100 ? `${mm2.toFixed(1)} mm²` : `${(mm2 / 100).toFixed(2)} cm²`);

// ---- shapes -------------------------------------------------------------------------------------

/** Radii of a disc, round in mm: {rx, ry} in slice pixels. */
export function radiiOf([centre, edge], image) {
  const aspect = aspectOf(image);
  const rx = Math.hypot(edge.x - centre.x, (edge.y - centre.y) * aspect);
  return { rx, ry: rx / aspect };
}

function boundsOf(kind, points, image) {
  if (kind === Kind.disc) {
    const { rx, ry } = radiiOf(points, image);
    const [{ x, y }] = points;
    return [x - rx, y - ry, x + rx, y + ry];
  }
  const xs = points.map(({ x }) => x);
  const ys = points.map(({ y }) => y);
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
}

/** How often the line goes round a place: 0 outside; negative the other way round. */
function roundsIn(kind, points, image) {
  const [left, top, right, bottom] = boundsOf(kind, points, image);
  if (kind === Kind.rectangle) return (x, y) => Number(x >= left && x < right && y >= top && y < bottom);
  if (kind === Kind.disc) {
    const { rx, ry } = radiiOf(points, image);
    const [centre] = points;
    return (x, y) => Number(((x - centre.x) / rx) ** 2 + ((y - centre.y) / ry) ** 2 <= 1);
  }
  return (x, y) => {
    let rounds = 0;
    for (let i = 0, j = points.length - 1; i < points.length; j = i, i += 1) {
      const a = points[i];
      const b = points[j];
      if (a.y > y !== b.y > y && x < ((b.x - a.x) * (y - a.y)) / (b.y - a.y) + a.x) rounds += a.y > b.y ? 1 : -1;
    }
    return rounds;
  };
}

/** Of what leaves the slice, or crosses itself, the area is that of the n pixels within: whose values are told. */
function areaWithin(kind, points, image, n, isPlain) {
  if (!image.spacing_mm) return null;
  const [left, top, right, bottom] = boundsOf(kind, points, image);
  const isWhole = left >= 0 && top >= 0 && right <= image.columns && bottom <= image.rows;
  return isWhole && isPlain ? areaOf(kind, points, image) : n * image.spacing_mm[0] * image.spacing_mm[1];
}

function areaOf(kind, points, image) {
  const perPixel = image.spacing_mm[0] * image.spacing_mm[1];
  if (kind === Kind.disc) {
    const { rx, ry } = radiiOf(points, image);
    return Math.PI * rx * ry * perPixel;
  }
  if (kind === Kind.rectangle) {
    const [left, top, right, bottom] = boundsOf(kind, points, image);
    return (right - left) * (bottom - top) * perPixel;
  }
  let twice = 0;
  for (let i = 0, j = points.length - 1; i < points.length; j = i, i += 1) twice += points[j].x * points[i].y - points[i].x * points[j].y;
  return (Math.abs(twice) / 2) * perPixel;
}

/** The corners that draw a measure's line on the canvas, in CSS pixels; closed but for a length. */
export function pathOf(lie, { kind, points }, image) {
  if (kind === Kind.rectangle) {
    const [left, top, right, bottom] = boundsOf(kind, points, image);
    return [[left, top], [right, top], [right, bottom], [left, bottom]].map(([x, y]) => toScreen(lie, x, y));
  }
  if (kind === Kind.disc) {
    const { rx, ry } = radiiOf(points, image);
    const [{ x, y }] = points;
    return Array.from({ length: 48 }, (_, n) => {
      const angle = (n / 48) * 2 * Math.PI;
      return toScreen(lie, x + rx * Math.cos(angle), y + ry * Math.sin(angle));
    });
  }
  return points.map(({ x, y }) => toScreen(lie, x, y));
}

/** Whether (px, py) in CSS pixels lies on a measure's line, within reach. */
export function isOn(lie, measure, image, { px, py }, reach = 5) {
  const path = pathOf(lie, measure, image);
  const isOpen = measure.kind === Kind.length;
  return path.some((a, n) => {
    if (isOpen && n === 0) return false;
    return distance(path[(n || path.length) - 1], a, px, py) <= reach;
  });
}

function distance(a, b, px, py) {
  const dx = b.x - a.x;
  const dy = b.y - a.y;
  const along = dx || dy ? Math.min(1, Math.max(0, ((px - a.x) * dx + (py - a.y) * dy) / (dx * dx + dy * dy))) : 0;
  return Math.hypot(px - a.x - along * dx, py - a.y - along * dy);
}
