"""What this installation offers to programs."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from app.auth import Program
from app.db import ReadDb
from app.models.checkpoint import Checkpoint
from app.routes.api.problems import refuse_query
from app.routes.api.synthetics import MOST
from app.settings import VERSION
from ml.checkpoints.checkpoint import CheckpointKind
from ml.ground.records import to_json
from ml.lesion import ROI_SIZE_PX

router = APIRouter(tags=["info"])


@router.get("/info", summary="Checkpoints, classes and limits")
def info(program: Program, db: ReadDb) -> dict[str, Any]:
    """The served checkpoints with their lesion schemes, windows and held-out figures.

    `models` and `labels` stand as tools for MONAI Label read them; `/models/{name}` has the card.
    """
    served = [row for kind in CheckpointKind for row in Checkpoint.served(db, kind)]
    return {
        "name": "Hepatica",
        "description": "Classification and synthesis of liver lesions in CT.",
        "version": VERSION,
        "labels": sorted({key for row in served for key in row.scheme.keys}),
        "models": {row.name: _model(row) for row in served},
        "use": "Research use only. Not a medical device.",
        "roi_px": ROI_SIZE_PX,
        "most_synthetics": MOST,
        "classifiers": [
            _checkpoint(row) for row in Checkpoint.served(db, CheckpointKind.CLASSIFIER)
        ],
        "generators": [_checkpoint(row) for row in Checkpoint.served(db, CheckpointKind.GENERATOR)],
    }


class Model(BaseModel):
    """A checkpoint, as tools for MONAI Label read it, with its card."""

    name: str
    type: str = Field(description="classification or generation.")
    labels: dict[str, str] = Field(description="Class → how people call it.")
    dimension: int = Field(description="2: of one slice.")
    description: str = Field(description="What stands behind it, in one line.")
    config: dict[str, Any] = Field(description="Window in HU, side of the ROI in pixels.")
    served: bool = Field(description="Whether it is offered now.")
    digest: str = Field(description="SHA-256 of its network, ONNX.")
    card: str = Field(description="The model card, Markdown; other forms at `/models/{name}/card`.")
    checkpoint: dict[str, Any] = Field(description="As in `/info`.")


@router.get("/models/{name}", summary="A checkpoint with its card")
def model(request: Request, program: Program, db: ReadDb, name: str) -> Model:
    """Served or not: scores that it gave are still there."""
    refuse_query(request)
    row = Checkpoint.require(db, name)
    return Model(
        name=row.name,
        **_model(row),
        served=row.served_since is not None,
        digest=row.onnx_digest,
        card=row.card_text(db),
        checkpoint=_checkpoint(row),
    )


def _model(row: Checkpoint) -> dict[str, Any]:
    """As MONAI Label describes a model."""
    classifies = row.kind == CheckpointKind.CLASSIFIER
    scheme = row.scheme
    return {
        "type": "classification" if classifies else "generation",
        "labels": {key: scheme.display(key) for key in scheme.keys},
        "dimension": 2,
        "description": row.limits,
        "config": {"window_hu": list(row.window_hu), "roi_px": ROI_SIZE_PX},
    }


def _checkpoint(row: Checkpoint) -> dict[str, Any]:
    told = row.file
    counts = told.trained_on
    return {
        "name": row.name,
        "lesion_class": row.lesion_class,
        "scheme": row.meta["scheme"],
        "window_hu": list(row.window_hu),
        "training_kind": row.training_kind,
        "dataset_digest": row.dataset_digest,
        "preset": told.preset,
        "training": {"n_lesions": counts[0], "n_patients": counts[1]} if counts else None,
        "limits": told.limits,
        "warnings": list(told.caveats),
        "metrics": to_json(told.metrics),
    }
