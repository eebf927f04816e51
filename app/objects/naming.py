"""The UIDs of an object that is made: of its rows, so that made again it is the same object."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from app.models.cases.uids import mapped
from app.objects.said import Account

_FORMS = {"sr": "2", "pr": "3", "sc": "2"}
"""Raised when an object of the same rows would say something else."""


@dataclass(frozen=True)
class Names:
    """UIDs of one kind of object of one account.

    Attributes:
        kind: ``sr``, ``pr``, ``sc``.
        key: of the installation.
    """

    account: Account
    kind: str
    key: bytes

    @property
    def series_uid(self) -> str:
        """Of a series of its own: an answer is never put into the series of another."""
        return self._uid("series")

    def instance_uid(self, number: int = 1) -> str:
        """Of the object of that number within the series, from 1."""
        return self._uid(f"instance {number}")

    def tracking_uid(self, lesion_id: object) -> str:
        """Of a lesion, the same in every object about it (TID 1411, 112040)."""
        return mapped(f"lesion {lesion_id}", self.key)

    def device_uid(self) -> str:
        """Of the network in this installation, or of the software a person used."""
        return mapped(f"device {self.account.name} {self.account.version}", self.key)

    def _uid(self, what: str) -> str:
        marked = any(one.is_marked for one in self.account.statements)
        return _uid(self.kind, what, self.account.rows, self.account.version, self.key, marked)


def series_of(kind: str, rows: Iterable[uuid.UUID], version: str, key: bytes) -> Mapping[str, str]:
    """The series of an object that was made of other rows, by each UID that the object may have.

    Args:
        version: of the account, as of ``Account``.
    """
    ordered = tuple(sorted(rows))
    return {
        _uid(kind, "instance 1", ordered, version, key, marked): _uid(
            kind, "series", ordered, version, key, marked
        )
        for marked in (False, True)
    }


def _uid(
    kind: str, what: str, rows: tuple[uuid.UUID, ...], version: str, key: bytes, marked: bool
) -> str:
    # a version of the network alone is as it was when objects said nothing else of it
    more = f" {version}" if "-" in version else ""
    # classes of long names are told apart since they are marked
    more += " marked" if marked else ""
    return mapped(f"{kind} {_FORMS[kind]} {what} {' '.join(map(str, rows))}{more}", key)
