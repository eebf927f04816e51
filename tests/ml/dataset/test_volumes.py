"""Lesions marked in volumes: NIfTI masks, DICOM segmentations and contours."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import pack_bits
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from ml.dataset import inspect
from ml.dataset.columns import Unit
from ml.dataset.entries import Options
from ml.dataset.labels import Whose
from ml.dataset.manifest import Manifest, ManifestError
from ml.dataset.prepare import dicom, volumes
from ml.images import nifti
from ml.images.roi import Box
from ml.marks import components
from tests.ml.dicom_files import ct_dataset, encoded

nibabel = pytest.importorskip("nibabel")

SHAPE = (60, 50, 12)
"""Columns, rows and slices in the directions right, anterior, superior."""


def body(seed: int) -> np.ndarray:
    """A volume in HU, air around; the voxel (10, 40, 3) is bright."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(-90, 90, (6, 5, 12)).repeat(10, 0).repeat(10, 1)
    values = np.full(SHAPE, -1000, np.int16)
    values[3:-3, 3:-3] = coarse[3:-3, 3:-3]
    values[10, 40, 3] = 900
    return values


def mask(*boxes: tuple[slice, slice, slice], value: int = 1) -> np.ndarray:
    inside = np.zeros(SHAPE, np.uint8)
    for box in boxes:
        inside[box] = value
    return inside


LESION = (slice(20, 32), slice(10, 18), slice(4, 7))
AFFINE = np.diag([0.8, 0.7, 5.0, 1.0])


def save(path: Path, values: np.ndarray, affine: np.ndarray | None = AFFINE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, affine), path)


def study(tmp_path: Path, axes: str = "RAS") -> Path:
    """Four patients of two classes; files in another order of axes hold the same body."""
    where = tmp_path / "in"
    lines = ["file,mask,class,patient"]
    for i in range(4):
        for name, values in ((f"{i}.nii.gz", body(i)), (f"m{i}.nii.gz", mask(LESION))):
            image = nibabel.Nifti1Image(values, AFFINE)
            wanted = nibabel.orientations.axcodes2ornt(axes)
            own = nibabel.orientations.io_orientation(AFFINE)
            change = nibabel.orientations.ornt_transform(own, wanted)
            where.mkdir(exist_ok=True)
            nibabel.save(image.as_reoriented(change), where / name)
        lines.append(f"{i}.nii.gz,m{i}.nii.gz,{('cyst', 'metastasis')[i % 2]},p{i}")
    (where / "labels.csv").write_text("\n".join(lines))
    return where


def made(where: Path, unit: Unit | None = Unit.HU) -> Manifest:
    out = where.parent / "data"
    list(volumes(where, None, out, Options(unit=unit)))
    return Manifest.load(out)


def refused(where: Path, unit: Unit | None = Unit.HU) -> str:
    with pytest.raises(ManifestError) as refusal:
        made(where, unit)
    return str(refusal.value)


@pytest.mark.parametrize("axes", ["RAS", "LPS", "PSR"])
def test_a_lesion_is_found_whatever_the_order_of_the_axes(tmp_path: Path, axes: str) -> None:
    where = study(tmp_path, axes)
    assert "prepare nifti" in inspect.look(where).command
    manifest = made(where)
    line = manifest.lines[0]
    # seen from below, the patient's right on the left, anterior above; the top slice first
    assert line.box == Box(60 - 32, 50 - 18, 12, 8)
    assert line.file == f"0.nii.gz#{12 - 6}"
    assert line.spacing_mm == pytest.approx((0.7, 0.8))
    assert line.diameter_mm == pytest.approx(9.6)
    assert manifest.kind == "calibrated"
    volume = nifti.read(tmp_path / "in" / "0.nii.gz")
    assert volume.values[12 - 1 - 3, 50 - 1 - 40, 60 - 1 - 10] == 900
    assert volume.affine @ [60 - 1 - 10, 50 - 1 - 40, 12 - 1 - 3, 1] == pytest.approx(
        AFFINE @ [10, 40, 3, 1]
    )


def test_every_region_is_a_lesion_on_the_slice_where_it_is_largest() -> None:
    inside = np.zeros((5, 20, 20), bool)
    inside[0, 2:5, 2:5] = True
    inside[1, 2:6, 2:9] = True
    inside[2, 6, 9] = True  # touches by a corner
    inside[4, 10:12, 15:18] = True
    inside[4, 0, 0] = True
    found, small = components.largest(inside)
    assert [(one.place, one.box, one.voxels) for one in found] == [
        (1, Box(2, 2, 7, 4), 9 + 28 + 1),
        (4, Box(15, 10, 3, 2), 6),
    ]
    assert small == 1
    assert components.gaps_filled([inside[0]] * 4, [0, 5, 10, 25]) == [0, 1, 2, 4]


