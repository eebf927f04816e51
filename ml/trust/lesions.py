"""The lesions of a data set as a checkpoint keeps them, for a case to be compared with.

Of each: its class, whether the network was trained on it, what networks that had not seen it said
of it, the network's features of it, its measurements, and of phantoms its picture. It makes no
answer: it is read when somebody compares, and a checkpoint without it classifies as before.

Of patients it keeps numbers in place of names, and no picture: a checkpoint travels, and pictures
of patients stay where they are.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.ground import records
from ml.images import roi
from ml.images.measurements import Measured, Measurement
from ml.trust.columns import columns_of, unit_of
from ml.trust.evidence import TrustError, refuse_version

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Tensors = Mapping[str, npt.NDArray[Any]]

VERSION = 1
NO_PICTURES = (
    "pictures of patients are not kept with a checkpoint, which travels; the installation that "
    "holds their images shows them"
)
"""Why the lesions of patients have no picture."""
_SUREST = 12
"""So many of the lesions that were named wrongly stand in the record, and so in the card."""


@dataclass(frozen=True)
class Mistake:
    """A lesion that was named wrongly by the network that had not seen it.

    Attributes:
        said: the class that it named, with ``p_said``; ``p_truth`` is what it gave the true one.
    """

    id: str
    patient: str
    truth: str
    said: str
    p_said: float
    p_truth: float


@dataclass(frozen=True)
class Mixed:
    """How many lesions of one class were named another."""

    truth: str
    said: str
    n_lesions: int


@dataclass(frozen=True)
class LesionsRecord:
    """What stands in ``checkpoint.json`` under ``lesions``.

    Attributes:
        n_trained: on how many of them the networks were trained whose features are kept.
        features: of the network, how many of each.
        calibrated: whether what was said of them are probabilities, or scores.
        unit: of the measurements: HU or grey; ``measurements`` are their names.
        no_pictures: why there are none; "" where each has one.
        mixed: the mistakes counted, the most frequent first.
        surest: the mistakes that were made with the highest number.
    """

    version: int
    n_lesions: int
    n_patients: int
    n_trained: int
    features: int
    calibrated: bool
    unit: str
    measurements: tuple[str, ...]
    no_pictures: str
    mixed: tuple[Mixed, ...]
    surest: tuple[Mistake, ...]

    @property
    def n_wrong(self) -> int:
        """How many were named wrongly."""
        return sum(one.n_lesions for one in self.mixed)


@dataclass(frozen=True)
class Lesions:
    """n lesions of a data set, and what is known of each.

    Attributes:
        ids: as the data set has them.
        patients: whose they are, by a pseudonym.
        labels: (n,) positions of the true classes in ``classes``.
        features: (n, d) of the network that serves, float16; of several, those that they give.
        trained: (n,) whether the networks whose features these are were trained on them; the others
            were held out from these.
        said: (n, classes), by a network that had not seen the lesion's patient; rows sum to 1.
        calibrated: whether that are probabilities, or scores.
        measured: (n, k); NaN where a value is not known.
        pictures: n of PNG at the network's window, or none.
        no_pictures: why none.

    Raises:
        TrustError: parts that are not of the same lesions, or values that cannot be.
    """

    ids: tuple[str, ...]
    patients: tuple[str, ...]
    labels: Ints
    trained: Bools
    features: npt.NDArray[np.float16]
    said: npt.NDArray[np.float32]
    calibrated: bool
    measured: Measured
    classes: tuple[str, ...]
    pictures: tuple[bytes, ...] = ()
    no_pictures: str = ""

    def __post_init__(self) -> None:
        n = len(self.ids)
        together = (
            len(self.patients) == n
            and self.labels.shape == self.trained.shape == (n,)
            and self.features.ndim == 2
            and len(self.features) == len(self.measured.values) == n
            and self.said.shape == (n, len(self.classes))
            and self.measured.values.shape == (n, len(self.measured.of))
            and len(self.pictures) == (0 if self.no_pictures else n)
        )
        if not n or not together:
            raise TrustError("What is kept of the data set's lesions is not of the same lesions.")
        if len(set(self.ids)) < n:
            raise TrustError("Two lesions of the data set have one id.")
        if not np.isfinite(self.features).all():
            raise TrustError("A feature of a lesion is no number that half precision can hold.")
        if not ((self.said >= 0) & (self.said <= 1)).all():
            raise TrustError("What was said of a lesion is no probability.")
        if not 0 <= self.labels.min() <= self.labels.max() < len(self.classes):
            raise TrustError("A lesion of the data set is of no class of the scheme.")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def wrong(self) -> Ints:
        """Rows of those that were named wrongly, the surest mistake first."""
        named = self.said.argmax(axis=1)
        rows = np.flatnonzero(named != self.labels)
        return rows[np.argsort(-self.said[rows, named[rows]], kind="stable")]

    def mistake(self, row: int) -> Mistake:
        """What was said of one of them that was named wrongly."""
        named, truth = int(self.said[row].argmax()), int(self.labels[row])
        return Mistake(
            self.ids[row],
            self.patients[row],
            self.classes[truth],
            self.classes[named],
            round(float(self.said[row, named]), 4),
            round(float(self.said[row, truth]), 4),
        )

    def only(self, rows: Sequence[int]) -> Lesions:
        """Some of them, in this order."""
        keep = list(rows)
        return replace(
            self,
            ids=tuple(self.ids[row] for row in keep),
            patients=tuple(self.patients[row] for row in keep),
            labels=self.labels[keep],
            trained=self.trained[keep],
            features=self.features[keep],
            said=self.said[keep],
            measured=self.measured.rows(keep),
            pictures=tuple(self.pictures[row] for row in keep) if self.pictures else (),
        )

    # -- as a file -----------------------------------------------------------------------------

    def record(self) -> LesionsRecord:
        """What is told of them without reading the file."""
        wrong = [self.mistake(int(row)) for row in self.wrong]
        counted = Counter((one.truth, one.said) for one in wrong)
        return LesionsRecord(
            VERSION,
            len(self),
            len(set(self.patients)),
            int(self.trained.sum()),
            self.features.shape[1],
            self.calibrated,
            unit_of(self.measured.of),
            tuple(one.name for one in self.measured.of),
            self.no_pictures,
            tuple(Mixed(*pair, n) for pair, n in counted.most_common()),
            tuple(wrong[:_SUREST]),
        )

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """What ``read`` reads beside the record; texts and pictures as bytes."""
        named = json.dumps([self.ids, self.patients], ensure_ascii=False).encode()
        return {
            "names": np.frombuffer(named, np.uint8),
            "labels": self.labels.astype(np.int16),
            "trained": self.trained.astype(np.uint8),
            "features": self.features,
            "said": self.said.astype(np.float32),
            "measured": self.measured.values.astype(np.float32),
            "pictures": np.frombuffer(b"".join(self.pictures), np.uint8),
            "picture_ends": np.cumsum([len(one) for one in self.pictures], dtype=np.int64),
        }

    @classmethod
    def read(cls, record: LesionsRecord, tensors: Tensors, classes: tuple[str, ...]) -> Lesions:
        """The inverse of ``record`` and ``tensors``.

        Raises:
            TrustError: arrays that do not belong to the record.
        """
        try:
            ids, patients = json.loads(tensors["names"].tobytes())
            ends = tensors["picture_ends"].tolist()
            data = tensors["pictures"].tobytes()
            found = cls(
                tuple(map(str, ids)),
                tuple(map(str, patients)),
                tensors["labels"].astype(np.int64),
                tensors["trained"].astype(bool),
                tensors["features"],
                tensors["said"],
                record.calibrated,
                Measured(_of(record), tensors["measured"].astype(np.float64)),
                classes,
                tuple(
                    data[start:end]
                    for start, end in zip([0, *ends[:-1]], ends, strict=True)
                )
                if ends
                else (),
                record.no_pictures,
            )  # fmt: skip
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise TrustError(
                f"What is kept of the data set's lesions is damaged ({error!r})."
            ) from error
        if (len(found), found.features.shape[1]) != (record.n_lesions, record.features):
            raise TrustError("The lesions that are kept are not those of the checkpoint's record.")
        return found


def _of(record: LesionsRecord) -> tuple[Measurement, ...]:
    return columns_of(record.unit, record.measurements, "lesions", TrustError)


def read_record(data: Any) -> LesionsRecord:
    """The record of a ``checkpoint.json``.

    Raises:
        TrustError: of another version.
        RecordError: of another form.
    """
    refuse_version(data, VERSION, "the lesions of a checkpoint")
    return records.from_json(LesionsRecord, data, "lesions")


def pictured(rois: npt.NDArray[np.float32]) -> tuple[bytes, ...]:
    """ROIs (n, 64, 64) in [−1, 1], each as a PNG."""
    return tuple(roi.to_png(one) for one in rois)
