"""A second opinion from named measurements, which says why in numbers that can be checked.

Multinomial logistic regression with a ridge on standardised measurements. Its strength is chosen by
cross-validation within the training patients, its temperature (Guo et al. 2017, arXiv 1706.04599)
on out-of-fold answers, and every figure of it is out of fold: of answers to lesions of patients
that neither weights, strength nor temperature were made from.

A reason is a measurement that speaks for the class that is named (its group of measurements raises
that class's score) *and* lies where that class's training lesions lie: in the range that tells
them best from the others. How many of both lie there is counted, of the lesions that the model
learned from and the range was drawn around: a description of them, not a rate of being right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.ground.errors import HepaticaError
from ml.images.ends import Value, Values
from ml.images.measurements import Measured, Measurement
from ml.statistics import calibration, multinomial, ridged
from ml.trust import themes
from ml.trust.beside import Figures, figures
from ml.trust.calibration import temperature_of
from ml.trust.cloud import single
from ml.trust.columns import columns_of, unit_of
from ml.trust.themes import Range

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

MODEL = "features"
RIDGES = (300.0, 100.0, 30.0, 10.0, 3.0)
"""Strengths among which cross-validation chooses; the first hardly lets it speak."""
FOLDS = 3
_INNER = 5
LEAST_PATIENTS = 3
"""Patients that a class must be seen in: one for every fold."""
NOTHING_ALONE = "no measurement by itself speaks for it; several do together"


class OpinionError(HepaticaError):
    """Lesions that a second opinion cannot be learned from, or measurements of other kinds."""


# -- what is said ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Opinion:
    """What the measurements say of one lesion.

    Attributes:
        model: what gave it: "features".
        probabilities: class key → probability, calibrated out of fold; they add up to 1.
        reasons: for the most probable class, the strongest first; at least one sentence.
    """

    model: str
    probabilities: Mapping[str, float]
    reasons: tuple[str, ...]

    @property
    def named(self) -> str:
        """The key of the most probable class."""
        return max(self.probabilities, key=lambda key: self.probabilities[key])


@dataclass(frozen=True)
class OpinionRecord:
    """What is stored of a `SecondOpinion` beside its tensors.

    Attributes:
        unit: of the measurements: HU or grey.
        measurements: their names, in the order of the columns.
        classes, displays: keys of the classes, and their names for people.
        ridge, temperature: what cross-validation chose.
        counts: training lesions of each class; n_patients: of how many patients they are.
        figures: out of fold.
    """

    unit: str
    measurements: tuple[str, ...]
    classes: tuple[str, ...]
    displays: tuple[str, ...]
    ridge: float
    temperature: float
    counts: Mapping[str, int]
    n_patients: int
    figures: Figures


@dataclass(frozen=True)
class SecondOpinion:
    """The fitted model.

    Attributes:
        of: what is measured, in the order of the columns.
        classes, displays: keys of the classes and their names for people.
        centre, unit: (k,), subtracted and multiplied; a column that does not vary has unit 0.
        low, high: (k,), ends of the standardised training values: nothing counts as farther out.
        weights, intercepts: (k, classes) and (classes,).
        headlines: (n, themes) values of the training lesions, NaN where there is none.
        labels: (n,) their class positions.
        out_of_fold: (n, classes), the calibrated answer to each training lesion by a model that
            was made without its patient; (0, classes) where it was read from a checkpoint.
    """

    of: tuple[Measurement, ...]
    classes: tuple[str, ...]
    displays: tuple[str, ...]
    centre: Floats
    unit: Floats
    low: Floats
    high: Floats
    weights: Floats
    intercepts: Floats
    headlines: Floats
    labels: Ints
    ridge: float
    temperature: float
    n_patients: int
    figures: Figures
    out_of_fold: Floats = field(compare=False)

    # -- learning ------------------------------------------------------------------------------

    @classmethod
    def fit(
        cls,
        measured: Measured,
        labels: npt.ArrayLike,
        patients: Sequence[str],
        classes: Sequence[str],
        seed: int,
        *,
        folds: npt.ArrayLike | None = None,
        displays: Sequence[str] | None = None,
    ) -> SecondOpinion:
        """Of real lesions (n), each once, as they are (not augmented).

        Args:
            measured: (n, k); NaN where a value is not known.
            labels: (n,) class positions.
            patients: whose lesion each is.
            classes: their keys.
            seed: names the division into folds.
            folds: (n,), the outer folds: those of the network beside it. None: three of its own.
            displays: names of the classes for people; None: their keys.

        Raises:
            OpinionError: a class in fewer than `LEAST_PATIENTS` patients, a patient in two folds,
                numbers of lesions that differ, or no measurement that is known.
        """
        truth = np.asarray(labels, np.int64)
        owners = np.asarray(patients, dtype=str)
        _check(measured, truth, owners, classes)
        outer = _dealt(truth, owners, FOLDS, seed) if folds is None else np.asarray(folds, np.int64)
        _check_folds(outer, truth, owners, classes)
        logits = np.empty((len(truth), len(classes)))
        for fold in np.unique(outer):
            out = outer == fold
            own = _learned(measured.values[~out], truth[~out], owners[~out], len(classes), seed)
            logits[out] = own.logits(measured.values[out])
        answers = np.empty_like(logits)
        for fold in np.unique(outer):
            out = outer == fold
            answers[out] = multinomial.softmax(
                logits[out] / temperature_of(logits[~out], truth[~out])
            )
        whole = _learned(measured.values, truth, owners, len(classes), seed)
        return cls(
            measured.of,
            tuple(classes),
            tuple(displays or classes),
            whole.centre,
            whole.unit,
            whole.low,
            whole.high,
            whole.weights,
            whole.intercepts,
            single(themes.headlines(measured)),
            truth,
            whole.ridge,
            float(np.float32(temperature_of(logits, truth))),
            len(np.unique(owners)),
            figures(truth, answers, patients, classes),
            answers,
        )

    # -- saying --------------------------------------------------------------------------------

    def probabilities(self, measurements: npt.NDArray[np.floating]) -> Floats:
        """(m, classes) of measurements (m, k) in the order of ``of``; NaN: not known.

        Raises:
            OpinionError: another number of columns.
        """
        return multinomial.softmax(self._logits(self._standard(measurements)) / self.temperature)

    def opinions(
        self,
        measurements: npt.NDArray[np.floating],
        of_slice: Sequence[Values] | None = None,
    ) -> list[Opinion]:
        """Probabilities with their reasons; refusals as of ``probabilities``.

        Args:
            measurements: as for ``probabilities``; they are what is compared.
            of_slice: the same of each ROI as it is told; None: no window changed them.
        """
        standard = self._standard(measurements)
        tables = multinomial.softmax(self._logits(standard) / self.temperature)
        found = []
        told = of_slice or [tuple(map(Value.of, row)) for row in measurements]
        for table, row, values in zip(tables, standard, told, strict=True):
            chances = {key: float(p) for key, p in zip(self.classes, table, strict=True)}
            reasons = self._reasons(int(table.argmax()), row, values)
            found.append(Opinion(MODEL, chances, reasons))
        return found

    def _standard(self, measurements: npt.NDArray[np.floating]) -> Floats:
        values = np.asarray(measurements, np.float64)
        if values.ndim != 2 or values.shape[1] != len(self.of):
            raise OpinionError(
                f"The measurements have shape {values.shape}; the second opinion was learned from "
                f"{len(self.of)} of each ROI. They are of another checkpoint."
            )
        return _standardised(values, self.centre, self.unit, self.low, self.high)

    def _logits(self, standard: Floats) -> Floats:
        return np.asarray(standard @ self.weights + self.intercepts)

    def _reasons(self, named: int, standard: Floats, values: Values) -> tuple[str, ...]:
        """Two measurements together and the next one by itself, as far as there are any."""
        # rows of the weights add up to 0, so a class's own say how it stands to all others
        support = (standard * self.weights[:, named]) @ self._membership
        chosen = [
            int(place)
            for place in np.argsort(-support, kind="stable")
            if support[place] > 0 and self._speaks(named, int(place), values)
        ]
        if not chosen:
            return (NOTHING_ALONE,)
        parts = [chosen[:2], chosen[2:3]]
        return tuple(self._sentence(named, part, values) for part in parts if part)

    def _speaks(self, named: int, place: int, values: Values) -> bool:
        """Whether a theme's headline lies where the class's training lesions lie."""
        column, own = self._columns[place], self.ranges[named][place]
        if column is None or own is None:
            return False
        return own.low <= values[column].windowed <= own.high

    def _sentence(self, named: int, places: list[int], values: Values) -> str:
        told = []
        for place in places:
            column, (low, high) = self._columns[place], self._thirds[place]
            if column is not None:  # a headline that speaks is measured
                value = values[column]
                inside = value.windowed
                third = "low" if inside <= low else "high" if inside >= high else ""
                told.append(themes.THEMES[place].words(value, self.of[column].unit, third))
        return f"{', '.join(told)}: {self._counted(named, tuple(places))}"

    def _counted(self, named: int, places: tuple[int, ...]) -> str:
        """How many training lesions lie in all these ranges of a class."""
        if (named, places) not in self._counts:
            chosen = list(places)
            known = np.isfinite(self.headlines[:, chosen]).all(axis=1)
            inside = self._inside[named][:, chosen].all(axis=1)
            mine = self.labels == named
            own, rest, all_own, all_rest = (
                int(np.count_nonzero(hits & side))
                for hits in (inside, known)
                for side in (mine, ~mine)
            )
            others = "others" if len(self.classes) > 2 else themes.plural(self.displays[1 - named])
            self._counts[named, places] = (
                f"as in {own} of {all_own} {themes.plural(self.displays[named])} and {rest} of "
                f"{all_rest} {others} it learned from"
            )
        return self._counts[named, places]

    @cached_property
    def _counts(self) -> dict[tuple[int, tuple[int, ...]], str]:
        """What ``_counted`` has found: there are few different answers, and each takes a while."""
        return {}

    @cached_property
    def _inside(self) -> tuple[Bools, ...]:
        """By class (n, themes), which training lesions lie in the class's ranges."""
        nowhere = np.zeros(len(self.labels), bool)
        return tuple(
            np.stack(
                [
                    nowhere if own is None else own.holds(self.headlines[:, place])
                    for place, own in enumerate(ranges)
                ],
                axis=1,
            )
            for ranges in self.ranges
        )

    @cached_property
    def _thirds(self) -> tuple[tuple[float, float], ...]:
        """By theme, where the lowest third of the training lesions ends and the highest begins."""
        found = []
        for column in self.headlines.T:
            known = column[np.isfinite(column)]
            low, high = np.quantile(known, [1 / 3, 2 / 3]) if len(known) else (-np.inf, np.inf)
            found.append((float(low), float(high)))
        return tuple(found)

    @cached_property
    def _membership(self) -> Floats:
        """(k, themes), 1 where a measurement belongs to a theme."""
        return np.eye(len(themes.THEMES))[[themes.theme_of(one.name) for one in self.of]]

    @cached_property
    def _columns(self) -> tuple[int | None, ...]:
        """The column of each theme's headline; None where it is not measured."""
        place = {one.name: i for i, one in enumerate(self.of)}
        return tuple(place.get(theme.headline) for theme in themes.THEMES)

    @cached_property
    def ranges(self) -> tuple[tuple[Range | None, ...], ...]:
        """By class and theme; None where the headline does not tell the class from the others."""
        return tuple(
            tuple(
                themes.range_of(self.headlines[:, place], self.labels == label)
                for place in range(len(themes.THEMES))
            )
            for label in range(len(self.classes))
        )

    # -- storing -------------------------------------------------------------------------------

    def record(self) -> OpinionRecord:
        """What is stored beside the tensors."""
        counts = np.bincount(self.labels, minlength=len(self.classes))
        return OpinionRecord(
            unit_of(self.of),
            tuple(one.name for one in self.of),
            self.classes,
            self.displays,
            self.ridge,
            self.temperature,
            {key: int(count) for key, count in zip(self.classes, counts, strict=True)},
            self.n_patients,
            self.figures,
        )

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """What ``from_tensors`` reads beside the record: float32, and labels of the lesions."""
        found: dict[str, npt.NDArray[Any]] = {
            name: np.asarray(getattr(self, name), np.float32) for name in _STORED
        }
        found["labels"] = self.labels.astype(np.int32)
        return found

    @classmethod
    def from_tensors(
        cls, record: OpinionRecord, tensors: Mapping[str, npt.NDArray[Any]]
    ) -> SecondOpinion:
        """What ``record`` and ``tensors`` were made from, but for the out-of-fold answers.

        Raises:
            OpinionError: tensors that do not belong to the record, or measurements that this
                program does not make.
        """
        of = columns_of(record.unit, record.measurements, "second opinion", OpinionError)
        k, classes = len(record.measurements), len(record.classes)
        try:
            own = {name: np.asarray(tensors[name], np.float64) for name in _STORED}
            labels = np.asarray(tensors["labels"], np.int64)
            shapes = [own[name].shape for name in _STORED]
            wanted = [(k,)] * 4 + [(k, classes), (classes,), (len(labels), len(themes.THEMES))]
            finite = all(np.isfinite(own[name]).all() for name in _STORED if name != "headlines")
            counted = np.bincount(labels, minlength=classes).tolist()
            agree = counted == [record.counts[key] for key in record.classes]
            if shapes != wanted or not finite or not agree or record.temperature <= 0:
                raise ValueError("shapes or values that do not belong together")
        except (KeyError, ValueError) as error:
            raise OpinionError(f"The stored second opinion is damaged: {error}.") from error
        return cls(
            of,
            record.classes,
            record.displays,
            **own,
            labels=labels,
            ridge=record.ridge,
            temperature=record.temperature,
            n_patients=record.n_patients,
            figures=record.figures,
            out_of_fold=np.zeros((0, classes)),
        )


