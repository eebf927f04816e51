"""The classes that cannot be excluded: split conformal sets, for each class by itself.

A class stays in the set unless its probability is lower than that of nearly all calibration lesions
that have it: with n of them, than the ⌈(n + 1) · level⌉-th least unlikely one (Vovk 2012, PMLR
25:475; Sadinle et al. 2019, JASA 114:223). Then the true class is in the set at least as often as
``level`` says, whichever it is, for lesions drawn as the calibration lesions were.

Calibration lesions are those of training patients, scored by networks trained without them: one
lesion of a class a patient, drawn once (Dunn et al. 2023, JASA 118:2491), since lesions of one
patient are no independent draws. The network that serves is another one of the same training, so
that the promise is near and not exact; coverage is therefore measured as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
import numpy.typing as npt
import scipy  # its parts are loaded when they are used: serving starts without them

from ml.statistics import proportion
from ml.statistics.figure import Figure
from ml.trust.evidence import OutOfFold, TrustError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

LEVELS = (0.8, 0.85, 0.9, 0.95, 0.99)
"""What an administrator may choose; coverage is measured at each."""
METHOD = "one lesion of a class a patient; Clopper–Pearson"


def least_for(level: float) -> int:
    """How many calibration lesions a class needs: 9 for 0.9, 19 for 0.95."""
    # rounded: 0.9 / (1 - 0.9) is 9.000000000000002
    return ceil(round(level / (1 - level), 9))


def expected(lesions: int, level: float) -> tuple[float, float]:
    """Between what a class's own coverage lies in 95 of 100 draws of its calibration lesions.

    The level is kept on the mean over draws; with these very lesions it is Beta(k, n + 1 − k),
    where the k-th of n gives the threshold (Vovk 2012).

    Raises:
        TrustError: too few lesions for the level.
    """
    if lesions < least_for(level):
        raise TrustError(f"a set at {100 * level:g} % needs {least_for(level)} lesions of a class")
    place = _place(lesions, level)
    low, high = scipy.stats.beta.ppf([0.025, 0.975], place, lesions + 1 - place)
    return float(low), float(high)


def _place(lesions: int, level: float) -> int:
    return ceil(round((lesions + 1) * level, 9))


@dataclass(frozen=True)
class Coverage:
    """How often the true class was in the set, on lesions that no threshold was made from.

    Attributes:
        overall: of all lesions.
        by_class: of the lesions of each class.
        by_size: of the sets with so many classes ("1", "2", …).
        sizes: share of the sets with so many classes.
    """

    level: float
    overall: Figure
    by_class: Mapping[str, Figure]
    by_size: Mapping[str, Figure]
    sizes: Mapping[str, float]


@dataclass(frozen=True)
class Sets:
    """What prediction sets are made from, at any level.

    Attributes:
        classes: keys of the scheme.
        probabilities: class → the probabilities that its calibration lesions had of it, rising.
    """

    classes: tuple[str, ...]
    probabilities: Mapping[str, Floats]

    @classmethod
    def of(cls, found: OutOfFold, probabilities: Floats, seed: int = 0) -> Sets:
        """From cross-fitted probabilities (n, classes) of out-of-fold lesions.

        Args:
            seed: draws the lesion of a patient with several of a class.
        """
        chosen = one_each(found.patients, found.labels, seed)
        own = probabilities[chosen, found.labels[chosen]]
        return cls(
            found.classes,
            {
                key: np.sort(own[found.labels[chosen] == place])
                for place, key in enumerate(found.classes)
            },
        )

    def thresholds(self, level: float) -> Floats:
        """(classes,): a class less probable than its threshold is excluded.

        Raises:
            TrustError: a level that is none, or a class with too few calibration lesions for it.
        """
        if not 0 < level < 1:
            raise TrustError(f"A level lies between 0 and 1, not at {level:g}.")
        few = {
            key: len(own) for key, own in self.probabilities.items() if len(own) < least_for(level)
        }
        if few:
            told = ", ".join(f"{count} of {key}" for key, count in few.items())
            raise TrustError(
                f"a set at {100 * level:g} % needs {least_for(level)} calibration lesions of each "
                f"class, one a patient; there are {told}"
            )
        # the k-th greatest of 1 − p is the k-th least of p, counted from the other end
        return np.asarray(
            [
                own[len(own) - _place(len(own), level)]
                for own in (self.probabilities[key] for key in self.classes)
            ]
        )


def members(probabilities: Floats, thresholds: Floats) -> npt.NDArray[np.bool_]:
    """Which classes are in the set (n, classes); the likeliest one always is."""
    inside = probabilities >= thresholds
    inside[np.arange(len(inside)), probabilities.argmax(axis=1)] = True
    return inside


def coverage(
    inside: npt.NDArray[np.bool_], labels: Ints, classes: Sequence[str], level: float
) -> Coverage:
    """How often sets (n, classes) held the true class (n,); lesions must be of n patients."""
    hit = inside[np.arange(len(labels)), labels]
    size = inside.sum(axis=1)

    def share(of: npt.NDArray[np.bool_]) -> Figure:
        count = int(of.sum())
        if not count:
            return Figure.undefined(0, METHOD, "no lesion")
        return proportion.exact(int(hit[of].sum()), count, method=METHOD)

    everyone = np.ones(len(labels), bool)
    sizes = range(1, len(classes) + 1)
    return Coverage(
        level=level,
        overall=share(everyone),
        by_class={key: share(labels == place) for place, key in enumerate(classes)},
        by_size={str(count): share(size == count) for count in sizes},
        sizes={str(count): float((size == count).mean()) for count in sizes},
    )


def cross_covered(
    found: OutOfFold, probabilities: Floats, level: float, seed: int = 0
) -> Coverage | None:
    """Coverage of each fold's lesions by sets made from the other folds.

    Returns:
        None where the other folds hold too few lesions of a class for the level.
    """
    inside = np.zeros(probabilities.shape, bool)
    for fold in np.unique(found.folds):
        own = found.folds == fold
        others = Sets.of(found.without_fold(fold), probabilities[~own], seed)
        try:
            inside[own] = members(probabilities[own], others.thresholds(level))
        except TrustError:
            return None
    chosen = one_each(found.patients, found.labels, seed)
    return coverage(inside[chosen], found.labels[chosen], found.classes, level)


def one_each(patients: Ints, labels: Ints, seed: int = 0) -> Ints:
    """Positions of one lesion of each patient and class, drawn once, in their order."""
    order = np.random.default_rng([seed, 17]).permutation(len(labels))
    pairs = np.stack([patients[order], labels[order]], axis=1)
    _, first = np.unique(pairs, axis=0, return_index=True)
    return np.sort(order[first])
