"""Arms against each other, and what follows of it in words: the rest of ``results.json``'s scores.

The first method (``method_version``) compared every arm with classic and corrected over all. The
second names two primary hypotheses beforehand (`arms.PRIMARY`) and corrects these two alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import inf

import numpy as np

from ml.experiment import arms, evaluation, subgroups
from ml.experiment.evaluation import Entries, Outcome, Outputs
from ml.experiment.results.scores import (
    ArmComparison,
    ArmSummary,
    Scores,
    Selection,
    ShareOfGap,
)
from ml.ground.counted import counted
from ml.statistics import comparison
from ml.statistics.figure import Figure

LEAST_SEEDS = 2
"""Fewer give no verdict: intervals and p of one seed are too narrow where networks differ."""
ONE_SEED = (
    "One seed: chance of training is told only by how far its folds lie apart, so intervals and p "
    "do not include all of it, and nothing is called shown. Three seeds or more tell."
)
ONE_TRAINING = (
    "One seed and one split: intervals and p include nothing of chance of training, and nothing is "
    "called shown. Three seeds or more tell."
)
INFERENCE = (
    "95 % intervals over patients and trainings: the variance when patients are drawn again, and "
    "chance of training as far as seeds, and the folds within them, lie further apart than their "
    "patients explain. Of differences Student's, and p is that of the same; of other figures "
    "percentile bootstrap over patients, stretched alike. Widened to exact limits where few "
    "patients differ, or are right or wrong."
)
"""How intervals and p are made, in words."""

_BySeed = Mapping[int, Mapping[str, Outcome]]


def evaluate(outputs: Outputs, features: str | None = None) -> Scores:
    """Scores, selections, comparisons: whatever is computed from predictions alone.

    Args:
        features: what the simple model is, in words.
    """
    entries = evaluation.entries(outputs)
    nested = entries.selected[Selection.NESTED]
    paper = _against_classic(outputs, entries.selected[Selection.PAPER], Selection.PAPER)
    comparisons = _against_classic(outputs, nested, Selection.NESTED)
    if outputs.settings.method_version == 1:
        comparisons = _corrected(comparisons, len(comparisons))
        told = (*_of_first(comparisons), *_of_one(outputs))
        return _scores(outputs, entries, comparisons, paper, told)
    primary = _corrected(_against_equal(outputs, nested, arms.PRIMARY), len(arms.PRIMARY))
    simple = _simple(outputs, entries.summary, nested)
    controls = _controls(outputs, nested)
    further = _against_equal(outputs, nested, tuple(arms.FURTHER))
    answer = [
        *([_simple_words(simple, entries.summary)] if simple else []),
        *_of_second(primary, comparisons),
        *_of_repeated(controls),
        *_of_further(further),
        *_of_one(outputs),
    ]
    return replace(
        _scores(outputs, entries, comparisons, paper, tuple(answer)),
        features=features,
        primary=primary,
        secondary=(*((simple,) if simple else ()), *controls, *further),
    )


def _scores(
    outputs: Outputs,
    entries: Entries,
    comparisons: tuple[ArmComparison, ...],
    paper: tuple[ArmComparison, ...],
    answer: tuple[str, ...],
) -> Scores:
    groups, left_out = subgroups.groups_of(outputs.lines)
    within = tuple(subgroups.scores(outputs, groups, entries.selected[Selection.NESTED]))
    return Scores(
        arms=entries.arms,
        curve=entries.curve,
        summary=entries.summary,
        comparisons=comparisons,
        comparisons_paper_protocol=paper,
        answer=answer,
        failed=outputs.failed,
        inference=INFERENCE,
        probabilities=comparison.BELIEVED,
        subgroups=within or None,
        groups_left_out=left_out or None,
    )


# -- comparisons -----------------------------------------------------------------------------------


def _compared(
    outputs: Outputs,
    names: tuple[str, str],
    how: Selection,
    pairs: Mapping[int, tuple[Outcome, Outcome]],
) -> ArmComparison:
    """The first of each seed's pair less the second; not corrected."""
    compared = comparison.compare(
        np.stack([outputs.right(first) for first, _ in pairs.values()]),
        np.stack([outputs.right(second) for _, second in pairs.values()]),
        outputs.truth,
        outputs.patients,
        np.stack([first.folds for first, _ in pairs.values()]),
    )
    true = None
    if (lesions := outputs.fresh) is not None:
        first, second = (
            np.concatenate([outputs.fresh_right(pair[side]) for pair in pairs.values()])
            for side in (0, 1)
        )
        true = comparison.difference_interval(
            first - second, lesions.labels, lesions.patients.tolist()
        )
    return ArmComparison(
        arm=names[0],
        against=names[1],
        selection=how,
        seeds=tuple(pairs),
        difference=compared.difference,
        p=compared.p,
        training_share=compared.training,
        holm_p=None,
        mcnemar_p=tuple(compared.mcnemar_p),
        true_difference=true,
    )


def _of_both(by_seed: _BySeed, first: str, second: str) -> dict[int, tuple[Outcome, Outcome]]:
    """The seeds in which both arms exist."""
    return {
        seed: (found[first], found[second])
        for seed, found in by_seed.items()
        if first in found and second in found
    }


