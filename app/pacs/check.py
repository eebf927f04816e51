"""A dry trial of a PACS: which of its services work and which do not, in words.

Nothing stays there: what is sent to STOW-RS is no DICOM, and a PACS must refuse it. Only with
``store`` an object is stored, which says of itself that it is a test and belongs to nobody.
"""

from __future__ import annotations

import io
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from app.pacs.client import Pacs
from app.pacs.configured import PacsSettings
from app.pacs.echo import echo
from app.pacs.faults import NotInPacs, PacsBusy, PacsFault

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class State(StrEnum):
    """Whether a service can be used."""

    WORKS = "works"
    FAILS = "does not work"
    UNTRIED = "was not tried"


@dataclass(frozen=True)
class Finding:
    """What became of one trial."""

    service: str
    state: State
    words: str


def check(settings: PacsSettings, *, store: bool = False) -> Iterator[Finding]:
    """Try one service after the other.

    Args:
        store: store a test object, and look for it. It stays there.
    """
    if not settings.is_encrypted and settings.web_address[0] not in _LOOPBACK:
        yield Finding(
            "address",
            State.WORKS,
            "it is http: whoever is on the way can read images, names and the password along. Use "
            "https where the PACS can.",
        )
    try:
        settings.authorization()
    except ValueError as error:
        yield Finding("secret", State.FAILS, f"{error}.")
        return
    with Pacs(settings) as pacs:
        trials: list[tuple[str, Callable[[], Finding]]] = [
            ("QIDO-RS", lambda: _qido(pacs)),
            ("WADO-RS", lambda: _wado(pacs)),
            ("STOW-RS", (lambda: _stored(pacs)) if store else (lambda: _stow(pacs))),
            ("C-ECHO", lambda: _echo(settings)),
        ]
        for service, trial in trials:
            try:
                yield trial()
            except (PacsFault, NotInPacs) as fault:
                yield Finding(service, State.FAILS, str(fault))


def _qido(pacs: Pacs) -> Finding:
    nobodys = new_uid()
    try:
        found = pacs.studies(nobodys)
    except NotInPacs:
        raise PacsFault(
            f"{pacs.settings.shown} has no search at {pacs.settings.url}/studies (404). Check url "
            "of its entry."
        ) from None
    told = "a search for a study that nobody has finds nothing, as it must."
    return Finding("QIDO-RS", State.FAILS if found else State.WORKS, told)


def _wado(pacs: Pacs) -> Finding:
    """One image is fetched and thrown away; where there is none, one that nobody has is asked."""
    one = pacs.any_instance()
    if one is not None:
        size = len(pacs.retrieve(one.study_uid, one.series_uid, one.sop_uid))
        told = f"one instance of {size / 1e6:.1f} MB was fetched and thrown away."
        return Finding("WADO-RS", State.WORKS, told)
    try:
        pacs.retrieve(new_uid(), new_uid(), new_uid())
    except NotInPacs:
        told = (
            "it says of an instance that nobody has that it is not there. It holds none with which "
            "more could be tried."
        )
        return Finding("WADO-RS", State.WORKS, told)
    raise PacsFault(f"{pacs.settings.shown} gives an instance that nobody has.")


def _stow(pacs: Pacs) -> Finding:
    try:
        refused = pacs.refuses_nonsense()
    except NotInPacs:
        raise PacsFault(
            f"{pacs.settings.shown} takes nothing at {pacs.settings.url}/studies (404)."
        ) from None
    except PacsBusy as fault:
        told = (
            f"a body that is no DICOM was answered so: {fault} Whether it stores what is DICOM can "
            "be tried with --store, which leaves a test object there."
        )
        return Finding("STOW-RS", State.UNTRIED, told)
    if refused:
        told = "a body that is no DICOM is refused, as it must be. Nothing was stored."
        return Finding("STOW-RS", State.WORKS, told)
    told = (
        "a body that is no DICOM is answered as a success: what it says of STOW means nothing. "
        "Answers that are sent there are looked for by a search."
    )
    return Finding("STOW-RS", State.WORKS, told)


def _stored(pacs: Pacs) -> Finding:
    study_uid = new_uid()
    pacs.deliver(test_object(study_uid))
    told = (
        f"a test object was stored and is found by a search. It stays there: study {study_uid}, "
        "PatientID HEPATICA-CHECK. Delete it in the PACS."
    )
    return Finding("STOW-RS", State.WORKS, told)


def _echo(settings: PacsSettings) -> Finding:
    if settings.dicom_address is None:
        return Finding("C-ECHO", State.UNTRIED, "its entry names no aet.")
    echo(settings)
    host, port = settings.dicom_address
    return Finding("C-ECHO", State.WORKS, f"{settings.aet} answers at {host}:{port}.")


def new_uid() -> str:
    """A UID that nobody has (PS3.5 B.2)."""
    return f"2.25.{secrets.randbits(122) + 1}"


def test_object(study_uid: str) -> bytes:
    """A secondary capture of 8 × 8 black pixels that says what it is."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = UID(new_uid())
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    made.SOPClassUID = meta.MediaStorageSOPClassUID
    made.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    made.StudyInstanceUID, made.SeriesInstanceUID = UID(study_uid), UID(new_uid())
    made.PatientName, made.PatientID = "HEPATICA^CHECK", "HEPATICA-CHECK"
    made.PatientBirthDate = made.PatientSex = made.AccessionNumber = made.StudyID = ""
    made.StudyDate = made.StudyTime = made.ReferringPhysicianName = ""
    made.Modality, made.ConversionType, made.InstanceNumber, made.SeriesNumber = "OT", "WSD", 1, 1
    made.StudyDescription = made.SeriesDescription = "Test of Hepatica; may be deleted"
    made.ImageType = ["DERIVED", "SECONDARY"]
    made.Rows = made.Columns = made.BitsAllocated = made.BitsStored = 8
    made.HighBit, made.PixelRepresentation, made.SamplesPerPixel = 7, 0, 1
    made.PhotometricInterpretation = "MONOCHROME2"
    made.PatientOrientation = made.Laterality = ""
    made.PixelData = bytes(64)
    stream = io.BytesIO()
    made.save_as(stream, enforce_file_format=True)
    return stream.getvalue()
