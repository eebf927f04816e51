"""UIDs under which things leave: the same ones always, and nobody learns the originals by them."""

from __future__ import annotations

import io
import re
import uuid

import pydicom
import sqlalchemy as sa

import studies
from app.models import Case, Image
from app.models.cases.case import Series
from app.models.cases.naming import name_older, veil_older
from app.models.cases.uids import kept, mapped
from factories import make_dicom, make_png
from tests.ml.dicom_files import enhanced_file, stored_values

KEY = b"a key for tests, thirty-two characters or more"


def upload(browser, *files: bytes) -> None:
    reply = browser.post(
        "/cases",
        files=[("files", (f"{n}", file)) for n, file in enumerate(files)],
        data={"contrast_phase": "portal", "pseudonym": "P"},
        headers={"accept": "application/json"},
    )
    assert reply.status_code == 200 and not reply.json()["refused"], reply.text


def uids(session) -> dict[str, list[str]]:
    session.expire_all()
    return {
        table.__name__: list(session.scalars(sa.select(table.uid).order_by(table.id)))
        for table in (Case, Series, Image)
    }


SENDERS = {
    Case.study_uid: "StudyInstanceUID",
    Series.series_uid: "SeriesInstanceUID",
    Image.sop_uid: "SOPInstanceUID",
}


def senders(session) -> list[list[str | None]]:
    session.expire_all()
    return [
        list(session.scalars(sa.select(column).order_by(column.class_.id))) for column in SENDERS
    ]


def test_a_mapped_uid_is_one_of_a_uuid_and_depends_on_the_key():
    one = mapped("1.2.3", b"k" * 32)
    assert one == mapped("1.2.3", b"k" * 32)
    assert len({one, mapped("1.2.3", b"l" * 32), mapped("1.2.4", b"k" * 32)}) == 3
    assert re.fullmatch(r"2\.25\.[1-9][0-9]{0,38}", one)
    number = uuid.UUID(int=int(one.removeprefix("2.25.")))
    assert (number.version, number.variant) == (8, uuid.RFC_4122)


def test_uids_survive_a_deletion_and_parts_of_a_study_meet(signed_in_as, session, database):
    browser = signed_in_as("reader")
    upload(browser, make_dicom(number=1))
    upload(browser, make_dicom(number=2))
    before = uids(session)
    assert [len(found) for found in before.values()] == [1, 1, 2]
    with database.transaction() as opened:
        studies.remove(opened, opened.scalars(sa.select(Case)).one())
    upload(browser, make_dicom(number=1), make_dicom(number=2))
    assert {table: set(found) for table, found in before.items()} == {
        table: set(found) for table, found in uids(session).items()
    }


def test_frames_and_pictures_have_uids_of_their_own(signed_in_as, session):
    browser = signed_in_as("reader")
    frames = enhanced_file(
        stored_values()[None].repeat(2, 0), [{"intercept": 0, "z": z} for z in (0, 5)]
    )
    upload(browser, frames, make_png(seed=1), make_png(seed=2), make_dicom(SeriesInstanceUID=""))
    found = uids(session)
    assert [len(set(one)) for one in found.values()] == [3, 3, 5]
    assert not any("SECRET" in uid or uid is None for one in found.values() for uid in one)


def test_what_was_stored_before_gets_the_very_uids_it_would_get_now(
    signed_in_as, database, session
):
    browser = signed_in_as("reader")
    files = [make_dicom(number=1), make_dicom(number=2)]
    upload(browser, *files, make_png())
    now, digests = uids(session), senders(session)
    headers = [pydicom.dcmread(io.BytesIO(file), stop_before_pixels=True) for file in files]
    with database.transaction() as opened:
        for table in (Case, Series, Image):
            opened.execute(sa.update(table).values(uid=None))
        for column, keyword in SENDERS.items():
            for header in headers:
                told = str(getattr(header, keyword))
                opened.execute(
                    sa.update(column.class_)
                    .where(column == kept(told, KEY))
                    .values({column.key: told})
                )
    assert senders(session) != digests
    with database.transaction() as opened:
        assert name_older(opened, KEY) == 3
        assert name_older(opened, KEY) == 0
        assert veil_older(opened, KEY) == 2
    assert (uids(session), senders(session)) == (now, digests)
