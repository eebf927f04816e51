"""Whether the installation lives and can work: asked by machines that restart what is silent."""

from __future__ import annotations

import http.client
import inspect
import os
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from app import database_file
from app.db import Database
from app.main import create_app
from app.models import Checkpoint, User
from app.routes import health
from app.settings import VERSION, Settings
from serving import Served, lock_held

KEY = "a key for tests, thirty-two characters or more"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "hepatica.sqlite3"


@pytest.fixture
def client(path, checkpoints):
    database = Database(f"sqlite:///{path}")
    database.migrate()
    with database.transaction() as session:
        for each in checkpoints:
            Checkpoint.register(session, each, "tests")
    database.engine.dispose()
    settings = Settings(database_url=f"sqlite:///{path}", installation_key=KEY)
    with TestClient(create_app(settings), raise_server_exceptions=False) as made:
        yield made


def status(client) -> tuple[int, str]:
    reply = client.get("/health/ready")
    return reply.status_code, reply.json()["status"]


def test_ready_is_not_waiting_for_whoever_writes_in_another_process(client, path):
    with lock_held(path):
        assert status(client) == (200, "ready")
    assert status(client) == (200, "ready")


@pytest.mark.long
def test_a_start_that_takes_long_says_what_it_does_and_since_when(tmp_path):
    """Here a migration waits for what another process writes; whoever asks must not restart it."""
    path = tmp_path / "hepatica.sqlite3"
    with lock_held(path):
        served = Served(f"sqlite:///{path}", tmp_path, HEPATICA_ROOT_PATH="/hepatica")
        try:
            said = _until(served, lambda one: "up to date" in str(one))
            assert said["status"] == "starting"
            assert datetime.fromisoformat(said["since"]) <= datetime.now(UTC)
            for root in ("", "/hepatica"):
                assert served.get(f"{root}/health/live")[0] == 200
                assert served.get(f"{root}/health/ready")[0] == 503
                status, words = served.get(f"{root}/cases?search=x")
                assert status == 503 and "Hepatica is starting" in words and "search" not in words
            assert served.post("/sessions", {"name": "ada"})[0] == 503
        except BaseException:
            served.close()
            raise
    try:
        assert served.wait().get("/hepatica/health/start") == (
            200, {"status": "started", "version": VERSION}
        )  # fmt: skip
        assert "hepatica is starting" not in served.log.lower()
    finally:
        served.close()


def _until(served: Served, says) -> dict[str, str]:
    for _ in range(600):
        with suppress(OSError, http.client.HTTPException):
            status, said = served.get("/health/start")
            assert status == 503
            if says(said):
                return said
        time.sleep(0.05)
    raise AssertionError(served.log)


@pytest.mark.long
def test_ready_and_live_answer_while_every_thread_of_the_server_waits(tmp_path):
    """More writers than threads wait for a lock that another process holds."""
    path = tmp_path / "hepatica.sqlite3"
    database = Database(f"sqlite:///{path}")
    database.migrate()
    with database.transaction() as session:
        User.add(session, "ada", "admin", "correct horse")
        bea = User.add(session, "bea", "reader", "correct horse").id
    server = Served(f"sqlite:///{path}", tmp_path).wait()
    replies, sent = [], threading.Semaphore(0)
    try:
        cookie = server.sign_in("ada", "correct horse")
        headers = {"Origin": f"http://127.0.0.1:{server.port}", "Cookie": cookie}

        def write() -> None:
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
            connection.request("POST", f"/users/{bea}/enabling", b"", headers)
            sent.release()
            replies.append(connection.getresponse().status)

        with lock_held(path):
            threads = [threading.Thread(target=write) for _ in range(24)]
            for thread in threads:
                thread.start()
            for _ in threads:
                assert sent.acquire(timeout=60)
            for _ in range(10):
                assert server.get("/health/live")[0] == 200
                assert server.get("/health/ready")[0] == 200
            assert replies == []  # the writers waited all the while
            # a line that does not move lets most of them go, so that people can read on
            assert server.get("/cases", Cookie=cookie)[0] == 200
            assert len(replies) < len(threads)
        for thread in threads:
            thread.join()
        assert set(replies) == {303, 503}
    finally:
        server.close()
        database.engine.dispose()


def test_live_takes_no_thread_and_no_database(client, path):
    assert inspect.iscoroutinefunction(health.live)
    path.unlink()
    assert client.get("/health/live").json()["status"] == "live"


def test_ready_says_when_the_disk_is_nearly_full(client, monkeypatch):
    def full(_path):
        return SimpleNamespace(f_bavail=1000, f_blocks=10**8, f_frsize=4096)

    monkeypatch.setattr(database_file.os, "statvfs", full)
    code, said = status(client)
    assert code == 503
    assert "nearly full: 4 MB are left" in said


def test_a_small_disk_with_room_is_not_called_full(client, monkeypatch):
    def small(_path):
        return SimpleNamespace(f_bavail=4000, f_blocks=5000, f_frsize=4096)

    monkeypatch.setattr(database_file.os, "statvfs", small)
    assert status(client)[0] == 200


def test_ready_says_when_the_file_can_only_be_read(client, path, monkeypatch):
    access = os.access
    monkeypatch.setattr(
        database_file.os,
        "access",
        lambda asked, mode: access(asked, mode) and not (asked == path and mode == os.W_OK),
    )
    code, said = status(client)
    assert (code, said) == (503, "the database can only be read")


def test_ready_says_when_the_schema_is_another(client, path):
    engine = sa.create_engine(f"sqlite:///{path}")
    for revision, words in (("0001", "older schema"), ("9999", "newer version")):
        with engine.begin() as connection:
            connection.execute(
                sa.text("UPDATE alembic_version SET version_num = :r"), {"r": revision}
            )
        code, said = status(client)
        assert code == 503
        assert words in said


def test_ready_says_when_no_classifier_is_served(client, path):
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE checkpoint SET served_since = NULL"))
    assert status(client) == (503, "no classifier is served")


def test_a_database_that_never_answers_is_given_up(client, monkeypatch):
    released = threading.Event()
    monkeypatch.setattr(health, "_look", lambda _database: released.wait(60) and {"status": "x"})
    monkeypatch.setattr(health, "READY_WITHIN_S", 0.1)
    try:
        code, said = status(client)
    finally:
        released.set()
    assert (code, said) == (503, "the database does not answer in time")


def test_ready_on_postgresql_says_when_it_can_only_be_read(postgres):
    database = Database(postgres)
    database.migrate()
    with database.glance() as session:
        assert database.fault(session) is None
    with database.engine.begin() as connection:
        name = connection.scalar(sa.text("SELECT current_database()"))
        connection.execute(
            sa.text(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
        )
    try:
        with database.glance() as session:
            assert database.fault(session) == "the database can only be read"
    finally:
        with database.engine.begin() as connection:
            connection.execute(sa.text("SET TRANSACTION READ WRITE"))
            connection.execute(
                sa.text(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
            )
        database.engine.dispose()
