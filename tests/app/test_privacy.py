"""Nothing of a patient stands anywhere: the whole path is walked, and everything is searched.

Searched are log records, response headers, bodies, events, and the bytes of every
file, the database's own pages and its write-ahead log among them. Of the bodies only STOW's answer
may name something: the SOP Instance UID of what was sent (PS3.18 I.1).
"""

from __future__ import annotations

import logging
import uuid

import pytest
import sqlalchemy as sa
from conftest import ORIGIN
from starlette.testclient import TestClient

from app.db import Database
from app.main import create_app
from app.models import ApiToken, Case, Checkpoint, Event, Image, Lesion, User
from app.models.cases.link import Link
from app.settings import Settings
from factories import hidden_fields, make_dicom, make_hu
from stow import parsed, store

KEY = "a key for tests, thirty-two characters or more"
TOLD = {
    "PatientID": "HEP-SECRET-77",
    "PatientName": "Verborgen^Wilhelmina",
    "PatientBirthDate": "19520713",
    "StudyID": "STUDY-4711-X",
    "StudyDate": "20191105",
    "StudyTime": "093711.25",
    "SeriesDate": "20191106",
    "AccessionNumber": "ACC-0815-7",
    "FrameOfReferenceUID": "1.2.826.0.1.777.20191105.4",
    "InstitutionName": "Haus zum Geheimnis",
    "ReferringPhysicianName": "Dr. Unsichtbar",
    "StudyDescription": "Verborgen, W., Leber",
}
WORDS = (*TOLD.values(), "Verborgen", "Wilhelmina")
UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


def slices() -> list[bytes]:
    return [make_dicom(make_hu(n), number=n, z=5.0 * n, **TOLD) for n in (1, 2, 3)]


