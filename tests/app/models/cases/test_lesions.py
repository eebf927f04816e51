"""Marking lesions, and reviews that come before the score."""

from __future__ import annotations

import json
import re
import uuid

import pytest
import sqlalchemy as sa

from app.models import Event, Image, Lesion, Prediction, Review
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


def test_how_far_until_the_class_flips_is_told_after_the_own_class(image, signed_in_as, session):
    browser = signed_in_as("reader")
    lesion_id = json.loads(mark(browser, image).headers["x-lesion"])["id"]
    address = f"/lesions/{lesion_id}/stability?checkpoint=phantom-cnn"
    covered = browser.get(address)
    assert covered.status_code == 403
    assert "yours comes first" in covered.text
    review(browser, lesion_id)
    told = browser.get(address)
    assert told.status_code == 200
    assert told.text.count("<li>") == 7
    assert "mark moved" in told.text and "noise added" in told.text
    assert (
        "stability?checkpoint=phantom-cnn"
        in browser.get(f"/lesions/{lesion_id}", headers=FRAGMENT).text
    )
    other = browser.get(f"/lesions/{lesion_id}/stability?checkpoint=phantom-diffusion-cyst")
    assert other.status_code == 404
    assert "has not classified this lesion" in other.text


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


def test_a_class_after_the_score_of_the_same_place_is_not_called_blind(
    image, signed_in_as, session
):
    """Marked again over it: whoever knows that score knows this one."""
    browser = signed_in_as("reader")
    first, second = (json.loads(mark(browser, image, x=x).headers["x-lesion"]) for x in (44, 50))
    beside = json.loads(mark(browser, image, x=100, width=20, height=20).headers["x-lesion"])
    for lesion in (second, first, beside):
        assert review(browser, lesion["id"]).status_code == 201
    seen = dict(session.execute(sa.select(Review.lesion_id, Review.score_visible)).all())
    assert {str(key): value for key, value in seen.items()} == {
        second["id"]: False,
        first["id"]: True,
        beside["id"]: False,
    }


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


# -- what a form is for ---------------------------------------------------------------------------


@pytest.fixture
def pair(image, signed_in_as):
    """Two lesions that ada marked: their ids."""
    browser = signed_in_as("reader", name="ada")
    return [json.loads(mark(browser, image, x=x, y=x).headers["x-lesion"])["id"] for x in (20, 60)]


def stored(session) -> list[tuple[str, int, str]]:
    """(lesion's number, confidence, class) of every review."""
    session.expire_all()
    rows = session.execute(
        sa.select(Lesion.number, Review.confidence, Review.lesion_class)
        .join(Review, Review.lesion_id == Lesion.id)
        .order_by(Review.created_at)
    )
    return [tuple(row) for row in rows]


@pytest.mark.parametrize(
    "wrong", [{"lesion": ""}, {"number": ""}, {"person": ""}, {"lesion": "other"}, {"number": "2"}]
)
def test_a_review_whose_form_is_for_no_lesion_or_another_is_refused_and_nothing_is_stored(
    wrong, pair, signed_in_as, session
):
    first, second = pair
    browser = signed_in_as("reader", name="ada")
    wrong = {key: second if value == "other" else value for key, value in wrong.items()}
    reply = review(browser, first, **wrong)
    assert reply.status_code in (409, 422)
    assert "Nothing was changed" in reply.json()["detail"]
    assert stored(session) == []


def test_a_page_of_somebody_else_stores_nothing_under_this_sign_in(
    pair, image, signed_in_as, session
):
    ada, ben = signed_in_as("reader", name="ada"), signed_in_as("reader", name="ben")
    page_of_ada = form(ada, pair[0])
    reply = ben.post(
        f"/lesions/{pair[0]}/reviews", data={**page_of_ada, **ANSWER}, headers=FRAGMENT
    )
    assert reply.status_code == 409
    assert "ben is signed in" in reply.json()["detail"]
    assert reply.json()["person_changed"] is True
    assert mark(ben, image, person=page_of_ada["person"]).status_code == 409
    away = form(ada, pair[0], "data-withdrawal")
    assert ben.post(f"/lesions/{pair[0]}/withdrawal", data=away).status_code == 409
    assert stored(session) == []
    assert session.scalars(sa.select(Lesion.withdrawn_at)).all() == [None, None]


