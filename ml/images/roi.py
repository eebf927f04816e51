"""The only code that makes an ROI: training, upload, API and reader study all pass through it.

An ROI is a square around the lesion's centre cut from the whole slice, with a margin of 0.28 d on
each side (d: longer side of the lesion; measured on figure 3 of Frid-Adar et al. 2018, which gives
no number), resampled to 64 × 64 (bicubic, antialiased, in float) and mapped to [−1, 1].

Coordinates are pixels of the slice: x to the right, y down; pixel (r, c) covers
[c, c+1) × [r, r+1). They are kept to 1/1024 px, so that a crop of a slice gives the very ROI that
the slice gives.

RoiError
 ├ BoxError      a box that is missing, empty, too small, or not inside the image
 ├ PixelError    NaN, infinities, a wrong shape or type
 └ ViewError     a view wider than the tissue that a data set keeps
"""

from __future__ import annotations

import io
import math
import zipfile
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ml.ground.errors import HepaticaError
from ml.images import greys, percentiles
from ml.images.ct_slice import NARROW, CTSlice
from ml.lesion import ROI_SIZE_PX

Float32 = npt.NDArray[np.float32]
Pixels = npt.NDArray[Any]
Spacing = tuple[float, float]

MARGIN = 0.28
"""Tissue on each side of the lesion, as a fraction of d."""

DEFAULT_WINDOW_HU = (-150.0, 250.0)


def window_words(window_hu: tuple[float, float]) -> str:
    """A window for people: ``−150 to 250 HU``."""
    low, high = window_hu
    return f"{low:g} to {high:g} HU".replace("-", "−")


AIR_HU = -1024.0
_OPEN_HU = -500.0
"""Edges below it are air, as those of a whole slice; above it somebody cut the image out."""
MAX_TISSUE = 0.4
MAX_SHIFT_PX = 4.0
MIN_LESION_PX = 2.0
MAX_SQUARE_PIXELS = 2**26
MAX_ARRAY_BYTES = 2**28

_FLAT = 0.02
"""Of the range of 2 between black and white: one step of 8 bits is 0.008."""

_ROUNDING = 1e-6
"""By so much float32 may miss the end of a window."""

_BESIDE_PX = 2
"""Pixels beside a square that interpolation reads, at least."""

_GRID = 1024.0
_WHOLE = 1 + 2 * MARGIN


class RoiError(HepaticaError):
    """No ROI can be made of what was given; the message says why and what to do."""


class BoxError(RoiError):
    """A box that is missing, empty, too small, or not inside the image."""


class PixelError(RoiError):
    """Pixels of no use: NaN, infinities, a wrong shape or type."""


class ViewError(RoiError):
    """A view wider than the tissue that a data set keeps around a lesion."""


@dataclass(frozen=True)
class Box:
    """A rectangle on a slice, in pixels: left edge, top edge, width, height.

    Raises:
        BoxError: a number that is not finite, or no width or height.
    """

    x: float
    y: float
    width: float
    height: float

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (self.x, self.y, self.width, self.height))):
            raise BoxError("The lesion's box has a number that is not finite; mark it again.")
        if self.width <= 0 or self.height <= 0:
            raise BoxError(
                f"The lesion's box is {self.width:g} × {self.height:g} pixels; "
                "width and height must be greater than zero."
            )

    @property
    def center(self) -> tuple[float, float]:
        """(x, y)"""
        return self.x + self.width / 2, self.y + self.height / 2

    def meets(self, other: Box) -> bool:
        """Whether the two have some area in common."""
        across = min(self.x + self.width, other.x + other.width) > max(self.x, other.x)
        down = min(self.y + self.height, other.y + other.height) > max(self.y, other.y)
        return across and down

    @classmethod
    def centred(cls, center_x: float, center_y: float, width: float, height: float) -> Box:
        """A box by its centre and size in pixels."""
        return cls(center_x - width / 2, center_y - height / 2, width, height)

    @classmethod
    def around(
        cls, center_x: float, center_y: float, diameter_mm: float, spacing_mm: Spacing | None
    ) -> Box:
        """The box of a round lesion: centre in pixels, diameter in mm, (row, column) spacing in mm.

        Raises:
            BoxError: no spacing, or a diameter or spacing that is not greater than zero.
        """
        if spacing_mm is None:
            raise BoxError(
                "A diameter in mm needs the pixel spacing, which this image does not have; "
                "mark the lesion with a box in pixels."
            )
        if not (math.isfinite(diameter_mm) and diameter_mm > 0):
            raise BoxError(f"A diameter of {diameter_mm:g} mm is impossible; give one above zero.")
        row, column = _spacing(spacing_mm)
        return cls.centred(center_x, center_y, diameter_mm / column, diameter_mm / row)

    def moved(self, x: float, y: float) -> Box:
        """The same size ``x`` further right and ``y`` further down, in pixels."""
        return Box(self.x + x, self.y + y, self.width, self.height)


