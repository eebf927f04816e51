"""The scripts of the pages, as far as they need no page: Node's own test runner, no package."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from app import place

_TESTS = Path(__file__).parent / "js"


def _node() -> str:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no Node on this machine: the scripts are tested in the browser alone")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.strip().removeprefix("v").split(".")[0]) < 20:
        pytest.skip(f"Node {version.strip()} is too old: 20 or newer runs the tests of the scripts")
    return node


@pytest.mark.parametrize("path", sorted(_TESTS.glob("*.test.mjs")), ids=lambda path: path.stem)
def test_the_scripts_do_what_they_say(path):
    told = subprocess.run(
        [_node(), "--test", "--test-reporter=tap", str(path)],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    assert "# pass 0" not in told.stdout


def test_every_script_of_the_tests_is_run():
    """A file that is named otherwise would be passed over without a word."""
    tests = {path.name for path in _TESTS.iterdir() if "node:test" in path.read_text("utf-8")}
    assert tests == {path.name for path in _TESTS.glob("*.test.mjs")}
    assert tests


def test_nothing_of_the_desk_and_the_viewer_happens_at_import():
    """So each part can be tested, and the page that loads it decides when it starts."""
    scripts = [
        script
        for room in ("desk", "viewer")
        for script in sorted((place.ROOT / "static" / "js" / room).glob("*.js"))
    ]
    assert len(scripts) > 5
    imports = "".join(f'await import("{script.as_uri()}");' for script in scripts)
    told = subprocess.run(
        [_node(), "--input-type=module", "-e", imports], capture_output=True, text=True, timeout=60
    )
    assert told.returncode == 0, told.stderr


def test_no_script_makes_an_address_that_forgets_the_prefix():
    """`rooted` is static/js/root.js's; what a page or an answer tells is whole already."""
    for path in sorted((place.ROOT / "static" / "js").rglob("*.js")):
        code = re.sub(r"^\s*(//|/?\*).*|(?<=[;,{}) ])//.*", "", path.read_text("utf-8"), flags=re.M)
        made = re.findall(r"""(?<!rooted\()["'`]/[a-z].*""", code)
        assert made == [], path
