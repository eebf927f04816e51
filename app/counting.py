"""Requests counted and logged by route and status; nothing of who asked, or for which case.

Plain numbers, for this is on the way of every request; `app.operation.metrics` gives them out.
"""

from __future__ import annotations

import logging
import threading
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("hepatica.request")

BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the classes of duration."""
_UNKNOWN = "unknown"
"""The route of an address at which there is nothing: what was typed is nobody's business."""


@dataclass
class Durations:
    """How long answers took: how many in each class of `BOUNDS_S` and above, and all together."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    sum_s: float = 0.0


class Requests:
    """The requests of one process since it began."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.answered: Counter[tuple[str, str, int]] = Counter()
        """(method, route, status) → how many."""
        self.took: dict[tuple[str, str], Durations] = {}
        """(method, route) → how long."""
        self.running = 0
        self.since = datetime.now(UTC)
        """When the process began to count."""

    def note(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one that was answered."""
        with self._lock:
            self.answered[method, route, status] += 1
            durations = self.took.setdefault((method, route), Durations())
            durations.counts[bisect_left(BOUNDS_S, seconds)] += 1
            durations.sum_s += seconds


class Computed:
    """What the networks of one process have scored since it began."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.rois = 0
        self.seconds = 0.0

    def note(self, rois: int, seconds: float) -> None:
        """Count one call of a network."""
        with self._lock:
            self.rois += rois
            self.seconds += seconds


class Counted:
    """Counts and logs every request; outside of those that refuse, so that this is counted too."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, and count the answer once its head is sent; 499 where nobody waited for it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        requests: Requests = scope["app"].state.requests
        begun, status = perf_counter(), 499

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        requests.running += 1
        try:
            await self.app(scope, receive, watched)
        finally:
            requests.running -= 1
            route = route_of(scope)
            seconds = perf_counter() - begun
            requests.note(scope["method"], route, status, seconds)
            told = {"method": scope["method"], "route": route, "status": status}
            log.log(_level(scope["path"], status), "answered", extra={**told, "ms": _ms(seconds)})


def route_of(scope: Scope) -> str:
    """The route that answered, such as ``/cases/{case_id}``: never the address itself."""
    found = scope.get("fastapi", {}).get("effective_route_context") or scope.get("route")
    return str(getattr(found, "path", _UNKNOWN))


def _level(path: str, status: int) -> int:
    """Of its line in the log; what probes and every page ask for all the time is of no interest."""
    if status >= 500:
        return logging.WARNING
    return logging.DEBUG if path.startswith(("/health/", "/static/")) else logging.INFO


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
