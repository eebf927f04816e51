"""Measurements of an ROI: what they say of pictures whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from ml.images.measurements import GREY, HU, SIZE, Measured, measure

WINDOW = (-150.0, 250.0)


def _disc(inside_hu: float, outside_hu: float, rim_hu: float | None = None) -> np.ndarray:
    """A round lesion that fills its box, as an ROI."""
    at = np.arange(64) + 0.5 - 32
    radii = np.hypot(*np.meshgrid(at, at)) / (32 / 1.56)
    hu = np.where(radii < 1, inside_hu, outside_hu)
    if rim_hu is not None:
        hu = np.where((radii >= 0.6) & (radii < 0.95), rim_hu, hu)
    return ((hu + 150) / 200 - 1).astype(np.float32)


def _value(measured: Measured, name: str, roi: int = 0) -> float:
    return float(measured.values[roi, [one.name for one in measured.of].index(name)])


def test_a_lesion_of_known_density_is_measured_in_hu() -> None:
    found = measure(np.stack([_disc(10, 110), _disc(40, 110, rim_hu=150)]), WINDOW, [12.5, None])
    assert _value(found, "lesion_mean") == pytest.approx(10, abs=1e-3)
    assert _value(found, "lesion_sd") == pytest.approx(0, abs=1e-3)
    assert _value(found, "contrast") == pytest.approx(-100, abs=1e-3)
    assert _value(found, "rim_less_core") == pytest.approx(0, abs=1e-3)
    assert _value(found, "rim_less_core", 1) == pytest.approx(110, abs=1e-3)
    assert _value(found, "edge_gradient_radial") > 5
    assert _value(found, SIZE) == 12.5
    assert np.isnan(_value(found, SIZE, 1))


def test_every_measurement_has_a_name_of_its_own_a_word_and_a_unit_that_fits() -> None:
    for window, unit in ((WINDOW, HU), (None, GREY)):
        found = measure(np.zeros((1, 64, 64)), window)
        names = [one.name for one in found.of]
        assert len(set(names)) == len(names) == found.values.shape[1]
        assert all(one.words for one in found.of)
        units = {one.unit for one in found.of}
        assert units == {unit, f"{unit} per pixel", "mm", ""}
        assert next(one.unit for one in found.of if one.name == "contrast") == unit


def test_greys_without_units_are_told_in_percent_of_their_range() -> None:
    found = measure(np.full((1, 64, 64), 0.5), None)
    assert _value(found, "lesion_mean") == pytest.approx(75)


@pytest.mark.parametrize("grey", [-1.0, 0.0, 1.0])
def test_a_picture_of_one_grey_gives_numbers(grey: float) -> None:
    found = measure(np.full((1, 64, 64), grey), WINDOW).without(SIZE)
    assert np.isfinite(found.values).all()


def test_nothing_but_size_depends_on_how_a_lesion_is_turned() -> None:
    rng = np.random.default_rng(0)
    roi = np.clip(_disc(10, 110) + rng.normal(0, 0.1, (64, 64)), -1, 1)
    turned = np.stack([roi, np.rot90(roi), roi[::-1], roi[:, ::-1]])
    values = measure(turned, WINDOW).without(SIZE).values
    assert values == pytest.approx(np.repeat(values[:1], 4, axis=0), rel=1e-6, abs=1e-6)


def test_texture_tells_coarse_from_fine() -> None:
    rng = np.random.default_rng(1)
    fine = rng.normal(0, 0.3, (64, 64))
    coarse = np.kron(rng.normal(0, 0.3, (8, 8)), np.ones((8, 8)))
    found = measure(np.clip(np.stack([fine, coarse]), -1, 1), WINDOW)
    assert _value(found, "lesion_band_0", 0) > 2 * _value(found, "lesion_band_0", 1)
    assert _value(found, "lesion_band_4", 1) > 2 * _value(found, "lesion_band_4", 0)
    assert _value(found, "glcm_correlation_1", 1) > 0.6 > 0.2 > _value(found, "glcm_correlation_1")


def test_rois_are_measured_alike_alone_and_among_many() -> None:
    rng = np.random.default_rng(2)
    rois = np.clip(rng.normal(0, 0.4, (130, 64, 64)), -1, 1)
    values = measure(rois, WINDOW).without(SIZE).values
    for i in (0, 127, 128, 129):
        alone = measure(rois[i : i + 1], WINDOW).without(SIZE).values
        assert values[i] == pytest.approx(alone[0], rel=1e-9, abs=1e-9)
    assert measure(rois[:0], WINDOW).values.shape == (0, values.shape[1] + 1)
