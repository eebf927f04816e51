"""What every request passes: names, methods, text; one answer to each, and no value in the log."""

from __future__ import annotations

import base64
import json
import logging
import time
import uuid
from urllib.parse import quote

import pytest
import sqlalchemy as sa
from pydantic import ValidationError
from starlette.testclient import TestClient

from app.cookies import tag
from app.db import Database
from app.main import create_app
from app.models import Event, User
from app.settings import Settings
from app.text import Unfit

KEY = "a key for tests, thirty-two characters or more"
ORIGIN = "http://testserver"


# ---- names and methods ---------------------------------------------------------------------------


@pytest.fixture
def named(database, monkeypatch):
    """A browser of an installation that is reached under one name."""
    import app.main as main

    monkeypatch.setattr(main, "Database", lambda _url: database)
    app = create_app(Settings(installation_key=KEY, public_origin="http://hepatica.example.org"))
    return TestClient(app, base_url="http://hepatica.example.org", follow_redirects=False)


def test_another_name_is_refused_where_ours_is_set(named):
    for host in ("evil.example", "hepatica.example.org.evil.example", "", "evil.example:80"):
        assert named.get("/sessions/new", headers={"host": host}).status_code == 400
    ours = ("hepatica.example.org", "HEPATICA.example.org:8443", "localhost:8000", "127.0.0.1",
            "[::1]:8000", "192.0.2.7")  # fmt: skip
    for host in ours:
        assert named.get("/sessions/new", headers={"host": host}).status_code == 200


def test_further_names_are_those_of_the_settings():
    told = Settings(installation_key=KEY, hosts="Web, monitor.example.org")
    assert told.names == {"web", "monitor.example.org"}
    assert Settings(installation_key=KEY).names == frozenset()
    both = Settings(installation_key=KEY, hosts="web", public_origin="https://hepatica.example.org")
    assert both.names == {"web", "hepatica.example.org"}
    for name in ("https://web", "web:8000", "*.example.org", "web/x"):
        with pytest.raises(ValidationError, match="no name of a host"):
            Settings(hosts=name)


def test_two_names_are_refused_whatever_they_are(client, named):
    for browser in (client, named):
        host = browser.base_url.host
        both = [("host", host), ("host", "evil.example")]
        for order in (both, both[::-1], [both[0], both[0]]):
            assert browser.get("/sessions/new", headers=order).status_code == 400


def test_a_slash_too_many_leads_to_an_address_of_this_host(client):
    for path, to in (
        ("/cases/", "/cases"),
        ("/cases/?filter=awaiting", "/cases?filter=awaiting"),
        ("//evil.example/", "/evil.example"),
        ("//evil.example/%2F..", "/evil.example//.."),
        ("/\\evil.example/", "/%5Cevil.example"),
    ):
        reply = client.get(ORIGIN + path, headers={"host": "evil.example"})
        assert reply.status_code == 307
        assert reply.headers["location"] == to


@pytest.mark.parametrize("method", ["TRACE", "OPTIONS", "PUT", "DELETE", "PATCH", "PROPFIND", "X"])
def test_an_unknown_method_is_refused_with_those_that_there_are(client, method):
    for path, allowed in (
        ("/cases", "GET, HEAD, POST"),
        ("/sessions/deletion", "POST"),
        ("/health/live", "GET, HEAD"),
        ("/api/v1/synthetics", "POST"),
        ("/static/css/base.css", "GET, HEAD"),
        (f"/cases/{uuid.uuid4()}", "GET, HEAD"),
    ):
        reply = client.request(method, path)
        assert reply.status_code == 405
        assert reply.headers["allow"] == allowed
    assert client.request(method, "/nowhere").status_code == 404


def test_a_known_method_at_the_wrong_address_is_refused_likewise(signed_in_as):
    for path in ("/checkpoints", "/static/css/base.css", "/health/live"):
        reply = signed_in_as("reader").post(path)
        assert reply.status_code == 405
        assert reply.headers["allow"] == "GET, HEAD"


