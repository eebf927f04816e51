"""Who sees a classifier in use, what leaves, and that it says what it does not know."""

from __future__ import annotations

import csv
import io
import json

import pytest
import sqlalchemy as sa

import monitored
import studies
from app.models import ApiToken, Checkpoint, Event, User
from app.models.monitoring import monitoring
from app.routes import monitoring as pages
from monitored import Site

PAGE = "/monitoring"
API = "/api/v1/models/phantom-cnn/monitoring"


@pytest.fixture
def admin(signed_in_as):
    return signed_in_as("admin")


@pytest.fixture(autouse=True)
def present(monkeypatch):
    """The lesions are of one year, and it is the present."""
    monkeypatch.setattr(monitoring, "now", lambda: monitored.AT)


@pytest.fixture
def used(session):
    """300 lesions of patients, all reviewed."""
    monitored.fill(session, 300, Site())
    session.commit()


@pytest.mark.parametrize("role", ["reader", "researcher"])
def test_nobody_but_administrators_sees_the_page_or_takes_it(role, signed_in_as):
    browser = signed_in_as(role)
    for path in (PAGE, f"{PAGE}/export"):
        assert browser.get(path).status_code == 403


def test_a_checkpoint_that_is_not_there_or_scores_nothing_is_refused(admin):
    assert admin.get(f"{PAGE}?checkpoint=nowhere").status_code == 404
    refused = admin.get(f"{PAGE}?checkpoint=phantom-diffusion-cyst")
    assert refused.status_code == 422
    assert "draws lesions and scores none" in refused.text
    for query in ("kind=mri", "standard=none", "measured=perhaps", "kind="):
        assert admin.get(f"{PAGE}?{query}").status_code == 422
    assert admin.get(f"{PAGE}/export?format=pdf").status_code == 422


def test_an_installation_that_scored_nothing_says_so(admin):
    page = admin.get(PAGE)
    assert page.status_code == 200
    assert "No lesion of this kind was scored" in page.text
    found = admin.get(f"{PAGE}/export?format=json").json()
    assert found["months"]["whole"]["lesions"] == 0
    assert found["months"]["each"] == []
    assert found["inputs"]["why"] == "nothing was scored"
    assert found["months"]["whole"]["unlike"]["value"] is None


def test_an_installation_without_any_classifier_says_so(admin, session):
    session.execute(
        sa.update(Checkpoint).where(Checkpoint.kind == "classifier").values(served_since=None)
    )
    session.commit()
    assert "Nothing to watch" in admin.get(PAGE).text
    assert admin.get(f"{PAGE}/export").status_code == 404


def test_the_page_shows_what_was_scored_with_intervals(admin, used):
    page = admin.get(PAGE)
    assert page.status_code == 200
    assert "has scored 300 lesions of CT in Hounsfield units here" in page.text
    assert "its numbers are scores here" in page.text  # the network learned on phantoms
    assert "2025-12" in page.text
    assert "simulated, and these are patients" in page.text


def test_a_large_installation_is_told_that_it_takes_a_while(admin, used, monkeypatch):
    monkeypatch.setattr(pages, "MANY", 299)
    waits = admin.get(f"{PAGE}?checkpoint=phantom-cnn")
    assert "Computing: 300 lesions" in waits.text
    assert 'content="0; url=/monitoring?checkpoint=phantom-cnn&amp;compute=1"' in waits.text
    assert "By month" in admin.get(f"{PAGE}?checkpoint=phantom-cnn&compute=1").text


