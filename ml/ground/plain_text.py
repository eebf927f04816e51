"""Figures and tables as plain text, for terminals and documents."""

from __future__ import annotations

from collections.abc import Sequence


def is_text(words: str) -> bool:
    """Whether words can be written as UTF-8; a file's name may have bytes that cannot."""
    return not any("\ud800" <= letter <= "\udfff" for letter in words)


def number(value: float | None, digits: int = 4) -> str:
    """``0.1235``; a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def span(low: float | None, high: float | None, digits: int = 4) -> str:
    """The ends of an interval, ``0.1235 to 0.4321``; a dash where there is none."""
    if low is None or high is None:
        return "–"
    return f"{low:.{digits}f} to {high:.{digits}f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of columns padded to their widest cell; nothing at all without rows."""
    if not rows:
        return []
    every = [head, *rows]
    widths = [max(len(row[k]) for row in every) for k in range(len(head))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in every
    ]
