"""Figures as text: what the page and the Markdown table write alike."""

from __future__ import annotations

from ml.statistics.figure import Figure


def interval(found: Figure | None, signed: bool = False) -> tuple[str, str]:
    """A share in percent and its interval: ``("81.4", "(76.3 to 86.4)")``; empty where unknown."""
    if found is None or found.value is None:
        return "", ""
    form = "{:+.1f}" if signed else "{:.1f}"
    value = form.format(100 * found.value)
    if found.ends is None:
        return value, ""
    low, high = (form.format(100 * end) for end in found.ends)
    return value, f"({low} to {high})"
