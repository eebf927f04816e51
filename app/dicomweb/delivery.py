"""What a STOW request delivers: its instances, and those of them that cannot be stored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from app.uploads import asking
from app.uploads.parcel import Addressee, Limits, Parcel, Refusal
from ml.images import archive, dicom, picture


def opened(instances: list[bytes], to: Addressee, limits: Limits) -> Parcel:
    """Decode what was sent; each instance is taken or refused by itself.

    Args:
        instances: DICOM files.
    """

    refused: list[Refusal] = []
    parcel = asking.parcel(list(_files(instances, refused)), limits, to)
    parcel.refused += refused
    return parcel


def _files(instances: list[bytes], refused: list[Refusal]) -> Iterator[tuple[str, bytes]]:
    """Those that are DICOM files and nothing else, under their numbers."""
    for number, data in enumerate(instances, 1):
        name = f"instance {number}"
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
