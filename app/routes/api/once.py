"""``Idempotency-Key``: a call that is sent again is answered with what was answered first.

draft-ietf-httpapi-idempotency-key-header. The same request is told by what it says and not by its
bytes: a form has another boundary each time it is sent.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from fastapi import Request
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from app.auth import Machine
from app.errors import BadRequest
from app.models.cases.case import keyed
from app.models.jobs.kept_answer import Answer, KeptAnswer

_KEY = re.compile(r'"([\x20-\x21\x23-\x5b\x5d-\x7e]{1,255})"|([!#-\x2b\x2d-\x3a\x3c-\x7e]{1,255})')
_KEPT = ("content-type", "location", "preference-applied", "retry-after", "content-disposition")
REPLAYED = "idempotency-replayed"

PARAMETER = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Of your choice, up to 255 characters: the same call sent again under it is "
    "not done again, but answered as it was. With another request it is refused with 422, while "
    "the first is under way with 409.",
    "schema": {"type": "string", "maxLength": 257},
}
"""For a route's description."""


@dataclass
class Pledge:
    """A call under a key: its answer is kept with what it did."""

    claim: uuid.UUID | None
    kept: bool = False

    def keep(self, session: Session, response: Response) -> None:
        """Keep the answer in the transaction of what was done; nothing without a key."""
        if self.claim is not None:
            KeptAnswer.finish(session, self.claim, _answer(response))
            self.kept = True


Act = Callable[[Pledge], Awaitable[Response]]


async def once(
    request: Request,
    program: Machine,
    said: Callable[[], Sequence[bytes]],
    act: Act,
    may_still: Callable[[], Awaitable[None]] | None = None,
) -> Response:
    """The answer of ``act``, or the one that is kept under the request's key.

    Args:
        said: what the request says, in a fixed form; method, address, Accept and Prefer are added.
            Asked only where there is a key.
        act: does it; may keep its answer itself, in its own transaction.
        may_still: refuses whoever may not see the kept answer any more.

    Raises:
        BadRequest: the key is none.
        Unreadable, Conflict: as `KeptAnswer.begin`.
    """
    key = _key(request)
    if key is None:
        return await act(Pledge(None))
    claim = uuid.uuid4()
    database = request.app.state.database
    secret: bytes = request.app.state.key
    # a key that somebody made of an accession number, and a digest of images, are kept as HMACs
    kept_key = keyed(f"idempotency {key}", secret)
    hours: float = request.app.state.settings.answers_kept_hours
    digest = keyed(await run_in_threadpool(_digest, request, said), secret)

    def begin() -> Answer | None:
        with database.transaction() as session:
            return KeptAnswer.begin(session, program.holder.scope, kept_key, digest, claim, hours)

    def let_go() -> None:
        with database.transaction() as session:
            KeptAnswer.let_go(session, claim)

    def keep(pledge: Pledge, response: Response) -> None:
        with database.transaction() as session:
            pledge.keep(session, response)

    kept = await run_in_threadpool(begin)
    if kept is not None:
        if may_still is not None:
            await may_still()
        return Response(kept.body, kept.status, {**kept.headers, REPLAYED: "true"})
    pledge = Pledge(claim)
    try:
        response = await act(pledge)
        if not pledge.kept:
            await run_in_threadpool(keep, pledge, response)
    except Exception:
        await run_in_threadpool(let_go)
        raise
    return response


def _key(request: Request) -> str | None:
    told = request.headers.getlist("idempotency-key")
    if not told:
        return None
    found = _KEY.fullmatch(told[0].strip()) if len(told) == 1 else None
    if found is None:
        raise BadRequest(
            "The Idempotency-Key must be sent once, as 1 to 255 visible characters, with or "
            "without quotation marks around it."
        )
    return found[1] or found[2]


def _digest(request: Request, said: Callable[[], Sequence[bytes]]) -> str:
    asked = [
        request.method,
        request.url.path,
        request.url.query,
        ",".join(request.headers.getlist("accept")),
        ",".join(request.headers.getlist("prefer")),
    ]
    digest = hashlib.sha256(json.dumps(asked).encode())
    for part in said():
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()


def _answer(response: Response) -> Answer:
    headers = {name: response.headers[name] for name in _KEPT if name in response.headers}
    return Answer(response.status_code, headers, bytes(response.body))
