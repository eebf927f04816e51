"""``python -m ml`` and ``python -m app`` in the hands of people: help, slips, and nothing else."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from cyclopts import App

import app.__main__
import ml.__main__
from ml.ground import terminal

ROOTS = {"ml": ml.__main__, "app": app.__main__}


def commands(parent: App, *path: str) -> Iterator[tuple[str, ...]]:
    """The way to every command and group of commands."""
    yield path
    for name in parent:
        if not name.startswith("-"):
            yield from commands(parent[name], *path, name)


COMMANDS = [(root, path) for root in ROOTS for path in commands(ROOTS[root].application)]
GROUPS = [
    (root, path)
    for root, path in COMMANDS
    if any(longer[: len(path)] == path and longer != path for r, longer in COMMANDS if r == root)
]


def name(value: object) -> str | None:
    return "-".join(value) or "itself" if isinstance(value, tuple) else None


def plain(text: str) -> bool:
    return not re.search(r"[─-╿]|\x1b|Traceback|object at 0x", text)


def test_the_commands_are_found():
    assert ("ml", ("readers", "plan")) in COMMANDS
    assert ("app", ("user", "add")) in COMMANDS
    assert len(COMMANDS) > 30
    groups = [path for root, path in GROUPS if root == "app"]
    assert groups == [(), ("user",), ("token",), ("key",), ("audit",), ("patient",), ("pacs",)]


@pytest.mark.parametrize(("root", "path"), COMMANDS, ids=name)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_every_command_shows_its_help(root, path, flag, capsys):
    assert ROOTS[root].main([*path, flag]) == terminal.DONE
    told, complaints = capsys.readouterr()
    assert complaints == ""
    assert told.startswith(f"Usage: {' '.join(('python -m', root, *path))}")
    assert plain(told)
    assert "None" not in told
    for rows in re.findall(r"^(?:Arguments|Options|Commands|Size.*):\n((?:  .*\n)+)", told, re.M):
        for row in re.findall(r"^  \S.*(?:\n {26}\S.*)*", rows, re.M):
            # what it is called, and at least a word on what it is
            assert re.search(r"(?:  |\n {26})[^\s\[]", row), row


@pytest.mark.parametrize(("root", "path"), GROUPS, ids=name)
def test_a_group_without_a_command_is_refused_with_those_that_it_has(root, path, capsys):
    for words, told in (((), "A command is missing; choose one of "), (("qqq",), "no command 'q")):
        assert ROOTS[root].main([*path, *words]) == terminal.MISUSED
        out, complaints = capsys.readouterr()
        assert out == ""
        assert told in complaints
        assert complaints.endswith(f"Try: {' '.join(('python -m', root, *path))} --help\n")


@pytest.mark.parametrize(
    ("root", "words", "told"),
    [
        ("ml", "clasifier", "There is no command 'clasifier'; the nearest is 'classifier'."),
        ("ml", "readers paln", "There is no command 'paln'; the nearest is 'plan'."),
        ("ml", "classifier --out x", "--data is missing."),
        ("ml", "classifier --out x --dat d", "--data is missing. Did you mean it by --dat?"),
        ("ml", "classifier --out x --data", "--data needs a value."),
        ("ml", "classifier --data d --out o --set", "--set needs a value."),
        ("ml", "classifier --data d --out o extra", "Nothing takes 'extra'."),
        ("ml", "classifier --data d --out o --no-cross-validate", "Unknown option: --no-cross-val"),
        ("ml", "weights --out o --jobs many", "--jobs: 'many' is not a whole number."),
        ("ml", "weights --out o --jobs 1.5", "--jobs: '1.5' is not a whole number."),
        ("ml", "weights --out o --jobs -3", 'Invalid value "-3" for --jobs. Must be >= 0.'),
        ("ml", "weights --out o --jobs 1025", "for --jobs. Must be <= 1024."),
        ("ml", "experiment --data d --out o --seeds 1e1", "--seeds: '1e1' is not a whole number."),
        ("ml", "phantom --out o", "Exactly 1 of {--patients, --counts} must be specified."),
        ("ml", "phantom --out o --patients 1 --counts cyst=1", "Exactly 1 of {--patients, --cou"),
        ("ml", "phantom --out o --counts cyst", "'cyst' is not of the form cyst=53,metastasis=64"),
        ("ml", "phantom --out o --counts cyst=1,cyst=2", "is not of the form cyst=53,metastasis"),
        (
            "ml",
            "prepare images x --out o --range a,b",
            "'a,b' is neither image nor of the form 0,4095.",
        ),
        ("ml", "prepare images x --out o --range -1,5", "--range: A range of grey values is two"),
        ("ml", "prepare images x --out o --boxes cm", 'for --boxes. Choose from: "xywh", "xyxy".'),
        ("ml", "prepare images --out o", "DIR is missing."),
        ("ml", "readers analyse f --covariance x", 'Choose from: "delong", "jackknife".'),
        ("ml", "readers plan --readers 3 --cases 9 --effect big", "--effect"),
        ("ml", "--version", "Unknown option: --version."),
        ("app", "user add ada", "--role is missing."),
        ("app", "user role ada king", 'Choose from: "reader", "researcher", "admin".'),
        ("app", "token add laptop --role x", '"reader", "researcher", "admin", "machine".'),
        ("app", "token add laptop --role machine --days long", "--days"),
        ("app", "serve --port http", "--port: 'http' is not a whole number."),
    ],
)
def test_a_slip_is_told_in_a_plain_sentence_with_where_to_look(root, words, told, capsys):
    assert ROOTS[root].main(words.split()) == terminal.MISUSED
    out, complaints = capsys.readouterr()
    assert out == ""
    sentence, where = complaints.splitlines()
    assert sentence.startswith("error: ")
    assert told in sentence
    assert sentence.endswith((".", "?"))
    assert re.fullmatch(rf"Try: python -m {root}[a-z -]* --help", where)
    assert plain(complaints)


def test_settings_follow_one_set_or_several(monkeypatch, capsys):
    given = {}
    monkeypatch.setattr("ml.training.classifier.train", lambda *_, **more: given.update(more) or ())
    words = "classifier --data d --out o --set gan.epochs=4 seed=-1 --set classifier.epochs=2"
    assert ml.__main__.main(words.split()) == terminal.REFUSED
    assert capsys.readouterr().err.startswith("error: seed must be 0 to ")
    words = words.replace("seed=-1", "seed=1").split()
    assert ml.__main__.main([*words, "--cross-validate"]) == terminal.DONE
    assert given["command"] == (
        "python -m ml classifier --data DATA --out RUN --cross-validate --preset shipped "
        "--set gan.epochs=4 seed=1 classifier.epochs=2"
    )
    assert given["cross_validate"] is True
    assert given["lower"] is True


@pytest.mark.parametrize("root", ROOTS)
def test_help_waits_for_nothing_heavy(root):
    program = (
        f"import sys; from {root}.__main__ import main; main(['--help']); "
        "heavy = {'numpy', 'scipy', 'torch', 'pydantic', 'sqlalchemy', 'fastapi', 'uvicorn'}; "
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60, capture_output=True)


def test_the_science_runs_without_the_web():
    """Settings are read and a study is planned where no part of the web is installed."""
    program = (
        "import sys\n"
        "for gone in ('fastapi', 'starlette', 'uvicorn', 'sqlalchemy', 'alembic', 'jinja2',\n"
        "             'pydantic_settings', 'multipart', 'pwdlib'):\n"
        "    sys.modules[gone] = None\n"
        "from ml.config import Experiment\n"
        "assert Experiment().override(['gan.epochs=1e1']).gan.epochs == 10\n"
        "from ml.__main__ import main\n"
        "sys.exit(main('readers plan --readers 5 --cases 120 --effect 0.1'.split()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], timeout=120, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "5 readers, 120 images" in done.stdout
