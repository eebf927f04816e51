"""Items: what is known of one lesion before it is scored.

An ROI that was cut already, a place on an image that is held here, or why there is neither. A job
keeps them as JSON.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from app.errors import AppError, NotFound
from app.jobs.answers import Refusal
from app.models.cases.case import Image
from ml.ground.errors import HepaticaError
from ml.ground.records import from_json, to_json
from ml.images.roi import Box, Roi
from ml.lesion import ROI_SIZE_PX


@dataclass(frozen=True)
class SentRoi:
    """An ROI that was cut from what was sent."""

    roi: Roi
    phantom: bool

    def warned(self, warning: str) -> SentRoi:
        """The same with one more warning."""
        return replace(self, roi=replace(self.roi, warnings=(*self.roi.warnings, warning)))

    def to_dict(self) -> dict[str, object]:
        """As JSON: the pixels as base64, float32 of the lower byte first.

        ``unclipped`` is there where that is known: None where the window cut nothing off.
        """
        roi = self.roi
        beyond: dict[str, object] = {}
        if roi.unclipped is not None:
            beyond["unclipped"] = None if roi.cut_off is None else _packed(roi.cut_off)
        return {
            "roi": _packed(roi.pixels),
            **beyond,
            "calibrated": roi.calibrated,
            "box": _sides(roi.box),
            "square": _sides(roi.square),
            "side_mm": roi.side_mm,
            "warnings": list(roi.warnings),
            "phantom": self.phantom,
        }

    @classmethod
    def from_dict(cls, data: Any) -> SentRoi:
        """From what `to_dict` gave."""
        pixels = _unpacked(data["roi"])
        unclipped = None
        if "unclipped" in data:
            unclipped = pixels if data["unclipped"] is None else _unpacked(data["unclipped"])
        found = Roi(
            pixels,
            data["calibrated"],
            _box(data["box"]),
            Box(*data["square"]),
            data["side_mm"],
            tuple(data["warnings"]),
            unclipped,
        )
        return cls(found, data["phantom"])


@dataclass(frozen=True)
class HeldPlace:
    """A place on an image that is held here.

    Attributes:
        image, case: their ids.
        box: None where the image is the ROI itself.
        lesion: of the case, where the place is that of one.
    """

    image: uuid.UUID
    case: uuid.UUID
    box: Box | None
    lesion: uuid.UUID | None = None

    @classmethod
    def on(cls, image: Image, box: Box | None, lesion: uuid.UUID | None = None) -> HeldPlace:
        """On this image."""
        return cls(image.id, image.series.case_id, box, lesion)

    def to_dict(self) -> dict[str, object]:
        """As JSON."""
        place = {"image": str(self.image), "case": str(self.case), "box": _sides(self.box)}
        return {**place, **({"lesion": str(self.lesion)} if self.lesion else {})}

    @classmethod
    def from_dict(cls, data: Any) -> HeldPlace:
        """From what `to_dict` gave."""
        lesion = uuid.UUID(data["lesion"]) if "lesion" in data else None
        return cls(uuid.UUID(data["image"]), uuid.UUID(data["case"]), _box(data["box"]), lesion)


@dataclass(frozen=True)
class RefusedItem:
    """A lesion that cannot be classified, and why."""

    refused: Refusal

    @classmethod
    def of(cls, error: AppError | HepaticaError) -> RefusedItem:
        """For what an error says."""
        return cls(Refusal.of(error))


Item = SentRoi | HeldPlace | RefusedItem


def is_absent(item: Item) -> bool:
    """Whether what is asked for is not here."""
    return isinstance(item, RefusedItem) and item.refused.status == NotFound.status


def asked_of(items: Sequence[Item]) -> dict[str, object]:
    """What a job keeps of its items."""
    return {"items": to_json(items)}


def items_of(asked: Any) -> list[Item]:
    """The items of a job that keeps `asked_of` them."""
    return list(from_json(tuple[Item, ...], asked["items"], "items"))


def _packed(pixels: npt.NDArray[np.float32]) -> str:
    return base64.b64encode(np.ascontiguousarray(pixels, "<f4").tobytes()).decode("ascii")


def _unpacked(text: str) -> npt.NDArray[np.float32]:
    found = np.frombuffer(base64.b64decode(text), "<f4").reshape(ROI_SIZE_PX, ROI_SIZE_PX)
    return found.astype(np.float32)


def _sides(box: Box | None) -> list[float] | None:
    return None if box is None else [box.x, box.y, box.width, box.height]


def _box(sides: Any) -> Box | None:
    return Box(*sides) if sides else None
