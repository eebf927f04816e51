"""Intents: the primary hypothesis of a study and how it is judged, frozen with the protocol."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from app.errors import Unreadable
from app.models.reader_studies.stored import Stored
from ml.readers.hypothesis import Hypothesis, Missing, Multiplicity
from ml.statistics.proportion import ReadersError

MOST_REASON = 2000
"""Most characters of a reason for the margin."""


@dataclass(frozen=True)
class Primary(Hypothesis, Stored):
    """The primary hypothesis as it is stored."""

    @classmethod
    def typed(cls, key: str) -> Primary:
        """The hypothesis of a key, as a form sends it.

        Raises:
            Unreadable: there is none.
        """
        try:
            found = Hypothesis.of(key)
        except ReadersError as error:
            raise Unreadable(f"Name one primary hypothesis. {error}") from None
        return cls(found.claim, found.whose, found.generator)


@dataclass(frozen=True)
class Intent(Stored):
    """What a study sets out to show; None where a protocol of an earlier version does not say.

    Attributes:
        margin_reason: why the margin of equivalence is what it is; "" where no reason was given.
        multiplicity: what is done about the number of secondary hypotheses.
        missing: what becomes of answers that are missing.
    """

    primary: Primary | None = field(default_factory=Primary)
    margin_reason: str = ""
    multiplicity: Multiplicity | None = Multiplicity.HOLM
    missing: Missing | None = Missing.ALL

    def checked(self) -> Intent:
        """The same with its text trimmed.

        Raises:
            Unreadable: a reason that is too long.
        """
        if len(self.margin_reason) > MOST_REASON:
            raise Unreadable(
                f"Give the reason for the margin in at most {MOST_REASON} characters."
            ).about("margin_reason")
        return replace(self, margin_reason=self.margin_reason.strip())


UNSAID = Intent(None, "", None, None)
"""Of protocols and drafts before there was one."""


def of_multiplicity(text: str) -> Multiplicity:
    """The rule of that name; Unreadable for another."""
    if text not in set(Multiplicity):
        raise Unreadable(
            "Say what is done about the number of secondary hypotheses: "
            f"{', '.join(Multiplicity)}, not {text[:40]!r}."
        )
    return Multiplicity(text)


def of_missing(text: str) -> Missing:
    """The plan of that name; Unreadable for another."""
    if text not in set(Missing):
        raise Unreadable(
            f"Say what becomes of missing answers: {', '.join(Missing)}, not {text[:40]!r}."
        )
    return Missing(text)
