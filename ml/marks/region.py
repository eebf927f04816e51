"""What an object marks: regions, each told by its own words and by where it lies.

A region is found in its object alone. Where it lies in pixels is settled once the images are there
that it names (`Region.placed`): only they tell their size, their spacing and their place in the
patient.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from ml.ground.errors import HepaticaError
from ml.images import orientation
from ml.images.roi import Box
from ml.marks import components

OFF_PLANE_MM = 1.0
"""Contours further than this off the image that they name are not on it."""

PLANE = "plane"
"""In the JSON form of a region, which had none at first."""

Point = tuple[float, float]
Mask = npt.NDArray[np.bool_]


class MarkError(HepaticaError):
    """An object, or one region of it, that marks no lesion; the message says why."""


class MarkKind(StrEnum):
    """The objects that mark lesions, in the words of people."""

    SEGMENTATION = "segmentation"
    STRUCTURE_SET = "structure set"
    REPORT = "structured report"
    PRESENTATION = "presentation state"


class Form(StrEnum):
    """What a region is, in its object's own terms."""

    BOX = "box"
    """A rectangle, or whatever has one around it: an outline, a mask, an ellipse."""
    CIRCLE = "circle"
    CONTOURS = "contours"


@dataclass(frozen=True)
class Place:
    """An image, by SOP Instance UID and frame from 1."""

    sop_uid: str
    frame: int = 1


@dataclass(frozen=True)
class Seen:
    """What an image tells of itself (`ml.images.ct_slice.CTSlice`)."""

    size: tuple[int, int]
    spacing_mm: tuple[float, float] | None
    orientation: Sequence[float] | None
    position: Sequence[float] | None


@dataclass(frozen=True)
class Plane:
    """Where the pixels of a frame lie in the patient, as its object tells.

    Attributes:
        orientation: direction cosines of a row and a column.
        position: of the first pixel's centre, in mm.
        spacing_mm: distance of rows, distance of columns; None where the object does not tell.
    """

    orientation: tuple[float, ...]
    position: tuple[float, ...]
    spacing_mm: tuple[float, ...] | None = None

    @property
    def along(self) -> float:
        """Its place along its normal, in mm."""
        return orientation.along_normal(self.orientation, self.position)

    def refuse_other(self, image: Seen) -> None:
        """Refuse an image whose pixels lie elsewhere, by more than half of one.

        How far it is along the normal is not asked: the object names the image.

        Raises:
            MarkError: they do.
        """
        if image.orientation is None or image.position is None or image.spacing_mm is None:
            return
        rows, columns = image.size
        corners = np.array([(0, 0), (columns - 1, 0), (0, rows - 1)])
        row, column = self.spacing_mm or image.spacing_mm
        axes = np.asarray(self.orientation, np.float64).reshape(2, 3)
        places = np.asarray(self.position) + corners * (column, row) @ axes
        off = np.abs(_columns_and_rows(places, image) - corners).max(axis=1)
        for (across, down), pixels in zip(corners, off, strict=True):
            if not pixels <= 0.5:
                raise MarkError(
                    "it lies on another grid than the image that it names: column "
                    f"{across}, row {down} of it is {pixels:.1f} pixels from there; segment on "
                    "the image itself."
                )

    def to_list(self) -> list[list[float] | None]:
        """The JSON form, from which `of_list` makes it again."""
        spacing = list(self.spacing_mm) if self.spacing_mm else None
        return [list(self.orientation), list(self.position), spacing]

    @classmethod
    def of_list(cls, told: Sequence[Sequence[float] | None]) -> Plane:
        """A plane from its JSON form."""
        turned, place, spacing = told
        return cls(tuple(turned or ()), tuple(place or ()), tuple(spacing) if spacing else None)


@dataclass(frozen=True)
class Placed:
    """A lesion where it lies.

    Attributes:
        box: in pixels of the image.
        diameter_mm: of a region that is a circle; else None.
    """

    place: Place
    box: Box
    diameter_mm: float | None = None