class Everything(logging.Handler):
    """Every record of every logger, as text."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.told.append(f"{record.getMessage()} {record.args} {record.exc_info}")


@pytest.fixture
def log(monkeypatch):
    handler = Everything()
    # libraries that log every byte they read do so at DEBUG alone
    names = [name for name in logging.root.manager.loggerDict if not name.startswith("sqlalchemy")]
    found = [logging.root, *map(logging.getLogger, names)]
    for one in found:
        ours = one.name.startswith(("hepatica", "uvicorn", "app"))
        monkeypatch.setattr(one, "level", logging.DEBUG if ours else logging.INFO)
        if one is logging.root or not one.propagate:
            one.addHandler(handler)
    yield handler
    for one in found:
        one.removeHandler(handler)


class Walk:
    """A browser and a program that keep every answer."""

    def __init__(self, app, client, token: str) -> None:
        self.client, self.token = client, token
        self.replies: list[tuple[str, str, bytes]] = []
        self.browser = TestClient(
            app, base_url=ORIGIN, headers={"origin": ORIGIN}, follow_redirects=False
        )
        self.browser.portal = client.portal
        signed = {"name": "ada", "password": "correct horse"}
        self.keep("sign in", self.browser.post("/sessions", data=signed))

    def keep(self, what: str, reply, *statuses: int):
        assert reply.status_code in (statuses or (200, 303)), (what, reply.status_code, reply.text)
        self.replies.append((what, str(reply.headers.multi_items()), reply.content))
        return reply

    def get(self, path: str, *statuses: int, **headers: str):
        return self.keep(path, self.browser.get(path, headers=headers), *statuses)

    def ask(self, path: str, *statuses: int, **headers: str):
        headers["authorization"] = f"Bearer {self.token}"
        return self.keep(path, self.client.get(path, headers=headers), *statuses)

    def post(self, path: str, *statuses: int, **more):
        return self.keep(path, self.browser.post(path, **more), *statuses)


def secrets_in(content: bytes, sent: list[bytes], but: tuple[str, ...] = ()) -> list[str]:
    uids = {str(parsed(one)[word].value) for one in sent for word in UIDS if word not in but}
    # a UID of these has another as its beginning by no chance; of words each stands for itself
    return sorted(word for word in {*WORDS, *uids} if word.encode() in content)


def test_nothing_of_the_patient_is_in_any_log_header_page_export_or_file(tmp_path, log):
    url = f"sqlite:///{tmp_path}/whole.sqlite3"
    database = Database(url)
    database.migrate()
    with database.transaction() as session:
        Checkpoint.register_shipped(session)
        User.add(session, "ada", "admin", "correct horse")
        token = ApiToken.add(session, "pacs", "machine")
    terms = dict.fromkeys(("door_stow", "door_upload"), "return-results,shift-dates")
    app = create_app(
        Settings(
            database_url=url, installation_key=KEY, runs_dir=tmp_path / "runs",
            installation_key_file=tmp_path / "k", **terms,
        )
    )  # fmt: skip
    sent = slices()
    try:
        with TestClient(app, base_url=ORIGIN) as client:
            walk = Walk(app, client, token)
            _walk(walk, database, sent)
    finally:
        app.state.database.engine.dispose()
    with database.reading() as session:
        case = session.scalars(sa.select(Case)).one()
        # it was there to leak: whoever has the key can open it
        assert Link.of(session, case, KEY.encode()).examination.patient_id == "HEP-SECRET-77"
        events = str([vars(one) for one in session.scalars(sa.select(Event))])
    assert secrets_in(events.encode(), sent) == []
    for what, headers, body in walk.replies:
        assert secrets_in(headers.encode(), sent) == [], what
        but = ("SOPInstanceUID",) if what.startswith("stow") else ()
        assert secrets_in(body, sent, but) == [], what
    found = {text for text in log.told if secrets_in(text.encode("utf-8", "replace"), sent)}
    # the client of these tests logs the addresses that it asks for; ours keeps none
    assert {text for text in found if not text.startswith("HTTP Request")} == set()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.name.endswith("-wal") for path in files)
    for path in files:
        assert secrets_in(path.read_bytes(), sent) == [], path.name
    database.engine.dispose()


def _walk(walk: Walk, database: Database, sent: list[bytes]) -> None:
    one = parsed(sent[0])
    study, series, sop = (str(one[word].value) for word in UIDS)
    walk.keep("stow", store(walk.client, walk.token, *sent[:2], query="?contrast_phase=portal"))
    other = make_dicom(make_hu(9), number=9, **{**TOLD, "PatientID": "HEP-SECRET-77-B"})
    walk.keep("stow, another patient", store(walk.client, walk.token, other), 409)
    at = sent[0].index(b"\x08\x00\x18\x00UI") + 6
    damaged = sent[0][:at] + b"\xf0\x00" + sent[0][at + 2 :]  # the length swallows the name
    walk.keep("stow, damaged", store(walk.client, walk.token, damaged), 400, 409)
    changed = sent[0].replace(b"ACME", b"ACMF")
    walk.keep("stow, changed", store(walk.client, walk.token, changed), 409)
    form = {"contrast_phase": "portal", "pseudonym": "ignored"}
    for accept in ("application/json", "text/html"):
        files = {"files": ("a.dcm", sent[2])}
        walk.post("/cases", files=files, data=form, headers={"accept": accept})
    with database.reading() as session:
        case = session.scalars(sa.select(Case)).one()
        image = session.scalars(sa.select(Image)).first()
    box = {"x": 50, "y": 50, "width": 28, "height": 28, "lesion": str(uuid.uuid4())}
    walk.post(f"/images/{image.id}/lesions", data=box)
    with database.reading() as session:
        lesion = session.scalars(sa.select(Lesion)).one()
    page = walk.get(f"/cases/{case.id}").text
    fields = {**hidden_fields(page), "lesion_class": "cyst", "confidence": "4", "basis": "imaging"}
    walk.post(f"/lesions/{lesion.id}/reviews", data={**fields, "note": ""})
    for path in ("/cases", f"/cases?search={case.pseudonym}", f"/cases/{case.id}",
                 f"/lesions/{lesion.id}", f"/lesions/{lesion.id}/roi.png", "/users", "/datasets",
                 f"/images/{image.id}/pixels", f"/images/{image.id}/preview.png", "/runs",
                 "/reader-studies", "/synthetics", "/checkpoints", "/docs"):  # fmt: skip
        walk.get(path)
    for by in ("network", "radiologist"):
        for form in ("sr", "pr", "sc", "json"):
            walk.ask(f"/api/v1/cases/{case.id}/report?format={form}&by={by}")
    walk.ask("/health/ready")
    walk.ask("/openapi.json")
    walk.ask("/api/v1/jobs")
    root = "/dicomweb/studies"
    for path in (f"{root}?includefield=all", "/dicomweb/series?includefield=all",
                 "/dicomweb/instances?includefield=all", f"{root}?StudyInstanceUID={study}",
                 f"{root}/{study}/metadata", f"{root}/{study}/series/{series}/metadata",
                 f"{root}/{study}/series/{series}/instances/{sop}", f"{root}/{study}",
                 f"{root}/{study}/series/{series}/instances/{sop}/frames/1",
                 f"{root}/{study}/series/{series}/instances/{sop}/rendered",
                 f"{root}/{study}/thumbnail"):  # fmt: skip
        walk.ask(path)
    for query in ("PatientID=HEP-SECRET-77", "AccessionNumber=ACC-0815-7", "StudyDate=20191105",
                  "PatientName=Verborgen*",
                  "FrameOfReferenceUID=1.2.826.0.1.777.20191105.4"):  # fmt: skip
        walk.ask(f"{root}?{query}", 204)
    walk.ask(f"{root}/{study}/series/1.2.3/metadata", 404)
    walk.ask(f"{root}/{study}/rendered", 404, 406, 400, 200)
    image_of = {"image": ("a.dcm", sent[1])}
    reply = walk.client.post(
        "/api/v1/classifications",
        files=image_of,
        data={"center": "64,64", "diameter_mm": "20"},
        headers={"authorization": f"Bearer {walk.token}"},
    )
    walk.keep("classification", reply)
    with database.transaction() as session:
        User.add(session, "bob", "reader", "correct horse")
    walk.post(f"/cases/{case.id}/pseudonym", 303, 409, 422, 403, data={"pseudonym": "P 9"})
    walk.post("/users/none", 404, 405, data={})
