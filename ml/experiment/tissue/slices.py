"""Real slices with a mask of the liver: pictures in grey, each with a mask of the same name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import scipy

from ml.experiment.tissue import TissueError
from ml.ground.errors import reason
from ml.images import picture
from ml.images.ct_slice import DicomError

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

ENDINGS = frozenset({".png", ".jpg", ".jpeg"})
LEAST_LIVER_PX = 400
"""A smaller piece of liver holds no lesion, and its noise cannot be told."""
_MOST_MM = 20.0


@dataclass(frozen=True)
class LiverSlice:
    """One slice: HU (rows, columns), where its liver is, and whose it is.

    Attributes:
        name: the picture's file, in its folder.
        greys_hu: HU of black and of white; nothing beyond them is known.
        step_hu: HU from one grey to the next.
        spacing_mm: of rows and columns alike.
    """

    name: str
    patient: str
    hu: Floats = field(repr=False)
    liver: Bools = field(repr=False)
    greys_hu: tuple[float, float]
    step_hu: float
    spacing_mm: float

    @cached_property
    def median_hu(self) -> float:
        """Of the liver, without its edge."""
        return float(np.median(self.hu[self.inner]))

    @cached_property
    def inner(self) -> Bools:
        """The liver without what lies within 3 mm of its edge."""
        return np.asarray(self.depth_mm > min(3.0, float(self.depth_mm.max()) / 2))

    @cached_property
    def depth_mm(self) -> Floats:
        """(rows, columns) distance to what is no liver; 0 outside."""
        # beyond the picture there is no liver that anybody knows of
        padded = np.pad(self.liver, 1)
        found = scipy.ndimage.distance_transform_edt(padded)[1:-1, 1:-1]
        return np.asarray(found * self.spacing_mm, np.float32)

    def seen(self, hu: npt.NDArray[np.floating]) -> Floats:
        """HU as the slice's greys hold them: clipped to their range, rounded to their steps."""
        low, high = self.greys_hu
        steps = np.rint((np.clip(hu, low, high) - low) / self.step_hu)
        return np.asarray(low + steps * self.step_hu, np.float32)


@dataclass(frozen=True)
class Folder:
    """Pictures with masks of their liver.

    Attributes:
        images: PNG or JPEG.
        masks: one of the same name for each, its ending aside; what is brighter than middle grey is
            liver, with or without its lesions.
        spacing_mm: of a pixel, which a picture does not tell.
        greys_hu: HU of black and of white, which a picture does not tell either.
        patient: a regular expression for the file's name with the patient in brackets.
    """

    images: Path
    masks: Path
    spacing_mm: float
    greys_hu: tuple[float, float]
    patient: str

    def __post_init__(self) -> None:
        low, high = self.greys_hu
        if not (np.isfinite([low, high]).all() and high - low >= 50):
            raise TissueError(
                f"Greys from {low:g} to {high:g} HU: give the HU of black and, 50 or more above "
                "it, of white, such as --hu 0,255."
            )
        if not 0.1 <= self.spacing_mm <= _MOST_MM:
            raise TissueError(
                f"Pixels of {self.spacing_mm:g} mm: give their spacing in mm, such as "
                "--spacing-mm 0.75."
            )
        try:
            groups = re.compile(self.patient).groups
        except re.error as error:
            raise TissueError(
                f"--patient {self.patient!r} is no regular expression: {error}."
            ) from error
        if groups != 1:
            raise TissueError(
                f"--patient {self.patient!r} must have one pair of brackets, about the patient's "
                r"name in the file's, such as '(\d+)_'."
            )

    def names(self) -> list[str]:
        """Of the pictures, in order.

        Raises:
            TissueError: a folder that is not there, or without pictures.
        """
        for folder in (self.images, self.masks):
            if not folder.is_dir():
                raise TissueError(f"{folder} is no folder.")
        found = sorted(
            path.name for path in self.images.iterdir() if path.suffix.lower() in ENDINGS
        )
        if not found:
            raise TissueError(f"{self.images} holds no PNG and no JPEG.")
        return found

    def whose(self, name: str) -> str:
        """The patient of a picture.

        Raises:
            TissueError: the name does not tell.
        """
        match = re.search(self.patient, name)
        if match is None or not match[1]:
            raise TissueError(
                f"{name} does not tell its patient: --patient {self.patient!r} is not in it."
            )
        return match[1]

    def load(self, name: str) -> LiverSlice | str:
        """A slice, or why its liver is of no use.

        Raises:
            TissueError: a picture that cannot be read, or without a mask that fits.
        """
        pixels, most = _read(self.images / name)
        mask, whole = _read(self._mask(name))
        if mask.shape != pixels.shape:
            raise TissueError(
                f"{name} is {pixels.shape[1]} × {pixels.shape[0]} pixels, its mask "
                f"{mask.shape[1]} × {mask.shape[0]}; they must lie on each other."
            )
        liver = mask > whole / 2
        if int(liver.sum()) < LEAST_LIVER_PX:
            return f"under {LEAST_LIVER_PX} pixels of liver"
        low, high = self.greys_hu
        step = (high - low) / most
        hu = (low + step * pixels).astype(np.float32)
        made = LiverSlice(name, self.whose(name), hu, liver, self.greys_hu, step, self.spacing_mm)
        # a mask that is off, or of another picture
        inside, end = hu[liver], 0.02 * (high - low)
        if np.mean((inside <= low + end) | (inside >= high - end)) > 0.5:
            return "more than half of its liver is black or white: does the mask lie on it?"
        if float(inside.std()) < step:
            return "its liver is of one grey"
        return made

    def _mask(self, name: str) -> Path:
        stem = Path(name).stem
        for ending in sorted(ENDINGS):
            for path in (self.masks / (stem + ending), self.masks / (stem + ending.upper())):
                if path.is_file():
                    return path
        raise TissueError(f"{name} has no mask in {self.masks}: it must have the same name.")

    def slices(self) -> Iterator[tuple[str, LiverSlice | str]]:
        """Every picture's name with its slice, or with why it is of no use; as ``load``."""
        for name in self.names():
            yield name, self.load(name)


def _read(path: Path) -> tuple[npt.NDArray[np.float32], int]:
    """Greys and the greatest that their type holds."""
    try:
        pixels = picture.read(path.read_bytes(), path.name).pixels
    except OSError as error:
        raise TissueError(f"{path} cannot be read: {reason(error)}.") from error
    except DicomError as error:
        raise TissueError(str(error)) from error
    return pixels.astype(np.float32), int(np.iinfo(pixels.dtype).max)
