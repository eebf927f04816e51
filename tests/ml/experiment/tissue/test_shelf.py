"""Slices on a shelf: as they were put there, and few of them in memory."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np

from ml.experiment.tissue import shelf
from ml.experiment.tissue.pasting import Background
from ml.experiment.tissue.shelf import Shelf
from ml.experiment.tissue.slices import LiverSlice
from tests.ml.experiment.tissue.livers import liver_slice


def _background(seed: int) -> Background:
    made = Background.of(liver_slice(seed, patient=f"p{seed // 2}"))
    assert isinstance(made, Background)
    return made


def test_a_background_comes_back_as_it_was_and_pastes_the_same_pixels(tmp_path: Path) -> None:
    plain = [_background(seed) for seed in range(3)]
    held = Shelf(tmp_path)
    assert [held.put(one) for one in plain] == [0, 1, 2]
    assert [held[number].one.patient for number in range(3)] == ["p0", "p0", "p1"]
    for number, one in enumerate(plain):
        seeds = (np.random.SeedSequence(number) for _ in range(2))
        first, second = (
            made.paste("cyst", seed, 0.2, 3.0)
            for made, seed in zip((one, held[number]), seeds, strict=True)
        )
        assert first is not None and second is not None
        assert np.array_equal(first.hu, second.hu) and first.box == second.box


def test_no_more_slices_are_in_memory_than_are_kept(tmp_path: Path) -> None:
    held = Shelf(tmp_path)
    for seed in range(shelf.KEPT + 6):
        held.put(_background(seed))
    for number in (*range(shelf.KEPT + 6), 0, 3):
        assert held[number].one.name == f"p{number // 2}_{number}.png"
    gc.collect()
    alive = [one for one in gc.get_objects() if isinstance(one, LiverSlice) and one.hu.size]
    assert len(alive) == shelf.KEPT
