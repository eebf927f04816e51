"""What every object about lesions shares: the images it is about, their boxes, its own header."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from datetime import UTC, tzinfo
from typing import Any

from pydicom.dataset import Dataset

from app.objects import rebuilt
from app.objects.said import Account
from app.settings import VERSION
from ml.images.roi import Box

CAUTION = "Research use only. Not a medical device, not for diagnosis."


def of(account: Account) -> Mapping[uuid.UUID, Dataset]:
    """The headers of the images of an account, by the image's id, each once."""
    found: dict[uuid.UUID, Dataset] = {}
    for said in account.statements:
        if said.image.id not in found:
            found[said.image.id] = rebuilt.header(said.image)
    return found


MADE_BY: Mapping[str, Any] = {
    "manufacturer": "Hepatica",
    "manufacturer_model_name": "Hepatica",
    "software_versions": VERSION[:64],
}
"""Of every object that is made here, as highdicom names it."""


def corners(box: Box) -> list[tuple[float, float]]:
    """A box as a closed line of five points (column, row), as PS3.3 C.10.5.1.2 counts them.

    In a DICOM image 0.5, 0.5 is the centre of the first pixel, and so it is in a ``Box``.
    """
    left, top, right, bottom = box.x, box.y, box.x + box.width, box.y + box.height
    return [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]


def person(name: str) -> str:
    """An account's name as a person's name (PS3.5 6.2 PN)."""
    return re.sub(r"[\\^=]", "_", name)[:64] + "^"


def finished(made: Dataset, account: Account, description: str) -> Dataset:
    """An object with the times of what it says, so that made again it is the same to the bit."""
    made.SpecificCharacterSet = "ISO_IR 192"
    timed(made, account, UTC)
    made.TimezoneOffsetFromUTC = "+0000"
    made.SeriesDescription = description
    if made.Modality != "SR":
        made.Laterality = None  # no part of a pair; type 2C
    if any(said.image.phantom for said in account.statements):
        made.SyntheticData = "YES"
    made.PatientIdentityRemoved = "YES"
    made.DeidentificationMethod = "Keyed pseudonym and UIDs"
    made.DeidentificationMethodCodeSequence = rebuilt.methods(account.case)
    made.LongitudinalTemporalInformationModified = rebuilt.longitudinal(account.case)
    return made


_TIMES = ("Content", "InstanceCreation", "PresentationCreation")


def timed(made: Dataset, account: Account, zone: tzinfo | None) -> None:
    """Write when it was said, wherever an object says when it was made.

    Args:
        zone: in which; None: that of this installation.
    """
    when = account.at if account.at.tzinfo else account.at.replace(tzinfo=UTC)
    date, time = when.astimezone(zone).strftime("%Y%m%d %H%M%S").split()
    for what in _TIMES:
        if what != "PresentationCreation" or made.Modality == "PR":
            setattr(made, f"{what}Date", date)
            setattr(made, f"{what}Time", time)
    if "DateOfSecondaryCapture" in made:
        made.DateOfSecondaryCapture, made.TimeOfSecondaryCapture = date, time
    for equipment in made.get("ContributingEquipmentSequence", ()):
        if "ContributionDateTime" in equipment:  # when it was made, and so another each time
            equipment.ContributionDateTime = date + time
