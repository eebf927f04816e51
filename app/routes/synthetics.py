"""Synthetic ROIs in the browser: nothing is stored, a seed is always the same picture."""

from __future__ import annotations

import io
import json
import uuid
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Depends, Form, Query, Request
from sqlalchemy.orm import Session
from starlette.responses import Response

from app.auth import Reader, Researcher
from app.comparing import Comparing, NearTraining
from app.db import Db, ReadDb
from app.errors import Unreadable
from app.inference import MOST_SYNTHETICS, most_of, refuse_many, seeds_from, truncation_from
from app.models.checkpoint import Checkpoint
from app.models.reader_studies.enrolment import Enrolment
from app.models.reader_studies.look import Seen, Shown
from app.models.reader_studies.sketch import Sketch
from app.models.reader_studies.steps import Step, Typed
from app.models.reader_studies.typed import said_seeds
from app.objects import synthetic
from app.responses import KEPT, etag_of, fragment, page, see_other, unchanged, wants_fragment
from app.witness import Witness
from ml.checkpoints.checkpoint import CheckpointKind
from ml.images.roi import to_grey


def not_reading_blind(request: Request, user: Reader) -> None:
    """Nobody with a blinded reading to finish sees synthetic lesions."""
    with request.app.state.database.reading() as session:  # held no longer than this
        Enrolment.refuse_synthetics(session, user)


router = APIRouter(include_in_schema=False, dependencies=[Depends(not_reading_blind)])

_DEFAULT_COUNT = 24
MOST_CHOSEN = 200
"""Most images that are chosen one by one: an address holds no more."""

Chosen = Annotated[list[int], Query()]


def _saw(request: Request, user: Reader, row: Checkpoint, seed: int, count: int) -> None:
    """Write down what is shown; at whatever truncation it is the image of its seed."""
    witness: Witness = request.app.state.witness
    witness.saw(Seen(user.id, Shown.SYNTHETIC, row.id, seed, count))


def _generator(session: Session, name: str) -> Checkpoint:
    """A generator by its name; served or not, since a picture of its card may name it.

    Raises:
        NotFound: there is no such checkpoint.
        Unreadable: it is a classifier.
    """
    row = Checkpoint.require(session, name)
    if row.kind != CheckpointKind.GENERATOR:
        raise Unreadable(f"{row.name} is a classifier and draws nothing. Choose a generator.")
    return row


def _chosen(seeds: Sequence[int]) -> list[int]:
    """Seeds that were chosen one by one, each once, in their order."""
    found = sorted(set(seeds))
    if len(found) > MOST_CHOSEN:
        raise Unreadable(
            f"Choose at most {MOST_CHOSEN} images one by one, not {len(found)}; or none, and take "
            "the whole sheet."
        )
    return [one for seed in found for one in seeds_from(seed, 1)]


@router.get("/synthetics")
def index(
    request: Request,
    user: Reader,
    db: ReadDb,
    checkpoint: str = "",
    beside: str = "",
    count: int | None = None,
    seed: int = 0,
    truncation: float = 1.0,
    chosen: Chosen = [],  # noqa: B006  FastAPI copies it
) -> Response:
    """The form and the contact sheet, of one generator or of two at the same seeds."""
    generators = Checkpoint.served(db, CheckpointKind.GENERATOR)
    row = _generator(db, checkpoint) if checkpoint else next(iter(generators), None)
    other = _generator(db, beside) if beside else None
    shown = list(dict.fromkeys(one for one in (row, other) if one is not None))
    generators = [*generators, *(one for one in shown if one not in generators)]
    most = min([most_of(one) for one in shown], default=MOST_SYNTHETICS)
    if count is None:
        count = min(_DEFAULT_COUNT, most)
    for one in shown:
        refuse_many(one, count)
    return page(
        request,
        "synthetics/index.html",
        generators=generators,
        chosen=row,
        beside=other,
        count=count,
        seed=seed,
        truncation=truncation_from(truncation),
        most=most,
        most_of_all=MOST_SYNTHETICS,
        evaluations={one.name: one.file.evaluations for one in generators},
        most_chosen=MOST_CHOSEN,
        seeds=seeds_from(seed, count) if row else [],
        picked=_chosen(chosen),
        sketches=Sketch.of(db, user) if user.may("researcher") else (),
    )


