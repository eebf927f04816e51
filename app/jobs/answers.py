"""Answers: what is said of one lesion of several, or why nothing is, and its form as JSON.

That form is in the results of jobs and leaves by the API, so its fields, their names and their
order are kept: programs and signatures rely on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from app.errors import AppError, Unreadable
from app.inference import Scores
from ml.ground.errors import HepaticaError
from ml.ground.records import extract, from_json, to_json
from ml.images.roi import Box, Roi
from ml.trust.agreement import ALONE
from ml.trust.answer import Said
from ml.trust.novelty import Unlike

Sides = tuple[float, float, float, float]
"""A rectangle as it is told: x, y, width, height in pixels."""

_CLASSIFIED = 200


@dataclass(frozen=True)
class Refusal:
    """Why a lesion was not classified: problem details within a list."""

    status: int
    title: str
    detail: str

    @classmethod
    def of(cls, error: AppError | HepaticaError) -> Refusal:
        """What an error says."""
        kind = error if isinstance(error, AppError) else Unreadable(str(error))
        return cls(kind.status, kind.title, str(error))


@dataclass(frozen=True)
class ImageUids:
    """An image that is held here, by the UIDs under which it leaves; pictures have none."""

    study: str | None
    series: str | None
    instance: str | None


@dataclass(frozen=True)
class Whereabouts:
    """On which image that is held here a lesion lies.

    Attributes:
        case, lesion: their ids; no lesion: the place is that of none.
    """

    case: str
    image: ImageUids
    lesion: str | None = None


@dataclass(frozen=True)
class Cut:
    """The rectangles of an ROI as they are told, rounded.

    Attributes:
        box: None where the image is the ROI itself.
    """

    box: Sides | None
    square: Sides
    side_mm: float | None

    @classmethod
    def of(cls, found: Roi) -> Cut:
        """Of an ROI."""
        return cls(
            None if found.box is None else _rounded(found.box),
            _rounded(found.square),
            None if found.side_mm is None else round(found.side_mm, 3),
        )


@dataclass(frozen=True)
class Classified:
    """What is answered of one lesion that was classified.

    Attributes:
        version: of the checkpoint.
        said: without its reasons, which are among the ``warnings``.
        held: None where the image was sent with the call.
    """

    checkpoint: str
    version: str
    said: Said
    roi: Cut
    calibrated_hu: bool
    limits: str
    warnings: tuple[str, ...]
    held: Whereabouts | None = None

    @classmethod
    def of(
        cls, found: Roi, scores: Scores, version: str, held: Whereabouts | None = None
    ) -> Classified:
        """What is answered of the scores of an ROI."""
        said, unlike = scores.said, scores.said.unlike_training
        alone = [ALONE] if said.agreement is None else []
        if unlike is not None:
            unlike = replace(unlike, score=round(unlike.score, 3))
        return cls(
            checkpoint=scores.checkpoint,
            version=version,
            said=replace(said, reasons=(), unlike_training=unlike),
            roi=Cut.of(found),
            calibrated_hu=found.calibrated,
            limits=scores.limits,
            warnings=(*scores.warnings, *said.reasons, *alone),
            held=held,
        )

    def told(self) -> dict[str, object]:
        """As JSON where it is the answer to a call about one lesion."""
        said, unlike = self.said, self.said.unlike_training
        return {
            "checkpoint": self.checkpoint,
            "version": self.version,
            "lesion_class": said.lesion_class,
            "probabilities": dict(said.probabilities),
            "calibrated": said.calibrated,
            "prediction_set": to_json(said.prediction_set),
            "unlike_training": None if unlike is None else _whole(unlike),
            "second_opinion": to_json(said.second_opinion),
            "agreement": to_json(said.agreement),
            "roi": to_json(self.roi),
            "calibrated_hu": self.calibrated_hu,
            "limits": self.limits,
            "warnings": list(self.warnings),
            **(to_json(self.held) if self.held else {}),
        }

    def to_dict(self) -> dict[str, object]:
        """As JSON among the answers about several lesions."""
        return {"status": _CLASSIFIED, **self.told()}

    @classmethod
    def from_dict(cls, data: Any) -> Classified:
        """From what `to_dict` gave, of any version: what was not told yet has its default."""
        return cls(
            checkpoint=data["checkpoint"],
            version=data.get("version", ""),
            said=extract(Said, data),
            roi=from_json(Cut, data["roi"]),
            calibrated_hu=data["calibrated_hu"],
            limits=data["limits"],
            warnings=tuple(data["warnings"]),
            held=extract(Whereabouts, data) if "image" in data else None,
        )


Answer = Classified | Refusal


def together(checkpoint: str, answers: Sequence[Answer]) -> dict[str, object]:
    """All answers of a call or a job, with how many there are of each kind, as JSON."""
    good = sum(isinstance(one, Classified) for one in answers)
    return {
        "checkpoint": checkpoint,
        "classified": good,
        "refused": len(answers) - good,
        "lesions": to_json(answers),
    }


def answers_of(result: Any) -> list[Answer]:
    """The answers of a job whose result was made by `together`."""
    return [
        Classified.from_dict(one) if one["status"] == _CLASSIFIED else from_json(Refusal, one)
        for one in result["lesions"]
    ]


def _whole(unlike: Unlike) -> dict[str, object]:
    """Its reasons too where there are none, which `to_json` leaves out."""
    return {"score": unlike.score, "flag": unlike.flag, "reasons": list(unlike.reasons)}


def _rounded(box: Box) -> Sides:
    return round(box.x, 3), round(box.y, 3), round(box.width, 3), round(box.height, 3)
