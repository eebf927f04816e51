"""Reader statistics for the terminal: a file of ratings analysed, and results as plain tables."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from ml.ground import records
from ml.ground.plain_text import number, span, table
from ml.readers.planning import StudyPlan
from ml.readers.rehearsal import Outcome
from ml.readers.simulation import QUESTIONS, SimulatedGrid, SimulatedPower
from ml.statistics import mrmc, roc
from ml.statistics.comparison import p_text
from ml.statistics.mrmc import Analysis, CovarianceMethod
from ml.statistics.power import Plan
from ml.statistics.proportion import ReadersError
from ml.statistics.ratings import Ratings


@dataclass(frozen=True)
class Size:
    """How much was rated."""

    readers: int
    treatments: int
    cases: int
    real: int
    synthetic: int


@dataclass(frozen=True)
class ReaderArea:
    """One reader under one treatment; figures are None where the ratings do not define them."""

    reader: str
    treatment: str
    auc: float | None
    low: float | None
    high: float | None
    n: int | None
    method: str
    note: str | None
    different_from_chance: bool | None
    equivalent_to_chance: bool | None
    no_verdict: str | None


@dataclass(frozen=True)
class RatingsAnalysis:
    """A file of ratings analysed; an analysis that cannot be had is None, and ``…_refused`` why.

    ``left_out`` names readers who lack a treatment: their own areas are told, the analyses of
    several readers are of the others.
    """

    n: Size
    cases: int
    confidence: float
    margin: float
    readers: tuple[ReaderArea, ...]
    random_readers: Analysis | None = field(metadata=records.json_key("or"))
    random_readers_refused: str | None = field(metadata=records.json_key("or_refused"))
    fixed_readers: Analysis | None
    fixed_readers_refused: str | None
    left_out: tuple[str, ...]
    warnings: tuple[str, ...]

    def to_json(self) -> Any:
        """The JSON form; random readers (Obuchowski–Rockette) are called ``or`` there."""
        return records.to_json(self)


def analyse_ratings(
    ratings: Ratings,
    covariance: CovarianceMethod | None = None,
    confidence: float = 0.95,
    margin: float = 0.10,
) -> RatingsAnalysis:
    """Every reader under every treatment, then random readers, then fixed readers.

    A reader with fewer than two cases of a class under a treatment is left out of the latter two.
    """
    present = int(ratings.truth.sum())
    random = fixed = random_refused = fixed_refused = None
    left_out = ratings.lacking(2)
    if len(left_out) == len(ratings.readers):
        left_out = ()  # nobody would be left; the analyses say what is lacking
    block = ratings.without(left_out)
    try:
        random = mrmc.random_readers(block, method=covariance, confidence=confidence)
    except ReadersError as error:
        random_refused = str(error)
    try:
        fixed = mrmc.fixed_readers(block, method=covariance, confidence=confidence)
    except ReadersError as error:
        fixed_refused = str(error)
    warnings = random.warnings if random else fixed.warnings if fixed else ()
    if left_out:
        warnings += (
            f"Left out of what is said of several readers, because they did not rate two real and "
            f"two synthetic cases under every treatment: {', '.join(left_out)}.",
        )
    if not block.complete:
        warnings += (
            "Not every reader rated every case under every treatment; covariances are from a "
            "delete-one-case jackknife over all cases.",
        )
    return RatingsAnalysis(
        n=Size(
            readers=len(ratings.readers),
            treatments=len(ratings.treatments),
            cases=len(ratings.cases),
            real=len(ratings.cases) - present,
            synthetic=present,
        ),
        cases=len(ratings.cases),
        confidence=confidence,
        margin=margin,
        readers=tuple(
            _reader(ratings, i, j, confidence, margin)
            for i in range(len(ratings.treatments))
            for j in range(len(ratings.readers))
        ),
        random_readers=random,
        random_readers_refused=random_refused,
        fixed_readers=fixed,
        fixed_readers_refused=fixed_refused,
        left_out=left_out,
        warnings=warnings,
    )


def _reader(ratings: Ratings, i: int, j: int, confidence: float, margin: float) -> ReaderArea:
    truth, scores, _ = ratings.cell(i, j)
    reader, treatment = ratings.readers[j], ratings.treatments[i]
    try:
        found = roc.auc_interval(truth, scores, confidence)
        verdict = roc.verdict(truth, scores, margin)
    except ReadersError as error:
        return ReaderArea(
            reader, treatment, None, None, None, len(truth), "none", str(error), None, None,
            str(error),
        )  # fmt: skip
    return ReaderArea(
        reader, treatment, found.value, found.low, found.high, found.n, found.method, found.note,
        verdict.different_from_chance, verdict.equivalent_to_chance, verdict.reason,
    )  # fmt: skip


def analysis_text(result: RatingsAnalysis) -> str:
    """The result of `analyse_ratings` as tables."""
    n, percent = result.n, f"{result.confidence:.0%}"
    lines = [
        f"{n.readers} readers, {n.treatments} treatments, {n.cases} cases "
        f"({n.real} real, {n.synthetic} synthetic)",
        "",
        *table(
            ("reader", "treatment", "AUC", percent, "n", "method"),
            [
                (r.reader, r.treatment, number(r.auc), span(r.low, r.high), str(r.n),
                 r.note or r.method)
                for r in result.readers
            ],
        ),
        *(
            f"{r.reader} under {r.treatment}: no verdict, {r.no_verdict}"
            for r in result.readers
            if r.no_verdict and r.different_from_chance is None
        ),
    ]  # fmt: skip
    for found, refused in (
        (result.random_readers, result.random_readers_refused),
        (result.fixed_readers, result.fixed_readers_refused),
    ):
        lines.append("")
        if found is None:
            lines.append(f"Refused: {refused}")
            continue
        lines.append(f"For {found.population}; {found.covariance} covariances")
        lines += table(
            ("treatment", "mean AUC", percent, "df"),
            [
                (t.treatment, number(t.value), span(t.low, t.high), number(t.df, 2))
                for t in found.treatments
            ],
        )
        lines += table(
            (
                "difference",
                "value",
                percent,
                "p" if len(found.differences) < 2 else "p, each alone",
            ),
            [
                (
                    *(f"{d.first} − {d.second}", number(d.value), span(d.low, d.high)),
                    "–" if d.p is None else p_text(d.p),
                )
                for d in found.differences
            ],
        )
        if found.f is not None and found.p is not None:
            lines.append(
                f"F({found.df1}, {number(found.df2, 2)}) = {found.f:.4f}, p {p_text(found.p, '= ')}"
            )
    known = result.random_readers or result.fixed_readers
    parts = asdict(known.components) if known else {}
    lines += ["", *(f"{k:10} {v:.10g}" for k, v in parts.items() if v is not None)]
    lines += [f"warning: {w}" for w in result.warnings]
    return "\n".join(lines)


def plan_text(result: Plan) -> str:
    """The result of `ml.statistics.power.plan` as tables."""
    lines = [
        f"A quick first look, by closed formulas: {result.readers} readers, {result.cases} images, "
        f"effect {result.effect} in AUC, margin ±{result.margin}, alpha {result.alpha}",
        "",
    ]
    if result.mrmc is None:
        lines.append(f"Refused: {result.refused}")
    else:
        lines.append(f"Two generators, other readers too: power {result.mrmc.power:.3f}")
    one = result.one_generator
    if one is not None:
        lines.append(
            f"One generator, other readers too: power {one.difference:.3f} for the difference "
            f"from 0.5, {one.equivalence:.3f} for equivalence"
        )
    single = result.single_reader
    lines += [
        f"One reader alone: power {single.area_difference_power:.3f} for the difference from "
        f"0.5, {single.area_equivalence_power:.3f} for equivalence "
        f"(0.8 needs {single.images_for_equivalence_80} images)",
        "",
        "Power for a difference between two generators, readers down, images across",
        *table(
            ("readers", *(str(k) for k in result.grid.cases)),
            [
                (str(j), *(f"{p:.3f}" for p in row))
                for j, row in zip(result.grid.readers, result.grid.power, strict=True)
            ],
        ),
        "",
        *(f"assumption: {a}" for a in result.assumptions),
    ]
    return "\n".join(lines)


def study_plan_text(result: StudyPlan) -> str:
    """A plan as tables: the closed formulas, the pilot, then what was simulated."""
    lines = [plan_text(result.quick)]
    if result.pilot is not None:
        lines += ["", *(f"pilot: {sentence}" for sentence in result.pilot.words)]
    for one in result.simulated:
        asked = one.asked
        lines += [
            "",
            f"Simulated: {QUESTIONS[one.claim].title}",
            f"power {asked.power:.3f} (95 % interval of the simulation {asked.low:.3f} to "
            f"{asked.high:.3f}, {asked.shown} of {asked.studies} studies); closed formula "
            f"{number(one.quick, 3)}",
        ]
        if one.grid is not None:
            lines += grid_lines(one.grid)
        lines += [f"assumption: {a}" for a in one.assumptions]
    if result.refused:
        lines += ["", f"Not simulated: {result.refused}"]
    return "\n".join(lines)


def grid_lines(found: SimulatedGrid) -> list[str]:
    """A simulated grid, readers down, images across, and the smallest design that is enough."""

    def cell(power: SimulatedPower | None) -> str:
        return f"{power.power:.2f} ({power.low:.2f} to {power.high:.2f})" if power else "-"

    lines = table(
        ("readers", *(f"{k} images" for k in found.images)),
        [
            (str(j), *(cell(power) for power in row))
            for j, row in zip(found.readers, found.powers, strict=True)
        ],
    )
    return [*lines, smallest_words(found)]


def smallest_words(found: SimulatedGrid) -> str:
    """The sample size that a grid gives, in a sentence."""
    least = found.smallest
    if least is None:
        return (
            f"No design of this grid reaches a power of {found.wanted:g} with the lower end of its "
            "interval."
        )
    return (
        f"The fewest readings whose power reaches {found.wanted:g} with the lower end of its "
        f"interval ({least.power.low:.3f}): {least.readers} readers of {least.images} images"
        f"{' under each generator' if least.generators > 1 else ''}, {least.readings} readings."
    )


def rehearsal_text(result: Outcome) -> str:
    """The outcome of `ml.readers.rehearsal.Rehearsal` as tables."""
    lines = [
        f"{result.studies} simulated studies of {result.design.readers} readers and "
        f"{result.design.images} images; true AUC {result.true_area:.3f}, true share correct "
        f"{result.true_accuracy:.3f}",
        "",
        *table(
            ("interval (nominal 0.95)", "coverage", "95%", "n", "mean width"),
            [
                (c.name, number(c.coverage, 3), span(c.low, c.high, 3), str(c.n),
                 number(c.mean_width, 3))
                for c in result.coverage
            ],
        ),
        "",
    ]  # fmt: skip
    fell = result.verdicts
    for found, word in ((fell.per_reader, "one reader"), (fell.across, "across readers")):
        if found.n:
            lines.append(
                f"{word}: different from chance in {found.different:.3f}, equivalent in "
                f"{found.equivalent:.3f} of {found.n}"
            )
    return "\n".join(lines)
