"""The report's section on fidelity and variety."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from ml.experiment.outcomes import Collapsed, Missing
from ml.experiment.report import figures
from ml.experiment.results import Results
from ml.experiment.results.synthetic import KindFidelity, SpaceFidelity, Synthetic
from ml.statistics import two_sample
from ml.statistics.figure import Figure

HEAD = ("ROIs", "KID", "FID", "density", "coverage")
_REAL = "real"
NAMES = {
    _REAL: "real training lesions (baseline)",
    "dcgan": "DCGAN",
    "acgan": "ACGAN",
    "cgan": "conditional GAN",
    "diffusion": "diffusion model",
    "tissue": "phantom lesions in real tissue",
}
_FURTHER_UP = ("kid", "fid")
_WORDS = {"kid": "KID", "fid": "FID", "density": "density", "coverage": "coverage"}


def named(synthetic: Synthetic, kind: str) -> str:
    """What ROIs of this kind are called, and of how many folds and seeds they are where in some
    a generator collapsed in every attempt: nothing is measured there of the other classes either.
    """
    outer = [one for one in synthetic.generators if one.kind == kind and one.of_held_out]
    every = {(one.fold, one.seed) for one in outer}
    gone = {(one.fold, one.seed) for one in outer if isinstance(one.fared, Collapsed)}
    left = f", {len(every - gone)} of {len(every)} trainings" if gone else ""
    return f"{NAMES[kind]}{left}"


def by_network(synthetic: Synthetic) -> list[list[str]]:
    """Cells (HTML) per kind: the measures in the network's features."""
    rows = []
    for kind, one in _kinds(synthetic).items():
        if isinstance(one, Missing):
            rows.append([named(synthetic, kind), escape(one.missing), "", "", ""])
        else:
            rows.append([named(synthetic, kind), *_cells(one.network)])
    return rows


def by_measurements(synthetic: Synthetic) -> list[list[str]]:
    """The same in the named measurements, and how well the ROIs are told apart; [] of old runs."""
    return [
        [named(synthetic, kind), *_cells(one.radiomics), plain(one.told_apart)]
        for kind, one in _kinds(synthetic).items()
        if isinstance(one, KindFidelity) and one.radiomics is not None
    ]


def answers(synthetic: Synthetic) -> list[str]:
    """A sentence for each generator: where it is further off than real lesions are; [] of old runs.

    Further: the two 95 % intervals do not meet.
    """
    told = synthetic.fidelity
    if isinstance(told, Missing):
        return []
    real = told.kinds.get(_REAL)
    if not isinstance(real, KindFidelity) or real.radiomics is None:
        return []
    sentences = []
    for kind, one in told.kinds.items():
        if kind == _REAL or isinstance(one, Missing) or one.radiomics is None:
            continue
        further = [
            *(f"{name} in measurements" for name in _further(one.radiomics, real.radiomics)),
            *(f"{name} in the network's features" for name in _further(one.network, real.network)),
        ]
        apart = ""
        if one.told_apart is not None and real.told_apart is not None:
            if _above(one.told_apart, real.told_apart):
                further.insert(0, "what a program tells apart")
            apart = (
                f" The program tells {plain(one.told_apart)} of pairs apart, of real lesions "
                f"{plain(real.told_apart)}."
            )
        elif told.told_apart is not None:
            apart = (
                " Whether a program tells them apart is not known: it needs "
                f"{two_sample.LEAST} patients on either side, in a fold, and numbers that vary."
            )
        what = ", ".join(further) or "none of the measures"
        if len(further) == 1 + 2 * len(_WORDS):
            what = "every measure"
        sentences.append(
            f"{named(synthetic, kind)}: further from held-out lesions than real ones are by "
            f"{what}.{apart}"
        )
    return sentences


def _kinds(synthetic: Synthetic) -> Mapping[str, KindFidelity | Missing]:
    told = synthetic.fidelity
    return {} if isinstance(told, Missing) else told.kinds


def few_held_out(results: Results) -> str:
    """A caution in HTML where what is held out is of few patients; "" where it is of more."""
    data = results.found.dataset
    if data.split is None:
        patients = data.patients // results.found.asked.settings.folds
    else:
        patients = data.split["test"].patients
    if patients >= two_sample.LEAST:
        return ""
    return (
        f'<p class="warn">Held-out lesions are of {patients} patients in a fold. Of fewer than '
        f"{two_sample.LEAST}, distances to them say little, and intervals over them are too "
        "narrow.</p>"
    )


def _further(one: SpaceFidelity, real: SpaceFidelity) -> list[str]:
    found = []
    for name, word in _WORDS.items():
        ours: Figure | None = getattr(one, name)
        theirs: Figure | None = getattr(real, name)
        if ours is None or theirs is None:
            continue
        if _above(ours, theirs) if name in _FURTHER_UP else _above(theirs, ours):
            found.append(word)
    return found


def _above(one: Figure, other: Figure) -> bool:
    """Whether all of the one interval lies above the other.

    A figure without one did not vary when patients were drawn again: it is told as it is.
    """
    if one.value is None or other.value is None:
        return False
    return (one.ends or (one.value,))[0] > (other.ends or (other.value,))[-1]


def _cells(of: SpaceFidelity | None) -> Sequence[str]:
    found = of or SpaceFidelity()
    return [plain(one) for one in (found.kid, found.fid, found.density, found.coverage)]


def plain(found: Figure | None) -> str:
    """A figure as it is, with its interval; HTML."""
    return figures.number_html(found, ".3g")
