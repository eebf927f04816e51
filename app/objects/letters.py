"""The letters of a picture: the one font that comes with Pillow draws Latin ones without marks, and
an empty box for every other. A picture has the same pixels on every machine, so no font of the
system stands in; what cannot be drawn is written otherwise, and the picture says so.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from functools import cache

from PIL import ImageFont

NOT_WHOLE = "Names are written as far as there are letters here; the report has them whole."

_SIZE_PX = 14
_NOWHERE = "\U0010fffe"
"""No character: drawn as the empty box."""
_PLAIN = str.maketrans(
    dict(zip("øØþðđĐłŁıµ×–—−", "oOtddDlLiux---", strict=True))
    | {"ß": "ss", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "≤": "<=", "≥": ">="}
)
"""Letters that are no other one with a mark."""


@cache
def font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font of all pictures."""
    return ImageFont.load_default(size=_SIZE_PX)


def plain(text: str) -> str:
    """A text with its letters as they can be drawn: without marks, and ``?`` for what has no letter
    like it."""
    return "".join(letter if _is_drawn(letter) else _like(letter) for letter in text)


def named(text: str, names: Mapping[str, str]) -> str:
    """A line about classes as it can be drawn.

    Args:
        names: of each class that may be in it, display → key. The key stands for a name that no
            letters are there for, and beside one that lost its marks.
    """
    for display in sorted(names, key=len, reverse=True):
        if plain(display) != display:
            text = text.replace(display, _name(display, names[display]))
    return plain(text)


def _name(display: str, key: str) -> str:
    found = plain(display)
    if found.casefold() == key.replace("_", " "):
        return found
    return f"class {key}" if found.count("?") > display.count("?") else f"{found} [{key}]"


def _like(letter: str) -> str:
    without = unicodedata.normalize("NFKD", letter.translate(_PLAIN))
    found = "".join(one for one in without if not unicodedata.combining(one))
    if not found and without:
        return ""  # a mark by itself
    return found if all(map(_is_drawn, found)) else "?"


@cache
def _is_drawn(letter: str) -> bool:
    if letter.isascii():
        return True
    shape, empty = (font().getmask(one) for one in (letter, _NOWHERE))
    return shape.size != empty.size or bytes(shape) != bytes(empty)
