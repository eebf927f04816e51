"""An installation may be given on: permissive licences alone, all of them listed."""

from __future__ import annotations

import platform
import re
import sys
from importlib import metadata
from pathlib import Path

import pytest

import licences
from licences import CUDA, PARTED, PERMISSIVE, Part

ROOT = Path(__file__).resolve().parent.parent
LISTED = (ROOT / "LICENSES.md").read_text("utf-8")
ROW = re.compile(r"\| ([a-z0-9-]+) \| (\S+) \| (.+) \|")


@pytest.fixture(scope="module")
def found() -> list[Part]:
    """What comes with PyTorch's CUDA build is not looked at: LICENSES.md says so."""
    return [part for part in licences.parts() if not CUDA.fullmatch(part.name)]


def test_no_licence_forbids_to_give_an_installation_on(found: list[Part]) -> None:
    refused = {part.name: part.licence for part in found if not part.terms_used <= PERMISSIVE}
    assert {name: told for name, told in refused.items() if name not in PARTED} == {}


def test_the_lgpl_is_only_in_an_optional_extra(found: list[Part]) -> None:
    for part in found:
        if part.name in PARTED:
            assert (part.licence, part.extra) == (PARTED[part.name], "postgres")
    assert "psycopg" in LISTED.partition("hepatica[postgres]")[2]


def test_the_list_names_every_distribution_with_its_licence(found: list[Part]) -> None:
    listed = {name: told for name, *told in ROW.findall(LISTED)}
    assert listed == {part.name: [part.version, part.licence] for part in found}


def test_the_list_is_of_the_pinned_versions() -> None:
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M))
    pinned = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pins.items()}
    rows = {name: version for name, version, _ in ROW.findall(LISTED)}
    assert rows
    assert rows == {name: pinned.get(name) for name in rows}


@pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"),
    reason="the libraries in the wheels are listed for Linux on x86-64",
)
def test_the_list_is_what_the_command_writes(found: list[Part]) -> None:
    assert licences.render(found) == LISTED, "run `make licences`"


@pytest.mark.parametrize(
    ("told", "licence"),
    [
        ("License: GPL V3.0\nClassifier: License :: Other/Proprietary License", "GPL-3.0"),
        ("Classifier: License :: OSI Approved :: GNU Affero General Public License v3", "GNU Aff"),
        ("License-Expression: MIT AND LGPL-2.1-only", "LGPL-2.1-only"),
        ("License: MIT\nClassifier: License :: OSI Approved :: GNU General Public License v3 (GPLv3)", "GPL-3.0"),  # noqa: E501
        ("Home-page: here", "none stated"),
    ],
)  # fmt: skip
def test_a_licence_that_binds_is_seen_wherever_it_stands(
    tmp_path: Path, told: str, licence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "binding-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: binding\nVersion: 1.0\n{told}\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert metadata.version("binding") == "1.0"
    project = tmp_path / "pyproject.toml"
    project.write_text(
        '[project]\ndependencies = ["binding"]\n[project.optional-dependencies]\n'
        "train = []\npostgres = []\n"
    )
    (part,) = licences.parts(project)
    assert licence in part.licence
    assert not part.terms_used <= PERMISSIVE