def test_a_review_of_a_withdrawn_lesion_is_refused_with_who_withdrew_it(
    pair, signed_in_as, session
):
    ada, ben = signed_in_as("reader", name="ada"), signed_in_as("reader", name="ben")
    open_page = form(ben, pair[0])
    ada.post(f"/lesions/{pair[0]}/withdrawal", data=form(ada, pair[0], "data-withdrawal"))
    late = ben.post(f"/lesions/{pair[0]}/reviews", data={**open_page, **ANSWER}, headers=FRAGMENT)
    assert late.status_code == 404
    assert "Lesion 1 was withdrawn by ada" in late.json()["detail"]
    assert late.json()["withdrawn"] == {"number": 1, "replaced_by": None}
    assert stored(session) == []


def test_the_same_answer_sent_again_is_stored_once(pair, signed_in_as, session):
    browser = signed_in_as("reader", name="ada")
    data = {**form(browser, pair[0]), **ANSWER, "note": " twice  "}
    for _ in range(2):  # the reply to the first was lost
        reply = browser.post(f"/lesions/{pair[0]}/reviews", data=data, headers=FRAGMENT)
        assert reply.status_code == 201
        assert shows_score(reply.text)
    assert stored(session) == [(1, 4, "cyst")]
    assert session.scalars(sa.select(Review.score_visible)).all() == [False]


def test_another_answer_of_a_page_that_lags_behind_is_refused(pair, signed_in_as, session):
    browser = signed_in_as("reader", name="ada")
    old_page = form(browser, pair[0])
    review(browser, pair[0])
    late = browser.post(
        f"/lesions/{pair[0]}/reviews",
        data={**old_page, **ANSWER, "lesion_class": "metastasis"},
        headers=FRAGMENT,
    )
    assert late.status_code == 409
    assert "This one was not saved" in late.json()["detail"]
    assert stored(session) == [(1, 4, "cyst")]


def test_what_was_saved_for_which_lesion_is_said(pair, signed_in_as):
    browser = signed_in_as("reader", name="ada")
    data = {**form(browser, pair[1]), **ANSWER}
    reply = browser.post(f"/lesions/{pair[1]}/reviews", data=data)
    assert reply.status_code == 303
    page = browser.get(reply.headers["location"]).text
    assert "Saved for lesion 2: cyst, confidence 4." in page


# -- who may move and withdraw a lesion -----------------------------------------------------------


def test_a_lesion_that_a_colleague_has_reviewed_is_neither_moved_nor_withdrawn_by_its_marker(
    image, pair, signed_in_as, session
):
    ada, ben = signed_in_as("reader", name="ada"), signed_in_as("reader", name="ben")
    away = form(ada, pair[0], "data-withdrawal")
    assert "data-editable" in ada.get(f"/lesions/{pair[0]}", headers=FRAGMENT).text
    review(ben, pair[0], lesion_class="hemangioma", note="a telling note")
    panel = ada.get(f"/lesions/{pair[0]}", headers=FRAGMENT).text
    assert "data-editable" not in panel
    assert "data-withdrawal" not in panel
    moved = mark(ada, image, replaces=pair[0])
    gone = ada.post(f"/lesions/{pair[0]}/withdrawal", data=away, headers=FRAGMENT)
    for refused in (moved, gone):
        assert refused.status_code == 403
        detail = refused.json()["detail"]
        assert "A colleague has given a class for lesion 1" in detail
        assert "An administrator can withdraw it" in detail
        # that there is a class may be known, from the work list too; which and whose may not
        assert not {"hemangioma", "ben", "telling"} & set(detail.split())
    assert session.scalars(sa.select(Lesion.withdrawn_at)).all() == [None, None]
    admin = signed_in_as("admin")
    away = form(admin, pair[0], "data-withdrawal")
    assert admin.post(f"/lesions/{pair[0]}/withdrawal", data=away).status_code == 303


