"""Sketches: what was typed into the wizard of a reader study, before anything is composed."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterable
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.db import Base, Word, now
from app.errors import Conflict, NotFound
from app.models.people.user import User
from app.models.reader_studies.steps import Fields, Step, Typed
from app.models.reader_studies.typed import said_seeds, seeds_of

MOST = 50
"""Most sketches that one person may have."""


class Sketch(Base):
    """A study that is not composed yet, as far as its maker has typed it. Nobody else sees it.

    Attributes:
        typed: the wizard's fields as they were typed.
        by_preset: preset → the fields that it fills, as they were when another was chosen.
        step: where the maker was last.
        refusal: ``{"step", "text"}``: why the last attempt to go on was refused; None: it was not.
        study_id: the study that was composed from it; then the sketch is not listed any more.
    """

    __tablename__ = "sketch"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    made_by_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("user.id"), index=True)
    typed: Mapped[dict[str, object]]
    by_preset: Mapped[dict[str, dict[str, object]]] = mapped_column(sa.JSON(), default=dict)
    step: Mapped[Step] = mapped_column(Word(Step, 20))
    refusal: Mapped[dict[str, str] | None] = mapped_column(sa.JSON(none_as_null=True))
    study_id: Mapped[uuid.UUID | None] = mapped_column(
        sa.ForeignKey("reader_study.id", ondelete="SET NULL")
    )
    created_at: Mapped[datetime] = mapped_column(default=now)
    changed_at: Mapped[datetime] = mapped_column(default=now)

    @staticmethod
    def begin(session: Session, by: User, typed: Fields, step: Step) -> Sketch:
        """A new one.

        Raises:
            Conflict: the person has as many as they may.
        """
        if len(Sketch.of(session, by)) >= MOST:
            raise Conflict(
                f"You have {MOST} sketches of reader studies. Delete some of them first.",
                next={"url": "/reader-studies", "label": "To the reader studies"},
            )
        sketch = Sketch(made_by_id=by.id, typed=dict(typed), step=step)
        session.add(sketch)
        session.flush()
        return sketch

    @staticmethod
    def of(session: Session, maker: User) -> list[Sketch]:
        """A person's sketches that no study was composed from, the last changed first."""
        return list(
            session.scalars(
                sa.select(Sketch)
                .where(Sketch.made_by_id == maker.id, Sketch.study_id.is_(None))
                .order_by(Sketch.changed_at.desc(), Sketch.id)
            )
        )

    @staticmethod
    def require(
        session: Session, sketch_id: uuid.UUID, maker: User, *, to_change: bool = False
    ) -> Sketch:
        """A person's own sketch, locked for the transaction when it is ``to_change``.

        Raises:
            NotFound: no such sketch, or another person's; nobody learns which.
        """
        query = sa.select(Sketch).where(Sketch.id == sketch_id, Sketch.made_by_id == maker.id)
        sketch = session.scalars(query.with_for_update() if to_change else query).one_or_none()
        if sketch is None:
            raise NotFound(
                "There is no such sketch of a reader study, or it is not yours.",
                next={"url": "/reader-studies", "label": "To the reader studies"},
            )
        return sketch

    @property
    def form(self) -> Typed:
        """Everything that was typed."""
        return Typed.of(self.typed)

    def refuse(self, step: Step, text: str) -> None:
        """Say why a step could not be left."""
        self.refusal = {"step": step.value, "text": text}

    def refusal_at(self, step: Step) -> str:
        """Why the last attempt to go on from this step was refused; "" when it was not."""
        if self.refusal is None or self.refusal["step"] != step:
            return ""
        return self.refusal["text"]

    @property
    def title(self) -> str:
        """The title as far as it was typed; "" for none."""
        return str(self.typed.get("title", "")).strip()

    def mark(self, names: Iterable[str]) -> str:
        """Changes when any of these fields does."""
        part = json.dumps({name: self.typed.get(name) for name in sorted(names)})
        return hashlib.sha256(part.encode()).hexdigest()[:16]

    def keep(self, typed: Fields, step: Step) -> None:
        """Take over these fields; the others stay."""
        self.typed = {**self.typed, **typed}
        self.step = step
        self.changed_at = now()

    def choose(self, generator: str, seeds: Iterable[int]) -> None:
        """Add synthetic images to those that are chosen by hand.

        Raises:
            Conflict: a study was composed from it.
            Unreadable: what is chosen there already cannot be read.
        """
        if self.study_id is not None:
            raise Conflict(
                "A study was composed from this sketch; its images stay.",
                next={"url": f"/reader-studies/{self.study_id}", "label": "To the study"},
            )
        chosen: dict[str, tuple[int, ...]] = seeds_of(self.form.chosen)
        together = {*chosen.get(generator, ()), *seeds}
        self.keep({"chosen": said_seeds({**chosen, generator: sorted(together)})}, self.step)

    def discard(self, session: Session) -> None:
        """Delete it; a study composed from it stays."""
        session.delete(self)
        session.flush()
