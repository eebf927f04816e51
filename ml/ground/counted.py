"""How many there are of something, in words."""

from __future__ import annotations


def counted(number: int, one: str, many: str = "") -> str:
    """``1 seed``, ``3 seeds``, ``1,200 lesions``.

    Args:
        one: the word for one of them; ``many`` for any other number, where an s at its end is not
            enough.
    """
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"
