"""POST /api/v1/classifications: what it answers, what it refuses, and that it stores nothing."""

from __future__ import annotations

import io

import numpy as np
import pytest
import sqlalchemy as sa

from app.db import Base
from factories import make_dicom, make_hu, make_png

PATH = "/api/v1/classifications"
SIMULATED = "trained on simulated CT, no evidence about this patient"


@pytest.fixture
def api(client, token):
    client.headers["authorization"] = f"Bearer {token}"
    del client.headers["origin"]
    return client


def classify(api, data: bytes, name: str = "image.dcm", **fields):
    return api.post(PATH, files={"image": (name, data)}, data=fields)


def npy(array) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def test_no_token_an_unknown_one_and_a_cookie_are_all_refused(client, signed_in_as, token):
    file = {"image": ("roi.png", make_png())}
    bare = client.post(PATH, files=file)
    assert bare.status_code == 401
    assert bare.headers["content-type"] == "application/problem+json"
    assert bare.headers["www-authenticate"] == "Bearer"
    wrong = client.post(PATH, files=file, headers={"authorization": "Bearer hep_wrong"})
    assert wrong.status_code == 401
    assert signed_in_as("admin").post(PATH, files=file).status_code == 401


def test_a_revoked_token_is_refused_once_it_is_forgotten(api, app, database):
    from app.models import ApiToken

    assert classify(api, make_png(), "roi.png").status_code == 200
    with database.transaction() as session:
        ApiToken.revoke(session, "test-machine")
    app.state.tokens._known.clear()
    assert classify(api, make_png(), "roi.png").status_code == 401


def test_a_roi_is_classified_without_a_box(api):
    answer = classify(api, make_png(), "roi.png").json()
    assert set(answer) == {
        "checkpoint", "version", "lesion_class", "probabilities", "roi", "calibrated_hu", "limits",
        "warnings", "calibrated", "prediction_set", "unlike_training", "second_opinion",
        "agreement",
    }  # fmt: skip
    assert set(answer["probabilities"]) == {"cyst", "metastasis", "hemangioma"}
    assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-4)
    best = max(answer["probabilities"], key=answer["probabilities"].get)
    assert answer["lesion_class"] == best
    assert answer["calibrated_hu"] is False
    assert answer["roi"]["box"] is None
    assert SIMULATED in answer["warnings"]
    # a picture says nothing in HU: what is null says why
    assert answer["calibrated"] is False
    assert answer["prediction_set"] is answer["unlike_training"] is answer["second_opinion"] is None
    told = " ".join(answer["warnings"])
    assert "scores, no probabilities, and there is no prediction set: it was calibrated on" in told
    assert "Neither its likeness to the training ROIs nor a second opinion" in told
    assert answer["agreement"]["networks"] == 3 >= answer["agreement"]["agree"] >= 1


def test_a_phantom_is_answered_with_probabilities_a_set_and_a_second_opinion(api):
    answer = classify(api, make_dicom(phantom=True), box="44,44,40,40").json()
    assert answer["calibrated"] is True
    left = answer["prediction_set"]
    assert left["level"] == 0.9
    assert left["classes"][0] == answer["lesion_class"]
    falling = [answer["probabilities"][key] for key in left["classes"]]
    assert falling == sorted(falling, reverse=True)
    second = answer["second_opinion"]
    assert second["model"] == "features"
    assert sum(second["probabilities"].values()) == pytest.approx(1, abs=1e-6)
    assert second["reasons"]
    # noise with a disc in it is no liver
    assert answer["unlike_training"]["flag"] is True
    assert answer["unlike_training"]["reasons"]


def test_ct_of_a_patient_gets_scores_from_a_network_of_phantoms(api):
    answer = classify(api, make_dicom(), box="44,44,40,40").json()
    assert answer["calibrated"] is False
    assert answer["prediction_set"] is None
    assert answer["unlike_training"] is not None
    assert any("it was calibrated on simulated CT" in text for text in answer["warnings"])
    assert "Calibrated on" not in answer["limits"]
    assert answer["limits"].endswith("The score is not calibrated for this kind of image.")
    assert answer["version"] == api.get("/api/v1/models/phantom-cnn").json()["version"]


