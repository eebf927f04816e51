"""Pilot studies: what their ratings say of readers, as assumptions for a plan, and how surely.

Components of Obuchowski & Rockette are estimated from the ratings, and the model of
`ml.statistics.latent` is fitted that gives the same. The readers' spread has the interval of a
scaled χ²; a plan can take its upper end instead of the estimate (Browne 1995, Stat Med 14:1933).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np
import scipy
from numpy.typing import NDArray

from ml.readers.many import Studies, errors
from ml.statistics import mrmc
from ml.statistics.latent import CUTS, READER, Latent
from ml.statistics.proportion import ReadersError
from ml.statistics.ratings import Ratings

Floats = NDArray[np.float64]

LEAST_OF_A_KIND = 5
MOST_POINTS = 10
FEW_READERS, FEW_IMAGES = 5, 100
CAUTIOUS = 0.80
"""One-sided confidence of the upper end that a cautious plan takes."""

_MOST_READER = 3.9
_MOST_CASE = 0.98
_DRAWN = 200


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class PilotStudy:
    """What a pilot says of readers.

    ``areas`` are the mean areas of its treatments; ``spread`` the standard deviation of readers'
    true areas; ``reader`` and ``case`` the model's variances (see `Latent`), and
    ``cautious_reader`` the upper one-sided limit of the former, never below what is assumed without
    a pilot. ``cuts`` are None where its scale
    is not one of ordinal answers.
    """

    source: str
    readers: int
    real: int
    synthetic: int
    areas: tuple[float, ...]
    spread: Estimate
    reader: Estimate
    cautious_reader: float
    case: Estimate
    cuts: tuple[float, ...] | None
    words: tuple[str, ...]

    def model(self, cautious: bool = False) -> Latent:
        """Readers like those of the pilot; ``cautious``: as unlike each other as they may be."""
        return Latent(
            reader=self.cautious_reader if cautious else self.reader.value,
            case=self.case.value,
            cuts=self.cuts or CUTS,
        )


def estimate(ratings: Ratings, source: str) -> PilotStudy:
    """From a block of ratings, one treatment or several; ``source`` names it in words.

    Raises:
        ReadersError: one reader, too few images, or figures that say nothing of spread.
    """
    readers = len(ratings.readers)
    synthetic = int(ratings.truth.sum())
    real = len(ratings.truth) - synthetic
    if readers < 2:
        raise ReadersError(f"{source}: a pilot of 1 reader says nothing of the spread of readers.")
    blocks = [ratings.only(name) for name in ratings.treatments]
    of_each = [np.array([one.truth.sum(), (1 - one.truth).sum()]) for one in blocks]
    fewest = int(np.min(of_each))
    if fewest < LEAST_OF_A_KIND:
        raise ReadersError(
            f"{source}: a pilot needs {LEAST_OF_A_KIND} real and {LEAST_OF_A_KIND} synthetic images"
            f" under each treatment; one has {fewest}."
        )
    try:
        found = [mrmc.random_readers(one) for one in blocks]
    except ReadersError as error:
        raise ReadersError(f"{source}: {error}") from error
    areas = tuple(one.mean.value for one in found)
    area = float(np.mean(areas))
    parts = [one.components for one in found]
    var = float(np.mean([one.var for one in parts]))
    cov2 = float(np.mean([one.cov2 or 0.0 for one in parts]))
    ms_r = float(np.mean([one.ms_r or 0.0 for one in parts]))
    if var <= 0:
        raise ReadersError(
            f"{source}: the answers of its readers do not vary, so they tell nothing of how "
            "readers differ; use a pilot whose readers used the scale."
        )
    read = np.isfinite(ratings.scores).any(axis=0)
    if not (read.sum(axis=0) > 1).any():
        raise ReadersError(
            f"{source}: no image was read by two of its readers, so it tells nothing of how alike "
            "they judge one image; use a pilot whose readers read the same images."
        )
    if ms_r <= 0:
        raise ReadersError(
            f"{source}: its readers have all the same area, which tells nothing of how readers "
            "differ; use a pilot of more readers or images."
        )
    if not 0.03 < area < 0.97:
        raise ReadersError(
            f"{source}: a mean AUC of {area:.2f} lies at the edge, where nothing can be learned of "
            "how readers differ; use a pilot with images that are harder, or easier, to tell."
        )
    of_one = np.mean(of_each, axis=0).round().astype(int)
    fit = _Fit(area, int(of_one[0]), int(of_one[1]), _use(ratings))
    model = fit.model(cov2 / var, ms_r - var + cov2)
    shares = fit.drawn(model, readers)
    case = Estimate(
        model.case,
        *(float(np.clip(x, 0, _MOST_CASE)) for x in np.quantile(shares, [0.025, 0.975])),
    )
    df = readers - 1  # the same readers under each treatment

    def limit(quantile: float) -> float:
        """Of the variance of readers' areas; what images add to their mean square is known."""
        return max(ms_r * df / float(scipy.stats.chi2.ppf(quantile, df)) - var + cov2, 0.0)

    values = [max(ms_r - var + cov2, 0.0), limit(0.975), limit(0.025)]
    reader = Estimate(model.reader, *(fit.reader(model, x) for x in values[1:]))
    spread = Estimate(*(sqrt(x) for x in values))
    cautious = fit.reader(model, limit(1 - CAUTIOUS))
    return PilotStudy(
        source, readers, real, synthetic, areas, spread, reader,
        max(cautious, model.reader, READER), case,
        fit.cuts(model) if fit.ordinal else None,
        _words(readers, real + synthetic, spread, case, fit.ordinal, len(areas)),
    )  # fmt: skip


