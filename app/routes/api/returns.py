"""``/api/v1/cases/{id}/returns``: what was said of a case's lesions goes back to its PACS."""

from __future__ import annotations

import uuid
from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from app.auth import Program
from app.db import Db, ReadDb
from app.errors import Conflict, Forbidden, NotFound
from app.models.cases.case import Case
from app.models.jobs.returned_object import ReturnedObject
from app.objects import said
from app.objects.said import Account, By
from app.pacs import outbox
from app.routes.api.problems import problems, refuse_query
from app.routes.api.reports import refuse

router = APIRouter(tags=["returns"])

Kind = Literal["sr", "pr", "sc"]


class ReturnOrder(BaseModel):
    """Whose words are to be sent, and as which objects."""

    model_config = ConfigDict(extra="forbid")

    by: By = Field(By.NETWORK, description="network or radiologist; of each of these an object.")
    formats: list[Kind] = Field(
        ["sr", "pr", "sc"],
        min_length=1,
        max_length=3,
        description="Structured report, presentation state, secondary captures.",
    )
    pacs: str = Field(
        "", max_length=40, description="A configured PACS; needed where several might be meant."
    )


class ReturnAnswer(BaseModel):
    """One object on its way back."""

    format: str
    by: str
    pacs: str
    state: str = Field(description="waiting, sent (a search there finds it) or given up.")
    tries: int
    error: str | None = Field(description="Why the last try failed.")


class Returns(BaseModel):
    """What was ordered for a case, in its order."""

    returns: list[ReturnAnswer]


@router.post(
    "/cases/{case_id}/returns", summary="Send what was said back", responses=problems(409, 413)
)
def order(
    request: Request, program: Program, db: Db, case_id: uuid.UUID, wanted: ReturnOrder
) -> Returns:
    """Each object is stored at the PACS that the case came from, and looked for there.

    Tried again for a day, then given up; ordered again it is the same object, which a PACS keeps
    once. Only where an administrator allows results to be returned.
    """
    refuse_query(request)
    if not program.may("researcher"):
        raise Forbidden("Returning results needs a token with the reach of a researcher.")
    case = _case(db, case_id)
    refuse(request, db, program, case)
    state = request.app.state
    pacs, link = outbox.destination(db, state.pacs, case, state.key, wanted.pacs)
    accounts = _accounts(db, case, wanted.by)
    kinds = list(dict.fromkeys(wanted.formats))
    rows = outbox.order(db, pacs, link, accounts, kinds, by=program.actor, key=state.key)
    state.messenger.ring()
    return Returns(returns=[_told(row) for row in rows])


@router.get("/cases/{case_id}/returns", summary="Ask what became of what is sent back")
def index(request: Request, program: Program, db: ReadDb, case_id: uuid.UUID) -> Returns:
    """Every object that was ordered for the case."""
    refuse_query(request)
    case = _case(db, case_id)
    refuse(request, db, program, case)
    return Returns(returns=[_told(row) for row in ReturnedObject.of_case(db, case.id)])


def _case(session: Session, case_id: uuid.UUID) -> Case:
    case = session.get(Case, case_id)
    if case is None:
        raise NotFound("There is no such case.")
    return case


def _accounts(session: Session, case: Case, by: By) -> list[Account]:
    network = by == By.NETWORK
    found = said.by_networks(session, case)[:1] if network else said.by_radiologists(session, case)
    if not found:
        what = "scored by a network" if network else "reviewed"
        raise Conflict(f"No lesion of this case was {what} yet. Mark lesions, then ask again.")
    return found


def _told(row: ReturnedObject) -> ReturnAnswer:
    return ReturnAnswer(
        format=row.kind,
        by=row.said_by,
        pacs=row.pacs,
        state=row.state.value,
        tries=row.tries,
        error=row.error,
    )
