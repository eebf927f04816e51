"""The windows of a file: the numbers as they stand, or left out and said."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.dataset import Dataset

from ml.images.dicom import read
from ml.images.voi import Window
from tests.ml.dicom_files import ct_file, enhanced_file, stored_values, with_raw

SAID = "The window that the file names cannot be used; the usual ones are shown."


def windows(data: bytes) -> list[tuple[float, float, str]]:
    [slice_] = read(data, "x")
    return [(one.center, one.width, one.function) for one in Window.of_tags(slice_.tags)]


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, []),
        ({"WindowCenter": "40", "WindowWidth": "400"}, [(40, 400, "linear")]),
        (
            {"WindowCenter": ["40", "-600.5"], "WindowWidth": ["400", "1500"]},
            [(40, 400, "linear"), (-600.5, 1500, "linear")],
        ),
        (
            {"WindowCenter": "0", "WindowWidth": "0.5", "VOILUTFunction": "SIGMOID"},
            [(0, 0.5, "sigmoid")],
        ),
        (
            {"WindowCenter": "1", "WindowWidth": "2", "VOILUTFunction": "LINEAR_EXACT"},
            [(1, 2, "linear-exact")],
        ),
        (
            {"WindowCenter": [str(n) for n in range(9)], "WindowWidth": ["10"] * 9},
            [(n, 10, "linear") for n in range(4)],
        ),
    ],
)
def test_windows_are_what_the_file_says(changes, found):
    assert windows(ct_file(**changes)) == found
    [slice_] = read(ct_file(**changes), "x")
    assert SAID not in slice_.warnings


@pytest.mark.parametrize(
    "data",
    [
        lambda: ct_file(WindowCenter="40"),
        lambda: ct_file(WindowWidth="400"),
        lambda: ct_file(WindowCenter=["40", "50"], WindowWidth="400"),
        lambda: ct_file(WindowCenter="40", WindowWidth="0"),
        lambda: ct_file(WindowCenter="40", WindowWidth="-5"),
        lambda: ct_file(WindowCenter="40", WindowWidth="5", VOILUTFunction="OWN"),
        lambda: with_raw("WindowCenter", b"forty", WindowWidth="400"),
        lambda: with_raw("WindowCenter", b"4_0 ", WindowWidth="400"),
        lambda: with_raw("WindowCenter", b"nan ", WindowWidth="400"),
        lambda: with_raw("WindowWidth", b"inf ", WindowCenter="40"),
        lambda: with_raw("WindowCenter", b"1e999 ", WindowWidth="400"),
    ],
)
def test_what_is_no_window_is_left_out_and_said(data):
    [slice_] = read(data(), "x")
    assert Window.of_tags(slice_.tags) == () and SAID in slice_.warnings


def test_a_table_is_said_not_to_be_kept():
    item = Dataset()
    item.LUTDescriptor, item.LUTExplanation = [2, 0, 8], "Secret^Sylvia"
    item.LUTData = bytes([0, 0, 255, 0])
    [slice_] = read(ct_file(VOILUTSequence=[item]), "x")
    assert any("VOI LUT" in one for one in slice_.warnings)
    assert "Sylvia" not in repr(slice_.tags)


def test_frames_have_windows_of_their_own():
    stored = np.stack([stored_values(), stored_values()])
    frames = [
        {"z": 5, "intercept": -1024, "window": (40, 400)},
        {"z": 2, "intercept": -1024, "window": (-600, 1500)},
    ]
    found = [Window.of_tags(one.tags) for one in read(enhanced_file(stored, frames), "x")]
    assert found == [(Window(40, 400),), (Window(-600, 1500),)]
