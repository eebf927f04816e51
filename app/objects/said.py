"""What was said of the lesions of a case: by a network, or by a radiologist of the network's words.

A lesion of which nobody said anything is in no account, and neither is a withdrawn one.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.orm import Session, joinedload

from app.models.cases.case import Case, Image, Series
from app.models.cases.lesion import Lesion
from app.models.cases.measure import Measure
from app.models.cases.newest import newest_first
from app.models.cases.prediction import Prediction
from app.models.cases.review import BASES, CANNOT_TELL, OTHER, WORDS, Review, superseded
from app.models.checkpoint import Checkpoint
from ml.images.roi import Box
from ml.lesion import LIVER, Code, LesionScheme
from ml.trust.answer import Said

_MOST_SCORES = 3
"""More lines than this no viewer shows beside a lesion."""
_CODES = {
    OTHER: Code("74964007", "SCT", "Other"),
    CANNOT_TELL: Code("373068000", "SCT", "Undetermined"),
}
OWN_SCHEME = "99HEPATICA"
_CODE_LENGTH, _MEANING_LENGTH = 16, 64
_MARK = 4
"""Characters of a digest at the end of what had to be cut."""


class By(StrEnum):
    """Whose words an account holds."""

    NETWORK = "network"
    RADIOLOGIST = "radiologist"


class Assessment(StrEnum):
    """What a radiologist's class makes of a network's (after IHE AI Result Assessment)."""

    ACCEPTED = "accepted"
    """The same class."""
    REPLACED = "replaced"
    """Another class of the scheme."""
    REJECTED = "rejected"
    """None of its classes, or one that cannot be told."""


@dataclass(frozen=True)
class Score:
    """A network's score of a class, 0…1."""

    lesion_class: str
    display: str
    value: float


@dataclass(frozen=True)
class Statement:
    """What one account says of one lesion.

    Attributes:
        row: id of the Prediction or Review.
        finding: the class as a coded concept.
        of_liver: whether its scheme is that of liver lesions; of others no organ is named.
        scores: the network's highest ones, falling; empty in a radiologist's.
        calibrated: whether the scores are probabilities.
        left_open: the classes that cannot be excluded, in words; empty where that is not known.
        open_classes: the same as coded concepts, the likeliest first; ``open_level`` of them, 0–1.
        unlike: whether the ROI is unlike those that the network was trained on; None where that is
            not known.
        assessment: of the network's newest class; None in a network's, and where it gave none.
        unseen: whether the radiologist had not seen the network's score.
        confidence: 1 (guessing) to 5 (certain); None in a network's.
        at: when it was said, where it is a row.
        measures: what the radiologist measured and keeps with the lesion; empty in a network's.
    """

    lesion: Lesion
    row: uuid.UUID
    lesion_class: str
    display: str
    finding: Code
    of_liver: bool
    scores: tuple[Score, ...] = ()
    calibrated: bool = False
    left_open: str = ""
    open_classes: tuple[Code, ...] = ()
    open_level: float | None = None
    unlike: bool | None = None
    assessment: Assessment | None = None
    unseen: bool = False
    confidence: int | None = None
    basis: str = ""
    warnings: tuple[str, ...] = ()
    at: datetime | None = None
    measures: tuple[Measure, ...] = ()

    @property
    def is_marked(self) -> bool:
        """Whether the name of a class of it had to be cut, or changed, in codes and meanings."""
        keys = (self.lesion_class, *(one.lesion_class for one in self.scores))
        names = (self.display, *(one.display for one in self.scores))
        longest = [f"{name}, confidence 1 to 5" for name in names]
        return any(len(key) > _CODE_LENGTH for key in keys) or any(
            meaning_of(words) != words for words in longest
        )

    @property
    def image(self) -> Image:
        """The image on which the lesion was marked."""
        return self.lesion.image

    @property
    def box(self) -> Box:
        """The lesion's, in pixels of its image."""
        return self.lesion.box


