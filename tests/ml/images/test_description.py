"""What stays of a series description, and how fast a file asks to be played."""

from __future__ import annotations

import pytest

from factories import make_dicom
from ml.images.description import cleaned, per_second
from ml.images.dicom import read


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("ABD PORTAL VENOUS 1.0 B30f", "ABD PORTAL VENOUS 1.0 B30f"),
        ("Leber_portalvenös/2.5mm", "Leber portalvenös 2.5mm"),
        ("Portal-venous thin", "Portal venous thin"),
        ("Mueller Hans 12.03.1960 Leber ax", "… Leber ax"),
        ("LIVER MRN 1234567 venous", "LIVER … venous"),
        ("ax 12-03-60 1/9/60 19600312 12 3 60", "ax …"),
        ("Art. phase Dr.Meier 35s", "Art. phase … 35s"),
        ("Smith^John", ""),
        ("liver " * 40, "liver " * 9 + "liver…"),
        ("", ""),
    ],
)
def test_of_a_description_stay_the_words_that_are_known_to_name_nobody(text, kept):
    assert cleaned(text) == kept


@pytest.mark.parametrize(
    ("told", "speed"),
    [
        ({"CineRate": "25"}, 25),
        ({"FrameTime": "40.0"}, 25),
        ({"RecommendedDisplayFrameRate": "8", "CineRate": "25"}, 8),
        ({"CineRate": "900", "FrameTime": "100"}, 10),
        ({"CineRate": "fast", "FrameTime": "0"}, None),
        ({"CineRate": "٢٥"}, None),
        ({}, None),
    ],
)
def test_the_speed_is_what_the_file_asks_for_where_it_can_be_played(told, speed):
    assert per_second(told) == speed


def test_a_file_keeps_of_both_what_may_be_kept_and_no_more():
    data = make_dicom(SeriesDescription="Sylvia Secret portal venous", CineRate="12")
    [found] = read(data, "x")
    assert found.tags["SeriesDescription"] == "… portal venous"
    assert found.tags["FramesPerSecond"] == "12"
    assert "Sylvia" not in repr(found.tags)
    [plain] = read(make_dicom(), "x")
    assert not {"SeriesDescription", "FramesPerSecond"} & plain.tags.keys()
