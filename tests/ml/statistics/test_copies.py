"""Copies that are changed, and honest lesions that are not copies."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import planted_copies
import pytest
from scipy import ndimage

from ml.statistics import copies, memorisation
from ml.statistics.copies import Pixels


@lru_cache(maxsize=1)
def _lesions() -> tuple[Pixels, Pixels]:
    """Training and held-out lesions: blobs of differing shape and texture in noisy tissue."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64] - 31.5
    drawn = []
    for _ in range(60):
        angle = np.arctan2(y, x)
        edge = rng.uniform(9, 17) * (
            1 + sum(rng.normal(0, 0.12) * np.cos(k * angle + rng.uniform(0, 6)) for k in (2, 3, 4))
        )
        inside = 1 / (1 + np.exp((np.hypot(x, y) - edge) / rng.uniform(0.7, 2)))
        texture = ndimage.gaussian_filter(rng.normal(size=(64, 64)), rng.uniform(2, 5))
        tissue = ndimage.gaussian_filter(rng.normal(size=(64, 64)), 3)
        roi = 0.3 * inside * (rng.uniform(-1, -0.4) + 0.5 * texture / texture.std())
        roi += 0.03 * tissue / tissue.std() + 0.05 * rng.normal(size=(64, 64))
        drawn.append(roi)
    rois = np.clip(np.stack(drawn), -1, 1).astype(np.float32)
    return rois[:30], rois[30:]


@lru_cache(maxsize=1)
def _threshold() -> float:
    training, held_out = _lesions()
    return memorisation.judged(
        [("a", np.zeros(0))], {"a": copies.nearest(held_out, list(training)).gap}
    ).thresholds["a"]


@pytest.mark.parametrize("name", list(planted_copies.copies(np.random.default_rng(0))))
def test_a_changed_copy_is_found_and_led_back(name: str) -> None:
    training, _ = _lesions()
    planted = planted_copies.planted(name, training, np.random.default_rng(1))
    found = copies.nearest(planted, list(training))
    assert (found.gap < _threshold()).mean() >= 0.9
    assert (found.where == np.arange(len(training))).mean() >= 0.9


def test_honest_lesions_are_flagged_as_rarely_as_held_out_ones() -> None:
    training, held_out = _lesions()
    gap = copies.nearest(held_out, list(training)).gap
    assert (gap < _threshold()).mean() <= 0.1


def test_a_pair_is_drawn_as_it_lies_on_each_other() -> None:
    training, _ = _lesions()
    moved = ndimage.shift(
        ndimage.rotate(training[3], 40, reshape=False, order=1, mode="reflect"), (3, -2),
        order=1, mode="reflect",
    )[None]  # fmt: skip
    for query in (moved, moved[:, :, ::-1]):
        query = np.ascontiguousarray(query, np.float32)
        found = copies.nearest(query, list(training))
        one, other = found.both(0, query, list(training))
        middle = slice(14, 50)
        alike = np.corrcoef(one[middle, middle].ravel(), other[middle, middle].ravel())[0, 1]
        assert found.where[0] == 3 and alike > 0.9


def test_even_grey_is_like_nothing() -> None:
    training, _ = _lesions()
    grey = np.full((2, 64, 64), 0.2, np.float32)
    assert copies.nearest(grey, list(training)).gap == pytest.approx([1.0, 1.0])
    assert copies.nearest(training[:1], list(grey)).gap == pytest.approx([1.0])


@pytest.mark.parametrize(
    "name", ["one picture and noise", "two pictures and noise", "half of them alike",
             "one lesion turned"],
)  # fmt: skip
def test_a_collapse_has_twins(name: str) -> None:
    training, _ = _lesions()
    real = copies.twins(training)
    sets = planted_copies.collapses(training, np.random.default_rng(2))
    share = (copies.twins(sets[name]) < np.quantile(real, memorisation.EXPECTED)).mean()
    assert share > (0.4 if name == "half of them alike" else 0.9)


def test_other_lesions_have_no_twins() -> None:
    training, held_out = _lesions()
    limit = np.quantile(copies.twins(training), memorisation.EXPECTED)
    assert (copies.twins(held_out) < limit).mean() <= 0.2


def test_each_class_is_judged_by_its_own_held_out_lesions() -> None:
    near, far = np.linspace(0.1, 0.3, 20), np.linspace(1.0, 2.0, 20)
    judged = memorisation.judged(
        [("a", np.asarray([0.09, 0.5])), ("b", np.asarray([0.99, 0.5])), ("c", np.asarray([0.0]))],
        {"a": near, "b": far},
    )
    assert judged.flagged.tolist() == [True, False, True, True, False]
    assert judged.nearer_than_any.tolist() == [True, False, True, True, False]
    assert set(judged.thresholds) == {"a", "b"}


@pytest.mark.parametrize("every", [6, 90])
def test_all_turns_at_once_are_those_of_scipy(every: int) -> None:
    roi = np.random.default_rng(1).normal(size=(64, 64)).astype(np.float32)
    turns, places = copies._turns(every)
    seen = (turns @ roi.ravel()).reshape(360 // every, -1)
    rows = copies._AT[:, 0] + copies._SHIFTS[:, :1]
    columns = copies._AT[:, 1] + copies._SHIFTS[:, 1:]
    for at, angle in enumerate(range(0, 360, every)):
        expected = ndimage.rotate(roi, angle, reshape=False, order=1, mode="reflect")
        assert np.allclose(seen[at][places], expected[rows, columns], atol=1e-5)
