"""The lesions of a data set as they are kept with a checkpoint, for cases to be compared with."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ml.dataset.manifest import Manifest
from ml.images.ct_slice import ImageKind
from ml.images.measurements import Measured
from ml.statistics import multinomial
from ml.trust import calibration
from ml.trust.evidence import Missing, OutOfFold
from ml.trust.lesions import NO_PICTURES, Lesions, pictured
from ml.trust.record import Trust

PATIENT = "patient {:03}"


def kept(
    manifest: Manifest,
    rois: npt.NDArray[np.float32],
    lesions: OutOfFold,
    trust: Trust,
    trained: npt.NDArray[np.bool_],
    features: npt.NDArray[np.float32],
    measured: Measured,
) -> Lesions:
    """Every lesion, in the order of the lines.

    Simulated patients keep their names and their lesions a picture. Others are numbered.

    Args:
        rois: (n, 64, 64) in [−1, 1], at the network's window.
        lesions: what was said of each by a network that had not seen its patient.
        trust: made of them; where it is calibrated, so is what was said, each fold by the others.
        trained: (n,) whether the networks whose ``features`` (n, d) these are were trained on each.
        measured: (n, k) as serving does.

    Raises:
        TrustError: features too large for half precision, or parts of other lesions.
    """
    fitted = not isinstance(trust.figures.calibration, Missing)
    said = calibration.cross_fitted(lesions) if fitted else multinomial.softmax(lesions.logits)
    simulated = manifest.kind == ImageKind.PHANTOM
    with np.errstate(over="ignore"):  # what is too large is refused by name
        half = features.astype(np.float16)
    return Lesions(
        ids=tuple(line.id for line in manifest.lines),
        patients=tuple(
            line.patient if simulated else PATIENT.format(number + 1)
            for line, number in zip(manifest.lines, lesions.patients, strict=True)
        ),
        labels=lesions.labels,
        trained=trained,
        features=half,
        said=said.astype(np.float32),
        calibrated=fitted,
        measured=measured,
        classes=lesions.classes,
        pictures=pictured(rois) if simulated else (),
        no_pictures="" if simulated else NO_PICTURES,
    )
