"""Corrections: what was said wrongly of a case at its upload, put right on its page.

Each is an Event. One of the contrast phase tells the phase before and after. One of the pseudonym
tells neither, since a pseudonym that people chose may be a name.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.errors import Conflict, Forbidden, Unreadable
from app.models.cases.case import PHASES, PSEUDONYM, Case, refuse_leaving
from app.models.cases.lesion import Lesion
from app.models.ground.event import Event
from app.models.people.user import User
from app.models.reader_studies.stimulus import Stimulus
from app.models.runs.dataset import DatasetVersion

_PHASE = "contrast phase corrected"
_PSEUDONYM = "pseudonym corrected"


@dataclass(frozen=True)
class PhaseCorrection:
    """One correction of a contrast phase."""

    before: str
    after: str
    by: str
    at: datetime

    @staticmethod
    def of_case(session: Session, case_id: uuid.UUID) -> list[PhaseCorrection]:
        """The corrections of a case's contrast phase, the newest first."""
        rows = session.scalars(
            sa.select(Event)
            .where(Event.kind == _PHASE, Event.subject == str(case_id))
            .order_by(Event.at.desc())
        )
        return [
            PhaseCorrection(row.detail["before"], row.detail["after"], row.actor, row.at)
            for row in rows
        ]


def may_correct(case: Case, user: User) -> bool:
    """Whether ``user`` uploaded the case or is an administrator."""
    return case.uploaded_by_id == user.id or user.may("admin")


def correct_phase(session: Session, case: Case, user: User, *, before: str, after: str) -> None:
    """Put the contrast phase right; scores that are there keep the warning they were made with.

    Args:
        before: the phase that the page showed.

    Raises:
        Forbidden: not the uploader nor an administrator.
        Unreadable: no such phase.
        Conflict: it is that already, or was changed meanwhile.
    """
    _held(session, case)
    _refuse_others(case, user, _PHASE)
    if after not in PHASES:
        raise Unreadable(f"Choose the contrast phase: {', '.join(PHASES)}.").about("contrast_phase")
    if case.contrast_phase == after:
        raise Conflict(f"The contrast phase is {after} already; nothing was changed.")
    if case.contrast_phase != before:
        raise Conflict(
            f"The contrast phase was changed to {case.contrast_phase} meanwhile. Nothing was "
            "changed; look at the case again."
        )
    case.contrast_phase = after
    Event.record(session, user.name, _PHASE, str(case.id), before=before, after=after)


def rename(session: Session, case: Case, user: User, pseudonym: str) -> None:
    """Give the case another pseudonym. A patient known by an HMAC stays the same patient.

    Without an HMAC the pseudonym is all that says which patient it is: the case then belongs to
    the patient of the new pseudonym.

    Raises:
        Forbidden: not the uploader nor an administrator.
        Unreadable: no pseudonym.
        Conflict: it is that already; another patient has it; or what was frozen or is being read
            knows the patient by the old one.
    """
    _held(session, case)
    _refuse_others(case, user, _PSEUDONYM)
    wanted = pseudonym.strip()
    if not PSEUDONYM.fullmatch(wanted):
        raise Unreadable(
            "The pseudonym may have 1 to 40 letters, digits, spaces and . : + - _ ."
        ).about("pseudonym")
    if wanted == case.pseudonym:
        raise Conflict("That is the pseudonym already; nothing was changed.")
    if Case.is_of_another(session, wanted, case.patient_hmac):
        raise Conflict(
            f"Another patient is called {wanted} already: two patients under one pseudonym could "
            "be taken for one. Choose another."
        ).about("pseudonym")
    if case.patient_hmac is None:
        _refuse_bound(session, case)
    case.pseudonym = wanted
    Event.record(session, user.name, _PSEUDONYM, str(case.id))


def of_same_patient(session: Session, case: Case) -> int:
    """How many other cases here are of the same patient under another pseudonym."""
    if case.patient_hmac is None:
        return 0
    return session.execute(
        sa.select(sa.func.count())
        .select_from(Case)
        .where(
            Case.patient_hmac == case.patient_hmac,
            Case.id != case.id,
            Case.pseudonym != case.pseudonym,
        )
    ).scalar_one()


def _held(session: Session, case: Case) -> None:
    """Two corrections at once follow each other, and the second sees the first.

    Raises:
        Conflict: the case is being deleted.
    """
    session.execute(sa.select(Case.id).where(Case.id == case.id).with_for_update())
    refuse_leaving(session, case.id)
    session.refresh(case, ["contrast_phase", "pseudonym"])


def _refuse_others(case: Case, user: User, kind: str) -> None:
    if not may_correct(case, user):
        raise Forbidden(
            "Only the person who uploaded the case, or an administrator, can correct it.",
            event=f"{kind.removesuffix('ed')}ion refused",
        )


def _refuse_bound(session: Session, case: Case) -> None:
    lesions = set(session.scalars(sa.select(Lesion.id).where(Lesion.case_id == case.id)))
    if session.scalar(sa.select(sa.exists().where(Stimulus.lesion_id.in_(lesions)))):
        raise Conflict(
            "A lesion of this case is in a reader study, which tells its patients apart by their "
            "pseudonyms. The pseudonym stays."
        )
    for version in DatasetVersion.all(session):
        if lesions & version.classes(session).keys():
            raise Conflict(
                f"A lesion of this case is in the dataset version {version.name}, which knows its "
                "patient by this pseudonym: under another, the same patient could be trained and "
                "tested on. The pseudonym stays."
            )
