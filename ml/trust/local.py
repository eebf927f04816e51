"""A classifier tried on a site's own lesions: the figures of its card, computed anew.

Every figure has an interval over patients and says of how many it is. Of too few there is none:
of 20 patients a share is known to 20 points up and down at best, and fewer could also tell which
lesion is which. A mean over classes needs some patients of each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ml.statistics import classification, exact
from ml.statistics.figure import Figure
from ml.trust import calibration, conformal
from ml.trust.conformal import Coverage
from ml.trust.evidence import names

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

LEAST = exact.SMALL
"""Patients of whom a share is told."""
LEAST_OF_CLASS = exact.FEW
"""Patients of every class behind a mean over classes."""
LEAST_CALIBRATED = calibration.LEAST
"""Patients by whom probabilities are judged."""
RESAMPLES = 1000


@dataclass(frozen=True)
class Known:
    """n lesions that were scored, and whose class is known since.

    Attributes:
        labels: (n,) positions of the true classes.
        probabilities: (n, classes), as they were said.
        patients: (n,) whose they are, numbered.
        calibrated: (n,) whether they were said to be probabilities.
        levels: (n,) of the prediction sets; NaN where none was said.
        inside: (n, classes) the classes that were in the set.
        classes: keys of the scheme.
    """

    labels: Ints
    probabilities: Floats
    patients: Ints
    calibrated: Bools
    levels: Floats
    inside: Bools
    classes: tuple[str, ...]

    def only(self, chosen: Bools) -> Known:
        """Some of them, (n,)."""
        return Known(
            self.labels[chosen], self.probabilities[chosen], self.patients[chosen],
            self.calibrated[chosen], self.levels[chosen], self.inside[chosen], self.classes,
        )  # fmt: skip

    @property
    def n_patients(self) -> int:
        """How many patients they are of."""
        return len(np.unique(self.patients))

    def patients_of(self, key: int) -> int:
        """How many patients have a lesion of a class."""
        return len(np.unique(self.patients[self.labels == key]))

    @property
    def right(self) -> Bools:
        """(n,) whether the likeliest class was the true one."""
        return np.asarray(self.probabilities.argmax(axis=1) == self.labels, bool)


@dataclass(frozen=True)
class Believed:
    """What their probabilities are worth; ``error_by_chance``: None where there are too few."""

    n_lesions: int
    n_patients: int
    slope: Figure
    error: Figure
    error_by_chance: float | None
    brier: Figure


@dataclass(frozen=True)
class LocalTest:
    """What a classifier does on a site's own lesions.

    Attributes:
        lesions_of_class, patients_of_class: how many there are of each class; empty where there are
            fewer than `LEAST` patients, of whom a count could tell the class of a lesion.
        sensitivity, specificity, auc: per class.
        believed: of the lesions whose numbers were said to be probabilities.
        coverage: of prediction sets, at each level at which some were said.
    """

    n_lesions: int
    n_patients: int
    lesions_of_class: Mapping[str, int]
    patients_of_class: Mapping[str, int]
    accuracy: Figure
    balanced_accuracy: Figure
    sensitivity: Mapping[str, Figure]
    specificity: Mapping[str, Figure]
    auc: Mapping[str, Figure]
    believed: Believed
    coverage: tuple[Coverage, ...]

    @classmethod
    def of(cls, known: Known, seed: int = 0) -> LocalTest:
        """Of lesions, none of which the classifier was trained on.

        Args:
            seed: of resampling, and of the draw of one lesion a patient.
        """
        keys, patients = known.classes, known.n_patients
        own = [known.patients_of(place) for place in range(len(keys))]
        found = _score(known, seed) if patients >= LEAST else None

        def each(measure: str, enough: Callable[[int], tuple[int, str]]) -> dict[str, Figure]:
            told = {}
            for place, key in enumerate(keys):
                count, of = enough(place)
                if found is None:
                    told[key] = few(patients, LEAST)
                elif count < LEAST:
                    told[key] = few(count, LEAST, of)
                else:
                    told[key] = _with_n(getattr(found, measure)[key], known, place, measure)
            return told

        def others(place: int) -> int:
            return len(np.unique(known.patients[known.labels != place]))

        thin = [key for key, count in zip(keys, own, strict=True) if count < LEAST_OF_CLASS]
        balanced = (
            few(patients, LEAST)
            if found is None
            else few(min(own), LEAST_OF_CLASS, f" of {', '.join(thin)}")
            if thin
            else replace(found.balanced_accuracy, n=len(known.labels), method=found.interval)
        )
        return cls(
            n_lesions=len(known.labels),
            n_patients=patients,
            lesions_of_class={}
            if found is None
            else {k: int((known.labels == i).sum()) for i, k in enumerate(keys)},
            patients_of_class={} if found is None else dict(zip(keys, own, strict=True)),
            accuracy=few(patients, LEAST)
            if found is None
            else replace(found.accuracy, n=len(known.labels), method=found.interval),
            balanced_accuracy=balanced,
            sensitivity=each("sensitivity", lambda place: (own[place], "")),
            specificity=each("specificity", lambda place: (others(place), " of another class")),
            auc=each(
                "auc", lambda place: min((own[place], ""), (others(place), " of another class"))
            ),
            believed=_believed(known.only(known.calibrated), seed),
            coverage=tuple(
                _covered(known.only(known.levels == level), float(level), seed)
                for level in np.unique(known.levels[np.isfinite(known.levels)])
            ),
        )


def few(count: int, least: int, of: str = "") -> Figure:
    """No figure, since there are ``count`` patients and not ``least``."""
    return Figure.undefined(count, exact.BY_PATIENT, too_few(count, least, of))


def too_few(count: int, least: int, of: str = "") -> str:
    """``too few: 4 patients of another class, and 20 are needed``."""
    return f"too few: {count} patient{'' if count == 1 else 's'}{of}, and {least} are needed"


def share(hits: Bools, patients: Ints, least: int = LEAST) -> Figure:
    """The share of lesions (n,) that are hits, where they are of enough patients."""
    count = len(np.unique(patients))
    return few(count, least) if count < least else exact.share(hits, patients)


def share_of(hits: Bools, chosen: Bools, patients: Ints) -> Figure:
    """The same of some of n lesions, (n,); where all of them are of too few patients, not even how
    many were chosen is told: by class, that could be the class of a lesion."""
    count = len(np.unique(patients))
    return few(count, LEAST) if count < LEAST else share(hits[chosen], patients[chosen])


def _score(known: Known, seed: int) -> classification.Score:
    return classification.score(
        known.labels, known.probabilities, names(known.patients), known.classes, RESAMPLES, seed
    )


def _with_n(found: Figure, known: Known, place: int, measure: str) -> Figure:
    own = int((known.labels == place).sum())
    n = {"sensitivity": own, "specificity": len(known.labels) - own, "auc": len(known.labels)}
    return replace(found, n=n[measure])


def _believed(known: Known, seed: int) -> Believed:
    count, patients = len(known.labels), known.n_patients
    absent = [k for i, k in enumerate(known.classes) if not (known.labels == i).any()]
    if patients < LEAST_CALIBRATED or absent:
        why = few(patients, LEAST_CALIBRATED)
        if patients >= LEAST_CALIBRATED:
            why = Figure.undefined(count, "", f"no lesion of class {', '.join(absent)}")
        return Believed(count, patients, why, why, None, why)
    found = calibration.reliability(
        known.probabilities, known.labels, known.patients, known.classes, seed
    )
    slope, error, brier = (replace(one, n=count) for one in (found.slope, found.error, found.brier))
    return Believed(count, patients, slope, error, found.error_by_chance, brier)


def _covered(known: Known, level: float, seed: int) -> Coverage:
    """One lesion of a class and patient, as sets are made and tried in the checkpoint."""
    chosen = conformal.one_each(known.patients, known.labels, seed)
    inside, labels = known.inside[chosen], known.labels[chosen]
    found = conformal.coverage(inside, labels, known.classes, level)
    size = inside.sum(axis=1)

    def enough(figure: Figure, of: Bools) -> Figure:
        # of too few patients altogether not even how many there are of a class
        count = known.n_patients
        if count >= LEAST:
            count = len(np.unique(known.patients[chosen][of]))
        return figure if count >= LEAST else few(count, LEAST)

    return replace(
        found,
        overall=enough(found.overall, np.ones(len(labels), bool)),
        by_class={
            key: enough(found.by_class[key], labels == place)
            for place, key in enumerate(known.classes)
        },
        by_size={key: enough(one, size == int(key)) for key, one in found.by_size.items()},
    )
