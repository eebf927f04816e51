"""The analysis of two-alternative forced choice: each reader first, then across readers.

Primary: per reader the share of pairs in which the synthetic image was named, against 0.5, with its
exact interval. Only first presentations count; repeats serve agreement of a reader with themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from ml.readers import choice_primary, choice_shares, choice_words, secondary
from ml.readers.choice_results import (
    ChoiceCounts,
    ChoiceResult,
    ChoicesAcross,
    ChoicesOfPart,
    ChoicesOfReader,
    ChoiceVerdict,
    OwnChoices,
)
from ml.readers.hypothesis import Whose
from ml.readers.pairs import PairReading, PairsShown, Side, counted_pairs, present_pairs
from ml.readers.reading import Protocol
from ml.readers.results import MeanVerdict, Refused, Unsent
from ml.readers.single import share
from ml.statistics import forced_choice, mrmc, trends
from ml.statistics.figure import Figure
from ml.statistics.proportion import chance_p, equivalence_p, exact


def analyse_choices(
    readings: Iterable[PairReading],
    protocol: Protocol | None = None,
    later: Mapping[int, Protocol] | None = None,
    marked: Collection[str] | None = None,
) -> ChoiceResult:
    """The whole result of a study.

    Args:
        readings: every trial, also those without an answer.
        protocol: what was fixed before reading.
        later: version → rules that amended it after the first answer; told beside it.
        marked: pairs with an image that a leak audit marks, by case; None where that is not known.

    Raises:
        ReadersError: readings that contradict each other (see `present_pairs`).
    """
    rules = protocol or Protocol()
    given = list(readings)
    every = counted_pairs(given)
    unsent = Unsent.of(
        ((r.reader, r.unsent) for r in given if r.answer is not None and not r.is_practice),
        in_protocol=rules.unsent_rule_in_protocol,
    )
    shown = Unsent.apart(unsent, present_pairs(every))
    readers = tuple(reader(name, shown, rules) for name in shown.readers)
    counts = _counts(shown)
    across = together(shown, readers, rules)
    between = choice_shares.between(shown, rules)
    if between is not None and not isinstance(between, Refused) and across.no_verdict:
        between = between.without_p()
    family = secondary.of_choices(readers, across, between, rules)
    readers = tuple(replace(one, verdict=family.judged(one.reader, one.verdict)) for one in readers)
    primary = choice_primary.primary(every, rules, marked, given if unsent else None)
    verdict = secondary.as_planned(
        family.across(across.verdict), rules.hypothesis, primary.planned if primary else None
    )
    across = replace(across, verdict=verdict)
    found = ChoiceResult(
        summary="",
        margin=rules.margin,
        least_other_side=rules.scale_rule.least_off,
        choices=counts,
        primary=primary,
        amended=tuple(
            one
            for version, amended in (later or {}).items()
            if (one := choice_primary.amended(every, rules, version, amended)) is not None
        ),
        readers=readers,
        across=across,
        between_generators=between,
        warnings=choice_words.warnings(counts, readers),
        methods="",
        secondary=family.hypotheses,
        unsent=unsent,
    )
    return replace(
        found,
        warnings=Unsent.first(unsent, found.warnings),
        summary=" ".join(choice_words.sentences(found)),
        methods=choice_words.methods(found, rules.resamples, rules.seed),
    )


def reader(name: str, shown: PairsShown, rules: Protocol) -> ChoicesOfReader:
    """Every figure of one reader."""
    mine = shown.of(name)
    right = [r.named_first for r in mine]
    order = list(range(1, len(mine) + 1))
    timed = [(r.active_ms, k) for k, r in zip(order, mine, strict=True) if r.active_ms is not None]
    primary = _share(mine, rules)
    return ChoicesOfReader(
        reader=name,
        n=len(mine),
        correct=share(right, [r.cluster for r in mine], rules, "no pair was read"),
        primary=primary,
        d_prime=forced_choice.d_prime(primary),
        left=exact(sum(r.answer is Side.LEFT for r in mine), len(mine)),
        verdict=_verdict(mine, primary, rules),
        by_class=_parts(mine, lambda r: r.lesion_class, rules),
        by_generator=_parts(mine, lambda r: r.generator, rules),
        own=_own([pair for pair in shown.repeats if pair[0].reader == name]),
        learning=trends.learning(right, order),
        second_half_minus_first=trends.halves(right, order),
        time=trends.times([t for t, _ in timed], [k for _, k in timed]),
    )


def _share(mine: Sequence[PairReading], rules: Protocol, confidence: float = 0.95) -> Figure:
    return forced_choice.share(
        [r.named_first for r in mine], [r.cluster for r in mine], confidence, rules.resamples,
        rules.seed,
    )  # fmt: skip


def _verdict(mine: Sequence[PairReading], primary: Figure, rules: Protocol) -> ChoiceVerdict:
    n, right = len(mine), sum(r.named_first for r in mine)
    narrow = _share(mine, rules, 0.90)
    clustered = len({r.cluster for r in mine}) < n
    reason = choice_shares.unused(mine, rules)
    different = equivalent = None
    if reason is None and None not in (primary.low, primary.high, narrow.low, narrow.high):
        low, high = primary.ends or (0.0, 1.0)
        different = not low <= 0.5 <= high
        low90, high90 = narrow.ends or (0.0, 1.0)
        equivalent = 0.5 - rules.margin <= low90 and high90 <= 0.5 + rules.margin
        if equivalent:
            reason = choice_shares.vacuous(mine, rules)
            equivalent = reason is None
    return ChoiceVerdict(
        margin=rules.margin,
        p=None if clustered else chance_p(right, n),
        equivalence_interval=narrow,
        equivalence_p=None if clustered else equivalence_p(right, n, rules.margin),
        different_from_chance=different,
        equivalent_to_chance=equivalent,
        reason=reason,
        power=None if clustered else forced_choice.equivalence_power(n, rules.margin),
    )


def _parts(
    mine: Sequence[PairReading], part: Callable[[PairReading], str | None], rules: Protocol
) -> tuple[ChoicesOfPart, ...]:
    names = sorted({name for r in mine if (name := part(r)) is not None})
    rows = []
    for name in names:
        own = [r for r in mine if part(r) == name]
        rows.append(
            ChoicesOfPart(
                name, share([r.named_first for r in own], [r.cluster for r in own], rules, "none")
            )
        )
    return tuple(rows)


def _own(pairs: Sequence[tuple[PairReading, PairReading]]) -> OwnChoices | None:
    if not pairs:
        return None
    image = sum(first.named_first == again.named_first for first, again in pairs)
    side = sum(first.answer == again.answer for first, again in pairs)
    return OwnChoices(len(pairs), exact(image, len(pairs)), exact(side, len(pairs)))


def together(
    shown: PairsShown, readers: Sequence[ChoicesOfReader], rules: Protocol
) -> ChoicesAcross:
    """All readers, at random and as they are, with the verdict of readers like these."""
    kept, out = choice_shares.usable(shown)
    random = choice_shares.analysed(shown, rules, Whose.LIKE_THESE)
    fixed = choice_shares.analysed(shown, rules, Whose.THESE)
    found = next((one.mean for one in (random, fixed) if not isinstance(one, Refused)), None)
    if found is not None:
        figure = Figure(found.value, found.low, found.high, len(kept), "mean share")
    elif kept:
        right = sum(r.named_first for r in kept)
        figure = Figure(right / len(kept), None, None, len(kept), "mean share")
    else:
        figure = Figure.undefined(0, "mean share", choice_shares.NOBODY)
    lazy = [one.reader for one in readers if one.reader not in out and one.verdict.reason]
    reason = None
    if isinstance(random, Refused):
        reason = random.refused
    elif random.mean.se <= mrmc.NO_SPREAD:
        reason = choice_shares.NO_SPREAD
    elif lazy:
        reason = f"no verdict is given for {', '.join(lazy)}, and so none for readers at large"
    return ChoicesAcross(
        out, random, fixed, forced_choice.d_prime(figure),
        None if reason else _mean_verdict(shown, rules), reason,
    )  # fmt: skip


def _mean_verdict(shown: PairsShown, rules: Protocol) -> MeanVerdict | None:
    found = choice_shares.mean(shown, rules, Whose.LIKE_THESE)
    if isinstance(found, Refused):
        return None
    wide, narrow = found
    within = 0.5 - rules.margin <= narrow.low and narrow.high <= 0.5 + rules.margin
    reason = choice_shares.vacuous_mean(shown, rules) if within else None
    return MeanVerdict(
        margin=rules.margin,
        equivalence_low=narrow.low,
        equivalence_high=narrow.high,
        different_from_chance=not wide.low <= 0.5 <= wide.high,
        equivalent_to_chance=within and reason is None,
        reason=reason,
    )


def _counts(shown: PairsShown) -> ChoiceCounts:
    pairs = {r.case: r for r in shown.first}
    patients = [r.patient for r in pairs.values() if r.patient]
    return ChoiceCounts(
        readers=len(shown.readers),
        pairs=len(pairs),
        generators=dict(Counter(r.generator for r in pairs.values())),
        classes=dict(Counter(r.lesion_class for r in pairs.values() if r.lesion_class)),
        patients=len(set(patients)) or None,
        clustered=len(set(patients)) < len(patients),
        readings=len(shown.first),
        repeats=len(shown.repeats),
        practice_left_out=shown.practice,
        unanswered_left_out=shown.unanswered,
        late=shown.late,
    )
