"""The report's section on failures: what was wrong with the highest probability, in pictures."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ml.experiment.results import PREDICTIONS
from ml.experiment.results.scores import Selection

_ARMS = (
    "features", "classic", "classic+dcgan", "classic+acgan", "classic+cgan", "classic+diffusion",
    "classic+tissue",
)  # fmt: skip
_SHOWN = 8

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Failure:
    """A lesion that an arm named wrongly, its seeds averaged.

    Attributes:
        probability: of the class that was named.
        wrong: in how many of ``seeds`` it was named wrongly.
    """

    lesion: str
    patient: str
    truth: str
    named: str
    probability: float
    wrong: int
    seeds: int


def worst(folder: Path, keys: tuple[str, ...]) -> dict[str, list[Failure]]:
    """By arm under nested selection, the lesions that were wrong with the highest probability.

    Empty where a run left no predictions, as earlier versions did.
    """
    if not (folder / PREDICTIONS).exists():
        return {}
    found: dict[str, dict[tuple[str, str, str], list[Floats]]] = defaultdict(
        lambda: defaultdict(list)
    )
    with (folder / PREDICTIONS).open(encoding="utf-8", newline="") as stream:
        for line in csv.DictReader(stream):
            if line["selection"] == Selection.NESTED and line["arm"] in _ARMS:
                probabilities = np.array([float(line[f"probability_{key}"]) for key in keys])
                whose = line["lesion"], line["patient"], line["truth"]
                found[line["arm"]][whose].append(probabilities)
    return {arm: _of(found[arm], keys) for arm in _ARMS if arm in found}


def _of(
    lesions: Mapping[tuple[str, str, str], list[Floats]], keys: tuple[str, ...]
) -> list[Failure]:
    wrong = []
    for (lesion, patient, truth), seeds in lesions.items():
        mean = np.mean(seeds, axis=0)
        named = keys[int(mean.argmax())]
        if named != truth:
            times = sum(keys[int(one.argmax())] != truth for one in seeds)
            probability = float(mean.max())
            wrong.append(Failure(lesion, patient, truth, named, probability, times, len(seeds)))
    return sorted(wrong, key=lambda one: (-one.probability, one.lesion))


def section(
    folder: Path,
    displays: Mapping[str, str],
    seed: int,
    picture: Callable[[npt.NDArray[np.float16]], str],
) -> str:
    """HTML; empty where there is nothing to tell.

    Args:
        displays: key → name of each class, in the order of the scheme.
        seed: whose cut views hold the pictures; without them lesions are told without.
        picture: (1, 64, 64) → an ``src``.
    """
    found = worst(folder, tuple(displays))
    if not found:
        return ""
    views = _Views(folder / "views" / str(seed))
    told = ""
    for arm, failures in found.items():
        drawn = "".join(
            _figure(one, displays, views.roi(one.lesion), picture) for one in failures[:_SHOWN]
        )
        told += (
            f"<h3>{escape(arm)}: {len(failures)} lesions named wrongly</h3>"
            f'<div class="row">{drawn}</div>'
        )
    return (
        "<h2>Failures</h2><p>Named wrongly by the mean of the seeds' probabilities, nested "
        f"selection; the {_SHOWN} that were wrong with the highest probability. All are in "
        f"predictions.csv.</p><details><summary>Pictures of the lesions</summary>{told}"
        "</details>"
    )


def _figure(
    one: Failure,
    displays: Mapping[str, str],
    roi: npt.NDArray[np.float16] | None,
    picture: Callable[[npt.NDArray[np.float16]], str],
) -> str:
    words = (
        f"{displays[one.truth]}",
        f"named {displays[one.named]}, {one.probability:.2f}",
        f"wrong in {one.wrong} of {one.seeds} seeds",
        f"lesion {one.lesion}, patient {one.patient}",
    )
    shown = ""
    if roi is not None:
        alt = f"ROI of lesion {escape(one.lesion)}"
        shown = f'<img alt="{alt}" width="128" src="{picture(roi[None])}">'
    return f"<figure>{shown}<figcaption>{'<br>'.join(map(escape, words))}</figcaption></figure>"


class _Views:
    """ROIs of the lesions as the run cut them."""

    def __init__(self, folder: Path) -> None:
        self._place: dict[str, tuple[Path, int]] = {}
        for path in sorted(folder.glob("*.jsonl")):
            lines = [json.loads(line)["line"] for line in path.read_text("utf-8").splitlines()]
            for i, lesion in enumerate(dict.fromkeys(lines)):
                self._place[lesion] = path.with_suffix(".npy"), i

    def roi(self, lesion: str) -> npt.NDArray[np.float16] | None:
        """(64, 64), or None where the run's folder has it no more."""
        if lesion not in self._place or not self._place[lesion][0].exists():
            return None
        path, row = self._place[lesion]
        found: npt.NDArray[np.float16] = np.asarray(np.load(path, mmap_mode="r")[row, 0])
        return found
