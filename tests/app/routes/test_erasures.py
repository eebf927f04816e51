"""The pages on which a patient's data are deleted."""

from __future__ import annotations

import html

import deletions
import pytest
import sqlalchemy as sa

import studies
from app.models import Case, Event, Lesion, User


@pytest.fixture
def case(session):
    [lesion] = studies.make_lesion(session, 1)
    studies.make_lesion(session, 1, study="later")
    studies.make_lesion(session, 2)
    session.commit()
    return session.get(Case, lesion.case_id)


def text(reply) -> str:
    return html.unescape(reply.text)


def test_an_administrator_sees_what_would_go_types_the_name_and_gets_a_certificate(
    session, app, database, signed_in_as, case
):
    admin = signed_in_as("admin", name="boss")
    assert "None yet" in admin.get("/erasures").text
    nobody = admin.post("/erasures/patient", data={"pseudonym": "nobody"})
    assert nobody.status_code == 404 and "No case has this pseudonym" in nobody.text
    found = admin.post("/erasures/patient", data={"pseudonym": case.pseudonym})
    where = found.headers["location"]
    assert found.status_code == 303 and case.pseudonym not in where
    page = text(admin.get(where))
    assert page.count("/thumbnail.png") == 2 and "Nothing is deleted yet" in page
    asked = {"case": str(case.id), "typed": "something", "reference": "A 12"}
    refused = admin.post("/erasures", data=asked)
    assert refused.status_code == 422 and "Nothing was deleted" in text(refused)
    begun = admin.post("/erasures", data=asked | {"typed": case.pseudonym})
    assert begun.status_code == 303 and begun.headers["clear-site-data"] == '"cache"'
    session.expire_all()
    place = begun.headers["location"]
    assert "Deletion under way" in text(admin.get(place))
    assert "This case is being deleted for good" in text(admin.get(f"/cases/{case.id}"))
    lesions = session.scalars(sa.select(Lesion).where(Lesion.case_id == case.id)).all()
    assert all(one.withdrawn_at for one in lesions)
    deletions.finish(database, app)
    told = text(admin.get(place))
    assert "Certificate of deletion" in told and "A 12" in told and "boss" in told
    assert studies.PATIENT_WORD not in told and "What stays, and why" in told
    session.expire_all()
    assert session.scalar(sa.select(sa.func.count(Case.id))) == 1
    assert "2" in text(admin.get("/erasures"))
    kinds = session.scalars(sa.select(Event.kind)).all()
    assert kinds.count("deletion begun") == kinds.count("deletion ended") == 1


def test_a_register_that_cannot_be_read_is_told_and_nothing_is_deleted(
    session, app, database, signed_in_as, case
):
    register = app.state.settings.deletions_file
    admin = signed_in_as("admin", name="boss")
    asked = {"case": str(case.id), "typed": case.pseudonym}
    register.write_text('{"erasure": "nonsense"}\n')
    assert "Line 1 of the register" in text(admin.post("/erasures", data=asked))
    assert "Line 1 of the register" in text(admin.get("/status"))
    register.write_text("")
    place = admin.post("/erasures", data=asked).headers["location"]
    register.write_text('{"erasure": "nonsense"}\n')
    deletions.finish(database, app)
    assert "It waits: Line 1 of the register" in text(admin.get(place))
    assert "A deletion waits. Line 1" in text(admin.get("/status"))
    session.expire_all()
    assert session.get(Case, case.id) is not None
    register.write_text("")
    deletions.finish(database, app)
    assert "Certificate of deletion" in text(admin.get(place))


def test_who_uploaded_all_may_and_nobody_else(session, signed_in_as, case):
    reader = signed_in_as("reader", name="ada")
    where = f"/erasures/new?case={case.id}"
    assert "uploaded all of the cases" in text(reader.get(where))
    for one in session.scalars(sa.select(Case)):
        one.uploaded_by_id = User.named(session, "ada").id
    session.commit()
    assert "What would go" in text(reader.get(where))
    begun = reader.post("/erasures", data={"case": str(case.id), "typed": case.pseudonym})
    place = begun.headers["location"]
    assert "Deletion under way" in text(reader.get(place))
    assert signed_in_as("reader", name="bob").get(place).status_code == 403
    again = reader.post("/erasures", data={"case": str(case.id), "typed": case.pseudonym})
    assert again.status_code == 409 and "being deleted already" in again.text
