"""What is old enough is deleted by itself, where a time is set; what is held stays, and is told."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

import answered
import studies
from app.db import Database, now
from app.inference import Inference
from app.jobs.clerk import Clerk
from app.models import (
    Blob,
    Case,
    DatasetVersion,
    Erasure,
    Lesion,
    ReaderStudy,
    Reading,
    Stimulus,
    Unblinding,
)  # fmt: skip
from app.models.reader_studies.unblinded import Unblinded
from app.models.study_results.results import Results
from app.operation.erasing import Erasing
from app.operation.retention import Due
from app.settings import Settings
from app.watch import Watch
from ml.lesion import LIVER


@pytest.fixture
def database(tmp_path):
    """Twelve old cases: six in a study that was unblinded a year ago, three of them and three
    others in a frozen data set; and a new one."""
    made = Database(f"sqlite:///{tmp_path}/h.sqlite3")
    made.migrate()
    long_ago = now() - timedelta(days=400)
    with studies.made_anew(), made.transaction() as session:
        study = studies.make_study(session, studies.make_user(session, "ada"), per_class=2)
        answered.answer(session, study, 1, answered.guessing(3, 1.0))
        others = studies.make_known_lesions(session, 2, first=50)
        maker = studies.make_user(session, "maker", "researcher")
        packed = DatasetVersion.pack(
            session, "frozen", LIVER, "phantom", cases=[others[k].case_id for k in (0, 2, 4)]
        )
        DatasetVersion.freeze(session, maker, packed)
        session.execute(sa.update(Case).values(created_at=long_ago))
        studies.make_lesion(session, 99)
        session.add(Unblinding(study_id=study.id, by_id=maker.id, at=long_ago, reason="it is over"))
    yield made
    made.engine.dispose()


def settings(tmp_path, **kept) -> Settings:
    return Settings(
        database_url=f"sqlite:///{tmp_path}/h.sqlite3",
        installation_key=studies.KEY.decode(),
        deletions_file=tmp_path / "deletions.jsonl",
        runs_dir=tmp_path / "runs",
        **kept,
    )


def counted(session, what) -> int:
    return session.scalar(sa.select(sa.func.count()).select_from(what))


def clerk_of(database, chosen) -> Clerk:
    return Clerk(database, Inference(1), Watch(database), chosen)


def test_nothing_is_deleted_where_no_time_is_set(database, tmp_path):
    chosen = settings(tmp_path)
    clerk_of(database, chosen).work(once=True)
    with database.reading() as session:
        assert Due.of(session, chosen) == Due()
        assert "for ever" in Due.of(session, chosen).lines(chosen)[0]
        assert (counted(session, Case), counted(session, Erasure)) == (13, 0)


def test_the_clerk_deletes_old_cases_but_for_those_that_are_held(database, tmp_path):
    chosen = settings(tmp_path, keep_cases_days=365)
    with database.reading() as session:
        told = Due.of(session, chosen).lines(chosen)[0]
        assert told.endswith("3 to be deleted; kept: 3 in frozen data sets, 6 in reader studies.")
    clerk = clerk_of(database, chosen)
    clerk.work(once=True)
    clerk._erase_at = 0.0
    clerk.work(once=True)
    with database.reading() as session:
        assert counted(session, Case) == 10
        [erasure] = session.scalars(sa.select(Erasure))
        assert (erasure.kind, len(erasure.cases)) == ("old cases", 3)
        assert erasure.ended_at is not None and erasure.asked_by == clerk.name
        assert Due.of(session, chosen).cases == ()


def test_a_finished_study_loses_its_pictures_once_it_was_analysed(database, tmp_path):
    chosen = settings(tmp_path, keep_pictures_days=365)
    with database.reading() as session:
        due = Due.of(session, chosen)
        assert due.studies == () and "was not analysed yet" in due.waiting[0]
    with database.transaction() as session:
        study = session.scalars(sa.select(ReaderStudy)).one()
        data = Results.of(session, session, Unblinded(study), lambda *_: []).data
        readings = counted(session, Reading)
    with database.reading() as session:
        due = Due.of(session, chosen)
    [begun] = due.begin(database, "tests")
    for _ in Erasing(database, chosen).run(begun, "tests"):
        pass
    with database.reading() as session:
        study = session.scalars(sa.select(ReaderStudy)).one()
        assert len(Stimulus.gone(session, study.id)) == counted(session, Stimulus) == 12
        assert not session.scalars(
            sa.select(Blob.size).where(Blob.media_type == "image/png", Blob.erased_at.is_(None))
        ).all()
        assert Results.kept(session, Unblinded(study)).data == data
        assert (counted(session, Reading), counted(session, Case)) == (readings, 13)
        assert session.scalars(sa.select(Lesion)).all()
