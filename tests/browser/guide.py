"""The steps that the guide names, read from its pages: a test walks what people are told."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass

_AS_PRESSED = {
    "↑": "ArrowUp", "↓": "ArrowDown", "←": "ArrowLeft", "→": "ArrowRight", "Esc": "Escape",
}  # fmt: skip


@dataclass(frozen=True)
class Step:
    """One step: its key, the place where it is done, what it names.

    ``keys`` are as a browser presses them, in their order; ``names`` are those of controls.
    """

    key: str
    place: str
    names: tuple[str, ...]
    keys: tuple[str, ...]
    links: tuple[str, ...]


def steps_of(page: str) -> list[Step]:
    """The steps of a page of the guide."""
    found = re.findall(r'<li data-step="([\w-]+)" data-place="([^"]+)">(.*?)</li>', page, re.S)
    assert found, "the page names no step"
    return [
        Step(
            key,
            place,
            tuple(html.unescape(name) for name in re.findall(r"<b>(.*?)</b>", text)),
            _keys(text),
            tuple(html.unescape(link) for link in re.findall(r'href="([^"]+)"', text)),
        )
        for key, place, text in found
    ]


def _keys(text: str) -> tuple[str, ...]:
    chords = re.findall(r"(?:<kbd>[^<]+</kbd>\+)*<kbd>[^<]+</kbd>", text)
    return tuple("+".join(map(_pressed, re.findall(r"<kbd>(.*?)</kbd>", one))) for one in chords)


def _pressed(key: str) -> str:
    key = _AS_PRESSED.get(key, key)
    return key.lower() if len(key) == 1 else key
