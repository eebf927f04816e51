"""What an upload costs in memory, and what of it is refused file by file."""

from __future__ import annotations

import io
import tracemalloc
from dataclasses import replace

import numpy as np
from PIL import Image

from app.uploads import opening
from app.uploads.parcel import Limits
from factories import make_dicom, make_zip
from ml.images import ct_slice as image

PLENTY = Limits(files=1000, unpacked_bytes=10**9, pixels=10**9)


def black(side: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.zeros((side, side), np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def test_many_large_pictures_in_a_small_zip_never_lie_unpacked_side_by_side() -> None:
    side, count = 2048, 12
    batch = make_zip({f"{n}.png": black(side) for n in range(count)})
    assert len(batch) < 1_000_000
    opening.opened([("warm.png", black(64))], PLENTY)
    tracemalloc.start()
    try:
        parcel = opening.opened([("many.zip", batch)], PLENTY)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(parcel.files) == count
    assert kept < side * side
    assert peak < 12 * side * side  # a few copies of one picture, not twelve pictures


def test_the_limits_hold_for_all_files_and_zips_of_an_upload_together() -> None:
    zips = [
        (f"{n}.zip", make_zip({f"{n}{k}.dcm": make_dicom(number=10 * n + k) for k in range(3)}))
        for n in range(2)
    ]
    parcel = opening.opened(zips, Limits(files=4, unpacked_bytes=10**9, pixels=10**9))
    assert len(parcel.files) + len(parcel.refused) >= 4
    assert len(parcel.files) <= 4
    pixels = opening.opened(zips, Limits(files=100, unpacked_bytes=10**9, pixels=4 * 128 * 128))
    assert len(pixels.files) == 4
    assert len(pixels.refused) == 2
    size = len(make_dicom())
    unpacked = opening.opened(zips, Limits(files=100, unpacked_bytes=4 * size + 100, pixels=10**9))
    assert len(unpacked.files) == 4
    assert len(unpacked.refused) == 2


def test_names_of_files_reach_nobody_with_signs_that_no_database_takes() -> None:
    parcel = opening.opened([("a\0b\ud800.dcm", make_dicom()), ("\udcff.txt", b"x")], PLENTY)
    names = [item.file for item in (*parcel.files, *parcel.refused)]
    assert names == ["a?b?.dcm", "?.txt"]
    for item in parcel.refused:
        item.reason.encode("utf-8")


def test_a_zip_may_not_hold_a_file_larger_than_any_that_is_read() -> None:
    piece = np.random.default_rng(1).bytes(6_000) + bytes(994_000)
    batch = make_zip({"large.dcm": piece * (image.MAX_FILE_BYTES // len(piece) + 1)})
    opening.opened([("warm.png", black(64))], PLENTY)
    tracemalloc.start()
    try:
        parcel = opening.opened([("one.zip", batch)], PLENTY)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "of one file are read" in parcel.refused[0].reason
    assert peak < 2**26


def test_an_upload_of_damaged_files_ends_in_time_and_says_which_were_not_read() -> None:
    cut = (
        black(512)[:-20] + b"\0" * 8 + b"IEND" + b"\0" * 4
    )  # decoded, and found damaged at the end
    batch = make_zip({f"{n}.png": cut for n in range(400)} | {"good.dcm": make_dicom()})
    parcel = opening.opened([("many.zip", batch)], replace(PLENTY, seconds=0.0))
    assert not parcel.files
    assert len(parcel.refused) == 401
    assert all("this upload has been read for" in one.reason for one in parcel.refused)
    assert "Upload the rest by itself." in parcel.refused[-1].reason
