"""The API described for people, rendered here: no script from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from sqlalchemy.orm import Session
from starlette.responses import JSONResponse, Response

from app.auth import Visitor
from app.db import ReadDb
from app.errors import Unauthorised
from app.models.people.user import User
from app.models.reader_studies.enrolment import Enrolment
from app.responses import page

router = APIRouter(include_in_schema=False)

EXAMPLES = {
    "GET /api/v1/info": 'curl -fsS -H "Authorization: Bearer $TOKEN" $HEPATICA/api/v1/info',
    "GET /api/v1/models/{name}": (
        'curl -fsS -H "Authorization: Bearer $TOKEN" $HEPATICA/api/v1/models/$MODEL'
    ),
    "GET /api/v1/models/{name}/card": (
        'curl -fsS -H "Authorization: Bearer $TOKEN" '
        '"$HEPATICA/api/v1/models/$MODEL/card?format=json"'
    ),
    "GET /api/v1/models/{name}/monitoring": (
        'curl -fsS -H "Authorization: Bearer $TOKEN" '
        '"$HEPATICA/api/v1/models/$MODEL/monitoring?kind=phantom"'
    ),
    "POST /api/v1/classifications": (
        'curl -fsS -H "Authorization: Bearer $TOKEN" '
        "-F image=@slice.dcm -F center=220,198 -F diameter_mm=28 $HEPATICA/api/v1/classifications"
    ),
    "POST /api/v1/fetches": (
        'curl -fsS -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" '
        """-d '{"study": "1.2.840.113619.2.5.1"}' $HEPATICA/api/v1/fetches"""
    ),
    "GET /api/v1/jobs": (
        'curl -fsS -H "Authorization: Bearer $TOKEN" "$HEPATICA/api/v1/jobs?state=done"'
    ),
    "GET /api/v1/jobs/{job_id}": (
        'curl -fsS -H "Authorization: Bearer $TOKEN" $HEPATICA/api/v1/jobs/$JOB'
    ),
    "POST /api/v1/jobs/{job_id}/cancellation": (
        'curl -fsS -X POST -H "Authorization: Bearer $TOKEN" '
        "$HEPATICA/api/v1/jobs/$JOB_THAT_WAITS/cancellation"
    ),
    "POST /api/v1/synthetics": (
        'curl -fsS -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" '
        """-d '{"lesion_class": "cyst", "count": 2, "seed": 7}' $HEPATICA/api/v1/synthetics"""
    ),
    "GET /api/v1/cases/{case_id}/report": (
        'curl -fsS -H "Authorization: Bearer $TOKEN" '
        '"$HEPATICA/api/v1/cases/$CASE/report?format=json&by=network"'
    ),
    "POST /api/v1/cases/{case_id}/returns": (
        'curl -sS -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" '
        """-d '{"by": "radiologist", "formats": ["sr"]}' $HEPATICA/api/v1/cases/$CASE/returns"""
    ),
    "GET /api/v1/cases/{case_id}/returns": (
        'curl -fsS -H "Authorization: Bearer $TOKEN" $HEPATICA/api/v1/cases/$CASE/returns'
    ),
    "POST /api/v1/plans": (
        'curl -fsS -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" '
        """-d '{"readers": "5", "cases": "120", "studies": "400"}' $HEPATICA/api/v1/plans"""
    ),
}
"""A command for each call; the tests run them."""


@router.get("/docs")
def docs(request: Request, user: Visitor, db: ReadDb) -> Response:
    """The calls of the API, from its OpenAPI schema; for strangers too.

    Raises:
        Unauthorised: a stranger, while a study is read by people who are not to know of all calls.
    """
    _refuse_stranger(user, db)
    schema = request.app.openapi()
    return page(request, "docs.html", calls=_calls(schema), schemas=schema["components"]["schemas"])


@router.get("/openapi.json")
def described(request: Request, user: Visitor, db: ReadDb) -> JSONResponse:
    """The same for machines.

    Raises:
        Unauthorised: as `docs`.
    """
    _refuse_stranger(user, db)
    return JSONResponse(request.app.openapi())


def _refuse_stranger(user: User | None, session: Session) -> None:
    if user is None and Enrolment.keeps_unaware(session):
        raise Unauthorised("Sign in to see this page.")


@dataclass(frozen=True)
class Field:
    """A field that a call's body may have."""

    name: str
    required: bool
    description: str


@dataclass(frozen=True)
class Call:
    """A call as the page describes it.

    Attributes:
        media_type: of its body; None where it has none.
        answer: the schema's name of what is answered; None where that is no JSON.
        example: a command that makes it.
    """

    name: str
    summary: str
    description: str
    media_type: str | None
    fields: tuple[Field, ...]
    answer: str | None
    example: str | None


def _calls(schema: Mapping[str, Any]) -> list[Call]:
    calls = []
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            name = f"{method.upper()} {path}"
            content = operation.get("requestBody", {}).get("content", {})
            calls.append(
                Call(
                    name=name,
                    summary=operation.get("summary", ""),
                    description=operation.get("description", ""),
                    media_type=next(iter(content), None),
                    fields=_fields(schema, content),
                    answer=_reference(operation["responses"].get("200", {}).get("content", {})),
                    example=EXAMPLES.get(name),
                )
            )
    return calls


def _fields(schema: Mapping[str, Any], content: Mapping[str, Any]) -> tuple[Field, ...]:
    for form in content.values():
        found = form["schema"]
        if "$ref" in found:
            found = schema["components"]["schemas"][found["$ref"].rsplit("/", 1)[1]]
        required = found.get("required", [])
        return tuple(
            Field(name, name in required, one.get("description", ""))
            for name, one in found["properties"].items()
        )
    return ()


def _reference(content: Mapping[str, Any]) -> str | None:
    for form in content.values():
        reference = form.get("schema", {}).get("$ref")
        if reference:
            return str(reference.rsplit("/", 1)[1])
    return None
