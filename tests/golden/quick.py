"""The preset ``quick`` on phantoms and on real nodules, every number: ``quick.json.xz``.

Four minutes on two cores. ``PYTHONPATH=. python -m tests.golden.quick`` writes the file
again, where ``HEPATICA_TEST_DATA`` names the nodules; a change of it is argued in the commit that
makes it.
"""

from __future__ import annotations

import json
import lzma
import os
import tempfile
from pathlib import Path
from typing import Any

from ml.__main__ import main as command
from tests.golden import pins

PINS = Path(__file__).with_name("quick.json.xz")
PHANTOMS, NODULES = "phantoms", "nodules"
DIGESTS = (
    "11cbd369e8d5d882d37da40b9d4522a3f01457f740bf460a59ef6d5188d83c36",
    "07bb85ad09f9551b1076019f8a109ef0aa210e3be11ae3a407f10db2a413b2c1",
    "eb2947ef4c2575f437f1e5d52d4ea20a954df52c4af31eb49128256624af634e",
)
"""Of the phantoms, on two processors with AVX-512 and one with AVX2 alone: vector instructions
round some pixels differently. The numbers that are pinned are those of the first."""
_COUNTS = "cyst=15,metastasis=15,hemangioma=15"


def of(source: str, folder: Path, jobs: int = 0) -> dict[str, Any]:
    """The names of a run's files and every number of its results, without what passes."""
    data, run = str(folder / "data"), folder / "run"
    if source == PHANTOMS:
        slices = str(folder / "slices")
        # the first phantom, whose digests are known on three processors
        _do("phantom", "--counts", _COUNTS, "--seed", "1", "--key-slices-only",
            "--phantom-version", "1", "--out", slices)  # fmt: skip
        _do("prepare", "dicom", slices, "--out", data)
    else:
        nodules = str(Path(os.environ["HEPATICA_TEST_DATA"]) / "nodules_ct64")
        _do("prepare", "images", nodules, "--whole", "--out", data)
    _do("experiment", "--data", data, "--preset", "quick", "--device", "cpu",
        "--jobs", str(jobs), "--out", str(run))  # fmt: skip
    return pins.of_run(run)


def _do(*words: str) -> None:
    if command(list(words)):
        raise RuntimeError(f"{' '.join(words[:2])} was refused")


def pinned() -> dict[str, Any]:
    """What the file holds."""
    told: dict[str, Any] = json.loads(lzma.decompress(PINS.read_bytes()))
    return told


def write(found: dict[str, Any]) -> None:
    """Write the file, with the canary of this machine."""
    text = json.dumps({"canary": pins.canary(), **found}, indent=1, sort_keys=True)
    PINS.write_bytes(lzma.compress(text.encode()))


def main() -> None:
    """Write the file anew."""
    found = {}
    for source in (PHANTOMS, NODULES):
        with tempfile.TemporaryDirectory() as folder:
            found[source] = of(source, Path(folder))
    write(found)


if __name__ == "__main__":
    main()
