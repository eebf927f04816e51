"""Copies that are planted among training lesions: how many are found at the flag rate of others.

By the distances that a run tells: pixels, features of the shipped network, and correlation whatever
shift, turn, mirror, gain and offset. Phantoms, and real nodules where there are some.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import planted_copies

from ml.__main__ import main as command
from ml.config import experiment
from ml.dataset.folds import patient_folds
from ml.dataset.manifest import Manifest
from ml.experiment.measuring import by_features, network
from ml.statistics import copies, memorisation
from ml.statistics.copies import Floats, Pixels

_COUNTS = "cyst=53,metastasis=64,hemangioma=65"


def section() -> Iterator[str]:
    """By class: the share of planted copies that is flagged, in each space."""
    with tempfile.TemporaryDirectory() as folder:
        for name, words in _data(Path(folder)):
            if any(command(list(each)) for each in words):
                raise RuntimeError(f"the data set of {name} was not made")
            yield from _found(name, Manifest.load(Path(folder) / name))


def _data(folder: Path) -> Iterator[tuple[str, tuple[tuple[str, ...], ...]]]:
    slices = str(folder / "slices")
    yield (
        "phantoms",
        (
            ("phantom", "--counts", _COUNTS, "--seed", "1", "--key-slices-only", "--out", slices),
            ("prepare", "dicom", slices, "--out", str(folder / "phantoms")),
        ),
    )
    if os.environ.get("HEPATICA_TEST_DATA"):
        nodules = str(Path(os.environ["HEPATICA_TEST_DATA"]) / "nodules_ct64")
        yield (
            "nodules",
            (("prepare", "images", nodules, "--whole", "--out", str(folder / "nodules")),),
        )


def _found(name: str, manifest: Manifest) -> Iterator[str]:
    window = experiment("compact").window_hu
    fold = next(iter(patient_folds(manifest, 3, 0)))
    net = network()
    spaces: dict[str, Callable[[Pixels, Pixels], Floats]] = {
        memorisation.PIXELS: lambda a, b: memorisation.nearest(
            memorisation.turns(a, memorisation.flat), memorisation.flat(b)
        )[0],
        memorisation.FEATURES: lambda a, b: by_features(net, a)(b, 1).gap,
        memorisation.COPIES: lambda a, b: copies.nearest(a, list(b)).gap,
    }
    for key in manifest.scheme.keys:
        train = np.stack([manifest.roi(line, window) for line in fold.train.only(key)])
        held = np.stack([manifest.roi(line, window) for line in fold.test.only(key)])
        yield f"{name}, {key}: {len(train)} training lesions, {len(held)} held out"
        for space, distance in spaces.items():
            limit = np.quantile(distance(held, train), memorisation.EXPECTED)
            shares = {}
            for how in planted_copies.copies(np.random.default_rng(0)):
                planted = planted_copies.planted(how, train, np.random.default_rng(1))
                shares[how] = float((distance(planted, train) < limit).mean())
            least = min(shares, key=lambda one: shares[one])
            missed = [f"{how} {100 * share:.0f} %" for how, share in shares.items() if share < 0.9]
            yield (
                f"  by {space}: least {100 * shares[least]:.0f} % ({least})"
                + (f"; under 90 %: {', '.join(missed)}" if missed else "; all from 90 % on")
            )
        real = copies.twins(train)
        sets = planted_copies.collapses(train, np.random.default_rng(2))
        twins = {
            how: float((copies.twins(rois) < np.quantile(real, memorisation.EXPECTED)).mean())
            for how, rois in {**sets, "held-out lesions": held}.items()
        }
        yield "  with a twin: " + ", ".join(f"{how} {100 * x:.0f} %" for how, x in twins.items())