@dataclass(frozen=True)
class View:
    """How an augmentation looks at a lesion; the identity is the plain ROI.

    Attributes:
        angle_deg: the picture is turned counter-clockwise about the lesion's centre.
        flip_ud, flip_lr: mirrored after turning.
        shift_px: (x, y) by which the square's centre is moved on the slice, each within ±4.
        tissue: more margin on each side as a fraction of d, 0…0.4 (the paper's "scale").

    Raises:
        ViewError: a shift or tissue outside the range that a data set keeps pixels for.
    """

    angle_deg: float = 0.0
    flip_ud: bool = False
    flip_lr: bool = False
    shift_px: tuple[float, float] = (0.0, 0.0)
    tissue: float = 0.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.angle_deg):
            raise ViewError(f"An angle of {self.angle_deg} degrees is impossible.")
        if not 0 <= self.tissue <= MAX_TISSUE:
            raise ViewError(f"Additional tissue {self.tissue:g} d is not within 0 and 0.4 d.")
        if not all(-MAX_SHIFT_PX <= shift <= MAX_SHIFT_PX for shift in self.shift_px):
            raise ViewError(f"A shift of {self.shift_px} pixels is not within ±4.")


IDENTITY = View()


@dataclass(frozen=True)
class Roi:
    """What a network sees of one lesion.

    Attributes:
        pixels: float32 (64, 64) in [−1, 1].
        calibrated: whether [−1, 1] is a window in HU (else the full range of grey).
        box: the lesion's box on the slice; None for a 64 × 64 image that is the ROI itself.
        square: what was cut from the slice, in its pixels; may reach beyond the slice.
        side_mm: side of the square; None where the spacing is unknown.
        warnings: those of the slice, then those of the ROI.
        unclipped: as ``pixels``, before what lies beyond the window became its ends; the same
            array where nothing does. None where that is not known: of an ROI without its slice.
    """

    pixels: Float32
    calibrated: bool
    box: Box | None
    square: Box
    side_mm: float | None
    warnings: tuple[str, ...] = ()
    unclipped: Float32 | None = None

    @property
    def cut_off(self) -> Float32 | None:
        """``unclipped`` where the window cut something off; None where it did not, as far as that
        is known."""
        return None if self.unclipped is self.pixels else self.unclipped

    @property
    def side_px(self) -> float:
        """Longer side of the square in pixels of the slice."""
        return max(self.square.width, self.square.height)

    @property
    def longer_side_mm(self) -> float | None:
        """The lesion's, by its box; None where there is no box or no spacing."""
        return None if self.box is None or self.side_mm is None else self.side_mm / _WHOLE


@dataclass(frozen=True)
class _Square:
    """A square in mm as half its width and height in pixels, and its centre, on the 1/1024 grid."""

    center_x: float
    center_y: float
    half_x: float
    half_y: float


def _on_grid(value: float) -> float:
    return round(value * _GRID) / _GRID


def _spacing(spacing_mm: Spacing | None) -> Spacing:
    if spacing_mm is None:
        return 1.0, 1.0
    if not all(math.isfinite(value) and value > 0 for value in spacing_mm):
        raise BoxError(f"Pixel spacing {spacing_mm} mm is impossible; leave it out if unknown.")
    return spacing_mm


