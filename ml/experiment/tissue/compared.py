"""Phantom liver beside real liver: the same numbers of both, and a classifier that tells them.

Both are seen at the same pixels and greys: squares of liver without a lesion. Means are those of
patients, each counted once; a classifier (the arm ``features``' trees) is trained on the squares of
four fifths of the patients and asked about the others'.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import scipy
from PIL import Image

from ml.config import SimpleModel, seed_for
from ml.experiment.tissue import TissueError
from ml.experiment.tissue.asked import as_slice
from ml.experiment.tissue.grain import COARSE_MM, frequencies
from ml.experiment.tissue.slices import Floats, LiverSlice
from ml.images.measurements import measure
from ml.lesion import ROI_SIZE_PX
from ml.phantom import elsewhere
from ml.phantom.patient import PhantomPatient
from ml.statistics import bootstrap, roc
from ml.statistics.figure import Figure
from ml.training import simple

SIDE_MM = 36.0
"""Of a square: enough for the coarse mottle of a liver, and small enough for most of them."""
BANDS_PER_MM = (0.0, 0.05, 0.10, 0.15, 0.20, 0.30, np.inf)
"""Edges of the bands of the power spectrum, cycles/mm."""
LAGS_MM = (1.5, 3.0, 6.0)
MOST_OF_A_PATIENT = 4
_MOTTLE_MM = 3.0
_VESSEL_HU = 20.0
_TRIES = 40
_FOLDS = 5
_FEWEST = 10
_RESAMPLES = 2000
_WINDOW_HU = (-100.0, 300.0)
_LEVEL_HU = 100.0
_SEED = 0

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Square:
    """A square of liver, HU, and whose it is."""

    patient: str
    hu: Floats = field(repr=False)


@dataclass(frozen=True)
class Row:
    """One number of phantom liver and of real liver.

    Attributes:
        unit: "HU", "%" or "" for a number without.
        gap: difference of the means over the patients' standard deviation, both kinds pooled.
    """

    what: str
    unit: str
    phantom: Figure
    real: Figure
    gap: float | None


@dataclass(frozen=True)
class Told:
    """How well phantom and real squares are told apart: the area of a classifier's ROC."""

    how: str
    area: Figure


@dataclass(frozen=True)
class Compared:
    """Phantom liver against real.

    Attributes:
        side_mm: of the squares.
        squares, patients: how many, phantom and real.
    """

    side_mm: float
    squares: tuple[int, int]
    patients: tuple[int, int]
    rows: tuple[Row, ...]
    told: tuple[Told, ...]


def side_px(like: LiverSlice) -> int:
    """Pixels of a square's side.

    Raises:
        TissueError: pixels too coarse for a square to have a texture.
    """
    side = round(SIDE_MM / like.spacing_mm)
    if side < 12:
        raise TissueError(
            f"Pixels of {like.spacing_mm:g} mm: a square of {SIDE_MM:g} mm of liver would have "
            f"{side} of them a side. Texture is compared from 3 mm down."
        )
    return side


