"""What was said of lesions leaves as objects that a PACS and its viewers read."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import uuid
from dataclasses import dataclass, replace

import numpy as np
import pytest
import sqlalchemy as sa
import sr_by_highdicom
from highdicom.sr import srread
from pydicom import dcmread
from pydicom.dataset import Dataset

import studies
from app.models import Case, Checkpoint, Image, Measure, Prediction
from app.models.cases.lesion import Lesion
from app.objects import capture, letters, part10, report, said
from app.objects.naming import Names
from app.objects.report import HYDRATABLE
from factories import make_dicom, make_hu
from ml.checkpoints.checkpoint import CheckpointKind
from ml.images.roi import Box
from ml.images.ruler import Kind
from ml.lesion import Code, LesionClass, LesionScheme
from ml.trust.answer import PredictionSet, Said
from ml.trust.novelty import Unlike
from stow import parts_of, store

KEY = b"k" * 32
BOXES = (Box(40, 30, 20, 16), Box(1, 2, 12, 10))


@dataclass
class Asked:
    """A case with two lesions on two slices, scored and reviewed."""

    client: object
    token: str
    case: Case
    sent: Dataset

    def get(self, format: str = "sr", by: str = "network", **headers: str):
        headers = {"authorization": f"Bearer {self.token}", **headers}
        address = f"/api/v1/cases/{self.case.id}/report?format={format}&by={by}"
        return self.client.get(address, headers=headers)

    def object(self, format: str = "sr", by: str = "network") -> Dataset:
        reply = self.get(format, by)
        assert reply.status_code == 200, reply.text
        assert reply.headers["content-type"] == "application/dicom"
        return dcmread(io.BytesIO(reply.content))


@pytest.fixture
def asked(client, token, session) -> Asked:
    shared = {"study": "a study", "patient_id": "PAT-7"}
    files = [make_dicom(make_hu(i), number=i + 1, z=5.0 * i, **shared) for i in range(2)]
    assert store(client, token, *files).status_code == 200
    case = session.scalars(sa.select(Case)).one()
    images = session.scalars(sa.select(Image).order_by(Image.created_at, Image.id)).all()
    maker = studies.make_user(session, "marker", "reader")
    network = Checkpoint.served(session, CheckpointKind.CLASSIFIER)[-1]
    scores = {"cyst": 0.125, "metastasis": 0.75, "hemangioma": 0.125}
    classes = ("metastasis", "other")
    for image, box, given in zip(images, BOXES, classes, strict=True):
        lesion = Lesion.mark(session, image, box, maker)
        Prediction.record(session, lesion, network, Said(scores), ["Phantom data."])
        session.flush()
        studies.review(session, lesion, given, by=maker)
    session.commit()
    return Asked(client, token, case, dcmread(io.BytesIO(files[0])))


def test_the_version_names_the_calibration_and_another_one_is_another_object(asked, session):
    [account] = said.by_networks(session, asked.case)[:1]
    network = Checkpoint.named(session, account.name).onnx_digest[:12]
    assert account.version.startswith(f"{network}-")
    told = asked.get("json").json()["accounts"][0]
    assert told["version"] == account.version
    mine, other = (
        Names(replace(account, version=version), "sr", KEY)
        for version in (account.version, f"{network}-01234567")
    )
    assert mine.instance_uid() != other.instance_uid()
    assert mine.device_uid() != other.device_uid()
    lesion = account.statements[0].lesion.id
    assert mine.tracking_uid(lesion) == other.tracking_uid(lesion)


def test_calibrated_numbers_leave_as_probabilities_with_what_cannot_be_excluded(asked, session):
    network = Checkpoint.served(session, CheckpointKind.CLASSIFIER)[-1]
    image = session.scalars(sa.select(Image)).first()
    maker = studies.make_user(session, "second.marker", "reader")
    lesion = Lesion.mark(session, image, Box(60, 60, 20, 20), maker)
    open_ = PredictionSet(0.9, ("metastasis", "cyst"))
    said = Said(
        {"cyst": 0.25, "metastasis": 0.7, "hemangioma": 0.05},
        calibrated=True,
        prediction_set=open_,
        unlike_training=Unlike(2.5, True, ("mean in the lesion 300 HU",)),
    )
    Prediction.record(session, lesion, network, said, [])
    session.commit()
    told = groups_of(asked.object())[-1]
    numbers = {one.name.meaning: one.value for one in told.get_measurements()}
    assert numbers == {
        "Probability of metastasis": 70.0,
        "Probability of cyst": 25.0,
        "Probability of hemangioma": 5.0,
    }
    words = {one.name.meaning: one.value.meaning for one in told.get_qualitative_evaluations()}
    assert words == {
        "Classes that cannot be excluded": "metastasis or cyst (90 %)",
        "Likeness to the network's training ROIs": "unlike: do not rely on the class",
    }
    told_in_json = asked.get("json").json()["accounts"][0]["lesions"]
    [last] = [one for one in told_in_json if one["number"] == lesion.number]
    assert last["calibrated"] is True
    assert last["cannot_be_excluded"] == "metastasis or cyst (90 %)"
    assert last["unlike_training"] is True
    labels = json.dumps(asked.object("pr").to_json_dict())
    assert "metastasis, network probability 70 %" in labels


def test_a_set_that_is_too_long_for_one_line_leaves_out_no_class(asked, session):
    names = [f"lesion of a kind that takes many words, number {n}" for n in range(9)]
    scheme = LesionScheme("nine", tuple(LesionClass(f"class_{n}", s) for n, s in enumerate(names)))
    network = Checkpoint.served(session, CheckpointKind.CLASSIFIER)[-1]
    network.meta = {**network.meta, "scheme": scheme.to_dict()}
    image = session.scalars(sa.select(Image)).first()
    maker = studies.make_user(session, "second.marker", "reader")
    lesion = Lesion.mark(session, image, Box(60, 60, 20, 20), maker)
    left = PredictionSet(0.9, scheme.keys[:4])
    Prediction.record(
        session, lesion, network,
        Said(dict.fromkeys(scheme.keys, 1 / 9), calibrated=True, prediction_set=left), [],
    )  # fmt: skip
    for other in session.scalars(sa.select(Prediction).where(Prediction.lesion_id != lesion.id)):
        session.delete(other)  # of a scheme of three
    session.commit()
    told = groups_of(asked.object())[-1]
    assert [
        one.value.meaning
        for one in told.get_qualitative_evaluations()
        if one.name.meaning == "Class that cannot be excluded (90 %)"
    ] == names[:4]


@pytest.mark.parametrize(
    "classes",
    [
        {"hemangioma_atypical_small": "small", "hemangioma_atypical_large": "large"},
        {"a": "a class of the same sixty letters as another one of them, but for its end: one",
         "b": "a class of the same sixty letters as another one of them, but for its end: two"},
        {"a": "cyst\\metastasis\nof the liver", "b": "cyst\\metastasis\tof the spleen"},
    ],
)  # fmt: skip
def test_classes_that_begin_alike_are_told_apart_in_what_leaves(asked, session, classes):
    scheme = LesionScheme("odd", tuple(LesionClass(key, name) for key, name in classes.items()))
    network = Checkpoint.served(session, CheckpointKind.CLASSIFIER)[-1]
    network.meta = {**network.meta, "scheme": scheme.to_dict()}
    for prediction in session.scalars(sa.select(Prediction)):
        session.delete(prediction)  # of a scheme of three
    lesions = session.scalars(sa.select(Lesion).order_by(Lesion.number)).all()
    for lesion, key in zip(lesions, scheme.keys, strict=True):
        scores = {other: 0.75 if other == key else 0.25 for other in scheme.keys}
        Prediction.record(session, lesion, network, Said(scores), [])
    session.commit()
    groups = groups_of(asked.object())
    for values in (
        {group.finding_type.value for group in groups},
        {group.finding_type.meaning for group in groups},
        {one.name.meaning for one in groups[0].get_measurements()},
    ):
        assert len(values) == 2
        assert all(isinstance(value, str) and "\n" not in value for value in values)
    assert all(len(group.finding_type.value) <= 16 for group in groups)
    labels = [
        text.UnformattedTextValue
        for one in asked.object("pr").GraphicAnnotationSequence
        for text in one.TextObjectSequence
    ]
    assert len(set(labels)) == 2 and not any("\n" in label for label in labels)
    account = said.by_networks(session, asked.case)[0]
    plain = [replace(one, lesion_class="a", display="a", scores=()) for one in account.statements]
    before = Names(replace(account, statements=tuple(plain)), "sr", KEY)
    assert before.instance_uid() != Names(account, "sr", KEY).instance_uid()


def test_no_line_of_a_picture_runs_out_of_it():
    line = f"Cannot be excluded: {', '.join(f'a class of many words {n}' for n in range(9))} (90 %)"
    parts = capture._parts(line, 500)
    assert " ".join(parts) == line and len(parts) > 1
    assert all(letters.font().getlength(part) <= 500 for part in parts)


def test_what_a_picture_has_no_letters_for_is_written_otherwise_and_said(asked, session):
    account = said.by_networks(session, asked.case)[0]
    first = account.statements[0]
    scored = first.scores[0]

    def lines(key: str, display: str) -> list[str]:
        scores = (replace(scored, lesion_class=key, display=display),)
        told = replace(first, lesion_class=key, display=display, scores=scores, left_open=display)
        return capture._lines(told, account)

    assert letters.NOT_WHOLE not in lines("cyst", "Cyst")
    german = lines("hamangiom", "Hämangiom")
    assert german[0].startswith("1: Hamangiom, network score") and letters.NOT_WHOLE in german
    other = lines("zyste", "größere Zyste – ×2")[0]
    assert other.startswith("1: grossere Zyste - x2 [zyste], network")
    chinese = lines("cyst_2", "囊肿\n肿")
    assert chinese[0].startswith("1: class cyst_2, network score")
    assert chinese[-2] == letters.NOT_WHOLE and "Cannot be excluded: class cyst_2" in chinese
    every = " ".join([*german, *chinese])
    assert every.isascii() and letters.plain("囊 é\u0301 …") == "? e …"


def groups_of(found: Dataset) -> list:
    read = srread(io.BytesIO(written(found)))
    return read.content.get_planar_roi_measurement_groups()


def written(found: Dataset) -> bytes:
    stream = io.BytesIO()
    found.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def test_a_report_holds_a_group_for_each_lesion_at_its_place(asked, session):
    found = asked.object()
    assert found.StudyInstanceUID == asked.case.uid
    assert found.SeriesDescription == "Research use only: lesion classes"
    assert (found.CompletionFlag, found.VerificationFlag) == ("COMPLETE", "UNVERIFIED")
    groups = groups_of(found)
    lesions = session.scalars(sa.select(Lesion).order_by(Lesion.number)).all()
    assert len(groups) == len(lesions) == 2
    for group, lesion, box in zip(groups, lesions, BOXES, strict=True):
        assert group.tracking_identifier == f"Hepatica lesion {lesion.number}"
        assert group.finding_type.meaning == "Metastasis"
        region = group.roi
        corners = np.asarray(region.value)
        assert corners.shape == (5, 2)
        assert tuple(corners[0]) == tuple(corners[4]) == (box.x, box.y)
        assert tuple(corners[2]) == (box.x + box.width, box.y + box.height)
        numbers = group.get_measurements()
        assert (numbers[0].name.meaning, numbers[0].unit.value) == ("Score of metastasis", "%")
        assert [one.value for one in numbers] == [75.0, 12.5, 12.5]
    images = {lesion.image.uid for lesion in lesions}
    evidence = found.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    assert {i.ReferencedSOPInstanceUID for s in evidence for i in s.ReferencedSOPSequence} == images


def test_asked_again_it_is_the_same_object_to_the_bit(asked, session):
    for format in ("sr", "pr"):
        assert asked.get(format).content == asked.get(format).content
    first, second = (parts_of(asked.get("sc")) for _ in range(2))
    assert [content for _, content in first] == [content for _, content in second]
    uids = {asked.object(format).SOPInstanceUID for format in ("sr", "pr")}
    assert len(uids) == 2
    assert asked.object(by="radiologist").SOPInstanceUID not in uids


def test_a_radiologists_report_says_what_became_of_the_networks_class(asked):
    groups = groups_of(asked.object(by="radiologist"))
    told = []
    for group in groups:
        assert group.tracking_identifier == HYDRATABLE
        said = group.get_qualitative_evaluations()
        told.append((group.finding_type.meaning, said[0].value.value, said[0].value.meaning))
    assert told == [
        ("Metastasis", "accepted", "accepted (score not seen)"),
        ("Other", "rejected", "rejected (score not seen)"),
    ]


def test_a_presentation_state_draws_boxes_and_words(asked):
    state = asked.object("pr")
    drawn = state.GraphicAnnotationSequence
    assert len(drawn) == 2
    assert list(drawn[0].GraphicObjectSequence[0].GraphicData)[:4] == [40, 30, 60, 30]
    assert drawn[0].TextObjectSequence[0].UnformattedTextValue == (
        "1: metastasis, network score 75 %"
    )


def test_captures_show_the_box_where_the_lesion_is(asked):
    captures = [dcmread(io.BytesIO(content)) for _, content in parts_of(asked.get("sc"))]
    assert len(captures) == 2
    pixels = captures[0].pixel_array
    times = pixels.shape[1] // 128
    yellow = (pixels[..., 0] > 200) & (pixels[..., 2] < 60)
    rows, columns = np.nonzero(yellow[: 128 * times])
    assert abs(columns.min() / times - 40) < 0.5
    assert abs(columns.max() / times - 60) < 0.5
    assert abs(rows.min() / times - 30) < 0.5
    assert captures[0].BurnedInAnnotation == "NO"


def test_json_says_the_same(asked):
    told = asked.get("json").json()["accounts"][0]
    assert told["study_uid"] == asked.case.uid
    assert told["lesions"][0]["box"] == [40, 30, 20, 16]
    assert told["lesions"][0]["finding"]["value"] == "128462008"
    people = asked.get("json", "radiologist").json()["accounts"]
    assert [one["assessment"] for one in people[0]["lesions"]] == ["accepted", "rejected"]


def test_json_tells_what_the_radiologist_measured_and_nobody_else(asked, session):
    lesion = session.scalars(sa.select(Lesion).order_by(Lesion.number)).first()
    for name, points in (("marker", [(40, 30), (60, 46)]), ("ben", [(1, 1), (9, 9)])):
        by = studies.make_user(session, name)
        Measure.keep(
            session, lesion, lesion.image, Kind.RECTANGLE, points, by, measure_id=uuid.uuid4()
        )
    session.commit()
    [account] = asked.get("json", "radiologist").json()["accounts"]
    first, second = account["lesions"]
    [told] = first["measures"]
    within = make_hu(0)[30:46, 40:60]
    assert (told["n"], told["low"], told["high"]) == (320, within.min(), within.max())
    assert told["mean"] == pytest.approx(within.mean())
    assert (told["unit"], told["px"], told["image_uid"]) == ("HU", None, first["image_uid"])
    assert second["measures"] == []
    assert asked.get("json").json()["accounts"][0]["lesions"][0]["measures"] == []


@pytest.mark.parametrize("by", ["network", "radiologist"])
@pytest.mark.parametrize("format", ["sr", "pr", "sc"])
def test_a_validator_finds_no_error(asked, tmp_path, format, by):
    validator = shutil.which("dciodvfy")
    if validator is None:
        pytest.skip("dciodvfy is not installed (Debian: dicom3tools)")
    reply = asked.get(format, by)
    contents = [c for _, c in parts_of(reply)] if format == "sc" else [reply.content]
    for number, content in enumerate(contents):
        path = tmp_path / f"{number}.dcm"
        path.write_bytes(content)
        run = subprocess.run([validator, str(path)], capture_output=True, text=True, timeout=60)
        told = (run.stdout + run.stderr).splitlines()
        assert [line for line in told if line.startswith("Error")] == []


def test_nothing_of_the_patient_leaves(asked):
    for by in ("network", "radiologist"):
        for format in ("sr", "pr", "sc", "json"):
            content = asked.get(format, by).content
            for word in ("PAT-7", "Sylvia", asked.sent.StudyInstanceUID, asked.sent.SOPInstanceUID):
                assert word.encode() not in content, (format, by, word)


def test_what_cannot_be_reported_is_said(asked, client, token, session, signed_in_as):
    headers = {"authorization": f"Bearer {token}"}
    nobody = client.get(f"/api/v1/cases/{uuid.uuid4()}/report", headers=headers)
    assert nobody.status_code == 404
    assert asked.get("tiff").status_code == 422
    assert asked.get("sr&of=all").status_code == 422
    assert client.get(f"/api/v1/cases/{asked.case.id}/report").status_code == 401
    for lesion in session.scalars(sa.select(Lesion)).all():
        lesion.withdraw(session, lesion.marked_by)
    session.commit()
    reply = asked.get()
    assert reply.status_code == 409
    assert "No lesion of this case was scored by a network yet" in reply.json()["detail"]


def test_what_is_not_known_of_an_image_is_not_claimed(client, token, session):
    mirrored = {"ImageOrientationPatient": [-1, 0, 0, 0, 1, 0]}
    assert store(client, token, make_dicom(make_hu(3), **mirrored)).status_code == 200
    case = session.scalars(sa.select(Case)).one()
    image = session.scalars(sa.select(Image)).one()
    maker = studies.make_user(session, "marker", "reader")
    lesion = Lesion.mark(session, image, Box(40, 30, 20, 16), maker)
    # a review of a lesion that no network has scored
    studies.review(session, lesion, "cyst", by=maker)
    session.commit()
    asked = Asked(client, token, case, Dataset())
    [capture] = [dcmread(io.BytesIO(asked.get("sc", "radiologist").content))]
    assert list(capture.PatientOrientation) == ["R", "P"]
    [group] = groups_of(asked.object(by="radiologist"))
    assert (group.finding_type.scheme_designator, group.finding_type.value) == ("SCT", "367643001")
    assert [site.value.meaning for site in group.finding_sites] == ["Liver"]
    other = LesionScheme("nodules", (LesionClass("cyst", "cyst"), LesionClass("solid", "solid")))
    network = Checkpoint.served(session, CheckpointKind.CLASSIFIER)[-1]
    network.meta = {**network.meta, "scheme": other.to_dict()}
    Prediction.record(session, lesion, network, Said({"cyst": 0.75, "solid": 0.25}), [])
    image.calibrated, image.orientation = False, None
    session.commit()
    [group] = groups_of(asked.object())
    assert group.finding_sites == []
    assert group.finding_type.scheme_designator == "99HEPATICA"
    content = asked.get("sr").content
    assert b"Computed tomography" not in content
    assert b"Imaging (procedure)" in content
    assert not dcmread(io.BytesIO(asked.get("sc").content)).PatientOrientation


def test_a_picture_of_a_large_slice_is_small_and_its_box_in_place(client, token, session):
    assert store(client, token, make_dicom(make_hu(3, side=2048))).status_code == 200
    image = session.scalars(sa.select(Image)).one()
    maker = studies.make_user(session, "marker", "reader")
    studies.review(session, Lesion.mark(session, image, Box(400, 200, 400, 300), maker), "cyst")
    session.commit()
    reply = Asked(client, token, session.scalars(sa.select(Case)).one(), Dataset()).get(
        "sc", "radiologist"
    )
    pixels = dcmread(io.BytesIO(reply.content)).pixel_array
    assert pixels.shape[1] == 1024
    yellow = (pixels[:1024, :, 0] > 200) & (pixels[:1024, :, 2] < 60)
    rows, columns = np.nonzero(yellow)
    ends = (columns.min(), columns.max(), rows.min(), rows.max())
    assert np.abs(np.array(ends) - (200, 400, 100, 250)).max() <= 1


def test_a_report_is_to_the_byte_what_highdicoms_templates_make_of_the_same(asked, session):
    case = session.get_one(Case, asked.case.id)
    [network], [person] = said.by_networks(session, case), said.by_radiologists(session, case)
    first, second = network.statements
    # letters beyond ASCII, values of odd length, a code that is too long for its usual place
    long = replace(first, finding=Code("a-code-of-20-letters", "99ODD", "Zyste µ ≤ 5 mm"))
    odd = replace(second, scores=(), of_liver=False, warnings=("Größe …", ""))
    doubted = {"calibrated": True, "unlike": True, "left_open": "a or b (90 %)"}
    second = replace(second, **doubted)
    network = replace(network, name="Netz-Ü " + 70 * "n", statements=(long, odd))
    for account in (network, replace(network, statements=(second,)), person):
        made = (part10.written(by.made(account, KEY)) for by in (report, sr_by_highdicom))
        assert next(made) == next(made)
    first.image.calibrated = False
    made = (part10.written(by.made(network, KEY)) for by in (report, sr_by_highdicom))
    assert next(made) == next(made)


@pytest.mark.parametrize("missing", ["SliceThickness", "PixelSpacing", "ImagePositionPatient"])
def test_what_an_image_does_not_tell_its_report_leaves_out(client, token, session, missing):
    assert store(client, token, make_dicom(make_hu(3), **{missing: None})).status_code == 200
    image = session.scalars(sa.select(Image)).one()
    maker = studies.make_user(session, "marker", "reader")
    studies.review(session, Lesion.mark(session, image, Box(40, 30, 20, 16), maker), "cyst")
    session.commit()
    case = session.scalars(sa.select(Case)).one()
    told = Asked(client, token, case, Dataset()).object(by="radiologist")
    words = {"SliceThickness": "Slice Thickness", "PixelSpacing": "Pixel Spacing"}
    assert words.get(missing, "Image Position") not in str(told)
    assert "Pixel Data Rows" in str(told) and len(groups_of(told)) == 1
