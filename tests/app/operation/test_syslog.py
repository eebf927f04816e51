"""The audit trail reaches another machine as DICOM audit messages, each event at least once."""

from __future__ import annotations

import base64
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest

from app.db import Database
from app.jobs.auditor import AT_ONCE, Auditor
from app.models import Event, TrailReceiver
from app.operation.audit_message import MEANINGS, Told, line, xml
from app.operation.syslog import Receiver, SyslogRefused
from app.place import ROOT
from app.settings import Settings

_FRAME = re.compile(rb"(\d+) ")
_HEAD = re.compile(
    rb"<85>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z \S+ hepatica \d+ DICOM\+RFC3881 - "
)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate of 127.0.0.1 that signs itself, with its key in one file and apart."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True, timeout=30,
    )  # fmt: skip
    return cert, key


@pytest.fixture
def database(tmp_path):
    made = Database(f"sqlite:///{tmp_path}/hepatica.sqlite3")
    made.migrate()
    yield made
    made.engine.dispose()


def happen(database: Database, count: int, kind: str = "case opened") -> None:
    with database.transaction() as session:
        for number in range(count):
            Event.record(session, "ada", kind, str(number), ü="<&>")


def received(database: Database, receiver: Receiver) -> int:
    with database.reading() as session:
        row = session.get(TrailReceiver, receiver.address)
        return row.number if row else 0


def details(message: bytes) -> dict[str, str]:
    root = ElementTree.fromstring(message)
    return {
        one.attrib["type"]: base64.b64decode(one.attrib["value"]).decode()
        for one in root.iter("ParticipantObjectDetail")
    }


class Ear:
    """A receiver over TLS that takes what comes; with ``breaks`` it breaks connections off."""

    def __init__(self, certificate: tuple[Path, Path], breaks: int = 0) -> None:
        self.heard: list[bytes] = []
        self._breaks = breaks
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*certificate)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                plain, _ = self._socket.accept()
            except OSError:
                return
            try:
                self._hear(plain)
            except (OSError, ssl.SSLError):
                plain.close()

    def _hear(self, plain: socket.socket) -> None:
        with self._context.wrap_socket(plain, server_side=True) as secure:
            if self._breaks:
                self._breaks -= 1
                secure.recv(100)
                linger = (1).to_bytes(4, "little") + bytes(4)
                secure.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                return
            data = b""
            while block := secure.recv(65536):
                data += block
            secure.unwrap()
        while data:
            frame = _FRAME.match(data)
            assert frame is not None, data[:80]
            end = frame.end() + int(frame[1])
            self.heard.append(data[frame.end() : end])
            data = data[end:]

    def close(self) -> None:
        self._socket.close()


def test_every_event_comes_once_in_order_and_in_its_frame(database, certificate):
    ear = Ear(certificate)
    receiver = Receiver("127.0.0.1", ear.port, certificate[0])
    auditor = Auditor(database, receiver)
    assert not auditor.act()  # nothing yet
    happen(database, AT_ONCE + 20)
    assert auditor.act() and auditor.act() and not auditor.act()
    _wait(lambda: len(ear.heard) == AT_ONCE + 20)
    assert received(database, receiver) == AT_ONCE + 20
    for number, message in enumerate(ear.heard, 1):
        head = _HEAD.match(message)
        assert head is not None, message[:120]
        body = message[head.end() :].removeprefix("\ufeff".encode())
        assert details(body)["number"] == str(number)
    ear.close()


def test_what_may_not_have_come_is_sent_again_and_nothing_is_left_out(
    database, certificate, caplog, monkeypatch
):
    monkeypatch.setattr("app.jobs.auditor._PAUSES_S", (0.0,))
    ear = Ear(certificate, breaks=2)
    receiver = Receiver("127.0.0.1", ear.port, certificate[0])
    happen(database, 50)
    auditor = Auditor(database, receiver)
    deadline = time.monotonic() + 30
    while received(database, receiver) < 50:
        assert time.monotonic() < deadline
        auditor.act()
    _wait(lambda: len(ear.heard) >= 50)
    numbers = [int(details(one[one.index(b"<?xml") :])["number"]) for one in ear.heard]
    assert sorted(set(numbers)) == list(range(1, 51))
    assert "Nothing is lost" in caplog.text
    ear.close()


def test_one_sends_at_a_time_and_another_goes_on_where_it_stopped(database):
    happen(database, 3)
    with database.transaction() as session:
        assert TrailReceiver.hold(session, "host:1", "first", 60) == 0
    with database.transaction() as session:
        assert TrailReceiver.hold(session, "host:1", "second", 60) is None
        assert TrailReceiver.hold(session, "host:1", "first", -1) == 0  # it died since
    with database.transaction() as session:
        assert TrailReceiver.hold(session, "host:1", "second", 60) == 0
        TrailReceiver.took(session, "host:1", "second", 3)
    with database.transaction() as session:
        assert TrailReceiver.hold(session, "host:1", "first", 60) is None  # it has all


