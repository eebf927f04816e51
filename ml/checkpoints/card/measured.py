"""Fields 20 and 24 to 31: what was measured of a checkpoint, and what was not."""

from __future__ import annotations

from ml.checkpoints.card import several
from ml.checkpoints.card.entry import (
    Entry,
    Gap,
    Measured,
    Sample,
    Source,
    Statement,
    entry,
)
from ml.checkpoints.card.subject import (
    UNMEASURED,
    Subject,
    added,
    of_software,
    recorded,
    typed,
)
from ml.checkpoints.card.trusted import NO_CLASS, second_opinion
from ml.checkpoints.metrics import ClassifierMetrics, GeneratorMetrics, HeldOutScore
from ml.statistics.figure import Figure
from ml.trust.lesions import LesionsRecord

_TEST = "Held-out patients (this network)"
_FOLDS = "Out of fold (the same training repeated, every lesion tested once)"
_DRAWN = "256 ROIs drawn by it"
"""How many ``ml.training.gan`` draws and measures."""


def discrimination(of: Subject) -> Entry:
    """Field 20; of a generator, how varied and how like training ROIs its own are."""
    measured = of.checkpoint.metrics
    if isinstance(measured, GeneratorMetrics):
        return _likeness(measured)
    scored = [
        _score(of, score, name)
        for score, name in ((measured.test, _TEST), (measured.cross_validation, _FOLDS))
        if score is not None
    ]
    none = None if scored else Gap(f"{UNMEASURED}: nothing was held out")
    return entry(*scored, several.held_out(of) or none, *several.agreement(of), second_opinion(of))


def _score(of: Subject, score: HeldOutScore, name: str) -> Statement:
    scheme = of.checkpoint.scheme
    each = [
        Measured(measure, found[key], scheme.display(key))
        for key in score.classes
        for measure, found in (
            ("sensitivity", score.sensitivity),
            ("specificity", score.specificity),
            ("AUC", score.auc),
        )
        if key in found
    ]
    return Statement(
        f"{name}: {score.n_lesions} lesions of {score.n_patients} patients; {score.interval}.",
        Source.MEASURED,
        figures=(
            Measured("balanced accuracy", score.balanced_accuracy),
            Measured("accuracy", score.accuracy),
            *each,
        ),
        sample=Sample(name, score.n_lesions, score.n_patients, score.interval),
    )


def _likeness(measured: GeneratorMetrics) -> Entry:
    found: list[Statement | Gap] = []
    if measured.spread_as_share_of_real is not None:
        figures = [
            Measured(
                "mean distance between two samples, as a share of that of training ROIs",
                Figure(measured.spread_as_share_of_real, None, None),
                share=False,
            )
        ]
        for what, value in (
            ("of a sample with the one most like it", measured.nearest_other_sample),
            ("of a training ROI with the one most like it", measured.nearest_other_real),
        ):
            if value is not None:
                figures.append(
                    Measured(f"mean correlation {what}", Figure(value, None, None), share=False)
                )
        found.append(Statement(f"{_DRAWN}.", Source.MEASURED, "variety", tuple(figures)))
    if measured.synthetic_to_nearest_training is not None:
        of_drawn = Figure(measured.synthetic_to_nearest_training, None, None)
        likeness = [Measured("of synthetic ROIs", of_drawn, share=False)]
        held = measured.held_out_to_nearest_training
        on = ""
        if held is not None:
            likeness.append(Measured("of held-out lesions", held, share=False))
            on = (
                f" Held out are {measured.n_held_out_lesions} lesions of "
                f"{measured.n_held_out_patients} patients (95 % bootstrap over patients). A "
                "generator that copies stands nearer than they do; so does one that draws with "
                "less noise."
            )
        found.append(
            Statement(
                f"Mean correlation with the nearest training ROI.{on}",
                Source.MEASURED,
                "likeness to training ROIs",
                tuple(likeness),
            )
        )
    if nearness := _nearness(measured):
        found.append(nearness)
    return entry(*(found or [Gap(f"{UNMEASURED}: nothing was drawn and compared")]))


def _nearness(measured: GeneratorMetrics) -> Statement | None:
    """How far its ROIs are from held-out lesions, beside what real ones are; None if unmeasured."""
    figures = [
        Measured(f"{what}, of {whose}", figure, share=False)
        for what, ours, theirs in (
            (
                "Fréchet radiomic distance to held-out lesions",
                measured.radiomic_distance,
                measured.radiomic_distance_real,
            ),
            (
                "share of held-out lesions that have one as near as their neighbours (coverage)",
                measured.coverage,
                measured.coverage_real,
            ),
            (
                "told apart from held-out lesions (area, 0.5: not at all)",
                measured.told_apart,
                measured.told_apart_real,
            ),
        )
        for whose, figure in (("synthetic ROIs", ours), ("training lesions", theirs))
        if figure is not None
    ]
    if not figures:
        return None
    return Statement(
        f"In named measurements of the ROIs; held out are {measured.n_held_out_lesions} lesions of "
        f"{measured.n_held_out_patients} patients (95 % bootstrap over patients and synthetic "
        "ROIs). Told apart by a logistic regression, on ROIs of patients that it did not learn "
        "from. Synthetic ROIs that are as real are as far off as training lesions are.",
        Source.MEASURED,
        "distance from real lesions",
        tuple(figures),
    )


