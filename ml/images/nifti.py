"""NIfTI volumes as axial slices, seen as a radiologist sees them.

Whatever the order of its axes, a volume is turned so that the first slice is the most cranial one,
the first row anterior, and the patient's right on the left. What its numbers mean a NIfTI file does
not tell.
"""

from __future__ import annotations

import gzip
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.ground.errors import HepaticaError, reason

MOST_VOXELS = 2**30
_OBLIQUE_DEG = 15.0
_APART_MM = 1.0
"""Further than this sform and qform may not set a corner of the volume apart."""
_UNITS = {0: "", 1: "metres", 2: "", 3: "micrometres"}
"""What the three lowest bits of ``xyzt_units`` say of lengths; "" is taken for millimetres."""
_MOST_BYTES = 16 * MOST_VOXELS
_AT_ONCE = 2**22


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
        VolumeError: no such file, damaged, not three-dimensional, not in mm, without a place in
            the patient or with two that differ, or NiBabel is not installed.
    """
    try:
        import nibabel
        from nibabel.filebasedimages import ImageFileError
        from nibabel.orientations import OrientationError
        from nibabel.spatialimages import HeaderDataError
    except ImportError as error:
        raise VolumeError("NIfTI is read by NiBabel: pip install 'hepatica[train]'.") from error
    try:
        library: Any = nibabel
        if path.name.lower().endswith(".gz"):
            _read_whole(path)
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
        _refuse_other_units(header, path.name)
        _refuse_two_places(header, shape, path.name)
        turned = library.as_closest_canonical(library.squeeze_image(image))
        values = np.asanyarray(turned.dataobj)
        affine = np.asarray(turned.affine, np.float64)
    except VolumeError:
        raise
    except MemoryError:
        raise
    except OSError as error:
        raise VolumeError(f"{path.name} cannot be read: {reason(error)}.") from error
    except (
        ImageFileError, HeaderDataError, OrientationError, zlib.error, ValueError, KeyError,
        EOFError,
    ) as error:  # fmt: skip
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


def _read_whole(path: Path) -> None:
    """Read a packed file to its end, where its checksum stands: NiBabel stops before.

    Raises:
        OSError, EOFError, zlib.error: it is damaged, and values in it may be others.
        VolumeError: it unpacks to more than any volume that is read.
    """
    count = 0
    with gzip.open(path) as packed:
        while read := len(packed.read(_AT_ONCE)):
            count += read
            if count > _MOST_BYTES:
                raise VolumeError(f"{path.name} has over 2³⁰ voxels; cut it to the liver.")


def _refuse_other_units(header: Any, name: str) -> None:
    unit = _UNITS.get(int(header["xyzt_units"]) & 7, "an unknown unit")
    if unit:
        raise VolumeError(
            f"{name} gives its lengths in {unit} (xyzt_units); write it in millimetres."
        )


def _refuse_two_places(header: Any, shape: tuple[int, ...], name: str) -> None:
    """Refuse a volume whose sform and qform put it to two places, or side for side."""
    if not (int(header["sform_code"]) and int(header["qform_code"])):
        return
    ends = np.array(np.meshgrid(*([0, length - 1] for length in shape), [1])).reshape(4, -1)
    apart = np.linalg.norm(((header.get_sform() - header.get_qform()) @ ends)[:3], axis=0).max()
    if not apart <= _APART_MM:
        raise VolumeError(
            f"{name} says two things of where it lies: its sform and its qform are up to "
            f"{apart:.0f} mm apart, so sides, directions or sizes differ. Write the right one to "
            "both."
        )


def _told(affine: npt.NDArray[np.float64], steps: npt.NDArray[np.float64]) -> tuple[str, ...]:
    told = []
    tilt = math.degrees(math.acos(min(1.0, float(abs(affine[2, 2]) / steps[2]))))
    if tilt > _OBLIQUE_DEG:
        told.append(f"Its slices are tilted by {tilt:.0f} degrees against axial ones.")
    if max(steps[0], steps[1]) > 1.5 * steps[2] and max(steps[0], steps[1]) > 1.5 * min(steps[:2]):
        told.append("It was not taken in axial slices: axial ones are coarse along one side.")
    if np.allclose(np.abs(affine[:3, :3]), np.eye(3)) and steps.max() - steps.min() < 1e-6:
        told.append(
            "Its voxels are cubes of 1 mm along the axes, as programs write that know neither "
            "size nor direction: look whether both are right."
        )
    return tuple(told)
