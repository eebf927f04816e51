"""The schema is brought up by one process at a time, and only by who needs it."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from alembic import command as alembic
from alembic.config import Config
from alembic.migration import MigrationContext

import studies
from app import schema
from app.db import Base, Database
from app.models import Checkpoint, Event, Image, Review, User
from app.models.ground.append_only import KEPT, Changed
from app.models.reader_studies.enrolment import Enrolment
from app.models.reader_studies.study import ReaderStudy
from app.place import ROOT
from app.schema import OtherSchema, Schema
from serving import Served, command_here

BEFORE = "0008"
"""The revision before rows were numbered and kept."""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/hepatica.sqlite3"
    return request.getfixturevalue("empty_postgres")


@pytest.fixture
def database(url):
    made = Database(url)
    yield made
    made.engine.dispose()


def move(database: Database, revision: str) -> None:
    configuration = Config(toml_file=ROOT / "pyproject.toml")
    with database.migrating() as connection:
        configuration.attributes["connection"] = connection
        down = revision == BEFORE
        (alembic.downgrade if down else alembic.upgrade)(configuration, revision)


def set_revision(database: Database, revision: str) -> None:
    with database.engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = :r"), {"r": revision})


# -- who migrates ---------------------------------------------------------------------------------


@pytest.mark.long
def test_two_servers_that_start_at_once_on_an_empty_database_both_come_up(url, tmp_path):
    servers = [Served(url, tmp_path, f"server{number}") for number in range(2)]
    try:
        for server in servers:
            server.wait()
        assert [server.get("/health/ready")[0] for server in servers] == [200, 200]
        for server in servers:
            assert "Traceback" not in server.log
    finally:
        for server in servers:
            server.close()
    with Database(url).reading() as session:
        names = list(session.scalars(sa.select(Checkpoint.name)))
    assert len(names) == len(set(names)) > 0


@pytest.mark.long
def test_of_six_that_migrate_at_once_one_does_and_the_others_wait(url, monkeypatch):
    upgrade, inside, most, steps = schema.upgrade, [], [], []

    def watched(connection: sa.Connection) -> None:
        inside.append(None)
        most.append(len(inside))
        before = MigrationContext.configure(connection).get_current_revision()
        upgrade(connection)
        steps.append((before, MigrationContext.configure(connection).get_current_revision()))
        inside.pop()

    monkeypatch.setattr(schema, "upgrade", watched)
    databases = [Database(url) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(Database.migrate, databases))
    for database in databases:
        database.engine.dispose()
    assert most == [1] * 6
    newest = steps[0][1]
    assert steps == [(None, newest)] + [(newest, newest)] * 5


def test_a_command_that_only_looks_changes_no_schema_and_makes_no_file(url, database, tmp_path):
    told = command_here(url, tmp_path, "user", "list")
    assert told.returncode == 1
    assert told.stderr.startswith("error: The database is empty. `python -m app serve`")
    assert told.stderr.count("\n") == 1
    if database.file is not None:
        assert not database.file.path.exists()
    database.migrate()
    move(database, BEFORE)
    told = command_here(url, tmp_path, "token", "list")
    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr.startswith("error: The database has an older schema.")
    assert database.found_schema() == Schema.OLDER


@pytest.mark.long
@pytest.mark.parametrize(
    "arguments", [("user", "list"), ("user", "enable", "ada"), ("serve",), ("token", "list")]
)
def test_a_newer_database_is_refused_in_one_sentence_everywhere(url, database, tmp_path, arguments):
    database.migrate()
    set_revision(database, "9999")
    told = command_here(url, tmp_path, *arguments)
    assert told.returncode == 1
    [line] = told.stderr.splitlines()
    assert line.startswith("error: The database was made by a newer version of the software.")
    with database.engine.connect() as connection:
        found = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    assert found == "9999"


def test_the_schema_is_told_apart(database):
    assert database.found_schema() == Schema.ABSENT
    database.migrate()
    assert database.found_schema() == Schema.CURRENT
    database.require_schema()
    set_revision(database, "0001")
    assert database.found_schema() == Schema.OLDER
    set_revision(database, "9999")
    with pytest.raises(OtherSchema, match="newer version"):
        database.migrate()


# -- what the migration does ----------------------------------------------------------------------


def test_every_row_that_stays_is_kept_by_the_database_itself(database):
    database.migrate()
    kept = {model.__tablename__ for model in KEPT}
    assert {"event", "review", "reading"} <= kept
    if database.engine.dialect.name == "sqlite":
        query = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
    else:
        query = "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal"
    with database.engine.connect() as connection:
        found = set(connection.scalars(sa.text(query)))
    for table in kept:
        assert {f"keep_{table}_update", f"keep_{table}_delete"} <= found, table


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def recorded(request, tmp_path_factory):
    """A database with rows that stay; whoever tries to change them shares it."""
    url = f"sqlite:///{tmp_path_factory.mktemp('recorded')}/hepatica.sqlite3"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_of_module")
    made = Database(url)
    made.migrate()
    _filled(made)
    yield made
    made.engine.dispose()


@pytest.mark.parametrize("act", ["UPDATE {} SET id = id", "DELETE FROM {}"])
@pytest.mark.parametrize("table", ["event", "review", "reading", "protocol", "stimulus", "trial"])
def test_no_statement_changes_or_deletes_what_was_recorded(recorded, table, act):
    with recorded.engine.connect() as connection:
        count = connection.scalar(sa.text(f"SELECT count(*) FROM {table}"))
        assert count
        with pytest.raises(sa.exc.DBAPIError, match=f"A row of {table} is never"):
            connection.execute(sa.text(act.format(table)))
        connection.rollback()
        assert connection.scalar(sa.text(f"SELECT count(*) FROM {table}")) == count


def test_postgresql_does_not_empty_the_record_either(postgres):
    database = Database(postgres)
    database.migrate()
    with database.transaction() as session:
        Event.record(session, "a", "k")
    with database.engine.connect() as connection, pytest.raises(sa.exc.DBAPIError, match="never"):
        connection.execute(sa.text("TRUNCATE event CASCADE"))
    database.engine.dispose()


def test_the_orm_refuses_to_change_an_event_or_a_review(recorded):
    for model, change in ((Event, {"actor": "x"}), (Review, {"confidence": 1})):
        with pytest.raises(Changed), recorded.transaction() as session:
            row = session.scalars(sa.select(model)).first()
            for name, value in change.items():
                setattr(row, name, value)
            session.flush()
        with pytest.raises(Changed), recorded.transaction() as session:
            session.delete(session.scalars(sa.select(model)).first())
            session.flush()


def test_a_case_goes_with_its_reviews_and_a_draft_with_its_audit(database):
    database.migrate()
    with database.transaction() as session:
        maker = studies.make_user(session, "maker", "researcher")
        [lesion] = studies.make_lesion(session, 900)
        studies.review(session, lesion, "cyst")
        studies.review(session, lesion, "metastasis")
        case = lesion.image.series.case
        studies.remove(session, case)
        assert not session.scalars(sa.select(Review)).all()
        ada = studies.make_user(session, "ada")
        draft = studies.make_study(session, ada, opened=False)
        pictures = draft.pictures(session, studies.draw)
        from app.models.reader_studies.audit import Audited, LeakAudit

        draft.audit(session, maker, pictures, Audited.of(pictures))
        [enrolment] = Enrolment.of_study(session, draft.id)
        enrolment.withdraw(session, ada, "no time for it")
        draft.discard(session, maker, typed="DELETE")
        assert not session.scalars(sa.select(LeakAudit)).all()
    with database.reading() as session:
        assert not session.scalars(sa.select(ReaderStudy)).all()


def test_old_rows_get_owners_and_numbers_by_their_chain_and_not_by_their_clock(database):
    database.migrate()
    _filled(database)
    with database.transaction() as session:
        maker = User.require(session, "maker")
        [lesion] = studies.make_lesion(session, 901)
        lesion_id = lesion.id
        in_clear = sa.func.replace(Image.sop_uid, "hmac:", "1.2.")  # as it was then
        session.execute(sa.update(Image).values(sop_uid=in_clear))
    move(database, BEFORE)
    moment = datetime(2026, 5, 1, tzinfo=UTC)
    first, second, third, other = (uuid.uuid4() for _ in range(4))
    review = sa.table(
        "review",
        *(sa.column(name, sa.Uuid()) for name in ("id", "lesion_id", "by_id", "supersedes_id")),
        *(sa.column(name) for name in ("lesion_class", "confidence", "basis", "note")),
        sa.column("score_visible", sa.Boolean()),
        sa.column("created_at", Base.metadata.tables["review"].c.created_at.type),
    )
    rows = [  # the clock was set back before the second; both tabs began a chain at once
        (first, None, "cyst", moment),
        (second, first, "metastasis", moment - timedelta(days=2)),
        (third, second, "hemangioma", moment - timedelta(days=1)),
        (other, None, "other", moment + timedelta(seconds=1)),
    ]
    with database.engine.begin() as connection:
        for row_id, supersedes, lesion_class, at in rows:
            connection.execute(
                sa.insert(review).values(
                    id=row_id,
                    lesion_id=lesion_id,
                    by_id=maker.id,
                    supersedes_id=supersedes,
                    lesion_class=lesion_class,
                    confidence=3,
                    basis="imaging",
                    note="",
                    score_visible=False,
                    created_at=at,
                )
            )
    database.migrate()
    with database.reading() as session:
        numbers = {
            row.id: row.number
            for row in session.scalars(sa.select(Review).where(Review.lesion_id == lesion_id))
        }
        assert numbers == {first: 1, second: 2, third: 3, other: 4}
        assert Review.current(session, lesion_id, maker.id).id == other
        assert session.get(Review, other).supersedes_id == third
        [study] = session.scalars(sa.select(ReaderStudy))
        assert study.owner_id == study.made_by_id == maker.id
        served = Checkpoint.served(session, "generator")
        assert [row.served_number for row in served] == list(range(1, len(served) + 1))


def _filled(database: Database) -> None:
    """An open study with an answer, which has a row of nearly everything that stays."""
    from app.models import Reading, Trial
    from app.models.reader_studies.reading import Answer

    with database.transaction() as session:
        study = studies.make_study(session, studies.make_user(session, "ada"))
        [enrolment] = Enrolment.of_study(session, study.id)
        trial = session.scalars(sa.select(Trial).order_by(Trial.position)).first()
        Reading.give(session, enrolment, Answer(trial.token, "key", "cyst", 5))