def test_a_box_and_a_centre_with_a_diameter_give_the_same_answer(api):
    dicom = make_dicom()
    box = classify(api, dicom, box="44,44,40,40").json()
    centre = classify(api, dicom, center="64,64", diameter_mm="32").json()  # 0.8 mm a pixel
    assert box["calibrated_hu"] is True
    assert box["probabilities"] == centre["probabilities"]
    assert box["roi"]["side_mm"] == pytest.approx(1.56 * 32, abs=0.01)


def test_the_browser_and_the_api_say_the_same_of_the_same_lesion(api, signed_in_as, session):
    from app.models import Image, Prediction

    dicom = make_dicom()
    browser = signed_in_as("reader")
    browser.post("/cases", files={"files": ("a.dcm", dicom)}, data={"contrast_phase": "portal"})
    image = session.scalars(sa.select(Image)).one()
    place = {"x": 44, "y": 44, "width": 40, "height": 40}
    assert browser.post(f"/images/{image.id}/lesions", data=place).status_code == 303
    stored = session.scalars(sa.select(Prediction)).one().probabilities
    assert classify(api, dicom, box="44,44,40,40").json()["probabilities"] == stored


def test_an_image_that_is_sent_is_warned_of_as_one_that_is_held_here_by_its_phase(
    api, signed_in_as, session
):
    from app.models import Image, Prediction

    dicom, browser = make_dicom(), signed_in_as("reader")
    browser.post("/cases", files={"files": ("a.dcm", dicom)}, data={"contrast_phase": "unknown"})
    image = session.scalars(sa.select(Image)).one()
    place = {"x": 44, "y": 44, "width": 40, "height": 40}
    assert browser.post(f"/images/{image.id}/lesions", data=place).status_code == 303
    [told] = [
        one for one in session.scalars(sa.select(Prediction)).one().warnings if "phase" in one
    ]
    where = {"box": "44,44,40,40"}
    assert told.startswith("The contrast phase is not known.")
    assert told in classify(api, dicom, **where).json()["warnings"]
    assert told in classify(api, make_png(64)).json()["warnings"]
    held = {"lesions": [{"instance": image.uid, "box": [44, 44, 40, 40]}]}
    several = classify(api, dicom, lesions='[{"box": [44, 44, 40, 40]}]').json()["lesions"]
    by_reference = api.post(PATH, json=held).json()["lesions"]
    assert [one["warnings"] for one in several] == [one["warnings"] for one in by_reference]
    portal = classify(api, dicom, contrast_phase="portal", **where).json()
    assert not any("phase is" in one for one in portal["warnings"])
    other = classify(api, dicom, contrast_phase="other", **where).json()
    assert any("The contrast phase is not portal." in one for one in other["warnings"])
    refused = classify(api, dicom, contrast_phase="arterial", **where)
    assert (refused.status_code, "portal, other, unknown" in refused.text) == (422, True)


def test_a_phantom_image_is_not_warned_of_as_a_patient(api):
    phantom = classify(api, make_dicom(phantom=True), box="44,44,40,40").json()
    patient = classify(api, make_dicom(), box="44,44,40,40").json()
    assert SIMULATED not in phantom["warnings"]
    assert SIMULATED in patient["warnings"]


