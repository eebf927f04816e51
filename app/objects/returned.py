"""Objects as they go back to the PACS that a case came from: about its own images and patient.

What is made here refers to images by this installation's UIDs and names a pseudonym. On the way
back the references become the sender's again, frames of a multi-frame object its frames, and the
patient and study are those of the link. The object's own UIDs follow from those of its likeness
here, so that made again it is the same.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from app.models.cases.case import Image
from app.models.cases.link import Link
from app.models.cases.uids import mapped
from app.models.cases.way_back import SourceObject
from app.objects.said import Account

_GONE = (
    "PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence",
    "LongitudinalTemporalInformationModified",
)  # fmt: skip
"""What says that an object names nobody; it does from here on."""


def uid(of: str, key: bytes) -> str:
    """The UID on the way back of an object, or series, that is ``of`` here.

    Args:
        key: of the installation.
    """
    return mapped(f"returned {of}", key)


def made(likeness: Dataset, account: Account, link: Link, key: bytes) -> Dataset:
    """An object as it goes back.

    Args:
        likeness: the object as it leaves here otherwise; it is changed.
        link: of the account's case; it knows all images of the account.
        key: of the installation.
    """
    sources = {str(said.image.uid): link.objects[said.image.id] for said in account.statements}
    series = {
        str(said.image.series.uid): link.objects[said.image.id].series_uid
        for said in account.statements
    }
    frames = {
        str(of): link.objects[said.image.id].frame_of_reference_uid
        for said in account.statements
        if (of := said.image.tags.get("FrameOfReferenceUID"))
    }
    known = link.examination
    plain = {str(account.case.uid): known.study_uid, **series, **frames}
    own = uid(likeness.SOPInstanceUID, key), uid(likeness.SeriesInstanceUID, key)
    _refer(likeness, sources, plain)
    likeness.SOPInstanceUID, likeness.SeriesInstanceUID = own
    for keyword in _GONE:
        if keyword in likeness:
            delattr(likeness, keyword)
    likeness.PatientID = known.patient_id
    if known.issuer_of_patient_id:
        likeness.IssuerOfPatientID = known.issuer_of_patient_id
    likeness.PatientName = known.patient_name
    likeness.PatientBirthDate = known.patient_birth_date
    likeness.PatientSex = known.patient_sex
    likeness.StudyInstanceUID = known.study_uid
    likeness.StudyDate, likeness.StudyTime = known.study_date, known.study_time
    likeness.StudyID = known.study_id
    likeness.AccessionNumber = known.accession_number
    return likeness


def missing(account: Account, link: Link) -> list[Image]:
    """Images of an account of which the link knows no object."""
    images = (said.image for said in account.statements)
    return [image for image in images if image.id not in link.objects]


def _refer(
    found: Dataset,
    sources: Mapping[str, SourceObject],
    plain: Mapping[str, str],
    *,
    framed: bool = True,
) -> None:
    """Put the sender's UIDs in the place of ours, in whatever depth.

    Args:
        framed: whether a reference may name a frame; evidence names objects (PS3.3 C.17.2.1).
    """
    source = sources.get(str(found.get("ReferencedSOPInstanceUID", "")))
    if source is not None:
        found.ReferencedSOPInstanceUID = source.sop_uid
        found.ReferencedSOPClassUID = source.sop_class_uid
        if framed and source.frames > 1:
            found.ReferencedFrameNumber = source.frame
    for element in found:
        if element.VR == "SQ":
            named = framed and not element.keyword.endswith("EvidenceSequence")
            for item in element.value:
                _refer(item, sources, plain, framed=named)
            element.value = _without_twins(element.value)
        elif element.VR == "UI" and element.keyword != "ReferencedSOPInstanceUID":
            told = element.value
            if isinstance(told, str) and told in plain:
                element.value = plain[told]


def _without_twins(items: Items) -> Items:
    """Frames of one object were images here, and are one reference there: said once each."""
    if not all("ReferencedSOPInstanceUID" in item for item in items):
        return items
    kept: list[Dataset] = []
    for item in items:
        if item not in kept:
            kept.append(item)
    return Items(kept)
