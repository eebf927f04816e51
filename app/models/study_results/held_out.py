"""A network's answers on a study's own images, where it certainly never trained on them.

Out-of-fold or not at all: a network that has seen an image beforehand names its class too well.
A data set's digest says whether two data sets are the same, not whether they share a patient, so
only two cases are certain: the images are of patients and the network saw simulated ones, or the
other way round.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from sqlalchemy.orm import Session

from app.models.checkpoint import Checkpoint
from app.models.ground.blob import Blob
from app.models.reader_studies.stimulus import Stimulus
from app.models.reader_studies.study import ReaderStudy
from ml.checkpoints.checkpoint import CheckpointKind
from ml.images.roi import from_png

Classify = Callable[[Session, Checkpoint, npt.NDArray[np.float32]], Sequence[str]]
"""How ROIs are classified: (session, checkpoint, (n, 64, 64) in [−1, 1]) → n class keys."""


@dataclass(frozen=True)
class HeldOut:
    """Which network, its class per image, and why there is none."""

    name: str | None
    note: str
    classes: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls, session: Session, study: ReaderStudy, cases: dict[str, Stimulus], classify: Classify
    ) -> HeldOut:
        """Ask the served classifier about every image, if it may be asked."""
        served = Checkpoint.served(session, CheckpointKind.CLASSIFIER)
        if not served:
            return cls(None, "no classifier is served here")
        checkpoint = served[-1]
        why = refusal(checkpoint, study)
        if why is not None:
            return cls(checkpoint.name, why)
        rois = np.stack(
            [from_png(Blob.read(session, one.pixels_digest)) for one in cases.values()]
        ).astype(np.float32)
        classes = classify(session, checkpoint, rois)
        return cls(
            checkpoint.name,
            f"{checkpoint.name} was trained on {_KIND[checkpoint.training_kind]} only, so it saw "
            f"none of these images ({_KIND[study.kind]}) nor what their generators learned from",
            dict(zip(cases, classes, strict=True)),
        )


_KIND = {
    "phantom": "simulated CT",
    "calibrated": "CT of patients",
    "uncalibrated": "pictures of patients",
}


def refusal(checkpoint: Checkpoint, study: ReaderStudy) -> str | None:
    """Why this classifier's answers on the study's images would not be out of fold; or None."""
    if checkpoint.scheme.keys != study.scheme.keys:
        return f"{checkpoint.name} knows other lesion classes than this study asks for"
    if checkpoint.window_hu != tuple(study.window_hu) or checkpoint.grey_range is not None:
        return f"{checkpoint.name} sees another window than the images were rendered with"
    if (checkpoint.training_kind == "phantom") == (study.kind == "phantom"):
        return (
            f"{checkpoint.name} was trained on {_KIND[checkpoint.training_kind]} (data set "
            f"{checkpoint.dataset_digest[:12]}…), and so may have seen patients of this study: a "
            "digest does not tell which patients a data set holds. Only out-of-fold predictions "
            "may stand here"
        )
    return None
