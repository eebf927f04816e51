"""Fields 21 to 23 and 28, and the second opinion: how far a checkpoint can be trusted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from ml.checkpoints.card import several
from ml.checkpoints.card.entry import (
    NOT_APPLICABLE,
    Curve,
    Entry,
    Gap,
    Measured,
    Point,
    Sample,
    Source,
    Statement,
    capital,
    entry,
)
from ml.checkpoints.card.subject import UNMEASURED, Subject
from ml.statistics import proportion
from ml.statistics.figure import Figure
from ml.trust import beside
from ml.trust.calibration import Calibration, Reliability
from ml.trust.conformal import LEVELS, Coverage, expected, least_for
from ml.trust.evidence import Missing
from ml.trust.novelty import NoveltyRecord
from ml.trust.tried import Detections, Disturbed, Robustness

NO_CLASS = f"{NOT_APPLICABLE}: a generator names no class"
_OUT_OF_FOLD = "Out of fold, each scored by a network trained without it"
_HELD_OUT = "Held-out patients, on whom nothing was fitted"


def fitted(of: Subject) -> Calibration | None:
    """The calibration that serves; None where there is none."""
    trust = of.checkpoint.trust
    found = trust.calibration if trust is not None else None
    return found if isinstance(found, Calibration) else None


def calibration(of: Subject) -> Entry:
    """Field 21."""
    if not of.classifies:
        return entry(Gap(NO_CLASS))
    found = fitted(of)
    if found is None:
        return entry(
            Gap(_why(of, "calibration", "its numbers are scores, not probabilities")),
            *several.gain(of),
        )
    after = found.after
    rows = {
        "as they are": found.before,
        "by temperature": after,
        "by vector scaling": found.vector,
    }
    return entry(
        Statement(
            f"The logits are divided by a temperature of {found.temperature:.2f}, which makes "
            "probabilities of them on images of the kind that it was fitted on. The figures are "
            "cross-fitted: the lesions of a fold by the temperature of the others. Slope 1 and "
            "error 0 are right; of so many lesions whose probabilities were all true an error of "
            f"{after.error_by_chance:.3f} would be seen.",
            Source.MEASURED,
            "temperature",
            tuple(one for name, told in rows.items() for one in _reliability(name, told)),
            Sample(_OUT_OF_FOLD, after.n_lesions, after.n_patients, after.interval),
            rows_are="numbers",
            curves=tuple(_curve(name, told) for name, told in rows.items()),
        ),
        _intercepts(of, after),
        None if found.held_out is None else _held_out(found.held_out),
        several.fitted_smaller(of),
        *several.gain(of),
    )


def _reliability(name: str, told: Reliability) -> Iterator[Measured]:
    for measure, figure in (
        ("slope", told.slope),
        ("calibration error", told.error),
        ("Brier score", told.brier),
        ("log loss", told.log_loss),
    ):
        yield Measured(measure, figure, name, share=False)


def _curve(name: str, told: Reliability) -> Curve:
    """Ten bins of as many lesions each; intervals as if lesions were independent."""
    return Curve(
        name,
        tuple(
            Point(
                one.confidence,
                proportion.exact(round(one.lesions * one.right), round(one.lesions)),
            )
            for one in told.bins
        ),
    )


def _intercepts(of: Subject, told: Reliability) -> Statement:
    return Statement(
        "Above 0 the class is named too rarely, below too often.",
        Source.MEASURED,
        "intercepts by temperature",
        tuple(
            Measured("intercept", told.intercepts[one.key], one.display, share=False)
            for one in of.checkpoint.scheme.classes
            if one.key in told.intercepts
        ),
        Sample(_OUT_OF_FOLD, told.n_lesions, told.n_patients, told.interval),
    )


def _held_out(told: Reliability) -> Statement:
    return Statement(
        f"{told.n_lesions} lesions of {told.n_patients} patients; an error of "
        f"{told.error_by_chance:.3f} would be seen by chance.",
        Source.MEASURED,
        "held-out patients, on whom nothing was fitted",
        tuple(_reliability("by temperature", told)),
        Sample(_HELD_OUT, told.n_lesions, told.n_patients, told.interval),
        rows_are="numbers",
        curves=(_curve("by temperature", told),),
    )


def prediction_sets(of: Subject) -> Entry:
    """Field 22."""
    if not of.classifies:
        return entry(Gap(NO_CLASS))
    trust = of.checkpoint.trust
    if trust is None or fitted(of) is None:
        return entry(
            Gap(_why(of, "calibration", "it names one class, and none that cannot be excluded"))
        )
    known = {one.level for one in trust.coverage}
    return entry(
        Statement(
            "Made for each class apart (split conformal), never empty, for images of the kind that "
            "they were made from. Coverage is how often the true class is in the set, by one "
            "lesion a patient.",
            Source.SOFTWARE,
            "how they are made",
        ),
        several.fitted_smaller(of),
        *(_kept(of, one) for one in trust.coverage),
        *_covered(of, trust.coverage, _OUT_OF_FOLD, "out of fold"),
        *_covered(of, trust.held_out_coverage, _HELD_OUT, "held-out patients"),
        *(
            Gap(
                f"a class has too few lesions of different patients: {least_for(level)} are needed",
                f"sets at {100 * level:g} %, out of fold",
            )
            for level in LEVELS
            if level not in known
        ),
    )


def _kept(of: Subject, told: Coverage) -> Statement:
    """What the level promises of a class, of as many calibration lesions as it has."""
    ranges = []
    for one in of.checkpoint.scheme.classes:
        count = told.by_class[one.key].n or 0
        low, high = expected(count, told.level)
        ranges.append(f"{one.display} {100 * low:.0f} to {100 * high:.0f} % ({count} lesions)")
    return Statement(
        "The level holds on the mean over calibration lesions that might have been drawn. With so "
        "few, the share of a class that sets cover lies in 95 of 100 draws at: "
        f"{', '.join(ranges)}.",
        Source.MEASURED,
        f"what {100 * told.level:g} % promises of a class",
    )


def _covered(of: Subject, told: Sequence[Coverage], name: str, where: str) -> Iterator[Statement]:
    """By class and by size of the set, a row for each level."""
    if not told:
        return
    n = told[0].overall.n or 0
    sample = Sample(name, n, n, told[0].overall.method)
    by_class = [
        one
        for row in told
        for one in (
            Measured("all lesions", row.overall, _level(row)),
            *_of_classes(of, row.by_class, _level(row)),
        )
    ]
    by_size = [
        Measured(f"sets of {size}", row.by_size[size], _level(row))
        for row in told
        for size in sorted(row.by_size, key=int)
    ]
    yield Statement(
        f"{n} lesions, one of a class and patient.",
        Source.MEASURED,
        f"coverage, {where}",
        tuple(by_class),
        sample,
        rows_are="level",
    )
    yield Statement(
        " ".join(f"At {_level(row)}: {_sizes(row)} of the lesions." for row in told),
        Source.MEASURED,
        f"coverage by size of the set, {where}",
        tuple(by_size),
        sample,
        rows_are="level",
    )


def _level(told: Coverage) -> str:
    return f"{100 * told.level:g} %"


def _sizes(told: Coverage) -> str:
    found = sorted(told.sizes.items(), key=lambda one: int(one[0]))
    return ", ".join(
        f"{size} class{'' if size == '1' else 'es'} in {100 * share:.0f} %" for size, share in found
    )


def novelty(of: Subject) -> Entry:
    """Field 23."""
    if not of.classifies:
        return entry(Gap(NO_CLASS))
    trust = of.checkpoint.trust
    found = trust.novelty if trust is not None else None
    if not isinstance(found, NoveltyRecord):
        return entry(
            Gap(
                _why(
                    of, "novelty", "a lesion unlike all that it was trained on gets a score like "
                    "any other"
                )
            )
        )  # fmt: skip
    return entry(
        Statement(
            f"{capital(found.method)}. An ROI whose score is above "
            f"{found.threshold:.2f} is told to be unlike the {found.n_reference} training ROIs, "
            "before its class.",
            Source.MEASURED,
            "score",
        ),
        Statement(
            f"Of {found.n_held_out} held-out lesions of {found.n_patients} patients, by a "
            "threshold that they had no part in.",
            Source.MEASURED,
            "false alarms",
            (Measured("flagged", found.false_alarms),),
            Sample(_OUT_OF_FOLD, found.n_held_out, found.n_patients, found.false_alarms.method),
        ),
        *_detections(trust.detections if trust is not None else None),
    )


def _detections(found: Detections | Missing | None) -> Iterator[Statement | Gap]:
    """What is flagged beside real lesions of its kind."""
    if not isinstance(found, Detections):
        why = found.missing if found is not None else UNMEASURED
        yield Gap(why, "detection of what it was not trained on")
        return
    yield Statement(
        f"Tried on {found.tried_on}.",
        Source.MEASURED,
        "detection of what it was not trained on",
        tuple(Measured("flagged", one.rate, one.what) for one in found.rows),
        Sample(found.tried_on, max(one.rate.n or 0 for one in found.rows), found.n_patients,
               found.interval),
        rows_are="what was shown",
    )  # fmt: skip
    yield from _untried(found.untried)


def robustness(of: Subject) -> Entry:
    """Field 28."""
    if not of.classifies:
        return entry(Gap(NO_CLASS))
    trust = of.checkpoint.trust
    found = trust.robustness if trust is not None else None
    if not isinstance(found, Robustness):
        return entry(Gap(_why(of, "robustness", "noise, kernel, slice thickness, window, shifted "
                                                "marks were not tried")))  # fmt: skip
    number = "probability" if found.calibrated else "score"
    return entry(
        Statement(
            f"Tried on {found.tried_on}. Each lesion is compared with itself as it is: how often "
            "another class is named, and by how many points of 100 balanced accuracy and the true "
            f"class's {number} change, each class counting alike.",
            Source.MEASURED,
            figures=(
                Measured("balanced accuracy as they are", found.balanced_accuracy),
                *(one for row in found.rows for one in _changes(row, number, found.n_lesions)),
            ),
            sample=Sample(found.tried_on, found.n_lesions, found.n_patients, found.interval),
            rows_are="what is changed",
        ),
        *_untried(found.untried),
    )


def _changes(row: Disturbed, number: str, everyone: int) -> Iterator[Measured]:
    # of how many, only where not all could be changed so
    flipped = replace(row.flipped, n=None) if row.flipped.n == everyone else row.flipped
    yield Measured("another class", flipped, row.what)
    yield Measured("balanced accuracy by", row.accuracy, row.what)
    yield Measured(f"{number} by", row.probability, row.what)


def _untried(found: Mapping[str, str]) -> Iterator[Gap]:
    return (Gap(why, what) for what, why in found.items())


def second_opinion(of: Subject) -> Statement | Gap | None:
    """Of field 20: what a simple model of measurements is worth on the same lesions."""
    trust = of.checkpoint.trust
    if trust is None:
        return None
    if trust.beside is None:
        why = trust.opinion.missing if isinstance(trust.opinion, Missing) else UNMEASURED
        return Gap(why, "a simple model beside it")
    told = trust.beside
    rows = {"the network": told.network, "measurements": told.features}
    return Statement(
        f"{told.sentence} Both out of fold on {told.n_lesions} lesions of {told.n_patients} "
        "patients.",
        Source.MEASURED,
        "a simple model beside it",
        tuple(one for name, figures in rows.items() for one in _worth(name, figures)),
        Sample(_OUT_OF_FOLD, told.n_lesions, told.n_patients, told.network.interval),
        rows_are="model",
    )


def _worth(name: str, told: beside.Figures) -> Iterator[Measured]:
    yield Measured("balanced accuracy", told.balanced_accuracy, name)
    yield Measured("AUC", told.auc, name)
    yield Measured("log loss", told.log_loss, name, share=False)
    yield Measured("Brier score", told.brier, name, share=False)


def _of_classes(of: Subject, figures: Mapping[str, Figure], row: str) -> Iterator[Measured]:
    """A column for each class, in the order of the scheme."""
    for one in of.checkpoint.scheme.classes:
        if one.key in figures:
            yield Measured(one.display, figures[one.key], row)


def _why(of: Subject, part: str, otherwise: str) -> str:
    """Why a part was not measured."""
    trust = of.checkpoint.trust
    found = getattr(trust, part) if trust is not None else None
    if isinstance(found, Missing):
        return f"{UNMEASURED}: {found.missing}"
    return f"{UNMEASURED}: {otherwise}"
