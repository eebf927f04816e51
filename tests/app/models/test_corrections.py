"""Putting the contrast phase and the pseudonym of a case right."""

from __future__ import annotations

import json
import uuid

import pytest
import sqlalchemy as sa

import studies
from app.models import Case, Event, Image, Lesion, Prediction
from factories import hidden_fields, make_dicom, make_png

FRAGMENT = {"x-fragment": "1"}
NOT_PORTAL = "The networks were trained on portal-phase images"


def upload(browser, session, file, **data) -> Case:
    known = set(session.scalars(sa.select(Case.id)))
    reply = browser.post("/cases", files={"files": file}, data=data)
    assert reply.status_code == 200
    session.expire_all()
    [made] = set(session.scalars(sa.select(Case.id))) - known
    return session.get(Case, made)


@pytest.fixture
def ada(signed_in_as):
    return signed_in_as("reader", name="ada")


@pytest.fixture
def case(ada, session):
    return upload(ada, session, ("a.dcm", make_dicom()), contrast_phase="unknown")


@pytest.fixture
def picture(ada, session):
    file = ("a.png", make_png(128))
    return upload(ada, session, file, contrast_phase="portal", pseudonym="Anna M")


def correct(browser, case, after, before="unknown"):
    data = {"contrast_phase": after, "before": before}
    return browser.post(f"/cases/{case.id}/phase", data=data)


def rename(browser, case, pseudonym):
    return browser.post(f"/cases/{case.id}/pseudonym", data={"pseudonym": pseudonym})


def phase_of(session, case) -> str:
    session.expire_all()
    return session.get(Case, case.id).contrast_phase


def name_of(session, case) -> str:
    session.expire_all()
    return session.get(Case, case.id).pseudonym


@pytest.mark.parametrize("after", ["", "arterial", "unknown"])
def test_a_phase_that_there_is_not_or_is_already_is_refused(after, ada, case, session):
    assert correct(ada, case, after).status_code in (409, 422)
    assert phase_of(session, case) == "unknown"


def test_a_correction_of_a_page_that_lags_behind_is_refused(ada, case, session):
    assert correct(ada, case, "portal").status_code == 303
    late = correct(ada, case, "other")
    assert late.status_code == 409
    assert "changed to portal meanwhile" in late.text
    assert phase_of(session, case) == "portal"


def test_nobody_but_the_uploader_and_an_administrator_corrects_a_case(
    ada, case, signed_in_as, session
):
    ben = signed_in_as("researcher", name="ben")
    assert correct(ben, case, "portal").status_code == 403
    assert rename(ben, case, "mine").status_code == 403
    assert "Correct the phase" not in ben.get(f"/cases/{case.id}").text
    assert phase_of(session, case) == "unknown"
    kinds = set(session.scalars(sa.select(Event.kind).where(Event.actor == "ben")))
    assert {"contrast phase correction refused", "pseudonym correction refused"} <= kinds
    assert correct(signed_in_as("admin"), case, "portal").status_code == 303


def test_the_warning_follows_a_corrected_phase_and_the_event_tells_before_and_after(
    ada, case, session
):
    assert NOT_PORTAL in ada.get(f"/cases/{case.id}").text
    assert correct(ada, case, "portal").status_code == 303
    page = ada.get(f"/cases/{case.id}").text
    assert NOT_PORTAL not in page
    assert "corrected from unknown to portal by ada" in page
    told = session.scalars(sa.select(Event).where(Event.kind == "contrast phase corrected")).one()
    assert (told.actor, told.subject) == ("ada", str(case.id))
    assert told.detail == {"before": "unknown", "after": "portal"}


def test_a_score_from_before_keeps_its_warning_and_the_panel_says_that_the_phase_was_corrected(
    ada, case, session
):
    image = session.scalars(sa.select(Image)).one()
    box = {"x": 44, "y": 44, "width": 40, "height": 40}
    marked = ada.post(f"/images/{image.id}/lesions", data=box, headers=FRAGMENT)
    lesion = json.loads(marked.headers["x-lesion"])["id"]
    answer = {"lesion_class": "cyst", "confidence": 3, "basis": "imaging"}
    data = {**hidden_fields(marked.text), **answer}
    ada.post(f"/lesions/{lesion}/reviews", data=data, headers=FRAGMENT)
    warned = session.scalars(sa.select(Prediction)).one().warnings
    assert any("contrast phase is not known" in text for text in warned)
    correct(ada, case, "portal")
    panel = ada.get(f"/lesions/{lesion}", headers=FRAGMENT).text
    assert "The contrast phase is not known" in panel
    assert "The contrast phase was corrected to portal by ada" in panel
    session.expire_all()
    assert session.scalars(sa.select(Prediction)).one().warnings == warned


