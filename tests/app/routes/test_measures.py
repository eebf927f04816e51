"""Measures that are kept with a lesion: whose they are, who sees them, and what becomes of them."""

from __future__ import annotations

import json
import re
import uuid

import numpy as np
import pytest
import sqlalchemy as sa

import studies
from app.models import Event, Image, Lesion, Measure, User
from app.models.cases.case import Case
from factories import hidden_fields

FRAGMENT = {"x-fragment": "1"}
BOX = {"kind": "rectangle", "points": "50.25,50.5 70.4,66.1"}


@pytest.fixture
def lesion(session) -> Lesion:
    [made] = studies.make_lesion(session, 1)
    session.commit()
    return made


def keep(browser, session, lesion, name="ada", **more):
    """As the page of that person sends it; a new measure each time."""
    by = session.scalars(sa.select(User).where(User.name == name)).one()
    slip = {"lesion": str(lesion.id), "number": lesion.number, "person": str(by.id)}
    drawn = {"measure": str(uuid.uuid4()), "image": str(lesion.image_id), **BOX}
    data = {**slip, **drawn, **more}
    return browser.post(f"/lesions/{lesion.id}/measures", data=data, headers=FRAGMENT)


def told(panel: str) -> list[dict]:
    return json.loads(re.search(r"data-measures='(.*?)'", panel).group(1))


def events(session) -> list[str]:
    kinds = session.scalars(sa.select(Event.kind).order_by(Event.at, Event.id))
    return [kind for kind in kinds if kind.startswith("measure ")]


def test_a_measure_is_kept_with_the_values_of_the_stored_pixels(signed_in_as, session, lesion):
    ada = signed_in_as("reader", name="ada")
    again = str(uuid.uuid4())
    replies = [keep(ada, session, lesion, measure=again) for _ in range(2)]  # an answer was lost
    assert [reply.status_code for reply in replies] == [201, 201]
    kept = session.scalars(sa.select(Measure)).one()
    within = session.get_one(Image, lesion.image_id).pixels(session)[50:66, 50:70].astype(float)
    assert (kept.n, kept.low, kept.high) == (within.size, within.min(), within.max())
    assert (kept.mean, kept.sd) == pytest.approx((within.mean(), within.std(ddof=1)))
    panel = ada.get(f"/lesions/{lesion.id}", headers=FRAGMENT).text
    assert ", ".join(kept.says) in panel and kept.says[0].endswith(" HU")
    [shown] = told(panel)
    assert shown["points"] == [{"x": 50.25, "y": 50.5}, {"x": 70.4, "y": 66.1}]
    assert (shown["by"], shown["deletable"]) == ("ada", True)
    case = ada.get(f"/cases/{lesion.case_id}").text
    data = json.loads(re.search(r'id="case-data">(.*?)</script>', case, re.S).group(1))
    assert data["measures"] == {str(lesion.id): [shown]}
    length = keep(ada, session, lesion, kind="length", points="10,10 13,14")
    assert session.scalars(sa.select(Measure.px).where(Measure.kind == "length")).one() == 5
    assert "mm" in length.text
    assert events(session) == ["measure kept"] * 2


def test_it_is_deleted_and_brought_back_by_whose_it_is(signed_in_as, session, lesion):
    ada, ben, eve = (
        signed_in_as(role, name=name)
        for role, name in (("reader", "ada"), ("reader", "ben"), ("admin", "eve"))
    )
    keep(ada, session, lesion)
    kept = session.scalars(sa.select(Measure.id)).one()
    for act in ("withdrawal", "restoration"):
        refused = ben.post(f"/measures/{kept}/{act}", headers=FRAGMENT)
        assert refused.status_code == 403 and "Only the person who kept" in refused.text
        assert ada.post(f"/measures/{uuid.uuid4()}/{act}", headers=FRAGMENT).status_code == 404
        other = ada.post(f"/measures/{kept}/{act}", data={"person": str(uuid.uuid4())})
        assert other.status_code == 409
    for _ in range(2):  # sent again it is gone already
        gone = ada.post(f"/measures/{kept}/withdrawal", headers=FRAGMENT)
        assert gone.status_code == 200 and told(gone.text) == []
    assert eve.post(f"/measures/{kept}/restoration", headers=FRAGMENT).status_code == 200
    back = ada.get(f"/lesions/{lesion.id}", headers=FRAGMENT)
    assert [one["by"] for one in told(back.text)] == ["ada"]
    without_scripts = ada.post(f"/measures/{kept}/withdrawal")
    assert without_scripts.status_code == 303
    assert without_scripts.headers["location"] == f"/cases/{lesion.case_id}?lesion={lesion.id}"
    assert events(session) == [
        "measure kept", "measure deleted", "measure brought back", "measure deleted",
    ]  # fmt: skip


