"""Promotions: every server process serves the classifier that was promoted last."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from starlette.testclient import TestClient

from app import inference
from app.db import Database
from app.main import create_app
from app.models import ApiToken, Blob, Checkpoint, User
from app.settings import Settings
from factories import make_png

ORIGIN = "http://testserver"
SECOND = "retrained"


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only when they are told to."""
    passed = [1000.0]
    monkeypatch.setattr(inference, "monotonic", lambda: passed[0])
    return passed


@pytest.fixture
def database(tmp_path, checkpoints):
    """A database in a file with a served classifier and a second one that is not."""
    database = Database(f"sqlite:///{tmp_path}/shared.sqlite3")
    database.migrate()
    with database.transaction() as session:
        for folder in checkpoints:
            Checkpoint.register(session, folder, "tests")
        first = Checkpoint.classifier(session)
        # another text in the file's description: another file, the same network
        onnx = first.onnx(session) + b"\x32\x06second"
        session.add(
            Checkpoint(
                name=SECOND,
                kind=first.kind,
                training_kind=first.training_kind,
                dataset_digest=first.dataset_digest,
                meta={**first.meta, "name": SECOND},
                card=first.card,
                onnx_digest=Blob.store(session, onnx, "application/onnx"),
                weights_digest=first.weights_digest,
                trust_digest=first.trust_digest,
            )
        )
        User.add(session, "rita", "admin", "correct horse")
    yield database
    database.engine.dispose()


@pytest.fixture
def processes(database, clock):
    """Two server processes on one database: a browser of the first, an API client of each."""
    settings = Settings(
        database_url=str(database.engine.url),
        installation_key="a key for tests, thirty-two characters or more",
    )
    with database.transaction() as session:
        token = {"authorization": f"Bearer {ApiToken.add(session, 'machine', 'machine')}"}
    with ExitStack() as stack:
        apps = [create_app(settings) for _ in range(2)]
        clients = [stack.enter_context(TestClient(one, headers=token)) for one in apps]
        browser = TestClient(
            apps[0], base_url=ORIGIN, headers={"origin": ORIGIN}, follow_redirects=False
        )
        browser.post("/sessions", data={"name": "rita", "password": "correct horse"})
        yield browser, *clients


def scored_by(client) -> str:
    reply = client.post("/api/v1/classifications", files={"image": ("roi.png", make_png())})
    assert reply.status_code == 200, reply.text
    return reply.json()["checkpoint"]


def test_a_promotion_and_a_retirement_reach_every_process_within_seconds(
    database, processes, clock
):
    browser, here, there = processes
    first = scored_by(here)
    assert scored_by(there) == first != SECOND

    assert browser.post(f"/checkpoints/{SECOND}/promotion").status_code == 303
    assert scored_by(here) == SECOND  # at once where it was promoted
    clock[0] += inference.ASK_EVERY_S
    assert scored_by(there) == SECOND

    assert browser.post(f"/checkpoints/{SECOND}/retirement").status_code == 303
    assert scored_by(here) == first
    clock[0] += inference.ASK_EVERY_S
    assert scored_by(there) == first


def test_the_database_is_not_asked_at_every_classification(processes, clock, monkeypatch):
    _, here, _ = processes
    asked = []
    served = Checkpoint.served

    def counted(session, kind):
        asked.append(kind)
        return served(session, kind)

    monkeypatch.setattr(Checkpoint, "served", staticmethod(counted))
    for _ in range(5):
        scored_by(here)
    assert len(asked) <= 1
    clock[0] += inference.ASK_EVERY_S
    for _ in range(5):
        scored_by(here)
    assert len(asked) <= 2


def test_a_checkpoint_that_cannot_be_loaded_is_not_promoted(database, processes):
    browser, here, _ = processes
    first = scored_by(here)
    with database.transaction() as session:
        row = Checkpoint.require(session, SECOND)
        row.onnx_digest = Blob.store(session, b"no network", "application/onnx")
    assert browser.post(f"/checkpoints/{SECOND}/promotion").status_code == 422
    with database.reading() as session:
        assert Checkpoint.require(session, SECOND).served_since is None
    assert scored_by(here) == first
