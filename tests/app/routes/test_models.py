"""What the API tells of the checkpoints, in the manner of MONAI Label."""

from __future__ import annotations

import pytest


@pytest.fixture
def api(client, token):
    client.headers["authorization"] = f"Bearer {token}"
    return client


def test_served_models_are_listed_with_their_labels_and_described_by_their_card(api):
    info = api.get("/api/v1/info").json()
    assert info["labels"] == ["cyst", "hemangioma", "metastasis"]
    listed = info["models"]["phantom-cnn"]
    assert (listed["type"], listed["dimension"]) == ("classification", 2)
    model = api.get("/api/v1/models/phantom-cnn").json()
    assert model.items() >= listed.items()
    assert model["served"] is True
    network, hyphen, trust = model["version"].partition("-")
    assert (len(network), hyphen, len(trust)) == (12, "-", 8)
    assert model["digest"].startswith(network)
    assert model["card"].startswith("# ")
    assert "phantom" in model["card"]
    assert model["checkpoint"] in info["classifiers"]
    drawn = api.get("/api/v1/models/phantom-diffusion-cyst").json()
    assert drawn["version"] == drawn["digest"][:12]
    assert (drawn["type"], drawn["labels"]) == (
        "generation",
        info["models"][drawn["name"]]["labels"],
    )


def test_a_model_that_there_is_not_is_refused(api):
    assert api.get("/api/v1/models/absent").status_code == 404
    assert api.get("/api/v1/models/phantom-cnn?card=no").status_code == 422
