"""``POST /api/v1/synthetics``: synthetic ROIs by seed; nothing is stored."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from app.auth import Program
from app.db import ReadDb
from app.errors import NotFound, Unreadable
from app.inference import refuse_many, seeds_from, truncation_from
from app.models.checkpoint import Checkpoint
from app.models.reader_studies.enrolment import Enrolment
from app.models.reader_studies.look import Seen, Shown
from app.objects import synthetic
from app.routes.api.problems import problems, refuse_query
from ml.checkpoints.checkpoint import CheckpointKind
from ml.checkpoints.drawn import Drawn
from ml.config import PROVES_NOTHING, QUICK

router = APIRouter(tags=["synthetics"])

MOST = 256
"""Most synthetic ROIs of one request, about two seconds of one core; further seeds give more.

Of a diffusion model as many fewer as an image of it takes evaluations of its network."""


class SyntheticsOrder(BaseModel):
    """What to draw: by checkpoint, or by lesion class from the generator served first."""

    model_config = ConfigDict(extra="forbid")

    checkpoint: str | None = Field(None, max_length=200, description="Name of a generator.")
    lesion_class: str | None = Field(
        None, max_length=200, description="Class, when no checkpoint is named."
    )
    count: int = Field(
        1,
        ge=1,
        le=MOST,
        strict=True,
        description=f"How many, at most {MOST} at a time; of a diffusion model fewer, as it says.",
    )
    seed: int = Field(
        0, ge=0, strict=True, description="Seed of the first image; image n has seed + n."
    )
    truncation: float = Field(
        1.0,
        description="Scale of the latent vector, or of the noise, 0.01 to 1 in hundredths: below 1 "
        "images are nearer to the average lesion, with less variety.",
    )
    format: str = Field(
        "png",
        pattern="^(png|dicom|float32)$",
        description="png (8 bit), dicom (Secondary Capture), both of which say that they are "
        "synthetic and how they were made; or float32.",
    )


class SyntheticImage(BaseModel):
    """One synthetic ROI of 64 × 64."""

    seed: int
    data: str = Field(
        description="Base64: a PNG, a DICOM file, or 4096 little-endian float32 in [−1, 1]."
    )


class SyntheticsAnswer(BaseModel):
    """Synthetic ROIs and what made them."""

    checkpoint: str
    lesion_class: str | None
    training_kind: str
    truncation: float
    format: str
    images: list[SyntheticImage]
    warnings: list[str]


@router.post("/synthetics", summary="Draw synthetic ROIs", responses=problems(413))
def draw(
    request: Request, program: Program, db: ReadDb, order: SyntheticsOrder
) -> SyntheticsAnswer:
    """The same seed and truncation give the same picture, whatever else is drawn beside it."""
    refuse_query(request)
    if program.owner_id is None:
        Enrolment.refuse_shared_program(db)
    else:
        Enrolment.refuse_synthetics_to(db, program.owner_id)
    row = _generator(db, order)
    refuse_many(row, order.count, MOST)
    seeds = seeds_from(order.seed, order.count)
    truncation = truncation_from(order.truncation)
    with request.app.state.drawings.place(order.count, row.file.evaluations):
        rois = request.app.state.inference.draw(db, row, seeds, truncation)
    if program.owner_id is not None:
        request.app.state.witness.saw(
            Seen(program.owner_id, Shown.SYNTHETIC, row.id, order.seed, order.count)
        )
    made_of = "simulated CT (phantoms)" if row.training_kind == "phantom" else "patients' images"
    return SyntheticsAnswer(
        checkpoint=row.name,
        lesion_class=row.lesion_class,
        training_kind=row.training_kind,
        truncation=truncation,
        format=order.format,
        images=[
            SyntheticImage(
                seed=seed,
                data=base64.b64encode(
                    _encoded(
                        one,
                        order.format,
                        synthetic.of(row, seed, truncation),
                        request.app.state.key,
                    )
                ).decode(),
            )
            for seed, one in zip(seeds, rois, strict=True)
        ],
        warnings=[
            f"synthetic: by a network trained on {made_of}; no patient has this lesion",
            *([PROVES_NOTHING] if row.preset == QUICK else []),
        ],
    )


def _generator(db: ReadDb, order: SyntheticsOrder) -> Checkpoint:
    if order.checkpoint is not None:
        row = Checkpoint.require(db, order.checkpoint)
        if order.lesion_class not in (None, row.lesion_class):
            raise Unreadable(
                f"{row.name} draws {row.lesion_class!r}, not {order.lesion_class!r}: leave one of "
                "checkpoint and lesion_class out."
            ).about("lesion_class")
        return row
    rows = Checkpoint.served(db, CheckpointKind.GENERATOR)
    for row in rows:
        if order.lesion_class in (None, row.lesion_class):
            return row
    classes = ", ".join(sorted({row.lesion_class or "any" for row in rows})) or "none"
    raise NotFound(f"No generator draws {order.lesion_class!r}; there are: {classes}.")


def _encoded(roi: Any, form: str, drawn: Drawn, key: bytes) -> bytes:
    if form == "dicom":
        return synthetic.dicom(roi, drawn, key)
    if form == "png":
        return drawn.png(roi)
    return np.ascontiguousarray(roi, "<f4").tobytes()
