"""Predictions: a checkpoint's class probabilities for a lesion."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, joinedload, mapped_column, relationship

from app.db import Base, now
from app.models.cases.lesion import Lesion
from app.models.checkpoint import Checkpoint
from app.models.ground.numbered import next_number
from ml.checkpoints.checkpoint import CheckpointKind
from ml.ground import records
from ml.trust.answer import Said

_OF_BEFORE = (
    "These are scores, no probabilities: they were given before calibration, prediction sets, "
    "likeness to the training ROIs and a second opinion were told here."
)


class Prediction(Base):
    """What one checkpoint said of one lesion. Never changed; one per lesion and checkpoint.

    ``said`` is all that was said as JSON; None of what was said before calibration was known here.
    """

    __tablename__ = "prediction"
    __table_args__ = (
        sa.UniqueConstraint("lesion_id", "checkpoint_id"),
        sa.UniqueConstraint("lesion_id", "number"),
        sa.Index("ix_prediction_given", "created_at"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    lesion_id: Mapped[uuid.UUID] = mapped_column(
        sa.ForeignKey("lesion.id", ondelete="CASCADE"), index=True
    )
    checkpoint_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("checkpoint.id"))
    number: Mapped[int] = mapped_column(default=next_number("lesion_id"))
    probabilities: Mapped[dict[str, float]]
    lesion_class: Mapped[str] = mapped_column(sa.String(40))
    warnings: Mapped[list[str]]
    said: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = mapped_column(default=now)

    checkpoint: Mapped[Checkpoint] = relationship()

    @staticmethod
    def record(
        session: Session,
        lesion: Lesion,
        checkpoint: Checkpoint,
        said: Said,
        warnings: Sequence[str],
    ) -> Prediction:
        """Store what was said of a lesion; the class is the likeliest one."""
        prediction = Prediction(
            lesion_id=lesion.id,
            checkpoint=checkpoint,
            probabilities=dict(said.probabilities),
            lesion_class=said.lesion_class,
            warnings=list(warnings),
            said=records.to_json(said),
        )
        session.add(prediction)
        session.flush()
        return prediction

    @property
    def answer(self) -> Said:
        """All that was said, of an older one what is known of it."""
        if self.said is None:
            return Said(self.probabilities, reasons=(_OF_BEFORE,))
        return records.from_json(Said, self.said)

    @staticmethod
    def of_lesion(session: Session, lesion_id: uuid.UUID) -> list[Prediction]:
        """Every prediction for a lesion, the newest first."""
        return list(
            session.scalars(
                sa.select(Prediction)
                .options(joinedload(Prediction.checkpoint))
                .where(Prediction.lesion_id == lesion_id)
                .order_by(Prediction.number.desc())
            )
        )

    @staticmethod
    def network_of(session: Session, predictions: Sequence[Prediction]) -> Checkpoint | None:
        """The checkpoint that scored a lesion last; before any has, the served classifier.

        Args:
            predictions: all for the lesion, the newest first.
        """
        if predictions:
            return predictions[0].checkpoint
        return next(iter(Checkpoint.served(session, CheckpointKind.CLASSIFIER)[-1:]), None)
