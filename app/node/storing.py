"""C-STORE: one instance, taken in as by every other door, and answered once it is committed."""

from __future__ import annotations

import logging
import re
import threading
from dataclasses import dataclass, field

from pydicom.datadict import keyword_dict
from pydicom.dataset import Dataset

from app.db import Database
from app.errors import AppError, Unavailable
from app.faults import trouble
from app.models.cases.case import Case
from app.models.cases.entry import Entry
from app.uploads import asking
from app.uploads.parcel import Limits, Parcel, RefusalCode

log = logging.getLogger("hepatica.node")

AT_ONCE = 2
"""Instances that are decoded at the same moment; the others wait for their turn."""

SUCCESS = 0x0000
NO_RESOURCES, NOT_NOW = 0xA700, 0xA701
NOT_OF_CLASS = 0xA900
DUPLICATE = 0x0111
NOT_UNDERSTOOD = 0xC000

_STATUSES = {
    RefusalCode.NOT_CT: (NOT_OF_CLASS, "No CT image in Hounsfield units"),
    RefusalCode.UNSUPPORTED_SYNTAX: (0xC122, "Pixels are stored in a way that is not read"),
    RefusalCode.TOO_LARGE: (NO_RESOURCES, "Larger than is taken"),
    RefusalCode.TAKEN: (DUPLICATE, "Other bytes are here under its SOP Instance UID"),
    RefusalCode.OWN: (DUPLICATE, "Rebuilt by Hepatica; its original is here"),
    RefusalCode.OTHER_PATIENT: (0xC111, "Its study is here under another patient"),
    RefusalCode.LEAVING: (NOT_NOW, "Its examination is being deleted"),
    RefusalCode.NO_PATIENT: (0xC110, "It has no PatientID"),
}
"""Refusals as statuses of C-STORE (PS3.4 B.2.3, PS3.7 C.5), with comments that hold nothing of the
object: whatever is said travels in clear, and into the sender's logs."""

Answer = tuple[int, str]
_TAKEN: Answer = (SUCCESS, "")


@dataclass(frozen=True)
class Store:
    """Where instances go.

    Attributes:
        limits: of one instance.
        phase: the contrast phase that is stated for all of them.
        key: of the installation.
    """

    database: Database
    limits: Limits
    phase: str
    key: bytes
    _turn: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(AT_ONCE))

    def take(self, data: bytes, named: tuple[str, str], entry: Entry, caller: str) -> Answer:
        """Store one instance; the status and a comment of at most 64 letters.

        Args:
            data: as a DICOM file.
            named: SOP class and instance that the command names.
            entry: the door, with who sends.
            caller: for the record.
        """
        try:
            with self._turn:
                parcel = asking.parcel([("instance", data)], self.limits)
                if any(known != named for known in _identities(parcel)):
                    return NOT_OF_CLASS, "Command and data set name different objects"
                # nothing is in memory or in a queue once this block is left: it is committed
                with self.database.transaction() as session:
                    receipt = Case.receive(
                        session,
                        parcel,
                        None,
                        contrast_phase=self.phase,
                        pseudonym="",
                        key=self.key,
                        actor=caller,
                        entry=entry,
                    )
        except Unavailable:
            return NOT_NOW, "The database cannot be written now; send it again later"
        except MemoryError:
            return NO_RESOURCES, "Not enough memory for it"
        except AppError:
            return NOT_UNDERSTOOD, "It cannot be used"
        except Exception as error:
            if trouble(error) is not None:
                return NOT_NOW, "The database cannot be written now; send it again later"
            log.error("An instance met an unexpected fault: %s", type(error).__name__)
            return NOT_UNDERSTOOD, "An unexpected fault; it was not stored"
        if receipt.took:
            return _TAKEN
        code = receipt.refused[0].code if receipt.refused else RefusalCode.UNUSABLE
        about = _about(receipt.refused[0].reason) if receipt.refused else ""
        log.warning("An instance from %s was refused (%s)%s.", entry.source, code, about)
        return _STATUSES.get(code, (NOT_UNDERSTOOD, "It cannot be used, or is damaged"))


_WORD = re.compile(r"[A-Z][A-Za-z]{2,63}")


def _about(reason: str) -> str:
    """The attributes that a refusal names, for the log: no value of theirs, which may name whom."""
    named = dict.fromkeys(word for word in _WORD.findall(reason) if keyword_dict.get(word))
    return f": {', '.join(named)}" if named else ""


def _identities(parcel: Parcel) -> list[tuple[str, str]]:
    """SOP class and instance of what a parcel holds, as far as the data set tells."""
    told = [
        *(one.identity for one in parcel.files),
        *(one.identity for one in parcel.markings),
        *(one.identity for one in parcel.refused),
    ]
    return [(one.sop_class_uid, one.sop_uid) for one in told if one is not None and one.sop_uid]


def answered(answer: Answer) -> Dataset:
    """An answer as the response's command set has it."""
    status, comment = answer
    told = Dataset()
    told.Status = status
    if comment:
        told.ErrorComment = comment[:64]
    return told
