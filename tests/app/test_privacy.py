"""Nothing of a patient stands anywhere: the whole path is walked, and everything is searched.

One patient comes in by all four doors (STOW, upload, DICOM node, a PACS that is asked), is
classified by jobs that tell a hook, goes back to the PACS, is exported and backed up; the PACS and
the hook's receiver name the patient in whatever they answer. Searched are log records, what is
printed, response headers, bodies, events, what the hook was told, and the bytes of every file, the
database's own pages and its write-ahead log among them, and every value of every row unpacked; for
every spelling of `traces`. Of the bodies only STOW's answer may name something: the SOP Instance
UID of what was sent (PS3.18 I.1); and the page of a launch what is to be fetched.
"""

from __future__ import annotations

import json
import logging
import re
import tempfile
import threading
import uuid
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from archive import JSON, Archive, uids
from bad_pacs import Asked, bad_pacs
from conftest import ORIGIN
from pynetdicom import AE
from starlette.testclient import TestClient
from traces import Traces, spellings

import answered
import marks
import studies
from app import main
from app.db import Base, Database, now
from app.models import (
    ApiToken,
    Case,
    Checkpoint,
    Image,
    Job,
    Lesion,
    Notice,
    ReturnedObject,
    Review,
    Series,
    User,
)
from app.models.cases.entry import Door, Entry
from app.models.cases.link import Link
from app.models.jobs.job import OVER
from app.node.callers import Callers
from app.node.node import Listening, Node
from app.node.storing import Store
from app.operation.backup import Backup
from app.pacs import outbox
from app.settings import Settings
from app.uploads.parcel import Limits
from factories import hidden_fields, make_dicom, make_hu, make_zip
from ml.lesion import LIVER
from ml.progress import drive
from stow import content_type, parsed, related, store

KEY = "a key for tests, thirty-two characters or more"
TOLD = {
    "PatientID": "HEP-SECRET-77",
    "PatientName": "Verbörgen^Wilhelmina",
    "PatientBirthDate": "19520713",
    "StudyID": "STUDY-4711-X",
    "StudyDate": "20191105",
    "StudyTime": "093711.25",
    "SeriesDate": "20191106",
    "AccessionNumber": "ACC-0815-7",
    "FrameOfReferenceUID": "1.2.826.0.1.777.20191105.4",
    "InstitutionName": "Haus zum Geheimnis",
    "ReferringPhysicianName": "Dr. Unsichtbar",
    "StudyDescription": "Verbörgen, W., Leber",
}
WORDS = (*TOLD.values(), "Verbörgen", "Wilhelmina", "1952-07-13", "13.07.1952", "2019-11-05")
UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
RUDE = f"{TOLD['PatientName']} {TOLD['PatientID']} {TOLD['AccessionNumber']}"
"""What a PACS and a hook's receiver say, whatever they are asked."""
HTML = "text/html"
NOT_STORED = {"00081198": {"vr": "SQ", "Value": [
    {"00081197": {"vr": "US", "Value": [0xA700]}, "00000902": {"vr": "LO", "Value": [RUDE]}}]},
    "00081190": {"vr": "UR", "Value": [RUDE]}}  # fmt: skip


def a_slice(number: int, study: str, **more: object) -> bytes:
    told = {"SpecificCharacterSet": "ISO_IR 100", **TOLD, **more}
    return make_dicom(make_hu(number), number=number, z=5.0 * number, study=study, **told)


