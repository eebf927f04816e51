"""Trials: one Stimulus, or two side by side, shown once to one reader, at a fixed position."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship

from app.db import Base, Word
from app.models.ground.append_only import append_only
from app.models.reader_studies.enrolment import Enrolment
from app.models.reader_studies.questions import Choices
from app.models.reader_studies.stimulus import Stimulus
from app.models.reader_studies.task import Part
from ml.ground import seeds
from ml.readers.pairs import Side


class TrialKind(StrEnum):
    """Why a picture is shown: before the study, for the first time, or once more."""

    PRACTICE = "practice"
    FIRST = "first"
    REPEAT = "repeat"


@dataclass(frozen=True)
class BlindTrial:
    """All that the desk knows of a trial. It has no field for truth, source, case or checkpoint."""

    token: str
    position: int
    total: int
    choices: Choices


Shown = tuple[Stimulus, ...]
"""What a trial shows: one picture; or two, the one that is asked for (a synthetic one) first."""


@append_only
class Trial(Base):
    """A place in one reader's order. The token names it to its reader and to nobody else.

    ``kind`` is practice, first or repeat; a repeat names its first presentation in ``repeats_id``.
    No page shows either before Unblinding. Of a pair ``stimulus`` stands on the left and
    ``right`` on the right; of a single picture ``right`` is None.
    """

    __tablename__ = "trial"
    __table_args__ = (
        sa.UniqueConstraint("enrolment_id", "position"),
        sa.CheckConstraint("position >= 1", name="position"),
        sa.CheckConstraint("kind IN ('practice','first','repeat')", name="kind"),
        sa.CheckConstraint("(kind = 'repeat') = (repeats_id IS NOT NULL)", name="repeat"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    enrolment_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("enrolment.id"))
    stimulus_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("stimulus.id"), index=True)
    right_id: Mapped[uuid.UUID | None] = mapped_column(sa.ForeignKey("stimulus.id"), index=True)
    part: Mapped[Part] = mapped_column(Word(Part, 10), default=Part.WHOLE)
    position: Mapped[int]
    token: Mapped[str] = mapped_column(
        sa.String(64), unique=True, default=lambda: secrets.token_urlsafe(24)
    )
    kind: Mapped[TrialKind] = mapped_column(Word(TrialKind, 10), default=TrialKind.FIRST)
    repeats_id: Mapped[uuid.UUID | None] = mapped_column(sa.ForeignKey("trial.id"))

    stimulus: Mapped[Stimulus] = relationship(foreign_keys=[stimulus_id])
    right: Mapped[Stimulus | None] = relationship(foreign_keys=[right_id])

    def at(self, side: Side) -> Stimulus:
        """The picture of a pair that stands there.

        Raises:
            ValueError: the trial shows one picture.
        """
        if self.right is None:
            raise ValueError("This trial shows one picture, which stands on no side.")
        return self.stimulus if side is Side.LEFT else self.right

    @staticmethod
    def draw_order(
        session: Session,
        enrolment: Enrolment,
        stimuli: Sequence[Shown],
        practice: Sequence[Shown] = (),
        repeated: Sequence[int] = (),
        distance: int = 1,
    ) -> list[Trial]:
        """Store a reader's order, drawn from the enrolment's seed.

        First the practice, then a permutation of ``stimuli``; those whose places are ``repeated``
        come a second time, at least ``distance`` trials later. The first of a pair stands as often
        on the left as on the right (but for one, where their number is odd), and a repeated pair
        comes with its sides changed.
        """
        rng = np.random.default_rng(enrolment.order_seed)
        order = [int(index) for index in rng.permutation(len(stimuli))]
        shown = with_repeats(order, repeated, distance, rng)
        trained = [int(index) for index in rng.permutation(len(practice))]
        turned = _balanced_turns(len(stimuli), rng) if _are_pairs(stimuli) else []
        turned_in_practice = _balanced_turns(len(practice), rng) if _are_pairs(practice) else []
        trials = [
            Trial(
                enrolment_id=enrolment.id,
                kind=TrialKind.PRACTICE,
                **_sides(practice[index], turned_in_practice, index),
            )
            for index in trained
        ]
        first: dict[int, Trial] = {}
        for index in shown:
            earlier = first.get(index)
            sides = _sides(stimuli[index], turned, index)
            if earlier is not None and earlier.right_id is not None:
                sides = {"stimulus_id": earlier.right_id, "right_id": earlier.stimulus_id}
            trial = Trial(
                id=uuid.uuid4(),
                enrolment_id=enrolment.id,
                kind=TrialKind.REPEAT if earlier else TrialKind.FIRST,
                repeats_id=earlier.id if earlier else None,
                **sides,
            )
            first.setdefault(index, trial)
            trials.append(trial)
        for position, trial in enumerate(trials, 1):
            trial.position = position
        session.add_all([one for one in trials if one.kind != TrialKind.REPEAT])
        session.flush()  # a repeat names its first presentation
        session.add_all([one for one in trials if one.kind == TrialKind.REPEAT])
        session.flush()
        return trials

    @staticmethod
    def draw_parts(
        session: Session,
        enrolment: Enrolment,
        first: Sequence[Stimulus],
        second: Sequence[Stimulus],
    ) -> None:
        """Store the order of an unaware study: a permutation of ``first``, then of ``second``."""
        rng = np.random.default_rng(enrolment.order_seed)
        parts = [(Part.UNAWARE, first), (Part.TOLD, second)]
        shown = [(part, stimuli[int(k)]) for part, stimuli in parts
                 for k in rng.permutation(len(stimuli))]  # fmt: skip
        session.add_all(
            Trial(enrolment_id=enrolment.id, stimulus_id=one.id, part=part, position=position)
            for position, (part, one) in enumerate(shown, 1)
        )
        session.flush()

    @staticmethod
    def count(session: Session, enrolment_id: uuid.UUID) -> int:
        """How many trials an enrolment has, practice and repeats too; 0 before the opening."""
        return (
            session.scalar(sa.select(sa.func.count()).where(Trial.enrolment_id == enrolment_id))
            or 0
        )


def _are_pairs(stimuli: Sequence[Shown]) -> bool:
    return any(len(one) > 1 for one in stimuli)


def _balanced_turns(count: int, rng: np.random.Generator) -> list[bool]:
    """Which of so many pairs have their first picture on the right: half of them."""
    right = count // 2 + (int(rng.integers(2)) if count % 2 else 0)
    return [bool(one) for one in rng.permutation(np.arange(count) < right)]


def _sides(shown: Shown, turned: Sequence[bool], index: int) -> dict[str, uuid.UUID | None]:
    if len(shown) == 1:
        return {"stimulus_id": shown[0].id, "right_id": None}
    left, right = reversed(shown) if turned[index] else shown
    return {"stimulus_id": left.id, "right_id": right.id}


_TRIES = 200


def with_repeats(
    order: Sequence[int], repeated: Sequence[int], distance: int, rng: np.random.Generator
) -> list[int]:
    """``order`` with each of ``repeated`` a second time, ``distance`` or more places later.

    Both places of a repeated one are drawn at random, anew when they run out; the others fill
    the rest in their order. When drawing fails 200 times the repeated ones come first and last.
    """
    if not repeated:
        return list(order)
    length, again = len(order) + len(repeated), set(repeated)
    once = [index for index in order if index not in again]
    twice = [index for index in order if index in again]
    places: dict[int, int] | None = None
    for _ in range(_TRIES):
        places = _drawn_places(twice, length, distance, rng)
        if places is not None:
            break
    if places is None:
        count = len(twice)
        places = dict(enumerate(twice)) | {
            length - count + place: index for place, index in enumerate(twice)
        }
    rest = iter(once)
    return [places[place] if place in places else next(rest) for place in range(length)]


def _drawn_places(
    twice: Sequence[int], length: int, distance: int, rng: np.random.Generator
) -> dict[int, int] | None:
    places: dict[int, int] = {}
    for index in twice:
        early = [place for place in range(length - distance) if place not in places]
        if not early:
            return None
        first = early[int(rng.integers(len(early)))]
        late = [place for place in range(first + distance, length) if place not in places]
        if not late:
            return None
        places[first] = index
        places[late[int(rng.integers(len(late)))]] = index
    return places


def chosen_to_repeat(stimuli: Sequence[Stimulus], count: int, seed: int) -> list[int]:
    """Which places of ``stimuli`` come twice for every reader: each source in its share."""
    if not count:
        return []
    rng = np.random.default_rng(seeds.of_text(f"{seed}:repeats"))
    by_source: dict[str, list[int]] = {}
    for place, stimulus in enumerate(stimuli):
        by_source.setdefault(stimulus.truth, []).append(place)
    sources = sorted(by_source)
    chosen: list[int] = []
    for number, source in enumerate(sources, 1):
        places = by_source[source]
        share = round(count * len(places) / len(stimuli))
        wanted = count - len(chosen) if number == len(sources) else share
        drawn = rng.permutation(len(places))[:wanted]
        chosen += [places[int(index)] for index in drawn]
    return sorted(chosen)
