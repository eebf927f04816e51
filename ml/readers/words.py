"""The result in plain words: the first sentences, the warnings, the methods paragraph."""

from __future__ import annotations

from collections.abc import Sequence

from ml.readers import phrases
from ml.readers.phrases import count
from ml.readers.reading import Presentations, Protocol
from ml.readers.results import BetweenGenerators, ReaderResult, Refused, Result
from ml.statistics import roc


def warnings(
    shown: Presentations, readers: Sequence[ReaderResult], clustered: bool, rules: Protocol
) -> tuple[str, ...]:
    """What limits the result, a sentence each: few readers or images, one kind of image …

    Args:
        readers: each reader's result.
        clustered: whether several images come from one patient.
        rules: what was fixed before reading.
    """
    if not shown.first:
        return (phrases.NOTHING,)
    said = phrases.few(len(shown.readers))
    for entry in readers:
        if entry.real and entry.synthetic and entry.n < 20:
            said.append(
                f"Reader {entry.reader} read {entry.n} images; intervals on so few are wide "
                "and only approximate."
            )
    images = {r.case: r.synthetic for r in shown.first}
    if len(set(images.values())) == 1:
        kind = "synthetic" if next(iter(images.values())) else "real"
        said.append(
            f"Every image is {kind}: whether readers tell real from synthetic cannot be said."
        )
    if clustered:
        said.append(
            "Several images come from one patient: areas have patient-clustered intervals, and "
            "proportions carry one beside Wilson's."
        )
    if shown.unanswered:
        said.append(f"{phrases.unanswered(shown.unanswered, rules)}.")
    said += phrases.late(shown.late)
    return (*said, *phrases.other_rule(rules))


def _sentence(entry: ReaderResult, margin: float) -> str:
    """What one reader's readings say, in one sentence."""
    name, verdict, auc = entry.reader, entry.verdict, entry.auc
    if auc.value is None:
        return f"Reader {name}: no verdict. {verdict.reason}"
    if verdict.different_from_chance is None:
        return f"Reader {name}: no verdict, {verdict.reason}."
    text = f"Reader {name}: AUC {auc.value:.2f} ({auc.low:.2f} to {auc.high:.2f}), "
    if verdict.different_from_chance:
        better = auc.value > 0.5
        text += "tells synthetic from real" if better else "takes synthetic for real and real "
        text += "" if better else "for synthetic"
    else:
        undone = verdict.adjusted.of_difference if verdict.adjusted else ""
        text += f"not shown to differ from chance ({undone})" if undone else (
            "not shown to differ from chance")  # fmt: skip
    if verdict.equivalent_to_chance:
        return f"{text}; equivalent to chance within ±{margin:.2f}."
    text += f"; equivalence within ±{margin:.2f} not shown"
    if verdict.adjusted and verdict.adjusted.of_equivalence:
        return f"{text} ({verdict.adjusted.of_equivalence})."
    if verdict.reason:
        return f"{text}: {verdict.reason}."
    if verdict.different_from_chance:
        return f"{text}."
    if not verdict.power:
        return f"{text}, and {entry.n} images could not have shown it."
    return (
        f"{text} ({entry.n} images show it for a guessing reader with probability "
        f"{verdict.power:.2f}{', were it the only question' if verdict.adjusted else ''})."
    )


def sentences(result: Result) -> list[str]:
    """What was found: how many read what, then each reader, then readers at large."""
    counts = result.counts
    if not counts.readings:
        return ["No image has been read yet, so nothing can be said."]
    said = [
        f"{count(counts.readers, 'reader')}, {counts.images} "
        f"image{'' if counts.images == 1 else 's'} ({counts.real} real, "
        f"{counts.synthetic} synthetic)."
    ]
    said += [_sentence(entry, result.margin) for entry in result.readers]
    random = result.across.random
    if not isinstance(random, Refused):
        mean = random.mean
        said.append(
            f"Readers like these on images like these: mean AUC {mean.value:.2f} "
            f"({mean.low:.2f} to {mean.high:.2f})."
        )
        if result.across.no_verdict:
            said.append(f"No verdict across readers: {result.across.no_verdict}.")
    return said


