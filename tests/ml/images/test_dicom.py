"""Files to images: refusals first, then Hounsfield units."""

from __future__ import annotations

import io
import os
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from ml.ground.errors import HepaticaError
from ml.images import dicom
from ml.images import picture as png
from ml.images.dicom import (
    Corrupt,
    DicomError,
    NoPixels,
    NotAnImage,
    NotCT,
    TooLarge,
    UnsupportedSyntax,
    read,
)
from tests.ml.dicom_files import ct_dataset, ct_file, encoded, enhanced_file, stored_values

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

DATA = os.environ.get("HEPATICA_TEST_DATA")
real = pytest.mark.skipif(not DATA, reason="HEPATICA_TEST_DATA is not set")

COMPRESSED = (RLELossless, JPEGLSLossless, JPEG2000Lossless)


def picture(array: np.ndarray, form: str = "PNG", mode: str | None = None) -> bytes:
    stream = io.BytesIO()
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(stream, form)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"file,class,patient\n", "text"),
        (b"<!doctype html>" * 40, "text"),
        (b"PK\x03\x04" + b"\0" * 200, "zip"),
        (b"%PDF-1.7", "PDF"),
        (b"GIF89a", "GIF"),
        (b"\x1f\x8b\x08\0", "NIfTI"),
        (bytes(range(256)) * 4, "neither"),
        (b"\x08\x00" + bytes(400), "neither"),
    ],
)
def test_what_is_no_image_is_refused_by_name(data: bytes, words: str) -> None:
    with pytest.raises(NotAnImage, match=words) as refusal:
        read(data, "scan.dcm")
    assert "scan.dcm" in str(refusal.value)


