"""Visual words: small patches of ROIs named by the nearest of a vocabulary, and their counts.

The comparator of the years before networks (Diamant et al. 2017, IEEE Trans Biomed Eng 64:1380, on
liver lesions). Patches lie on a grid; principal components and k-means are of the training ROIs'
patches alone; the square roots of the shares of words (Arandjelović & Zisserman 2012) go to a
logistic regression with a ridge. Settings are fixed but for the size of the vocabulary.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from ml.config import seed_for

Pixels = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

PATCH_PX, STEP_PX = 8, 4
COMPONENTS = 16
"""Of a patch's 64 values, by which words are told apart."""
_RIDGE = 0.03
"""As the stronger one of the simple model's."""
_AT_A_TIME = 200


def probabilities(
    words: int, rois: Pixels, labels: Ints, tested: Pixels, classes: int, *seed: object
) -> Floats:
    """Learn from ROIs (n, 64, 64) in [−1, 1] of classes (n,), and name those of ``tested`` (m, …).

    Args:
        words: of the vocabulary.
        seed: names this training; the same gives the same numbers.

    Returns:
        (m, classes), rows that add up to 1; 0 for a class that no training lesion has.
    """
    found = np.zeros((len(tested), classes))
    if not len(tested):
        return found
    number = seed_for("visual words", words, *seed) % 2**32
    # sums depend on how many threads share them
    with threadpool_limits(1):
        patches = _patches(rois)
        told = PCA(COMPONENTS, svd_solver="full").fit(patches)
        vocabulary = MiniBatchKMeans(
            min(words, len(patches)), random_state=number, n_init=3, batch_size=4096
        ).fit(told.transform(patches))

        def counted(of: Pixels) -> Floats:
            table = np.empty((len(of), vocabulary.n_clusters))
            for start in range(0, len(of), _AT_A_TIME):
                some = of[start : start + _AT_A_TIME]
                named = vocabulary.predict(told.transform(_patches(some))).reshape(len(some), -1)
                for row, own in zip(table[start:], named, strict=False):
                    row[:] = np.bincount(own, minlength=table.shape[1]) / len(own)
            return np.sqrt(table)

        learner = make_pipeline(
            StandardScaler(), LogisticRegression(C=_RIDGE, max_iter=10_000)
        ).fit(counted(rois), labels)
        known = learner.predict_proba(counted(tested))
    found[:, learner.classes_] = known
    return found


def _patches(rois: Pixels) -> Floats:
    """(n · patches, 64) of ROIs (n, side, side), ROI by ROI."""
    windows = sliding_window_view(rois, (PATCH_PX, PATCH_PX), axis=(1, 2))
    return windows[:, ::STEP_PX, ::STEP_PX].reshape(-1, PATCH_PX**2).astype(np.float64)
