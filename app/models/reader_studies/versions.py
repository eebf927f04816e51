"""Versions of a protocol: which one a study is judged by, and what later ones changed.

What is fixed before the first answer is the plan; what changes afterwards is told beside it and
takes nothing from it. So the newest version before the first answer stays the primary one.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile

from sqlalchemy.orm import Session

from app.models.reader_studies.content import ProtocolContent
from app.models.reader_studies.protocol import AMENDABLE, OF_INTENT, Progress, Protocol


@dataclass(frozen=True)
class Change:
    """One thing that a version changed: its name, in words, and as it stood before and after."""

    what: str
    words: str
    before: str
    after: str


@dataclass(frozen=True)
class Amendment:
    """A version after the opening: what it changed, and after how many answers.

    ``counted`` is False where the answers were not counted at the time, but taken from their times
    afterwards.
    """

    protocol: Protocol
    changes: tuple[Change, ...]
    progress: Progress
    counted: bool

    @property
    def late(self) -> bool:
        """Whether somebody had answered: then it changes nothing of the primary analysis."""
        return self.progress.answers > 0

    @property
    def after(self) -> str:
        """After how many answers of how many trials, in words."""
        if not self.late:
            return "before the first answer"
        answers, trials = self.progress.answers, self.progress.trials
        answers_of = "1 answer" if answers == 1 else f"{answers} answers"
        of = "" if trials is None else f" of {trials}"
        source = "" if self.counted else " (by the times of the answers)"
        return f"after {answers_of}{of}{source}"


@dataclass(frozen=True)
class Versions:
    """The versions of one study's protocol, the first first; there is at least the opening.

    ``primary`` is the one that the study is judged by.
    """

    every: tuple[Protocol, ...]
    primary: Protocol
    amendments: tuple[Amendment, ...]

    @classmethod
    def of(cls, session: Session, study_id: uuid.UUID) -> Versions | None:
        """Those of a study; None before its opening."""
        every = tuple(Protocol.of_study(session, study_id))
        if not every:
            return None
        contents = [one.content for one in every] if len(every) > 1 else []
        amendments = tuple(
            Amendment(one, _changes(before, after), one.progress(session), one.answers is not None)
            for one, before, after in zip(every[1:], contents, contents[1:], strict=False)
        )
        # up to the first late one: by a clock that was set back a later one could seem early
        early = list(takewhile(lambda one: not one.late, amendments))
        return cls(every, early[-1].protocol if early else every[0], amendments)

    @property
    def in_force(self) -> Protocol:
        """The newest."""
        return self.every[-1]

    @property
    def late(self) -> tuple[Amendment, ...]:
        """The amendments after the first answer."""
        return tuple(one for one in self.amendments if one.late)

    def of_answer(self, version: int | None, moment: datetime) -> Protocol | None:
        """The version that an answer was given under.

        Args:
            version: its number; None where it was not written down with the answer.
            moment: when it was answered, which tells it then.

        Returns:
            None where that is before the opening, as by a clock that was set back.
        """
        if version is not None:
            return next((one for one in self.every if one.version == version), None)
        earlier = [one for one in self.every if one.frozen_at <= moment]
        return earlier[-1] if earlier else None


def _changes(before: ProtocolContent, after: ProtocolContent) -> tuple[Change, ...]:
    pairs = [(what, _said(before, what), _said(after, what)) for what in AMENDABLE]
    return tuple(Change(what, AMENDABLE[what], old, new) for what, old, new in pairs if old != new)


def _said(content: ProtocolContent, what: str) -> str:
    """What a protocol says of something that may be amended; "none" where it says nothing."""
    design, intent = content.design, content.design.intent
    if what == "margin":
        return f"{design.margin:.2f}"
    if what == "notes":
        return content.notes or "none"
    if what == "analysis":
        return design.analysis
    if what == "primary":
        primary = intent.primary
        return primary.sentence(measure=design.measure) if primary else "none"
    assert what in OF_INTENT
    return str(getattr(intent, what) or "none")
