"""The cluster bootstrap: who is drawn how often, and the interval that the draws give.

What belongs together (the ROIs of a patient, the images of one) is drawn together (Field & Welsh
2007, J R Stat Soc B 69:369). Whether all are drawn at once or each class by itself is the caller's.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ml.statistics.figure import NO_WIDTH

Floats = npt.NDArray[np.float64]


def resamples(groups: npt.ArrayLike, count: int, rng: np.random.Generator) -> Floats:
    """Weights (``count``, n): how often each of n things counts when their groups are drawn again.

    Each row draws as many groups as there are, with replacement.

    Args:
        groups: (n,) whose each thing is; the order of drawing is that of the sorted names.
    """
    names, member = np.unique(np.asarray(groups), return_inverse=True)
    draws = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=count)
    return draws[:, member].astype(np.float64)


def percentiles(drawn: npt.ArrayLike, level: float = 0.95) -> tuple[float, float] | None:
    """The ends of the percentile interval of values (b,); values that do not exist are left out.

    None where nothing is left or where what is left does not vary: its ends would claim a certainty
    that nobody has.
    """
    known = np.asarray(drawn, np.float64)
    known = known[np.isfinite(known)]
    if not known.size:
        return None
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return None if high - low <= NO_WIDTH else (float(low), float(high))
