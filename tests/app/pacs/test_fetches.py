"""What a configured PACS holds is fetched by reference and ends where uploads do."""

from __future__ import annotations

import json
import re
import uuid
from datetime import timedelta
from urllib.parse import unquote

import pytest
import sqlalchemy as sa
from bad_pacs import answer, bad_pacs, holding

from app.db import now
from app.jobs import fetching
from app.jobs.fetcher import Fetchers
from app.models import Case, Event, Image, Job, User
from app.models.jobs.job import LOST_AFTER_S, JobState
from app.pacs.configured import ConfiguredPacs, PacsSettings
from factories import make_dicom, make_hu
from orthanc import PASSWORD, PERSON
from stow import content_type, parsed, related, store

FETCHES = "/api/v1/fetches"
FILES = [make_dicom(make_hu(n), number=n, z=3.0 * n, series=str(n // 3)) for n in range(1, 5)]
STUDY = parsed(FILES[0]).StudyInstanceUID


def uids(file: bytes) -> tuple[str, str, str]:
    known = parsed(file)
    return known.StudyInstanceUID, known.SeriesInstanceUID, known.SOPInstanceUID


@pytest.fixture
def configure(app):
    """``configure(url=…)``: the PACS ``main`` of this application."""

    def set_one(**entry):
        use(app, PacsSettings(name="main", **entry))

    return set_one


def use(app, *pacs: PacsSettings) -> None:
    """Let the application ask these."""
    app.state.pacs = ConfiguredPacs({one.name: one for one in pacs})
    state = app.state
    state.fetcher = Fetchers(state.database, state.pacs, state.settings, state.key)


@pytest.fixture
def main(orthanc, configure):
    configure(url=orthanc.url, user=PERSON, password=PASSWORD)
    return orthanc


@pytest.fixture
def fetch(client, token, app):
    """``fetch(study=…)``: the job, as the API tells it once it is over."""

    def ask(act=True, **order):
        headers = {"authorization": f"Bearer {token}"}
        reply = client.post(FETCHES, json=order, headers=headers)
        assert reply.status_code == 202, reply.text
        if act:
            assert app.state.fetcher.act()
        return client.get(reply.headers["location"], headers=headers).json()

    return ask


def stored(session) -> int:
    session.expire_all()
    return session.scalar(sa.select(sa.func.count()).select_from(Image))


def test_a_study_comes_as_an_upload_would_and_a_second_time_is_known(main, fetch, session):
    other = make_dicom(SOPClassUID="1.2.840.10008.5.1.4.1.1.4", Modality="MR", number=9)
    main.give(*FILES, other)
    job = fetch(study=STUDY, contrast_phase="portal")
    assert (job["kind"], job["state"], job["done"], job["total"]) == ("fetch", "done", 4, 4)
    told = job["result"]
    assert {name: told[name] for name in ("images", "known", "passed_over", "refused")} == {
        "images": 4, "known": 0, "passed_over": 1, "refused": []}  # fmt: skip
    case = Case.require(session, uuid.UUID(told["case"]))
    assert (len(case.series), case.contrast_phase) == (2, "portal")
    assert told["url"] == f"/cases/{case.id}"
    again = fetch(study=STUDY, contrast_phase="portal")
    assert (again["result"]["known"], again["result"]["case"]) == (4, told["case"])
    assert stored(session) == 4
    event = session.scalars(sa.select(Event).where(Event.kind == "study fetched")).first()
    assert event.detail == {"pacs": "main", "images": 4}


def test_a_series_or_an_instance_comes_alone(main, fetch, session):
    main.give(*FILES)
    study, series, instance = uids(FILES[3])
    assert fetch(study=study, series=series, instance=instance)["result"]["images"] == 1
    assert stored(session) == 1
    told = fetch(study=study, series=series)["result"]
    assert (told["images"], told["known"], stored(session)) == (2, 1, 2)
    assert "?image=" in told["url"]


def test_other_bytes_under_a_uid_are_refused_and_the_first_stay(main, fetch, session, configure):
    main.give(FILES[0], FILES[1])
    fetch(study=STUDY)
    main.forget()
    main.give(make_dicom(make_hu(77), number=1, z=3.0, series="0"), FILES[1])
    told = fetch(study=STUDY)["result"]
    assert (told["images"], told["known"], stored(session)) == (1, 1, 2)
    [refused] = told["refused"]
    assert "belongs to another image" in refused["reason"]


def test_what_is_asked_for_lies_sealed_and_is_gone_afterwards(main, fetch, session):
    main.give(*FILES)
    fetch(act=False, study=STUDY, instance=uids(FILES[0])[2])
    [job] = session.scalars(sa.select(Job))
    assert set(job.asked) == {"row", "sealed", "same", "pacs"}
    assert STUDY not in json.dumps(job.asked)
    job_id = job.id
    fetch(study=STUDY)  # does the first one that waits
    session.expire_all()
    assert session.get_one(Job, job_id).asked is None


def test_what_a_killed_clerk_left_is_gone_on_with(main, fetch, app, session, database, monkeypatch):
    main.give(*FILES)
    monkeypatch.setattr(fetching, "TOGETHER", 1)
    asked = []
    retrieve = fetching.Pacs.retrieve

    def dies(self, *at):
        asked.append(at[2])
        if len(asked) == 3:
            raise KeyboardInterrupt  # as nothing catches it
        return retrieve(self, *at)

    monkeypatch.setattr(fetching.Pacs, "retrieve", dies)
    fetch(act=False, study=STUDY)
    with pytest.raises(KeyboardInterrupt):
        app.state.fetcher.act()
    assert stored(session) == 2
    assert not app.state.fetcher.act()  # it was heard of a moment ago
    with database.transaction() as db:
        db.execute(sa.update(Job).values(heard_at=now() - timedelta(seconds=LOST_AFTER_S + 1)))
    assert app.state.fetcher.act()
    session.expire_all()
    [job] = session.scalars(sa.select(Job))
    assert (job.state, job.result["images"], stored(session)) == (JobState.DONE, 4, 4)
    assert len(asked) == 5  # two before, one in vain, and the two others


REFUSED = [
    ({"study": "1.02"}, 400, "study is no UID"),
    ({"study": "http://127.0.0.1/x"}, 400, "no UID"),
    ({"study": "1.2", "series": "x"}, 400, "series is no UID"),
    ({"study": "1.2", "pacs": "other"}, 404, "There is: main"),
    ({"study": "1.2", "url": "http://127.0.0.1"}, 422, "url"),
    ({"study": "1.2", "contrast_phase": "late"}, 422, "contrast_phase can be"),
    ({"study": "1.2", "pseudonym": "<b>"}, 422, "pseudonym"),
    ({"study": "1.2", "hook": "none"}, 422, "HEPATICA_HOOKS_FILE"),
    ({}, 422, "study"),
]


@pytest.mark.parametrize(("order", "status", "words"), REFUSED, ids=str)
def test_what_makes_no_sense_is_refused_and_reaches_no_pacs(
    client, token, configure, order, status, words
):
    configure(url="http://127.0.0.1:1")
    reply = client.post(FETCHES, json=order, headers={"authorization": f"Bearer {token}"})
    assert (reply.status_code, words in reply.text) == (status, True), reply.text


def test_without_a_configured_pacs_nothing_is_fetched(client, token):
    headers = {"authorization": f"Bearer {token}"}
    reply = client.post(FETCHES, json={"study": "1.2.3"}, headers=headers)
    assert (reply.status_code, "HEPATICA_PACS" in reply.text) == (404, True)


def test_what_the_pacs_does_not_hold_is_told(main, fetch):
    job = fetch(study="1.2.3")
    assert (job["state"], job["error"]) == ("failed", "The PACS main does not hold this study.")
    main.give(make_dicom(SOPClassUID="1.2.840.10008.5.1.4.1.1.4", Modality="MR"))
    assert "1 objects of this, and none is a CT image" in fetch(study=STUDY)["error"]


def test_an_object_whose_uid_the_pacs_does_not_tell_is_told_so(fetch, configure, session):
    def nameless(of):
        behave = holding(FILES)

        def answers(asked):
            if "/instances?" not in asked.path:
                return behave(asked)
            tags = {"0020000E": 1, "00080018": 2}
            told = [
                {tag: {"vr": "UI", "Value": [uids(one)[at]]} for tag, at in tags.items()}
                for one in FILES
            ]
            for number in of:
                told[number].pop("00080018")
            return answer(200, json.dumps(told).encode(), "application/dicom+json")

        return answers

    with bad_pacs(nameless([1])) as server:
        configure(url=server.url)
        job = fetch(study=STUDY)
    assert (job["state"], job["result"]["images"], stored(session)) == ("done", 3, 3)
    assert "does not tell its SOP" in job["result"]["refused"][0]["reason"]
    with bad_pacs(nameless(range(4))) as server:
        configure(url=server.url)
        job = fetch(study=STUDY)
    assert job["state"] == "failed" and "does not tell" in job["error"]


def test_one_instance_at_fault_leaves_the_others(fetch, configure, session):
    other = answer(200, related(FILES[0]), content_type())
    html = answer(200, b"<html>", "text/html")
    with bad_pacs(holding(FILES, n1=other, n2=html)) as server:
        configure(url=server.url)
        job = fetch(study=STUDY)
    assert (job["state"], job["result"]["images"], stored(session)) == ("done", 2, 2)
    assert {one["count"] for one in job["result"]["refused"]} == {1}
    told = " ".join(one["reason"] for one in job["result"]["refused"])
    assert "another instance" in told and "web page" in told


def test_a_pacs_that_fails_in_the_middle_keeps_what_came(
    fetch, configure, session, monkeypatch, caplog
):
    caplog.set_level("DEBUG")
    monkeypatch.setattr(fetching, "WAITS_S", (0.0,))
    monkeypatch.setattr(fetching, "TOGETHER", 1)
    half = answer(200, related(FILES[2])[:4000], content_type())
    with bad_pacs(holding(FILES, n2=half)) as server:
        configure(url=server.url)
        job = fetch(study=STUDY)
        tries = sum(one.path.endswith(uids(FILES[2])[2]) for one in server.asked)
    assert (job["state"], tries, stored(session)) == ("failed", 2, 2)
    assert "ends before its end. 2 of 4 instances were dealt with before" in job["error"]
    assert not any(uid in caplog.text for file in FILES for uid in uids(file))


def test_a_result_holds_some_of_many_warnings(main, fetch, monkeypatch):
    monkeypatch.setattr(fetching, "MOST_TOLD", 1)
    main.give(*FILES)
    assert len(fetch(study=STUDY)["result"]["warnings"]) == 1


def test_too_much_ends_it(main, fetch, configure):
    main.give(*FILES)
    configure(url=main.url, user=PERSON, password=PASSWORD, max_study_mb=0.05)
    assert "more than 0.05 MB" in fetch(study=STUDY)["error"]


# -- /launch ---------------------------------------------------------------------------------------


def test_a_stranger_signs_in_and_comes_back_to_what_was_asked_for(client, configure, database):
    configure(url="http://127.0.0.1:1")
    reply = client.get(f"/launch?study={STUDY}&series=1.2.3&pacs=main")
    assert reply.status_code == 303
    at = unquote(reply.headers["location"].partition("next=")[2])
    assert at.startswith("/launch?asked=") and STUDY not in at
    again = client.get(at)  # who waits too long, or reloads
    assert unquote(again.headers["location"].partition("next=")[2]) == at
    with database.transaction() as session:
        User.add(session, "ada", "reader", "correct horse")
    signed = {"name": "ada", "password": "correct horse", "next": at}
    assert client.post("/sessions", data=signed).headers["location"] == at
    asks = client.get(at).text
    form = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', asks))
    assert form == {"study": STUDY, "series": "1.2.3", "instance": "", "pacs": "main"}
    for wrong in ("x", at[14:-8], f"{at[14:]}&asked=x"):
        assert client.get(f"/launch?asked={wrong}").status_code == 400


def test_a_launch_asks_fetches_and_opens_at_the_image(main, app, signed_in_as, session):
    main.give(*FILES)
    reader = signed_in_as("reader")
    study, _, instance = uids(FILES[3])
    address = f"/launch?study={study}&instance={instance}"
    asks = reader.get(address)
    assert asks.status_code == 200
    assert not app.state.fetcher.act(), "a GET fetches nothing"
    form = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', asks.text))
    assert form == {"study": study, "series": "", "instance": instance, "pacs": "main"}
    assert reader.post("/fetches", data=form, headers={"origin": "http://x"}).status_code == 403
    sent = reader.post("/fetches", data={**form, "contrast_phase": "portal"})
    at = sent.headers["location"]
    again = reader.post("/fetches", data={**form, "contrast_phase": "portal"})
    assert again.headers["location"] == at, "two clicks are one fetch"
    assert "waits for its turn" in reader.get(at).text
    assert "data-refresh-ms" in reader.get(f"{at}/progress").text
    assert app.state.fetcher.act()
    assert "data-refresh-ms" not in reader.get(f"{at}/progress").text
    opened = reader.get(at).headers["location"]
    assert opened == reader.get(address).headers["location"], "it is here now, and opens at once"
    image = session.get_one(Image, uuid.UUID(opened.partition("?image=")[2]))
    assert image.instance_number == 4
    assert reader.get(f"/launch?study={study}").headers["location"] == opened.partition("?")[0]
    assert signed_in_as("reader", "other").get(at).status_code == 404


def test_a_launch_refuses_in_words(main, app, signed_in_as):
    reader = signed_in_as("reader")
    for query, status, words in (
        ("", 400, "names no study"),
        ("study=1.2.x", 400, "no UID"),
        ("study=1.2.3&series=%2F..", 400, "series is no UID"),
        ("study=1.2.3&pacs=other", 404, "There is: main"),
    ):
        reply = reader.get(f"/launch?{query}")
        assert (reply.status_code, words in reply.text) == (status, True), query
        form = dict(pair.split("=") for pair in query.replace("%2F", "/").split("&") if pair)
        assert reader.post("/fetches", data=form).status_code == status
    assert reader.get("/launch?study=1.2.3&study=1.2.4").status_code == 400
    at = reader.post("/fetches", data={"study": "1.2.3"}).headers["location"]
    app.state.fetcher.act()
    assert "does not hold this study" in reader.get(at).text


def test_a_series_that_is_not_here_is_asked_for_beside_what_is(main, fetch, signed_in_as):
    main.give(*FILES)
    study, series, _ = uids(FILES[3])
    fetch(study=study, series=uids(FILES[0])[1])
    asks = signed_in_as("reader").get(f"/launch?study={study}&series={series}").text
    assert "The study is here, but not this series" in asks


def test_a_fetch_that_waits_can_be_ended(main, signed_in_as):
    reader = signed_in_as("reader")
    at = reader.post("/fetches", data={"study": "1.2.3"}).headers["location"]
    assert reader.post(f"{at}/cancellation").status_code == 303
    assert "It was ended" in reader.get(at).text


def classify(client, token, *lesions, **more):
    headers = {"authorization": f"Bearer {token}"}
    order = {"lesions": list(lesions), **more}
    return client.post("/api/v1/classifications", json=order, headers=headers)


def test_lesions_of_a_study_that_is_not_here_are_fetched_and_then_classified(
    main, app, client, token, session
):
    main.give(*FILES)
    study, series, instance = uids(FILES[0])
    place = {"study": study, "series": series, "instance": instance, "box": [44, 44, 40, 40]}
    assert classify(client, token, place).status_code == 404
    beside = {"study": study, "series": series, "instance": "1.2.3", "box": [1, 1, 9, 9]}
    reply = classify(client, token, place, beside, pacs="main", contrast_phase="portal")
    assert reply.status_code == 202, reply.text
    asked = session.scalars(sa.select(Job.asked)).one()
    assert study not in str(asked) and instance not in str(asked)
    headers = {"authorization": f"Bearer {token}"}
    assert app.state.fetcher.act()
    fetched = client.get(reply.headers["location"], headers=headers).json()
    assert (fetched["kind"], fetched["state"]) == ("classification", "queued")
    assert stored(session) == 2  # of the series, and no more
    assert app.state.clerk.act()
    job = client.get(reply.headers["location"], headers=headers).json()
    assert (job["state"], job["result"]["classified"], job["result"]["refused"]) == ("done", 1, 1)
    assert job["id"] == reply.json()["id"]
    assert classify(client, token, place).json()["lesions"][0] == job["result"]["lesions"][0]
    elsewhere = {**place, "study": "1.2.3"}
    for lesions, words in (
        ([elsewhere, {**place, "study": "1.2.4"}], "several studies"),
        ([{**place, "study": "1.x"}], "no UID"),
    ):
        refused = classify(client, token, *lesions, pacs="main")
        assert refused.status_code in (400, 422)
        assert words in refused.json()["detail"]
    assert classify(client, token, elsewhere, pacs="absent").status_code == 404


def test_lesions_that_are_here_are_classified_though_the_pacs_does_not_do_its_part(
    configure, app, client, token
):
    headers = {"authorization": f"Bearer {token}"}
    held = make_dicom(make_hu(9), study="held")
    assert store(client, token, held).status_code == 200
    here = {"instance": uids(held)[2], "box": [44, 44, 40, 40]}
    study, series, instance = uids(FILES[0])
    away = {"study": study, "series": series, "instance": instance, "box": [44, 44, 40, 40]}
    configure(url="http://127.0.0.1:9/x", connect_s=1, read_s=1, total_s=2)
    reply = classify(client, token, here, away, pacs="main")
    assert app.state.fetcher.act()
    assert app.state.clerk.act()
    job = client.get(reply.headers["location"], headers=headers).json()
    first, second = job["result"]["lesions"]
    assert (job["state"], first["status"], second["status"]) == ("done", 200, 502)
    assert "PACS" in second["detail"]
    reply = classify(client, token, away, pacs="main")
    assert app.state.fetcher.act()
    job = client.get(reply.headers["location"], headers=headers).json()
    assert (job["state"], "PACS" in job["error"]) == ("failed", True)


@pytest.mark.parametrize("answers", [True, False])
def test_more_lesions_than_one_call_may_ask_for_are_not_handed_on(
    main, configure, app, client, token, session, monkeypatch, answers
):
    """An object marks as many as it likes, which is known when it is here."""
    monkeypatch.setattr(fetching, "MOST", 2)
    held = make_dicom(make_hu(9), study="held")
    assert store(client, token, held).status_code == 200
    here = {"instance": uids(held)[2], "box": [44, 44, 40, 40]}
    study, series, instance = uids(FILES[0])
    away = {"study": study, "series": series, "instance": instance, "box": [44, 44, 40, 40]}
    main.give(*FILES)
    if not answers:
        configure(url="http://127.0.0.1:9/x", connect_s=1, read_s=1, total_s=2)
    reply = classify(client, token, here, away, away, pacs="main")
    assert app.state.fetcher.act()
    headers = {"authorization": f"Bearer {token}"}
    job = client.get(reply.headers["location"], headers=headers).json()
    assert (job["kind"], job["state"]) == ("fetch", "failed")
    assert job["error"].startswith("3 lesions are marked; ")
    assert ("PACS main" in job["error"]) is not answers
    assert stored(session) == (2 if answers else 1)
