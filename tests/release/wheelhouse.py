"""A folder from which Hepatica is installed where there is no internet."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from packaging.utils import parse_wheel_filename

from release import sbom
from release.hashes import LISTED, ROOT
from release.verify import SUMS, digest

_HERE = Path(__file__).resolve().parent
_OWN = ("app", "ml", "templates", "static", "migrations")
_FILES = ("pyproject.toml", "README.md", "LICENSE", "LICENSES.md")
_OLDER = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}
"""What tags were called before they told the version of glibc (PEP 600)."""
_BUILD = "setuptools"
"""What builds the project's own wheel and the image; nothing that is installed needs it."""


def requirements(wheels: list[Path]) -> str:
    """pip's requirements: each distribution once, with the digests of all of its wheels."""
    found: dict[str, list[str]] = {}
    for path in wheels:
        name, release, _, _ = parse_wheel_filename(path.name)
        found.setdefault(f"{name}=={release}", []).append(digest(path))
    return "".join(
        " ".join((name, *(f"--hash=sha256:{one}" for one in sorted(digests)))) + "\n"
        for name, digests in sorted(found.items())
    )


def platform(wheels: list[Path]) -> str:
    """What a machine must be to take every wheel, in words (PEP 600 for Linux)."""
    least, machines = (0, 0), set()
    for path in wheels:
        tags = [tag.platform for tag in parse_wheel_filename(path.name)[3] if tag.platform != "any"]
        needed = [_glibc(tag) for tag in tags if tag.startswith("manylinux")]
        least = max(least, min(needed, default=least))
        machines |= {re.sub(r"manylinux[0-9]*_([0-9]+_[0-9]+_)?", "", tag) for tag in tags}
    words = " and ".join(sorted(machines)) or "any platform"
    return f"Linux on {words} with glibc {least[0]}.{least[1]} or newer" if any(least) else words


def _glibc(tag: str) -> tuple[int, int]:
    named = re.match(r"manylinux_(\d+)_(\d+)_", tag)
    return (int(named[1]), int(named[2])) if named else _OLDER[tag.partition("_")[0]]


def seal(folder: Path) -> str:
    """Write ``SHA256SUMS`` of all that is in the folder; its own SHA-256."""
    sums = folder / SUMS
    sums.unlink(missing_ok=True)
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [f"{digest(path)}  {path.relative_to(folder).as_posix()}\n" for path in paths]
    sums.write_text("".join(lines), "utf-8")
    return digest(sums)


def make(folder: Path, pythons: list[str], version: str) -> str:
    """Fetch, build and seal; the SHA-256 of ``SHA256SUMS``.

    Args:
        folder: made anew.
        pythons: versions such as 3.12, for which there is a wheel of everything; the running one
            where none is named.

    Raises:
        SystemExit: a wheel cannot be had, in pip's words, or the folder is there.
    """
    if folder.exists():
        raise SystemExit(f"{folder} is there already; name another folder, or delete it.")
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    wheels = folder / "wheels"
    wheels.mkdir(parents=True)
    for python in pythons or [running]:
        other = [] if python == running else ["--python-version", python]
        _pip("download", "--no-deps", "--only-binary=:all:", *other, "--require-hashes",
             "-r", str(LISTED), "--dest", str(wheels))  # fmt: skip
    _build(wheels)
    kept = [path for path in sorted(wheels.glob("*.whl")) if not path.name.startswith(f"{_BUILD}-")]
    (folder / "requirements.txt").write_text(requirements(kept), "utf-8")
    tags = [f"cp{python.replace('.', '')}" for python in pythons or [running]]
    (folder / "PYTHONS").write_text("".join(f"{tag}\n" for tag in tags), "utf-8")
    for name in ("verify.py", "install.sh"):
        shutil.copy(_HERE / name, folder / name)
    for name in ("LICENSE", "LICENSES.md"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "sbom.cdx.json").write_text(sbom.of_wheels(kept), "utf-8")
    write_readme(folder, version)
    return seal(folder)


def write_readme(folder: Path, version: str, image: str = "") -> None:
    """``README.txt``; with a paragraph on the image where there is one."""
    title = f"Hepatica {version}, for machines without internet"
    tags = (folder / "PYTHONS").read_text("utf-8").split()
    told = (_HERE / "README.txt").read_text("utf-8").partition("\n")[2]
    (folder / "README.txt").write_text(
        title + "\n" + told.format(
            rule="=" * len(title),
            pythons=", ".join(tags),
            platform=platform(list((folder / "wheels").glob("*.whl"))),
            made=f"{datetime.now(UTC):%Y-%m-%d}",
            image=image,
        ),
        "utf-8",
    )  # fmt: skip


def _build(wheels: Path) -> None:
    """The wheel of this tree, from a copy, so that nothing is left in it; no network is asked."""
    with tempfile.TemporaryDirectory() as place:
        tree = Path(place) / "tree"
        for name in _OWN:
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, tree / name, ignore=ignored)
        for name in _FILES:
            shutil.copy(ROOT / name, tree / name)
        _pip("wheel", "--no-deps", "--no-index", "--find-links", str(wheels),
             "--wheel-dir", str(wheels), str(tree))  # fmt: skip


def _pip(*words: str) -> None:
    """Run pip; what it fetches is what its digest says, so any source will do."""
    environment = {key: value for key, value in os.environ.items() if key != "PIP_CONSTRAINT"}
    done = subprocess.run(
        [sys.executable, "-m", "pip", words[0], "--quiet", "--disable-pip-version-check",
         *words[1:]],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        told = [line for line in done.stderr.splitlines() if not line.startswith("WARNING")]
        raise SystemExit("\n".join(["pip refuses:", *told]))
