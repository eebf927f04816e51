"""The result of graded realism in plain words: sentences, warnings, the methods paragraph."""

from __future__ import annotations

from collections.abc import Sequence

from ml.readers.grade_results import (
    GradeCounts,
    GradeResult,
    GradesOfReader,
    GradingReader,
    QuestionResult,
)
from ml.readers.hypothesis import Missing, Multiplicity
from ml.readers.reading import Protocol
from ml.readers.results import Refused
from ml.statistics import roc

_NUMBERS = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten")
_ALIKE = 0.95
"""From this share of images with one grade for all questions on, the questions are not apart."""


def _count(n: int, noun: str) -> str:
    return f"{_NUMBERS[n] if n <= 10 else n} {noun}{'' if n == 1 else 's'}"


def warnings(
    counts: GradeCounts,
    questions: Sequence[QuestionResult],
    readers: Sequence[GradingReader],
    rules: Protocol,
) -> tuple[str, ...]:
    """What limits the result, a sentence each."""
    if not counts.readings:
        return ("There is no answer that counts, so nothing can be said.",)
    said = []
    if counts.readers < 3:
        said.append(
            f"{_count(counts.readers, 'reader')}: results hold for these readers; they do not "
            "generalise to others."
        )
    if not counts.real or not counts.synthetic:
        kind = "synthetic" if counts.synthetic else "real"
        said.append(
            f"Every image is {kind}: whether one kind gets higher grades than the other cannot be "
            "said."
        )
    for one in readers:
        if one.all_alike is not None and one.all_alike >= _ALIKE and one.n >= roc.FEWEST:
            said.append(
                f"Reader {one.reader} gave {100 * one.all_alike:.0f} % of the images one grade in "
                f"all {len(questions)} questions: their answers to one say nothing beside those to "
                "another."
            )
    if counts.clustered:
        said.append(
            "Several real images come from one patient: areas have patient-clustered intervals."
        )
    if counts.unanswered_left_out:
        said.append(f"{_unanswered(counts.unanswered_left_out, rules)}.")
    if not rules.scale_rule_in_protocol:
        said.append(
            "The protocol did not fix from where on a reader used the scale. The rule applied is "
            f"that of this program: {rules.scale_rule.text}. It was not part of the protocol."
        )
    return tuple(said)


def sentences(result: GradeResult) -> list[str]:
    """What was found: how many graded what, then each question."""
    counts = result.grades
    if not counts.readings:
        return ["No image has been graded yet, so nothing can be said."]
    said = [
        f"{_count(counts.readers, 'reader')} graded {counts.images} "
        f"image{'' if counts.images == 1 else 's'} ({counts.real} real, {counts.synthetic} "
        "synthetic); an AUC is the chance that a real one gets the higher grade."
    ]
    for question in result.questions:
        said.append(_medians(question))
        said += [_sentence(one, result.margin) for one in question.readers]
        said.append(_across(question, result.margin))
    return [one for one in said if one]


def _medians(question: QuestionResult) -> str:
    told = ", ".join(f"{one.source} {one.median:g}" for one in question.distributions)
    return f"{question.text} Median grades: {told}."


def _sentence(one: GradesOfReader, margin: float) -> str:
    name, verdict, auc = one.reader, one.verdict, one.auc
    if auc.value is None or verdict.different_from_chance is None:
        return f"Reader {name}: no verdict, {(verdict.reason or 'no area').rstrip('.')}."
    text = f"Reader {name}: AUC {auc.value:.2f} ({auc.low:.2f} to {auc.high:.2f}), "
    adjusted = verdict.adjusted
    if adjusted and adjusted.of_difference:
        text += f"a difference is not shown ({adjusted.of_difference})"
    elif not verdict.different_from_chance:
        text += "real and synthetic not graded differently"
    elif auc.value > 0.5:
        text += "real ones graded higher"
    else:
        text += "synthetic ones graded higher"
    if verdict.equivalent_to_chance:
        return f"{text}; equivalent within ±{margin:.2f}."
    why = f": {verdict.reason.rstrip('.')}" if verdict.reason else ""
    if adjusted and adjusted.of_equivalence:
        why = f" ({adjusted.of_equivalence})"
    return f"{text}; equivalence within ±{margin:.2f} not shown{why}."


def _across(question: QuestionResult, margin: float) -> str:
    across = question.across
    if isinstance(across.random, Refused):
        return ""
    mean = across.random.mean
    text = (
        f"Readers like these on images like these: mean AUC {mean.value:.2f} ({mean.low:.2f} to "
        f"{mean.high:.2f})"
    )
    if across.verdict is None:
        return f"{text}; no verdict, {(across.no_verdict or '').rstrip('.')}."
    verdict, adjusted = across.verdict, across.verdict.adjusted
    differs = "different from 0.5" if verdict.different_from_chance else "not different from 0.5"
    if adjusted and adjusted.of_difference:
        differs = f"not shown to differ from 0.5 ({adjusted.of_difference})"
    shown = "shown" if verdict.equivalent_to_chance else "not shown"
    if adjusted and adjusted.of_equivalence:
        shown = f"not shown ({adjusted.of_equivalence})"
    return f"{text}, {differs}; equivalence within ±{margin:.2f} {shown}."


