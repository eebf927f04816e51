"""What people really type: commas, other digits, nothing, lists, very much text."""

from __future__ import annotations

import math

import pytest
import sqlalchemy as sa

import studies
from app.errors import Unreadable
from app.models import Conduct, ReaderStudy, Reading, Sketch, Trial
from app.models.reader_studies.enrolment import Enrolment
from app.models.reader_studies.typed import number, per_class, whole
from ml.lesion import LIVER

JSON = {"accept": "application/json"}
LONG = "x" * 1_000_000


@pytest.fixture
def desk(session, signed_in_as):
    """ada's desk at trial 1: ``(browser, address, token of the trial)``."""
    study = studies.make_study(session, studies.make_user(session, "ada"))
    [enrolment] = Enrolment.of_study(session, study.id)
    first = session.scalars(sa.select(Trial).order_by(Trial.position)).first()
    session.commit()
    return signed_in_as("reader", name="ada"), f"/readings/{enrolment.token}", first.token


def answers(session) -> int:
    return session.scalar(sa.select(sa.func.count()).select_from(Reading))


# -- numbers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", " ", "NaN", "inf", "-Infinity", "1_0", "１２", "٣", "1,5,2",
                                  "1.000,5", "0x10", "1e999",
                                  "ten", "½", "1 0", "9" * 50])  # fmt: skip
def test_what_is_no_number_is_refused(text):
    with pytest.raises(Unreadable, match="Give it as a number"):
        number(text, "it")


@pytest.mark.parametrize(
    ("text", "value"),
    [("0,1", 0.1), (" 0.10 ", 0.1), ("12", 12.0), ("-3", -3.0), ("5.", 5.0), (",5", 0.5),
     ("1e2", 100.0)],
)  # fmt: skip
def test_a_number_has_a_point_or_a_comma(text, value):
    assert number(text, "it") == value
    assert math.isfinite(number(text, "it"))


@pytest.mark.parametrize("text", ["", "1.0", "1,0", "-1", "+1", "１", "²", "1_0", "NaN", "1" * 20])
def test_what_is_no_whole_number_is_refused(text):
    with pytest.raises(Unreadable, match="Give it as a whole number"):
        whole(text, "it")


@pytest.mark.parametrize("text", ["1,2", "cyst 1", "cyst １, metastasis 1, hemangioma 1",
                                  "cyst 1, cyst 1, cyst 1", ",", LONG])  # fmt: skip
def test_numbers_per_class_are_whole_and_of_every_class(text):
    with pytest.raises(Unreadable) as refusal:
        per_class(text, "real images", LIVER)
    assert len(refusal.value.detail) < 300


# -- an answer ------------------------------------------------------------------------------------


NO_ANSWERS = [
    ("rating", ""), ("rating", "４.5"), ("rating", "NaN"), ("rating", "4,0"), ("rating", "0"),
    ("rating", "7"), ("rating", "9" * 400), ("active_ms", "1500.5"), ("active_ms", "-1"),
    ("active_ms", "9" * 30), ("changes", "many"), ("key", ""),
    ("key", LONG), ("key", "schlüssel"),
    ("lesion_class", ""), ("lesion_class", LONG), ("lesion_class", "Cyst"),
    ("class_confidence", "3"), ("reasons", ["texture", "texture"]), ("reasons", "magic"),
    ("revises", "perhaps"), ("view", "{"), ("view", "[" * 3999), ("view", "1" * 3999 + "x"),
]  # fmt: skip


def test_an_answer_that_cannot_be_is_refused_and_nothing_is_kept(desk, session):
    browser, address, trial = desk
    for field, value in NO_ANSWERS:
        body = {"trial": trial, "key": "k", "lesion_class": "cyst", "rating": "5", field: value}
        reply = browser.post(address, data=body, headers=JSON)
        sent = (field, str(value)[:40])
        assert reply.status_code == 422, (sent, reply.text)
        assert len(reply.json()["detail"]) < 400, sent
        assert answers(session) == 0, sent


def test_an_answer_without_what_it_needs_is_refused(desk, session):
    browser, address, trial = desk
    body = {"trial": trial, "key": "k", "lesion_class": "cyst", "rating": "5"}
    for missing in ("trial", "key", "rating"):
        for sent in ({**body, missing: ""}, {k: v for k, v in body.items() if k != missing}):
            reply = browser.post(address, data=sent, headers=JSON)
            assert reply.status_code == 422, sent
            assert missing in reply.json()["detail"]
    assert answers(session) == 0


