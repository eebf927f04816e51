"""What a template or script may see of a lesion: plain values, with the score covered or not."""

from __future__ import annotations

import json
import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from fastapi import Request
from sqlalchemy.orm import Session, joinedload
from starlette.responses import Response

from app.models.cases.case import Image
from app.models.cases.lesion import Lesion
from app.models.cases.prediction import Prediction
from app.models.cases.review import BASES, CANNOT_TELL, OTHER, Review, superseded
from app.models.checkpoint import Checkpoint
from app.models.correction import PhaseCorrection
from app.models.people.user import User
from app.responses import fragment
from ml.images import roi
from ml.lesion import LesionScheme

_WORDS = {OTHER: "other", CANNOT_TELL: "cannot tell"}


@dataclass(frozen=True)
class Standing:
    """A lesion with everything that is said of it, for one person.

    ``predictions`` and ``reviews`` are all there are, the newest first; what may be *shown* while
    ``covered`` is less, and only the functions below decide it.
    """

    lesion: Lesion
    predictions: tuple[Prediction, ...]
    reviews: tuple[Review, ...]
    own: Review | None
    covered: bool

    @classmethod
    def of(cls, request: Request, session: Session, user: User, lesion: Lesion) -> Standing:
        """One lesion's."""
        return cls.of_all(request, session, user, [lesion])[0]

    @classmethod
    def of_all(
        cls, request: Request, session: Session, user: User, lesions: Sequence[Lesion]
    ) -> list[Standing]:
        """Those of several lesions, in two queries however many they are."""
        ids = [lesion.id for lesion in lesions]
        predictions: defaultdict[uuid.UUID, list[Prediction]] = defaultdict(list)
        for prediction in session.scalars(
            sa.select(Prediction)
            .options(joinedload(Prediction.checkpoint))
            .where(Prediction.lesion_id.in_(ids))
            .order_by(Prediction.number.desc())
        ):
            predictions[prediction.lesion_id].append(prediction)
        reviews: defaultdict[uuid.UUID, list[Review]] = defaultdict(list)
        for review in session.scalars(
            sa.select(Review)
            .options(joinedload(Review.by))
            .where(Review.lesion_id.in_(ids))
            .order_by(Review.number.desc())
        ):
            reviews[review.lesion_id].append(review)
        first = request.app.state.settings.review_first
        made = []
        for lesion in lesions:
            given = reviews[lesion.id]
            replaced = superseded(given)
            own = next(
                (one for one in given if one.by_id == user.id and one.id not in replaced), None
            )
            made.append(
                cls(
                    lesion=lesion,
                    predictions=tuple(predictions[lesion.id]),
                    reviews=tuple(given),
                    own=own,
                    covered=first and own is None and bool(predictions[lesion.id] or given),
                )
            )
        return made

    @property
    def words(self) -> dict[str, str]:
        """Class key → words, by every scheme that scored the lesion."""
        words = dict(_WORDS)
        for prediction in self.predictions:
            words |= {item.key: item.display for item in prediction.checkpoint.scheme.classes}
        return words

    @property
    def score_is_visible(self) -> bool:
        """Whether the person sees a network's score now."""
        return bool(self.predictions) and not self.covered

    def claims(self) -> list[dict[str, str]]:
        """Who calls the lesion what: the person's own class, the network's, then colleagues'.

        Others' claims come after one's own only, whether the network's or colleagues'.
        """
        words = self.words
        claims = []
        if self.own is not None:
            said = words.get(self.own.lesion_class, self.own.lesion_class)
            claims.append({"by": "own", "text": f"{said} (yours)"})
        if self.covered:
            return claims
        for newest in self.predictions[:1]:
            said = newest.checkpoint.scheme.display(newest.lesion_class)
            claims.append({"by": "network", "text": f"network: {said}"})
        replaced = superseded(self.reviews)
        for review in reversed(self.reviews):
            if review.id not in replaced and review is not self.own:
                said = words.get(review.lesion_class, review.lesion_class)
                claims.append({"by": "colleague", "text": f"{review.by.name}: {said}"})
        return claims


def said_of(scheme: LesionScheme, lesion_class: str, confidence: int) -> str:
    """A class and how sure of it, in words: "cyst, confidence 4"."""
    words = _WORDS | {item.key: item.display for item in scheme.classes}
    return f"{words.get(lesion_class, lesion_class)}, confidence {confidence}"


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
    words += list(_WORDS.items())
    return [
        {"key": key, "display": display, "hotkey": str(number)}
        for number, (key, display) in enumerate(words, 1)
    ]


