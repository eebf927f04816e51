"""How far views look beyond their images."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ml.config import Augment
from ml.dataset import reach
from ml.dataset.augment import views_of
from ml.dataset.manifest import Line, Source
from ml.images import roi
from ml.images.roi import Box, View


def line(
    box: Box, size: tuple[int, int] | None, spacing: tuple[float, float] | None = None
) -> Line:
    return Line(
        "1", "f", "cyst", "p", Source.REAL, box, spacing, None, None, "", image_size=size, room=0.0
    )


def test_the_share_outside_is_that_of_the_area() -> None:
    whole = replace(line(roi.whole(64, 64), (64, 64)), surroundings=False)
    assert reach.outside(whole, [View()]) == 0
    # a square turned by 45 degrees leaves four corners outside: 3 − 2√2 of its area
    assert reach.outside(whole, [View(angle_deg=45)]) == pytest.approx(3 - 2 * 2**0.5, abs=0.02)
    half = line(Box(-0.5, 25, 1 + 2e-9, 50 / 1.56), (100, 100))
    assert reach.outside(half, [View()]) == pytest.approx(0.5, abs=0.02)
    # of rows twice as far apart half as many lie in a square
    flat = line(Box(40, 5, 20, 10), (20, 100), (2.0, 1.0))
    assert reach.outside(flat, [View()]) == pytest.approx(0, abs=0.02)
    with pytest.raises(ValueError, match="size"):
        reach.outside(line(Box(1, 1, 5, 5), None), [View()])


def test_what_looks_beyond_is_counted_and_said() -> None:
    inside, edge = line(Box(240, 240, 30, 30), (512, 512)), line(Box(13, 13, 46, 46), (72, 72))
    settings = Augment(rotations=4, scales=0)
    assert reach.of([inside], settings).words == ""
    found = reach.of([inside, edge, line(Box(1, 1, 5, 5), None)], settings)
    assert (found.views, found.lesions, found.unknown) == (88, 1, 1)
    assert 0 < found.mean <= found.most < 0.25
    assert 40 <= found.beyond <= 44
    assert "of 1 lesions" in found.words
    assert found.most == max(reach.outside(edge, views_of(edge, settings, 0)))