@router.get("/synthetics/{checkpoint}/{seed}.png")
def picture(
    request: Request,
    user: Reader,
    db: ReadDb,
    checkpoint: str,
    seed: int,
    truncation: float = 1.0,
) -> Response:
    """One synthetic ROI as an 8-bit grey PNG."""
    row = Checkpoint.require(db, checkpoint)
    seeds, scale = seeds_from(seed, 1), truncation_from(truncation)
    _saw(request, user, row, seed, 1)
    etag = etag_of("synthetic, marked", row.onnx_digest, seed, scale)
    held = unchanged(request, etag)
    if held is not None:
        return held
    rois = request.app.state.inference.draw(db, row, seeds, scale)
    content = synthetic.of(row, seed, scale).png(rois[0])
    return Response(content, media_type="image/png", headers={**KEPT, "etag": etag})


@router.get("/synthetics/{checkpoint}/sheet")
def sheet(
    request: Request,
    user: Reader,
    db: ReadDb,
    checkpoint: str,
    seed: int,
    count: Annotated[int, Query(ge=1, le=64)],
    truncation: float = 1.0,
) -> Response:
    """A portion of a contact sheet: ``count`` × 64 × 64 bytes of grey, image after image."""
    row = _generator(db, checkpoint)
    refuse_many(row, count)
    seeds, scale = seeds_from(seed, count), truncation_from(truncation)
    _saw(request, user, row, seed, count)
    etag = etag_of("sheet", row.onnx_digest, seed, count, scale)
    held = unchanged(request, etag)
    if held is not None:
        return held
    with request.app.state.drawings.place(count, row.file.evaluations):
        rois = request.app.state.inference.draw(db, row, seeds, scale)
    grey = to_grey(rois)
    headers = {**KEPT, "etag": etag}
    return Response(grey.tobytes(), media_type="application/octet-stream", headers=headers)


@router.get("/synthetics/{checkpoint}/download")
def download(
    request: Request,
    user: Reader,
    db: ReadDb,
    checkpoint: str,
    seed: int,
    count: int,
    format: str = "zip",
    truncation: float = 1.0,
    chosen: Chosen = [],  # noqa: B006  FastAPI copies it
) -> Response:
    """PNG or DICOM files in a zip, or one npz with the arrays in [−1, 1].

    Each says that it is synthetic, and how it was made. Of the chosen seeds where there are any,
    else of ``count`` seeds from ``seed`` on.
    """
    if format not in ("zip", "dicom", "npz"):
        raise Unreadable("Choose the format zip, dicom or npz.")
    row = _generator(db, checkpoint)
    scale = truncation_from(truncation)
    seeds = _chosen(chosen) or seeds_from(seed, count)
    refuse_many(row, len(seeds))
    with request.app.state.drawings.place(len(seeds), row.file.evaluations):
        rois = request.app.state.inference.draw(db, row, seeds, scale)
    if chosen:
        witness: Witness = request.app.state.witness
        witness.saw(*(Seen(user.id, Shown.SYNTHETIC, row.id, one, 1) for one in seeds))
    else:
        _saw(request, user, row, seed, count)
    about: dict[str, object] = {
        "synthetic": True,
        "checkpoint": row.name,
        "onnx_sha256": row.onnx_digest,
        "lesion_class": row.lesion_class,
        "training_kind": row.training_kind,
        "window_hu": list(row.window_hu),
        "seeds": seeds,
        "truncation": scale,
        "use": "Research use only. Not a medical device.",
    }
    scaled = f"_truncation{scale:g}" if scale != 1 else ""
    buffer = io.BytesIO()
    if format == "npz":
        np.savez_compressed(
            buffer, rois=rois, seeds=np.array(seeds, np.int64), about=json.dumps(about)
        )
    else:
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr("about.json", json.dumps(about, indent=2))
            for one, pixels in zip(seeds, rois, strict=True):
                drawn = synthetic.of(row, one, scale)
                stem = f"synthetic_{row.lesion_class}_{one:06d}{scaled}"
                if format == "dicom":
                    content = synthetic.dicom(pixels, drawn, request.app.state.key)
                    archive.writestr(f"{stem}.dcm", content)
                else:
                    archive.writestr(f"{stem}.png", drawn.png(pixels))
    ending = "dicom.zip" if format == "dicom" else format
    which = f"chosen{len(seeds)}" if chosen else f"seed{seed}_n{count}"
    name = f"synthetic_{row.name}_{which}{scaled}.{ending}"
    return Response(
        buffer.getvalue(),
        media_type="application/zip",
        headers={"content-disposition": f'attachment; filename="{name}"'},
    )


