"""Phantom lesions in slices of real liver: what classifiers say there, and what memory that took.

``python -m ml paste`` on some patients of the slices under HEPATICA_TEST_DATA; without them the
section says so.
"""

from __future__ import annotations

import os
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from ml.__main__ import main as command
from ml.experiment.tissue.compared import Compared
from ml.experiment.tissue.record import Found
from ml.ground.records import from_json
from ml.progress import RunDir

_PATIENT = r"_(\d+)_"
_LESIONS, _SLICES = 300, 120


def section() -> Iterator[str]:
    """Balanced accuracy by tissue, how phantom liver is told from real, seconds and memory."""
    data = os.environ.get("HEPATICA_TEST_DATA")
    slices = Path(data or "") / "liver_slices" / "msd_liver"
    if not data or not slices.is_dir():
        yield "left out: no slices of real liver (HEPATICA_TEST_DATA/liver_slices/msd_liver)"
        return
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        names = sorted(path.name for path in (slices / "images").iterdir())
        some = names[:: max(1, len(names) // _SLICES)]
        for kind in ("images", "masks"):
            (home / kind).mkdir()
            for name in some:
                (home / kind / name).symlink_to(slices / kind / name)
        out = home / "pasted"
        began = time.perf_counter()
        ended = command(
            ["paste", "--images", str(home / "images"), "--masks", str(home / "masks"),
             "--spacing-mm", "1.5", "--hu", "0,255", "--patient", _PATIENT,
             "--count", str(_LESIONS), "--out", str(out)]
        )  # fmt: skip
        if ended:
            raise RuntimeError("no lesions were pasted")
        wall = time.perf_counter() - began
        found = from_json(Found, RunDir(out).read_json("tissue.json"))
        made = found.made
    yield (
        f"{sum(made.counts.values())} lesions in {made.slices} slices of {made.patients} "
        f"patients, of {len(some)} slices: {wall:.0f} s, "
        f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB at most"
    )
    for one in found.asked:
        yield f"{one.classifier}, {one.where}: balanced accuracy {one.balanced}"
    if isinstance(found.compared, Compared):
        for told in found.compared.told:
            yield f"phantom liver told from real, {told.how}: area {told.area}"
    else:
        yield found.compared
