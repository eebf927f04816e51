"""Uploads: what is refused, what is kept of the rest."""

from __future__ import annotations

import json
import uuid

import deletions
import numpy as np
import pytest
import sqlalchemy as sa
from traces import rows

from app.models import Blob, Case, Event, Image
from factories import make_dicom, make_hu, make_png, make_zip


def upload(browser, *files, phase="portal", pseudonym="", **more):
    return browser.post(
        "/cases",
        files=[("files", file) for file in files],
        data={"contrast_phase": phase, "pseudonym": pseudonym},
        headers={"accept": "application/json", **more},
    )


def count(session, table) -> int:
    return session.scalar(sa.select(sa.func.count()).select_from(table))


def zip_bomb() -> bytes:
    return make_zip({"huge.dcm": b"\0" * 300_000_000})


def png_of(side: int) -> bytes:
    """The header of a PNG of side × side pixels; the pixels are not there."""
    import struct
    import zlib

    def chunk(name: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(name + data)
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


BAD = {
    "empty.dcm": b"",
    "text.dcm": b"this is a letter, not an image\n" * 40,
    "page.png": b"<!doctype html><p>not a picture</p>",
    "truncated.dcm": make_dicom()[:5000],
    "truncated.png": make_png()[:200],
    "ultrasound.dcm": make_dicom(Modality="US"),
    "no_pixels.dcm": make_dicom(without=("PixelData",)),
    "wide.png": png_of(20_000),
    "wide.dcm": make_dicom(Rows=20_000, Columns=20_000),
    "leaving.zip": make_zip({"../../etc/passwd": make_dicom()}),
    "none.zip": make_zip({}),
    "damaged.zip": make_zip({"a.dcm": make_dicom()})[:4000],
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_by_name_and_changes_nothing(name, signed_in_as, session):
    before = {table: count(session, table) for table in (Case, Image, Blob)}
    session.expire_all()
    reply = upload(signed_in_as("reader"), (name, BAD[name]), pseudonym="P1")
    assert reply.status_code == 422, reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    refused = reply.json()["refused"]
    assert refused[0]["file"].startswith(name)
    assert name in refused[0]["reason"]
    assert len(refused[0]["reason"]) > len(name) + 20  # says more than that it failed
    assert "Traceback" not in reply.text
    assert before == {table: count(session, table) for table in (Case, Image, Blob)}


def test_a_zip_bomb_is_refused_before_it_is_unpacked(signed_in_as):
    reply = upload(signed_in_as("reader"), ("bomb.zip", zip_bomb()))
    assert reply.status_code == 422
    assert "zip bomb" in reply.json()["refused"][0]["reason"]


def test_a_body_over_the_limit_is_refused_on_its_length_and_while_streaming(signed_in_as, app):
    browser = signed_in_as("reader")
    form = b"--x\r\ncontent-disposition: form-data; name=files; filename=a\r\n\r\n"
    headers = {"content-type": "multipart/form-data; boundary=x"}
    declared = {**headers, "content-length": "500000000"}
    assert browser.post("/cases", content=form, headers=declared).status_code == 413

    sent = 0

    def endless():
        nonlocal sent
        yield form
        for _ in range(500):
            sent += 1_000_000
            yield b"\0" * 1_000_000

    reply = browser.post("/cases", content=endless(), headers=headers)
    assert reply.status_code == 413
    assert "256 MB" in reply.text


def test_nothing_of_an_upload_is_spooled_to_disk(signed_in_as, monkeypatch):
    from tempfile import SpooledTemporaryFile

    def rolled_over(*_arguments):
        raise AssertionError("patient data went to a temporary file")

    monkeypatch.setattr(SpooledTemporaryFile, "rollover", rolled_over)
    large = make_dicom(np.zeros((1024, 1024), np.int16))
    assert upload(signed_in_as("reader"), ("large.dcm", large)).status_code == 200


def test_a_file_without_a_patient_needs_a_pseudonym(signed_in_as, session):
    browser = signed_in_as("reader")
    for file in (("a.png", make_png(128)), ("a.dcm", make_dicom(patient_id=""))):
        reply = upload(browser, file)
        assert reply.status_code == 422
        assert "pseudonym" in reply.json()["refused"][0]["reason"]
        assert upload(browser, file, pseudonym="Frog 7").status_code == 200
    names = set(session.scalars(sa.select(Case.pseudonym)))
    assert names == {"Frog 7"}


def test_in_a_batch_the_good_files_go_in_and_the_bad_ones_are_listed(signed_in_as, session):
    batch = make_zip({"good/1.dcm": make_dicom(number=1), "bad/notes.txt": b"hello there"})
    reply = upload(signed_in_as("reader"), ("a.dcm", make_dicom(number=2)), ("b.zip", batch))
    assert reply.status_code == 200
    answer = reply.json()
    assert [item["file"] for item in answer["accepted"]] == ["a.dcm", "b.zip/good/1.dcm"]
    assert [item["file"] for item in answer["refused"]] == ["b.zip/bad/notes.txt"]
    assert count(session, Image) == 2


def test_a_study_becomes_a_case_and_its_slices_run_from_head_to_foot(signed_in_as, session):
    heights = {1: 30.0, 2: 10.0, 3: 20.0}
    files = [(f"{n}.dcm", make_dicom(number=n, z=z)) for n, z in heights.items()]
    other = ("other.dcm", make_dicom(study="2", patient_id="999"))
    assert upload(signed_in_as("reader"), *files, other).status_code == 200
    cases = session.scalars(sa.select(Case)).all()
    assert len(cases) == 2
    case = next(case for case in cases if len(case.series[0].images) == 3)
    (stack,) = case.series[0].stacks
    assert [image.position_mm for image in stack.images] == [30.0, 20.0, 10.0]


def test_pixels_come_back_as_the_hu_that_went_in(signed_in_as, session):
    hu = make_hu(5)
    browser = signed_in_as("reader")
    upload(browser, ("a.dcm", make_dicom(hu)))
    image = session.scalars(sa.select(Image)).one()
    reply = browser.get(f"/images/{image.id}/pixels")
    received = np.frombuffer(reply.content, "<i2").reshape(image.rows, image.columns)
    assert np.array_equal(received, hu)
    assert browser.get(f"/images/{image.id}/preview.png").content[:4] == b"\x89PNG"


def test_nothing_that_identifies_a_person_is_kept(signed_in_as, session):
    secrets = (b"12345678", b"Sylvia", b"Secret Hospital", b"SECRET-ACC", b"19610101")
    upload(signed_in_as("reader"), ("a.dcm", make_dicom()))
    session.commit()
    dump = b"\n".join(rows(session.connection()).values())
    assert b"ACME" in dump  # an allow-listed tag: the dump is the real thing
    for secret in secrets:
        assert secret not in dump
    case = session.scalars(sa.select(Case)).one()
    assert case.pseudonym.startswith("P-")
    assert len(case.patient_hmac) == 64


def test_one_patient_has_one_pseudonym_and_other_installations_another(signed_in_as, session):
    from app.models.cases.case import pseudonymised

    browser = signed_in_as("reader")
    upload(browser, ("a.dcm", make_dicom(study="1")), ("b.dcm", make_dicom(study="2")))
    first, second = session.scalars(sa.select(Case)).all()
    assert first.pseudonym == second.pseudonym
    assert pseudonymised("12345678", b"x" * 32)[1] != first.pseudonym


def test_the_same_image_twice_changes_nothing_and_says_so(signed_in_as, session):
    browser = signed_in_as("reader")
    upload(browser, ("a.dcm", make_dicom()))
    reply = upload(browser, ("again.dcm", make_dicom()))
    assert reply.status_code == 200
    assert reply.json()["accepted"][0]["known"]
    assert count(session, Image) == 1


@pytest.mark.parametrize("first", [True, False])
def test_a_study_is_of_phantoms_or_of_a_patient(signed_in_as, first):
    browser = signed_in_as("reader")
    one, other = (
        make_dicom(make_hu(n), study="s", number=n, z=5.0 * n, patient_id="p", phantom=phantom)
        for n, phantom in ((1, first), (2, not first))
    )
    assert upload(browser, ("a.dcm", one)).status_code == 200
    reply = upload(browser, ("b.dcm", other))
    assert reply.status_code == 422
    assert "UID of its own" in reply.json()["refused"][0]["reason"]


def test_a_study_under_another_patient_is_refused(signed_in_as):
    browser = signed_in_as("reader")
    upload(browser, ("a.dcm", make_dicom(number=1, patient_id="one")))
    reply = upload(browser, ("b.dcm", make_dicom(number=2, patient_id="two")))
    assert reply.status_code == 422
    assert "another patient" in reply.json()["refused"][0]["reason"]


def test_a_pseudonym_that_is_another_patients_is_told_apart_from_a_study_that_is(signed_in_as):
    browser = signed_in_as("reader")
    upload(browser, ("a.dcm", make_dicom(number=1, study="1", patient_id="one")))
    with_id = upload(browser, ("b.dcm", make_dicom(number=2, study="1", patient_id="two")))
    name = upload(browser, ("a.dcm", make_dicom(number=1, study="1", patient_id="one")))
    taken = name.json()["cases"][0]["pseudonym"]
    nameless = make_dicom(number=1, study="2", patient_id="")
    reply = browser.post(
        "/cases",
        files=[("files", ("c.dcm", nameless))],
        data={"contrast_phase": "portal", "pseudonym": taken},
        headers={"accept": "application/json"},
    )
    codes = [one.json()["refused"][0]["code"] for one in (with_id, reply)]
    assert codes == ["other_patient", "pseudonym_taken"]


@pytest.mark.parametrize(("phase", "warned"), [("portal", 0), ("other", 1), ("unknown", 1)])
def test_anything_but_the_portal_phase_warns(phase, warned, signed_in_as):
    reply = upload(signed_in_as("reader"), ("a.dcm", make_dicom()), phase=phase)
    warnings = reply.json()["accepted"][0]["warnings"]
    assert len([text for text in warnings if "contrast phase" in text]) == warned


def test_an_unknown_phase_is_refused(signed_in_as):
    reply = upload(signed_in_as("reader"), ("a.dcm", make_dicom()), phase="arterial?")
    assert reply.status_code == 422


def test_no_spacing_warns_and_is_taken(signed_in_as):
    reply = upload(signed_in_as("reader"), ("a.dcm", make_dicom(spacing=None)))
    assert reply.status_code == 200
    assert any("pacing" in text for text in reply.json()["accepted"][0]["warnings"])


def test_without_scripts_the_page_lists_what_became_of_each_file(signed_in_as):
    browser = signed_in_as("reader")
    files = [("files", ("a.dcm", make_dicom())), ("files", ("b.txt", b"no image at all"))]
    reply = browser.post("/cases", files=files, data={"contrast_phase": "portal"})
    assert reply.status_code == 200
    assert "a.dcm" in reply.text
    assert "b.txt" in reply.text


def test_deleting_a_case_needs_its_pseudonym_and_its_owner(signed_in_as, session, database, app):
    owner, other = signed_in_as("reader", name="ada"), signed_in_as("reader", name="ben")
    upload(owner, ("a.dcm", make_dicom()))
    case = session.scalars(sa.select(Case)).one()
    digest = session.scalars(sa.select(Image.pixels_digest)).one()
    session.expire_all()
    path = f"/cases/{case.id}/deletion"
    assert other.post(path, data={"typed": case.pseudonym}).status_code == 403
    refused = session.scalars(sa.select(Event).where(Event.kind == "case deletion refused"))
    assert refused.one().actor == "ben"
    assert owner.post(path, data={"typed": "wrong"}).status_code == 422
    assert count(session, Image) == 1
    session.expire_all()
    assert owner.post(path, data={"typed": case.pseudonym}).status_code == 303
    assert "being deleted for good. Its lesions" in owner.get(f"/cases/{case.id}").text
    assert "being deleted" in owner.get("/cases").text
    again = owner.post(path, data={"typed": case.pseudonym})
    assert again.status_code == 409 and "It is being deleted already" in again.text
    box = {"x": 9, "y": 9, "width": 20, "height": 20}
    mark = owner.post(f"/images/{session.scalar(sa.select(Image.id))}/lesions", data=box)
    assert mark.status_code == 409 and "This case is being deleted" in mark.text
    late = upload(owner, ("a.dcm", make_dicom()))
    assert late.status_code == 422 and "its examination is being deleted" in late.text
    deletions.finish(database, app)
    assert count(session, Image) == 0
    session.expire_all()
    assert session.get(Blob, digest) is None  # the pixels are gone as well
    upload(owner, ("a.dcm", make_dicom()))
    assert count(session, Image) == 1


def test_an_id_that_is_guessed_finds_nothing(signed_in_as):
    browser = signed_in_as("reader")
    for path in ("/cases/{}", "/images/{}/pixels", "/lesions/{}", "/lesions/{}/roi.png"):
        assert browser.get(path.format(uuid.uuid4())).status_code == 404
    assert (
        json.loads(
            browser.get(f"/cases/{uuid.uuid4()}", headers={"accept": "application/json"}).text
        )["title"]
        == "Not found"
    )
