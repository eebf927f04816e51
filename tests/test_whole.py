"""What a run of everything asks of itself can be missed, and is told."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import whole


def test_every_route_is_known_by_its_address_and_one_that_nobody_calls_is_told():
    known = whole.routes()
    assert "POST /api/v1/classifications" in known.values()
    assert len(known) > 80
    called = {name: {"a test"} for name in known}
    assert whole.missing(called) == []
    name = next(name for name, words in known.items() if words == "GET /patterns")
    assert whole.missing(called | {name: set()}) == ["GET /patterns"]


def test_a_file_that_a_merge_left_without_tests_is_told(tmp_path: Path):
    (tmp_path / "within").mkdir()
    (tmp_path / "test_one.py").write_text("def test_it(): ...")
    (tmp_path / "within" / "test_two.py").touch()
    assert whole.empty(tmp_path) == ["within/test_two.py"]
    assert whole.empty() == []


def test_the_long_ones_wait_until_they_are_named():
    kept = tomllib.loads((whole.TESTS.parent / "pyproject.toml").read_text("utf-8"))["tool"]
    assert f"-m '{whole.UNASKED}'" in kept["pytest"]["ini_options"]["addopts"]
    make = (whole.TESTS.parent / "Makefile").read_text("utf-8")
    assert f'-m "{whole.EVERY_CHANGE}"' in make.partition("\ncheck:")[2].partition("\n\n")[0]
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "tests/browser/test_ohif.py"]
    told = subprocess.run(
        command, cwd=whole.TESTS.parent, capture_output=True, text=True, check=False
    )
    assert "ohif_shows_the_answer" in told.stdout
