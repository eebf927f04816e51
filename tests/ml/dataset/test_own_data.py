"""The researcher's own data, as people really have them: what works, and what is refused."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ml.__main__ import main
from ml.dataset import folds, inspect
from ml.dataset.about import About, AboutError
from ml.dataset.columns import Boxes
from ml.dataset.entries import Options
from ml.dataset.labels import mapping
from ml.dataset.manifest import Manifest, ManifestError
from ml.dataset.prepare import images
from ml.dataset.table import PrepareError
from ml.images import dicom, roi
from ml.images.greys import OfImage
from ml.images.roi import View
from ml.lesion import LIVER, LesionClass, LesionScheme
from ml.progress import OutputError, RunDir


def picture(path: Path, seed: int, rows: int = 72, columns: int = 66, bits: int = 8) -> None:
    """Blotches that differ from picture to picture, nowhere black."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(100, 200, (-(-rows // 8), -(-columns // 8)))
    pixels = coarse.repeat(8, 0).repeat(8, 1)[:rows, :columns]
    pixels = pixels if bits == 8 else pixels * 257
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8 if bits == 8 else np.uint16)).save(path)


def table(
    tmp_path: Path, header: str, row: str, count: int = 6, end: str = "\n", first: str = ""
) -> Path:
    """A folder with ``count`` pictures and a table whose rows are made by ``row``."""
    where, keys = tmp_path / "in", LIVER.keys
    for i in range(count):
        picture(where / "images" / f"{i}.png", i)
    lines = [header, *(row.format(i=i, key=keys[i % 3]) for i in range(count))]
    (where / "labels.csv").write_bytes((first + end.join(lines) + end).encode())
    return where


def made(where: Path, **options: object) -> Manifest:
    chosen = Options(**{"whole": True, **options})  # type: ignore[arg-type]
    out = where.parent / "data"
    list(images(where, None, out, chosen))
    return Manifest.load(out)


def refused(where: Path, **options: object) -> str:
    with pytest.raises(ManifestError) as refusal:
        made(where, **options)
    assert not (where.parent / "data").exists()
    return str(refusal.value)


# Tables.


@pytest.mark.parametrize(
    ("header", "row", "first"),
    [
        ("file|class|patient", "images/{i}.png|{key}|p{i}", ""),
        ("file;class;patient", "images/{i}.png;{key};p{i}", "sep=;\r\n"),
        ("file;class;patient", "images/{i}.png;{key};p{i}", "\ufeffsep=;\n"),
        ("file,class,patient,,,", "images/{i}.png,{key},p{i},,,", ""),
        ("file,class,patient", "images/{i}.png,{key},p{i},,", ""),
        ("filename,label,patient_id", "images/{i}.png,{key},p{i}", ""),
        ("Image Path,Diagnosis,Subject ID", "images/{i}.png,{key},p{i}", ""),
        ("file,class,patient", "images\\{i}.png,{key},p{i}", ""),
        ("file,class,patient", "C:\\Users\\me\\set\\images\\{i}.png,{key},p{i}", ""),
        ("file,class,patient", "/home/me/set/images/{i}.png,{key},p{i}", ""),
        ("file,class,patient", "./images/{i}.png,{key},p{i}", ""),
    ],
)
def test_tables_of_every_make_are_read(tmp_path: Path, header: str, row: str, first: str) -> None:
    manifest = made(table(tmp_path, header, row, first=first))
    assert [line.file for line in manifest.lines] == [f"images/{i}.png" for i in range(6)]
    assert [line.lesion_class for line in manifest.lines] == [*LIVER.keys] * 2
    assert [line.patient for line in manifest.lines] == [f"p{i}" for i in range(6)]
    whole_paths = "set" in row
    assert any("whole paths" in note for note in manifest.notes) == whole_paths


@pytest.mark.parametrize(
    ("header", "row", "words"),
    [
        ("file,label,diagnosis,patient", "images/{i}.png,{key},{key},p{i}", "--columns class="),
        ("file,class,pat", "images/{i}.png,{key},p{i}", "--columns patient=HEADER"),
        ("file,class,patient,", "images/{i}.png,{key},p{i},note", "without a name"),
        ("file,class,patient", "../{i}.png,{key},p{i}", "outside the folder"),
        ("file,class,patient", "C:\\other\\{i}.png,{key},p{i}", "outside the folder"),
        ("file,class,patient,box", 'images/{i}.png,{key},p{i},"5,5,20,20"', "leave one out"),
    ],
)
def test_what_may_be_two_things_is_asked(tmp_path: Path, header: str, row: str, words: str) -> None:
    assert words in refused(table(tmp_path, header, row))