@pytest.mark.parametrize(
    ("kind", "changes", "words"),
    [
        (NotCT, {"Modality": "US", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.6.1"}, "US"),
        (NotCT, {"Modality": "MR", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.4"}, "MR"),
        (NotCT, {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "Secondary Capture.*PNG or JPEG"),
        (NotCT, {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "scout"),
        (NotCT, {"RescaleType": "HU_MOD"}, "HU_MOD"),
        (NotCT, {"RescaleType": "US", "ImageType": ["DERIVED", "PRIMARY", "RCBF"]}, "US.*RCBF"),
        (NotCT, {"ImageType": ["ORIGINAL", "PRIMARY", "SCOUT"]}, "scout"),
        (NoPixels, {"PixelData": None}, "no pixel data"),
        (UnsupportedSyntax, {"PhotometricInterpretation": "RGB"}, "colour"),
        (UnsupportedSyntax, {"SamplesPerPixel": 3}, "colour"),
        (UnsupportedSyntax, {"BitsAllocated": 32}, "32 bits"),
        (UnsupportedSyntax, {"BitsStored": 12}, "high bit"),
        (Corrupt, {"PixelData": b"\0" * 100}, "100 bytes"),
        (Corrupt, {"NumberOfFrames": 2}, "bytes"),
        (Corrupt, {"Rows": 0}, "0 pixels"),
        (Corrupt, {"RescaleSlope": "0"}, "Slope"),
        (TooLarge, {"Rows": 20000, "Columns": 20000}, "20000 × 20000.*4096"),
        (TooLarge, {"NumberOfFrames": 10**8}, "frames"),
    ],
)
def test_a_dicom_file_of_no_use_is_refused(
    kind: type[DicomError], changes: dict, words: str
) -> None:
    if "PixelData" in changes and changes["PixelData"] is None:
        dataset = ct_dataset()
        del dataset.PixelData
        data = encoded(dataset)
    else:
        data = ct_file(**changes)
    with pytest.raises(kind, match=words) as refusal:
        read(data, "slice 7")
    assert str(refusal.value).startswith("slice 7")


@pytest.mark.parametrize("missing", ["RescaleIntercept", "RescaleSlope"])
@pytest.mark.parametrize("signed", [True, False])
def test_values_without_slope_or_intercept_are_refused(missing: str, signed: bool) -> None:
    values = stored_values() if signed else stored_values().clip(0).astype(np.uint16)
    with pytest.raises(Corrupt, match=f"no {missing}"):
        read(ct_file(values, **{missing: None}), "x")


@pytest.mark.parametrize("number", ["53", "55", "102"])
def test_a_retired_or_foreign_transfer_syntax_is_refused_with_a_remedy(number: str) -> None:
    data = ct_file(syntax=JPEGLSLossless).replace(
        b"1.2.840.10008.1.2.4.80", f"1.2.840.10008.1.2.4.{number}".encode().ljust(22, b"\0")[:22]
    )
    with pytest.raises((UnsupportedSyntax, Corrupt)) as refusal:
        read(data, "x")
    if number != "102":
        assert "export it" in str(refusal.value)


@pytest.mark.parametrize("syntax", [None, ImplicitVRLittleEndian, *COMPRESSED])
def test_a_truncated_file_is_refused_wherever_it_ends(syntax: str | None) -> None:
    data = ct_file(syntax=syntax)
    for keep in np.linspace(1, len(data) - 9, 60).astype(int):
        with pytest.raises(DicomError):
            read(data[:keep], "x")


def test_a_compressed_frame_larger_than_its_header_says_is_refused_before_decoding() -> None:
    big = ct_file(np.zeros((512, 512), np.int16), JPEG2000Lossless)
    at = big.index(b"\xff\x4f\xff\x51")
    lied = bytearray(big)
    lied[at + 8 : at + 16] = struct.pack(">II", 60_000, 60_000)
    with pytest.raises(Corrupt, match="60000"):
        read(bytes(lied), "x")


def test_a_deflated_bomb_is_refused_before_it_is_unpacked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = ct_file(syntax=DeflatedExplicitVRLittleEndian)
    _, start = dicom._meta(data)
    pack = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = pack.compress(bytes(2**25)) + pack.flush()
    monkeypatch.setattr(dicom, "_MAX_INFLATED_BYTES", 2**24)
    with pytest.raises(TooLarge, match="unpacks"):
        read(data[:start] + bomb, "x")


def png_claiming(columns: int, rows: int) -> bytes:
    header = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + header
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + chunk
        + struct.pack(">I", zlib.crc32(chunk))
        + picture(np.zeros((8, 8), np.uint8))[33:]
    )


def test_a_picture_of_20000_by_20000_is_refused_from_its_header() -> None:
    with pytest.raises(TooLarge, match="20000 × 20000"):
        read(png_claiming(20000, 20000), "x.png")
    jpeg = bytearray(picture(np.zeros((8, 8), np.uint8), "JPEG"))
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = struct.pack(">HH", 20000, 20000)
    with pytest.raises(TooLarge):
        read(bytes(jpeg), "x.jpg")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack("!I", len(data)) + kind + data + struct.pack("!I", zlib.crc32(kind + data))


def plain_png(
    rows: bytes = (b"\0" + b"\x20" * 8) * 8, header: bytes = b"\x08\0\0\0\0", more: bytes = b""
) -> bytes:
    """8 × 8 pixels of whatever rows."""
    head = chunk(b"IHDR", struct.pack("!II", 8, 8) + header)
    return png.PNG + head + more + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_a_plain_picture_is_nothing_but_pixels_and_all_of_them() -> None:
    plain = plain_png()
    assert png.is_plain(plain, 64)
    assert read(plain, "x")[0].size == (8, 8)
    assert png.is_plain(picture(np.zeros((200, 250), np.uint8)), 256 * 256)
    assert png.is_plain(picture(np.zeros((64, 64), np.uint16)), 256 * 256)
    rows = (b"\0" + b"\x20" * 8) * 8
    for other in (
        plain_png(more=chunk(b"tEXt", b"a\0b")),
        plain_png(more=chunk(b"iCCP", b"a" * 100)),
        plain_png(rows[:-1]),
        plain_png(rows + b"\0"),
        plain_png(rows[:-9] + b"\5" + rows[-8:]),  # a filter that there is not
        plain_png(header=b"\x08\0\0\0\1"),  # in passes
        plain_png((b"\0" + b"\x20" * 24) * 8, b"\x08\2\0\0\0"),  # in colour
        plain_png(b"\0\0" * 8, b"\x01\0\0\0\0"),
        plain + b"more",
        plain[:-1],
        plain[:50],
        plain[:30],
        png.PNG,
        b"",
        plain.replace(b"IEND", b"IDAT"),
        plain[:41] + b"\xff" + plain[42:],
        picture(np.zeros((8, 8), np.uint8), mode="P"),
        picture(np.zeros((8, 8), np.uint8), "JPEG"),
    ):
        assert not png.is_plain(other, 64)
    assert not png.is_plain(plain, 63)


def test_the_words_of_a_refusal_hold_no_place_in_memory() -> None:
    header = b"\xff\xd8\xff\xc0\0\x0c\x08\0\x08\0\x08\x01\x01\x11\0\0"
    with pytest.raises(Corrupt, match="no picture can be made out in it"):
        read(header + b"\0" * 9 + b"\xff\xd9", "x.jpg")


def test_a_picture_that_is_cut_short_or_lies_is_refused() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
    for form in ("PNG", "JPEG"):
        data = picture(noise, form)
        for keep in np.linspace(4, len(data) - 20, 25).astype(int):
            with pytest.raises(DicomError):
                read(data[:keep], "x")
    with pytest.raises(Corrupt):
        read(png_claiming(64, 64), "x")


def test_any_damage_gives_an_image_or_a_refusal_never_another_error() -> None:
    rng = np.random.default_rng(11)
    noise = rng.integers(0, 256, (40, 48)).astype(np.uint8)
    files = [ct_file(syntax=syntax) for syntax in (None, ImplicitVRLittleEndian, *COMPRESSED)]
    files += [ct_file(syntax=DeflatedExplicitVRLittleEndian), picture(noise, "JPEG", "RGB")]
    files += [picture(noise, mode=mode) for mode in ("L", "P", "RGBA", "1")]
    outcomes = {True: 0, False: 0}
    for turn in range(1200):
        data = bytearray(files[turn % len(files)])
        match int(rng.integers(4)):
            case 0:
                data = data[: rng.integers(len(data))]
            case 1:
                for _ in range(rng.integers(1, 6)):
                    data[rng.integers(len(data))] = rng.integers(256)
            case 2:
                for _ in range(rng.integers(1, 20)):
                    data[rng.integers(min(len(data), 1400))] = rng.integers(256)
            case _:
                at = rng.integers(len(data))
                data = data[:at] + data[at + rng.integers(1, 50) :]
        try:
            slices = read(bytes(data), "x")
        except HepaticaError:
            outcomes[False] += 1
        else:
            outcomes[True] += 1
            assert all(item.pixels.ndim == 2 for item in slices)
    starts = (b"", bytes(128) + b"DICM", b"\x08\0\x05\0", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
    for _ in range(300):
        noise_bytes = rng.bytes(int(rng.integers(1, 2000)))
        for start in starts:
            with pytest.raises(HepaticaError):
                read(start + noise_bytes, "x")
    assert min(outcomes.values()) > 50


def test_no_decoder_is_used_that_a_damaged_stream_can_crash() -> None:
    before = set(sys.modules)
    for syntax in COMPRESSED:
        assert len(read(ct_file(syntax=syntax), "x")) == 1
    loaded = {name.split(".")[0] for name in set(sys.modules) - before}
    assert loaded.isdisjoint({"gdcm", "pylibjpeg", "libjpeg", "openjpeg", "rle"})


def test_running_out_of_memory_is_not_called_a_damaged_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def exhausted(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("ml.images.frame.ct_slice", exhausted)
    with pytest.raises(MemoryError):
        read(ct_file(), "x")


@pytest.mark.parametrize(
    "syntax",
    [
        None,
        ImplicitVRLittleEndian,
        DeflatedExplicitVRLittleEndian,
        ExplicitVRBigEndian,
        *COMPRESSED,
    ],
)
def test_every_lossless_syntax_gives_the_same_hounsfield_units(syntax: str | None) -> None:
    (ct_slice,) = read(ct_file(syntax=syntax), "x")
    assert ct_slice.calibrated
    assert ct_slice.pixels.dtype == np.int16
    assert np.array_equal(ct_slice.pixels, stored_values() - 1024)
    assert ct_slice.warnings == ()


def test_a_slice_carries_place_and_identity_but_no_private_words() -> None:
    (ct_slice,) = read(ct_file(), "x")
    assert ct_slice.spacing_mm == (0.7, 0.8)
    assert ct_slice.position_mm == pytest.approx(42.5)
    assert (ct_slice.instance_number, ct_slice.slice_thickness_mm, ct_slice.frame) == (7, 2.5, 1)
    assert ct_slice.patient_id == "P-1"
    assert ct_slice.sop_uid and ct_slice.series_uid and ct_slice.study_uid
    assert not ct_slice.phantom
    assert ct_slice.tags["KVP"] == "120"
    words = repr(ct_slice)
    for private in ("Nobody", "secret", "Somewhere", "20200101", "P-1"):
        assert private not in words


def test_our_phantom_is_known_as_such() -> None:
    changes = {"Manufacturer": "Hepatica", "ManufacturerModelName": "Phantom"}
    assert read(ct_file(**changes), "x")[0].phantom


def test_the_position_runs_along_the_normal_of_an_oblique_slice() -> None:
    changes = {
        "ImageOrientationPatient": [0, 1, 0, 0, 0, -1],
        "ImagePositionPatient": [-30, 5, 9],
    }
    assert read(ct_file(**changes), "x")[0].position_mm == pytest.approx(30)


def test_hounsfield_units_are_rounded() -> None:
    stored = np.array([[0, 1, 3], [10000, -10000, 2]], np.int16)
    changes = {"RescaleSlope": "2.5", "RescaleIntercept": "-1000"}
    assert read(ct_file(stored, **changes), "x")[0].pixels[0].tolist() == [-1000, -998, -992]


def test_values_beyond_what_ct_can_hold_are_refused_not_clipped() -> None:
    stored = np.array([[0, 1, 3], [10000, -10000, 2]], np.int16)
    with pytest.raises(Corrupt, match=r"2 pixels come to as much as 70000 HU.*RescaleSlope"):
        read(ct_file(stored, RescaleSlope="7", RescaleIntercept="0"), "x")


def test_padding_becomes_air_unless_it_could_be_tissue() -> None:
    stored = stored_values()
    stored[:3] = -2000
    assert (read(ct_file(stored, PixelPaddingValue=-2000), "x")[0].pixels[:3] == -1024).all()
    wrapped = ct_dataset(stored)
    wrapped.add_new("PixelPaddingValue", "US", 65536 - 2000)
    assert (read(encoded(wrapped), "x")[0].pixels[:3] == -1024).all()
    water = read(ct_file(PixelPaddingValue=1024), "x")[0].pixels
    assert np.array_equal(water, stored_values() - 1024)


def test_inverse_display_leaves_hounsfield_units_alone() -> None:
    (ct_slice,) = read(ct_file(PhotometricInterpretation="MONOCHROME1"), "x")
    assert np.array_equal(ct_slice.pixels, stored_values() - 1024)
    assert any("MONOCHROME1" in warning for warning in ct_slice.warnings)


def test_a_slice_without_spacing_is_taken_with_a_warning() -> None:
    (ct_slice,) = read(ct_file(PixelSpacing=None, ImagerPixelSpacing=[0.5, 0.5]), "x")
    assert ct_slice.spacing_mm is None
    assert any("spacing" in warning for warning in ct_slice.warnings)
    with pytest.raises(Corrupt, match="not square"):
        read(ct_file(PixelSpacing=None, PixelAspectRatio=["2", "1"]), "x")


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"LossyImageCompression": "01"}, "Lossy"), ({"BurnedInAnnotation": "YES"}, "burned-in")],
)
def test_what_may_mislead_is_told(changes: dict, words: str) -> None:
    assert any(words in warning for warning in read(ct_file(**changes), "x")[0].warnings)


@pytest.mark.parametrize("syntax", [None, *COMPRESSED])
def test_all_frames_of_a_multi_frame_file_are_read(syntax: str | None) -> None:
    stored = np.stack([stored_values(seed=seed) for seed in range(3)])
    slices = read(ct_file(stored, syntax), "x")
    assert [item.frame for item in slices] == [1, 2, 3]
    for item, values in zip(slices, stored, strict=True):
        assert np.array_equal(item.pixels, values - 1024)


def test_enhanced_ct_takes_units_and_place_from_the_functional_groups() -> None:
    stored = np.stack([stored_values(), stored_values()])
    data = enhanced_file(stored, [{"z": 5, "intercept": -1024}, {"z": 2, "intercept": -1000}])
    first, second = read(data, "x")
    assert (first.position_mm, second.position_mm) == (5, 2)
    assert np.array_equal(second.pixels - first.pixels, np.full((40, 48), 24))
    assert first.spacing_mm == (0.5, 0.6)
    assert first.slice_thickness_mm == 3
    with pytest.raises(Corrupt, match="functional groups"):
        read(enhanced_file(stored, [{"z": 5, "intercept": -1024}]), "x")


def test_a_file_without_preamble_is_read_where_it_makes_sense() -> None:
    data = ct_file(syntax=ImplicitVRLittleEndian)
    _, start = dicom._meta(data)
    (ct_slice,) = read(data[start:], "x")
    assert np.array_equal(ct_slice.pixels, stored_values() - 1024)


def test_a_file_whose_anonymiser_emptied_class_and_uid_is_read() -> None:
    dataset = ct_dataset()
    data = bytearray(encoded(dataset))
    uid = dataset.SOPInstanceUID.encode()
    at = data.rindex(uid)
    data[at : at + len(uid)] = b"\0" * len(uid)
    assert read(bytes(data), "x")[0].sop_uid == uid.decode()


def test_the_sop_instance_uid_is_found_without_decoding() -> None:
    dataset = ct_dataset(Rows=20000, Columns=20000)
    assert dicom.sop_instance_uid(encoded(dataset), "x") == dataset.SOPInstanceUID
    with pytest.raises(NotAnImage):
        dicom.sop_instance_uid(b"text", "x")


@pytest.mark.parametrize("bits", [8, 16])
def test_a_grey_png_comes_in_bit_equal_and_marked_uncalibrated(bits: int) -> None:
    dtype = np.uint8 if bits == 8 else np.uint16
    values = np.random.default_rng(0).integers(0, 2**bits, (30, 40)).astype(dtype)
    (ct_slice,) = read(picture(values), "x.dcm")
    assert np.array_equal(ct_slice.pixels, values)
    assert ct_slice.pixels.dtype == dtype
    assert not ct_slice.calibrated
    assert ct_slice.spacing_mm is None
    assert "Hounsfield" in ct_slice.warnings[0]


def test_colour_becomes_luminance_and_transparency_black() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (30, 40)).astype(np.uint8)
    for mode in ("RGB", "P", "RGBA", "LA"):
        assert np.array_equal(read(picture(grey, mode=mode), "x")[0].pixels, grey)
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 255
    assert (read(picture(red), "x")[0].pixels == 76).all()
    clear = np.full((4, 4, 4), 255, np.uint8)
    clear[:2, :, 3] = 0
    assert read(picture(clear), "x")[0].pixels[:, 0].tolist() == [0, 0, 255, 255]


def test_a_jpeg_comes_in_as_luminance() -> None:
    smooth = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8)
    for mode in ("L", "RGB"):
        (ct_slice,) = read(picture(smooth, "JPEG", mode), "x")
        assert not ct_slice.calibrated
        assert np.abs(ct_slice.pixels.astype(int) - smooth).max() <= 3


def frames_of(path: Path) -> bytes:
    dataset = pydicom.dcmread(path)
    return next(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1))


