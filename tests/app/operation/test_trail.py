"""The audit trail is a chain: whoever changes it, by whatever way, is found."""

from __future__ import annotations

import csv
import io
import threading
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from alembic import command as alembic

from app import place
from app.db import Database
from app.errors import Damaged, Unreadable
from app.models import Event, TrailEntry
from app.models.ground import trail
from app.models.ground.installation import mark
from app.models.ground.trail import SEALED, Head, chained, written
from app.operation.trail import Days, Verification
from serving import command_here

KEY = b"k" * 32


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path):
    url = f"sqlite:///{tmp_path}/hepatica.sqlite3"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres")
    made = Database(url)
    made.migrate()
    with made.transaction() as session:
        for subject in "abcd":
            Event.record(session, "ada", "acted", subject, share=0.1, words=["ü", "\t"])
    yield made
    made.engine.dispose()


def verified(database: Database, kept: Head | None = None, key: bytes | None = KEY) -> Verification:
    found = Verification(key, kept)
    with database.reading() as session:
        list(found.run(session))
    return found


def faults(database: Database, kept: Head | None = None) -> list[str]:
    return verified(database, kept).faults


def sealed(database: Database) -> bool:
    with database.transaction() as session:
        return trail.seal(session, KEY, "clerk")


def by_its_owner(database: Database, *statements: str) -> None:
    """Statements of somebody who can change the database as they like."""
    with database.engine.connect() as connection:
        if database.engine.dialect.name == "postgresql":
            connection.exec_driver_sql("SET session_replication_role = replica")
        else:
            for table in ("event", "trail_entry"):
                for act in ("update", "delete"):
                    connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS keep_{table}_{act}")
        for statement in statements:
            connection.exec_driver_sql(statement)
        connection.commit()


def reckoned_again(database: Database) -> None:
    """The chain as it would be, had the events always been what they are now."""
    with database.reading() as session:
        columns = (Event.id, Event.at, Event.actor, Event.kind, Event.subject, Event.detail)
        rows = session.execute(
            sa.select(TrailEntry.number, *columns).join(Event).order_by(TrailEntry.number)
        ).all()
    before, statements = trail.BEGINNING, []
    for number, *event in rows:
        before = chained(before, written(*event))
        literal = f"'\\x{before.hex()}'::bytea"
        if database.engine.dialect.name == "sqlite":
            literal = f"X'{before.hex()}'"
        statements.append(f"UPDATE trail_entry SET digest = {literal} WHERE number = {number}")
    by_its_owner(database, *statements)


def test_a_trail_that_nobody_touched_is_whole_and_sealed_once(database):
    assert faults(database) == [] and verified(database).head.number == 4
    assert "No seal" in verified(database).words
    assert sealed(database) and not sealed(database)  # nothing came after the seal
    found = verified(database)
    assert (found.head.number, found.sealed, found.faults) == (5, 4, [])
    assert str(found.head) in found.words
    assert Head.read(str(found.head)) == found.head
    other = verified(database, key=b"o" * 32)
    assert (other.sealed, other.other_keys, other.faults) == (0, 1, [])
    assert "another key" in other.doubt and not found.doubt
    with pytest.raises(Damaged, match="does not mean that it is what was written"):
        other.refuse_faults()
    without = verified(database, key=None)
    assert "installation key is not here" in without.doubt
    vouched = verified(database, kept=found.head, key=None)
    assert not vouched.doubt and "kept elsewhere does" in vouched.words
    assert verified(database, kept=Head(4, b"x" * 32), key=None).faults


@pytest.mark.parametrize("how", ["another key's name in the seal", "a new beginning"])
def test_who_owns_the_database_cannot_make_a_forged_trail_pass_without_doubt(database, how):
    assert sealed(database)
    kept = verified(database).head
    if how == "a new beginning":
        with database.transaction() as session:
            Event.record(session, "installation", trail.BEGUN_ANEW)
    else:
        as_text = "::text" if database.engine.dialect.name == "postgresql" else ""
        back = "::json" if as_text else ""
        own = mark(KEY)
        by_its_owner(
            database,
            f"UPDATE event SET detail = replace(detail{as_text}, '{own}', '{own[::-1]}'){back} "
            f"WHERE kind = '{SEALED}'",
        )
    by_its_owner(database, "UPDATE event SET subject = 'forged' WHERE subject = 'b'")
    reckoned_again(database)
    with database.transaction() as session:
        Event.record(session, "ada", "acted")
    assert sealed(database)  # the clerk knows nothing of it
    found = verified(database)
    assert found.faults == [] and found.sealed and found.doubt
    with pytest.raises(Damaged, match="does not mean"):
        found.refuse_faults()
    assert faults(database, kept)  # who kept a head knows


def test_what_is_undone_has_no_place_and_leaves_no_gap(database):
    with pytest.raises(ZeroDivisionError), database.transaction() as session:
        Event.record(session, "ada", "undone")
        session.flush()
        raise ZeroDivisionError
    with database.transaction() as session:
        Event.record(session, "ada", "first")
        nested = session.begin_nested()
        Event.record(session, "ada", "undone")
        session.flush()
        nested.rollback()
        with session.begin_nested():
            Event.record(session, "ada", "second")
        Event.record(session, "ada", "third")
    with database.reading() as session:
        rows = (
            sa.select(Event.kind)
            .join(TrailEntry)
            .where(TrailEntry.number > 4)
            .order_by(TrailEntry.number)
        )
        assert session.scalars(rows).all() == ["first", "second", "third"]
    assert faults(database) == []


