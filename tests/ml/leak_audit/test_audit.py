"""Planted leaks must be found and a neutral set must stay green."""

import io
import json
import re
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from scipy import ndimage

from bench.planted import FAULTS, Fault
from ml.leak_audit import audit as leaks
from ml.leak_audit import record as records
from ml.leak_audit.rendering import Encoded, LeakAuditError

pytestmark = pytest.mark.long

N = 20
Pixels = np.ndarray


def scene(seed: int, size: int = 64) -> Pixels:
    """A grey blob on correlated noise, 8 bit."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] - size / 2
    center = rng.normal(0, 3, 2)
    blob = np.exp(-((y - center[0]) ** 2 + (x - center[1]) ** 2) / rng.uniform(60, 200))
    noise = ndimage.gaussian_filter(rng.normal(size=(size, size)), 0.8) * 40
    image = 120 + rng.normal(0, 8) + rng.uniform(-50, 50) * blob + noise
    return np.clip(np.round(image), 0, 255).astype(np.uint8)


def png(pixels: Pixels, **options: object) -> bytes:
    """The neutral encoder: no compression, no metadata."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", **{"compress_level": 0, **options})
    return out.getvalue()


def pictures(
    first: int, change: Callable[[Pixels], Pixels] = lambda p: p,
    encode: Callable[[Pixels], bytes] = png, count: int = N,
) -> list[Encoded]:  # fmt: skip
    return [Encoded(encode(change(scene(k))), f"{k}.png") for k in range(first, first + count)]


def planted(fault: Fault) -> Callable[[Pixels], Pixels]:
    return lambda pixels: fault(pixels, np.random.default_rng(int(pixels.sum())))


@pytest.fixture(scope="module")
def real() -> list[Encoded]:
    return pictures(0)


def verdicts(audit: records.Audit) -> dict[str, str]:
    found = {f.name: f.verdict for f in audit.features if f.verdict != "green"}
    if audit.classifier.verdict != "green":
        found["classifier"] = audit.classifier.verdict
    return found


def test_too_few_or_broken_images_are_refused(real: list[Encoded]) -> None:
    with pytest.raises(LeakAuditError, match="1 synthetic images"):
        leaks.audit(real, pictures(100)[:1])
    for data, message in ((b"", "empty"), (b"no image", "not a readable image"),
                          (real[0].data[:3000], "broken.png")):  # fmt: skip
        with pytest.raises(LeakAuditError, match=message):
            leaks.audit([*real, Encoded(data, "broken.png")], real)


def test_folders_that_are_absent_or_the_same_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LeakAuditError, match="not a folder"):
        leaks.audit_folders(tmp_path / "a", tmp_path)
    with pytest.raises(LeakAuditError, match="same folder"):
        leaks.audit_folders(tmp_path, tmp_path)


def test_a_neutral_set_is_green_and_names_no_image(real: list[Encoded]) -> None:
    found = leaks.audit(real, pictures(1000))
    assert found.verdict == "green" and not found.blocks
    assert verdicts(found) == {} and found.coloured() == {}
    assert found.smallest_auc_found is not None and 0.8 < found.smallest_auc_found < 0.95


def test_a_neutral_set_with_compression_is_green() -> None:
    def packed(pixels: Pixels) -> bytes:
        return png(pixels, compress_level=6)

    assert leaks.audit(pictures(0, encode=packed), pictures(1000, encode=packed)).verdict == "green"


def text_chunk(pixels: Pixels) -> bytes:
    note = PngImagePlugin.PngInfo()
    note.add_text("Software", "generator")
    return png(pixels, pnginfo=note)


def jpeg(pixels: Pixels) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=95)
    return out.getvalue()


def comb(pixels: Pixels) -> Pixels:
    """Every third grey value pushed onto its neighbour."""
    return np.where(pixels % 3 == 0, pixels + 1, pixels).astype(np.uint8)


def deep(pixels: Pixels) -> bytes:
    return png(pixels.astype(np.uint16) * 257)


def colour(pixels: Pixels) -> bytes:
    return png(np.repeat(pixels[:, :, None], 3, axis=2))


