"""WADO-RS: what is kept leaves as derived, de-identified objects with the very pixels."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import uuid
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
import sqlalchemy as sa
from PIL import Image as Picture
from pydicom.dataset import Dataset

import studies
from app.models import Case, Image, Look, Series
from app.models.cases import uids
from factories import make_dicom, make_hu, make_png
from ml.images.dicom import read
from stow import parsed, parts_of, store
from tests.ml.dicom_files import ct_file, enhanced_file, stored_values

DICOM = 'multipart/related; type="application/dicom"'
BYTES = 'multipart/related; type="application/octet-stream"'


@dataclass
class Kept:
    """A stored file, and what asks for it."""

    client: Any
    token: str
    sent: Dataset
    image: Image

    @property
    def at(self) -> str:
        series = self.image.series
        return f"/dicomweb/studies/{series.case.uid}/series/{series.uid}/instances/{self.image.uid}"

    @property
    def as_sent(self) -> str:
        one = self.sent
        return (
            f"/dicomweb/studies/{one.StudyInstanceUID}/series/{one.SeriesInstanceUID}"
            f"/instances/{one.SOPInstanceUID}"
        )

    def get(self, path: str = "", accept: str = "*/*", at: str = ""):
        headers = {"authorization": f"Bearer {self.token}", "accept": accept}
        return self.client.get((at or self.at) + path, headers=headers)


@pytest.fixture
def keep(client, token, session):
    def stored(data: bytes) -> Kept:
        assert store(client, token, data).status_code == 200
        sent = parsed(data)
        session.expire_all()
        known_by = uids.kept(sent.SOPInstanceUID, client.app.state.key)
        query = sa.select(Image).where(Image.sop_uid == known_by).order_by(Image.frame)
        return Kept(client, token, sent, session.scalars(query).first())

    return stored


# ---- whole objects -------------------------------------------------------------------------------


def test_an_object_comes_back_with_its_pixels_and_says_what_it_is(keep):
    data = make_dicom(
        make_hu(3), z=12.5, FrameOfReferenceUID="1.2.3.4", KVP="120", SeriesNumber=4,
        ConvolutionKernel=["B30f", "A"], ImageType=["ORIGINAL", "PRIMARY", "AXIAL", "CT_SOM5 SPI"],
        ContrastBolusAgent="for Sylvia", StudyDate="20200101", StudyDescription="Secret words",
    )  # fmt: skip
    kept = keep(data)
    reply = kept.get(accept=DICOM)
    assert reply.status_code == 200
    [(head, content)] = parts_of(reply)
    assert head["content-type"] == "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"
    assert head["content-location"].endswith(kept.at)
    found = parsed(content)
    [image] = read(content, "it")
    np.testing.assert_array_equal(image.pixels, make_hu(3))
    assert image.position == (0, 0, 12.5) and image.spacing_mm == (0.8, 0.8)
    assert list(found.ImageType) == ["DERIVED", "PRIMARY", "AXIAL", "CT_SOM5 SPI"]
    assert found.PatientIdentityRemoved == "YES"
    assert "not the object that was received" in found.DerivationDescription
    assert found.DeidentificationMethodCodeSequence[0].CodeValue == "113100"
    assert found.PatientName == found.PatientID == kept.image.series.case.pseudonym
    assert (found.KVP, found.SeriesNumber, list(found.ConvolutionKernel)) == (120, 4, ["B30f", "A"])
    sent = kept.sent
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID",
                    "FrameOfReferenceUID"):  # fmt: skip
        assert str(found[keyword].value).startswith("2.25."), keyword
        assert sent[keyword].value.encode() not in content, keyword
    assert found.file_meta.MediaStorageSOPInstanceUID == found.SOPInstanceUID == kept.image.uid
    # four digits alone are in one of a hundred UIDs
    for word in (b"Secret", b"Sylvia", b"12345678", b"19610101", b"20200101", b"SECRET"):
        assert word not in content, word


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="no dciodvfy (dicom3tools) here")
def test_a_validator_finds_no_error(keep, tmp_path):
    whole = {"FrameOfReferenceUID": "1.2.3", "KVP": "120", "PatientPosition": "HFS"}
    for study, more in (
        ("1", {}),
        ("2", {"phantom": True}),
        ("3", {"LossyImageCompression": "01"}),
    ):
        [(_, content)] = parts_of(keep(make_dicom(study=study, **whole, **more)).get())
        (tmp_path / "it.dcm").write_bytes(content)
        done = subprocess.run(["dciodvfy", tmp_path / "it.dcm"], capture_output=True, text=True)
        errors = [line for line in done.stderr.splitlines() if line.startswith("Error")]
        # the validator is older than the attribute that says that data are synthetic
        assert [line for line in errors if "0x0008,0x001c" not in line] == []


def test_nothing_that_was_not_kept_is_invented(keep):
    bare = ("KVP", "SliceThickness", "PatientPosition", "ImageType", "ImageOrientationPatient",
            "ImagePositionPatient", "InstanceNumber")  # fmt: skip
    found = parsed(parts_of(keep(make_dicom(spacing=None, without=bare)).get())[0][1])
    absent = ("FrameOfReferenceUID", "ImageOrientationPatient", "ImagePositionPatient",
              "PixelSpacing", "WindowCenter", "AcquisitionDate")  # fmt: skip
    assert [word for word in absent if word in found] == []
    empty = ("StudyDate", "StudyTime", "AccessionNumber", "StudyID", "ReferringPhysicianName",
             "PatientBirthDate", "PatientSex", "KVP", "SliceThickness", "SeriesNumber",
             "InstanceNumber", "AcquisitionNumber", "PatientPosition", "Laterality")  # fmt: skip
    assert [word for word in empty if found[word].value not in (None, "")] == []
    assert "No pixel spacing" in found.ImageComments


def test_a_kept_text_that_its_attribute_cannot_hold_is_left_out(keep, database):
    kept = keep(make_dicom())
    odd = {"SeriesNumber": "four", "KVP": "a lot", "BodyPartExamined": "liver!",
           "ConvolutionKernel": "a kernel of its own kind"}  # fmt: skip
    with database.transaction() as session:
        image = session.get(Image, kept.image.id)
        image.tags = {**image.tags, **odd}
    found = parsed(parts_of(kept.get())[0][1])
    assert [word for word in odd if found.get(word) not in (None, "")] == []


def test_what_was_said_of_the_values_is_said_again(keep):
    phantom = parsed(parts_of(keep(make_dicom(phantom=True)).get())[0][1])
    assert phantom.SyntheticData == "YES"
    odd = make_dicom(study="2", RescaleType="US", BurnedInAnnotation="YES",
                     LossyImageCompression="01")  # fmt: skip
    found = parsed(parts_of(keep(odd).get())[0][1])
    assert (found.RescaleType, found.BurnedInAnnotation) == ("US", "YES")
    assert found.LossyImageCompression == "01"
    assert "unspecified" in found.ImageComments


def test_frames_of_one_object_are_images_of_their_own_and_found_by_its_uid(keep):
    frames = np.stack([stored_values(seed=seed) for seed in range(3)])
    kept = keep(enhanced_file(frames, [{"intercept": -1024, "z": 5 * n} for n in range(3)]))
    files = [parsed(content) for _, content in parts_of(kept.get(at=kept.as_sent))]
    assert len({one.SOPInstanceUID for one in files}) == 3
    assert [one.InstanceNumber for one in files] == [1, 2, 3]
    assert {one.SOPClassUID for one in files} == {"1.2.840.10008.5.1.4.1.1.2"}
    assert [one.ImagePositionPatient[2] for one in files] == [0, 5, 10]
    reply = kept.get("/frames/3,1", at=kept.as_sent)
    third, first = (np.frombuffer(content, "<i2") for _, content in parts_of(reply))
    np.testing.assert_array_equal(third, frames[2].ravel() - 1024)
    np.testing.assert_array_equal(first, frames[0].ravel() - 1024)
    assert kept.get("/frames/4", at=kept.as_sent).status_code == 404
    assert kept.get("/frames/2").status_code == 404  # by its own UID it is one frame


def test_a_picture_leaves_as_a_secondary_capture(signed_in_as, session):
    browser = signed_in_as("reader")
    form = {"contrast_phase": "portal", "pseudonym": "Müller-X"}
    browser.post("/cases", files={"files": ("a.png", make_png(side=63))}, data=form)
    case = session.scalars(sa.select(Case)).one()
    [(_, content)] = parts_of(browser.get(f"/dicomweb/studies/{case.uid}"))
    found = parsed(content)
    assert (found.Modality, found.SOPClassUID) == ("OT", "1.2.840.10008.5.1.4.1.1.7")
    assert (found.BitsAllocated, str(found.PatientName)) == (8, "Müller-X")
    expected = np.asarray(Picture.open(io.BytesIO(make_png(side=63))))
    np.testing.assert_array_equal(found.pixel_array, expected)


def test_a_series_and_a_study_leave_whole_and_in_order(client, token, session):
    files = [make_dicom(series=s, number=n, z=n) for s in ("1", "2") for n in (3, 1, 2)]
    assert store(client, token, *files).status_code == 200
    case = session.scalars(sa.select(Case)).one()
    ask = {"headers": {"authorization": f"Bearer {token}", "accept": DICOM}}
    study = parts_of(client.get(f"/dicomweb/studies/{case.uid}", **ask))
    assert [parsed(one).InstanceNumber for _, one in study] == [1, 2, 3, 1, 2, 3]
    series = f"/dicomweb/studies/{case.uid}/series/{case.series[1].uid}"
    found = [parsed(one) for _, one in parts_of(client.get(series, **ask))]
    assert {one.SeriesInstanceUID for one in found} == {case.series[1].uid}
    ask["headers"]["accept"] = "application/dicom"
    assert client.get(series, **ask).status_code == 406  # it holds one file


FORMS = [
        ("*/*", 200, "multipart/related"),
        ("", 200, "multipart/related"),
        ("multipart/related", 200, "multipart/related"),
        (DICOM, 200, "multipart/related"),
        ("multipart/related; type=application/dicom; transfer-syntax=*", 200, "multipart/related"),
        (DICOM + "; transfer-syntax=1.2.840.10008.1.2.1", 200, "multipart/related"),
        (DICOM + "; transfer-syntax=1.2.840.10008.1.2.4.90", 406, ""),
        (DICOM + "; transfer-syntax=1.2.840.10008.1.2.4.90, " + DICOM, 200, "multipart/related"),
        ("application/dicom", 200, "application/dicom"),
        ("application/dicom;q=0.9, " + DICOM + ";q=0.5", 200, "application/dicom"),
        ("application/dicom;transfer-syntax=1.2.840.10008.1.2", 406, ""),
        ('multipart/related; type="image/jpeg"', 406, ""),
        ("application/dicom+json", 406, ""),
        ("text/html", 406, ""),
    ]  # fmt: skip


def test_what_is_accepted_decides_the_form(keep):
    kept = keep(make_dicom())
    for accept, status, kind in FORMS:
        reply = kept.get(accept=accept)
        assert reply.status_code == status, accept
        assert reply.headers["content-type"].startswith(kind or "application/problem+json")
        asked = kept.get(f"?accept={quote(accept or '*/*')}", accept="text/html")
        assert asked.status_code == status, accept


# ---- metadata and pixels -------------------------------------------------------------------------


def test_metadata_are_the_object_without_its_pixels_which_are_named_by_their_address(keep):
    kept = keep(make_dicom(make_hu(3)))
    of_file = parsed(parts_of(kept.get())[0][1])
    del of_file.PixelData
    study, series = kept.at.split("/instances")[0].split("/series")[0], kept.at.split("/inst")[0]
    for at in (study, series, kept.at):
        reply = kept.get("/metadata", at=at)
        assert reply.headers["content-type"] == "application/dicom+json"
        [told] = reply.json()
        pixels = told.pop("7FE00010")
        found = Dataset.from_json(json.dumps(told))
        assert found == of_file
        raw = kept.get(at=pixels["BulkDataURI"], accept="application/octet-stream")
        np.testing.assert_array_equal(np.frombuffer(raw.content, "<i2"), make_hu(3).ravel())
    assert kept.get("/metadata", accept="application/dicom+xml").status_code == 406
    assert kept.get("/bulkdata/00100010").status_code == 404


def test_frames_are_the_hounsfield_units_little_endian(keep):
    kept = keep(ct_file(stored_values(), "1.2.840.10008.1.2.2"))  # it came big endian
    kind = "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"
    for accept in ("*/*", BYTES, BYTES + "; transfer-syntax=*"):
        [(head, content)] = parts_of(kept.get("/frames/1", accept=accept))
        assert head["content-type"] == kind
        np.testing.assert_array_equal(np.frombuffer(content, "<i2"), stored_values().ravel() - 1024)


FRAMES = [("/frames/0", 400), ("/frames/x", 400), ("/frames/1,", 400), ("/frames/2", 404),
     ("/frames/1,1", 400), ("/frames/" + ",".join(["1"] * 3000), 400),
     ("/frames/1,1/rendered", 400)]  # fmt: skip


def test_a_frame_that_there_is_not_is_refused(keep):
    kept = keep(make_dicom())
    for path, status in FRAMES:
        assert kept.get(path).status_code == status, path


def test_what_there_is_not_is_not_found(keep):
    kept = keep(make_dicom())
    other = keep(make_dicom(study="2"))
    for at in ("/dicomweb/studies/1.2.3", kept.at + "9", kept.at.split("/instances")[0] + "9"):
        assert kept.get(at=at).status_code == 404
    mixed = "/series".join([other.at.split("/series")[0], kept.at.split("/series")[1]])
    assert kept.get(at=mixed).status_code == 404
    assert kept.client.get(kept.at).status_code == 401


# ---- rendered ------------------------------------------------------------------------------------


def ramp() -> np.ndarray:
    """Values −100 to 155 in columns, 256 × 64, so that rows are four times as many."""
    return np.tile(np.arange(-100, 156, 4, dtype=np.int16), (256, 1))


def drawn(reply) -> np.ndarray:
    assert reply.status_code == 200, reply.text
    return np.asarray(Picture.open(io.BytesIO(reply.content))).astype(int)


def test_the_window_of_the_file_is_the_usual_one_and_goes_with_the_object(keep):
    one = keep(
        make_dicom(ramp(), WindowCenter=[0, 40], WindowWidth=[50, 400], VOILUTFunction="SIGMOID")
    )
    png = {"accept": "image/png"}
    usual = drawn(one.get("/rendered", **png))
    assert (usual == drawn(one.get("/rendered?window=0,50,sigmoid", **png))).all()
    assert not (usual == drawn(one.get("/rendered?window=0,50", **png))).all()
    [told] = one.get("/metadata", accept="application/dicom+json").json()
    assert told["00281050"]["Value"] == [0, 40] and told["00281051"]["Value"] == [50, 400]
    assert told["00281056"]["Value"] == ["SIGMOID"]


def test_a_series_and_a_study_are_rendered_image_after_image(keep):
    keep(make_dicom(make_hu(1), number=1))
    last = keep(make_dicom(make_hu(2), number=2))
    study, series = last.image.series.case.uid, last.image.series.uid
    for at in (f"/dicomweb/studies/{study}", f"/dicomweb/studies/{study}/series/{series}"):
        several = 'multipart/related; type="image/png"'
        parts = parts_of(last.get("/rendered?viewport=64,64", at=at, accept=several))
        pictures = [np.asarray(Picture.open(io.BytesIO(content))) for _, content in parts]
        assert [one.shape for one in pictures] == [(64, 64)] * 2
        assert (pictures[0] != pictures[1]).any()
        assert [head["content-type"] for head, _ in parts] == ["image/png"] * 2
        assert parts[1][0]["content-location"].endswith(f"/instances/{last.image.uid}/rendered")
        assert last.get("/rendered", at=at).headers["content-type"].startswith("multipart/related")
        assert last.get("/rendered", at=at, accept="image/png").status_code == 406
    alone = keep(make_dicom(make_hu(3), series="alone", number=3))
    at = f"/dicomweb/studies/{study}/series/{alone.image.series.uid}"
    reply = alone.get("/rendered", at=at, accept="image/jpeg")
    assert reply.headers["content-type"] == "image/jpeg"


def test_a_rendered_image_is_in_the_window_that_is_asked_for(keep):
    kept = keep(make_dicom(ramp()))
    usual = drawn(kept.get("/rendered", accept="image/png"))
    assert usual.shape == (256, 64)
    exact = np.clip(np.rint((ramp() - 50 + 0.5) / 199 * 255 + 127.5), 0, 255)
    assert np.abs(usual - exact).max() <= 1  # centre 50, width 200
    narrow = drawn(kept.get("/rendered?window=0,2,linear-exact", accept="image/png"))
    assert set(np.unique(narrow)) <= {0, 128, 255} and narrow[0, 25] == 128
    sigmoid = drawn(kept.get("/frames/1/rendered?window=0,40,sigmoid", accept="image/png"))
    assert abs(sigmoid[0, 25] - 128) <= 1 and np.all(np.diff(sigmoid[0]) >= 0)
    jpeg = kept.get("/rendered?quality=100", accept="image/jpeg")
    assert jpeg.headers["content-type"] == "image/jpeg"
    assert np.abs(drawn(jpeg) - usual).max() < 12


def test_a_viewport_keeps_lengths_alike_and_shows_the_part_that_is_asked_for(keep):
    kept = keep(make_dicom(ramp(), spacing=(0.5, 2.0)))  # 128 mm both ways
    assert drawn(kept.get("/rendered?viewport=100,200", accept="image/png")).shape == (100, 100)
    part = "/rendered?viewport=64,64,32,0,32,128&window=28,256,linear-exact"
    right = drawn(kept.get(part, accept="image/png"))
    assert right.shape == (64, 64) and right.min() > 100
    flipped = drawn(kept.get(part.replace("32,0,32", "32,0,-32"), accept="image/png"))
    np.testing.assert_array_equal(flipped, right[:, ::-1])
    for word in ("/thumbnail", "/frames/1/thumbnail", "/rendered?viewport=128,128"):
        assert max(drawn(kept.get(word, accept="image/png")).shape) == 128


def test_thumbnails_of_a_study_and_a_series_are_there(keep):
    kept = keep(make_dicom())
    for at in (kept.at.split("/series")[0], kept.at.split("/instances")[0]):
        assert drawn(kept.get("/thumbnail", at=at)).shape == (128, 128)


SENSELESS = [
    "window=50",
    "window=a,b",
    "window=50,0",
    "window=50,0.5",
    "window=1,2,cubic",
    "window=nan,1",
    "window=1,2,linear,3",
    "viewport=0,5",
    "viewport=9999,5",
    "viewport=5",
    "viewport=5,5,0,0,0,0",
    "viewport=5,5,100,0,100,10",
    "viewport=5,5,a,b",
    "viewport=1.5,5",
    "quality=0",
    "quality=x",
]


def test_a_rendering_that_makes_no_sense_is_refused(keep):
    kept = keep(make_dicom())
    for query in SENSELESS:
        assert kept.get(f"/rendered?{query}").status_code == 400, query


# ---- who may see what ----------------------------------------------------------------------------


def test_what_a_person_is_shown_is_written_down_before_it_leaves(keep, signed_in_as, session, app):
    kept = keep(make_dicom())
    looks = sa.select(sa.func.count()).select_from(Look)
    assert kept.get().status_code == 200
    assert session.scalar(looks) == 0  # a program that acts for nobody
    browser = signed_in_as("reader")
    assert browser.get(kept.at + "/metadata").status_code == 200
    assert session.scalar(looks) == 0
    for path in ("", "/frames/1", "/rendered", "/thumbnail"):
        assert browser.get(kept.at + path).status_code == 200
    assert session.scalar(looks) == 1


def test_a_case_that_a_blinded_reading_could_be_about_is_closed_here_too(
    client, token, signed_in_as, database, session
):
    reader = signed_in_as("reader", name="ada")
    with database.transaction() as opened:
        [lesion] = studies.make_lesion(opened, 900)  # in no study, as it could be
        case_id = lesion.case_id
        studies.make_study(opened, studies.make_user(opened, "ada"), design=None)
    case = session.get_one(Case, case_id)
    at = f"/dicomweb/studies/{case.uid}"
    headers = {"authorization": f"Bearer {token}"}
    with database.transaction() as opened:  # its second slice, which nobody marked
        first = opened.scalars(sa.select(Image).join(Series).where(Series.case_id == case.id)).one()
        more = {c.key: getattr(first, c.key) for c in sa.inspect(Image).columns}
        opened.add(Image(**more | {"id": uuid.uuid4(), "uid": "2.25.7", "sop_uid": "7"}))
    for path in ("", "/metadata", "/thumbnail", "/series"):
        assert reader.get(at + path).status_code == 403, path
        assert client.get(at + path, headers=headers).status_code == 403, path
        assert signed_in_as("researcher", name="maker").get(at + path).status_code == 200, path
    for level in ("studies", "series", "instances"):
        assert reader.get(f"/dicomweb/{level}").status_code == 204, level
        assert client.get(f"/dicomweb/{level}", headers=headers).status_code == 204, level
    assert "blinded reading" in client.get("/dicomweb/studies", headers=headers).headers["warning"]
    assert signed_in_as("researcher", name="maker").get("/dicomweb/studies").status_code == 200