@pytest.mark.parametrize(
    ("name", "values", "affine", "words"),
    [
        ("0.nii.gz", body(0), None, "neither sform nor qform"),
        ("0.nii.gz", body(0)[..., None, None].repeat(2, 4), AFFINE, "three axes"),
        ("m0.nii.gz", mask(), AFFINE, "has no voxel"),
        ("m0.nii.gz", mask(LESION)[:-1], AFFINE, "59 × 50 × 12 voxels, its volume 60 × 50 × 12"),
        ("m0.nii.gz", mask(LESION), AFFINE + np.eye(4)[3] * 3, "lies elsewhere in the patient"),
        ("m0.nii.gz", 1 - mask(), AFFINE, "covers everything"),
        ("m0.nii.gz", mask(LESION) + mask((slice(1),) * 3, value=2), AFFINE, "several values"),
        ("m0.nii.gz", mask((slice(1),) * 3), AFFINE, "1 specks"),
        ("0.nii.gz", body(0).astype(np.float32) * np.nan, AFFINE, "no numbers"),
        ("m0.nii.gz", np.where(mask(LESION), np.nan, 0.0), AFFINE, "values that are no numbers"),
        ("0.nii.gz", (body(0) + 1000) / 2000.0, AFFINE, "fractions as Hounsfield units"),
    ],
)
def test_a_volume_or_mask_that_does_not_fit_is_refused(
    tmp_path: Path, name: str, values: np.ndarray, affine: np.ndarray | None, words: str
) -> None:
    where = study(tmp_path)
    save(where / name, values, affine)
    told = refused(where)
    assert words in told
    assert "Row 2: " in told
    assert "1 problem:" in told


