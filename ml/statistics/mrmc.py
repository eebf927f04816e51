"""Several readers, the same cases: the analysis of Obuchowski and Rockette with Hillis' degrees.

Obuchowski & Rockette (1995, Commun Stat Simul Comput 24:285); Hillis (2007, Stat Med 26:596);
Hillis, Berbaum & Metz (2008, Acad Radiol 15:647). Readings of several readers are never pooled as
if independent: with differing readers or cases such intervals are far too narrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import combinations
from math import inf, isfinite, sqrt

import numpy as np
import scipy
from numpy.typing import NDArray

from ml.ground.counted import counted
from ml.statistics import roc
from ml.statistics.exact import clopper_pearson, newcombe
from ml.statistics.proportion import ReadersError
from ml.statistics.ratings import Ratings

Floats = NDArray[np.float64]


class FigureOfMerit(StrEnum):
    """What is compared: areas under ROC curves, or means of the scores (shares correct)."""

    AUC = "auc"
    MEAN = "mean"


class CovarianceMethod(StrEnum):
    """How the covariances of the figures are estimated (see `covariance`)."""

    DELONG = "delong"
    SAMPLE = "sample"
    JACKKNIFE = "jackknife"


@dataclass(frozen=True)
class Components:
    """Mean squares and error covariances; None where the design does not define them.

    ``cov1`` same reader, other treatment; ``cov2`` same treatment, other reader; ``cov3`` both
    differ. ``cases``, ``readers`` and ``treatments`` say on what they were estimated.
    """

    var: float
    cov1: float | None
    cov2: float | None
    cov3: float | None
    ms_t: float | None
    ms_r: float | None
    ms_tr: float | None
    cases: int
    readers: int
    treatments: int


@dataclass(frozen=True)
class TreatmentMean:
    """One treatment's mean over readers, interval within [0, 1]; ``df`` None means normal.

    The mean is ``auc`` or ``mean``, by the figure that was compared; the other is None.
    """

    treatment: str
    low: float
    high: float
    se: float
    df: float | None
    auc: float | None = None
    mean: float | None = None

    @property
    def value(self) -> float:
        """The mean, whichever figure it is of."""
        found = self.mean if self.auc is None else self.auc
        if found is None:
            raise ReadersError(f"The mean of {self.treatment} is missing.")
        return found

    def no_narrower_than(self, other: TreatmentMean) -> TreatmentMean:
        """The same mean, with the wider of both intervals at each end."""
        return replace(self, low=min(self.low, other.low), high=max(self.high, other.high))


@dataclass(frozen=True)
class Gap:
    """A difference and its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference(Gap):
    """Mean of ``first`` minus mean of ``second``; ``p`` None where it has no error."""

    first: str
    second: str
    p: float | None
    df: float | None


@dataclass(frozen=True)
class ReaderMean:
    """One reader's figure under one treatment."""

    reader: str
    treatment: str
    value: float


@dataclass(frozen=True)
class Analysis:
    """The result; ``population`` names whom the intervals speak of.

    ``f`` with ``df1`` and ``df2`` degrees of freedom and ``p`` test the treatments; None for one
    treatment, and ``df2`` also where it is infinite. ``difference`` is the first of
    ``differences``, ``readers`` each reader's figure under each treatment.
    """

    figure: FigureOfMerit
    population: str
    covariance: CovarianceMethod
    f: float | None
    df1: int | None
    df2: float | None
    p: float | None
    difference: Gap | None
    differences: tuple[Difference, ...]
    treatments: tuple[TreatmentMean, ...]
    components: Components
    readers: tuple[ReaderMean, ...]
    warnings: tuple[str, ...]

    @property
    def mean(self) -> TreatmentMean:
        """The mean under the first treatment: the only one, where readers alone are asked about."""
        return self.treatments[0]

    def without_p(self) -> Analysis:
        """The same figures without a test of them."""
        return replace(
            self, f=None, p=None,
            differences=tuple(replace(one, p=None) for one in self.differences),
        )  # fmt: skip


