"""Sentences and phrases that the results of every design say in the same words."""

from __future__ import annotations

from ml.readers.hypothesis import Missing, Multiplicity
from ml.readers.reading import Protocol
from ml.readers.results import Counts, Refused, Tested
from ml.statistics.mrmc import Analysis

_NUMBERS = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten")
NOTHING = "There is no answer that counts, so nothing can be said."
"""Where nobody answered, or nothing of it counts."""


def count(n: int, noun: str) -> str:
    """``Three readers``, ``One image``, ``12 pairs``; to begin a sentence."""
    return f"{_NUMBERS[n] if n <= 10 else n} {noun}{'' if n == 1 else 's'}"


def percent(share: float) -> str:
    """A share, 0–1, in percent."""
    return f"{100 * share:.1f} %".replace(".0 %", " %")


def few(readers: int) -> list[str]:
    """That results of one or two readers are theirs alone; nothing of more."""
    if readers >= 3:
        return []
    return [
        f"{count(readers, 'reader')}: results hold for these readers; they do not generalise to "
        "others."
    ]


def other_rule(rules: Protocol) -> list[str]:
    """That the protocol did not fix when a scale was used; nothing where it did."""
    if rules.scale_rule_in_protocol:
        return []
    return [
        "The protocol did not fix from where on a reader used the scale. The rule applied is "
        f"that of this program: {rules.scale_rule.text}. It was not part of the protocol."
    ]


def unanswered(trials: int, rules: Protocol) -> str:
    """What became of trials without an answer, without a full stop."""
    said = "1 trial without an answer was" if trials == 1 else (
        f"{trials} trials without an answer were")  # fmt: skip
    if rules.hypothesis is None or rules.missing in (None, Missing.ALL):
        return f"{said} left out"
    return f"{said} left out, but in the test of the primary hypothesis, which has a plan for them"


def late(answers: int) -> list[str]:
    """That answers to a second showing count as first ones; nothing where there are none."""
    if not answers:
        return []
    said, they = ("1 answer was", "it counts as a first answer") if answers == 1 else (
        f"{answers} answers were", "they count as first answers")  # fmt: skip
    return [
        f"{said} given at a second showing whose first has no answer that counts; {they} wherever "
        "no plan for missing answers says otherwise."
    ]


def outcome(planned: Tested) -> str:
    """Whether a primary hypothesis held, and why nothing is said, without a full stop."""
    held = {True: "It held", False: "It was not shown", None: "There was no verdict"}
    why = f" ({planned.note.rstrip('.')})" if planned.note else ""
    return f"{held[planned.holds]}{why}"


def secondary(many: int, rules: Protocol, of: str = "") -> str:
    """How many secondary hypotheses there are, and what is done about it.

    Args:
        of: what they are of, after the noun.
    """
    said = (
        f"There is 1 secondary hypothesis{of}; its p value is taken from the interval"
        if many == 1
        else f"There are {many} secondary hypotheses{of}; their p values are taken from the "
        "intervals"
    )
    if rules.multiplicity is Multiplicity.HOLM:
        return (
            f"{said} and adjusted together after Holm, and no verdict on one of them was given "
            "unless the adjusted p was below 0.05."
        )
    verb = "is" if many == 1 else "are"
    return f"{said}, {verb} not adjusted, and {verb} exploratory."


def of_patients(counts: Counts, rules: Protocol) -> list[str]:
    """How several images of one patient are taken into account; nothing where there are none."""
    if not counts.clustered:
        return []
    return [
        f"Real images came from {counts.patients} patients; intervals of areas resample patients "
        f"({rules.resamples} bootstrap samples, seed {rules.seed}), and covariances across "
        "readers leave out one patient at a time."
    ]


def at_large(random: Analysis | Refused, how: str) -> str:
    """How readers at large were inferred, or why they were not.

    Args:
        how: the analysis in words, to follow "Across readers, the Obuchowski–Rockette analysis".
    """
    if isinstance(random, Refused):
        return f"Nothing is inferred for other readers: {random.refused}."
    return f"Across readers, the Obuchowski–Rockette analysis {how}."


def shares_at_large(random: Analysis | Refused, more: str = "") -> str:
    """The same of shares of pairs.

    Args:
        more: what follows in the brackets.
    """
    covariance = "" if isinstance(random, Refused) else random.covariance
    return at_large(
        random,
        "of shares treats readers and pairs as random; means have score intervals with "
        f"Satterthwaite's degrees of freedom of readers and pairs ({covariance} covariances{more})",
    )
