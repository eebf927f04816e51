"""Which licences an installation brings: ``make licences`` writes LICENSES.md from metadata.

Read are the requirements of pyproject.toml and, through them, the metadata of what is installed.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from importlib import metadata
from pathlib import Path, PurePosixPath

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = ("", "train", "postgres")
"""What is listed: the plain installation, and these extras of it."""

PERMISSIVE = frozenset(
    (
        "Apache-2.0", "MIT", "MIT-0", "MIT-CMU", "BSD", "BSD-2-Clause", "BSD-3-Clause", "0BSD",
        "BSL-1.0", "ISC", "PSF-2.0", "Zlib", "CC0-1.0", "LLVM-exception",
    )
)  # fmt: skip
"""May be given on with an Apache-2.0 product, in source and as part of an image."""

PARTED = {"psycopg": "LGPL-3.0-only", "psycopg-binary": "LGPL-3.0-only"}
"""Not permissive, and therefore never more than an optional extra: the driver of PostgreSQL."""

CUDA = re.compile(r"nvidia-.+|cuda-.+|triton|pytorch-triton")
"""What a CUDA build of PyTorch requires besides; NVIDIA's own licence, not in the image."""

_WORDS = {
    "apache 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "mit license": "MIT",
    "3-clause bsd license": "BSD-3-Clause",
    "bsd license": "BSD",
    "gnu general public license v3 (gplv3)": "GPL-3.0",
    "gpl v3.0": "GPL-3.0",
}
_GCC = "GPL-3.0-or-later WITH GCC-exception-3.1"
_OF_COMPILERS = {"libgfortran": _GCC, "libgomp": _GCC, "libquadmath": "LGPL-2.1-or-later"}
"""Runtime libraries of GCC, which some wheels hold without a word."""


@dataclass(frozen=True)
class Part:
    """A distribution: its licence in SPDX terms as its metadata say, and the libraries inside.

    Attributes:
        extra: the first of ``EXTRAS`` that brings it.
        libraries: names of shared libraries that the wheel holds besides its own modules.
        terms: folders of licence texts, relative to site-packages.
    """

    name: str
    version: str
    licence: str
    extra: str
    libraries: tuple[str, ...]
    terms: tuple[str, ...]

    @property
    def terms_used(self) -> frozenset[str]:
        """The single licences of the expression."""
        return frozenset(re.findall(r"[A-Za-z0-9.+-]+", self.licence)) - {"AND", "OR", "WITH"}


def parts(project: Path = ROOT / "pyproject.toml") -> list[Part]:
    """Every distribution that the plain installation and the extras bring, by name.

    Raises:
        LookupError: one is not installed here (make setup-test).
    """
    told = tomllib.loads(project.read_text("utf-8"))["project"]
    found: dict[str, Part] = {}
    for extra in EXTRAS:
        wanted = told["optional-dependencies"][extra] if extra else told["dependencies"]
        for name in sorted(_closure(wanted)):
            found.setdefault(name, _part(name, extra))
    return [found[name] for name in sorted(found)]


def _closure(wanted: list[str]) -> set[str]:
    seen: dict[str, set[str]] = {}
    left = [Requirement(text) for text in wanted]
    while left:
        requirement = left.pop()
        name = canonicalize_name(requirement.name)
        extras = seen.setdefault(name, set())
        new = {"", *requirement.extras} - extras
        if not new:
            continue
        extras |= new
        for text in _distribution(name).requires or []:
            further = Requirement(text)
            marker = further.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras):
                left.append(further)
    return set(seen)


def _distribution(name: str) -> metadata.Distribution:
    try:
        return metadata.distribution(name)
    except metadata.PackageNotFoundError as error:
        raise LookupError(f"{name} is not installed here; run `make setup-test`.") from error


