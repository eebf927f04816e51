"""What a connection may cost, tried with bare sockets against a server of our own."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
import sqlalchemy as sa
import uvicorn

from app import edge
from app.cookies import SESSION
from app.db import Database
from app.main import create_app
from app.models import ApiToken, Blob, Case, Job, SignIn, User
from app.settings import Settings
from factories import make_dicom

KEY = "a key for tests, thirty-two characters or more"
FILE_PART = (
    b'--x\r\ncontent-disposition: form-data; name="files"; filename="a.dcm"\r\n\r\n%s\r\n'
    % make_dicom()
)
GET = b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n"


@contextmanager
def serving(app) -> Iterator[int]:
    """The application behind our edge on a free port of loopback."""
    configuration = uvicorn.Config(
        app, host="127.0.0.1", port=0, http=edge.Edge, ws="none", log_level="critical",
        timeout_keep_alive=1, lifespan="off",
    )  # fmt: skip
    server = uvicorn.Server(configuration)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(20)


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    url = f"sqlite:///{tmp_path_factory.mktemp('edge')}/hepatica.sqlite3"
    Database(url).migrate()
    made = create_app(Settings(database_url=url, installation_key=KEY))

    @made.get("/large")
    async def large():
        from starlette.responses import Response

        return Response(b"x" * 50_000_000)

    @made.get("/fault")
    async def fault():
        raise RuntimeError

    return made


@pytest.fixture
def known(app) -> dict[str, bytes]:
    """Who asks at an address: a person at pages, a program elsewhere."""
    with app.state.database.transaction() as session:
        who = User.named(session, "ada") or User.add(session, "ada", "reader", "correct horse")
        token = ApiToken.add(session, "pacs", "machine")
        cookie = SignIn.begin(session, who, 12.0)
    program = b"authorization: Bearer %s\r\n" % token.encode()
    person = f"cookie: {SESSION}={cookie}\r\n".encode()
    return {"/api/v1/fetches": program, "/dicomweb/studies": program, "/cases": person}


@pytest.fixture
def port(app) -> Iterator[int]:
    with serving(app) as found:
        yield found


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def answer(connection: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    found = b""
    while True:
        try:
            piece = connection.recv(65536)
        except ConnectionResetError:
            return found
        if not piece:
            return found
        found += piece


def one_reply(connection: socket.socket) -> bytes:
    """One answer of a connection that stays open."""
    found = b""
    while b"\r\n\r\n" not in found:
        piece = connection.recv(65536)
        if not piece:
            return found
        found += piece
    head, body = found.split(b"\r\n\r\n", 1)
    length = next(
        int(line.split(b":")[1])
        for line in head.split(b"\r\n")
        if line.startswith(b"content-length")
    )
    while len(body) < length:
        piece = connection.recv(1 << 20)
        if not piece:
            break
        body += piece
    return head + b"\r\n\r\n" + body


@pytest.mark.parametrize(
    "head",
    [
        GET + b"x: " + b"a" * 40_000 + b"\r\n\r\n",
        GET + b"".join(b"x%d: a\r\n" % n for n in range(200)) + b"\r\n",
        GET + b"".join(b"x%d: %s\r\n" % (n, b"a" * 1000) for n in range(50)) + b"\r\n",
        b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nhost: localhost\r\n\r\n",
        GET + b"x" * 40_000 + b": a\r\n\r\n",
    ],
)
def test_a_head_that_is_too_large_is_refused(port, head):
    with closing(connected(port)) as connection:
        connection.sendall(head)
        assert answer(connection).startswith(b"HTTP/1.1 431 ")


def test_a_header_without_end_is_refused_before_it_fills_the_memory(port):
    with closing(connected(port)) as connection:
        connection.sendall(GET + b"x: ")
        sent = 0
        try:
            while sent < 50_000_000:
                connection.sendall(b"a" * 10_000)
                sent += 10_000
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert sent < 10_000_000  # what the buffers of both sides take


def test_a_trailer_without_end_is_refused_likewise(port):
    head = b"POST /sessions HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
    with closing(connected(port)) as connection:
        connection.sendall(head + b"1\r\na\r\n0\r\nx: ")
        sent = 0
        try:
            while sent < 50_000_000:
                connection.sendall(b"a" * 10_000)
                sent += 10_000
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert sent < 10_000_000


def test_a_head_that_comes_byte_by_byte_is_given_up(port, monkeypatch):
    monkeypatch.setattr(edge, "HEAD_S", 0.5)
    with closing(connected(port)) as slow, closing(connected(port)) as silent:
        slow.sendall(GET)
        begun = threading.Event()

        def drip() -> None:
            begun.set()
            try:
                for _ in range(200):
                    slow.sendall(b"x")
                    time.sleep(0.05)
            except OSError:
                pass

        dripping = threading.Thread(target=drip)
        dripping.start()
        begun.wait()
        assert answer(slow).startswith(b"HTTP/1.1 408 ")
        assert answer(silent) == b""
        dripping.join()


def test_a_connection_that_asks_no_more_is_closed(port):
    with closing(connected(port)) as connection:
        connection.sendall(GET + b"\r\n")
        assert one_reply(connection).startswith(b"HTTP/1.1 200 ")
        assert answer(connection) == b""


def test_empty_lines_do_not_keep_a_connection(port, monkeypatch):
    monkeypatch.setattr(edge, "HEAD_S", 0.3)
    with closing(connected(port)) as connection:
        connection.sendall(GET + b"\r\n")
        one_reply(connection)
        connection.sendall(b"\r\n")
        assert answer(connection) == b""


def test_the_one_idle_longest_makes_room(app, monkeypatch):
    monkeypatch.setattr(edge, "most_connections", lambda: 3)
    with serving(app) as port:
        idle = [connected(port) for _ in range(6)]
        with closing(connected(port)) as newest:
            newest.sendall(GET + b"\r\n")
            assert one_reply(newest).startswith(b"HTTP/1.1 200 ")
        assert answer(idle[0]) == b""
        for connection in idle:
            connection.close()


def test_a_client_that_takes_nothing_of_its_answer_is_cut_off(app, monkeypatch):
    monkeypatch.setattr(edge, "STALLED_S", 0.3)
    lost = threading.Event()
    seen = edge.Edge.connection_lost

    def noticed(self, error):
        lost.set()
        seen(self, error)

    monkeypatch.setattr(edge.Edge, "connection_lost", noticed)
    with serving(app) as port, closing(connected(port)) as connection:
        connection.sendall(b"GET /large HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert lost.wait(20)


def test_a_large_answer_that_is_taken_comes_whole(port, monkeypatch):
    monkeypatch.setattr(edge, "STALLED_S", 0.5)
    with closing(connected(port)) as connection:
        connection.sendall(b"GET /large HTTP/1.1\r\nhost: localhost\r\n\r\n")
        taken = 0
        while taken < 50_000_000:  # slower than the keep-alive and the patience together
            piece = connection.recv(1 << 20)
            assert piece, f"cut off after {taken} bytes"
            taken += len(piece)
            time.sleep(0.05)


def test_a_fault_does_not_cut_the_connection(port):
    with closing(connected(port)) as connection:
        for _ in range(2):
            connection.sendall(b"GET /fault HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert one_reply(connection).startswith(b"HTTP/1.1 500 ")
        connection.sendall(GET + b"\r\n")
        assert one_reply(connection).startswith(b"HTTP/1.1 200 ")


def test_the_rest_of_a_refused_body_does_not_cut_off_its_answer(port):
    head = b"POST /cases HTTP/1.1\r\nhost: localhost\r\norigin: http://localhost\r\n" + (
        b"content-type: multipart/form-data; boundary=x\r\ncontent-length: 20000000\r\n\r\n"
    )
    with closing(connected(port)) as connection:
        connection.sendall(head)
        for _ in range(200):
            connection.sendall(b"a" * 100_000)
        assert one_reply(connection).startswith(b"HTTP/1.1 401 ")
        connection.sendall(GET + b"\r\n")
        assert one_reply(connection).startswith(b"HTTP/1.1 200 ")


def test_nonsense_gets_one_answer(port):
    for nonsense in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET\r\n\r\n", b"\0" * 100):
        with closing(connected(port)) as connection:
            connection.sendall(nonsense)
            assert answer(connection).count(b"HTTP/1.1 400 ") == 1


@pytest.mark.parametrize(
    "head",
    [
        b"content-length: 5\r\ntransfer-encoding: chunked\r\n",
        b"transfer-encoding: chunked\r\ncontent-length: 5\r\n",
        b"content-length: 5\r\ncontent-length: 6\r\n",
        b"transfer-encoding: chunked, identity\r\n",
        b"transfer-encoding : chunked\r\n",
        b"x: a\r\n b\r\ncontent-length: 3\r\n",
    ],
)
def test_a_request_that_a_proxy_may_read_otherwise_is_refused_and_the_connection_closed(port, head):
    """No second request is hidden in the body of a first (RFC 9112, 6.3)."""
    hidden = b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n"
    with closing(connected(port)) as connection:
        connection.sendall(
            b"POST /sessions HTTP/1.1\r\nhost: localhost\r\n" + head + b"\r\n0\r\n\r\n" + hidden
        )
        told = answer(connection)
        assert told.startswith(b"HTTP/1.1 400 ")
        assert told.count(b"HTTP/1.1") == 1


def asked_for(port: int, sent: bytes, *, half_closed: bool = False) -> bytes:
    """All that is answered to these bytes."""
    with closing(connected(port)) as connection:
        connection.sendall(sent)
        if half_closed:
            connection.shutdown(socket.SHUT_WR)
        return answer(connection)


@pytest.mark.parametrize(
    ("path", "kind", "begun"),
    [
        ("/sessions", b"application/x-www-form-urlencoded", b"name=ada&password="),
        ("/cases", b"multipart/form-data; boundary=x", FILE_PART + FILE_PART[:150]),
        ("/api/v1/fetches", b"application/json", b'{"study": "1.2'),
        ("/dicomweb/studies", b'multipart/related; type="application/dicom"; boundary=x',
         b"--x\r\ncontent-type: application/dicom\r\n\r\nDICM"),
    ],
)  # fmt: skip
def test_a_body_that_breaks_off_is_answered_and_nothing_of_it_is_kept(
    app, known, port, path, kind, begun
):
    head = (
        b"POST %s HTTP/1.1\r\nhost: localhost\r\norigin: http://localhost\r\n"
        b"%scontent-type: %s\r\n" % (path.encode(), known.get(path, b""), kind)
    )
    length = b"content-length: %d\r\n\r\n"
    chunk = b"transfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(begun), begun)
    told = asked_for(port, head + chunk + b"nonsense\r\n")
    assert told.startswith(b"HTTP/1.1 400 ") and b"not sound HTTP; nothing was changed" in told
    told = asked_for(port, head + length % (len(begun) + 99) + begun, half_closed=True)
    assert told.startswith(b"HTTP/1.1 400 ") and b"closed before the body had come" in told
    assert told.count(b"HTTP/1.1 ") == 1
    if path != "/sessions":  # its length as it is told, its content cut short
        told = asked_for(port, head + b"connection: close\r\n" + length % len(begun) + begun)
        status, words = told.partition(b"\r\n")[0], told.partition(b"\r\n\r\n")[2]
        assert b" 400 " in status and (b"cut short" in words or b"not JSON" in words), told
    with app.state.database.reading() as session:
        assert (
            not session.scalars(sa.select(Blob)).all()
            and not session.scalars(sa.select(Case)).all()
        )
        assert not session.scalars(sa.select(Job)).all()


def test_a_head_that_breaks_off_is_answered_and_whoever_says_no_more_hears_the_answer(port):
    told = asked_for(port, GET, half_closed=True)
    assert told.startswith(b"HTTP/1.1 400 ") and b"before the head had come" in told
    whole = asked_for(port, GET + b"\r\n", half_closed=True)  # who says no more may listen
    assert whole.startswith(b"HTTP/1.1 200 ")


def test_an_upgrade_that_nobody_offers_is_an_ordinary_request(port):
    ask = GET + b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\r\n"
    with closing(connected(port)) as connection:
        connection.sendall(ask)
        assert one_reply(connection).startswith(b"HTTP/1.1 200 ")


def test_nonsense_after_a_request_does_not_mix_into_its_answer(port):
    with closing(connected(port)) as connection:
        connection.sendall(GET + b"\r\n" + b"\0nonsense\r\n\r\n")
        told = answer(connection)
        assert told.startswith(b"HTTP/1.1 200 ")
        assert told.count(b"HTTP/1.1") <= 2


def test_limits_leave_the_system_room(monkeypatch):
    import resource

    monkeypatch.setattr(resource, "getrlimit", lambda _what: (256, 256))
    assert edge.most_connections() == 128
    monkeypatch.setattr(resource, "getrlimit", lambda _what: (1 << 20, 1 << 20))
    assert edge.most_connections() == edge.MOST_CONNECTIONS


def test_a_body_in_pieces_of_one_byte_is_still_a_body(port):
    head = b"POST /sessions HTTP/1.1\r\nhost: localhost\r\norigin: http://localhost\r\n" + (
        b"content-type: application/x-www-form-urlencoded\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    with closing(connected(port)) as connection:
        connection.sendall(head)
        for byte in b"name=ada&password=" + b"x" * 15_000:
            connection.sendall(b"1\r\n%c\r\n" % byte)
        connection.sendall(b"0\r\n\r\n")
        assert one_reply(connection).startswith(b"HTTP/1.1 422 ")  # the password is too long


def test_a_body_that_stops_coming_is_given_up(port, monkeypatch):
    from app import bodies

    monkeypatch.setattr(bodies, "_SILENCE_S", 0.2)
    head = b"POST /sessions HTTP/1.1\r\nhost: localhost\r\norigin: http://localhost\r\n" + (
        b"content-type: application/x-www-form-urlencoded\r\ncontent-length: 900\r\n\r\nname=a"
    )
    with closing(connected(port)) as connection:
        connection.sendall(head)
        assert one_reply(connection).startswith(b"HTTP/1.1 408 ")
