"""The planner: simulated powers, kept once; pilots; and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import sqlalchemy as sa

import answered
import studies
from app.errors import NotFound, Unreadable
from app.models import KeptPower, Pilot
from app.models.reader_studies.design import Design
from app.models.reader_studies.task import Task
from app.models.study_plans.asked import Asked
from app.models.study_plans.power import KeptPower as Kept
from app.simulations import AT_ONCE
from ml.readers import exchange, simulation
from ml.readers.many import Studies
from ml.readers.reading import present, ratings_by_generator
from ml.readers.simulation import simulated
from ml.statistics.latent import Latent
from ml.statistics.proportion import ReadersError

PLANNER = "/reader-studies/planner"
LINES = {"accept": "application/x-ndjson"}
SMALL = {"readers": "3", "cases": "20", "studies": "10", "effect": "0.2"}


@pytest.fixture
def few(monkeypatch):
    """A grid of four designs instead of thirty-six."""
    monkeypatch.setattr("app.models.study_plans.asked.GRID_READERS", (3, 4))
    monkeypatch.setattr("app.models.study_plans.asked.GRID_IMAGES", (20, 40))


def ratings(readers: int = 4) -> bytes:
    drawn = Studies.drawn(Latent(), (0.65,), readers, 20, 20, 1, np.random.default_rng(1))
    block = ratings_by_generator(present(drawn.readings(0)).first)
    return exchange.long_csv(block).encode()


@pytest.mark.parametrize(
    ("typed", "refused", "why"),
    [
        ({"readers": "2"}, ReadersError, "3 to 50 readers"),
        ({"readers": "²"}, Unreadable, "whole number"),
        ({"claim": "best"}, Unreadable, "equivalent to chance"),
        ({"effect": "0"}, ReadersError, "nothing to be shown"),
        ({"margin": "nan"}, Unreadable, "margin"),
        ({"reader": "9"}, ReadersError, "variance of readers"),
        ({"wanted": "1"}, Unreadable, "between 0 and 1"),
        ({"pilot": "x"}, NotFound, "no such pilot"),
    ],
)
def test_what_cannot_be_planned_is_refused_with_the_reason(session, typed, refused, why):
    with pytest.raises(refused, match=why):
        Asked.of(session, typed)


def test_what_would_take_too_long_is_refused_before_it_begins(session):
    asked = Asked.of(session, {"readers": "50", "cases": "2000", "studies": "20000"})
    with pytest.raises(Unreadable, match="would take about"):
        asked.simulation({})


def test_no_reader_plans_and_a_refused_form_says_why(signed_in_as):
    assert signed_in_as("reader").get(PLANNER).status_code == 403
    reply = signed_in_as("researcher").get(f"{PLANNER}?readers=2&run=1", headers=LINES)
    assert reply.status_code == 422
    assert "3 to 50 readers" in reply.text and 'value="2"' in reply.text


def test_nothing_is_simulated_until_it_is_asked(signed_in_as, session, few):
    page = signed_in_as("researcher").get(PLANNER, params=SMALL).text
    assert "not simulated yet" in page and "First look" in page and "0 of 4 designs" in page
    assert not session.scalars(sa.select(KeptPower)).all()


def test_a_simulation_tells_its_progress_and_is_never_made_twice(
    signed_in_as, session, few, monkeypatch
):
    browser = signed_in_as("researcher")
    reply = browser.get(PLANNER, params={**SMALL, "run": "1"}, headers=LINES)
    told = [json.loads(line) for line in reply.text.splitlines()]
    assert told[-1] == {"over": True}
    assert told[-2]["done"] == told[-2]["total"] == 100
    asked = Asked.of(session, SMALL)
    known = Kept.known(session, asked.cells)
    assert known == {cell.key: simulated(cell) for cell in asked.cells}
    monkeypatch.setattr(simulation, "steps", lambda cell: pytest.fail("computed again"))
    page = browser.get(PLANNER, params={**SMALL, "run": "1"}).text
    assert f"{known[asked.cell.key].shown} of 10 studies" in page
    assert "<polyline" in page and "standard deviation of 0.0" in page


def test_without_a_script_each_look_goes_on_for_a_moment(signed_in_as, few, monkeypatch):
    monkeypatch.setattr("app.simulations.time.monotonic", iter(range(10_000)).__next__)
    browser = signed_in_as("researcher")
    first = browser.get(PLANNER, params={**SMALL, "run": "1"}).text
    assert "1 of 4 designs" in first and "Go on" in first
    assert "2 of 4 designs" in browser.get(PLANNER, params={**SMALL, "run": "1"}).text


def test_an_answer_is_not_held_back_by_one_large_design(signed_in_as, few):
    large = {**SMALL, "readers": "50", "cases": "1000", "studies": "4000", "run": "1"}
    reply = signed_in_as("researcher").get(PLANNER, params=large)
    assert reply.status_code == 422 and "One of these designs alone takes" in reply.text


def test_a_stopped_simulation_keeps_what_is_done(app, database, session, few):
    asked = Asked.of(session, SMALL)
    steps = app.state.simulations.steps(asked.simulation({}))
    next(steps)
    steps.close()
    assert Kept.known(session, asked.cells).keys() == {asked.cell.key}
    assert all(app.state.simulations._places.acquire(blocking=False) for _ in range(AT_ONCE))


def test_other_versions_do_not_serve_each_others_figures(session, monkeypatch):
    cell = Asked.of(session, SMALL).cell
    before = Kept.key_of(cell)
    monkeypatch.setattr("app.models.study_plans.power.VERSION", "another")
    assert Kept.key_of(cell) != before


def test_a_pilot_is_estimated_planned_with_and_told_with_its_doubt(signed_in_as, session):
    browser = signed_in_as("researcher")
    files = {"ratings": ("../my pilot.csv", ratings(), "text/csv")}
    reply = browser.post(f"{PLANNER}/pilots", files=files, follow_redirects=False)
    assert reply.status_code == 303
    pilot = session.scalars(sa.select(Pilot)).one()
    assert pilot.source == "my pilot.csv" and pilot.found.readers == 4
    page = browser.get(reply.headers["location"]).text
    assert "A pilot of this size says little" in page
    asked = Asked.of(session, {"pilot": str(pilot.id)})
    assert asked.cell.model == pilot.found.model(cautious=True)
    estimate = Asked.of(session, {"pilot": str(pilot.id), "spread": "estimate"})
    assert estimate.cell.key != asked.cell.key
    browser.post(f"{PLANNER}/pilots", files=files)
    assert len(session.scalars(sa.select(Pilot)).all()) == 1


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (ratings(1), "1 reader says nothing"),
        (b"a,b\n1,2\n", "among its columns"),
        (b"", "is empty"),
    ],
)
def test_a_file_that_says_nothing_of_readers_is_refused(signed_in_as, session, data, why):
    files = {"ratings": ("p.csv", data, "text/csv")}
    reply = signed_in_as("researcher").post(f"{PLANNER}/pilots", files=files)
    assert reply.status_code == 422 and why in reply.text
    assert not session.scalars(sa.select(Pilot)).all()


def test_the_api_goes_on_with_each_call_until_it_is_complete(client, token, few, monkeypatch):
    monkeypatch.setattr("app.simulations.time.monotonic", iter(range(10_000)).__next__)
    headers = {"authorization": f"Bearer {token}"}
    told = [client.post("/api/v1/plans", json=SMALL, headers=headers).json() for _ in range(4)]
    assert [one["simulated"] for one in told] == [1, 2, 3, 4]
    assert told[0]["power"] == told[3]["power"] and told[0]["power"]["studies"] == 10
    assert [one["complete"] for one in told] == [False, False, False, True]
    assert told[3]["smallest"] and not told[2]["smallest"]


@pytest.mark.parametrize(
    ("order", "why"),
    [({"readers": "1"}, "3 to 50 readers"), ({"spread": "zz"}, "estimate or cautious"),
     ({"reader_count": "9"}, "reader_count: there is no such field"),
     ({"offset": "zz"}, "the true distance from 0.5"), ({"generators": "two"}, "the generators")],
)  # fmt: skip
def test_the_api_refuses_what_it_does_not_know_or_cannot_read(client, token, order, why):
    headers = {"authorization": f"Bearer {token}"}
    refused = client.post("/api/v1/plans", json=order, headers=headers)
    assert refused.status_code == 422 and why in refused.json()["detail"]


def test_a_study_of_pairs_is_no_pilot_of_ratings(signed_in_as, session):
    study = studies.make_study(
        session, studies.make_user(session, "reader1"), per_class=1, real=2, synthetic=2,
        design=Design(task=Task.CHOICE, lesion_class=False),
    )  # fmt: skip
    answered.unblind(session, study, studies.make_user(session, "maker", "researcher"))
    session.commit()
    reply = signed_in_as("researcher").post(
        f"{PLANNER}/pilots", files={"study": (None, str(study.id))}
    )
    assert reply.status_code == 422 and "asks for one of two images" in reply.text


@pytest.mark.parametrize(("readers", "status"), [("0", 422), ("1", 200)])
def test_a_plan_of_pairs_has_a_reader_and_says_why_one_speaks_for_no_others(
    signed_in_as, readers, status
):
    reply = signed_in_as("researcher").get(f"{PLANNER}/pairs?readers={readers}")
    assert reply.status_code == status
    assert ("cannot speak for other readers" in reply.text) == (status == 200)


def test_a_study_becomes_a_pilot_only_after_its_unblinding(signed_in_as, session):
    study = studies.make_study(session)
    session.commit()
    browser = signed_in_as("researcher")
    form = {"study": (None, str(study.id))}
    assert browser.post(f"{PLANNER}/pilots", files=form).status_code == 403
    assert browser.post(f"{PLANNER}/pilots", files={"study": (None, "")}).status_code == 400
    assert not session.scalars(sa.select(Pilot)).all()


def test_an_unblinded_study_says_how_its_readers_differ(signed_in_as, session):
    people = [studies.make_user(session, f"reader{n}") for n in (1, 2, 3)]
    study = studies.make_study(session, *people, per_class=2, real=6, synthetic=6)
    for number in (1, 2, 3):
        answered.answer(session, study, number, answered.guessing(number))
    answered.unblind(session, study, studies.make_user(session, "maker", "researcher"))
    session.commit()
    browser = signed_in_as("researcher")
    reply = browser.post(f"{PLANNER}/pilots", files={"study": (None, str(study.id))})
    assert "3 readers and 12 images" in browser.get(reply.headers["location"]).text
    assert session.scalars(sa.select(Pilot)).one().study_id == study.id