@real
def test_every_transfer_syntax_gives_the_same_hounsfield_units_or_is_refused_clearly() -> None:
    folder = Path(str(DATA)) / "dicom" / "transfer_syntaxes"
    reference = None
    refused = {}
    slices = {}
    for path in sorted(folder.iterdir()):
        try:
            (slices[path.name],) = read(path.read_bytes(), path.name)
        except DicomError as error:
            assert path.name in str(error)
            refused[path.name] = type(error)
        if "LittleEndianExplicit_" in path.name or ".1.2.1.dcm" in path.name:
            reference = slices[path.name]
    assert reference is not None
    retired = {name for name, kind in refused.items() if kind is UnsupportedSyntax}
    assert {name[-7:-4] for name in retired} == {".53", ".55"}
    others = {name for name, kind in refused.items() if kind is NotCT}
    assert others == {
        "CT0012.fragmented_no_bot_jpeg_baseline.51.dcm",  # a perfusion map in ml/100 ml/s
        "US-YBR_FULL_422-EVRLE.dcm",
        "no-pixel-data.dcm",
        "no-pixel-spacing.dcm",
    }
    assert len(slices) == 13
    worst = {"4.50": 70, "4.51": 40, "4.81": 1, "4.91": 6}
    for name, ct_slice in slices.items():
        difference = np.abs(ct_slice.pixels.astype(int) - reference.pixels).max()
        lossy = next((limit for end, limit in worst.items() if name.endswith(end + ".dcm")), 0)
        assert difference <= lossy, name
        assert any("Lossy" in warning for warning in ct_slice.warnings) == (lossy > 0), name
        assert ct_slice.spacing_mm == reference.spacing_mm