def test_head_is_get_without_its_body(client, signed_in_as):
    browser = signed_in_as("reader")
    for path in ("/health/live", "/health/ready", "/sessions/new", "/docs", "/openapi.json"):
        got, head = client.get(path), client.head(path)
        assert head.status_code == got.status_code == 200
        assert head.content == b""
        assert head.headers["content-length"] == str(len(got.content))
    assert browser.head("/cases").status_code == 200
    assert browser.head(f"/cases/{uuid.uuid4()}").status_code == 404


def test_a_page_that_is_not_there_shows_who_is_signed_in(signed_in_as):
    assert "Sign out" in signed_in_as("reader").get("/nowhere").text


# ---- text ----------------------------------------------------------------------------------------


def test_a_control_character_in_a_header_is_refused(client):
    for value in (b"a\x00b", b"a\x0bb", b"a\x7fb"):
        for name in ("accept", "cookie", "x-anything", "if-none-match"):
            assert client.get("/sessions/new", headers={name: value}).status_code == 400


def test_a_query_that_would_be_read_in_another_encoding_is_refused(app):
    import asyncio

    told = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        told.append(message.get("status"))

    scope = {
        "type": "http", "method": "GET", "path": "/sessions/new", "raw_path": b"/sessions/new",
        "query_string": "next=/ä".encode(), "headers": [(b"host", b"testserver")], "state": {},
        "scheme": "http", "server": ("testserver", 80), "client": ("192.0.2.7", 1),
        "http_version": "1.1", "root_path": "",
    }  # fmt: skip
    asyncio.run(app(scope, receive, send))
    assert told[0] == 400


def test_a_text_area_may_hold_lines_and_a_line_may_not(signed_in_as):
    browser = signed_in_as("researcher")
    areas = {"title": "T", "go": "keep", "instructions": "one\r\ntwo\tthree"}
    assert browser.post("/reader-studies/sketches", data=areas).status_code == 200
    assert browser.get("/cases?filter=a%0Ab").status_code == 400
    assert browser.get("/checkpoints/a%0Ab").status_code == 400


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request, tmp_path):
    url = f"sqlite:///{tmp_path}/text.sqlite3"
    database = Database(url if request.param == "sqlite" else request.getfixturevalue("postgres"))
    database.migrate()
    yield database
    database.engine.dispose()


@pytest.mark.parametrize("bad", ["a\0b", "a\x1fb", "a\ud800b", {"a\0": 1}, {"a": ["b", "\udfff"]}])
def test_the_database_itself_refuses_what_slipped_through_every_door(engine, bad):
    with pytest.raises(Unfit), engine.transaction() as session:
        detail = bad if isinstance(bad, dict) else {"note": bad}
        session.add(Event(actor="a", kind="k", detail=detail))
    if isinstance(bad, str):
        with pytest.raises(Unfit), engine.reading() as session:
            User.named(session, bad)


def test_the_database_refuses_numbers_that_it_has_no_room_for(engine):
    query = sa.select(Event.id).limit(5)
    with pytest.raises(Unfit), engine.reading() as session:
        session.execute(query.offset(10**21)).all()


def test_the_database_takes_honest_text(engine):
    honest = ["Übersicht\n\tzweite Zeile\r\n", "🫀", r"\u0000 as typed", "٣ ²", "\x7f\x85"]
    with engine.transaction() as session:
        session.add(Event(actor="a", kind="k", detail={"notes": honest}))
    with engine.reading() as session:
        assert session.scalars(sa.select(Event.detail)).one() == {"notes": honest}


# ---- one answer ----------------------------------------------------------------------------------


SECRET = "Sylvia Secret 19610101"


