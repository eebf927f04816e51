"""How many images and readers a study needs: one reader, and several readers of the same images.

Difference from chance, equivalence with chance within a margin, and a difference between two
generators (Hillis, Obuchowski & Berbaum 2011, Acad Radiol 18:129).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from ml.ground import records
from ml.statistics.exact import hanley_mcneil_variance
from ml.statistics.latent import Latent
from ml.statistics.proportion import ReadersError

Floats = NDArray[np.float64]

MARGIN = 0.10
ALPHA = 0.05
GRID_READERS = (2, 3, 4, 5, 6, 8, 10)
GRID_CASES = (60, 120, 180, 240, 300, 400)
MIDDLE = 0.65
"""Mean area of two generators, where nothing else is said."""


def accuracy_power(n: int, accuracy: float, alpha: float = ALPHA) -> float:
    """Chance that n images show an accuracy other than 0.5, exact two-sided binomial test."""
    counts = np.arange(n + 1)
    # the p of `proportion.chance_p`: the distribution is symmetric at 0.5
    rejected = 2 * scipy.stats.binom.cdf(np.minimum(counts, n - counts), n, 0.5) <= alpha
    return float(scipy.stats.binom.pmf(counts, n, accuracy)[rejected].sum())


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
    def assumed(cls, areas: Sequence[float], readers: Latent | None = None) -> Pilot:
        """Without a pilot study: what readers as in ``readers`` would give, at these true areas.

        One area: one generator. Several: generators that share the real images, each with
        synthetic images of its own. Half of the images under each generator are synthetic.

        Raises:
            ReadersError: an area that is not between 0 and 1.
        """
        model = readers or Latent()
        found = model.moments(areas, 50, 50)
        rounded = " and ".join(f"{area:.2f}" for area in areas)
        if found.cov1 is None or found.cov3 is None or found.var_tr is None:
            source = (
                f"assumed: readers' mean AUC {rounded}, standard deviation of their true AUCs "
                f"{sqrt(found.var_r):.3f}, error correlation between readers {found.r2:.2f}"
            )
            return cls(found.var, 0.0, found.cov2, 0.0, 0.0, found.var_r, found.cases, source)
        source = (
            f"assumed: mean AUCs {rounded}, standard deviation of readers' true AUCs "
            f"{sqrt(found.var_r):.3f}, correlation of them between generators "
            f"{1 - found.var_tr / found.var_r if found.var_r else 1:.2f}, error correlations "
            f"{found.r1:.2f} (same reader, other generator), {found.r2:.2f} (other reader) and "
            f"{found.r3:.2f} (both differ)"
        )
        return cls(
            found.var, found.cov1, found.cov2, found.cov3, found.var_tr, found.var_r, found.cases,
            source,
        )  # fmt: skip


def _number(parts: Mapping[str, Any], key: str) -> float:
    value = parts.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise ReadersError(
            f"Components lack the number {key!r}; give var, cov1, cov2, cov3, ms_tr (or var_tr) "
            "and cases, the number of images they were estimated on."
        )
    return float(value)


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
    """One generator: power to show an area other than 0.5, and one equal to 0.5.

    ``se`` and ``df`` are those expected of a study in which the area differs from 0.5.
    """

    difference: float
    equivalence: float
    se: float
    df: float


_QUANTILES = 400


def one_generator_power(
    pilot: Pilot,
    readers: int,
    cases: int,
    effect: float,
    margin: float = MARGIN,
    alpha: float = ALPHA,
    guessing: Pilot | None = None,
) -> OnePower | None:
    """Chances for the mean area over random readers; None where readers' variance is unknown.

    ``effect`` is the true distance from 0.5 (difference), 0 for equivalence. The standard error of
    a study is an estimate with few degrees of freedom, so both powers are means over its
    distribution (a scaled χ² of the readers' mean square), not values at its expectation.

    Args:
        pilot: variances where the area differs from 0.5.
        readers: how many.
        cases: images in all, half of them synthetic.
        effect: distance of the true area from 0.5.
        margin: of equivalence.
        alpha: of the difference, two-sided, and of each side of the equivalence.
        guessing: variances where the area is 0.5; None: the same.

    Raises:
        ReadersError: fewer than two readers or four images.
    """
    _design(readers, cases)
    at_chance = guessing or pilot
    if pilot.var_r is None or at_chance.var_r is None:
        return None
    se, df, spread, errors, dfs = _errors(pilot, readers, cases)
    half = scipy.stats.t.ppf(1 - alpha / 2, dfs) * errors
    above = scipy.stats.norm.sf((half - abs(effect)) / spread)
    below = scipy.stats.norm.cdf((-half - abs(effect)) / spread)
    _, _, spread, errors, dfs = _errors(at_chance, readers, cases)
    left = margin - scipy.stats.t.ppf(1 - alpha, dfs) * errors
    within = np.maximum(2 * scipy.stats.norm.cdf(left / spread) - 1, 0.0)
    return OnePower(float((above + below).mean()), float(within.mean()), se, df)


def _errors(pilot: Pilot, readers: int, cases: int) -> tuple[float, float, float, Floats, Floats]:
    """Expected standard error and degrees of freedom, the true standard deviation of the mean, and
    quantiles of the estimated standard error with their degrees of freedom, equally likely."""
    assert pilot.var_r is not None
    scale = pilot.cases / cases
    expected = pilot.var_r + scale * (pilot.var - pilot.cov2)
    shared = readers * scale * max(pilot.cov2, 0.0)
    if expected <= 0:
        raise ReadersError("These components leave no error to plan with; check them.")
    total = expected + shared
    middles = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    squares = expected * scipy.stats.chi2.ppf(middles, readers - 1) / (readers - 1)
    df = (readers - 1) * total**2 / expected**2
    dfs = (readers - 1) * (squares + shared) ** 2 / squares**2
    se = sqrt(total / readers)
    return se, df, se, np.sqrt((squares + shared) / readers), dfs


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
    """Powers by readers (rows) and images (columns); None where one generator's is not known.

    No cell depends on another one, nor on the readers and images that were asked for.
    """

    readers: tuple[int, ...]
    cases: tuple[int, ...]
    power: tuple[tuple[float, ...], ...]
    one_generator_difference: tuple[tuple[float | None, ...], ...]
    one_generator_equivalence: tuple[tuple[float | None, ...], ...]


@dataclass(frozen=True)
class Plan:
    """Everything that the closed formulas say, for ``readers`` of ``cases`` images.

    Half of the images are synthetic. ``power`` and ``mrmc`` are of two generators that share the
    real images; they and ``one_generator`` are None for one reader, and ``refused`` then says why.
    ``components`` are those of two generators, ``one_generator_components`` of one whose area
    differs from 0.5, ``guessing_components`` of one at 0.5.
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
    one_generator_components: Pilot
    guessing_components: Pilot
    assumptions: tuple[str, ...]

    def to_json(self) -> Any:
        """The JSON form; every component is written."""
        return records.to_json(self) | {
            name: asdict(getattr(self, name))
            for name in ("components", "one_generator_components", "guessing_components")
        }


def plan(
    readers: int,
    cases: int,
    effect: float,
    pilot: Pilot | None = None,
    margin: float = MARGIN,
    alpha: float = ALPHA,
    grid_readers: Sequence[int] = GRID_READERS,
    grid_cases: Sequence[int] = GRID_CASES,
    model: Latent | None = None,
    middle: float = MIDDLE,
) -> Plan:
    """A quick first look at J readers of K images (half synthetic) for an effect.

    Args:
        readers: how many.
        cases: images in all, under each generator.
        effect: a difference of areas: between two generators, and from 0.5 for one; before ratings
            are cut into points where readers are assumed, of the ratings with a ``pilot``.
        pilot: variances of a study with two generators; None: those that ``model`` gives.
        margin: of equivalence.
        alpha: chance of a false positive.
        grid_readers: rows of the grid, at least 2 each.
        grid_cases: columns of the grid.
        model: readers as they are assumed.
        middle: mean area of the two generators.

    Raises:
        ReadersError: a design or an effect that cannot be planned.
    """
    refuse_odd(readers, effect, margin, middle)
    two = pilot or Pilot.assumed(apart(middle, effect), model)
    one = pilot or Pilot.assumed((0.5 + abs(effect),), model)
    none = pilot or Pilot.assumed((0.5,), model)
    between = distance = abs(effect)
    if pilot is None:  # ratings of few points tell a little less than what they were cut from
        rated = model or Latent()
        between = float(-np.diff(rated.true_areas(apart(middle, effect)))[0])
        distance = rated.true_areas((0.5 + abs(effect),))[0] - 0.5
    half = cases // 2
    several = found = refused = None
    if readers >= 2:
        at = mrmc_power(two, readers, cases, between, alpha)
        several = SeveralPower(at.power, at.df, at.noncentrality, at.denominator)
        found = one_generator_power(one, readers, cases, distance, margin, alpha, none)
    else:
        refused = "1 reader: nothing can be planned about other readers."
    accuracy = float(scipy.stats.norm.cdf(scipy.stats.norm.ppf(0.5 + abs(effect)) / sqrt(2)))
    alone = [
        [one_generator_power(one, j, k, distance, margin, alpha, none) for k in grid_cases]
        for j in grid_readers
    ]
    return Plan(
        readers=readers,
        cases=cases,
        effect=effect,
        margin=margin,
        alpha=alpha,
        power=several.power if several else None,
        mrmc=several,
        one_generator=found,
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
                tuple(mrmc_power(two, j, k, between, alpha).power for k in grid_cases)
                for j in grid_readers
            ),
            one_generator_difference=tuple(
                tuple(None if at is None else at.difference for at in row) for row in alone
            ),
            one_generator_equivalence=tuple(
                tuple(None if at is None else at.equivalence for at in row) for row in alone
            ),
        ),
        components=two,
        one_generator_components=one,
        guessing_components=none,
        assumptions=_assumptions(pilot, two, one, none),
    )


