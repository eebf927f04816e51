"""Which lesions of this installation may be shown beside another one, with their classes.

Not those of cases that are closed to the person, nor those whose class is covered because the
person's own comes first; and beside a lesion not those of its own case, patient or image.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.db import in_parts
from app.models.cases.case import Case, Image
from app.models.cases.lesion import Lesion
from app.models.cases.newest import newest_first
from app.models.cases.review import BASES, CANNOT_TELL, WORDS, Review, superseded
from app.models.people.user import User
from app.models.reader_studies.enrolment import Enrolment
from ml.ground.counted import counted
from ml.lesion import LesionScheme


@dataclass(frozen=True)
class Beside:
    """A lesion that may be shown.

    Attributes:
        phantom: whether its image is simulated.
    """

    id: uuid.UUID
    case_id: uuid.UUID
    number: int
    pseudonym: str
    phantom: bool

    @property
    def name(self) -> str:
        """What it is called."""
        return f"Lesion {self.number} of {self.pseudonym}"


@dataclass(frozen=True)
class Found:
    """The lesions that may be shown, the newest first, and how many others were left out.

    Attributes:
        closed: whether a blinded reading closes cases to the person; of these nothing is counted.
        same: of the same patient, or on the same image.
        covered: whose class the person may not know before giving their own.
        gone: of those that were asked for, withdrawn or deleted since.
    """

    lesions: tuple[Beside, ...]
    closed: bool
    same: int
    covered: int
    gone: int = 0

    @property
    def told(self) -> Iterator[str]:
        """What was left out, a sentence each."""
        if self.closed:
            yield "Lesions of cases that a blinded reading of yours could be about are left out."
        if self.same:
            same = counted(self.same, "lesion")
            yield f"Left out: {same} of the same patient or on the same image."
        if self.covered:
            yield (
                f"Left out: {counted(self.covered, 'lesion')} of which you have given no "
                "class yet; yours comes first."
            )
        if self.gone:
            yield f"Left out: {counted(self.gone, 'lesion')} withdrawn or deleted since."


def reviewed(session: Session, user: User, lesion: Lesion, *, review_first: bool) -> Found:
    """The lesions beside ``lesion`` whose class somebody has given, on the same kind of image.

    Args:
        review_first: whether a person's own class comes before those of others.
    """
    with_class = sa.exists().where(
        Review.lesion_id == Lesion.id, Review.stands(), Review.lesion_class != CANNOT_TELL
    )
    return _found(
        session, user, lesion, review_first, Enrolment.closes(session, user),
        Lesion.reviewed.is_(True),
        with_class,
        Image.phantom == lesion.image.phantom,
        Image.calibrated == lesion.image.calibrated,
    )  # fmt: skip


def among(
    session: Session,
    user: User,
    ids: Sequence[uuid.UUID],
    lesion: Lesion | None,
    *,
    review_first: bool,
) -> Found:
    """Those of some lesions that stand and may be shown, beside ``lesion`` or by themselves.

    There may be more of them than a query takes; they are in no order.
    """
    closed = Enrolment.closes(session, user)
    parts = [Lesion.id.in_(some) for some in in_parts(ids)]
    found = [_found(session, user, lesion, review_first, closed, wanted) for wanted in parts]
    standing = sa.select(sa.func.count()).where(Lesion.withdrawn_at.is_(None))
    stand = sum(session.execute(standing.where(wanted)).scalar_one() for wanted in parts)
    return Found(
        tuple(one for some in found for one in some.lesions),
        closed is not None,
        sum(some.same for some in found),
        sum(some.covered for some in found),
        len(ids) - stand,
    )


def classes_of(
    session: Session, lesions: Sequence[uuid.UUID], scheme: LesionScheme
) -> dict[uuid.UUID, tuple[str, ...]]:
    """The classes that were given for each and stand, with who gave them on what basis."""
    words = dict(WORDS) | {item.key: item.display for item in scheme.classes}
    reviews = newest_first(session, Review, lesions, Review.by)
    found = {}
    for one in lesions:
        replaced = superseded(reviews[one])
        found[one] = tuple(
            f"{words.get(review.lesion_class, review.lesion_class)}: {review.by.name}, "
            f"{BASES[review.basis]}, confidence {review.confidence} of 5"
            for review in reviews[one]
            if review.id not in replaced
        )
    return found


def _found(
    session: Session,
    user: User,
    lesion: Lesion | None,
    review_first: bool,
    closed: sa.ColumnElement[bool] | None,
    *wanted: sa.ColumnElement[bool],
) -> Found:
    own = sa.exists().where(Review.lesion_id == Lesion.id, Review.by_id == user.id)
    query = (
        sa.select(
            Lesion.id, Lesion.number, Case.id, Case.pseudonym, Case.patient_hmac,
            Image.phantom, Image.pixels_digest, own,
        )
        .join(Image, Image.id == Lesion.image_id)
        .join(Case, Case.id == Lesion.case_id)
        .where(Lesion.withdrawn_at.is_(None), *wanted)
        .order_by(Lesion.created_at.desc(), Lesion.id)
    )  # fmt: skip
    if closed is not None:
        query = query.where(~closed)
    kept: list[Beside] = []
    same = covered = 0
    for lesion_id, number, case_id, pseudonym, patient, phantom, picture, is_own in session.execute(
        query
    ):
        if lesion is not None:
            case = lesion.image.series.case
            if lesion_id == lesion.id:
                continue
            if (
                pseudonym == case.pseudonym
                or (patient is not None and patient == case.patient_hmac)
                or picture == lesion.image.pixels_digest
            ):
                same += 1
                continue
        if review_first and not is_own:
            covered += 1
            continue
        kept.append(Beside(lesion_id, case_id, number, pseudonym, phantom))
    return Found(tuple(kept), closed is not None, same, covered)