def test_a_blinded_reader_corrects_no_case_of_their_study(app, session, signed_in_as, database):
    app.state.inference = studies.NoNetworks()
    with database.transaction() as writing:
        reading = studies.make_user(writing, "reading")
        study = studies.make_study(writing, reading)
        lesion = writing.get(Lesion, study.plan.images.real[0].lesion)
        case = writing.get(Case, lesion.case_id)
        case.uploaded_by_id = reading.id
    browser = signed_in_as("reader", name="reading")
    before = (phase_of(session, case), name_of(session, case))
    assert correct(browser, case, "other", before[0]).status_code == 403
    assert rename(browser, case, "another").status_code == 403
    assert (phase_of(session, case), name_of(session, case)) == before


@pytest.mark.parametrize("name", ["", "   ", "x" * 41, "<b>", "a/b", "a\nb"])
def test_a_pseudonym_that_cannot_be_one_is_refused(name, ada, case, session):
    before = name_of(session, case)
    assert rename(ada, case, name).status_code == 422
    assert name_of(session, case) == before


def test_a_renamed_case_is_still_of_the_same_patient_and_the_event_holds_no_name(
    ada, case, session
):
    patient = case.patient
    old = name_of(session, case)
    assert rename(ada, case, "Liver 7").status_code == 303
    assert name_of(session, case) == "Liver 7"
    assert session.get(Case, case.id).patient == patient
    told = session.scalars(sa.select(Event).where(Event.kind == "pseudonym corrected")).one()
    assert told.subject == str(case.id)
    assert not told.detail
    events = " ".join(
        f"{row.subject} {row.detail}" for row in session.scalars(sa.select(Event)).all()
    )
    assert "Liver 7" not in events
    assert old not in events
    again = upload(ada, session, ("b.dcm", make_dicom(study="2")), contrast_phase="portal")
    assert again.patient == patient


def test_the_pseudonym_of_another_patient_is_refused(ada, case, picture, session):
    other = upload(
        ada, session, ("b.dcm", make_dicom(study="2", patient_id="99")), contrast_phase="portal"
    )
    for taken in (name_of(session, other), "Anna M"):
        reply = rename(ada, case, taken)
        assert reply.status_code == 409
        assert "Another patient is called" in reply.text
    assert rename(ada, picture, name_of(session, other)).status_code == 409


def test_a_picture_goes_over_to_the_patient_of_its_new_pseudonym(ada, picture, session):
    assert "count as one patient" in ada.get(f"/cases/{picture.id}").text
    assert rename(ada, picture, "A 12").status_code == 303
    assert name_of(session, picture) == "A 12"
    assert session.get(Case, picture.id).patient == "pseudonym:A 12"


def test_a_pseudonym_that_a_reader_study_knows_its_patient_by_stays(
    app, session, signed_in_as, database
):
    app.state.inference = studies.NoNetworks()
    with database.transaction() as writing:
        study = studies.make_study(writing, studies.make_user(writing, "reading"))
        lesion_id = str(study.plan.images.real[0].lesion)
    lesion = session.get(Lesion, uuid.UUID(lesion_id))
    with database.transaction() as writing:
        writing.get(Case, lesion.case_id).patient_hmac = None
    case = session.get(Case, lesion.case_id)
    before = name_of(session, case)
    reply = rename(signed_in_as("admin"), case, "another")
    assert reply.status_code == 409
    assert "reader study" in reply.text
    assert name_of(session, case) == before


def test_a_pseudonym_that_a_dataset_version_knows_its_patient_by_stays(
    ada, picture, signed_in_as, session
):
    image = session.scalars(sa.select(Image)).one()
    for x, lesion_class in ((20, "cyst"), (44, "metastasis"), (60, "hemangioma")):
        box = {"x": x, "y": 44, "width": 40, "height": 40}
        marked = ada.post(f"/images/{image.id}/lesions", data=box, headers=FRAGMENT)
        lesion = json.loads(marked.headers["x-lesion"])["id"]
        answer = {"lesion_class": lesion_class, "confidence": 3, "basis": "pathology"}
        data = {**hidden_fields(marked.text), **answer}
        ada.post(f"/lesions/{lesion}/reviews", data=data, headers=FRAGMENT)
    researcher = signed_in_as("researcher")
    asked = {"name": "first", "kind": "uncalibrated", "mixed_patients": "true"}
    frozen = researcher.post("/datasets", data=asked)
    assert frozen.status_code == 303, frozen.text
    reply = rename(ada, picture, "A 12")
    assert reply.status_code == 409
    assert "dataset version first" in reply.text
    assert name_of(session, picture) == "Anna M"
