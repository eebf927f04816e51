"""Signal detection: how well a reader tells synthetic from real, apart from how often they say so.

H is the share of synthetic images called synthetic, F that of real images called synthetic
(Green & Swets 1966; Macmillan & Creelman 2005).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import scipy

from ml.statistics.figure import Figure
from ml.statistics.proportion import ReadersError


@dataclass(frozen=True)
class Detection:
    """d′ (0 = guessing) and criterion c (negative = inclined to answer "synthetic")."""

    d_prime: Figure
    criterion: Figure


def d_prime(hit_rate: float, false_alarm_rate: float) -> float:
    """z(H) − z(F), both rates in (0, 1)."""
    return _z(hit_rate) - _z(false_alarm_rate)


def criterion(hit_rate: float, false_alarm_rate: float) -> float:
    """−½ (z(H) + z(F)), both rates in (0, 1)."""
    return -0.5 * (_z(hit_rate) + _z(false_alarm_rate))


def d_prime_2afc(proportion_correct: float) -> float:
    """√2 z(PC) for a choice between two images shown side by side."""
    return sqrt(2) * _z(proportion_correct)


def log_linear(count: int, n: int) -> float:
    """(count + 0.5) / (n + 1), never 0 or 1 (Hautus 1995)."""
    return (count + 0.5) / (n + 1)


def detect(
    hits: int, n_synthetic: int, false_alarms: int, n_real: int, confidence: float = 0.95
) -> Detection:
    """d′ and c from counts, log-linear correction, normal intervals.

    Variances by Gourevitch & Galanter (1967, Psychometrika 32:25).

    Raises:
        ReadersError: no synthetic or no real image, or more answers than images.
    """
    if n_synthetic < 1 or n_real < 1:
        raise ReadersError("d′ needs at least one synthetic and one real image.")
    if not (0 <= hits <= n_synthetic and 0 <= false_alarms <= n_real):
        raise ReadersError("d′ was asked of more answers than there are images.")
    h, f = log_linear(hits, n_synthetic), log_linear(false_alarms, n_real)
    variance = _z_variance(h, n_synthetic) + _z_variance(f, n_real)
    half = float(scipy.stats.norm.ppf(0.5 + confidence / 2)) * sqrt(variance)
    n, method = n_synthetic + n_real, "log-linear correction, Gourevitch–Galanter interval"
    dp, c = d_prime(h, f), criterion(h, f)
    return Detection(
        Figure(dp, dp - half, dp + half, n, method),
        Figure(c, c - half / 2, c + half / 2, n, method),
    )


def _z(rate: float) -> float:
    if not 0 < rate < 1:
        raise ReadersError(f"A rate of {rate} has no normal deviate; correct it first.")
    return float(scipy.stats.norm.ppf(rate))


def _z_variance(rate: float, n: int) -> float:
    return rate * (1 - rate) / (n * float(scipy.stats.norm.pdf(scipy.stats.norm.ppf(rate))) ** 2)
