"""What a STOW request delivers: its instances, and those of them that cannot be stored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from app.models.cases.parcel import Limits, Parcel, Refusal, RefusalCode
from ml.images import archive, dicom, picture
from ml.images.dicom import Identity


@dataclass(frozen=True)
class Addressee:
    """The study that a request stores to, by its address; ``study_uid`` is "" for any."""

    study_uid: str

    def refuses(self, known: Identity) -> str:
        """Why an instance cannot be stored there, as a sentence; "" where it can."""
        named = (("SOP", known.sop_uid), ("Series", known.series_uid), ("Study", known.study_uid))
        missing = [f"{what} Instance UID" for what, uid in named if not uid]
        if missing:
            told = ", no ".join(missing)
            return (
                f"it has no {told}: it is cut short, or an anonymiser has emptied them. Send it "
                "whole, with all three."
            )
        if self.study_uid and self.study_uid != known.study_uid:
            return (
                "it belongs to another study than the one that the address names. Send it to "
                "/dicomweb/studies, or to its own study."
            )
        return ""


def opened(instances: list[bytes], to: Addressee, limits: Limits) -> Parcel:
    """Decode what was sent; each instance is taken or refused by itself.

    Args:
        instances: DICOM files; the list is emptied, so that none lies in memory for longer than it
            is needed.
    """

    def admit(name: str, known: Identity) -> Refusal | None:
        if not (reason := to.refuses(known)):
            return None
        code = RefusalCode.OTHER_STUDY if known.study_uid else RefusalCode.UNUSABLE
        return Refusal(name, f"{name}: {reason}", code, known)

    refused: list[Refusal] = []
    parcel = Parcel.open(_files(instances, refused), limits, admit)
    parcel.refused += refused
    return parcel


def _files(instances: list[bytes], refused: list[Refusal]) -> Iterator[tuple[str, bytes]]:
    """Those that are DICOM files and nothing else, under their numbers."""
    instances.reverse()
    number = 0
    while instances:
        number += 1
        data, name = instances.pop(), f"instance {number}"
        if not dicom.is_part10(data):
            reason = f"{name}: it is no DICOM file (PS3.10): the letters DICM are not at byte 128."
            refused.append(Refusal(name, reason))
        elif archive.is_zip(data) or data.startswith((picture.PNG, picture.JPEG)):
            reason = f"{name}: it is a DICOM file and another kind of file in one. Send one file."
            refused.append(Refusal(name, reason))
        else:
            yield name, data


def number_of(name: str) -> int:
    """The place of an instance in its request, from 1."""
    return int(name.removeprefix("instance "))


def in_order(items: Sequence[Refusal]) -> list[Refusal]:
    """Refusals in the order in which their instances were sent."""
    return sorted(items, key=lambda one: number_of(one.file))
