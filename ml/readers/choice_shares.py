"""Shares of pairs named right: of readers at large, and whose answers carry a verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ml.readers.hypothesis import Whose
from ml.readers.pairs import PairReading, PairsShown, Side
from ml.readers.reading import Protocol
from ml.readers.results import Refused
from ml.statistics import mrmc
from ml.statistics.mrmc import FigureOfMerit, TreatmentMean
from ml.statistics.proportion import ReadersError
from ml.statistics.ratings import Rating, Ratings

NO_SPREAD = "the readers' shares do not vary, so how far other readers are from them is not known"
NOBODY = "no reader read two pairs of two patients"
FEWEST = 10
"""A verdict needs at least so many pairs of a reader."""


def unused(mine: Sequence[PairReading], rules: Protocol) -> str | None:
    """Why a reader's answers carry no verdict; None where they do.

    Half of the synthetic images stand on either side: who always names one side is right in half of
    the pairs without having looked. So the rule for the use of the scale holds for the sides.
    """
    n, least = len(mine), rules.scale_rule.least_off
    if n < FEWEST:
        return f"{n} pairs were read, and a verdict needs {FEWEST}"
    left = sum(r.answer is Side.LEFT for r in mine)
    if min(left, n - left) < least * n:
        side = Side.LEFT if left > n - left else Side.RIGHT
        return (
            f"the {side} one was named in {max(left, n - left)} of {n} pairs, and a verdict needs "
            f"at least {100 * least:g} % on the other side"
        )
    return None


def reach(mine: Sequence[PairReading]) -> float:
    """How far from 0.5 the share could have come with as many answers of either side, 0–0.5.

    Who names the left one in 36 of 40 pairs is right in 16 to 24 of them, whatever they see.
    """
    n = len(mine)
    left = sum(r.answer is Side.LEFT for r in mine)
    asked = sum(r.asked is Side.LEFT for r in mine)
    most = min(left, asked) + min(n - left, n - asked)
    fewest = max(0, left - (n - asked)) + max(0, n - left - asked)
    return max(most / n - 0.5, 0.5 - fewest / n)


def vacuous(mine: Sequence[PairReading], rules: Protocol) -> str | None:
    """Why one reader's interval within the margin shows nothing; None where it shows something."""
    bound = reach(mine)
    return _cannot_leave("the share", bound, "it", rules) if bound <= rules.margin else None


def vacuous_mean(shown: PairsShown, rules: Protocol) -> str | None:
    """Why an interval of the mean within the margin shows nothing; None where it shows something.

    As for ratings, one of the readers whom the mean is of is enough.
    """
    kept, _ = usable(shown)
    bounds = {
        name: reach([r for r in kept if r.reader == name]) for name in {r.reader for r in kept}
    }
    bound = min(bounds.values(), default=0.0)
    if bound > rules.margin:
        return None
    names = ", ".join(name for name in shown.readers if bounds.get(name) == bound)
    return _cannot_leave(f"the share of {names}", bound, "the mean", rules)


def _cannot_leave(whose: str, bound: float, what: str, rules: Protocol) -> str:
    return (
        f"with the sides as they were named {whose} could not have come further than "
        f"{bound:.2f} from 0.5, so that {what} lies within ±{rules.margin:.2f} shows nothing"
    )


TOO_FEW = "fewer than two pairs, or pairs of one patient alone"
"""What those read who count in nothing that is said of several."""


def usable(shown: PairsShown) -> tuple[list[PairReading], tuple[str, ...]]:
    """Readings of readers with two pairs or more, of two patients, and who is left out."""
    out = tuple(name for name in shown.readers if len({one.cluster for one in shown.of(name)}) < 2)
    return [r for r in shown.first if r.reader not in out], out


