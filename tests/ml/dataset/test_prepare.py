"""Folders of images and DICOM series with tables, as people really write them."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy
from PIL import Image
from pydicom import dcmread

from ml.__main__ import main
from ml.dataset import columns, inspect
from ml.dataset.manifest import Manifest, ManifestError
from ml.dataset.prepare import dicom as prepare_dicom
from ml.dataset.prepare import images as prepare_images
from ml.dataset.table import PrepareError
from ml.images import dicom, roi
from ml.lesion import LIVER, LesionClass, LesionScheme
from tests.ml.dicom_files import ct_dataset, ct_file, encoded, stored_values

WINDOW = (-150.0, 250.0)
DATA = os.environ.get("HEPATICA_TEST_DATA")
NODULES = LesionScheme(
    "nodules",
    tuple(LesionClass(key, key) for key in ("non_solid", "sub_solid", "solid")),
)


def png(path: Path, seed: int, side: int = 64, bits: int = 8) -> None:
    dtype = np.uint8 if bits == 8 else np.uint16
    values = np.random.default_rng(seed).integers(0, 2**bits, (side, side)).astype(dtype)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def folder(tmp_path: Path, count: int = 6, side: int = 64) -> Path:
    for i in range(count):
        png(tmp_path / "in" / "images" / f"{i}.png", i, side)
    return tmp_path / "in"


def rows(count: int = 6, header: str = "file,class,patient") -> list[str]:
    return [header, *(f"images/{i}.png,{LIVER.keys[i % 3]},p{i}" for i in range(count))]


def label(where: Path, lines: list[str], encoding: str = "utf-8") -> None:
    (where / "labels.csv").write_bytes("\r\n".join(lines).encode(encoding))


def prepared(where: Path, scheme: LesionScheme = LIVER) -> Manifest:
    out = where.parent / "data"
    steps = list(prepare_images(where, scheme, out))
    assert steps[-1].done == steps[-1].total
    return Manifest.load(out)


def refused(where: Path, scheme: LesionScheme = LIVER) -> str:
    with pytest.raises(ManifestError) as refusal:
        list(prepare_images(where, scheme, where.parent / "data"))
    assert not (where.parent / "data").exists()
    assert [path.name for path in where.parent.iterdir()] == [where.name]
    return str(refusal.value)


def test_a_folder_without_labels_is_refused(tmp_path: Path) -> None:
    assert "has one folder with images, images, and so one class" in refused(folder(tmp_path))
    flat = tmp_path / "flat"
    png(flat / "0.png", 0)
    with pytest.raises(ManifestError, match="nor a folder for each class, so nothing tells"):
        list(prepare_images(flat, LIVER, tmp_path / "data"))
    shutil.rmtree(flat)
    nowhere = tmp_path / "nowhere"
    with pytest.raises(ManifestError, match="nowhere is no folder"):
        list(prepare_images(nowhere, LIVER, tmp_path / "data"))
    with pytest.raises(ManifestError, match="neither a folder nor an npz"):
        inspect.look(next(path for path in folder(tmp_path).rglob("*") if path.is_file()))


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["file,kind,patient", "a,b,c"], "no column class; its columns are file, kind, patient"),
        (["file,class,class,patient", "a,b,c,d"], "twice"),
        (["file,class,patient"], "no rows"),
        ([], "no column"),
        (["file,class,patient,box", "a.png,cyst,p,1,2,3,4"], "row 2 has more cells"),
    ],
)
def test_a_table_of_another_shape_is_refused(tmp_path: Path, lines: list[str], words: str) -> None:
    where = folder(tmp_path)
    label(where, lines)
    assert words in refused(where)


def test_a_binary_table_is_refused(tmp_path: Path) -> None:
    where = folder(tmp_path)
    (where / "labels.csv").write_bytes(b"PK\x03\x04\0\0\x81\0")
    assert "not text" in refused(where)


def test_every_bad_row_is_told_at_once_and_nothing_is_written(tmp_path: Path) -> None:
    where = folder(tmp_path)
    (where / "images" / "text.png").write_text("no picture")
    png(where / "images" / "big.png", 9, side=100)
    png(where.parent / "in" / "images" / "boxed.png", 10, side=100)
    label(
        where,
        [
            "file,class,patient,box,diameter_mm",
            *[line + ",," for line in rows()[1:]],
            "images/0.png,,p7,,",
            "images/0.png,bone,p7,,",
            "images/0.png,cyst,,,",
            "images/none.png,cyst,p8,,",
            "images/text.png,cyst,p9,,",
            "images/big.png,cyst,p10,,",
            'images/boxed.png,cyst,p11,"90,90,30,30",',
            'images/boxed.png,cyst,p11,"90,90",',
            "images/1.png,cyst,p12,,wide",
            ",cyst,p13,,",
        ],
    )
    told = refused(where)
    for words in (
        "Row 8: no class",
        "Row 9: class 'bone'",
        "Row 10: no patient",
        "Row 11: file 'images/none.png' cannot be read",
        "Row 12: images/text.png is text",
        "images/big.png: an image of 100 × 100 pixels needs a box",
        "images/boxed.png: The lesion's centre",
        "Row 15: box '90,90'",
        "Row 16: diameter_mm 'wide'",
        "Row 17: neither a file",
    ):
        assert words in told
    assert "10 problems:" in told


@pytest.mark.parametrize(
    "file", ["../secret.png", "/etc/passwd", "images/../../secret.png", "..\\secret.png"]
)
def test_a_file_outside_the_folder_is_refused(tmp_path: Path, file: str) -> None:
    where = folder(tmp_path)
    label(where, [*rows(), f"{file},cyst,p9"])
    png(tmp_path / "secret.png", 99)
    with pytest.raises(ManifestError, match="outside the folder"):
        list(prepare_images(where, LIVER, tmp_path / "data"))


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    where = folder(tmp_path)
    png(tmp_path / "secret.png", 99)
    (where / "images" / "link.png").symlink_to(tmp_path / "secret.png")
    label(where, [*rows(), "images/link.png,cyst,p9"])
    with pytest.raises(ManifestError, match="outside the folder"):
        list(prepare_images(where, LIVER, tmp_path / "data"))


def test_contradicting_labels_are_told_before_anything_trains(tmp_path: Path) -> None:
    where = folder(tmp_path)
    lines = [*rows(), "images/0.png,cyst,p99", "images/extra.png,metastasis,p0"]
    png(where / "images" / "extra.png", 77)
    label(where, lines)
    told = refused(where)
    assert "Patients p0, p99 have the same image (images/0.png)" in told
    assert "Patient 'p0' is in classes cyst, metastasis" in told
    label(where, rows(2))
    assert "Class 'hemangioma' has no ROI" in refused(where)


def test_calibrated_and_uncalibrated_images_never_mix(tmp_path: Path) -> None:
    where = folder(tmp_path)
    (where / "ct.dcm").write_bytes(ct_file())
    header = "file,class,patient,x,y,width,height"
    label(where, [header, *[line + ",,,," for line in rows()[1:]], "ct.dcm,cyst,p9,10,10,20,20"])
    assert "1 calibrated, 6 uncalibrated" in refused(where)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_tables_are_read_as_spreadsheets_write_them(
    tmp_path: Path, encoding: str, delimiter: str
) -> None:
    where = folder(tmp_path)
    lines = [line.replace(",", delimiter) for line in rows(header=" File ,CLASS,Patient")]
    lines[1] = lines[1].replace("p0", "Müller")
    label(where, [*lines, "", delimiter * 2], encoding)
    manifest = prepared(where)
    assert len(manifest.lines) == 6
    assert manifest.lines[0].patient == "Müller"


def test_boxes_are_taken_from_one_cell_or_four_columns(tmp_path: Path) -> None:
    where = folder(tmp_path, side=100)
    label(
        where,
        [
            "file,class,patient,box,diameter_mm",
            'images/0.png,cyst,p0,"30,40,20,10",12.5',
            "images/1.png,metastasis,p1,[30 40 20 10],",
            'images/2.png,hemangioma,p2,"30.5, 40, 20, 10",',
        ],
    )
    manifest = prepared(where)
    assert [line.box.x for line in manifest.lines] == [30, 30, 30.5]
    assert [line.diameter_mm for line in manifest.lines] == [12.5, None, None]
    (image,) = dicom.read((where / "images" / "0.png").read_bytes(), "x")
    expected = roi.make(image, manifest.lines[0].box, WINDOW).pixels
    assert np.array_equal(manifest.rois(WINDOW)[0], expected)
    label(
        where,
        [
            "file,class,patient,x,y,width,height",
            *(f"images/{i}.png,{LIVER.keys[i]},p{i},30,40,20,1{i}" for i in range(3)),
        ],
    )
    list(prepare_images(where, LIVER, tmp_path / "again"))
    assert Manifest.load(tmp_path / "again").lines[2].box == roi.Box(30, 40, 20, 12)


def series(tmp_path: Path, count: int = 6, phantom: bool = False) -> tuple[Path, list[str]]:
    where, uids = tmp_path / "in", []
    maker = {"Manufacturer": "Hepatica", "ManufacturerModelName": "Phantom"} if phantom else {}
    for i in range(count):
        # patients differ in more than noise, or they count as copies
        organs = np.random.default_rng(i).integers(-90, 90, (16, 18)).repeat(5, 0).repeat(5, 1)
        dataset = ct_dataset((stored_values(80, 90, seed=i) + organs).astype(np.int16), **maker)
        uids.append(str(dataset.SOPInstanceUID))
        path = where / f"s{i % 2}" / f"IM{i}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(dataset))
    return where, uids


def test_dicom_lesions_are_found_by_sop_instance_uid(tmp_path: Path) -> None:
    where, uids = series(tmp_path)
    (where / "notes.txt").write_text("not an image")
    lines = ["sop_instance_uid,lesion_class,patient,x,y,width,height"]
    lines += [f"{uid},{LIVER.keys[i % 3]},p{i},30,20,25,20" for i, uid in enumerate(uids)]
    (where / "lesions.csv").write_text("\n".join(lines))
    list(prepare_dicom(where, LIVER, tmp_path / "data"))
    manifest = Manifest.load(tmp_path / "data")
    assert manifest.kind == "calibrated"
    assert {line.file for line in manifest.lines} == {f"s{i % 2}/IM{i}" for i in range(6)}
    assert manifest.lines[0].diameter_mm == pytest.approx(20)
    (image,) = dicom.read((where / manifest.lines[0].file).read_bytes(), "x")
    expected = roi.make(image, roi.Box(30, 20, 25, 20), WINDOW).pixels
    assert np.array_equal(manifest.rois(WINDOW)[0], expected)


def test_dicom_takes_key_slices_only_and_centre_or_mask(tmp_path: Path) -> None:
    where, uids = series(tmp_path, phantom=True)
    mask = np.zeros((80, 90), np.uint8)
    mask[20:40, 30:55] = 1
    Image.fromarray(mask).save(where / "mask.png")
    lines = [
        "file,sop_instance_uid,lesion_class,patient,center,diameter_mm,mask,key_slice",
        f's0/IM0,{uids[0]},cyst,p0,"45,40",20,,1',
        f"s1/IM1,{uids[1]},metastasis,p1,,,mask.png,1",
        f's0/IM2,{uids[2]},hemangioma,p2,"45,40",20,,1',
        f's1/IM3,{uids[3]},hemangioma,p3,"45,40",20,,0',
    ]
    (where / "lesions.csv").write_text("\n".join(lines))
    list(prepare_dicom(where, LIVER, tmp_path / "data"))
    manifest = Manifest.load(tmp_path / "data")
    assert manifest.kind == "phantom"
    assert len(manifest.lines) == 3
    assert manifest.lines[0].box == roi.Box.around(45, 40, 20, (0.7, 0.8))
    assert manifest.lines[1].box == roi.Box(30, 20, 25, 20)


def test_a_dicom_table_that_does_not_fit_its_files_is_refused(tmp_path: Path) -> None:
    where, uids = series(tmp_path)
    png(where / "black.png", 0)
    Image.fromarray(np.zeros((80, 90), np.uint8)).save(where / "black.png")
    lines = [
        "file,sop_instance_uid,lesion_class,patient,x,y,width,height,center,mask,frame",
        f"s0/IM0,{uids[1]},cyst,p0,1,2,30,40,,,",
        ",1.2.3,cyst,p1,1,2,30,40,,,",
        "s0/IM0,,cyst,p2,1,2,30,,,,",
        's0/IM0,,cyst,p3,,,,,"4,5",,',
        "s0/IM0,,cyst,p4,,,,,,black.png,",
        "s0/IM0,,cyst,p5,1,2,30,40,,,3",
        "s0/IM0,,cyst,p6,,,,,,,",
    ]
    (where / "lesions.csv").write_text("\n".join(lines))
    with pytest.raises(ManifestError) as refusal:
        list(prepare_dicom(where, LIVER, tmp_path / "data"))
    told = str(refusal.value)
    for words in (
        f"not {uids[1]}",
        "SOP Instance UID 1.2.3",
        "lacks one of x, y, width, height",
        "needs a diameter_mm",
        "all black",
        "1 frame, not 3",
        "needs a box",
    ):
        assert words in told
    (where / "lesions.csv").write_text("lesion_class,patient\ncyst,p")
    with pytest.raises(PrepareError, match="neither a column file nor"):
        list(prepare_dicom(where, LIVER, tmp_path / "data"))


def test_what_the_phantom_writes_can_be_prepared(tmp_path: Path) -> None:
    counts = "cyst=1,metastasis=1,hemangioma=1"
    there, out = str(tmp_path / "phantom"), tmp_path / "data"
    assert main(["phantom", "--counts", counts, "--key-slices-only", "--out", there]) == 0
    assert main(["prepare", "dicom", there, "--out", str(out)]) == 0
    manifest = Manifest.load(out)
    assert manifest.kind == "phantom"
    assert manifest.counts() == {"cyst": 1, "metastasis": 1, "hemangioma": 1}
    assert manifest.rois(WINDOW).std(axis=(1, 2)).min() > 0.02


def test_the_command_tells_a_refusal_and_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = folder(tmp_path)
    label(where, [*rows(), "images/none.png,cyst,p9"])
    assert main(["prepare", "images", str(where), "--out", str(tmp_path / "data")]) == 1
    assert "images/none.png" in capsys.readouterr().err
    assert main(["prepare", "images", str(where), "--scheme", "no.json", "--out", "x"]) == 1


def test_the_command_accepts_mixed_patients_when_asked(tmp_path: Path) -> None:
    where = folder(tmp_path)
    label(where, [line.replace(",p1", ",p0") for line in rows()])
    command = ["prepare", "images", str(where), "--out", str(tmp_path / "data")]
    assert main(command) == 1
    assert main([*command, "--allow-mixed-patients"]) == 0
    assert len(Manifest.load(tmp_path / "data").patients) == 5


@pytest.mark.skipif(not DATA, reason="HEPATICA_TEST_DATA is not set")
def test_the_real_nodules_become_a_data_set_of_their_own_scheme(tmp_path: Path) -> None:
    where = Path(str(DATA)) / "nodules_ct64"
    scheme = tmp_path / "nodules.json"
    scheme.write_text(json.dumps(NODULES.to_dict()))
    out = tmp_path / "data"
    command = ["prepare", "images", str(where), "--scheme", str(scheme), "--out", str(out)]
    assert main(command) == 0
    manifest = Manifest.load(out)
    assert manifest.counts() == {"non_solid": 32, "sub_solid": 35, "solid": 67}
    assert manifest.kind == "uncalibrated"
    assert len(manifest.patients) == 134
    first = np.asarray(Image.open(where / manifest.lines[0].file)).astype(np.float64)
    np.testing.assert_allclose(manifest.rois(WINDOW)[0], first / 65535 * 2 - 1, atol=1e-6)


# -- what is doubtful is asked about, what is left out is said ------------------------------------


def command(where: Path, *words: str) -> int:
    return main(["prepare", "images", str(where), "--out", str(where.parent / "data"), *words])


@pytest.mark.parametrize("frame", ["0.5", "1.9", "1,9", "-1", "0", "nan", "1e0", "²", "one", "2"])
def test_a_frame_is_a_whole_number_of_the_file(tmp_path: Path, frame: str) -> None:
    where = folder(tmp_path)
    lines = ["file;class;patient;frame", *(line.replace(",", ";") + ";" for line in rows()[1:])]
    lines[3] += frame
    label(where, lines)
    assert re.search(r"Row 4: .*(whole number|1 frame)", refused(where))


@pytest.mark.parametrize("frame", ["1", "1.0", "1,0", ""])
def test_a_frame_may_be_written_as_spreadsheets_do(tmp_path: Path, frame: str) -> None:
    where = folder(tmp_path)
    lines = ["file;class;patient;frame", *(line.replace(",", ";") + ";" for line in rows()[1:])]
    lines[3] += frame
    label(where, lines)
    assert len(prepared(where).lines) == 6


def boxed(tmp_path: Path, boxes: list[str]) -> Path:
    where = folder(tmp_path, side=100)
    label(where, ["file,class,patient,box", *(f'{line},"{box}"' for line, box in
                                              zip(rows()[1:], boxes, strict=True))])  # fmt: skip
    return where


def test_a_box_that_may_be_two_corners_is_asked_about(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = boxed(tmp_path, ["13,13,46,46", "20,10,50,44", "5,30,40,62"] * 2)
    assert command(where) == 1
    told = capsys.readouterr().err
    assert "may be x1,y1,x2,y2" in told
    assert "6 of 6 boxes fit" in told
    assert not (tmp_path / "data").exists()
    for boxes, width in (("xywh", 46), ("xyxy", 33)):
        assert command(where, "--boxes", boxes) == 0
        assert Manifest.load(tmp_path / "data").lines[0].box == roi.Box(13, 13, width, width)
        shutil.rmtree(tmp_path / "data")


def test_boxes_that_fit_as_corners_alone_are_told_to_be_such(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = boxed(tmp_path, ["60,60,90,90", "20,10,50,44", "55,30,80,62"] * 2)
    assert command(where) == 1
    assert "looks like x1,y1,x2,y2" in capsys.readouterr().err


def test_boxes_of_which_one_cannot_be_corners_are_taken_as_sizes(tmp_path: Path) -> None:
    where = boxed(tmp_path, ["13,13,46,46", "20,10,50,44", "60,30,20,12"] * 2)
    assert prepared(where).lines[2].box == roi.Box(60, 30, 20, 12)


def test_corners_in_the_wrong_order_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = boxed(tmp_path, ["13,13,46,46", "20,10,50,44", "60,30,20,12"] * 2)
    assert command(where, "--boxes", "xyxy") == 1
    assert "second corner lies left of or above" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("one", "other"), [("P01", "p01"), ("P01", "P1"), ("1", "1.0"), ("P-01", "P01"), ("7", "007")]
)
def test_patients_that_people_write_alike_are_asked_about(
    tmp_path: Path, one: str, other: str
) -> None:
    where = folder(tmp_path)
    lines = rows()
    lines[1] = lines[1].replace("p0", one)
    lines[4] = lines[4].replace("p3", other)
    label(where, lines)
    told = refused(where)
    assert "may be one" in told
    assert repr(one) in told and repr(other) in told


def test_patients_with_numbers_that_differ_are_different(tmp_path: Path) -> None:
    where = folder(tmp_path)
    names = ["1-12", "11-2", "112", "A1", "B1", "a11"]
    lines = [line.rpartition(",")[0] + f",{name}" for line, name in zip(rows()[1:], names,
                                                                       strict=True)]  # fmt: skip
    label(where, ["file,class,patient", *lines])
    assert len(prepared(where).patients) == 6


def test_a_column_that_is_not_used_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = folder(tmp_path)
    label(where, ["file,class,patient,split,Age,ward", *(f"{x},test,60,A" for x in rows()[1:])])
    assert command(where) == 0
    assert "Not used: column ward." in capsys.readouterr().err
    manifest = Manifest.load(tmp_path / "data")
    assert manifest.notes[0] == "Not used: column ward."
    assert {**manifest.lines[0].groups} == {"split": "test", "age": "60"}


@pytest.mark.parametrize("what", ["images", "dicom"])
def test_help_names_every_column(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare", what, "--help"]) == 0
    told = capsys.readouterr().out
    leave_out = {"images": ("lesion_class", "sop_instance_uid", "key_slice"), "dicom": ("class",)}
    for column in columns.USED:
        if column not in leave_out[what]:
            assert re.search(rf"^  .*\b{column}\b", told, re.M), column


def test_copies_under_two_patients_are_refused(tmp_path: Path) -> None:
    where = folder(tmp_path, count=24, side=96)
    for i in range(24):
        blobs = np.random.default_rng(i).integers(30, 220, (12, 12)).astype(np.uint8)
        picture = Image.fromarray(blobs).resize((96, 96), Image.Resampling.BICUBIC)
        picture.save(where / "images" / f"{i}.png")
    first = Image.open(where / "images" / "0.png")
    first.save(where / "images" / "1.jpg", quality=40)
    Image.open(where / "images" / "2.png").resize((70, 70)).save(where / "images" / "3.png")
    turned = Image.open(where / "images" / "4.png").rotate(90)
    turned.point(lambda grey: grey * 0.8 + 20).save(where / "images" / "5.png")
    header = "file,class,patient,x,y,width,height"
    lines = [f"{line},20,20,30,30" for line in rows(24)[1:]]
    lines[1] = lines[1].replace("1.png", "1.jpg")
    label(where, [header, *lines])
    told = refused(where)
    for pair in ("p0, p1", "p2, p3", "p4, p5"):
        assert f"Patients {pair} have images that look like copies" in told
    assert "3 problems:" in told
    label(where, [header, *(line for i, line in enumerate(lines) if i not in (1, 3, 5))])
    assert len(prepared(where).lines) == 21


def test_a_frame_that_all_pictures_share_makes_no_copies(tmp_path: Path) -> None:
    where = folder(tmp_path, count=24, side=96)
    y, x = np.mgrid[:96, :96] - 47.5
    for i in range(24):
        rng = np.random.default_rng(i)
        blobs = Image.fromarray(rng.integers(90, 130, (12, 12)).astype(np.uint8))
        inside = np.asarray(blobs.resize((96, 96), Image.Resampling.BICUBIC))
        picture = np.where(np.hypot(x, y) < 45, inside, 0).astype(np.uint8)
        Image.fromarray(picture).save(where / "images" / f"{i}.png")
    lines = [f"{line},20,20,30,30" for line in rows(24)[1:]]
    label(where, ["file,class,patient,x,y,width,height", *lines])
    assert len(prepared(where).lines) == 24


def test_the_contact_sheet_shows_what_was_cut(tmp_path: Path) -> None:
    where = folder(tmp_path)
    label(where, rows())
    manifest = prepared(where)
    with Image.open(tmp_path / "data" / "contact-sheet.png") as sheet:
        shown = np.asarray(sheet)
    for line, roi_ in zip(manifest.lines, manifest.rois(WINDOW), strict=True):
        grey = np.round((roi_ + 1) * 127.5)
        row = 2 + LIVER.index(line.lesion_class) * (20 + 66) + 20
        column = 2 + (int(line.patient[1:]) // 3) * 66
        assert np.abs(shown[row : row + 64, column : column + 64] - grey).max() <= 1
    # outside the digest: it is for people
    (tmp_path / "data" / "contact-sheet.png").unlink()
    assert Manifest.load(tmp_path / "data").digest == manifest.digest


# -- grey values that nothing is to be seen in ----------------------------------------------------


def twelve_bits(tmp_path: Path, low: int = 0, high: int = 4095, frame: bool = False) -> Path:
    where = tmp_path / "in"
    for i in range(6):
        values = np.random.default_rng(i).integers(low, high + 1, (64, 64)).astype(np.uint16)
        if frame:
            values[:1] = 65535
        (where / "images").mkdir(parents=True, exist_ok=True)
        Image.fromarray(values).save(where / "images" / f"{i}.png")
    label(where, rows())
    return where


@pytest.mark.parametrize(("low", "high"), [(0, 2040), (0, 4095), (32768 - 150, 32768 + 250)])
def test_images_that_use_a_little_of_their_range_are_refused_with_the_remedy(
    tmp_path: Path, low: int, high: int
) -> None:
    told = refused(twelve_bits(tmp_path, low, high))
    assert "of the range of their 16 bits" in told
    assert "see next to nothing" in told
    assert "--range" in told


def test_a_bright_frame_does_not_hide_that_the_rois_use_little(tmp_path: Path) -> None:
    assert "The ROIs use 3% of the range" in refused(twelve_bits(tmp_path, 0, 2040, frame=True))


def test_a_range_is_kept_with_the_data_set_and_used_wherever_an_roi_is_made(
    tmp_path: Path,
) -> None:
    where = twelve_bits(tmp_path)
    assert command(where, "--range", "0,4095") == 0
    manifest = Manifest.load(tmp_path / "data")
    assert manifest.grey_range == (0, 4095)
    first = np.asarray(Image.open(where / "images" / "0.png")).astype(np.float64)
    expected = first / 4095 * 2 - 1
    np.testing.assert_allclose(manifest.rois(WINDOW)[0], expected, atol=1e-6)
    turned = manifest.roi(manifest.lines[0], WINDOW, roi.View(flip_lr=True))
    np.testing.assert_allclose(turned, expected[:, ::-1], atol=1e-6)
    (image,) = dicom.read((where / "images" / "0.png").read_bytes(), "x")
    served = roi.make(image, None, WINDOW, grey_range=manifest.grey_range).pixels
    np.testing.assert_allclose(served, expected, atol=1e-6)
    assert replace(manifest, grey_range=(0.0, 4000.0)).digest != manifest.digest
    assert replace(manifest, grey_range=None).digest != manifest.digest
    head = json.loads((tmp_path / "data" / "manifest.json").read_text())
    for altered in ([0, 4000], None, [4095, 0], ["x", 1], [1]):
        text = json.dumps({**head, "grey_range": altered})
        (tmp_path / "data" / "manifest.json").write_text(text)
        with pytest.raises(ManifestError):
            Manifest.load(tmp_path / "data")


def test_what_a_range_cuts_off_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = twelve_bits(tmp_path)
    assert command(where, "--range", "1024,3071") == 0
    assert "51% of the ROIs' pixels lie outside the grey values 1024 to 3071" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize("text", ["4095,0", "5", "1,2,3", "a,b", "-1,5", "nan,3", "3,3", "0,inf"])
def test_a_range_that_is_none_is_refused(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(twelve_bits(tmp_path), f"--range={text}") == 2
    assert "Invalid value for --range: " in capsys.readouterr().err


def test_a_range_that_does_not_fit_the_images_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(twelve_bits(tmp_path), "--range", "50000,60000") == 1
    assert "nothing within the grey values 50000 to 60000" in capsys.readouterr().err
    for i in range(6):
        png(tmp_path / "in" / "images" / f"{i}.png", i)
    assert command(tmp_path / "in", "--range", "0,4095") == 1
    assert "this image has 8 bits, 0 to 255" in capsys.readouterr().err


def test_hounsfield_units_take_no_range(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where, uids = series(tmp_path)
    lines = ["sop_instance_uid,lesion_class,patient,x,y,width,height"]
    lines += [f"{uid},{LIVER.keys[i % 3]},p{i},30,20,25,20" for i, uid in enumerate(uids)]
    (where / "lesions.csv").write_text("\n".join(lines))
    out = str(tmp_path / "data")
    assert main(["prepare", "dicom", str(where), "--range", "0,400", "--out", out]) == 1
    assert "these images have Hounsfield units" in capsys.readouterr().err


def lesions(where: Path, cells: list[str], header: str) -> None:
    lines = [header]
    lines += [f"s{i % 2}/IM{i},{LIVER.keys[i % 3]},{cell}" for i, cell in enumerate(cells)]
    (where / "lesions.csv").write_text("\n".join(lines), encoding="utf-8")


def refusal_of(where: Path) -> str:
    with pytest.raises(ManifestError) as refusal:
        list(prepare_dicom(where, LIVER, where.parent / "data"))
    return str(refusal.value)


@pytest.mark.parametrize("form", ["jpeg", "two", "inverted", "ct", "labels", "colours"])
def test_a_mask_that_is_not_one_lesion_is_refused(form: str, tmp_path: Path) -> None:
    where, _ = series(tmp_path)
    mask = np.zeros((80, 90), np.uint8)
    mask[20:40, 30:55] = 255
    if form == "two":
        mask[60:64, 2:6] = 1
    if form == "inverted":
        mask = 255 - mask
    if form in ("labels", "colours"):  # the liver, and a tumour in it
        mask = np.where(mask > 0, 1, 0).astype(np.uint8)
        mask[25:34, 36:50] = 2
    if form == "colours":
        mask = np.array([(0, 0, 0), (0, 255, 0), (255, 0, 0)], np.uint8)[mask]
    if form == "ct":
        shutil.copy(where / "s0" / "IM0", where / "mask")
    else:
        Image.fromarray(mask).save(where / "mask", "JPEG" if form == "jpeg" else "PNG")
    lesions(where, [f"p{i},mask" for i in range(6)], "file,lesion_class,patient,mask")
    words = {"jpeg": "is a JPEG", "two": "2 separate regions", "inverted": "is it inverted",
             "ct": "is a CT slice", "labels": "2 values or colours besides black",
             "colours": "2 values or colours besides black"}  # fmt: skip
    assert words[form] in refusal_of(where)


def test_a_mask_may_be_grey_at_its_edges(tmp_path: Path) -> None:
    where, _ = series(tmp_path)
    mask = np.zeros((80, 90))
    mask[20:40, 30:55] = 255
    soft = scipy.ndimage.uniform_filter(mask, 3).astype(np.uint8)
    Image.fromarray(soft).save(where / "mask.png")
    lesions(where, [f"p{i},mask.png" for i in range(6)], "file,lesion_class,patient,mask")
    list(prepare_dicom(where, LIVER, tmp_path / "data"))
    (box,) = {line.box for line in Manifest.load(tmp_path / "data").lines}
    assert (box.x, box.y, box.width, box.height) == (29, 19, 27, 22)


def test_files_that_differ_under_one_uid_are_not_chosen_for_the_user(tmp_path: Path) -> None:
    where, uids = series(tmp_path)
    (where / "again").write_bytes((where / "s0" / "IM0").read_bytes())
    lines = ["sop_instance_uid,lesion_class,patient,x,y,width,height"]
    lines += [f"{uid},{LIVER.keys[i % 3]},p{i},30,20,25,20" for i, uid in enumerate(uids)]
    (where / "lesions.csv").write_text("\n".join(lines))
    list(prepare_dicom(where, LIVER, tmp_path / "equal"))
    (where / "again").write_bytes(encoded(ct_dataset(SOPInstanceUID=uids[0])))
    assert "2 files that differ have SOP Instance UID" in refusal_of(where)


def test_what_the_images_warn_of_is_told_and_kept(tmp_path: Path) -> None:
    where, _ = series(tmp_path)
    for i in (1, 3):
        dataset = dcmread(where / "s1" / f"IM{i}")
        dataset.ImageType = ["DERIVED", "SECONDARY", "AXIAL", "IODINE"]
        (where / "s1" / f"IM{i}").write_bytes(encoded(dataset))
    header = "file,lesion_class,patient,x,y,width,height"
    lesions(where, [f"p{i},30,20,25,20" for i in range(6)], header)
    said = [step.text for step in prepare_dicom(where, LIVER, tmp_path / "data") if step.said]
    assert any("2 file(s) (s1/IM1, s1/IM3): ImageType names IODINE" in text for text in said)
    assert set(said) == set(Manifest.load(tmp_path / "data").notes)
    # all of these carry one study and one PatientID
    assert any("slices of one study" in text for text in said)
    assert any("files with one PatientID" in text and "P-1" not in text for text in said)


@pytest.mark.parametrize(
    ("patient", "words"),
    [("nan", "names nobody"), ("N/A", "names nobody"), ("#REF!", "names nobody"),
     ("#NV", "names nobody"), ("#DIV/0!", "names nobody"), ("<NA>", "names nobody"),
     ("k.A.", "names nobody"), ("unbekannt", "names nobody"), ("anonymisiert", "names nobody"),
     ("Anonymized", "names nobody"), ("1.23457E+12", "spreadsheet shortened"),
     ("1.2e+5", "spreadsheet shortened")],
)  # fmt: skip
def test_a_patient_who_is_nobody_is_refused(patient: str, words: str, tmp_path: Path) -> None:
    where = folder(tmp_path)
    label(where, [*rows()[:-1], f"images/5.png,{LIVER.keys[2]},{patient}"])
    assert words in refused(where)


def test_a_patient_written_in_two_normal_forms_is_told(tmp_path: Path) -> None:
    where = folder(tmp_path)
    label(where, [*rows(5), f"images/5.png,{LIVER.keys[2]},M\u00fc", "", ""])
    table = rows(5)
    table[1] = table[1].replace("p0", "Mu\u0308")
    label(where, [*table, f"images/5.png,{LIVER.keys[2]},M\u00fc"])
    assert "may be one" in refused(where)


def test_rows_have_the_numbers_that_a_spreadsheet_shows(tmp_path: Path) -> None:
    where = folder(tmp_path)
    table = rows()
    label(where, [*table[:2], "", ",,", f"images/1.png,{LIVER.keys[1]},", *table[3:]])
    assert "Row 5: no patient" in refused(where)


def test_a_key_slice_that_is_neither_one_nor_nought_is_refused(tmp_path: Path) -> None:
    where, _ = series(tmp_path)
    header = "file,lesion_class,patient,x,y,width,height,key_slice"
    keys = ["1", "1.0", "TRUE", "yes", "x", "maybe"]
    lesions(where, [f"p{i},30,20,25,20,{key}" for i, key in enumerate(keys)], header)
    assert "Row 7: key_slice 'maybe' is neither 1 nor 0" in refusal_of(where)
    lesions(where, [f"p{i},30,20,25,20,{key}" for i, key in enumerate([*keys[:5], "1"])], header)
    list(prepare_dicom(where, LIVER, tmp_path / "data"))
    assert len(Manifest.load(tmp_path / "data").lines) == 6


@pytest.mark.parametrize("diameter", ["2", "2.5", "200", "1,234"])
def test_a_diameter_that_the_box_denies_is_refused(diameter: str, tmp_path: Path) -> None:
    where, _ = series(tmp_path)
    header = "file,lesion_class,patient,x,y,width,height,diameter_mm"
    lesions(where, [f'p{i},30,20,25,20,"{diameter}"' for i in range(6)], header)
    assert "longer side of the box 20.0 mm" in refusal_of(where)


@pytest.mark.parametrize("number", ["4_0", "\u0664\u0660", "0x28", "1e"])
def test_a_number_is_written_in_plain_digits(number: str, tmp_path: Path) -> None:
    where, _ = series(tmp_path)
    header = "file,lesion_class,patient,x,y,width,height"
    lesions(where, [f"p{i},30,20,{number},20" for i in range(6)], header)
    assert "is not 1 numbers" in refusal_of(where)
