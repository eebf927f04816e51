"""Synthetic ROIs in the browser and over the API: deterministic per seed."""

from __future__ import annotations

import base64
import io
import json
import zipfile

import numpy as np
import pytest

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
