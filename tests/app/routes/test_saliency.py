"""The map of what moves a score: as a piece of the panel, as a page, and as a picture."""

from __future__ import annotations

import html
import io
import json
import re
import uuid
from dataclasses import replace

import numpy as np
import pytest
import sqlalchemy as sa
from PIL import Image as Picture

import studies
from app.maps import map_told
from app.models import Blob, Checkpoint, Event, Image, Lesion, Prediction
from app.models.reader_studies.look import Look
from app.witness import OPENED
from factories import hidden_fields, make_dicom, make_png
from ml.checkpoints.checkpoint import tensors_from_bytes, tensors_to_bytes
from ml.statistics.multinomial import softmax
from ml.trust.saliency import Method

BOX = {"x": 44, "y": 44, "width": 40, "height": 40}
FRAGMENT = {"x-fragment": "1"}
ANSWER = {"lesion_class": "cyst", "confidence": 4, "basis": "imaging", "note": ""}
NETWORK = "phantom-cnn"


def _marked(browser, session, files, **case) -> Lesion:
    data = {"contrast_phase": "portal", **case}
    assert browser.post("/cases", files={"files": files}, data=data).status_code == 200
    image = session.scalars(sa.select(Image)).one()
    reply = browser.post(f"/images/{image.id}/lesions", data=BOX, headers=FRAGMENT)
    return session.get_one(Lesion, uuid.UUID(json.loads(reply.headers["x-lesion"])["id"]))


def _review(browser, lesion) -> None:
    fields = hidden_fields(browser.get(f"/lesions/{lesion.id}", headers=FRAGMENT).text)
    data = {**fields, **ANSWER}
    assert browser.post(f"/lesions/{lesion.id}/reviews", data=data).status_code == 303


@pytest.fixture
def reader(signed_in_as):
    return signed_in_as("reader")


@pytest.fixture
def lesion(reader, session) -> Lesion:
    return _marked(reader, session, ("a.dcm", make_dicom()))


@pytest.fixture
def reviewed(reader, lesion) -> Lesion:
    _review(reader, lesion)
    return lesion


def _address(lesion: Lesion, path: str = "saliency", **more: str) -> str:
    query = "&".join(f"{key}={value}" for key, value in {"checkpoint": NETWORK, **more}.items())
    return f"/lesions/{lesion.id}/{path}?{query}"


BOTH = pytest.mark.parametrize("path", ["saliency", "saliency.png"])


@BOTH
def test_there_is_no_map_before_the_own_class_is_given(path, reader, lesion, session) -> None:
    refused = reader.get(_address(lesion, path))
    assert refused.status_code == 403
    assert "yours comes first" in refused.text
    assert NETWORK not in refused.text
    assert "saliency" not in reader.get(f"/lesions/{lesion.id}", headers=FRAGMENT).text
    _review(reader, lesion)
    assert reader.get(_address(lesion, path)).status_code == 200


@BOTH
def test_a_colleague_who_has_given_no_class_gets_none(path, reviewed, signed_in_as) -> None:
    assert signed_in_as("reader", name="ben").get(_address(reviewed, path)).status_code == 403


def test_the_panel_offers_the_map_closed_and_as_a_link(reader, reviewed) -> None:
    panel = reader.get(f"/lesions/{reviewed.id}", headers=FRAGMENT).text
    [opened] = re.findall(r"<details[^>]*data-saliency[^>]*>", panel)
    assert " open" not in opened
    assert f'<a href="{_address(reviewed)}">' in panel
    assert "saliency.png" not in panel  # nothing is computed until somebody asks


def test_a_piece_tells_the_map_its_scale_its_check_and_what_it_cannot_say(
    reader, reviewed, session
) -> None:
    said = session.scalars(sa.select(Prediction)).one()
    pieces = {
        key: html.unescape(reader.get(_address(reviewed, of=key), headers=FRAGMENT).text)
        for key in said.probabilities
    }
    # where the mean over places speaks against a class, its map by Grad-CAM is empty
    key, piece = next(one for one in pieces.items() if "Maps of networks" in one[1])
    assert "<html" not in piece
    assert f"{said.probabilities[key]:.2f}" in piece
    assert "not why the class was named, not whether it is right" in piece
    assert "Maps of networks with random weights" in piece
    assert "a weak one looks as strong as any" in piece
    assert piece.count("<tr>") == 1 + 5  # output, dense, and three convolutions
    [alt] = re.findall(r'alt="([^"]* under the map [^"]*)"', piece)
    assert "% of its strength lies within the mark, which covers" in alt
    assert 'aria-current="true">Grad-CAM' in piece


