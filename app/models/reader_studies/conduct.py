"""Conduct: what stands before trial 1: consent, the screen, the room, the reader. Append-only."""

from __future__ import annotations

import hashlib
import math
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.db import Base, now
from app.errors import Conflict, Unreadable
from app.models.ground.append_only import append_only
from app.models.ground.event import Event
from app.models.ground.numbered import next_number
from app.models.reader_studies.design import DISPLAY_PX, Design
from app.models.reader_studies.enrolment import Enrolment
from app.models.reader_studies.task import Task
from app.models.reader_studies.typed import number

CARD_MM = 85.6
"""Width of a card of the format ID-1 (ISO/IEC 7810)."""

ROOMS = {
    "dark": "dark: no light but the screen",
    "dimmed": "dimmed, as in a reading room",
    "office": "office light",
    "daylight": "daylight",
}
"""Ambient light: key → words."""

_MARGIN_PX, _GAP_PX, _BARS_PX, _ROW_PX = 16, 24, 130, 40
"""Of the desk, as `static/css/desk.css` has them; a test in a browser measures them."""

_SCREEN_NUMBERS = ("dpr", "screen_width", "screen_height", "width", "height", "colour_depth")


@dataclass(frozen=True)
class CheckIn:
    """What a reader says before trial 1; texts as they were typed."""

    consent: bool
    consent_version: str
    years: str
    subspecialty: str
    room: str
    ramp_dark: str
    ramp_bright: str
    card_px: str = ""
    screen: Mapping[str, str] = field(default_factory=dict)


