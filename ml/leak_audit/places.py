"""Where a picture's numbers lie: values, bits, equalities, lines and sums that need no look at it.

Nature gives no pixel a place of its own: what holds of one position, row, period or residue in one
kind of picture only was put there by a program. Every family below is one table of measures, an
image a row; how many of them may differ by chance is for `judgement` to say.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Values = NDArray[np.integer[Any]]

MOST_PX = 128
"""Of larger pictures the four corners of half that side are looked at: no border is lost."""
LONGEST_PERIOD = 16
_MODULI = (2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 16)
_WIDE_MODULI = (32, 64, 100, 128, 255, 256, 512, 1000, 1024, 4096, 16384)
_CLIPPED = 0.1
_FAIR = 0.02
"""How far from one half the share of odd values may be for single ones to count as coins."""
_CONSTANT, _SHARED = 0.9, 0.5
_RICH = 8
_TURNS = 8
_STEPS = 8
"""A place whose values reach over fewer grey levels than this says nothing by its least bit."""


@dataclass(frozen=True)
class Table:
    """Measures (images, n) and what each column is called.

    ``expected`` is how often a word holds by chance (n,), where that is known.
    """

    values: NDArray[np.generic]
    names: list[str] | _Places | _Joined
    expected: NDArray[np.float64] | None = None

    def name(self, column: int) -> str:
        """What a column measures."""
        return self.names[column]


@dataclass(frozen=True)
class _Places:
    """Names of positions, made when one is asked for."""

    word: str
    columns: int

    def __getitem__(self, place: int) -> str:
        row, column = divmod(place, self.columns)
        return f"{self.word} at row {row}, column {column}"


@dataclass(frozen=True)
class _Joined:
    """Names of several tables side by side, each of so many columns."""

    parts: list[_Places]
    each: int

    def __getitem__(self, place: int) -> str:
        return self.parts[place // self.each][place % self.each]


def corners(pixels: Values, rows: int, columns: int) -> Values:
    """The four corners of (h, w) pixels as one picture of so many rows and columns."""
    height, width = pixels.shape
    if (height, width) == (rows, columns):
        return pixels
    up, left = (rows + 1) // 2, (columns + 1) // 2
    down, right = height - (rows - up), width - (columns - left)
    top = np.hstack([pixels[:up, :left], pixels[:up, right:]])
    return np.vstack([top, np.hstack([pixels[down:, :left], pixels[down:, right:]])])


def rest(pixels: Values) -> Floats:
    """(n, h, w) less the mean of the eight neighbours, mirrored at the borders."""
    padded = np.pad(pixels.astype(np.float32), ((0, 0), (1, 1), (1, 1)), mode="reflect")
    rows = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    around = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]
    found: Floats = padded[:, 1:-1, 1:-1] * np.float32(9 / 8) - around / np.float32(8)
    return found


def above_neighbours(residue: Floats) -> Table:
    """How far each position lies above its neighbours."""
    return Table(residue.reshape(len(residue), -1), _Places("level", residue.shape[2]))


def bits(values: Values, truth: NDArray[np.int64], low: int, top: int) -> Table:
    """The least bit of each position that is not clipped and reaches over levels in both kinds."""
    flat = values.reshape(len(values), -1)
    clipped = ((flat <= low) | (flat >= top)).mean(axis=0)
    usable = (clipped < _CLIPPED) & (_reach(flat, truth) >= _STEPS)
    found = np.where(usable, flat & 1, 0).astype(bool)
    odd = float((flat[:, usable] & 1).mean()) if usable.any() else 0.5
    expected = np.full(found.shape[1], odd) if abs(odd - 0.5) < _FAIR else None
    return Table(found, _Places("least bit", values.shape[2]), expected)


def _reach(flat: Values, truth: NDArray[np.int64]) -> NDArray[np.int64]:
    """Grey levels from the 10th to the 90th percentile, in the kind where they are fewer."""
    spreads = []
    for kind in (0, 1):
        own = flat[truth == kind]
        low = len(own) // 10
        ordered = np.partition(own, (low, len(own) - 1 - low), axis=0)
        spreads.append(ordered[len(own) - 1 - low].astype(np.int64) - ordered[low])
    found: NDArray[np.int64] = np.minimum(*spreads)
    return found


def constants(values: Values, truth: NDArray[np.int64]) -> Table:
    """Whether each position has the value that it has in most images of a kind.

    Of values that the positions beside it do not share: a region that is clipped or padded is no
    mark. First of the real, then of the synthetic images.
    """
    count, rows, columns = values.shape
    tables, names = [], []
    for kind, word in ((0, "real"), (1, "synthetic")):
        own = values[truth == kind]
        usual = np.sort(own, axis=0)[len(own) // 2]
        same = (own == usual).mean(axis=0)
        padded = np.pad(own.astype(np.int32), ((0, 0), (1, 1), (1, 1)), constant_values=-1)
        beside = np.zeros((rows, columns))
        inside = np.pad(np.ones((rows, columns)), 1)
        number = np.zeros((rows, columns))
        for y in range(3):
            for x in range(3):
                if (y, x) != (1, 1):
                    moved = padded[:, y : y + rows, x : x + columns]
                    beside += (moved == usual).mean(axis=0)
                    number += inside[y : y + rows, x : x + columns]
        alone = (same >= _CONSTANT) & (beside / number <= _SHARED)
        tables.append(((values == usual) & alone).reshape(count, -1))
        names.append(_Places(f"the value usual in {word} images", columns))
    return Table(np.hstack(tables), _Joined(names, rows * columns))


def higher_bits(values: Values, truth: NDArray[np.int64]) -> Iterator[Table]:
    """The next bits of each position, where its values reach over several times as much."""
    flat = values.reshape(len(values), -1)
    reach = _reach(flat, truth)
    for bit in (1, 2):
        found = np.where(reach >= 2 * _STEPS << bit, (flat >> bit) & 1, 0).astype(bool)
        yield Table(found, _Places(f"bit {bit}", values.shape[2]))


def equalities(values: Values) -> Iterator[Table]:
    """Whether each position is as another, or is the least or the most of its picture."""
    count, columns = len(values), values.shape[2]
    low, high = values.min(axis=(1, 2)), values.max(axis=(1, 2))
    for word, other in (
        ("equal to its right neighbour", np.roll(values, -1, axis=2)),
        ("equal to the one below", np.roll(values, -1, axis=1)),
        ("equal to the second to the right", np.roll(values, -2, axis=2)),
        ("equal to the second below", np.roll(values, -2, axis=1)),
        ("equal to its mirror image across", values[:, :, ::-1]),
        ("equal to its mirror image down", values[:, ::-1]),
        ("the least value", low[:, None, None]),
        ("the greatest value", high[:, None, None]),
    ):
        yield Table((values == other).reshape(count, -1), _Places(word, columns))


def lines(residue: Floats) -> Table:
    """Rows and columns: their level and roughness above others, one by one and in combs.

    A comb is every ``period``-th line from ``phase`` on, for all periods up to 16; strengths of all
    periods stand beside them, whose phase differs from picture to picture.
    """
    columns: list[NDArray[np.floating]] = []
    names: list[str] = []
    rough = np.log(np.abs(residue) + 1.0)
    for word, axis in (("row", 2), ("column", 1)):
        for what, source in (("level", residue), ("roughness", rough)):
            profile = source.mean(axis=axis)[:, 1:-1].astype(np.float64)
            smooth = scipy.ndimage.median_filter(profile, (1, 9), mode="nearest")
            profile = profile - (smooth if what == "roughness" else 0.0)
            # in units of how much the lines of this picture differ
            typical = np.median(np.abs(profile), axis=1, keepdims=True) + 1e-6
            profile = profile / typical
            size = profile.shape[1]
            columns.append(profile)
            names += [f"{what} of {word} {k + 1}" for k in range(size)]
            columns.append(np.log(np.abs(np.fft.rfft(profile, axis=1))[:, 1:] + 1e-3))
            names += [f"{what} of {word}s, period {size / k:.3g}" for k in range(1, size // 2 + 1)]
            for period in range(2, min(LONGEST_PERIOD, size // 3) + 1):
                place = np.arange(1, size + 1) % period
                for phase in range(period):
                    columns.append(np.clip(profile, -6, 6)[:, place == phase].mean(axis=1)[:, None])
                    names.append(f"{what} of every {period}th {word} from {phase} on")
    return Table(np.hstack(columns), names)


def greys(values: Values, top: int) -> Table | None:
    """How much commoner each grey value is than the four beside it; None beyond 8 bits."""
    if top > 255 or values.min() < 0 or values.max() > 255:
        return None
    counted = np.stack([np.bincount(one.ravel(), minlength=256) for one in values]).astype(float)
    padded = np.pad(counted, ((0, 0), (2, 2)), mode="edge")
    beside = (padded[:, :-4] + padded[:, 1:-3] + padded[:, 3:-1] + padded[:, 4:]) / 4
    return Table(
        (counted - beside) / np.sqrt(counted + beside + 1),
        [f"share of grey value {k}" for k in range(256)],
    )


def sums(values: Values, truth: NDArray[np.int64]) -> tuple[Table, Table]:
    """Residues of sums, as words that hold or not, and how near to a multiple a sum is.

    Sums over the picture, its first and last row and column and its border where they hold several
    values, the exclusive or of all values, and the share of rows and columns whose own sum is a
    multiple.
    """
    values = values.astype(np.int64)
    flat = values.reshape(len(values), -1)
    words: list[NDArray[np.bool_]] = []
    chances: list[float] = []
    named: list[str] = []
    near: list[NDArray[np.floating]] = []
    called: list[str] = []
    inner = values[:, 1:-1, 1:-1].sum(axis=(1, 2))
    regions = {
        "all pixels": (values, flat.sum(axis=1)),
        "the border": (values, flat.sum(axis=1) - inner),
        "the first row": (values[:, 0], values[:, 0].sum(axis=1)),
        "the last row": (values[:, -1], values[:, -1].sum(axis=1)),
        "the first column": (values[:, :, 0], values[:, :, 0].sum(axis=1)),
        "the last column": (values[:, :, -1], values[:, :, -1].sum(axis=1)),
    }
    totals = {
        word: total
        for word, (region, total) in regions.items()
        if (_unlike(region.reshape(len(values), -1)) >= _RICH).mean() > 1 - _CLIPPED / 2
    }
    for word, total in totals.items():
        # of a modulus that is not far below what sums differ by, residues say how bright they are
        widest = _reach(total[:, None], truth)[0] / _TURNS
        for modulus in _MODULI:
            if modulus > widest:
                break
            residues = total % modulus
            for residue in range(modulus if modulus > 2 else 1):
                words.append(residues == residue)
                chances.append(1 / modulus)
                named.append(f"sum of {word} is {residue} modulo {modulus}")
        for modulus in _WIDE_MODULI:
            if modulus > widest:
                break
            turn = 2 * np.pi * (total % modulus) / modulus
            near += [np.cos(turn), np.sin(turn)]
            called += [f"sum of {word} modulo {modulus}"] * 2
    parity = np.bitwise_xor.reduce(flat, axis=1)
    for bit in range(3):  # higher ones are of pictures that are bright, or dark, throughout
        words.append(((parity >> bit) & 1).astype(bool))
        chances.append(0.5)
        named.append(f"parity of bit {bit} over all pixels")
    for word, axis in (("rows", 2), ("columns", 1)):
        each = values.sum(axis=axis)
        varied = np.ptp(values, axis=axis) >= _RICH
        many = varied.sum(axis=1)
        for modulus in range(2, 9):
            multiples = ((each % modulus == 0) & varied).sum(axis=1)
            near.append(np.where(many > 0, multiples / np.maximum(many, 1), 1 / modulus))
            called.append(f"share of {word} whose sum is a multiple of {modulus}")
    return Table(np.stack(words, axis=1), named, np.array(chances)), Table(
        np.stack(near, axis=1), called
    )


def _unlike(flat: Values) -> NDArray[np.int64]:
    """How many grey values each row (n, k) has, but for the least and the greatest."""
    ordered = np.sort(flat, axis=1)
    found: NDArray[np.int64] = (np.diff(ordered, axis=1) != 0).sum(axis=1) - 1
    return found