def test_a_moved_box_takes_the_place_and_the_number_of_the_lesion_in_one_step(
    image, pair, signed_in_as, session
):
    ada = signed_in_as("reader", name="ada")
    moved = mark(ada, image, x=30, y=30, replaces=pair[0])
    assert moved.status_code == 201
    new = json.loads(moved.headers["x-lesion"])
    assert new["number"] == 1
    gone = ada.get(f"/lesions/{pair[0]}", headers=FRAGMENT)
    assert gone.status_code == 404
    assert "The box of lesion 1 was moved by ada" in gone.json()["detail"]
    assert gone.json()["withdrawn"]["replaced_by"] == new["id"]
    page = ada.get(f"/cases/{image.series.case_id}?lesion={pair[0]}").text
    assert "The box of lesion 1 was moved by ada" in page
    assert "data-panel" not in page  # no other lesion's form in its place
    bad = mark(ada, image, x=900, replaces=pair[1])
    assert bad.status_code == 422
    session.expire_all()
    standing = session.scalars(sa.select(Lesion.number).where(Lesion.withdrawn_at.is_(None)))
    assert sorted(standing) == [1, 2]
    assert json.loads(mark(ada, image, x=20).headers["x-lesion"])["number"] == 3
    back = ada.post(f"/lesions/{pair[0]}/restoration", headers=FRAGMENT)
    assert back.status_code == 409  # its number stands for the moved box
    assert "The box of lesion 1 was moved by ada" in back.json()["detail"]


def test_a_withdrawal_is_taken_back_by_whoever_made_it_and_what_was_said_is_there(
    image, pair, signed_in_as, session
):
    ada, ben = signed_in_as("reader", name="ada"), signed_in_as("reader", name="ben")
    path = f"/lesions/{pair[0]}/restoration"
    assert ada.post(path, headers=FRAGMENT).status_code == 409  # it stands
    review(ada, pair[0])
    ada.post(f"/lesions/{pair[0]}/withdrawal", data=form(ada, pair[0], "data-withdrawal"))
    refused = ben.post(path, headers=FRAGMENT)
    assert refused.status_code == 403
    assert "Only the person who withdrew it" in refused.json()["detail"]
    other = ada.post(path, headers=FRAGMENT, data={"person": str(image.id)})
    assert other.status_code == 409
    back = ada.post(path, headers=FRAGMENT)
    assert back.status_code == 200
    assert json.loads(back.headers["x-lesion"])["number"] == 1
    assert "cyst" in ada.get(f"/lesions/{pair[0]}", headers=FRAGMENT).text
    assert ada.post(f"/lesions/{uuid.uuid4()}/restoration", headers=FRAGMENT).status_code == 404
    kinds = session.scalars(sa.select(Event.kind).where(Event.subject == pair[0]))
    assert [*kinds][-2:] == ["lesion withdrawn", "lesion withdrawal taken back"]


def test_a_circle_stays_a_circle_and_another_shape_is_refused(image, signed_in_as):
    browser = signed_in_as("reader")
    marked = mark(browser, image, shape="circle")
    assert json.loads(marked.headers["x-lesion"])["shape"] == "circle"
    assert mark(browser, image, x=30, shape="star").status_code == 422


def test_a_box_sent_again_is_marked_once(image, signed_in_as, session):
    ada, ben = signed_in_as("reader", name="ada"), signed_in_as("reader", name="ben")
    chosen = "7b4c9a52-6f0e-4c53-9d80-0c1f4a4f9a11"
    for _ in range(2):
        reply = mark(ada, image, lesion=chosen)
        assert reply.status_code == 201
        assert json.loads(reply.headers["x-lesion"])["id"] == chosen
    assert mark(ada, image, lesion=chosen, x=40).status_code == 409
    assert mark(ben, image, lesion=chosen).status_code == 409
    assert len(session.scalars(sa.select(Lesion)).all()) == 1
    assert len(session.scalars(sa.select(Prediction)).all()) == 1


def test_a_form_without_a_script_that_is_sent_twice_marks_one_lesion(image, signed_in_as, session):
    ada, ben = signed_in_as("reader", name="ada"), signed_in_as("reader", name="ben")
    first, second = (mark(ada, image).headers["x-lesion"] for _ in range(2))
    assert json.loads(first)["id"] == json.loads(second)["id"]
    assert mark(ben, image).status_code == 201  # another's finding is another lesion
    assert len(session.scalars(sa.select(Lesion)).all()) == 2


