"""Chance of training: how far a mean over trained networks would be another with other networks.

A mean over S trainings (seeds) that all answered the same lesions has three sources of chance (a
crossed design; Owen 2007, Ann Appl Stat 1:386): the patients P, whom all trainings share, each
training's own luck T, and what is peculiar to a patient in one training PT::

    V = P + T / S + PT / S

Drawing patients again, with the trainings' mean in hand, gives P + PT / S. To draw trainings again
as well would count PT up to three times and tell T by a handful of draws, so T is estimated by
itself and added: from how far the trainings lie apart, less what PT explains of it, and, where each
training is of several networks that tested a fold each, from how far the folds of a training lie
apart, less what their patients explain. Nothing is ever taken off. Intervals are Student's, with
the degrees of freedom of Satterthwaite (1946, Biometrics Bull 2:110): few trainings tell little of
T. Patients and folds are clusters of lesions whose residuals are freed of their own pull on the
mean, as in CR2 (Bell & McCaffrey 2002, Surv Methodol 28:169).

``make bench SECTIONS=inference`` counts coverage and false alarms over simulated experiments.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy  # its parts are loaded when they are used: serving starts without them

from ml.statistics.bootstrap import percentiles
from ml.statistics.figure import Figure

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Spread:
    """The chance in a mean over trainings.

    Attributes:
        patients: P + PT / S, its variance when patients alone are drawn again.
        training: T / S, what chance of training adds; None where nothing tells of it: one training
            without folds.
        freedom: degrees of freedom of their sum.
    """

    patients: float
    training: float | None
    freedom: float

    @property
    def error(self) -> float:
        """Standard error of the mean."""
        return float(np.sqrt(self.patients + (self.training or 0.0)))

    @property
    def share(self) -> float | None:
        """Chance of training's share of the variance, 0–1; None where nothing tells of it."""
        if self.training is None:
            return None
        return self.training / (self.patients + self.training) if self.training else 0.0

    def reach(self, level: float = 0.95) -> float:
        """How many standard errors an interval goes to either side."""
        return float(scipy.stats.t.ppf(0.5 + level / 2, self.freedom))

    def p(self, value: float) -> float:
        """Two-sided p of a true mean of 0: under 0.05 where the 95 % interval leaves 0 out."""
        if not value:
            return 1.0
        if not self.error:
            return 0.0
        return float(2 * scipy.stats.t.sf(abs(value) / self.error, self.freedom))

    def widening(self, drawn: Floats) -> float:
        """What an interval over patients alone is to be stretched by, 1 or more.

        Args:
            drawn: (b,) the resamples that it is of.
        """
        if self.training is None:
            return 1.0
        alone = float(scipy.stats.norm.ppf(0.975)) * float(np.nanstd(drawn))
        return max(1.0, self.error * self.reach() / alone) if alone else 1.0


def of_parts(
    scores: Floats, parts: Floats, member: Ints, group: Ints, folds: Ints | None = None
) -> Spread:
    """Of scores that are sums over lesions, or nearly so.

    Args:
        scores: (S,) of each training.
        parts: (S, n) by how much each lesion moves its training's score; those of a training add
            up to 0.
        member: (n,) whose lesion each is.
        group: (n,) the class, or other part of the lesions, in whose mean each counts.
        folds: (S, n) the network of each training that answered each lesion.
    """
    trainings = len(parts)
    people = int(member.max()) + 1
    by_patient = _clusters(parts, np.broadcast_to(member, parts.shape), group, people)
    shared = float((by_patient.mean(axis=0) ** 2).sum())
    single = float((by_patient**2).sum(axis=1).mean())
    peculiar, found, freedom, whole = 0.0, 0.0, 0, 0.0
    if trainings > 1:
        peculiar = max(0.0, (single - shared) * trainings / (trainings - 1))
        apart = float(scores.var(ddof=1))
        found += (trainings - 1) * (apart - peculiar)
        whole += (trainings - 1) * apart
        freedom += trainings - 1
    if folds is not None and (count := int(folds.max()) + 1) > 1:
        by_fold = _clusters(parts, folds, group, count)
        apart = float((by_fold**2).sum(axis=1).mean())
        own = trainings * (count - 1)
        found += own * (apart - single)
        whole += own * max(0.0, apart - (single - peculiar))
        freedom += own
    if not freedom:
        return Spread(shared, None, max(people - 1, 1))
    return _sum(shared, found / freedom / trainings, whole / freedom / trainings, freedom, people)


def of_draws(scores: Floats, drawn: Floats, patients: int) -> Spread:
    """Of any score, from a bootstrap over patients in which all trainings share each draw.

    Args:
        scores: (S,) of each training.
        drawn: (S, b) the same of each resample; draws in which one does not exist are left out.
        patients: how many there are.
    """
    trainings = len(scores)
    known = drawn[:, np.isfinite(drawn).all(axis=0)]
    shared = float(known.mean(axis=0).var(ddof=1)) if known.shape[1] > 1 else 0.0
    freedom = max(patients - 1, 1)
    if trainings < 2:
        return Spread(shared, None, freedom)
    apart = float(scores.var(ddof=1))
    # a resample holds what is peculiar to patients once more
    peculiar = max(0.0, float(known.var(axis=0, ddof=1).mean()) - apart) if known.size else 0.0
    found = (apart - peculiar) / trainings
    return _sum(shared, found, apart / trainings, trainings - 1, patients)


def _sum(shared: float, found: float, whole: float, freedom: int, people: int) -> Spread:
    """P + PT / S and, of T / S, what was ``found``; ``whole``: the mean square it was found in."""
    others = max(people - 1, 1)
    if found <= 0:
        return Spread(shared, 0.0, others)
    total = shared + found
    return Spread(shared, found, total**2 / (shared**2 / others + whole**2 / freedom))


def _clusters(parts: Floats, cluster: Ints, group: Ints, count: int) -> Floats:
    """(S, ``count``): what each cluster of lesions adds, freed of its own pull on the means.

    Args:
        cluster: (S, n).
    """
    groups = int(group.max()) + 1
    sizes = np.bincount(group, minlength=groups)
    found = np.zeros((len(parts), count))
    for row, own, into in zip(parts, cluster, found, strict=True):
        cell = own * groups + group
        shape = (count, groups)
        lesions = np.bincount(cell, minlength=count * groups).reshape(shape)
        adds = np.bincount(cell, row, minlength=count * groups).reshape(shape)
        pull = lesions / np.maximum(sizes, 1)
        free = np.where(pull < 1, 1 - pull, 1)  # a group of one cluster says nothing of its spread
        into += (adds / np.sqrt(free)).sum(axis=1)
    return found


def interval(
    value: float, drawn: Floats, spread: Spread, low: float = -np.inf, high: float = np.inf
) -> Figure:
    """``value`` with the percentile interval of its resamples (b,), stretched for training.

    Args:
        drawn: the mean over trainings, when patients are drawn again.
        low, high: what it cannot leave.
    """
    if not np.isfinite(value):
        return Figure(None, None, None)
    ends = percentiles(drawn)
    if ends is None:
        return Figure(float(value), None, None)
    widening = spread.widening(drawn)
    stretched = [value + widening * (end - value) for end in ends]
    return Figure(float(value), max(low, stretched[0]), min(high, stretched[1]))