def _use(ratings: Ratings) -> Floats:
    """Shares of each rating in use, real and synthetic images alike: (points,)."""
    flat = [ratings.scores[:, :, ratings.truth == kind].ravel() for kind in (0, 1)]
    flat = [one[np.isfinite(one)] for one in flat]
    points = np.unique(np.concatenate(flat))
    shares = [np.array([(one == p).mean() for p in points]) for one in flat]
    return np.asarray(sum(shares) / 2)


@dataclass(frozen=True)
class _Fit:
    """The model that gives what a pilot found: its mean ``area``, and its ``use`` of the scale."""

    area: float
    synthetic: int
    real: int
    use: Floats

    @property
    def ordinal(self) -> bool:
        """Whether its points can be those of a scale of answers."""
        return 2 <= len(self.use) <= MOST_POINTS

    def model(self, share: float, variance: float) -> Latent:
        """With that correlation of errors, and that variance of readers' areas."""
        model = Latent()
        for _ in range(3):
            if self.ordinal:
                model = replace(model, cuts=self.cuts(model))
            model = replace(model, case=self.case(model, share))
            model = replace(model, reader=self.reader(model, variance))
        return model

    def latent(self, model: Latent) -> float:
        """The area before cutting that gives the pilot's area of ratings."""
        low, high = 0.001, 0.999
        return _solved(lambda x: model.true_areas((x,))[0] - self.area, low, high)

    def cuts(self, model: Latent) -> tuple[float, ...]:
        """Such that real and synthetic images get the pilot's ratings, told from the middle."""
        apart = model.separation(self.latent(model))
        wide = sqrt(1 + model.reader)
        found: list[float] = []
        for wanted in np.cumsum(self.use)[:-1]:

            def gap(cut: float, wanted: float = float(wanted)) -> float:
                both = scipy.special.ndtr((cut + np.array([-apart, apart]) / 2) / wide)
                return float(both.mean()) - wanted

            cut = _solved(gap, -12.0, 12.0)
            if not found or cut > found[-1]:
                found.append(cut)
        return tuple(found)

    def case(self, model: Latent, share: float) -> float:
        """What readers share of an image, for a correlation of their errors."""
        area = self.latent(model)

        def gap(case: float) -> float:
            moments = replace(model, case=case, reader=0.0).moments(
                (area,), self.synthetic, self.real
            )
            return moments.r2 - share

        return _solved(gap, 0.0, _MOST_CASE)

    def reader(self, model: Latent, variance: float) -> float:
        """The variance of readers' places, for one of their areas."""
        area = self.latent(model)

        def gap(reader: float) -> float:
            found = replace(model, reader=reader).moments((area,), self.synthetic, self.real)
            return found.var_r - variance

        return _solved(gap, 0.0, _MOST_READER)

    def drawn(self, model: Latent, readers: int) -> Floats:
        """Shares of an image that pilots of this size would find: parametric bootstrap."""
        studies = Studies.drawn(
            model, (self.latent(model),), readers, self.synthetic, self.real, _DRAWN,
            np.random.default_rng(0),
        )  # fmt: skip
        var, cov2 = errors(studies)
        grid = np.linspace(0.0, _MOST_CASE, 15)
        area = self.latent(model)
        known = [
            replace(model, case=float(x), reader=0.0)
            .moments((area,), self.synthetic, self.real).r2
            for x in grid
        ]  # fmt: skip
        return np.interp(cov2 / var, known, grid)


def _solved(gap: Callable[[float], float], low: float, high: float) -> float:
    """Where a rising ``gap`` is 0; the nearer end where it is nowhere."""
    if gap(low) >= 0:
        return low
    if gap(high) <= 0:
        return high
    return float(scipy.optimize.brentq(gap, low, high, xtol=1e-5))


def _words(
    readers: int, images: int, spread: Estimate, case: Estimate, ordinal: bool, treatments: int
) -> tuple[str, ...]:
    """How uncertain a pilot of that size is, in sentences."""
    said = [
        f"{readers} readers and {images} images: the standard deviation of readers' true AUCs is "
        f"{spread.value:.3f}, with a 95 % interval from {spread.low:.3f} to {spread.high:.3f}; "
        f"readers share {100 * case.value:.0f} % of what is particular to an image "
        f"({100 * case.low:.0f} to {100 * case.high:.0f} %).",
    ]
    if spread.value == 0:
        said.append(
            "The readers differed no more than images alone would let them: the estimate is 0, and "
            "no reader population has a spread of 0. Plan cautiously."
        )
    if readers < FEW_READERS or images < FEW_IMAGES:
        said.append(
            "A pilot of this size says little: a power planned from its estimates alone can be far "
            "off. The cautious plan takes the upper end of the spread "
            f"({100 * CAUTIOUS:.0f} % one-sided), and never less than is assumed without a pilot."
        )
    said.append(
        "Of the pilot only spread, shared images and use of the scale are taken, never the effect: "
        "the effect to plan for is the smallest that would matter."
    )
    if not ordinal:
        said.append(
            f"Its ratings have more than {MOST_POINTS} points, or one: the six points of a study "
            "here are assumed to be used as usual."
        )
    if treatments < 2:
        said.append(
            "It has one generator, so how alike a reader is for two generators is assumed, not "
            "estimated."
        )
    else:
        said.append(
            "How alike a reader is for two generators is assumed, not estimated: a pilot is too "
            "small for it."
        )
    return tuple(said)
