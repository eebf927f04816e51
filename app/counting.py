"""Requests counted and logged by route and status; nothing of who asked, or for which case.

Plain numbers, for this is on the way of every request; `app.operation.metrics` gives them out.
"""

from __future__ import annotations

import json
import logging
import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable
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


@dataclass
class Figures:
    """What web processes have counted, one or all of a server."""

    since: datetime
    """When the first of them began to count."""
    answered: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    """(method, route, status) → how many requests."""
    took: dict[tuple[str, str], Durations] = field(default_factory=dict)
    """(method, route) → how long they took."""
    running: int = 0
    """Requests that are being answered."""
    rois: int = 0
    """ROIs that networks have scored, and for how long."""
    seconds: float = 0.0

    def add(self, other: Figures) -> None:
        """Count what another process has counted as well."""
        self.since = min(self.since, other.since)
        self.answered.update(other.answered)
        for of, durations in other.took.items():
            own = self.took.setdefault(of, Durations())
            own.counts = [a + b for a, b in zip(own.counts, durations.counts, strict=True)]
            own.sum_s += durations.sum_s
        self.running += other.running
        self.rois += other.rois
        self.seconds += other.seconds

    def to_bytes(self) -> bytes:
        """For the other processes of the server."""
        return json.dumps(
            [
                self.since.isoformat(),
                [[*of, count] for of, count in self.answered.items()],
                [[*of, one.counts, one.sum_s] for of, one in self.took.items()],
                [self.running, self.rois, self.seconds],
            ]
        ).encode()

    @classmethod
    def of_bytes(cls, told: bytes) -> Figures:
        """What another process of this server told."""
        since, answered, took, (running, rois, seconds) = json.loads(told)
        return cls(
            datetime.fromisoformat(since),
            Counter({(method, route, status): n for method, route, status, n in answered}),
            {(method, route): Durations(counts, sum_s) for method, route, counts, sum_s in took},
            running,
            rois,
            seconds,
        )


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

    def figures(self) -> Figures:
        """A copy of what was counted."""
        with self._lock:
            took = {of: Durations([*one.counts], one.sum_s) for of, one in self.took.items()}
            return Figures(self.since, Counter(self.answered), took, self.running)

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


class Counts:
    """What all web processes of this server have counted, those that have ended as well.

    Of the others it is what they told last, a second ago at most.
    """

    def __init__(
        self,
        requests: Requests,
        computed: Computed,
        before: bytes = b"",
        others: Callable[[], Iterable[bytes]] = tuple,
    ) -> None:
        """Count on.

        Args:
            before: what the processes had counted whose place this one took.
            others: what those at other places have told.
        """
        self._requests = requests
        self._computed = computed
        self._before = Figures.of_bytes(before) if before else None
        if self._before is not None:
            self._before.running = 0
        self._others = others

    def own(self) -> Figures:
        """Of this place."""
        found = self._requests.figures()
        found.rois, found.seconds = self._computed.rois, self._computed.seconds
        if self._before is not None:
            found.add(self._before)
        return found

    def all(self) -> Figures:
        """Of the whole server."""
        found = self.own()
        for told in self._others():
            found.add(Figures.of_bytes(told))
        return found


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
