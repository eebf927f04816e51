"""Simulated unaware studies through the real analysis, and the power of their first part.

The first part is simulated with Probit models of classes named right, one for real and one for
synthetic images, whose readers are the same people; the second part is that of `Rehearsal`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from math import sqrt
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from ml.ground import records
from ml.progress import Progress
from ml.readers.reading import Protocol, Reading
from ml.readers.rehearsal import Coverage, Outcome, Rehearsal, Tally
from ml.readers.rehearsal import Design as SecondPart
from ml.readers.results import Refused
from ml.readers.unaware import REAL, SYNTHETIC, Diagnosis, compare, diagnose
from ml.statistics.mrmc import Analysis
from ml.statistics.proportion import ReadersError
from ml.statistics.ratings import Ratings

STUDIES = 400
"""Simulated studies behind a planned power: its own standard error is at most 0.025."""
READER_SD, OWN_SD, IMAGE_SD = 0.2, 0.2, 0.6
"""Standard deviations of readers, of readers between the sources, and of images (probit units)."""
_RIGHT, _WRONG = "right", "wrong"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FirstPart:
    """Readers who name the class of images: the same people read real and synthetic ones.

    ``real_right`` and ``synthetic_right`` are the mean shares named right, over readers and images.
    """

    readers: int = 5
    real: int = 40
    synthetic: int = 40
    real_right: float = 0.7
    synthetic_right: float = 0.7

    def __post_init__(self) -> None:
        if self.readers < 1 or min(self.real, self.synthetic) < 2:
            raise ReadersError("A first part needs a reader, two real and two synthetic images.")
        for share in (self.real_right, self.synthetic_right):
            if not 0 < share < 1:
                raise ReadersError(f"A simulated share lies between 0 and 1, not at {share}.")

    @property
    def gap(self) -> float:
        """The true difference, real minus synthetic."""
        return self.real_right - self.synthetic_right

    def draw(self, rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
        """One simulated study.

        Returns:
            Whether each real (readers, real) and each synthetic image (readers, synthetic) was
            named right, 0 or 1; and each reader's own true difference (readers,).
        """
        both = rng.normal(0, READER_SD, (self.readers, 1))
        spread = sqrt(1 + READER_SD**2 + OWN_SD**2 + IMAGE_SD**2)
        right, shares = [], []
        for images, share in ((self.real, self.real_right), (self.synthetic, self.synthetic_right)):
            level = float(scipy.stats.norm.ppf(share)) * spread
            own = level + both + rng.normal(0, OWN_SD, (self.readers, 1))
            latent = (
                own + rng.normal(0, IMAGE_SD, images) + rng.normal(0, 1, (self.readers, images))
            )
            right.append((latent > 0).astype(np.float64))
            shares.append(scipy.stats.norm.cdf(own[:, 0] / sqrt(1 + IMAGE_SD**2)))
        return right[0], right[1], np.asarray(shares[0] - shares[1], dtype=np.float64)


def _readings(real: Floats, synthetic: Floats) -> list[Reading]:
    """What was named, as the analysis takes it; from 0 or 1 of (readers, images) each."""
    return [
        Reading(
            reader=f"simulated {j + 1}",
            case=f"{'synthetic' if is_synthetic else 'real'} {k + 1}",
            synthetic=is_synthetic,
            rating=None,
            generator="simulated" if is_synthetic else None,
            lesion_class=_RIGHT,
            answered_class=_RIGHT if right[j, k] else _WRONG,
        )
        for is_synthetic, right in ((False, real), (True, synthetic))
        for j in range(right.shape[0])
        for k in range(right.shape[1])
    ]


def _block(real: Floats, synthetic: Floats) -> Ratings:
    """The same as one block, which is quicker where nothing else is asked."""
    readers, images = real.shape[0], real.shape[1] + synthetic.shape[1]
    scores = np.full((2, readers, images), np.nan)
    scores[0, :, : real.shape[1]] = real
    scores[1, :, real.shape[1] :] = synthetic
    return Ratings(
        tuple(f"simulated {j + 1}" for j in range(readers)),
        (REAL, SYNTHETIC),
        tuple(f"image {k + 1}" for k in range(images)),
        np.ones(images, dtype=np.int64),
        scores,
    )


AT_LARGE = "real minus synthetic, classes named right, readers at large"
ALONE = "real minus synthetic, classes named right, one reader"


@dataclass(frozen=True)
class Gaps:
    """How often a difference between real and synthetic images was shown, 0–1; None of none."""

    at_large: float | None
    alone: float | None


@dataclass(frozen=True)
class UnawareOutcome:
    """What a rehearsal shows of the first part; ``second`` is of the second."""

    design: FirstPart
    studies: int
    seed: int
    true_gap: float
    coverage: tuple[Coverage, ...]
    shown: Gaps
    second: Outcome

    def to_json(self) -> Any:
        """The JSON form; every setting of the designs is written."""
        second = self.second.to_json()
        return records.to_json(self) | {"design": asdict(self.design), "second": second}


@dataclass
class _Counted:
    """Intervals of the difference over simulated studies."""

    at_large: Tally = field(default_factory=lambda: Tally(AT_LARGE))
    alone: Tally = field(default_factory=lambda: Tally(ALONE))
    shown_at_large: int = 0
    shown_alone: int = 0

    def count(self, found: Diagnosis, gap: float, own: Floats) -> None:
        """Note one study."""
        if not isinstance(found.across, Refused):
            self.count_at_large(found.across, gap)
        for one, truth in zip(found.readers, own, strict=True):
            figure = one.lesion_class.real_minus_synthetic
            if figure is not None and figure.ends is not None:
                low, high = figure.ends
                self.alone.count(low, high, float(truth))
                self.shown_alone += not low <= 0 <= high

    def count_at_large(self, across: Analysis, gap: float) -> None:
        """Note what one study says of readers at large."""
        ends = across.differences[0]
        self.at_large.count(ends.low, ends.high, gap)
        self.shown_at_large += not ends.low <= 0 <= ends.high

    def gaps(self) -> Gaps:
        """How often a difference was shown."""
        return Gaps(
            _share(self.shown_at_large, self.at_large.studies),
            _share(self.shown_alone, self.alone.studies),
        )


def _share(count: int, of: int) -> float | None:
    return count / of if of else None


@dataclass
class UnawareRehearsal:
    """Many simulated unaware studies; iterate `run`, then ask for the `outcome`."""

    first: FirstPart
    second: SecondPart
    studies: int = 500
    seed: int = 0
    _counted: _Counted = field(default_factory=_Counted)
    _inner: Rehearsal | None = None

    def run(self) -> Iterator[Progress]:
        """One step per study: simulate both parts, analyse them as a real study's, count."""
        self._counted = _Counted()
        self._inner = Rehearsal(self.second, self.studies, self.seed)
        rules = Protocol(margin=self.second.margin, resamples=0)
        for study, step in enumerate(self._inner.run()):
            real, fake, own = self.first.draw(np.random.default_rng([self.seed, study, 1]))
            found = diagnose(_readings(real, fake), rules)
            self._counted.count(found, self.first.gap, own)
            yield step

    def outcome(self) -> UnawareOutcome:
        """What was found in the studies that are done; ValueError before `run`."""
        if self._inner is None:
            raise ValueError("Run the rehearsal first.")
        counted = self._counted
        return UnawareOutcome(
            design=self.first,
            studies=self._inner.done,
            seed=self.seed,
            true_gap=self.first.gap,
            coverage=(counted.at_large.coverage(), counted.alone.coverage()),
            shown=counted.gaps(),
            second=self._inner.outcome(),
        )