@append_only
class Conduct(Base):
    """One check-in of a reader: a new screen or room is a further row, the latest is in force.

    Attributes:
        consent_version, consent_digest: the text that was agreed to (SHA-256).
        years, subspecialty: the reader's profile.
        room: a key of ``ROOMS``.
        ramp_dark, ramp_bright: whether the faint squares of the grey ramp were seen.
        mm_per_px: millimetres on the screen per CSS pixel, from the width of a card; or None.
        screen: what the browser says: device pixel ratio, sizes, colour depth, its own name.
    """

    __tablename__ = "conduct"
    __table_args__ = (sa.UniqueConstraint("enrolment_id", "number"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    enrolment_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("enrolment.id"), index=True)
    number: Mapped[int] = mapped_column(default=next_number("enrolment_id"))
    at: Mapped[datetime] = mapped_column(default=now)
    consent_version: Mapped[str] = mapped_column(sa.String(40))
    consent_digest: Mapped[str] = mapped_column(sa.String(64))
    years: Mapped[float]
    subspecialty: Mapped[str] = mapped_column(sa.String(200))
    room: Mapped[str] = mapped_column(sa.String(20))
    ramp_dark: Mapped[bool]
    ramp_bright: Mapped[bool]
    mm_per_px: Mapped[float | None]
    screen: Mapped[dict[str, float | str]]

    @staticmethod
    def latest(session: Session, enrolment_id: uuid.UUID) -> Conduct | None:
        """The check-in in force; None before the first."""
        return session.scalars(
            sa.select(Conduct)
            .where(Conduct.enrolment_id == enrolment_id)
            .order_by(Conduct.number.desc())
            .limit(1)
        ).one_or_none()

    @staticmethod
    def of_enrolment(session: Session, enrolment_id: uuid.UUID) -> Sequence[Conduct]:
        """Every check-in, the first first."""
        return session.scalars(
            sa.select(Conduct).where(Conduct.enrolment_id == enrolment_id).order_by(Conduct.number)
        ).all()

    @staticmethod
    def of_reader(session: Session, enrolment: Enrolment) -> Conduct | None:
        """The newest check-in of the same person in any study: where a form begins."""
        return session.scalars(
            sa.select(Conduct)
            .join(Enrolment, Enrolment.id == Conduct.enrolment_id)
            .where(Enrolment.reader_id == enrolment.reader_id)
            .order_by(Conduct.at.desc(), Conduct.id)
            .limit(1)
        ).one_or_none()

    @staticmethod
    def give(session: Session, enrolment: Enrolment, design: Design, said: CheckIn) -> Conduct:
        """Store a check-in.

        Raises:
            Conflict: the consent text was another one, or the reader was withdrawn.
            Unreadable: something is missing or cannot be.
        """
        if enrolment.withdrawal is not None:
            raise Conflict("You were withdrawn from this study; nothing can be added.")
        if said.consent_version != design.consent_version:
            raise Conflict("The consent text has another version. Open the page again and read it.")
        if not said.consent:
            raise Unreadable("Agree to take part, or decline below. Nothing is read before.")
        years = _number(said.years, "your years of experience", 0, 70)
        if not 1 <= len(said.subspecialty.strip()) <= 200:
            raise Unreadable("Name your subspecialty in 1 to 200 characters.")
        if said.room not in ROOMS:
            raise Unreadable("Say how light the room is.")
        for answer in (said.ramp_dark, said.ramp_bright):
            if answer not in ("yes", "no"):
                raise Unreadable("Say of both ends of the grey ramp whether you see the square.")
        mm_per_px = None
        if said.card_px.strip():
            mm_per_px = CARD_MM / _number(said.card_px, "the card's width in pixels", 100, 2000)
        elif design.size_mm is not None:
            raise Unreadable(
                f"The images are shown {design.size_mm:g} mm wide: match the bar to a card first."
            )
        screen = _screen(said.screen)
        if design.size_mm is not None and mm_per_px is not None:
            _refuse_small(screen, design, design.size_mm, mm_per_px)
        row = Conduct(
            enrolment_id=enrolment.id,
            consent_version=design.consent_version,
            consent_digest=hashlib.sha256(design.consent.encode()).hexdigest(),
            years=years,
            subspecialty=said.subspecialty.strip(),
            room=said.room,
            ramp_dark=said.ramp_dark == "yes",
            ramp_bright=said.ramp_bright == "yes",
            mm_per_px=mm_per_px,
            screen=screen,
        )
        session.add(row)
        session.flush()
        Event.record(
            session, enrolment.reader.name, "reader checked in", str(enrolment.study_id),
            consent=design.consent_version,
        )  # fmt: skip
        return row

    def image_px(self, design: Design) -> int:
        """Side of the image on this screen in CSS pixels."""
        if design.size_mm is None or self.mm_per_px is None:
            return DISPLAY_PX
        return max(1, round(design.size_mm / self.mm_per_px))


def desk_px(design: Design) -> tuple[int, int]:
    """What the desk takes at least of a window's width and height beside its images, in CSS pixels.

    Across: margins, and what lies between the two of a pair. Down: the bar, the margins, the line
    of words, the footer, and the rows of keys; of graded questions a long text takes more.
    """
    if design.task.is_paired:
        rows = 1
    elif design.task is Task.REALISM:
        rows = len(design.graded) + 1
    elif design.unaware:  # each part asks half of it
        rows = 2
    else:
        rows = 1 + max(1, design.lesion_class + design.class_confidence + design.reasons)
    return _MARGIN_PX + _GAP_PX * design.task.is_paired, _BARS_PX + _ROW_PX * rows


def _refuse_small(
    screen: Mapping[str, float | str], design: Design, size_mm: float, mm_per_px: float
) -> None:
    """Refuse a screen, where it says how large it is, that has no room for the images.

    What counts is the whole screen: a window that is smaller is told so at the desk, and no image
    is read in it.
    """
    across, down = desk_px(design)
    beside = 2 if design.task.is_paired else 1
    known = [
        (float(side) - taken) / images
        for side, taken, images in (
            (screen.get("screen_width"), across, beside),
            (screen.get("screen_height"), down, 1),
        )
        if side is not None
    ]
    largest = max(0.0, min(known, default=math.inf)) * mm_per_px
    if size_mm > largest:
        raise Unreadable(
            f"The images are shown {size_mm:g} mm wide, and on this screen there is room for "
            f"{math.floor(largest)} mm beside the keys: read on a larger one, or match the bar to "
            "the card again."
        )


def _number(text: str, what: str, least: float, most: float) -> float:
    try:
        value = number(text, what)
    except Unreadable:
        value = math.nan
    if not least <= value <= most:
        raise Unreadable(f"Give {what} as a number from {least:g} to {most:g}.")
    return value


def _screen(said: Mapping[str, str]) -> dict[str, float | str]:
    """The numbers that a browser gave, and its own name; what is no number is left out."""
    found: dict[str, float | str] = {}
    for name in _SCREEN_NUMBERS:
        try:
            value = float(said.get(name, ""))
        except ValueError:
            continue
        if 0 < value < 100_000:
            found[name] = value
    if said.get("browser"):
        found["browser"] = said["browser"][:300]
    return found
