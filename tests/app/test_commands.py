"""The command line: what an administrator does without the web."""

from __future__ import annotations

import os
import pwd
import stat

import pytest
import sqlalchemy as sa

from app.db import Database
from app.models import Event, SignIn, User
from app.models.people.user import fits
from serving import command, command_here, lock_held

ME = f"command line: {pwd.getpwuid(os.getuid()).pw_name}"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "var" / "hepatica.sqlite3"


@pytest.fixture
def run(path, tmp_path):
    """``run("user", "list")``: (status, what it said, what it complained of)."""

    def ran(*arguments: str, stdin: str = "") -> tuple[int, str, str]:
        done = command_here(f"sqlite:///{path}", tmp_path, *arguments, stdin=stdin)
        return done.returncode, done.stdout, done.stderr

    return ran


@pytest.fixture
def database(path, run):
    for name, role in (("boss", "admin"), ("ada", "researcher")):
        assert run("user", "add", name, "--role", role, stdin="correct horse\n")[0] == 0
    made = Database(f"sqlite:///{path}")
    yield made
    made.engine.dispose()


def test_what_cannot_be_done_is_one_sentence_and_status_1(run, database):
    for arguments, words in (
        (("user", "role", "boss", "reader"), "only administrator"),
        (("user", "disable", "boss"), "only administrator"),
        (("user", "enable", "nobody"), "no account named 'nobody'"),
        (("user", "password", "nobody"), "no account named 'nobody'"),
        (("token", "add", "laptop", "--role", "reader"), "--owner NAME"),
        (("token", "add", "laptop", "--role", "admin", "--owner", "ada"), "ada is researcher"),
        (("token", "add", "laptop", "--role", "machine", "--days", "0"), "days"),
        (("token", "revoke", "laptop"), "no token named 'laptop'"),
    ):
        status, said, complained = run(*arguments)
        assert (status, said) == (1, ""), arguments
        [line] = complained.splitlines()
        assert line.startswith("error: ")
        assert words in line


def test_where_and_how_often_to_listen_is_held_to_bounds_before_anything_is_begun(
    run, path, monkeypatch
):
    """An empty address would be every one of the machine's; 0 processes would be a fault."""
    for called in (("serve",), ("dicom-node", "--aet", "A")):
        for options, words in (
            (("--port", "11112", "--host", ""), "HEPATICA_HOST, or --host, is empty"),
            (("--port", "11112", "--host", " "), "HEPATICA_HOST, or --host, is empty"),
            (("--port", "70000"), "HEPATICA_PORT"),
            (("--port", "0"), "HEPATICA_PORT"),
            (("--port", "-5"), "HEPATICA_PORT"),
        ):
            assert_refused(run(*called, *options), words)
    for workers in ("0", "-2", "99999"):
        assert_refused(run("serve", "--workers", workers), "HEPATICA_WORKERS")
    for name, value in (
        ("HEPATICA_HOST", ""),
        ("HEPATICA_MAX_UPLOAD_MB", "inf"),
        ("HEPATICA_MAX_DECODED_MPX", "1e300"),
        ("HEPATICA_TOKEN_CACHE_S", "inf"),
    ):
        with monkeypatch.context() as own:
            own.setenv(name, value)
            assert_refused(run("serve"), name)
    assert not path.exists()


def test_days_at_the_ends_of_the_calendar_are_days_and_less_than_no_tasks_are_not(run, database):
    status, said, _ = run("audit", "export", "--since", "0001-01-01", "--until", "9999-12-31")
    assert status == 0 and "account made" in said
    status, _, complained = run("work", "--once", "--jobs", "-1")
    assert status == 2 and "Must be >= 0" in complained


def assert_refused(ran, words: str) -> None:
    status, said, complained = ran
    [line] = complained.splitlines()
    assert (status, said) == (1, "") and line.startswith("error: ") and words in line, ran


def test_an_account_is_changed_and_the_record_says_who_was_at_the_command_line(run, database):
    with database.transaction() as session:
        SignIn.begin(session, User.require(session, "ada"), 1.0)
    said = run("user", "password", "ada", stdin="battery staple\n")
    assert said[0] == 0
    with database.reading() as session:
        assert session.scalars(sa.select(SignIn)).all() == []
        assert fits("battery staple", User.require(session, "ada").password_hash)
    assert run("user", "role", "ada", "admin")[0] == 0
    assert run("user", "disable", "boss")[0] == 0
    assert run("user", "list")[1] == "ada\tadmin\tactive\nboss\tadmin\tdisabled\n"
    assert run("user", "enable", "boss")[0] == 0
    with database.reading() as session:
        rows = session.execute(
            sa.select(Event.kind, Event.detail)
            .where(Event.actor == ME, Event.kind != "checkpoint registered")
            .order_by(Event.at)
        ).all()
    assert [(kind, detail["name"]) for kind, detail in rows] == [
        ("account made", "boss"),
        ("account made", "ada"),
        ("password changed", "ada"),
        ("role changed", "ada"),
        ("account disabled", "boss"),
        ("account enabled", "boss"),
    ]


def test_tokens_are_made_listed_and_revoked(run, database):
    machine = run("token", "add", "my-pacs", "--role", "machine")
    assert (machine[0], machine[1][:4], machine[1].count("\n")) == (0, "hep_", 1)
    laptop = ("token", "add", "laptop", "--role", "reader", "--owner", "ada", "--days", "30")
    assert run(*laptop)[0] == 0
    rows = [line.split("\t") for line in run("token", "list")[1].splitlines()]
    assert [row[:4] for row in rows] == [
        ["laptop", "reader", "ada", "good"],
        ["my-pacs", "machine", "-", "good"],
    ]
    assert rows[0][4].startswith("until 2")
    assert [row[5] for row in rows] == ["never used"] * 2
    assert machine[1].strip() not in run("token", "list")[1]
    assert run("token", "revoke", "laptop")[0] == 0
    assert "laptop\treader\tada\trevoked" in run("token", "list")[1]


def test_whatever_is_made_is_for_its_account_alone(run, database, path, tmp_path):
    key = tmp_path / "installation.key"
    key.write_text("x" * 64)
    key.chmod(0o644)
    done = command(f"sqlite:///{path}", tmp_path, "user", "enable", "ada")
    assert done.returncode == 0
    assert f"{key} could be opened by other accounts" in done.stderr
    for one in (path.parent, *path.parent.iterdir(), key):
        assert stat.S_IMODE(one.stat().st_mode) & 0o077 == 0, one


def test_a_command_that_only_looks_waits_for_nobody(database, path, tmp_path):
    with lock_held(path):
        done = command(f"sqlite:///{path}", tmp_path, "user", "list")
    assert (done.returncode, done.stdout.count("active")) == (0, 2)
