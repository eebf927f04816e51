"""Of an ensemble: which networks answer together, how far they agree, and what that is worth."""

from __future__ import annotations

from collections.abc import Iterator

from ml.checkpoints.card.entry import Gap, Measured, Sample, Source, Statement, capital
from ml.checkpoints.card.subject import UNMEASURED, Subject, of_software, recorded
from ml.trust.evidence import Missing
from ml.trust.novelty import INTERVAL
from ml.trust.together import Gain, Together

_OUT_OF_FOLD = "Out of fold, each asked of networks trained without it"
_TOGETHER = "networks together"


def networks(of: Subject) -> Statement | None:
    """Of field 10: which they are; None for a single network."""
    several = of.checkpoint.ensemble
    if several is None:
        return None
    featured = (
        f"the {several.of_fold} that have not seen the test fold"
        if several.of_fold > 1
        else "the one that has not seen the test fold"
    )
    whose = featured if several.saw_all else "all of them"
    return recorded(
        f"{capital(several.words)}. Their logits are averaged. The features by which likeness to "
        f"the training ROIs is told are of {whose}.",
        "ensemble",
    )


def held_out(of: Subject) -> Gap | None:
    """Of field 20: why an ensemble that saw every lesion has no figure of its own."""
    several = of.checkpoint.ensemble
    if several is None or not several.saw_all:
        return None
    return Gap(
        "every lesion was seen by some of its networks, so none was held out from the whole, and "
        "lesions of other patients alone tell how often it is right",
        "the ensemble on held-out patients",
    )


def fitted_smaller(of: Subject) -> Statement | None:
    """Of fields 21 and 22: that an ensemble that saw every lesion was calibrated in parts."""
    several = of.checkpoint.ensemble
    if several is None or not several.saw_all:
        return None
    part = "single networks" if several.of_fold == 1 else f"the {several.of_fold} of each fold"
    return of_software(
        f"Temperature and sets were fitted on what {part} said of the lesions that they had not "
        f"seen, and are used of the mean of all {several.networks}. A mean of more networks is "
        "right more often than its parts and no surer, so by the same temperature its numbers are "
        "more cautious than theirs. How true they are, and how often its sets hold the true class, "
        "the lesions of the data set cannot tell.",
        "whose calibration it is",
    )


def agreement(of: Subject) -> Iterator[Statement | Gap]:
    """Of field 20: how often the networks agree, and how often they are right then."""
    for found in _found(of):
        if isinstance(found, Gap):
            yield found
            continue
        told = found.agreeing
        if isinstance(told, Missing):
            yield Gap(f"{UNMEASURED}: {told.missing}", "agreement of the networks")
            continue
        yield Statement(
            f"{told.networks} networks were asked of each lesion, none of which had seen it; right "
            "is what their mean names.",
            Source.MEASURED,
            f"agreement of the networks{_where(found)}",
            (
                Measured("all name one class", told.unanimous),
                Measured("right where they do", told.right_unanimous),
                Measured("right where they do not", told.right_divided),
            ),
            Sample(_sample(found), told.n_lesions, told.n_patients, INTERVAL),
        )


def gain(of: Subject) -> Iterator[Statement | Gap]:
    """Of field 21: the mean beside the single networks."""
    for found in _found(of):
        if isinstance(found, Gap):
            yield found
            continue
        for name, told in (("as they are", found.before), ("by temperature", found.after)):
            about = f"{_TOGETHER}, {name}{_where(found)}"
            if isinstance(told, Missing):
                yield Gap(f"{UNMEASURED}: {told.missing}", about)
            else:
                yield _gained(told, found, about)


def _found(of: Subject) -> Iterator[Together | Gap]:
    """What was measured out of fold, or why it was not; and on other lesions, if it was."""
    several, trust = of.checkpoint.ensemble, of.checkpoint.trust
    if several is None:
        return
    found = None if trust is None else trust.together
    if isinstance(found, Together):
        yield found
    else:
        why = found.missing if found is not None else "its training tested no lesion of other folds"
        yield Gap(f"{UNMEASURED}: {why}", _TOGETHER)
    if trust is not None and trust.together_elsewhere is not None:
        yield trust.together_elsewhere


def _where(found: Together) -> str:
    return ", on other lesions" if found.tried_on else ""


def _sample(found: Together) -> str:
    return capital(found.tried_on) if found.tried_on else _OUT_OF_FOLD


def _gained(told: Gain, found: Together, about: str) -> Statement:
    measures = (
        ("balanced accuracy", told.balanced_accuracy),
        ("log loss", told.log_loss),
        ("Brier score", told.brier),
        ("slope", told.slope),
        ("calibration error", told.error),
    )
    return Statement(
        f"{found.networks} networks, each asked of {told.n_lesions} lesions that it had not seen"
        f"{': ' if found.tried_on else ''}{found.tried_on}. A difference is the mean's figure less "
        "that of a single network, patients drawn together; of the slopes it is that of their "
        "distances from 1. Below 0 it speaks for the mean, of balanced accuracy above.",
        Source.MEASURED,
        about,
        tuple(
            Measured(measure, figure, row, share=measure == "balanced accuracy")
            for measure, one in measures
            for row, figure in (
                ("mean of the networks", one.ensemble),
                ("a single network, on average", one.members),
                ("difference", one.difference),
            )
        ),
        Sample(_sample(found), told.n_lesions, told.n_patients, told.interval),
        rows_are="numbers",
    )