def test_what_leaves_is_in_the_record_and_says_the_same_in_both_forms(admin, used, session):
    sheet = admin.get(f"{PAGE}/export?format=csv")
    assert sheet.headers["content-disposition"].endswith('monitoring-phantom-cnn-calibrated.csv"')
    found = admin.get(f"{PAGE}/export?format=json").json()
    rows = list(csv.DictReader(io.StringIO(sheet.text)))
    told = {(row["section"], row["of"], row["measure"]): row for row in rows}
    share = found["months"]["whole"]["unlike"]
    row = told["month", "all", "unlike the training ROIs"]
    assert [float(row[name]) for name in ("value", "low", "high")] == [
        pytest.approx(share[name]) for name in ("value", "low", "high")
    ]
    assert told["about", "", "time zone of months"]["value"] == "UTC"
    events = session.scalars(sa.select(Event).where(Event.kind == "monitoring exported")).all()
    assert [one.detail["format"] for one in events] == ["csv", "json"]
    assert {one.actor for one in events} == {"admin"}


def test_kinds_of_image_are_never_added_up(admin, session):
    monitored.fill(session, 30, Site())
    monitored.fill(session, 40, Site(phantom=True, prefix="Q", seed=1))
    session.commit()
    counted = {
        kind: admin.get(f"{PAGE}/export?format=json&kind={kind}").json()["months"]["whole"]
        for kind in ("calibrated", "phantom", "uncalibrated")
    }
    assert [one["lesions"] for one in counted.values()] == [30, 40, 0]
    assert "Phantoms are simulated" in admin.get(f"{PAGE}?kind=phantom").text


def test_a_program_needs_a_researchers_reach(client, session, token):
    reader = studies.make_user(session, "ada")
    secret = ApiToken.add(session, "of-a-reader", "reader", owner=reader)
    session.commit()
    refused = client.get(API, headers={"authorization": f"Bearer {secret}"})
    assert refused.status_code == 403
    good = {"authorization": f"Bearer {token}"}
    assert client.get(API, headers=good).json()["checkpoint"]["name"] == "phantom-cnn"
    assert client.get(f"{API}?months=3", headers=good).status_code == 422
    assert client.get(f"{API}?kind=mri", headers=good).status_code == 422
    assert client.get(API.replace("phantom-cnn", "nowhere"), headers=good).status_code == 404
    event = session.scalars(sa.select(Event).where(Event.kind == "monitoring exported")).one()
    assert event.actor == "token test-machine"


def lesions_of(reply) -> int:
    found = reply.json()
    assert found["closed"] == (found["months"]["whole"]["lesions"] == 0)
    return found["months"]["whole"]["lesions"]


def test_a_blinded_administrator_learns_nothing_of_cases_that_the_reading_could_be_about(
    app, admin, session, client, token
):
    app.state.inference = studies.NoNetworks()
    boss = User.require(session, "admin")
    studies.make_study(session, boss, per_class=3)
    monitored.fill(session, 40, Site(phantom=True))  # marked before it opened, none of them in it
    session.commit()
    assert lesions_of(admin.get(f"{PAGE}/export?format=json&kind=phantom")) == 0
    assert "that may be shown to you now" in admin.get(f"{PAGE}?kind=phantom").text
    # a token that is nobody's may be a reader's
    machine = client.get(f"{API}?kind=phantom", headers={"authorization": f"Bearer {token}"})
    assert lesions_of(machine) == 0
    other = studies.make_user(session, "root", "admin")
    secret = ApiToken.add(session, "watcher", "machine", owner=other)
    session.commit()
    seen = client.get(f"{API}?kind=phantom", headers={"authorization": f"Bearer {secret}"})
    assert lesions_of(seen) == 40


def test_the_json_of_page_and_api_has_the_same_keys(admin, client, used, token):
    page = admin.get(f"{PAGE}/export?format=json&measured=1").json()
    api = client.get(f"{API}?measured=1", headers={"authorization": f"Bearer {token}"}).json()
    assert json.dumps(page | {"made_at": ""}) == json.dumps(api | {"made_at": ""})
    assert [one["name"] for one in api["inputs"]["measured"]] == [
        "lesion_mean", "surround_mean", "contrast", "surround_sd", "surround_band_0",
    ]  # fmt: skip