def test_a_field_that_is_sent_empty_is_one_that_was_not_sent(desk, session):
    browser, address, trial = desk
    empty = dict.fromkeys(
        ("active_ms", "hidden_ms", "idle_ms", "changes", "class_confidence", "revises", "view"), ""
    )
    body = {"trial": trial, "key": "k", "lesion_class": "cyst", "rating": "5", **empty}
    assert browser.post(address, data=body, headers=JSON).status_code == 201
    kept = session.scalars(sa.select(Reading)).one()
    assert (kept.active_ms, kept.class_confidence, kept.view) == (0, None, {})


@pytest.mark.parametrize("view", ["[1]", "3", "null", '{"zoom": NaN}', '{"zoom": 1e999}',
                                  '{"zoom": "2"}', '{"other": 1}'])  # fmt: skip
def test_of_what_a_script_says_only_numbers_are_kept(desk, session, view):
    browser, address, trial = desk
    body = {"trial": trial, "key": "k", "lesion_class": "cyst", "rating": "5", "view": view}
    assert browser.post(address, data=body, headers=JSON).status_code == 201
    assert session.scalars(sa.select(Reading)).one().view == {}


def test_of_one_value_sent_twice_the_last_counts(desk, session):
    browser, address, trial = desk
    body = {"trial": trial, "key": "k", "lesion_class": "cyst", "rating": ["2", "5"]}
    assert browser.post(address, data=body, headers=JSON).status_code == 201
    assert session.scalars(sa.select(Reading)).one().rating == 5


# -- the check-in ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("years", "", "your years of experience"), ("years", "１２", "your years of experience"),
        ("years", "NaN", "from 0 to 70"), ("years", "71", "from 0 to 70"),
        ("years", "a lot", "from 0 to 70"), ("subspecialty", " ", "1 to 200 characters"),
        ("subspecialty", LONG, "1 to 200 characters"), ("room", "cellar", "how light the room is"),
        ("room", "", "how light the room is"), ("consent", "", "Agree to take part"),
        ("ramp_dark", "", "both ends of the grey ramp"), ("bar_mm", "0", "width of the bar"),
        ("bar_mm", "-5", "width of the bar"), ("bar_mm", "NaN", "width of the bar"),
        ("bar_mm", "a hand", "width of the bar"), ("bar_mm", "1", "card's width in pixels"),
        ("card_px", "inf", "card's width in pixels"), ("screen", "{", "not JSON"),
        ("screen", "[" * 3999, "not JSON"),
    ],
)  # fmt: skip
def test_a_check_in_that_cannot_be_comes_back_as_it_was(session, signed_in_as, field, value, said):
    study = studies.make_study(session, studies.make_user(session, "ada"), checked_in=False)
    [enrolment] = Enrolment.of_study(session, study.id)
    session.commit()
    typed = {"consent": "yes", "consent_version": "1", "years": "12,5", "subspecialty": "liver",
             "room": "dimmed", "ramp_dark": "yes", "ramp_bright": "no", field: value}  # fmt: skip
    browser = signed_in_as("reader", name="ada")
    reply = browser.post(f"/readings/{enrolment.token}/conduct", data=typed)
    assert reply.status_code == 422
    assert said in reply.text.replace("&#39;", "'")
    if field != "years":
        assert 'value="12,5"' in reply.text
    assert session.scalars(sa.select(Conduct)).all() == []
    right = {**typed, "years": "12,5", "subspecialty": "liver", "room": "dimmed", "consent": "yes",
             "ramp_dark": "yes", "bar_mm": "80,5", "card_px": "", "screen": "[]"}  # fmt: skip
    assert browser.post(f"/readings/{enrolment.token}/conduct", data=right).status_code == 303
    kept = session.scalars(sa.select(Conduct)).one()
    assert (kept.years, kept.mm_per_px) == (12.5, pytest.approx(80.5 / 300))


# -- the wizard -----------------------------------------------------------------------------------


@pytest.fixture
def sketch(app, session, signed_in_as):
    """A sketch of a researcher's: ``(browser, address)``."""
    app.state.inference = studies.NoNetworks()
    studies.make_generators(session)
    studies.make_known_lesions(session, 2)
    session.commit()
    browser = signed_in_as("researcher")
    reply = browser.post("/reader-studies/sketches", data={"title": "T", "preset": "own"})
    return browser, reply.headers["location"].rpartition("/")[0]


