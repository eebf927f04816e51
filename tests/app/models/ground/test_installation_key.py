"""The installation key: long, whole, the same for all processes, and this database's."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from app.__main__ import main
from app.db import Database
from app.errors import Conflict
from app.models import Event, Fingerprint
from app.settings import KeyRefused, Settings, settings

ROOT = Path(__file__).resolve().parents[4]
KEY = "a key for tests, thirty-two characters or more"


def kept_in(path: Path) -> Settings:
    return Settings(installation_key="", installation_key_file=path)


@pytest.mark.parametrize("content", [b"", b"\n", b"x" * 31, b"  " + b"x" * 31 + b"\n"])
def test_a_key_that_is_too_short_is_refused_wherever_it_comes_from(tmp_path, content):
    path = tmp_path / "installation.key"
    path.write_bytes(content)
    with pytest.raises(KeyRefused, match="at least 32"):
        kept_in(path).key()
    assert path.read_bytes() == content
    if content:
        with pytest.raises(KeyRefused, match="at least 32"):
            Settings(installation_key=content.decode()).key()


def test_a_key_that_was_there_is_used_as_it_is(tmp_path):
    path = tmp_path / "installation.key"
    path.write_bytes(b"\xff" + b"k" * 40 + b"\n")
    assert kept_in(path).key() == b"\xff" + b"k" * 40
    assert Settings(installation_key=KEY).key() == KEY.encode()


def test_a_name_that_is_nearly_a_settings_is_refused_and_others_are_left_alone(monkeypatch):
    monkeypatch.setenv("HEPATICA_PACS_PASSWORD", "a secret that an entry names")
    monkeypatch.setenv("HEPATICA_PORT_8000_TCP", "tcp://10.0.0.1:8000")  # Kubernetes sets such
    Settings()
    for name, meant in (("DOOR_STWO", "DOOR_STOW"), ("Review_Frist", "REVIEW_FIRST")):
        with monkeypatch.context() as within, pytest.raises(ValueError, match=meant):
            within.setenv(f"HEPATICA_{name}", "")
            Settings()


def test_processes_that_start_at_once_agree_on_one_key(tmp_path):
    path = tmp_path / "var" / "installation.key"
    with ThreadPoolExecutor(16) as pool:
        keys = set(pool.map(lambda _: kept_in(path).key(), range(64)))
    assert len(keys) == 1
    assert len(keys.pop()) == 64
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["installation.key"]


def test_a_start_that_is_killed_leaves_no_half_a_key(tmp_path):
    path = tmp_path / "installation.key"
    program = (
        "import os, sys; from pathlib import Path; from app.settings import Settings\n"
        "for name in ('link', 'fsync'):\n"
        "    if sys.argv[2] == name: setattr(os, name, lambda *_: os._exit(9))\n"
        "Settings(installation_key='', installation_key_file=Path(sys.argv[1])).key()"
    )
    for moment in ("fsync", "link"):
        done = subprocess.run([sys.executable, "-c", program, str(path), moment], cwd=ROOT)
        assert done.returncode == 9
        assert not path.exists()
    assert len(kept_in(path).key()) == 64


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(KeyRefused, match="HEPATICA_INSTALLATION_KEY"):
        kept_in(tmp_path / "file" / "installation.key").key()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path):
    url = f"sqlite:///{tmp_path}/key.sqlite3"
    made = Database(url if request.param == "sqlite" else request.getfixturevalue("postgres"))
    made.migrate()
    yield made
    made.engine.dispose()


def test_another_key_than_the_databases_is_refused(database):
    def confirm(key: str) -> None:
        with database.transaction() as session:
            Fingerprint.confirm(session, key.encode())

    with ThreadPoolExecutor(8) as pool:  # web processes at a first start
        list(pool.map(confirm, [KEY] * 8))
    with pytest.raises(Conflict, match="not the one that this database was filled under"):
        confirm("another key of thirty-two characters, or more")
    confirm(KEY)
    with database.reading() as session:
        kept = session.scalars(sa.select(Fingerprint)).one()
        assert KEY not in kept.value
    with database.transaction() as session:
        assert Fingerprint.adopt(session, b"the key of a restored installation, long", "ada")
        assert not Fingerprint.adopt(session, b"the key of a restored installation, long", "bob")
        told = session.execute(sa.select(Event.actor, Event.kind)).all()
        assert told == [("ada", "installation key adopted")]
    with pytest.raises(Conflict):
        confirm(KEY)


# ---- the command line says it in one sentence ----------------------------------------------------


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """``command("user", "list")`` → (exit status, what was said on standard error)."""

    def run(*arguments: str, **environment: str) -> tuple[int, str]:
        given = {
            "HEPATICA_DATABASE_URL": f"sqlite:///{tmp_path}/command.sqlite3",
            "HEPATICA_INSTALLATION_KEY": KEY,
            **environment,
        }
        with monkeypatch.context() as patch:
            patch.setattr("app.logs.begin", lambda _settings: None)  # it would log for other tests
            for name in [one for one in os.environ if one.startswith("HEPATICA_")]:
                patch.delenv(name)
            for name, value in given.items():
                patch.setenv(name, value)
            settings.cache_clear()
            try:
                return main(list(arguments)), capsys.readouterr().err
            finally:
                settings.cache_clear()

    return run


def test_a_short_key_ends_each_start_with_one_sentence(command):
    for start in (("serve",), ("demo",), ("work", "--once")):
        status, said = command(*start, HEPATICA_INSTALLATION_KEY="short")
        assert status == 1
        assert said.startswith("error: HEPATICA_INSTALLATION_KEY has 5 characters")
        assert said.count("\n") == 1


def test_another_key_ends_each_start_with_one_sentence(command):
    assert command("work", "--once") == (0, "")
    for start in (("serve",), ("demo",), ("work", "--once")):
        status, said = command(*start, HEPATICA_INSTALLATION_KEY=KEY[::-1])
        assert status == 1
        assert "not the one that this database was filled under" in said
        assert said.count("\n") == 1
    assert command("key", "adopt", HEPATICA_INSTALLATION_KEY=KEY[::-1])[0] == 0
    assert command("work", "--once", HEPATICA_INSTALLATION_KEY=KEY[::-1])[0] == 0


def test_a_command_that_only_looks_makes_no_database(command, tmp_path):
    for looks in (("user", "list"), ("token", "list")):
        status, said = command(*looks)
        assert status == 1
        assert "empty" in said
        assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_newer_schema_is_told_in_one_sentence(command, tmp_path):
    database = Database(f"sqlite:///{tmp_path}/command.sqlite3")
    database.migrate()
    assert command("user", "list") == (0, "")
    with database.transaction() as session:
        session.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    database.engine.dispose()
    for start in (("user", "list"), ("user", "enable", "ada"), ("work", "--once"), ("serve",)):
        status, said = command(*start)
        assert status == 1
        assert "newer" in said
        assert "Traceback" not in said
        assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HEPATICA_PORT", "many"),
        ("HEPATICA_PUBLIC_ORIGIN", "hepatica.example.org"),
        ("HEPATICA_PUBLIC_ORIGIN", "https://hepatica.example.org/prefix"),
        ("HEPATICA_PROXIES", "*"),
        ("HEPATICA_PROXIES", "10.0.0.1, proxy"),
        ("HEPATICA_SESSION_IDLE_HOURS", "0"),
        ("HEPATICA_SET_LEVEL", "0.87"),
        ("HEPATICA_SET_LEVEL", "nan"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_in_one_sentence(command, name, value):
    status, said = command("user", "list", **{name: value})
    assert status == 1
    assert name in said
    assert said.count("\n") == 1


def test_settings_are_taken_in_the_forms_that_people_write():
    origin = Settings(public_origin=" https://Hepatica.Example.org/ ").public_origin
    assert origin == "https://hepatica.example.org"
    assert Settings(proxies="10.0.0.7, 10.1.0.0/16").proxies == "10.0.0.7,10.1.0.0/16"
    assert Settings(public_origin="http://x.example").https is False
    assert Settings(public_origin="https://x.example").https is True
    assert Settings(set_level="0.95").set_level == 0.95


def test_an_account_is_unlocked_from_the_command_line(command, monkeypatch):
    import io

    monkeypatch.setattr(sys, "stdin", io.StringIO("correct horse\n"))
    assert command("user", "add", "ada", "--role", "reader")[0] == 0
    assert command("user", "unlock", "ada") == (0, "")
    status, said = command("user", "unlock", "nobody")
    assert status == 1
    assert "no account named 'nobody'" in said
