"""A served ensemble: what the API, the panel and the card tell of its networks."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import sqlalchemy as sa

import studies
from app.maps import map_told
from app.models import Checkpoint, Image, Prediction
from factories import hidden_fields, make_dicom
from ml.checkpoints import checkpoint as files
from ml.checkpoints import saving
from ml.checkpoints.members import Ensemble, joined, parted
from ml.training.networks import export
from ml.trust.saliency import Method

FRAGMENT = {"x-fragment": "1"}


@pytest.fixture(scope="session")
def two(checkpoints, tmp_path_factory):
    """The shipped network, and one beside it that says the opposite, half as loud."""
    meta = files.Checkpoint.load(
        next(one for one in checkpoints if one.name == "phantom-cnn")
    )  # fmt: skip
    first = parted(meta.weights())[0]
    second = {
        **first,
        "output.weight": -0.5 * first["output.weight"],
        "output.bias": -0.5 * first["output.bias"],
    }
    folder = tmp_path_factory.mktemp("ensembles") / "two"
    saving.save(
        replace(meta, name="two", ensemble=Ensemble(2, 2)),
        folder,
        export.ensemble([first, second], 1),
        joined([first, second]),
        trust=meta.trust_of(meta.trust_bytes()),
    )
    return folder


@pytest.fixture
def served(two, database):
    with database.transaction() as session:
        Checkpoint.register(session, two, "tests")


@pytest.fixture
def api(client, token, served, app):
    app.state.served.forget()
    client.headers["authorization"] = f"Bearer {token}"
    del client.headers["origin"]
    return client


def classify(api):
    file = {"image": ("image.dcm", make_dicom(phantom=True))}
    return api.post(
        "/api/v1/classifications", files=file, data={"box": "44,44,40,40"}
    ).json()  # fmt: skip


def test_the_answer_tells_how_many_networks_agree(api):
    answer = classify(api)
    assert answer["checkpoint"] == "two"
    told = answer["agreement"]
    assert (told["networks"], told["agree"]) == (2, 1)
    assert 0 < told["lowest"] < told["highest"] < 1
    assert not any("No agreement" in text for text in answer["warnings"])
    assert answer["calibrated"] is True
    assert answer["prediction_set"] is not None
    assert answer["unlike_training"] is not None


def test_a_model_says_of_which_networks_it_is(api):
    told = api.get("/api/v1/models/two").json()
    assert told["checkpoint"]["ensemble"] == {"networks": 2, "folds": 2}
    assert "2 networks of 2 folds. Their logits are averaged" in told["card"]
    assert "mean of 2 networks of 2 folds" in told["checkpoint"]["limits"]
    single = api.get("/api/v1/models/phantom-diffusion-cyst").json()
    assert single["checkpoint"]["ensemble"] is None


def test_what_was_said_of_a_lesion_keeps_the_agreement(served, app, session):
    [lesion] = studies.make_lesion(session, 1)
    row = Checkpoint.classifier(session)
    made = app.state.inference.classify(session, lesion, row)
    session.expire_all()
    kept = session.scalars(sa.select(Prediction)).one()
    assert kept.id == made.id
    found = kept.answer.agreement
    assert found is not None
    assert (found.networks, found.words) == (2, "1 of 2 networks agrees")


def test_the_panel_tells_it_behind_a_key(served, session, signed_in_as):
    ada = signed_in_as("reader", name="ada")
    file = ("a.dcm", make_dicom(phantom=True))
    ada.post("/cases", files={"files": file}, data={"contrast_phase": "portal"})
    image = session.scalars(sa.select(Image)).one()
    box = {"x": 44, "y": 44, "width": 40, "height": 40}
    marked = ada.post(f"/images/{image.id}/lesions", data=box, headers=FRAGMENT)
    assert "networks agree" not in marked.text  # covered, as the score is
    lesion = json.loads(marked.headers["x-lesion"])["id"]
    answer = {"lesion_class": "cyst", "confidence": 3, "basis": "imaging"}
    data = {**hidden_fields(marked.text), **answer}
    ada.post(f"/lesions/{lesion}/reviews", data=data, headers=FRAGMENT)
    panel = ada.get(f"/lesions/{lesion}", headers=FRAGMENT).text
    behind = panel.split("How far until the class flips</summary>")[1].split("</details>")[0]
    assert "1 of 2 networks agrees; " in behind
    assert panel.count("networks agree") == 1


def test_what_moves_the_score_is_told_of_the_mean(served, app, session):
    [lesion] = studies.make_lesion(session, 1)
    said = app.state.inference.classify(session, lesion, Checkpoint.classifier(session))
    for method in Method:
        found = app.state.inference.saliency(
            session, lesion, said, said.lesion_class, method, checked=True
        )
        assert found.networks == 2
        assert found.check is not None and found.values.any()
        told = map_told(lesion, said, said.lesion_class, found)
        assert "of the mean answer of 2 networks" in told.scale