def _square_of(box: Box, spacing_mm: Spacing | None, view: View) -> _Square:
    row, column = _spacing(spacing_mm)
    diameter = max(box.width * column, box.height * row)
    half = diameter * (_WHOLE + 2 * view.tissue) / 2
    x, y = box.center
    return _Square(
        _on_grid(x + view.shift_px[0]),
        _on_grid(y + view.shift_px[1]),
        _on_grid(half / column),
        _on_grid(half / row),
    )


def square(box: Box, spacing_mm: Spacing | None, view: View = IDENTITY) -> Box:
    """The rectangle on the slice that becomes the ROI (before turning); square in mm."""
    cut_out = _square_of(box, spacing_mm, view)
    return Box.centred(cut_out.center_x, cut_out.center_y, 2 * cut_out.half_x, 2 * cut_out.half_y)


def whole(rows: int, columns: int) -> Box:
    """The lesion's box for which the whole of a square image is the ROI."""
    side = max(rows, columns) / _WHOLE
    return Box.centred(columns / 2, rows / 2, side, side)


def room(box: Box, shape: tuple[int, ...], spacing_mm: Spacing | None) -> float:
    """How much more margin there is on every side of the plain ROI before the image ends.

    A fraction of d, as ``View.tissue`` is; negative where the plain ROI already looks beyond.
    """
    rows, columns = shape
    row, column = _spacing(spacing_mm)
    plain = square(box, spacing_mm)
    sides = (
        plain.x * column,
        (columns - plain.x - plain.width) * column,
        plain.y * row,
        (rows - plain.y - plain.height) * row,
    )
    return min(sides) / max(box.width * column, box.height * row)


def check(box: Box, shape: tuple[int, ...], spacing_mm: Spacing | None) -> None:
    """Refuse a box from which no honest ROI can be cut; one pixel of overhang is let pass.

    So is the box of ``whole``, whose square is that of the image's longer side.

    Raises:
        BoxError: not inside the image, under 2 pixels, or its square over 2²⁶ pixels.
    """
    rows, columns = shape
    x, y = box.center
    if not (0 <= x <= columns and 0 <= y <= rows):
        raise BoxError(
            f"The lesion's centre ({x:.1f}, {y:.1f}) lies outside the image of "
            f"{columns} × {rows} pixels; mark the lesion on the image."
        )
    right, bottom = box.x + box.width, box.y + box.height
    beyond_edge = box.x < -1 or box.y < -1 or right > columns + 1 or bottom > rows + 1
    # of an image that is the ROI itself and not square, the square is wider than the image
    if beyond_edge and box != whole(rows, columns):
        raise BoxError(
            f"The lesion's box ({box.x:.1f}, {box.y:.1f}) to ({right:.1f}, {bottom:.1f}) reaches "
            f"outside the image of {columns} × {rows} pixels; keep it inside."
        )
    if max(box.width, box.height) < MIN_LESION_PX:
        raise BoxError(
            f"The lesion's box is {box.width:g} × {box.height:g} pixels; "
            "under 2 pixels there is nothing to see. Mark the whole lesion."
        )
    row, column = _spacing(spacing_mm)
    side = max(box.width * column, box.height * row) * _WHOLE
    if side / row * side / column > MAX_SQUARE_PIXELS:
        raise BoxError(
            f"A square of {side / column:.0f} × {side / row:.0f} pixels is too large for an ROI; "
            "mark one lesion, and leave out a pixel spacing that is wrong."
        )


def beyond(pixels: Pixels) -> float | None:
    """What an image (rows, columns) goes on with beyond its edges.

    A slice in HU whose edge is air goes on as air: nothing else is there. Every other image was
    cut out of something that went on, and is mirrored (None): black that was never there is what
    a network would learn first.
    """
    if pixels.dtype != np.int16:
        return None
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    return AIR_HU if float(np.median(edge)) < _OPEN_HU else None


def _mirrored(length: int, start: int, stop: int) -> npt.NDArray[np.intp]:
    """Which of ``length`` pixels stand at ``start`` … ``stop``; the edge pixel comes twice."""
    turned = np.arange(start, stop) % (2 * length)
    return np.where(turned < length, turned, 2 * length - 1 - turned)


