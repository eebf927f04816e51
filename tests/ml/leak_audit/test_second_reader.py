"""A program that reads the same images: out of fold, patients whole, and not on too few."""

from __future__ import annotations

import numpy as np
import pytest

from app.models.reader_studies.stimulus import stimulus_png
from ml.leak_audit.second_reader import LEAST, read
from ml.readers.published import PUBLISHED


def drawn(count: int, noise: float, seed: int) -> list[bytes]:
    """Discs under noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:64, :64] - 32.0
    disc = np.where(np.hypot(x, y) < 18, -0.4, 0.3)
    return [
        stimulus_png(np.tanh(disc + noise * rng.standard_normal((64, 64))).astype(np.float32))
        for _ in range(count)
    ]


def names(letter: str, count: int, each: int = 1) -> list[str]:
    return [f"{letter}{k // each}" for k in range(count)]


def test_fewer_than_ten_patients_of_a_kind_are_refused():
    images = drawn(20, 0.2, 1) + drawn(20, 0.3, 2)
    found = read(images, [False] * 20 + [True] * 20, names("p", 20, 3) + names("s", 20))
    assert found.auc is None and f"{LEAST} real" in found.refused and "7 and 20" in found.refused


def test_images_that_measure_alike_are_refused():
    [one] = drawn(1, 0.2, 1)
    found = read([one] * 20, [False] * 10 + [True] * 10, names("p", 10) + names("s", 10))
    assert found.refused == "all images measure alike"


@pytest.mark.parametrize(("noise", "tells"), [(0.2, False), (0.23, True)])
def test_a_difference_is_found_and_where_there_is_none_none_is(noise, tells):
    images = drawn(40, 0.2, 3) + drawn(40, noise, 4)
    sides = [(40 + k, k) for k in range(40)]
    found = read(
        images, [False] * 40 + [True] * 40, names("p", 40, 2) + names("s", 40), pairs=sides
    )
    assert found.pairs.n == 40 and (found.pairs.low > 0.5) is tells
    assert (found.auc.low > 0.5) is tells
    assert found.auc.n == 80 and (found.sensitivity.n, found.specificity.n) == (40, 40)
    assert found.accuracy.value == (found.sensitivity.value + found.specificity.value) / 2
    assert "patients kept together" in found.what


def test_published_figures_are_shares_within_their_intervals_and_have_a_source():
    for one in PUBLISHED:
        assert one.link.startswith("https://") and one.readers and one.images
        shares = [share for share in (one.right, one.found) if share is not None]
        assert shares
        for share in shares:
            low, high = share.low or share.value, share.high or share.value
            assert 0 < low <= share.value <= high < 1