def decision_use(of: Subject) -> Entry:
    """Field 24."""
    return entry(Gap(f"{UNMEASURED}: no threshold, abstention or net benefit was looked at"))


def subgroups(of: Subject) -> Entry:
    """Field 25."""
    return entry(
        Gap(f"{UNMEASURED}: its figures are of all held-out lesions together, and of each class")
    )


def external_test(of: Subject) -> Entry:
    """Field 26."""
    return entry(
        typed(
            of.words.external_test,
            "",
            f"{UNMEASURED}: the held-out lesions are of the same data set, and the owner has "
            "typed no other test",
        )
    )


def failures(of: Subject) -> Entry:
    """Field 27."""
    if not of.classifies:
        return entry(Gap(NO_CLASS))
    measured = of.checkpoint.metrics
    scores = (
        ((measured.test, _TEST), (measured.cross_validation, _FOLDS))
        if isinstance(measured, ClassifierMetrics)
        else ()
    )
    found = [
        _wrong(of, score, score.confusion, name)
        for score, name in scores
        if score is not None and score.confusion is not None
    ]
    kept = of.checkpoint.lesions
    if not found and kept is None:
        return entry(Gap(f"{UNMEASURED}: which lesions were wrong was not written down"))
    if kept is None:
        return entry(
            *found,
            Gap(
                "they stay in the folder of the run; the checkpoint keeps counts", "images of them"
            ),
        )
    pictures = (
        Gap(kept.no_pictures, "images of them")
        if kept.no_pictures
        else recorded(
            "They are in lesions.safetensors beside the network; the application shows those of "
            "the lesions that were named wrongly.",
            "images of them",
        )
    )
    return entry(*found, _surest(of, kept) if kept.surest else None, pictures)


def _surest(of: Subject, kept: LesionsRecord) -> Statement:
    """The mistakes that were made with the highest numbers, lesion by lesion."""
    scheme = of.checkpoint.scheme
    word = "probability" if kept.calibrated else "score"
    figures = []
    for one in kept.surest:
        row = (
            f"{one.id} of {one.patient}: {scheme.display(one.truth)} named "
            f"{scheme.display(one.said)}"
        )
        for what, value in (("of the class named", one.p_said), ("of the true one", one.p_truth)):
            figure = Figure(value, None, None)
            figures.append(Measured(f"{word} {what}", figure, row, share=kept.calibrated))
    return Statement(
        f"The {len(kept.surest)} of {kept.n_wrong} mistakes that were made with the highest "
        f"{word}. {_FOLDS}: {kept.n_lesions} lesions of {kept.n_patients} patients.",
        Source.MEASURED,
        "surest mistakes",
        tuple(figures),
        Sample(_FOLDS, kept.n_lesions, kept.n_patients, "none: single lesions"),
        rows_are="lesion",
    )


def _wrong(
    of: Subject, score: HeldOutScore, confusion: tuple[tuple[int, ...], ...], name: str
) -> Statement:
    said = [of.checkpoint.scheme.display(key) for key in score.classes]
    mistakes = sorted(
        (
            (n, said[i], said[k])
            for i, row in enumerate(confusion)
            for k, n in enumerate(row)
            if i != k and n
        ),
        key=lambda one: -one[0],
    )
    total = sum(map(sum, confusion))
    wrong = sum(n for n, _, _ in mistakes)
    told = "; ".join(f"{n} × {truth} named {named}" for n, truth, named in mistakes)
    return Statement(
        f"{wrong} of {total} lesions were named wrongly{': ' if told else ''}{told}.",
        Source.MEASURED,
        name,
    )


def readers(of: Subject) -> Entry:
    """Field 29."""
    return entry(
        typed(
            of.words.reader_comparison,
            "",
            f"{UNMEASURED}: no reading of the same cases is known to the checkpoint",
        )
    )


def human_factors(of: Subject) -> Entry:
    """Field 30."""
    if not of.classifies:
        return entry(typed(of.words.human_factors))
    return entry(
        of_software(
            "In the application a score is covered until the person has given their own class, "
            "unless an administrator has switched that off; each review records whether the score "
            "was visible.",
            "class first",
        ),
        typed(
            of.words.human_factors,
            "override rate, time",
            f"{UNMEASURED}; each installation keeps its own reviews",
        ),
    )


def monitoring(of: Subject) -> Entry:
    """Field 31."""
    return entry(added(of.words.monitoring) or typed("", "", f"{UNMEASURED}, and none was typed"))