def test_columns_and_tables_can_be_named(tmp_path: Path) -> None:
    where = table(tmp_path, "Bild,Befund,Nummer", "images/{i}.png,{key},p{i}")
    (where / "labels.csv").rename(where / "befunde.csv")
    named = {"file": "Bild", "class": "befund", "patient": "Nummer"}
    assert len(made(where, columns=named).lines) == 6
    (where / "other.csv").write_text("a,b\n1,2\n")
    (tmp_path / "again").mkdir()
    with pytest.raises(ManifestError, match="--table FILE"):
        list(images(where, None, tmp_path / "again" / "data", Options(columns=named)))
    with pytest.raises(ManifestError, match="no column 'Name' to be the file"):
        told = Options(columns={"file": "Name"}, table=where / "befunde.csv")
        list(images(where, None, tmp_path / "again" / "data", told))


# Classes.


def test_labels_are_mapped_and_left_out_as_told(tmp_path: Path) -> None:
    where = table(tmp_path, "file,class,patient", "images/{i}.png,{key},p{i}", 9)
    text = (where / "labels.csv").read_text()
    text = text.replace("metastasis", "Mets").replace("hemangioma", "0")
    (where / "labels.csv").write_text(text.replace("images/8.png,0", "images/8.png,unclear"))
    manifest = made(where, mapped=mapping("mets=metastasis, 0 = hemangioma,unclear="))
    assert manifest.scheme == LIVER
    assert manifest.counts() == {"cyst": 3, "metastasis": 3, "hemangioma": 2}
    assert any("Left out as told (--map): unclear (1)" in note for note in manifest.notes)


@pytest.mark.parametrize(
    ("mapped", "words"),
    [
        ("FNH=fnh", "no row has that class"),
        ("cyst=,metastasis=", "Every row has one class"),
        ("hemangioma=haemangioma", "may be one"),
    ],
)
def test_a_map_that_does_not_fit_is_refused(tmp_path: Path, mapped: str, words: str) -> None:
    where = table(tmp_path, "file,class,patient", "images/{i}.png,{key},p{i}")
    assert words in refused(where, mapped=mapping(mapped))


@pytest.mark.parametrize(
    ("labels", "keys"),
    [
        (("cyst", "HCC", "hemangioma"), ["cyst", "hemangioma", "hcc"]),
        (("grade 10", "grade 2", "grade 1"), ["grade_1", "grade_2", "grade_10"]),
        (("0", "1", "2"), ["class_0", "class_1", "class_2"]),
        (("Non-Solid", "sub solid", "solid"), ["non_solid", "solid", "sub_solid"]),
    ],
)
def test_a_scheme_is_made_of_the_labels(
    tmp_path: Path, labels: tuple[str, ...], keys: list[str]
) -> None:
    where = table(tmp_path, "file,class,patient", "images/{i}.png,{key},p{i}")
    text = (where / "labels.csv").read_text()
    for key, label in zip(LIVER.keys, labels, strict=True):
        text = text.replace(key, f"<{label}>")
    (where / "labels.csv").write_text(text.replace("<", "").replace(">", ""))
    scheme = made(where).scheme
    assert list(scheme.keys) == keys
    assert {entry.display for entry in scheme.classes} == set(labels)


@pytest.mark.parametrize("other", ["metastases", "cysts", "haemangioma"])
def test_two_spellings_of_a_class_are_asked_about(tmp_path: Path, other: str) -> None:
    where = table(tmp_path, "file,class,patient", "images/{i}.png,{key},p{i}")
    (where / "labels.csv").write_text(
        (where / "labels.csv").read_text().replace("5.png,hemangioma", f"5.png,{other}")
    )
    assert "may be one" in refused(where)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (("C+", "C-", "D"), "'C-' and 'C+' would both be 'c'"),
        (("-1", "0", "1"), "'1' and '-1' would both be 'class_1'"),
        (("囊肿", "转移", "cyst"), "would both be 'class'"),
        (("cyst", "metastasis", "cyst?"), '--map "cyst?=cyst"'),
        (("cyst?", "metastasis", "hemangioma"), '--map "cyst?=cyst"'),
        (("cyst", "a\x1b[31mb", "hemangioma"), "characters that nobody can read"),
        (("H\u00e4mangiom", "H\u00c3\u00a4mangiom", "D"), "would both be 'h_mangiom'"),
    ],
)
def test_classes_that_differ_in_more_than_writing_are_never_made_one(
    tmp_path: Path, labels: tuple[str, ...], words: str
) -> None:
    where = table(tmp_path, "file,class,patient", "images/{i}.png,{key},p{i}")
    text = (where / "labels.csv").read_text()
    for key, label in zip(LIVER.keys, labels, strict=True):
        text = text.replace(key, f"<{label}>")
    (where / "labels.csv").write_text(text.replace("<", "").replace(">", ""), "utf-8")
    assert words in refused(where)
    if "cyst?" in labels:
        scheme = LesionScheme("two", (LesionClass("cyst", "Cyst"), LesionClass("other", "Other")))
        with pytest.raises(ManifestError, match=r"'cyst\?' and 'cyst' would both be"):
            list(images(where, scheme, tmp_path / "data", Options(whole=True)))
        assert len(made(where, mapped={"cyst?": "cyst"}).scheme) == 3 - (labels[0] == "cyst")


