"""Readers as a model: what they rate, before anyone reads, and what an analysis of it would find.

The model of Roe & Metz (1997, Acad Radiol 4:298), cut into the points of an ordinal scale. Every
moment here is a sum over the points of the scale: nothing is simulated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, sqrt

import numpy as np
import scipy
from numpy.typing import NDArray

from ml.statistics.area import of_histograms
from ml.statistics.proportion import ReadersError

Floats = NDArray[np.float64]

CUTS = (-1.2, -0.55, 0.0, 0.55, 1.2)
"""Six points, all of them used: the outer two for about a tenth of the images each."""

CUTS_OF_GRADES = (-1.2, -0.4, 0.4, 1.2)
"""Five points with a middle, used alike: grades of realism."""

READER, CASE, ALIKE = 0.011, 0.4, 0.5

_NODES = 40
_READER_NODES = 7


def _hermite(count: int) -> tuple[Floats, Floats]:
    """Nodes and weights (count,) of an expectation over a standard normal deviate."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(count)
    return np.asarray(nodes), np.asarray(weights / weights.sum())


@dataclass(frozen=True)
class Latent:
    """Latent rating = separation · synthetic + reader + image + reader × image.

    The last two have a variance of 1 together: ``case`` of it is shared by all readers of an
    image. ``reader`` is the variance of a reader's place on the scale, drawn apart for real and
    for synthetic images; ``alike`` is how much of the latter is the same for all generators (half,
    where σ²R = σ²TR as in Roe & Metz). ``cuts`` rise, and cut the latent rating into
    len(cuts) + 1 points; they are told from the middle between real and synthetic images.

    Raises:
        ReadersError: variances or cuts that no reader can have.
    """

    reader: float = READER
    case: float = CASE
    alike: float = ALIKE
    cuts: tuple[float, ...] = CUTS

    def __post_init__(self) -> None:
        if not (0 <= self.reader <= 4):
            raise ReadersError(
                f"The variance of readers lies between 0 and 4 (images have 1), not {self.reader}."
            )
        if not (0 <= self.case <= 0.99):
            raise ReadersError(
                f"What readers share of an image lies between 0 and 0.99, not {self.case}."
            )
        if not (0 <= self.alike <= 1):
            raise ReadersError(
                f"What a reader's places for two generators share lies between 0 and 1, not "
                f"{self.alike}."
            )
        rising = all(a < b for a, b in zip(self.cuts, self.cuts[1:], strict=False))
        if not self.cuts or len(self.cuts) > 100 or not all(map(isfinite, self.cuts)) or not rising:
            raise ReadersError("The cuts of the scale are 1 to 100 numbers that rise.")

    def separation(self, area: float) -> float:
        """Between real and synthetic images, for a mean area before cutting into points.

        Raises:
            ReadersError: an area that is not between 0 and 1.
        """
        if not 0 < area < 1:
            raise ReadersError(f"An area to plan with lies between 0 and 1, not at {area}.")
        return float(scipy.stats.norm.ppf(area)) * sqrt(2 * (1 + self.reader))

    def placed(self, areas: Sequence[float]) -> tuple[Floats, Floats]:
        """Separations (generators,) and cuts (points − 1,) on the latent scale, real images at 0.

        Raises:
            ReadersError: as ``separation``.
        """
        separations = np.array([self.separation(area) for area in areas])
        return separations, separations.mean() / 2 + np.array(self.cuts)

    def true_areas(self, areas: Sequence[float]) -> tuple[float, ...]:
        """The mean areas of the ratings, over readers and images: a little nearer to 0.5."""
        separations, cuts = self.placed(areas)
        wide = sqrt(1 + self.reader)
        real = _shares(cuts, np.zeros(1), wide)[0]
        return tuple(float(x) for x in of_histograms(_shares(cuts, separations, wide), real))

    def moments(self, areas: Sequence[float], synthetic: int, real: int) -> Moments:
        """What the analysis of Obuchowski & Rockette would find on average.

        Every reader reads the same ``real`` images and ``synthetic`` ones of each generator, whose
        mean areas before cutting are ``areas``.

        Raises:
            ReadersError: an area that is not between 0 and 1, or fewer than two images of a kind.
        """
        if min(synthetic, real) < 2:
            raise ReadersError(
                f"A plan needs two synthetic and two real images, not {synthetic} and {real}."
            )
        separations, cuts = self.placed(areas)
        of_real, of_fake = (_shares(cuts, at, 1.0) for at in (np.zeros(1), separations))
        mean = of_histograms(of_fake, of_real[0])
        # where an image stands among those of the other kind, by its rating: (generators, points)
        above = of_fake[:, ::-1].cumsum(axis=1)[:, ::-1] - of_fake / 2
        below = (of_real.cumsum(axis=1) - of_real / 2)[0]
        joint_real = self._joint(cuts, 0.0)
        own, shared = [], []
        for k, at in enumerate(separations):
            joint = self._joint(cuts, float(at))
            own.append(
                (of_fake[k] @ below**2 - mean[k] ** 2) / synthetic
                + (of_real[0] @ above[k] ** 2 - mean[k] ** 2) / real
            )
            shared.append(
                (below @ joint @ below - mean[k] ** 2) / synthetic
                + (above[k] @ joint_real @ above[k] - mean[k] ** 2) / real
            )
        pairs = [(a, b) for a in range(len(mean)) for b in range(a)]
        cov1 = [(of_real[0] @ (above[a] * above[b]) - mean[a] * mean[b]) / real for a, b in pairs]
        cov3 = [(above[a] @ joint_real @ above[b] - mean[a] * mean[b]) / real for a, b in pairs]
        var_r, between = self._readers(separations, cuts)
        return Moments(
            var=float(np.mean(own)),
            cov1=float(np.mean(cov1)) if pairs else None,
            cov2=float(np.mean(shared)),
            cov3=float(np.mean(cov3)) if pairs else None,
            var_r=var_r,
            var_tr=max(var_r - between, 0.0) if between is not None else None,
            cases=synthetic + real,
        )

    def _joint(self, cuts: Floats, at: float) -> Floats:
        """P(one reader rates an image i, another one j) as (points, points)."""
        nodes, weights = _hermite(_NODES)
        given = _shares(cuts, at + sqrt(self.case) * nodes, sqrt(1 - self.case))
        return np.asarray(np.einsum("k,ki,kj->ij", weights, given, given))

    def _readers(self, separations: Floats, cuts: Floats) -> tuple[float, float | None]:
        """Variance of readers' true areas, and their covariance between two generators."""
        nodes, weights = _hermite(_READER_NODES)
        spread = sqrt(self.reader)
        real = _shares(cuts, spread * nodes, 1.0)
        both = sqrt(self.alike) * nodes[:, None] + sqrt(1 - self.alike) * nodes[None, :]
        areas = np.array(
            [
                of_histograms(
                    _shares(cuts, (at + spread * both).ravel(), 1.0)[:, None, :], real[None]
                ).reshape(len(nodes), len(nodes), len(nodes))  # shared, own, real
                for at in separations
            ]
        )
        mean = np.einsum("gsor,s,o,r->g", areas, weights, weights, weights)
        square = np.einsum("gsor,s,o,r->g", areas**2, weights, weights, weights)
        variance = float(np.mean(square - mean**2))
        if len(separations) < 2:
            return max(variance, 0.0), None
        alike = np.einsum("gsor,o->gsr", areas, weights)
        product = np.einsum("asr,bsr,s,r->ab", alike, alike, weights, weights)
        pairs = [(a, b) for a in range(len(separations)) for b in range(a)]
        found = float(np.mean([product[a, b] - mean[a] * mean[b] for a, b in pairs]))
        return max(variance, 0.0), found


