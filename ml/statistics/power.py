"""How many images and readers a study needs: one reader, and several readers of the same images.

Difference from chance, equivalence with chance within a margin, and a difference between two
generators (Hillis, Obuchowski & Berbaum 2011, Acad Radiol 18:129).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import ceil, exp, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import scipy

from ml.ground import records
from ml.statistics.exact import hanley_mcneil_variance
from ml.statistics.mrmc import Components
from ml.statistics.proportion import ReadersError, chance_p, equivalence_p

MARGIN = 0.10
ALPHA = 0.05
GRID_READERS = (2, 3, 4, 5, 6, 8, 10)
GRID_CASES = (60, 120, 180, 240, 300, 400)


def accuracy_power(n: int, accuracy: float, alpha: float = ALPHA) -> float:
    """Chance that n images show an accuracy other than 0.5, exact two-sided binomial test."""
    counts = np.arange(n + 1)
    rejected = np.array([chance_p(int(k), n) <= alpha for k in counts])
    return float(scipy.stats.binom.pmf(counts, n, accuracy)[rejected].sum())


def accuracy_equivalence_power(n: int, margin: float = MARGIN, alpha: float = ALPHA) -> float:
    """Chance that n images show an accuracy within 0.5 ± margin when the reader guesses.

    For planning only; the verdict itself is given on the area, never on accuracy.
    """
    counts = np.arange(n + 1)
    shown = np.array([equivalence_p(int(k), n, margin) <= alpha for k in counts])
    return float(scipy.stats.binom.pmf(counts, n, 0.5)[shown].sum())


def images_for_half_width(half_width: float, confidence: float = 0.95) -> int:
    """Images after which an accuracy near 0.5 is known to ± half_width (normal interval)."""
    z = float(scipy.stats.norm.ppf(0.5 + confidence / 2))
    return ceil(0.25 * (z / half_width) ** 2)


def area_power(area: float, synthetic: int, real: int, alpha: float = ALPHA) -> float:
    """Chance that one reader's area is shown to differ from 0.5 when it is ``area``.

    Hanley–McNeil variance without ties; the six-point scale with ties is a little less wide.
    """
    _two_of_each(synthetic, real)
    se = sqrt(hanley_mcneil_variance(area, synthetic, real))
    if se == 0:
        return 1.0
    z, shift = float(scipy.stats.norm.ppf(1 - alpha / 2)), abs(area - 0.5) / se
    return float(scipy.stats.norm.cdf(shift - z) + scipy.stats.norm.cdf(-shift - z))


def area_equivalence_power(
    synthetic: int,
    real: int,
    margin: float = MARGIN,
    area: float = 0.5,
    alpha: float = ALPHA,
    ratings: Sequence[int] | None = None,
) -> float:
    """Chance that the 1 − 2α interval of one reader's area lies within 0.5 ± margin; 0 if never.

    ``area`` is the true one. 0 means that no typical result of such a study could show
    equivalence. ``ratings`` are counts per point of the scale: ties narrow the interval a little.
    """
    _two_of_each(synthetic, real)
    variance = hanley_mcneil_variance(area, synthetic, real)
    if ratings is not None:
        variance *= 1 - sum((c / sum(ratings)) ** 3 for c in ratings)
    se = sqrt(variance)
    z = float(scipy.stats.norm.ppf(1 - alpha))
    if se == 0:
        return float(abs(area - 0.5) < margin)
    above = scipy.stats.norm.cdf((0.5 + margin - area) / se - z)
    below = scipy.stats.norm.cdf((area - 0.5 + margin) / se - z)
    return max(0.0, float(above + below - 1))


def images_for_equivalence(
    power: float = 0.8, margin: float = MARGIN, alpha: float = ALPHA
) -> int | None:
    """Smallest even number of images, half of them synthetic, with that power; None above 20,000.

    Of one reader who truly guesses.
    """
    for half in range(2, 10_001):
        if area_equivalence_power(half, half, margin, 0.5, alpha) >= power:
            return 2 * half
    return None


def _two_of_each(synthetic: int, real: int) -> None:
    if synthetic < 2 or real < 2:
        raise ReadersError(
            f"A plan needs two synthetic and two real images, not {synthetic} and {real}."
        )


@dataclass(frozen=True)
class Pilot:
    """Variances that a plan rests on: of areas, from a study of ``cases`` images.

    ``var_tr`` reader by generator variance; ``var_r`` variance of readers within one generator,
    None where unknown; ``cov1``–``cov3`` as in `ml.statistics.mrmc.Components`.
    """

    var: float
    cov1: float
    cov2: float
    cov3: float
    var_tr: float
    var_r: float | None
    cases: int
    source: str

    @classmethod
    def of(cls, parts: Mapping[str, Any], cases: int | None = None, source: str = "") -> Pilot:
        """From components as `readers analyse --json` prints them.

        Keys ``var``, ``cov1``, ``cov2``, ``cov3``, ``ms_tr`` (or ``var_tr``), ``cases``; with
        ``ms_r`` and ``treatments`` a single generator can be planned too.

        Raises:
            ReadersError: a key is missing or no number, or the study had one treatment.
        """
        var, cov2 = _number(parts, "var"), _number(parts, "cov2")
        count = cases if cases is not None else int(_number(parts, "cases"))
        if count < 4 or var <= 0:
            raise ReadersError("Components need a variance above 0 and at least 4 cases.")
        if parts.get("cov1") is None and parts.get("treatments") == 1:
            raise ReadersError(
                "These components are of one treatment and say nothing about a difference between "
                "two; leave --components out to plan from assumptions."
            )
        cov1, cov3 = _number(parts, "cov1"), _number(parts, "cov3")
        shared = max(cov2 - cov3, 0.0)
        if parts.get("var_tr") is not None:
            var_tr = _number(parts, "var_tr")
        else:
            var_tr = max(_number(parts, "ms_tr") - var + cov1 + shared, 0.0)
        var_r = None
        if parts.get("ms_r") is not None and parts.get("treatments") is not None:
            t = _number(parts, "treatments")
            over = var_tr + var + (t - 1) * (cov1 - cov3) - cov2
            var_r = max((_number(parts, "ms_r") - over) / t, 0.0) + var_tr
        return cls(var, cov1, cov2, cov3, var_tr, var_r, count, source)

    @classmethod
    def of_components(cls, parts: Components) -> Pilot:
        """From an analysis of a pilot study; ReadersError as ``of``."""
        return cls.of(asdict(parts), source="pilot study")

    @classmethod
    def load(cls, path: Path) -> Pilot:
        """From a JSON file: components alone, or the whole output of `readers analyse --json`.

        Raises:
            ReadersError: unreadable, or as `of`.
        """
        try:
            data = json.loads(path.read_text("utf-8"))
        except OSError as error:
            raise ReadersError(f"Components {path} cannot be read: {error.strerror}.") from error
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ReadersError(f"Components {path} are not JSON: {error}.") from error
        if not isinstance(data, dict):
            raise ReadersError(f"Components {path} are not a JSON object.")
        found: Any = data
        for key in ("or", "components"):
            if isinstance(found.get(key), dict):
                found = found[key]
        cases = found.get("cases", data.get("cases"))
        return cls.of(found, int(cases) if isinstance(cases, int | float) else None, path.name)

    @classmethod
    def assumed(
        cls,
        area: float = 0.75,
        reader_range: float = 0.10,
        readers: int = 5,
        r1: float = 0.47,
        r2: float = 0.30,
        r3: float = 0.30,
        rb: float = 0.80,
        cases: int = 100,
    ) -> Pilot:
        """Without a pilot study: correlations of error r1–r3, of readers' areas rb.

        ``reader_range`` is the expected range of the readers' areas, turned into a standard
        deviation by the expected range of as many normal deviates. Half the images synthetic.
        With r2 = r3 the degrees of freedom are readers − 1, which is conservative.
        """
        var = binormal_variance(area, 1.0) / (cases / 2)
        spread = (reader_range / expected_range(readers)) ** 2
        source = (
            f"assumed: area {area}, readers' range {reader_range}, error correlations {r1}, {r2}, "
            f"{r3}, correlation of readers' areas between generators {rb}"
        )
        return cls(var, r1 * var, r2 * var, r3 * var, spread * (1 - rb), spread, cases, source)


def _number(parts: Mapping[str, Any], key: str) -> float:
    value = parts.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise ReadersError(
            f"Components lack the number {key!r}; give var, cov1, cov2, cov3, ms_tr (or var_tr) "
            "and cases, the number of images they were estimated on."
        )
    return float(value)


def binormal_variance(area: float, ratio: float) -> float:
    """Variance of an area times the number of synthetic images (Obuchowski 1994).

    ``ratio`` is real per synthetic images.

    Raises:
        ReadersError: an area that is not between 0 and 1.
    """
    if not 0 < area < 1:
        raise ReadersError(f"An area to plan with lies between 0 and 1, not at {area}.")
    a = 1.414 * float(scipy.stats.norm.ppf(area))
    return 0.0099 * exp(-a * a / 2) * ((5 * a * a + 8) + (a * a + 8) / ratio)


def expected_range(count: int) -> float:
    """Expected range of ``count`` standard normal deviates (Tippett 1925).

    Raises:
        ReadersError: fewer than two.
    """
    if count < 2:
        raise ReadersError("A range needs two readers.")

    def density(x: float) -> float:
        p = scipy.stats.norm.cdf(x)
        return float(1 - (1 - p) ** count - p**count)

    return float(scipy.integrate.quad(density, -10, 10)[0])


@dataclass(frozen=True)
class Power:
    """Power with the quantities it came from; ``df`` denominator degrees of freedom."""

    power: float
    df: float
    noncentrality: float
    denominator: float


def mrmc_power(
    pilot: Pilot, readers: int, cases: int, effect: float, alpha: float = ALPHA
) -> Power:
    """Chance to show a difference ``effect`` between the areas of two generators.

    Random readers and random cases; all images read under both (Hillis et al. 2011).

    Raises:
        ReadersError: fewer than two readers or four images.
    """
    _design(readers, cases)
    scale = pilot.cases / cases
    own = pilot.var - pilot.cov1
    shared = max(pilot.cov2 - pilot.cov3, 0.0)
    denominator = pilot.var_tr + scale * (own + (readers - 1) * shared)
    residual = pilot.var_tr + scale * (own - shared)
    if denominator <= 0 or residual <= 0:
        raise ReadersError("These components leave no error to plan with; check them.")
    df2 = denominator**2 * (readers - 1) / residual**2
    noncentrality = readers * effect**2 / (2 * denominator)
    critical = scipy.stats.f.isf(alpha, 1, df2)
    power = float(scipy.stats.ncf.sf(critical, 1, df2, noncentrality))
    return Power(power, float(df2), float(noncentrality), float(denominator))


@dataclass(frozen=True)
class OnePower:
    """One generator: power to show an area other than 0.5, and one equal to 0.5."""

    difference: float
    equivalence: float
    se: float
    df: float


def one_generator_power(
    pilot: Pilot,
    readers: int,
    cases: int,
    effect: float,
    margin: float = MARGIN,
    alpha: float = ALPHA,
) -> OnePower | None:
    """Chances for the mean area over random readers; None where readers' variance is unknown.

    ``effect`` is the true distance from 0.5 (difference), 0 for equivalence.

    Raises:
        ReadersError: fewer than two readers or four images.
    """
    _design(readers, cases)
    if pilot.var_r is None:
        return None
    scale = pilot.cases / cases
    ms_r = pilot.var_r + scale * (pilot.var - pilot.cov2)
    shared = scale * max(pilot.cov2, 0.0)
    total = ms_r + readers * shared
    se, df = sqrt(total / readers), total**2 * (readers - 1) / ms_r**2
    critical = scipy.stats.t.ppf(1 - alpha / 2, df)
    shift = abs(effect) / se
    difference = scipy.stats.nct.sf(critical, df, shift) + scipy.stats.nct.cdf(-critical, df, shift)
    equivalence = 2 * scipy.stats.t.cdf(margin / se - scipy.stats.t.ppf(1 - alpha, df), df) - 1
    return OnePower(float(difference), max(0.0, float(equivalence)), se, float(df))


def _design(readers: int, cases: int) -> None:
    if readers < 2:
        raise ReadersError(
            "Planning for other readers needs at least 2 readers: the spread of one is unknown."
        )
    if cases < 4:
        raise ReadersError(f"A plan needs at least 4 images, not {cases}.")


@dataclass(frozen=True)
class SeveralPower:
    """Power for two generators; ``df2`` denominator degrees of freedom."""

    power: float
    df2: float
    noncentrality: float = field(metadata=records.json_key("lambda"))
    denominator: float


@dataclass(frozen=True)
class SinglePower:
    """One reader alone, of so many images; the powers at the planned effect."""

    synthetic: int
    real: int
    area_difference_power: float
    area_equivalence_power: float
    images_for_equivalence_80: int | None
    accuracy_difference_power: float


@dataclass(frozen=True)
class Grid:
    """Powers by readers (rows) and images (columns); None where one generator's is not known."""

    readers: tuple[int, ...]
    cases: tuple[int, ...]
    power: tuple[tuple[float, ...], ...]
    one_generator_equivalence: tuple[tuple[float | None, ...], ...]