@real
def test_a_lossless_16_bit_jpeg_and_a_12_bit_jpeg_are_pictures_of_16_bits() -> None:
    folder = Path(str(DATA)) / "dicom" / "transfer_syntaxes"
    (twelve,) = folder.glob("CTImage*4.51.dcm")
    (sixteen,) = folder.glob("CTImage*4.70.dcm")
    for path in (twelve, sixteen):
        (ct_slice,) = read(frames_of(path), "frame.jpg")
        assert not ct_slice.calibrated
        assert ct_slice.pixels.dtype == np.uint16
        assert ct_slice.pixels.shape == (512, 512)
        assert ct_slice.pixels.max() > 10_000


@real
@pytest.mark.parametrize(
    ("folder", "count", "distance_mm"),
    [("ct_liver_j2k", 20, 2.0), ("ct_liver_series", 20, None), ("ct_liver_3slice", 3, 1.0)],
)
def test_the_real_series_are_read_in_order(
    folder: str, count: int, distance_mm: float | None
) -> None:
    slices = []
    for path in sorted((Path(str(DATA)) / "dicom" / folder).iterdir()):
        slices += read(path.read_bytes(), path.name)
    assert len(slices) == count
    assert len({item.series_uid for item in slices}) == 1
    assert len({item.sop_uid for item in slices}) == count
    places = sorted(item.position_mm for item in slices if item.position_mm is not None)
    steps = np.diff(places)
    assert steps.min() > 0.5
    assert np.ptp(steps) < 0.01
    if distance_mm:
        assert steps[0] == pytest.approx(distance_mm, abs=0.01)
    for item in slices:
        assert item.pixels.shape == (512, 512)
        assert not item.phantom
        tissue = item.pixels[(item.pixels > -200) & (item.pixels < 300)]
        assert 0 < np.median(tissue) < 150


@real
def test_all_26_pictures_of_liver_lesions_are_read() -> None:
    paths = sorted((Path(str(DATA)) / "ct_liver_lesions_jpg").rglob("*.jpg"))
    assert len(paths) == 26
    for path in paths:
        (ct_slice,) = read(path.read_bytes(), path.name)
        assert ct_slice.pixels.shape == (512, 512)
        assert not ct_slice.calibrated
        assert ct_slice.pixels.std() > 10
