"""QIDO-RS: what is kept can be searched (PS3.18 10.6)."""

from __future__ import annotations

import json

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.auth import Asker, Someone
from app.db import ReadDb
from app.dicomweb import addresses
from app.dicomweb.finding import Found, Level, Search
from app.dicomweb.matching import Query
from app.media import DICOM_JSON, JSON, Offer, chosen

router = APIRouter()

_ANSWERS = (Offer(DICOM_JSON), Offer(JSON))


@router.get("/studies")
def studies(request: Request, asker: Someone, db: ReadDb) -> Response:
    """Studies, the oldest first."""
    return _answer(request, _search(request, asker, Level.STUDY).found(db))


@router.get("/series")
def series(request: Request, asker: Someone, db: ReadDb) -> Response:
    """Series of all studies."""
    return _answer(request, _search(request, asker, Level.SERIES).found(db))


@router.get("/instances")
def instances(request: Request, asker: Someone, db: ReadDb) -> Response:
    """Instances of all studies."""
    return _answer(request, _search(request, asker, Level.INSTANCE).found(db))


@router.get("/studies/{study}/series")
def series_of_study(request: Request, asker: Someone, db: ReadDb, study: str) -> Response:
    """Series of a study."""
    return _answer(request, _search(request, asker, Level.SERIES, study).found(db))


@router.get("/studies/{study}/instances")
def instances_of_study(request: Request, asker: Someone, db: ReadDb, study: str) -> Response:
    """Instances of a study."""
    return _answer(request, _search(request, asker, Level.INSTANCE, study).found(db))


@router.get("/studies/{study}/series/{series}/instances")
def instances_of_series(
    request: Request, asker: Someone, db: ReadDb, study: str, series: str
) -> Response:
    """Instances of a series."""
    return _answer(request, _search(request, asker, Level.INSTANCE, study, series).found(db))


def _search(
    request: Request, asker: Asker, level: Level, study: str = "", series: str = ""
) -> Search:
    chosen(request, _ANSWERS)
    request.app.state.witness.searched(asker.name)
    return Search(
        level,
        Query.of(request.query_params.multi_items()),
        asker,
        addresses.root(request),
        request.app.state.key,
        study,
        series,
    )


def _answer(request: Request, found: Found) -> Response:
    """200 with the results, or 204 where there are none; the header Warning tells what else is."""
    warnings = ", ".join(f'299 hepatica "{text}"' for text in found.warnings)
    headers = {"warning": warnings.encode("ascii", "replace").decode()} if warnings else None
    if not found.results:
        return Response(status_code=204, headers=headers)
    body = json.dumps([one.to_json_dict() for one in found.results])
    return Response(body, media_type=chosen(request, _ANSWERS).kind, headers=headers)