def panel(
    request: Request, session: Session, user: User, lesion: Lesion, status: int = 200
) -> Response:
    """The lesion panel for a script that swaps it in; the lesion itself is in ``X-Lesion``."""
    standing = Standing.of(request, session, user, lesion)
    described = lesion_json(standing) | {"person": str(user.id)}
    return fragment(
        request,
        "lesions/_panel.html",
        status,
        {"x-lesion": json.dumps(described)},
        **panel_context(session, user, standing),
    )


def panel_context(session: Session, user: User, standing: Standing) -> dict[str, Any]:
    """What ``lesions/_panel.html`` needs."""
    scheme = Checkpoint.scheme_for_review(session)
    return {
        "lesion": lesion_panel(session, user, standing),
        "scheme": scheme_view(scheme),
        "choices": review_choices(scheme),
        "bases": BASES,
    }


def lesion_json(standing: Standing) -> dict[str, Any]:
    """What the viewer draws and lists: boxes in slice pixels, and a label that tells only what
    this person may know."""
    lesion = standing.lesion
    square = roi.square(lesion.box, lesion.image.spacing_mm)
    claims = standing.claims()
    label = f"Lesion {lesion.number}"
    if claims:
        label += ": " + ", ".join(claim["text"] for claim in claims)
    return {
        "id": str(lesion.id),
        "image_id": str(lesion.image_id),
        "number": lesion.number,
        "box": [lesion.x, lesion.y, lesion.width, lesion.height],
        "square": [square.x, square.y, square.width, square.height],
        "covered": standing.covered and bool(standing.predictions),
        "label": label,
        "claims": claims,
    }


def lesion_panel(session: Session, user: User, standing: Standing) -> dict[str, Any]:
    """Everything that the lesion panel shows; predictions are left out while covered."""
    lesion = standing.lesion
    replaced = superseded(standing.reviews)
    # other people's classes are as suggestive as the network's: they come after one's own, too
    shown = [item for item in standing.reviews if not standing.covered or item.by_id == user.id]
    corrections = PhaseCorrection.of_case(session, lesion.case_id)
    own = standing.own
    reach = lesion.reach_of(session, user)
    return {
        "id": lesion.id,
        "case_id": lesion.case_id,
        "number": lesion.number,
        "person": user.id,
        "roi": _roi(session, lesion),
        "phantom": lesion.image.phantom,
        "diameter_mm": lesion.diameter_mm,
        "diameter_px": lesion.diameter_px,
        "marked_by": lesion.marked_by.name,
        "reach": reach,
        "kept_because": reach.why if lesion.marked_by_id == user.id else "",
        "warnings": list(lesion.image.warnings),
        "covered": standing.covered,
        "predictions": []
        if standing.covered
        else [_prediction(item, corrections) for item in standing.predictions],
        "has_score": bool(standing.predictions),
        "reviews": [_review(item, standing, replaced) for item in shown],
        "after": own.id if own else "",
        "own_review": None if own is None else _review(own, standing, replaced),
    }


def _roi(session: Session, lesion: Lesion) -> dict[str, Any]:
    """Address of the ROI as the network sees it, the window in words, and the network's name."""
    network = Prediction.network_of(session, lesion.id)
    address = f"/lesions/{lesion.id}/roi.png"
    return {
        # the address changes with the window, so that no kept picture of another one is shown
        "url": f"{address}?checkpoint={network.id}" if network else address,
        "window": _window(network, lesion.image),
        "network": network.name if network else None,
    }


def _window(network: Checkpoint | None, image: Image) -> str:
    if image.calibrated:
        low, high = network.window_hu if network else roi.DEFAULT_WINDOW_HU
        return f"{low:g} to {high:g} HU".replace("-", "−")
    greys = None if network is None else network.grey_range_of(image.dtype)
    return "all grey values" if greys is None else f"grey values {greys[0]:g} to {greys[1]:g}"


def _prediction(prediction: Prediction, corrections: Sequence[PhaseCorrection]) -> dict[str, Any]:
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
        "phase_corrected": next(
            (item for item in corrections if item.at > prediction.created_at), None
        ),
        "probabilities": [
            {"key": key, "display": scheme.display(key), "p": float(prediction.probabilities[key])}
            for key in sorted(scheme.keys, key=lambda key: -prediction.probabilities[key])
        ],
    }


def _review(review: Review, standing: Standing, replaced: set[uuid.UUID]) -> dict[str, Any]:
    words = standing.words
    return {
        "id": review.id,
        "by": review.by.name,
        "lesion_class": review.lesion_class,
        "display": words.get(review.lesion_class, review.lesion_class),
        "confidence": review.confidence,
        "basis": BASES[review.basis],
        "basis_key": review.basis,
        "note": review.note,
        "at": review.created_at,
        "score": "score visible"
        if review.score_visible
        else "score covered"
        if standing.predictions
        else "no score",
        "superseded": review.id in replaced,
    }
