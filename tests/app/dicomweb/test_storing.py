"""STOW-RS: what comes in is stored once or refused by name, and the answer says which."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from conftest import ORIGIN
from starlette.testclient import TestClient

from app.db import Database
from app.main import create_app
from app.models import ApiToken, Case, Event, Image, User
from app.models.cases.case import pseudonymised
from app.models.cases.uids import kept
from app.settings import Settings
from factories import make_dicom, make_hu, make_png, make_zip
from stow import BOUNDARY, content_type, parsed, parts_of, related, store, told
from tests.ml.dicom_files import ct_file, encoded, stored_values

KEY = "a key for tests, thirty-two characters or more"
CUT_SHORT = make_dicom()[:5000]


def bearer(token: str, kind: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}", "content-type": kind}


def count(session, table) -> int:
    return session.scalar(sa.select(sa.func.count()).select_from(table))


# ---- who, and in what form -----------------------------------------------------------------------


def test_nobody_stores_without_a_token_or_a_sign_in_of_our_own_pages(client, token, signed_in_as):
    body, kind = related(make_dicom()), {"content-type": content_type()}
    assert client.post("/dicomweb/studies", content=body, headers=kind).status_code == 401
    wrong = {**kind, "authorization": "Bearer hep_wrong"}
    assert client.post("/dicomweb/studies", content=body, headers=wrong).status_code == 401
    browser = signed_in_as("reader")
    elsewhere = {**kind, "origin": "https://elsewhere.example"}
    assert browser.post("/dicomweb/studies", content=body, headers=elsewhere).status_code == 403
    # a browser's cookie is worth nothing where a token is sent
    assert browser.post("/dicomweb/studies", content=body, headers=wrong).status_code == 401
    assert browser.post("/dicomweb/studies", content=body, headers=kind).status_code == 200


def test_a_case_belongs_to_the_person_for_whom_the_token_acts_or_to_nobody(
    client, token, database, session
):
    with database.transaction() as opened:
        ada = User.add(opened, "ada", "reader", "correct horse")
        own = ApiToken.add(opened, "adas", "machine", owner=ada)
    assert store(client, own, make_dicom(study="1")).status_code == 200
    assert store(client, token, make_dicom(study="2")).status_code == 200
    cases = session.scalars(sa.select(Case).order_by(Case.created_at)).all()
    assert [case.uploaded_by_id for case in cases] == [ada.id, None]
    actors = session.scalars(sa.select(Event.actor).where(Event.kind == "case received")).all()
    assert sorted(actors) == ["token adas of ada", "token test-machine"]


ACCEPTED = ("application/dicom+json", "application/json", "*/*", "application/*", "",
            "application/dicom+xml, application/dicom+json;q=0.1")  # fmt: skip
NOT_ACCEPTED = (
    "application/dicom+xml",
    "text/html",
    "application/dicom+json;q=0",
    "nonsense",
    "application/dicom",
    'multipart/related; type="application/dicom+json"',
)


def test_what_the_client_accepts_decides_before_anything_is_stored(client, token, session):
    for accept in NOT_ACCEPTED:
        assert store(client, token, make_dicom(), accept=accept).status_code == 406, accept
    assert count(session, Image) == 0
    for accept in ACCEPTED:
        assert store(client, token, make_dicom(), accept=accept).status_code == 200, accept


BODIES = {
    "no type": (415, "", related(make_dicom())),
    "a form": (415, "multipart/form-data; boundary=x", b"--x--\r\n"),
    "JSON": (415, "application/json", b"{}"),
    "metadata apart": (415, content_type("application/dicom+json"), related(b"[]")),
    "XML apart": (415, content_type("application/dicom+xml"), related(b"<a/>")),
    "a part of another kind": (415, content_type(), related(b"GIF8", kind="image/gif")),
    "no boundary": (400, 'multipart/related; type="application/dicom"', related(make_dicom())),
    "another boundary": (400, content_type().replace(BOUNDARY, "b"), related(make_dicom())),
    "a boundary too long": (400, content_type().replace(BOUNDARY, "b" * 71), related(b"")),
    "cut within a part": (400, content_type(), related(make_dicom())[:9000]),
    "cut before the end": (400, content_type(), related(make_dicom())[:-6]),
    "no part": (400, content_type(), f"--{BOUNDARY}--\r\n".encode()),
    "nothing": (400, content_type(), b""),
    "an empty file": (400, "application/dicom", b""),
    "an empty part": (400, content_type(), related(b"")),
    "no DICOM": (400, content_type(), related(b"a letter" * 100)),
    "a picture": (400, content_type(), related(make_png())),
    "a zip": (400, content_type(), related(make_zip({"a.dcm": make_dicom()}))),
    "a header cut short": (409, "application/dicom", make_dicom()[:300]),
    "pixels cut short": (409, "application/dicom", CUT_SHORT),
    "another modality": (409, content_type(), related(make_dicom(Modality="US"))),
    "no instance UID": (409, content_type(), related(make_dicom(StudyInstanceUID=""))),
    "no patient": (409, content_type(), related(make_dicom(patient_id=""))),
}


def test_a_body_that_cannot_be_stored_is_refused_and_changes_nothing(client, token, session):
    for what, (status, kind, body) in BODIES.items():
        reply = client.post("/dicomweb/studies", content=body, headers=bearer(token, kind))
        assert reply.status_code == status, (what, reply.text)
    assert count(session, Image) == 0


def test_a_compressed_body_and_a_phase_that_is_none_are_refused(client, token):
    assert store(client, token, make_dicom(), **{"content-encoding": "gzip"}).status_code == 415
    for query in ("phase=late", "phase=other&contrast_phase=portal", "phaze=portal"):
        told = store(client, token, make_dicom(), query=f"?contrast_{query}")
        assert told.status_code == 400, query


@pytest.fixture
def takes(app):
    """``takes(n)`` lets the application take n bytes; it is shared, and afterwards as before."""
    [limit] = [one for one in app.user_middleware if "most_bytes" in one.kwargs]
    usual = limit.kwargs["most_bytes"]

    def at_most(size: int) -> None:
        limit.kwargs["most_bytes"] = size
        app.middleware_stack = app.build_middleware_stack()

    yield at_most
    at_most(usual)


def test_more_than_the_installation_takes_is_refused_on_its_length_and_while_it_streams(
    client, token, app, session, takes
):
    takes(50_000)
    body = related(make_dicom(make_hu(side=256)))

    def in_pieces():
        for start in range(0, len(body), 10_000):
            yield body[start : start + 10_000]

    headers = bearer(token, content_type())
    for path in ("/dicomweb/studies", "/dicomweb/studies/1.2"):
        for content in (body, in_pieces()):
            assert client.post(path, content=content, headers=headers).status_code == 413
    app.state.settings.max_upload_files = 2
    files = [make_dicom(number=number) for number in range(3)]
    takes(10**7)
    assert store(client, token, *files).status_code == 413
    assert count(session, Image) == 0


def test_a_body_that_comes_in_small_pieces_is_read_as_one(client, token, session):
    body = b"\r\n" + related(make_dicom(number=1), make_dicom(number=2)) + b"an epilogue"
    pieces = (body[at : at + 7919] for at in range(0, len(body), 7919))
    headers = bearer(token, content_type())
    assert client.post("/dicomweb/studies", content=pieces, headers=headers).status_code == 200
    assert count(session, Image) == 2


def test_what_stands_before_the_first_boundary_and_after_the_last_says_nothing(
    client, token, session
):
    preamble = b"This is a multi-part message in MIME format.\r\n--a-bound\r\n: \0\r\n"
    files = related(make_dicom(number=1), make_dicom(number=2))
    body = preamble + files + b"\r\nAn epilogue.\r\n--" + BOUNDARY.encode() + b"\r\n"
    for step in (1, 7919, len(body)):
        pieces = (body[at : at + step] for at in range(0, len(body), step))
        reply = client.post(
            "/dicomweb/studies", content=pieces, headers=bearer(token, content_type())
        )
        assert reply.status_code == 200, (step, reply.text)
        assert len(told(reply).ReferencedSOPSequence) == 2
    assert count(session, Image) == 2


def test_a_body_is_not_searched_for_its_first_boundary_without_end(client, token, session):
    line = b"a line\r\n" * 1024
    for before, status in ((line, 200), (line + b"\r\n", 400), (b"no line of its own", 400)):
        for step in (100, 10**6):
            body = before + related(make_dicom())
            pieces = (body[at : at + step] for at in range(0, len(body), step))
            headers = bearer(token, content_type())
            reply = client.post("/dicomweb/studies", content=pieces, headers=headers)
            assert reply.status_code == status, (before[-20:], step)
            assert status == 200 or "the boundary that the Content-Type names" in reply.text
    assert count(session, Image) == 1


def test_no_part_is_taken_for_what_stands_before_the_first_boundary(client, token, session):
    body = related(make_dicom(number=1), make_dicom(number=2))
    for before in (b"\xef\xbb\xbf", b" ", b"a note, and then "):
        headers = bearer(token, content_type())
        reply = client.post("/dicomweb/studies", content=before + body, headers=headers)
        assert reply.status_code == 400, before
    assert count(session, Image) == 0


# ---- what the answer says ------------------------------------------------------------------------


def test_each_instance_is_told_with_where_it_is_and_that_it_was_changed(client, token, session):
    files = [make_dicom(number=number) for number in (1, 2)]
    reply = store(client, token, *files, query="?contrast_phase=portal")
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/dicom+json"
    answer = told(reply)
    case = session.scalars(sa.select(Case)).one()
    assert case.contrast_phase == "portal"
    assert answer.RetrieveURL == f"{ORIGIN}/dicomweb/studies/{case.uid}"
    assert "FailedSOPSequence" not in answer
    sent = [parsed(file) for file in files]
    items = answer.ReferencedSOPSequence
    assert [one.ReferencedSOPInstanceUID for one in items] == [one.SOPInstanceUID for one in sent]
    assert {one.ReferencedSOPClassUID for one in items} == {sent[0].SOPClassUID}
    assert {one.WarningReason for one in items} == {0xB000}
    images = session.scalars(sa.select(Image).order_by(Image.instance_number)).all()
    ends = [one.RetrieveURL.removeprefix(answer.RetrieveURL) for one in items]
    assert ends == [f"/series/{one.series.uid}/instances/{one.uid}" for one in images]
    # none of it is the sender's
    assert sent[0].StudyInstanceUID not in reply.text and "Secret" not in reply.text


def test_what_cannot_be_stored_is_listed_with_its_reason_and_the_others_are_stored(
    client, token, session
):
    other = make_dicom(make_hu(9), number=1)
    files = [
        make_dicom(number=1),
        CUT_SHORT,
        make_dicom(number=3, Modality="US", SOPClassUID="1.2.840.10008.5.1.4.1.1.6.1"),
        b"a letter" * 100,
        other,
        make_dicom(number=6, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]),
    ]
    reply = store(client, token, *files)
    assert reply.status_code == 202
    answer = told(reply)
    reasons = [one.FailureReason for one in answer.FailedSOPSequence]
    assert reasons == [0xA900, 0x0122, 0x0111, 0xA900]
    assert "another image" in answer.FailedSOPSequence[2].TextValue
    assert [one.FailureReason for one in answer.OtherFailuresSequence] == [0xC000]
    assert len(answer.ReferencedSOPSequence) == 1
    assert answer.RetrieveURL.endswith(f"/studies/{session.scalars(sa.select(Case.uid)).one()}")
    assert count(session, Image) == 1


def test_an_instance_of_another_study_than_the_address_names_is_refused(client, token, session):
    mine, other = make_dicom(study="1"), make_dicom(study="2")
    study = parsed(mine).StudyInstanceUID
    reply = store(client, token, mine, other, study=study)
    assert reply.status_code == 202
    [failed] = told(reply).FailedSOPSequence
    assert (failed.FailureReason, failed.ReferencedSOPInstanceUID) == (
        0xA900,
        parsed(other).SOPInstanceUID,
    )
    assert store(client, token, other, study=study).status_code == 409
    assert session.scalars(sa.select(Case.study_uid)).all() == [kept(study, KEY.encode())]


def test_a_study_of_another_patient_is_refused(client, token):
    assert store(client, token, make_dicom(number=1)).status_code == 200
    reply = store(client, token, make_dicom(number=2, patient_id="other"))
    assert reply.status_code == 409
    assert told(reply).FailedSOPSequence[0].FailureReason == 0x0110


def test_a_patient_whom_the_objects_do_not_name_is_named_by_a_header(client, token, session):
    data = make_dicom(patient_id="")
    assert "Hepatica-Pseudonym" in told(store(client, token, data)).FailedSOPSequence[0].TextValue
    assert store(client, token, data, **{"hepatica-pseudonym": "<x>"}).status_code == 400
    assert store(client, token, data, **{"hepatica-pseudonym": "P 17"}).status_code == 200
    assert session.scalars(sa.select(Case.pseudonym)).all() == ["P 17"]


def test_two_patients_never_share_a_name(client, token, session):
    """A name that one has by the PatientID of their files cannot be given to who has none."""
    assert store(client, token, make_dicom(patient_id="one")).status_code == 200
    [name] = session.scalars(sa.select(Case.pseudonym))
    nobodys = make_dicom(patient_id="", study="9")
    reply = store(client, token, nobodys, **{"hepatica-pseudonym": name})
    assert reply.status_code == 409
    [failed] = told(reply).FailedSOPSequence
    assert failed.FailureReason == 0x0110 and name in failed.TextValue
    _, other = pseudonymised("two", KEY.encode())
    assert store(client, token, nobodys, **{"hepatica-pseudonym": other}).status_code == 200
    reply = store(client, token, make_dicom(patient_id="two", study="8"))
    assert reply.status_code == 409
    assert "Correct the pseudonym" in told(reply).FailedSOPSequence[0].TextValue
    assert sorted(session.scalars(sa.select(Case.pseudonym))) == sorted([name, other])
    assert store(client, token, make_dicom(patient_id="one", study="7")).status_code == 200


# ---- once, and the first -------------------------------------------------------------------------


def test_the_same_bytes_are_accepted_again_by_every_door_and_stored_once(
    client, token, signed_in_as, session
):
    data = make_dicom()
    first = told(store(client, token, data))
    again = store(client, token, data, data)
    assert again.status_code == 200
    assert {one.RetrieveURL for one in told(again).ReferencedSOPSequence} == {
        first.ReferencedSOPSequence[0].RetrieveURL
    }
    form = {"contrast_phase": "portal"}
    headers = {"accept": "application/json"}
    uploaded = signed_in_as("reader").post(
        "/cases", files={"files": ("a.dcm", data)}, data=form, headers=headers
    )
    assert uploaded.json()["accepted"][0]["known"]
    assert (count(session, Case), count(session, Image)) == (1, 1)


OTHERS = {
    "other pixels": make_dicom(make_hu(7)),
    "another header": make_dicom(PatientSex="F"),
    "another place": make_dicom(z=30.0),
    "another series": make_dicom(SeriesInstanceUID="1.2.3"),
    "another study": make_dicom(StudyInstanceUID="1.2.3"),
}


def test_other_bytes_under_the_same_uid_are_refused_and_the_first_is_kept(client, token, session):
    first = make_dicom()
    assert store(client, token, first).status_code == 200
    before = session.scalars(sa.select(Image.pixels_digest)).all()
    for what, other in OTHERS.items():
        reply = store(client, token, other)
        assert reply.status_code == 409, what
        [failed] = told(reply).FailedSOPSequence
        assert failed.FailureReason == 0x0111, what
        assert failed.ReferencedSOPInstanceUID == parsed(first).SOPInstanceUID
        assert session.scalars(sa.select(Image.pixels_digest)).all() == before
        assert count(session, Case) == 1
    assert store(client, token, first).status_code == 200


def test_an_object_that_comes_again_in_another_encoding_is_the_same(client, token, session):
    stored, own = stored_values(), {"SOPInstanceUID": "1.2.3"}
    assert store(client, token, ct_file(stored, **own)).status_code == 200
    for syntax in ("1.2.840.10008.1.2", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.5"):
        assert store(client, token, ct_file(stored, syntax, **own)).status_code == 200
    assert (
        store(client, token, ct_file(stored + 1, "1.2.840.10008.1.2.5", **own)).status_code == 409
    )
    assert count(session, Image) == 1


def test_what_the_last_sender_writes_before_the_data_set_does_not_count(client, token, session):
    one = parsed(make_dicom())
    assert store(client, token, encoded(one)).status_code == 200
    one.file_meta.ImplementationVersionName = "ANOTHER_SENDER"
    assert store(client, token, encoded(one)).status_code == 200
    assert count(session, Image) == 1


@pytest.fixture(params=["sqlite", "postgresql"])
def archive(request, tmp_path) -> Any:
    """A whole installation on one kind of database, and a token of a machine."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/hepatica.sqlite3"
    else:
        url = request.getfixturevalue("postgres")
    database = Database(url)
    database.migrate()
    with database.transaction() as session:
        tokens = [ApiToken.add(session, f"machine {n}", "machine") for n in range(6)]
    app = create_app(Settings(database_url=url, installation_key=KEY))
    with TestClient(app, base_url=ORIGIN) as client:
        yield client, tokens, database
    database.engine.dispose()
    app.state.database.engine.dispose()


