"""The files under a folder: by the name a table has for them, or by SOP Instance UID."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath

import numpy as np
import scipy  # its parts are loaded when they are used: serving starts without them

from ml.dataset import cells
from ml.dataset.table import CellError, Row, is_pipe
from ml.ground.counted import counted
from ml.ground.errors import reason
from ml.images import dicom as dicom_files
from ml.images.ct_slice import CTSlice, DicomError
from ml.images.picture import JPEG
from ml.images.roi import Box

_NO_SLICE = (".csv", ".tsv", ".json", ".png", ".jpg", ".jpeg", ".npy", ".npz", ".nii", ".gz")
_DRIVE = re.compile(r"[A-Za-z]:/")
_SOFT_PX = 3
"""So far from black a mask may be grey, as smoothing leaves it."""


class Files:
    """The files under a folder, by name or by SOP Instance UID; none outside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder.resolve()
        self.shortened = False
        self._read = lru_cache(maxsize=4)(self._decode)

    @cached_property
    def _by_uid(self) -> dict[str, dict[str, str]]:
        """For each SOP Instance UID the files that have it, by what they hold.

        Every file is read for it, so only where a table names none.
        """
        found: dict[str, dict[str, str]] = defaultdict(dict)
        for path in sorted(self.folder.rglob("*")):
            if path.is_file() and path.suffix.lower() not in _NO_SLICE:
                name = path.relative_to(self.folder).as_posix()
                try:
                    data = self._bytes(name)
                    uid = dicom_files.sop_instance_uid(data, name)
                except (DicomError, CellError):
                    continue
                found[uid].setdefault(hashlib.sha256(data).hexdigest(), name)
        return found

    def named(self, file: str) -> str:
        """The path, relative to the folder, of a file as a table names it.

        Tables made elsewhere have backslashes and whole paths; of a whole path the longest end
        that lies under the folder counts, and ``shortened`` says so.

        Raises:
            CellError: outside the folder.
        """
        text = file.replace("\\", "/")
        name = PurePosixPath(text)
        outside = CellError(f"file {file!r} lies outside the folder; give a path within it.")
        if ".." in name.parts:
            raise outside
        if name.is_absolute() or _DRIVE.match(text):
            parts = name.parts[1:]
            for first in range(len(parts)):
                end = PurePosixPath(*parts[first:])
                if self._inside(end) and (self.root / end).is_file():
                    self.shortened = True
                    return end.as_posix()
            raise outside
        if not self._inside(name):
            raise outside
        return name.as_posix()

    def _inside(self, name: PurePosixPath) -> bool:
        try:
            return (self.root / name).resolve().is_relative_to(self.root)
        except (OSError, ValueError):
            return False

    def path(self, file: str) -> Path:
        """Where a file of a table lies; CellError outside the folder, or where reading may wait."""
        path = self.root / self.named(file)
        if is_pipe(path):
            raise CellError(f"file {file!r} is a pipe or a device; give a file.")
        return path

    def _bytes(self, file: str) -> bytes:
        path = self.path(file)
        try:
            return path.read_bytes()
        except (OSError, ValueError) as error:
            told = reason(error) if isinstance(error, OSError) else error
            raise CellError(f"file {file!r} cannot be read: {told}.") from error

    def _decode(self, file: str) -> tuple[CTSlice, ...]:
        return dicom_files.read(self._bytes(file), file)

    def slice_of(self, row: Row) -> tuple[CTSlice, str]:
        """The slice of a row, and the file it is in, relative to the folder."""
        uid, file = row.get("sop_instance_uid"), row.get("file")
        if not file:
            if not uid:
                raise CellError("neither a file nor a sop_instance_uid.")
            if uid not in self._by_uid:
                raise CellError(f"no file under the folder has SOP Instance UID {uid}.")
            files = [*self._by_uid[uid].values()]
            if len(files) > 1:
                raise CellError(
                    f"{len(files)} files that differ have SOP Instance UID {uid} "
                    f"({', '.join(files[:3])}); say which in a column file."
                )
            file = files[0]
        file = self.named(file)
        slices = self._read(file)
        if uid and slices[0].sop_uid != uid:
            raise CellError(f"file {file!r} has SOP Instance UID {slices[0].sop_uid}, not {uid}.")
        frame = cells.frame(row.get("frame"))
        if frame is None and len(slices) > 1:
            raise CellError(f"file {file!r} has {len(slices)} frames; give a column frame.")
        number = 1 if frame is None else frame
        if number > len(slices):
            raise CellError(f"file {file!r} has {counted(len(slices), 'frame')}, not {number}.")
        return slices[number - 1], file

    def only(self, file: str) -> tuple[CTSlice]:
        """The one slice of a file; CellError where it has several frames."""
        slices = self._read(file)
        if len(slices) > 1:
            raise CellError(
                f"{len(slices)} frames; say which holds the lesion, in a labels.csv with a column "
                "frame."
            )
        return (slices[0],)

    def box_of_mask(self, file: str, shape: tuple[int, ...]) -> Box:
        """The box of what is not black on a picture of that shape (rows, columns).

        Raises:
            CellError: no such picture, all black, inverted, several values away from its edges
                (these may be soft), or several lesions.
        """
        if self._bytes(file).startswith(JPEG):
            raise CellError(
                f"mask {file!r} is a JPEG, whose compression leaves grey around a lesion; save it "
                "as PNG."
            )
        found = self._read(file)[0]
        if found.calibrated:
            raise CellError(f"mask {file!r} is a CT slice; give a picture, black but the lesion.")
        mask = found.pixels
        if mask.shape != shape:
            raise CellError(f"mask {file!r} has {mask.shape} pixels, its slice {shape}.")
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if not len(rows):
            raise CellError(f"mask {file!r} is all black.")
        ends = (int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1)
        if ends == (0, mask.shape[0], 0, mask.shape[1]):
            raise CellError(
                f"mask {file!r} is not black at any edge: is it inverted? The lesion must be what "
                "is not black."
            )
        deep = np.unique(mask[scipy.ndimage.binary_erosion(mask, np.ones((3, 3)), _SOFT_PX)])
        if deep.size > 1:
            raise CellError(
                f"mask {file!r} has {deep.size} values or colours besides black, and "
                "one box would span them all; give a mask in which the lesion alone is not black."
            )
        regions, count = scipy.ndimage.label(mask, np.ones((3, 3)))
        slices = scipy.ndimage.find_objects(regions)
        if not any((a.start, a.stop, b.start, b.stop) == ends for a, b in slices):
            raise CellError(
                f"mask {file!r} has {count} separate regions, and one box would span them all; "
                "give each lesion a mask and a row of its own."
            )
        top, bottom, left, right = ends
        return Box(float(left), float(top), float(right - left), float(bottom - top))
