"""A lesion's measurements in words: where the window changed a number, both or a bound are told."""

from __future__ import annotations

import pytest

from ml.images.ends import Known, Value
from ml.images.measurements import HU
from ml.trust.themes import THEMES

BY = {theme.headline: theme.words for theme in THEMES}


def said(headline: str, value: Value, third: str = "", unit: str = HU) -> str:
    return BY[headline](value, unit, third)


@pytest.mark.parametrize(
    ("headline", "value", "words"),
    [
        ("lesion_mean", Value.of(12.4), "mean 12 HU"),
        ("lesion_mean", Value(250, 800), "mean 800 HU (in the window 250 HU)"),
        ("lesion_mean", Value(250, 250, Known.AT_LEAST), "mean at least 250 HU"),
        ("lesion_mean", Value(-150, -150, Known.AT_MOST), "mean at most -150 HU"),
        ("contrast", Value.of(-20), "20 HU below its surroundings"),
        (
            "contrast", Value(141, 691),
            "691 HU above its surroundings (in the window 141 HU above)",
        ),
        ("contrast", Value(141, 141, Known.AT_LEAST), "at least 141 HU above its surroundings"),
        ("contrast", Value(-258, -258, Known.AT_MOST), "at least 258 HU below its surroundings"),
        ("contrast", Value(-20, -20, Known.AT_LEAST), "at most 20 HU below its surroundings"),
        ("contrast", Value(20, 20, Known.AT_MOST), "at most 20 HU above its surroundings"),
        ("contrast", Value(-0.3, -0.3, Known.AT_MOST), "at least 0 HU below its surroundings"),
        ("rim_less_core", Value(-15, 0.2), "rim 0 HU above its core (in the window 15 HU below)"),
        (
            "rim_less_core", Value(-15, -15, Known.NOT),
            "rim 15 HU below its core (in the window; not known beyond it)",
        ),
        ("surround_mean", Value(20, -300), "surroundings -300 HU (in the window 20 HU)"),
        ("lesion_sd", Value(81, 278), "sd 278 HU within (in the window 81 HU)"),
    ],
)  # fmt: skip
def test_a_number_is_the_lesion_s_own_or_says_what_it_is(headline, value, words):
    assert said(headline, value) == words


def test_an_adjective_that_the_window_made_is_not_said():
    assert said("lesion_sd", Value.of(3.0), "low") == "homogeneous (sd 3 HU)"
    for value in (Value(3, 300), Value(3, 3, Known.AT_LEAST), Value(3, 3, Known.NOT)):
        assert "homogeneous" not in said("lesion_sd", value, "low")


def test_grey_has_a_range_and_is_never_told_in_hu():
    words = said("lesion_mean", Value(100, 200), unit="% of grey")
    assert words == "mean 200 % of grey (in the range 100 % of grey)"
