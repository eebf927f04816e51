"""The way back to the PACS: sealed, only where it was allowed, and gone with the case."""

from __future__ import annotations

import uuid

import numpy as np
import pytest
import sqlalchemy as sa

import studies
from app.db import Base, Database
from app.errors import Damaged
from app.models import Case, Image
from app.models.cases import uids
from app.models.cases.case import PHANTOM_UID, PICTURE, Series
from app.models.cases.entry import Door, Entry, Term
from app.models.cases.link import Link
from app.models.cases.naming import veil_older
from app.settings import Settings
from app.uploads import opening
from app.uploads.parcel import Limits
from factories import make_dicom, make_hu
from stow import parsed
from tests.ml.dicom_files import enhanced_file, stored_values

KEY = b"a key for tests, thirty-two characters or more"
ENTRY = Entry(Door.STOW, frozenset({Term.RETURN_RESULTS}), "main archive")
LIMITS = Limits(files=100, unpacked_bytes=10**9, pixels=10**9)
TOLD = {
    "PatientID": "HEP-SECRET-77",
    "IssuerOfPatientID": "Issuing Office",
    "PatientName": "Größe^Secret",
    "PatientBirthDate": "19520713",
    "PatientSex": "F",
    "StudyDate": "20191105",
    "StudyTime": "093711",
    "StudyID": "ST-4711",
    "AccessionNumber": "ACC-0815",
    "FrameOfReferenceUID": "1.2.3.777",
    "SpecificCharacterSet": "ISO_IR 192",
}


def slice_of(number: int = 1, **more) -> bytes:
    return make_dicom(make_hu(number), number=number, z=5.0 * number, **{**TOLD, **more})


def receive(session, *files: bytes, entry: Entry | None = ENTRY, key: bytes = KEY):
    parcel = opening.opened([(f"{n}.dcm", data) for n, data in enumerate(files)], LIMITS)
    maker = studies.make_user(session, "maker", "researcher")
    terms = {} if entry is None else {"entry": entry}
    told = {"contrast_phase": "portal", "pseudonym": "", "key": key, **terms}
    receipt = Case.receive(session, parcel, maker, **told)
    assert not receipt.refused, receipt.refused
    return Case.require(session, receipt.accepted[0].case_id), receipt


def everything(session) -> str:
    """All that all rows hold, as text, but for the chain of events, which a commit adds to."""
    session.flush()
    tables = [one for name, one in Base.metadata.tables.items() if name != "trail_entry"]
    return str([sorted(map(str, session.execute(sa.select(table)))) for table in tables])


def secrets_in(text: str, *files: bytes) -> list[str]:
    """What of the sender's stands in a text."""
    names = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", *TOLD)
    values = {str(parsed(data).get(word, "")) for data in files for word in names}
    return sorted(value for value in values if len(value) > 2 and value in text)


@pytest.fixture(params=["sqlite", "postgresql"])
def both(request, tmp_path):
    kind = request.param == "sqlite"
    url = f"sqlite:///{tmp_path}/a.sqlite3" if kind else request.getfixturevalue("postgres")
    database = Database(url)
    database.migrate()
    yield database
    database.engine.dispose()


def test_nothing_of_the_sender_is_kept_where_nobody_allowed_it(session):
    for entry in (None, Entry(Door.STOW), Entry.at(Settings(installation_key="k" * 32), Door.PULL)):
        case, _ = receive(session, slice_of(1), slice_of(2), entry=entry)
        assert not Link.is_kept(session, case.id)
        assert Link.of(session, case, KEY) is None
    assert secrets_in(everything(session), slice_of(1), slice_of(2)) == []


def test_a_door_is_allowed_what_is_known_and_nothing_else():
    given = Settings(installation_key="k" * 32, door_stow=" return-results,return-results ")
    assert Entry.at(given, Door.STOW, "x") == Entry(Door.STOW, ENTRY.terms, "x")
    assert not Entry.at(given, Door.UPLOAD).returns_results
    with pytest.raises(ValueError, match="return-result"):
        Settings(installation_key="k" * 32, door_node="return-result")


def test_a_link_gives_back_what_was_sent_and_stands_sealed(both):
    sent = slice_of(1), slice_of(2)
    with both.transaction() as session:
        case_id = receive(session, *sent)[0].id
    with both.reading() as session:
        case = Case.require(session, case_id)
        link = Link.of(session, case, KEY)
        known = link.examination
        assert (known.door, known.source) == (Door.STOW, "main archive")
        assert [
            known.patient_id, known.issuer_of_patient_id, known.patient_name,
            known.patient_birth_date, known.patient_sex, known.study_date, known.study_time,
            known.study_id, known.accession_number,
        ] == list(TOLD.values())[:9]  # fmt: skip
        assert known.study_uid == parsed(sent[0]).StudyInstanceUID
        images = sorted(case.series[0].images, key=lambda image: image.instance_number)
        for image, data in zip(images, map(parsed, sent), strict=True):
            found = link.objects[image.id]
            assert (found.sop_uid, found.series_uid) == (
                data.SOPInstanceUID,
                data.SeriesInstanceUID,
            )
            assert (found.sop_class_uid, found.frame, found.frames) == (data.SOPClassUID, 1, 1)
            assert found.frame_of_reference_uid == "1.2.3.777"
        assert secrets_in(everything(session) + repr(link) + repr(known), *sent) == []
        assert secrets_in(repr(link.objects[images[0].id]), *sent) == []


