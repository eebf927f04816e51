"""Synthetic ROIs in the browser: nothing is stored, a seed is always the same picture."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from app.auth import Reader
from app.db import ReadDb
from app.errors import Unreadable
from app.inference import MOST_SYNTHETICS, seeds_from
from app.models.checkpoint import Checkpoint
from app.models.reader_studies.enrolment import Enrolment
from app.models.reader_studies.look import Seen, Shown
from app.objects import synthetic
from app.responses import KEPT, etag_of, page, unchanged
from app.witness import Witness
from ml.checkpoints.checkpoint import CheckpointKind
from ml.images.roi import to_grey


def not_reading_blind(request: Request, user: Reader) -> None:
    """Nobody with a blinded reading to finish sees synthetic lesions."""
    with request.app.state.database.reading() as session:  # held no longer than this
        Enrolment.refuse_synthetics(session, user)


router = APIRouter(include_in_schema=False, dependencies=[Depends(not_reading_blind)])

_DEFAULT_COUNT = 24


def _saw(request: Request, user: Reader, row: Checkpoint, seed: int, count: int) -> None:
    witness: Witness = request.app.state.witness
    witness.saw(Seen(user.id, Shown.SYNTHETIC, row.id, seed, count))


@router.get("/synthetics")
def index(
    request: Request,
    user: Reader,
    db: ReadDb,
    checkpoint: str = "",
    count: int = _DEFAULT_COUNT,
    seed: int = 0,
) -> Response:
    """The form and the contact sheet; each picture is fetched by its own address."""
    generators = Checkpoint.served(db, CheckpointKind.GENERATOR)
    chosen = next((row for row in generators if row.name == checkpoint), None)
    if chosen is None and checkpoint:
        Checkpoint.require(db, checkpoint)
    chosen = chosen or (generators[0] if generators else None)
    seeds = seeds_from(seed, count) if chosen else []
    return page(
        request,
        "synthetics/index.html",
        generators=generators,
        chosen=chosen,
        count=count,
        seed=seed,
        most=MOST_SYNTHETICS,
        seeds=seeds,
    )


@router.get("/synthetics/{checkpoint}/{seed}.png")
def picture(request: Request, user: Reader, db: ReadDb, checkpoint: str, seed: int) -> Response:
    """One synthetic ROI as an 8-bit grey PNG."""
    row = Checkpoint.require(db, checkpoint)
    seeds = seeds_from(seed, 1)
    _saw(request, user, row, seed, 1)
    etag = etag_of("synthetic, marked", row.onnx_digest, seed)
    held = unchanged(request, etag)
    if held is not None:
        return held
    rois = request.app.state.inference.draw(db, row, seeds)
    content = synthetic.of(row, seed).png(rois[0])
    return Response(content, media_type="image/png", headers={**KEPT, "etag": etag})


@router.get("/synthetics/{checkpoint}/sheet")
def sheet(
    request: Request,
    user: Reader,
    db: ReadDb,
    checkpoint: str,
    seed: int,
    count: Annotated[int, Query(ge=1, le=64)],
) -> Response:
    """A portion of a contact sheet: ``count`` × 64 × 64 bytes of grey, image after image."""
    row = Checkpoint.require(db, checkpoint)
    seeds = seeds_from(seed, count)
    _saw(request, user, row, seed, count)
    etag = etag_of("sheet", row.onnx_digest, seed, count)
    held = unchanged(request, etag)
    if held is not None:
        return held
    with request.app.state.drawings.place(count):
        rois = request.app.state.inference.draw(db, row, seeds)
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
) -> Response:
    """PNG or DICOM files in a zip, or one npz with the arrays in [−1, 1].

    Each says that it is synthetic, and how it was made.
    """
    if format not in ("zip", "dicom", "npz"):
        raise Unreadable("Choose the format zip, dicom or npz.")
    row = Checkpoint.require(db, checkpoint)
    seeds = seeds_from(seed, count)
    with request.app.state.drawings.place(count):
        rois = request.app.state.inference.draw(db, row, seeds)
    _saw(request, user, row, seed, count)
    about: dict[str, object] = {
        "synthetic": True,
        "checkpoint": row.name,
        "onnx_sha256": row.onnx_digest,
        "lesion_class": row.lesion_class,
        "training_kind": row.training_kind,
        "window_hu": list(row.window_hu),
        "seeds": seeds,
        "use": "Research use only. Not a medical device.",
    }
    buffer = io.BytesIO()
    if format == "npz":
        np.savez_compressed(
            buffer, rois=rois, seeds=np.array(seeds, np.int64), about=json.dumps(about)
        )
    else:
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr("about.json", json.dumps(about, indent=2))
            for one, pixels in zip(seeds, rois, strict=True):
                drawn = synthetic.of(row, one)
                stem = f"synthetic_{row.lesion_class}_{one:06d}"
                if format == "dicom":
                    content = synthetic.dicom(pixels, drawn, request.app.state.key)
                    archive.writestr(f"{stem}.dcm", content)
                else:
                    archive.writestr(f"{stem}.png", drawn.png(pixels))
    ending = "dicom.zip" if format == "dicom" else format
    name = f"synthetic_{row.name}_seed{seed}_n{count}.{ending}"
    return Response(
        buffer.getvalue(),
        media_type="application/zip",
        headers={"content-disposition": f'attachment; filename="{name}"'},
    )