@dataclass(frozen=True)
class Region:
    """One region of an object.

    Attributes:
        number: within its object, from 1.
        label: what the object calls it, without what names the patient.
        tracking_id, tracking_uid: of TID 1500, or of a segment; "" without.
        form: what it is.
        places: the images that must be there before it is placed.
        size: (rows, columns) that its image must have; None where the object does not tell.
        plane: where its image's pixels lie, as the object tells; None where it does not.
        points: BOX: two corners; CIRCLE: centre and a point of the edge; in pixels, 0.5, 0.5 the
            centre of the first. CONTOURS: nothing.
        contours: CONTOURS: (image's index in ``places``, points in mm of the patient).
        flaw: why it marks nothing; "" where it does.
    """

    number: int
    label: str = ""
    tracking_id: str = ""
    tracking_uid: str = ""
    form: Form = Form.BOX
    places: tuple[Place, ...] = ()
    size: tuple[int, int] | None = None
    points: tuple[Point, ...] = ()
    contours: tuple[tuple[int, tuple[tuple[float, float, float], ...]], ...] = ()
    flaw: str = ""
    plane: Plane | None = None

    def placed(self, seen: Callable[[Place], Seen]) -> list[Placed]:
        """Where it lies on its images; several of a structure that has parts.

        Args:
            seen: what an image of ``places`` tells of itself.

        Raises:
            MarkError: it marks nothing that is on these images; why.
            BoxError: its box has no size.
        """
        if self.flaw:
            raise MarkError(self.flaw)
        if self.form is Form.CONTOURS:
            return self._of_contours(seen)
        image = seen(self.places[0])
        if self.size is not None and self.size != image.size:
            raise MarkError(
                f"it has {self.size[1]} × {self.size[0]} pixels, the image that it marks "
                f"{image.size[1]} × {image.size[0]}; it must lie on the image itself."
            )
        if self.plane is not None:
            self.plane.refuse_other(image)
        diameter = None
        if self.form is Form.CIRCLE:
            box, diameter = _circle(self.points[0], self.points[1], image)
        else:
            (left, top), (right, bottom) = self.points
            box = Box(left, top, right - left, bottom - top)
        _refuse_outside(box, image)
        return [Placed(self.places[0], box, diameter)]

    def _of_contours(self, seen: Callable[[Place], Seen]) -> list[Placed]:
        masks: dict[int, Mask] = {}
        for index, points in self.contours:
            image = seen(self.places[index])
            mask = masks.setdefault(index, np.zeros(image.size, bool))
            mask ^= drawn(in_pixels(np.asarray(points, np.float64), image), image.size)
        if not any(mask.any() for mask in masks.values()):
            raise MarkError("its contours lie outside the images that they name.")
        positions = {index: along(seen(self.places[index])) for index in masks}
        order = sorted((index for index in masks if masks[index].any()), key=positions.__getitem__)
        found, _ = regions([masks[i] for i in order], [positions[i] for i in order])
        return [Placed(self.places[order[one.place]], one.box) for one in found]

    def to_dict(self) -> dict[str, object]:
        """The JSON form, from which `of_dict` makes it again."""
        return {
            "number": self.number,
            "label": self.label,
            "tracking_id": self.tracking_id,
            "tracking_uid": self.tracking_uid,
            "form": self.form.value,
            "places": [[one.sop_uid, one.frame] for one in self.places],
            "size": list(self.size) if self.size else None,
            "points": [list(one) for one in self.points],
            "contours": [[index, [list(p) for p in points]] for index, points in self.contours],
            "flaw": self.flaw,
            **({} if self.plane is None else {PLANE: self.plane.to_list()}),
        }

    @classmethod
    def of_dict(cls, told: Mapping[str, Any]) -> Region:
        """A region from its JSON form."""
        return cls(
            number=told["number"],
            label=told["label"],
            tracking_id=told["tracking_id"],
            tracking_uid=told["tracking_uid"],
            form=Form(told["form"]),
            places=tuple(Place(uid, frame) for uid, frame in told["places"]),
            size=(told["size"][0], told["size"][1]) if told["size"] else None,
            points=tuple((x, y) for x, y in told["points"]),
            contours=tuple(
                (index, tuple((x, y, z) for x, y, z in points))
                for index, points in told["contours"]
            ),
            flaw=told["flaw"],
            plane=Plane.of_list(told[PLANE]) if PLANE in told else None,
        )


@dataclass(frozen=True)
class Marking:
    """An object that marks lesions.

    Attributes:
        study_uid: of the study that it belongs to, and so its images too.
        patient_id: as in the file; "" without; kept in memory only.
        ours: made by this software, as its own header says.
        small: specks under two pixels that were left out.
        pixels: that were looked through, of all frames of a segmentation.
    """

    kind: MarkKind
    sop_uid: str
    study_uid: str
    patient_id: str
    regions: tuple[Region, ...]
    ours: bool = False
    small: int = 0
    pixels: int = 0


def around(points: Sequence[Point]) -> tuple[Point, Point]:
    """The corners of the rectangle around points: left and top, right and bottom."""
    across, down = [x for x, _ in points], [y for _, y in points]
    return (min(across), min(down)), (max(across), max(down))