def test_one_class_written_in_several_ways_is_one(tmp_path: Path) -> None:
    where = table(tmp_path, "file,class,patient", "images/{i}.png,{key},p{i}")
    ways = (
        "H\u00e4mangiom grob",
        "Ha\u0308mangiom  Grob",
        "h\u00e4mangiom-grob",
        "h\u00e4mangiom_grob",
    )
    rows = [f"images/{i}.png,{(*ways, 'cyst', 'cyst')[i]},p{i}" for i in range(6)]
    (where / "labels.csv").write_text("\n".join(["file,class,patient", *rows]), "utf-8")
    assert made(where).counts() == {"cyst": 2, "h_mangiom_grob": 4}


def test_a_file_whose_name_is_no_utf8_is_refused_before_anything_trains(tmp_path: Path) -> None:
    where = classes(tmp_path, "{n}.png")
    odd = os.fsdecode(b"L\xe4sion.png")
    (where / "Cyst" / "0.png").rename(where / "Cyst" / odd)
    told = refused(where, patients="image")
    assert "L\\udce4sion.png' is no UTF-8" in told and "1 problem:" in told
    with pytest.raises(OutputError, match="is no UTF-8"):
        list(images(where, None, tmp_path / odd, Options(whole=True, patients="image")))
    run = RunDir(tmp_path / "run")
    run.write_json("names.json", {"file": odd})
    assert run.read_json("names.json") == {"file": odd}


# Tables that lose rows.


@pytest.mark.parametrize(
    "row", ['images/{i}.png,{key},"p{i}', 'images/{i}.png,{key},p{i},"see', '"images/{i}.png,a,b']
)
def test_a_quotation_mark_that_nothing_closes_swallows_no_rows(tmp_path: Path, row: str) -> None:
    where = table(tmp_path, "file,class,patient,note", 'images/{i}.png,{key},p{i},5" wide')
    assert len(made(where).lines) == 6
    (tmp_path / "data").rename(tmp_path / "whole")
    text = (where / "labels.csv").read_text().splitlines()
    text[4] = row.format(i=3, key="cyst")
    (where / "labels.csv").write_text("\n".join(text))
    assert "row 5 cannot be read" in refused(where)


@pytest.mark.parametrize("name", ["labels.csv", "images/0.png"])
def test_a_pipe_is_not_waited_for(tmp_path: Path, name: str) -> None:
    where = table(tmp_path, "file,class,patient", "images/{i}.png,{key},p{i}")
    (where / name).unlink()
    os.mkfifo(where / name)
    assert "is a pipe or a device" in refused(where)


def test_a_pipe_among_arrays_is_not_waited_for(tmp_path: Path) -> None:
    where = tmp_path / "in"
    where.mkdir()
    os.mkfifo(where / "images.npy")
    assert "images.npy is a pipe or a device" in refused(where)
    assert "images.npy is a pipe or a device" in inspect.look(where).text


def test_several_files_that_tell_classes_are_named_and_none_is_taken(tmp_path: Path) -> None:
    where = tmp_path / "in"
    where.mkdir()
    for name in ("train", "val"):
        told = {"images": [], "annotations": [], "categories": []}
        (where / f"{name}.json").write_text(json.dumps(told))
    for asked in (refused(where), inspect.look(where).text):
        assert "2 COCO files (train.json, val.json); name one of them with --table." in asked
        (where / "other.json").write_text("{}")
    (where / "val.json").unlink()
    (where / "train.json").unlink()
    for name in "abcd":
        np.savez(where / f"{name}.npz", images=np.zeros((1, 8, 8), np.uint8), labels=[0])
    for asked in (refused(where), inspect.look(where).text):
        assert "4 npz (a.npz, b.npz, c.npz and 1 more); give one of them" in asked


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (("train", "holdout"), "Row 3: split 'holdout' is no part"),
        (("train", ""), "Row 3: no split, and other rows have one"),
    ],
)
def test_a_split_is_told_of_every_row_or_of_none(
    tmp_path: Path, parts: tuple[str, str], words: str
) -> None:
    where = table(tmp_path, "file,class,patient,split", "images/{i}.png,{key},p{i},?")
    text = (where / "labels.csv").read_text()
    for i in range(6):
        text = text.replace("?", parts[i % 2], 1)
    (where / "labels.csv").write_text(text)
    assert words in refused(where)