def test_a_colleague_s_is_covered_until_one_s_own_class_where_that_comes_first(
    app, signed_in_as, session, lesion
):
    ada, ben = (signed_in_as("reader", name=name) for name in ("ada", "ben"))
    keep(ada, session, lesion)
    address = f"/lesions/{lesion.id}"
    app.state.settings.review_first = True
    panel = ben.get(address, headers=FRAGMENT).text
    assert told(panel) == [] and " ± " not in panel
    assert "1 measure of a colleague is covered until you save your class" in panel
    assert (
        str(session.scalars(sa.select(Measure.id)).one())
        not in ben.get(f"/cases/{lesion.case_id}").text
    )
    keep(ben, session, lesion, name="ben")
    assert [one["by"] for one in told(ben.get(address, headers=FRAGMENT).text)] == ["ben"]
    form = hidden_fields(panel) | {"lesion_class": "cyst", "confidence": 3, "basis": "imaging"}
    given = ben.post(f"{address}/reviews", data=form, headers=FRAGMENT)
    assert [(one["by"], one["deletable"]) for one in told(given.text)] == [
        ("ada", False), ("ben", True),
    ]  # fmt: skip
    app.state.settings.review_first = False
    assert len(told(ada.get(address, headers=FRAGMENT).text)) == 2


def test_it_goes_on_with_the_lesion_whose_box_is_moved_and_goes_with_the_case(
    signed_in_as, session, lesion
):
    maker = signed_in_as("researcher", name="maker")
    keep(maker, session, lesion, name="maker")
    moved = maker.post(
        f"/images/{lesion.image_id}/lesions",
        data={"x": 52, "y": 52, "width": 30, "height": 30, "replaces": str(lesion.id)},
        headers=FRAGMENT,
    )
    new = json.loads(moved.headers["x-lesion"])["id"]
    assert new != str(lesion.id)
    assert len(told(moved.text)) == 1
    # a page that has not heard of it is told, and nothing is lost
    late = keep(maker, session, lesion, name="maker")
    assert late.status_code == 404 and late.json()["withdrawn"]["replaced_by"] == new
    session.expire_all()
    studies.remove(session, Case.require(session, lesion.case_id))
    session.flush()
    assert session.scalar(sa.select(sa.func.count(Measure.id))) == 0


@pytest.mark.parametrize(
    ("more", "status", "why"),
    [
        ({"points": "1,2"}, 422, "has 2 points, and 1 came"),
        ({"points": "1,2 3"}, 422, "pairs of numbers"),
        ({"points": "nan,2 30,4"}, 422, "not on the slice"),
        ({"points": "1,2 300,4"}, 422, "not on the slice"),
        ({"points": "5.6,5.6 6.4,6.4"}, 422, "No pixel lies within|shorter than a pixel"),
        ({"kind": "angle"}, 422, "kind"),
        ({"number": "7"}, 409, "filled in for lesion 7"),
        ({"person": str(uuid.uuid4())}, 409, "signed in in this browser now"),
        ({"image": str(uuid.uuid4())}, 404, "no such image"),
    ],
)
def test_what_is_no_measure_is_refused_in_words(signed_in_as, session, lesion, more, status, why):
    ada = signed_in_as("reader", name="ada")
    reply = keep(ada, session, lesion, **more)
    assert reply.status_code == status
    assert re.search(why, reply.text)
    assert session.scalar(sa.select(sa.func.count(Measure.id))) == 0


def test_a_slice_of_another_case_and_an_id_that_is_taken_are_refused(
    signed_in_as, session, lesion, monkeypatch
):
    ada = signed_in_as("reader", name="ada")
    [other] = studies.make_lesion(session, 2)
    session.commit()
    elsewhere = keep(ada, session, lesion, image=str(other.image_id))
    assert elsewhere.status_code == 404 and "of another case" in elsewhere.text
    taken = str(uuid.uuid4())
    assert keep(ada, session, lesion, measure=taken).status_code == 201
    assert keep(ada, session, other, measure=taken).status_code == 409
    ada.post(f"/measures/{taken}/withdrawal", headers=FRAGMENT)
    assert "deleted since" in keep(ada, session, lesion, measure=taken).text
    monkeypatch.setattr("app.models.cases.measure.MOST", 1)
    keep(ada, session, lesion)
    assert "1 measures, which is the most" in keep(ada, session, lesion).text


def test_an_outline_as_long_as_may_be_is_kept(signed_in_as, session, lesion):
    ada = signed_in_as("reader", name="ada")
    turns = np.linspace(0, 2 * np.pi, 4096, endpoint=False)
    points = " ".join(f"{64 + 40 * np.cos(t):.2f},{64 + 40 * np.sin(t):.2f}" for t in turns)
    reply = keep(ada, session, lesion, kind="outline", points=points)
    assert reply.status_code == 201, reply.text
    assert len(told(reply.text)[0]["points"]) == 4096
