"""Many simulated studies at once, and what the analysis would say of each.

The verdicts are those of `ml.readers.analysis.analyse`, by the same formulas over arrays. A study
in which something is out of the ordinary (a reader who hardly used the scale, an area at its edge,
figures that do not vary) is given to `analyse` itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from ml.readers.analysis import analyse
from ml.readers.reading import Protocol, Reading
from ml.readers.results import BetweenGenerators, Refused, Result
from ml.statistics import area, roc
from ml.statistics.latent import Latent

Floats = NDArray[np.float64]
Truths = NDArray[np.bool_]
Rated = NDArray[np.int64]

DIFFERENT_P = 0.05

_EDGE = 0.02
"""A mean area nearer to 0 or 1 is no longer ordinary."""


@dataclass(frozen=True)
class Said:
    """What was said of each of many studies (studies,): each is a claim of the analysis.

    ``different`` and ``equivalent`` speak of the mean area of readers like these, against 0.5;
    ``generators`` of differences between generators, False where there is one.
    """

    different: Truths
    equivalent: Truths
    generators: Truths


@dataclass(frozen=True)
class Studies:
    """Ratings from 1 of many studies: ``real`` (studies, readers, n), and ``synthetic``
    (studies, generators, readers, m). The real images are shared by all generators."""

    real: Rated
    synthetic: Rated
    points: int

    @classmethod
    def drawn(
        cls,
        model: Latent,
        areas: Sequence[float],
        readers: int,
        synthetic: int,
        real: int,
        studies: int,
        rng: np.random.Generator,
    ) -> Studies:
        """Of readers as in ``model``; ``areas`` of the generators before cutting into points.

        Raises:
            ReadersError: an area that is not between 0 and 1.
        """
        separations, cuts = model.placed(areas)
        kinds = len(separations)
        spread, shared, own = np.sqrt([model.reader, model.case, 1 - model.case])

        def images(shape: tuple[int, ...]) -> Floats:
            """Of every reader, (…, readers, images), from (…, images)."""
            of_image = rng.standard_normal((*shape[:-2], 1, shape[-1]))
            return np.asarray(shared * of_image + own * rng.standard_normal(shape))

        of_real = images((studies, readers, real))
        of_real += spread * rng.standard_normal((studies, readers, 1))
        of_fake = images((studies, kinds, readers, synthetic))
        alike = np.sqrt(model.alike) * rng.standard_normal((studies, 1, readers, 1))
        apart = np.sqrt(1 - model.alike) * rng.standard_normal((studies, kinds, readers, 1))
        of_fake += separations[:, None, None] + spread * (alike + apart)
        return cls(
            np.searchsorted(cuts, of_real) + 1, np.searchsorted(cuts, of_fake) + 1, len(cuts) + 1
        )

    def readings(self, study: int) -> tuple[Reading, ...]:
        """One study's, as the product keeps them."""
        found = []
        _, kinds, readers, _ = self.synthetic.shape
        for j in range(readers):
            name = f"simulated {j + 1}"
            rated: list[tuple[str, str | None, int]] = [
                (f"real {k + 1}", None, int(x)) for k, x in enumerate(self.real[study, j])
            ]
            for g in range(kinds):
                rated += [
                    (f"synthetic {g + 1}.{k + 1}", f"generator {g + 1}", int(x))
                    for k, x in enumerate(self.synthetic[study, g, j])
                ]
            found += [
                Reading(name, case, made is not None, rating, made, position=k + 1)
                for k, (case, made, rating) in enumerate(rated)
            ]
        return tuple(found)

    def rules(self, margin: float) -> Protocol:
        """As the analysis takes them; nothing is resampled."""
        return Protocol(margin=margin, scale=self.points + self.points % 2, resamples=0)

    def said(self, margin: float) -> Said:
        """What the analysis says of every study, by arrays where it is ordinary.

        Raises:
            ReadersError: a margin outside (0, 0.5).
        """
        rules = self.rules(margin)
        fast, ordinary = self._by_arrays(rules)
        claims = {name: getattr(fast, name).copy() for name in _CLAIMS}
        for study in np.flatnonzero(~ordinary):
            found = claimed(analyse(self.readings(int(study)), rules))
            for name in _CLAIMS:
                claims[name][study] = getattr(found, name)
        return Said(**claims)

    def ordinary(self, margin: float) -> Truths:
        """Which studies need no analysis of their own (studies,)."""
        return self._by_arrays(self.rules(margin))[1]

    def area(self, study: int, reader: int) -> float:
        """One reader's area for the first generator, of one study."""
        positive = np.repeat([1, 0], [self.synthetic.shape[-1], self.real.shape[-1]])
        return area.auc(
            positive, np.concatenate([self.synthetic[study, 0, reader], self.real[study, reader]])
        )

    def _by_arrays(self, rules: Protocol) -> tuple[Said, Truths]:
        """What is said by arrays, and for which studies that holds (studies,)."""
        studies, kinds, readers, images = self.synthetic.shape
        never = np.zeros(studies, dtype=bool)
        if readers < rules.least_readers or min(images, self.real.shape[-1]) < roc.FEWEST:
            return Said(never, never, never), ~never
        used, plain = self._used(rules)
        together = self.synthetic.transpose(0, 2, 1, 3).reshape(studies, 1, readers, -1)
        one = _Placed.of(self.real, together, self.points)
        different, equivalent, varies = one.means(rules.margin)
        plain &= one.inside & varies
        generators = never
        if kinds > 1:
            several = _Placed.of(self.real, self.synthetic, self.points)
            generators, varies = several.differ()
            plain &= several.inside & varies
        # a reader who did not use the scale takes every verdict
        return Said(different & used, equivalent & used, generators & used), plain | ~used

    def _used(self, rules: Protocol) -> tuple[Truths, Truths]:
        """Whether every reader of a study used the scale by its rule; and whether their answers
        could have gone another way, and vary enough for a variance to speak of (studies,)."""
        of_real, of_fake = _counts(self.real, self.points), _counts(self.synthetic, self.points)
        counts = of_real + of_fake.sum(axis=1)
        rule = rules.scale_rule
        given = counts.sum(axis=-1)
        off = given - counts.max(axis=-1) >= rule.least_off * given - 1e-9
        used = off & ((counts > 0).sum(axis=-1) >= rule.least_ratings)
        plain = np.asarray(_reach(of_real, counts) > rules.margin + 1e-9)
        for fake in (of_fake.sum(axis=1), *np.moveaxis(of_fake, 1, 0)):
            plain &= _apart(fake, of_real) >= roc.FEW_OFF
            plain &= _apart(of_real, fake) >= roc.FEW_OFF
        return np.asarray(used.all(axis=-1)), np.asarray(plain.all(axis=-1))


