"""Whether an ROI is unlike those that a classifier was trained on.

Two distances to the training ROIs, each to the nearest class: of the network's features and of
measurements in the image's own unit (`ml.images.quick`). Both are Mahalanobis distances with the
covariance that the classes share (Lee et al. 2018, arXiv 1807.03888), its leading principal
components alone and half way to equal variances, so that they exist where there are fewer ROIs than
columns (Ledoit & Wolf 2004, J Multivar Anal 88:365).

A network has fitted its training ROIs, so ROIs that it never saw lie farther off in its features
than in their measurements. Either distance is therefore told in units of its own 97.5th percentile
among held-out ROIs, and the score is the larger of the two: either can raise it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml.ground.errors import HepaticaError
from ml.images.ends import Value, Values
from ml.images.measurements import Measured, Measurement
from ml.statistics import bootstrap, exact
from ml.statistics.classification import percentile_interval
from ml.statistics.figure import Figure
from ml.trust.cloud import Cloud, Tensors, single
from ml.trust.columns import columns_of, unit_of

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

LEVEL = 0.95
"""Share of held-out ROIs that are not to be called unlike."""
_EACH = 1 - (1 - LEVEL) / 2
"""Share of them that are not beyond the limit of one of both distances (Bonferroni)."""
THRESHOLD = 1.0
"""Of a score: the farther of both distances in units of its own limit."""
LEAST_HELD_OUT = 40
"""Of fewer, the limit of either distance is the farthest of them."""
LEAST_TRAINED = 10
"""Training ROIs of which a covariance is estimated at all."""
_RESAMPLES = 2000
_TOLD = 0.25
"""Standard deviations beyond the training range from which on a measurement is told."""

PLAIN = (
    "lesion_mean", "lesion_sd", "surround_mean", "surround_sd", "contrast", "rim_less_core",
    "edge_gradient", "lesion_gradient", "diameter_mm",
)  # fmt: skip
"""Measurements that say something to whoever looks at the picture: named as reasons first."""
METHOD = (
    "distance to the nearest class of the training ROIs (Mahalanobis, shared and shrunk "
    "covariance), of the network's features and of measurements, each in units of its 97.5th "
    "percentile among held-out ROIs; the larger of the two"
)


class NoveltyError(HepaticaError):
    """Training or held-out ROIs of which no novelty score can be made, or features of others."""


@dataclass(frozen=True)
class Reference:
    """The training ROIs of one network.

    Attributes:
        of: what is measured, in the order of the columns.
        low, high: (k,), what lies between the 1st and the 99th percentile of the training ROIs.
        rois: how many they are.
    """

    features: Cloud
    measured: Cloud
    of: tuple[Measurement, ...]
    low: Floats
    high: Floats
    rois: int

    @classmethod
    def fit(
        cls,
        features: npt.NDArray[np.floating],
        measured: Measured,
        labels: npt.ArrayLike,
        classes: Sequence[str],
    ) -> Reference:
        """Of the ROIs that a network was trained on, each once, as they are (not augmented).

        Args:
            features: (n, d) of that very network.
            measured: the same ROIs; NaN where a value is not known.
            labels: (n,) class positions in ``classes``.

        Raises:
            NoveltyError: fewer than `LEAST_TRAINED` ROIs, features that are not finite, or numbers
                of ROIs that differ.
        """
        values = np.asarray(features, np.float64)
        own = np.asarray(labels, np.int64)
        if values.ndim != 2 or not len(values) == len(measured.values) == len(own):
            raise NoveltyError(
                f"Features {values.shape}, measurements {measured.values.shape} and classes "
                f"({own.size}) must be of the same training ROIs."
            )
        if len(values) < LEAST_TRAINED:
            raise NoveltyError(
                f"{len(values)} training ROIs are too few to tell what is unlike them; "
                f"{LEAST_TRAINED} or more are needed."
            )
        if not np.isfinite(values).all():
            raise NoveltyError("A feature of a training ROI is not a finite number.")
        if own.min() < 0 or own.max() >= len(classes):
            raise NoveltyError(f"A class position is outside 0 … {len(classes) - 1}.")
        known = np.where(np.isfinite(measured.values), measured.values, np.nan)
        # of a column that is known of nobody there is no range
        empty = np.isnan(known).all(axis=0)
        low, high = np.nanquantile(np.where(empty, 0.0, known), [0.01, 0.99], axis=0)
        return cls(
            Cloud.fit(values, own),
            Cloud.fit(known, own),
            measured.of,
            single(np.where(empty, -np.inf, low)),
            single(np.where(empty, np.inf, high)),
            len(values),
        )

    def scores(
        self, features: npt.NDArray[np.floating], measurements: npt.NDArray[np.floating]
    ) -> Floats:
        """(m, 2), by features and by measurements: higher is less alike.

        The two are in different units; `Novelty` makes one of them.

        Args:
            features: (m, d) of the same network.
            measurements: (m, k) in the order of ``of``; NaN where a value is not known.

        Raises:
            NoveltyError: columns of something else, or features that are not finite.
        """
        seen = np.asarray(features, np.float64)
        values = np.asarray(measurements, np.float64)
        for what, given, wanted in (
            ("features", seen, len(self.features.centre)),
            ("measurements", values, len(self.of)),
        ):
            if given.ndim != 2 or given.shape[1] != wanted:
                raise NoveltyError(
                    f"The {what} have shape {given.shape}; {wanted} columns are those of the "
                    "training ROIs. They are of another checkpoint."
                )
        if not np.isfinite(seen).all():
            raise NoveltyError("A feature is not a finite number.")
        return np.stack([self.features.distances(seen), self.measured.distances(values)], axis=1)


@dataclass(frozen=True)
class Unlike:
    """One ROI beside the training ROIs.

    Attributes:
        score: how far it is; 1 is as far as the 97.5th percentile of held-out ROIs in one of both.
        flag: whether that is beyond the threshold.
        reasons: in words, what raised it; empty where it is not flagged.
    """

    score: float
    flag: bool
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class NoveltyRecord:
    """What is stored of a `Novelty` beside its tensors.

    Attributes:
        method: how the score is made, in words.
        threshold: scores above are flagged.
        scales: what the distance of features and that of measurements are divided by.
        n_held_out, n_patients: lesions and patients that threshold and scales come from.
        n_reference: training ROIs.
        false_alarms: share of held-out ROIs that are flagged by a threshold they had no part in.
        unit: of the measurements: HU or grey.
        measurements: their names, in the order of the columns.
    """

    method: str
    threshold: float
    scales: tuple[float, float]
    n_held_out: int
    n_patients: int
    n_reference: int
    false_alarms: Figure
    unit: str
    measurements: tuple[str, ...]


@dataclass(frozen=True)
class Novelty:
    """A reference with the threshold above which an ROI is called unlike its ROIs.

    Attributes:
        threshold: of ``scores``: not exceeded by at least 95 of 100 lesions like the held-out.
        scales: (2,), the 97.5th percentile of either distance among held-out ROIs.
        false_alarms: the share of held-out ROIs flagged; each by the others' scales and threshold.
    """

    reference: Reference
    threshold: float
    scales: tuple[float, float]
    n_held_out: int
    n_patients: int
    false_alarms: Figure

    @classmethod
    def of(
        cls,
        reference: Reference,
        held_out_scores: npt.NDArray[np.floating],
        patients: Sequence[str],
        folds: npt.ArrayLike | None = None,
        seed: int = 0,
    ) -> Novelty:
        """With scales and threshold from held-out real ROIs.

        Args:
            reference: of the network that will serve.
            held_out_scores: (n, 2) from ``Reference.scores``, each lesion's by a network that never
                saw it and by that network's own reference.
            patients: whose lesion each is.
            folds: (n,), which network scored it: its false alarm is then judged by the other
                folds' scores; else by the other patients'.

        Raises:
            NoveltyError: fewer than `LEAST_HELD_OUT` lesions, one patient or fold alone, or scores
                that are not finite.
        """
        scores = np.asarray(held_out_scores, np.float64)
        if scores.ndim != 2 or scores.shape[1] != 2 or len(patients) != len(scores):
            raise NoveltyError(
                f"Held-out scores must be (n, 2) with a patient each, not {scores.shape} with "
                f"{len(patients)} patients."
            )
        if not np.isfinite(scores).all():
            raise NoveltyError("A held-out score is not a finite number.")
        if len(scores) < LEAST_HELD_OUT:
            raise NoveltyError(
                f"{len(scores)} held-out lesions are too few for a threshold that 1 of 20 exceeds; "
                f"{LEAST_HELD_OUT} or more are needed."
            )
        left_out = np.asarray(patients if folds is None else folds)
        if len(np.unique(left_out)) < 2:
            raise NoveltyError(
                "The held-out lesions are of one patient or fold; a false-alarm rate needs two."
            )
        scales = _scales(scores)
        flagged = np.zeros(len(scores))
        for one in np.unique(left_out):
            out = left_out == one
            flagged[out] = (scores[out] / _scales(scores[~out])).max(axis=1) > THRESHOLD
        by = "patient" if folds is None else "fold"
        alarms = share(
            flagged > 0.5,
            patients,
            seed,
            f"held-out ROIs flagged by the threshold of every other {by}; {INTERVAL}",
        )
        return cls(
            reference,
            THRESHOLD,
            (float(scales[0]), float(scales[1])),
            len(scores),
            len(set(patients)),
            alarms,
        )

    def scores(
        self, features: npt.NDArray[np.floating], measurements: npt.NDArray[np.floating]
    ) -> Floats:
        """(m,): the larger of both distances, each in its scale; above ``threshold`` is unlike.

        Raises NoveltyError as ``Reference.scores``.
        """
        both = self.reference.scores(features, measurements)
        return np.asarray((both / np.asarray(self.scales)).max(axis=1))

    def judge(
        self,
        features: npt.NDArray[np.floating],
        measurements: npt.NDArray[np.floating],
        of_slice: Sequence[Values] | None = None,
    ) -> list[Unlike]:
        """Score, flag and reasons of ROIs; refusals as of ``scores``.

        Args:
            features, measurements: as for ``scores``; they are what is compared.
            of_slice: the measurements of each ROI as they are told; None: no window changed them.
        """
        told = of_slice or [tuple(map(Value.of, row)) for row in measurements]
        both = self.reference.scores(features, measurements) / np.asarray(self.scales)
        return [
            Unlike(
                float(row.max()),
                bool(row.max() > self.threshold),
                self._reasons(row, values) if row.max() > self.threshold else (),
            )
            for row, values in zip(both, told, strict=True)
        ]

    def _reasons(self, row: Floats, told: Values) -> tuple[str, ...]:
        """Which distance is beyond, and the measurements farthest out of the training range."""
        found = []
        if row[0] > self.threshold:
            found.append("what the network sees in it is unlike the training ROIs")
        if row[1] > self.threshold:
            cloud, reference = self.reference.measured, self.reference
            values = np.asarray([one.windowed for one in told])
            beyond = np.maximum(reference.low - values, values - reference.high) * cloud.unit
            beyond = np.where(np.isfinite(beyond), beyond, -np.inf)
            plain = np.asarray([one.name in PLAIN for one in reference.of])
            first = np.where((plain & (beyond > _TOLD)).any() & ~plain, -np.inf, beyond)
            for place in np.argsort(-first, kind="stable")[:2]:
                if first[place] > _TOLD:
                    what = reference.of[place]
                    low, high = (
                        _told(float(end)) for end in (reference.low[place], reference.high[place])
                    )
                    unit = f" {what.unit}" if what.unit else ""
                    own = _own(told[place], what.unit)
                    found.append(f"{what.words} {own}; training ROIs {low} to {high}{unit}")
            if len(found) == (row[0] > self.threshold):
                found.append("its measurements go together as those of no training ROI")
        return tuple(found)

    def record(self) -> NoveltyRecord:
        """What is stored beside the tensors."""
        of = self.reference.of
        return NoveltyRecord(
            METHOD,
            self.threshold,
            self.scales,
            self.n_held_out,
            self.n_patients,
            self.reference.rois,
            self.false_alarms,
            unit_of(of),
            tuple(one.name for one in of),
        )

    def tensors(self) -> Tensors:
        """What ``of_tensors`` reads beside the record: float32, about 60 KB of 256 features."""
        reference = self.reference
        return {
            **{f"features.{name}": one for name, one in reference.features.tensors().items()},
            **{f"measured.{name}": one for name, one in reference.measured.tensors().items()},
            "low": reference.low.astype(np.float32),
            "high": reference.high.astype(np.float32),
        }

    @classmethod
    def from_tensors(
        cls, record: NoveltyRecord, tensors: Mapping[str, npt.NDArray[np.floating]]
    ) -> Novelty:
        """What ``record`` and ``tensors`` were made from.

        Raises:
            NoveltyError: tensors that do not belong to the record, or measurements that this
                program does not make.
        """
        of = columns_of(record.unit, record.measurements, "novelty score", NoveltyError)
        try:
            features, measured = (
                Cloud.of_tensors(
                    {
                        name.removeprefix(f"{part}."): one
                        for name, one in tensors.items()
                        if name.startswith(f"{part}.")
                    }
                )
                for part in ("features", "measured")
            )
            low, high = (np.asarray(tensors[end], np.float64) for end in ("low", "high"))
            if not low.shape == high.shape == measured.centre.shape == (len(record.measurements),):
                raise ValueError("shapes that do not belong together")
        except (KeyError, ValueError) as error:
            raise NoveltyError(f"The stored novelty score is damaged: {error}.") from error
        reference = Reference(
            features,
            measured,
            of,
            low,
            high,
            record.n_reference,
        )
        return cls(
            reference,
            record.threshold,
            record.scales,
            record.n_held_out,
            record.n_patients,
            record.false_alarms,
        )


def _scales(scores: Floats) -> Floats:
    """The limits (2,) of either distance, of held-out scores (n, 2)."""
    # as of split conformal prediction: of one more lesion like these, at least 97.5 % are not above
    # one of them. Each has a limit of its own, or the long tail of one would loosen the other
    place = min(math.ceil(_EACH * (len(scores) + 1)), len(scores))
    return np.asarray(np.maximum(np.sort(scores, axis=0)[place - 1], 1e-9))


def _told(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 10 else f"{value:.2g}"


def _own(value: Value, unit: str) -> str:
    """A lesion's own value with its unit."""
    digits = 0 if abs(value.windowed) >= 10 else 1
    return value.words(lambda number: f"{_told(number)} {unit}".strip(), unit, digits)


INTERVAL = (
    "95 % percentile bootstrap over patients, widened to exact limits where few are or are not"
)
"""How ``share`` makes its interval, in words."""


def share(
    hits: npt.NDArray[np.bool_], patients: Sequence[str], seed: int = 0, method: str = INTERVAL
) -> Figure:
    """The share of lesions (n,) that are hits, with an interval over their patients."""
    if not len(hits):
        return Figure.undefined(0, method, "no lesion")
    value = float(hits.mean())
    weights = bootstrap.resamples(patients, _RESAMPLES, np.random.default_rng(seed))
    found = percentile_interval(value, (weights @ hits) / weights.sum(axis=1))
    behind = exact.support(hits[None], np.ones(len(hits), bool), exact.member_of(patients))
    if behind.few or found.ends is None:
        ends = exact.clopper_pearson(value * behind.trials, behind.trials)
        found = found.widened(ends)
    return Figure(found.value, found.low, found.high, len(hits), method)