@dataclass(frozen=True)
class Account:
    """Everything that one network, or one radiologist, said of a case's lesions.

    Attributes:
        name: of the checkpoint, or of the person.
        version: of the checkpoint, as ``Checkpoint.version``; empty of a person.
        at: when the newest of it was said.
    """

    case: Case
    by: By
    name: str
    version: str
    at: datetime
    statements: tuple[Statement, ...]

    @property
    def rows(self) -> tuple[uuid.UUID, ...]:
        """What it is made of; the same rows make the same object."""
        return tuple(sorted(one.row for one in self.statements))


def by_networks(session: Session, case: Case) -> list[Account]:
    """An account of each checkpoint that scored lesions of a case, the last one first."""
    found: dict[uuid.UUID, list[tuple[Lesion, Prediction]]] = {}
    checkpoints: dict[uuid.UUID, Checkpoint] = {}
    standing = lesions(session, case)
    ids = [lesion.id for lesion in standing]
    predictions = newest_first(session, Prediction, ids, Prediction.checkpoint)
    for lesion in standing:
        for prediction in predictions[lesion.id]:
            checkpoints[prediction.checkpoint_id] = prediction.checkpoint
            found.setdefault(prediction.checkpoint_id, []).append((lesion, prediction))
    made = [
        Account(
            case=case,
            by=By.NETWORK,
            name=checkpoints[key].name,
            version=checkpoints[key].version,
            at=max(prediction.created_at for _, prediction in pairs),
            statements=tuple(
                predicted(
                    lesion,
                    prediction.id,
                    prediction.answer,
                    prediction.warnings,
                    checkpoints[key].scheme,
                    prediction.created_at,
                )
                for lesion, prediction in pairs
            ),
        )
        for key, pairs in found.items()
    ]
    return sorted(made, key=lambda account: account.at, reverse=True)


def by_radiologists(session: Session, case: Case) -> list[Account]:
    """An account of each person whose reviews of a case's lesions stand, the last one first."""
    found: dict[uuid.UUID, list[tuple[Statement, Review]]] = {}
    standing = lesions(session, case)
    ids = [lesion.id for lesion in standing]
    predictions = newest_first(session, Prediction, ids, Prediction.checkpoint)
    reviews = newest_first(session, Review, ids, Review.by)
    measures = Measure.of_lesions(session, ids)
    served = Checkpoint.scheme_for_review(session)
    for lesion in standing:
        given = reviews[lesion.id]
        replaced = superseded(given)
        for review in given:
            if review.id not in replaced:
                said = _reviewed(lesion, review, predictions[lesion.id], served)
                own = tuple(one for one in measures[lesion.id] if one.by_id == review.by_id)
                found.setdefault(review.by_id, []).append((replace(said, measures=own), review))
    made = [
        Account(
            case=case,
            by=By.RADIOLOGIST,
            name=pairs[0][1].by.name,
            version="",
            at=max(review.created_at for _, review in pairs),
            statements=tuple(statement for statement, _ in pairs),
        )
        for pairs in found.values()
    ]
    return sorted(made, key=lambda account: account.at, reverse=True)


def of_rows(session: Session, case: Case, by: By, rows: Collection[uuid.UUID]) -> Account | None:
    """The account that these rows make; None where they are no longer all of one that stands.

    A lesion was withdrawn since, a review superseded, or another lesion scored or reviewed: what
    was said then is not what is said now.
    """
    accounts = by_networks(session, case) if by == By.NETWORK else by_radiologists(session, case)
    wanted = tuple(sorted(rows))
    for account in accounts:
        kept = tuple(one for one in account.statements if one.row in rows)
        if tuple(sorted(one.row for one in kept)) == wanted:
            return replace(account, statements=kept, at=max(one.at or account.at for one in kept))
    return None


def whose(session: Session, by: By, row: uuid.UUID) -> uuid.UUID | None:
    """The checkpoint or the person that a row of an account is of; None where it is gone."""
    if by == By.NETWORK:
        prediction = session.get(Prediction, row)
        return None if prediction is None else prediction.checkpoint_id
    review = session.get(Review, row)
    return None if review is None else review.by_id


