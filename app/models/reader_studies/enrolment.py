"""Enrolments: who reads which study, and what they may not look at until they have finished."""

from __future__ import annotations

import secrets
import uuid
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, aliased, joinedload, mapped_column, relationship

from app.db import Base, now
from app.errors import Conflict, Forbidden, NotFound, Unreadable
from app.models.cases.case import IMAGE_KIND, Case, Image
from app.models.cases.lesion import Lesion
from app.models.ground.event import Event
from app.models.people.sign_in import SignIn
from app.models.people.user import User
from app.models.reader_studies.protocol import Protocol
from app.models.reader_studies.stimulus import Stimulus
from app.models.reader_studies.unblinding import Unblinding
from app.models.reader_studies.withdrawal import Withdrawal
from ml.ground import seeds


class Enrolment(Base):
    """One reader of one study, with the seed of their order and the token of their desk."""

    __tablename__ = "enrolment"
    __table_args__ = (
        sa.UniqueConstraint("study_id", "reader_id"),
        sa.UniqueConstraint("study_id", "number"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    study_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("reader_study.id"))
    reader_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("user.id"), index=True)
    number: Mapped[int]
    token: Mapped[str] = mapped_column(
        sa.String(64), unique=True, default=lambda: secrets.token_urlsafe(24)
    )
    order_seed: Mapped[int] = mapped_column(sa.BigInteger)
    enrolled_by_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("user.id"))
    created_at: Mapped[datetime] = mapped_column(default=now)
    finished_at: Mapped[datetime | None]

    reader: Mapped[User] = relationship(foreign_keys=[reader_id])
    withdrawal: Mapped[Withdrawal | None] = relationship(viewonly=True)

    @staticmethod
    def of_study(session: Session, study_id: uuid.UUID) -> list[Enrolment]:
        """The enrolments of a study in the order they were made."""
        return list(
            session.scalars(
                sa.select(Enrolment)
                .where(Enrolment.study_id == study_id)
                .order_by(Enrolment.number)
            )
        )

    @staticmethod
    def require(session: Session, token: str, user: User) -> Enrolment:
        """The enrolment behind a desk's token, for its own reader only.

        Raises:
            NotFound: no such token, or another reader's; nobody learns which. It is an Event.
        """
        enrolment = session.scalars(
            sa.select(Enrolment).where(Enrolment.token == token)
        ).one_or_none()
        if enrolment is None or enrolment.reader_id != user.id:
            raise NotFound(
                "There is no such reading, or it is not yours. Your own are listed at /readings.",
                event="reading refused",
                next=_TO_READINGS,
                other_reader=True,
            )
        return enrolment

    @staticmethod
    def of_study_by_id(session: Session, study_id: uuid.UUID, enrolment_id: uuid.UUID) -> Enrolment:
        """An enrolment of a study, for the study's maker.

        Raises:
            NotFound: there is none.
        """
        enrolment = session.get(Enrolment, enrolment_id)
        if enrolment is None or enrolment.study_id != study_id:
            raise NotFound("There is no such enrolment in this reader study.")
        return enrolment

    def withdraw(self, session: Session, by: User, reason: str) -> Withdrawal:
        """Take the reader out for good; their answers are kept and marked.

        The reader's own act; the study's owner does it by `ReaderStudy.take_out`.

        Raises:
            Conflict: withdrawn before, or the study is closed.
            Unreadable: no reason.
        """
        if session.scalar(sa.select(Unblinding.id).where(Unblinding.study_id == self.study_id)):
            raise Conflict("The study was unblinded, which closed it; nobody can withdraw now.")
        session.execute(sa.select(Enrolment.id).where(Enrolment.id == self.id).with_for_update())
        session.refresh(self, ["withdrawal"])
        if self.withdrawal is not None:
            raise Conflict("This reader was withdrawn before.")
        if not 5 <= len(reason.strip()) <= 2000:
            raise Unreadable("Say why the reader is withdrawn, in 5 to 2000 characters.")
        row = Withdrawal(enrolment_id=self.id, by_id=by.id, reason=reason.strip())
        session.add(row)
        session.flush()
        session.expire(self, ["withdrawal"])
        Event.record(session, by.name, "reader withdrawn", str(self.study_id), number=self.number)
        return row

    @property
    def has_left(self) -> bool:
        """Whether the reader gives no further answer: finished, or withdrawn."""
        return self.finished_at is not None or self.withdrawal is not None

    def signed_in_before(self, session: Session) -> bool:
        """Whether the reader had signed in before they were enrolled.

        The pages of Hepatica name synthetic lesions to whoever is not unaware.
        """
        return Event.happened(session, self.reader.name, "signed in", self.created_at)

    @staticmethod
    def reads(session: Session, user: User, study_id: uuid.UUID) -> bool:
        """Whether the study is kept from ``user``: they read it, or did while others still do."""
        colleague = aliased(Enrolment)
        reads = sa.select(Enrolment.id).where(
            Enrolment.study_id == study_id,
            Enrolment.reader_id == user.id,
            ~sa.exists().where(Unblinding.study_id == study_id),
            sa.exists().where(colleague.study_id == study_id, *_has_to_read(colleague)),
        )
        return session.scalar(reads.limit(1)) is not None

    @staticmethod
    def unaware_of(
        user_id: sa.SQLColumnExpression[uuid.UUID] | None = None,
    ) -> sa.ColumnElement[bool]:
        """Whether a person, or anybody, is not to learn yet that some images are synthetic.

        From the enrolment in an unaware study until they were told. Whoever left before the first
        image, or had not begun when the study was closed, was never in it.
        """
        tables = Base.metadata.tables  # their classes are built on this one
        study, told, conduct = tables["reader_study"], tables["debriefing"], tables["conduct"]
        unaware = sa.exists().where(
            study.c.id == Enrolment.study_id,
            study.c.unaware,
            ~sa.exists().where(told.c.enrolment_id == Enrolment.id),
            sa.or_(
                sa.exists().where(conduct.c.enrolment_id == Enrolment.id),
                sa.and_(
                    ~sa.exists().where(Withdrawal.enrolment_id == Enrolment.id),
                    ~sa.exists().where(Unblinding.study_id == study.c.id),
                ),
            ),
        )
        return unaware if user_id is None else unaware.where(Enrolment.reader_id == user_id)

    @staticmethod
    def kept_from(
        user_id: sa.SQLColumnExpression[uuid.UUID],
    ) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
        """What the frame of every page asks of a person: whether they are unaware, and blind.

        Unaware as of `unaware_of`; blind where there is a `Blindness`.
        """
        blind = sa.exists().where(Enrolment.reader_id == user_id, *_is_closed())
        return Enrolment.unaware_of(user_id), blind

    @staticmethod
    def not_yet() -> Forbidden:
        """What an unaware person is answered everywhere else, whether there is anything or not."""
        return Forbidden(
            "Until you have finished your reading, your readings and your account are open to you, "
            "and nothing else is.",
            next=_TO_READINGS,
        )

    @staticmethod
    def keeps_unaware(session: Session, user: User | None = None) -> bool:
        """The same, asked now."""
        of = None if user is None else sa.literal(user.id, sa.Uuid())
        return bool(session.scalar(sa.select(Enrolment.unaware_of(of))))

    @staticmethod
    def refuse_audit(session: Session, user: User, study_id: uuid.UUID) -> None:
        """Forbidden, with an Event, while the study of the audit is kept from ``user``."""
        if Enrolment.reads(session, user, study_id):
            raise Forbidden(
                "You are a reader of this study, and it is still being read: its leak audit says "
                "what the images can be told apart by. Another researcher can look at it.",
                event="leak audit refused to a blinded reader",
                next=_TO_READINGS,
            )

    @staticmethod
    def refuse_synthetics(session: Session, user: User) -> None:
        """Forbidden, with an Event, while ``user`` is to be blind (`Blindness`)."""
        try:
            Enrolment.refuse_synthetics_to(session, user.id)
        except Forbidden as refusal:
            refusal.more["next"] = _TO_READINGS
            raise

    @staticmethod
    def refuse_synthetics_to(session: Session, user_id: uuid.UUID) -> None:
        """The same by id: a person's API token must not show what their pages do not.

        Raises:
            Forbidden: a blinded reading of theirs, or of a colleague in the same study, is
                unfinished.
        """
        blindness = Blindness.of(session, user_id)
        if blindness is not None:
            raise Forbidden(
                f"{blindness.words} Until then you cannot look at synthetic lesions: they would "
                f"teach the answers. {blindness.remedy}",
                event="synthetics refused to a blinded reader",
            )

    @staticmethod
    def refuse_shared_program(session: Session) -> None:
        """Forbidden, with an Event, while anybody reads blind: for a token that is nobody's.

        Who holds it is not known, so it may be a reader.
        """
        if session.scalar(sa.select(Enrolment.id).where(*_is_closed()).limit(1)) is not None:
            raise Forbidden(
                "A blinded reading is under way, and this token belongs to nobody, so a reader may "
                "hold it: it draws no synthetic lesions until the reading is over. A token of a "
                "person who does not read does: `python -m app token add NAME --role machine "
                "--owner PERSON`.",
                event="synthetics refused to a shared token",
            )

    @staticmethod
    def being_read(session: Session) -> tuple[frozenset[uuid.UUID], frozenset[uuid.UUID]]:
        """The people to whom studies are closed, and the studies that are being read."""
        rows = session.execute(
            sa.select(Enrolment.reader_id, Enrolment.study_id).where(*_is_closed())
        ).all()
        return frozenset(row.reader_id for row in rows), frozenset(row.study_id for row in rows)

    @staticmethod
    def refuse_exposures(session: Session, user: User, *, but_of: uuid.UUID | None = None) -> None:
        """Forbidden, with an Event, while ``user`` reads a study blind, but for ``but_of``.

        What people are to read, and so are kept from in other studies, tells lesion by lesion what
        is in the study that ``user`` reads.
        """
        blindness = Blindness.of(session, user.id, but_of=but_of)
        if blindness is not None:
            raise Forbidden(
                f"{blindness.words} What readers know from other studies is kept from you until "
                "then, whether they read yours or not: it could tell which lesions are in it. "
                f"{blindness.remedy} Or ask another researcher.",
                event="exposures refused to a blinded reader",
                next=_TO_READINGS,
            )

    @staticmethod
    def refuse_case(session: Session, user: User, case_id: uuid.UUID) -> None:
        """Forbidden, with an Event, while ``user`` reads a study that this case could be in."""
        Enrolment.refuse_case_to(session, user.id, case_id)

    @staticmethod
    def refuse_case_to(session: Session, user_id: uuid.UUID | None, case_id: uuid.UUID) -> None:
        """The same by id; None: for a token that is nobody's, which a reader may hold.

        Raises:
            Forbidden: they, or for None anybody, read a study that this case could be in.
        """
        closed = Enrolment.closed_to(session, user_id)
        if closed is None:
            return
        if session.scalar(sa.select(Case.id).where(Case.id == case_id, closed)) is None:
            return
        if user_id is None:
            raise Forbidden(
                "A blinded reading is under way that this case could be in, and this token "
                "belongs to nobody, so a reader may hold it: it is shown no such case until the "
                "reading is over. A token of a person who does not read is: `python -m app token "
                "add NAME --role machine --owner PERSON`.",
                event="case refused to a shared token",
            )
        blindness = Blindness.of(session, user_id)
        words, remedy = (blindness.words, blindness.remedy) if blindness else ("", "")
        raise Forbidden(
            f"{words} Until then the cases that it could be about are closed to you, whether "
            f"they are in it or not: seeing one could tell an answer. {remedy}",
            event="case refused to a blinded reader",
            next=_TO_READINGS,
        )

    @staticmethod
    def closes(session: Session, user: User) -> sa.ColumnElement[bool] | None:
        """For a WHERE on Case: closed to ``user`` by the studies that they read, or have read while
        colleagues still do; None where there is none.

        Closed is every case that could be in one of them: of its kind of image, with a lesion that
        was marked before it opened. Were only the cases in it closed, their number would tell how
        many of its images are real.
        """
        return Enrolment.closed_to(session, user.id)

    @staticmethod
    def closed_to(session: Session, user_id: uuid.UUID | None) -> sa.ColumnElement[bool] | None:
        """The same by id; None for ``user_id``: what is closed to anybody at all."""
        asked = {} if user_id is None else {"reader": user_id}
        blinding = session.execute(_blinding(of_one=user_id is not None), asked).all()
        if not blinding:
            return None
        # bound to the case alone: in a statement over images too, the rest is not the row's image
        in_it = sa.exists().where(
            Lesion.case_id == Case.id,
            Stimulus.lesion_id == Lesion.id,
            Stimulus.study_id.in_([study_id for _, _, study_id in blinding]),
        ).correlate(Case)  # fmt: skip
        could_be = [
            sa.exists().where(
                Lesion.case_id == Case.id,
                Image.id == Lesion.image_id,
                Lesion.created_at <= opened_at,
                kind == IMAGE_KIND,
            ).correlate(Case)
            for kind, opened_at, _ in blinding
        ]  # fmt: skip
        return sa.or_(in_it, *could_be)


