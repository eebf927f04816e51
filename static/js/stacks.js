// Which slice of one stack lies beside a slice of another: pure, so that it can be tried without a page.

/**
 * Of `images` (in order), the one whose middle lies nearest to that of `image`: at the same table
 * position where both have one along the same axis, in one frame of reference and of one case, else
 * as far through the stack.
 * → { at: index, by: "table" | "share" }
 */
export function levelOf(image, images, total, { isSameCase = true } = {}) {
  const isSameFrame = image.series?.frame === images[0].series?.frame;
  const near = isSameCase && isSameFrame && image.place
    ? images.map(({ place, middle }, at) => ({ at, place, middle })).filter(({ place }) => place && place[0] === image.place[0])
    : [];
  if (near.length > 0) {
    const away = (one) => Math.abs(along(one) - along(image));
    return { at: near.reduce((best, one) => (away(one) < away(best) ? one : best)).at, by: "table" };
  }
  const share = (image.number - 1) / Math.max(1, total - 1);
  return { at: Math.round(share * (images.length - 1)), by: "share" };
}

// of a tilted slice that of its middle: its first pixel may lie centimetres away
const along = ({ place, middle }) => middle ?? place[1];

/** Where a slice lies along the axis of its stack, in words; "" where its file does not tell. */
export const placeSays = (image) => (image.place ? `${image.place[0]} ${along(image).toFixed(1).replace("-", "−")} mm` : "");

/** The index `by` slices further, kept within the stack. */
export const within = (at, images) => Math.min(images.length - 1, Math.max(0, at));

/** How the stacks are linked, in words: offset is in slices of the second. */
export function linkedBy(by, offset) {
  const how = by === "table" ? "by table position" : "by place in the stack";
  if (offset === 0) return `linked ${how}`;
  return `linked ${how}, ${offset > 0 ? "+" : "−"}${Math.abs(offset)} ${Math.abs(offset) === 1 ? "slice" : "slices"}`;
}