def test_an_address_of_something_that_is_not_here_says_so(image, signed_in_as):
    browser = signed_in_as("reader")
    nowhere = "00000000-0000-4000-8000-000000000000"
    case = f"/cases/{image.series.case_id}"
    assert "no lesion of that address" in browser.get(f"{case}?lesion={nowhere}").text
    assert "no slice of that address" in browser.get(f"{case}?image={nowhere}").text
    assert "of that address" not in browser.get(case).text


# -- whose class a lesion goes by -----------------------------------------------------------------


def test_the_own_class_comes_first_and_the_others_are_labelled_and_come_after_it(
    image, signed_in_as, session
):
    ada, ben = signed_in_as("reader", name="ada"), signed_in_as("reader", name="ben")
    lesion = json.loads(mark(ada, image).headers["x-lesion"])
    assert (lesion["label"], lesion["claims"]) == ("Lesion 1", [])
    review(ben, lesion["id"], lesion_class="hemangioma")
    covered = ada.get(f"/lesions/{lesion['id']}", headers=FRAGMENT)
    assert json.loads(covered.headers["x-lesion"])["claims"] == []
    network = session.scalars(sa.select(Prediction)).one().lesion_class
    told = review(ada, lesion["id"], lesion_class="other", confidence=2)
    expected = f"Lesion 1: other (yours), network: {network}, ben: hemangioma"
    assert json.loads(told.headers["x-lesion"])["label"] == expected
    listed = ada.get(f"/cases/{image.series.case_id}").text
    rows = listed[listed.index('id="lesion-list"') : listed.index('id="lesion-row"')]
    order = [rows.index(text) for text in ("other (yours)", f"network: {network}", "ben: hem")]
    assert order == sorted(order)
    assert f"Lesion 1: {network}" not in listed


def test_a_class_that_was_superseded_is_claimed_by_nobody(image, signed_in_as):
    browser = signed_in_as("reader", name="ada")
    lesion = json.loads(mark(browser, image).headers["x-lesion"])
    review(browser, lesion["id"], lesion_class="cyst")
    label = json.loads(review(browser, lesion["id"], lesion_class="other").headers["x-lesion"])
    assert "other (yours)" in label["label"]
    assert "cyst (yours)" not in label["label"]


def test_a_case_asks_the_database_as_often_for_five_lesions_as_for_one(
    image, signed_in_as, database
):
    browser = signed_in_as("reader")
    asked: list[str] = []

    def listen(_connection, _cursor, statement, *_more):
        asked.append(statement)

    def count() -> int:
        asked.clear()
        assert browser.get(f"/cases/{image.series.case_id}").status_code == 200
        return len(asked)

    mark(browser, image)
    sa.event.listen(database.engine, "before_cursor_execute", listen)
    try:
        count()  # the first page of a process asks for more
        one = count()
        for x in (10, 20, 30, 40):
            mark(browser, image, x=x, y=x)
        assert count() == one
    finally:
        sa.event.remove(database.engine, "before_cursor_execute", listen)


# -- what the network saw -------------------------------------------------------------------------


def test_the_roi_is_shown_in_the_window_of_the_network_that_scored_it_and_the_panel_says_which(
    image, signed_in_as, session, database
):
    from app.models import Checkpoint
    from ml.images.roi import to_png

    browser = signed_in_as("reader")
    lesion = json.loads(mark(browser, image).headers["x-lesion"])
    with database.transaction() as writing:
        scored = writing.scalars(sa.select(Prediction)).one()
        checkpoint = writing.get(Checkpoint, scored.checkpoint_id)
        checkpoint.meta = {**checkpoint.meta, "window_hu": [-40, 180]}
        name = checkpoint.name
    panel = browser.get(f"/lesions/{lesion['id']}", headers=FRAGMENT).text
    assert f"As {name} sees it" in panel
    assert "64 × 64, −40 to 180 HU" in panel
    address = re.search(r'src="(/lesions/[^"]+roi\.png[^"]*)"', panel)[1]
    row = session.scalars(sa.select(Lesion)).one()
    expected = to_png(row.roi(session, (-40.0, 180.0)).pixels)
    assert browser.get(address).content == expected
    assert browser.get(f"/lesions/{lesion['id']}/roi.png").content == expected
    other = f"/lesions/{lesion['id']}/roi.png?checkpoint=00000000-0000-4000-8000-000000000000"
    assert browser.get(other).status_code == 404
