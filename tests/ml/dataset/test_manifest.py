"""A data set on disk: what it refuses, and that its ROIs are those of the whole images."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ml.dataset.manifest import Finding, Line, Manifest, ManifestError, stored
from ml.dataset.writing import write
from ml.images import roi
from ml.images.ct_slice import CTSlice
from ml.images.roi import Box, View
from ml.lesion import LIVER
from ml.progress import OutputError

WINDOW = (-150.0, 250.0)


def ct_slice(seed: int = 0, phantom: bool = False, side: int = 160) -> CTSlice:
    pixels = np.random.default_rng(seed).integers(-300, 400, (side, side)).astype(np.int16)
    return CTSlice(pixels, True, (0.7, 0.8), phantom=phantom)


def roi_image(seed: int = 0) -> CTSlice:
    pixels = np.random.default_rng(seed).integers(0, 65536, (64, 64)).astype(np.uint16)
    return CTSlice(pixels, False)


def findings(count: int = 6, phantom: bool = False) -> list[Finding]:
    return [
        Finding.on(
            ct_slice(i, phantom),
            Box(40 + i, 60.3, 30, 22.7),
            lesion_class=LIVER.keys[i % 3],
            patient=f"p{i}",
            file=f"{i}.dcm",
        )
        for i in range(count)
    ]


def made(tmp_path: Path, given: list[Finding], **more: object) -> Manifest:
    for step in write(given, len(given), LIVER, tmp_path / "data", **more):  # type: ignore[arg-type]
        assert step.done <= step.total
    return Manifest.load(tmp_path / "data")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: [replace(f[0], patient="p1", lesion_class="cyst"), *f[1:]], "p1.*in classes"),
        (lambda f: [*f, replace(f[0], patient="other")], "Patients other, p0 have the same image"),
        (lambda f: [*f, f[0]], r"A lesion is listed 2 times \(0.dcm, box "),
        (lambda f: [x for x in f if x.lesion_class != "cyst"], "'cyst' has no ROI"),
        (lambda f: [replace(f[0], lesion_class="bone"), *f[1:]], "'bone'"),
        (lambda f: [*f, *[replace(x, kind="phantom") for x in findings(1)]], "never share"),
        (lambda f: [replace(f[0], box=Box(150, 150, 30, 30)), *f[1:]], "0.dcm.*outside"),
        (lambda f: [replace(f[0], box=None), *f[1:]], "needs a box"),
        (lambda f: [replace(f[0], pixels=np.zeros((160, 160), np.int16)), *f[1:]], "constant"),
        (
            lambda f: [replace(f[0], pixels=np.full((160, 160), np.nan, np.float32)), *f[1:]],
            "NaN",
        ),
    ],
)
def test_what_does_not_hold_together_is_refused_and_nothing_written(
    tmp_path: Path, change: object, words: str
) -> None:
    with pytest.raises(ManifestError, match=words):
        made(tmp_path, change(findings()))  # type: ignore[operator]
    assert list(tmp_path.iterdir()) == []


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    given = findings()
    given[0] = replace(given[0], box=Box(150, 150, 30, 30))
    given += [replace(given[1], patient="x"), replace(given[2], lesion_class="cyst")]
    with pytest.raises(ManifestError) as refusal:
        made(tmp_path, given, faults=["Row 3: no class.", "Row 9: no class.", "Row 4: unread."])
    told = str(refusal.value)
    for words in ("Rows 3, 9 (2 in all): no class", "Row 4: unread", "outside", "p1, x", "p2"):
        assert words in told


def test_an_existing_folder_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.txt").write_text("keep")
    with pytest.raises(OutputError, match="not an empty folder"):
        made(tmp_path, findings())
    assert (tmp_path / "data" / "mine.txt").read_text() == "keep"


def test_a_full_disk_is_told_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("numpy.save", full)
    with pytest.raises(OutputError, match="no space left"):
        made(tmp_path, findings())
    assert list(tmp_path.iterdir()) == []


def test_stopping_half_way_leaves_nothing(tmp_path: Path) -> None:
    steps = write(findings(40), 40, LIVER, tmp_path / "data")
    next(steps)
    steps.close()
    assert list(tmp_path.iterdir()) == []


def test_patients_of_several_classes_can_be_accepted(tmp_path: Path) -> None:
    given = findings()
    given[3] = replace(given[3], patient="p1")
    manifest = made(tmp_path, given, mixed_patients=True)
    assert manifest.mixed_patients
    assert manifest.problems() == ()
    assert len(manifest.patients) == 5


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("lines.jsonl", '"patient": "p0"', '"patient": "p9"', "digest does not match"),
        ("manifest.json", '"kind": "calibrated"', '"kind": "phantom"', "digest does not match"),
        ("manifest.json", '"kind": "calibrated"', '"kind": "x"', "kind"),
        ("lines.jsonl", '"id": "0001"', '"id": "../0001"', "impossible id"),
        ("lines.jsonl", '"box": [', '"bux": [', "damaged"),
        ("lines.jsonl", "{", "", "not JSON"),
        ("manifest.json", '"scheme": {', '"schema": {', "damaged"),
    ],
)
def test_an_altered_data_set_is_refused(
    tmp_path: Path, file: str, old: str, new: str, words: str
) -> None:
    made(tmp_path, findings())
    edit(tmp_path / "data" / file, old, new)
    with pytest.raises(ManifestError, match=words):
        Manifest.load(tmp_path / "data")


def test_an_altered_missing_or_pickled_context_is_refused(tmp_path: Path) -> None:
    manifest = made(tmp_path, findings())
    path = manifest.context_path(manifest.lines[2])
    pixels = np.load(path)
    pixels[0, 0] += 1
    np.save(path, pixels)
    with pytest.raises(ManifestError, match="altered"):
        Manifest.load(manifest.root)
    np.save(path, np.array([{}]), allow_pickle=True)
    with pytest.raises(ManifestError, match="damaged"):
        Manifest.load(manifest.root)
    path.unlink()
    with pytest.raises(ManifestError, match="missing"):
        Manifest.load(manifest.root)


def test_a_folder_without_a_data_set_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="python -m ml prepare"):
        Manifest.load(tmp_path)


@pytest.mark.parametrize("phantom", [False, True])
def test_rois_are_those_of_the_whole_slices_in_every_view(tmp_path: Path, phantom: bool) -> None:
    given = findings(phantom=phantom)
    manifest = made(tmp_path, given)
    assert manifest.kind == ("phantom" if phantom else "calibrated")
    assert {line.source for line in manifest.lines} == {"phantom" if phantom else "real"}
    views = [View(), View(30, True, False, (4, -4), 0.4), View(shift_px=(-2.5, 1))]
    for index, line in enumerate(manifest.lines):
        for view in views:
            expected = roi.make(ct_slice(index, phantom), line.box, WINDOW, view)
            assert np.array_equal(manifest.roi(line, WINDOW, view), expected.pixels)
    assert manifest.rois(WINDOW).shape == (6, 64, 64)
    assert manifest.lines[0].diameter_mm == pytest.approx(24)


def test_an_roi_image_stays_itself(tmp_path: Path) -> None:
    given = [
        Finding.on(roi_image(i), None, lesion_class=LIVER.keys[i % 3], patient=f"p{i}", file="f")
        for i in range(3)
    ]
    manifest = made(tmp_path, given)
    assert manifest.kind == "uncalibrated"
    for index, line in enumerate(manifest.lines):
        assert not line.surroundings
        expected = roi.make(roi_image(index), None, WINDOW).pixels
        assert np.array_equal(manifest.roi(line, WINDOW), expected)
        turned = View(angle_deg=20, tissue=0.3)
        expected = roi.make(roi_image(index), None, WINDOW, turned).pixels
        assert np.array_equal(manifest.roi(line, WINDOW, turned), expected)


def test_a_synthetic_roi_keeps_its_values_and_its_seed(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).uniform(-1, 1, (3, 64, 64)).astype(np.float32)
    given = [
        Finding(pixels[i], "phantom", LIVER.keys[i], f"s{i}", "gan", source="synthetic", seed=i)
        for i in range(3)
    ]
    manifest = made(tmp_path, given)
    np.testing.assert_allclose(manifest.rois(WINDOW), pixels, atol=1e-6)
    assert [line.seed for line in manifest.lines] == [0, 1, 2]
    with pytest.raises(ManifestError, match="NaN"):
        bad = replace(given[0], pixels=np.full((64, 64), np.nan, np.float32))
        list(write([bad], 1, LIVER, tmp_path / "bad"))


def test_the_digest_covers_pixels_labels_and_scheme_but_not_the_place(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, again = made(tmp_path / "a", findings()), made(tmp_path / "b", findings())
    assert first.digest == again.digest
    brighter = findings()
    brighter[0] = replace(brighter[0], pixels=brighter[0].pixels + np.int16(1))
    (tmp_path / "c").mkdir()
    assert made(tmp_path / "c", brighter).digest != first.digest
    assert replace(first, kind="phantom").digest != first.digest
    assert replace(first, lines=first.lines[1:]).digest != first.digest


def test_a_saved_copy_is_the_same_data_set(tmp_path: Path) -> None:
    manifest = made(tmp_path, findings())
    part = replace(manifest, name="part", lines=manifest.lines[:4])
    part.save(tmp_path / "copy")
    copy = Manifest.load(tmp_path / "copy")
    assert copy.digest == part.digest
    assert copy.name == "part"
    assert np.array_equal(copy.rois(WINDOW), manifest.rois(WINDOW)[:4])


def test_a_line_survives_json(tmp_path: Path) -> None:
    for line in made(tmp_path, findings()).lines:
        assert Line.from_dict(json.loads(json.dumps(stored(line)))) == line
