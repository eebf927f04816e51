"""A lesion brighter or darker than the network's window: what is told of it is its own, on the page
and to programs, and what is compared says so."""

from __future__ import annotations

import html
import io
import re

import numpy as np
import pytest
import sqlalchemy as sa
from PIL import Image as Picture

from app.jobs.items import SentRoi
from app.models import Image, Lesion, Prediction
from factories import hidden_fields, make_dicom
from ml.images import roi
from ml.images.ct_slice import CTSlice
from ml.images.roi import Box

SIDE = 128
PLACE = {"x": 44, "y": 44, "width": 40, "height": 40}
API = "/api/v1/classifications"
_AT = np.arange(SIDE) + 0.5 - SIDE / 2
DISC = np.hypot(*np.meshgrid(_AT, _AT)) < 20
COMPARED = "Measurements are compared within the window of −150 to 250 HU: what lies beyond counts"


def disc(hu: int) -> np.ndarray:
    grain = np.random.default_rng(0).normal(0, 8, (SIDE, SIDE))
    return np.where(DISC, hu, 109 + grain).astype(np.int16)


def told(signed_in_as, session, data: bytes, name: str) -> tuple[str, str]:
    """Panel and comparison of a lesion that is uploaded, marked and given a class."""
    browser = signed_in_as("reader")
    about = {"contrast_phase": "portal", "pseudonym": "P-1" if name.endswith("jpg") else ""}
    assert browser.post("/cases", files={"files": (name, data)}, data=about).status_code < 400
    image = session.scalars(sa.select(Image)).one()
    assert browser.post(f"/images/{image.id}/lesions", data=PLACE).status_code == 303
    lesion = session.scalars(sa.select(Lesion)).one()
    covered = browser.get(f"/lesions/{lesion.id}", headers={"x-fragment": "1"}).text
    given = {"lesion_class": "cyst", "confidence": "3", "basis": "imaging"}
    kept = browser.post(f"/lesions/{lesion.id}/reviews", data={**hidden_fields(covered), **given})
    assert kept.status_code < 400
    panel = browser.get(f"/lesions/{lesion.id}", headers={"x-fragment": "1"}).text
    network = session.scalars(sa.select(Prediction)).one().checkpoint.name
    beside = browser.get(f"/lesions/{lesion.id}/comparison?checkpoint={network}")
    assert beside.status_code == 200
    return html.unescape(panel), html.unescape(beside.text)


@pytest.mark.parametrize(
    ("hu", "own", "inside", "side"),
    [(800, "800", "250", "above"), (-1000, "-1000", "-150", "below")],
)
def test_the_panel_and_the_comparison_tell_the_lesion_s_own_hu(
    hu, own, inside, side, signed_in_as, session
):
    panel, beside = told(signed_in_as, session, make_dicom(disc(hu), phantom=True), "a.dcm")
    assert f"mean in the lesion {own} HU (in the window {inside} HU); training ROIs" in panel
    assert f"mean {own} HU (in the window {inside} HU)" in panel
    assert f"mean {inside} HU" not in panel and f"lesion {inside} HU" not in panel
    assert panel.count(COMPARED) == 2  # beside "unlike", and with the second opinion
    minus = own.replace("-", "−"), inside.replace("-", "−")
    assert f"Mean {minus[0]} HU (in the window {minus[1]} HU): {side} all " in beside
    [rim] = re.findall(r"Rim less centre (\S+) HU", beside)
    assert abs(float(rim.replace("−", "-"))) < 0.5
    assert COMPARED in beside


def test_a_lesion_within_the_window_is_told_by_one_number(signed_in_as, session):
    panel, beside = told(signed_in_as, session, make_dicom(disc(60), phantom=True), "a.dcm")
    assert "(in the window" not in panel + beside
    assert "Mean 60 HU: " in beside and COMPARED in beside


def test_a_picture_without_hu_is_told_no_hu_as_measured(signed_in_as, session):
    grey = np.where(DISC, 255, 90).astype(np.uint8)
    stream = io.BytesIO()
    Picture.fromarray(grey).save(stream, "JPEG", quality=95)
    panel, beside = told(signed_in_as, session, stream.getvalue(), "a.jpg")
    for page in (panel, beside):
        assert COMPARED not in page and "(in the window" not in page
        assert "mean in the lesion" not in page and "Mean " not in page


def test_what_was_said_before_is_shown_with_what_was_compared(signed_in_as, session):
    """Sentences that are kept are not changed; what they are of stands beside them."""
    told(signed_in_as, session, make_dicom(disc(800), phantom=True), "a.dcm")
    row = session.scalars(sa.select(Prediction)).one()
    said = dict(row.said)
    said["second_opinion"] = {**said["second_opinion"], "reasons": ["mean 250 HU: as in 3 of 4"]}
    row.said = said
    session.commit()
    page = signed_in_as("reader").get(f"/lesions/{row.lesion_id}", headers={"x-fragment": "1"})
    text = html.unescape(page.text)
    assert COMPARED in text[text.index("mean 250 HU: as in 3 of 4") :]


@pytest.fixture
def api(client, token):
    client.headers["authorization"] = f"Bearer {token}"
    del client.headers["origin"]
    return client


def reasons(api, name: str, data: bytes, **fields) -> str:
    answer = api.post(API, files={"image": (name, data)}, data=fields).json()
    return "; ".join([*answer["unlike_training"]["reasons"], *answer["second_opinion"]["reasons"]])


@pytest.mark.parametrize(("hu", "inside"), [(800, 250), (-1000, -150)])
def test_programs_are_told_the_same(api, hu, inside):
    text = reasons(api, "a.dcm", make_dicom(disc(hu), phantom=True), box="44,44,40,40")
    assert f"mean in the lesion {hu} HU (in the window {inside} HU)" in text
    assert f"mean {inside} HU" not in text and f"lesion {inside} HU" not in text


@pytest.mark.parametrize(("end", "bound"), [(1, "at least 250 HU"), (-1, "at most -150 HU")])
def test_of_an_array_that_reaches_an_end_a_bound_is_told(api, end, bound):
    at = np.arange(64) - 31.5
    pixels = np.where(np.hypot(*np.meshgrid(at, at)) < 21, end, 0.3).astype(np.float32)
    stream = io.BytesIO()
    np.save(stream, pixels)
    text = reasons(api, "roi.npy", stream.getvalue())
    assert f"mean in the lesion {bound}" in text
    assert "mean in the lesion -150 HU" not in text and "mean 250 HU" not in text


def test_what_a_job_keeps_of_an_roi_knows_what_lay_beyond():
    for hu in (800, 60):
        found = roi.make(CTSlice(disc(hu), True, (0.8, 0.8)), Box(44, 44, 40, 40))
        back = SentRoi.from_dict(SentRoi(found, phantom=True).to_dict()).roi
        assert np.array_equal(back.unclipped, found.unclipped)
        assert (back.unclipped is back.pixels) == (hu == 60)
    item = SentRoi(found, phantom=True).to_dict()
    del item["unclipped"]  # of a job that waited since before
    assert SentRoi.from_dict(item).roi.unclipped is None


def test_the_schema_says_what_the_numbers_are(api):
    schemas = api.get("/openapi.json").json()["components"]["schemas"]
    for name in ("SecondOpinionAnswer", "UnlikeAnswer"):
        says = schemas[name]["properties"]["reasons"]["description"]
        assert "in the window" in says and "bound" in says