def _part(name: str, extra: str) -> Part:
    distribution = _distribution(name)
    files = [PurePosixPath(str(file)) for file in distribution.files or []]
    libraries = {
        file.name.split("-")[0].split(".so")[0].rstrip("_")
        for file in files
        if any(part.endswith((".libs", ".dylibs")) for part in file.parts)
    }
    terms = {
        re.sub(r"(?<=licenses)/.+", "", file.parent.as_posix())
        for file in files
        if re.match(r"(licen[cs]e|copying|notice|patents)", file.name.lower())
        and ("licenses" in file.parts or file.parts[0].endswith(".dist-info"))
        and "_vendor" not in file.parts
    }
    return Part(
        name,
        distribution.version.partition("+")[0],
        told_by(distribution.metadata),
        extra,
        tuple(sorted(libraries)),
        tuple(sorted(terms)),
    )


def told_by(told: metadata.PackageMetadata | Message) -> str:
    """The expression; or the older fields, and what they contradict each other in."""
    expression = told.get("License-Expression")
    if expression:
        return str(expression)
    free = str(told.get("License") or "").strip().splitlines()[:1]
    older = [line.rsplit("::", 1)[-1].strip() for line in told.get_all("Classifier") or []
             if line.startswith("License ::") and not line.endswith("OSI Approved")]  # fmt: skip
    named = [_WORDS.get(words.lower(), words) for words in (*free, *older)]
    # a free field that holds the whole text begins with a name or a year
    named = [words for words in named if not words.lower().startswith("copyright")]
    plain = [words for words in named if not any(f"{words}-" in other for other in named)]
    return " AND ".join(dict.fromkeys(plain)) or "none stated"


def render(found: list[Part]) -> str:
    """LICENSES.md."""
    return "".join(f"{line}\n" for line in _lines(found))


def _lines(found: list[Part]) -> Iterator[str]:
    yield "# Licences of what an installation brings"
    yield ""
    yield (
        "Hepatica itself is Apache-2.0 (`LICENSE`). This list is written by `make licences` from "
        "the metadata of the pinned versions, and a test compares it with them. Every distribution "
        "carries the text of its licence in its `*.dist-info` folder, in the image as well."
    )
    yield ""
    for extra in EXTRAS:
        wanted = f"'hepatica[{extra}]'" if extra else "hepatica"
        yield f"## `pip install {wanted}`"
        yield ""
        if extra == "train":
            yield (
                "Listed is the CPU build of PyTorch. Its CUDA build requires `nvidia-*` packages "
                "as well, which are under NVIDIA's own licence; only an image for a worker that is "
                "built with it holds them."
            )
            yield ""
        if extra == "postgres":
            yield (
                "Optional, and under the LGPL: `psycopg` is used as a separate, unchanged library "
                "that anyone may replace (`pip install psycopg==…`). The image holds it; leave the "
                "extra out for an image without it (SQLite)."
            )
            yield ""
        yield "| Distribution | Version | Licence |"
        yield "|---|---|---|"
        for part in found:
            if part.extra == extra:
                yield f"| {part.name} | {part.version} | {part.licence} |"
        yield ""
    yield "## Libraries inside the wheels"
    yield ""
    yield (
        "Of Linux on x86-64. Their terms stand in the files named, as far as the wheel has any "
        "(a file may also tell of libraries that this build leaves out). Those of compilers are "
        f"{_GCC} (libgfortran, libgomp) and LGPL-2.1-or-later (libquadmath)."
    )
    yield ""
    for part in found:
        if part.libraries:
            yield f"- **{part.name}**: {', '.join(_named(part))}. Terms: {_places(part)}."
    yield (
        "- **onnxruntime** and **torch** hold third-party code within their own libraries. "
        "Terms: `onnxruntime/ThirdPartyNotices.txt`; `licenses/third_party/` of torch."
    )


def _named(part: Part) -> Iterator[str]:
    for library in part.libraries:
        of = _OF_COMPILERS.get(library)
        yield f"{library} ({of})" if of else library


def _places(part: Part) -> str:
    return ", ".join(f"`{folder}/`" for folder in part.terms) or "none in the wheel"


if __name__ == "__main__":
    sys.stdout.write(render(parts(*map(Path, sys.argv[1:2]))))
