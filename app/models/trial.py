"""Trials: one Stimulus shown once to one reader, at a fixed position."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship

from app.db import Base
from app.models.append_only import append_only
from app.models.enrolment import Enrolment
from app.models.protocol import Choices
from app.models.stimulus import Stimulus


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


@append_only
class Trial(Base):
    """A place in one reader's order. The token names it to its reader and to nobody else.

    ``kind`` is practice, first or repeat; a repeat names its first presentation in ``repeats_id``.
    No page shows either before Unblinding.
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
    position: Mapped[int]
    token: Mapped[str] = mapped_column(
        sa.String(64), unique=True, default=lambda: secrets.token_urlsafe(24)
    )
    kind: Mapped[str] = mapped_column(sa.String(10), default=FIRST)
    repeats_id: Mapped[uuid.UUID | None] = mapped_column(sa.ForeignKey("trial.id"))

    stimulus: Mapped[Stimulus] = relationship()

    @staticmethod
    def draw_order(
        session: Session, enrolment: Enrolment, stimuli: Sequence[Stimulus]
    ) -> list[Trial]:
        """Store a reader's order: a permutation of ``stimuli`` drawn from the enrolment's seed."""
        order = np.random.default_rng(enrolment.order_seed).permutation(len(stimuli))
        trials = [
            Trial(enrolment_id=enrolment.id, stimulus_id=stimuli[index].id, position=position)
            for position, index in enumerate(order.tolist(), 1)
        ]
        session.add_all(trials)
        session.flush()
        return trials

    @staticmethod
    def count(session: Session, enrolment_id: uuid.UUID) -> int:
        return (
            session.scalar(sa.select(sa.func.count()).where(Trial.enrolment_id == enrolment_id))
            or 0
        )