def _window(
    pixels: Pixels, left: int, top: int, right: int, bottom: int, fill: float | None
) -> Pixels:
    """Pixels of [left, right) × [top, bottom) in their own type; where the slice has none,
    ``fill``, or its mirror image (None)."""
    rows, columns = pixels.shape
    if left >= 0 and top >= 0 and right <= columns and bottom <= rows:
        found = pixels[top:bottom, left:right]
    elif fill is None:
        found = pixels[np.ix_(_mirrored(rows, top, bottom), _mirrored(columns, left, right))]
    else:
        found = np.full((bottom - top, right - left), fill, pixels.dtype)
        y0, y1, x0, x1 = max(top, 0), min(bottom, rows), max(left, 0), min(right, columns)
        if y0 < y1 and x0 < x1:
            found[y0 - top : y1 - top, x0 - left : x1 - left] = pixels[y0:y1, x0:x1]
    _refuse_non_finite(found)
    return found


def _refuse_non_finite(pixels: Pixels) -> None:
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise PixelError("The image has NaN or infinite pixels; export it again without them.")


def _reach(half: float) -> int:
    """Pixels on each side of the centre that the antialiased bicubic filter may read."""
    return math.ceil(half + 2 * max(1.0, 2 * half / ROI_SIZE_PX)) + 2


def _resized(window: Float32, x: float, y: float, half_x: float, half_y: float) -> Float32:
    """The square of that centre and those halves, on ``window``'s pixels, as (64, 64)."""
    picture = Image.fromarray(window).resize(
        (ROI_SIZE_PX, ROI_SIZE_PX),
        Image.Resampling.BICUBIC,
        box=(x - half_x, y - half_y, x + half_x, y + half_y),
    )
    return np.array(picture)


def cut(
    pixels: Pixels,
    box: Box,
    spacing_mm: Spacing | None,
    fill: float | None,
    view: View = IDENTITY,
) -> Float32:
    """The ROI in the slice's own unit: float32 (64, 64).

    A turned view is interpolated from the slice (bicubic, at the slice's resolution) before the
    same antialiased resize, so that its corners hold tissue, not wedges of nothing.

    Args:
        pixels: (rows, columns) of the slice, or of a crop of it with the box moved accordingly.
        box: the lesion's.
        spacing_mm: (row, column) spacing, with which the square is square in mm; None: in pixels.
        fill: value outside the slice; None: its mirror image. ``beyond`` tells which.
        view: how to look; the identity is the plain ROI.

    Raises:
        PixelError: pixels that are not (rows, columns), or with NaN or infinities where they count.
        BoxError: see ``check``.
    """
    if pixels.ndim != 2:
        raise PixelError(f"An image of shape {pixels.shape} is not (rows, columns).")
    check(box, pixels.shape, spacing_mm)
    cut_out = _square_of(box, spacing_mm, view)
    whole_x, whole_y = math.floor(cut_out.center_x), math.floor(cut_out.center_y)
    # the window depends on the square alone, never on the slice's edges: a crop gives the same
    x, y = cut_out.center_x - whole_x, cut_out.center_y - whole_y
    reach_x, reach_y = _reach(cut_out.half_x), _reach(cut_out.half_y)
    if view.angle_deg % 360 == 0:
        window = _window(
            pixels,
            whole_x - reach_x,
            whole_y - reach_y,
            whole_x + reach_x + 1,
            whole_y + reach_y + 1,
            fill,
        ).astype(np.float32)
        roi = _resized(window, x + reach_x, y + reach_y, cut_out.half_x, cut_out.half_y)
    else:
        row, column = _spacing(spacing_mm)
        angle = math.radians(view.angle_deg)
        cos, sin = math.cos(angle), math.sin(angle)
        far_x = math.ceil(abs(cos) * reach_x + abs(sin) * reach_y * row / column) + 4
        far_y = math.ceil(abs(sin) * reach_x * column / row + abs(cos) * reach_y) + 4
        window = _window(
            pixels, whole_x - far_x, whole_y - far_y, whole_x + far_x + 1, whole_y + far_y + 1, fill
        ).astype(np.float32)
        # output pixel (i, j), offset from the centre in mm, turned back, in pixels of the window
        a, b = cos, -sin * row / column
        d, e = sin * column / row, cos
        turned = Image.fromarray(window).transform(
            (2 * reach_x, 2 * reach_y),
            Image.Transform.AFFINE,
            (
                a, b, x + far_x - a * reach_x - b * reach_y,
                d, e, y + far_y - d * reach_x - e * reach_y,
            ),
            Image.Resampling.BICUBIC,
        )  # fmt: skip
        roi = _resized(
            np.asarray(turned), float(reach_x), float(reach_y), cut_out.half_x, cut_out.half_y
        )
    if view.flip_ud:
        roi = roi[::-1]
    if view.flip_lr:
        roi = roi[:, ::-1]
    return np.ascontiguousarray(roi)


