"""Where a measurement lies in each class: in words that can be checked by the numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import kept_lesions
from ml.images import measurements, quick
from ml.images.ends import Known, Value
from ml.images.measurements import Measured
from ml.trust.compared import LEAST, Spread, Strip, strips
from ml.trust.lesions import Lesions
from trust_lesions import CLASSES


@pytest.fixture(scope="module")
def kept() -> Lesions:
    return kept_lesions.lesions()


TEN = Spread("cyst", np.arange(0.0, 101, 10))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (-5, "below all 11 cysts (0 to 100 HU)"),
        (105, "above all 11 cysts (0 to 100 HU)"),
        (10, "in the lowest quarter of 11 cysts (0 to 25 HU)"),
        (25, "inside the middle half of 11 cysts (25 to 75 HU)"),
        (50, "inside the middle half of 11 cysts (25 to 75 HU)"),
        (90, "in the highest quarter of 11 cysts (75 to 100 HU)"),
    ],
)
def test_each_place_has_its_words(value, words):
    assert TEN.place(value, "HU") == words


def test_of_few_lesions_no_middle_half_is_told():
    few = Spread("metastasis", np.array([10.0, 20, 30]))
    assert few.middle is None and few.n < LEAST
    assert few.place(20, "HU") == "within the range of all 3 metastases (10 to 30 HU)"
    assert few.place(5, "HU") == "below all 3 metastases (10 to 30 HU)"
    assert Spread("cyst", np.array([-4.2])).place(0, "HU") == (
        "beside the only one of the cysts (−4 HU)"
    )
    assert Spread("cyst", np.array([])).place(0, "HU") == "not known of any of the cysts"


def test_rounding_never_puts_a_value_on_the_wrong_side_of_a_border():
    close = Spread("metastasis", np.array([17.8, 30, 40, 50, 60, 94.8]))
    strip = Strip("Mean", "HU", 17.6, (TEN, close))
    assert strip.told == "Mean 17.6 HU"
    assert strip.places[1] == "below all 6 metastases (17.8 to 94.8 HU)"
    assert strip.places[0] == "in the lowest quarter of 11 cysts (0.0 to 25.0 HU)"
    # a value on a border needs no decimals to be there
    assert Strip("Mean", "HU", 25.0, (TEN,)).told == "Mean 25 HU"
    nearer = Spread("cyst", np.array([17.61, 30, 40, 50, 60]))
    assert Strip("Mean", "HU", 17.6, (nearer,)).places == ("below all 5 cysts (17.61 to 60.00 HU)",)


def test_what_the_window_changed_is_told_beside_what_is_compared():
    beyond = Strip("Mean", "HU", 250.0, (TEN,), Value(250.0, 800.0))
    assert beyond.told == "Mean 800 HU (in the window 250 HU)"
    assert beyond.places == ("above all 11 cysts (0 to 100 HU)",)
    assert 0 < beyond.at(250.0) < 1 and beyond.ends[1] < 800  # like with like on the axis
    bound = Strip("Mean", "HU", 250.0, (TEN,), Value(250.0, 250.0, Known.AT_LEAST))
    assert bound.told == "Mean at least 250 HU"
    rim = Strip("Rim less centre", "HU", -15.0, (TEN,), Value(-15.0, 0.0))
    assert rim.told == "Rim less centre 0 HU (in the window −15 HU)"


def test_only_lesions_that_the_network_was_trained_on_count(kept):
    found = strips(kept, kept.measured.values[0], CLASSES)
    assert [one.name for one in found] == ["Size", "Mean", "Rim less centre", "Heterogeneity"]
    assert [one.unit for one in found] == ["mm", "HU", "HU", "HU"]
    assert [[each.n for each in one.classes] for one in found] == [[5, 5, 5]] * 4
    names = [one.name for one in kept.measured.of]
    column = kept.measured.values[:, names.index("lesion_mean")]
    own = np.sort(column[kept.trained & (kept.labels == 0)])
    assert np.array_equal(found[1].classes[0].values, own)
    assert found[1].told.startswith(f"Mean {int(column[0])}")
    assert len(found[1].places) == 3


def test_a_size_that_is_not_known_is_unknown_and_the_rest_is_compared(kept):
    own = kept.measured.values[0].copy()
    own[[one.name for one in kept.measured.of].index("diameter_mm")] = np.nan
    size, mean, *_ = strips(kept, own, CLASSES)
    assert size.value is None and size.places == ()
    assert size.told == "Size: unknown (the image has no pixel spacing)"
    assert mean.value is not None


def test_sizes_that_no_training_lesion_has_are_told_of_none(kept):
    values = kept.measured.values.copy()
    values[:, [one.name for one in kept.measured.of].index("diameter_mm")] = np.nan
    bare = replace(kept, measured=Measured(kept.measured.of, values))
    size, *_ = strips(bare, kept.measured.values[0], CLASSES)
    assert size.places == (
        "not known of any of the cysts",
        "not known of any of the metastases",
        "not known of any of the hemangiomas",
    )
    assert size.ends[0] < size.value < size.ends[1]


def test_grey_values_are_told_in_percent_of_grey_and_never_in_hu(kept):
    rois = np.stack([np.full((64, 64), 0.1 * i, np.float32) for i in range(24 // 3)] * 3)
    grey = quick.measure(rois, None, None)
    found = strips(replace(kept, measured=grey), grey.values[0], CLASSES)
    assert {one.unit for one in found} == {"mm", measurements.GREY}
    assert all("HU" not in one.told + "".join(one.places) for one in found)


def test_everything_that_is_drawn_lies_on_the_axis():
    strip = Strip("Mean", "HU", 140.0, (TEN, Spread("metastasis", np.array([-30.0]))))
    drawn = [strip.at(value) for value in (140.0, -30.0, 0.0, 100.0)]
    assert all(0 < one < 1 for one in drawn)
    flat = Strip("Mean", "HU", 5.0, (Spread("cyst", np.full(6, 5.0)),))
    assert 0 < flat.at(5.0) < 1
    assert Strip("Mean", "HU", None, (Spread("cyst", np.array([])),)).ends == (0.0, 1.0)
