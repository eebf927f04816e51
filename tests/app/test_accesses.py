"""Whose data somebody was given is in the audit trail, before the data leave, once an hour."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

import studies
from app.models import Event, TrailEntry
from app.witness import OPENED, SEARCHED


def accesses(session) -> list[tuple[str, str, str]]:
    session.expire_all()
    chosen = (Event.actor, Event.kind, Event.subject)
    rows = sa.select(*chosen).join(TrailEntry).where(Event.kind.in_((OPENED, SEARCHED)))
    return [tuple(row) for row in session.execute(rows.order_by(TrailEntry.number))]


@pytest.fixture
def lesion(session):
    found = studies.make_known_lesions(session, 1)[0]
    session.commit()
    return found


@pytest.mark.parametrize(
    "address",
    [
        "/cases/{case}",
        "/images/{image}/pixels",
        "/images/{image}/preview.png",
        "/lesions/{lesion}/roi.png",
    ],
)
def test_whoever_opens_a_case_by_whatever_address_is_in_the_trail_once(
    session, signed_in_as, lesion, address
):
    ada = signed_in_as("reader", name="ada")
    ids = {"case": lesion.case_id, "image": lesion.image_id, "lesion": lesion.id}
    for _ in range(2):
        assert ada.get(address.format(**ids)).status_code == 200
    assert accesses(session) == [("ada", OPENED, str(lesion.case_id))]


def test_what_is_refused_was_not_opened(session, signed_in_as):
    ada = signed_in_as("reader", name="ada")
    assert ada.get("/cases/00000000-0000-0000-0000-000000000001").status_code == 404
    assert accesses(session) == []


def test_searching_and_reading_by_dicomweb_are_in_the_trail(session, signed_in_as, lesion):
    ada = signed_in_as("reader", name="ada")
    [study] = ada.get("/dicomweb/studies", headers={"accept": "application/dicom+json"}).json()[:1]
    uid = study["0020000D"]["Value"][0]
    assert accesses(session) == [("ada", SEARCHED, "")]
    metadata = ada.get(
        f"/dicomweb/studies/{uid}/metadata", headers={"accept": "application/dicom+json"}
    )
    assert metadata.status_code == 200
    [_, opened] = accesses(session)
    assert opened[:2] == ("ada", OPENED)
