"""Values that decide HU, geometry or order are right, absent, or refused; never defaulted."""

from __future__ import annotations

import re

import numpy as np
import pytest
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from ml.images.ct_slice import Corrupt, DicomError, UnsupportedSyntax
from ml.images.dicom import read
from tests.ml.dicom_files import (
    ct_dataset,
    ct_file,
    encoded,
    enhanced_file,
    stored_values,
    with_raw,
)

BAD_NUMBERS = [b"0,5", b"2\\2", b"one", b"1e", b"0x1", b"1 000", b"nan", b"inf", b"1e999", b"--1",
               b"1.0.0", b"\xd9\xa3", b"1_0", b"\\1", b"1\\", b"+"]  # fmt: skip


@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept"])
@pytest.mark.parametrize("raw", BAD_NUMBERS)
def test_a_rescale_value_that_is_no_single_number_is_refused_by_name(
    keyword: str, raw: bytes
) -> None:
    with pytest.raises(Corrupt) as refusal:
        read(with_raw(keyword, raw), "slice.dcm")
    words = str(refusal.value)
    assert words.startswith("slice.dcm")
    assert keyword in words
    assert re.search(r"\(0028,105[23]\)", words)
    assert "export" in words


@pytest.mark.parametrize("syntax", [None, ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_the_same_holds_in_every_way_of_writing_headers(syntax: str | None) -> None:
    with pytest.raises(Corrupt, match=r'RescaleSlope \(0028,1053\) holds "0,5"'):
        read(with_raw("RescaleSlope", b"0,5", syntax), "x")


@pytest.mark.parametrize(
    ("raw", "slope"),
    [(b"1", 1), (b" 2 ", 2), (b"+1.0", 1), (b"1.", 1), (b".5", 0.5), (b"5e-1", 0.5), (b"1\0", 1)],
)
def test_numbers_as_the_standard_writes_them_are_read(raw: bytes, slope: float) -> None:
    (found,) = read(with_raw("RescaleSlope", raw), "x")
    assert np.array_equal(found.pixels, np.rint(stored_values() * slope - 1024).astype(np.int16))


def test_an_attribute_of_another_binary_type_is_read_by_its_type() -> None:
    dataset = ct_dataset(RescaleSlope=None)
    dataset.add_new("RescaleSlope", "FD", 2.0)
    (found,) = read(encoded(dataset), "x")
    assert np.array_equal(found.pixels, stored_values() * 2 - 1024)
    dataset = ct_dataset(RescaleIntercept=None)
    dataset.add_new("RescaleIntercept", "SS", -1000)
    (found,) = read(encoded(dataset), "x")
    assert np.array_equal(found.pixels, stored_values() - 1000)


@pytest.mark.parametrize(
    ("keyword", "raw"),
    [
        ("PixelSpacing", b"0,7\\0,7"),
        ("PixelSpacing", b"0.7"),
        ("PixelSpacing", b"0\\0.7"),
        ("PixelSpacing", b"-1\\-1"),
        ("PixelSpacing", b"500\\500"),
        ("PixelSpacing", b"0.7\\0.7\\0.7"),
        ("ImagePositionPatient", b"1\\2"),
        ("ImagePositionPatient", b"a\\b\\c"),
        ("ImagePositionPatient", b"0,0\\0,0\\5,0"),
        ("ImageOrientationPatient", b"1\\0\\0\\0\\1"),
        ("ImageOrientationPatient", b"0\\0\\0\\0\\0\\0"),
        ("ImageOrientationPatient", b"1\\0\\0\\1\\0\\0"),
        ("ImageOrientationPatient", b"2\\0\\0\\0\\1\\0"),
        ("SliceThickness", b"2,5"),
        ("NumberOfFrames", b"1.5"),
        ("NumberOfFrames", b"two"),
    ],
)
def test_geometry_that_is_not_what_the_standard_says_is_refused(keyword: str, raw: bytes) -> None:
    with pytest.raises(DicomError, match=keyword):
        read(with_raw(keyword, raw), "x")


@pytest.mark.parametrize(
    "keyword",
    ["PixelRepresentation", "BitsAllocated", "BitsStored", "HighBit", "SamplesPerPixel", "Rows",
     "PhotometricInterpretation"],
)  # fmt: skip
def test_what_says_how_pixels_lie_must_be_there(keyword: str) -> None:
    dataset = ct_dataset()
    del dataset[keyword]
    with pytest.raises(Corrupt, match=f"{keyword} .* is missing"):
        read(encoded(dataset), "x")


def test_an_impossible_pixel_representation_is_refused() -> None:
    with pytest.raises(Corrupt, match=r"PixelRepresentation \(0028,0103\) holds \"2\""):
        read(ct_file(PixelRepresentation=2), "x")


def test_a_modality_lut_is_refused_by_name_also_beside_slope_and_intercept() -> None:
    from pydicom.dataset import Dataset

    table = Dataset()
    table.add_new("LUTDescriptor", "US", [2, 0, 16])
    table.add_new("LUTData", "US", [0, 1])
    for more in ({}, {"RescaleSlope": None, "RescaleIntercept": None}):
        with pytest.raises(Corrupt, match="ModalityLUTSequence"):
            read(ct_file(ModalityLUTSequence=[table], **more), "x")


def test_bits_above_those_stored_are_no_part_of_the_value() -> None:
    twelve = {"BitsStored": 12, "HighBit": 11}
    values = stored_values().clip(-2000, 2000)
    low = (values & 0x0FFF).astype(np.uint16)  # negative values without the bits above their sign
    (found,) = read(ct_file(low, PixelRepresentation=1, RescaleIntercept="0", **twelve), "x")
    assert np.array_equal(found.pixels, values)
    (same,) = read(ct_file(values, RescaleIntercept="0", **twelve), "x")
    assert np.array_equal(same.pixels, values)


def test_values_that_need_more_bits_than_are_declared_are_refused() -> None:
    wide = (stored_values() + 6000).astype(np.uint16)
    with pytest.raises(Corrupt, match="12 bits of BitsStored"):
        read(ct_file(wide, BitsStored=12, HighBit=11), "x")


def test_an_overlay_in_the_unused_bits_is_left_out() -> None:
    values = stored_values().clip(0, 2000).astype(np.uint16)
    dataset = ct_dataset(values | 0x8000, BitsStored=12, HighBit=11)
    dataset.add_new(0x60000100, "US", 16)
    dataset.add_new(0x60000102, "US", 15)
    (found,) = read(encoded(dataset), "x")
    assert np.array_equal(found.pixels, values.astype(np.int16) - 1024)


def test_signed_values_declared_unsigned_are_refused() -> None:
    with pytest.raises(Corrupt, match=r"PixelRepresentation \(0028,0103\) is 0"):
        read(ct_file(stored_values() - 1024, PixelRepresentation=0, RescaleIntercept="0"), "x")


def test_a_padding_range_without_its_first_value_is_refused() -> None:
    with pytest.raises(Corrupt, match="PixelPaddingValue"):
        read(ct_file(PixelPaddingRangeLimit=-2000), "x")


def test_undeclared_darkness_and_a_slice_without_air_are_told() -> None:
    dark = stored_values()
    dark[:10] = -3000
    assert any("darker than air" in text for text in read(ct_file(dark), "x")[0].warnings)
    whole = np.full((256, 256), 1100, np.int16)
    whole[0, 0] = 1000
    assert any("as dark as air" in text for text in read(ct_file(whole), "x")[0].warnings)


@pytest.mark.parametrize("raw", [b"456115117112105110101", b"2147483648", b"-2147483649", b"7a"])
def test_an_instance_number_of_no_use_is_left_out_and_said(raw: bytes) -> None:
    (found,) = read(with_raw("InstanceNumber", raw), "x")
    assert found.instance_number is None
    assert any("InstanceNumber" in text for text in found.warnings)
    assert np.array_equal(found.pixels, stored_values() - 1024)


def test_zero_bytes_after_the_last_pixel_are_left_out_and_said() -> None:
    for excess in (2, 100):
        data = ct_file(PixelData=stored_values().tobytes() + bytes(excess))
        (found,) = read(data, "x")
        assert np.array_equal(found.pixels, stored_values() - 1024)
        assert any(f"{excess} zero bytes" in text for text in found.warnings)
    with pytest.raises(Corrupt, match="bytes of pixels"):
        read(ct_file(PixelData=stored_values().tobytes() + b"\x01\x00"), "x")


def test_a_uid_that_is_none_still_tells_images_apart_and_is_said() -> None:
    first, second = (
        read(ct_file(StudyInstanceUID=uid), "x")[0] for uid in ("1.2.3.ANON-A", "1.2.3.ANON-B")
    )
    assert first.study_uid != second.study_uid
    assert any("StudyInstanceUID" in text for text in first.warnings)
    long, longer = (read(ct_file(SOPInstanceUID="1." * n + "1"), "x")[0] for n in (40, 41))
    assert long.sop_uid != longer.sop_uid
    assert len(long.sop_uid) <= 64


def test_a_header_whose_lengths_are_damaged_quotes_nothing(
    capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    dataset = ct_dataset(PatientName="Secret^Sylvia", PatientID="HEP-SECRET-77")
    data = bytearray(encoded(dataset))
    at = data.rindex(dataset.SOPInstanceUID.encode())
    data[at - 2 : at] = (200).to_bytes(2, "little")
    with pytest.raises(DicomError) as refusal:
        read(bytes(data), "x")
    said = str(refusal.value) + "".join(capfd.readouterr())
    said += "".join(str(warning.message) for warning in recwarn)
    assert "Sylvia" not in said
    assert "HEP-SECRET-77" not in said


def test_us_is_read_with_a_warning_unless_the_image_is_a_map() -> None:
    for kind in (["DERIVED", "PRIMARY", "AXIAL", "MPR"], ["original", "primary", "axial"]):
        (found,) = read(ct_file(RescaleType="US", ImageType=kind), "x")
        assert any("US" in text for text in found.warnings)
        assert np.array_equal(found.pixels, stored_values() - 1024)
    (found,) = read(ct_file(ImageType=["DERIVED", "SECONDARY", "AXIAL", "IODINE"]), "x")
    assert any("IODINE" in text for text in found.warnings)


def test_functional_groups_that_contradict_each_other_are_refused() -> None:
    stored = np.stack([stored_values(), stored_values()])
    with pytest.raises(Corrupt, match="PerFrameFunctionalGroupsSequence"):
        read(enhanced_file(stored, []), "x")
    frames = [{"z": 5, "intercept": -1024}, {"z": 2, "intercept": -1000}]
    assert len(read(enhanced_file(stored, frames), "x")) == 2
    from pydicom.dataset import Dataset

    foreign, item = Dataset(), Dataset()
    item.RescaleIntercept, item.RescaleSlope = "-1000", "1"
    foreign.PixelValueTransformationSequence = [item]
    with pytest.raises(Corrupt, match="stated twice and differs"):
        read(ct_file(SharedFunctionalGroupsSequence=[foreign]), "x")


def test_a_retired_syntax_is_refused_before_anything_is_allocated() -> None:
    data = ct_file().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.9\0")
    with pytest.raises((UnsupportedSyntax, Corrupt)):
        read(data, "x")


def test_a_slice_that_is_stored_turned_or_mirrored_says_which_side_is_where() -> None:
    turned = read(ct_file(ImageOrientationPatient=[-1, 0, 0, 0, -1, 0]), "x")[0]
    assert any("L is on its left and P at its top" in text for text in turned.warnings)
    usual = read(ct_file(), "x")[0]
    assert usual.warnings == ()


def test_one_position_for_many_frames_is_no_position() -> None:
    frames = read(ct_file(np.stack([stored_values(), stored_values()])), "x")
    assert [frame.position for frame in frames] == [None, None]
    assert any("One position is stated for 2 frames" in text for text in frames[0].warnings)


def test_a_number_whose_length_swallowed_its_neighbours_shows_none_of_them():
    swallowed = b"0.5 \x10\x00\x20\x00LO\x08\x00HEP-77"
    with pytest.raises(Corrupt) as refused:
        read(with_raw("RescaleSlope", swallowed), "a file")
    assert "HEP-77" not in str(refused.value)
    assert "bytes that are no text" in str(refused.value)
