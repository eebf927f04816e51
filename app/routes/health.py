"""Whether the installation lives, and whether it can work."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from app.models.checkpoint import Checkpoint
from app.settings import VERSION

router = APIRouter(prefix="/health", tags=["health"])


@router.get("/live")
def live() -> dict[str, str]:
    """The process answers."""
    return {"status": "live", "version": VERSION}


@router.get("/ready")
def ready(request: Request) -> Response:
    """200 when the database is at the newest schema and a classifier is served; else 503."""
    database = request.app.state.database
    try:
        migrated = database.is_migrated()
        with database.reading() as session:
            served = [row.name for row in Checkpoint.served(session, "classifier")]
    except Exception:
        return JSONResponse({"status": "the database does not answer"}, 503)
    if not migrated or not served:
        missing = "the schema is not migrated" if not migrated else "no classifier is served"
        return JSONResponse({"status": missing}, 503)
    return JSONResponse({"status": "ready", "version": VERSION, "classifiers": served})