def test_a_split_that_no_experiment_can_keep_to_is_said(tmp_path: Path) -> None:
    where = table(tmp_path, "file,class,patient,split", "images/{i}.png,{key},p{i},test")
    assert any("has test alone" in note for note in made(where).notes)
    (tmp_path / "data").rename(tmp_path / "first")
    rows = (where / "labels.csv").read_text().replace("5.png,hemangioma,p5,test",
                                                      "5.png,hemangioma,p2,train")  # fmt: skip
    (where / "labels.csv").write_text(rows)
    notes = made(where).notes
    assert any("In more than one part" in note and "1 patient (p2)" in note for note in notes)


# Patients.


def classes(tmp_path: Path, name: str, count: int = 4, top: str = "") -> Path:
    where = tmp_path / "in"
    for c, key in enumerate(("Cyst", "Metastasis")):
        for i in range(count):
            picture(where / top / key / name.format(i=i, n=c * count + i), c * count + i)
    return where


@pytest.mark.parametrize(
    ("name", "how", "expected"),
    [
        ("P{n:02d}_3.png", "(P[0-9]+)_", [f"P{n:02d}" for n in range(8)]),
        ("{n}/slice.png", "folder", [str(n) for n in range(8)]),
        ("{n}.png", "image", [f"{'Cyst' if n < 4 else 'Metastasis'}/{n}.png" for n in range(8)]),
    ],
)
def test_a_folder_for_each_class_is_read(
    tmp_path: Path, name: str, how: str, expected: list[str]
) -> None:
    where = classes(tmp_path, name)
    (where / "README.txt").write_text("about")
    (where / ".DS_Store").write_bytes(b"\0")
    manifest = made(where, patients=how)
    assert list(manifest.scheme.keys) == ["cyst", "metastasis"]
    assert [line.patient for line in manifest.lines] == expected
    assert not any("learn to tell" in note for note in manifest.notes)


def test_folders_of_training_and_test_above_the_classes_are_kept_as_a_split(tmp_path: Path) -> None:
    classes(tmp_path, "{n}.png", top="train")
    for key, seed in (("Cyst", 100), ("Metastasis", 101)):
        picture(tmp_path / "in" / "test" / key / f"{seed}.png", seed)
    manifest = made(tmp_path / "in", patients="image")
    assert [line.groups["split"] for line in manifest.lines].count("train") == 8
    assert [line.groups["split"] for line in manifest.lines].count("test") == 2
    assert "split: train (8), test (2)" in (manifest.root / "summary.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (None, "nothing tells whose the images are"),
        ("folder", "names nobody"),
        ("(X[0-9]+)_", "does not match"),
        ("P[0-9]+", "one group"),
        ("(P", "no regular expression"),
        ("dicom", "no patient"),
    ],
)
def test_patients_who_cannot_be_told_apart_are_refused(
    tmp_path: Path, how: str | None, words: str
) -> None:
    assert words in refused(classes(tmp_path, "P{n}.png"), patients=how)


# Images that are the ROI themselves.


def test_crops_of_any_size_train_without_a_pixel_of_black_that_was_not_there(
    tmp_path: Path,
) -> None:
    where = tmp_path / "in"
    sizes = [(28, 28), (72, 50), (200, 90), (64, 64), (131, 130), (40, 70)]
    rows = ["file,class,patient"]
    for i, (high, wide) in enumerate(sizes):
        picture(where / f"{i}.png", i, high, wide)
        rows.append(f"{i}.png,{LIVER.keys[i % 3]},p{i}")
    (where / "labels.csv").write_text("\n".join(rows))
    manifest = made(where)
    views = [View(), View(45), View(10, shift_px=(4, -4)), View(80, tissue=0.4)]
    for line, (high, wide) in zip(manifest.lines, sizes, strict=True):
        assert (line.surroundings, line.image_size) == (False, (high, wide))
        for view in views:
            assert manifest.roi(line, roi.DEFAULT_WINDOW_HU, view).min() > -0.9
    square = np.asarray(Image.open(where / "3.png"), np.float32) / 127.5 - 1
    assert np.allclose(manifest.roi(manifest.lines[3], roi.DEFAULT_WINDOW_HU), square, atol=1e-5)
    assert any("look beyond the edge" in note for note in manifest.notes)