def test_a_receiver_that_is_not_there_or_not_trusted_gets_nothing(database, certificate, caplog):
    happen(database, 1)
    ear = Ear(certificate)
    stranger = Receiver("127.0.0.1", ear.port)  # by the system's authorities
    assert not Auditor(database, stranger).act()
    ear.close()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert not Auditor(database, Receiver("127.0.0.1", port, certificate[0])).act()
    assert ear.heard == [] and received(database, stranger) == 0
    assert "not trusted" in caplog.text and "refused" in caplog.text


@pytest.mark.parametrize("address", ["host", "host:port", "tls://host:6514", "a b:1", ":6514"])
def test_an_address_that_is_none_is_refused_at_once(address):
    with pytest.raises(ValueError, match="HOST:PORT"):
        Settings(audit_syslog=address)


def test_a_file_that_holds_no_certificate_is_refused_at_once(tmp_path):
    (tmp_path / "empty.pem").touch()
    for path in (tmp_path / "none.pem", tmp_path / "empty.pem"):
        with pytest.raises(SyslogRefused, match="HEPATICA_AUDIT_SYSLOG_CA"):
            Receiver.of(Settings(audit_syslog="[::1]:6514", audit_syslog_ca=path))
    assert Receiver.of(Settings()) is None


def test_a_message_says_what_dicom_has_words_for():
    told = Told(7, b"\1" * 32, datetime(2026, 1, 31, 12, tzinfo=UTC), "a\x0bd<a", "sign-in refused",
                "", {"why": "x"})  # fmt: skip
    root = ElementTree.fromstring(xml(told, "hepatica@host"))
    assert [child.tag for child in root] == [
        "EventIdentification", "ActiveParticipant", "AuditSourceIdentification",
        "ParticipantObjectIdentification",
    ]  # fmt: skip
    event = root[0]
    assert event.attrib["EventOutcomeIndicator"] == "4"
    assert event.attrib["EventDateTime"] == "2026-01-31T12:00:00.000+00:00"
    assert [one.attrib["csd-code"] for one in event] == ["110114", "110122"]
    assert root[1].attrib["UserID"] == "a\ufffdd<a"
    assert details(xml(told, "h")) == {
        "number": "7", "digest": "01" * 32, "kind": "sign-in refused", "detail": '{"why": "x"}',
    }  # fmt: skip
    own = ElementTree.fromstring(xml(Told(8, b"", told.at, "ada", "lesion marked", "", {}), "h"))
    assert own[0][0].attrib["codeSystemName"] == "99HEPATICA"
    assert line(told, "a host").split(b" ")[3] == b"a-host"


def test_every_kind_that_has_a_meaning_is_one_that_the_application_writes():
    source = "".join(path.read_text("utf-8") for path in (ROOT / "app").rglob("*.py")
                     if path.name != "audit_message.py")  # fmt: skip
    made = {"case deleted"}  # from the noun of what is deleted
    assert [kind for kind in MEANINGS if f'"{kind}"' not in source and kind not in made] == []


def test_a_real_rsyslog_takes_the_trail(database, certificate, tmp_path):
    rsyslogd = shutil.which("rsyslogd") or shutil.which("/usr/sbin/rsyslogd")
    if rsyslogd is None or not list(Path("/usr/lib").rglob("lmnsd_gtls.so")):
        pytest.skip("rsyslog with TLS is not installed (make setup-syslog)")
    cert, key = certificate
    there, port_file = tmp_path / "there.log", tmp_path / "port"
    configuration = tmp_path / "rsyslog.conf"
    configuration.write_text(
        f"""global(workDirectory="{tmp_path}" maxMessageSize="64k"
       defaultNetstreamDriverCAFile="{cert}" defaultNetstreamDriverCertFile="{cert}"
       defaultNetstreamDriverKeyFile="{key}")
module(load="imtcp" StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.AuthMode="anon")
input(type="imtcp" address="127.0.0.1" port="0" listenPortFileName="{port_file}")
template(name="raw" type="string" string="%rawmsg%\\n")
action(type="omfile" file="{there}" template="raw")
"""
    )
    command = [rsyslogd, "-n", "-f", configuration, "-i", tmp_path / "pid"]
    with (tmp_path / "said").open("wb") as said:
        server = subprocess.Popen(command, stdout=said, stderr=said)
    try:
        _wait(lambda: port_file.exists() and port_file.read_text().strip())
        receiver = Receiver("127.0.0.1", int(port_file.read_text()), cert)
        happen(database, 250, "lesion marked")
        auditor = Auditor(database, receiver)
        _wait(lambda: auditor.act() is False and received(database, receiver) == 250)
        _wait(lambda: there.exists() and there.read_bytes().count(b"</AuditMessage>") >= 250)
    finally:
        server.terminate()
        server.wait(10)
    bodies = re.findall(rb"<\?xml.*?</AuditMessage>", there.read_bytes(), re.DOTALL)
    assert [int(details(one)["number"]) for one in bodies] == list(range(1, 251))


def _wait(until) -> None:
    deadline = time.monotonic() + 30
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.02)
