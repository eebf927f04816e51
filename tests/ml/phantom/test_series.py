"""Phantom patients: the truth holds, the seed decides, the folder can be read back."""

from __future__ import annotations

import csv
import io
import json
from itertools import islice
from pathlib import Path

import numpy as np
import pydicom
import pytest

from ml.__main__ import main
from ml.ground.errors import HepaticaError
from ml.phantom import PhantomError, series
from ml.phantom.lesions import CLASSES, DIAMETER_MM
from ml.phantom.patient import PhantomPatient
from ml.progress import OutputError

COUNTS = {"cyst": 3, "metastasis": 2, "hemangioma": 4}


@pytest.mark.parametrize("patients", [0, -3])
def test_no_patients_are_refused(tmp_path: Path, patients: int) -> None:
    with pytest.raises(PhantomError, match="give 1 or more"):
        series.write(patients, 0, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("difficulty", [-0.01, 1.01, float("nan")])
def test_difficulty_outside_its_range_is_refused(difficulty: float) -> None:
    with pytest.raises(PhantomError, match="outside 0…1"):
        series.patient(0, difficulty)


def test_folder_that_is_not_empty_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="not an empty folder"):
        series.write(1, 0, tmp_path)
    with pytest.raises(OutputError, match="not an empty folder"):
        series.write_cohort(COUNTS, 0, tmp_path / "notes.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_impossible_requests_are_refused() -> None:
    for attempt in (
        lambda: series.patient(-1),
        lambda: series.patient(0, index=-1),
        lambda: series.patient(0, lesion_class="adenoma"),
        lambda: series.patient(0, lesions=0),
        lambda: series.cohort({"adenoma": 3}, 0),
        lambda: series.cohort({"cyst": -1}, 0),
        lambda: series.cohort({"cyst": 0}, 0),
    ):
        with pytest.raises(PhantomError):
            attempt()
    assert issubclass(PhantomError, HepaticaError)


def test_same_seed_gives_the_same_slice_alone_or_among_others() -> None:
    first, second = series.patient(11, index=2), series.patient(11, index=2)
    last = len(first.heights_mm) - 1
    among = [first.slice(i) for i in (0, last)][1]
    alone = second.slice(last)
    assert np.array_equal(among.hu, alone.hu)
    assert np.array_equal(among.mask, alone.mask)
    assert among.sop_uid == alone.sop_uid
    assert first.lesions == second.lesions


def test_other_seeds_and_indices_give_other_patients() -> None:
    uids = {series.patient(s, index=i).series_uid for s in (1, 2) for i in (0, 1)}
    diameters = {series.patient(s, index=i).lesions[0].diameter_mm for s in (1, 2) for i in (0, 1)}
    assert len(uids) == len(diameters) == 4


def test_patient_does_not_depend_on_how_many_are_written(tmp_path: Path) -> None:
    for n in (1, 2):
        for _ in series.write(n, 5, tmp_path / str(n), key_slices_only=True):
            pass
    few = sorted((tmp_path / "1").rglob("*.dcm"))
    assert few
    for path in few:
        other = tmp_path / "2" / path.relative_to(tmp_path / "1")
        assert path.read_bytes() == other.read_bytes()


@pytest.fixture(scope="module")
def crowd() -> list[PhantomPatient]:
    return [series.patient(3, 0.5, index) for index in range(40)]


def test_series_has_its_bounded_number_of_slices_at_one_interval(
    crowd: list[PhantomPatient],
) -> None:
    for one in crowd:
        assert series.SLICES[0] <= len(one.heights_mm) <= series.SLICES[1]
        assert np.allclose(np.diff(one.heights_mm), one.interval_mm)
        assert one.interval_mm >= one.scanner.thickness_mm
        for lesion in one.lesions:
            assert one.heights_mm[lesion.key_slice] == pytest.approx(lesion.center_mm[2])


def test_lesions_lie_wholly_in_the_liver_and_apart(crowd: list[PhantomPatient]) -> None:
    for one in crowd:
        for lesion in one._drawn:
            assert one._anatomy.liver_distance(lesion.shape.surface()).max() < 0
        for i, a in enumerate(one.lesions):
            assert DIAMETER_MM[0] <= a.diameter_mm <= DIAMETER_MM[1]
            assert a.lesion_class == one.lesion_class
            for b in one.lesions[:i]:
                gap = np.linalg.norm(np.subtract(a.center_mm, b.center_mm))
                assert gap > (a.diameter_mm + b.diameter_mm) / 2


def test_patients_have_several_lesions_and_all_classes_occur(
    crowd: list[PhantomPatient],
) -> None:
    assert {one.lesion_class for one in crowd} == set(CLASSES)
    assert {len(one.lesions) for one in crowd} == {1, 2, 3, 4}


def test_mask_box_and_diameter_agree(crowd: list[PhantomPatient]) -> None:
    for one in crowd[:8]:
        for number, lesion in enumerate(one.lesions, start=1):
            image = one.key_slice(number)
            rows, columns = np.nonzero(image.mask == number)
            box = image.box(number)
            assert box == (
                columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1,
            )  # fmt: skip
            spacing = image.spacing_mm[0]
            edge = np.stack([rows, columns], axis=1) * spacing
            rim = edge[np.linspace(0, len(edge) - 1, min(len(edge), 400)).astype(int)]
            longest = np.linalg.norm(rim[:, None] - edge[None], axis=2).max() + spacing
            assert longest == pytest.approx(lesion.diameter_mm, abs=2.5 * spacing + 0.03 * longest)
            middle = columns.mean() * spacing + image.position_mm[0]
            assert middle == pytest.approx(lesion.center_mm[0], abs=0.15 * lesion.diameter_mm)


def test_key_slice_is_where_the_lesion_is_largest() -> None:
    one = series.patient(21, index=1)
    for number, lesion in enumerate(one.lesions, start=1):
        near = range(max(0, lesion.key_slice - 2), min(len(one.heights_mm), lesion.key_slice + 3))
        area = {i: int((one.slice(i).mask == number).sum()) for i in near}
        assert area[lesion.key_slice] >= 0.99 * max(area.values())


@pytest.mark.long
def test_cohort_has_exactly_the_counts_and_one_class_a_patient() -> None:
    made = list(series.cohort({"cyst": 53, "metastasis": 64, "hemangioma": 65}, 4))
    found = dict.fromkeys(CLASSES, 0)
    for one in made:
        assert len({lesion.lesion_class for lesion in one.lesions}) == 1
        found[one.lesion_class] += len(one.lesions)
    assert found == {"cyst": 53, "metastasis": 64, "hemangioma": 65}
    assert len({one.patient_id for one in made}) == len(made)
    again = list(islice(series.cohort({"cyst": 53, "metastasis": 64, "hemangioma": 65}, 4), 5))
    assert [one.lesions for one in again] == [one.lesions for one in made[:5]]


def test_fast_way_gives_every_lesion_of_the_cohort_on_its_key_slice() -> None:
    drawn = list(series.draw_lesion_slices(COUNTS, 8))
    assert len(drawn) == 9
    for one, number, image in drawn:
        assert image.box(number) is not None
        assert image.position_mm[2] == pytest.approx(one.lesions[number - 1].center_mm[2])


def test_written_folder_reads_back_to_the_same_hu_and_truth(tmp_path: Path) -> None:
    out = tmp_path / "set"
    steps = list(series.write_cohort(COUNTS, 2, out, 0.3, key_slices_only=True))
    assert (steps[-1].done, steps[-1].total) == (9, 9)
    made = {one.patient_id: one for one in series.cohort(COUNTS, 2, 0.3)}
    with (out / "lesions.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert tuple(rows[0]) == series.COLUMNS
    keys = [row for row in rows if row["key_slice"] == "1"]
    assert {(row["patient"], row["lesion"]) for row in keys} == {
        (one.patient_id, str(i + 1)) for one in made.values() for i in range(len(one.lesions))
    }
    for row in keys[:3]:
        data = pydicom.dcmread(out / row["file"])
        one, number = made[row["patient"]], int(row["lesion"])
        image = one.key_slice(number)
        hu = data.pixel_array.astype(int) * int(data.RescaleSlope) + int(data.RescaleIntercept)
        assert np.array_equal(hu, image.hu)
        assert data.SOPInstanceUID == row["sop_instance_uid"]
        assert data.SeriesInstanceUID == row["series_instance_uid"]
        box = image.box(number)
        assert tuple(float(row[key]) for key in ("x", "y", "width", "height")) == box
    about = json.loads((out / "phantom.json").read_text())
    assert about["counts"]["lesions"] == 9
    assert {key: about["counts"][key] for key in COUNTS} == COUNTS
    assert (about["seed"], about["difficulty"]) == (2, 0.3)


def test_whole_series_is_written_in_order_and_says_that_it_is_simulated(tmp_path: Path) -> None:
    list(series.write(1, 6, tmp_path / "out"))
    files = [pydicom.dcmread(path) for path in sorted((tmp_path / "out").rglob("*.dcm"))]
    assert series.SLICES[0] <= len(files) <= series.SLICES[1]
    heights = [float(data.ImagePositionPatient[2]) for data in files]
    assert heights == sorted(heights)
    assert [int(data.InstanceNumber) for data in files] == list(range(1, len(files) + 1))
    assert len({data.SOPInstanceUID for data in files}) == len(files)
    assert len({data.SeriesInstanceUID for data in files}) == 1
    data = files[0]
    assert data[0x0008001C].value == "YES"
    assert (data.Manufacturer, data.ManufacturerModelName) == ("Hepatica", "Phantom")
    assert data.SeriesDescription == "Phantom, simulated CT, not a patient"
    assert str(data.PatientName).startswith("Phantom^")
    assert data.PatientID.startswith("PHANTOM-")
    assert data.SOPClassUID == pydicom.uid.CTImageStorage
    assert data.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
    for keyword in (
        "KVP", "ConvolutionKernel", "SliceThickness", "PixelSpacing", "ImageOrientationPatient",
        "ContrastBolusAgent", "FrameOfReferenceUID", "StudyInstanceUID",
    ):  # fmt: skip
        assert data[keyword].value not in ("", None)
    # every attribute of type 2 is there, empty where a phantom has none
    for keyword in ("PatientBirthDate", "PatientSex", "StudyDate", "StudyID", "AccessionNumber"):
        assert keyword in data
    with io.BytesIO() as again:
        data.save_as(again, enforce_file_format=True)
        assert pydicom.dcmread(io.BytesIO(again.getvalue())).PixelData == data.PixelData


def test_command_writes_a_set_and_refuses_a_used_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "set"
    command = ["phantom", "--counts", "cyst=1,hemangioma=1", "--seed", "3", "--out", str(out)]
    assert main([*command, "--key-slices-only"]) == 0
    assert len(list(out.rglob("*.dcm"))) == 2
    assert main(command) == 1
    assert "not an empty folder" in capsys.readouterr().err
    assert main(["phantom", "--counts", "cyst", "--out", str(tmp_path / "b")]) == 2


@pytest.mark.parametrize("each", [2, 3, 8])
@pytest.mark.parametrize("seed", [1, 5])
def test_a_small_class_is_spread_over_patients_for_the_folds(each: int, seed: int) -> None:
    counts = dict.fromkeys(CLASSES, each)
    patients = dict.fromkeys(CLASSES, 0)
    lesions = dict.fromkeys(CLASSES, 0)
    for made in series.cohort(counts, seed):
        patients[made.lesion_class] += 1
        lesions[made.lesion_class] += len(made.lesions)
    assert lesions == counts
    assert min(patients.values()) >= min(each, series.SPREAD)


@pytest.mark.parametrize(
    ("size", "few"),
    [(["--counts", "cyst=7,metastasis=1"], "metastasis in 1, hemangioma in 0"),
     (["--patients", "1"], "Few patients: ")],
)  # fmt: skip
def test_too_few_patients_to_train_on_are_said(
    tmp_path: Path, size: list[str], few: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["phantom", *size, "--key-slices-only", "--out", str(tmp_path / "p")]) == 0
    told = capsys.readouterr().err
    assert few in told
    assert "6 patients or more" in told
