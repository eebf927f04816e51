"""``POST /api/v1/classifications``: an image or an ROI in, class probabilities out; nothing stored.

The busiest route: a small image is decoded on the event loop, anything larger in the thread pool,
and ROIs that wait at the same moment are scored together.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.responses import Response

from app.auth import machine
from app.bodies import files_of, multipart, text_of
from app.errors import BadRequest, NotFound, Unreadable
from app.inference import Scores, ServingDesk
from ml import dicom, roi
from ml.image import CTSlice
from ml.roi import Box, Roi

router = APIRouter(tags=["classifications"])

_SMALL_BYTES = 32_768


class RoiAnswer(BaseModel):
    """What was cut: rectangles as [x, y, width, height] in pixels of the image."""

    box: list[float] | None = Field(description="The lesion's box; null when the image is the ROI.")
    square: list[float] = Field(description="What the network saw.")
    side_mm: float | None = Field(description="Side of the square in mm, where spacing is known.")


class ClassificationAnswer(BaseModel):
    """Class probabilities of one ROI."""

    checkpoint: str
    lesion_class: str = Field(description="The likeliest class. Research use only.")
    probabilities: dict[str, float] = Field(description="Score per class, 0…1; not calibrated.")
    roi: RoiAnswer
    calibrated_hu: bool = Field(description="Whether the image was in Hounsfield units.")
    limits: str = Field(description="What stands behind the score: preset, training, test.")
    warnings: list[str]


_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["image"],
                "properties": {
                    "image": {
                        "type": "string",
                        "format": "binary",
                        "description": "CT DICOM, PNG, JPEG, or a 64 × 64 ROI as PNG, npy, npz.",
                    },
                    "box": {
                        "type": "string",
                        "description": "x,y,width,height in pixels.",
                        "example": "200,180,40,36",
                    },
                    "center": {
                        "type": "string",
                        "description": "x,y in pixels; needs diameter_mm.",
                        "example": "220,198",
                    },
                    "diameter_mm": {"type": "number", "exclusiveMinimum": 0},
                    "frame": {
                        "type": "integer",
                        "minimum": 1,
                        "description": "Which frame of a multi-frame object.",
                    },
                },
            }
        }
    },
}


@router.post(
    "/classifications",
    summary="Classify one lesion",
    response_model=ClassificationAnswer,
    openapi_extra={"requestBody": _BODY, "security": [{"HTTPBearer": []}]},
)
async def classify(request: Request) -> Response:
    """Send an image and where the lesion is; get a probability for each class.

    A 64 × 64 image needs no place: it is the ROI itself. Nothing is stored.
    """
    desk: ServingDesk = request.app.state.served
    served = await desk.classifier()
    if served is None:
        raise NotFound("No classifier is served by this installation.")
    # asked for here and not as dependencies: solving those costs as much as parsing the body
    await machine(request)
    form = await multipart(request)
    uploads = files_of(form, "image")
    if len(uploads) != 1:
        raise BadRequest("Send one file in the field `image`.")
    name, data = uploads[0]
    place = _place(form)
    window = served.network.meta.window_hu
    if len(data) <= _SMALL_BYTES:
        found, phantom = _roi(name, data, place, window)
    else:
        found, phantom = await run_in_threadpool(_roi, name, data, place, window)
    scores = await served.scores(found, phantom=phantom)
    return Response(json.dumps(_answer(found, scores)), media_type="application/json")


@dataclass(frozen=True)
class _Place:
    box: tuple[float, ...] | None
    center: tuple[float, ...] | None
    diameter_mm: float | None
    frame: int | None


def _place(form: FormData) -> _Place:
    box = _numbers(text_of(form, "box"), 4, "box", "x,y,width,height")
    center = _numbers(text_of(form, "center"), 2, "center", "x,y")
    diameter = _numbers(text_of(form, "diameter_mm"), 1, "diameter_mm", "a number of mm")
    frame = text_of(form, "frame")
    if frame and not (frame.isdigit() and len(frame) < 7):
        raise Unreadable(f"frame must be a whole number from 1, not {frame[:40]!r}.")
    if box and (center or diameter):
        raise Unreadable("Give either box, or center with diameter_mm, not both.")
    if bool(center) != bool(diameter):
        raise Unreadable("center and diameter_mm go together: give both, or a box.")
    return _Place(
        box=box,
        center=center,
        diameter_mm=diameter[0] if diameter else None,
        frame=int(frame) if frame else None,
    )


def _numbers(text: str, count: int, field: str, form: str) -> tuple[float, ...] | None:
    if not text:
        return None
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) != count or not all(math.isfinite(value) for value in values):
        raise Unreadable(f"{field} must be {form}, not {text[:80]!r}.")
    return values


def _roi(name: str, data: bytes, place: _Place, window_hu: tuple[float, float]) -> tuple[Roi, bool]:
    """The ROI and whether it is from a phantom; HepaticaError for anything unusable."""
    if data[:6] == b"\x93NUMPY" or data[:4] == b"PK\x03\x04":
        return _given(name, data), False
    slices = dicom.read(data, name)
    chosen = _frame(name, slices, place.frame)
    box = Box(*place.box) if place.box else None
    if place.center and place.diameter_mm:
        x, y = place.center
        box = Box.around(x, y, place.diameter_mm, chosen.spacing_mm)
    return roi.make(chosen, box, window_hu), chosen.phantom


def _given(name: str, data: bytes) -> Roi:
    rois = roi.load(data, name)
    if len(rois) != 1:
        raise Unreadable(f"{name} holds {len(rois)} ROIs; send one at a time.")
    side = rois.shape[-1]
    warning = "the array is taken as Hounsfield units mapped from the checkpoint's window"
    return Roi(rois[0], True, None, Box(0, 0, side, side), None, (warning,))


def _frame(name: str, slices: tuple[CTSlice, ...], frame: int | None) -> CTSlice:
    if frame is None and len(slices) == 1:
        return slices[0]
    if frame is None:
        raise Unreadable(f"{name} has {len(slices)} frames; say which with frame=1…{len(slices)}.")
    if not 1 <= frame <= len(slices):
        raise Unreadable(f"{name} has {len(slices)} frame(s); there is no frame {frame}.")
    return slices[frame - 1]


def _answer(found: Roi, scores: Scores) -> dict[str, Any]:
    def rectangle(box: Box) -> list[float]:
        return [round(value, 3) for value in (box.x, box.y, box.width, box.height)]

    return {
        "checkpoint": scores.checkpoint,
        "lesion_class": scores.lesion_class,
        "probabilities": scores.probabilities,
        "roi": {
            "box": rectangle(found.box) if found.box else None,
            "square": rectangle(found.square),
            "side_mm": None if found.side_mm is None else round(found.side_mm, 3),
        },
        "calibrated_hu": found.calibrated,
        "limits": scores.limits,
        "warnings": scores.warnings,
    }