def _against_classic(
    outputs: Outputs, by_seed: _BySeed, how: Selection
) -> tuple[ArmComparison, ...]:
    rows = []
    for arm in arms.ARMS:
        pairs = _of_both(by_seed, arm, arms.CLASSIC)
        if arm != arms.CLASSIC and pairs:
            row = _compared(outputs, (arm, arms.CLASSIC), how, pairs)
            share = _share_of_gap(outputs, by_seed, arm, row.seeds)
            rows.append(replace(row, share_of_oracle_gap=share))
    return tuple(rows)


def _against_equal(
    outputs: Outputs, by_seed: _BySeed, of: Sequence[str]
) -> tuple[ArmComparison, ...]:
    """Each generator's arm against as many classic ROIs in the place of its synthetic ones."""
    rows = []
    for arm in of:
        pairs = {}
        for seed, found in by_seed.items():
            equal = outputs.equal_compute(found[arm], seed) if arm in found else None
            if equal is not None:
                pairs[seed] = (found[arm], equal)
        if pairs:
            rows.append(_compared(outputs, (arm, arms.EQUAL), Selection.NESTED, pairs))
    return tuple(rows)


def _controls(outputs: Outputs, by_seed: _BySeed) -> tuple[ArmComparison, ...]:
    """The DCGANs' ROIs against what else may stand in their place, as many of them."""
    rows = []
    for arm in (arms.DUPLICATE, arms.MIXUP, arms.CUTMIX):
        pairs = _of_both(by_seed, arms.DCGAN, arm)
        if pairs:
            rows.append(_compared(outputs, (arms.DCGAN, arm), Selection.NESTED, pairs))
    return tuple(rows)


def _corrected(rows: Sequence[ArmComparison], family: int) -> tuple[ArmComparison, ...]:
    """The same with Holm's p; a hypothesis of the family that could not be tested counts as 1."""
    missing = [1.0] * (family - len(rows))
    adjusted = comparison.holm([*(row.p for row in rows), *missing])
    return tuple(replace(row, holm_p=p) for row, p in zip(rows, adjusted, strict=False))


def _share_of_gap(
    outputs: Outputs, by_seed: _BySeed, arm: str, seeds: Sequence[int]
) -> ShareOfGap | None:
    """The share of the way from classic to oracle on fresh lesions that synthetic ROIs go."""
    lesions = outputs.fresh
    there = all(arms.ORACLE in by_seed[seed] for seed in seeds)
    if lesions is None or arm not in (*arms.PRIMARY, *arms.FURTHER) or not there:
        return None
    ours, classic, oracle = (
        np.concatenate([outputs.fresh_right(by_seed[seed][name]) for seed in seeds])
        for name in (arm, arms.CLASSIC, arms.ORACLE)
    )
    share, exists = comparison.share_of_gap(
        ours,
        classic,
        oracle,
        lesions.labels,
        lesions.patients.tolist(),
    )
    no_gap = "the interval of oracle − classic reaches zero: there may be no gap to close"
    return ShareOfGap(share.value, share.low, share.high, None if exists else no_gap)


def _simple(
    outputs: Outputs, summary: Sequence[ArmSummary], by_seed: _BySeed
) -> ArmComparison | None:
    """The simple model against the network that did best; the networks' luck is in their favour.

    Of those alone that were trained in most seeds: means over other seeds are no means of these.
    """
    networks = [
        (len(pairs), row.balanced_accuracy.known, row.name)
        for row in summary
        if row.selection == Selection.NESTED
        and row.name in arms.NETWORKS
        and (pairs := _of_both(by_seed, arms.FEATURES, row.name))
    ]
    if not networks:
        return None
    _, _, best = max(networks, key=lambda one: one[:2])
    pairs = _of_both(by_seed, arms.FEATURES, best)
    return _compared(outputs, (arms.FEATURES, best), Selection.NESTED, pairs)


# -- words -----------------------------------------------------------------------------------------

NAMES = {
    arms.DCGAN: "Synthetic ROIs of the DCGANs",
    arms.ACGAN: "Synthetic ROIs of the ACGAN",
    arms.CGAN: "Synthetic ROIs of the conditional GAN",
    arms.DIFFUSION: "Synthetic ROIs of the diffusion model",
    arms.TISSUE: "Phantom lesions pasted into real tissue",
}
"""By arm, what is told of in the first sentences."""


def _points(found: Figure) -> str:
    """A difference: ``+1.8 points (95 % interval -1.2 to +5.5)``."""
    told = f"{100 * found.known:+.1f} points"
    if found.ends is not None:
        low, high = found.ends
        told += f" (95 % interval {100 * low:+.1f} to {100 * high:+.1f})"
    return told


def _percent(found: Figure) -> str:
    told = f"{100 * found.known:.1f} %"
    if found.ends is not None:
        low, high = found.ends
        told += f" ({100 * low:.1f} to {100 * high:.1f})"
    return told


