"""Whether the installation lives, whether it can work, and how it is in numbers.

Both are asked by machines, which restart what does not answer: neither may wait behind the work of
others. `live` and `start` need no thread and no database; `ready` has threads and a connection of
its own.
"""

from __future__ import annotations

import anyio
import anyio.to_thread
from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from app.auth import Program
from app.db import Database
from app.errors import Unavailable
from app.models.checkpoint import Checkpoint
from app.operation.metrics import Metrics
from app.settings import VERSION
from ml.checkpoints.checkpoint import CheckpointKind

router = APIRouter(prefix="/health", tags=["health"])

metrics_router = APIRouter(include_in_schema=False)

READY_WITHIN_S = 4.0
_AT_ONCE = 2


@router.get("/live")
async def live() -> dict[str, str]:
    """The process answers."""
    return {"status": "live", "version": VERSION}


@router.get("/start")
async def start() -> dict[str, str]:
    """The start is over. Until then `app.starting` answers 503 here, and says what it does."""
    return {"status": "started", "version": VERSION}


@router.get("/ready")
async def ready(request: Request) -> Response:
    """200 when the database can be worked with and a classifier is served; else 503 and why."""
    state = request.app.state
    if not hasattr(state, "looks"):
        state.looks = anyio.CapacityLimiter(_AT_ONCE)
    body: dict[str, object] = {"status": "the database does not answer in time"}
    with anyio.move_on_after(READY_WITHIN_S):
        body = await anyio.to_thread.run_sync(
            _look, state.database, limiter=state.looks, abandon_on_cancel=True
        )
    if body["status"] == "ready":
        return JSONResponse(body)
    return JSONResponse(body, 503, {"retry-after": "5"})


@metrics_router.get("/metrics")
def metrics(request: Request, program: Program) -> Response:
    """Numbers for Prometheus; whoever asks needs a token, of a machine for example."""
    state = request.app.state
    numbers = Metrics(state.database, state.settings, state.counts.all())
    body, media_type = numbers.text()
    return Response(body, headers={"content-type": media_type})


def _look(database: Database) -> dict[str, object]:
    try:
        with database.glance() as session:
            fault = database.fault(session)
            if fault is not None:
                return {"status": fault}
            served = [row.name for row in Checkpoint.served(session, CheckpointKind.CLASSIFIER)]
    except Unavailable as error:
        return {"status": error.detail}
    if not served:
        return {"status": "no classifier is served"}
    return {"status": "ready", "version": VERSION, "classifiers": served}
