"""Free text of an object as it may be kept: what names the patient is left out."""

from __future__ import annotations

import re

from pydicom.dataset import Dataset

LONGEST = 64
LEFT_OUT = "(left out: it names the patient)"
_NAMING = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "AccessionNumber",
    "OtherPatientIDs",
    "OtherPatientNames",
    "PatientBirthName",
    "ReferringPhysicianName",
    "OperatorsName",
    "PerformingPhysicianName",
    "ContentCreatorName",
    "ReviewerName",
    "InstitutionName",
    "StudyID",
)
_SHORTEST = 3


def cleaned(text: object, dataset: Dataset) -> str:
    """A label without what its object's header says of people (PS3.15 E.3.6, as far as told there).

    At most `LONGEST` characters on one line.
    """
    line = " ".join(str(text or "").split())
    line = "".join(sign for sign in line if sign.isprintable())
    low = line.lower()
    if any(part in low for part in _parts(dataset)):
        return LEFT_OUT
    return line[:LONGEST]


def _parts(dataset: Dataset) -> set[str]:
    found: set[str] = set()
    for keyword in _NAMING:
        value = str(dataset.get(keyword, "") or "").lower()
        found |= {part for part in re.split(r"[\^=\\\s,;]+", value) if len(part) >= _SHORTEST}
    return found
