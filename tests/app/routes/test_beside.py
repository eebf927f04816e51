"""Other cases of the patient, to be seen beside one."""

from __future__ import annotations

import sqlalchemy as sa

import studies
from app.models import Case, Event, Lesion, User
from app.models.reader_studies.design import Design
from factories import make_dicom, make_hu, make_png


def _case(browser, session, study: str, *, patient: str = "12345678", slices: int = 1) -> Case:
    known = set(session.scalars(sa.select(Case.id)))
    names = {"study": study, "patient_id": patient}
    files = [
        ("files", (f"{n}.dcm", make_dicom(make_hu(n), number=n, z=5.0 * n, **names)))
        for n in range(1, slices + 1)
    ]
    browser.post("/cases", files=files, data={"contrast_phase": "portal"})
    session.expire_all()
    return next(case for case in session.scalars(sa.select(Case)) if case.id not in known)


def test_the_other_cases_of_the_patient_with_their_stacks_and_marks(signed_in_as, session):
    browser = signed_in_as("reader")
    first, second = (_case(browser, session, study, slices=2) for study in ("a", "b"))
    _case(browser, session, "c", patient="another")
    image = second.series[0].images[0]
    browser.post(f"/images/{image.id}/lesions", data={"x": 44, "y": 44, "width": 40, "height": 40})
    told = browser.get(f"/cases/{first.id}/beside").json()
    assert told["closed"] == 0
    [other] = told["cases"]
    assert other["id"] == str(second.id)
    assert other["label"].startswith(f"{second.pseudonym}, portal, uploaded ")
    [stack] = other["series"]
    assert [one["place"] for one in stack["images"]] == [["z", 10.0], ["z", 5.0]]
    [lesion] = other["lesions"]
    assert lesion["image_id"] == str(image.id) and lesion["number"] == 1
    # whose data were given is in the trail, of the other case as well
    opened = set(session.scalars(sa.select(Event.subject).where(Event.kind == "case opened")))
    assert str(second.id) in {subject.rpartition(" ")[2] for subject in opened}


def test_pictures_without_a_patient_go_by_their_pseudonym(signed_in_as, session):
    browser = signed_in_as("reader")
    for number in (1, 2, 3):
        browser.post(
            "/cases",
            files={"files": (f"{number}.png", make_png(seed=number))},
            data={"pseudonym": "Anna" if number < 3 else "Berta"},
        )
    cases = {case.pseudonym: case for case in session.scalars(sa.select(Case))}
    assert browser.get(f"/cases/{cases['Berta'].id}/beside").json() == {"cases": [], "closed": 0}


def test_a_case_that_is_closed_is_counted_and_not_told(signed_in_as, database, session):
    browser = signed_in_as("reader", name="ada")
    with database.transaction() as opened:
        ada = opened.scalars(sa.select(User).where(User.name == "ada")).one()
        studies.make_study(opened, ada, design=Design(exclude_seen=False))
    closed = session.get_one(Case, session.scalars(sa.select(Lesion.case_id)).first())
    assert browser.get(f"/cases/{closed.id}/beside").status_code == 403
    with database.transaction() as opened:
        mine = Case(pseudonym="later", patient_hmac=closed.patient_hmac, contrast_phase="portal")
        opened.add(mine)
        opened.flush()
        own = mine.id
    told = browser.get(f"/cases/{own}/beside").json()
    assert told["cases"] == [] and told["closed"] >= 1


def test_no_such_case(signed_in_as):
    browser = signed_in_as("reader")
    absent = browser.get("/cases/00000000-0000-4000-8000-000000000000/beside")
    assert absent.status_code == 404
