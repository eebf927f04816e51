"""Query parameters of a search, and whether an object has what they ask for (PS3.18 8.3.4, PS3.4
C.2.2.2)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydicom.datadict import dictionary_has_tag, dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset

from app.errors import BadRequest

MOST_RESULTS = 5000
"""Results in one answer; further ones are asked for with ``offset``."""

FUZZY_WARNING = (
    "The fuzzymatching parameter is not supported. Only literal matching has been performed."
)
ALL = "all"

_TAG = re.compile(r"[0-9A-Fa-f]{8}", re.ASCII)
_COUNT = re.compile(r"\d{1,9}", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_MOST_KEYS, _MOST_CHARACTERS = 50, 20_000
_WORDS = frozenset({"limit", "offset", "fuzzymatching", "includefield", "accept", "_"})
_WILD = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
_NUMBERS = frozenset({"DS", "FD", "FL", "IS", "SL", "SS", "SV", "UL", "US", "UV"})
_MOMENTS = {
    "DA": re.compile(r"\d{8}", re.ASCII),
    "TM": re.compile(r"\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?", re.ASCII),
    "DT": re.compile(r"\d{4,14}(\.\d{1,6})?([+-]\d{4})?", re.ASCII),
}
Path = tuple[int, ...]


@dataclass(frozen=True)
class Key:
    """One attribute that is asked for, within sequences by its path, and its value."""

    path: Path
    name: str
    vr: str
    value: str

    def fits(self, found: Dataset) -> bool:
        """Whether an object has it: universal, list, range, wildcard or single value matching."""
        if not self.value:
            return True
        return any(self._fits(str(one)) for one in _values(found, self.path))

    @property
    def uids(self) -> tuple[str, ...]:
        """The UIDs of a list of them."""
        return tuple(one.strip() for one in re.split(r"[,\\]", self.value) if one.strip())

    def check(self) -> None:
        """BadRequest where the value cannot be one of its VR."""
        if not self.value:
            return
        if self.vr in _NUMBERS and not _NUMBER.fullmatch(self.value):
            raise self._refusal("a number")
        if self.vr in _MOMENTS:
            ends = self._ends()
            if not any(ends) or not all(_MOMENTS[self.vr].fullmatch(end) for end in ends if end):
                raise self._refusal("a date or time, or a range of two with a hyphen between")

    def _refusal(self, words: str) -> BadRequest:
        return BadRequest(f"{self.name} ({self.vr}) must be {words}.")

    def _fits(self, held: str) -> bool:
        if self.vr == "UI":
            return held in self.uids
        if self.vr in _NUMBERS:
            return bool(held) and float(held) == float(self.value)
        if self.vr in _MOMENTS:
            return self._fits_moment(held)
        if self.vr == "CS":
            return any(_wild(one, held, False) for one in re.split(r"[,\\]", self.value))
        return _wild(self.value, held, self.vr == "PN")

    def _ends(self) -> tuple[str, str]:
        if self.vr == "DT" and re.fullmatch(r"\d{4,14}(\.\d{1,6})?[+-]\d{4}", self.value):
            return self.value, self.value
        first, hyphen, last = self.value.partition("-")
        return (first.strip(), last.strip()) if hyphen else (first, first)

    def _fits_moment(self, held: str) -> bool:
        first, last = self._ends()
        held = held.replace(":", "")
        # 10 as the end of a range of times is the whole hour
        return bool(held) and held >= first and (not last or held[: len(last)] <= last)


@dataclass(frozen=True)
class Query:
    """What a search asks for.

    Attributes:
        include: paths of further attributes to be told; None for all there are.
    """

    keys: tuple[Key, ...]
    include: frozenset[int] | None
    limit: int
    offset: int
    fuzzy: bool

    @classmethod
    def of(cls, parameters: Sequence[tuple[str, str]]) -> Query:
        """From the parameters of a request.

        Raises:
            BadRequest: one of them is none that a search knows, or has no value that fits.
        """
        if len(parameters) > _MOST_KEYS or sum(len(v) for _, v in parameters) > _MOST_CHARACTERS:
            raise BadRequest("Too many parameters for one search.")
        given = dict(parameters)
        for word in ("limit", "offset", "fuzzymatching"):
            if sum(name == word for name, _ in parameters) > 1:
                raise BadRequest(f"{word} is given twice; give it once.")
        keys = [_key(name, value) for name, value in parameters if name not in _WORDS]
        paths = [key.path for key in keys]
        twice = next((key.name for key in keys if paths.count(key.path) > 1), None)
        if twice is not None:
            raise BadRequest(f"{twice} is asked for twice. Separate several UIDs by commas.")
        for key in keys:
            key.check()
        fuzzy = given.get("fuzzymatching", "false").lower()
        if fuzzy not in ("true", "false"):
            raise BadRequest("fuzzymatching can be true or false.")
        return cls(
            tuple(keys),
            _included(value for name, value in parameters if name == "includefield"),
            min(_count(given, "limit", MOST_RESULTS), MOST_RESULTS),
            _count(given, "offset", 0),
            fuzzy == "true",
        )

    def fits(self, found: Dataset) -> bool:
        """Whether an object matches every key."""
        return all(key.fits(found) for key in self.keys)


def _key(name: str, value: str) -> Key:
    path = _path(name)
    if path is None:
        raise BadRequest(
            f"{name[:80]!r} is no parameter of a search: it knows limit, offset, fuzzymatching, "
            "includefield, and attributes of the standard by keyword or tag, such as PatientID or "
            "00100020."
        )
    vr, value = dictionary_VR(path[-1]).split(" or ")[0], value.strip()
    if vr in _WILD and not value.strip("*"):  # as no value: what has none matches too (C.2.2.2.4)
        value = ""
    return Key(path, name, vr, value)


def _included(told: Iterable[str]) -> frozenset[int] | None:
    found: set[int] = set()
    for name in (one.strip() for value in told for one in value.split(",")):
        if name.lower() == ALL:
            return None
        path = _path(name) if name else None
        if name and path is None and not _TAG.fullmatch(name):
            raise BadRequest(
                f"includefield names {name[:80]!r}, which is neither an attribute nor all."
            )
        if path is not None:
            found.add(path[0])
    return frozenset(found)


def _path(name: str) -> Path | None:
    """Tags of an attribute and of the sequences around it; None where a part is not known."""
    found = []
    for part in name.split("."):
        tag = int(part, 16) if _TAG.fullmatch(part) else tag_for_keyword(part)
        if tag is None or not dictionary_has_tag(tag):
            return None
        found.append(int(tag))
    inner = all(dictionary_VR(tag) == "SQ" for tag in found[:-1])
    return tuple(found) if found and inner and len(found) < 6 else None


def _count(given: dict[str, str], name: str, default: int) -> int:
    told = given.get(name)
    if told is None:
        return default
    if not _COUNT.fullmatch(told):
        raise BadRequest(f"{name} must be a whole number from 0.")
    return int(told)


def _values(found: Dataset, path: Path) -> list[object]:
    element = found.get(path[0])
    if element is None or element.is_empty:
        return []
    if len(path) > 1:
        return [value for item in element.value for value in _values(item, path[1:])]
    if element.VR == "SQ":
        return list(element.value)
    return list(element.value) if element.VM > 1 else [element.value]


def _wild(pattern: str, held: str, any_case: bool) -> bool:
    """``*`` stands for any characters, ``?`` for one (PS3.4 C.2.2.2.4).

    By stepping back to the last ``*`` alone: no pattern takes longer than both lengths multiplied.
    """
    if any_case:
        pattern, held = pattern.casefold(), held.casefold()
    at = here = 0
    star, resume = -1, 0
    while here < len(held):
        if at < len(pattern) and pattern[at] == "*":
            star, resume = at, here
            at += 1
        elif at < len(pattern) and pattern[at] in ("?", held[here]):
            at, here = at + 1, here + 1
        elif star >= 0:
            resume += 1
            at, here = star + 1, resume
        else:
            return False
    return not pattern[at:].strip("*")