def several_chunks(pixels: Pixels) -> bytes:
    """The same picture, its data in two chunks."""
    data = png(pixels)
    start = data.index(b"IDAT") - 4
    size = int.from_bytes(data[start : start + 4], "big")
    body, rest = data[start + 8 : start + 8 + size], data[start + 12 + size :]
    note = _chunk(b"tIME", bytes(7))
    return data[:start] + _chunk(b"IDAT", body[:99]) + _chunk(b"IDAT", body[99:]) + note + rest


def _chunk(name: bytes, body: bytes) -> bytes:
    code = zlib.crc32(name + body).to_bytes(4, "big")
    return len(body).to_bytes(4, "big") + name + body + code


RENDERING = {
    "text chunk": ("metadata keys", {"encode": text_chunk}),
    "16 bit": ("bit depth", {"encode": deep}),
    "colour": ("channels", {"encode": colour}),
    "format": ("format", {"encode": jpeg}),
    "compression": ("coding of the pixels", {"encode": lambda p: png(p, compress_level=9)}),
    "order of chunks": ("coding of the pixels", {"encode": several_chunks}),
    "size": ("width", {"change": lambda p: np.pad(p, ((0, 0), (0, 1)), mode="edge")}),
    "fewer levels": ("histogram gaps", {"change": planted(FAULTS["200 levels"])}),
    "lowest bit cleared": ("grey step", {"change": lambda p: (p & 0xFE).astype(np.uint8)}),
    "comb": ("histogram comb", {"change": comb}),
    "trailing bytes": ("bytes after the image", {"encode": lambda p: png(p) + b"fake"}),
}


@pytest.mark.parametrize("leak", RENDERING)
def test_a_planted_rendering_leak_is_red_and_blocks(real: list[Encoded], leak: str) -> None:
    feature, how = RENDERING[leak]
    found = leaks.audit(real, pictures(1000, **how))  # type: ignore[arg-type]
    assert found.verdict == "red" and found.blocks
    assert verdicts(found)[feature] == "red", verdicts(found)


def test_the_same_metadata_key_with_another_value_is_red() -> None:
    def tagged(name: str) -> Callable[[Pixels], bytes]:
        def encode(pixels: Pixels) -> bytes:
            note = PngImagePlugin.PngInfo()
            note.add_text("Source", name)
            return png(pixels, pnginfo=note)

        return encode

    found = leaks.audit(pictures(0, encode=tagged("abc")), pictures(1000, encode=tagged("xyz")))
    assert verdicts(found) == {"metadata values": "red"}


def test_a_picture_that_is_both_real_and_synthetic_is_red(real: list[Encoded]) -> None:
    found = leaks.audit(real, [*pictures(1000)[1:], Encoded(real[7].data, "copy.png")])
    assert verdicts(found)["exact duplicates"] == "red"
    assert found.duplicates.exact == (("7.png", "copy.png"),)


