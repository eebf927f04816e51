"""Figures as text and as HTML: what the page and the tables in Markdown write alike."""

from __future__ import annotations

from ml.statistics.figure import Figure


def share(found: Figure | None, signed: bool = False) -> str:
    """A share in percent with its interval, ``81.4 (76.3 to 86.4)``; "" where unknown."""
    return " ".join(filter(None, _share(found, signed)))


def share_html(found: Figure | None, signed: bool = False) -> str:
    """The same as HTML; a dash where unknown."""
    return _html(_share(found, signed))


def number_html(found: Figure | None, form: str) -> str:
    """A figure as it is with its interval, as HTML; a dash where unknown.

    Args:
        form: as ``format`` takes it, such as ``.3f``.
    """
    return _html(_parts(found, form))


def _share(found: Figure | None, signed: bool) -> tuple[str, str]:
    return _parts(found, "+.1f" if signed else ".1f", 100)


def _parts(found: Figure | None, form: str, times: float = 1) -> tuple[str, str]:
    """Value and interval, ``("81.4", "(76.3 to 86.4)")``; empty where unknown."""
    if found is None or found.value is None:
        return "", ""
    value = f"{times * found.value:{form}}"
    if found.ends is None:
        return value, ""
    low, high = (f"{times * end:{form}}" for end in found.ends)
    return value, f"({low} to {high})"


def _html(parts: tuple[str, str]) -> str:
    value, between = parts
    return f"{value} <span class='soft'>{between}</span>" if between else value or "–"
