"""Protocols: what a reader study asks, of which images, in which order; frozen when it opens."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship

from app.db import Base, now
from app.errors import Unreadable
from app.models.ground.append_only import append_only
from app.models.people.user import User
from ml.lesion import LesionScheme

RATINGS = (
    "certainly real",
    "probably real",
    "unsure, rather real",
    "unsure, rather synthetic",
    "probably synthetic",
    "certainly synthetic",
)
"""The answer scale: rating 1 … 6."""

CALLED_SYNTHETIC = 4
"""From this rating on a reader calls an image synthetic."""

CONFIDENCES = ("a guess", "unsure", "fairly sure", "sure", "certain")
"""How sure a reader is of the lesion class: 1 … 5."""

REASONS = {
    "texture": "texture",
    "edge": "lesion edge",
    "vessels": "background vessels",
    "noise": "noise",
    "other": "other",
}
"""Why an image looks synthetic: key → words."""

AMENDABLE = {"analysis": "analysis plan", "margin": "margin", "notes": "notes"}
"""What an amendment may change: nothing that a reader sees."""


@dataclass(frozen=True)
class Choice:
    """One possible answer and the key that gives it."""

    key: str
    display: str
    hotkey: str


@dataclass(frozen=True)
class Choices:
    """What a reader may answer; the same on every trial."""

    classes: tuple[Choice, ...]
    ratings: tuple[Choice, ...]
    pause_key: str
    confidences: tuple[Choice, ...] = ()
    reasons: tuple[Choice, ...] = ()

    @staticmethod
    def of(
        scheme: LesionScheme,
        *,
        lesion_class: bool = True,
        confidence: bool = False,
        reasons: bool = False,
    ) -> Choices:
        """The classes of a scheme by letter, and the scale by number.

        Without ``lesion_class`` no classes, with ``confidence`` five points for the class, with
        ``reasons`` the checklist.
        """
        letters = scheme.hotkeys()
        classes = tuple(
            Choice(item.key, item.display, letters[item.key].upper())
            for item in (scheme.classes if lesion_class else ())
        )
        ratings = tuple(
            Choice(str(number), words, str(number)) for number, words in enumerate(RATINGS, 1)
        )
        taken = {item.hotkey for item in classes}
        pause_key = _free("PZXWQ", taken)
        sure = (
            [
                Choice(str(number), words, _free("ASDFGJKLYU", taken))
                for number, words in enumerate(CONFIDENCES, 1)
            ]
            if confidence
            else []
        )
        why = (
            [
                Choice(key, words, _free(key.upper() + "IOBRQWXZJKLYU", taken))
                for key, words in REASONS.items()
            ]
            if reasons
            else []
        )
        return Choices(classes, ratings, pause_key, tuple(sure), tuple(why))

    def to_dict(self) -> dict[str, Any]:
        """The JSON form, as a protocol keeps it and the desk's script reads it."""
        return asdict(self)


def _free(wanted: str, taken: set[str]) -> str:
    """The first key of ``wanted`` that no choice has yet; from then on it is taken."""
    key = next(key for key in wanted + "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if key not in taken)
    taken.add(key)
    return key


def digest_of(content: dict[str, Any]) -> str:
    """SHA-256 over the JSON of a protocol: sorted keys, no spaces."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


@append_only
class Protocol(Base):
    """One version of a study's protocol. The first is the opening; later ones are amendments.

    ``content`` holds the truth of every image and is not shown before Unblinding; its digest is.
    """

    __tablename__ = "protocol"
    __table_args__ = (sa.UniqueConstraint("study_id", "version"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    study_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("reader_study.id"))
    version: Mapped[int]
    # hundreds of images long: read when it is asked for, not with each answer and picture
    content: Mapped[dict[str, Any]] = mapped_column(deferred=True)
    digest: Mapped[str] = mapped_column(sa.String(64))
    reason: Mapped[str] = mapped_column(sa.Text, default="")
    frozen_by_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("user.id"))
    frozen_at: Mapped[datetime] = mapped_column(default=now)

    frozen_by: Mapped[User] = relationship()

    @staticmethod
    def freeze(
        session: Session, study_id: uuid.UUID, content: dict[str, Any], by: User, reason: str = ""
    ) -> Protocol:
        """Write the next version."""
        versions = Protocol.of_study(session, study_id)
        protocol = Protocol(
            study_id=study_id,
            version=len(versions) + 1,
            content=content,
            digest=digest_of(content),
            reason=reason,
            frozen_by_id=by.id,
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
            )
        if not 5 <= len(reason.strip()) <= 2000:
            raise Unreadable("Say why the protocol is amended, in 5 to 2000 characters.")
        if not 1 <= len(text.strip()) <= 10_000:
            raise Unreadable("Give the new text in 1 to 10,000 characters.")
        value: str | float = text.strip()
        if what == "margin":
            try:
                value = float(text)
            except ValueError:
                raise Unreadable(f"Give the margin as a number, not {text[:20]!r}.") from None
            if not 0.01 <= value <= 0.3:
                raise Unreadable(f"Choose a margin from 0.01 to 0.30, not {value}.")
        if self.content.get(what) == value:
            raise Unreadable("The amendment changes nothing.")
        return Protocol.freeze(
            session, self.study_id, {**self.content, what: value}, by, reason.strip()
        )

    @property
    def holds(self) -> bool:
        """Whether the content is still the one that was frozen."""
        return digest_of(self.content) == self.digest