@pytest.mark.parametrize(
    ("step", "field", "value", "said"),
    [
        ("images", "real", "", "real images as a whole number"),
        ("images", "real", "６", "real images as a whole number"),
        ("images", "real", "6,0", "one number in all, or by class"),
        ("images", "synthetic", "NaN", "synthetic images as a whole number"),
        ("images", "seed", "1.5", "the seed as a whole number"),
        ("images", "kind", "ultrasound", "Choose the kind of image"),
        ("images", "scheme", "kidney", "Choose a lesion scheme"),
        ("images", "near_limit", "0,9,9", "the limit as a number"),
        ("images", "versions", "there is none", "there is none"),
        ("images", "generators", "there is none", "there is none"),
        ("images", "without", "nobody-here", "nobody-here"),
        ("reading", "practice", "two", "the practice images as a whole number"),
        ("reading", "size_mm", "１００", "the image size as a number"),
        ("reading", "size_mm", "NaN", "the image size as a number"),
        ("reading", "interpolation", "fancy", "smooth or crisp"),
        ("conduct", "margin", "0.1.0", "the margin as a number"),
        ("conduct", "margin", "", "the margin as a number"),
        ("conduct", "consent_date", "27.11.2026", "YYYY-MM-DD"),
        ("conduct", "instructions", " ", "the instructions in 1 to 10,000"),
        ("conduct", "consent", "x" * 15_000, "the consent text in 1 to 10,000"),
    ],
)
def test_a_step_that_cannot_be_used_says_so_and_keeps_it(sketch, session, step, field, value, said):
    browser, address = sketch
    browser.post(f"{address}/images", data={"real": "3", "synthetic": "3", "go": "keep"})
    reply = browser.post(f"{address}/{step}", data={field: value, "go": "next"})
    assert (reply.status_code, reply.headers["location"]) == (303, f"{address}/{step}")
    kept = session.scalars(sa.select(Sketch)).one()
    assert said in kept.refusal["text"]
    assert kept.typed[field] in (value, [value])
    assert browser.get(f"{address}/{step}").status_code == 200


@pytest.mark.parametrize(
    ("step", "sent"),
    [
        ("design", {"title": LONG}), ("images", {"versions": ["v"] * 501}),
        ("images", {"generators": "g" * 201}), ("reading", {"go": "sideways"}),
        ("conduct", {"analysis": LONG}),
    ],
)  # fmt: skip
def test_more_than_a_step_can_hold_is_refused_and_not_kept(sketch, session, step, sent):
    browser, address = sketch
    before = dict(session.scalars(sa.select(Sketch)).one().typed)
    reply = browser.post(f"{address}/{step}", data={"go": "keep", **sent}, headers=JSON)
    assert reply.status_code == 422
    assert len(reply.json()["detail"]) < 400
    session.expire_all()
    assert session.scalars(sa.select(Sketch)).one().typed == before


def test_a_step_takes_its_own_fields_alone(sketch, session):
    browser, address = sketch
    sent = {"practice": "4", "margin": "0,2", "title": "another", "go": "keep"}
    assert browser.post(f"{address}/reading", data=sent).status_code == 200
    typed = session.scalars(sa.select(Sketch)).one().typed
    assert (typed["practice"], typed["margin"], typed["title"]) == ("4", "0.10", "T")


def test_commas_are_decimal_points_all_the_way_into_the_study(sketch, session):
    browser, address = sketch
    for step, sent in (
        ("images", {"real": "3", "synthetic": "3"}),
        ("reading", {"size_mm": "99,5"}),
        ("conduct", {"margin": "0,12", "least_off": "12,5"}),
    ):
        reply = browser.post(f"{address}/{step}", data={**sent, "go": "next"})
        assert not reply.headers["location"].endswith(step), step
    assert browser.post(f"{address}/composition").status_code == 303
    design = session.scalars(sa.select(ReaderStudy)).one().design
    assert (design.size_mm, design.margin, design.least_off) == (99.5, 0.12, 0.125)


def test_a_field_that_is_emptied_is_stored_empty(sketch, session):
    browser, address = sketch
    filled = {"size_mm": "100", "go": "keep"}
    browser.post(f"{address}/reading", data=filled)
    browser.post(f"{address}/reading", data={**filled, "size_mm": ""})
    assert session.scalars(sa.select(Sketch)).one().typed["size_mm"] == ""
    browser.post(f"{address}/design", data={"title": "", "preset": "own"})
    session.expire_all()
    assert session.scalars(sa.select(Sketch)).one().refusal["text"] == "Give the study a title."