def methods(result: GradeResult, rules: Protocol) -> str:
    """A methods paragraph with the numbers of this study, ready to paste.

    It says what the readings and the rules tell; how the study was conducted they do not.
    """
    c = result.grades
    if not c.readings:
        return ""
    told = "; ".join(f"{one.reader} {one.n}" for one in result.readers)
    sources = ", ".join(f"{k}: {v}" for k, v in sorted(c.generators.items()))
    named = f" Primary hypothesis: {result.primary.hypothesis}" if result.primary else ""
    return (
        f"{_count(c.readers, 'reader')} graded images ({told}) by {asked(result)}. In all there "
        f"were {c.images} ({c.real} real, {c.synthetic} synthetic"
        f"{f', from {sources}' if len(c.generators) > 1 else ''}).{named} {analysed(result, rules)}"
    )


def asked(result: GradeResult) -> str:
    """The questions with their outer anchors, to follow "by"."""
    each = "; ".join(
        f"“{one.text}” (1 {one.anchors[0]}, {len(one.anchors)} {one.anchors[-1]})"
        for one in result.questions
    )
    return f"{_count(len(result.questions), 'question').lower()} of five points: {each}"


def analysed(result: GradeResult, rules: Protocol) -> str:
    """How the grades were analysed, in sentences; "" where there are none."""
    c = result.grades
    if not c.readings:
        return ""
    used = sorted(
        {e.auc.method for q in result.questions for e in q.readers if e.auc.low is not None}
    )
    by = f", with its 95 % interval ({'; '.join(used)})" if used else ""
    text = [
        "For each question the measure is the area under the empirical ROC curve (AUC) of the "
        "grades: the chance that a real image gets a higher grade than a synthetic one, ties "
        f"counting half{by}. Grades "
        "were equivalent when the 90 % interval lay within 0.5 ± "
        f"{rules.margin:.2f} (two one-sided tests at 5 %).",
        _decided(result),
        *_withheld(result, rules),
    ]
    first = result.questions[0].across
    if isinstance(first.random, Refused):
        text.append(f"Nothing is inferred for other readers: {first.random.refused}.")
    else:
        text.append(
            "Across readers, the Obuchowski–Rockette analysis with Hillis' degrees of freedom "
            f"treats readers and images as random ({first.random.covariance} covariances, "
            f"{c.readers - len(first.left_out)} readers)."
        )
    if len(c.generators) > 1:
        text.append(
            "Generators were compared on the shared real images with covariances from a "
            "delete-one-image jackknife."
        )
    if c.clustered:
        text.append(
            f"Real images came from {c.patients} patients; intervals of areas resample patients "
            f"({rules.resamples} bootstrap samples, seed {rules.seed}), and covariances across "
            "readers leave out one patient at a time."
        )
    if c.readers > 1:
        text.append(
            "Agreement of readers is Cohen's κ with quadratic weights and Krippendorff's ordinal α "
            f"(bootstrap over {'patients' if c.clustered else 'images'}, {rules.resamples} "
            "samples)."
        )
    if c.repeats:
        text.append(f"{c.repeats} repeats served agreement of readers with themselves only.")
    if result.secondary:
        text.append(
            f"There are {len(result.secondary)} secondary hypotheses over all questions; their p "
            "values are taken from the intervals"
            + (
                " and adjusted together after Holm, and no verdict on one of them was given unless "
                "the adjusted p was below 0.05."
                if rules.multiplicity is Multiplicity.HOLM
                else ", are not adjusted, and are exploratory."
            )
        )
    if c.unanswered_left_out:
        text.append(f"{_unanswered(c.unanswered_left_out, rules)}.")
    return " ".join(text)


def _decided(result: GradeResult) -> str:
    if result.primary is None:
        return "No primary hypothesis was named."
    planned = result.primary.planned
    outcome = {True: "It held", False: "It was not shown", None: "There was no verdict"}
    why = f" ({planned.note.rstrip('.')})" if planned.note else ""
    return (
        "The primary hypothesis is of the first question and was tested "
        f"{planned.analysis}. {outcome[planned.holds]}{why}. All else is secondary."
    )


def _withheld(result: GradeResult, rules: Protocol) -> list[str]:
    """The rule by which there is no verdict, and where there was none."""
    fixed = "" if rules.scale_rule_in_protocol else ", a rule that was not part of the protocol"
    said = [
        f"For each question a verdict needed {rules.scale_rule.text}{fixed}, and {roc.FEWEST} "
        "images of either kind. One reader who did not use the scale so took it from all "
        "together; readers of fewer images were left out of what is said of several."
    ]
    for place, question in enumerate(result.questions, 1):
        without = [one.reader for one in question.readers
                   if one.verdict.different_from_chance is None]  # fmt: skip
        if without:
            said.append(f"Question {place}: no verdict for {', '.join(without)}.")
    return said


def _unanswered(count: int, rules: Protocol) -> str:
    trials = "1 trial without an answer was" if count == 1 else (
        f"{count} trials without an answer were")  # fmt: skip
    if rules.hypothesis is None or rules.missing in (None, Missing.ALL):
        return f"{trials} left out"
    return (
        f"{trials} left out, but in the test of the primary hypothesis, which has a plan for them"
    )