@pytest.mark.long
def test_every_class_and_both_ways_can_be_chosen(reader, reviewed) -> None:
    piece = reader.get(_address(reviewed), headers=FRAGMENT).text
    links = [html.unescape(link) for link in re.findall(r'class="chip" href="([^"]+)"', piece)]
    assert len(links) == 5
    shown = {reader.get(link, headers=FRAGMENT).text for link in links}
    assert len(shown) == 4  # the named class by Grad-CAM is in both lists
    other = html.unescape(
        reader.get(_address(reviewed, of="hemangioma", method="gradient"), headers=FRAGMENT).text
    )
    assert "speaks for hemangioma" in other and "speaks against hemangioma" in other
    assert re.search(r"the mean of the training ROIs \(\d+ HU in its window of −150 to ", other)


def test_without_a_script_it_is_a_page(reader, reviewed) -> None:
    page = reader.get(_address(reviewed, of="cyst", method="gradient"))
    assert page.status_code == 200
    assert "<html" in page.text and "Research use only" in page.text
    assert "trained on simulated CT, no evidence about this patient" in page.text
    assert f'href="/cases/{reviewed.case_id}?lesion={reviewed.id}"' in page.text
    [picture] = re.findall(r'src="([^"]*saliency\.png[^"]*)"', page.text)
    found = reader.get(html.unescape(picture))
    assert found.headers["content-type"] == "image/png"


def _pixels(reply) -> np.ndarray:
    with Picture.open(io.BytesIO(reply.content)) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def test_the_picture_is_the_roi_under_the_map_and_a_look_at_the_lesion(
    reader, reviewed, session
) -> None:
    looks = sa.select(Look.subject_id)
    assert session.scalars(looks).all() == []
    pictures = [
        _pixels(reader.get(_address(reviewed, "saliency.png", of=of, method=method)))
        for of in ("cyst", "metastasis", "hemangioma")
        for method in ("grad-cam", "gradient")
    ]
    assert session.scalars(looks).all() == [reviewed.id]
    plain = _pixels(reader.get(f"/lesions/{reviewed.id}/roi.png"))
    for one in pictures:
        assert one.shape == plain.shape == (64, 64, 3)
        # grey shows through: the picture stays the lesion's
        assert np.corrcoef(one.mean(axis=2).ravel(), plain.mean(axis=2).ravel())[0, 1] > 0.5
    # a map by Grad-CAM is empty where the mean over places speaks against the class
    drawn = [one for one in pictures if (one != plain).any()]
    assert len(drawn) >= 4
    assert len({one.tobytes() for one in drawn}) == len(drawn)


def test_a_picture_that_the_browser_has_is_not_made_again(reader, reviewed, monkeypatch) -> None:
    address = _address(reviewed, "saliency.png")
    first = reader.get(address)
    assert first.headers["cache-control"] == "private, no-cache"

    def read(*_arguments):
        raise AssertionError("a network was read for an answer without bytes")

    monkeypatch.setattr(Blob, "read", read)
    again = reader.get(address, headers={"if-none-match": first.headers["etag"]})
    assert again.status_code == 304
    tags = {
        reader.get(_address(reviewed, "saliency.png", **more), headers={"if-none-match": "*"})
        .headers["etag"]
        for more in ({}, {"of": "hemangioma"}, {"method": "gradient"})
    }  # fmt: skip
    assert len(tags) == 3


@BOTH
@pytest.mark.parametrize(
    "more, status, words",
    [
        ({"checkpoint": "phantom-diffusion-cyst"}, 404, "has not classified this lesion"),
        ({"checkpoint": "nothing"}, 404, "There is no checkpoint named"),
        ({"of": "wart"}, 422, "has no class 'wart'"),
        ({"method": "guesswork"}, 422, "'grad-cam' or 'gradient'"),
    ],
)
def test_what_is_asked_of_nothing_is_refused_in_words(
    path, more, status, words, reader, reviewed
) -> None:
    refused = reader.get(_address(reviewed, path, **more), headers=FRAGMENT)
    assert refused.status_code == status
    assert words in refused.json()["detail"]


