"""What the window's ends leave of a measurement: no number is told that is none of the lesion's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ml.images import quick, roi
from ml.images.ct_slice import CTSlice
from ml.images.ends import Known, Value, known, values
from ml.images.measurements import GREY, HU
from ml.images.roi import DEFAULT_WINDOW_HU, Box, Roi

SIDE = 128
BOX = Box(44, 44, 40, 40)
_AT = np.arange(SIDE) + 0.5 - SIDE / 2
DISC = np.hypot(*np.meshgrid(_AT, _AT)) < 20
STRIPES = DISC & (np.arange(SIDE) % 8 < 4)


def ct(inside: float, outside: float = 100, stripes: float | None = None) -> Roi:
    """A disc, some of it in stripes, with its ROI just around it."""
    hu = np.where(DISC, inside, outside)
    if stripes is not None:
        hu[STRIPES] = stripes
    return roi.make(CTSlice(hu.astype(np.int16), True, (0.8, 0.8)), BOX)


def alone(found: Roi) -> Roi:
    """The same ROI without its slice, as a program may send it."""
    return replace(found, unclipped=None)


def told(found: Roi, name: str, window: tuple[float, float] | None = DEFAULT_WINDOW_HU) -> Value:
    measured = quick.measure(found.pixels[None], window, [found.longer_side_mm])
    place = [one.name for one in measured.of].index(name)
    return values([found], measured, window)[0][place]


def words(value: Value, unit: str = HU) -> str:
    return value.words(lambda one: f"{one:.0f} {unit}", unit)


@pytest.mark.parametrize(
    ("inside", "of_slice", "by_itself"),
    [
        (800, "800 HU (in the window 250 HU)", "at least 250 HU"),
        (-1000, "-1000 HU (in the window -150 HU)", "at most -150 HU"),
        (60, "60 HU", "60 HU"),
        (249, "249 HU", "249 HU"),
    ],
)
def test_a_mean_beyond_either_end_is_that_of_the_slice_or_a_bound(inside, of_slice, by_itself):
    found = ct(inside)
    assert words(told(found, "lesion_mean")) == of_slice
    assert words(told(alone(found), "lesion_mean")) == by_itself
    # what is compared stays what it was
    low, high = DEFAULT_WINDOW_HU
    assert told(found, "lesion_mean").windowed == pytest.approx(np.clip(inside, low, high))


def test_of_a_lesion_that_lies_beyond_in_part_the_whole_is_told():
    found = ct(100, stripes=600)
    mean = told(found, "lesion_mean")
    assert mean.known == Known.EXACT
    assert 160 < mean.windowed < 190 and 330 < mean.own < 370
    bound = told(alone(found), "lesion_mean")
    assert (bound.known, bound.windowed) == (Known.AT_LEAST, mean.windowed)
    assert told(alone(ct(100, stripes=-900)), "lesion_mean").known == Known.AT_MOST
    both = ct(600, stripes=-900)
    assert told(alone(both), "lesion_mean").known == Known.NOT
    assert words(told(alone(both), "lesion_mean")).endswith("(in the window; not known beyond it)")


def test_a_few_pixels_beyond_an_end_that_change_no_number_change_no_word():
    hu = np.where(DISC, 60, 100)
    hu[0, 0] = 1000  # far from the ROI
    hu[64, 64] = 251
    found = roi.make(CTSlice(hu.astype(np.int16), True, (0.8, 0.8)), BOX)
    assert found.unclipped is not None and found.unclipped is not found.pixels
    value = told(found, "lesion_mean")
    assert words(value) == f"{value.windowed:.0f} HU"


@pytest.mark.parametrize(
    ("inside", "outside", "known_to_be"),
    [
        (800, 100, Known.AT_LEAST),
        (-1000, 100, Known.AT_MOST),
        (60, -900, Known.AT_LEAST),
        (60, 900, Known.AT_MOST),
        (800, -900, Known.AT_LEAST),
        (800, 900, Known.NOT),
        (-900, -1000, Known.NOT),
        (60, 100, Known.EXACT),
    ],
)
def test_a_difference_is_known_as_far_as_both_sides_are(inside, outside, known_to_be):
    found = ct(inside, outside)
    gap = told(alone(found), "contrast")
    assert gap.known == known_to_be
    true = told(found, "contrast").own
    assert true == pytest.approx(inside - outside, abs=12)  # interpolation at the edge
    if known_to_be == Known.AT_LEAST:
        assert true >= gap.windowed
    if known_to_be == Known.AT_MOST:
        assert true <= gap.windowed


def test_every_bound_holds_for_what_the_slice_has():
    rng = np.random.default_rng(3)
    for inside, outside, spread in ((60, 100, 200), (240, 100, 60), (-120, 0, 80), (0, 0, 900)):
        hu = np.where(DISC, inside, outside) + rng.normal(0, spread, (SIDE, SIDE))
        found = roi.make(CTSlice(hu.astype(np.int16), True, (0.8, 0.8)), BOX)
        measured = quick.measure(found.pixels[None], DEFAULT_WINDOW_HU, [found.longer_side_mm])
        [own] = values([found], measured, DEFAULT_WINDOW_HU)
        [bounds] = values([alone(found)], measured, DEFAULT_WINDOW_HU)
        for what, true, bound in zip(measured.of, own, bounds, strict=True):
            assert true.known == Known.EXACT and true.windowed == bound.windowed == bound.own
            if bound.known == Known.AT_LEAST:
                assert true.own >= bound.own - 1e-6, what.name
            elif bound.known == Known.AT_MOST:
                assert true.own <= bound.own + 1e-6, what.name
            elif bound.known == Known.EXACT:
                assert true.own == pytest.approx(bound.own, nan_ok=True), what.name


def test_a_bound_is_never_rounded_beyond_what_is_known():
    def at(known_to_be: Known, value: float) -> str:
        return words(Value(value, value, known_to_be))

    assert at(Known.AT_LEAST, 179.9) == "at least 179 HU"
    assert at(Known.AT_MOST, 179.1) == "at most 180 HU"
    assert at(Known.AT_LEAST, 250 - 1e-9) == "at least 250 HU"
    assert at(Known.AT_MOST, -150 + 1e-9) == "at most -150 HU"


def test_a_picture_without_hu_has_no_window_and_nothing_beyond_black_and_white():
    for black, white in ((0, 255), (0, 65535)):
        kind = np.uint8 if white == 255 else np.uint16
        picture = CTSlice(np.where(DISC, white, black).astype(kind), False)
        found = roi.make(picture, BOX)
        assert found.unclipped is found.pixels
        text = words(told(found, "lesion_mean", None), GREY)
        assert text == "100 % of grey" and "HU" not in text


def test_grey_beyond_a_chosen_range_is_told_as_such():
    picture = CTSlice(np.where(DISC, 8000, 1000).astype(np.uint16), False)
    found = roi.make(picture, BOX, grey_range=(0.0, 4000.0))
    text = words(told(found, "lesion_mean", None), GREY)
    assert text == "200 % of grey (in the range 100 % of grey)"


def test_what_is_clipped_is_the_very_roi_that_it_was():
    found = ct(800, -900)
    assert found.unclipped is not None
    assert np.array_equal(np.clip(found.unclipped, -1, 1), found.pixels)
    assert ct(60).unclipped is not None


def test_an_roi_within_the_window_is_known_without_its_slice():
    names = [one.name for one in quick.names(HU)]
    inside = np.full((64, 64), 0.99, np.float32)
    assert set(known(inside, names)) == {Known.EXACT}
    at_end = known(np.ones((64, 64), np.float32), names)
    assert at_end[names.index("diameter_mm")] == Known.EXACT
    assert at_end[names.index("lesion_sd")] == Known.AT_LEAST
    assert at_end[names.index("edge_gradient")] == Known.NOT