BY_STOW = [a_slice(n, "by STOW") for n in (1, 2, 3)]
BY_NODE = [a_slice(n, "by the node") for n in (11, 12)]
HELD = [a_slice(n, "held by the PACS") for n in (21, 22, 23, 24)]
INSIDE = np.zeros((1, 128, 128), bool)
INSIDE[0, 49:79, 50:78] = True
SEG = marks.segmentation(BY_NODE[:1], INSIDE, "Wilhelmina's lesion", StudyID="STUDY-4711-X")
REPORT = marks.report(HELD[0], "CIRCLE", [(64, 64), (79, 64)], instance="in the PACS")
SENT = [*BY_STOW, *BY_NODE, *HELD, SEG, REPORT]
UIDS_SENT = {str(parsed(one)[word].value): word for one in SENT for word in UIDS}
TRACES = Traces([*WORDS, *UIDS_SENT])
LAUNCHED = Traces([*WORDS, *(uid for uid, word in UIDS_SENT.items() if word == UIDS[2])])
STOWED = Traces([*WORDS, *(uid for uid, word in UIDS_SENT.items() if word != UIDS[2])])
BUT = {"stow": STOWED, "/launch": LAUNCHED, "echo": Traces([])}
"""What is looked for in the bodies of which answers; in all others everything. An echo repeats what
a person typed, or the names of the files that they chose, to that person alone."""


def damaged(file: bytes) -> bytes:
    """The length of its SOP Instance UID swallows what follows, the name among it."""
    at = file.index(b"\x08\x00\x18\x00UI") + 6
    return file[:at] + b"\xf0\x00" + file[at + 2 :]


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
    # libraries that log every byte they read do so at DEBUG alone; pynetdicom, which tells of
    # every object at INFO, is silenced where the node is made, and stays as it is there
    names = [name for name in logging.root.manager.loggerDict if not name.startswith("sqlalchemy")]
    found = [logging.root, *map(logging.getLogger, names)]
    for one in found:
        ours = one.name.startswith(("hepatica", "uvicorn", "app"))
        if not one.name.startswith("pynetdicom"):
            monkeypatch.setattr(one, "level", logging.DEBUG if ours else logging.INFO)
        if one is logging.root or not one.propagate:
            one.addHandler(handler)
    yield handler
    for one in found:
        one.removeHandler(handler)


class Gossip(Archive):
    """A PACS that holds a study and takes results, and names the patient whatever it is asked."""

    def __init__(self, files: list[bytes]) -> None:
        super().__init__(files)
        self.first: list[bytes] = []
        """Answers to what is asked next, whatever it is."""
        self.instead: dict[str, bytes] = {}
        """SOP Instance UID → what is given in the place of that instance."""

    def __call__(self, asked: Asked) -> bytes:
        return self.first.pop(0) if self.first else super().__call__(asked)

    def said(self, status: int, body: bytes, kind: str = JSON, **more: str) -> bytes:
        return super().said(status, body, kind, x_patient=RUDE, warning=f'299 - "{RUDE}"', **more)

    def _given(self, uid: str) -> bytes:
        body = self.instead.get(uid) or related(self.held[uid])
        return self.said(200, body, content_type())


class Receiver(HTTPServer):
    """The receiver of a hook: keeps what it is told, refuses it once, and says who it was."""

    def __init__(self) -> None:
        self.told: list[bytes] = []
        super().__init__(("127.0.0.1", 0), _Told)
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()


