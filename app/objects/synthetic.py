"""Synthetic ROIs as DICOM, which says of itself that it is synthetic and what drew it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from app.models.cases.uids import mapped
from app.models.checkpoint import Checkpoint
from app.objects import rebuilt
from app.objects.part10 import written
from app.settings import VERSION
from ml.checkpoints.drawn import Drawn
from ml.images.roi import to_grey

_SYNTHESIZING = ("109100", "Synthesizing Equipment")
_SERIES_DESCRIPTION = "Synthetic, research use only"


def of(row: Checkpoint, seed: int, truncation: float = 1.0) -> Drawn:
    """What a checkpoint's image of a seed says of itself."""
    low, high = row.window_hu
    return Drawn(
        row.name, row.onnx_digest, row.lesion_class or "any", row.training_kind,
        (float(low), float(high)), seed, truncation,
    )  # fmt: skip


def dicom(roi: npt.NDArray[Any], drawn: Drawn, key: bytes) -> bytes:
    """A Secondary Capture (PS3.3 A.8) of a ROI in [−1, 1], (rows, columns); asked for again it is
    the same to the bit.

    Args:
        key: of the installation, for UIDs of its own.
    """
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 192"
    made.SOPClassUID = SecondaryCaptureImageStorage
    of = f"synthetic {drawn.digest}"
    made.StudyInstanceUID = mapped(f"{of} study", key)
    made.SeriesInstanceUID = mapped(f"{of} series", key)
    scaled = f" truncation {drawn.truncation:g}" if drawn.truncation != 1 else ""
    made.SOPInstanceUID = mapped(f"{of} seed {drawn.seed}{scaled}", key)
    for keyword in (*rebuilt.NOT_KEPT, "StudyDate", "Laterality", "PatientOrientation"):
        setattr(made, keyword, None)
    made.PatientName = "Synthetic^" + drawn.lesion_class
    made.PatientID = f"SYNTHETIC-{drawn.digest[:8]}"
    made.Modality = "OT"
    made.ConversionType = "SYN"
    made.SeriesNumber = "1"
    made.SeriesDescription = _SERIES_DESCRIPTION
    made.InstanceNumber = str(drawn.seed) if drawn.seed < 2**31 else None
    made.SyntheticData = "YES"
    made.ImageType = ["DERIVED", "SECONDARY"]
    made.DerivationDescription = drawn.words
    made.ContributingEquipmentSequence = [_equipment(drawn)]
    made.BurnedInAnnotation = "NO"
    grey = to_grey(roi)
    made.SamplesPerPixel = 1
    made.PhotometricInterpretation = "MONOCHROME2"
    made.Rows, made.Columns = grey.shape
    made.BitsAllocated = made.BitsStored = 8
    made.HighBit = 7
    made.PixelRepresentation = 0
    raw = np.ascontiguousarray(grey).tobytes()
    made.PixelData = raw + b"\0" * (len(raw) % 2)
    made["PixelData"].VR = "OB"
    return written(made)


def _equipment(drawn: Drawn) -> Dataset:
    found = Dataset()
    found.PurposeOfReferenceCodeSequence = [rebuilt.code(*_SYNTHESIZING)]
    found.Manufacturer = found.ManufacturerModelName = "Hepatica"
    found.SoftwareVersions = VERSION[:64]
    found.ContributionDescription = drawn.words
    return found
