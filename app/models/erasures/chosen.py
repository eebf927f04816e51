"""Cases that a person chose: which they are, and which of them cannot be deleted, and why."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session, selectinload

from app.errors import AppError, Conflict, Forbidden, NotFound
from app.models.cases.case import Case, Series
from app.models.erasures.erasure import Erasure
from app.models.erasures.extent import Held, held_by, hindrances, lesions_of, pictures_of
from app.models.people.user import User
from app.models.reader_studies.enrolment import Enrolment


def chosen(session: Session, ids: Sequence[uuid.UUID]) -> list[Case]:
    """The cases of these ids, with their images, the newest first.

    Raises:
        NotFound: one of them is not there.
    """
    found = session.scalars(
        sa.select(Case)
        .options(selectinload(Case.series).selectinload(Series.images))
        .where(Case.id.in_(set(ids)))
        .order_by(Case.created_at.desc(), Case.id)
    ).all()
    if gone := len(set(ids)) - len(found):
        raise NotFound(
            f"{gone} of the chosen cases {'is' if gone == 1 else 'are'} not here any more. Nothing "
            "was changed; choose again in the work list."
        )
    return list(found)


def staying(session: Session, cases: Sequence[Case], user: User) -> dict[uuid.UUID, AppError]:
    """Case → why ``user`` cannot delete it; what they can delete is left out."""
    lesions = {case.id: set(lesions_of(session, [case.id])) for case in cases}
    held = held_by(session, set().union(*lesions.values()))
    found = {}
    for case in cases:
        mine = [
            (version, {line: one for line, one in lines.items() if one in lesions[case.id]})
            for version, lines in held
        ]
        with_some = [(version, lines) for version, lines in mine if lines]
        try:
            _refuse(session, case, user, lesions[case.id], with_some)
        except AppError as refusal:
            found[case.id] = refusal
    return found


def refuse_staying(session: Session, cases: Sequence[Case], user: User) -> None:
    """Nothing where ``user`` can delete all of these cases.

    Raises:
        Forbidden: somebody else's upload, or a blinded reading could be about one.
        Conflict: something stands in the way, or only an administrator may.
    """
    found = staying(session, cases, user)
    for case in cases:
        if refusal := found.get(case.id):
            of = f"{case.pseudonym}: " if len(cases) > 1 else ""
            refusal.detail = f"{of}{refusal.detail} Nothing was deleted."
            raise refusal


def _refuse(
    session: Session, case: Case, user: User, lesions: Collection[uuid.UUID], held: Held
) -> None:
    Enrolment.refuse_case(session, user, case.id)
    if not user.may("admin") and case.uploaded_by_id != user.id:
        raise Forbidden(
            "Only the person who uploaded the case, or an administrator, can delete it.",
            event="case deletion refused",
        )
    if Erasure.of_case(session, case.id):
        raise Conflict("It is being deleted already.")
    if not user.may("admin") and (held or pictures_of(session, lesions)):
        raise Conflict(
            "A frozen data set or a reader study has something of it, so only an administrator "
            "can delete it."
        )
    if why := hindrances(session, [case.id], held=held):
        raise Conflict(" ".join(why))
