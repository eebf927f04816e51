"""Dates moved by a number of days that is a patient's own, so that intervals stay (PS3.15 E.3.6).

The number follows from the patient and the installation's key: the same patient always has the
same one, in every study and by every door, and nobody can tell it without the key. Times of day
are not kept.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import date, timedelta

_PURPOSE = b"hepatica: days by which dates are moved\0"
_MOST_DAYS = 3652
"""Ten years."""
_DATE = re.compile(r"(\d{4})(\.?)(\d{2})\2(\d{2})", re.ASCII)


def days_of(patient: str, key: bytes) -> int:
    """By how many days the dates of a patient are moved into the past, 1 to 3652.

    Args:
        patient: what stands for them (`Case.patient`).
        key: of the installation.
    """
    digest = hmac.new(key, _PURPOSE + patient.encode(), hashlib.sha256).digest()
    return 1 + int.from_bytes(digest[:8], "big") % _MOST_DAYS


def moved(text: str, days: int) -> str | None:
    """A date (YYYYMMDD, or YYYY.MM.DD of old files) that many days earlier, as YYYYMMDD.

    None for what is no whole date of the calendar, and where it would lie before year 1.
    """
    found = _DATE.fullmatch(text)
    if found is None:
        return None
    year, _, month, day = found.groups()
    try:
        earlier = date(int(year), int(month), int(day)) - timedelta(days=days)
    except (ValueError, OverflowError):
        return None
    return f"{earlier:%Y%m%d}".rjust(8, "0")


def all_moved(told: Mapping[str, str], days: int) -> tuple[dict[str, str], list[str]]:
    """(the dates that could be moved, by keyword; keywords of those that could not)."""
    kept: dict[str, str] = {}
    lost: list[str] = []
    for keyword, text in told.items():
        one = moved(text, days) if text else None
        if one is not None:
            kept[keyword] = one
        elif text:
            lost.append(keyword)
    return kept, lost
