"""One decoded image as the rest of Hepatica sees it, and the refusals of a file that gives none.

HepaticaError
 └ DicomError             a file that is no usable CT image
    ├ NotAnImage          empty, text, an archive, a format that is not read
    ├ NotCT               a DICOM object that is no CT slice in Hounsfield units
    ├ NoPixels            a CT object without pixel data
    ├ UnsupportedSyntax   a transfer syntax, bit depth or colour space that is not read
    ├ Corrupt             truncated, contradictory or undecodable
    ├ TooLarge            more pixels than are decoded
    └ FrameError          a frame that the file has not got, or several and none was named
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from ml.ground.errors import HepaticaError
from ml.images import orientation
from ml.images.stack import Placement

MAX_SIDE_PX = 4096
"""Longest side of one frame; the header is asked before anything is decoded."""

MAX_PIXELS = 2**27
"""Most pixels of all frames of one file: 512 frames of 512 × 512, 256 MiB as int16."""

MAX_FILE_BYTES = 2 * MAX_PIXELS + 2**26
"""Most bytes of one file once it is unpacked: its pixels, and what may stand before them."""


NARROW = "The picture uses only"
"""How the warning begins of a picture whose greys are too close for a network to see them."""


MADE_BY = "SoftwareVersions"
"""Kept of a phantom alone, where it tells version and difficulty and nothing else."""


class ImageKind(StrEnum):
    """What the numbers of an image mean; kinds never share a data set, a network or a study."""

    PHANTOM = "phantom"
    """Simulated CT in Hounsfield units."""
    CALIBRATED = "calibrated"
    """CT in Hounsfield units."""
    UNCALIBRATED = "uncalibrated"
    """Grey values."""


class DicomError(HepaticaError):
    """A file that is no usable CT image; the message names the file and the remedy."""


class NotAnImage(DicomError):
    """Neither DICOM nor PNG nor JPEG."""


class NotCT(DicomError):
    """DICOM, but not a CT slice in Hounsfield units."""


class NoPixels(DicomError):
    """A CT object without pixel data."""


class UnsupportedSyntax(DicomError):
    """Pixels stored in a way that is not read."""


class Corrupt(DicomError):
    """Truncated, contradictory or undecodable."""


class TooLarge(DicomError):
    """More pixels than are decoded."""


class FrameError(DicomError):
    """A frame that the file has not got, or several and none was named."""


@dataclass(frozen=True)
class CTSlice:
    """One decoded image: a CT slice in Hounsfield units, or a picture in grey values.

    Attributes:
        pixels: (rows, columns); int16 HU if ``calibrated``, else uint8 or uint16 grey, 0 black.
        calibrated: whether ``pixels`` are HU.
        spacing_mm: distance of rows, distance of columns (DICOM's order), or None if unknown.
        study_uid, series_uid, sop_uid: DICOM UIDs; empty for pictures and where a file has none.
        frame: DICOM frame number, from 1; 1 for single-frame files and pictures.
        patient_id: as in the file; kept in memory only.
        issuer: who gave out the patient_id, as in the file; kept in memory only.
        acquired: date and time of the acquisition as in the file; kept in memory only.
        orientation: direction cosines of a row and a column (PS3.3 C.7.6.2.1.1), or None.
        position: of the first pixel's centre in the patient, (x, y, z) in mm, or None.
        phantom: made by Hepatica's own phantom.
        tags: allow-listed DICOM keywords and their values; none identifies a person.
        warnings: sentences for the user.
    """

    pixels: npt.NDArray[np.int16] | npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
    calibrated: bool
    spacing_mm: tuple[float, float] | None = None
    study_uid: str = ""
    series_uid: str = ""
    sop_uid: str = ""
    frame: int = 1
    patient_id: str = field(default="", repr=False)
    issuer: str = field(default="", repr=False)
    acquired: str = field(default="", repr=False)
    orientation: tuple[float, ...] | None = None
    position: tuple[float, float, float] | None = None
    instance_number: int | None = None
    slice_thickness_mm: float | None = None
    phantom: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """(rows, columns)"""
        rows, columns = self.pixels.shape
        return rows, columns

    @property
    def kind(self) -> ImageKind:
        """What its numbers mean."""
        if self.phantom:
            return ImageKind.PHANTOM
        return ImageKind.CALIBRATED if self.calibrated else ImageKind.UNCALIBRATED

    @property
    def position_mm(self) -> float | None:
        """Place along the slice's normal, or None where the file does not tell it."""
        if self.orientation is None or self.position is None:
            return None
        return orientation.along_normal(self.orientation, self.position)

    @property
    def placement(self) -> Placement:
        """What decides to which stack the slice belongs, and where in it."""
        return Placement(
            sop_uid=self.sop_uid,
            frame=self.frame,
            instance_number=self.instance_number,
            orientation=self.orientation,
            position_mm=self.position_mm,
            size=self.size,
            spacing_mm=self.spacing_mm,
            calibrated=self.calibrated,
            acquired=self.acquired,
            tags=self.tags,
        )

    @property
    def grey_range(self) -> tuple[float, float]:
        """Full range of an uncalibrated image's type: (0, 255) or (0, 65535)."""
        return 0.0, float(np.iinfo(self.pixels.dtype).max)
