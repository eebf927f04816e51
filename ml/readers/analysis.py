"""The analysis of a reader study: each reader first, then across readers.

Primary: per reader the area under the ROC curve of the ordinal answer against 0.5, equivalent
when its 90 % interval lies within 0.5 ± margin. Only first presentations count; repeats serve
agreement of a reader with themselves. Readers are never pooled as if independent.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from ml.readers import primary as hypothesis
from ml.readers import secondary as others
from ml.readers import several, single, words
from ml.readers.reading import Presentations, Protocol, Reading, counted, present
from ml.readers.results import (
    AppliedRule,
    Counts,
    LesionClass,
    NetworkAccuracy,
    Refused,
    Result,
    Share,
    Unsent,
)
from ml.statistics import trends


def analyse(
    readings: Iterable[Reading],
    protocol: Protocol | None = None,
    amendments: Mapping[int, Protocol] | None = None,
    marked: Collection[str] | None = None,
) -> Result:
    """The whole result of a study.

    Args:
        readings: every trial, also those without an answer.
        protocol: what was fixed before reading.
        amendments: version → what was fixed later; shown beside, and deciding nothing.
        marked: images that a leak audit marks, by case; None where that is not known.

    Raises:
        ReadersError: readings that contradict each other (see `ml.readers.reading.present`).
    """
    rules = protocol or Protocol()
    given = list(readings)
    every = counted(given)
    unsent = Unsent.of(
        ((r.reader, r.unsent) for r in given if r.rating is not None and not r.is_practice),
        in_protocol=rules.unsent_rule_in_protocol,
    )
    shown = Unsent.apart(unsent, present(every, rules.scale))
    readers = tuple(single.reader(name, shown, rules) for name in shown.readers)
    counts = Counts.of(shown)
    across, between = several.across(shown, rules), several.between(shown, rules)
    family = others.of_ratings({one.reader: one.verdict for one in readers}, across, between, rules)
    readers = tuple(replace(one, verdict=family.judged(one.reader, one.verdict)) for one in readers)
    primary = None
    if shown.first:
        primary = hypothesis.primary(every, rules, marked, given if unsent else None)
    verdict = others.as_planned(
        family.across(across.verdict), rules.hypothesis, primary.planned if primary else None
    )
    across = replace(across, verdict=verdict)
    found = Result(
        summary="",
        margin=rules.margin,
        counts=counts,
        readers=readers,
        across=across,
        between_generators=between,
        agreement=several.agree(shown, rules),
        lesion_class=lesion_class(shown.first, rules),
        reasons=_reasons(shown),
        warnings=words.warnings(shown, readers, counts.clustered, rules),
        methods="",
        primary=primary,
        amended=tuple(
            found
            for version, later in (amendments or {}).items()
            if shown.first
            and (found := hypothesis.amended(every, rules, version, later)) is not None
        ),
        secondary=family.hypotheses,
        scale_rule=AppliedRule(
            rules.scale_rule.least_off, rules.scale_rule.least_ratings, rules.scale_rule_in_protocol
        ),
        unsent=unsent,
    )
    return replace(
        found,
        warnings=Unsent.first(unsent, found.warnings),
        summary=" ".join(words.sentences(found)),
        methods=words.methods(found, shown, rules),
    )


def lesion_class(first: Sequence[Reading], rules: Protocol) -> LesionClass | Refused:
    """The network's accuracy on the images of which readers named the class."""
    images = {r.case: r for r in first if r.lesion_class and r.answered_class}
    if not images:
        return Refused("lesion classes were not asked for")
    known = [r for r in images.values() if r.case in rules.network]
    if not known:
        return LesionClass(Refused(rules.network_note))

    def right(rows: Sequence[Reading], kind: str) -> Share:
        return single.share(
            [rules.network[r.case] == r.lesion_class for r in rows], [r.cluster for r in rows],
            rules, f"no prediction for a {kind} image",
        )  # fmt: skip

    return LesionClass(
        NetworkAccuracy(
            real=right([r for r in known if not r.synthetic], "real"),
            synthetic=right([r for r in known if r.synthetic], "synthetic"),
            total=right(known, "total"),
            images_without_prediction=len(images) - len(known),
        )
    )


def _reasons(shown: Presentations) -> tuple[trends.Reason, ...]:
    """Checklist reasons; readings that the reader called real carry none by design."""
    if not any(r.reasons for r in shown.first):
        return ()
    fake = {
        name: [r.reasons for r in shown.first
               if r.synthetic and (r.generator or "synthetic") == name]
        for name in shown.generators
    }  # fmt: skip
    real = [r.reasons for r in shown.first if not r.synthetic]
    return trends.reasons(fake, real)
