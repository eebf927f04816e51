"""The pasted lesions that ``paste`` left in a folder, read again and verified.

Each picture is held to its digest in the table, and the table to that in ``tissue.json``.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ml.experiment.tissue import TissueError
from ml.experiment.tissue.made import Made
from ml.ground.errors import HepaticaError, reason
from ml.ground.records import extract
from ml.images import picture, roi
from ml.images.roi import Box, Float32
from ml.progress import RunDir

TABLE, FOUND = "labels.csv", "tissue.json"
COLUMNS = (
    "file", "label", "patient", "x", "y", "width", "height", "diameter_mm", "atypical",
    "background", "sha256",
)  # fmt: skip

Greys = npt.NDArray[np.float32]


@dataclass(frozen=True)
class PastedLesion:
    """A line of the table.

    Attributes:
        file: the picture, in the stock's folder; ``sha256``: of that file.
        patient: whose slice it is.
        background: the slice's own file.
    """

    file: str
    lesion_class: str
    patient: str
    box: Box
    background: str
    sha256: str


@dataclass(frozen=True)
class Stock:
    """What was pasted, in the order of the table, which goes from patient to patient."""

    folder: Path
    made: Made
    lesions: tuple[PastedLesion, ...] = field(repr=False)

    @classmethod
    def load(cls, folder: Path) -> Stock:
        """Read the table; pictures are verified when they are read, or by ``verify``.

        Raises:
            TissueError: no folder that ``paste`` wrote, one of an earlier version, or a table that
                is damaged or was altered.
        """
        try:
            table = (folder / TABLE).read_bytes()
            told = RunDir(folder).read_json(FOUND)
        except OSError as error:
            raise TissueError(
                f"{folder} holds no pasted lesions ({reason(error)}: "
                f"{Path(str(error.filename)).name}); make some with python -m ml paste."
            ) from error
        except ValueError as error:
            raise _damaged(folder / FOUND, error) from error
        if isinstance(told, dict) and "digest" not in told:
            raise TissueError(
                f"{folder} was made by an earlier version, which kept no digests of its pictures; "
                "paste again."
            )
        try:
            made = extract(Made, told, FOUND)
            rows = list(csv.DictReader(io.StringIO(table.decode())))
            lesions = tuple(_lesion(row) for row in rows)
        except (HepaticaError, ValueError, KeyError, TypeError, csv.Error) as error:
            raise _damaged(folder, error) from error
        if made.sealed(table).digest != made.digest:
            raise TissueError(
                f"{folder}: {TABLE} or {FOUND} was altered after the lesions were pasted (the "
                "digest does not match); paste again."
            )
        return cls(folder, made, lesions)

    @property
    def digest(self) -> str:
        """Of the table and, by it, of every picture."""
        return self.made.digest

    def of_class(self, key: str) -> tuple[PastedLesion, ...]:
        """Its lesions, in order."""
        return tuple(one for one in self.lesions if one.lesion_class == key)

    @property
    def fewest(self) -> int:
        """Lesions of the class that has the fewest."""
        return min(self.made.counts.values())

    @property
    def patients(self) -> Mapping[str, str]:
        """Whose slices they are, each with a picture of theirs."""
        return {one.patient: one.file for one in reversed(self.lesions)}

    def verify(self) -> None:
        """TissueError where a picture is missing or was altered."""
        for one in self.lesions:
            self._bytes(one)

    def greys(self, one: PastedLesion) -> Greys:
        """(rows, columns) of its picture, 0 to 255.

        Raises:
            TissueError: it is missing, or was altered.
        """
        return picture.read(self._bytes(one), one.file).pixels.astype(np.float32)

    def roi(self, one: PastedLesion, window_hu: tuple[float, float]) -> Float32:
        """(64, 64) in [−1, 1], cut as every ROI is; raises as ``greys``."""
        hu = self.made.greys_hu[0] + self.made.step_hu * self.greys(one)
        spacing = (self.made.spacing_mm, self.made.spacing_mm)
        values = roi.cut(np.asarray(hu, np.float32), one.box, spacing, None)
        return roi.normalise(values, window_hu)

    def _bytes(self, one: PastedLesion) -> bytes:
        path = self.folder / one.file
        try:
            data = path.read_bytes()
        except OSError as error:
            raise TissueError(
                f"{path} cannot be read: {reason(error)}. Copy the pasted lesions again, whole."
            ) from error
        if hashlib.sha256(data).hexdigest() != one.sha256:
            raise TissueError(
                f"{path} was altered after it was pasted (its digest does not match); paste again."
            )
        return data


def _lesion(row: Mapping[str, str]) -> PastedLesion:
    sides = (float(row[name]) for name in ("x", "y", "width", "height"))
    return PastedLesion(
        row["file"], row["label"], row["patient"], Box(*sides), row["background"], row["sha256"]
    )


def _damaged(what: Path, error: Exception) -> TissueError:
    return TissueError(
        f"{what} is damaged ({error}); copy the pasted lesions again, or paste anew."
    )
