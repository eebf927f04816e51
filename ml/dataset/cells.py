"""What a cell of a table says: numbers as people and spreadsheets write them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from ml.dataset.columns import Boxes
from ml.dataset.table import CellError
from ml.images.roi import Box

_DECIMAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
YES = ("1", "1.0", "1,0", "true", "t", "yes", "y", "x")
NO = ("", "0", "0.0", "0,0", "false", "f", "no", "n")


def number(cell: str, what: str) -> float | None:
    """A number with decimal point or comma; None for an empty cell.

    Args:
        what: begins the refusal.

    Raises:
        CellError: it is no number above zero.
    """
    if not cell:
        return None
    text = cell.replace(",", ".")
    value = float(text) if _DECIMAL.fullmatch(text) else math.nan
    if not math.isfinite(value) or value <= 0:
        raise CellError(f"{what} {cell!r} is not a number above zero.")
    return value


def frame(cell: str) -> int | None:
    """A whole number from 1, as people and spreadsheets write it (2, 2.0, 2,0); None if empty.

    Raises:
        CellError: it is none, or has more than six digits.
    """
    if not cell:
        return None
    found = re.fullmatch(r"([0-9]{1,6})([.,]0+)?", cell)
    if found is None or int(found[1]) == 0:
        raise CellError(f"frame {cell!r} is not a whole number from 1.")
    return int(found[1])


def numbers(cell: str, count: int, what: str) -> list[float]:
    """So many numbers in one cell, apart by commas, semicolons or spaces; brackets allowed.

    Raises:
        CellError: there are more or fewer, or one is no number.
    """
    parts = [part for part in re.split(r"[,;\s]+", cell.strip("[]() ")) if part]
    # float() also takes 1_000 and other scripts' digits
    values = [float(part) for part in parts if _DECIMAL.fullmatch(part)]
    if not len(values) == len(parts) == count:
        raise CellError(f"{what} {cell!r} is not {count} numbers such as 120,80,40,35.")
    return values


def box(values: Sequence[float], boxes: Boxes, refused: str) -> Box:
    """The box of four numbers.

    Args:
        boxes: what they are.
        refused: begins the refusal of corners that are none.

    Raises:
        CellError: the second corner lies left of or above the first.
    """
    x, y, third, fourth = values
    if boxes == Boxes.XYWH:
        return Box(x, y, third, fourth)
    if third <= x or fourth <= y:
        raise CellError(f"{refused}: the second corner lies left of or above the first.")
    return Box(x, y, third - x, fourth - y)
