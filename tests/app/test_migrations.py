"""The schema: up, down, without drift, on SQLite and on PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext

import once
import studies
from app import schema
from app.db import Base, Database
from app.models import Debriefing, Event, Image, ReaderStudy, Reading, Remark, Trial
from app.models.cases.uids import KEPT
from app.models.reader_studies.design import Design
from app.models.reader_studies.enrolment import Enrolment
from app.models.reader_studies.reading import Answer
from app.models.reader_studies.task import Part
from app.place import ROOT
from app.schema import Schema

pytestmark = pytest.mark.long


@pytest.fixture(autouse=True)
def _in_earnest(monkeypatch):
    """Every migration itself, and not what the other tests are given."""
    monkeypatch.setattr(schema, "upgrade", schema.upgrade.__wrapped__)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request, tmp_path):
    if request.param == "sqlite":
        yield Database(f"sqlite:///{tmp_path}/empty.sqlite3")
        return
    database = Database(request.getfixturevalue("empty_postgres"))
    yield database
    database.engine.dispose()


@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of .* index ix_case_alphabet")
@pytest.mark.filterwarnings("ignore:autogenerate skipping .* index 'ix_case_alphabet'")
def test_the_migrations_make_the_very_tables_of_the_models(empty):
    assert empty.found_schema() != Schema.CURRENT
    empty.migrate()
    assert empty.found_schema() == Schema.CURRENT
    with empty.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_what_the_other_tests_are_given_is_what_the_migrations_make(tmp_path, monkeypatch):
    monkeypatch.setattr(schema, "upgrade", once.migrations(schema.upgrade))
    found = []
    for name in ("made", "given"):
        database = Database(f"sqlite:///{tmp_path}/{name}.sqlite3")
        database.migrate()
        with database.engine.connect() as connection:
            rows = connection.exec_driver_sql("SELECT type, name, tbl_name, sql FROM sqlite_master")
            heads = MigrationContext.configure(connection).get_current_heads()
            found.append((sorted(map(str, rows)), heads))
        database.engine.dispose()
    assert found[0] == found[1]


def test_the_migrations_go_down_to_nothing_and_up_again(empty):
    empty.migrate()
    configuration = Config(toml_file=ROOT / "pyproject.toml")
    with empty.engine.connect() as connection:
        configuration.attributes["connection"] = connection
        command.downgrade(configuration, "base")
        connection.commit()
    left = set(sa.inspect(empty.engine).get_table_names()) - {"alembic_version"}
    assert left == set()
    empty.migrate()
    assert empty.found_schema() == Schema.CURRENT


def test_answers_without_a_lesion_class_survive_the_way_down_and_up(empty):
    empty.migrate()
    with empty.transaction() as session:
        ada = studies.make_user(session, "ada")
        study = studies.make_study(session, ada, design=Design(lesion_class=False))
        [enrolment] = Enrolment.of_study(session, study.id)
        first = session.scalars(sa.select(Trial).order_by(Trial.position)).first()
        Reading.give(session, enrolment, Answer(first.token, "key", None, 5))
        _in_clear(session)
    configuration = Config(toml_file=ROOT / "pyproject.toml")
    kept = []
    for move, revision in ((command.downgrade, "0005"), (command.upgrade, "head")):
        with empty.engine.connect() as connection:
            configuration.attributes["connection"] = connection
            move(configuration, revision)
            connection.commit()
            rows = connection.execute(sa.text("SELECT lesion_class, rating FROM reading"))
            kept.append([tuple(row) for row in rows])
    assert kept == [[("", 5)], [(None, 5)]]


def test_studies_of_two_parts_come_with_their_tables_and_do_not_go_in_silence(empty):
    configuration = Config(toml_file=ROOT / "pyproject.toml")

    def go(move, revision):
        with empty.engine.connect() as connection:
            configuration.attributes["connection"] = connection
            move(configuration, revision)
            connection.commit()

    empty.migrate()
    with empty.transaction() as session:
        ada = studies.make_user(session, "ada")
        whole = studies.make_study(session, ada, design=Design())
        ids = whole.id, studies.make_user(session, "maker", "researcher").id
        _in_clear(session)
    go(command.downgrade, "0014")
    go(command.upgrade, "head")
    with empty.transaction() as session:
        assert {one.part for one in session.scalars(sa.select(Trial))} == {Part.WHOLE}
        assert not session.get(ReaderStudy, ids[0]).unaware
        [enrolment] = Enrolment.of_study(session, ids[0])
        Remark.give(session, enrolment, "none")
        Debriefing.tell(session, enrolment, "what it was about")
        session.execute(sa.update(ReaderStudy).values(unaware=True))
    for change in ("UPDATE remark SET text = ''", "DELETE FROM debriefing"):
        with pytest.raises(sa.exc.DBAPIError, match="is never"), empty.transaction() as session:
            session.execute(sa.text(change))
    with pytest.raises(RuntimeError, match="1 studies are unaware"):
        go(command.downgrade, "0014")


def _in_clear(session):
    """UIDs as versions before 0018 kept them: to digests they do not go back."""
    session.execute(sa.update(Image).values(sop_uid=sa.func.replace(Image.sop_uid, KEPT, "")))


def test_images_known_by_digests_do_not_go_back(empty):
    empty.migrate()
    with empty.transaction() as session:
        studies.make_lesion(session, 1)
    configuration = Config(toml_file=ROOT / "pyproject.toml")
    with empty.engine.connect() as connection:
        configuration.attributes["connection"] = connection
        with pytest.raises(RuntimeError, match="1 images are known by digests"):
            command.downgrade(configuration, "0017")


def test_times_are_utc_and_aware_and_naive_ones_are_refused(empty):
    empty.migrate()
    moment = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)
    with empty.transaction() as session:
        session.add(Event(actor="a", kind="k", at=moment))
    with empty.reading() as session:
        assert session.scalars(sa.select(Event.at)).one() == moment
    with pytest.raises(sa.exc.StatementError, match="naive"), empty.transaction() as session:
        session.add(Event(actor="a", kind="k", at=datetime(2026, 1, 1)))  # noqa: DTZ001


def test_what_fails_in_a_transaction_leaves_nothing(empty):
    empty.migrate()
    with pytest.raises(RuntimeError), empty.transaction() as session:
        Event.record(session, "a", "k")
        session.flush()
        raise RuntimeError
    with empty.reading() as session:
        assert session.scalars(sa.select(Event)).all() == []