def test_what_is_stored_is_found_and_retrieved_on_both_databases(archive):
    client, [token, *_], _ = archive
    files = [make_dicom(make_hu(n), series=str(n % 2), number=n) for n in (1, 2, 3)]
    assert store(client, token, *files).status_code == 200
    headers = {"authorization": f"Bearer {token}"}
    for path, number in (
        ("studies?ModalitiesInStudy=CT", 1),
        ("studies?limit=1&offset=1", 0),
        ("series?Modality=CT", 2),
        ("series?limit=1", 1),
        ("instances?Rows=128&limit=2", 2),
        ("instances?InstanceNumber=3", 1),
    ):
        reply = client.get(f"/dicomweb/{path}", headers=headers)
        assert len(reply.json() if reply.status_code == 200 else []) == number, path
    address = told(store(client, token, *files)).RetrieveURL
    assert len(parts_of(client.get(address, headers=headers))) == 3
    assert client.get(f"{address}/thumbnail", headers=headers).status_code == 200


def test_of_several_senders_at_once_one_is_stored_and_whoever_sends_other_bytes_is_refused(archive):
    client, tokens, database = archive
    base = np.zeros((64, 64), np.int16)
    files = [make_dicom(base + value) for value in (0, 0, 0, 1, 2, 3)]
    together = threading.Barrier(len(files))

    def send(one: tuple[str, bytes]) -> tuple[int, int]:
        together.wait()
        reply = store(client, *one)
        return reply.status_code, len(told(reply).get("FailedSOPSequence", []))

    with ThreadPoolExecutor(len(files)) as pool:
        replies = list(pool.map(send, zip(tokens, files, strict=True)))
    with database.reading() as session:
        [image] = session.scalars(sa.select(Image)).all()
        kept = int(image.pixels(session)[0, 0])
        assert count(session, Case) == 1
    assert replies == [(200, 0) if value == kept else (409, 1) for value in (0, 0, 0, 1, 2, 3)]