def test_a_link_opens_under_no_other_key_and_in_no_other_row(session):
    case, _ = receive(session, slice_of(1), slice_of(2))
    with pytest.raises(Damaged, match="another installation key"):
        Link.of(session, case, b"another key of another installation, long")
    first, second = case.series[0].images
    first_link, second_link = (
        session.scalar(sa.select(Image.link).where(Image.id == one.id)) for one in (first, second)
    )
    for wrong in (second_link, first_link[:-1] + bytes([first_link[-1] ^ 1]), b"", b"\x02abc"):
        first.link = wrong
        session.flush()
        with pytest.raises(Damaged):
            Link.of(session, case, KEY)
    first.link = first_link
    session.flush()
    other, _ = receive(session, slice_of(3, StudyInstanceUID="1.2.9", SeriesInstanceUID="1.2.9.1"))
    other.link = session.scalar(sa.select(Case.link).where(Case.id == case.id))
    session.flush()
    with pytest.raises(Damaged):
        Link.of(session, other, KEY)
    assert len(Link.of(session, case, KEY).objects) == 2


def test_the_same_values_are_never_sealed_alike(session):
    case, _ = receive(session, slice_of(1))
    once = session.scalar(sa.select(Case.link))
    studies.remove(session, case)
    receive(session, slice_of(1))
    assert session.scalar(sa.select(Case.link)) != once


def test_a_link_goes_with_its_case(session):
    case, _ = receive(session, slice_of(1))
    studies.remove(session, case)
    assert session.scalars(sa.select(Case.id)).all() == []
    assert Link.of(session, Case(id=uuid.uuid4()), KEY) is None


def test_what_comes_again_by_a_door_that_may_adds_what_is_missing_and_changes_nothing(session):
    case, _ = receive(session, slice_of(1), entry=None)
    _, receipt = receive(session, slice_of(1))
    assert receipt.accepted[0].known
    before = Link.of(session, case, KEY)
    assert len(before.objects) == 1
    receive(session, slice_of(1), slice_of(2), entry=Entry(Door.PULL, ENTRY.terms, "another"))
    after = Link.of(session, case, KEY)
    assert after.examination == before.examination
    assert len(after.objects) == 2


def test_frames_say_which_they_are_of_how_many(session):
    frames = enhanced_file(
        stored_values()[None].repeat(3, 0), [{"intercept": 0, "z": z} for z in (0, 5, 10)]
    )
    case, _ = receive(session, frames)
    found = Link.of(session, case, KEY).objects
    assert [(found[one.id].frame, found[one.id].frames) for one in case.series[0].images] == [
        (1, 3), (2, 3), (3, 3),
    ]  # fmt: skip
    assert len({one.sop_uid for one in found.values()}) == 1


def test_a_name_that_cannot_be_read_is_said_and_the_image_is_taken(session):
    garbled = slice_of(1, SpecificCharacterSet="ISO_IR 192").replace(
        "Größe^Secret".encode(), b"Gr\xff\xfe\xfde^Secret!"
    )
    case, receipt = receive(session, garbled)
    assert any("PatientName cannot be read" in text for text in receipt.accepted[0].warnings)
    assert "Secret" not in str(receipt)
    assert Link.of(session, case, KEY).examination.patient_name == ""


def test_uids_that_earlier_versions_kept_in_clear_become_digests(both):
    plain, phantom = slice_of(1), make_dicom(np.zeros((64, 64), np.int16), study="p", phantom=True)
    with both.transaction() as session:
        receive(session, plain, phantom, slice_of(2), entry=None)
        # an object without a UID of its own, which tells a frame of reference all the same
        nameless = session.scalars(sa.select(Image).where(Image.instance_number == 2)).one()
        nameless.sop_uid = f"{PICTURE}{'0' * 48}"
        digests = everything(session)
        _as_before(session, plain, phantom)
        nameless.tags = {**nameless.tags, "FrameOfReferenceUID": "1.2.3.777"}
        assert secrets_in(everything(session), plain)
    with both.transaction() as session:
        assert veil_older(session, KEY) == 3
        assert veil_older(session, KEY) == 0
    both.forget()
    with both.transaction() as session:
        assert secrets_in(everything(session), plain) == []
        assert everything(session) == digests
        [of_phantom] = session.scalars(sa.select(Image).where(Image.phantom))
        assert of_phantom.tags[PHANTOM_UID] == parsed(phantom).SOPInstanceUID
        assert of_phantom.slice(session).sop_uid == parsed(phantom).SOPInstanceUID
        _, receipt = receive(session, plain, phantom, entry=None)
        assert [one.known for one in receipt.accepted] == [True, True]


def _as_before(session, *files: bytes) -> None:
    """Rows as an earlier version wrote them, with UIDs in clear."""
    for data in map(parsed, files):
        for column, uid in (
            (Case.study_uid, data.StudyInstanceUID),
            (Series.series_uid, data.SeriesInstanceUID),
            (Image.sop_uid, data.SOPInstanceUID),
        ):
            change = sa.update(column.class_).where(column == uids.kept(uid, KEY))
            session.execute(change.values({column.key: uid}))
        for image in session.scalars(sa.select(Image).where(Image.sop_uid == data.SOPInstanceUID)):
            tags = {key: value for key, value in image.tags.items() if key != PHANTOM_UID}
            if "FrameOfReferenceUID" in tags:
                tags["FrameOfReferenceUID"] = str(data.FrameOfReferenceUID)
            image.tags = tags
    session.flush()
