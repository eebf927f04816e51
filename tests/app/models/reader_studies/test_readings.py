"""The desk: answers one by one, once each, in order, and by their own reader only."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

import studies
from app.db import Database
from app.errors import Conflict
from app.models import Event, Protocol, ReaderStudy, Reading, Trial, User
from app.models.reader_studies.desk import AHEAD
from app.models.reader_studies.enrolment import Enrolment
from app.models.reader_studies.questions import Choices
from app.models.reader_studies.reading import Answer
from ml.lesion import LesionClass, LesionScheme

JSON = {"accept": "application/json"}
MOST_OF_ANSWER, MOST_OF_PICTURE = 24, 12
"""Statements of one request: they are few, whatever a study holds; of a picture three write down
when it was first sent."""


@pytest.fixture
def reading(app, session, signed_in_as) -> SimpleNamespace:
    """An open study of 12 images with two readers; ``ada`` is signed in."""
    ada, bea = studies.make_user(session, "ada"), studies.make_user(session, "bea")
    study = studies.make_study(session, ada, bea)
    first, second = Enrolment.of_study(session, study.id)
    session.commit()
    return SimpleNamespace(
        study=study,
        browser=signed_in_as("reader", name="ada"),
        url=f"/readings/{first.token}",
        trials=trials_of(session, first),
        other_url=f"/readings/{second.token}",
        other_trials=trials_of(session, second),
    )


def trials_of(session, enrolment: Enrolment) -> list[Trial]:
    return list(
        session.scalars(
            sa.select(Trial).where(Trial.enrolment_id == enrolment.id).order_by(Trial.position)
        )
    )


def answer(reading, position: int = 1, *, key: str = "", url: str = "", **more):
    trial = reading.trials[position - 1].token
    body = {
        "trial": trial,
        "key": key or f"key of {position}",
        "lesion_class": "cyst",
        "rating": "5",
        "active_ms": "1500",
        **more,
    }
    return reading.browser.post(url or reading.url, data=body, headers=JSON)


def events(session, kind: str) -> int:
    return session.scalar(sa.select(sa.func.count()).where(Event.kind == kind))


def stored(session) -> int:
    return session.scalar(sa.select(sa.func.count()).select_from(Reading))


# -- refusals -------------------------------------------------------------------------------------


def test_another_readers_desk_is_not_found_and_the_look_is_an_event(reading, session):
    assert reading.browser.get(reading.other_url).status_code == 404
    assert reading.browser.get("/readings/guessed").status_code == 404
    assert answer(reading, url=reading.other_url).status_code == 404
    assert events(session, "reading refused") == 3
    assert stored(session) == 0


def test_another_readers_pictures_are_not_found_and_the_look_is_an_event(reading, session):
    assert reading.browser.get(f"/pixels/{reading.other_trials[0].token}").status_code == 404
    assert reading.browser.get("/pixels/guessed").status_code == 404
    assert events(session, "picture refused") == 2


def test_a_researcher_may_not_see_a_readers_desk_either(reading, signed_in_as):
    for role in ("researcher", "admin"):
        browser = signed_in_as(role)
        assert browser.get(reading.url).status_code == 404
        assert browser.get(f"/pixels/{reading.trials[0].token}").status_code == 404


def test_signed_out_nothing_is_shown(reading, client):
    for path in (reading.url, f"/pixels/{reading.trials[0].token}"):
        reply = client.get(path)
        assert reply.status_code == 303
        assert reply.headers["location"].startswith("/sessions/new")
    assert client.post(reading.url, data={}, headers=JSON).status_code in (401, 422)


def test_another_readers_trial_cannot_be_answered(reading, session):
    assert answer(reading, trial=reading.other_trials[0].token).status_code == 404
    assert events(session, "trial refused") == 1
    assert stored(session) == 0


def test_answers_out_of_order_are_refused(reading, session):
    refused = answer(reading, 2)
    assert refused.status_code == 409
    assert "Trial 1 comes first" in refused.json()["detail"]
    assert answer(reading, 12).status_code == 409
    assert stored(session) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"rating": "0"},
        {"rating": "7"},
        {"rating": "sure"},
        {"lesion_class": "other"},
        {"lesion_class": "abscess"},
        {"active_ms": "-1"},
        {"hidden_ms": str(2**53)},
        {"key": "k" * 65},
    ],
)
def test_an_answer_that_there_is_not_is_refused(reading, session, wrong):
    assert answer(reading, 1, **wrong).status_code == 422
    assert stored(session) == 0


def test_the_same_answer_ten_times_is_one_reading(reading, session):
    replies = [answer(reading, 1) for _ in range(10)]
    assert [reply.status_code for reply in replies] == [201] + [200] * 9
    assert {reply.json()["answered"] for reply in replies} == {1}
    assert stored(session) == 1


@pytest.mark.parametrize("other", [{"rating": "2"}, {"lesion_class": "metastasis"}])
def test_another_answer_with_the_same_key_is_refused(reading, session, other):
    assert answer(reading, 1).status_code == 201
    refused = answer(reading, 1, **other)
    assert refused.status_code == 409
    assert "with this key" in refused.json()["detail"]
    assert answer(reading, 2, key="key of 1").status_code == 409
    [kept] = session.scalars(sa.select(Reading))
    assert (kept.rating, kept.lesion_class) == (5, "cyst")


def test_a_trial_is_answered_once(reading, session):
    assert answer(reading, 1).status_code == 201
    refused = answer(reading, 1, key="another tab")
    assert refused.status_code == 409
    assert "answered before" in refused.json()["detail"]
    assert stored(session) == 1


def test_nothing_is_answered_after_unblinding_but_what_is_stored_is_confirmed(reading, session):
    answer(reading, 1)
    maker = User.named(session, "maker")
    reading.study.unblind(session, maker, reason="enough was read", typed="UNBLIND")
    session.commit()
    assert answer(reading, 1).status_code == 200
    assert answer(reading, 2).status_code == 409
    assert "The study is closed" in reading.browser.get(reading.url).text
    assert reading.browser.get(f"/pixels/{reading.trials[1].token}").status_code == 404


def test_pictures_can_be_fetched_only_a_little_ahead(reading):
    def status(position: int) -> int:
        token = reading.trials[position - 1].token
        return reading.browser.get(f"/pixels/{token}").status_code

    assert [status(place) for place in (1, 2 + AHEAD - 1, 2 + AHEAD, 12)] == [200, 200, 404, 404]
    answer(reading, 1)
    assert [status(place) for place in (1, 2, 2 + AHEAD, 3 + AHEAD)] == [404, 200, 200, 404]


def test_a_study_that_is_not_open_shows_no_trial(app, session, signed_in_as):
    ada = studies.make_user(session, "ada")
    study = studies.make_study(session, ada, opened=False)
    [enrolment] = Enrolment.of_study(session, study.id)
    session.commit()
    browser = signed_in_as("reader", name="ada")
    assert "not open yet" in browser.get(f"/readings/{enrolment.token}").text
    assert "not opened yet" in browser.get("/readings").text


# -- reading --------------------------------------------------------------------------------------


def test_a_reader_is_led_to_their_own_readings(reading, signed_in_as):
    moved = reading.browser.get("/reader-studies")
    assert (moved.status_code, moved.headers["location"]) == (303, "/readings")
    mine = reading.browser.get("/readings").text
    assert reading.url in mine
    assert reading.other_url not in mine
    nobody = signed_in_as("reader", name="cid").get("/readings").text
    assert "No reading yet" in nobody


def test_reading_goes_on_in_another_browser_exactly_where_it_was(reading, signed_in_as):
    for position in (1, 2, 3):
        assert answer(reading, position).status_code == 201
    again = signed_in_as("reader", name="ada")
    state = again.get(reading.url, headers=JSON).json()
    assert (state["answered"], state["total"], state["state"]) == (3, 12, "reading")
    assert state["upcoming"] == [
        {"token": trial.token, "position": trial.position}
        for trial in reading.trials[3 : 4 + AHEAD]
    ]
    page = again.get(reading.url).text
    assert f'name="trial" value="{reading.trials[3].token}"' in page
    assert f"/pixels/{reading.trials[3].token}" in page
    assert "3 of 12" in again.get("/readings").text


def test_without_scripts_the_desk_is_a_form(reading, session):
    for position in (1, 2):
        page = reading.browser.get(reading.url).text
        hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]+)"', page))
        sent = reading.browser.post(
            reading.url, data={**hidden, "rating": "3", "lesion_class": "hemangioma"}
        )
        assert (sent.status_code, sent.headers["location"]) == (303, reading.url)
        assert stored(session) == position


def test_what_is_stored_is_what_was_answered(reading, session):
    answer(
        reading,
        1,
        key="8f6b",
        rating="6",
        lesion_class="metastasis",
        active_ms="1234",
        hidden_ms="56",
        idle_ms="7",
        changes="2",
    )
    [kept] = session.scalars(sa.select(Reading))
    assert kept.trial_id == reading.trials[0].id
    assert (kept.idempotency_key, kept.rating, kept.lesion_class) == ("8f6b", 6, "metastasis")
    assert (kept.active_ms, kept.hidden_ms, kept.idle_ms, kept.changes) == (1234, 56, 7, 2)
    assert kept.answered_at.utcoffset() is not None


def test_minutes_left_come_from_the_pace_of_three_answers(reading):
    left = [
        answer(reading, position, active_ms="60000").json()["minutes_left"]
        for position in range(1, 13)
    ]
    assert left == [None, None, 9, 8, 7, 6, 5, 4, 3, 2, 1, None]


def test_the_last_answer_finishes_the_reading(reading, session):
    for position in range(1, 13):
        reply = answer(reading, position)
    assert reply.json() == {
        "state": "finished",
        "answered": 12,
        "total": 12,
        "minutes_left": None,
        "upcoming": [],
    }
    assert "All 12 images are read" in reading.browser.get(reading.url).text
    session.expire_all()
    finished = {
        row.reader.name: row.finished_at is not None
        for row in Enrolment.of_study(session, reading.study.id)
    }
    assert finished == {"ada": True, "bea": False}


def test_keys_never_collide():
    scheme = LesionScheme(
        "polyps", tuple(LesionClass(key, key) for key in ("polyp", "pseudocyst", "zyst"))
    )
    choices = Choices.of(scheme)
    keys = [item.hotkey for item in (*choices.classes, *choices.ratings)] + [choices.pause_key]
    assert len(set(keys)) == len(keys)
    assert [item.hotkey for item in choices.ratings] == list("123456")


# -- two at once ----------------------------------------------------------------------------------


def at_once(*acts: Callable[[], object]) -> list[object]:
    """What each act returned or raised, all started together."""
    outcomes: list[object] = [None] * len(acts)
    gate = threading.Barrier(len(acts))

    def run(place: int, act: Callable[[], object]) -> None:
        gate.wait()
        try:
            outcomes[place] = act()
        except Exception as error:
            outcomes[place] = error

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(acts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def test_two_tabs_at_once_store_one_answer_and_the_other_is_refused(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/race.sqlite3")
    database.migrate()
    race(database)


def race(database: Database) -> None:
    """Six tabs answer each trial at once: one wins, the others get Conflict, never a fault."""
    with database.transaction() as session:
        study = studies.make_study(session, studies.make_user(session, "ada"))
        [enrolment] = Enrolment.of_study(session, study.id)
        tokens = [trial.token for trial in trials_of(session, enrolment)][:4]

    def give(token: str, key: str, rating: int) -> bool:
        with database.transaction() as session:
            mine = session.get(Enrolment, enrolment.id)
            return Reading.give(session, mine, Answer(token, key, "cyst", rating))[1]

    for token in tokens:
        acts = [lambda t=token, n=n: give(t, f"{t} {n}", n) for n in range(1, 6)]
        acts.append(lambda t=token: give(t, f"{t} 1", 1))  # the first one, sent twice
        outcomes = at_once(*acts)
        assert outcomes.count(True) == 1
        others = [one for one in outcomes if one is not True]
        assert all(one is False or isinstance(one, Conflict) for one in others), others
    with database.reading() as session:
        assert stored(session) == len(tokens)
    database.engine.dispose()


def test_an_answer_and_a_picture_read_nothing_that_grows_with_the_study(app, reading):
    """Protocols and plans name every image of a study: no key press should wait for them."""
    reading.browser.get(reading.url)
    assert answer(reading, 1).status_code == 201
    asked: list[str] = []
    engine = app.state.database.engine
    sa.event.listen(engine, "before_cursor_execute", lambda *told: asked.append(told[2]))
    assert answer(reading, 2).status_code == 201
    of_answer = len(asked)
    assert reading.browser.get(f"/pixels/{reading.trials[2].token}").status_code == 200
    of_picture = len(asked) - of_answer
    assert any("protocol" in statement for statement in asked)
    for statement in (one.replace('"', "") for one in asked):  # a database may quote a name
        assert "protocol.content" not in statement
        assert "reader_study.plan" not in statement
    assert of_answer <= MOST_OF_ANSWER
    assert of_picture <= MOST_OF_PICTURE


def test_the_names_that_must_not_be_read_are_those_of_the_columns(session):
    """The check above would pass for ever if a name in it were wrong."""
    asked = [
        str(sa.select(column).compile(session.connection())).replace('"', "")
        for column in (Protocol.content_json, ReaderStudy.plan_json)
    ]
    assert "protocol.content" in asked[0]
    assert "reader_study.plan" in asked[1]