def errors(studies: Studies) -> tuple[Floats, Floats]:
    """DeLong's variance of a reader's area, and covariance of two readers': each (studies,).

    Of studies with one generator and two readers or more.
    """
    placed = _Placed.of(studies.real, studies.synthetic, studies.points)
    matrix = placed.delong()
    size = matrix.shape[-1]
    return np.trace(matrix, axis1=-2, axis2=-1) / size, _off_diagonal_mean(matrix)


_CLAIMS = ("different", "equivalent", "generators")


def claimed(result: Result) -> Said:
    """The claims of one analysis, as arrays of one."""
    verdict, between = result.across.verdict, result.between_generators
    p = None
    if isinstance(between, BetweenGenerators) and not isinstance(between.random, Refused):
        p = between.random.p
    return Said(
        np.array([bool(verdict is not None and verdict.different_from_chance)]),
        np.array([bool(verdict is not None and verdict.equivalent_to_chance)]),
        np.array([p is not None and p <= DIFFERENT_P]),
    )


def _apart(counts: Floats, others: Floats) -> Floats:
    """How many images of a kind stand elsewhere among the other kind than most do: (…,).

    From how often each rating was given to the kind, and to the other one: (…, points). Ratings
    between which the other kind has none stand alike.
    """
    most = alike = counts[..., 0]
    for k in range(1, counts.shape[-1]):
        moved = others[..., k] + others[..., k - 1] > 0
        alike = np.where(moved, 0.0, alike) + counts[..., k]
        most = np.maximum(most, alike)
    return np.asarray(counts.sum(axis=-1) - most)


def _reach(of_real: Floats, counts: Floats) -> Floats:
    """How far from 0.5 the same ratings could have put the area, given otherwise: (…,)."""
    real = of_real.sum(axis=-1, keepdims=True)
    upto = counts.cumsum(axis=-1)
    lower = np.clip(real - (upto - counts), 0.0, counts)  # the real images have the lowest
    higher = np.clip(upto - (upto[..., -1:] - real), 0.0, counts)  # … the highest
    best = area.of_histograms(counts - lower, lower)
    worst = area.of_histograms(counts - higher, higher)
    return np.minimum(best - 0.5, 0.5 - worst)


def _counts(rated: Rated, points: int) -> Floats:
    """How often each rating was given: (…, points) from (…, images)."""
    return np.stack([(rated == k + 1).sum(axis=-1) for k in range(points)], axis=-1).astype(float)