REFUSED = {
    "no place": (make_dicom(), {}),
    "a box outside": (make_dicom(), {"box": "500,500,20,20"}),
    "a box of no size": (make_dicom(), {"box": "20,20,0,10"}),
    "a box that is no box": (make_dicom(), {"box": "20,20,ten,10"}),
    "an infinite box": (make_dicom(), {"box": "20,20,inf,10"}),
    "half a place": (make_dicom(), {"center": "64,64"}),
    "two places": (make_dicom(), {"box": "1,1,9,9", "center": "64,64", "diameter_mm": "9"}),
    "mm without spacing": (make_dicom(spacing=None), {"center": "64,64", "diameter_mm": "20"}),
    "mm on a picture": (make_png(128), {"center": "64,64", "diameter_mm": "20"}),
    "no such frame": (make_dicom(), {"box": "44,44,40,40", "frame": "2"}),
    "not an image": (b"hello", {}),
    "an empty file": (b"", {}),
    "not CT": (make_dicom(Modality="MR"), {"box": "44,44,40,40"}),
    "a NaN": (npy(np.full((64, 64), np.nan, np.float32)), {}),
    "values beyond 1": (npy(np.full((64, 64), 40.0, np.float32)), {}),
    "another shape": (npy(np.zeros((32, 32), np.float32)), {}),
    "objects": (npy(np.array([{"a": 1}], dtype=object)), {}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_classified_is_refused_with_a_remedy(name, api):
    data, fields = REFUSED[name]
    reply = classify(api, data, "sent.bin", **fields)
    assert reply.status_code in (400, 422), reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    problem = reply.json()
    assert problem["status"] == reply.status_code
    assert len(problem["detail"]) > 25


def test_no_file_and_two_files_are_refused(api):
    assert api.post(PATH, data={"box": "1,1,2,2"}).status_code == 400
    assert api.post(PATH, content=b"{}").status_code == 400
    two = [("image", ("a.png", make_png())), ("image", ("b.png", make_png()))]
    assert api.post(PATH, files=two).status_code == 400


def test_a_box_in_pixels_works_without_spacing(api):
    answer = classify(api, make_dicom(spacing=None), box="44,44,40,40").json()
    assert answer["roi"]["side_mm"] is None
    assert any("pacing" in text for text in answer["warnings"])


def test_many_at_once_get_each_their_own_answer(api, app):
    """The batch that is made of waiting ROIs must not mix them up."""
    import asyncio

    from ml.images import roi

    rois = [roi.Roi(np.full((64, 64), v, np.float32), True, None, roi.Box(0, 0, 64, 64), None)
            for v in np.linspace(-1, 1, 40)]  # fmt: skip
    served = asyncio.run(app.state.served.classifier())

    async def together():
        return await asyncio.gather(*(served.scores(one, phantom=True) for one in rois))

    batched = asyncio.run(together())
    for one, found in zip(rois, batched, strict=True):
        (alone,) = served.network.said([one], [True], app.state.inference.level)
        given, own = found.said.probabilities, alone.probabilities
        assert list(given.values()) == pytest.approx(list(own.values()), abs=2e-6)
    assert len({tuple(found.said.probabilities.values()) for found in batched}) > 20


def test_nothing_is_stored(api, session):
    def rows():
        session.expire_all()
        return {
            table.name: session.scalar(sa.select(sa.func.count()).select_from(table))
            for table in Base.metadata.sorted_tables
        }

    before = rows()
    classify(api, make_dicom(make_hu(9)), box="44,44,40,40")
    api.post("/api/v1/synthetics", json={"count": 2})
    assert rows() == before


@pytest.mark.parametrize("place", [{"box": "1,2,30,30"}, {"frame": "2"}])
def test_a_place_on_an_array_is_refused_and_not_left_out(place, api):
    answer = api.post(
        PATH, files={"image": ("roi.npy", npy(np.zeros((64, 64), np.float32)))}, data=place
    )
    assert answer.status_code == 422
    assert "is the ROI itself" in answer.json()["detail"]


def test_of_an_array_of_one_shade_the_answer_says_that_it_means_nothing(api):
    flat = classify(api, npy(np.zeros((64, 64), np.float32)), "roi.npy").json()
    assert any("one shade of grey" in told for told in flat["warnings"])
    rng = np.random.default_rng(0)
    other = classify(api, npy(rng.uniform(-1, 1, (64, 64)).astype(np.float32)), "roi.npy").json()
    assert not any("one shade of grey" in told for told in other["warnings"])


def test_a_generator_is_told_by_its_own_class_and_draws_no_other(api):
    told = api.get("/api/v1/info").json()
    for one in told["generators"]:
        assert list(told["models"][one["name"]]["labels"]) == [one["lesion_class"]]
        assert 1 <= one["most_at_once"] <= told["most_synthetics"]
    assert [one["most_at_once"] for one in told["classifiers"]] == [None]
    one = told["generators"][0]
    other = next(key for key in told["labels"] if key != one["lesion_class"])
    order = {"checkpoint": one["name"], "count": 1}
    for more, status in (({}, 200), ({"lesion_class": one["lesion_class"]}, 200),
                         ({"lesion_class": other}, 422), ({"checkpoint": ""}, 404)):  # fmt: skip
        reply = api.post("/api/v1/synthetics", json={**order, **more})
        assert reply.status_code == status, reply.text
    beyond = {**order, "count": one["most_at_once"] + 1}
    assert api.post("/api/v1/synthetics", json=beyond).status_code == 422
