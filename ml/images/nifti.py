"""NIfTI volumes as axial slices, seen as a radiologist sees them.

Whatever the order of its axes, a volume is turned so that the first slice is the most cranial one,
the first row anterior, and the patient's right on the left. What its numbers mean a NIfTI file does
not tell.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.ground.errors import HepaticaError, reason

MOST_VOXELS = 2**30
_OBLIQUE_DEG = 15.0


class VolumeError(HepaticaError):
    """A file that is no volume of axial slices."""


@dataclass(frozen=True)
class Volume:
    """Axial slices of a body.

    Attributes:
        values: (slices, rows, columns) as the file has them, rescaled by its own slope.
        spacing_mm: (row, column) spacing.
        step_mm: from slice to slice.
        affine: (4, 4), from (column, row, slice) to mm, of the turned volume.
        warnings: sentences for the user.
    """

    values: npt.NDArray[Any]
    spacing_mm: tuple[float, float]
    step_mm: float
    affine: npt.NDArray[np.float64]
    warnings: tuple[str, ...] = ()


def is_name(name: str) -> bool:
    """Whether a file is called as NIfTI files are."""
    return name.lower().endswith((".nii", ".nii.gz"))


def read(path: Path) -> Volume:
    """The volume in a NIfTI file.

    Raises:
        VolumeError: no such file, not three-dimensional, without a place in the patient, or
            NiBabel is not installed.
    """
    try:
        import nibabel
        from nibabel.filebasedimages import ImageFileError
        from nibabel.spatialimages import HeaderDataError
    except ImportError as error:
        raise VolumeError("NIfTI is read by NiBabel: pip install 'hepatica[train]'.") from error
    try:
        library: Any = nibabel
        image = library.load(path)
        shape = tuple(length for length in image.shape)
        while len(shape) > 3 and shape[-1] == 1:
            shape = shape[:-1]
        if len(shape) != 3 or min(shape) < 1:
            raise VolumeError(f"{path.name} has the shape {image.shape}; give three axes.")
        if math.prod(shape) > MOST_VOXELS:
            raise VolumeError(f"{path.name} has over 2³⁰ voxels; cut it to the liver.")
        header: Any = image.header
        if not (int(header["sform_code"]) or int(header["qform_code"])):
            raise VolumeError(
                f"{path.name} has neither sform nor qform, so nobody can tell its left from its "
                "right or which slices are axial; write it with its affine."
            )
        turned = library.as_closest_canonical(library.squeeze_image(image))
        values = np.asanyarray(turned.dataobj)
        affine = np.asarray(turned.affine, np.float64)
    except VolumeError:
        raise
    except MemoryError:
        raise
    except OSError as error:
        raise VolumeError(f"{path.name} cannot be read: {reason(error)}.") from error
    except (ImageFileError, HeaderDataError, ValueError, KeyError, EOFError) as error:
        raise VolumeError(f"{path.name} is no whole NIfTI file ({error}).") from error
    if values.dtype.kind not in "iuf" or affine.shape != (4, 4) or not np.isfinite(affine).all():
        raise VolumeError(f"{path.name} is no volume of numbers with a place in the patient.")
    # from right-anterior-superior to columns leftward, rows backward, slices downward
    values = np.transpose(values[::-1, ::-1, ::-1], (2, 1, 0))
    flip = np.eye(4)
    flip[[0, 1, 2], [0, 1, 2]] = -1
    flip[:3, 3] = np.array(values.shape[::-1]) - 1
    affine = affine @ flip
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    if not (steps > 0).all():
        raise VolumeError(f"{path.name} has voxels without a size.")
    return Volume(
        values,
        (float(steps[1]), float(steps[0])),
        float(steps[2]),
        affine,
        _told(affine, steps),
    )


def _told(affine: npt.NDArray[np.float64], steps: npt.NDArray[np.float64]) -> tuple[str, ...]:
    told = []
    tilt = math.degrees(math.acos(min(1.0, float(abs(affine[2, 2]) / steps[2]))))
    if tilt > _OBLIQUE_DEG:
        told.append(f"Its slices are tilted by {tilt:.0f} degrees against axial ones.")
    if max(steps[0], steps[1]) > 1.5 * steps[2] and max(steps[0], steps[1]) > 1.5 * min(steps[:2]):
        told.append("It was not taken in axial slices: axial ones are coarse along one side.")
    return tuple(told)
