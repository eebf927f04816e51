"""Many clerks at once: each job, notice and result is taken by one of them, on both databases."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

import studies
from app.db import Database, now
from app.models import ApiToken, Job, Lesion, Notice, ReturnedObject
from app.models.jobs.holder import Holder
from app.models.jobs.job import JobKind

CLERKS, ROWS = 6, 9


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path):
    kind = request.param == "sqlite"
    url = f"sqlite:///{tmp_path}/claims.sqlite3" if kind else request.getfixturevalue("postgres")
    found = Database(url)
    found.migrate()
    yield found
    found.engine.dispose()


def at_once(database: Database, claim) -> Counter:
    """What each row's claims come to when all clerks take until nothing is left."""
    together = threading.Barrier(CLERKS)

    def work(number: int) -> list[uuid.UUID]:
        together.wait()
        taken = []
        while True:
            with database.transaction() as session:
                row = claim(session, f"clerk {number}")
                if row is None:
                    return taken
                taken.append(row.id)

    with ThreadPoolExecutor(CLERKS) as threads:
        return Counter(one for some in threads.map(work, range(CLERKS)) for one in some)


def test_each_is_taken_once(database):
    with database.transaction() as session:
        ApiToken.add(session, "pacs", "machine")
        holder = Holder(None, session.scalars(sa.select(ApiToken.id)).one(), "pacs")
        for _ in range(ROWS):
            job = Job.queue(session, holder, JobKind.CLASSIFICATION, {"items": []}, total=0)
            Notice.order(session, job, "ris")
        [lesion] = studies.make_lesion(session, 1)
        case_id = session.get_one(Lesion, lesion.id).case_id
        wanted = [
            ReturnedObject(case_id=case_id, pacs="main", kind="sc", said_by="network",
                           number=number, rows=[], sop_uid=f"2.25.{number}", ordered_by="x")
            for number in range(ROWS)
        ]  # fmt: skip
        ReturnedObject.order(session, wanted, "x")
    for claim in (
        Job.claim,
        lambda session, _clerk: ReturnedObject.claim(session, 60.0, sa.true()),
    ):
        assert sorted(at_once(database, claim).values()) == [1] * ROWS
    assert not at_once(database, lambda session, _clerk: Notice.claim(session))  # no job is over
    with database.transaction() as session:
        session.execute(sa.update(Job).values(state="done", ended_at=now()))
    taken = at_once(database, lambda session, _clerk: Notice.claim(session))
    assert sorted(taken.values()) == [1] * ROWS


def test_an_answer_that_two_order_at_once_is_one(database):
    with database.transaction() as session:
        [lesion] = studies.make_lesion(session, 1)
        case_id = session.get_one(Lesion, lesion.id).case_id
    together = threading.Barrier(CLERKS)

    def order(_number: int) -> uuid.UUID:
        together.wait()
        with database.transaction() as session:
            one = ReturnedObject(case_id=case_id, pacs="main", kind="sr", said_by="network",
                                 number=1, rows=[], sop_uid="2.25.1", ordered_by="x")  # fmt: skip
            return ReturnedObject.order(session, [one], "x")[0].id

    with ThreadPoolExecutor(CLERKS) as threads:
        assert len(set(threads.map(order, range(CLERKS)))) == 1
