"""Marking lesions, and reviews that come before the score."""

from __future__ import annotations

import json

import pytest
import sqlalchemy as sa

from app.models import Image, Lesion, Prediction, Review
from factories import hidden_fields, make_dicom

BOX = {"x": 44, "y": 44, "width": 40, "height": 40}
FRAGMENT = {"x-fragment": "1"}
ANSWER = {"lesion_class": "cyst", "confidence": 4, "basis": "imaging", "note": "sharp edge"}


@pytest.fixture
def image(signed_in_as, session):
    browser = signed_in_as("reader", name="uploader")
    file = {"files": ("a.dcm", make_dicom())}
    assert browser.post("/cases", files=file, data={"contrast_phase": "portal"}).status_code == 200
    return session.scalars(sa.select(Image)).one()


def mark(browser, image, **box):
    return browser.post(f"/images/{image.id}/lesions", data={**BOX, **box}, headers=FRAGMENT)


def form(browser, lesion_id, kind="data-review"):
    """What the panel's form would send along, as it stands now."""
    return hidden_fields(browser.get(f"/lesions/{lesion_id}", headers=FRAGMENT).text, kind)


def review(browser, lesion_id, **answer):
    data = {**form(browser, lesion_id), **ANSWER, **answer}
    return browser.post(f"/lesions/{lesion_id}/reviews", data=data, headers=FRAGMENT)


def shows_score(html: str) -> bool:
    return 'class="scores"' in html


@pytest.mark.parametrize(
    "box",
    [
        {"width": 0},
        {"height": -3},
        {"x": 900},
        {"x": 120},
        {"width": "nan"},
        {"width": 0.5, "height": 0.5},
    ],
)
def test_a_box_that_holds_no_lesion_is_refused_and_nothing_is_stored(
    box, image, signed_in_as, session
):
    reply = mark(signed_in_as("reader"), image, **box)
    assert reply.status_code == 422
    assert reply.json()["detail"]
    assert session.scalars(sa.select(Lesion)).all() == []


def test_the_score_is_covered_until_the_own_class_is_given(image, signed_in_as, session):
    browser = signed_in_as("reader")
    marked = mark(browser, image)
    assert marked.status_code == 201
    lesion = json.loads(marked.headers["x-lesion"])
    assert lesion["covered"] is True
    assert not shows_score(marked.text)
    prediction = session.scalars(sa.select(Prediction)).one()
    assert f"{prediction.probabilities[prediction.lesion_class]:.2f}" not in marked.text
    case_page = browser.get(f"/cases/{image.series.case_id}").text
    assert not shows_score(case_page)
    reviewed = review(browser, lesion["id"])
    assert reviewed.status_code == 201
    assert shows_score(reviewed.text)
    assert "trained on simulated CT, no evidence about this patient" in reviewed.text
    assert "Research use only" in reviewed.text


def test_the_score_is_uncovered_for_the_reviewer_only(image, signed_in_as):
    ada, ben = signed_in_as("reader", name="ada"), signed_in_as("reader", name="ben")
    lesion = json.loads(mark(ada, image).headers["x-lesion"])
    review(ada, lesion["id"], note="a telling note")
    panel = ben.get(f"/lesions/{lesion['id']}", headers=FRAGMENT).text
    assert not shows_score(panel)
    assert "a telling note" not in panel  # nor the class that a colleague gave


def test_each_review_records_whether_the_score_was_visible_and_none_is_overwritten(
    image, signed_in_as, session
):
    browser = signed_in_as("reader")
    lesion = json.loads(mark(browser, image).headers["x-lesion"])
    review(browser, lesion["id"])
    review(browser, lesion["id"], lesion_class="metastasis", confidence=2)
    first, second = session.scalars(sa.select(Review).order_by(Review.created_at)).all()
    assert (first.lesion_class, first.score_visible) == ("cyst", False)
    assert (second.lesion_class, second.score_visible) == ("metastasis", True)
    assert second.supersedes_id == first.id


def test_where_reviews_need_not_come_first_the_score_is_there_at_once(image, signed_in_as, app):
    app.state.settings.review_first = False
    marked = mark(signed_in_as("reader"), image)
    assert json.loads(marked.headers["x-lesion"])["covered"] is False
    assert shows_score(marked.text)


@pytest.mark.parametrize(
    "answer",
    [{"lesion_class": "wart"}, {"confidence": 0}, {"confidence": 6}, {"basis": "a hunch"},
     {"note": "x" * 3000}, {"confidence": "high"}],
)  # fmt: skip
def test_a_review_that_makes_no_sense_is_refused(answer, image, signed_in_as, session):
    browser = signed_in_as("reader")
    lesion = json.loads(mark(browser, image).headers["x-lesion"])
    assert review(browser, lesion["id"], **answer).status_code == 422
    assert session.scalars(sa.select(Review)).all() == []


@pytest.mark.parametrize("lesion_class", ["hemangioma", "other", "cannot_tell"])
def test_every_choice_can_be_given(lesion_class, image, signed_in_as, session):
    browser = signed_in_as("reader")
    lesion = json.loads(mark(browser, image).headers["x-lesion"])
    assert review(browser, lesion["id"], lesion_class=lesion_class).status_code == 201


def test_the_work_list_follows_the_case_from_unmarked_to_reviewed(image, signed_in_as):
    browser = signed_in_as("reader")

    def listed(chosen: str) -> bool:
        return str(image.series.case_id) in browser.get(f"/cases?filter={chosen}").text

    assert listed("no_lesion")
    lesion = json.loads(mark(browser, image).headers["x-lesion"])
    assert listed("awaiting")
    assert not listed("reviewed")
    review(browser, lesion["id"])
    assert listed("reviewed")
    assert not listed("awaiting")


def test_only_the_marker_or_an_administrator_withdraws_and_the_record_stays(
    image, signed_in_as, session
):
    ada, ben = signed_in_as("reader", name="ada"), signed_in_as("reader", name="ben")
    lesion = json.loads(mark(ada, image).headers["x-lesion"])
    path = f"/lesions/{lesion['id']}/withdrawal"
    own = form(ada, lesion["id"], "data-withdrawal")
    assert "data-withdrawal" not in ben.get(f"/lesions/{lesion['id']}", headers=FRAGMENT).text
    assert ben.post(path, data=form(ben, lesion["id"])).status_code == 403
    assert ada.post(path, data=own).status_code == 303
    assert ada.get(f"/lesions/{lesion['id']}").status_code == 404
    stored = session.scalars(sa.select(Lesion)).one()
    assert stored.withdrawn_at is not None
    assert session.scalars(sa.select(Prediction)).all() != []


def test_the_roi_that_the_network_sees_is_shown(image, signed_in_as):
    browser = signed_in_as("reader")
    lesion = json.loads(mark(browser, image).headers["x-lesion"])
    x, y, width, height = lesion["square"]
    assert (width, height) == pytest.approx((62.4, 62.4), abs=0.01)  # 1.56 × 40 px
    assert (x + width / 2, y + height / 2) == pytest.approx((64, 64), abs=0.01)
    picture = browser.get(f"/lesions/{lesion['id']}/roi.png")
    assert picture.content[:4] == b"\x89PNG"
