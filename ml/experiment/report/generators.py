"""The generators of a run beside each other: what they draw, what it did, what it took."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ml.experiment.outcomes import Collapsed, Missing
from ml.experiment.report import fidelity, figures
from ml.experiment.results import Results
from ml.experiment.results.scores import ArmComparison, Selection
from ml.experiment.results.synthetic import GeneratorFate, KindFidelity, SpaceMemorisation
from ml.statistics.comparison import p_text
from ml.statistics.figure import Figure

HEAD = (
    "ROIs", "distance", "coverage", "told apart", "copies", "points", "p (Holm)", "minutes",
    "s per 100",
)  # fmt: skip
READ = (
    "Distance (Fréchet) and coverage in measurements, told apart by a program (0.5: not at all), "
    "all against held-out lesions, with 95 % intervals over patients; the first line is what "
    "real training lesions come to. Copies: flagged in pixels; 5 % are expected of none. Points: "
    "balanced accuracy of the arm less that of equal-compute, under nested selection, with p and "
    "p after Holm where it is a primary hypothesis. Minutes of training, of one process for all "
    "classes of a fold; seconds of drawing 100 ROIs. Where trainings collapsed in every attempt, a "
    "line is of the others, which it counts; an arm wants a generator in every fold and seed."
)
_EQUAL = "equal-compute"
_ARM = "classic+{}"
_PER_CLASS, _REAL = "dcgan", "real"
_PASTED, _NOTHING = "tissue", "none"
"""Phantom lesions in real tissue: no generator is trained for them, and they were made before."""


def rows(results: Results) -> list[list[str]]:
    """Cells (plain text) as ``HEAD``; the first row is of real lesions; [] of earlier runs.

    A cell is a dash where the run does not tell.
    """
    times, classes = results.run.times.generators, len(results.found.dataset.scheme)
    if not times:
        return []
    synthetic = results.found.synthetic
    told, copied = synthetic.fidelity, synthetic.memorisation
    kinds = {} if isinstance(told, Missing) else told.kinds
    flagged = {} if isinstance(copied, Missing) else copied.kinds
    found = []
    for kind in (name for name in fidelity.NAMES if name in kinds):
        one = kinds[kind]
        took = times.get(kind)
        minutes = seconds = _NOTHING if kind == _PASTED else "–"
        if took is not None:
            trainings = classes if kind == _PER_CLASS else 1
            minutes = f"{took.training_s * trainings / 60:.2g}"
            seconds = "–" if took.drawing_s is None else f"{100 * took.drawing_s:.2g}"
        fates = [fate for fate in synthetic.generators if fate.kind == kind]
        found.append(
            [
                "real lesions" if kind == _REAL else fidelity.named(synthetic, kind),
                *_likeness(one),
                _share(flagged.get(kind, {}).get("pixels")),
                *_gain(_against_equal(results, kind), fates),
                minutes,
                seconds,
            ]
        )
    return found


def _likeness(one: KindFidelity | Missing) -> Sequence[str]:
    if isinstance(one, Missing) or one.radiomics is None:
        return ("–",) * 3
    return (
        _plain(one.radiomics.fid, _short),
        _plain(one.radiomics.coverage, "{:.2f}".format),
        _plain(one.told_apart, "{:.2f}".format),
    )


def _plain(found: Figure | None, form: Callable[[float], str]) -> str:
    if found is None or found.value is None:
        return "–"
    ends = "" if found.ends is None else f" ({' to '.join(map(form, found.ends))})"
    return f"{form(found.value)}{ends}"


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 10 else f"{value:.2g}"


def _share(found: SpaceMemorisation | None) -> str:
    return "–" if found is None else f"{100 * found.flagged_share:.1f} %"


def _against_equal(results: Results, kind: str) -> ArmComparison | None:
    scores = results.found.scores
    for one in (*(scores.primary or ()), *(scores.secondary or ())):
        key = one.arm, one.against, one.selection
        if key == (_ARM.format(kind), _EQUAL, Selection.NESTED):
            return one
    return None


def _gain(found: ArmComparison | None, fates: Sequence[GeneratorFate]) -> tuple[str, str]:
    if found is None:
        gone = any(isinstance(fate.fared, Collapsed) for fate in fates)
        return "collapsed" if gone else "–", "–"
    gain = figures.share(found.difference, signed=True)
    after = "" if found.holm_p is None else f" ({p_text(found.holm_p)})"
    return gain, p_text(found.p) + after
