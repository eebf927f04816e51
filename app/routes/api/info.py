"""What this installation offers to programs."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from app.auth import Program
from app.db import ReadDb
from app.models.checkpoint import Checkpoint
from app.routes.api.synthetics import MOST
from app.settings import VERSION
from ml.checkpoints.checkpoint import CheckpointKind
from ml.ground.records import to_json
from ml.lesion import ROI_SIZE_PX

router = APIRouter(tags=["info"])


@router.get("/info", summary="Checkpoints, classes and limits")
def info(program: Program, db: ReadDb) -> dict[str, Any]:
    """The served checkpoints with their lesion schemes, windows and held-out figures."""
    return {
        "name": "Hepatica",
        "version": VERSION,
        "use": "Research use only. Not a medical device.",
        "roi_px": ROI_SIZE_PX,
        "most_synthetics": MOST,
        "classifiers": [
            _checkpoint(row) for row in Checkpoint.served(db, CheckpointKind.CLASSIFIER)
        ],
        "generators": [_checkpoint(row) for row in Checkpoint.served(db, CheckpointKind.GENERATOR)],
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