def covariance(
    ratings: Ratings,
    figure: FigureOfMerit = FigureOfMerit.AUC,
    method: CovarianceMethod | None = None,
) -> tuple[Floats, Floats, CovarianceMethod]:
    """Figures (t, r), their covariance (t·r, t·r) over cases, and the method used.

    ``delong`` (areas) and ``sample`` (means, the covariance of the rows over n) need a complete
    block. ``jackknife`` leaves out one case (or one cluster) of all cases at a time and takes
    (n − 1)/n Σ (θ₍ₖ₎ − θ̄)²; cases that only one treatment or reader has enter as they are.
    None chooses the jackknife for incomplete or clustered ratings, else the closed form.

    Raises:
        ReadersError: a class with fewer than two cases under a treatment and reader, or a closed
            form asked of incomplete or clustered ratings.
    """
    figure = FigureOfMerit(figure)
    t, r, n = ratings.scores.shape
    clustered = ratings.clusters is not None and len(set(ratings.clusters)) < n
    of_areas = figure is FigureOfMerit.AUC
    if method is None:
        closed = CovarianceMethod.DELONG if of_areas else CovarianceMethod.SAMPLE
        method = closed if ratings.complete and not clustered else CovarianceMethod.JACKKNIFE
    method = CovarianceMethod(method)
    for i, treatment in enumerate(ratings.treatments):
        for j, reader in enumerate(ratings.readers):
            truth = ratings.cell(i, j)[0]
            counts = (int(truth.sum()), int(len(truth) - truth.sum()))
            if not of_areas and sum(counts) < 2:
                raise ReadersError(
                    f"Reader {reader} under {treatment} answered {counted(sum(counts), 'case')}; "
                    "two are needed."
                )
            if of_areas and min(counts) < 2:
                raise ReadersError(
                    f"Reader {reader} under {treatment} rated {counts[1]} real (signal-absent) and "
                    f"{counts[0]} synthetic (signal-present) cases; two of each are needed."
                )
    if method is not CovarianceMethod.JACKKNIFE:
        if not ratings.complete:
            raise ReadersError(
                "Not every reader rated every case under every treatment; use the jackknife."
            )
        if clustered:
            raise ReadersError("Cases of one patient belong together here; use the jackknife.")
        flat = ratings.scores.reshape(t * r, n)
        if (method is CovarianceMethod.DELONG) != of_areas:
            raise ReadersError(f"The {method} covariance does not belong to the figure {figure}.")
        if of_areas:
            values, matrix = roc.delong(ratings.truth, flat)
        else:
            values, matrix = flat.mean(axis=1), np.atleast_2d(np.cov(flat)) / n
        return values.reshape(t, r), matrix, method
    full, left_out = _leave_one_out(ratings, figure)
    groups = left_out.shape[0]
    spread = left_out - left_out.mean(axis=0)
    matrix = (groups - 1) / groups * spread.T @ spread
    return full.reshape(t, r), matrix, method


def _figure(truth: NDArray[np.int64], scores: Floats, figure: FigureOfMerit) -> float:
    return roc.auc(truth, scores) if figure is FigureOfMerit.AUC else float(scores.mean())