_STORED = ("centre", "unit", "low", "high", "weights", "intercepts", "headlines")


# -- learning --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Learned:
    centre: Floats
    unit: Floats
    low: Floats
    high: Floats
    weights: Floats
    intercepts: Floats
    ridge: float

    def logits(self, values: Floats) -> Floats:
        standard = _standardised(values, self.centre, self.unit, self.low, self.high)
        return np.asarray(standard @ self.weights + self.intercepts)


def _learned(values: Floats, truth: Ints, owners: Any, classes: int, seed: int) -> _Learned:
    """A model of these lesions, its ridge chosen among their patients."""
    inner = _dealt(truth, owners, _INNER, seed)
    losses = np.zeros(len(RIDGES))
    for fold in np.unique(inner):
        out = inner == fold
        scale = _scale(values[~out])
        train, test = (_standardised(part, *scale) for part in (values[~out], values[out]))
        start = None
        for i, ridge in enumerate(RIDGES):
            start = ridged.fit(train, truth[~out], classes, ridge, start)
            chances = multinomial.softmax(start.logits(test))
            losses[i] += calibration.log_loss(truth[out], chances).sum()
    ridge = RIDGES[int(losses.argmin())]
    scale = _scale(values)
    found = ridged.fit(_standardised(values, *scale), truth, classes, ridge)
    return _Learned(*scale, single(found.weights), single(found.intercepts), ridge)


