"""Clerks killed with kill -9 in the middle of jobs: each job has one end and one result."""

from __future__ import annotations

import os
import time
from datetime import timedelta

import numpy as np
import pytest
import sqlalchemy as sa

import forked
from app.db import Database, now
from app.jobs.items import SentRoi, asked_of
from app.models import ApiToken, Checkpoint, Job
from app.models.jobs.holder import Holder
from app.models.jobs.job import LOST_AFTER_S, JobKind, JobState
from ml.images.roi import Box, Roi

pytestmark = pytest.mark.timeout(200)
LESIONS = 320


def queue(database: Database, checkpoints: list) -> None:
    with database.transaction() as session:
        for folder in checkpoints:
            Checkpoint.register(session, folder, "tests")
        ApiToken.add(session, "pacs", "machine")
        token = session.scalars(sa.select(ApiToken)).one()
        pixels = np.random.default_rng(1).uniform(-1, 1, (LESIONS, 64, 64)).astype(np.float32)
        rois = [Roi(one, True, None, Box(0, 0, 64, 64), None) for one in pixels]
        asked = asked_of([SentRoi(one, phantom=True) for one in rois])
        holder = Holder(None, token.id, "pacs")
        network = Checkpoint.classifier(session)
        for _ in range(2):
            kind = JobKind.CLASSIFICATION
            Job.queue(session, holder, kind, asked, total=LESIONS, checkpoint=network)


def begin(folder) -> forked.Forked:
    environment = {
        **os.environ,
        "HEPATICA_DATABASE_URL": f"sqlite:///{folder}/clerks.sqlite3",
        "HEPATICA_INSTALLATION_KEY": "k" * 32,
        "OMP_NUM_THREADS": "1",
    }
    return forked.app("clerk", "--once", env=environment)


def in_hand(database: Database) -> bool:
    with database.reading() as session:
        query = sa.select(Job.id).where(Job.state == JobState.RUNNING, Job.done > 0)
        return session.scalars(query).first() is not None


@pytest.mark.long
def test_a_job_whose_clerk_is_killed_has_one_end_and_one_result(tmp_path, checkpoints):
    database = Database(f"sqlite:///{tmp_path}/clerks.sqlite3")
    database.migrate()
    queue(database, checkpoints)
    killed = 0
    for _ in range(2):
        process = begin(tmp_path)
        while process.poll() is None and not in_hand(database):
            time.sleep(0.005)
        killed += process.poll() is None
        process.kill()
        process.wait(20)
        with database.transaction() as session:
            lost = now() - timedelta(seconds=LOST_AFTER_S + 1)
            session.execute(sa.update(Job).values(heard_at=lost))
    assert begin(tmp_path).wait(60) == 0
    assert killed
    with database.reading() as session:
        jobs = session.scalars(sa.select(Job)).all()
        assert {job.state for job in jobs} == {JobState.DONE}
        assert max(job.claims for job in jobs) > 1
        assert jobs[0].result == jobs[1].result
        assert jobs[0].result["classified"] == LESIONS
    database.engine.dispose()
