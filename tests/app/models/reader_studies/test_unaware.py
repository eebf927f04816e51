"""Unaware studies: nothing of the first part tells that some images are synthetic."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from urllib.parse import urljoin

import jsonschema
import pytest

import answered
import studies
from app.errors import Conflict, Unreadable
from app.models import ApiToken, Debriefing, Remark, Stimulus
from app.models.reader_studies.design import DEBRIEFING, DESIGNS, Design, SecondImages, telling
from app.models.reader_studies.enrolment import Enrolment
from app.models.reader_studies.look import Look, Seen, Shown
from app.models.reader_studies.reading import Answer, Reading
from app.models.reader_studies.rehearsal import Asked
from app.models.reader_studies.task import Part
from app.models.reader_studies.unblinded import Unblinded
from app.models.study_results import exports
from app.models.study_results.analysis import Content, compute
from app.models.study_results.answers import Answers
from ml.readers import tidy
from ml.readers.unaware import UnawareResult, analyse_unaware

JSON = {"accept": "application/json"}
UNAWARE = Design(
    unaware=True, class_confidence=True, reasons=True, debriefing=DEBRIEFING,
    debriefing_confirmed=True,
)  # fmt: skip
TELLS = re.compile(
    r"synth|fake|artific|turing|generat(?!e-)|real or|certainly real|drawn by|checkpoint", re.I
)


def no_network(*_arguments):
    raise AssertionError("the network must not be asked")


def trials(session, study, number=1):
    return answered.trials_of(session, answered.enrolment_of(session, study, number))


# -- the design -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"lesion_class": False, "class_confidence": False}, "Ask for the lesion class"),
        ({"practice": 2}, "neither practice"),
        ({"repeats": 2, "repeat_distance": 1}, "nor hidden repeats"),
        ({"tell_prevalence": True}, "cannot be told to unaware"),
        ({"debriefing": " "}, "Give the debriefing"),
        ({"debriefing_confirmed": False}, "Confirm that every reader is debriefed"),
        ({"instructions": "Some images are artificial."}, "would tell readers"),
        ({"ethics_reference": "Turing 12/26"}, "ethics reference would tell"),
        ({"consent": "I know that some were generated."}, "would tell readers"),
    ],
)
def test_a_design_that_would_tell_or_cannot_be_is_refused(wrong, said):
    with pytest.raises(Unreadable, match=said):
        replace(UNAWARE, **wrong).checked(12)


def test_texts_that_come_with_hepatica_do_not_tell_and_a_title_may_not():
    design = UNAWARE.checked(12)
    assert telling(design.instructions) is None
    assert telling(design.consent) is None
    assert "told in full" in design.consent
    assert replace(DESIGNS["unaware"].design, debriefing_confirmed=True).checked(80).unaware


def test_a_title_that_tells_is_refused(session):
    assert telling("Regenerative nodules of a whole organ") is None
    with pytest.raises(Unreadable, match="would tell them before the time"):
        studies.make_study(session, title="A Turing test of the liver", design=UNAWARE)


@pytest.mark.parametrize("second", list(SecondImages))
def test_the_second_part_shows_the_same_images_or_the_others(session, second):
    design = replace(UNAWARE, second_images=second)
    study = studies.make_study(session, studies.make_user(session, "ada"), design=design)
    shown = trials(session, study)
    first = [one for one in shown if one.part is Part.UNAWARE]
    then = [one for one in shown if one.part is Part.TOLD]
    assert shown == [*first, *then]
    assert {one.part: 0 for one in shown} == dict.fromkeys(study.parts, 0)
    assert [len(first), len(then)] == list(study.parts.values())
    pictures = [{one.stimulus_id for one in part} for part in (first, then)]
    everything = {one.id for one in Stimulus.of_study(session, study.id)}
    if second is SecondImages.SAME:
        assert pictures == [everything, everything]
        assert [one.stimulus_id for one in first] != [one.stimulus_id for one in then]
    else:
        assert pictures[0] | pictures[1] == everything
        assert not pictures[0] & pictures[1]
        for part in (first, then):
            assert len({one.stimulus.truth for one in part}) == 2


# -- who may read ---------------------------------------------------------------------------------


def test_whoever_knows_is_not_enrolled(session):
    maker = studies.make_user(session, "maker", "researcher")
    ada = studies.make_user(session, "ada")
    aware = studies.make_study(session, ada, title="First")
    unaware = studies.compose(
        session, maker, title="Second", scheme=aware.scheme, real=3, synthetic=3,
        design=replace(UNAWARE, exclude_read=False, exclude_own=False), draw=studies.draw,
    )  # fmt: skip
    with pytest.raises(Conflict, match="whoever may make studies knows"):
        unaware.enrol(session, studies.make_user(session, "rhea", "researcher"), maker)
    with pytest.raises(Conflict, match="enrolled in another reader study"):
        unaware.enrol(session, ada, maker)
    ben = studies.make_user(session, "ben")
    assert unaware.enrol(session, ben, maker).number == 1
    with pytest.raises(Conflict, match="this one would tell them"):
        aware.enrol(session, ben, maker)
    Look.keep(session, [Seen(studies.make_user(session, "cleo").id, Shown.SYNTHETIC, aware.id)])
    with pytest.raises(Conflict, match="has looked at synthetic lesions"):
        unaware.enrol(session, studies.make_user(session, "cleo"), maker)


# -- nothing tells --------------------------------------------------------------------------------


@pytest.fixture
def reading(app, session, signed_in_as):
    app.state.inference = studies.NoNetworks()
    study = studies.make_study(
        session, studies.make_user(session, "ada"), checked_in=False, title="Liver lesions",
        real=3, synthetic=3, design=UNAWARE,
    )  # fmt: skip
    [enrolment] = Enrolment.of_study(session, study.id)
    session.commit()
    return signed_in_as("reader", name="ada"), f"/readings/{enrolment.token}", study, enrolment


CHECK_IN = {
    "consent": "yes", "consent_version": "1", "years": "12", "subspecialty": "abdominal",
    "room": "dimmed", "ramp_dark": "yes", "ramp_bright": "yes",
}  # fmt: skip


def test_no_byte_of_the_first_part_tells_and_the_second_begins_after_the_debriefing(
    reading, client, session
):
    ada, address, study, enrolment = reading
    got = []

    asked = set()

    def take(reply):
        """Keep a reply, and whatever a browser would fetch for it, imports too."""
        got.append(reply)
        links = re.findall(r'(?:href|src)="(/static/[^"]+)"', reply.text)
        links += [urljoin(reply.request.url.path, one)
                  for one in re.findall(r'from "(\.[^"]+)"', reply.text)]  # fmt: skip
        for link in links:
            if link not in asked:
                asked.add(link)
                take(ada.get(link))
        return reply

    home = ada.get("/", follow_redirects=False)
    assert home.headers["location"] == "/readings"
    for closed in (
        "/cases", "/synthetics", "/checkpoints", "/docs", "/openapi.json", "/reader-studies",
        "/api/v1/openapi.json", "/nowhere", "/runs", "/datasets", "/patterns", "/users",
        f"{address}/debriefing",
    ):  # fmt: skip
        unknown = "debriefing" in closed or closed.startswith("/api/")
        assert take(ada.get(closed)).status_code == (404 if unknown else 403)
    for page in ("/docs", "/openapi.json"):  # nor may strangers look them up
        assert client.get(page, follow_redirects=False).status_code in (303, 401)
    for page in ("/readings", "/account", f"{address}/conduct"):
        assert take(ada.get(page)).status_code == 200
    take(ada.get(address, headers=JSON))
    take(ada.post(f"{address}/conduct", data=CHECK_IN | {"years": "many"}))
    assert ada.post(f"{address}/conduct", data=CHECK_IN).status_code < 400
    shown = trials(session, study)
    first = [one for one in shown if one.part is Part.UNAWARE]
    for trial in first:
        page = take(ada.get(address))
        assert 'name="lesion_class"' in page.text
        assert 'name="rating"' not in page.text
        assert f"of <span data-of>{len(first)}</span>" in page.text
        take(ada.get(f"/pixels/{trial.token}"))
        take(ada.get(address, headers=JSON))
        body = {"trial": trial.token, "key": trial.token, "lesion_class": "cyst",
                "class_confidence": "3"}  # fmt: skip
        take(ada.post(address, data=body | {"rating": "3"}, headers=JSON))
        told = take(ada.post(address, data=body, headers=JSON)).json()
        assert told["total"] == len(first)
        assert all(one["position"] <= len(first) for one in told["upcoming"])
    assert told["state"] == "debriefing"
    assert any(one.endswith("/desk/queue.js") for one in asked)  # imports are followed
    question = take(ada.get(address, follow_redirects=True))
    assert question.url.path.endswith("/debriefing")
    for reply in got:
        text = f"{reply.request.url} {reply.headers} {reply.content[:200000]!r}"
        text = text.replace("/synthetics", "").replace("/checkpoints", "")  # asked for above
        found = TELLS.search(text)
        assert not found, f"{reply.request.url} tells {text[found.start() - 60 : found.end() + 60]}"

    # the second part is closed until the debriefing was read
    next_trial = shown[len(first)]
    assert ada.get(f"/pixels/{next_trial.token}").status_code == 404
    body = {"trial": next_trial.token, "key": "k", "rating": "3"}
    assert ada.post(address, data=body, headers=JSON).status_code == 409
    assert ada.post(f"{address}/debriefing", data={"read": "yes"}).status_code == 409
    ada.post(f"{address}/remark", data={"text": "Some looked too smooth."})
    assert "drawn by a program" in ada.get(f"{address}/debriefing").text
    ada.post(f"{address}/debriefing", data={"read": "yes"})
    page = ada.get(address)
    assert 'name="rating"' in page.text
    assert 'name="lesion_class"' not in page.text
    assert "<span data-position>1</span>" in page.text
    session.expire_all()
    assert Remark.of(session, enrolment.id).text == "Some looked too smooth."
    assert Debriefing.of(session, enrolment.id) is not None
    for trial in shown[len(first) :]:
        body = {"trial": trial.token, "key": trial.token, "rating": "3"}
        assert ada.post(address, data=body, headers=JSON).status_code == 201
    assert "are read" in ada.get(address).text
    assert ada.get("/cases").status_code == 200


def test_a_token_of_an_unaware_reader_is_of_no_use(reading, client, session):
    ada = studies.make_user(session, "ada")
    secret = ApiToken.add(session, "ada-laptop", "reader", owner=ada)
    session.commit()
    reply = client.get("/api/v1/info", headers={"authorization": f"Bearer {secret}"})
    assert reply.status_code == 403
    assert not TELLS.search(reply.text)


def test_whoever_leaves_in_the_first_part_is_told_and_who_never_began_is_free(reading, session):
    ada, address, study, enrolment = reading
    studies.check_in(session, enrolment, study)
    session.commit()
    reply = ada.post(f"{address}/withdrawal", data={"reason": "no reason given"})
    assert reply.headers["location"].endswith("/debriefing")
    assert f"{address}/debriefing" in ada.get("/readings").text  # also where they come later
    assert ada.get("/cases").status_code == 403
    ada.post(f"{address}/remark", data={"text": ""})
    ada.post(f"{address}/debriefing", data={"read": "yes"})
    assert ada.get("/cases").status_code == 200


@pytest.mark.parametrize("began", [True, False])
def test_a_closed_study_tells_who_began_and_lets_go_of_who_did_not(reading, session, began):
    ada, address, study, enrolment = reading
    if began:
        studies.check_in(session, enrolment, study)
    answered.unblind(session, study, studies.make_user(session, "maker", "researcher"))
    session.commit()
    assert ada.get("/cases").status_code == (403 if began else 200)
    assert ada.get(f"{address}/debriefing").status_code == (200 if began else 404)


def test_a_reader_of_an_unaware_study_gets_no_role_that_knows_more(reading, signed_in_as, session):
    reader_id = studies.make_user(session, "ada").id
    admin = signed_in_as("admin")
    reply = admin.post(f"/users/{reader_id}/role", data={"role": "researcher"})
    assert reply.status_code == 409
    assert "another role would tell them" in reply.text


def test_a_part_without_two_images_of_a_source_is_refused(session):
    other = replace(UNAWARE, second_images=SecondImages.OTHER)
    with pytest.raises(Unreadable, match="Part 2 would show 0 real"):
        studies.make_study(session, real=3, synthetic=6, design=other, opened=False)


def test_both_parts_are_rehearsed_and_the_first_is_planned(session, signed_in_as):
    other = replace(UNAWARE, second_images=SecondImages.OTHER)
    study = studies.make_study(session, design=other, opened=False)
    ready = Asked(studies=2, synthetic_right=0.4).rehearsal(study)
    assert (ready.first.real, ready.first.synthetic, ready.second.images) == (3, 3, 6)
    session.commit()
    rhea = signed_in_as("researcher", name="rhea")
    page = rhea.get(f"/reader-studies/{study.id}/rehearsal?run=1&studies=2&synthetic_right=0.4")
    assert "First part: lesion class, unaware" in page.text
    assert "true AUC of the six ratings" in page.text
    planner = "/reader-studies/planner/unaware"
    page = rhea.get(f"{planner}?readers=4&real=20&synthetic=20&real_right=0.9&synthetic_right=0.5")
    assert "leaves out 0" in page.text
    assert rhea.get(f"{planner}?readers=4&real_right=1.5").status_code == 422


# -- results --------------------------------------------------------------------------------------


def test_the_parts_are_analysed_apart_and_exported_together(app, session, signed_in_as):
    people = [studies.make_user(session, f"reader{n}") for n in range(3)]
    study = studies.make_study(session, *people, per_class=4, real=12, synthetic=12, design=UNAWARE)
    for number, enrolment in enumerate(Enrolment.of_study(session, study.id), 1):
        rate = answered.guessing(number, 1.0)
        for trial in trials(session, study, number):
            if trial.part is Part.UNAWARE:
                wrong = trial.stimulus.truth == "synthetic" and trial.position % 3 == 0
                named = "cyst" if wrong else trial.stimulus.lesion_class
                answered.add(session, trial, rating=None, lesion_class=named)
            else:
                rating = rate(trial.stimulus, trial.position)["rating"]
                answered.add(session, trial, rating=rating, lesion_class=None)
        Remark.give(session, enrolment, "odd texture" if number == 1 else "")
    answered.unblind(session, study, studies.make_user(session, "maker", "researcher"))
    answers = Answers.of(session, Unblinded(study))
    data = compute(session, answers, no_network).data
    schema = json.loads(exports.require("results.schema.json").make(session, answers))
    jsonschema.validate(json.loads(data), schema)
    content = Content.read(data)
    result = content.result
    assert isinstance(result, UnawareResult)
    assert [one.n for one in result.diagnosis.readers] == [24] * 3
    assert result.diagnosis.readers[0].lesion_class.real.value == 1.0
    assert result.detection.counts.readings == 72
    assert result.noticed.asked == 3
    assert result.noticed.remarks == {"R1": "odd texture"}
    assert "nothing that the software showed them said" in result.methods
    assert (
        "In the first part 3 readers were to read 24 images each, and read: R1 24 (12"
        in result.methods
    )
    assert "3 readers were asked in free text" in result.methods
    table = exports.require("analysis.csv").make(session, answers).decode()
    assert len(tidy.readings(table)) == len(tidy.diagnoses(table)) == 72
    again = analyse_unaware(tidy.diagnoses(table), tidy.readings(table), result.noticed)
    assert again.diagnosis.across == result.diagnosis.across
    assert again.detection.readers[0].auc == result.detection.readers[0].auc
    named = [row for row in csv.DictReader(table.splitlines()) if row["part"] == "unaware"]
    assert {row["correct"] for row in named} == {""}  # only the class can be right there
    assert {row["class_correct"] for row in named} == {"0", "1"}
    told = exports.require("debriefings.csv").make(session, answers).decode()
    rows = list(csv.DictReader(told.splitlines()))
    assert [row["remark"] for row in rows] == ["odd texture", "", ""]
    assert {row["answers_before"] for row in rows} == {"24"}
    assert exports.require("readings.imrmc").make(session, answers).count(b"\n") > 72
    session.commit()
    rhea = signed_in_as("researcher", name="rhea")
    page = rhea.get(f"/reader-studies/{study.id}/results")
    assert "First part, unaware: lesion class" in page.text
    assert "odd texture" in page.text
    assert "The mean second-part AUC of readers like these" in page.text
    images = rhea.get(f"/reader-studies/{study.id}/results/images").text
    assert images.count("not answered") == 0
    assert "the class in the first part, the rating in the second" in images
    assert rhea.get(f"/reader-studies/{study.id}/exports/verdicts.csv").status_code == 200


def test_a_part_takes_its_own_answers_only(session):
    study = studies.make_study(session, studies.make_user(session, "ada"), design=UNAWARE)
    [enrolment] = Enrolment.of_study(session, study.id)
    first = trials(session, study)[0]
    with pytest.raises(Unreadable, match="does not ask for a rating"):
        Reading.give(session, enrolment, Answer(first.token, "k", "cyst", 3, class_confidence=3))
    with pytest.raises(Unreadable, match="Choose a class"):
        Reading.give(session, enrolment, Answer(first.token, "k", class_confidence=3))
