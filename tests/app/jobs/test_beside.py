"""A PACS that is slow keeps back neither what another one holds nor what is sent to another one."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

import pytest
import sqlalchemy as sa
from archive import Archive, uids
from bad_pacs import bad_pacs

from app.db import Database
from app.jobs.fetcher import Fetchers
from app.jobs.fetching import Wanted
from app.jobs.loop import Beside
from app.jobs.messenger import Messengers
from app.models import ApiToken, Checkpoint, Job, ReturnedObject
from app.models.cases.link import Link
from app.models.jobs.holder import Holder
from app.models.jobs.job import JobKind
from app.objects import said
from app.pacs import outbox
from app.pacs.configured import ConfiguredPacs, PacsSettings
from app.settings import Settings
from factories import make_dicom
from tests.app.pacs.test_outbox import KEY, SENT, answered_case

SETTINGS = Settings(installation_key=KEY.decode())


@pytest.fixture(params=["sqlite", "postgresql"])
def own(request, tmp_path):
    """A database that several threads may use."""
    on_postgres = request.param == "postgresql"
    url = f"sqlite:///{tmp_path}/own.sqlite3"
    database = Database(request.getfixturevalue("postgres") if on_postgres else url)
    database.migrate()
    yield database
    database.engine.dispose()


@contextmanager
def two_pacs(*held: bytes):
    """A slow PACS, which answers once the test lets it, and a quick one; both hold the same."""
    go = threading.Event()
    archive = Archive(held)

    def slow(asked):
        go.wait(60)
        return archive(asked)

    with bad_pacs(slow) as late, bad_pacs(Archive(held)) as soon:
        told = {"takes_results": True, "read_s": 90, "total_s": 90}
        named = {name: PacsSettings(name=name, url=pacs.url, **told)
                 for name, pacs in (("slow", late), ("quick", soon))}  # fmt: skip
        try:
            yield ConfiguredPacs(named), go
        finally:
            go.set()


@contextmanager
def going_on(loops: Beside):
    loops.start()
    try:
        yield
    finally:
        loops.stop()


def until(database: Database, query: sa.Select, wanted: list) -> None:
    """Returns once the database says so; fails after a minute."""
    for _ in range(1200):
        with database.reading() as session:
            found = [tuple(row) for row in session.execute(query)]
        if found == wanted:
            return
        time.sleep(0.05)
    raise AssertionError(f"{found}, and not {wanted}")


def test_fetches_of_different_pacs_do_not_wait_for_each_other(own):
    file = make_dicom()
    states = sa.select(Job.state).order_by(Job.created_at)
    with two_pacs(file) as (pacs, go):
        with own.transaction() as session:
            ApiToken.add(session, "pacs", "machine")
            token = session.scalars(sa.select(ApiToken.id)).one()
            holder = Holder(None, token, "pacs")
            for name in ("slow", "gone", "quick"):  # one that is not configured any more
                asked = Wanted(name, uids(file)[0]).asked(SETTINGS.key())
                Job.queue(session, holder, JobKind.FETCH, asked, total=0)
                session.flush()
        with going_on(Fetchers(own, pacs, SETTINGS, SETTINGS.key())):
            until(own, states, [("running",), ("queued",), ("done",)])
            go.set()
            until(own, states, [("done",), ("failed",), ("done",)])
    with own.reading() as session:
        failed = session.scalars(sa.select(Job.error).where(Job.error.is_not(None))).one()
    assert "No PACS of that name is configured here" in failed


@pytest.mark.parametrize("own", ["sqlite"], indirect=True)
def test_results_for_different_pacs_do_not_wait_for_each_other(own, checkpoints):
    states = sa.select(ReturnedObject.pacs, ReturnedObject.state).order_by(ReturnedObject.pacs)
    with two_pacs() as (pacs, go):
        with own.transaction() as session:
            for folder in checkpoints:
                Checkpoint.register(session, folder, "tests")
            case = answered_case(session, *SENT)
            link, accounts = Link.of(session, case, KEY), said.by_networks(session, case)
            for one in (*pacs.all, PacsSettings(name="gone", url="http://127.0.0.1:1")):
                outbox.order(session, one, link, accounts, ["pr"], by="x", key=KEY)
        with going_on(Messengers(own, {}, pacs, SETTINGS, KEY)):
            until(own, states, [("gone", "waiting"), ("quick", "sent"), ("slow", "waiting")])
            go.set()
            until(own, states, [("gone", "waiting"), ("quick", "sent"), ("slow", "sent")])
            said_of = sa.select(ReturnedObject.error.contains("not configured any more"))
            until(own, said_of.where(ReturnedObject.pacs == "gone"), [(True,)])