@router.post("/synthetics/{checkpoint}/sketches")
def use(
    user: Researcher,
    db: Db,
    checkpoint: str,
    truncation: Annotated[float, Form()] = 1.0,
    chosen: Annotated[list[int], Form()] = [],  # noqa: B006  FastAPI copies it
    sketch: Annotated[uuid.UUID | None, Form()] = None,
) -> Response:
    """Put the chosen images into the sketch of a reader study: one's own, or a new one.

    Raises:
        Unreadable: none or too many are chosen, or they are scaled.
        NotFound: no such generator, or no such sketch of this person's.
        Conflict: a study was composed from it, or the person has as many as they may.
    """
    row = _generator(db, checkpoint)
    seeds = _chosen(chosen)
    if not seeds:
        raise Unreadable("Choose at least one image to use in a reader study.")
    if truncation_from(truncation) != 1:
        raise Unreadable(
            "A reader study shows what a generator draws as it was trained. Set the truncation "
            "to 1, and choose there."
        )
    if sketch is None:
        fields = {**Typed().model_dump(), "chosen": said_seeds({row.name: seeds})}
        found = Sketch.begin(db, user, fields, Step.DESIGN)
    else:
        found = Sketch.require(db, sketch, user, to_change=True)
        found.choose(row.name, seeds, user)
    at = Step.IMAGES if found.title else Step.DESIGN
    images = "1 image" if len(seeds) == 1 else f"{len(seeds)} images"
    told = f"Chosen for the study (step Images): {images} of {row.name}."
    return see_other(f"/reader-studies/sketches/{found.id}/{at}", told)


@dataclass(frozen=True)
class Large:
    """One generator's image of a seed, beside the nearest one that it learned from."""

    generator: Checkpoint
    near: NearTraining


@router.get("/synthetics/{checkpoint}/{seed}")
def one(
    request: Request,
    user: Reader,
    db: ReadDb,
    checkpoint: str,
    seed: int,
    beside: str = "",
    truncation: float = 1.0,
) -> Response:
    """One seed in the large view, of one generator or of two: a page, or a piece for the sheet's.

    What is shown is written down before it leaves.
    """
    rows = [_generator(db, name) for name in (checkpoint, beside) if name]
    seeds, scale = seeds_from(seed, 1), truncation_from(truncation)
    comparing: Comparing = request.app.state.comparing
    first = request.app.state.settings.review_first
    shown = []
    for row in rows:
        [roi] = request.app.state.inference.draw(db, row, seeds, scale)
        near = comparing.nearest_training(db, user, row, roi, review_first=first)
        shown.append(Large(row, near))
        _saw(request, user, row, seed, 1)
    witness: Witness = request.app.state.witness
    witness.saw(
        *(Seen(user.id, Shown.LESION, lesion) for large in shown for lesion in large.near.seen)
    )
    answer, template = (fragment, "_one") if wants_fragment(request) else (page, "one")
    return answer(
        request,
        f"synthetics/{template}.html",
        seed=seed,
        truncation=scale,
        shown=shown,
        beside=beside,
    )
