"""Figures as text: what the page and the Markdown table write alike."""

from __future__ import annotations

from math import isnan

from ml.statistics.classification import Interval


def interval(found: Interval | None, signed: bool = False) -> tuple[str, str]:
    """A share in percent and its interval: ``("81.4", "(76.3 to 86.4)")``; empty where unknown."""
    if found is None or isnan(found.value):
        return "", ""
    form = "{:+.1f}" if signed else "{:.1f}"
    value = form.format(100 * found.value)
    if not found.is_known:
        return value, ""
    low, high = (form.format(100 * end) for end in (found.low, found.high))
    return value, f"({low} to {high})"