def context(
    pixels: Pixels, box: Box, spacing_mm: Spacing | None, fill: float | None
) -> tuple[Pixels, tuple[int, int]]:
    """A crop of the slice, in its own type, from which every ``View`` can be cut exactly.

    Beyond the slice it holds ``fill``, or the slice's mirror image (None): turned views then have
    no black wedges. That tissue is invented: ``room`` tells how far a view may go without it.

    Returns:
        The crop, and the (x, y) of its first pixel on the slice, which may be negative.

    Raises:
        PixelError, BoxError: as ``cut``.
    """
    if pixels.ndim != 2:
        raise PixelError(f"An image of shape {pixels.shape} is not (rows, columns).")
    check(box, pixels.shape, spacing_mm)
    _refuse_non_finite(pixels)
    row, column = _spacing(spacing_mm)
    widest = _square_of(box, spacing_mm, View(tissue=MAX_TISSUE))
    reach_x, reach_y = _reach(widest.half_x), _reach(widest.half_y)
    diagonal = math.hypot(reach_x * column, reach_y * row)
    far = int(MAX_SHIFT_PX) + 6
    far_x = max(reach_x, math.ceil(diagonal / column)) + far
    far_y = max(reach_y, math.ceil(diagonal / row)) + far
    center_x, center_y = math.floor(widest.center_x), math.floor(widest.center_y)
    left, top = center_x - far_x, center_y - far_y
    crop = _window(pixels, left, top, center_x + far_x + 1, center_y + far_y + 1, fill)
    return np.ascontiguousarray(crop), (left, top)


def normalise(values: Pixels, window_hu: tuple[float, float]) -> Float32:
    """Clip to a window and map it to [−1, 1]; any shape, float32.

    Raises:
        RoiError: a window that is not two finite, rising numbers.
    """
    scaled = _scaled(values, window_hu)
    return np.clip(scaled, np.float32(-1), np.float32(1), out=scaled)


def _scaled(values: Pixels, window_hu: tuple[float, float]) -> Float32:
    """The same without clipping: what lies beyond the window lies beyond ±1."""
    low, high = window_hu
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise RoiError(f"A window of {low:g}…{high:g} HU is impossible; give low, then high.")
    scaled: Float32 = np.asarray(values, np.float32) - np.float32(low)
    scaled *= np.float32(2 / (high - low))
    scaled -= np.float32(1)
    return scaled


def _unclipped(
    values: Pixels, found: Float32, window: tuple[float, float], pixels: Pixels, seen: Box | None
) -> Float32:
    """``found``, but what lies beyond the window as it is on the slice; ``found`` itself where
    nothing does.

    Args:
        values: what was cut from ``pixels`` and became ``found``.
        seen: where on the slice; None: not known exactly.
    """
    at_end = np.abs(found) >= 1
    if not at_end.any():
        return found
    # what interpolation adds at an edge is none of the image: no grey is whiter than white
    limited = np.clip(values, *_darkest_and_brightest(pixels, seen))
    unclipped = np.where(at_end, _scaled(limited, window), found)
    return unclipped if (np.abs(unclipped) > 1 + _ROUNDING).any() else found


def _darkest_and_brightest(pixels: Pixels, seen: Box | None) -> tuple[float, float]:
    """Of the slice within a rectangle, or of all of it (None), and of what goes on beyond it."""
    rows, columns = pixels.shape
    inside, outside = pixels, True
    if seen is not None:
        left, top = math.floor(seen.x) - _BESIDE_PX, math.floor(seen.y) - _BESIDE_PX
        right = math.ceil(seen.x + seen.width) + _BESIDE_PX
        bottom = math.ceil(seen.y + seen.height) + _BESIDE_PX
        outside = left < 0 or top < 0 or right > columns or bottom > rows
        inside = pixels[max(top, 0) : bottom, max(left, 0) : right]
    ends = float(inside.min()), float(inside.max())
    fill = beyond(pixels) if outside else None
    return ends if fill is None else (min(ends[0], fill), ends[1])


