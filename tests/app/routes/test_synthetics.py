"""Synthetic ROIs in the browser and over the API: deterministic per seed."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess
import zipfile

import numpy as np
import pytest
from PIL import Image

import studies
from app.models import Checkpoint
from app.models.reader_studies.design import Design
from stow import parsed

GENERATOR = "phantom-dcgan-cyst"


@pytest.fixture
def api(client, token):
    client.headers["authorization"] = f"Bearer {token}"
    return client


def test_image_n_depends_on_seed_n_alone(api):
    def images(**order):
        answer = api.post("/api/v1/synthetics", json={"checkpoint": GENERATOR, **order}).json()
        return {image["seed"]: image["data"] for image in answer["images"]}

    many, few = images(seed=3, count=9), images(seed=7, count=2)
    assert few[7] == many[7]
    assert few[8] == many[8]
    assert len(set(many.values())) == 9


def test_the_browser_and_the_api_draw_the_same(api, signed_in_as):
    browser = signed_in_as("reader")
    order = {"checkpoint": GENERATOR, "seed": 5}
    answer = api.post("/api/v1/synthetics", json=order).json()
    png = base64.b64decode(answer["images"][0]["data"])
    assert browser.get(f"/synthetics/{GENERATOR}/5.png").content == png


def test_floats_are_within_one(api):
    order = {"lesion_class": "hemangioma", "count": 4, "format": "float32"}
    answer = api.post("/api/v1/synthetics", json=order).json()
    assert answer["lesion_class"] == "hemangioma"
    assert "synthetic" in answer["warnings"][0]
    for image in answer["images"]:
        roi = np.frombuffer(base64.b64decode(image["data"]), "<f4")
        assert roi.shape == (64 * 64,)
        assert np.abs(roi).max() <= 1
        assert roi.std() > 0.01


@pytest.mark.parametrize(
    "order",
    [
        {"count": 0},
        {"count": 5000},
        {"seed": -1},
        {"seed": 2**70},
        {"format": "bmp"},
        {"checkpoint": "nobody"},
        {"lesion_class": "wart"},
        {"checkpoint": "phantom-cnn"},
    ],
)
def test_an_impossible_order_is_refused(order, api):
    reply = api.post("/api/v1/synthetics", json=order)
    assert reply.status_code in (404, 422)
    assert reply.headers["content-type"] == "application/problem+json"


def test_the_sheet_the_zip_and_the_npz_hold_the_same_pictures(signed_in_as):
    browser = signed_in_as("reader")
    query = "seed=11&count=3"
    sheet = browser.get(f"/synthetics/{GENERATOR}/sheet?{query}").content
    grey = np.frombuffer(sheet, np.uint8).reshape(3, 64, 64)
    path = f"/synthetics/{GENERATOR}/download?{query}"
    arrays = np.load(io.BytesIO(browser.get(f"{path}&format=npz").content))
    assert np.array_equal(np.rint((arrays["rois"] + 1) * 127.5).astype(np.uint8), grey)
    assert arrays["seeds"].tolist() == [11, 12, 13]
    archive = zipfile.ZipFile(io.BytesIO(browser.get(f"{path}&format=zip").content))
    about = json.loads(archive.read("about.json"))
    assert about["synthetic"] is True
    assert about["seeds"] == [11, 12, 13]
    assert len(archive.namelist()) == 4
    assert browser.get(f"{path}&format=exe").status_code == 422


def test_the_page_names_what_draws_and_on_what_it_was_trained(signed_in_as):
    page = signed_in_as("reader").get(f"/synthetics?checkpoint={GENERATOR}&count=6&seed=2").text
    assert "trained on phantom" in page
    assert f"/synthetics/{GENERATOR}/7.png" in page  # for browsers without scripts
    assert signed_in_as("reader").get("/synthetics?checkpoint=nobody").status_code == 404
    assert signed_in_as("reader").get("/synthetics?count=0").status_code == 422


def said_in(png: bytes) -> dict[str, str]:
    return Image.open(io.BytesIO(png)).text


def test_dicom_and_png_say_that_they_are_synthetic_and_what_drew_them(api, signed_in_as, session):
    browser = signed_in_as("reader")
    row = Checkpoint.require(session, GENERATOR)
    order = {"checkpoint": GENERATOR, "seed": 11, "format": "dicom"}
    [answer] = api.post("/api/v1/synthetics", json=order).json()["images"]
    data = base64.b64decode(answer["data"])
    query = f"/synthetics/{GENERATOR}/download?seed=11&count=2&format"
    archive = zipfile.ZipFile(io.BytesIO(browser.get(f"{query}=dicom").content))
    names = [name for name in archive.namelist() if name.endswith(".dcm")]
    first, second = (archive.read(name) for name in names)
    assert first == data  # asked for again it is the same to the bit
    found, other = parsed(first), parsed(second)
    assert found.SyntheticData == "YES" and list(found.ImageType) == ["DERIVED", "SECONDARY"]
    [equipment] = found.ContributingEquipmentSequence
    assert equipment.PurposeOfReferenceCodeSequence[0].CodeValue == "109100"
    for word in (GENERATOR, row.onnx_digest, "class cyst", "seed 11", "simulated CT"):
        assert word in found.DerivationDescription, word
    assert found.SeriesInstanceUID == other.SeriesInstanceUID
    assert found.SOPInstanceUID != other.SOPInstanceUID
    png = browser.get(f"/synthetics/{GENERATOR}/11.png").content
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png))), found.pixel_array)
    told = said_in(png)
    assert told["SyntheticData"] == "YES" and told["Description"] == found.DerivationDescription
    zipped = zipfile.ZipFile(io.BytesIO(browser.get(f"{query}=zip").content))
    assert said_in(zipped.read("synthetic_cyst_000011.png")) == told


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="no dciodvfy (dicom3tools) here")
def test_a_validator_finds_no_error_in_a_synthetic_image(api, tmp_path):
    order = {"checkpoint": GENERATOR, "seed": 3, "format": "dicom"}
    [answer] = api.post("/api/v1/synthetics", json=order).json()["images"]
    (tmp_path / "it.dcm").write_bytes(base64.b64decode(answer["data"]))
    done = subprocess.run(["dciodvfy", tmp_path / "it.dcm"], capture_output=True, text=True)
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error")]
    # the validator is older than the attribute that says that data are synthetic
    assert [line for line in errors if "0x0008,0x001c" not in line] == []


def test_who_reads_blind_gets_none_and_pictures_of_a_study_bear_no_mark(app, signed_in_as, session):
    browser, desk, _ = studies.desk_of_ada(app, session, signed_in_as, Design())
    for form in ("dicom", "zip"):
        path = f"/synthetics/{GENERATOR}/download?seed=1&count=1&format={form}"
        assert browser.get(path).status_code == 403
    page = browser.get(desk).text
    [token] = set(re.findall(r"/pixels/([\w-]+)", page))
    picture = browser.get(f"/pixels/{token}").content
    assert b"ynthetic" not in picture and b"DICM" not in picture