def lesions(session: Session, case: Case) -> Sequence[Lesion]:
    """The lesions of a case that stand, each with its image, series and case."""
    return session.scalars(
        sa.select(Lesion)
        .options(joinedload(Lesion.image).joinedload(Image.series).joinedload(Series.case))
        .where(Lesion.case_id == case.id, Lesion.withdrawn_at.is_(None))
        .order_by(Lesion.number)
    ).all()


def predicted(
    lesion: Lesion,
    row: uuid.UUID,
    said: Said,
    warnings: Sequence[str],
    scheme: LesionScheme,
    at: datetime | None = None,
) -> Statement:
    """A network's word on a lesion; its class is the likeliest one."""
    scores = sorted(
        (Score(key, scheme.display(key), value) for key, value in said.probabilities.items()),
        key=lambda score: -score.value,
    )
    best = said.lesion_class
    left = said.prediction_set
    return Statement(
        lesion=lesion,
        row=row,
        lesion_class=best,
        display=scheme.display(best),
        finding=code_of(scheme, best),
        of_liver=scheme.name == LIVER.name,
        scores=tuple(scores[:_MOST_SCORES]),
        calibrated=said.calibrated,
        left_open="" if left is None else left.words(scheme),
        open_classes=() if left is None else tuple(code_of(scheme, key) for key in left.classes),
        open_level=None if left is None else left.level,
        unlike=None if said.unlike_training is None else said.unlike_training.flag,
        warnings=tuple(warnings),
        at=at,
    )


def _reviewed(
    lesion: Lesion, review: Review, predictions: Sequence[Prediction], served: LesionScheme
) -> Statement:
    # the newest prediction that was there when the class was given
    earlier = [one for one in predictions if one.created_at <= review.created_at]
    about = earlier[0] if earlier else None
    scheme = about.checkpoint.scheme if about else served
    return Statement(
        lesion=lesion,
        row=review.id,
        lesion_class=review.lesion_class,
        display=_display(scheme, review.lesion_class),
        finding=code_of(scheme, review.lesion_class),
        of_liver=scheme.name == LIVER.name,
        assessment=None if about is None else _assessment(review, about),
        unseen=about is not None and not review.score_visible,
        confidence=review.confidence,
        basis=BASES[review.basis],
        at=review.created_at,
    )


def _assessment(review: Review, about: Prediction) -> Assessment:
    if review.lesion_class == about.lesion_class:
        return Assessment.ACCEPTED
    if review.lesion_class in about.checkpoint.scheme.keys:
        return Assessment.REPLACED
    return Assessment.REJECTED


def _display(scheme: LesionScheme, key: str) -> str:
    if key in scheme.keys:
        return scheme.display(key)
    return WORDS.get(key, key.replace("_", " "))


def code_of(scheme: LesionScheme, key: str) -> Code:
    """A class as a coded concept: the scheme's code, or one of our own."""
    for lesion_class in scheme.classes:
        if lesion_class.key == key and lesion_class.code is not None:
            return lesion_class.code
    if key in _CODES:
        return _CODES[key]
    return own_code(key, _display(scheme, key))


def own_code(key: str, meaning: str) -> Code:
    """A concept that no standard names, under a value of at most 16 characters (PS3.5 6.2 SH).

    Of longer keys the end tells those apart that begin alike: the value alone names a class.
    """
    value = key
    if len(key) > _CODE_LENGTH:
        value = f"{key[: _CODE_LENGTH - _MARK - 1]}_{_mark_of(key)}"
    return Code(value, OWN_SCHEME, meaning_of(meaning))


def meaning_of(text: str) -> str:
    """A text as the meaning of a code: one line of at most 64 characters (PS3.5 6.2 LO).

    Of a longer one the end tells those apart that begin alike.
    """
    text = one_line(text)
    if len(text) <= _MEANING_LENGTH:
        return text
    return f"{text[: _MEANING_LENGTH - _MARK - 2]}… {_mark_of(text)}"


def one_line(text: str) -> str:
    """A text without line ends, other control characters and backslashes, which DICOM takes for
    the end of a value."""
    return " ".join(re.sub(r"[\x00-\x1f\x7f]", " ", text.replace("\\", "/")).split())


def _mark_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_MARK]