def _true(row: ArmComparison) -> str:
    true = row.true_difference
    if true is None or true.ends is None:
        return ""
    low, high = true.ends
    return (
        f" True effect on fresh phantom lesions: {100 * true.known:+.1f} points "
        f"({100 * low:+.1f} to {100 * high:+.1f})."
    )


def _ends(row: ArmComparison) -> tuple[float, float]:
    """Of the difference; one seed tells too little of chance of training for a verdict."""
    if len(row.seeds) < LEAST_SEEDS:
        return -inf, inf
    return row.difference.ends or (-inf, inf)


def _verdict(row: ArmComparison, what: str) -> str:
    """By Holm's p and the interval together; without an interval nothing is shown."""
    low, high = _ends(row)
    p = 1.0 if row.holm_p is None else row.holm_p
    if p < 0.05 and low > 0:
        return f"beat {what}"
    if p < 0.05 and high < 0:
        return f"were worse than {what}"
    return f"were not shown to differ from {what}"


def _p_of(row: ArmComparison) -> str:
    after = "" if row.holm_p is None else f", after Holm {comparison.p_text(row.holm_p, '= ')}"
    return f"p {comparison.p_text(row.p, '= ')}{after}"


def _of_one(outputs: Outputs) -> Iterator[str]:
    if len(outputs.seeds) < LEAST_SEEDS:
        yield ONE_SEED if outputs.settings.tested_folds > 1 else ONE_TRAINING


def _of_first(comparisons: Sequence[ArmComparison]) -> Iterator[str]:
    """Did synthetic data help? One sentence per generator, from the confirmatory comparisons."""
    for row in comparisons:
        if row.arm in NAMES:
            yield (
                f"{NAMES[row.arm]} {_verdict(row, 'classic augmentation alone')}: balanced "
                f"accuracy {_points(row.difference)}, {_p_of(row)}, "
                f"{counted(len(row.seeds), 'seed')}.{_true(row)}"
            )


def _of_second(
    primary: Sequence[ArmComparison], comparisons: Sequence[ArmComparison]
) -> Iterator[str]:
    """The two primary hypotheses, and beside each what it was against classic alone."""
    against = {row.arm: row for row in comparisons}
    for row in primary:
        told = (
            f"{NAMES[row.arm]} {_verdict(row, 'as many more classic ones (equal-compute)')}: "
            f"balanced accuracy {_points(row.difference)}, {_p_of(row)} of two primary hypotheses, "
            f"{counted(len(row.seeds), 'seed')}.{_true(row)}"
        )
        beside = against.get(row.arm)
        if beside is not None:
            told += (
                " Secondary, not corrected: against classic augmentation alone "
                f"{_points(beside.difference)}, {_p_of(beside)}."
            )
        yield told
    for arm in arms.PRIMARY:
        if arm not in {row.arm for row in primary}:
            yield (
                f"{NAMES[arm]} could not be tested, since generators collapsed; the hypothesis "
                "counts with p = 1 in the family."
            )


def _of_repeated(controls: Sequence[ArmComparison]) -> Iterator[str]:
    """Are synthetic ROIs better than the real lesions once more? If not, that is a result."""
    for row in controls:
        if row.against == arms.DUPLICATE:
            yield _uncorrected(row, "the real lesions repeated as often (duplicate-real)")


def _of_further(further: Sequence[ArmComparison]) -> Iterator[str]:
    """Do ROIs of generators beyond the paper help? Not asked before the paper's were."""
    for row in further:
        yield _uncorrected(row, "as many more classic ones (equal-compute)")


def _uncorrected(row: ArmComparison, what: str) -> str:
    """A secondary comparison in a sentence."""
    low, high = _ends(row)
    if row.p < 0.05 and low > 0:
        verdict = "were better than"
    elif row.p < 0.05 and high < 0:
        verdict = "were worse than"
    else:
        verdict = "were not shown to be better than"
    return (
        f"{NAMES[row.arm]} {verdict} {what}: balanced accuracy {_points(row.difference)}, "
        f"{_p_of(row)} (secondary, not corrected), {counted(len(row.seeds), 'seed')}.{_true(row)}"
    )


def _simple_words(row: ArmComparison, summary: Sequence[ArmSummary]) -> str:
    """The first sentence: is the simple model as good as any network?"""
    accuracy = {
        one.name: one.balanced_accuracy for one in summary if one.selection == Selection.NESTED
    }
    low, high = _ends(row)
    if low > 0:
        verdict = "was better than every network"
    elif row.difference.known >= 0:
        verdict = (
            "scored as high as every network or higher, and was not shown to differ from the best"
        )
    elif high >= 0:
        verdict = "was not shown to be worse than the best network"
    else:
        verdict = "was worse than the best network"
    return (
        f"The simple model (features: measurements of the real lesions, no network) {verdict}: "
        f"balanced accuracy {_percent(accuracy[arms.FEATURES])}, that of the best, {row.against}, "
        f"{_percent(accuracy[row.against])}; difference {_points(row.difference)}, {_p_of(row)} "
        f"(secondary, not corrected; the best is named after the fact), "
        f"{counted(len(row.seeds), 'seed')}.{_true(row)}"
    )
