"""Whether what comes in now is what came in before: one input in two windows of time.

Numbers are compared by the largest gap of their distributions (Kolmogorov–Smirnov), words by how
much of their shares would have to move (total variation); both lie between 0, alike, and 1, nothing
in common. Either test takes its values to be independent, so there is one lesion of each patient,
and no patient in both windows.

Who looks every month finds something sooner or later. So a window is tested once and for all: the
k-th after the reference spends α / (k (k + 1)) of the error α, which adds up to α over all windows
that there will ever be, and Holm's rule (1979) shares a window's part among its inputs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
import numpy.typing as npt
import scipy  # its parts are loaded when they are used: serving starts without them

from ml.statistics.comparison import holm

Floats = npt.NDArray[np.float64]

_LEAST_EXPECTED = 5.0
"""Of a cell, for a χ² test (Cochran 1954); rarer words count together."""


@dataclass(frozen=True)
class Gap:
    """How far two windows lie apart: ``distance`` 0–1, and ``p`` of it were they alike."""

    distance: float
    p: float


def of_numbers(reference: Floats, recent: Floats) -> Gap:
    """Of values (n,) and (m,), each at least one and finite; Kolmogorov–Smirnov, two-sided.

    Values that repeat make its p too large, and never too small.
    """
    found = scipy.stats.ks_2samp(reference, recent)
    return Gap(float(found.statistic), float(found.pvalue))


def of_words(reference: Sequence[str], recent: Sequence[str]) -> Gap:
    """Of words, each window with at least one; Pearson's χ² of their counts."""
    before, after = Counter(reference), Counter(recent)
    words = sorted(before | after)
    counts = np.asarray([[one[word] for word in words] for one in (before, after)], np.float64)
    shares = counts / counts.sum(axis=1, keepdims=True)
    distance = float(np.abs(shares[0] - shares[1]).sum() / 2)
    pooled = _pooled(counts)
    if pooled.shape[1] < 2:  # but for a few lesions there is one word
        return Gap(distance, 1.0)
    return Gap(distance, float(scipy.stats.chi2_contingency(pooled, correction=False).pvalue))


def _pooled(counts: Floats) -> Floats:
    """(2, words): the rarest put together until each is expected often enough in both windows."""
    columns = sorted(counts.T.tolist(), key=sum, reverse=True)
    least = counts.sum(axis=1).min() / counts.sum()
    while len(columns) > 1 and sum(columns[-1]) * least < _LEAST_EXPECTED:
        last = columns.pop()
        columns[-1] = [a + b for a, b in zip(columns[-1], last, strict=True)]
        columns.sort(key=sum, reverse=True)
    return np.asarray(columns, np.float64).T


def adjusted(values: Sequence[float], window: int, families: int = 1) -> list[float]:
    """p of one family of a window's inputs, so that whoever looks at every window of all families
    is misled at most as often as one test would.

    Args:
        window: which one after the reference, from 1.
        families: among how many the window's part is shared evenly.

    Raises:
        ValueError: a window before the first.
    """
    if window < 1:
        raise ValueError(f"windows after the reference are counted from 1, not {window}")
    price = families * window * (window + 1)
    return [min(1.0, price * p) for p in holm(values)]


def noticed(
    reference: int, recent: int, inputs: int, window: int, families: int = 1, error: float = 0.05
) -> float:
    """About the distance of numbers from which on one is called changed, whatever the others are.

    Args:
        reference, recent: how many values either window has, each at least one.
        inputs: how many there are in the family.
    """
    part = error / (inputs * families * window * (window + 1))
    size = reference * recent / (reference + recent)
    return min(1.0, float(scipy.stats.kstwobign.isf(part)) / sqrt(size))