class _Told(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.told.append(self.path.encode() + bytes(self.headers) + body)
        self.send_response(500 if len(self.server.told) == 1 else 204, "HEP-SECRET-77")
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        return


class Walk:
    """A browser and a program that keep every answer."""

    def __init__(self, app, client, token: str) -> None:
        self.app, self.client, self.token = app, client, token
        self.replies: list[tuple[str, str, bytes]] = []
        self.browser = TestClient(
            app, base_url=ORIGIN, headers={"origin": ORIGIN}, follow_redirects=False
        )
        self.browser.portal = client.portal

    def keep(self, what: str, reply, *statuses: int):
        assert reply.status_code in (statuses or (200, 303)), (what, reply.status_code, reply.text)
        self.replies.append((what, str(reply.headers.multi_items()), reply.content))
        return reply

    def sign_in(self) -> None:
        signed = {"name": "ada", "password": "correct horse"}
        self.keep("sign in", self.browser.post("/sessions", data=signed))

    def get(self, path: str, *statuses: int, **headers: str):
        return self.keep(path, self.browser.get(path, headers=headers), *statuses)

    def ask(self, path: str, *statuses: int, **headers: str):
        headers["authorization"] = f"Bearer {self.token}"
        return self.keep(path, self.client.get(path, headers=headers), *statuses)

    def call(self, path: str, *statuses: int, told: object, **headers: str):
        """A program's call with JSON."""
        headers["authorization"] = f"Bearer {self.token}"
        return self.keep(path, self.client.post(path, json=told, headers=headers), *statuses)

    def post(self, path: str, *statuses: int, **more):
        return self.keep(path, self.browser.post(path, **more), *statuses)

    def work(self, database: Database) -> None:
        """Whatever is due, as if every wait were over."""
        loops = (self.app.state.fetcher, self.app.state.clerk, self.app.state.messenger)
        for _ in range(9):
            with database.transaction() as session:
                past = now() - timedelta(seconds=90)
                for row in (Notice, ReturnedObject):
                    session.execute(sa.update(row).values(due_at=past))
                stirred = Series.stirred_at.is_not(None)
                session.execute(sa.update(Series).where(stirred).values(stirred_at=past))
            done = [loop.act() for loop in loops]
            if not any(done):
                return


def test_nothing_of_the_patient_is_in_any_log_header_page_export_or_file(
    tmp_path, log, monkeypatch, capfd, _built
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(outbox, "FOUND_WITHIN_S", 0.0)
    monkeypatch.setenv("RIS_HOOK", "a secret of thirty-two characters")
    database = Database(f"sqlite:///{tmp_path}/whole.sqlite3")
    database.migrate()
    with database.transaction() as session:
        Checkpoint.register_shipped(session)
        User.add(session, "ada", "admin", "correct horse")
        token = ApiToken.add(session, "pacs", "machine")
    gossip, receiver = Gossip([*HELD, REPORT]), Receiver()
    with bad_pacs(gossip) as pacs:
        entry = {"name": "main", "url": pacs.url, "takes_results": True, "aet": "ARCHIVE"}
        hook = f'url = "http://127.0.0.1:{receiver.server_port}/told"\nsecret_env = "RIS_HOOK"'
        (tmp_path / "hooks.toml").write_text(f"[ris]\n{hook}\n")
        doors = ("door_stow", "door_upload", "door_pull", "door_node")
        settings = Settings(
            database_url=f"sqlite:///{tmp_path}/whole.sqlite3", installation_key=KEY, clerk=False,
            runs_dir=tmp_path / "runs", hooks_file=tmp_path / "hooks.toml",
            pacs=json.dumps([entry]), classify_quiet_series=True, node_callers="ARCHIVE",
            **dict.fromkeys(doors, "return-results,shift-dates"),
        )  # fmt: skip
        main.furnish(_built, settings)
        try:
            with TestClient(_built, base_url=ORIGIN) as client:
                walk = Walk(_built, client, token)
                walk.get(_launch(*uids(HELD[0])), 303)
                walk.sign_in()
                _by_stow_and_upload(walk, database)
                _by_node(settings, database)
                _by_pull(walk, database, gossip)
                _by_jobs(walk, database)
                _sent_back(walk, database, gossip)
                _looked_at(walk, database)
                _exported(walk, database)
        finally:
            _built.state.database.engine.dispose()
            receiver.shutdown()
            receiver.server_close()
    drive(Backup(database, tmp_path / "backups").run())
    _was_there(database, gossip, receiver)
    _searched(walk, database, receiver, log, capfd, tmp_path)
    database.engine.dispose()


# -- what is done ----------------------------------------------------------------------------------


def _by_stow_and_upload(walk: Walk, database: Database) -> None:
    first = BY_STOW[0]
    walk.keep("stow", store(walk.client, walk.token, *BY_STOW[:2], query="?contrast_phase=portal"))
    other = a_slice(9, "by STOW", PatientID="HEP-SECRET-77-B")
    walk.keep("stow, another patient", store(walk.client, walk.token, other), 409)
    walk.keep("stow, damaged", store(walk.client, walk.token, damaged(first)), 400, 409)
    changed = first.replace(b"ACME", b"ACMF")
    walk.keep("stow, changed", store(walk.client, walk.token, changed), 409)
    form = {"contrast_phase": "portal", "pseudonym": "ignored"}
    for accept in ("application/json", "text/html"):
        for name, data in (("a.dcm", BY_STOW[2]), ("b.dcm", damaged(BY_STOW[2]))):
            files = {"files": (name, data)}
            headers = {"accept": accept}
            walk.post("/cases", 200, 303, 422, files=files, data=form, headers=headers)
    packed = {"files": ("Verbörgen.zip", make_zip({"Wilhelmina/a.dcm": BY_STOW[1]}))}
    sent = walk.browser.post(
        "/cases", files=packed, data=form, headers={"accept": "application/json"}
    )
    walk.keep("echo of an upload", sent)
    with database.reading() as session:
        image = session.scalars(sa.select(Image)).first()
        case_id = image.series.case_id
    box = {"x": 50, "y": 50, "width": 28, "height": 28, "lesion": str(uuid.uuid4())}
    walk.post(f"/images/{image.id}/lesions", data=box)
    with database.reading() as session:
        lesion = session.scalars(sa.select(Lesion)).one()
    page = walk.get(f"/cases/{case_id}").text
    fields = {**hidden_fields(page), "lesion_class": "cyst", "confidence": "5"}
    walk.post(
        f"/lesions/{lesion.id}/reviews", 303, data={**fields, "basis": "pathology", "note": ""}
    )


def _by_node(settings: Settings, database: Database) -> None:
    taken = Store(database, Limits(1, 10**9, 10**8), "portal", KEY.encode())
    entry = Entry.at(settings, Door.NODE)
    listening = Listening("HEPATICA", "127.0.0.1", 0)
    node = Node(listening, Callers.of(settings), taken, entry, {"ARCHIVE": "main"})
    node.start()
    try:
        stranger = AE("Wilhelmina")
        stranger.add_requested_context(parsed(SEG).SOPClassUID)
        assert stranger.associate("127.0.0.1", node.port, ae_title="HEPATICA").is_rejected
        caller = AE("ARCHIVE")
        cut, moved = parsed(BY_NODE[1]), parsed(BY_NODE[1])
        cut.PixelData, moved.PatientID = cut.PixelData[:99], "HEP-SECRET-77-B"
        objects = [cut, *map(parsed, (*BY_NODE, SEG)), moved]
        for one in objects:
            syntax = one.file_meta.TransferSyntaxUID
            if one.SOPClassUID not in [
                known.abstract_syntax for known in caller.requested_contexts
            ]:
                caller.add_requested_context(one.SOPClassUID, syntax)
        found = caller.associate("127.0.0.1", node.port, ae_title="HEPATICA")
        told = [found.send_c_store(one) for one in objects]
        found.release()
    finally:
        node.stop()
    assert [one.Status == 0 for one in told] == [False, True, True, True, False], told
    comments = "".join(str(one.get("ErrorComment", "")) for one in told).encode()
    assert TRACES.within(comments) == []


def _launch(study: str, series: str, sop: str) -> str:
    return f"/launch?study={study}&series={series}&instance={sop}"


def _by_pull(walk: Walk, database: Database, gossip: Gossip) -> None:
    study, series, sop = uids(HELD[0])
    page = walk.get(f"/launch?study={study}&series={series}").text
    assert "Fetch" in page
    fetch = {"study": study, "contrast_phase": "portal", "hook": "ris"}
    others = [{"0020000D": {"vr": "UI", "Value": ["1.2.3"]}, "00100010": RUDE}]
    rude = RUDE.encode()
    for first in (
        gossip.said(401, rude, HTML, www_authenticate=f'Basic realm="{RUDE}"'),
        gossip.said(302, b"", location=f"http://127.0.0.1:9/{study}?patient={TOLD['PatientID']}"),
        gossip.said(200, b"<html>" + rude + b"</html>", HTML),
        gossip.said(200, b'[{"00100010": "' + rude),
        gossip.said(503, rude),
        gossip.said(404, rude),
        gossip.said(200, json.dumps(others).encode()),
        gossip.said(200, b"[]"),
        b"HTTP/1.1 200 " + rude + b"\r\n" + rude + b"\r\n\r\n",
        rude,
    ):
        gossip.first.append(first)
        reply = walk.call("/api/v1/fetches", 202, told=fetch)
        while walk.app.state.fetcher.act():
            pass
        told = walk.ask(reply.headers["location"]).json()
        assert told["state"] == "failed", told
        gossip.first.clear()
    gossip.instead = {
        uids(HELD[1])[2]: related(damaged(HELD[1])),
        uids(HELD[2])[2]: b"<html>" + rude,
        uids(HELD[3])[2]: related(HELD[0]),
    }
    key = f"{TOLD['PatientID']}/{TOLD['AccessionNumber']}"
    for _ in range(2):
        reply = walk.call("/api/v1/fetches", 202, told=fetch, **{"idempotency-key": key})
    assert walk.app.state.fetcher.act()
    told = walk.ask(reply.headers["location"]).json()
    assert told["state"] == "done" and told["result"]["refused"], told
    gossip.instead.clear()
    form = {"study": study, "series": series, "contrast_phase": "portal"}
    reply = walk.post("/fetches", data=form)
    walk.get(reply.headers["location"])
    walk.get(f"{reply.headers['location']}/progress")
    assert walk.app.state.fetcher.act()
    walk.get(reply.headers["location"])
    walk.get(_launch(study, series, sop), 303)
    walk.get("/launch?study=HEP-SECRET-77", 400)
    walk.call("/api/v1/fetches", 400, told={"study": "HEP-SECRET-77"})
    walk.call("/api/v1/fetches", 404, told={"study": study, "pacs": "Wilhelmina"})


def _by_jobs(walk: Walk, database: Database) -> None:
    place = {"box": [50, 49, 28, 30]}
    study, series, sop = uids(BY_STOW[0])
    lesions = [
        {"study": study, "series": series, "instance": sop, **place},
        {"marks": str(parsed(SEG).SOPInstanceUID)},
        {"instance": "1.2.3.4", **place},
    ]
    asked = {"prefer": "respond-async", "idempotency-key": TOLD["PatientID"]}
    path = "/api/v1/classifications"
    reply = walk.call(path, 202, told={"lesions": lesions, "hook": "ris"}, **asked)
    walk.call(path, told={"lesions": lesions})
    refused = [{"marks": "HEP-SECRET-77"}, {"instance": sop, "PatientID": "HEP-SECRET-77"}]
    for one in refused:
        walk.call(path, 404, 422, told={"lesions": [one]})
    headers = {"authorization": f"Bearer {walk.token}"}
    data = {"center": "64,64", "diameter_mm": "20"}
    for more in ({}, {"prefer": "respond-async"}):
        for name, file in (("Wilhelmina.dcm", BY_STOW[1]), ("b.dcm", damaged(BY_STOW[1]))):
            sent = walk.client.post(
                path, files={"image": (name, file)}, data=data, headers={**headers, **more}
            )
            walk.keep("classification", sent, 200, 202, 422, 400)
    walk.work(database)
    told = walk.ask(reply.headers["location"]).json()
    assert (told["state"], told["result"]["classified"]) == ("done", 2), told
    walk.ask("/api/v1/jobs")


def _sent_back(walk: Walk, database: Database, gossip: Gossip) -> None:
    gossip.first = [
        gossip.said(500, RUDE.encode(), HTML),
        gossip.said(409, json.dumps(NOT_STORED).encode()),
        gossip.said(200, RUDE.encode()),
    ]
    with database.reading() as session:
        cases = list(session.scalars(sa.select(Case.id)))
    for case in cases:
        told = {"by": "network", "pacs": "main"}
        walk.call(f"/api/v1/cases/{case}/returns", 200, 409, told=told)
        walk.post(f"/cases/{case}/returns", 303, 409)
    walk.get("/returns")
    walk.work(database)
    for case in cases:
        walk.ask(f"/api/v1/cases/{case}/returns")
    walk.get("/returns")


def _looked_at(walk: Walk, database: Database) -> None:
    with database.reading() as session:
        cases = list(session.scalars(sa.select(Case)))
        images = [one.id for case in cases for series in case.series for one in series.images]
        lesions = list(session.scalars(sa.select(Lesion.id)))
    for case in cases:
        for path in (f"/cases?search={case.pseudonym}", f"/cases/{case.id}"):
            walk.get(path)
        for by in ("network", "radiologist"):
            for form in ("sr", "pr", "sc", "json"):
                walk.ask(f"/api/v1/cases/{case.id}/report?format={form}&by={by}", 200, 404, 409)
    for path in ("/cases", "/users", "/datasets", "/runs", "/reader-studies", "/synthetics",
                 "/checkpoints", "/docs", "/account", f"/lesions/{lesions[0]}",
                 f"/lesions/{lesions[0]}/roi.png", f"/images/{images[0]}/pixels",
                 f"/images/{images[0]}/preview.png"):  # fmt: skip
        walk.get(path)
    for path in ("/health/ready", "/openapi.json", "/api/v1/info"):
        walk.ask(path)
    root = "/dicomweb/studies"
    for path in (f"{root}?includefield=all", "/dicomweb/series?includefield=all",
                 "/dicomweb/instances?includefield=all"):  # fmt: skip
        walk.ask(path)
    for one in (BY_STOW[0], BY_NODE[0], HELD[0]):
        study, series, sop = uids(one)
        at = f"{root}/{study}/series/{series}/instances/{sop}"
        for path in (f"{root}?StudyInstanceUID={study}", f"{root}/{study}/metadata",
                     f"{root}/{study}/series/{series}/metadata", at, f"{root}/{study}",
                     f"{at}/frames/1", f"{at}/rendered", f"{root}/{study}/thumbnail"):  # fmt: skip
            walk.ask(path)
    for query in ("PatientID=HEP-SECRET-77", "AccessionNumber=ACC-0815-7", "StudyDate=20191105",
                  "PatientName=Verb%C3%B6rgen*", "PatientBirthDate=19520713",
                  "FrameOfReferenceUID=1.2.826.0.1.777.20191105.4"):  # fmt: skip
        walk.ask(f"{root}?{query}", 204)
    study = uids(BY_STOW[0])[0]
    walk.ask(f"{root}/{study}/series/1.2.3/metadata", 404)
    walk.ask(f"{root}/{study}/rendered", 404, 406, 400, 200)
    walk.keep("echo of a search", walk.browser.get("/cases?search=HEP-SECRET-77"))
    walk.get("/nowhere/HEP-SECRET-77", 404)
    walk.post("/users/none", 404, 405, data={})


def _exported(walk: Walk, database: Database) -> None:
    """A data set, and a reader study of the patient's lesions, read and unblinded."""
    with database.transaction() as session:
        ada = studies.make_user(session, "ada")
        unknown = session.scalars(
            sa.select(Lesion).where(Lesion.id.not_in(sa.select(Review.lesion_id)))
        ).all()
        for lesion, lesion_class in zip(unknown, ("metastasis", "hemangioma"), strict=True):
            studies.review(session, lesion, lesion_class, by=ada)
    frozen = {"name": "frozen", "kind": "calibrated", "mixed_patients": "true"}
    walk.post("/datasets", 303, data=frozen)
    [address] = re.findall(r"/datasets/[0-9a-f-]+/download", walk.get("/datasets").text)
    walk.get(address)
    walk.app.state.inference = studies.NoNetworks()
    with database.transaction() as session:
        lesions = set(session.scalars(sa.select(Lesion.id)))
        studies.make_generators(session, training_kind="calibrated")
        ben = studies.make_user(session, "ben")
        study = studies.compose(session, ada, title="Blind", scheme=LIVER, real=3, synthetic=3,
                                draw=studies.draw)  # fmt: skip
        studies.check_in(session, study.enrol(session, ben, ada), study)
        study.open(session, ada, study.pictures(session, studies.draw))
        assert lesions == {one.stimulus.lesion_id for one in _trials(session, study)} - {None}
        answered.answer(session, study, 1, answered.guessing(3))
        answered.unblind(session, study, ada)
    page = walk.get(f"/reader-studies/{study.id}/results").text
    names = set(re.findall(rf"/reader-studies/{study.id}/exports/[\w.-]+", page))
    assert len(names) > 4
    for name in names:
        walk.get(name, 200, 409)
    walk.get(f"/reader-studies/{study.id}/results/images")
    with database.reading() as session:
        case = session.scalars(sa.select(Case).where(Case.link.is_not(None))).first()
    walk.post(f"/cases/{case.id}/pseudonym", 303, 409, 422, 403, data={"pseudonym": "P 9"})


def _trials(session, study):
    return answered.trials_of(session, answered.enrolment_of(session, study, 1))


# -- what is looked for ----------------------------------------------------------------------------


def _was_there(database: Database, gossip: Gossip, receiver: Receiver) -> None:
    """It was there to leak: by every door, opened with the key, and in what went back."""
    with database.reading() as session:
        cases = session.scalars(sa.select(Case).where(Case.link.is_not(None))).all()
        links = [Link.of(session, case, KEY.encode()).examination for case in cases]
        assert {(one.patient_id, one.study_uid) for one in links} == {
            (TOLD["PatientID"], uids(one[0])[0]) for one in (BY_STOW, BY_NODE, HELD)
        }
        assert {one.state for one in session.scalars(sa.select(Job))} <= set(OVER)
        returned = session.scalars(sa.select(ReturnedObject)).all()
        assert {one.state for one in returned} == {"sent"} and len(returned) >= 6
        assert {one.case_id for one in returned} == {one.id for one in cases}
    assert set(gossip.taken) == {one.sop_uid for one in returned}
    assert {str(parsed(one).PatientID) for one in gossip.taken.values()} == {TOLD["PatientID"]}
    assert TRACES.within(next(iter(gossip.taken.values())))
    assert len(receiver.told) >= 12


def _searched(walk: Walk, database: Database, receiver: Receiver, log, capfd, folder) -> None:
    found = {what: told for what, data, traces in _places(walk, database, receiver, folder)
             if (told := traces.within(data))}  # fmt: skip
    assert found == {}
    told = {text for text in log.told if TRACES.within(text.encode("utf-8", "replace"))}
    # the client of these tests logs the addresses that it asks for; ours keeps none
    assert {text for text in told if not text.startswith("HTTP Request")} == set()
    printed = capfd.readouterr()
    assert TRACES.within((printed.out + printed.err).encode()) == []


def _places(
    walk: Walk, database: Database, receiver: Receiver, folder: Path
) -> Iterator[tuple[str, bytes, Traces]]:
    """What each place is, its bytes, and what must not be in them."""
    for what, headers, body in walk.replies:
        yield f"headers of {what}", headers.encode(), TRACES
        traces = next((found for start, found in BUT.items() if what.startswith(start)), TRACES)
        yield f"body of {what}", body, traces
    for number, told in enumerate(receiver.told):
        yield f"notice {number}", told, TRACES
    with database.reading() as session:
        for table in Base.metadata.sorted_tables:
            for row in session.execute(sa.select(table)):
                for name, value in row._mapping.items():
                    data = value if isinstance(value, bytes) else str(value).encode()
                    yield f"{table.name}.{name}", data, TRACES
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert any(path.name.endswith("-wal") for path in files)
    assert any("backups" in path.parts for path in files)
    for path in files:
        yield f"the file {path}", path.name.encode() + path.read_bytes(), TRACES


def test_every_spelling_is_found_plain_and_packed():
    word = "Verbörgen^Wilhelmina"
    traces = Traces([word])
    noise = np.random.default_rng(1).bytes(5000)
    assert traces.within(noise) == []
    for data, how in spellings(word).items():
        assert traces.within(noise + data + noise) == [f"{word} ({how})"], how
    packed = make_zip({"a.txt": noise + word.upper().encode()})
    assert traces.within(make_zip({"b.zip": packed})) == [f"{word.upper()} (utf-8)"]
