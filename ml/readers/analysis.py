"""The analysis of a reader study, readings in and JSON out: each reader first, then across readers.

Primary: per reader the area under the ROC curve of the ordinal answer against 0.5, equivalent
when its 90 % interval lies within 0.5 ± margin. Only first presentations count; repeats serve
agreement of a reader with themselves. Readers are never pooled as if independent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from ml.readers import several, single, words
from ml.readers.reading import Presentations, Protocol, Reading, present
from ml.statistics import roc, trends

Json = dict[str, Any]


def analyse(readings: Iterable[Reading], protocol: Protocol | None = None) -> Json:
    """The whole result of a study.

    Keys: ``summary`` (plain words), ``counts``, ``readers`` (list), ``across`` (random and fixed
    readers, percent correct, verdict), ``between_generators``, ``agreement``, ``lesion_class``,
    ``reasons``, ``methods`` (a paragraph), ``warnings``. Every figure is ``{"value", "low",
    "high", "n", "method", "note"?}``, null where the readings do not define it. A part that
    cannot be had is ``{"refused": why}``.

    Raises:
        ReadersError: readings that contradict each other (see `ml.readers.reading.present`).
    """
    rules = protocol or Protocol()
    shown = present(readings, rules.scale)
    readers = [single.reader(name, shown, rules) for name in shown.readers]
    counts = _counts(shown)
    across = several.across(shown, rules)
    result: Json = {
        "summary": "",
        "margin": rules.margin,
        "counts": counts,
        "readers": readers,
        "across": across,
        "between_generators": several.between(shown, rules),
        "agreement": several.agree(shown, rules),
        "lesion_class": _lesion_class(shown, rules),
        "reasons": _reasons(shown),
        "warnings": words.warnings(shown, rules, readers, counts["clustered"]),
    }
    result["summary"] = words.summary(result, rules)
    result["methods"] = words.methods(result, shown, rules)
    return result


def _counts(shown: Presentations) -> Json:
    images = {r.case: r for r in shown.first}
    real = [r for r in images.values() if not r.synthetic]
    patients = {r.patient for r in real if r.patient}
    return {
        "readers": len(shown.readers),
        "images": len(images),
        "real": len(real),
        "synthetic": len(images) - len(real),
        "generators": dict(
            Counter(r.generator or "synthetic" for r in images.values() if r.synthetic)
        ),
        "classes": dict(Counter(r.lesion_class for r in images.values() if r.lesion_class)),
        "patients": len(patients) or None,
        "clustered": _clustered(list(images.values())),
        "readings": len(shown.first),
        "repeats": len(shown.repeats),
        "practice_left_out": shown.practice,
        "unanswered_left_out": shown.unanswered,
    }


def _clustered(readings: Sequence[Reading]) -> bool:
    return roc.has_repeats([int(r.synthetic) for r in readings], [r.cluster for r in readings])


def _lesion_class(shown: Presentations, rules: Protocol) -> Json:
    """The network's accuracy on the same images, and how the readers' classes agree."""
    images = {r.case: r for r in shown.first if r.lesion_class and r.answered_class}
    if not images:
        return {"refused": "lesion classes were not asked for"}
    known = [r for r in images.values() if r.case in rules.network]
    if not known:
        return {"network": {"refused": rules.network_note}}
    network: Json = {}
    for key, rows in (
        ("real", [r for r in known if not r.synthetic]),
        ("synthetic", [r for r in known if r.synthetic]),
        ("total", known),
    ):
        network[key] = single.share(
            [rules.network[r.case] == r.lesion_class for r in rows], [r.cluster for r in rows],
            rules, f"no prediction for a {key} image",
        )  # fmt: skip
    network["images_without_prediction"] = len(images) - len(known)
    return {"network": network}


def _reasons(shown: Presentations) -> list[Json]:
    """Checklist reasons; readings that the reader called real carry none by design."""
    if not any(r.reasons for r in shown.first):
        return []
    fake = {
        name: [r.reasons for r in shown.first
               if r.synthetic and (r.generator or "synthetic") == name]
        for name in shown.generators
    }  # fmt: skip
    real = [r.reasons for r in shown.first if not r.synthetic]
    return [row.to_dict() for row in trends.reasons(fake, real)]