def test_many_at_once_make_one_chain(database):
    def act(name: str) -> None:
        for number in range(8):
            with database.transaction(patience_s=60) as session:
                Event.record(session, name, "acted", str(number))

    threads = [threading.Thread(target=act, args=(name,)) for name in "abcd"]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert faults(database) == [] and verified(database).head.number == 4 + 4 * 8


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE event SET actor = 'eve' WHERE subject = 'b'", "Entry 2 ("),
        ("UPDATE event SET detail = '{}' WHERE subject = 'c'", "Entry 3 ("),
        ("DELETE FROM trail_entry WHERE number = 2", "Entry 2 was removed"),
        ("DELETE FROM trail_entry WHERE number IN (2, 3)", "Entries 2 to 3 were removed"),
        (
            "UPDATE trail_entry SET digest = "
            "(SELECT digest FROM trail_entry WHERE number = 1) WHERE number = 2",
            "Entry 2 (",
        ),
    ],
)
def test_a_changed_or_removed_row_is_found(database, statement, words):
    by_its_owner(database, statement)
    found = faults(database)
    assert words in " ".join(found)


def test_an_event_that_was_removed_or_put_in_is_found(database):
    off = "PRAGMA foreign_keys = OFF"
    first = () if database.engine.dialect.name == "postgresql" else ("COMMIT", off, "BEGIN")
    by_its_owner(database, *first, "DELETE FROM event WHERE subject = 'b'")
    assert "Entry 2: its event" in faults(database)[0]
    columns = "id, at, actor, kind, subject, detail"
    by_its_owner(
        database,
        f"INSERT INTO event ({columns}) VALUES ('{'0' * 31}1', '2026-01-01 00:00:00.000000', "
        "'ada', 'k', '', '{}')",
    )
    assert any("stands in no entry" in one for one in faults(database))


def test_a_chain_that_was_reckoned_anew_does_not_fit_its_seal(database):
    assert sealed(database)
    by_its_owner(database, "UPDATE event SET actor = 'eve' WHERE subject = 'b'")
    reckoned_again(database)
    assert faults(database) == [
        "The seal at entry 5 does not fit: what stood before it when it was sealed is not what "
        "stands there now."
    ]


def test_an_end_that_was_removed_is_found_by_a_head_that_was_kept(database):
    assert sealed(database)
    kept = verified(database).head
    by_its_owner(
        database,
        "DELETE FROM trail_entry WHERE number > 3",
        "DELETE FROM event WHERE id NOT IN (SELECT event_id FROM trail_entry)",
    )
    assert faults(database) == []  # nothing in the database tells of it
    assert "the end was removed" in faults(database, kept)[0]
    with database.transaction() as session:
        for _ in range(3):
            Event.record(session, "eve", "acted")
    assert "another digest" in faults(database, kept)[0]


def test_the_way_down_and_up_begins_anew_and_says_so(database):
    assert sealed(database)
    configuration = place.migrations()
    with database.migrating() as connection:
        configuration.attributes["connection"] = connection
        alembic.downgrade(configuration, "0025")
        alembic.upgrade(configuration, "head")
    found = verified(database)
    assert found.faults == [] and found.begun_anew is not None and found.sealed == 0
    assert "reckoned again" in found.doubt
    assert sealed(database) and verified(database).sealed == 6


def test_days_are_of_utc_and_both_count():
    days = Days.read("2026-01-31", "2026-01-31")
    since, until = (one.right.value for one in days.clauses())
    assert since == datetime(2026, 1, 31, tzinfo=UTC)
    assert until == datetime(2026, 1, 31, 23, 59, 59, 999999, tzinfo=UTC)
    assert list(Days.read("", "").clauses()) == []
    for since, until in (("31.1.2026", ""), ("", "2026-02-30"), ("2026-02-01", "2026-01-31")):
        with pytest.raises(Unreadable):
            Days.read(since, until)


def test_the_commands_verify_and_print_the_trail(tmp_path):
    url = f"sqlite:///{tmp_path}/hepatica.sqlite3"

    def run(*words: str, stdin: str = "") -> tuple[int, str, str]:
        done = command_here(url, tmp_path, *words, stdin=stdin)
        return done.returncode, done.stdout, done.stderr

    assert run("user", "add", "=ada", "--role", "admin", stdin="correct horse\n")[0] != 0
    assert run("user", "add", "ada", "--role", "admin", stdin="correct horse\n")[0] == 0
    status, said, _ = run("audit", "verify")
    assert status == 0 and "1 events" in said
    head = said.split()[-1]
    assert run("audit", "verify", "--kept", head)[0] == 0
    status, said, complained = run("audit", "verify", "--kept", "7")
    assert (status, said) == (1, "") and "NUMBER:DIGEST" in complained
    status, said, _ = run("audit", "export")
    rows = list(csv.DictReader(io.StringIO(said)))
    assert [one["kind"] for one in rows] == ["account made", "audit trail exported"]
    assert rows[0]["digest"] == head.partition(":")[2]
    assert run("audit", "export", "--until", "2020-01-01")[1].count("\n") == 1
    database = Database(url)
    by_its_owner(database, "UPDATE event SET actor = 'eve' WHERE kind = 'account made'")
    database.engine.dispose()
    status, said, complained = run("audit", "verify")
    assert (status, said) == (1, "") and "Entry 1 (" in complained