@pytest.mark.parametrize("phantom", [True, False])
@pytest.mark.parametrize("before", [True, False])
def test_a_map_is_of_the_number_beside_it(phantom, before, session, app, monkeypatch) -> None:
    """A score of a patient's lesion is scaled as a probability is; one of before is not."""
    [lesion] = studies.make_lesion(session, 5, phantom=phantom)
    checkpoint = Checkpoint.require(session, NETWORK)
    said = app.state.inference.classify(session, lesion, checkpoint)
    network = app.state.inference.classifier(session, checkpoint)
    roi = lesion.roi(session, checkpoint.window_hu, checkpoint.grey_range)
    logits = network.outputs(roi.pixels[None]).logits
    if before:
        told = dict(zip(checkpoint.scheme.keys, map(float, softmax(logits)[0]), strict=True))
        said = Prediction(checkpoint=checkpoint, probabilities=told, said=None)
    of = max(said.probabilities, key=lambda key: said.probabilities[key])
    asked = []
    monkeypatch.setattr("app.inference.explain", lambda *given, **more: asked.append(given))
    app.state.inference.saliency(session, lesion, said, of, Method.GRADIENT, checked=False)
    [(_, _, served, score, _)] = asked
    shown = softmax(served / score.temperature)[0, score.positions[0]]
    assert shown == pytest.approx(said.answer.probabilities[of], abs=1e-5)


def _kept_beside(session, change) -> None:
    """Other weights beside the served network."""
    row = session.scalars(sa.select(Checkpoint).where(Checkpoint.name == NETWORK)).one()
    tensors = tensors_from_bytes(Blob.read(session, row.weights_digest))
    change(tensors)
    row.weights_digest = Blob.store(session, tensors_to_bytes(tensors), "application/octet-stream")
    session.commit()


@BOTH
def test_weights_that_are_not_the_served_networks_draw_no_map(
    path, reader, reviewed, session
) -> None:
    def change(tensors):
        tensors["members.0.conv1.bias"] = tensors["members.0.conv1.bias"] + np.float32(0.15)

    _kept_beside(session, change)
    refused = reader.get(_address(reviewed, path), headers=FRAGMENT)
    assert refused.status_code == 422
    assert "a map would be of another one" in refused.json()["detail"]


@BOTH
def test_a_network_of_another_kind_draws_no_map(path, reader, reviewed, session) -> None:
    def change(tensors):
        for name in [one for one in tensors if one.endswith("conv3.weight")]:
            tensors[name.replace("conv3", "attention")] = tensors.pop(name)

    _kept_beside(session, change)
    refused = reader.get(_address(reviewed, path))
    assert refused.status_code == 422
    assert "this one has other layers: attention.weight, conv3.weight" in refused.text


def test_a_picture_without_hounsfield_units_is_told_in_parts_of_its_greys(reader, session) -> None:
    lesion = _marked(reader, session, ("a.png", make_png(128)), pseudonym="Frog 7")
    _review(reader, lesion)
    page = html.unescape(reader.get(_address(lesion, method="gradient")).text)
    assert re.search(r"the mean of the training ROIs \(\d+ % of the grey range\)", page)
    assert "Hounsfield" in page  # the warning of the score stands there too
    assert " HU)" not in page


def test_an_image_that_is_the_roi_itself_has_no_mark_to_compare_with(
    reviewed, session, app
) -> None:
    said = session.scalars(sa.select(Prediction)).one()
    inference = app.state.inference
    found = inference.saliency(session, reviewed, said, "cyst", Method.GRADIENT, checked=False)
    told = map_told(reviewed, said, "cyst", replace(found, mark=None))
    assert told.mark == "The image is the ROI itself, so there is no mark to compare it with."
    assert told.alt.endswith(told.mark)


def test_an_empty_map_is_said_to_be_empty(reader, reviewed, session, app) -> None:
    said = session.scalars(sa.select(Prediction)).one()
    inference = app.state.inference
    found = inference.saliency(session, reviewed, said, "cyst", Method.CAM, checked=True)
    empty = replace(found, values=np.zeros((64, 64)), full=0.0, mark=None, check=None)
    app.state.inference.saliency = lambda *_asked, **_more: empty
    page = html.unescape(reader.get(_address(reviewed, of="cyst")).text)
    assert "Nothing that was found speaks for cyst: the map is empty." in page
    assert "saliency.png" not in page and "Full colour" not in page
    assert "random weights" not in page  # there is nothing to compare
    assert "not why the class was named" in page


def test_a_map_changes_nothing_that_is_kept(reader, reviewed, session) -> None:
    def kept() -> list[int]:
        """Predictions, and events but for the one that says who opened the case."""
        events = sa.select(sa.func.count()).select_from(Event).where(Event.kind != OPENED)
        predictions = sa.select(sa.func.count()).select_from(Prediction)
        return [session.scalar(predictions), session.scalar(events)]

    before = kept()
    reader.get(_address(reviewed))
    reader.get(_address(reviewed, "saliency.png"))
    assert before == kept()