def _withheld(result: Result, rules: Protocol) -> list[str]:
    """The rule by which there is no verdict, and where there was none."""
    fixed = "" if rules.scale_rule_in_protocol else ", a rule that was not part of the protocol"
    said = [
        f"A verdict needed {rules.scale_rule.text}{fixed}, and {roc.FEWEST} images of either kind. "
        "One reader who did not use the scale so took it from all together; readers of fewer "
        "images were left out of what is said of several."
    ]
    for entry in result.readers:
        if entry.verdict.different_from_chance is None and entry.verdict.reason:
            said.append(
                f"No verdict was given for reader {entry.reader}: "
                f"{entry.verdict.reason.rstrip('.')}."
            )
    random = result.across.random
    if result.across.no_verdict and not isinstance(random, Refused):
        said.append(f"No verdict was given across readers: {result.across.no_verdict}.")
    between = result.between_generators
    if isinstance(between, BetweenGenerators) and between.no_verdict:
        said.append(f"No verdict was given between generators: {between.no_verdict}.")
    return said


def methods(result: Result, shown: Presentations, rules: Protocol) -> str:
    """A methods paragraph with the numbers of this study, ready to paste.

    It says what the readings and the rules tell; how the study was conducted they do not.
    """
    if not result.counts.readings:
        return ""
    named = f"Primary hypothesis: {result.primary.hypothesis} " if result.primary else ""
    return f"{_who_read(result, rules)} {named}{analysed(result, shown, rules)}"


def _who_read(result: Result, rules: Protocol) -> str:
    """How many images each reader rated; they need not be the same for all."""
    c = result.counts
    told = "; ".join(
        f"{one.reader} {one.n} ({one.real} real, {one.synthetic} synthetic)"
        for one in result.readers
    )
    sources = ", ".join(f"{k}: {v}" for k, v in sorted(c.generators.items()))
    return (
        f"{count(c.readers, 'reader')} rated images from 1 (certainly real) to {rules.scale} "
        f"(certainly synthetic): {told}. In all there were {c.images} ({c.real} real, "
        f"{c.synthetic} synthetic{f', from {sources}' if len(c.generators) > 1 else ''})."
    )


def _main(result: Result) -> str:
    """What decides: the primary hypothesis, or what stands in its place."""
    by_reader = "the area under the empirical ROC curve (AUC) of each reader's rating"
    if result.primary is None:
        return f"No primary hypothesis was named; the main measure of the program is {by_reader}"
    planned = result.primary.planned
    return (
        f"The primary hypothesis was tested {planned.analysis}. {phrases.outcome(planned)}. All "
        f"else is secondary, also {by_reader}"
    )


def analysed(result: Result, shown: Presentations, rules: Protocol) -> str:
    """How the readings were analysed, in sentences; "" where there are none."""
    c = result.counts
    if not c.readings:
        return ""
    methods_of_auc = sorted({e.auc.method for e in result.readers if e.auc.low is not None})
    without = [e.reader for e in result.readers if e.auc.low is None]
    text = [f"Ratings above {rules.scale // 2} count as synthetic."]
    if c.repeats:
        text.append(f"{c.repeats} repeats served agreement of readers with themselves only.")
    text.append(
        _main(result)
        + (f", with its 95 % interval ({'; '.join(methods_of_auc)})" if methods_of_auc else "")
        + (f"; none for {', '.join(without)}" if without else "")
        + f". A reader was called equivalent to chance when the 90 % interval lay within 0.5 ± "
        f"{rules.margin:.2f} (two one-sided tests at 5 %)."
    )
    text += _withheld(result, rules)
    text.append(
        "Sensitivity (synthetic called synthetic), specificity and accuracy have Wilson and "
        "Clopper–Pearson intervals; d′ and criterion use the log-linear correction."
    )
    random = result.across.random
    covariance = "" if isinstance(random, Refused) else random.covariance
    text.append(
        phrases.at_large(
            random,
            "with Hillis' degrees of freedom treats readers and cases as random "
            f"({covariance} covariances, "
            f"{len(shown.readers) - len(result.across.left_out)} readers)",
        )
    )
    if isinstance(result.between_generators, BetweenGenerators):
        text.append(
            "Generators were compared on the shared real images with covariances from a "
            "delete-one-case jackknife over all cases."
        )
    text += phrases.of_patients(c, rules)
    if c.readers > 1:
        text.append(
            "Agreement is given as Cohen's κ (quadratic weights for ratings; delta method), "
            f"Fleiss' κ and Krippendorff's α (bootstrap over "
            f"{'patients' if c.clustered else 'cases'}, {rules.resamples} samples)."
        )
    if result.secondary:
        text.append(phrases.secondary(len(result.secondary), rules))
    if c.unanswered_left_out:
        text.append(f"{phrases.unanswered(c.unanswered_left_out, rules)}.")
    return " ".join([*text, *phrases.late(c.late)])