@dataclass(frozen=True)
class FirstPartPlan:
    """What a first part can show: the chance that the 95 % interval of the difference leaves out 0.

    ``power`` and ``width`` (mean width of the interval) are of readers at large, from ``studies``
    simulated studies; None with fewer than three readers, who speak for no others.
    """

    design: FirstPart
    power: float | None
    width: float | None
    studies: int
    assumptions: tuple[str, ...]


def plan_first_part(design: FirstPart, studies: int = STUDIES, seed: int = 0) -> FirstPartPlan:
    """Simulated power of the first part of an unaware study."""
    counted = _Counted()
    if design.readers >= Protocol().least_readers:
        for study in range(studies):
            real, fake, _ = design.draw(np.random.default_rng([seed, study, 1]))
            try:
                counted.count_at_large(compare(_block(real, fake)), design.gap)
            except ReadersError:  # nothing is said of others
                continue
    covered = counted.at_large.coverage()
    return FirstPartPlan(
        design,
        counted.shown_at_large / studies if covered.n else None,
        covered.mean_width if covered.n else None,
        studies,
        (
            f"readers differ by a standard deviation of {READER_SD:g} on all images and of "
            f"{OWN_SD:g} more between real and synthetic ones, images by {IMAGE_SD:g}, in probit "
            "units of a share",
            "every reader reads every image, and no two images are of one patient",
            f"{studies} simulated studies, seed {seed}, analysed as the study will be",
        ),
    )
