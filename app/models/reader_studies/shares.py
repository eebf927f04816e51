"""Shares: how many images of each class and source a study shows, and its practice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from app.errors import Unreadable
from app.models.reader_studies.available import Available
from app.models.reader_studies.wish import Asked, Wish, in_all
from app.models.runs.known_lesions import KINDS, ClassCount, balanced

Numbers = dict[str, int]
"""Class key → how many images."""


@dataclass(frozen=True)
class Shares:
    """The numbers per class; all that is left to chance is which lesions and seeds they are."""

    real: Numbers
    synthetic: Numbers
    practice_real: Numbers
    practice_synthetic: Numbers

    @classmethod
    def of(cls, wish: Wish, available: Available, order: Sequence[str]) -> Shares:
        """What a checked wish comes to.

        Args:
            order: class keys; the first of them get what does not divide.

        Raises:
            Unreadable: there are fewer lesions of a class than that needs; counts are said.
        """
        counts, practice = available.counts, wish.design.practice

        def spread(asked: Asked) -> Numbers:
            return dict(asked) if isinstance(asked, Mapping) else balanced(asked, counts, order)

        real = spread(wish.real)
        if not wish.design.task.shows_real:
            none = dict.fromkeys(order, 0)
            twice = {key: 2 * pairs for key, pairs in spread(wish.synthetic).items()}
            return cls(real=none, synthetic=twice, practice_real=none, practice_synthetic=none)
        left = [_without(item, real[item.lesion_class]) for item in counts]
        # of practice pairs each has an image of both sources
        first, second = practice // 2, practice - practice // 2
        if wish.design.task.is_paired:
            first = second = practice
        practice_real = balanced(first, left, order)
        _refuse_too_few(wish, available, real, practice_real)
        return cls(
            real=real,
            synthetic=spread(wish.synthetic),
            practice_real=practice_real,
            practice_synthetic=balanced(second, left, order),
        )


def _without(item: ClassCount, taken: int) -> ClassCount:
    return replace(item, lesions=item.lesions - taken, patients=item.patients - taken)


def _refuse_too_few(wish: Wish, available: Available, real: Numbers, practice: Numbers) -> None:
    have = {item.lesion_class: item.lesions for item in available.counts}
    if all(real[key] + practice[key] <= have[key] for key in have):
        return
    frozen, practised = available.versions, wish.design.practice
    where = f" in {', '.join(row.name for row in frozen)}" if frozen else ""
    more = "Choose further versions" if frozen else "Mark and review more lesions"
    trained = f" and, for practice, {_said(practice)}" if practised else ""
    raise Unreadable(
        f"A study with {in_all(wish.real)} real images of the kind {KINDS[available.kind]} needs "
        f"lesions with a known class: {_said(real)}{trained}. There are {_said(have)}{where}. "
        f"{' '.join([*available.left_out, ''])}"
        f"{more}, or choose fewer images"
        f"{' or less practice (step Reading)' if practised else ''}."
    )


def _said(counts: Numbers) -> str:
    return ", ".join(f"{count} {key}" for key, count in counts.items())
