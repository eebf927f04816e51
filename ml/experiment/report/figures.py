"""Figures as text: what the page and the Markdown table write alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def interval(entry: Mapping[str, Any] | None, signed: bool = False) -> tuple[str, str]:
    """A share in percent and its interval: ``("81.4", "(76.3 to 86.4)")``; empty where unknown."""
    if not entry or entry.get("value") is None:
        return "", ""
    form = "{:+.1f}" if signed else "{:.1f}"
    value = form.format(100 * entry["value"])
    if entry.get("low") is None or entry.get("high") is None:
        return value, ""
    low, high = (form.format(100 * entry[key]) for key in ("low", "high"))
    return value, f"({low} to {high})"