def test_a_generator_that_repeats_itself_exactly_is_red(real: list[Encoded]) -> None:
    some = pictures(1000)[: N // 2]
    assert verdicts(leaks.audit(real, [*some, *some]))["exact duplicates"] == "red"


def test_one_repeated_picture_is_amber(real: list[Encoded]) -> None:
    some = pictures(1000)
    assert verdicts(leaks.audit(real, [*some[1:], some[5]])) == {"exact duplicates": "amber"}


TRACES = {
    "border of 128": "constant border",
    "border replicated": "copied lines",
    "own mirror image": "its own mirror image",
    "JPEG 95": "8 × 8 grid of JPEG",
    "JPEG 90, grid at 3": "8 × 8 grid of JPEG",
    "enlarged from 48": "enlarged from 48 px",
    "first pixel black": "constant places",
}


@pytest.mark.parametrize("leak", TRACES)
def test_a_planted_trace_is_red_and_names_the_images(real: list[Encoded], leak: str) -> None:
    found = leaks.audit(real, pictures(1000, planted(FAULTS[leak])))
    [feature] = [f for f in found.features if f.name == TRACES[leak]]
    assert found.blocks and feature.verdict == "red", verdicts(found)
    told = {found.pictures[place] for place in feature.images}
    marked = {f"{k}.png" for k in range(1000, 1000 + N)}
    assert len(told & marked) >= 0.8 * N
    assert all(found.coloured()[name] == "red" for name in told)


def test_a_least_bit_and_a_sum_are_found_as_coins_that_always_fall_alike() -> None:
    real = pictures(0, count=36)
    for fault, feature in (
        ("least bit of the first pixel", "least bits by place"),
        ("sum a multiple of 7", "sums"),
    ):
        found = leaks.audit(real, pictures(1000, planted(FAULTS[fault]), count=36))
        assert verdicts(found) == {feature: "red"}


def test_the_same_fault_in_both_kinds_is_none() -> None:
    fault = planted(FAULTS["JPEG 75"])
    found = leaks.audit(pictures(0, fault), pictures(1000, fault))
    assert verdicts(found) == {}


def test_one_marked_picture_is_amber_and_named(real: list[Encoded]) -> None:
    framed = FAULTS["border of 128"](scene(7000), np.random.default_rng(0))
    found = leaks.audit(real, [*pictures(1000)[1:], Encoded(png(framed), "framed.png")])
    assert verdicts(found) == {"constant border": "amber"}
    assert found.coloured() == {"framed.png": "amber"}
    assert found.telling("framed.png") == ("constant border",)


def test_an_enlargement_of_real_images_is_how_they_are_cut_and_amber(real: list[Encoded]) -> None:
    enlarged = pictures(1000, planted(FAULTS["enlarged from 48"]))
    found = leaks.audit(enlarged, real)
    assert verdicts(found)["enlarged from 48 px"] == "amber" and not found.blocks


CONTENT: dict[str, tuple[str, Callable[[Pixels], Pixels]]] = {
    "brighter": ("mean", lambda p: np.clip(p.astype(int) + 25, 0, 255).astype(np.uint8)),
    "smoother": ("sharpness (Laplacian)", lambda p: ndimage.gaussian_filter(p, 0.7)),
    "grid": ("rows, columns and periods", planted(FAULTS["grid of 8 px, 2 levels"])),
    "wave": ("frequencies", planted(FAULTS["wave of one frequency, 2 levels"])),
    "watermark": ("common pattern", planted(FAULTS["watermark of 1 level"])),
    "one grey value": ("grey values", planted(FAULTS["grey value 100 absent"])),
    "clipped": ("share at the brightest value", lambda p: np.minimum(p, 140).astype(np.uint8)),
}


@pytest.mark.parametrize("leak", CONTENT)
def test_a_planted_content_leak_is_amber_and_blocks_nothing(real: list[Encoded], leak: str) -> None:
    feature, change = CONTENT[leak]
    found = leaks.audit(real, pictures(1000, change))
    assert verdicts(found).get(feature) == "amber", verdicts(found)
    assert found.verdict == "amber" and not found.blocks, verdicts(found)


def test_practice_is_audited_and_what_it_teaches_of_the_study_is_red(real: list[Encoded]) -> None:
    synthetic = pictures(1000)
    taught = Encoded(png(scene(1003)[:, ::-1]), "practice.png", practice=True)
    found = leaks.audit(real, [*synthetic, taught])
    assert found.n == records.Images(N, N, 1)
    assert verdicts(found) == {"exact duplicates": "red"}
    assert set(found.coloured()) == {"1003.png", "practice.png"}
    # two kinds of file among four pictures of practice: too few for a test, and plain
    kinds = ((5000, png), (5001, png), (6000, colour), (6001, colour))
    own = [Encoded(encode(scene(k)), f"{k}", practice=True) for k, encode in kinds]
    found = leaks.audit([*real, *own[:2]], [*synthetic, *own[2:]])
    assert verdicts(found)["channels"] in ("amber", "red")


def test_a_turned_copy_of_a_real_image_is_a_near_duplicate(real: list[Encoded]) -> None:
    pixels = scene(3)[:, ::-1].astype(int) + 1
    copy = Encoded(png(np.rot90(pixels).astype(np.uint8)), "turned.png")
    found = leaks.audit(real, [*pictures(1000)[1:], copy])
    assert found.duplicates.near == (("3.png", "turned.png"),)
    assert verdicts(found) == {"near duplicates": "amber"}


def test_what_only_several_features_together_tell_is_found_by_the_classifier() -> None:
    """Mean and contrast each alike in both groups, but tied to each other in one way or another."""

    def linked(sign: int) -> Callable[[Pixels], Pixels]:
        def change(pixels: Pixels) -> Pixels:
            rng = np.random.default_rng(int(pixels.sum()))
            z = rng.normal()
            spread = (pixels - pixels.mean()) * (1 + 0.25 * np.tanh(z))
            return np.clip(128 + 20 * (z + sign * 0.5) + spread, 0, 255).astype(np.uint8)

        return change

    found = leaks.audit(pictures(0, linked(-1), count=40), pictures(1000, linked(1), count=40))
    assert found.classifier.verdict == "amber"
    mean = next(f for f in found.features if f.name == "mean")
    assert found.classifier.auc > mean.auc + 0.1


def test_a_small_set_is_not_condemned_by_noise_but_a_perfect_leak_is_still_found() -> None:
    few = pictures(0, count=8)
    assert leaks.audit(few, pictures(1000, count=8)).verdict == "green"
    assert leaks.audit(few, pictures(1000, encode=colour, count=8)).verdict == "red"
    framed = pictures(1000, planted(FAULTS["border of 128"]), count=8)
    assert leaks.audit(few, framed).verdict == "red"


def dicom(pixels: Pixels, seed: int, synthetic: bool) -> bytes:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(seed)])
    data = FileDataset("x", {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    data.Modality, data.Rows, data.Columns = "CT", *pixels.shape
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 12, 11
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.PixelRepresentation = 0
    if synthetic:
        data.SyntheticData = "YES"
    data.PixelData = pixels.astype(np.uint16).tobytes()
    out = io.BytesIO()
    data.save_as(out, enforce_file_format=True)
    return out.getvalue()


@pytest.mark.parametrize("marked", [False, True])
def test_dicom_folders_are_audited_and_the_mark_of_synthetic_data_is_found(
    tmp_path: Path, marked: bool
) -> None:
    for folder, first in (("real", 0), ("synthetic", 1000)):
        (tmp_path / folder).mkdir()
        for k in range(first, first + 15):
            mark = marked and folder == "synthetic"
            (tmp_path / folder / f"{k}.dcm").write_bytes(dicom(scene(k), k, mark))
        (tmp_path / folder / "manifest.json").write_text("{}")
    found = leaks.audit_folders(tmp_path / "real", tmp_path / "synthetic")
    assert found.skipped == ("manifest.json", "manifest.json")
    assert found.verdict == ("red" if marked else "green")
    if marked:
        keys = next(f for f in found.features if f.name == "metadata keys")
        assert keys.verdict == "red" and "SyntheticData" in keys.detail


def test_the_record_is_json_of_the_agreed_shape(real: list[Encoded]) -> None:
    record = leaks.audit(real, pictures(1000, encode=text_chunk)).to_json()
    again = json.loads(json.dumps(record, allow_nan=False))
    assert again["verdict"] == "red"
    for feature in again["features"]:
        assert {"name", "group", "auc", "low", "high", "verdict"} <= set(feature)
        assert feature["group"] in ("rendering", "traces", "content")
        assert 0.5 <= feature["auc"] <= 1
    assert {"auc", "low", "high", "verdict"} <= set(again["classifier"])
    assert "metadata keys" in again["text"]


def test_a_record_comes_back_from_its_json(real: list[Encoded]) -> None:
    record = leaks.audit(real, pictures(1000))
    assert records.from_json(json.loads(json.dumps(record.to_json()))) == record
    wrong = record.to_json()
    wrong["features"][0]["images"] = [999]
    with pytest.raises(LeakAuditError, match="images it lacks"):
        records.from_json(wrong)
    none = records.NotAudited("not possible", "too few", records.Images(1, 0))
    assert records.from_json(json.loads(json.dumps(none.to_json()))) == none
    assert set(none.to_json()) == {"verdict", "text", "n", "features", "classifier"}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"version": 3}, "version 3"),
        ({"mood": "good"}, "mood: nothing of that name"),
        ({"verdict": "blue"}, "one of green, amber, red"),
        ({"n": {"real": 1}}, "n.synthetic is missing"),
    ],
)
def test_json_that_is_no_record_is_refused(
    real: list[Encoded], change: dict[str, object], told: str
) -> None:
    record = leaks.audit(real, pictures(1000)).to_json()
    with pytest.raises(LeakAuditError, match=re.escape(told)):
        records.from_json(record | change)
