"""Pixels stay in the browser and are asked for anew at each view."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa

import studies
from app.models import Blob, Enrolment, Image, Lesion, User
from app.models.reader_studies.design import Design
from factories import make_dicom, make_hu

GENERATOR = "phantom-diffusion-cyst"


@pytest.fixture
def addresses(signed_in_as, session):
    browser = signed_in_as("reader")
    for number in (1, 2):
        dicom = make_dicom(make_hu(number), study=str(number))
        browser.post("/cases", files={"files": ("a.dcm", dicom)}, data={"contrast_phase": "portal"})
    images = session.scalars(sa.select(Image)).all()
    box = {"x": 44, "y": 44, "width": 40, "height": 40}
    browser.post(f"/images/{images[0].id}/lesions", data=box)
    lesion = session.scalars(sa.select(Lesion)).one()
    return [
        *(f"/images/{image.id}/pixels" for image in images),
        f"/images/{images[0].id}/preview.png",
        f"/lesions/{lesion.id}/roi.png",
        f"/synthetics/{GENERATOR}/3.png",
        f"/synthetics/{GENERATOR}/sheet?seed=3&count=2",
    ]


def test_every_view_asks_again_and_the_same_bytes_are_not_sent_twice(
    addresses, signed_in_as, monkeypatch
):
    browser = signed_in_as("reader")
    tags = {}
    for address in addresses:
        reply = browser.get(address)
        assert reply.status_code == 200
        assert reply.headers["cache-control"] == "private, no-cache"
        assert reply.headers["vary"] == "cookie"
        tags[address] = reply.headers["etag"]

    def read(*_arguments):
        raise AssertionError("bytes were read for an answer without any")

    monkeypatch.setattr(Blob, "read", read)
    for address, etag in tags.items():
        for held in (etag, f"W/{etag}", f'"other", {etag}', "*"):
            again = browser.get(address, headers={"if-none-match": held})
            assert again.status_code == 304
            assert again.content == b""
            assert again.headers["etag"] == etag
            assert again.headers["cache-control"] == "private, no-cache"
    monkeypatch.undo()
    first = addresses[0]
    for other in (tags[addresses[1]], '"', "", '"a"' * 500, "\xff".encode("latin-1")):
        assert browser.get(first, headers={"if-none-match": other}).status_code == 200


def test_a_tag_has_one_form_and_is_no_other_images(addresses, signed_in_as):
    browser = signed_in_as("reader")
    tags = [browser.get(address).headers["etag"] for address in addresses]
    assert len(set(tags)) == len(tags)
    assert all(re.fullmatch(r'"[0-9a-f]{32}"', tag) for tag in tags)


def test_what_a_browser_holds_is_refused_from_the_moment_that_it_may_not_be_seen(
    signed_in_as, database, session
):
    with database.transaction() as opened:
        studies.make_study(opened, design=Design(exclude_seen=False))
    study = session.scalars(sa.select(studies.ReaderStudy)).one()
    browser = signed_in_as("reader", name="ada")
    held = {}
    for lesion in session.scalars(sa.select(Lesion)):
        for address in (f"/lesions/{lesion.id}/roi.png", f"/images/{lesion.image_id}/pixels"):
            held[address] = browser.get(address).headers["etag"]
    with database.transaction() as opened:
        ada, maker = User.require(opened, "ada"), User.require(opened, "maker")
        opened.get(studies.ReaderStudy, study.id).enrol(opened, ada, maker)
        assert Enrolment.of_study(opened, study.id)
    codes = {
        browser.get(address, headers={"if-none-match": etag}).status_code
        for address, etag in held.items()
    }
    assert codes == {403}


def test_a_picture_of_a_trial_is_kept_by_nobody(signed_in_as, database):
    with database.transaction() as opened:
        study = studies.make_study(opened, studies.make_user(opened, "ada"))
        token = Enrolment.of_study(opened, study.id)[0].token
    browser = signed_in_as("reader", name="ada")
    desk = browser.get(f"/readings/{token}", headers={"accept": "application/json"}).json()
    reply = browser.get(f"/pixels/{desk['upcoming'][0]['token']}")
    assert reply.headers["cache-control"] == "no-store"
    assert "etag" not in reply.headers
