"""The result of graded realism in plain words: sentences, warnings, the methods paragraph."""

from __future__ import annotations

from collections.abc import Sequence

from ml.readers import phrases
from ml.readers.grade_results import (
    GradeResult,
    GradesOfReader,
    GradingReader,
    QuestionResult,
)
from ml.readers.phrases import count
from ml.readers.reading import Protocol
from ml.readers.results import Counts, Refused
from ml.statistics import roc

_ALIKE = 0.95
"""From this share of images with one grade for all questions on, the questions are not apart."""


def warnings(
    counts: Counts,
    questions: Sequence[QuestionResult],
    readers: Sequence[GradingReader],
    rules: Protocol,
) -> tuple[str, ...]:
    """What limits the result, a sentence each."""
    if not counts.readings:
        return (phrases.NOTHING,)
    said = phrases.few(counts.readers)
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
        said.append(f"{phrases.unanswered(counts.unanswered_left_out, rules)}.")
    return (*said, *phrases.late(counts.late), *phrases.other_rule(rules))


def sentences(result: GradeResult) -> list[str]:
    """What was found: how many graded what, then each question."""
    counts = result.grades
    if not counts.readings:
        return ["No image has been graded yet, so nothing can be said."]
    said = [
        f"{count(counts.readers, 'reader')} graded {counts.images} "
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
        text += "real and synthetic not shown to be graded differently"
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
    differs = (
        "different from 0.5" if verdict.different_from_chance else "not shown to differ from 0.5"
    )
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
        f"{count(c.readers, 'reader')} graded images ({told}) by {asked(result)}. In all there "
        f"were {c.images} ({c.real} real, {c.synthetic} synthetic"
        f"{f', from {sources}' if len(c.generators) > 1 else ''}).{named} {analysed(result, rules)}"
    )


def asked(result: GradeResult) -> str:
    """The questions with their outer anchors, to follow "by"."""
    each = "; ".join(
        f"“{one.text}” (1 {one.anchors[0]}, {len(one.anchors)} {one.anchors[-1]})"
        for one in result.questions
    )
    return f"{count(len(result.questions), 'question').lower()} of five points: {each}"


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
    covariance = "" if isinstance(first.random, Refused) else first.random.covariance
    text.append(
        phrases.at_large(
            first.random,
            "with Hillis' degrees of freedom treats readers and images as random "
            f"({covariance} covariances, {c.readers - len(first.left_out)} readers)",
        )
    )
    if len(c.generators) > 1:
        text.append(
            "Generators were compared on the shared real images with covariances from a "
            "delete-one-image jackknife."
        )
    text += phrases.of_patients(c, rules)
    if c.readers > 1:
        text.append(
            "Agreement of readers is Cohen's κ with quadratic weights and Krippendorff's ordinal α "
            f"(bootstrap over {'patients' if c.clustered else 'images'}, {rules.resamples} "
            "samples)."
        )
    if c.repeats:
        text.append(f"{c.repeats} repeats served agreement of readers with themselves only.")
    if result.secondary:
        text.append(phrases.secondary(len(result.secondary), rules, " over all questions"))
    if c.unanswered_left_out:
        text.append(f"{phrases.unanswered(c.unanswered_left_out, rules)}.")
    return " ".join([*text, *phrases.late(c.late)])


def _decided(result: GradeResult) -> str:
    if result.primary is None:
        return "No primary hypothesis was named."
    planned = result.primary.planned
    return (
        "The primary hypothesis is of the first question and was tested "
        f"{planned.analysis}. {phrases.outcome(planned)}. All else is secondary."
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
