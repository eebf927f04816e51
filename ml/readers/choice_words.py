"""The result of a forced choice in plain words: sentences, warnings, the methods paragraph."""

from __future__ import annotations

from collections.abc import Sequence

from ml.readers import phrases
from ml.readers.choice_results import ChoiceCounts, ChoicePrimary, ChoiceResult, ChoicesOfReader
from ml.readers.phrases import count, percent
from ml.readers.results import Refused, Secondary


def warnings(counts: ChoiceCounts, readers: Sequence[ChoicesOfReader]) -> tuple[str, ...]:
    """What limits the result, a sentence each."""
    if not counts.readings:
        return (phrases.NOTHING,)
    said = phrases.few(counts.readers)
    for one in readers:
        low, high = one.left.ends or (0.0, 1.0)
        if one.verdict.reason is None and not low <= 0.5 <= high:
            said.append(
                f"Reader {one.reader} named the left one in {percent(one.left.known)} of the "
                "pairs: a habit of the side hides what they could tell."
            )
    if counts.clustered:
        said.append(
            "Several real images come from one patient: intervals are widened for it, and tests "
            "that take pairs for independent are not given."
        )
    if counts.unanswered_left_out:
        said.append(f"{counts.unanswered_left_out} trials without an answer were left out.")
    return (*said, *phrases.late(counts.late))


def sentences(result: ChoiceResult) -> list[str]:
    """What was found: how many read what, then each reader, then readers at large."""
    counts = result.choices
    if not counts.readings:
        return ["No pair has been read yet, so nothing can be said."]
    said = [
        f"{count(counts.readers, 'reader')}, {counts.pairs} pair"
        f"{'' if counts.pairs == 1 else 's'} of a real and a synthetic image."
    ]
    if result.primary is not None:
        said.append(_of_primary(result.primary))
    said += [_sentence(one, result.margin) for one in result.readers]
    random = result.across.random
    if not isinstance(random, Refused):
        mean = random.mean
        text = (
            f"Readers like these on pairs like these: the synthetic image is named in "
            f"{percent(mean.value)} ({percent(mean.low)} to {percent(mean.high)}) of pairs"
        )
        verdict = result.across.verdict
        if verdict is None:
            said.append(f"{text}; {result.across.no_verdict}.")
        else:
            shown = "shown" if verdict.equivalent_to_chance else "not shown"
            differs = (
                "different from" if verdict.different_from_chance else "not shown to differ from"
            )
            said.append(
                f"{text}, {differs} chance; equivalence within ±{result.margin:.2f} {shown}."
            )
    return said


def _of_primary(primary: ChoicePrimary) -> str:
    planned = primary.planned
    if planned.holds is None:
        verdict = f"no verdict, {planned.note}" if planned.note else "no verdict"
    else:
        verdict = "shown" if planned.holds else "not shown"
    return f"Primary hypothesis: {primary.hypothesis.rstrip('.')}: {verdict}."


def _sentence(one: ChoicesOfReader, margin: float) -> str:
    name, verdict, primary = one.reader, one.verdict, one.primary
    if verdict.different_from_chance is None:
        return f"Reader {name}: no verdict, {verdict.reason or primary.note}."
    low, high = primary.ends or (0.0, 1.0)
    text = (
        f"Reader {name}: {percent(primary.known)} of {one.n} pairs named right "
        f"({percent(low)} to {percent(high)}), "
    )
    adjusted = verdict.adjusted
    if adjusted and adjusted.of_difference:
        text += f"not shown to differ from chance ({adjusted.of_difference})"
    elif not verdict.different_from_chance:
        text += "not shown to differ from chance"
    elif primary.known > 0.5:
        text += "tells synthetic from real"
    else:
        text += "takes the real one for the synthetic"
    if verdict.equivalent_to_chance:
        return f"{text}; equivalent to chance within ±{margin:.2f}."
    text += f"; equivalence within ±{margin:.2f} not shown"
    if adjusted and adjusted.of_equivalence:
        return f"{text} ({adjusted.of_equivalence})."
    if verdict.different_from_chance or verdict.power is None:
        return f"{text}."
    if verdict.power < 0.005:
        return f"{text}, and {one.n} pairs could not have shown it."
    return (
        f"{text} ({one.n} pairs show it for a guessing reader with probability "
        f"{verdict.power:.2f}{', were it the only question' if adjusted else ''})."
    )


