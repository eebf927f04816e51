"""Places in a list that is walked: behind which line a page begins, or before which it ends."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar

_BEGAN = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MOST = 2**31 - 1
"""The largest number that a column of any database holds."""

By = str | int | datetime | None


@dataclass(frozen=True)
class Place:
    """Behind a case on the way ahead, or before one on the way back.

    It holds what the case is put in order by and not its number in the list, so that it stays when
    others come and go, and when the case itself goes.

    Attributes:
        back: the page ends here, instead of beginning.
        way: in which stretch of the list.
        case_id: None for the very beginning, or the very end.
        at: when it was uploaded.
        by: what the list is in order by; None where that is ``at`` itself.
    """

    LAST: ClassVar[str] = "last"

    back: bool = False
    way: int = 0
    case_id: uuid.UUID | None = None
    at: datetime = _BEGAN
    by: By = None

    @property
    def written(self) -> str:
        """As it stands in an address."""
        if self.case_id is None:
            return self.LAST if self.back else ""
        by = f"t{_micros(self.by)}" if isinstance(self.by, datetime) else _plain(self.by)
        word = "before" if self.back else "after"
        return f"{word}.{self.way}.{self.case_id.hex}.{_micros(self.at)}.{by}"

    @classmethod
    def read(cls, text: str) -> Place:
        """The place that an address names; one that cannot be read is the beginning."""
        if text == cls.LAST:
            return cls(back=True)
        try:
            word, way, case_id, at, by = text.split(".", 4)
            place = cls(word == "before", int(way), uuid.UUID(case_id), _moment(at), _value(by))
        except (ValueError, OverflowError):
            return cls()
        return place if place.written == text else cls()


def _plain(by: str | int | None) -> str:
    return "" if by is None else f"n{by}" if isinstance(by, int) else f"s{by}"


def _value(text: str) -> By:
    kind, value = text[:1], text[1:]
    match kind:
        case "":
            return None
        case "t":
            return _moment(value)
        case "n" if abs(int(value)) <= _MOST:
            return int(value)
        case "s":
            return value
    raise ValueError(text)


def _micros(at: datetime) -> int:
    return (at - _BEGAN) // _MICROSECOND


def _moment(text: str) -> datetime:
    return _BEGAN + int(text) * _MICROSECOND