def _shares(cuts: Floats, at: Floats, sd: float) -> Floats:
    """P(rating) as (len(at), points) of latent ratings around each of ``at``."""
    edges = np.concatenate([[-np.inf], cuts, [np.inf]])
    cumulative = scipy.special.ndtr((edges[None, :] - np.asarray(at)[:, None]) / sd)
    return np.asarray(np.diff(cumulative, axis=1))


@dataclass(frozen=True)
class Moments:
    """Expected components of an analysis of ``cases`` images under each generator.

    ``var`` is the error variance of one reader's area; ``cov1`` same reader, other generator;
    ``cov2`` other reader, same generator; ``cov3`` both differ (None for one generator). ``var_r``
    is the variance of readers' true areas, ``var_tr`` that of their differences' half.
    """

    var: float
    cov1: float | None
    cov2: float
    cov3: float | None
    var_r: float
    var_tr: float | None
    cases: int

    @property
    def r1(self) -> float | None:
        """Correlation of errors: same reader, other generator."""
        return None if self.cov1 is None else self.cov1 / self.var

    @property
    def r2(self) -> float:
        """Correlation of errors: other reader, same generator."""
        return self.cov2 / self.var

    @property
    def r3(self) -> float | None:
        """Correlation of errors: another reader and another generator."""
        return None if self.cov3 is None else self.cov3 / self.var