@dataclass(frozen=True)
class _Placed:
    """DeLong's placements around the area: ``fake`` (studies, generators, readers, m) and
    ``real`` (studies, generators, readers, n) of the shared images, ``areas`` (…, readers)."""

    areas: Floats
    fake: Floats
    real: Floats

    @classmethod
    def of(cls, real: Rated, synthetic: Rated, points: int) -> _Placed:
        of_real, of_fake = _counts(real, points)[:, None], _counts(synthetic, points)
        n, m = real.shape[-1], synthetic.shape[-1]
        below = (of_real.cumsum(axis=-1) - of_real / 2) / n
        above = (m - of_fake.cumsum(axis=-1) + of_fake / 2) / m
        areas = (of_fake * below).sum(axis=-1) / m
        # a place for each rating, then looked up for each image
        placed = [
            np.take_along_axis(table - areas[..., None], rated - 1, axis=-1)
            for table, rated in (
                (np.broadcast_to(below, of_fake.shape), synthetic),
                (above, np.broadcast_to(real[:, None], (*of_fake.shape[:-1], n))),
            )
        ]
        return cls(areas, placed[0], placed[1])

    @property
    def inside(self) -> Truths:
        """Whether no area of a study lies at an edge (studies,)."""
        near = (self.areas < _EDGE) | (self.areas > 1 - _EDGE)
        return np.asarray(~near.any(axis=(1, 2)))

    def delong(self) -> Floats:
        """Covariances of the readers' areas of the first generator (studies, readers, readers)."""
        fake, real = (
            one[:, 0] @ one[:, 0].swapaxes(-1, -2) / (one.shape[-1] - 1) / one.shape[-1]
            for one in (self.fake, self.real)
        )
        return np.asarray(fake + real)

    def means(self, margin: float) -> tuple[Truths, Truths, Truths]:
        """Of the first generator: different from 0.5, equivalent to it, whether figures vary.

        As `ml.readers.several.judged` with DeLong's covariances: equivalence by the wider of the
        90 % intervals of other readers and of these.
        """
        values, r = self.areas[:, 0], self.areas.shape[-1]
        matrix = self.delong()
        spread = values.var(axis=-1, ddof=1)
        shared = np.maximum(_off_diagonal_mean(matrix), 0.0)
        total = spread + r * shared
        with np.errstate(divide="ignore", invalid="ignore"):
            df = np.where(spread > 0, total**2 * (r - 1) / spread**2, np.inf)
        mean, se = values.mean(axis=-1), np.sqrt(total / r)
        own = np.sqrt((np.trace(matrix, axis1=-2, axis2=-1) / r + (r - 1) * shared) / r)
        wide, narrow = (scipy.stats.t.ppf(0.5 + c / 2, df) * se for c in (0.95, 0.90))
        narrow = np.maximum(narrow, scipy.stats.norm.ppf(0.95) * own)
        different = ~((mean - wide <= 0.5) & (mean + wide >= 0.5))
        equivalent = (mean - narrow >= 0.5 - margin) & (mean + narrow <= 0.5 + margin)
        return different, equivalent, se > _NO_SPREAD

    def differ(self) -> tuple[Truths, Truths]:
        """Whether generators differ (F test of Hillis, jackknife), and whether figures vary.

        Each case left out moves an area by its own placement alone: a real one moves all, a
        synthetic one that of its generator.
        """
        studies, t, r, m = self.fake.shape
        n = self.real.shape[-1]
        cases = n + t * m
        real = (self.real / (n - 1)).reshape(studies, t * r, n)
        matrix = (real @ real.swapaxes(-1, -2)).reshape(studies, t, r, t, r)
        fake = self.fake / (m - 1)
        own = fake @ fake.swapaxes(-1, -2)
        for i in range(t):
            matrix[:, i, :, i, :] += own[:, i]
        matrix *= (cases - 1) / cases
        pairs = [(a, b) for a in range(t) for b in range(a)]
        cov2 = np.mean([_off_diagonal_mean(matrix[:, i, :, i, :]) for i in range(t)], axis=0)
        cov3 = np.mean([_off_diagonal_mean(matrix[:, a, :, b, :]) for a, b in pairs], axis=0)
        by_treatment, by_reader = self.areas.mean(axis=2), self.areas.mean(axis=1)
        mean = self.areas.mean(axis=(1, 2))
        ms_t = r * ((by_treatment - mean[:, None]) ** 2).sum(axis=1) / (t - 1)
        rest = self.areas - by_treatment[:, :, None] - by_reader[:, None] + mean[:, None, None]
        ms_tr = (rest**2).sum(axis=(1, 2)) / ((t - 1) * (r - 1))
        denominator = ms_tr + r * np.maximum(cov2 - cov3, 0.0)
        varies = (ms_tr > _NO_SPREAD**2) & (denominator > _NO_SPREAD**2)
        with np.errstate(divide="ignore", invalid="ignore"):
            df = denominator**2 * ((t - 1) * (r - 1)) / ms_tr**2
            p = scipy.stats.f.sf(ms_t / denominator, t - 1, df)
        return np.asarray(p <= DIFFERENT_P), varies


_NO_SPREAD = 1e-6


def _off_diagonal_mean(blocks: Floats) -> Floats:
    """Of each square (studies, r, r)."""
    size = blocks.shape[-1]
    trace = np.trace(blocks, axis1=-2, axis2=-1)
    return np.asarray((blocks.sum(axis=(-2, -1)) - trace) / (size * (size - 1)))