def of_real(one: LiverSlice, rng: np.random.Generator) -> Square | None:
    """A square in the liver without its edge; None where there is no room."""
    side = side_px(one)
    summed = np.pad(one.inner.astype(np.int64), ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    if min(one.hu.shape) < side:
        return None
    whole = (
        summed[side:, side:]
        - summed[:-side, side:]
        - summed[side:, :-side]
        + summed[:-side, :-side]
    ) == side * side
    rows, columns = np.nonzero(whole)
    if not len(rows):
        return None
    i = int(rng.integers(len(rows)))
    found = one.hu[rows[i] : rows[i] + side, columns[i] : columns[i] + side]
    return Square(one.patient, found.copy())  # a part would hold the whole slice


def of_phantom(patient: PhantomPatient, like: LiverSlice) -> Square | None:
    """The same of a phantom, seen as the slice ``like`` sees; None where there is no room."""
    rng = np.random.default_rng(seed_for("tissue", patient.seed, patient.index))
    seen = elsewhere.liver_square(patient, SIDE_MM + 2 * like.spacing_mm, rng)
    if seen is None:
        return None
    hu, by = as_slice(seen.hu, seen.spacing_mm[0], like)
    side = side_px(like)
    x, y, width, height = (value * by for value in seen.box)
    left, top = round(x + (width - side) / 2), round(y + (height - side) / 2)
    return Square(patient.patient_id, hu[top : top + side, left : left + side].copy())


def compare(phantom: Sequence[Square], real: Sequence[Square], like: LiverSlice) -> Compared:
    """Every number of both, and how well they are told apart.

    Raises:
        TissueError: fewer than 10 patients of a kind.
    """
    for kind, squares in (("phantom", phantom), ("real", real)):
        many = len({one.patient for one in squares})
        if many < _FEWEST:
            raise TissueError(
                f"{many} {kind} patients have room for a square of {SIDE_MM:g} mm of liver; phantom"
                f" and real liver are compared from {_FEWEST} of each on."
            )
    rows = [
        _row(what, unit, number, phantom, real)
        for what, (unit, number) in _numbers(like.spacing_mm).items()
    ]
    return Compared(
        SIDE_MM,
        (len(phantom), len(real)),
        (len({one.patient for one in phantom}), len({one.patient for one in real})),
        tuple(rows),
        (
            _told("as they are", phantom, real, lambda hu: hu),
            _told(
                "without their brightness",
                phantom,
                real,
                lambda hu: hu - np.float32(np.median(hu) - _LEVEL_HU),
            ),
            _told("without brightness and amount of contrast", phantom, real, _level),
        ),
    )


def _level(hu: Floats) -> Floats:
    """The same pattern at one mean and one standard deviation."""
    return np.asarray((hu - hu.mean()) / max(float(hu.std()), 1e-3) * 15 + _LEVEL_HU, np.float32)


def _numbers(spacing_mm: float) -> Mapping[str, tuple[str, Callable[[Floats], float]]]:
    found: dict[str, tuple[str, Callable[[Floats], float]]] = {
        "mean": ("HU", lambda hu: float(hu.mean())),
        "standard deviation": ("HU", lambda hu: float(hu.std())),
        "skewness": ("", lambda hu: float(scipy.stats.skew(hu, axis=None))),
        f"mottle: standard deviation once smoothed by {_MOTTLE_MM:g} mm": (
            "HU", lambda hu: float(_smooth(hu, _MOTTLE_MM / spacing_mm).std()),
        ),
        f"grain: standard deviation of what is finer than {COARSE_MM:g} mm": (
            "HU", lambda hu: float((hu - _smooth(hu, COARSE_MM / spacing_mm)).std()),
        ),
        f"share over {_VESSEL_HU:g} HU brighter than the median, once smoothed by 1.5 mm": (
            "%",
            lambda hu: 100 * float(
                np.mean(_smooth(hu, 1.5 / spacing_mm) > np.median(hu) + _VESSEL_HU)
            ),
        ),
    }  # fmt: skip
    for lag in LAGS_MM:
        found[f"autocorrelation at {lag:g} mm"] = ("", partial(_correlation, lag=lag / spacing_mm))
    top = 0.5 / spacing_mm
    for low, high in pairwise(BANDS_PER_MM):
        if low < top:
            ends = f"from {low:.2f} to {high:.2f}" if high < top else f"from {low:.2f}"
            found[f"power {ends} per mm"] = (
                "%", partial(_band, spacing_mm=spacing_mm, low=low, high=high),
            )  # fmt: skip
    return found


def _smooth(hu: Floats, sigma: float) -> Floats:
    return np.asarray(scipy.ndimage.gaussian_filter(hu, sigma, mode="reflect"), np.float32)


def _correlation(hu: Floats, lag: float) -> float:
    """Of pixels ``lag`` pixels apart, along rows and columns, between whole pixels linear."""
    centred = (hu - hu.mean()).astype(np.float64)

    def at(step: int) -> float:
        if step == 0:
            return float((centred**2).mean())
        return float(
            ((centred[step:] * centred[:-step]).mean()
             + (centred[:, step:] * centred[:, :-step]).mean()) / 2
        )  # fmt: skip

    low = int(np.floor(lag))
    part = lag - low
    return ((1 - part) * at(low) + part * at(low + 1)) / max(at(0), 1e-9)


def _band(hu: Floats, spacing_mm: float, low: float, high: float) -> float:
    """Percent of the power (Hann window, mean taken away) from ``low`` to below ``high``."""
    window = np.outer(*[np.hanning(side + 2)[1:-1] for side in hu.shape])
    mean = float((hu * window).sum() / window.sum())
    power = np.abs(scipy.fft.rfft2((hu - mean) * window)) ** 2
    power[:, 1 : (hu.shape[1] + 1) // 2] *= 2  # the half plane that is not kept
    f = frequencies(hu.shape, spacing_mm)
    return 100 * float(power[(f >= low) & (f < high)].sum() / max(float(power.sum()), 1e-9))


def _row(
    what: str,
    unit: str,
    number: Callable[[Floats], float],
    phantom: Sequence[Square],
    real: Sequence[Square],
) -> Row:
    both = [_of_patients(number, squares) for squares in (phantom, real)]
    figures = [_mean(values) for values in both]
    spread = float(np.sqrt((both[0].var(ddof=1) + both[1].var(ddof=1)) / 2))
    gap = float(both[0].mean() - both[1].mean()) / spread if spread > 0 else None
    return Row(what, unit, figures[0], figures[1], gap)


def _of_patients(number: Callable[[Floats], float], squares: Sequence[Square]) -> Numbers:
    of: dict[str, list[float]] = {}
    for one in squares:
        of.setdefault(one.patient, []).append(number(one.hu))
    return np.asarray([np.mean(values) for values in of.values()])


def _mean(values: Numbers) -> Figure:
    """Mean of patients with a percentile bootstrap of them."""
    rng = np.random.default_rng(_SEED)
    weights = bootstrap.resamples(np.arange(len(values)), _RESAMPLES, rng)
    ends = bootstrap.percentiles(weights @ values / len(values)) or (None, None)
    return Figure(float(values.mean()), ends[0], ends[1], len(values))


def _told(
    how: str,
    phantom: Sequence[Square],
    real: Sequence[Square],
    seen: Callable[[Floats], Floats],
) -> Told:
    squares = [*phantom, *real]
    truth = np.repeat([0, 1], [len(phantom), len(real)])
    values = measure(np.stack([_as_roi(seen(one.hu)) for one in squares]), _WINDOW_HU).values
    values = values[:, np.isfinite(values).all(axis=0)]  # there is no lesion whose size is known
    owners = np.asarray([one.patient for one in squares])
    fold = np.zeros(len(squares), np.int64)
    for kind in (0, 1):
        own = np.unique(owners[truth == kind])
        order = np.random.default_rng(seed_for("told", kind)).permutation(len(own))
        fold_of = dict(zip(own[order], np.arange(len(own)) % _FOLDS, strict=True))
        fold[truth == kind] = [fold_of[name] for name in owners[truth == kind]]
    score = np.zeros(len(squares))
    for k in range(_FOLDS):
        held = fold == k
        said = simple.probabilities(
            SimpleModel.TREES, values[~held], truth[~held], values[held], 2, "told", k
        )
        score[held] = said[:, 1]
    return Told(how, roc.auc_interval(truth, score, clusters=owners.tolist()))


def _as_roi(hu: Floats) -> Floats:
    picture = Image.fromarray(np.asarray(hu, np.float32)).resize(
        (ROI_SIZE_PX, ROI_SIZE_PX), Image.Resampling.BICUBIC
    )
    low, high = _WINDOW_HU
    return np.clip((np.asarray(picture) - low) * (2 / (high - low)) - 1, -1, 1).astype(np.float32)
