"""Damage of all kinds: bits and bytes, cuts and doubles, lengths, values, transfer syntaxes."""

from __future__ import annotations

import io
from random import Random as Rng

from pydicom import dcmread
from pydicom.dataset import Dataset

__all__ = ["Rng", "mutated"]

_NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_TEXTS = (
    b"", b"\0", b" ", b"-1", b"0", b"1e999", b"nan", b"inf", b"1\\2\\3", b"0,5", b"\xff\xfe\x00",
    b"\x1b$B", b"9" * 64, b"99999999999999999999", b"1.2.3", b"1.2.840.10008.1.2.5", b"CT",
    b"A" * 300, b"1.2.840.10008.5.1.4.1.1.2", b"\\" * 40, b"20240230", b"MONOCHROME1",
    b"ISO 2022 IR 87",
)  # fmt: skip
_SYNTAXES = (
    b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.1", b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.2",
    b"1.2.840.10008.1.2.4.50", b"1.2.840.10008.1.2.4.70", b"1.2.840.10008.1.2.4.80",
    b"1.2.840.10008.1.2.4.90", b"1.2.840.10008.1.2.5", b"1.2.840.10008.1.2.4.57",
)  # fmt: skip
_VRS = (b"OB", b"OW", b"UN", b"SQ", b"US", b"DS", b"IS", b"LO", b"UI", b"UT", b"FD", b"AT", b"OF")


def mutated(whole: bytes, other: bytes, rng: Rng) -> bytes:
    """A file with one to six damages; ``other`` is one to splice in."""
    data = bytearray(whole)
    for _ in range(1 + min(rng.getrandbits(3), 5)):
        data = rng.choice(_WAYS)(data, other, rng)
        if not data:
            break
    return bytes(data[: 4 << 20])


def _at(data: bytearray, rng: Rng) -> int:
    """A place, more often in the header than among the pixels."""
    reach = len(data) if rng.random() < 0.3 else min(len(data), 3000)
    return rng.randrange(max(1, reach))


def _bits(data: bytearray, other: bytes, rng: Rng) -> bytearray:
    for _ in range(1 << rng.randrange(6)):
        data[_at(data, rng)] ^= 1 << rng.randrange(8)
    return data


def _number(data: bytearray, other: bytes, rng: Rng) -> bytearray:
    size = rng.choice((1, 2, 4))
    value = rng.choice(_NUMBERS) & ((1 << 8 * size) - 1)
    start = _at(data, rng)
    data[start : start + size] = value.to_bytes(size, rng.choice(("little", "big")))
    return data


def _cut(data: bytearray, other: bytes, rng: Rng) -> bytearray:
    return data[: _at(data, rng)]


def _without(data: bytearray, other: bytes, rng: Rng) -> bytearray:
    start = _at(data, rng)
    del data[start : start + (1 << rng.randrange(10))]
    return data


def _double(data: bytearray, other: bytes, rng: Rng) -> bytearray:
    start = _at(data, rng)
    piece = data[start : start + (1 << rng.randrange(12))]
    times = rng.choice((1, 1, 1, 2, 16))
    to = _at(data, rng)
    data[to:to] = piece * times
    return data


def _spliced(data: bytearray, other: bytes, rng: Rng) -> bytearray:
    start, to = rng.randrange(max(1, len(other))), _at(data, rng)
    return data[:to] + bytearray(other[start:])


def _text(data: bytearray, other: bytes, rng: Rng) -> bytearray:
    text, start = rng.choice(_TEXTS), _at(data, rng)
    data[start : start + (len(text) if rng.random() < 0.7 else 0)] = text
    return data


def _elements(data: bytearray, rng: Rng) -> list[int]:
    """Where elements with a VR of two capitals begin, as far as that can be guessed."""
    return [
        at
        for at in range(132, min(len(data) - 8, 6000), 2)
        if 65 <= data[at + 4] <= 90 and 65 <= data[at + 5] <= 90
    ]


def _length(data: bytearray, other: bytes, rng: Rng) -> bytearray:
    """Another length of an element."""
    found = _elements(data, rng)
    if not found:
        return _number(data, other, rng)
    at = rng.choice(found)
    value = rng.choice((*_NUMBERS, rng.getrandbits(16)))
    if bytes(data[at + 4 : at + 6]) in (b"OB", b"OW", b"UN", b"SQ", b"UT", b"OF"):
        data[at + 8 : at + 12] = value.to_bytes(4, "little")
    else:
        data[at + 6 : at + 8] = (value & 0xFFFF).to_bytes(2, "little")
    return data


def _kind(data: bytearray, other: bytes, rng: Rng) -> bytearray:
    """Another VR of an element."""
    found = _elements(data, rng)
    if found:
        at = rng.choice(found)
        data[at + 4 : at + 6] = rng.choice(_VRS)
    return data


def _syntax(data: bytearray, other: bytes, rng: Rng) -> bytearray:
    """Another transfer syntax for the same bytes."""
    at = data.find(b"\x02\x00\x10\x00UI")
    if at < 0:
        return _bits(data, other, rng)
    size = int.from_bytes(data[at + 6 : at + 8], "little")
    text = rng.choice(_SYNTAXES)
    text += b"\0" * (len(text) % 2)
    data[at + 6 : at + 8 + size] = len(text).to_bytes(2, "little") + text
    return data


def _value(data: bytearray, other: bytes, rng: Rng) -> bytearray:
    """A value of an element as a well-formed file would have it: read, changed, written."""
    try:
        dataset = dcmread(io.BytesIO(bytes(data)), force=True)
        holder = _somewhere(dataset, rng)
        element = holder[rng.choice(list(holder.keys()))]
        if element.VR == "SQ":
            element.value = element.value * rng.choice((0, 2, 3))
        elif isinstance(element.value, bytes):
            element.value = element.value * rng.choice((0, 2)) + rng.choice(_TEXTS)
        elif isinstance(element.value, int):
            element.value = rng.choice(_NUMBERS) & 0xFFFF
        else:
            element._value = rng.choice(_TEXTS).decode("latin-1")
        stream = io.BytesIO()
        dataset.save_as(stream)
        return bytearray(stream.getvalue())
    except Exception:  # damaged already, or the library refuses to write it
        return _text(data, other, rng)


def _somewhere(dataset: Dataset, rng: Rng) -> Dataset:
    """The data set, or an item of a sequence in it, a few steps down."""
    for _ in range(rng.randrange(4)):
        below = [one for one in dataset if one.VR == "SQ" and one.value]
        if not below:
            break
        dataset = rng.choice(list(rng.choice(below).value))
    return dataset


_WAYS = (_bits, _bits, _number, _cut, _without, _double, _spliced, _text, _length, _length, _kind,
         _syntax, _value, _value, _value)  # fmt: skip
