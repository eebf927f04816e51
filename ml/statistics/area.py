"""The area under the ROC curve in the Mann–Whitney form: ties count half, cases can be weighted.

P(positive scores above negative) + ½ P(alike) (Hanley & McNeil 1982, Radiology 143:29). Counts of
whole cases give the same number to the last bit however the cases are ordered or grouped.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def auc(positive: npt.ArrayLike, score: npt.ArrayLike) -> float:
    """The area of one classifier or reader, 0–1; NaN where there is no case of a class.

    Args:
        positive: (n,), which cases have the class.
        score: (n,), rising with the certainty that they have it.
    """
    is_positive = np.asarray(positive, bool)
    levels, place = np.unique(np.asarray(score, np.float64), return_inverse=True)
    up, down = (
        np.bincount(place[chosen], minlength=len(levels)).astype(np.float64)
        for chosen in (is_positive, ~is_positive)
    )
    return float(of_histograms(up, down))


def weighted(positive: npt.ArrayLike, score: npt.ArrayLike, weights: Floats) -> Floats:
    """``auc`` (b,) for each row of ``weights`` (b, n) at once; NaN where a row lacks a class.

    Weights count how often a case is in: the draws of a bootstrap.
    """
    is_positive = np.asarray(positive, bool)
    levels, place = np.unique(np.asarray(score, np.float64), return_inverse=True)
    bins = np.eye(len(levels))[place]
    up, down = (weights[:, chosen] @ bins[chosen] for chosen in (is_positive, ~is_positive))
    return of_histograms(up, down)


def parts(positive: npt.ArrayLike, score: npt.ArrayLike) -> Floats:
    """What each case (n,) adds to ``auc`` beyond the mean of its side; all add up to 0.

    The structural components of DeLong et al. (1988, Biometrics 44:837) over the count of the
    side; all 0 where a side has no case.
    """
    is_positive, values = np.asarray(positive, bool), np.asarray(score, np.float64)
    found = np.zeros(len(values))
    up, down = values[is_positive], values[~is_positive]
    if not up.size or not down.size:
        return found
    for own, others, side in ((up, down, is_positive), (-down, -up, ~is_positive)):
        ordered = np.sort(others)
        below = np.searchsorted(ordered, own, "left")
        places = (below + np.searchsorted(ordered, own, "right")) / 2 / len(others)
        found[side] = (places - places.mean()) / len(own)
    return found


def of_histograms(positive: Floats, negative: Floats) -> Floats:
    """Areas (…) from cases, or shares of them, per score (…, levels), which rises; NaN for none."""
    below = np.cumsum(negative, axis=-1) - negative / 2
    total = positive.sum(axis=-1) * negative.sum(axis=-1)
    with np.errstate(invalid="ignore"):
        return np.asarray((positive * below).sum(axis=-1) / total, dtype=np.float64)
