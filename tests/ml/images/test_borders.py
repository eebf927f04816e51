"""What vendors, anonymisers and exports write otherwise than they mean is refused, or told."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.uid import (
    ExplicitVRBigEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSLossless,
    JPEGLSNearLossless,
)

from ml.images.ct_slice import Corrupt, NotCT
from ml.images.dicom import read
from ml.images.frame import LOSSY
from tests.ml.dicom_files import (
    ct_dataset,
    ct_file,
    encoded,
    enhanced_file,
    stored_values,
    with_raw,
)

GREY = stored_values().clip(0, 4095).astype(np.uint16)


def item(**values: Any) -> Dataset:
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


def warned(data: bytes) -> str:
    return " ".join(read(data, "x")[0].warnings)


def with_frames(pixels: bytes, syntax: str, stored: np.ndarray = GREY, **changes: Any) -> bytes:
    dataset = ct_dataset(stored, **changes)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = pixels
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    return encoded(dataset)


# -- Hounsfield units --------------------------------------------------------------------------


@pytest.mark.parametrize("slope", [b"1e-12", b"0.0000001", b"-1e-9"])
def test_a_slope_that_makes_one_value_of_all_is_refused(slope: bytes) -> None:
    with pytest.raises(Corrupt, match=r"RescaleSlope .* one Hounsfield unit"):
        read(with_raw("RescaleSlope", slope), "x")


@pytest.mark.parametrize(("slope", "words"), [(b"-1", "below zero"), (b"0.01", "within 11 HU")])
def test_a_slope_that_is_hardly_one_is_told(slope: bytes, words: str) -> None:
    assert words in warned(with_raw("RescaleSlope", slope))


def test_a_real_world_mapping_to_other_hounsfield_units_is_refused() -> None:
    unit = item(CodeValue="[hnsf'U]", CodingSchemeDesignator="UCUM", CodeMeaning="Hounsfield unit")
    mapping = item(RealWorldValueSlope=2.0, RealWorldValueIntercept=-1024.0)
    mapping.MeasurementUnitsCodeSequence = [unit]
    with pytest.raises(Corrupt, match="RealWorldValueMappingSequence"):
        read(ct_file(RealWorldValueMappingSequence=[mapping]), "x")
    mapping.RealWorldValueSlope = 1.0
    assert read(ct_file(RealWorldValueMappingSequence=[mapping]), "x")[0].warnings == ()


@pytest.mark.parametrize("more", [{"bit": 13}, {"bit": 15, "data": b"\0\0"}])
def test_bits_that_no_overlay_has_are_no_overlay(more: dict[str, Any]) -> None:
    dataset = ct_dataset(GREY | 0x8000 | 0x1000, BitsStored=12, HighBit=11)
    dataset.add_new(0x60000100, "US", 1 if "data" in more else 16)
    dataset.add_new(0x60000102, "US", more["bit"])
    if "data" in more:
        dataset.add_new(0x60003000, "OW", more["data"])
    with pytest.raises(Corrupt, match="more than the 12 bits"):
        read(encoded(dataset), "x")


def test_an_attribute_that_is_there_twice_is_refused() -> None:
    twice = ct_file() + ct_file(RescaleSlope="2")[132:]
    with pytest.raises(Corrupt, match="twice"):
        read(twice, "x")
    with pytest.raises(Corrupt, match="run together"):
        read(ct_file() + ct_file(), "x")
    (found,) = read(ct_file() + bytes(512), "x")  # filled up to a whole block
    assert np.array_equal(found.pixels, stored_values() - 1024)


def test_big_endian_pixels_whose_bytes_have_no_known_order_are_refused() -> None:
    dataset = ct_dataset()
    dataset["PixelData"].VR = "OB"
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    with pytest.raises(Corrupt, match="order of their bytes"):
        read(encoded(dataset), "x")


# -- streams -----------------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEGLSLossless])
def test_eight_bits_of_what_were_more_are_refused(syntax: str) -> None:
    eight = (GREY >> 4).astype(np.uint8)
    stream = {
        JPEGBaseline8Bit: imagecodecs.jpeg8_encode,
        JPEGLSLossless: imagecodecs.jpegls_encode,
    }[syntax](eight)
    with pytest.raises(Corrupt, match=r"has 8 bits, and BitsStored .* is 12"):
        read(with_frames(encapsulate([stream]), syntax, BitsStored=12, HighBit=11), "x")


@pytest.mark.parametrize(
    ("stream", "syntax", "lossy"),
    [
        (imagecodecs.jpegls_encode(GREY, level=4), JPEGLSLossless, True),
        (imagecodecs.jpegls_encode(GREY, level=4), JPEGLSNearLossless, True),
        (imagecodecs.jpegls_encode(GREY), JPEGLSNearLossless, False),
        (imagecodecs.jpegls_encode(GREY), JPEGLSLossless, False),
        (
            imagecodecs.jpeg2k_encode(GREY, codecformat="j2k", level=90, reversible=False),
            JPEG2000Lossless,
            True,
        ),
        (imagecodecs.jpeg2k_encode(GREY, codecformat="j2k"), JPEG2000Lossless, False),
    ],
)
def test_lossy_compression_is_told_by_the_stream_whatever_the_header_says(
    stream: bytes, syntax: str, lossy: bool
) -> None:
    data = with_frames(encapsulate([stream]), syntax, LossyImageCompression="00")
    assert (LOSSY in warned(data)) is lossy


@pytest.mark.parametrize(
    "changes", [{"LossyImageCompression": "1"}, {"LossyImageCompressionRatio": "10"}]
)
def test_lossy_compression_is_told_however_the_header_says_it(changes: dict[str, str]) -> None:
    assert LOSSY in warned(ct_file(**changes))


def test_tables_that_swap_or_repeat_frames_are_refused() -> None:
    two = np.stack([GREY, GREY[::-1]])
    streams = [imagecodecs.jpegls_encode(frame) for frame in two]
    pixels, offsets, lengths = encapsulate_extended(streams)
    for table, sizes in (
        (offsets[8:] + offsets[:8], lengths[8:] + lengths[:8]),
        (offsets[:8] * 2, lengths[:8] * 2),
    ):
        tables = {"ExtendedOffsetTable": table, "ExtendedOffsetTableLengths": sizes}
        with pytest.raises(Corrupt, match="out of order"):
            read(with_frames(pixels, JPEGLSLossless, two, **tables), "x")
    tables = {"ExtendedOffsetTable": offsets, "ExtendedOffsetTableLengths": lengths}
    found = read(with_frames(pixels, JPEGLSLossless, two, **tables), "x")
    for frame, stored in zip(found, two, strict=True):
        assert np.array_equal(frame.pixels, stored.astype(int) - 1024)


def test_a_jpeg_that_ends_before_its_last_pixel_is_refused() -> None:
    stream = imagecodecs.jpeg8_encode(GREY, level=95, bitspersample=12)
    twelve = {"BitsStored": 12, "HighBit": 11}
    for share in (0.4, 0.9, 0.98):
        cut = stream[: int(len(stream) * share)] + b"\xff\xd9"
        with pytest.raises(Corrupt, match="ends before its last pixel"):
            read(with_frames(encapsulate([cut]), JPEGExtended12Bit, **twelve), "x")
    filled = stream[:-2] + b"\xff\xff\xd9"  # fill bytes before a marker are allowed
    assert read(with_frames(encapsulate([filled]), JPEGExtended12Bit, **twelve), "x")


# -- what an image is --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "word",
    ["IODINE_MAP", "MD_IODINE", "DE_VNC", "MONO_70KEV", "70KEV", "EFF. Z", "MIP THICK",
     "Virtual Non Contrast", "Material Density"],
)  # fmt: skip
def test_a_map_is_told_by_any_word_of_its_image_type(word: str) -> None:
    for kind in (["DERIVED", "SECONDARY", "AXIAL", word], ["DERIVED", word]):
        assert "computed from CT" in warned(ct_file(ImageType=kind))


@pytest.mark.parametrize(
    "word", ["MIPS", "AXIAL", "HELIX", "CT_SOM5 SPI", "IDOSE", "MPR", "VOLUME"]
)
def test_plain_slices_are_no_maps(word: str) -> None:
    assert warned(ct_file(ImageType=["ORIGINAL", "PRIMARY", word])) == ""


@pytest.mark.parametrize("word", ["SCOUT_AP", "Topogram AP", "SCREEN SAVE", "DOSE_INFO"])
def test_scouts_and_reports_are_no_slices_however_they_are_called(word: str) -> None:
    with pytest.raises(NotCT, match="not a slice"):
        read(ct_file(ImageType=["ORIGINAL", "PRIMARY", word]), "x")


def test_the_kind_of_a_frame_is_read_from_its_own_group() -> None:
    def of(*kind: str) -> bytes:
        frames = np.stack([stored_values(), stored_values(seed=1)])
        made = enhanced_file(frames, [{"z": z, "intercept": -1024} for z in (0, 5)])
        dataset = dcmread(io.BytesIO(made))
        for group in dataset.PerFrameFunctionalGroupsSequence:
            group.CTImageFrameTypeSequence = [item(FrameType=list(kind))]
        return encoded(dataset)

    assert "MAX_IP" in warned(of("DERIVED", "PRIMARY", "VOLUME", "MAX_IP"))
    assert warned(of("ORIGINAL", "PRIMARY", "VOLUME", "NONE")) == ""
    with pytest.raises(NotCT, match="FrameType LOCALIZER"):
        read(of("ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"), "x")


def test_a_functional_group_of_two_items_is_refused() -> None:
    made = enhanced_file(
        np.stack([stored_values()] * 2), [{"z": z, "intercept": 0} for z in (0, 5)]
    )
    dataset = dcmread(io.BytesIO(made))
    for group in dataset.PerFrameFunctionalGroupsSequence:
        group.PixelValueTransformationSequence.append(item(RescaleIntercept=0, RescaleSlope=3))
    with pytest.raises(Corrupt, match="2 items where one is allowed"):
        read(encoded(dataset), "x")


@pytest.mark.parametrize(
    ("spacing", "side", "words"),
    [([7, 7], 256, "longer than a gantry"), ([0.07, 0.07], 256, "less than a body"),
     ([0.7, 7], 48, "which no scanner gives"), ([0.7, 0.7], 256, "")],
)  # fmt: skip
def test_millimetres_that_no_scanner_gives_are_told(
    spacing: list[float], side: int, words: str
) -> None:
    told = warned(ct_file(stored_values(side, side), PixelSpacing=spacing))
    assert words in told if words else told == ""


# -- who it is ---------------------------------------------------------------------------------


def patient(raw: bytes, charset: Any = None) -> tuple[str, bool]:
    found = read(with_raw("PatientID", raw, SpecificCharacterSet=charset), "x")[0]
    return found.patient_id, any("PatientID cannot be read" in text for text in found.warnings)


def test_two_patients_whose_names_cannot_be_read_stay_two() -> None:
    first, second = (patient(name.encode("latin-1"), "ISO_IR 192") for name in ("Mü1", "Mö1"))
    assert first[0] != second[0]
    assert first[1] and second[1]


@pytest.mark.parametrize(
    ("raw", "charset"),
    [("Mü1".encode(), "ISO_IR 192"), ("Mü1".encode(), None), (b"M\xfc1", "ISO_IR 100"),
     (b" M\xfc1 \0", "ISO_IR 100"), ("Mu\u0308".encode() + b"1", "ISO_IR 192")],
)  # fmt: skip
def test_one_patient_written_in_several_ways_stays_one(raw: bytes, charset: str | None) -> None:
    assert patient(raw, charset) == ("Mü1", False)


def test_a_patient_id_with_other_bytes_in_it_is_refused_without_quoting_it() -> None:
    with pytest.raises(Corrupt, match=r"PatientID .* damaged") as refusal:
        read(with_raw("PatientID", b"SECRET\0\x10\0LO"), "x")
    assert "SECRET" not in str(refusal.value)


# -- pictures ----------------------------------------------------------------------------------

PICTURE = (np.add.outer(np.arange(64), np.arange(96)) * 1.5).astype(np.uint8)


def saved(picture: Image.Image, form: str = "PNG", **more: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, form, **more)
    return stream.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_a_picture_that_lacks_rows_is_refused() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 96)).astype(np.uint8)
    jpeg = saved(Image.fromarray(noise), "JPEG")
    rows = b"".join(b"\0" + row.tobytes() for row in PICTURE[:30])
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 96, 64, 8, 0, 0, 0, 0))
    png = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    for data in (png, jpeg[: len(jpeg) // 2] + b"\xff\xd9"):
        with pytest.raises(Corrupt, match="ends before its last pixel"):
            read(data, "x")


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK"])
def test_a_whole_picture_of_any_kind_is_read(form: str, mode: str) -> None:
    if (form, mode) in (("JPEG", "RGBA"), ("JPEG", "P"), ("PNG", "CMYK")):
        pytest.skip("that format has no such pictures")
    more = {"progressive": True} if form == "JPEG" else {}
    (found,) = read(saved(Image.fromarray(PICTURE).convert(mode), form, **more), "x")
    assert found.size == (64, 96)
    assert len(found.warnings) == 1


@pytest.mark.parametrize("deep", [False, True])
def test_transparent_grey_is_black_and_told(deep: bool) -> None:
    picture = PICTURE.astype(np.uint16) * 257 if deep else PICTURE
    clear = int(picture[5, 5])
    png = saved(Image.fromarray(picture))
    (found,) = read(png[:33] + chunk(b"tRNS", struct.pack(">H", clear)) + png[33:], "x")
    assert not found.pixels[picture == clear].any()
    assert np.array_equal(found.pixels[picture != clear], picture[picture != clear])
    assert any("transparent" in text for text in found.warnings)


def test_colour_over_a_picture_is_told() -> None:
    marked = np.dstack([PICTURE] * 3)
    marked[10:20, 10:40] = (255, 0, 0)
    for form in ("PNG", "JPEG"):
        assert "in colour" in warned(saved(Image.fromarray(marked), form))
        assert "in colour" not in warned(saved(Image.fromarray(np.dstack([PICTURE] * 3)), form))
