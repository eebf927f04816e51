"""Protocols: what a reader study asks, of which images, in which order; frozen when it opens."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship

from app.db import Base, now
from app.errors import Unreadable
from app.models.ground.append_only import append_only
from app.models.people.user import User
from app.models.reader_studies.content import ProtocolContent
from app.models.reader_studies.intent import (
    MOST_REASON,
    UNSAID,
    Primary,
    of_missing,
    of_multiplicity,
)
from app.models.reader_studies.stored import Json, write
from app.models.reader_studies.typed import number

AMENDABLE = {
    "margin": "margin",
    "margin_reason": "reason for the margin",
    "primary": "primary hypothesis",
    "multiplicity": "rule for the secondary hypotheses",
    "missing": "plan for missing answers",
    "analysis": "analysis plan",
    "notes": "notes",
}
"""What an amendment may change: nothing that a reader sees."""

OF_INTENT = ("primary", "margin_reason", "multiplicity", "missing")
"""Those of them that stand in the intent."""


@dataclass(frozen=True)
class Progress:
    """How many answers a study had of how many trials of its readers, practice and repeats too.

    ``trials`` is None where that was not counted at the time.
    """

    answers: int
    trials: int | None

    @classmethod
    def of(
        cls, session: Session, study_id: uuid.UUID, *, until: datetime | None = None
    ) -> Progress:
        """So far; or ``until`` a moment, by the times of the answers, out of unknown trials."""
        enrolment = Base.metadata.tables["enrolment"]  # their classes are built on this one
        reading, trial = Base.metadata.tables["reading"], Base.metadata.tables["trial"]
        own = enrolment.c.study_id == study_id
        answers = (
            sa.select(sa.func.count())
            .select_from(reading)
            .join(enrolment, enrolment.c.id == reading.c.enrolment_id)
            .where(own, reading.c.revision == 1)
        )
        if until is not None:
            return cls(session.scalars(answers.where(reading.c.answered_at <= until)).one(), None)
        trials = (
            sa.select(sa.func.count())
            .select_from(trial)
            .join(enrolment, enrolment.c.id == trial.c.enrolment_id)
            .where(own)
        )
        return cls(session.scalars(answers).one(), session.scalars(trials).one())


def digest_of(content: Mapping[str, object]) -> str:
    """SHA-256 over the JSON of a protocol: sorted keys, no spaces."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


@append_only
class Protocol(Base):
    """One version of a study's protocol. The first is the opening; later ones are amendments.

    ``answers`` of ``trials`` had been given when it was written; None in rows from before that was
    counted. ``content`` holds the truth of every image and is not shown before Unblinding; its
    digest is. ``content_json`` is what is kept and hashed; an amendment changes one thing of it.
    """

    __tablename__ = "protocol"
    __table_args__ = (sa.UniqueConstraint("study_id", "version"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    study_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("reader_study.id"))
    version: Mapped[int]
    # hundreds of images long: read when it is asked for, not with each answer and picture
    content_json: Mapped[Json] = mapped_column("content", deferred=True)
    digest: Mapped[str] = mapped_column(sa.String(64))
    reason: Mapped[str] = mapped_column(sa.Text, default="")
    frozen_by_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("user.id"))
    frozen_at: Mapped[datetime] = mapped_column(default=now)
    answers: Mapped[int | None]
    trials: Mapped[int | None]

    frozen_by: Mapped[User] = relationship()

    @staticmethod
    def freeze(
        session: Session, study_id: uuid.UUID, content: Json, by: User, reason: str = ""
    ) -> Protocol:
        """Write the next version, with how much has been read by now."""
        versions = Protocol.of_study(session, study_id)
        read = Progress.of(session, study_id)
        protocol = Protocol(
            study_id=study_id,
            version=len(versions) + 1,
            content_json=content,
            digest=digest_of(content),
            reason=reason,
            frozen_by_id=by.id,
            answers=read.answers,
            trials=read.trials,
        )
        session.add(protocol)
        session.flush()
        return protocol

    @staticmethod
    def of_study(session: Session, study_id: uuid.UUID) -> Sequence[Protocol]:
        """Every version, the first first."""
        return session.scalars(
            sa.select(Protocol).where(Protocol.study_id == study_id).order_by(Protocol.version)
        ).all()

    def amended(self, session: Session, by: User, *, what: str, text: str, reason: str) -> Protocol:
        """The next version, with one thing changed that no reader sees.

        Raises:
            Unreadable: something that readers see or that was frozen for good, no reason, or a
                margin that there is not.
        """
        if what not in AMENDABLE:
            raise Unreadable(
                f"{what[:40]!r} is frozen: it affects what readers see or do. An amendment may "
                f"change the {', the '.join(AMENDABLE.values())}."
            ).about("what")
        if not 5 <= len(reason.strip()) <= 2000:
            raise Unreadable("Say why the protocol is amended, in 5 to 2000 characters.").about(
                "reason"
            )
        if not 1 <= len(text.strip()) <= 10_000:
            raise Unreadable("Give the new text in 1 to 10,000 characters.").about("text")
        content = self.content_json
        intent = content.get("intent", write(UNSAID))
        value = _amendment(what, text.strip())
        if (intent if what in OF_INTENT else content).get(what) == value:
            raise Unreadable("The amendment changes nothing.").about("text")
        changed: dict[str, object] = {what: value}
        if what in OF_INTENT:
            changed = {"intent": {**intent, **changed}}
        return Protocol.freeze(session, self.study_id, {**content, **changed}, by, reason.strip())

    def progress(self, session: Session) -> Progress:
        """What had been read when it was written; by the times of answers where none counted it."""
        if self.answers is None:
            return Progress.of(session, self.study_id, until=self.frozen_at)
        return Progress(self.answers, self.trials)

    @property
    def content(self) -> ProtocolContent:
        """What it froze; loaded when it is asked for. Damaged when it is no protocol."""
        return ProtocolContent.from_json(self.content_json)

    @property
    def holds(self) -> bool:
        """Whether the content is still the one that was frozen."""
        return digest_of(self.content_json) == self.digest


def _amendment(what: str, text: str) -> str | float | Json:
    """What is stored of an amendment as it was typed.

    Raises:
        Unreadable: a margin, hypothesis, rule or plan that there is not.
    """
    if what == "margin":
        margin = number(text, "the margin")
        if not 0.01 <= margin <= 0.3:
            raise Unreadable(f"Choose a margin from 0.01 to 0.30, not {margin}.").about("text")
        return margin
    if what == "primary":
        return write(Primary.typed(text))
    if what == "multiplicity":
        return of_multiplicity(text).value
    if what == "missing":
        return of_missing(text).value
    if what == "margin_reason" and len(text) > MOST_REASON:
        raise Unreadable(
            f"Give the reason for the margin in at most {MOST_REASON} characters."
        ).about("text")
    return text
