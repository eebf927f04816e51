"""How often intervals over patients and trainings hold the truth, and how often p is a false alarm.

Simulated experiments like those on phantoms and on nodules: patients with several lesions, networks
of each seed and fold with a luck of their own in each class, arms that are alike or differ. Whether
a network is right on a lesion is a probit model, so true accuracies are known in closed form.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest, norm

from bench import pool
from ml.statistics import comparison

Ints = npt.NDArray[np.int64]

STUDIES = 2000
LOW, HIGH = 0.93, 0.97
"""Where coverage has to lie with three seeds and more."""


@dataclass(frozen=True)
class World:
    """What experiments are drawn from; standard deviations on the probit scale.

    Attributes:
        lesions: of each class.
        level: of both arms; ``gain`` of the first more than of the second.
        patient, lesion: how hard they are, for all networks alike.
        noise: of one network on one lesion.
        luck: of one network in one class.
        own: of a patient in one arm.
    """

    name: str
    lesions: tuple[int, ...]
    level: float
    patient: float
    lesion: float
    noise: float
    luck: float = 0.0
    gain: float = 0.0
    own: float = 0.0
    seeds: int = 3
    folds: int = 3

    def true(self, gain: float) -> float:
        """Balanced accuracy of an arm, over all patients and networks there could be."""
        parts = (1.0, self.patient, self.lesion, self.noise, self.luck, self.own)
        return float(norm.cdf((self.level + gain) / sqrt(sum(x * x for x in parts[1:]))))


PHANTOMS = World("phantoms", (53, 64, 65), 1.9, 1.0, 1.6, 0.25)
"""84 % right; networks of one arm differ on 4 % of lesions, on 8 % with luck of 0.5."""
NODULES = World("nodules", (45, 45, 44), 0.03, 0.5, 0.9, 0.6)
"""51 % right of two classes' worth; networks differ on 23 to 28 % of lesions."""


def _patients(lesions: tuple[int, ...], rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Class and patient of each lesion: 1.8 lesions a patient on average, of one class."""
    truth, owners = np.repeat(np.arange(len(lesions)), lesions), []
    patient = 0
    for count in lesions:
        left = count
        while left:
            some = min(left, int(rng.geometric(0.55)))
            owners += [patient] * some
            left, patient = left - some, patient + 1
    return truth, np.asarray(owners)


def _experiment(
    world: World, rng: np.random.Generator
) -> tuple[Ints, list[str], Ints, npt.NDArray[np.bool_]]:
    truth, owner = _patients(world.lesions, rng)
    people, n = int(owner.max()) + 1, truth.size
    hard = world.patient * rng.normal(size=people)[owner] + world.lesion * rng.normal(size=n)
    folds = np.stack(
        [rng.permutation(np.arange(people) % world.folds)[owner] for _ in range(world.seeds)]
    )
    right = np.empty((2, world.seeds, n), bool)
    for arm in (0, 1):
        luck = world.luck * rng.normal(size=(world.seeds, world.folds, len(world.lesions)))
        latent = world.level + (world.gain if arm == 0 else 0.0) + hard
        latent = latent + world.own * rng.normal(size=people)[owner]
        latent = latent + world.noise * rng.normal(size=(world.seeds, n))
        right[arm] = latent + luck[np.arange(world.seeds)[:, None], folds, truth] > 0
    return truth, [str(one) for one in owner], folds, right


@dataclass(frozen=True)
class Counted:
    """Of ``STUDIES`` experiments: intervals that held the truth, and p under 0.05."""

    difference: int
    accuracy: int
    small: int
    disagree: int
    width: float


def _counted(world: World) -> Counted:
    rng = np.random.default_rng(20261128)
    gap = world.true(world.gain) - world.true(0.0)
    held = accuracy = small = disagree = 0
    width = 0.0
    for _ in range(STUDIES):
        truth, patients, folds, right = _experiment(world, rng)
        found = comparison.compare(right[0], right[1], truth, patients, folds)
        low, high = found.difference.ends or (0.0, 0.0)
        held += low <= gap <= high
        width += high - low
        small += found.p < 0.05
        disagree += (found.p < 0.05) != (not low <= 0.0 <= high)
        own = right[0].astype(float)
        low, high = comparison.share_interval(own, truth, patients, 500, 0, folds).ends or (0, 0)
        accuracy += low <= world.true(world.gain) <= high
    return Counted(held, accuracy, small, disagree, width / STUDIES)


def section() -> Iterator[str]:
    """Coverage of 95 %, type-I error and power, by world, luck of networks, effect and seeds."""
    yield f"{STUDIES} simulated experiments a row, 3 folds; in brackets 95 % of the counts"
    worlds = [
        replace(world, luck=luck, gain=gain, own=own, seeds=seeds)
        for world in (PHANTOMS, NODULES)
        for seeds in (3, 5, 1)
        for luck in (0.0, 0.3, 0.5)
        for gain, own in ((0.0, 0.0), (0.4, 0.3))
    ]
    outside = 0
    for world, found in zip(worlds, pool.each(_counted, worlds), strict=True):
        effect = world.true(world.gain) - world.true(0.0)
        told = []
        for count in (found.difference, found.accuracy):
            ends = binomtest(count, STUDIES).proportion_ci(method="exact")
            told.append(f"{count / STUDIES:.3f} ({ends.low:.3f} to {ends.high:.3f})")
            if world.seeds > 1 and (ends.high < LOW or ends.low > HIGH):
                outside += 1
                told[-1] += " OUTSIDE"
        what = "type-I error" if not world.gain else "power"
        yield (
            f"{world.name}, {world.seeds} seed(s), luck {world.luck:.1f}, true difference "
            f"{100 * effect:.1f}: difference {told[0]}, width {100 * found.width:.1f} points, "
            f"{what} {found.small / STUDIES:.3f}, p and interval disagree in {found.disagree}; "
            f"accuracy {told[1]}"
        )
    yield (
        f"{outside} outside {LOW:.2f} to {HIGH:.2f} with three and five seeds. With one seed "
        "chance of training is told by the folds alone: no verdict is given."
    )
