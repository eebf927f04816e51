"""Planted leaks must be found and a neutral set must stay green."""

import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from scipy import ndimage

from ml.leak_audit import audit as leaks
from ml.leak_audit.audit import Encoded, LeakAuditError

N = 40
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
    encode: Callable[[Pixels], bytes] = png,
) -> list[Encoded]:  # fmt: skip
    return [Encoded(encode(change(scene(k))), f"{k}.png") for k in range(first, first + N)]


@pytest.fixture(scope="module")
def real() -> list[Encoded]:
    return pictures(0)


def verdicts(audit: leaks.Audit) -> dict[str, str]:
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


@pytest.mark.parametrize("start", [1000, 2000, 3000])
def test_a_neutral_set_is_green(real: list[Encoded], start: int) -> None:
    found = leaks.audit(real, pictures(start))
    assert found.verdict == "green" and not found.blocks
    assert verdicts(found) == {}
    assert found.smallest_auc_found is not None and 0.7 < found.smallest_auc_found < 0.9


def test_a_neutral_set_with_compression_and_other_names_is_green() -> None:
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


def stretched(pixels: Pixels) -> Pixels:
    low, high = int(pixels.min()), int(pixels.max())
    return ((pixels.astype(float) - low) / (high - low) * 255).round().astype(np.uint8)


def comb(pixels: Pixels) -> Pixels:
    """Every third grey value pushed onto its neighbour."""
    return np.where(pixels % 3 == 0, pixels + 1, pixels).astype(np.uint8)


def deep(pixels: Pixels) -> bytes:
    return png(pixels.astype(np.uint16) * 257)


def colour(pixels: Pixels) -> bytes:
    return png(np.repeat(pixels[:, :, None], 3, axis=2))


RENDERING = {
    "file bytes": ("file bytes", {"encode": lambda p: png(p, compress_level=1)}),
    "text chunk": ("metadata keys", {"encode": text_chunk}),
    "resolution chunk": ("metadata keys", {"encode": lambda p: png(p, dpi=(96, 96))}),
    "16 bit": ("bit depth", {"encode": deep}),
    "colour": ("channels", {"encode": colour}),
    "format": ("format", {"encode": jpeg}),
    "compression": ("coding of the pixels", {"encode": lambda p: png(p, compress_level=9)}),
    "size": ("width", {"change": lambda p: np.pad(p, ((0, 0), (0, 1)), mode="edge")}),
    "stretched contrast": ("histogram gaps", {"change": stretched}),
    "lowest bit cleared": ("grey step", {"change": lambda p: (p & 0xFE).astype(np.uint8)}),
    "comb": ("histogram comb", {"change": comb}),
    "odd values": ("odd grey values", {"change": lambda p: np.where(
        (p % 2 == 0) & (np.indices(p.shape).sum(axis=0) % 3 > 0), p + 1, p).astype(np.uint8)}),
    "trailing bytes": ("bytes after the image", {"encode": lambda p: png(p) + b"fake"}),
}  # fmt: skip


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


CONTENT = {
    "brighter": ("mean", lambda p: np.clip(p.astype(int) + 12, 0, 255).astype(np.uint8)),
    "smoother": ("sharpness (Laplacian)", lambda p: ndimage.gaussian_filter(p, 0.7)),
    "noisier": ("noise", lambda p: np.clip(
        p + np.random.default_rng(int(p[0, 0])).normal(0, 12, p.shape), 0, 255).astype(np.uint8)),
    "dark corner": ("min", lambda p: np.where(np.add.outer(range(64), range(64)) < 3, 3, p)
                    .astype(np.uint8)),
    "frame": ("border mean", lambda p: np.pad(p[2:-2, 2:-2], 2, constant_values=90)),
    "checkerboard": ("checkerboard, period 2", lambda p: (
        np.clip(p.astype(int), 4, 250) + 3 * (np.indices(p.shape).sum(axis=0) % 2)
    ).astype(np.uint8)),
    "period of 4": ("checkerboard, period 4", lambda p: (
        np.clip(p.astype(int), 4, 250) + 6 * ((np.arange(64) % 4 == 0)[:, None])
    ).astype(np.uint8)),
    "earlier JPEG": ("blocks of 8", lambda p: np.asarray(Image.open(io.BytesIO(_rough(p))))),
    "clipped": ("share at the brightest value", lambda p: np.minimum(p, 140).astype(np.uint8)),
}  # fmt: skip


def _rough(pixels: Pixels) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=25)
    return out.getvalue()


@pytest.mark.parametrize("leak", CONTENT)
def test_a_planted_content_leak_is_amber_and_blocks_nothing(real: list[Encoded], leak: str) -> None:
    feature, change = CONTENT[leak]
    found = leaks.audit(real, pictures(1000, change))
    assert verdicts(found).get(feature) == "amber", verdicts(found)
    content = {f.name for f in found.features if f.group == "content"} | {"classifier"}
    assert all(colour == "amber" for name, colour in verdicts(found).items() if name in content)
    assert found.verdict == "amber" and not found.blocks, verdicts(found)


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
            own = z + sign * 0.35
            spread = (pixels - pixels.mean()) * (1 + 0.25 * np.tanh(z))
            return np.clip(128 + 20 * own + spread, 0, 255).astype(np.uint8)

        return change

    found = leaks.audit(pictures(0, linked(-1)), pictures(1000, linked(1)))
    assert found.classifier.verdict == "amber"
    mean = next(f for f in found.features if f.name == "mean")
    assert mean.verdict == "green" and found.classifier.auc > mean.auc + 0.1


def test_a_small_set_is_not_condemned_by_noise_but_a_perfect_leak_is_still_found() -> None:
    few = pictures(0)[:8]
    assert leaks.audit(few, pictures(1000)[:8]).verdict == "green"
    assert leaks.audit(few, pictures(1000, encode=colour)[:8]).verdict == "red"


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
        assert feature["group"] in ("rendering", "content")
        assert 0.5 <= feature["auc"] <= 1
    assert {"auc", "low", "high", "verdict"} <= set(again["classifier"])
    assert "metadata keys" in again["text"]


def test_a_record_comes_back_from_its_json(real: list[Encoded]) -> None:
    record = leaks.audit(real, pictures(1000))
    assert leaks.from_json(json.loads(json.dumps(record.to_json()))) == record
    assert leaks.from_json(record.to_json() | {"version": 1}) == record
    none = leaks.NotAudited("not possible", "too few", leaks.Images(1, 0))
    assert leaks.from_json(json.loads(json.dumps(none.to_json()))) == none
    assert set(none.to_json()) == {"verdict", "text", "n", "features", "classifier"}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"version": 2}, "version 2"),
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
        leaks.from_json(record | change)
