"""The server is killed while readers answer: what was acknowledged is there, once, in order."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlencode

import numpy as np
import pytest
import sqlalchemy as sa

import forked
import studies
from app.cookies import SESSION
from app.db import Database
from app.models import Reading, SignIn, Trial
from app.models.reader_studies.enrolment import Enrolment

pytestmark = pytest.mark.timeout(600)
PATIENCE_S = 540
"""For a machine that does much else; nothing waits so long where all is well."""


class Server:
    """The application in a process of its own, which can be killed and started again."""

    def __init__(self, database_url: str, folder) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._environment = {
            **os.environ,
            "HEPATICA_DATABASE_URL": database_url,
            "HEPATICA_INSTALLATION_KEY_FILE": f"{folder}/installation.key",
            "OMP_NUM_THREADS": "1",
        }
        self._log = (folder / "server.log").open("ab")
        self.start()

    def start(self) -> None:
        log = self._log.fileno()
        self.process = forked.uvicorn(
            "app.main:create_app", "--factory", "--port", str(self.port), "--no-access-log",
            env=self._environment, stdout=log, stderr=log,
        )  # fmt: skip
        for _ in range(600):
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended by itself: see {self._log.name}")
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise RuntimeError("the server did not start")

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(20)

    def close(self) -> None:
        self.kill()
        self._log.close()


@dataclass
class Desk:
    """A browser as far as answers go: one at a time, the same key until it is acknowledged."""

    port: int
    token: str
    cookie: str
    seed: int
    until: float
    acknowledged: list[tuple[str, str, int, str]] = field(default_factory=list)
    sent_again: int = 0
    fault: str = ""

    def read(self) -> None:
        """Answer every trial; a fault ends it and is kept."""
        rng = np.random.default_rng(self.seed)
        try:
            desk = self._until_answered("GET", {})[1]
            while desk["state"] == "reading":
                trial = desk["upcoming"][0]
                place = trial["position"]
                rating = int(rng.integers(1, 7))
                named = ("cyst", "metastasis", "hemangioma")[int(rng.integers(3))]
                key = f"{self.seed}-{place}"
                answer = {
                    "trial": trial["token"], "key": key, "rating": rating,
                    "lesion_class": named, "active_ms": 900,
                }  # fmt: skip
                status, desk = self._until_answered("POST", answer)
                if status not in (200, 201):
                    raise RuntimeError(f"trial {place}: {status} {desk}")
                self.acknowledged.append((trial["token"], key, rating, named))
        except Exception as error:
            self.fault = f"{type(error).__name__}: {error}"

    def _until_answered(self, method: str, body: dict) -> tuple[int, dict]:
        while time.monotonic() < self.until:
            try:
                return self.once(method, body)
            except (OSError, http.client.HTTPException):
                self._connection.close()
                self.sent_again += 1
                time.sleep(0.25)
        raise RuntimeError("the server did not come back in time")

    def once(self, method: str, body: dict) -> tuple[int, dict]:
        """One request; raises where no whole answer came back."""
        headers = {
            "Accept": "application/json",
            "Origin": f"http://127.0.0.1:{self.port}",
            "Cookie": f"{SESSION}={self.cookie}",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        self._connection.request(method, f"/readings/{self.token}", urlencode(body), headers)
        reply = self._connection.getresponse()
        return reply.status, json.loads(reply.read())

    def __post_init__(self) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)


@dataclass
class Prepared:
    desks: list[tuple[str, str]]
    orders: dict


def prepare(database: Database, readers: int, images: int) -> Prepared:
    """An open study of ``images`` with readers who have checked in and signed in."""
    with database.transaction() as session:
        people = [studies.make_user(session, f"reader{n}") for n in range(readers)]
        half = images // 2
        study = studies.make_study(
            session, *people, per_class=-(-half // 3), real=half, synthetic=images - half
        )
        cookies = [SignIn.begin(session, one, 1.0) for one in people]
        tokens = [one.token for one in Enrolment.of_study(session, study.id)]
    return Prepared(list(zip(tokens, cookies, strict=True)), orders_in(database))


def orders_in(database: Database) -> dict:
    """(enrolment, position) → (trial, stimulus), as stored."""
    with database.reading() as session:
        rows = session.execute(
            sa.select(Trial.enrolment_id, Trial.position, Trial.id, Trial.stimulus_id)
        )
        return {(enrolment, place): (trial, image) for enrolment, place, trial, image in rows}


def read_while_killed(
    server: Server, prepared: Prepared, trials: int, kills: int, seed: int
) -> list[Desk]:
    """Let every reader answer; kill the server ``kills`` times at random instants on the way."""
    until = time.monotonic() + PATIENCE_S
    desks = [
        Desk(server.port, token, cookie, number, until)
        for number, (token, cookie) in enumerate(prepared.desks)
    ]
    threads = [threading.Thread(target=desk.read, daemon=True) for desk in desks]
    for thread in threads:
        thread.start()
    rng = np.random.default_rng(seed)
    for after in sorted(rng.integers(1, int(0.95 * trials), kills).tolist()):
        while sum(len(desk.acknowledged) for desk in desks) < after:
            if time.monotonic() > until or not any(thread.is_alive() for thread in threads):
                break
            time.sleep(0.005)
        time.sleep(float(rng.uniform(0, 0.02)))
        server.kill()
        server.start()
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    assert not any(thread.is_alive() for thread in threads), "some readers never came to the end"
    return desks


def check(database: Database, prepared: Prepared, desks: list[Desk], trials: int) -> None:
    assert [desk.fault for desk in desks if desk.fault] == []
    acknowledged = {
        (token, key): (rating, named)
        for desk in desks
        for token, key, rating, named in desk.acknowledged
    }
    assert len(acknowledged) == trials
    assert sum(desk.sent_again for desk in desks) > 0, "no answer was ever interrupted"
    with database.reading() as session:
        rows = session.execute(
            sa.select(
                Trial.token, Trial.enrolment_id, Trial.position, Reading.idempotency_key,
                Reading.rating, Reading.lesion_class, Reading.answered_at, Reading.revision,
            )
            .join(Reading, Reading.trial_id == Trial.id)
            .order_by(Trial.enrolment_id, Trial.position)
        ).all()  # fmt: skip
        finished = session.scalars(sa.select(Enrolment.finished_at)).all()
    stored = {(row.token, row.idempotency_key): (row.rating, row.lesion_class) for row in rows}
    assert stored == acknowledged
    assert set(Counter(row.token for row in rows).values()) == {1}
    assert {row.revision for row in rows} == {1}
    assert all(finished)
    assert orders_in(database) == prepared.orders
    for one in {row.enrolment_id for row in rows}:
        mine = [row for row in rows if row.enrolment_id == one]
        assert [row.position for row in mine] == list(range(1, trials // len(desks) + 1))
        assert [row.answered_at for row in mine] == sorted(row.answered_at for row in mine)


@contextmanager
def installation(url: str, folder) -> Iterator[tuple[Server, Database]]:
    """A served database with its schema."""
    database = Database(url)
    database.migrate()
    server = Server(url, folder)
    try:
        yield server, database
    finally:
        server.close()
        database.engine.dispose()


def test_every_acknowledged_answer_is_kept_once_through_a_kill(tmp_path):
    with installation(f"sqlite:///{tmp_path}/killed.sqlite3", tmp_path) as (server, database):
        prepared = prepare(database, readers=4, images=8)
        desks = read_while_killed(server, prepared, trials=32, kills=1, seed=11)
        check(database, prepared, desks, 32)


@pytest.mark.chaos
def test_sqlite_keeps_every_acknowledged_answer_of_20_readers_once_through_kills(tmp_path):
    with installation(f"sqlite:///{tmp_path}/killed.sqlite3", tmp_path) as (server, database):
        prepared = prepare(database, readers=20, images=16)
        desks = read_while_killed(server, prepared, trials=320, kills=3, seed=11)
        check(database, prepared, desks, 320)


@pytest.mark.chaos
def test_postgresql_keeps_every_acknowledged_answer_once_through_kills(tmp_path, postgres):
    with installation(postgres, tmp_path) as (server, database):
        prepared = prepare(database, readers=6, images=24)
        desks = read_while_killed(server, prepared, trials=144, kills=2, seed=12)
        check(database, prepared, desks, 144)
