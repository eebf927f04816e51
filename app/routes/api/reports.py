"""``GET /api/v1/cases/{id}/report``: what was said of a case's lesions, as objects for a PACS."""

from __future__ import annotations

import uuid
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydicom.dataset import Dataset
from sqlalchemy.orm import Session
from starlette.responses import JSONResponse, Response

from app.auth import Machine, Program
from app.db import ReadDb
from app.errors import Conflict, Forbidden, NotFound
from app.models.cases.case import Case
from app.models.cases.measure import Measure
from app.models.cases.review import Review
from app.models.reader_studies.enrolment import Enrolment
from app.objects import frames, said
from app.objects.part10 import written
from app.objects.related import DICOM, Writing
from app.objects.said import Account, By
from app.routes.api.problems import problems, refuse_unread

router = APIRouter(tags=["reports"])


_MEASURED = ("px", "mm", "n", "mean", "sd", "low", "high", "mm2")
"""Of a length px and mm, of a region the rest; the others are null."""


class Format(StrEnum):
    """Which object is wanted."""

    SR = "sr"
    PR = "pr"
    SC = "sc"
    JSON = "json"


@router.get(
    "/cases/{case_id}/report",
    summary="What was said of a case's lesions",
    responses={
        200: {
            "description": "Comprehensive SR, presentation state or secondary captures as DICOM "
            "(several as multipart/related), or JSON.",
            "content": {"application/dicom": {}, "multipart/related": {}, "application/json": {}},
        },
        **problems(409),
    },
)
def case_report(
    request: Request,
    program: Program,
    db: ReadDb,
    case_id: uuid.UUID,
    format: Annotated[Format, Query(description="sr, pr, sc or json.")] = Format.SR,
    by: Annotated[
        By, Query(description="Whose words: the network's, or the radiologists' reviews.")
    ] = By.NETWORK,
) -> Response:
    """Made of what is kept: asked for again it is the same object under the same UIDs.

    The network's words are those of the checkpoint that scored the case last; of radiologists each
    has an object of their own. All refer to the images as `/dicomweb` gives them.
    """
    refuse_unread(request, "format", "by")
    case = db.get(Case, case_id)
    if case is None:
        raise NotFound("There is no such case.")
    refuse(request, db, program, case)
    request.app.state.witness.opened(program.actor, case.id)
    if by == By.NETWORK:
        accounts, nothing = said.by_networks(db, case)[:1], "scored by a network"
    else:
        accounts, nothing = said.by_radiologists(db, case), "reviewed"
    if not accounts:
        raise Conflict(f"No lesion of this case was {nothing} yet. Mark lesions, then ask again.")
    if format == Format.JSON:
        return JSONResponse({"accounts": [_json(account) for account in accounts]})
    key = request.app.state.key
    objects = [made for account in accounts for made in _objects(db, account, format, key)]
    files = [written(made) for made in objects]
    if len(files) == 1:
        name = f"hepatica-{format}-{case.id}.dcm"
        return Response(
            files[0],
            media_type=DICOM,
            headers={"content-disposition": f'attachment; filename="{name}"'},
        )
    body = Writing(DICOM)
    content = b"".join(body.written((file, "") for file in files))
    return Response(content, headers={"content-type": body.content_type})


def refuse(request: Request, db: Session, program: Machine, case: Case) -> None:
    """Refuse who reads blind, and who has not given their own class where that comes first."""
    Enrolment.refuse_case_to(db, program.owner_id, case.id)
    if program.owner_id is None or not request.app.state.settings.review_first:
        return
    for lesion in said.lesions(db, case):
        if Review.current(db, lesion.id, program.owner_id) is None:
            raise Forbidden(
                f"Lesion {lesion.number} has no class of yours yet, and yours comes first here. "
                "Review it, or ask with a token that acts for nobody."
            )


def _objects(db: Session, account: Account, format: Format, key: bytes) -> list[Dataset]:
    # highdicom takes 0.3 s to import, which no start of the server is to wait for
    from app.objects import capture, presentation, report

    if format == Format.SR:
        return [report.made(account, key)]
    if format == Format.PR:
        return presentation.made(account, key)
    return capture.made(db, account, key)


def _measure(one: Measure) -> dict[str, object]:
    """A measure that is kept with a lesion; HU where its image is in HU, else grey values."""
    return {
        "kind": one.kind,
        "image_uid": one.image.uid,
        "points": one.points,
        "unit": "HU" if one.image.calibrated else "grey",
        **{name: getattr(one, name) for name in _MEASURED},
    }


def _json(account: Account) -> dict[str, object]:
    return {
        "case": str(account.case.id),
        "study_uid": account.case.uid,
        "by": account.by,
        "name": account.name,
        "version": account.version,
        "at": account.at.isoformat(),
        "lesions": [
            {
                "number": one.lesion.number,
                "lesion": str(one.lesion.id),
                "image_uid": one.image.uid,
                "box": [one.box.x, one.box.y, one.box.width, one.box.height],
                "lesion_class": one.lesion_class,
                "finding": {
                    "value": one.finding.value,
                    "scheme": one.finding.scheme,
                    "meaning": one.finding.meaning,
                },
                "scores": {score.lesion_class: score.value for score in one.scores},
                "calibrated": one.calibrated,
                "cannot_be_excluded": one.left_open or None,
                "unlike_training": one.unlike,
                "assessment": one.assessment,
                "score_was_seen": None if one.assessment is None else not one.unseen,
                "confidence": one.confidence,
                "warnings": list(one.warnings),
                "measures": [_measure(measure) for measure in one.measures],
            }
            for one in account.statements
        ],
        "limits": frames.CAUTION,
    }