@pytest.fixture
def faulty(app, client):
    """A route whose fault quotes a patient."""

    @app.get("/faults/{name}")
    def fail(name: str) -> None:
        try:
            raise KeyError(SECRET)
        except KeyError as error:
            raise RuntimeError(f"cannot keep {SECRET}") from error

    yield client
    app.router.routes.pop()


def test_a_fault_is_answered_and_logged_once_without_a_value(faulty, caplog):
    with caplog.at_level(logging.DEBUG, logger="hepatica"):
        reply = faulty.get("/faults/Sylvia?patient=Secret")
    assert reply.status_code == 500
    assert "nothing was changed" in reply.text
    assert reply.headers["content-security-policy"]
    [record] = [one for one in caplog.records if one.name == "hepatica"]
    said = record.getMessage()
    assert "RuntimeError" in said
    assert "KeyError" in said
    assert "tests/app/test_doors.py" in said
    assert "/faults/{name}" in said
    assert record.exc_info is None
    assert not any(word in caplog.text for word in ("Sylvia", "Secret", "19610101"))


def test_a_database_that_does_not_answer_is_503_and_no_parameter_is_logged(
    app, signed_in_as, caplog, monkeypatch
):
    import app.routes.checkpoints as checkpoints

    def locked(*_arguments):
        raise sa.exc.OperationalError(f"SELECT {SECRET}", {"note": SECRET}, Exception(SECRET))

    browser = signed_in_as("reader")
    monkeypatch.setattr(checkpoints.Checkpoint, "served", locked)
    reply = browser.get("/checkpoints", headers={"accept": "application/json"})
    assert reply.status_code == 503
    assert int(reply.headers["retry-after"]) >= 1
    assert reply.headers["content-type"] == "application/problem+json"
    assert "OperationalError" in caplog.text
    assert SECRET not in caplog.text


# ---- the note that is said once ------------------------------------------------------------------


def flash(level: str, text: str, key: bytes = KEY.encode(), moment: int | None = None) -> str:
    note = base64.urlsafe_b64encode(json.dumps({"level": level, "text": text}).encode()).decode()
    stamp = str(int(time.time()) if moment is None else moment)
    body = note.rstrip("=")
    return f"{stamp}.{body}.{tag(key, 'flash', stamp, body)}"


@pytest.mark.parametrize(
    "value",
    [
        "[" * 30_000,
        "%5B" * 10_000,
        quote(json.dumps([{"level": "info", "text": "a neighbour's words"}])),
        quote(json.dumps([{"level": "nonsense", "text": "a neighbour's words"}])),
        flash("info", "a neighbour's words", key=b"the neighbour's own key, of 32 characters"),
        flash("info", "a neighbour's words", moment=int(time.time()) - 3600),
        f"1.{'A' * 3000}.{'B' * 32}",
        "9" * 4000,
        "",
    ],
)
def test_a_note_that_we_did_not_write_a_moment_ago_is_not_said(client, value):
    reply = client.get("/sessions/new", headers={"cookie": f"hepatica_flash={value}"})
    assert reply.status_code == 200
    assert "neighbour" not in reply.text


def test_a_note_is_said_once(signed_in_as):
    browser = signed_in_as("admin")
    form = {"name": "eve", "role": "reader", "password": "long enough"}
    assert browser.post("/users", data=form).status_code == 303
    assert "Account eve was made." in browser.get("/users").text
    assert "Account eve was made." not in browser.get("/users").text


def test_a_long_note_is_shortened_so_that_the_browser_keeps_it(app, client):
    from app.responses import see_other

    words = "Enrolled: " + ", ".join(f"Müller-Lüdenscheidt {n} 🫀" for n in range(500))
    app.get("/long")(lambda: see_other("/sessions/new", words))
    reply = client.get("/long")
    [cookie] = reply.headers.get_list("set-cookie")
    assert len(cookie) < 4096
    page = client.get("/sessions/new")
    assert page.status_code == 200
    assert "Enrolled: Müller-Lüdenscheidt 0 🫀" in page.text
    assert "…" in page.text
