"""``hashes.txt``: of each file that an installation for serving may fetch, the SHA-256.

Listed is what ``hepatica[postgres]`` and its build bring, in the versions of ``constraints.txt``,
for every platform that has a file of it; pip refuses any other with ``--require-hashes``.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LISTED = ROOT / "hashes.txt"
_SHA256 = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_HEAD = "# SHA-256 of what is fetched for serving; written by `make hashes` from constraints.txt.\n"


@dataclass(frozen=True)
class Pin:
    """One distribution in one version, and the digests of its files."""

    requirement: Requirement
    sha256: tuple[str, ...]

    @property
    def name(self) -> str:
        """As packages are compared: small letters and hyphens."""
        return canonicalize_name(self.requirement.name)

    @property
    def version(self) -> str:
        """The one version that is allowed."""
        (only,) = self.requirement.specifier
        return only.version

    @property
    def is_for_this_machine(self) -> bool:
        """Whether this interpreter and platform need it."""
        return self.requirement.marker is None or self.requirement.marker.evaluate()


def read(path: Path = LISTED) -> list[Pin]:
    """What a file of pip's requirements with hashes lists."""
    lines = path.read_text("utf-8").replace("\\\n", " ").splitlines()
    return [
        Pin(Requirement(line.partition("--hash")[0]), tuple(_SHA256.findall(line)))
        for line in lines
        if line.strip() and not line.startswith("#")
    ]


def constraints() -> dict[str, str]:
    """Name → version of ``constraints.txt``."""
    told = re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text("utf-8"), re.M)
    return {canonicalize_name(name): version for name, version in told}


def write(resolver: Sequence[str], path: Path = LISTED) -> int:
    """Ask the package index anew, through uv; how many distributions are listed.

    Args:
        resolver: the command of uv.

    Raises:
        SystemExit: uv refuses, in its own words.
    """
    project = ROOT / "pyproject.toml"
    build = tomllib.loads(project.read_text("utf-8"))["build-system"]["requires"]
    with tempfile.TemporaryDirectory() as folder:
        beside = Path(folder) / "build.in"
        beside.write_text("\n".join(build), "utf-8")
        done = subprocess.run(
            [*resolver, "pip", "compile", str(project), str(beside), "--extra", "postgres",
             "--constraint", str(ROOT / "constraints.txt"), "--generate-hashes", "--universal",
             "--no-header", "--no-annotate", "--quiet"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"hashes.txt stays as it is: {done.stderr.strip()}")
    path.write_text(_HEAD + done.stdout, "utf-8")
    return len(read(path))
