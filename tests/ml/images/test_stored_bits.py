"""Stored bits as values: the short way comes to the same as the rule of PS3.5 8.1.1."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from ml.images import dicom


def by_the_rule(bits: int, stored: int, signed: bool, raw: np.ndarray) -> np.ndarray | None:
    """The values; None where what lies above neither repeats the sign nor is zero."""
    wide = raw.astype(np.int64)
    low = wide % (1 << stored)
    negative = (low >= 1 << (stored - 1)) & signed
    above = wide >> stored
    repeated = np.where(negative, (1 << (bits - stored)) - 1, 0)
    if ((above != 0) & (above != repeated)).any():
        return None
    return low - np.where(negative, 1 << stored, 0)


@pytest.mark.parametrize("bits", [8, 16])
def test_the_short_way_comes_to_the_same(bits):
    every = np.arange(1 << bits).astype(f"u{bits // 8}")
    some = np.random.default_rng(0).integers(0, 1 << bits, 64)
    for stored in range(1, bits + 1):
        for signed in (False, True):
            layout = SimpleNamespace(bits_allocated=bits, bits_stored=stored, signed=signed)
            for raw in (every, every[: 1 << stored], *(every[at : at + 1] for at in some)):
                expected = by_the_rule(bits, stored, signed, raw)
                found = dicom._plainly_valued(layout, raw)
                assert (found is None) == (expected is None), (stored, signed, raw)
                if expected is not None:
                    np.testing.assert_array_equal(found, expected)
                    assert found.dtype == np.dtype(f"{'i' if signed else 'u'}{bits // 8}")
