"""Bodies: by route, not by what a client calls them; nothing of a stranger's; never on disk."""

from __future__ import annotations

import json
import tempfile
from contextlib import ExitStack
from urllib.parse import quote

import pytest
from fastapi.routing import APIRoute, _iter_routes_with_context

from app import bodies
from app.bodies import OPEN, SIGN_IN_BYTES, SMALL_BYTES, takes_files
from factories import make_png

FORM = {"content-type": "application/x-www-form-urlencoded"}
PARTS = {"content-type": "multipart/form-data; boundary=x"}
JSON = {"content-type": "application/json"}


def part(name: str, value: bytes, filename: str | None = None) -> bytes:
    file = f'; filename="{filename}"' if filename is not None else ""
    head = f'--x\r\ncontent-disposition: form-data; name="{name}"{file}\r\n\r\n'
    return head.encode("utf-8", "surrogateescape") + value + b"\r\n"


def parts(*found: bytes) -> bytes:
    return b"".join(found) + b"--x--\r\n"


@pytest.fixture(autouse=True)
def nothing_on_disk(monkeypatch):
    def rolled_over(*_arguments):
        raise AssertionError("a body went to a temporary file")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", rolled_over)


def posts(app):
    return [
        context.path if context else route.path
        for route, context in _iter_routes_with_context(app.routes)
        if isinstance(route, APIRoute) and "POST" in (context or route).methods
    ]


def test_no_body_of_a_stranger_is_read_where_a_sign_in_is_needed(app, client):
    read = []

    def body():
        for _ in range(3):
            read.append(1)
            yield b"x" * 1000

    closed = [path for path in posts(app) if path not in OPEN]
    assert len(closed) > 25
    for path in closed:
        for headers in (FORM, PARTS, JSON, {"content-type": "text/plain"}):
            sent = {**headers, "cookie": f"hepatica_session={'A' * 43}"}
            reply = client.post(path, content=body(), headers=sent)
            assert reply.status_code == 401, path
    # the test client reads what it sends beforehand; the server was never asked for it
    taken = []
    for path in closed:
        _ask(app, path, taken)
    assert taken == []


def _ask(app, path, taken) -> None:
    import asyncio

    async def receive():
        taken.append(path)
        return {"type": "http.request", "body": b"x", "more_body": False}

    async def send(message):
        if message["type"] == "http.response.start":
            assert message["status"] in (401, 403), path

    headers = [(b"host", b"testserver"), (b"origin", b"http://testserver"),
               (b"content-type", b"multipart/form-data; boundary=x"), (b"content-length", b"9999"),
               (b"authorization", b"Bearer hep_unknown"),
               (b"cookie", b"hepatica_session=" + b"A" * 43)]  # fmt: skip
    scope = {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(),
        "query_string": b"", "headers": headers, "scheme": "http", "server": ("testserver", 80),
        "client": ("192.0.2.7", 1), "http_version": "1.1", "root_path": "", "state": {},
    }  # fmt: skip
    asyncio.run(app(scope, receive, send))


@pytest.mark.parametrize("headers", [FORM, PARTS, JSON, {"content-type": "image/png"}])
def test_what_takes_no_files_takes_little_whatever_it_is_called(app, client, signed_in_as, headers):
    browser = signed_in_as("admin")
    for path in posts(app):
        if takes_files(path) or path.startswith("/api/"):
            continue
        most = SIGN_IN_BYTES if path in OPEN else SMALL_BYTES
        declared = {**headers, "content-length": str(most + 1)}
        assert browser.post(path, content=b"a=b", headers=declared).status_code == 413, path

    def endless():
        for _ in range(50):
            yield b"a" * 100_000

    assert client.post("/sessions", content=endless(), headers=headers).status_code == 413
    assert browser.post("/users", content=endless(), headers=headers).status_code == 413


def test_a_length_that_is_no_number_is_refused(signed_in_as):
    browser = signed_in_as("reader")
    for length in (b"-1", b"1e9", "٣".encode(), b"0x10", b"9" * 30, b"+5"):
        headers = {**FORM, "content-length": length}
        assert browser.post("/users", content=b"a=b", headers=headers).status_code in (400, 413)


def test_a_file_where_none_belongs_is_refused_and_not_kept(client, signed_in_as):
    body = parts(part("name", b"ada"), part("password", b"x" * 10_000, "secret.dcm"))
    reply = client.post("/sessions", content=body, headers=PARTS)
    assert reply.status_code == 400
    assert "takes no files" in reply.text
    large = parts(part("name", b"x" * 1_500_000, "secret.dcm"))
    assert signed_in_as("admin").post("/users", content=large, headers=PARTS).status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        parts(*(part(f"field {number}", b"1") for number in range(1001))),
        parts(
            b'--x\r\ncontent-disposition: form-data; name="a"\r\n'
            + b"a: b\r\n" * 9999
            + b"\r\n\r\n"
        ),
        parts(b'--x\r\ncontent-disposition: form-data; name="a' + b"a" * 99_999 + b'"\r\n\r\n\r\n'),
        parts(part("a", b"a" * 1_000_001)),
    ],
    ids=["parts", "headers of a part", "a long header of a part", "a long field"],
)
def test_parts_their_headers_and_fields_are_bounded(signed_in_as, token, body):
    """Whatever the body as a whole may have."""
    browser = signed_in_as("admin")
    for path in ("/users", "/cases"):
        assert browser.post(path, content=body, headers=PARTS).status_code == 400
    bearer = {**PARTS, "authorization": f"Bearer {token}"}
    reply = browser.post("/api/v1/classifications", content=body, headers=bearer)
    assert reply.status_code in (400, 404)  # no classifier is asked for before the body


