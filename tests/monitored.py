"""Lesions that a classifier scored and radiologists reviewed, as many as wanted: rows alone."""

from __future__ import annotations

import uuid
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.models import Blob, Case, Checkpoint, Image, Lesion, Prediction, Review, Series, User
from ml.lesion import LIVER

AT = datetime(2026, 11, 28, tzinfo=UTC)
"""The present of these tests."""
_AT_ONCE = 2000


@dataclass(frozen=True)
class Site:
    """How lesions come in; what is not said is the same for all.

    Attributes:
        right: how often the network is.
        per_patient: lesions of each patient.
        reviewed: share of lesions with a review by pathology, given before the score.
        unlike: share that is flagged.
    """

    begin: datetime = datetime(2025, 12, 5, tzinfo=UTC)
    end: datetime = datetime(2026, 11, 20, tzinfo=UTC)
    right: float = 0.8
    per_patient: float = 1.0
    reviewed: float = 1.0
    unlike: float = 0.05
    phantom: bool = False
    manufacturer: str = "Acme"
    seed: int = 0
    prefix: str = "P"
    more: dict[str, Any] = field(default_factory=dict)
    """Of every review, instead of what is usual."""


def fill(
    session: Session, count: int, site: Site, checkpoint: str = "phantom-cnn"
) -> list[uuid.UUID]:
    """``count`` lesions, one a case, scored from begin to end; the ids in that order."""
    rng = np.random.default_rng(site.seed)
    network = Checkpoint.require(session, checkpoint)
    by = User.named(session, "maker") or User.add(session, "maker", "researcher", "correct horse")
    pixels = np.full((64, 64), 60, "<i2")
    blob = Blob.store(
        session, zlib.compress(pixels.tobytes()), "application/vnd.hepatica.pixels+zlib"
    )
    session.flush()
    rows: dict[Any, list[dict[str, Any]]] = {
        model: [] for model in (Case, Series, Image, Lesion, Prediction, Review)
    }
    ids = []
    span = (site.end - site.begin).total_seconds()
    truths = rng.integers(0, 3, count)
    patients = np.arange(count) // max(1, round(site.per_patient))
    for number in range(count):
        at = site.begin + timedelta(seconds=span * number / max(1, count - 1))
        case, series, image, lesion = (uuid.UUID(bytes=rng.bytes(16)) for _ in range(4))
        truth, patient = int(truths[number]), f"{site.prefix}{patients[number]}"
        called = truth if rng.random() < site.right else int((truth + 1 + rng.integers(2)) % 3)
        p = rng.dirichlet(np.where(np.arange(3) == called, 8.0, 1.0))
        p[called] += p.max()
        p /= p.sum()
        named = {key: round(float(one), 6) for key, one in zip(LIVER.keys, p, strict=True)}
        inside = [key for key, one in sorted(named.items(), key=lambda pair: -pair[1]) if one > 0.1]
        flag = bool(rng.random() < site.unlike)
        tags = {"Manufacturer": site.manufacturer, "ManufacturerModelName": "One",
                "ConvolutionKernel": "B30f", "SliceThickness": 3.0}  # fmt: skip
        rows[Case].append({
            "id": case, "study_uid": None, "uid": None, "patient_hmac": None, "pseudonym": patient,
            "contrast_phase": "portal", "phantom": site.phantom, "uploaded_by_id": by.id,
            "created_at": at, "study_date": None,
        })  # fmt: skip
        rows[Series].append({
            "id": series, "case_id": case, "series_uid": "s", "uid": None, "created_at": at,
        })  # fmt: skip
        rows[Image].append({
            "id": image, "series_id": series, "sop_uid": f"{site.prefix}{number}", "frame": 1,
            "uid": None, "rows": 64, "columns": 64, "dtype": "int16", "calibrated": True,
            "phantom": site.phantom, "row_spacing_mm": 0.8, "column_spacing_mm": 0.8, "tags": tags,
            "warnings": [], "pixels_digest": blob, "created_at": at,
        })  # fmt: skip
        rows[Lesion].append({
            "id": lesion, "case_id": case, "image_id": image, "number": 1, "x": 20.0, "y": 20.0,
            "width": float(rng.uniform(12, 24)), "height": 18.0, "marked_by_id": by.id,
            "created_at": at, "reviewed": True,
        })  # fmt: skip
        rows[Prediction].append({
            "id": uuid.UUID(bytes=rng.bytes(16)), "lesion_id": lesion,
            "checkpoint_id": network.id, "number": 1, "probabilities": named,
            "lesion_class": LIVER.keys[called], "warnings": [], "created_at": at,
            "said": {
                "probabilities": named, "calibrated": True,
                "prediction_set": {"level": 0.9, "classes": inside},
                "unlike_training": {
                    "score": round(float(rng.gamma(6, 0.08) + flag), 6), "flag": flag,
                    "reasons": ["what the network sees in it is unlike the training ROIs"] * flag,
                },
                "second_opinion": {
                    "probabilities": named, "reasons": ["homogeneous: as in 41 of 44 cysts"] * 3,
                },
            },
        })  # fmt: skip
        if rng.random() < site.reviewed:
            rows[Review].append({
                "id": uuid.UUID(bytes=rng.bytes(16)), "lesion_id": lesion, "by_id": by.id,
                "supersedes_id": None, "number": 1, "lesion_class": LIVER.keys[truth],
                "confidence": 4, "basis": "pathology", "note": "", "score_visible": False,
                "created_at": at + timedelta(hours=1), **site.more,
            })  # fmt: skip
        ids.append(lesion)
    for model, some in rows.items():
        for start in range(0, len(some), _AT_ONCE):
            session.execute(sa.insert(model), some[start : start + _AT_ONCE])
    session.flush()
    return ids