def test_a_box_in_a_crop_trains_without_black_too(tmp_path: Path) -> None:
    where = table(tmp_path, "file,class,patient,box", 'images/{i}.png,{key},p{i},"13,13,40,46"')
    manifest = made(where, whole=False, boxes=Boxes.XYWH)
    for line in manifest.lines:
        assert line.room is not None
        assert line.room < 0.01
        view = View(45, shift_px=(4, 4), tissue=0.4)
        assert manifest.roi(line, roi.DEFAULT_WINDOW_HU, view).min() > -0.9


@pytest.mark.parametrize(("rows", "columns"), [(400, 3), (8, 8), (20, 90)])
def test_a_crop_that_is_no_roi_is_refused(tmp_path: Path, rows: int, columns: int) -> None:
    where = table(tmp_path, "file,class,patient", "images/{i}.png,{key},p{i}")
    picture(where / "images" / "2.png", 9, rows, columns)
    assert f"Row 4: an image of {columns} × {rows} pixels is no ROI" in refused(where)


def test_one_class_from_one_source_is_said(tmp_path: Path) -> None:
    where = table(tmp_path, "file,class,patient,site", "images/{i}.png,{key},p{i},{key[0]}")
    told = " ".join(made(where).notes)
    assert "Every cyst and nothing else has site c" in told


# Arrays and COCO.


def packed(tmp_path: Path, **more: object) -> Path:
    rng = np.random.default_rng(0)
    arrays = {
        "train_images": rng.integers(60, 255, (8, 28, 28)).astype(np.uint8),
        "train_labels": np.arange(8).reshape(-1, 1) % 2,
        "test_images": rng.integers(60, 255, (4, 28, 28)).astype(np.uint8),
        "test_labels": np.arange(4).reshape(-1, 1) % 2,
        **more,
    }
    path = tmp_path / "set.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def test_arrays_in_the_manner_of_medmnist_are_read(tmp_path: Path) -> None:
    path = packed(tmp_path)
    manifest = made(path, patients="image", mapped={"0": "benign", "1": "malignant"})
    assert manifest.counts() == {"benign": 6, "malignant": 6}
    assert manifest.lines[8].file == "test_images/0"
    assert manifest.lines[8].groups == {"split": "test"}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({}, "no train_patients"),
        ({"train_labels": np.ones((8, 3), np.int64)}, "have no class or several"),
        ({"train_labels": np.zeros(7, np.int64)}, "for each of 8"),
        ({"train_images": np.zeros((8, 28, 28, 28), np.uint8)}, "Of volumes give one slice"),
        ({"train_images": np.zeros((8, 28, 28), np.float32)}, "type float32"),
        ({"train_images": np.array([{}], object)}, "no file of plain NumPy arrays"),
        ({"train_labels": np.array([b"M\xfc", b"M\xf6"] * 4)}, "bytes that are no UTF-8"),
    ],
)
def test_arrays_that_are_no_pictures_with_labels_are_refused(
    tmp_path: Path, more: dict[str, object], words: str
) -> None:
    how = "image" if more else None
    assert words in refused(packed(tmp_path, **more), patients=how)


@pytest.mark.parametrize("damage", ["deflated", "encrypted", "method", "member"])
def test_a_damaged_npz_is_refused_in_words(tmp_path: Path, damage: str) -> None:
    path = packed(tmp_path)
    if damage == "deflated":
        with np.load(path) as arrays:
            np.savez_compressed(path, **dict(arrays))
        data = bytearray(path.read_bytes())
        data[600:700] = b"\xff" * 100
    elif damage == "member":
        with zipfile.ZipFile(path, "w") as made_anew:
            made_anew.writestr("images", "no array")
        data = bytearray(path.read_bytes())
    else:
        data = bytearray(path.read_bytes())
        for mark, flag, method in ((b"PK\x03\x04", 6, 8), (b"PK\x01\x02", 8, 10)):
            at = -1
            while (at := data.find(mark, at + 1)) >= 0:
                data[at + (flag if damage == "encrypted" else method)] = (
                    1 if damage == "encrypted" else 99
                )
    path.write_bytes(data)
    assert str(path) in refused(path, patients="image")
    with pytest.raises(PrepareError):
        images(path, None, tmp_path / "data").send(None)