def mean(
    shown: PairsShown, rules: Protocol, whose: Whose
) -> tuple[TreatmentMean, TreatmentMean] | Refused:
    """The mean share with its 95 % and its 90 % interval.

    Of readers like these the latter is no narrower than that of these very readers: with few
    readers it is narrow by luck where their shares happen to be alike, and of other readers nothing
    is claimed that is not shown of these.
    """
    wide = analysed(shown, rules, whose)
    if isinstance(wide, Refused):
        return wide
    narrow = analysed(shown, rules, whose, confidence=0.90)
    assert not isinstance(narrow, Refused)  # the same readings, another quantile
    if whose is Whose.THESE:
        return wide.mean, narrow.mean
    own = analysed(shown, rules, Whose.THESE, confidence=0.90)
    if isinstance(own, Refused):
        return own
    return wide.mean, narrow.mean.no_narrower_than(own.mean)


def analysed(
    shown: PairsShown, rules: Protocol, whose: Whose, confidence: float = 0.95
) -> mrmc.Analysis | Refused:
    """The mean share of readers like these, or of these readers."""
    kept, _ = usable(shown)
    if not kept:
        return Refused(NOBODY)
    block = _block(kept)
    if whose is Whose.THESE:
        return _tried(lambda: mrmc.fixed_readers(block, FigureOfMerit.MEAN, confidence=confidence))
    few = _too_few(len(block.readers), rules)
    return few or _tried(
        lambda: mrmc.random_readers(block, FigureOfMerit.MEAN, confidence=confidence)
    )


def between(
    shown: PairsShown, rules: Protocol, whose: Whose = Whose.LIKE_THESE
) -> mrmc.Analysis | Refused | None:
    """Generators compared, each by pairs of its own; None for one.

    Readers with too few pairs of one of them are left out, and named among the warnings.
    """
    if len({r.generator for r in shown.first}) < 2:
        return None
    block = _block(shown.first, by_generator=True)
    out = block.sparse()
    if len(out) == len(block.readers):
        return Refused(f"{NOBODY} of each generator")
    found = _compared(block.without(out), rules, whose)
    if isinstance(found, Refused) or not out:
        return found
    return replace(found, warnings=(*found.warnings, f"Without {without_of_generators(out)}."))


def without_of_generators(out: Sequence[str]) -> str:
    """Who is left out of what is said of generators, and why."""
    return f"{', '.join(out)}, who read {TOO_FEW}, of a generator"


def left_out_of_generators(shown: PairsShown) -> tuple[str, ...]:
    """Whom `between` leaves out."""
    return _block(shown.first, by_generator=True).sparse()


def _compared(block: Ratings, rules: Protocol, whose: Whose) -> mrmc.Analysis | Refused:
    jackknife = mrmc.CovarianceMethod.JACKKNIFE
    if whose is Whose.THESE:
        return _tried(lambda: mrmc.fixed_readers(block, FigureOfMerit.MEAN, jackknife))
    few = _too_few(len(block.readers), rules)
    return few or _tried(lambda: mrmc.random_readers(block, FigureOfMerit.MEAN, jackknife))


def _block(readings: Sequence[PairReading], *, by_generator: bool = False) -> Ratings:
    """Shares right as scores of 0 and 1; a treatment per generator, or one."""
    rows = [
        Rating(r.reader, r.generator if by_generator else "pairs", r.case, 1, float(r.named_first))
        for r in sorted(readings, key=lambda r: (r.generator, r.case))
    ]
    return Ratings.of(rows, {r.case: r.cluster for r in readings})


def _tried(analyse: Callable[[], mrmc.Analysis]) -> mrmc.Analysis | Refused:
    try:
        return analyse()
    except ReadersError as error:
        return Refused(str(error))


def _too_few(readers: int, rules: Protocol) -> Refused | None:
    if readers >= rules.least_readers:
        return None
    return Refused(
        f"{readers} {'reader' if readers == 1 else 'readers'} cannot speak for other readers (at "
        f"least {rules.least_readers} are needed); the figures hold for these readers only"
    )
