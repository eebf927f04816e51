"""Sketches: what was typed into the wizard of a reader study, before anything is composed."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship

from app.db import Base, Word, now
from app.errors import Conflict, NotFound, Unreadable
from app.models.ground.event import Event
from app.models.people.user import User
from app.models.reader_studies.steps import Fields, Step, Typed
from app.models.reader_studies.typed import said_seeds, seeds_of

MOST = 50
"""Most sketches that one person may have."""


class SketchSharing(Base):
    """Somebody else who may open and change a sketch."""

    __tablename__ = "sketch_sharing"

    sketch_id: Mapped[uuid.UUID] = mapped_column(
        sa.ForeignKey("sketch.id", ondelete="CASCADE"), primary_key=True
    )
    user_id: Mapped[uuid.UUID] = mapped_column(
        sa.ForeignKey("user.id"), primary_key=True, index=True
    )

    user: Mapped[User] = relationship()


@dataclass(frozen=True)
class Written:
    """From where a step was written: by which page in a browser, and at which of its tries.

    An answer may be lost, and a try may arrive after a later one.

    Attributes:
        page: an id that the page made; "" where it made none.
        turn: tries of that page, counted from 1.
    """

    page: str = ""
    turn: int = 0


class SketchChange(Base):
    """Who changed a step of a sketch last, and from where (`Written`)."""

    __tablename__ = "sketch_change"

    sketch_id: Mapped[uuid.UUID] = mapped_column(
        sa.ForeignKey("sketch.id", ondelete="CASCADE"), primary_key=True
    )
    step: Mapped[Step] = mapped_column(Word(Step, 20), primary_key=True)
    by_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("user.id"))
    at: Mapped[datetime]
    page: Mapped[str] = mapped_column(sa.String(36), default="", server_default="")
    turn: Mapped[int] = mapped_column(default=0, server_default="0")

    by: Mapped[User] = relationship()

    def is_of(self, written: Written) -> bool:
        """Whether that page made it."""
        return written.page != "" and self.page == written.page


class Sketch(Base):
    """A study that is not composed yet, as far as it is typed.

    Its maker sees it, and those with whom they share it.

    Attributes:
        typed: the wizard's fields as they were typed.
        by_preset: preset → the fields that it fills, as they were when another was chosen.
        step: where somebody was last.
        refusal: ``{"step", "text", "by"}``: why the last attempt to go on was refused, and the id
            of whose it was: what is said to one may be closed to another. None: it was not.
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

    made_by: Mapped[User] = relationship()
    sharings: Mapped[list[SketchSharing]] = relationship(
        cascade="all, delete-orphan", passive_deletes=True
    )
    changes: Mapped[list[SketchChange]] = relationship(
        cascade="all, delete-orphan", passive_deletes=True
    )

    @staticmethod
    def begin(
        session: Session,
        by: User,
        typed: Fields,
        step: Step,
        written: Written = Written(),
        sketch_id: uuid.UUID | None = None,
    ) -> Sketch:
        """A new one.

        Args:
            sketch_id: made by the page that asks, so that it can ask again.

        Raises:
            Conflict: the person has as many as they may.
        """
        if sum(one.made_by_id == by.id for one in Sketch.of(session, by)) >= MOST:
            raise Conflict(
                f"You have {MOST} sketches of reader studies. Delete some of them first.",
                next={"url": "/reader-studies", "label": "To the reader studies"},
            )
        sketch = Sketch(id=sketch_id or uuid.uuid4(), made_by_id=by.id, typed={}, step=step)
        session.add(sketch)
        sketch.keep(typed, step, by, written)
        session.flush()
        return sketch

    @staticmethod
    def of(session: Session, user: User) -> list[Sketch]:
        """A person's sketches, and those that are shared with them, the last changed first.

        Without those that a study was composed from.
        """
        return list(
            session.scalars(
                sa.select(Sketch)
                .where(_open_to(user), Sketch.study_id.is_(None))
                .order_by(Sketch.changed_at.desc(), Sketch.id)
            )
        )

    @staticmethod
    def is_begun(session: Session, sketch_id: uuid.UUID) -> bool:
        """Whether there is one of this id, whoever's it is."""
        return session.get(Sketch, sketch_id) is not None

    @staticmethod
    def require(
        session: Session,
        sketch_id: uuid.UUID,
        user: User,
        *,
        to_change: bool = False,
        own: bool = False,
    ) -> Sketch:
        """A sketch that a person may open, locked for the transaction when it is ``to_change``.

        Args:
            own: only where they began it themselves.

        Raises:
            NotFound: no such sketch, or another person's; nobody learns which.
        """
        whose = Sketch.made_by_id == user.id if own else _open_to(user)
        query = sa.select(Sketch).where(Sketch.id == sketch_id, whose)
        sketch = session.scalars(query.with_for_update() if to_change else query).one_or_none()
        if sketch is None:
            raise NotFound(
                "There is no such sketch of a reader study, or it is not yours and not shared "
                "with you.",
                next={"url": "/reader-studies", "label": "To the reader studies"},
            )
        return sketch

    @property
    def form(self) -> Typed:
        """Everything that was typed."""
        return Typed.of(self.typed)

    def refuse(self, step: Step, text: str, by: User) -> None:
        """Say to somebody why a step could not be left."""
        self.refusal = {"step": step.value, "text": text, "by": str(by.id)}

    def refusal_at(self, step: Step, user: User) -> str:
        """Why this person's attempt to go on from a step was refused; "" when it was not."""
        if self.refusal is None or self.refusal["step"] != step:
            return ""
        if self.refusal.get("by", str(self.made_by_id)) != str(user.id):
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

    def keep(self, typed: Fields, step: Step, by: User, written: Written = Written()) -> None:
        """Take over these fields; the others stay. What changed at the step is ``by``'s."""
        self.step = step
        if all(name in self.typed and self.typed[name] == typed[name] for name in typed):
            return
        self.typed = {**self.typed, **typed}
        self.changed_at = now()
        change = self.changed(step)
        if change is None:
            change = SketchChange(step=step)
            self.changes.append(change)
        change.by_id, change.at = by.id, self.changed_at
        change.page, change.turn = written.page, written.turn

    def changed(self, step: Step | None = None) -> SketchChange | None:
        """Who changed a step last, or anything; None where that is not known."""
        rows = [one for one in self.changes if step is None or one.step == step]
        return max(rows, key=lambda one: one.at, default=None)

    @property
    def shared_with(self) -> list[str]:
        """The names of those who may open and change it beside its maker, by the alphabet."""
        return sorted(one.user.name for one in self.sharings)

    def share(self, session: Session, people: Sequence[User], by: User) -> None:
        """Let these people open and change it, and nobody else beside its maker.

        Raises:
            Unreadable: somebody may make no reader studies, or is its maker.
        """
        for person in people:
            if not person.may("researcher") or person.disabled_at is not None:
                raise Unreadable(
                    f"{person.name} may not make reader studies; nothing was changed. Share it "
                    "with a researcher or an administrator."
                ).about("person")
            if person.id == self.made_by_id:
                raise Unreadable("A sketch is its maker's anyway; nothing was changed.").about(
                    "person"
                )
        before = self.shared_with
        wanted = {person.id: person for person in people}
        self.sharings = [one for one in self.sharings if one.user_id in wanted]
        held = {one.user_id for one in self.sharings}
        self.sharings += [
            SketchSharing(user=person) for key, person in wanted.items() if key not in held
        ]
        session.flush()
        if self.shared_with != before:
            Event.record(
                session, by.name, "sketch shared", str(self.id), people=", ".join(self.shared_with)
            )

    def choose(self, generator: str, seeds: Iterable[int], by: User) -> None:
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
        at = self.step
        self.keep({"chosen": said_seeds({**chosen, generator: sorted(together)})}, Step.IMAGES, by)
        self.step = at

    def discard(self, session: Session) -> None:
        """Delete it; a study composed from it stays."""
        session.delete(self)
        session.flush()


def _open_to(user: User) -> sa.ColumnElement[bool]:
    """For a WHERE on sketches: made by a person, or shared with them."""
    shared = sa.exists().where(
        SketchSharing.sketch_id == Sketch.id, SketchSharing.user_id == user.id
    )
    return sa.or_(Sketch.made_by_id == user.id, shared)
