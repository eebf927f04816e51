"""The simple model: named measurements of ROIs, and scikit-learn instead of a network.

Extremely randomised trees (Geurts et al. 2006, Mach Learn 63:3) or logistic regression with a
ridge. Settings are fixed; which of the models speaks in a fold, nested selection says. Like the
networks, it weights no class.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ml.config import SimpleModel, seed_for
from ml.ground.errors import HepaticaError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

TREES = 200
_LEAST_LEAF = 3
_TRIED = 0.3
"""Share of the measurements that a split chooses among."""
_RIDGE = {SimpleModel.RIDGED: 0.03, SimpleModel.LOGISTIC: 0.3}
"""scikit-learn's C on standardised measurements: the smaller, the stronger the ridge."""


class MeasurementError(HepaticaError):
    """Measurements of which nothing can be learned."""


def probabilities(
    model: SimpleModel, values: Floats, labels: Ints, tested: Floats, classes: int, *seed: object
) -> Floats:
    """Train on measurements (n, k) of classes (n,), and name those of ``tested`` (m, k).

    Trees' votes get one more vote, shared by all classes: trees that agree cannot exclude a class.

    Args:
        seed: names this training; the same gives the same numbers.

    Returns:
        (m, classes), rows that add up to 1; 0 for a class that no training lesion has.

    Raises:
        MeasurementError: a measurement that is not finite.
    """
    if not (np.isfinite(values).all() and np.isfinite(tested).all()):
        raise MeasurementError(
            "A measurement is not a finite number; leave out those that are not known of every ROI."
        )
    learner = _learner(model, seed_for("simple", model, *seed) % 2**32)
    learner.fit(values, labels)
    known = learner.predict_proba(tested)
    if model == SimpleModel.TREES:
        known = (TREES * known + 1 / known.shape[1]) / (TREES + 1)
    table = np.zeros((len(tested), classes))
    table[:, learner.classes_] = known
    return table


def _learner(model: SimpleModel, seed: int) -> Any:
    if model == SimpleModel.TREES:
        return ExtraTreesClassifier(
            TREES, min_samples_leaf=_LEAST_LEAF, max_features=_TRIED, random_state=seed, n_jobs=1
        )
    return make_pipeline(StandardScaler(), LogisticRegression(C=_RIDGE[model], max_iter=10_000))
