"""Numbers as people type them, and what is said when they are none."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from app.errors import Unreadable
from ml.lesion import LesionScheme

_NUMBER = re.compile(r"[+-]?([0-9]+([.,][0-9]*)?|[.,][0-9]+)([eE][+-]?[0-9]{1,2})?")
_LONGEST = 40
_OF_CLASS = re.compile(r"\s*(\S+?)\s*[:= ]\s*(\S+)\s*")


def whole(text: str, what: str) -> int:
    """A whole number from 0.

    Raises:
        Unreadable: anything else.
    """
    if not (text.strip().isascii() and text.strip().isdigit() and len(text) < 20):
        raise Unreadable(f"Give {what} as a whole number, not {text[:20]!r}.")
    return int(text)


def number(text: str, what: str) -> float:
    """A number, with a decimal point or comma, in the digits 0 to 9.

    Raises:
        Unreadable: anything else, such as a list, thousands marks, or “NaN”.
    """
    if not _NUMBER.fullmatch(text.strip()) or len(text) > _LONGEST:
        raise Unreadable(f"Give {what} as a number, not {text[:20]!r}.")
    return float(text.strip().replace(",", "."))


def per_class(text: str, what: str, scheme: LesionScheme) -> int | dict[str, int]:
    """A number in all, or one per class by its key: ``cyst 53, metastasis 64, hemangioma 65``.

    A list without keys is refused: with another scheme its numbers would go to other classes.

    Raises:
        Unreadable: neither.
    """
    parts = text.split(",")
    if len(parts) == 1 and not _OF_CLASS.fullmatch(text):
        return whole(text, what)
    found: dict[str, int] = {}
    for part in parts:
        named = _OF_CLASS.fullmatch(part)
        if named is None or named[1] in found or named[1] not in scheme.keys:
            example = said(dict.fromkeys(scheme.keys, 1))
            raise Unreadable(
                f"Give {what} as one number in all, or by class as in {example!r}, "
                f"not {text[:60]!r}."
            )
        found[named[1]] = whole(named[2], what)
    missing = [key for key in scheme.keys if key not in found]
    if missing:
        raise Unreadable(f"Give {what} of every class; there is no number for {missing[0]}.")
    return {key: found[key] for key in scheme.keys}


def seeds_of(text: str) -> dict[str, tuple[int, ...]]:
    """Generators with the seeds that were chosen of each, a line for each: ``NAME 3 7 12``.

    Raises:
        Unreadable: a line without a seed, a generator or a seed that comes twice, or no number.
    """
    found: dict[str, tuple[int, ...]] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        name, *seeds = line.replace(",", " ").split()
        if not seeds or name in found:
            raise Unreadable(
                "Give the chosen synthetic images as a generator and its seeds, one line for each "
                f"generator, as in 'phantom-diffusion-cyst 3 7 12', not {line[:60]!r}."
            )
        numbers = tuple(whole(seed, f"a seed of {name[:60]}") for seed in seeds)
        twice = next((seed for seed in numbers if numbers.count(seed) > 1), None)
        if twice is not None:
            raise Unreadable(f"The seed {twice} of {name[:60]} is chosen twice. Name it once.")
        found[name] = numbers
    return found


def said_seeds(chosen: Mapping[str, Iterable[int]]) -> str:
    """The text that `seeds_of` reads back."""
    return "\n".join(f"{name} {' '.join(map(str, seeds))}" for name, seeds in chosen.items())


def said(asked: int | dict[str, int]) -> str:
    """The text that `per_class` reads back."""
    if isinstance(asked, int):
        return str(asked)
    return ", ".join(f"{key} {count}" for key, count in asked.items())
