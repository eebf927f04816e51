"""Deleting cases for good, one or several: by whom, and what keeps a case."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session, selectinload

from app.errors import AppError, Conflict, Forbidden, NotFound
from app.models.cases.case import Case, Series
from app.models.jobs.returned_object import ReturnedObject
from app.models.people.user import User
from app.models.reader_studies.enrolment import Enrolment
from app.models.reader_studies.stimulus import Stimulus


def refuse_deletion(session: Session, case: Case, user: User) -> None:
    """Nothing where ``user`` may delete the case.

    Raises:
        Forbidden: somebody else's upload, or a blinded reading could be about it.
        Conflict: a reader study shows one of its lesions.
    """
    Enrolment.refuse_case(session, user, case.id)
    if not user.may("admin") and case.uploaded_by_id != user.id:
        raise Forbidden(
            "Only the person who uploaded the case, or an administrator, can delete it.",
            event="case deletion refused",
        )
    Stimulus.refuse_removal(session, case.id)


def hindrance(session: Session, case: Case, user: User) -> str:
    """Why ``user`` cannot delete the case, as sentences; "" where they can."""
    try:
        refuse_deletion(session, case, user)
    except AppError as refusal:
        return refusal.detail
    return ""


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


def delete(session: Session, cases: Sequence[Case], user: User) -> str:
    """Delete all of these cases or none; what was deleted, in words.

    Raises:
        Forbidden, Conflict: as ``refuse_deletion``, of the first that stays.
    """
    for case in cases:
        try:
            refuse_deletion(session, case, user)
        except (Forbidden, Conflict) as refusal:
            if len(cases) > 1:
                refusal.detail = f"{case.pseudonym}: {refusal.detail} No case was deleted."
            raise
    unsent = 0
    for case in cases:
        unsent += ReturnedObject.drop_unsent(session, case.id, user.name)
        case.remove(session, user.name)
    words = (
        f"Case {cases[0].pseudonym} and everything in it was deleted."
        if len(cases) == 1
        else f"{len(cases)} cases and everything in them were deleted."
    )
    if unsent:
        of = "its results" if len(cases) == 1 else "their results"
        words += f" {unsent} of {of} had not reached the PACS and are not tried again."
    return words
