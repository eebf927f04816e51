"""Lesions of a data set as what networks of other folds said of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ml.dataset.manifest import Manifest
from ml.trust.evidence import OutOfFold, numbered


def out_of_fold(
    manifest: Manifest, logits: npt.NDArray[np.float64], folds: npt.NDArray[np.int64]
) -> OutOfFold:
    """Every lesion, in the order of the lines.

    Args:
        logits: (n, classes), by the network that had not seen the lesion's patient.
        folds: (n,), which fold held it out.

    Raises:
        TrustError: as ``OutOfFold``.
    """
    return OutOfFold(
        logits=logits,
        labels=np.asarray([manifest.scheme.index(line.lesion_class) for line in manifest.lines]),
        patients=numbered([line.patient for line in manifest.lines]),
        folds=folds,
        classes=manifest.scheme.keys,
    )