def coco(tmp_path: Path) -> dict[str, list[dict[str, object]]]:
    """Four pictures of 120 × 120 pixels, and what a COCO file tells of them."""
    for i in range(4):
        picture(tmp_path / "in" / f"{i}.png", i, 120, 120)
    return {
        "images": [{"id": i, "file_name": f"{i}.png", "patient": f"p{i}"} for i in range(4)],
        "categories": [{"id": 1, "name": "cyst"}, {"id": 7, "name": "metastasis"}],
        "annotations": [
            {"id": i, "image_id": i, "category_id": (1, 7)[i % 2], "bbox": [40, 30, 20, 25]}
            for i in range(4)
        ],
    }


@pytest.mark.parametrize(
    ("part", "place", "change", "words"),
    [
        ("images", None, {"id": 0, "file_name": "3.png"}, "two images have the id 0"),
        ("categories", None, {"id": 7, "name": "other"}, "two categories have the id 7"),
        ("images", 0, {"width": 60, "height": 120}, "120 × 120 pixels, and the COCO file says 60"),
        ("images", 0, {"patient": None}, "Image '0.png' has no patient"),
        ("images", 0, {"patient": {"a": 1}}, "neither a word nor a number"),
        ("images", 0, {"file_name": None}, "without file_name"),
        ("images", 0, {"file_name": "/etc/hosts"}, "Annotation 0: file '/etc/hosts' lies outside"),
        ("categories", 1, {"name": None}, "category without name"),
        ("annotations", 0, {"bbox": "1234"}, "'1234' is not x, y, width, height"),
    ],
)
def test_a_coco_file_that_contradicts_itself_or_its_images_is_refused(
    tmp_path: Path, part: str, place: int | None, change: dict[str, object], words: str
) -> None:
    told = coco(tmp_path)
    if place is None:
        told[part].append(change)
    else:
        told[part][place].update(change)
    (tmp_path / "in" / "annotations.json").write_text(json.dumps(told))
    assert words in refused(tmp_path / "in", whole=False)


def test_corners_in_a_coco_file_are_corners_where_somebody_says_so(tmp_path: Path) -> None:
    told = coco(tmp_path)
    for one in told["annotations"]:
        one["bbox"] = [40, 30, 60, 55]
    (tmp_path / "in" / "annotations.json").write_text(json.dumps(told))
    boxes = {line.box for line in made(tmp_path / "in", whole=False, boxes=Boxes.XYXY).lines}
    assert boxes == {roi.Box(40, 30, 20, 25)}
    (tmp_path / "data").rename(tmp_path / "corners")
    told["annotations"][2]["bbox"] = [40, 30, 20, 25]
    (tmp_path / "in" / "annotations.json").write_text(json.dumps(told))
    assert "Annotation 2: bbox [40, 30, 20, 25] is no x1, y1, x2, y2" in refused(
        tmp_path / "in", whole=False, boxes=Boxes.XYXY
    )


def test_annotations_of_crowds_are_counted_and_never_all_there_is(tmp_path: Path) -> None:
    told = coco(tmp_path)
    told["annotations"] += [one | {"iscrowd": 1} for one in told["annotations"][:2]]
    (tmp_path / "in" / "annotations.json").write_text(json.dumps(told))
    notes = made(tmp_path / "in", whole=False, patients="image").notes
    assert any("Not used: 2 annotations with iscrowd 1" in note for note in notes)
    assert "Patients are told by --patient image, not by annotations.json." in notes
    (tmp_path / "data").rename(tmp_path / "without")
    for one in told["annotations"]:
        one["iscrowd"] = 1
    (tmp_path / "in" / "annotations.json").write_text(json.dumps(told))
    words = "annotations.json has nothing but 6 annotations with iscrowd 1"
    assert words in refused(tmp_path / "in", whole=False)
    assert words in inspect.look(tmp_path / "in").text


def test_one_lesion_that_several_people_marked_is_told(tmp_path: Path) -> None:
    told = coco(tmp_path)
    told["annotations"] += [
        one | {"id": 10 + i, "bbox": [42, 31, 20, 25]}
        for i, one in enumerate(told["annotations"][:2])
    ]
    told["annotations"].append(told["annotations"][0] | {"id": 20, "bbox": [70, 30, 20, 25]})
    (tmp_path / "in" / "annotations.json").write_text(json.dumps(told))
    manifest = made(tmp_path / "in", whole=False)
    assert len(manifest.lines) == 7
    assert any(
        note.startswith("4 boxes of 2 images (0.png, 1.png) lie mostly over another one")
        for note in manifest.notes
    )
    assert "(columns × rows): 120 × 120 (4)." in (tmp_path / "data" / "summary.md").read_text()