def apart(middle: float, effect: float) -> tuple[float, float]:
    """Areas of two generators around ``middle``, the easier one to tell first."""
    return middle + abs(effect) / 2, middle - abs(effect) / 2


def refuse_odd(readers: int, effect: float, margin: float, middle: float) -> None:
    """Raises ReadersError for numbers that no plan can be made for."""
    if not 0 < abs(effect) < 0.5:
        raise ReadersError(f"The effect is a difference of areas between 0 and 0.5, not {effect}.")
    if readers < 1:
        raise ReadersError(f"A plan needs at least 1 reader, not {readers}.")
    if not 0 < margin < 0.5:
        raise ReadersError(f"The margin must lie between 0 and 0.5, not {margin}.")
    high, low = apart(middle, effect)
    if not 0 < low < high < 1:
        raise ReadersError(
            f"Two generators {abs(effect):g} apart around a mean area of {middle:g} would have "
            f"areas of {low:.2f} and {high:.2f}; both must lie between 0 and 1."
        )


def _assumptions(pilot: Pilot | None, two: Pilot, one: Pilot, guessing: Pilot) -> tuple[str, ...]:
    of = (
        (pilot.source or "components given",)
        if pilot is not None
        else (
            f"two generators: {two.source}",
            f"one generator that is told from real images: {one.source}",
            f"one generator that is not: {guessing.source}",
        )
    )
    return (
        *of,
        "half of the images under each generator are synthetic",
        "areas are normally distributed, and error covariances are known but for the readers' "
        "mean square: a first look; the simulation assumes neither",
        "two generators: they share the real images, and each has synthetic images of its own; "
        "F test of Hillis, Obuchowski & Berbaum (2011), random readers and random cases",
        "one reader: Hanley–McNeil variance; equivalence is planned for a reader who truly guesses",
    )