def _scale(values: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Centre, unit and standardised ends (k,) of values (n, k)."""
    known = np.isfinite(values)
    count = np.maximum(known.sum(axis=0), 1)
    centre = np.where(known, values, 0.0).sum(axis=0) / count
    off = np.where(known, values - centre, 0.0)
    spread = np.sqrt((off * off).sum(axis=0) / count)
    least = 1e-6 * np.maximum(1.0, np.abs(centre))
    unit = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > least)
    centre, unit = single(centre), single(unit)
    standard = np.where(known, (values - centre) * unit, 0.0)
    return centre, unit, single(standard.min(axis=0)), single(standard.max(axis=0))


def _standardised(
    values: Floats, centre: Floats, unit: Floats, low: Floats, high: Floats
) -> Floats:
    """(n, k), within the training values' ends; 0, the mean, where a value is not known."""
    standard = np.where(np.isfinite(values), (values - centre) * unit, 0.0)
    return np.asarray(np.minimum(np.maximum(standard, low), high))


def _dealt(truth: Ints, owners: Any, folds: int, seed: int) -> Ints:
    """Patients dealt to folds class by class, (n,): none is in two, and classes are spread."""
    rng = np.random.default_rng([seed, folds])
    names, first = np.unique(owners, return_index=True)
    shuffled = rng.permutation(len(names))
    order = shuffled[np.argsort(truth[first][shuffled], kind="stable")]
    fold_of = np.empty(len(names), np.int64)
    fold_of[order] = np.arange(len(names)) % folds
    return np.asarray(fold_of[np.searchsorted(names, owners)])


def _check(measured: Measured, truth: Ints, owners: Any, classes: Sequence[str]) -> None:
    if not len(measured.values) == len(truth) == len(owners):
        raise OpinionError(
            f"{len(measured.values)} measured ROIs, {len(truth)} classes and {len(owners)} "
            "patients must be of the same lesions."
        )
    if not np.isfinite(measured.values).any():
        raise OpinionError("No measurement of any lesion is known.")
    if truth.min() < 0 or truth.max() >= len(classes):
        raise OpinionError(f"A class position is outside 0 … {len(classes) - 1}.")
    for position, key in enumerate(classes):
        seen = len(np.unique(owners[truth == position]))
        if seen < LEAST_PATIENTS:
            raise OpinionError(
                f"Class {key} has lesions of {seen} patient{'' if seen == 1 else 's'}; a second "
                f"opinion needs {LEAST_PATIENTS} or more of each class, to be tested on others "
                "than it learned from."
            )


def _check_folds(folds: Ints, truth: Ints, owners: Any, classes: Sequence[str]) -> None:
    if folds.shape != truth.shape or len(np.unique(folds)) < 2:
        raise OpinionError("Every lesion must be in one of two or more folds.")
    pairs = np.unique(np.stack([owners, folds.astype(str)]), axis=1)
    if pairs.shape[1] != len(np.unique(owners)):
        raise OpinionError("A patient's lesions lie in two folds; divide patients, not lesions.")
    for fold in np.unique(folds):
        lacking = [key for i, key in enumerate(classes) if not (truth[folds != fold] == i).any()]
        if lacking:
            raise OpinionError(
                f"Without fold {fold} no lesion is of class {', '.join(lacking)}; divide the "
                "patients otherwise."
            )