@dataclass(frozen=True)
class Plan:
    """Everything a planner shows, for ``readers`` of ``cases`` images, half of them synthetic.

    ``power`` and ``mrmc`` are of two generators; they and ``one_generator`` are None for one
    reader, and ``refused`` then says why.
    """

    readers: int
    cases: int
    effect: float
    margin: float
    alpha: float
    power: float | None
    mrmc: SeveralPower | None
    one_generator: OnePower | None
    refused: str | None
    single_reader: SinglePower
    grid: Grid
    components: Pilot
    assumptions: tuple[str, ...]

    def to_json(self) -> Any:
        """The JSON form; every component is written."""
        return records.to_json(self) | {"components": asdict(self.components)}


def plan(
    readers: int,
    cases: int,
    effect: float,
    pilot: Pilot | None = None,
    margin: float = MARGIN,
    alpha: float = ALPHA,
    grid_readers: Sequence[int] = GRID_READERS,
    grid_cases: Sequence[int] = GRID_CASES,
) -> Plan:
    """Plan J readers of K images (half synthetic) for an effect.

    ``effect`` is a difference of areas: between two generators, and from 0.5 for one.

    Raises:
        ReadersError: a design or an effect that cannot be planned.
    """
    if not 0 < abs(effect) < 0.5:
        raise ReadersError(f"The effect is a difference of areas between 0 and 0.5, not {effect}.")
    if readers < 1:
        raise ReadersError(f"A plan needs at least 1 reader, not {readers}.")
    if not 0 < margin < 0.5:
        raise ReadersError(f"The margin must lie between 0 and 0.5, not {margin}.")
    base = pilot if pilot is not None else Pilot.assumed(readers=max(readers, 2))
    half = cases // 2
    several = one = refused = None
    if readers >= 2:
        found = mrmc_power(base, readers, cases, effect, alpha)
        several = SeveralPower(found.power, found.df, found.noncentrality, found.denominator)
        one = one_generator_power(base, readers, cases, effect, margin, alpha)
    else:
        refused = "1 reader: nothing can be planned about other readers."
    accuracy = float(scipy.stats.norm.cdf(scipy.stats.norm.ppf(0.5 + abs(effect)) / sqrt(2)))

    def equivalence(j: int, k: int) -> float | None:
        at = one_generator_power(base, j, k, effect, margin, alpha)
        return None if at is None else at.equivalence

    return Plan(
        readers=readers,
        cases=cases,
        effect=effect,
        margin=margin,
        alpha=alpha,
        power=several.power if several else None,
        mrmc=several,
        one_generator=one,
        refused=refused,
        single_reader=SinglePower(
            synthetic=half,
            real=cases - half,
            area_difference_power=area_power(0.5 + abs(effect), half, cases - half, alpha),
            area_equivalence_power=area_equivalence_power(half, cases - half, margin, 0.5, alpha),
            images_for_equivalence_80=images_for_equivalence(0.8, margin, alpha),
            accuracy_difference_power=accuracy_power(cases, accuracy, alpha),
        ),
        grid=Grid(
            readers=tuple(grid_readers),
            cases=tuple(grid_cases),
            power=tuple(
                tuple(mrmc_power(base, j, k, effect, alpha).power for k in grid_cases)
                for j in grid_readers
            ),
            one_generator_equivalence=tuple(
                tuple(equivalence(j, k) for k in grid_cases) for j in grid_readers
            ),
        ),
        components=base,
        assumptions=(
            base.source or "components given",
            "half of the images are synthetic",
            "two generators: every reader reads the same number of images for each; F test of "
            "Hillis, Obuchowski & Berbaum (2011), random readers and random cases",
            "one reader: Hanley–McNeil variance; equivalence is planned for a reader who truly "
            "guesses",
        ),
    )