@pytest.mark.parametrize("label", ["#NV", "nan", "#N/A", "#WERT!"])
def test_what_a_program_writes_where_there_is_nothing_is_no_class(
    tmp_path: Path, label: str
) -> None:
    where = table(tmp_path, "file,class,patient", "images/{i}.png,{key},p{i}")
    text = (where / "labels.csv").read_text().splitlines()
    text[6] = f"images/5.png,{label},p5"
    (where / "labels.csv").write_text("\n".join(text))
    assert f"Row 7: class '{label}' is what a program writes where it has none" in refused(where)
    assert len(made(where, mapped={label: ""}).lines) == 5
    (tmp_path / "data").rename(tmp_path / "without")
    assert "unspecified" in made(where, mapped={label: "unspecified"}).scheme.keys


def test_a_coco_file_is_read(tmp_path: Path) -> None:
    where = tmp_path / "in"
    for i in range(4):
        picture(where / f"{i}.png", i, 120, 120)
    told = {
        "images": [{"id": i, "file_name": f"{i}.png", "patient": f"p{i}"} for i in range(4)],
        "categories": [{"id": 1, "name": "cyst"}, {"id": 7, "name": "metastasis"}],
        "annotations": [
            {
                "id": i,
                "image_id": i % 3,
                "category_id": (1, 7, 1)[i % 3],
                "bbox": [40, 30 + i, 20, 25],
            }
            for i in range(5)
        ],
    }
    (where / "annotations.json").write_text(json.dumps(told))
    manifest = made(where, whole=False)
    assert [line.box for line in manifest.lines][:2] == [
        roi.Box(40, 30, 20, 25),
        roi.Box(40, 31, 20, 25),
    ]
    assert any("1 images without an annotation" in note for note in manifest.notes)


# Inspecting.


def test_what_the_owner_says_is_kept_and_what_nobody_says_is_not_given(tmp_path: Path) -> None:
    where = table(tmp_path, "file,class,patient", "images/{i}.png,{key},p{i}")
    told = tmp_path / "about.json"
    told.write_text(json.dumps({"source": "Hospital A", "reference_standard": "biopsy"}))
    words = ["prepare", "images", str(where), "--whole", "--out", str(tmp_path / "data")]
    assert main([*words, "--about", str(told)]) == 0
    manifest = Manifest.load(tmp_path / "data")
    assert manifest.about == About(source="Hospital A", reference_standard="biopsy")
    summary = (tmp_path / "data" / "summary.md").read_text("utf-8")
    assert "- reference standard: biopsy" in summary and "- dates: not given" in summary


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"hospital": "A"}', "no JSON object of texts named source, dates"),
        ('{"source": 3}', "no JSON object of texts"),
        ("source: A", "no JSON object of texts"),
        (json.dumps({"dates": "x" * 2001}), "dates has over 2000 characters"),
    ],
)
def test_words_about_the_data_that_cannot_be_read_are_refused(
    tmp_path: Path, content: str, words: str
) -> None:
    (tmp_path / "about.json").write_text(content)
    with pytest.raises(AboutError, match=words):
        About.load(tmp_path / "about.json")
    with pytest.raises(AboutError, match="cannot be read"):
        About.load(tmp_path / "none.json")


def _other(tmp_path: Path, patients: str = "q") -> Path:
    """A folder of six further pictures, named as those of ``table``."""
    where = tmp_path / "other"
    for i in range(6):
        picture(where / "images" / f"{i}.png", 100 + i)
    rows = [f"images/{i}.png,{LIVER.keys[i % 3]},{patients}{i}" for i in range(6)]
    (where / "labels.csv").write_text("\n".join(["file,class,patient", *rows]) + "\n")
    return where


def test_lesions_of_an_external_folder_test_and_never_train(tmp_path: Path) -> None:
    where = table(tmp_path, "file,class,patient", "images/{i}.png,{key},p{i}")
    words = ["prepare", "images", str(where), "--whole", "--test", str(_other(tmp_path))]
    assert main([*words, "--out", str(tmp_path / "data")]) == 0
    manifest = Manifest.load(tmp_path / "data")
    fold, inner = folds.given(manifest)
    assert fold.train.patients == {f"p{i}" for i in range(6)} and inner is None
    assert fold.test.patients == {f"q{i}" for i in range(6)}
    assert {line.file for line in fold.test} == {f"test/images/{i}.png" for i in range(6)}
    assert any("for testing alone" in note for note in manifest.notes)


def test_an_external_test_of_patients_who_train_is_refused(tmp_path: Path) -> None:
    where = table(tmp_path, "file,class,patient", "images/{i}.png,{key},p{i}")
    words = refused(where, test=_other(tmp_path, "p"))
    assert "In the folder and in that of --test: 6 patients (p0, p1, p2, p3, p4 …)." in words