def make(
    ct_slice: CTSlice,
    box: Box | None,
    window_hu: tuple[float, float] = DEFAULT_WINDOW_HU,
    view: View = IDENTITY,
    grey_range: greys.Chosen | None = None,
) -> Roi:
    """The ROI of a lesion on a slice.

    Args:
        ct_slice: HU (mapped from ``window_hu``) or grey values (from ``grey_range``).
        box: the lesion's; None for a 64 × 64 image, which is the ROI itself.
        window_hu: the checkpoint's; not used for uncalibrated images.
        view: how to look.
        grey_range: the checkpoint's; None: the full range of the type.

    Raises:
        RoiError: no box and not 64 × 64, or as ``cut`` and ``normalise``.
        GreyRangeError: the image's type cannot hold ``grey_range``.
    """
    pixels = ct_slice.pixels
    spacing_mm = ct_slice.spacing_mm
    window = window_hu if ct_slice.calibrated else greys.range_of(pixels, grey_range)
    itself = box is None
    if box is None:
        if pixels.shape != (ROI_SIZE_PX, ROI_SIZE_PX):
            columns, rows = pixels.shape[::-1]
            raise BoxError(
                f"An image of {columns} × {rows} pixels needs the lesion's box, or its centre "
                "and diameter; only a 64 × 64 image is an ROI by itself."
            )
        box, spacing_mm = whole(*pixels.shape), None
    if itself and view == IDENTITY:
        _refuse_non_finite(pixels)
        values: Pixels = pixels
    elif itself:
        values = cut(pixels, box, None, None, view)
    else:
        values = cut(pixels, box, spacing_mm, beyond(pixels), view)
    cut_out = square(box, spacing_mm, view)
    side_mm = None
    if ct_slice.spacing_mm is not None:
        side_mm = max(
            cut_out.height * ct_slice.spacing_mm[0], cut_out.width * ct_slice.spacing_mm[1]
        )
    found = normalise(values, window)
    told = ct_slice.warnings
    if grey_range is not None:  # it maps the few greys that the picture has
        told = tuple(text for text in told if not text.startswith(NARROW))
    return Roi(
        found,
        ct_slice.calibrated,
        None if itself else box,
        cut_out,
        side_mm,
        (*told, *_outside(cut_out, pixels), *flat(found)),
        _unclipped(values, found, window, pixels, None if view.angle_deg % 360 else cut_out),
    )


def flat(roi: Float32) -> tuple[str, ...]:
    """What is said of an ROI (64, 64) in which a network sees nothing, whatever made it so."""
    low, high = percentiles.span(roi, 1, 99)
    if high - low >= _FLAT:
        return ()
    return (
        "The ROI is one shade of grey under the window that the network uses: its score means "
        "nothing.",
    )


def _outside(cut_out: Box, pixels: Pixels) -> tuple[str, ...]:
    rows, columns = pixels.shape
    width = min(cut_out.x + cut_out.width, columns) - max(cut_out.x, 0)
    height = min(cut_out.y + cut_out.height, rows) - max(cut_out.y, 0)
    missing = 1 - max(width, 0) * max(height, 0) / (cut_out.width * cut_out.height)
    if missing < 0.01:
        return ()
    filled = "the image mirrored at its edge" if beyond(pixels) is None else "air"
    return (f"{missing:.0%} of the ROI lies outside the image and is filled with {filled}.",)


def to_grey(pixels: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.uint8]:
    """Finite values in [−1, 1] as grey values: −1 → 0, 1 → 255, halves to the even one.

    The only place where a network's values become a picture: a real and a synthetic ROI that
    were rounded by two rules could be told apart. What lies outside [−1, 1] is clipped.
    """
    grey: npt.NDArray[np.uint8] = np.rint((np.clip(pixels, -1, 1) + 1) * 127.5).astype(np.uint8)
    return grey


