"""A phantom lesion in a liver: its own pixels where it is, none elsewhere, and the same noise."""

from __future__ import annotations

import numpy as np
import pytest

from ml.experiment.tissue import grain
from ml.experiment.tissue.pasting import Background
from ml.phantom.lesions import CLASSES
from tests.ml.experiment.tissue.livers import liver_slice


def pasted(one, lesion_class="cyst", seed=0, difficulty=0.0):
    background = Background.of(one)
    assert isinstance(background, Background)
    return background.paste(lesion_class, np.random.SeedSequence(seed), difficulty, 3.0)


@pytest.mark.parametrize(("cutoff", "noise"), [(0.18, 9), (0.25, 20)])
def test_the_noise_and_the_point_spread_of_a_liver_are_found(cutoff, noise):
    slices = [liver_slice(k, cutoff=cutoff, noise=noise) for k in range(6)]
    found = [grain.measured(one, grain.coarse(one)) for one in slices]
    assert np.mean([one.sd_hu for one in found]) == pytest.approx(noise, rel=0.08)
    assert np.median([one.cutoff_per_mm for one in found]) == pytest.approx(cutoff, rel=0.15)
    fresh = found[0].noise(np.random.default_rng(0), 256)
    assert fresh.std() == pytest.approx(found[0].sd_hu, rel=0.05)
    beside = (fresh[1:] * fresh[:-1]).mean()
    assert beside == pytest.approx(found[0].covariance[17, 16], abs=0.05 * found[0].sd_hu ** 2)


@pytest.mark.parametrize("lesion_class", CLASSES)
def test_pixels_outside_the_lesion_are_those_of_the_slice(lesion_class):
    one = liver_slice(3)
    made = pasted(one, lesion_class)
    changed = made.hu != one.seen(one.hu)
    ys, xs = np.nonzero(changed)
    box = made.box
    # beyond the box lie the soft edge and the point spread, and nothing else
    reach = 4 + made.diameter_mm * 0.2 / one.spacing_mm
    assert box.x - reach <= xs.min() and xs.max() < box.x + box.width + reach
    assert box.y - reach <= ys.min() and ys.max() < box.y + box.height + reach
    assert changed[int(box.y) : int(box.y + box.height)].any()


def test_a_cyst_is_water_with_the_noise_of_its_liver():
    inside, outside = [], []
    for seed in range(12):
        one = liver_slice(seed, noise=14)
        made = pasted(one, "cyst", seed)
        if made.diameter_mm < 22 or made.atypical:
            continue
        x, y = made.box.center
        rows, columns = np.mgrid[: one.hu.shape[0], : one.hu.shape[1]] + 0.5
        core = np.hypot(rows - y, columns - x) * one.spacing_mm < 0.32 * made.diameter_mm
        inside.append((made.hu[core].mean(), made.hu[core].std()))
        far = one.inner & (np.hypot(rows - y, columns - x) * one.spacing_mm > made.diameter_mm)
        outside.append(made.hu[far].std())
    assert len(inside) >= 4
    means, sds = np.asarray(inside).T
    assert means.min() > -8 and means.max() < 26  # 0 to 18 HU are drawn
    assert sds.mean() == pytest.approx(np.mean(outside), rel=0.15)


def test_it_lies_in_the_liver_and_its_box_about_it():
    for seed, lesion_class in enumerate(CLASSES * 3):
        one = liver_slice(seed)
        made = pasted(one, lesion_class, seed, difficulty=0.2)
        rows = slice(int(made.box.y), int(made.box.y + made.box.height))
        columns = slice(int(made.box.x), int(made.box.x + made.box.width))
        assert one.liver[rows, columns].mean() > 0.75
        longest = max(made.box.width, made.box.height) * one.spacing_mm
        assert 0.6 * made.diameter_mm - 3 < longest < made.diameter_mm + 3


def test_the_same_seed_gives_the_same_pixels_and_another_does_not():
    one = liver_slice(1)
    first, again, other = (pasted(one, seed=seed) for seed in (5, 5, 6))
    assert np.array_equal(first.hu, again.hu) and first.box == again.box
    assert not np.array_equal(first.hu, other.hu)


def test_a_lesion_shrinks_to_the_room_there_is_and_is_not_made_without():
    small = Background.of(liver_slice(2, axes=(15, 13)))
    made = [small.paste("cyst", np.random.SeedSequence(k), 0.2, 3.0) for k in range(12)]
    some = [one for one in made if one is not None]
    assert some and any(one.diameter_mm < one.drawn_mm for one in some)
    assert max(one.diameter_mm for one in some) < 42
    striped = liver_slice(2)
    striped.liver[:, ::6] = False
    thin = Background.of(striped)
    assert isinstance(thin, Background)
    assert [thin.paste("cyst", np.random.SeedSequence(k), 0.2, 3.0) for k in range(3)] == [None] * 3


def test_a_lesion_of_the_patients_own_is_left_alone():
    one = liver_slice(4, noise=8)
    y, x = np.mgrid[: one.hu.shape[0], : one.hu.shape[1]] - one.hu.shape[0] / 2
    own = np.hypot(x + 22, y) < 14
    one.hu[own] -= 55
    background = Background.of(one)
    for k in range(10):
        made = background.paste("metastasis", np.random.SeedSequence(k), 0.2, 3.0)
        if made is None:
            continue
        column, row = made.box.center
        half = one.hu.shape[0] / 2
        gap = np.hypot(column - half + 22, row - half) - 14
        assert gap * one.spacing_mm > 0.2 * made.diameter_mm