def test_an_external_test_beside_a_split_or_of_the_same_folder_is_refused(tmp_path: Path) -> None:
    where = table(tmp_path, "file,class,patient,split", "images/{i}.png,{key},p{i},train")
    with pytest.raises(PrepareError, match="leave one of the two out"):
        made(where, test=_other(tmp_path))
    with pytest.raises(PrepareError, match="names the folder that is trained on"):
        made(where, test=where)


def test_pictures_of_one_name_in_training_and_test_are_of_two_patients(tmp_path: Path) -> None:
    where = classes(tmp_path, "{i}.png", 2, "train")
    for c, key in enumerate(("Cyst", "Metastasis")):
        for i in range(2):
            picture(where / "test" / key / f"{i}.png", 50 + 10 * i + c)
    manifest = made(where, patients="image")
    fold, _ = folds.given(manifest)
    assert (len(fold.train), len(fold.test), len(manifest.patients)) == (4, 4, 8)


def test_inspect_says_what_is_there_and_its_command_works(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = classes(tmp_path, "P{n:02d}_1.png")
    assert main(["prepare", "inspect", str(where)]) == 0
    told = capsys.readouterr().out
    for words in ("8 lesions", "Cyst (4), Metastasis (4)", "66 × 72 pixels (8)", "--whole"):
        assert words in told
    command = next(line for line in told.splitlines() if "python -m ml prepare" in line).split()
    chosen = [word for word in command[3:] if word != "DATA"]
    chosen[chosen.index("HOW")] = "(P[0-9]+)_"
    assert main([*chosen, str(tmp_path / "data")]) == 0
    assert len(Manifest.load(tmp_path / "data").patients) == 8


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, "nothing that tells their classes"),
        ({"labels.csv": "a;b\n1;2\n"}, "no column class"),
        ({"labels.csv": "file,class,patient\nx.png,cyst,p\ny.png,mets,q\n"}, "cannot be read"),
        ({"a.json": '{"images": [], "annotations": [], "categories": []}'}, "as it is"),
    ],
)
def test_inspect_says_what_is_missing(tmp_path: Path, content: dict[str, str], words: str) -> None:
    for name, text in content.items():
        (tmp_path / name).write_text(text)
    assert words in inspect.look(tmp_path).text


def test_each_image_may_have_its_own_grey_values_wherever_an_roi_is_made(tmp_path: Path) -> None:
    where = tmp_path / "in"
    rows = ["file,class,patient"]
    for i in range(6):  # twice as bright and with an offset it is the same picture
        picture(where / f"{i}.png", i % 3, 64, 64)
        grey = np.asarray(Image.open(where / f"{i}.png")).astype(np.uint16)
        Image.fromarray(grey if i < 3 else grey * 2 + 300).save(where / f"{i}.png")
        rows.append(f"{i}.png,{LIVER.keys[i % 3]},p{i % 3}")
    (where / "labels.csv").write_text("\n".join(rows))
    assert "a network would see next to nothing" in refused(where)
    manifest = made(where, grey_range=OfImage.IMAGE)
    loaded = manifest.rois(roi.DEFAULT_WINDOW_HU)
    np.testing.assert_allclose(loaded[:3], loaded[3:], atol=1e-5)
    assert manifest.grey_range is OfImage.IMAGE
    assert loaded.min() == -1
    assert loaded.max() == 1
    (image,) = dicom.read((where / "4.png").read_bytes(), "4.png")
    served = roi.make(image, None, roi.DEFAULT_WINDOW_HU, grey_range=manifest.grey_range)
    np.testing.assert_allclose(served.pixels, loaded[4], atol=1e-5)
    flat = np.full((64, 64), 7, np.uint16)
    flat[30, 30] = 9
    Image.fromarray(flat).save(where / "2.png")
    with pytest.raises(ManifestError, match="no range of its own"):
        list(images(where, None, tmp_path / "again", Options(grey_range=OfImage.IMAGE)))


def test_inspect_knows_a_data_set(tmp_path: Path) -> None:
    known = made(classes(tmp_path, "P{n:02d}_1.png"), patients="(P[0-9]+)_")
    text = inspect.look(known.root).text
    assert "A data set already: 8 lesions of 8 patients (4 cyst, 4 metastasis)" in text
    assert f"python -m ml experiment --data {known.root} --out RUN" in text
    (known.root / "manifest.json").write_text("{", "utf-8")
    with pytest.raises(PrepareError, match="manifest or lines"):
        inspect.look(known.root)
