"""What a phantom patient shows besides its lesions: other places, phases and scanners."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from ml.phantom import PhantomError, elsewhere, series
from ml.phantom.patient import PhantomPatient, PhantomSlice


@cache
def _patient() -> PhantomPatient:
    return series.patient(5, 0.2, 1, "cyst", 1)


@cache
def _key() -> PhantomSlice:
    return _patient().key_slice(1)


def _inside(
    hu: np.ndarray, box: tuple[float, float, float, float], part: float = 0.5
) -> np.ndarray:
    x, y, width, height = box
    middle_x, middle_y = x + width / 2, y + height / 2
    reach_x, reach_y = part * width / 2, part * height / 2
    return hu[
        int(middle_y - reach_y) : int(middle_y + reach_y) + 1,
        int(middle_x - reach_x) : int(middle_x + reach_x) + 1,
    ]


def test_plain_liver_is_liver_and_no_lesion() -> None:
    seen = elsewhere.plain_liver(_patient(), np.random.default_rng(0))
    assert seen is not None and seen.diameter_mm >= 8
    liver = _patient()._anatomy.hu["liver"]
    assert float(np.median(_inside(seen.hu, seen.box, 0.9))) == pytest.approx(liver, abs=12)


def test_a_gallbladder_is_bile_and_an_organ_of_no_phantom_is_refused() -> None:
    seen = elsewhere.organ(_patient(), "gallbladder", np.random.default_rng(0))
    assert float(np.median(_inside(seen.hu, seen.box, 0.2))) < 30
    with pytest.raises(PhantomError, match="'brain' is none of spleen"):
        elsewhere.organ(_patient(), "brain", np.random.default_rng(0))


def test_without_contrast_medium_the_liver_is_darker_and_a_cyst_is_as_it_was() -> None:
    liver = _patient()._anatomy.hu["liver"]
    plain, native = _key(), elsewhere.native(_patient()).key_slice(1)
    box = plain.box(1)
    assert box is not None and (native.mask == plain.mask).all()
    inside = [float(_inside(one.hu, box).mean()) for one in (plain, native)]
    assert inside[1] == pytest.approx(inside[0], abs=3)
    about = plain.mask == 0
    bright = about & (plain.hu > 80) & (plain.hu < 140)
    assert native.hu[bright].mean() < plain.hu[bright].mean() - 30
    assert _patient()._anatomy.hu["liver"] == liver  # the patient itself is not touched


def test_another_scan_differs_in_nothing_but_what_was_changed() -> None:
    noisy = elsewhere.scanned(_patient(), noise_hu=3 * _patient().scanner.noise_hu).key_slice(1)
    gap = (noisy.hu - _key().hu.astype(float))[_key().mask == 1]
    assert abs(gap.mean()) < 6 and gap.std() > 10
    assert noisy.box(1) == _key().box(1)
    with pytest.raises(TypeError):
        elsewhere.scanned(_patient(), colour=3.0)
