"""Deliveries: when the picture of a trial was first sent to its reader, by the server's clock."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.db import Base, now
from app.models.ground.append_only import append_only
from app.models.reader_studies.enrolment import Enrolment
from app.models.reader_studies.protocol import Protocol
from app.models.reader_studies.trial import Trial


@append_only
class Delivery(Base):
    """The first sending of a trial's picture. Desks fetch a few pictures ahead of the current one,
    so a picture is seen at its delivery at the earliest."""

    __tablename__ = "delivery"

    trial_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("trial.id"), primary_key=True)
    at: Mapped[datetime] = mapped_column(default=now)

    @staticmethod
    def keep(session: Session, sent: Mapping[uuid.UUID, datetime]) -> None:
        """Write down trial → moment; a picture that was sent before keeps its first moment."""
        if sent:
            dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
            rows = [{"trial_id": trial, "at": at} for trial, at in sent.items()]
            session.execute(dialect.insert(Delivery).values(rows).on_conflict_do_nothing())

    @staticmethod
    def kept_for(opening: Protocol) -> bool:
        """Whether sendings were kept when a study was opened by this protocol."""
        return "least_ms" in opening.content_json.get("design", {})

    @staticmethod
    def of_study(session: Session, study_id: uuid.UUID) -> dict[uuid.UUID, datetime]:
        """Trial → when its picture was first sent, for every trial of a study that was sent."""
        rows = session.execute(
            sa.select(Delivery.trial_id, Delivery.at)
            .join(Trial, Trial.id == Delivery.trial_id)
            .join(Enrolment, Enrolment.id == Trial.enrolment_id)
            .where(Enrolment.study_id == study_id)
        )
        return {row.trial_id: row.at for row in rows}
