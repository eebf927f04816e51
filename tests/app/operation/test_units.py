"""Units of systemd: systemd itself takes them, and says how little a service is exposed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from app.__main__ import main
from app.operation.units import Units, UnitsRefused

PYTHON = Path("/usr/bin/env")  # systemd asks whether it is there
MOST = 20
"""Exposure in tenths, of 0 to 100, as ``systemd-analyze security`` counts."""


def units(**other: object) -> Units:
    return Units(**{"python": PYTHON, "account": "daemon", "settings": Path("/etc/h"), **other})


def analyzed(*words: str) -> str:
    if not shutil.which("systemd-analyze"):
        pytest.skip("there is no systemd here")
    done = subprocess.run(["systemd-analyze", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_systemd_takes_every_unit_without_a_word(tmp_path):
    paths = units().write(tmp_path)
    assert [path.name for path in paths] == [
        f"hepatica-{noun}.service" for noun in ("web", "worker", "dicom-node")
    ]
    assert analyzed("verify", *map(str, paths)) == ""


def test_no_unit_is_exposed_by_more_than_2_of_10(tmp_path):
    for path in units().write(tmp_path):
        told = analyzed("security", "--offline=true", f"--threshold={MOST}", str(path))
        (score,) = re.findall(r"exposure level for \S+: ([\d.]+)", told)
        assert 10 * float(score) <= MOST


def test_every_line_of_a_sandbox_has_its_reason():
    for text in units().texts().values():
        before, _, sandbox = text.partition("\n\n# ")
        assert "User=daemon" in before
        lines = f"# {sandbox}".partition("\n\n")[0].splitlines()
        assert all(one.startswith("# ") for one in lines[::2])
        assert all(re.match(r"[A-Z]\w+=", one) for one in lines[1::2])


def test_a_unit_that_somebody_changed_is_not_written_over(tmp_path):
    units().write(tmp_path)
    units().write(tmp_path)  # the same is no matter
    changed = tmp_path / "hepatica-web.service"
    changed.write_text("mine")
    with pytest.raises(UnitsRefused, match=r"web\.service\.d"):
        units(account="other").write(tmp_path)
    assert changed.read_text() == "mine"
    assert "User=daemon" in (tmp_path / "hepatica-worker.service").read_text()


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"account": "Ada Lovelace"}, "small letters"),
        ({"settings": Path("settings")}, "absolute"),
        ({"python": Path("/opt/100%/python")}, "without spaces"),
        ({"python": Path("/home/ada/hepatica/bin/python")}, "under /opt"),
    ],
)
def test_units_that_could_not_start_are_refused(other, why):
    with pytest.raises(UnitsRefused, match=why):
        units(**other)


def test_a_python_that_leads_into_a_home_is_refused(tmp_path):
    """As that of a venv, which is a link to what made it."""
    link = tmp_path / "python"
    link.symlink_to("/root/versions/3.11/bin/python3")
    with pytest.raises(UnitsRefused, match="bin/python3 lies in a home"):
        units(python=link)


def test_the_command_names_the_files_and_what_to_do_next(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "executable", str(PYTHON))
    assert main(["units", str(tmp_path / "units")]) == 0
    assert "systemctl enable --now hepatica-web" in capsys.readouterr().out
    assert f"ExecStart={PYTHON} -m" in (tmp_path / "units/hepatica-web.service").read_text()