def _leave_one_out(ratings: Ratings, figure: FigureOfMerit) -> tuple[Floats, Floats]:
    """Figures (t·r,) and those without each case or cluster (groups, t·r)."""
    t, r, n = ratings.scores.shape
    labels = np.arange(n).astype(str) if ratings.clusters is None else np.array(ratings.clusters)
    _, index = np.unique(labels, return_inverse=True)
    groups = int(index.max()) + 1
    full = np.zeros(t * r)
    left_out = np.zeros((groups, t * r))
    for cell in range(t * r):
        truth, scores, kept = ratings.cell(cell // r, cell % r)
        full[cell] = _figure(truth, scores, figure)
        left_out[:, cell] = full[cell]
        members = index[kept]
        single = len(np.unique(members)) == len(members)
        if single:
            left_out[members, cell] = _without_each(truth, scores, figure, full[cell])
            continue
        for group in np.unique(members):
            stay = members != group
            if not stay.any():
                raise ReadersError(
                    f"All cases of reader {ratings.readers[cell % r]} under "
                    f"{ratings.treatments[cell // r]} are of one patient; the jackknife over "
                    "patients needs two."
                )
            if figure is FigureOfMerit.AUC and len(np.unique(truth[stay])) < 2:
                raise ReadersError(
                    f"All cases of one class belong to {labels[kept][~stay][0]}; the jackknife "
                    "over patients needs two patients in each class."
                )
            left_out[group, cell] = _figure(truth[stay], scores[stay], figure)
    return full, left_out


def _without_each(
    truth: NDArray[np.int64], scores: Floats, figure: FigureOfMerit, full: float
) -> Floats:
    """The figure without each single case (n,), in closed form."""
    if figure is FigureOfMerit.MEAN:
        n = len(scores)
        return np.asarray((n * full - scores) / (n - 1), dtype=np.float64)
    v10, v01 = roc.placements(scores[truth == 1], scores[truth == 0])
    result = np.zeros(len(scores))
    for value, placed in ((1, v10), (0, v01)):
        count = len(placed)
        result[truth == value] = (count * full - placed) / (count - 1)
    return result


def _off_diagonal_mean(block: Floats) -> float:
    size = block.shape[0]
    return float((block.sum() - np.trace(block)) / (size * (size - 1)))


def components(values: Floats, matrix: Floats, cases: int) -> Components:
    """Mean squares of the figures (t, r) and averaged covariances of their matrix (t·r, t·r)."""
    t, r = values.shape
    blocks = matrix.reshape(t, r, t, r)
    by_treatment, by_reader, mean = values.mean(axis=1), values.mean(axis=0), values.mean()
    pairs = list(combinations(range(t), 2))
    cov1 = cov2 = cov3 = ms_t = ms_r = ms_tr = None
    if t > 1:
        cov1 = float(np.mean([np.trace(blocks[a, :, b, :]) / r for a, b in pairs]))
        ms_t = float(r * ((by_treatment - mean) ** 2).sum() / (t - 1))
    if r > 1:
        cov2 = float(np.mean([_off_diagonal_mean(blocks[i, :, i, :]) for i in range(t)]))
        ms_r = float(t * ((by_reader - mean) ** 2).sum() / (r - 1))
    if t > 1 and r > 1:
        cov3 = float(np.mean([_off_diagonal_mean(blocks[a, :, b, :]) for a, b in pairs]))
        rest = values - by_treatment[:, None] - by_reader[None, :] + mean
        ms_tr = float((rest**2).sum() / ((t - 1) * (r - 1)))
    var = float(np.trace(matrix) / (t * r))
    return Components(var, cov1, cov2, cov3, ms_t, ms_r, ms_tr, cases, r, t)


def hillis(parts: Components) -> tuple[float, float]:
    """Denominator of the treatments' F test and its degrees of freedom (Hillis 2007)."""
    assert parts.ms_tr is not None and parts.cov2 is not None and parts.cov3 is not None
    denominator = parts.ms_tr + parts.readers * max(parts.cov2 - parts.cov3, 0.0)
    if parts.ms_tr <= 0:
        return denominator, inf
    cells = (parts.treatments - 1) * (parts.readers - 1)
    return denominator, denominator**2 * cells / parts.ms_tr**2


def random_readers(
    ratings: Ratings,
    figure: FigureOfMerit = FigureOfMerit.AUC,
    method: CovarianceMethod | None = None,
    confidence: float = 0.95,
) -> Analysis:
    """Random readers and random cases: intervals speak of other readers like these as well.

    One treatment: mean ± t √(MS(R)/r + max(Cov2, 0)); of shares, whose scores are 0 and 1, the
    score interval with that error (see `_score_limits`), and Satterthwaite's degrees of freedom
    count the cases beside the readers. Several: F test of the treatments, and
    differences on the denominator MS(TR) + r max(Cov2 − Cov3, 0) (Hillis 2007). Cells without a
    spread of their own widen what rests on them (see `_Honest`).

    Raises:
        ReadersError: one reader only, or as `covariance`.
    """
    figure = FigureOfMerit(figure)
    t, r = len(ratings.treatments), len(ratings.readers)
    if r < 2:
        raise ReadersError(
            "With 1 reader nothing can be said about other readers: their spread is unknown. "
            "Report this reader's own interval, or have at least 3 readers."
        )
    values, matrix, used = covariance(ratings, figure, method)
    parts = components(values, matrix, len(ratings.cases))
    blocks = matrix.reshape(t, r, t, r)
    honest = _honest(ratings, figure)
    of_shares = _of_shares(ratings, figure)
    warnings = _told(honest, of_shares=of_shares)
    if r < 4:
        warnings.append(
            f"{r} readers tell little about other readers; the interval is wide for that reason."
        )
    means = []
    for i, treatment in enumerate(ratings.treatments):
        ms_r = float(values[i].var(ddof=1))
        shared = max(_off_diagonal_mean(blocks[i, :, i, :]), 0.0)
        total = ms_r + r * shared
        df = total**2 * (r - 1) / ms_r**2 if ms_r > 0 else inf
        if of_shares and total > 0:
            df = total**2 / (ms_r**2 / (r - 1) + (r * shared) ** 2 / max(honest[i].images - 1, 1))
        means.append(
            _mean(
                figure, treatment, values[i], sqrt(total / r), df, confidence, honest[i],
                of_shares=of_shares,
            )
        )  # fmt: skip
    f = df2 = p = None
    differences: list[Difference] = []
    if t > 1:
        assert parts.ms_t is not None
        denominator, df = hillis(parts)
        f, p = _test(parts.ms_t, denominator, t - 1, df)
        if any(cell.thin for cell in honest):
            f = p = None
        df2 = df if isfinite(df) else None
        differences = _differences(
            ratings, values, sqrt(2 * denominator / r), df, confidence, honest, figure
        )
    return Analysis(
        figure, "readers like these, cases like these (random readers, random cases)", used,
        f, t - 1 if t > 1 else None, df2, p, _first(differences), tuple(differences),
        tuple(means), parts, _values(ratings, values), tuple(warnings),
    )  # fmt: skip


def fixed_readers(
    ratings: Ratings,
    figure: FigureOfMerit = FigureOfMerit.AUC,
    method: CovarianceMethod | None = None,
    confidence: float = 0.95,
) -> Analysis:
    """Fixed readers, random cases: intervals speak of these very readers, on other such cases.

    Normal intervals; of shares, whose scores are 0 and 1, score intervals by t with as many degrees
    of freedom as there are cases, less 1 (see `_score_limits`). The variance of a mean is (Var + (r
    − 1) max(Cov2, 0)) / r, the denominator of differences Var − Cov1 + (r − 1) max(Cov2 − Cov3, 0).
    A Cov2 below 0 is taken for 0, as by MRMCaov and RJafroc: readers who see the same images do not
    err in opposite ways, so a negative estimate is noise, and it would make the interval narrower
    than that of readers of different images. Cells without a spread of their own widen what rests
    on them (see `_Honest`).

    Raises:
        ReadersError: as `covariance`.
    """
    figure = FigureOfMerit(figure)
    t, r = len(ratings.treatments), len(ratings.readers)
    values, matrix, used = covariance(ratings, figure, method)
    parts = components(values, matrix, len(ratings.cases))
    blocks = matrix.reshape(t, r, t, r)
    honest = _honest(ratings, figure)
    of_shares = _of_shares(ratings, figure)
    means = [
        _mean(
            figure, treatment, values[i], _fixed_se(blocks[i, :, i, :]),
            max(honest[i].images - 1, 1) if of_shares else inf, confidence, honest[i],
            of_shares=of_shares,
        )
        for i, treatment in enumerate(ratings.treatments)
    ]  # fmt: skip
    f = p = None
    differences: list[Difference] = []
    if t > 1:
        assert parts.ms_t is not None and parts.cov1 is not None
        between = (parts.cov2 or 0.0) - (parts.cov3 or 0.0)
        denominator = max(parts.var - parts.cov1 + (r - 1) * max(between, 0.0), 0.0)
        if not any(cell.thin for cell in honest):
            f, p = _test(parts.ms_t, denominator, t - 1, inf)
        differences = _differences(
            ratings, values, sqrt(2 * denominator / r), inf, confidence, honest, figure
        )
    return Analysis(
        figure, "these readers, cases like these (fixed readers, random cases)", used,
        f, t - 1 if t > 1 else None, None, p, _first(differences), tuple(differences),
        tuple(means), parts, _values(ratings, values), tuple(_told(honest, of_shares=of_shares)),
    )  # fmt: skip


def _first(differences: Sequence[Difference]) -> Gap | None:
    return next((Gap(one.value, one.low, one.high) for one in differences), None)


NO_SPREAD = 1e-9
"""A standard error that is no larger is none."""


def _values(ratings: Ratings, values: Floats) -> tuple[ReaderMean, ...]:
    return tuple(
        ReaderMean(reader, treatment, float(values[i, j]))
        for i, treatment in enumerate(ratings.treatments)
        for j, reader in enumerate(ratings.readers)
    )


def _quantile(df: float, confidence: float) -> float:
    tail = 0.5 + confidence / 2
    return float(scipy.stats.t.ppf(tail, df) if isfinite(df) else scipy.stats.norm.ppf(tail))


def _mean(
    figure: FigureOfMerit,
    treatment: str,
    values: Floats,
    se: float,
    df: float,
    confidence: float,
    honest: _Honest,
    *,
    of_shares: bool,
) -> TreatmentMean:
    value, quantile = float(values.mean()), _quantile(df, confidence)
    low, high = value - quantile * se, value + quantile * se
    scored = of_shares and se > NO_SPREAD and 0 < value < 1
    if scored:
        low, high = _score_limits(value, se, quantile)
    low, high = max(0.0, low), min(1.0, high)
    # one reader who is nearly always right makes no score interval too narrow
    if se <= NO_SPREAD or (honest.thin and not scored):
        bound = honest.limits(figure, value, confidence)
        low, high = min(low, bound[0]), max(high, bound[1])
    of_areas = figure is FigureOfMerit.AUC
    return TreatmentMean(
        treatment, low, high, se, df if isfinite(df) else None,
        auc=value if of_areas else None, mean=None if of_areas else value,
    )  # fmt: skip


def _of_shares(ratings: Ratings, figure: FigureOfMerit) -> bool:
    """Whether the means are of scores 0 and 1: then they are shares."""
    if figure is not FigureOfMerit.MEAN:
        return False
    given = ratings.scores[np.isfinite(ratings.scores)]
    return bool(((given == 0) | (given == 1)).all())


def _score_limits(value: float, se: float, quantile: float) -> tuple[float, float]:
    """Wilson's limits of a share in (0, 1) with a standard error from elsewhere.

    Of so many trials as would give a share of that size this error (Korn & Graubard 1998, Surv
    Methodol 24:193, take such a number too). On few cases the plain interval covers too little, the
    more so the further the share is from 0.5: of 0.84 with 10 readers of 20 pairs 91 %, this one
    94 % (``make bench SECTIONS=coverage``).
    """
    trials = value * (1 - value) / se**2
    shrunk = 1 + quantile**2 / trials
    centre = (value + quantile**2 / (2 * trials)) / shrunk
    half = quantile * sqrt(value * (1 - value) / trials + quantile**2 / (4 * trials**2)) / shrunk
    return centre - half, centre + half


def _fixed_se(block: Floats) -> float:
    """Of the mean of r figures with that covariance (r, r)."""
    r = block.shape[0]
    shared = max(_off_diagonal_mean(block), 0.0) if r > 1 else 0.0
    return sqrt((np.trace(block) / r + (r - 1) * shared) / r)


@dataclass(frozen=True)
class _Honest:
    """What one treatment's images tell where the spread of the answers tells nothing.

    Attributes:
        treatment: its name.
        thin: readers without a spread of their own: nearly all right, nearly all wrong, or nearly
            always the same answer.
        synthetic, real: images, or patients where they repeat, that every reader had at least.
    """

    treatment: str
    thin: tuple[str, ...]
    synthetic: int
    real: int

    @property
    def images(self) -> int:
        """Of both kinds."""
        return self.synthetic + self.real

    def limits(self, figure: FigureOfMerit, value: float, confidence: float) -> tuple[float, float]:
        """The interval that one reader of so many images has at ``value``.

        As if all readers were one: Newcombe's for an area (2006, Stat Med 25:559), Clopper and
        Pearson's for a share.
        """
        if figure is FigureOfMerit.AUC:
            return newcombe(min(max(value, 0.0), 1.0), self.synthetic, self.real, confidence)
        return clopper_pearson(value * self.images, self.images, confidence)


def _honest(ratings: Ratings, figure: FigureOfMerit) -> list[_Honest]:
    """By treatment."""
    labels = np.array(ratings.clusters if ratings.clusters is not None else ratings.cases)
    found = []
    for i, treatment in enumerate(ratings.treatments):
        cells = [ratings.cell(i, j) for j in range(len(ratings.readers))]
        thin = [
            reader
            for reader, (truth, scores, _) in zip(ratings.readers, cells, strict=True)
            if (
                roc.is_thin(truth, scores)
                if figure is FigureOfMerit.AUC
                else len(scores) - np.unique(scores, return_counts=True)[1].max() < roc.FEW_OFF
            )
        ]
        sides = [
            min(len(np.unique(labels[kept[truth == kind]])) for truth, _, kept in cells)
            for kind in (1, 0)
        ]
        found.append(_Honest(treatment, tuple(thin), *sides))
    return found


def _told(honest: Sequence[_Honest], *, of_shares: bool) -> list[str]:
    """A warning for each treatment with readers without a spread."""
    what = "differences that rest on it have" if of_shares else "what rests on it has"
    return [
        f"Hardly any answer of {', '.join(cell.thin)} differs from the others of its kind under "
        f"{cell.treatment}: their spread is not known, so {what} the width that one "
        "reader's images give, and no p."
        for cell in honest
        if cell.thin
    ]


def _test(ms_t: float, denominator: float, df1: int, df2: float) -> tuple[float | None, ...]:
    """(F, p); both None when there is no error to compare with."""
    if denominator <= NO_SPREAD**2:
        return None, None
    f = ms_t / denominator
    p = scipy.stats.f.sf(f, df1, df2) if isfinite(df2) else scipy.stats.chi2.sf(f * df1, df1)
    return f, float(p)


def _differences(
    ratings: Ratings,
    values: Floats,
    se: float,
    df: float,
    confidence: float,
    honest: Sequence[_Honest],
    figure: FigureOfMerit,
) -> list[Difference]:
    """Differences on one error; where there is none, from the honest limits of both means.

    Their distances to these limits are joined as by Zou & Donner (2008, Stat Med 27:1693), as if
    no image were shared.
    """
    half = _quantile(df, confidence) * se
    means = values.mean(axis=1)
    found = []
    for a, b in combinations(range(len(means)), 2):
        value = float(means[a] - means[b])
        low, high, p = value - half, value + half, None
        if honest[a].thin or honest[b].thin or se <= NO_SPREAD:
            first = honest[a].limits(figure, float(means[a]), confidence)
            second = honest[b].limits(figure, float(means[b]), confidence)
            low = min(low, value - float(np.hypot(means[a] - first[0], second[1] - means[b])))
            high = max(high, value + float(np.hypot(first[1] - means[a], means[b] - second[0])))
            low, high = max(-1.0, low), min(1.0, high)
        else:
            z = abs(value) / se
            p = float(2 * (scipy.stats.t.sf(z, df) if isfinite(df) else scipy.stats.norm.sf(z)))
        found.append(
            Difference(
                value,
                low,
                high,
                ratings.treatments[a],
                ratings.treatments[b],
                p,
                df if isfinite(df) else None,
            )
        )
    return found