def to_png(pixels: npt.NDArray[Any]) -> bytes:
    """An ROI (rows, columns) in [−1, 1] as 8-bit grey PNG without metadata: −1 → 0, 1 → 255."""
    stream = io.BytesIO()
    Image.fromarray(to_grey(checked(pixels))).save(stream, "PNG")
    return stream.getvalue()


def from_png(data: bytes) -> Float32:
    """What ``to_png`` wrote, as float32 (64, 64) in [−1, 1], to within 1/255.

    Raises:
        PixelError: no 8-bit grey PNG of 64 × 64 pixels.
    """
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            if picture.mode != "L" or picture.size != (ROI_SIZE_PX, ROI_SIZE_PX):
                raise PixelError(
                    f"A PNG of mode {picture.mode} and {picture.width} × {picture.height} pixels "
                    "is no ROI; an ROI is 8-bit grey, 64 × 64."
                )
            grey = np.asarray(picture)
    except PixelError:
        raise
    except Exception as error:
        raise PixelError(f"The ROI's PNG cannot be read ({error}); export it again.") from error
    return normalise(grey, (0, 255))


def checked(values: npt.NDArray[Any]) -> Float32:
    """One ROI (64, 64) or many (n, 64, 64) from elsewhere, as float32 in [−1, 1].

    Raises:
        PixelError: not numbers, another shape, NaN, infinities, or values beyond ±1.
    """
    if values.dtype.kind not in "fiu":
        raise PixelError(f"ROIs of type {values.dtype} are not numbers; save float32 in [−1, 1].")
    if values.ndim not in (2, 3) or values.shape[-2:] != (ROI_SIZE_PX, ROI_SIZE_PX):
        raise PixelError(f"ROIs of shape {values.shape} are not (n, 64, 64).")
    if not np.isfinite(values).all():
        raise PixelError("The ROIs have NaN or infinite pixels; remove them and save again.")
    if values.size and max(-float(values.min()), float(values.max())) > 1 + 1e-4:
        raise PixelError(
            f"The ROIs' values run from {values.min():g} to {values.max():g}; "
            "map them to [−1, 1] first."
        )
    return np.clip(values.astype(np.float32), np.float32(-1), np.float32(1))


def is_array(data: bytes) -> bool:
    """Whether the bytes are an npy file, or a zip of nothing but such files (an npz)."""
    if data[:6] == b"\x93NUMPY":
        return True
    if data[:2] != b"PK":
        return False
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
    except Exception:  # a damaged zip, whatever zipfile makes of it
        return False
    return bool(names) and all(name.endswith(".npy") for name in names)


def load(data: bytes, name: str) -> Float32:
    """ROIs from an npy or npz file (its only array, or the one named ``rois``): (n, 64, 64).

    Raises:
        PixelError: not such a file, or as ``checked``; the message names the file.
    """
    try:
        rois = checked(_array(_member(data) if data[:2] == b"PK" else data))
    except PixelError as error:
        raise PixelError(f"{name}: {error}") from error
    except MemoryError:
        raise
    except Exception as error:
        raise PixelError(f"{name} is not a NumPy file of ROIs ({error}).") from error
    return rois if rois.ndim == 3 else rois[None]


def _member(data: bytes) -> bytes:
    """The npy file of an npz, refused by its declared size before it is unpacked."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = archive.namelist()
        if "rois.npy" not in names and len(names) != 1:
            raise PixelError(f"It holds {len(names)} arrays, and none is named rois.")
        member = archive.getinfo("rois.npy" if "rois.npy" in names else names[0])
        if member.file_size > MAX_ARRAY_BYTES:
            raise PixelError(f"It unpacks to {member.file_size >> 20} MiB; give at most 256 MiB.")
        return archive.read(member)


def _array(data: bytes) -> npt.NDArray[Any]:
    """An npy file, refused where its header promises more than the file holds."""
    stream = io.BytesIO(data)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    shape, _, dtype = read_header[np.lib.format.read_magic(stream)](stream)
    if dtype.hasobject or math.prod(shape) * dtype.itemsize > len(data) - stream.tell():
        raise PixelError(f"It holds less than its shape {shape} of {dtype} says; save it again.")
    stream.seek(0)
    array: npt.NDArray[Any] = np.load(stream, allow_pickle=False)
    return array
