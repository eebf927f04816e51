"""The way back to a PACS: whose an examination is and which objects it had, sealed row by row.

A case's row holds patient and study, an image's row its object. Nothing here has a `repr`, and
nothing reaches a log, an event, a page or an export: `app.models.cases.link` opens it for whoever
sends a result back.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from pydicom.uid import UID

from app.models.cases import sealing
from app.models.cases.entry import Door, Entry
from ml.images.dicom import Identity


@dataclass(frozen=True)
class Examination:
    """A patient and a study as the sender named them; "" for what was not told.

    Dates and times are as DICOM writes them (PS3.5 6.2 DA, TM), names as PN.

    Attributes:
        door, source: where it came in, and the name of who sent it.
        unread: keywords of what was there and could not be read; it is "" here.
    """

    door: Door
    source: str
    patient_id: str = field(repr=False)
    issuer_of_patient_id: str = field(repr=False)
    patient_name: str = field(repr=False)
    patient_birth_date: str = field(repr=False)
    patient_sex: str = field(repr=False)
    study_uid: str = field(repr=False)
    study_date: str = field(repr=False)
    study_time: str = field(repr=False)
    study_id: str = field(repr=False)
    accession_number: str = field(repr=False)
    timezone_offset_from_utc: str = field(default="", repr=False)
    unread: tuple[str, ...] = ()

    @property
    def unreachable(self) -> str:
        """Why no object could join the study where it came from; "" where one can."""
        if not UID(self.study_uid).is_valid:
            return (
                "The study that this case came from has no valid StudyInstanceUID, so no object "
                "can be put into it, and nothing is sent back. Have the study corrected where it "
                "came from, delete this case and send the study again."
            )
        if "PatientID" in self.unread:
            return (
                "The PatientID of this case's files cannot be read in their character set, so "
                "what is sent back would name no patient, and nothing is. Have the files "
                "corrected where they came from, delete this case and send the study again."
            )
        return ""

    @classmethod
    def of(cls, identity: Identity, entry: Entry) -> Examination:
        """What a file tells of patient and study."""
        told = asdict(identity.origin)
        kept = {one.name: told[one.name] for one in fields(cls) if one.name in told}
        return cls(entry.door, entry.source, study_uid=identity.study_uid, **kept)

    def sealed(self, case_id: uuid.UUID, key: bytes) -> bytes:
        """For the row of a case."""
        return sealing.sealed(asdict(self), _of_case(case_id), key)

    @classmethod
    def opened(cls, text: bytes, case_id: uuid.UUID, key: bytes) -> Examination:
        """From the row of a case; Damaged where it does not open."""
        told: dict[str, Any] = dict(sealing.opened(text, _of_case(case_id), key))
        unread = tuple(told.pop("unread", ()))
        return cls(door=Door(told.pop("door")), unread=unread, **told)


@dataclass(frozen=True)
class SourceObject:
    """The object that an image came from.

    Attributes:
        frame: of a multi-frame object the frame, from 1.
        frames: how many it has; 1 for a plain slice.
    """

    sop_class_uid: str
    sop_uid: str = field(repr=False)
    series_uid: str = field(repr=False)
    frame_of_reference_uid: str = field(repr=False)
    frame: int
    frames: int

    @classmethod
    def of(cls, identity: Identity, frame: int, frames: int) -> SourceObject:
        """What a file tells of itself."""
        return cls(
            identity.sop_class_uid,
            identity.sop_uid,
            identity.series_uid,
            identity.origin.frame_of_reference_uid,
            frame,
            frames,
        )

    def sealed(self, case_id: uuid.UUID, image_id: uuid.UUID, key: bytes) -> bytes:
        """For the row of an image of a case."""
        return sealing.sealed(asdict(self), _of_image(case_id, image_id), key)

    @classmethod
    def opened(
        cls, text: bytes, case_id: uuid.UUID, image_id: uuid.UUID, key: bytes
    ) -> SourceObject:
        """From the row of an image; Damaged where it does not open."""
        told: Mapping[str, Any] = sealing.opened(text, _of_image(case_id, image_id), key)
        return cls(**told)


def _of_case(case_id: uuid.UUID) -> str:
    return f"case {case_id}"


def _of_image(case_id: uuid.UUID, image_id: uuid.UUID) -> str:
    return f"image {image_id} of case {case_id}"
