"""Phantom lesions in real tissue as the ROIs of an arm: which stock will do, and its ROIs.

The lesions of a class are taken in the stock's order, the same in every fold and seed. They stand
in the tissue of patients, so none of these may test, nor choose a size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml.config import ConfigError, Experiment
from ml.dataset.folds import LeakageError, folds_of, inner_of
from ml.dataset.manifest import Line, Manifest
from ml.experiment import arms
from ml.experiment.outcomes import PastedOutcome
from ml.experiment.tissue import TissueError
from ml.experiment.tissue.stock import Greys, PastedLesion, Stock
from ml.images.ct_slice import ImageKind
from ml.statistics.symmetry import SYMMETRIES, turned

_LOOKED_AT = 64
"""Pixels about a lesion by which two slices are first compared …"""
_FEWEST = 16
"""… of which so many at least must be neither black nor white."""
_MAYBE, _SAME = 0.5, 0.9
"""Shares of equal pixels: above the first all are compared; above the second it is one slice."""
_FINE_HU = 2.0
"""Where greys lie no further apart, two that are neighbours count as equal: one may be cut off, the
other rounded."""


def needed(settings: Experiment, classes: int) -> int:
    """Pasted lesions of a class that the largest size takes; 0 where the arm is not asked for."""
    if not settings.tissue:
        return 0
    return arms.most_synthetic(settings, classes, arms.PASTED) * (settings.folds - 1)


def refuse_unfit(
    stock: Stock, settings: Experiment, manifest: Manifest, seeds: Sequence[int]
) -> None:
    """Refuse a stock that this run cannot train on.

    Raises:
        TissueError: other lesions than the run was begun with, a damaged picture, other classes,
            greys that the data set's do not fit, or fewer lesions than the largest size takes.
        LeakageError: it lies in slices of somebody who tests or chooses a size.
    """
    if stock.digest != settings.tissue:
        raise TissueError(
            f"{stock.folder} holds pasted lesions of digest {stock.digest[:12]}, and the run is of "
            f"{settings.tissue[:12]}: another pasting, or it was made anew. Give the folder that "
            "the run was begun with, or begin a new run."
        )
    keys, there = manifest.scheme.keys, stock.made.counts
    if set(keys) != set(there):
        raise TissueError(
            f"{stock.folder} holds pasted lesions of {', '.join(there)}; the classes of "
            f"{manifest.name} are {', '.join(keys)}. They must be the same."
        )
    _refuse_greys(stock, settings, manifest)
    most = needed(settings, len(keys))
    if stock.fewest < most:
        rarest = min(there, key=lambda key: there[key])
        raise TissueError(
            f"{stock.folder} holds {there[rarest]} pasted lesions of class {rarest}; the largest "
            f"size takes {most} of each ({settings.synthetic_of(len(keys))[-1]} per class and "
            "training fold). Paste more, or lower synthetic."
        )
    stock.verify()
    tested, patients = _tested(settings, manifest, seeds), stock.patients
    for line in tested:
        if line.patient in patients:
            raise LeakageError(
                f"Patient {line.patient} of {manifest.name} tests or chooses a size, and "
                f"{patients[line.patient]} of {stock.folder} is a slice of a patient of the "
                "same name: leave their slices out of paste; if they are two people, tell them "
                "apart by --patient of paste."
            )
    _refuse_same(stock, manifest, tested)


def _refuse_greys(stock: Stock, settings: Experiment, manifest: Manifest) -> None:
    if manifest.kind == ImageKind.UNCALIBRATED:
        raise TissueError(
            f"{manifest.name} has grey values without HU, pasted lesions have HU: nobody knows "
            "which grey of the one is which of the other. Give a data set in HU."
        )
    low, high = stock.made.greys_hu
    if settings.window_low_hu < low or settings.window_high_hu > high:
        within = max(low, settings.window_low_hu), min(high, settings.window_high_hu)
        remedy = (
            f"set window_low_hu={within[0]:g} window_high_hu={within[1]:g} for all arms, or paste "
            "into slices that hold more."
            if within[0] < within[1]
            else "paste into slices that hold it."
        )
        raise TissueError(
            f"The window, {settings.window_low_hu:g} to {settings.window_high_hu:g} HU, reaches "
            f"beyond what the slices of {stock.folder} hold, {low:g} to {high:g} HU, so that their "
            f"tissue would have other greys than the data set's: {remedy}"
        )


def _tested(settings: Experiment, manifest: Manifest, seeds: Sequence[int]) -> list[Line]:
    """Lesions that test, or on which a size is chosen, in any fold of any seed."""
    found = {
        line.id
        for seed in seeds
        for fold in folds_of(manifest, settings, seed)
        for line in (*fold.test, *inner_of(manifest, settings, seed, fold).test)
    }
    return [line for line in manifest.lines if line.id in found]


# -- the same slice under another name -------------------------------------------------------------


@dataclass(frozen=True)
class _About:
    """Of one line what the data set keeps about the lesion, as the stock's pictures would hold it.

    Attributes:
        rows, columns: (n,) where on the slice.
        greys: (n,) there, neither black nor white.
    """

    line: Line
    rows: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]
    greys: npt.NDArray[np.int64]

    @classmethod
    def of(cls, line: Line, manifest: Manifest, stock: Stock) -> _About | None:
        """None where the slice is not known, or too little of it has greys that tell anything."""
        if line.image_size is None:
            return None
        hu = np.load(manifest.context_path(line), allow_pickle=False)
        low, _ = stock.made.greys_hu
        greys = np.rint((hu.astype(np.float64) - low) / stock.made.step_hu).astype(np.int64)
        y, x = np.nonzero((greys > 0) & (greys < 255))
        rows, columns = y + line.origin[1], x + line.origin[0]
        # beyond the slice a data set keeps what it makes up
        height, width = line.image_size
        there = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        if there.sum() < _FEWEST:
            return None
        return cls(line, rows[there], columns[there], greys[y, x][there])

    def few(self) -> npt.NDArray[np.int64]:
        """(_LOOKED_AT,) places all over the pixels."""
        return np.linspace(0, len(self.greys) - 1, _LOOKED_AT).astype(np.int64)


def _refuse_same(stock: Stock, manifest: Manifest, tested: Sequence[Line]) -> None:
    """LeakageError where a slice of a tested lesion was pasted into, whoever it is said to be of.

    Slices are compared pixel by pixel at the same place, also mirrored and turned: one that was
    shifted or resampled before is not found.
    """
    by_size: dict[tuple[int, ...], list[_About]] = {}
    for line in tested:
        about = _About.of(line, manifest, stock)
        if about is not None and line.image_size is not None:
            by_size.setdefault(line.image_size, []).append(about)
    tolerance = 1 if stock.made.step_hu <= _FINE_HU else 0
    looked = {
        size: (
            np.stack([one.rows[one.few()] for one in some]),
            np.stack([one.columns[one.few()] for one in some]),
            np.stack([one.greys[one.few()] for one in some]),
        )
        for size, some in by_size.items()
    }
    for pasted, picture in _slices(stock):
        both = np.stack([picture, _away(pasted, picture)])
        for symmetry in range(SYMMETRIES):
            seen, away = turned(both, symmetry)
            if seen.shape not in looked:
                continue
            rows, columns, greys = looked[seen.shape]
            equal = np.abs(seen[rows, columns] - greys) <= tolerance
            for i in np.flatnonzero(equal.mean(axis=1) >= _MAYBE):
                about = by_size[seen.shape][i]
                if _is_same(about, seen, away, tolerance):
                    raise LeakageError(
                        f"{about.line.file} of patient {about.line.patient} tests or chooses a "
                        f"size, and {pasted.file} of {stock.folder} is the same slice "
                        f"({pasted.background} of patient {pasted.patient}); leave it out of paste."
                    )


def _slices(stock: Stock) -> Iterator[tuple[PastedLesion, Greys]]:
    """One picture of every slice that was pasted into."""
    seen: set[str] = set()
    for one in stock.lesions:
        if one.background not in seen:
            seen.add(one.background)
            yield one, stock.greys(one)


def _away(pasted: PastedLesion, picture: Greys) -> Greys:
    """(rows, columns) 1 where the slice is as it was, 0 about the pasted lesion."""
    away, box = np.ones_like(picture), pasted.box
    reach = max(box.width, box.height)
    rows = slice(max(0, round(box.y - reach)), round(box.y + box.height + reach))
    columns = slice(max(0, round(box.x - reach)), round(box.x + box.width + reach))
    away[rows, columns] = 0
    return away


def _is_same(about: _About, seen: Greys, away: Greys, tolerance: int) -> bool:
    """Whether all but the pasted lesion is one slice."""
    equal = np.abs(seen[about.rows, about.columns] - about.greys) <= tolerance
    own = away[about.rows, about.columns] > 0
    return bool((equal[own] if own.sum() >= _FEWEST else equal).mean() >= _SAME)


# -- their ROIs ------------------------------------------------------------------------------------


def cut(
    stock: Stock, key: str, most: int, window_hu: tuple[float, float]
) -> tuple[npt.NDArray[np.float16], PastedOutcome]:
    """The first ``most`` ROIs of a class, or all there are: (n, 64, 64), and whose tissue it is.

    Raises:
        ConfigError: there is no lesion of the class.
        TissueError: a picture is missing or was altered.
    """
    chosen = stock.of_class(key)[:most]
    if not chosen:
        raise ConfigError(f"{stock.folder} holds no pasted lesion of class {key}.")
    rois = np.stack([stock.roi(one, window_hu) for one in chosen]).astype(np.float16)
    return rois, PastedOutcome(
        lesion_class=key,
        rois=len(chosen),
        slices=tuple(sorted({one.background for one in chosen})),
        patients=tuple(sorted({one.patient for one in chosen})),
        made=stock.made,
    )
