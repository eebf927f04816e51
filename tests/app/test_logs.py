"""The log: each line parses and tells its request; nothing of a patient or typed is in it."""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import warnings

import pytest

from app import logs, request_ids
from app.db import Database
from app.models import User
from app.request_ids import LOOPBACK, Identified
from app.settings import Settings
from factories import make_dicom, make_hu
from serving import Served

PLANTED = "Wilhelmina-4711"
"""Stands wherever somebody could type, send or ask for something."""


def written(record: logging.LogRecord) -> dict[str, object]:
    return json.loads(logs.formatter(words=False).format(record))


def record_of(name: str, message: str, *values: object, fault: bool = False) -> logging.LogRecord:
    try:
        raise ValueError(PLANTED) from KeyError(PLANTED)
    except ValueError as error:
        told = (type(error), error, error.__traceback__) if fault else None
        return logging.LogRecord(name, logging.ERROR, __file__, 7, message, values, told)


def test_a_story_leaves_lines_of_json_with_nothing_of_whom_it_is_about(tmp_path):
    url = f"sqlite:///{tmp_path}/hepatica.sqlite3"
    database = Database(url)
    database.migrate()
    with database.transaction() as session:
        User.add(session, "ada", "admin", "correct horse")
    database.engine.dispose()
    served = Served(url, tmp_path, HEPATICA_LOG_LEVEL="debug").wait()
    origin = f"http://127.0.0.1:{served.port}"
    told = []

    def ask(method: str, path: str, body: bytes | None = None, **headers: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
        sent = {"Origin": origin, "X-Request-ID": f"{PLANTED} é", **headers}
        connection.request(method, path, body, {k: v.encode() for k, v in sent.items()})
        reply = connection.getresponse()
        reply.read()
        told.append(reply.getheader("x-request-id"))
        connection.close()
        return reply.status

    form = {"Content-Type": "application/x-www-form-urlencoded"}
    try:
        ask("GET", f"/sessions/new?next=/{PLANTED}")
        for name, password in ((PLANTED, "x"), ("ada", PLANTED)):
            ask("POST", "/sessions", f"name={name}&password={password}".encode(), **form)
        cookie = served.sign_in("ada", "correct horse")
        own = {"Cookie": cookie}
        assert ask("GET", f"/cases?search={PLANTED}", **own) == 200
        for path in ("/readings/", "/nowhere/", "/static/", "/dicomweb/studies/", "/%ED%A0%80"):
            assert ask("GET", path + PLANTED, **own) in (400, 403, 404, 422)
        assert ask("POST", "/users", f"name={PLANTED}&role=x&password=x".encode(), **own, **form)
        assert ask("GET", f"/api/v1/jobs?state={PLANTED}", Authorization=f"Bearer {PLANTED}") == 401
        patient = make_dicom(make_hu(1), PatientName=PLANTED, PatientID=PLANTED, StudyID=PLANTED)
        for what, file in (("whole", patient), ("damaged", patient[:-900] + b"\xff" * 300)):
            body = (
                f'--x\r\nContent-Disposition: form-data; name="files"; filename="{PLANTED}-{what}"'
                "\r\n\r\n"
            ).encode() + file + b"\r\n--x--\r\n"  # fmt: skip
            kind = {"Content-Type": "multipart/form-data; boundary=x"}
            assert ask("POST", "/cases", body, **own, **kind) in (200, 422)
    finally:
        served.close()
    lines = [json.loads(line) for line in served.log.splitlines()]
    assert PLANTED not in served.log
    answered = [line for line in lines if line["logger"] == "hepatica.request"]
    assert {line["request"] for line in answered} >= set(told)
    assert len(set(told)) == len(told)
    assert ("POST", "/cases", 200) in {
        (line["method"], line["route"], line["status"]) for line in answered
    }
    assert ("GET", "/api/v1/jobs", 401) in {
        (line["method"], line["route"], line["status"]) for line in answered
    }
    assert all({"timestamp", "level", "event"} <= set(line) for line in lines)


def test_of_a_fault_the_log_has_kind_and_place_and_no_message():
    line = written(record_of("hepatica.worker", "Run %s ended.", 7, fault=True))
    assert line["event"] == "Run 7 ended."
    assert "builtins.ValueError" in line["fault"] and "KeyError" in line["fault"]
    assert "test_logs.py" in line["fault"]
    assert PLANTED not in json.dumps(line)


def test_of_what_libraries_say_the_log_has_the_place(recwarn):
    line = written(record_of("pydicom", f"Invalid value for VR UI: {PLANTED}", fault=True))
    assert line["event"] == "said at test_logs:7"
    shown = warnings.formatwarning(PLANTED, UserWarning, "/x/values.py", 12, PLANTED)
    assert written(record_of("py.warnings", "%s", shown))["event"] == "UserWarning at values.py:12"
    assert PLANTED not in json.dumps([line, written(record_of("py.warnings", PLANTED))])


@pytest.mark.parametrize(
    ("peer", "proxies", "told", "kept"),
    [
        ("127.0.0.1", LOOPBACK, "a1b2c3d4e5", True),
        ("::1", LOOPBACK, "a1b2c3d4e5", True),
        ("10.0.0.9", "10.0.0.0/24", "a1b2-c3.d4_e5", True),
        ("10.0.1.9", "10.0.0.0/24,127.0.0.1", "a1b2c3d4e5", False),
        ("127.0.0.1", LOOPBACK, "short", False),
        ("127.0.0.1", LOOPBACK, "x" * 65, False),
        ("127.0.0.1", LOOPBACK, 'a"b c{}\n4711', False),
    ],
)
def test_a_named_proxy_alone_says_what_a_request_is_called(peer, proxies, told, kept):
    seen, sent = [], []

    async def app(_scope, _receive, send):
        seen.append(request_ids.current())
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message):
        sent.append(dict(message["headers"])[b"x-request-id"].decode())

    scope = {"type": "http", "client": (peer, 1), "headers": [(b"x-request-id", told.encode())]}
    asyncio.run(Identified(app, proxies)(scope, None, send))
    assert seen == sent
    assert (seen == [told]) is kept
    assert request_ids.current() == ""


def test_a_refusal_tells_the_number_of_its_request(client, signed_in_as):
    page = client.get("/nowhere", headers={"accept": "text/html"})
    assert f"<code>{page.headers['x-request-id']}</code>" in page.text
    told = client.get("/api/v1/info")
    assert told.json()["request_id"] == told.headers["x-request-id"]


def test_people_read_words_and_programs_json(monkeypatch, capsys):
    for form, words in (("words", True), ("json", False)):
        chosen = Settings(log_format=form)
        assert logs.in_words(chosen) is words
        logs.say(chosen, "ready")
        assert capsys.readouterr().out == ("ready\n" if words else "")
    assert " said at test_logs:7 " in logs.formatter(words=True).format(record_of("x", "y"))
