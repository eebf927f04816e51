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
from ml.statistics import agreement, mrmc
from ml.statistics.figure import Figure
from ml.statistics.proportion import ReadersError
from ml.statistics.ratings import Ratings


def _usable(shown: Presentations) -> tuple[list[Reading], list[str]]:
    """Readings of readers who saw two images of each kind, and the readers left out."""
    kept: list[Reading] = []
    out: list[str] = []
    for name in shown.readers:
        mine = shown.of(name)
        fake = sum(r.synthetic for r in mine)
        if min(fake, len(mine) - fake) < 2:
            out.append(name)
        else:
            kept.extend(mine)
    return kept, out


def across(shown: Presentations, rules: Protocol) -> Across:
    """Random readers, fixed readers, percent correct, and the verdict of equivalence.

    What cannot be said (too few readers, nobody who read two images of each kind) is a `Refused`
    there and is not raised.

    Raises:
        ReadersError: a reader rated an image twice in ``shown.first``; `present` sees to that.
    """
    kept, out = _usable(shown)
    if not kept:
        why = Refused("no reader read two real and two synthetic images")
        return Across(tuple(out), why, why, why, None)
    areas, correct = ratings(kept), ratings(kept, correct=rules)
    fixed = _tried(lambda: mrmc.fixed_readers(areas))
    few = _too_few(len(areas.readers), rules)
    if few is not None:
        return Across(tuple(out), fixed, few, few, None)
    random = _tried(lambda: mrmc.random_readers(areas))
    of_shares = _tried(lambda: mrmc.random_readers(correct, mrmc.FigureOfMerit.MEAN))
    verdict = None
    if not isinstance(random, Refused):
        narrow = mrmc.random_readers(areas, confidence=0.90).mean
        verdict = MeanVerdict(
            margin=rules.margin,
            equivalence_low=narrow.low,
            equivalence_high=narrow.high,
            different_from_chance=not random.mean.low <= 0.5 <= random.mean.high,
            equivalent_to_chance=0.5 - rules.margin <= narrow.low
            and narrow.high <= 0.5 + rules.margin,
        )
    return Across(tuple(out), fixed, random, of_shares, verdict)


def of_these(
    shown: Presentations, rules: Protocol
) -> tuple[mrmc.Analysis | Refused, MeanVerdict | None, str | None]:
    """The mean area of these very readers, its verdict, and why there is none."""
    kept, _ = _usable(shown)
    if not kept:
        return Refused("no reader read two real and two synthetic images"), None, None
    areas = ratings(kept)
    fixed = _tried(lambda: mrmc.fixed_readers(areas))
    if isinstance(fixed, Refused):
        return fixed, None, None
    narrow = mrmc.fixed_readers(areas, confidence=0.90).mean
    verdict = MeanVerdict(
        margin=rules.margin,
        equivalence_low=narrow.low,
        equivalence_high=narrow.high,
        different_from_chance=not fixed.mean.low <= 0.5 <= fixed.mean.high,
        equivalent_to_chance=0.5 - rules.margin <= narrow.low and narrow.high <= 0.5 + rules.margin,
    )
    return fixed, verdict, None


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
        return Refused("no reader read two real and two synthetic images")
    block: Ratings = ratings_by_generator(kept)
    few = _too_few(len(block.readers), rules)
    jackknife = mrmc.CovarianceMethod.JACKKNIFE
    try:
        fixed = mrmc.fixed_readers(block, method=jackknife)
        if few is not None:
            return BetweenGenerators(few, fixed, few)
        right = ratings_by_generator(kept, rules)
        return BetweenGenerators(
            random=mrmc.random_readers(block, method=jackknife),
            fixed=fixed,
            correct=mrmc.random_readers(right, mrmc.FigureOfMerit.MEAN, jackknife),
        )
    except ReadersError as error:
        return Refused(str(error))


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
