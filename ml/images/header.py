"""The strict reader of DICOM header values: right as the standard writes them, absent, or refused.

Nothing is defaulted here. An attribute is *absent* where its tag is missing or its value is empty;
whatever else is not what PS3.5 and PS3.6 say raises `Corrupt` with the keyword, the tag, what it
holds and a remedy. Values are read from the file's bytes: the DICOM library guesses at what it
cannot convert and quotes header values, a patient's name among them, in its warnings.
"""

from __future__ import annotations

import re
import struct
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

from pydicom.charset import convert_encodings, decode_bytes, python_encoding
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag

from ml.images.ct_slice import Corrupt
from ml.images.decimals import DECIMAL

T = TypeVar("T", bound=float)

_WHOLE = re.compile(r"[+-]?\d+", re.ASCII)
_BINARY = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d"}
_MOST_SHOWN = 32
REMEDY = "correct it at the source, or export the slice again"


def kept(text: str) -> str:
    """Text of a header without NULs, unprintable signs and padding (PS3.5 6.2)."""
    return "".join(c for c in text.replace("\0", " ") if c.isprintable()).strip()


@dataclass(frozen=True)
class Header:
    """One data set (a file's, or one item of a sequence), asked by keyword.

    Attributes:
        dataset: as pydicom parsed it; its values are read raw.
        name: what the refusals call the file.
    """

    dataset: Dataset
    name: str

    # -- words ---------------------------------------------------------------------------------

    def texts(self, keyword: str) -> tuple[str, ...]:
        """The values of a text attribute, without padding; () where it is absent."""
        value = self._raw(keyword)
        if value is None:
            return ()
        if isinstance(value, bytes):
            value = _decoded(value)
        if isinstance(value, str):
            parts = value.split("\\")
        elif isinstance(value, int | float):
            parts = [str(value)]
        else:
            parts = [str(item) for item in value]
        found = tuple(kept(part) for part in parts)
        return found if any(found) else ()

    def text(self, keyword: str) -> str:
        """All of a text attribute as one word; "" where it is absent."""
        return "\\".join(self.texts(keyword))

    def is_damaged(self, keyword: str) -> bool:
        """Whether a text attribute holds bytes that are no text: its length swallowed others."""
        value = self._raw(keyword)
        text = _decoded(value) if isinstance(value, bytes) else str(value or "")
        return any(not c.isprintable() for c in text.strip("\0 "))

    def identity(self, keyword: str) -> tuple[str, bool]:
        """What tells one person or issuer from another, and whether it could be read as text.

        The library puts one sign for all that it cannot read, and two people become one. Bytes
        that are no text in the character set of the file (PS3.3 C.12.1.1.2) are taken one by one.

        Raises:
            Corrupt: it holds control characters: its length swallowed others, or it is damaged.
        """
        value = self._raw(keyword)
        readable = True
        if isinstance(value, bytes):
            value, readable = self._by_character_set(value.rstrip(b"\0 "))
        elif value is not None and not isinstance(value, str):
            value = "\\".join(map(str, value)) if isinstance(value, Sequence) else str(value)
        text = unicodedata.normalize("NFC", (value or "").strip("\0 "))
        if any(not c.isprintable() for c in text if c != "\x1b"):
            raise Corrupt(f"{self.name}: {_named(keyword)} is damaged; {REMEDY}.")
        return text.replace("\x1b", "ESC"), readable

    def _by_character_set(self, value: bytes) -> tuple[str, bool]:
        if value.isascii() and b"\x1b" not in value:
            return value.decode("ascii"), True
        stated = self.texts("SpecificCharacterSet")
        if not stated or set(stated) <= {"", "ISO_IR 6", "ISO 2022 IR 6"}:
            try:  # undeclared UTF-8, as many exports have it
                return value.decode("utf-8"), b"\x1b" not in value
            except UnicodeDecodeError:
                return value.decode("latin-1"), False
        known = all(term in python_encoding for term in stated)
        text = decode_bytes(value, convert_encodings(list(stated)), set()) if known else ""
        if not known or "\ufffd" in text or "\x1b" in text:
            return value.decode("latin-1"), False
        return text, True

    # -- numbers -------------------------------------------------------------------------------

    def decimals(self, keyword: str, count: int) -> tuple[float, ...] | None:
        """Exactly ``count`` finite numbers (VR DS, or a binary one); None where absent.

        Raises:
            Corrupt: another number of values, or one that is no number as the standard writes it.
        """
        return self._numbers(keyword, count, _decimal, _number_words(count))

    def decimal(self, keyword: str) -> float | None:
        """One finite number; None where absent. Raises Corrupt as ``decimals``."""
        found = self.decimals(keyword, 1)
        return None if found is None else found[0]

    def whole(self, keyword: str, low: int, high: int) -> int | None:
        """One whole number from ``low`` to ``high`` (VR IS, US, …); None where absent.

        Raises:
            Corrupt: anything else.
        """
        words = f"one whole number from {low} to {high}"
        found = self._numbers(keyword, 1, _whole, words)
        if found is None:
            return None
        if not low <= found[0] <= high:
            raise self.fault(keyword, words)
        return found[0]

    def required(self, keyword: str, low: int, high: int) -> int:
        """One whole number from ``low`` to ``high`` that the file must have (type 1).

        Raises:
            Corrupt: absent, or anything else.
        """
        found = self.whole(keyword, low, high)
        if found is None:
            raise self.missing(keyword)
        return found

    def words(self, keyword: str, bits: int = 16) -> tuple[int, ...]:
        """The numbers of an attribute of VR US, SS, OW or OB, taken as unsigned; () where absent.

        Args:
            bits: of each where they come as bytes, 8 or 16.

        Raises:
            Corrupt: they are no whole number of numbers, or something else.
        """
        tag = tag_for_keyword(keyword) or 0
        element = self.dataset.get_item(tag) if tag in self.dataset else None
        value = element.value if element is not None else None
        if value is None or len(value if isinstance(value, bytes | Sequence) else "x") == 0:
            return ()
        if isinstance(value, bytes):
            little = element.is_little_endian if isinstance(element, RawDataElement) else True
            if len(value) % (bits // 8):
                raise self.fault(keyword, f"numbers of {bits} bits")
            form = "B" if bits == 8 else "H"
            order = "<" if little else ">"
            return struct.unpack(f"{order}{len(value) * 8 // bits}{form}", value)
        parts = [value] if isinstance(value, int) else value
        if not all(isinstance(one, int) and -(2**15) <= one < 2**16 for one in parts):
            raise self.fault(keyword, "whole numbers of 16 bits")
        return tuple(int(one) % 2**16 for one in parts)

    # -- sequences -----------------------------------------------------------------------------

    def items(self, keyword: str) -> tuple[Header, ...]:
        """The items of a sequence; () where it is absent.

        Raises:
            Corrupt: it is no sequence.
        """
        value = self.dataset.get(keyword)
        if value is None or value == "":
            return ()
        found = [value] if isinstance(value, Dataset) else value
        if isinstance(found, str | bytes) or not all(isinstance(one, Dataset) for one in found):
            raise Corrupt(f"{self.name}: {_named(keyword)} is no sequence; {REMEDY}.")
        return tuple(Header(one, self.name) for one in found)

    def has(self, keyword: str) -> bool:
        """Whether the tag is there at all, empty or not."""
        return keyword in self.dataset

    # -- refusals ------------------------------------------------------------------------------

    def fault(self, keyword: str, words: str) -> Corrupt:
        """The refusal of an attribute that should hold ``words`` and does not."""
        return Corrupt(
            f"{self.name}: {_named(keyword)} holds {self._shown(keyword)}, not {words}; {REMEDY}."
        )

    def missing(self, keyword: str) -> Corrupt:
        """The refusal of a file without an attribute that it must have."""
        return Corrupt(f"{self.name}: {_named(keyword)} is missing; {REMEDY} with it.")

    def _shown(self, keyword: str) -> str:
        """What an attribute holds, if it looks like a number or a short word; else its size.

        A damaged length can make any attribute swallow its neighbours, the patient's name too.
        """
        text = self.text(keyword)
        if not text:
            return "nothing that can be read"
        if self.is_damaged(keyword):
            return "bytes that are no text"
        return f'"{text}"' if len(text) <= _MOST_SHOWN else f"{len(text)} characters"

    # -- bytes ---------------------------------------------------------------------------------

    def _numbers(
        self, keyword: str, count: int, read: Callable[[Any], T | None], words: str
    ) -> tuple[T, ...] | None:
        value = self._raw(keyword)
        if value is None or (not self.texts(keyword) and isinstance(value, str | bytes)):
            return None
        found = [read(part) for part in _parts(value)]
        numbers = tuple(one for one in found if one is not None)
        if len(found) != count or len(numbers) != count:
            raise self.fault(keyword, words)
        return numbers

    def _raw(self, keyword: str) -> Any:
        """The attribute's value, unconverted: text as bytes or str, binary numbers as numbers."""
        tag = _tag(keyword)
        element = None if tag is None else self.dataset.get_item(tag)
        if element is None:
            return None
        if isinstance(element, RawDataElement):
            return self._of_bytes(keyword, element)
        value = element.value if isinstance(element, DataElement) else element
        return None if value is None or value == "" else value

    def _of_bytes(self, keyword: str, element: RawDataElement) -> Any:
        data = element.value
        if not data:
            return None
        kind = element.VR or dictionary_VR(element.tag)
        if kind in ("UN", "US or SS", "OB or OW"):
            # an unknown VR hides what the dictionary knows (PS3.5 6.2.2)
            kind = dictionary_VR(element.tag).split(" or ")[0]
        if kind in _BINARY:
            return self._of_binary(keyword, kind, data, element.is_little_endian)
        return data

    def _of_binary(self, keyword: str, kind: str, data: bytes, little: bool) -> list[float]:
        form = _BINARY[kind]
        size = struct.calcsize(form)
        if len(data) % size:
            raise Corrupt(
                f"{self.name}: {_named(keyword)} has {len(data)} bytes, which is no number of "
                f"type {kind}; {REMEDY}."
            )
        return list(struct.unpack(f"{'<' if little else '>'}{len(data) // size}{form}", data))


@lru_cache(maxsize=1024)
def _tag(keyword: str) -> BaseTag | None:
    number = tag_for_keyword(keyword)
    return None if number is None else Tag(number)


def _named(keyword: str) -> str:
    tag = Tag(tag_for_keyword(keyword) or 0)
    return f"{keyword} ({tag.group:04X},{tag.element:04X})"


def _number_words(count: int) -> str:
    return "one number" if count == 1 else f"{count} numbers"


def _decoded(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _parts(value: Any) -> Iterator[Any]:
    if isinstance(value, bytes):
        value = _decoded(value)
    if isinstance(value, str):
        # trailing NULs and spaces pad a value to even length; anything else is part of it
        yield from (part.strip(" \0") for part in value.split("\\"))
    elif isinstance(value, int | float):
        yield value
    else:
        yield from value


def _decimal(part: Any) -> float | None:
    text = str(part).strip(" ") if not isinstance(part, float) else repr(part)
    number = float(text) if DECIMAL.fullmatch(text) else None
    return number if number is not None and abs(number) < 1e300 else None


def _whole(part: Any) -> int | None:
    text = str(part).strip(" ")
    return int(text) if _WHOLE.fullmatch(text) and len(text) <= 20 else None