def around_ellipse(points: Sequence[Point]) -> tuple[Point, Point]:
    """The corners of the rectangle around an ellipse: ends of one axis, then of the other."""
    (ax, ay), (bx, by), (cx, cy), (dx, dy) = points
    wide = math.hypot(ax - bx, cx - dx) / 2
    high = math.hypot(ay - by, cy - dy) / 2
    x, y = (ax + bx) / 2, (ay + by) / 2
    return (x - wide, y - high), (x + wide, y + high)


def regions(
    masks: Sequence[Mask], positions: Sequence[float]
) -> tuple[list[components.Component], int]:
    """The lesions in masks of one size, each on the slice where it is largest, and how many specks.

    Args:
        masks: (rows, columns) each, in the order of their positions; not empty.
        positions: along the normal, in mm, rising.

    Returns:
        Components whose ``place`` is an index of ``masks``.

    Raises:
        MarkError: the masks have several sizes, or nothing but specks.
    """
    if any(one.shape != masks[0].shape for one in masks):
        raise MarkError("it marks images of different sizes; segment them one by one.")
    places = components.gaps_filled(masks, positions)
    stack = np.zeros((places[-1] + 1, *masks[0].shape), bool)
    for mask, place in zip(masks, places, strict=True):
        stack[place] |= mask
    found, small = components.largest(stack)
    if not found:
        raise MarkError(f"it has {small} specks of a pixel, and no lesion.")
    index = {place: i for i, place in enumerate(places)}
    return [components.Component(index[c.place], c.box, c.voxels) for c in found], small


_FAR_PX = 2**20


def along(image: Seen) -> float:
    """Place of an image along its normal, in mm; MarkError where it does not tell."""
    if image.orientation is None or image.position is None:
        raise MarkError("the image that it marks does not tell where it lies in the patient.")
    return orientation.along_normal(image.orientation, image.position)


def in_pixels(points: npt.NDArray[np.float64], image: Seen) -> npt.NDArray[Any]:
    """Points (n, 3) in mm of the patient as (column, row), 0 the centre of the first pixel.

    Raises:
        MarkError: the image does not tell where it lies, or they are not on it.
    """
    if image.orientation is None or image.position is None or image.spacing_mm is None:
        raise MarkError("the image that it marks does not tell where it lies in the patient.")
    axes = np.asarray(image.orientation, np.float64).reshape(2, 3)
    offset = points - np.asarray(image.position, np.float64)
    off_plane = float(np.abs(offset @ np.cross(axes[0], axes[1])).max())
    if off_plane > OFF_PLANE_MM:
        raise MarkError(f"its contours lie {off_plane:.1f} mm off the image that they name.")
    return _columns_and_rows(points, image)


def _columns_and_rows(points: npt.NDArray[np.float64], image: Seen) -> npt.NDArray[Any]:
    """As `in_pixels`, of an image that tells where it lies, whatever lies off it."""
    assert image.orientation is not None and image.spacing_mm is not None
    axes = np.asarray(image.orientation, np.float64).reshape(2, 3)
    offset = points - np.asarray(image.position, np.float64)
    row, column = image.spacing_mm
    return np.stack([offset @ axes[0] / column, offset @ axes[1] / row], axis=1)


def drawn(points: npt.NDArray[Any], size: tuple[int, int]) -> Mask:
    """A polygon (n, 2) of (column, row) as a mask; what lies outside the image is cut off.

    Each corner goes to the pixel whose centre is nearest, and the outline belongs to it: Pillow by
    itself cuts decimals off, which moves a polygon by half a pixel to the left and up, and by a
    whole one where a corner was calculated a hair below its pixel.
    """
    picture = Image.new("1", (size[1], size[0]))
    corners = np.rint(np.clip(points, -_FAR_PX, _FAR_PX)).astype(np.int64)
    ImageDraw.Draw(picture).polygon([(int(x), int(y)) for x, y in corners], fill=1)
    return np.asarray(picture, bool)


def _circle(centre: Point, edge: Point, image: Seen) -> tuple[Box, float | None]:
    """A circle as the eye sees it: round in mm, where the image has a spacing."""
    across, down = edge[0] - centre[0], edge[1] - centre[1]
    if image.spacing_mm is None:
        side = 2 * math.hypot(across, down)
        return Box.centred(*centre, side, side), None
    row, column = image.spacing_mm
    diameter = 2 * math.hypot(across * column, down * row)
    return Box.around(*centre, diameter, image.spacing_mm), diameter


def _refuse_outside(box: Box, image: Seen) -> None:
    rows, columns = image.size
    x, y = box.center
    if not (0 <= x <= columns and 0 <= y <= rows):
        raise MarkError(
            f"it lies at column {x:.0f}, row {y:.0f}, outside the image that it names "
            f"({columns} × {rows} pixels)."
        )
