"""The windows of a file: the numbers as they stand, or left out and said."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.multival import MultiValue
from pydicom.pixels import apply_voi
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from ml.images.dicom import read
from ml.images.voi import Table, Window
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


def lut(first: int, entries: np.ndarray, bits: int, **more) -> Dataset:
    """An item of the VOI LUT Sequence, as 16-bit words unless ``data`` says how."""
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(entries) % 2**16, first % 2**16, bits])
    item.LUTExplanation = "Secret^Sylvia"
    item.add_new("LUTData", "OW", more.get("data", entries.astype("<u2").tobytes()))
    return item


HU = np.arange(-1500, 3000, dtype=np.int16)
S_CURVE = np.rint(4095 / (1 + np.exp(-np.linspace(-6, 6, 1400)))).astype(int)
FALLING = np.arange(255, -1, -1)


@pytest.mark.parametrize(
    ("first", "entries", "bits"),
    [
        (-200, S_CURVE, 12),
        (40, FALLING, 8),
        (0, np.array([0, 65535]), 16),
        (-1024, np.repeat([3, 1, 2], 21845 + 1)[: 2**16], 2),
    ],
    ids=["s-curve", "falling", "step", "65536 entries"],
)
@pytest.mark.parametrize("syntax", [None, ImplicitVRLittleEndian])
def test_greys_by_a_table_are_those_of_pydicom(first, entries, bits, syntax):
    item = lut(first, entries, bits)
    [slice_] = read(ct_file(syntax=syntax, VOILUTSequence=[item]), "x")
    table = Table.of_tags(slice_.tags)
    assert table and not [one for one in slice_.warnings if "table" in one]
    at = np.clip(HU.astype(int) - first, 0, len(entries) - 1)  # PS3.3 C.11.2.1.1, written down
    assert (table.greys(HU) == np.rint(255 * entries[at] / (2**bits - 1))).all()
    # of 8 bits pydicom takes the distance from the first value modulo 256
    if syntax is None and bits > 8 and len(entries) < 2**15:
        assert (table.greys(HU) == of_pydicom(item, first, len(entries), bits)).all()


def of_pydicom(item: Dataset, first: int, count: int, bits: int) -> np.ndarray:
    given = Dataset()
    given.file_meta = FileMetaDataset()
    given.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    item.LUTDescriptor = MultiValue(int, [count, first, bits])
    given.VOILUTSequence = [item]
    given.PixelRepresentation, given.BitsStored = 1, 16
    return np.rint(255 * apply_voi(HU, given).astype(float) / (2**bits - 1))


def test_a_table_of_bytes_is_read_two_to_a_word():
    item = lut(-100, FALLING, 8, data=FALLING.astype(np.uint8).tobytes())
    [slice_] = read(ct_file(VOILUTSequence=[item]), "x")
    assert Table.of_tags(slice_.tags) == Table.of_entries(-100, FALLING, 8)
    assert "Sylvia" not in repr(slice_.tags)


@pytest.mark.parametrize(
    "item",
    [
        Dataset(),
        lut(0, np.arange(9), 17),
        lut(0, np.arange(9), 3),
        lut(0, np.arange(9), 8, data=b"\0\1" * 7),
        lut(0, np.arange(9), 8, data=b""),
        lut(0, np.tile([0, 255], 200), 8),
    ],
    ids=["empty", "17 bits", "too large", "too short", "no data", "400 steps"],
)
def test_a_table_of_no_use_is_left_out_and_said(item):
    [slice_] = read(ct_file(VOILUTSequence=[item]), "x")
    assert Table.of_tags(slice_.tags) is None
    assert any("VOI LUT" in one for one in slice_.warnings)


def test_a_window_of_the_file_comes_before_its_table():
    told = ct_file(VOILUTSequence=[lut(0, FALLING, 8)], WindowCenter="40", WindowWidth="400")
    [slice_] = read(told, "x")
    assert Table.of_tags(slice_.tags) is None and Window.of_tags(slice_.tags)


def test_frames_have_windows_of_their_own():
    stored = np.stack([stored_values(), stored_values()])
    frames = [
        {"z": 5, "intercept": -1024, "window": (40, 400)},
        {"z": 2, "intercept": -1024, "window": (-600, 1500)},
    ]
    found = [Window.of_tags(one.tags) for one in read(enhanced_file(stored, frames), "x")]
    assert found == [(Window(40, 400),), (Window(-600, 1500),)]
