"""Folders of images and DICOM series with tables, as people really write them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ml import dicom, roi
from ml.__main__ import main
from ml.lesion import LIVER, LesionClass, LesionScheme
from ml.manifest import Manifest, ManifestError
from ml.prepare import PrepareError
from ml.prepare import dicom as prepare_dicom
from ml.prepare import images as prepare_images
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
    assert "labels.csv cannot be read" in refused(folder(tmp_path))


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["file,label,patient", "a,b,c"], "no column class; its columns are file, label, patient"),
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
    assert "10 problem(s)" in told


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
        dataset = ct_dataset(stored_values(80, 90, seed=i), **maker)
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
        "1 frame(s), not 3",
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
