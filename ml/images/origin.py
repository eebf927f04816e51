"""Whose a file is and which examination: what an answer needs that goes back to where it came from.

None of it is needed to look at the image. It is read for whoever keeps it sealed, and for nobody
else: it stands in no message, and `repr` shows none of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ml.images.ct_slice import Corrupt
from ml.images.header import Header

_MOST = 1024
"""Characters of one value; the standard's longest here has 5 × 64 (PS3.5 6.2 PN)."""

_KEYWORDS = {
    "patient_id": "PatientID",
    "issuer_of_patient_id": "IssuerOfPatientID",
    "patient_name": "PatientName",
    "patient_birth_date": "PatientBirthDate",
    "patient_sex": "PatientSex",
    "study_date": "StudyDate",
    "study_time": "StudyTime",
    "study_id": "StudyID",
    "accession_number": "AccessionNumber",
    "series_date": "SeriesDate",
    "acquisition_date": "AcquisitionDate",
    "content_date": "ContentDate",
    "frame_of_reference_uid": "FrameOfReferenceUID",
    "timezone_offset_from_utc": "TimezoneOffsetFromUTC",
}


@dataclass(frozen=True)
class Origin:
    """Patient, examination and frame of reference, as the file has them; "" for what it lacks.

    Attributes:
        unread: keywords of what is there and cannot be read as text; it is "" here.
    """

    patient_id: str = field(default="", repr=False)
    issuer_of_patient_id: str = field(default="", repr=False)
    patient_name: str = field(default="", repr=False)
    patient_birth_date: str = field(default="", repr=False)
    patient_sex: str = field(default="", repr=False)
    study_date: str = field(default="", repr=False)
    study_time: str = field(default="", repr=False)
    study_id: str = field(default="", repr=False)
    accession_number: str = field(default="", repr=False)
    series_date: str = field(default="", repr=False)
    acquisition_date: str = field(default="", repr=False)
    content_date: str = field(default="", repr=False)
    frame_of_reference_uid: str = field(default="", repr=False)
    timezone_offset_from_utc: str = field(default="", repr=False)
    unread: tuple[str, ...] = ()

    @classmethod
    def of(cls, header: Header) -> Origin:
        """What a header tells; it refuses nothing, since the image can be used without."""
        found: dict[str, str] = {}
        unread: list[str] = []
        for name, keyword in _KEYWORDS.items():
            found[name], readable = _read(header, keyword)
            if not readable:
                unread.append(keyword)
        return cls(**found, unread=tuple(unread))

    @property
    def dates(self) -> dict[str, str]:
        """Its dates by keyword, as the file has them; "" for what it lacks."""
        return {
            "StudyDate": self.study_date,
            "SeriesDate": self.series_date,
            "AcquisitionDate": self.acquisition_date,
            "ContentDate": self.content_date,
        }


def _read(header: Header, keyword: str) -> tuple[str, bool]:
    """(the value, whether it could be read)"""
    try:
        text, readable = header.identity(keyword)
    except Corrupt:
        return "", False
    if not readable or len(text) > _MOST:
        return "", False
    return text.strip(), True
