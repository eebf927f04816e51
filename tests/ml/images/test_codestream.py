"""Compressed frames: right or refused, whatever surrounds them."""

from __future__ import annotations

import io
import struct

import imagecodecs
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless

from ml.images import codestream
from ml.images.ct_slice import Corrupt
from ml.images.dicom import read
from tests.ml.dicom_files import ct_dataset, ct_file, encoded, stored_values, stream


def with_frame(frame: bytes, syntax: str, values: np.ndarray, **changes: object) -> bytes:
    """A slice that holds this very frame."""
    dataset = ct_dataset(values, **changes)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].is_undefined_length = True
    return encoded(dataset)


SYNTAXES = [JPEGLSLossless, JPEG2000Lossless, JPEGLosslessSV1]


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("padding", [b"", b"\x00", b"\xff", b"\x00\x00", b"\xff\xff\xff"])
def test_padding_after_the_end_marker_is_left_out(syntax: str, padding: bytes) -> None:
    values = stored_values().clip(0).astype(np.uint16)
    (found,) = read(with_frame(stream(syntax, values) + padding, syntax, values), "x")
    assert np.array_equal(found.pixels, values.astype(np.int16) - 1024)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_frame_without_its_end_marker_is_refused(syntax: str) -> None:
    values = stored_values().clip(0).astype(np.uint16)
    for cut in (2, 3, 40):
        with pytest.raises(Corrupt):
            read(with_frame(stream(syntax, values)[:-cut], syntax, values), "x")


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_bytes_after_the_end_marker_that_are_no_padding_are_refused(syntax: str) -> None:
    values = stored_values().clip(0).astype(np.uint16)
    with pytest.raises(Corrupt):
        read(with_frame(stream(syntax, values) + b"abcd", syntax, values), "x")


@pytest.mark.parametrize("signed", [True, False])
def test_a_jpeg_2000_sign_that_the_header_denies_is_refused(signed: bool) -> None:
    values = stored_values()
    values = values if signed else values.clip(0).astype(np.uint16)
    frame = stream(JPEG2000Lossless, values)
    with pytest.raises(Corrupt, match="PixelRepresentation"):
        read(with_frame(frame, JPEG2000Lossless, values, PixelRepresentation=int(not signed)), "x")


@pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEG2000Lossless])
def test_signed_values_survive_every_coding(syntax: str) -> None:
    values = stored_values() - 1024
    assert values.min() < 0
    (found,) = read(ct_file(values, syntax, RescaleIntercept="0"), "x")
    assert np.array_equal(found.pixels, values)


def test_signed_values_in_lossless_jpeg_are_told_by_the_header() -> None:
    values = stored_values() - 1024
    frame = stream(JPEGLosslessSV1, values.view(np.uint16))
    (found,) = read(with_frame(frame, JPEGLosslessSV1, values, RescaleIntercept="0"), "x")
    assert np.array_equal(found.pixels, values)


def test_a_signed_frame_with_fewer_bits_than_stored_is_refused() -> None:
    values = stored_values().clip(0, 4095).astype(np.uint16)
    frame = imagecodecs.jpeg8_encode(values, lossless=True, bitspersample=12)
    announced = codestream.header(frame)
    assert announced is not None
    assert announced.precision == 12
    with pytest.raises(Corrupt, match="BitsStored"):
        read(with_frame(frame, JPEGLosslessSV1, values, PixelRepresentation=1), "x")


def test_an_announced_size_is_refused_before_anything_is_reserved() -> None:
    values = np.zeros((64, 64), np.int16)
    data = ct_file(values, JPEG2000Lossless)
    frame = next(generate_frames(dcmread(io.BytesIO(data)).PixelData, number_of_frames=1))
    at = frame.index(b"\xff\x4f\xff\x51")
    tiny_tiles = bytearray(frame)
    tiny_tiles[at + 24 : at + 32] = struct.pack(">II", 1, 1)
    announced = codestream.header(bytes(tiny_tiles))
    assert announced is not None
    assert announced.tiles == 4096
    wide = bytearray(frame)
    wide[at + 8 : at + 16] = struct.pack(">II", 4_000_000_000, 4_000_000_000)
    with pytest.raises(codestream.StreamError, match="tiles"):
        codestream.decode(bytes(wide), announced._replace(tiles=10**6))


def test_damaged_streams_give_an_image_or_a_refusal() -> None:
    rng = np.random.default_rng(5)
    values = stored_values().clip(0).astype(np.uint16)
    outcomes = {True: 0, False: 0}
    for turn in range(600):
        syntax = SYNTAXES[turn % 3]
        frame = bytearray(stream(syntax, values))
        for _ in range(rng.integers(1, 6)):
            frame[rng.integers(len(frame))] = rng.integers(256)
        try:
            (found,) = read(with_frame(bytes(frame), syntax, values), "x")
        except Corrupt:
            outcomes[False] += 1
        else:
            outcomes[True] += 1
            assert found.pixels.shape == values.shape
    assert min(outcomes.values()) > 20