def test_a_form_of_a_browser_in_either_encoding_is_read(signed_in_as):
    browser = signed_in_as("admin")
    fields = {"name": b"eve", "role": b"reader", "password": "pässwörd 🫀".encode()}
    body = parts(*(part(name, value) for name, value in fields.items()))
    assert browser.post("/users", content=body, headers=PARTS).status_code == 303
    encoded = "&".join(f"{name}={quote(value)}" for name, value in fields.items())
    encoded = encoded.replace("eve", "eva")
    assert browser.post("/users", content=encoded.encode(), headers=FORM).status_code == 303


NOT_TEXT = [b"a\0b", b"a\x0bb", b"a\xffb", b"a\xed\xa0\x80b"]


@pytest.mark.parametrize("bad", NOT_TEXT)
def test_a_name_a_value_and_a_file_name_that_are_no_text_are_refused(signed_in_as, bad):
    browser = signed_in_as("reader")
    text = bad.decode("utf-8", "surrogateescape")
    image = make_png(128)
    for body in (
        parts(part("files", image, "a.png"), part("pseudonym", bad)),
        parts(part("files", image, f"{text}.png"), part("pseudonym", b"P1")),
        parts(part("files", image, "a.png"), part(text, b"P1")),
    ):
        reply = browser.post("/cases", content=body, headers=PARTS)
        assert reply.status_code == 400
        assert "cannot be used" in reply.text
    for body in (b"name=" + quote(bad).encode(), quote(bad).encode() + b"=1", b"name=" + bad):
        assert browser.post("/users", content=body, headers=FORM).status_code == 400


def test_a_form_that_means_another_encoding_is_refused(client):
    # "+AAA-" is a NUL in UTF-7
    headers = {"content-type": "multipart/form-data; boundary=x; charset=utf-7"}
    reply = client.post("/sessions", content=parts(part("name", b"+AAA-")), headers=headers)
    assert reply.status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        b'{"checkpoint": "a\\u0000b"}',
        b'{"checkpoint": "\\ud800"}',
        b'{"a\\u0000b": 1}',
        b'{"a": {"b": [1, {"c": "\\udfff"}]}}',
        b'{"seed": NaN}',
        b"{" + b",".join(b'"%d": 0' % number for number in range(1001)) + b"}",
        b'{"seed": Infinity}',
        b'{"seed": ' + b"9" * 5000 + b"}",
        b'{"seed": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b"{",
        b"\xff\xfe{\x00}\x00",
        b'{"checkpoint": "\xff"}',
    ],
)
def test_json_that_nobody_can_keep_is_refused(client, token, body):
    headers = {**JSON, "authorization": f"Bearer {token}"}
    reply = client.post("/api/v1/synthetics", content=body, headers=headers)
    assert reply.status_code in (400, 422)
    assert reply.headers["content-type"] == "application/problem+json"
    assert json.loads(reply.text)["detail"]


def test_a_body_that_comes_too_slowly_is_given_up(client, monkeypatch):
    import asyncio

    monkeypatch.setattr(bodies, "_SILENCE_S", 0.01)

    async def never():
        await asyncio.Event().wait()

    body = bodies._Body(never, 100)
    with pytest.raises(bodies.TooSlow):
        asyncio.run(body.whole())

    monkeypatch.setattr(bodies, "_SILENCE_S", 30.0)
    monkeypatch.setattr(bodies, "_PATIENCE_S", 0.0)

    async def dripping():
        await asyncio.sleep(0.005)
        return {"type": "http.request", "body": b"x", "more_body": True}

    with pytest.raises(bodies.TooSlow):
        asyncio.run(bodies._Body(dripping, 10_000).whole())


def test_uploads_do_not_fill_the_memory_together(app):
    limit = bodies.BodyLimit(app, most_bytes=100)
    with ExitStack() as under_way:
        for _ in range(3):
            under_way.enter_context(limit._room(100))
        of_unknown_length = under_way.enter_context(limit._room(None))
        of_unknown_length.grow(100)
        for further in (lambda: of_unknown_length.grow(1), lambda: limit.take(1)):
            with pytest.raises(bodies.Unavailable):
                further()
    with limit._room(100):
        assert limit._under_way == 100
    assert limit._under_way == 0


def test_of_many_faults_a_few_are_told(client, token):
    """An answer of a hundred thousand sentences would cost more than the body that asked for it."""
    body = b"{" + b",".join(b'"%s%d": 0' % (b"x" * 500, number) for number in range(900)) + b"}"
    headers = {**JSON, "authorization": f"Bearer {token}"}
    reply = client.post("/api/v1/synthetics", content=body, headers=headers)
    assert reply.status_code == 422
    assert len(reply.json()["errors"]) == 20
    assert "more." in reply.json()["detail"]
    assert len(reply.content) < 10_000