_TO_READINGS = {"url": "/readings", "label": "To my readings"}


@dataclass(frozen=True)
class Blindness:
    """Why sources and synthetic lesions are closed to a person.

    ``own``: they have to read themselves; else colleagues have, in a study that they have left.
    """

    own: bool

    @staticmethod
    def of(
        session: Session, user_id: uuid.UUID, *, but_of: uuid.UUID | None = None
    ) -> Blindness | None:
        """That of ``user_id``, but for the study ``but_of``; None where nothing is closed."""
        query = (
            sa.select(Enrolment)
            .options(joinedload(Enrolment.withdrawal))
            .where(Enrolment.reader_id == user_id, *_is_closed())
        )
        if but_of is not None:
            query = query.where(Enrolment.study_id != but_of)
        found = session.scalars(query).all()
        return Blindness(any(not one.has_left for one in found)) if found else None

    @property
    def words(self) -> str:
        """What stands in the way, as a sentence."""
        if self.own:
            return "You have a blinded reading to finish."
        return "Colleagues still read a study that you have read, and must learn nothing from you."

    @property
    def remedy(self) -> str:
        """What to do about it."""
        if self.own:
            return "Finish the reading at /readings first."
        return "It ends when they have finished, or when the study is unblinded."


def _has_to_read(one: type[Enrolment]) -> tuple[sa.ColumnElement[bool], ...]:
    """Still to be finished by its reader."""
    return (one.finished_at.is_(None), ~sa.exists().where(Withdrawal.enrolment_id == one.id))