def _secondary(found: Sequence[Secondary]) -> str:
    """How many there are, and what is done about it."""
    many = "There is 1 secondary hypothesis; its p value is" if len(found) == 1 else (
        f"There are {len(found)} secondary hypotheses; their p values are")  # fmt: skip
    where = "exact where one reader's pairs are independent, and taken from the interval elsewhere"
    if all(one.adjusted is None for one in found if one.p is not None):
        return f"{many} {where}; nothing is adjusted for their number, and all is exploratory."
    return (
        f"{many} {where}, and adjusted together after Holm; no verdict on one of them was given "
        "unless the adjusted p was below 0.05."
    )


def methods(result: ChoiceResult, resamples: int, seed: int) -> str:
    """A methods paragraph with the numbers of this study, ready to paste."""
    c = result.choices
    if not c.readings:
        return ""
    read = sorted({one.n for one in result.readers})
    each = f"{c.pairs} pairs" if read == [c.pairs] else f"up to {c.pairs} pairs"
    text = [
        f"{count(c.readers, 'reader')} read {each} of a real and a synthetic region of interest "
        "of the same lesion class side by side"
        + (
            " (synthetic ones from "
            + ", ".join(f"{k}: {v}" for k, v in sorted(c.generators.items()))
            + ")"
            if len(c.generators) > 1
            else ""
        )
        + ", in an individual random order, and named the synthetic one (two-alternative forced "
        "choice); the synthetic image stood on the left in half of the pairs, drawn anew for each "
        "reader."
    ]
    if read != [c.pairs]:
        text.append(
            "Pairs read: " + ", ".join(f"{one.reader} {one.n}" for one in result.readers) + "."
        )
    if c.repeats:
        text.append(
            f"{c.repeats} hidden repeats with changed sides served agreement of readers with "
            "themselves only."
        )
    if result.primary is not None:
        text.append(
            f"Primary hypothesis: {result.primary.hypothesis} All else is secondary; "
            f"{result.primary.missing.words}."
        )
    return " ".join([*text, analysed(result, resamples, seed)])


def analysed(result: ChoiceResult, resamples: int, seed: int) -> str:
    """The analysis alone, for a paragraph that says elsewhere how the study was conducted."""
    c, text = result.choices, []
    if not c.readings:
        return ""
    text.append(
        "For each reader the measure is the share of pairs in which the synthetic image "
        "was named, with its exact (Clopper–Pearson) 95 % interval against 0.5; d′ is √2 z(share). "
        "A reader was called equivalent to chance when the 90 % interval lay within 0.5 ± "
        f"{result.margin:.2f} (two one-sided tests at 5 %); a reader with fewer than "
        f"{percent(result.least_other_side)} of the answers on one side got no verdict."
    )
    readers = c.readers - len(result.across.left_out)
    text.append(phrases.shares_at_large(result.across.random, f", {readers} readers"))
    if c.clustered:
        text.append(
            f"Real images came from {c.patients} patients; intervals were widened to hold those of "
            f"a bootstrap over patients ({resamples} samples, seed {seed}), and covariances across "
            "readers leave out one patient at a time."
        )
    if result.secondary:
        text.append(_secondary(result.secondary))
    if c.unanswered_left_out:
        text.append(f"{c.unanswered_left_out} unanswered trials were left out.")
    return " ".join([*text, *phrases.late(c.late)])
