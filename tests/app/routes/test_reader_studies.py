"""Reader studies over HTTP: an amendment, pictures, the wizard's last step."""

from __future__ import annotations

import sqlalchemy as sa

import answered
import studies
from app.models import ReaderStudy, Stimulus, User


def test_an_amendment_is_written_and_pictures_are_seen_after_the_unblinding_only(
    app, session, signed_in_as
):
    study = studies.make_study(session, studies.make_user(session, "ada"))
    session.commit()
    maker, ada = signed_in_as("researcher"), signed_in_as("reader", name="ada")
    person = User.require(session, "researcher")
    session.execute(sa.update(ReaderStudy).values(owner_id=person.id))
    session.commit()
    address = f"/reader-studies/{study.id}"

    form = {"what": "notes", "text": "One more note.", "reason": "It was forgotten."}
    assert ada.post(f"{address}/amendments", data=form).status_code == 403
    assert maker.post(f"{address}/amendments", data={**form, "reason": ""}).status_code == 422
    assert maker.post(f"{address}/amendments", data=form).status_code == 303
    assert "It was forgotten." in maker.get(address).text
    session.expire_all()
    assert len(ReaderStudy.require(session, study.id).protocols) == 2

    stimulus = session.scalars(sa.select(Stimulus)).first()
    picture = f"{address}/stimuli/{stimulus.id}.png"
    assert maker.get(picture).status_code == 403
    answered.unblind(session, study, person)
    session.commit()
    assert maker.get(picture).content.startswith(b"\x89PNG")
    assert ada.get(picture).status_code in (403, 404)


def test_the_last_step_of_the_wizard_leads_back_and_a_step_that_there_is_not_is_told(signed_in_as):
    maker = signed_in_as("researcher")
    kept = maker.post("/reader-studies/sketches", data={"title": "T", "go": "keep"}).json()
    address = kept["address"].rpartition("/")[0]
    back = maker.post(f"{address}/check", data={"go": "back"})
    assert back.status_code == 303
    assert back.headers["location"].startswith(address)
    nowhere = maker.post(f"{address}/nowhere", data={})
    assert nowhere.status_code == 404
    assert "nowhere" in nowhere.text


def test_the_plan_of_pairs_is_drawn_or_says_what_it_cannot_plan(signed_in_as):
    maker, address = signed_in_as("researcher"), "/reader-studies/planner/pairs"
    drawn = maker.get(address, params={"readers": 3, "pairs": 40})
    assert drawn.status_code == 200
    assert "400 simulated studies" in drawn.text
    refused = maker.get(address, params={"readers": 3, "pairs": 1_000_000})
    assert refused.status_code == 422
    assert "Plan with 2 to" in refused.text