@cache
def _blinding(*, of_one: bool) -> sa.Select[Any, Any, Any]:
    """Kind of image, opening and id of each study that closes cases: to the person "reader", or to
    anybody. Made once, as every page of a case and every slice asks it."""
    study = Base.metadata.tables["reader_study"]  # its class is built on this one
    first = aliased(Protocol)
    whose = (Enrolment.reader_id == sa.bindparam("reader"),) if of_one else ()
    return (
        sa.select(study.c.kind, first.frozen_at, study.c.id)
        .select_from(Enrolment)
        .join(study, study.c.id == Enrolment.study_id)
        .join(first, sa.and_(first.study_id == study.c.id, first.version == 1))
        .where(*whose, *_is_closed())
        .distinct()
    )


@cache
def _is_closed() -> tuple[sa.ColumnElement[bool], ...]:
    """Enrolments in open studies that somebody still has to read: this reader or a colleague."""
    colleague = aliased(Enrolment)
    return (
        sa.exists().where(Protocol.study_id == Enrolment.study_id),
        ~sa.exists().where(Unblinding.study_id == Enrolment.study_id),
        sa.exists().where(colleague.study_id == Enrolment.study_id, *_has_to_read(colleague)),
    )


def order_seed(study_seed: int, number: int) -> int:
    """The seed of reader ``number``'s order: 63 bits of SHA-256 over the study's seed and it."""
    return seeds.of_text(f"{study_seed}:order:{number}")


@cache
def kept_behind() -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    """`Enrolment.kept_from` of the person of a `SignIn`: made once, as every request asks it."""
    return Enrolment.kept_from(SignIn.user_id)
