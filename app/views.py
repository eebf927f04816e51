"""What a template or script may see of a lesion: plain values, with the score covered or not."""

from __future__ import annotations

import json
import uuid
from typing import Any

import sqlalchemy as sa
from fastapi import Request
from sqlalchemy.orm import Session
from starlette.responses import Response

from app.models.checkpoint import Checkpoint
from app.models.lesion import Lesion
from app.models.prediction import Prediction
from app.models.review import BASES, CANNOT_TELL, OTHER, Review, superseded
from app.models.user import User
from app.responses import fragment
from ml import roi
from ml.lesion import LesionScheme


def covered_for(request: Request, session: Session, user: User, lesion: Lesion) -> bool:
    """Whether the score is covered: reviews come first here, and this person gave none yet."""
    if not request.app.state.settings.review_first:
        return False
    return Review.current(session, lesion.id, user.id) is None


def scheme_view(scheme: LesionScheme) -> dict[str, Any]:
    """A scheme with the key that answers each class: 1, 2, … in its order."""
    return {
        "name": scheme.name,
        "classes": [
            {"key": item.key, "display": item.display, "hotkey": str(number)}
            for number, item in enumerate(scheme.classes, 1)
        ],
    }


def review_choices(scheme: LesionScheme) -> list[dict[str, str]]:
    """What a reviewer may answer, with its key: the scheme's classes, other, cannot tell."""
    words = [(item.key, item.display) for item in scheme.classes]
    words += [(OTHER, "other"), (CANNOT_TELL, "cannot tell")]
    return [
        {"key": key, "display": display, "hotkey": str(number)}
        for number, (key, display) in enumerate(words, 1)
    ]


def panel(
    request: Request, session: Session, user: User, lesion: Lesion, status: int = 200
) -> Response:
    """The lesion panel for a script that swaps it in; the lesion itself is in ``X-Lesion``."""
    described = lesion_json(session, lesion, covered_for(request, session, user, lesion))
    return fragment(
        request,
        "lesions/_panel.html",
        status,
        {"x-lesion": json.dumps(described)},
        **panel_context(request, session, user, lesion),
    )


def panel_context(request: Request, session: Session, user: User, lesion: Lesion) -> dict[str, Any]:
    """What ``lesions/_panel.html`` needs."""
    scheme = Checkpoint.scheme_for_review(session)
    return {
        "lesion": lesion_panel(request, session, user, lesion),
        "scheme": scheme_view(scheme),
        "choices": review_choices(scheme),
        "bases": BASES,
    }


def lesion_json(session: Session, lesion: Lesion, covered: bool) -> dict[str, Any]:
    """A lesion for the viewer: its box and the square that the network sees, in slice pixels."""
    image = lesion.image
    square = roi.square(lesion.box, image.spacing_mm)
    newest = None
    if not covered:
        newest = session.execute(
            sa.select(Prediction)
            .where(Prediction.lesion_id == lesion.id)
            .order_by(Prediction.number.desc())
            .limit(1)
        ).scalar_one_or_none()
    label = f"Lesion {lesion.number}"
    if newest is not None:
        label += f": {newest.checkpoint.scheme.display(newest.lesion_class)}"
    return {
        "id": str(lesion.id),
        "image_id": str(lesion.image_id),
        "number": lesion.number,
        "box": [lesion.x, lesion.y, lesion.width, lesion.height],
        "square": [square.x, square.y, square.width, square.height],
        "covered": covered,
        "label": label,
    }


def lesion_panel(request: Request, session: Session, user: User, lesion: Lesion) -> dict[str, Any]:
    """Everything that the lesion panel shows; predictions are left out while covered."""
    covered = covered_for(request, session, user, lesion)
    predictions = Prediction.of_lesion(session, lesion.id)
    reviews = Review.of_lesion(session, lesion.id)
    replaced = superseded(reviews)
    # other people's classes are as suggestive as the network's: they come after one's own, too
    shown = [item for item in reviews if not covered or item.by_id == user.id]
    schemes = [item.checkpoint.scheme for item in predictions]
    own = next(
        (_review(item, schemes, replaced) for item in reviews if item.by_id == user.id), None
    )
    return {
        "id": lesion.id,
        "case_id": lesion.case_id,
        "number": lesion.number,
        "roi_url": f"/lesions/{lesion.id}/roi.png",
        "phantom": lesion.image.phantom,
        "diameter_mm": lesion.diameter_mm,
        "diameter_px": lesion.diameter_px,
        "marked_by": lesion.marked_by.name,
        "warnings": list(lesion.image.warnings),
        "covered": covered,
        "predictions": [] if covered else [_prediction(item) for item in predictions],
        "reviews": [_review(item, schemes, replaced) for item in shown],
        "own_review": own,
    }


def _prediction(prediction: Prediction) -> dict[str, Any]:
    checkpoint = prediction.checkpoint
    scheme = checkpoint.scheme
    return {
        "checkpoint": checkpoint.name,
        "checkpoint_url": f"/checkpoints/{checkpoint.name}",
        "training_kind": checkpoint.training_kind,
        "lesion_class": prediction.lesion_class,
        "display": scheme.display(prediction.lesion_class),
        "limits": checkpoint.limits,
        "warnings": list(prediction.warnings),
        "probabilities": [
            {"key": key, "display": scheme.display(key), "p": float(prediction.probabilities[key])}
            for key in sorted(scheme.keys, key=lambda key: -prediction.probabilities[key])
        ],
    }


def _review(
    review: Review, schemes: list[LesionScheme], replaced: set[uuid.UUID]
) -> dict[str, Any]:
    words = {OTHER: "other", CANNOT_TELL: "cannot tell"}
    for scheme in schemes:
        words |= {item.key: item.display for item in scheme.classes}
    return {
        "by": review.by.name,
        "lesion_class": review.lesion_class,
        "display": words.get(review.lesion_class, review.lesion_class),
        "confidence": review.confidence,
        "basis": BASES[review.basis],
        "basis_key": review.basis,
        "note": review.note,
        "at": review.created_at,
        "score_visible": review.score_visible,
        "superseded": review.id in replaced,
    }
