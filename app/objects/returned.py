"""Objects as they go back to the PACS that a case came from: about its own images and patient.

What is made here refers to images by this installation's UIDs and names a pseudonym. On the way
back the references become the sender's again, frames of a multi-frame object its frames, and the
patient and study are those of the link. The object's own UIDs follow from those of its likeness
here, so that made again it is the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta, timezone

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from app.errors import Conflict
from app.models.cases.case import Image
from app.models.cases.link import Link
from app.models.cases.uids import mapped
from app.models.cases.way_back import Examination, SourceObject
from app.objects import frames
from app.objects.said import Account
from ml.images.frame import RESCALE

_OFFSET = re.compile(r"([+-])(0\d|1[0-4])([0-5]\d)", re.ASCII)
_GONE = (
    "PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence",
    "LongitudinalTemporalInformationModified",
)  # fmt: skip
"""What says that an object names nobody; it does from here on."""


class NotKept(Conflict):
    """What an object would have to say of its images was not kept of them."""


def uid(of: str, key: bytes) -> str:
    """The UID on the way back of an object, or series, that is ``of`` here.

    Args:
        key: of the installation.
    """
    return mapped(f"returned {of}", key)


@dataclass(frozen=True)
class Predecessor:
    """A report that went back before, and of which one that is made now is the successor."""

    series_uid: str
    sop_uid: str


def made(
    likeness: Dataset,
    account: Account,
    link: Link,
    key: bytes,
    predecessor: Predecessor | None = None,
) -> Dataset:
    """An object as it goes back.

    Args:
        likeness: the object as it leaves here otherwise; it is changed.
        link: of the account's case; it knows all images of the account.
        key: of the installation.
        predecessor: of a report; it is named (PS3.3 C.17.2.2).

    Raises:
        NotKept: an image's own file says what was not kept of it.
    """
    sources = {str(said.image.uid): link.objects[said.image.id] for said in account.statements}
    series = {
        str(said.image.series.uid): link.objects[said.image.id].series_uid
        for said in account.statements
    }
    of_reference = {
        str(of): link.objects[said.image.id].frame_of_reference_uid
        for said in account.statements
        if (of := said.image.tags.get("FrameOfReferenceUID"))
    }
    known = link.examination
    plain = {str(account.case.uid): known.study_uid, **series, **of_reference}
    if likeness.Modality == "PR":
        _as_stored(likeness, account)
    own = uid(likeness.SOPInstanceUID, key), uid(likeness.SeriesInstanceUID, key)
    _refer(likeness, sources, plain)
    likeness.SOPInstanceUID, likeness.SeriesInstanceUID = own
    if predecessor is not None:
        likeness.PredecessorDocumentsSequence = [_named(predecessor, likeness, known)]
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
    _in_time_of_sender(likeness, account, known)
    likeness.StudyDate, likeness.StudyTime = known.study_date, known.study_time
    likeness.StudyID = known.study_id
    likeness.AccessionNumber = known.accession_number
    return likeness


def _named(report: Predecessor, successor: Dataset, known: Examination) -> Dataset:
    """A report as others refer to it (PS3.3, table C.17-3)."""
    instance, series, study = Dataset(), Dataset(), Dataset()
    instance.ReferencedSOPClassUID = successor.SOPClassUID
    instance.ReferencedSOPInstanceUID = report.sop_uid
    series.SeriesInstanceUID = report.series_uid
    series.ReferencedSOPSequence = [instance]
    study.StudyInstanceUID = known.study_uid
    study.ReferencedSeriesSequence = [series]
    return study


def _as_stored(state: Dataset, account: Account) -> None:
    """Put how the sender's files store values into a presentation state.

    A viewer takes the state's mapping in the place of the file's (PS3.4 N.2.1), and our own images
    are in HU as they are.

    Raises:
        NotKept: the images were taken in by a version that did not keep it.
    """
    named = {
        str(one.ReferencedSOPInstanceUID)
        for series in state.ReferencedSeriesSequence
        for one in series.ReferencedImageSequence
    }
    image = next(said.image for said in account.statements if str(said.image.uid) in named)
    values = [image.tags.get(word, "") for word in RESCALE]
    if not all(values):
        raise NotKept(
            "How the sender's files store their values was not kept when this case came, and a "
            "presentation state has to tell it. Send the report (sr) or pictures (sc), or delete "
            "the case and send the study again."
        )
    for word, value in zip(RESCALE, values, strict=True):
        setattr(state, word, value)
    state.RescaleType = image.tags.get("RescaleType", "") or "HU"


def _in_time_of_sender(likeness: Dataset, account: Account, known: Examination) -> None:
    """Times as the study has them: its offset from UTC is of every date and time in an object.

    Of a sender who tells none, times are local (PS3.3 C.12.1.1.8), and so are these.
    """
    offset = known.timezone_offset_from_utc
    found = _OFFSET.fullmatch(offset)
    if found is None:
        frames.timed(likeness, account, None)
        del likeness.TimezoneOffsetFromUTC
        return
    minutes = 60 * int(found[2]) + int(found[3])
    zone = timezone(timedelta(minutes=-minutes if found[1] == "-" else minutes))
    frames.timed(likeness, account, zone)
    likeness.TimezoneOffsetFromUTC = offset


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