def test_a_file_that_is_no_volume_is_refused(tmp_path: Path) -> None:
    where = study(tmp_path)
    (where / "0.nii.gz").write_bytes(b"not a volume")
    data = (where / "1.nii.gz").read_bytes()
    (where / "1.nii.gz").write_bytes(data[: len(data) // 2])
    (where / "2.nii.gz").unlink()
    told = refused(where)
    for row in (2, 3, 4):
        assert f"Row {row}: " in told


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("qform", np.diag([-0.8, 0.7, 5.0, 1.0]), "its sform and its qform are up to 94 mm apart"),
        ("units", "meter", "lengths in metres"),
        ("units", "micron", "lengths in micrometres"),
        ("flat", np.diag([0, 0.7, 5.0, 1.0]), "no whole NIfTI file"),
        ("checksum", None, "CRC check failed"),
        ("middle", None, "Row 2: 0.nii.gz"),
    ],
)
def test_a_volume_that_contradicts_itself_is_refused(
    tmp_path: Path, field: str, value: object, words: str
) -> None:
    where = study(tmp_path)
    path = where / "0.nii.gz"
    image = nibabel.load(path)
    if field == "qform":
        image.set_qform(value, 1)
    elif field == "flat":
        image.header["qform_code"] = 0
        image.header.set_sform(value, 1)
    elif field == "units":
        image.header.set_xyzt_units(value)
    nibabel.save(nibabel.Nifti1Image(np.asanyarray(image.dataobj), None, image.header), path)
    data = bytearray(path.read_bytes())
    if field == "checksum":
        data[-8:-4] = b"\0\0\0\0"
    elif field == "middle":
        data[len(data) // 2 : len(data) // 2 + 64] = b"\xff" * 64
    path.write_bytes(data)
    told = refused(where)
    assert words in told
    assert "1 problem:" in told


def test_what_a_volume_may_not_know_of_itself_is_said(tmp_path: Path) -> None:
    where = study(tmp_path)
    for i in range(4):
        save(where / f"{i}.nii.gz", body(i) + 1024, np.eye(4))
        save(where / f"m{i}.nii.gz", mask(LESION), np.eye(4))
    notes = made(where).notes
    assert any("Its voxels are cubes of 1 mm" in note for note in notes)
    assert any("Its lowest value is 24, so there is no air in it" in note for note in notes)


def test_what_the_values_are_is_asked(tmp_path: Path) -> None:
    where = study(tmp_path)
    assert "they look like Hounsfield units: --unit hu" in refused(where, None)
    assert "grey is 0 to 65535" in refused(where, Unit.GREY)


# DICOM objects.


def series(where: Path, patient: str, count: int = 4) -> list[Dataset]:
    """CT slices of 40 × 50 pixels, 5 mm apart, of one patient."""
    where.mkdir(parents=True, exist_ok=True)
    found = []
    for i in range(count):
        rng = np.random.default_rng([i, int(patient)])
        stored = rng.integers(950, 1150, (8, 10)).repeat(5, 0).repeat(5, 1).astype(np.int16)
        one = ct_dataset(
            stored,
            PatientID=patient,
            StudyInstanceUID=generate_uid(),
            ImagePositionPatient=[-100.0, -100.0, 5.0 * i],
            PixelSpacing=[0.7, 0.8],
        )
        (where / f"{i}.dcm").write_bytes(encoded(one))
        found.append(one)
    return found


def item(**values: object) -> Dataset:
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


def marking(uid: str, **values: object) -> Dataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = uid
    meta.MediaStorageSOPInstanceUID = generate_uid()
    made = item(SOPClassUID=uid, SOPInstanceUID=meta.MediaStorageSOPInstanceUID, **values)
    made.file_meta = meta
    return made


def write_seg(path: Path, slices: list[Dataset], label: str, placed: bool = True) -> None:
    """Frames for the slices 1 and 2; the second is the larger."""
    masks = np.zeros((2, 40, 50), np.uint8)
    masks[0, 10:14, 20:26] = 1
    masks[1, 10:18, 20:30] = 1
    source = [
        item(SourceImageSequence=[item(ReferencedSOPInstanceUID=one.SOPInstanceUID)])
        for one in slices[1:3]
    ]
    frames = [
        item(
            SegmentIdentificationSequence=[item(ReferencedSegmentNumber=1)],
            **({"DerivationImageSequence": [one]} if placed else {}),
        )
        for one in source
    ]
    made = marking(
        "1.2.840.10008.5.1.4.1.1.66.4",
        SegmentSequence=[item(SegmentNumber=1, SegmentLabel=label)],
        PerFrameFunctionalGroupsSequence=frames,
    )
    made.update({"Rows": 40, "Columns": 50, "NumberOfFrames": 2, "SamplesPerPixel": 1})
    made.update({"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0, "PixelRepresentation": 0})
    made.PhotometricInterpretation = "MONOCHROME2"
    made.SegmentationType = "BINARY"
    made.PixelData = pack_bits(masks)
    made.save_as(path, enforce_file_format=True)


def write_contours(path: Path, slices: list[Dataset], label: str, off_mm: float = 0.0) -> None:
    """A rectangle with a hole on slice 2, in mm of the patient."""

    def around(left: float, top: float, right: float, bottom: float) -> Dataset:
        corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
        points = [v for x, y in corners for v in (-100 + x * 0.8, -100 + y * 0.7, 10.0 + off_mm)]
        return item(
            ContourGeometricType="CLOSED_PLANAR",
            ContourData=points,
            ContourImageSequence=[item(ReferencedSOPInstanceUID=slices[2].SOPInstanceUID)],
        )

    made = marking(
        "1.2.840.10008.5.1.4.1.1.481.3",
        StructureSetROISequence=[item(ROINumber=4, ROIName=label)],
        ROIContourSequence=[
            item(
                ReferencedROINumber=4,
                ContourSequence=[around(20, 10, 29, 17), around(23, 12, 25, 14)],
            )
        ],
    )
    made.save_as(path, enforce_file_format=True)


def marked(tmp_path: Path) -> Path:
    where = tmp_path / "in"
    for patient in ("1", "2", "3", "4"):
        slices = series(where / patient, patient)
        label = ("Cyst", "Metastasis")[int(patient) % 2]
        write = (write_seg, write_contours)[int(patient) > 2]
        write(where / patient / "marks.dcm", slices, label)
    return where


def test_segmentations_and_contours_mark_lesions(tmp_path: Path) -> None:
    where = marked(tmp_path)
    list(dicom(where, None, tmp_path / "data"))
    manifest = Manifest.load(tmp_path / "data")
    assert manifest.counts() == {"cyst": 2, "metastasis": 2}
    # a contour goes through the centres of the pixels at its edge
    assert {line.box for line in manifest.lines} == {Box(20, 10, 10, 8)}
    assert [line.file for line in manifest.lines] == [f"{n}/2.dcm" for n in (1, 2, 3, 4)]
    assert [line.patient for line in manifest.lines] == [f"patient-000{n}" for n in (1, 2, 3, 4)]


def test_what_says_of_itself_that_it_is_no_lesion_is_left_out(tmp_path: Path) -> None:
    where = marked(tmp_path)
    for patient in ("1", "3"):
        path = where / patient / "marks.dcm"
        whole = dcmread(path)
        if patient == "1":
            code = item(CodingSchemeDesignator="SCT", CodeValue="123037004")
            whole.SegmentSequence[0].SegmentedPropertyCategoryCodeSequence = [code]
        else:
            kind = item(ReferencedROINumber=4, RTROIInterpretedType="EXTERNAL")
            whole.RTROIObservationsSequence = [kind]
        whole.save_as(path, enforce_file_format=True)
    for patient in ("5", "6"):
        write_seg(where / patient / "marks.dcm", series(where / patient, patient), "Metastasis")
    list(dicom(where, None, tmp_path / "data"))
    manifest = Manifest.load(tmp_path / "data")
    assert [line.file for line in manifest.lines] == [f"{n}/2.dcm" for n in (2, 4, 5, 6)]
    left_out = [note for note in manifest.notes if note.startswith("Left out")]
    assert left_out == [
        "Left out: 1/marks.dcm, Metastasis: its segment is an anatomical structure, by its "
        "category, and no lesion.",
        "Left out: 3/marks.dcm, Metastasis: its type is EXTERNAL, and no lesion (GTV).",
    ]


def test_marks_without_a_place_are_refused(tmp_path: Path) -> None:
    where = marked(tmp_path)
    assert "prepare dicom" in inspect.look(where).command
    slices = [dcmread(where / "1" / f"{i}.dcm") for i in range(4)]
    write_seg(where / "1" / "marks.dcm", slices, "Metastasis", placed=False)
    slices = [dcmread(where / "3" / f"{i}.dcm") for i in range(4)]
    write_contours(where / "3" / "marks.dcm", slices, "Metastasis", off_mm=4)
    (where / "2" / "2.dcm").unlink()
    with pytest.raises(ManifestError) as refusal:
        list(dicom(where, None, tmp_path / "data"))
    told = str(refusal.value)
    assert "1/marks.dcm, Metastasis: its frames do not say on which images they lie" in told
    assert "2/marks.dcm, Cyst: no file under the folder has SOP Instance UID" in told
    assert "3/marks.dcm, Metastasis: its contours lie 4.0 mm off" in told


def test_a_folder_without_marks_is_refused(tmp_path: Path) -> None:
    series(tmp_path / "in", "1")
    with pytest.raises(ManifestError, match=r"neither lesions.csv nor a DICOM segmentation"):
        list(dicom(tmp_path / "in", None, tmp_path / "data"))


def test_a_volume_is_of_one_patient(tmp_path: Path) -> None:
    where = study(tmp_path)
    two = mask(LESION, (slice(40, 46), slice(30, 36), slice(9, 11)))
    for i in range(4):
        save(where / f"m{i}.nii.gz", two)
    options = Options(unit=Unit.HU, patients=Whose.IMAGE)
    list(volumes(where, None, tmp_path / "data", options))
    manifest = Manifest.load(tmp_path / "data")
    assert (len(manifest.lines), len(manifest.patients)) == (8, 4)
    lines = ["file,mask,class,patient"]
    for i in range(4):
        key = ("cyst", "metastasis")[i % 2]
        for k, box in enumerate((LESION, (slice(40, 46), slice(30, 36), slice(9, 11)))):
            save(where / f"m{i}{k}.nii.gz", mask(box))
            lines.append(f"{i}.nii.gz,m{i}{k}.nii.gz,{key},p{i}-{k}")
    (where / "labels.csv").write_text("\n".join(lines))
    with pytest.raises(ManifestError, match=r"Patients p0-0, p0-1 have slices of one volume"):
        list(volumes(where, None, tmp_path / "other", Options(unit=Unit.HU)))


@pytest.mark.parametrize("patients", [None, Whose.IMAGE])
def test_volumes_of_one_name_in_two_folders_are_two(tmp_path: Path, patients) -> None:
    where = study(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    other = study(tmp_path / "elsewhere")
    for i in range(4):
        save(other / f"{i}.nii.gz", body(10 + i))
    table = re.sub(r",p(\d)", r",q\1", (other / "labels.csv").read_text())
    (other / "labels.csv").write_text(table)
    options = Options(unit=Unit.HU, test=other, patients=patients)
    list(volumes(where, None, tmp_path / "data", options))
    manifest = Manifest.load(tmp_path / "data")
    assert (len(manifest.lines), len(manifest.patients)) == (8, 8)
    assert not any("lie mostly over" in note for note in manifest.notes)
