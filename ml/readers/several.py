"""Across the readers of a study: random and fixed readers, generators, agreement."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from ml.readers.reading import (
    Presentations,
    Protocol,
    Reading,
    ratings,
    ratings_by_generator,
)
from ml.readers.results import (
    Across,
    AgreementOfReaders,
    BetweenGenerators,
    ClassAgreement,
    MeanVerdict,
    Pair,
    Refused,
)
from ml.readers.single import classes as all_classes
from ml.readers.single import is_right
from ml.statistics import agreement, mrmc, roc
from ml.statistics.figure import Figure
from ml.statistics.proportion import ReadersError
from ml.statistics.ratings import Ratings


def _usable(shown: Presentations) -> tuple[list[Reading], list[str]]:
    """Readings of readers who saw enough images of each kind, and the readers left out."""
    kept: list[Reading] = []
    out: list[str] = []
    for name in shown.readers:
        mine = shown.of(name)
        fake = sum(r.synthetic for r in mine)
        if min(fake, len(mine) - fake) < roc.FEWEST:
            out.append(name)
        else:
            kept.extend(mine)
    return kept, out


def left_out(shown: Presentations) -> tuple[str, ...]:
    """Readers of too few images of a kind to count in what is said of several."""
    return tuple(_usable(shown)[1])


def left_out_between(shown: Presentations) -> tuple[str, ...]:
    """Readers of too few images of a generator to count in what is said between generators."""
    kept, out = _usable(shown)
    return (*out, *(ratings_by_generator(kept).lacking(roc.FEWEST) if kept else ()))


_NO_SIDES = Refused("no point of the scale is right or wrong")
_NOBODY = f"no reader read {roc.FEWEST} real and {roc.FEWEST} synthetic images"


def across(shown: Presentations, rules: Protocol) -> Across:
    """Random readers, fixed readers, percent correct, and the verdict of equivalence.

    What cannot be said (too few readers, nobody who read five images of each kind) is a `Refused`
    there and is not raised.

    Raises:
        ReadersError: a reader rated an image twice in ``shown.first``; `present` sees to that.
    """
    kept, out = _usable(shown)
    if not kept:
        why = Refused(_NOBODY)
        return Across(tuple(out), why, why, why, None, why.refused)
    areas = ratings(kept)
    fixed = _tried(lambda: mrmc.fixed_readers(areas))
    few = _too_few(len(areas.readers), rules)
    if few is not None:
        return Across(tuple(out), fixed, few, few, None, few.refused)
    random = _tried(lambda: mrmc.random_readers(areas))
    of_shares: mrmc.Analysis | Refused = _NO_SIDES
    if rules.has_sides:
        correct = ratings(kept, correct=rules)
        of_shares = _tried(lambda: mrmc.random_readers(correct, mrmc.FigureOfMerit.MEAN))
    found = judged(areas, rules)
    if isinstance(found, Refused):
        return Across(tuple(out), fixed, random, of_shares, None, found.refused)
    return Across(tuple(out), fixed, random, of_shares, found)


def judged(areas: Ratings, rules: Protocol) -> MeanVerdict | Refused:
    """The verdict of readers like these, of one treatment; refused where there is none.

    There is none with too few readers, where one of them did not use the scale, or where their
    areas do not vary. Equivalence is shown by the wider of the 90 % intervals of other readers and
    of these very ones: with few readers the former is narrow by luck where their areas happen to be
    alike, and of other readers nothing is claimed that is not shown of these. Ratings that could
    not have left the margin show nothing.
    """
    few = _too_few(len(areas.readers), rules)
    unused = _unused(areas, rules)
    if few is not None or unused is not None:
        return few or Refused(unused or "")
    try:
        mean = mrmc.random_readers(areas).mean
        others = mrmc.random_readers(areas, confidence=0.90).mean
        narrow = others.no_narrower_than(mrmc.fixed_readers(areas, confidence=0.90).mean)
    except ReadersError as error:
        return Refused(str(error))
    return _told(areas, mean, narrow.low, narrow.high, rules)


def of_these(
    shown: Presentations, rules: Protocol
) -> tuple[mrmc.Analysis | Refused, MeanVerdict | None, str | None]:
    """The mean area of these very readers, its verdict, and why there is none."""
    kept, _ = _usable(shown)
    if not kept:
        return Refused(_NOBODY), None, _NOBODY
    areas = ratings(kept)
    fixed = _tried(lambda: mrmc.fixed_readers(areas))
    if isinstance(fixed, Refused):
        return fixed, None, fixed.refused
    unused = _unused(areas, rules)
    if unused is not None:
        return fixed, None, unused
    narrow = mrmc.fixed_readers(areas, confidence=0.90).mean
    found = _told(areas, fixed.mean, narrow.low, narrow.high, rules)
    return (fixed, None, found.refused) if isinstance(found, Refused) else (fixed, found, None)


def _told(
    areas: Ratings, mean: mrmc.TreatmentMean, low: float, high: float, rules: Protocol
) -> MeanVerdict | Refused:
    """From the mean with its 95 % interval, and the ends of the 90 % one."""
    if mean.se <= mrmc.NO_SPREAD:
        return Refused(
            "the readers' areas do not vary, so how far others would be from them is not known"
        )
    within = 0.5 - rules.margin <= low and high <= 0.5 + rules.margin
    cells = [areas.cell(0, j) for j in range(len(areas.readers))]
    bound = min(roc.reach(truth, scores) for truth, scores, _ in cells)
    vacuous = within and bound <= rules.margin
    return MeanVerdict(
        margin=rules.margin,
        equivalence_low=low,
        equivalence_high=high,
        different_from_chance=not mean.low <= 0.5 <= mean.high,
        equivalent_to_chance=within and not vacuous,
        reason=roc.cannot_leave(bound, rules.margin) if vacuous else None,
    )


def _unused(block: Ratings, rules: Protocol) -> str | None:
    """Who of the readers did not use the scale, and by how much; None where all did.

    One is enough: a mean over readers is as near to 0.5, and varies as little, as their answers
    let it.
    """
    told = []
    for j, name in enumerate(block.readers):
        fault = rules.scale_rule.fault(block.given_by(j))
        if fault is not None:
            told.append(f"reader {name} did not use the scale ({fault})")
    return f"{', '.join(told)}; a verdict needs {rules.scale_rule.text}" if told else None


def _tried(analyse: Callable[[], mrmc.Analysis]) -> mrmc.Analysis | Refused:
    """The analysis, or why there is none."""
    try:
        return analyse()
    except ReadersError as error:
        return Refused(str(error))


def _too_few(readers: int, rules: Protocol) -> Refused | None:
    if readers >= rules.least_readers:
        return None
    noun = "reader" if readers == 1 else "readers"
    return Refused(
        f"{readers} {noun} cannot speak for other readers (at least {rules.least_readers} are "
        "needed); the figures hold for these readers only"
    )


def between(shown: Presentations, rules: Protocol) -> BetweenGenerators | Refused | None:
    """Differences between generators: real images shared, synthetic ones not.

    Refused as a whole where none can be made; None for fewer than two generators.
    """
    if len(shown.generators) < 2:
        return None
    kept, _ = _usable(shown)
    if not kept:
        return Refused(_NOBODY)
    block = ratings_by_generator(kept)
    lacking = block.lacking(roc.FEWEST)
    if len(lacking) == len(block.readers):
        return Refused("no reader read five synthetic images of each generator")
    block = block.without(lacking)
    few = _too_few(len(block.readers), rules)
    jackknife = mrmc.CovarianceMethod.JACKKNIFE
    why_not = _unused(block, rules)
    try:
        fixed = mrmc.fixed_readers(block, method=jackknife)
        random: mrmc.Analysis | Refused = few or mrmc.random_readers(block, method=jackknife)
        correct: mrmc.Analysis | Refused = few or _NO_SIDES
        if few is None and rules.has_sides:
            right = ratings_by_generator(kept, rules).without(lacking)
            correct = mrmc.random_readers(right, mrmc.FigureOfMerit.MEAN, jackknife)
    except ReadersError as error:
        return Refused(str(error))

    def told(found: mrmc.Analysis | Refused) -> mrmc.Analysis | Refused:
        return found if why_not is None or isinstance(found, Refused) else found.without_p()

    return BetweenGenerators(
        random=told(random),
        fixed=told(fixed),
        correct=told(correct),
        left_out=left_out_between(shown),
        no_verdict=why_not,
    )


def agree(shown: Presentations, rules: Protocol) -> AgreementOfReaders | Refused:
    """Every pair of readers, and all of them together."""
    names = shown.readers
    if len(names) < 2:
        return Refused("agreement between readers needs two readers")
    by_reader = {name: {r.case: r for r in shown.of(name)} for name in names}
    cases = list(dict.fromkeys(r.case for r in shown.first))
    clusters = {r.case: r.cluster for r in shown.first}
    points = list(range(1, rules.scale + 1))
    classes = all_classes(shown.first, rules)
    pairs = []
    for a, b in combinations(names, 2):
        common = [c for c in cases if c in by_reader[a] and c in by_reader[b]]
        if not common:
            continue
        first = [by_reader[a][c] for c in common]
        second = [by_reader[b][c] for c in common]
        asked = [(x, y) for x, y in zip(first, second, strict=True)
                 if x.answered_class and y.answered_class]  # fmt: skip
        pairs.append(
            Pair(
                readers=(a, b),
                n=len(common),
                call=agreement.cohen(
                    [rules.says_synthetic(r.rating or 0) for r in first],
                    [rules.says_synthetic(r.rating or 0) for r in second], [False, True],
                ),
                rating=agreement.cohen(
                    [r.rating for r in first], [r.rating for r in second], points, "quadratic"
                ),
                correct=agreement.mcnemar(
                    [is_right(r, rules) for r in first], [is_right(r, rules) for r in second]
                ),
                lesion_class=_classes_of(asked, classes) if asked else None,
            )
        )  # fmt: skip
    complete = [c for c in cases if all(c in by_reader[n] for n in names)]
    cochran = None
    if len(names) > 2 and complete:
        table = np.array([[is_right(by_reader[n][c], rules) for n in names] for c in complete])
        cochran = agreement.cochran(table)
    return _of_all(tuple(pairs), cochran, by_reader, cases, clusters, rules)


def _classes_of(asked: Sequence[tuple[Reading, Reading]], classes: Sequence[str]) -> ClassAgreement:
    found = agreement.cohen(
        [x.answered_class for x, _ in asked], [y.answered_class for _, y in asked], classes
    )
    return ClassAgreement(
        **vars(found),
        both_correct=sum(x.answered_class == y.answered_class == x.lesion_class for x, y in asked),
        agreed_but_wrong=sum(
            x.answered_class == y.answered_class != x.lesion_class for x, y in asked
        ),
    )


def _of_all(
    pairs: tuple[Pair, ...],
    cochran: agreement.EqualShares | None,
    by_reader: Mapping[str, Mapping[str, Reading]],
    cases: Sequence[str],
    clusters: Mapping[str, str],
    rules: Protocol,
) -> AgreementOfReaders:
    """With Fleiss' κ and Krippendorff's α over all readers."""
    options = _Resampling(rules.resamples, rules.seed, tuple(clusters[c] for c in cases))
    rated = np.array(
        [[float(mine[c].rating or 0) if c in mine else np.nan for c in cases]
         for mine in by_reader.values()]
    )  # fmt: skip
    called = [[None if np.isnan(x) else rules.says_synthetic(int(x)) for x in row] for row in rated]
    answers = [
        [mine[c].answered_class if c in mine else None for c in cases]
        for mine in by_reader.values()
    ]
    fleiss_class = alpha_class = None
    if any(a is not None for row in answers for a in row):
        codes = {c: k for k, c in enumerate(sorted({a for row in answers for a in row if a}))}
        coded = np.array([[codes[a] if a else np.nan for a in row] for row in answers])
        fleiss_class = options.fleiss(answers)
        alpha_class = options.krippendorff(coded, "nominal")
    return AgreementOfReaders(
        pairs=pairs,
        fleiss_call=options.fleiss(called),
        alpha_rating=options.krippendorff(rated, "ordinal"),
        fleiss_class=fleiss_class,
        alpha_class=alpha_class,
        cochran=cochran,
    )


@dataclass(frozen=True)
class _Resampling:
    """How agreement of all readers is resampled; what is not defined says so and is not raised."""

    resamples: int
    seed: int
    clusters: tuple[str, ...]

    def fleiss(self, answers: Sequence[Sequence[Hashable | None]]) -> Figure:
        try:
            return agreement.fleiss(
                agreement.answer_counts(answers),
                resamples=self.resamples, seed=self.seed, clusters=self.clusters,
            )  # fmt: skip
        except ReadersError as error:
            return Figure.undefined(0, "none", str(error))

    def krippendorff(self, values: NDArray[np.float64], level: agreement.Level) -> Figure:
        try:
            return agreement.krippendorff(
                values, level,
                resamples=self.resamples, seed=self.seed, clusters=self.clusters,
            )  # fmt: skip
        except ReadersError as error:
            return Figure.undefined(0, "none", str(error))
