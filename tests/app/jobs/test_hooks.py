"""Hooks: configured by an administrator, told no more than they need, tried again, given up."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import sqlalchemy as sa

from app.db import now
from app.jobs import hooks
from app.jobs.hooks import Hook, HookRefused
from app.models import Event, Notice
from app.models.jobs.tried import WAITS_S
from factories import make_png

SECRET = b"a secret of thirty-two characters"
PATH = "/api/v1/classifications"


class Receiver(HTTPServer):
    """What a PACS's own program would be: it keeps what it was told and answers as it is set to."""

    def __init__(self) -> None:
        self.told: list[tuple[dict[str, str], bytes]] = []
        self.status = 204
        super().__init__(("127.0.0.1", 0), _Handler)
        self.thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/told?of=jobs"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.told.append(({k.lower(): v for k, v in self.headers.items()}, body))
        self.send_response(self.server.status)
        self.send_header("location", "http://127.0.0.1:1/elsewhere")
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        return


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def api(client, token, app, receiver):
    client.headers["authorization"] = f"Bearer {token}"
    app.state.hooks["ris"] = Hook("ris", receiver.url, SECRET)
    return client


def queue(api, hook: str = "ris", **headers: str):
    headers = {"prefer": "respond-async", **headers}
    return api.post(
        PATH, files={"image": ("a.png", make_png())}, data={"hook": hook}, headers=headers
    )


def test_the_end_of_a_job_is_told_signed_and_without_the_patient(api, app, receiver):
    reply = queue(api)
    assert reply.json()["notice"] == "waiting"
    assert app.state.clerk.act()
    while app.state.messenger.act():
        pass
    [(headers, body)] = receiver.told
    job_id = reply.json()["id"]
    assert json.loads(body) == {
        "job": job_id, "state": "done", "link": f"/api/v1/jobs/{job_id}"
    }  # fmt: skip
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    digest = base64.b64encode(hmac.new(SECRET, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{digest}"
    assert api.get(reply.headers["location"]).json()["notice"] == "sent"
    assert [one["notice"] for one in api.get("/api/v1/jobs").json()["jobs"]] == ["sent"]


def test_one_that_is_not_taken_is_tried_again_later_and_given_up_loudly(
    api, app, receiver, session, caplog
):
    reply = queue(api)
    app.state.clerk.act()
    receiver.status = 302  # redirects are not followed
    for _ in range(len(WAITS_S) + 1):
        assert app.state.messenger.act()
        assert not app.state.messenger.act()  # not due yet
        session.execute(sa.update(Notice).values(due_at=now() - timedelta(seconds=1)))
        session.commit()
    assert not app.state.messenger.act()
    assert len(receiver.told) == len(WAITS_S) + 1
    assert len({headers["webhook-id"] for headers, _ in receiver.told}) == 1
    assert api.get(reply.headers["location"]).json()["notice"] == "given up"
    assert session.scalars(sa.select(Event).where(Event.kind == "notice given up")).one()
    assert [one for one in caplog.records if one.levelno == logging.ERROR]


def test_a_caller_names_a_hook_and_never_an_address(api, receiver):
    for hook in ("absent", receiver.url, "http://127.0.0.1/"):
        reply = queue(api, hook)
        assert reply.status_code == 422
        assert "configured" in reply.json()["detail"]
    at_once = queue(api, prefer="return=minimal")
    assert at_once.status_code == 422
    assert receiver.told == []


def test_a_receiver_that_drips_is_left_at_the_deadline(monkeypatch):
    monkeypatch.setattr(hooks, "DEADLINE_S", 0.4)
    left = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection:
                try:
                    for _ in range(600):
                        connection.sendall(b"H")
                        time.sleep(0.05)
                except OSError:
                    left.set()

        threading.Thread(target=drip, daemon=True).start()
        hook = Hook("slow", f"http://127.0.0.1:{server.getsockname()[1]}/", SECRET)
        assert "in time" in hook.send(str(uuid.uuid4()), b"{}")
        assert left.wait(60)  # while it had more to say


def test_hooks_are_read_from_their_file(tmp_path):
    (tmp_path / "secret").write_text("whsec_" + base64.b64encode(SECRET).decode() + "\n")
    file = tmp_path / "hooks.toml"
    file.write_text(f'[ris]\nurl = "https://ris.example.org"\nsecret_file = "{tmp_path}/secret"\n')
    assert hooks.read(None) == {}
    [found] = hooks.read(file).values()
    assert (found.name, found.secret) == ("ris", SECRET)
    assert "secret" not in repr(found)


GOOD = 'url = "https://a.example"\nsecret_env = "S"\n'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[ris", "not TOML"),
        ("ris = 3", "write a table"),
        ('["a b"]\n' + GOOD, "write a table"),
        ("[a]\n" + GOOD + "verify = false\n", "no verify"),
        ('[a]\nurl = "ftp://a"\nsecret_env = "S"\n', "url must be"),
        ('[a]\nurl = "https://me:pw@a"\nsecret_env = "S"\n', "url must be"),
        ('[a]\nurl = "https://a"\n', "secret_file or secret_env"),
        ('[a]\nurl = "https://a"\nsecret_env = "ABSENT"\n', "has 0 bytes"),
        ('[a]\nurl = "https://a"\nsecret_file = "/nowhere"\n', "cannot be read"),
        ("[a]\n" + GOOD + 'ca_bundle = "/nowhere"\n', "no file /nowhere"),
    ],
)
def test_what_cannot_be_used_is_refused_at_the_start(tmp_path, text, told):
    (tmp_path / "hooks.toml").write_text(text)
    with pytest.raises(HookRefused, match=told):
        hooks.read(tmp_path / "hooks.toml", lambda name: SECRET.decode() * (name == "S"))
