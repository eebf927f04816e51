"""ROIs of generators that take long are drawn once, and what they take is known."""

from __future__ import annotations

import uuid
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from app import kept_drawings
from app.kept_drawings import KeptDrawings

ONE, OTHER = uuid.uuid4(), uuid.uuid4()


class Slow:
    """A generator of many evaluations: an image is its seed and truncation, and takes 0.5 s."""

    sampler: object | None = object()

    def __init__(self) -> None:
        self.now = 0.0
        self.drawn: list[int] = []

    def perf_counter(self) -> float:
        return self.now

    def draw(self, seeds: list[int], truncation: float) -> Any:
        self.drawn += seeds
        self.now += 0.5 * len(seeds)
        return np.asarray([np.full((64, 64), seed + truncation) for seed in seeds], np.float32)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Any:
    made = Slow()
    monkeypatch.setattr(kept_drawings, "perf_counter", made.perf_counter)
    return made


def test_what_was_drawn_is_not_drawn_again(slow: Any) -> None:
    kept = KeptDrawings()
    assert [roi[0, 0] for roi in kept.draw(ONE, slow, [3, 1, 3], 1.0)] == [4, 2, 4]
    assert [roi[0, 0] for roi in kept.draw(ONE, slow, [1, 7], 1.0)] == [2, 8]
    assert slow.drawn == [3, 1, 7]
    kept.draw(ONE, slow, [1], 0.5)  # another picture
    kept.draw(OTHER, slow, [1], 1.0)  # of another generator
    assert slow.drawn == [3, 1, 7, 1, 1]


def test_the_last_ones_asked_for_are_kept(slow: Any) -> None:
    kept = KeptDrawings(most=2)
    for seed in (1, 2, 1, 3, 1, 2):  # 2 went when 3 came
        kept.draw(ONE, slow, [seed], 1.0)
    assert slow.drawn == [1, 2, 3, 2]
    assert len(kept.draw(ONE, slow, [4, 5, 6], 1.0)) == 3  # more than are kept
    assert all(roi.base is None for roi in kept._kept.values())  # none keeps those beside it


def test_what_an_image_takes_is_found_by_drawing_one(slow: Any) -> None:
    kept = KeptDrawings()
    assert kept.seconds(ONE, slow, 0) == 0 and slow.drawn == []
    assert kept.seconds(ONE, slow, 40) == pytest.approx(20)
    assert kept.seconds(ONE, slow, 10) == pytest.approx(5)
    assert slow.drawn == [0]


def test_images_of_a_generator_that_takes_no_time_are_not_kept() -> None:
    quick: Any = SimpleNamespace(
        sampler=None, draw=lambda seeds, truncation: np.zeros((len(seeds), 64, 64))
    )
    kept = KeptDrawings()
    assert kept.draw(ONE, quick, [1, 2], 1.0).shape == (2, 64, 64)
    assert kept._kept == {} and kept.seconds(ONE, quick, 100) == 0
