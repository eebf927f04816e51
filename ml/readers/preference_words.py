"""The result of preferences in plain words: sentences, warnings, the methods paragraph."""

from __future__ import annotations

from collections.abc import Sequence

from ml.readers import phrases
from ml.readers.hypothesis import Multiplicity
from ml.readers.phrases import count, percent
from ml.readers.preference_results import (
    CommonScale,
    Contest,
    PreferenceCounts,
    PreferenceResult,
    PreferencesOfReader,
    PreferringReader,
)
from ml.readers.reading import Protocol
from ml.readers.results import Refused

NO_REAL = (
    "No real image is in this study: it says which generator looks more real to readers, and "
    "nothing of how real either looks beside a real image."
)


def warnings(
    counts: PreferenceCounts, contests: Sequence[Contest], readers: Sequence[PreferringReader]
) -> tuple[str, ...]:
    """What limits the result, a sentence each."""
    if not counts.readings:
        return (NO_REAL, phrases.NOTHING)
    said = [NO_REAL, *phrases.few(counts.readers)]
    for one in readers:
        low, high = one.left.ends or (0.0, 1.0)
        if not low <= 0.5 <= high:
            said.append(
                f"Reader {one.reader} named the left one in {percent(one.left.known)} of the "
                "pairs: a habit of the side hides what they prefer."
            )
    few = [f"{one.first} and {one.second} ({one.pairs})" for one in contests if one.pairs < 10]
    if few:
        said.append(f"Few pairs, and so no verdict for one reader: {', '.join(few)}.")
    if counts.unanswered_left_out:
        said.append(f"{counts.unanswered_left_out} trials without an answer were left out.")
    return (*said, *phrases.late(counts.late))


def sentences(result: PreferenceResult) -> list[str]:
    """What was found: how many read what, then each contest, then all generators on one scale."""
    counts = result.preferences
    if not counts.readings:
        return ["No pair has been read yet, so nothing can be said."]
    said = [
        f"{count(counts.readers, 'reader')}, {counts.pairs} "
        f"pair{'' if counts.pairs == 1 else 's'} of synthetic images by "
        f"{', '.join(counts.generators)}; no real image."
    ]
    if result.primary is not None:
        planned = result.primary.planned
        verdict = {True: "shown", False: "not shown", None: "no verdict"}[planned.holds]
        note = f", {planned.note.rstrip('.')}" if planned.note else ""
        said.append(
            f"Primary hypothesis: {result.primary.hypothesis.rstrip('.')}: {verdict}{note}."
        )
    for contest in result.contests:
        said += [_sentence(one, contest, result.margin) for one in contest.readers]
        said.append(_across(contest, result.margin))
    if isinstance(result.scale, CommonScale):
        order = sorted(result.scale.strengths, key=lambda one: -one.strength.known)
        told = ", ".join(f"{one.generator} {one.strength.known:+.2f}" for one in order)
        said.append(f"On one scale (Bradley–Terry, log strength): {told}.")
    elif isinstance(result.scale, Refused):
        said.append(f"No common scale: {result.scale.refused}.")
    return [one for one in said if one]


def _sentence(one: PreferencesOfReader, contest: Contest, margin: float) -> str:
    verdict = one.verdict
    if verdict.different_from_chance is None:
        why = (verdict.reason or one.interval.note or "no interval").rstrip(".")
        return f"Reader {one.reader}, {contest.first} against {contest.second}: no verdict, {why}."
    low, high = one.interval.ends or (0.0, 1.0)
    text = (
        f"Reader {one.reader}: {contest.first} preferred to {contest.second} in "
        f"{percent(one.interval.known)} of {one.n} pairs ({percent(low)} to {percent(high)}), "
    )
    adjusted = verdict.adjusted
    if adjusted and adjusted.of_difference:
        text += f"a preference is not shown ({adjusted.of_difference})"
    elif not verdict.different_from_chance:
        text += "no preference shown"
    else:
        text += f"prefers {contest.first if one.interval.known > 0.5 else contest.second}"
    if verdict.equivalent_to_chance:
        return f"{text}; no preference beyond ±{margin:.2f}."
    why = f" ({adjusted.of_equivalence})" if adjusted and adjusted.of_equivalence else ""
    return f"{text}; equivalence within ±{margin:.2f} not shown{why}."


def _across(contest: Contest, margin: float) -> str:
    across = contest.across
    if isinstance(across.random, Refused):
        return ""
    mean = across.random.mean
    text = (
        f"Readers like these on pairs like these: {contest.first} is preferred to "
        f"{contest.second} in {percent(mean.value)} ({percent(mean.low)} to {percent(mean.high)})"
    )
    if across.verdict is None:
        return f"{text}; no verdict, {(across.no_verdict or '').rstrip('.')}."
    different = "a preference" if across.verdict.different_from_chance else "no preference shown"
    shown = "shown" if across.verdict.equivalent_to_chance else "not shown"
    return f"{text}, {different}; equivalence within ±{margin:.2f} {shown}."


def methods(result: PreferenceResult, rules: Protocol) -> str:
    """A methods paragraph with the numbers of this study, ready to paste."""
    c = result.preferences
    if not c.readings:
        return ""
    told = "; ".join(f"{one.reader} {one.n}" for one in result.readers)
    each = "; ".join(f"{name}: {n}" for name, n in sorted(c.contests.items()))
    named = f" Primary hypothesis: {result.primary.hypothesis}" if result.primary else ""
    return (
        f"{count(c.readers, 'reader')} read pairs of synthetic regions of interest of the same "
        f"lesion class side by side ({told}), each by another generator (pairs: {each}), and named "
        "the one that looks more like a real lesion (two-alternative forced choice, no ties). No "
        f"real image was shown.{named} {analysed(result, rules)}"
    )


def analysed(result: PreferenceResult, rules: Protocol) -> str:
    """How the answers were analysed, in sentences; "" where there are none."""
    c = result.preferences
    if not c.readings:
        return ""
    text = [
        "For each two generators and each reader the measure is the share of pairs in which the "
        "image of the first by name was preferred, with its exact (Clopper–Pearson) 95 % interval "
        f"against 0.5; no preference was taken for shown when the 90 % interval lay within 0.5 ± "
        f"{result.margin:.2f} (two one-sided tests at 5 %). A reader with fewer than "
        f"{percent(result.least_other_side)} of the answers on one side got no verdict."
    ]
    text.append(phrases.shares_at_large(result.contests[0].across.random))
    if result.scale is not None:
        text.append(
            "The generators were put on one scale by the model of Bradley and Terry; its "
            f"intervals resample readers and pairs ({rules.resamples} samples, seed {rules.seed})."
        )
    if c.repeats:
        text.append(
            f"{c.repeats} hidden repeats with changed sides served agreement of readers with "
            "themselves only."
        )
    if result.secondary:
        many = len(result.secondary)
        text.append(
            f"There {'is 1 secondary hypothesis' if many == 1 else f'are {many} secondary ones'}, "
            + (
                "adjusted together after Holm; no verdict on one was given unless the adjusted p "
                "was below 0.05."
                if rules.multiplicity is Multiplicity.HOLM
                else "not adjusted for their number, and exploratory."
            )
        )
    if c.unanswered_left_out:
        text.append(f"{c.unanswered_left_out} unanswered trials were left out.")
    return " ".join([*text, *phrases.late(c.late)])
