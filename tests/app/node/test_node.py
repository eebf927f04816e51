"""The DICOM node: who is let in, what is answered, and that what it acknowledged is here."""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from contextlib import contextmanager, suppress

import pytest
import sqlalchemy as sa
from pydicom.dataset import Dataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)
from pynetdicom import AE
from pynetdicom.sop_class import MRImageStorage, Verification

import forked
import marks
from app.db import Database
from app.errors import AppError, Unavailable
from app.models import Event, Image, Lesion
from app.models.cases.entry import Door, Entry
from app.node import line
from app.node.callers import Callers
from app.node.node import Listening, Node
from app.node.serving import node_of, serve
from app.node.storing import DUPLICATE, NOT_NOW, NOT_OF_CLASS, SUCCESS, Store
from app.settings import Settings
from app.uploads.parcel import Limits
from factories import make_dicom, make_hu
from stow import parsed
from tests.ml.dicom_files import ct_dataset, encoded, stored_values

KEY = b"a key for tests, thirty-two characters or more"
LIMITS = Limits(1, 10**9, 10**8)


@contextmanager
def running(database, callers: str = "SCANNER", key: bytes = KEY, **more):
    listening = Listening("HEPATICA", "127.0.0.1", 0, **more)
    known = Callers.of(Settings(node_callers=callers))
    node = Node(listening, known, Store(database, LIMITS, "portal", key), Entry(Door.NODE))
    node.start()
    try:
        yield node.port
    finally:
        node.stop()


@pytest.fixture
def own(tmp_path, request):
    """A database that several threads may use, as the node's do."""
    on_postgres = getattr(request, "param", "sqlite") == "postgresql"
    url = f"sqlite:///{tmp_path}/node.sqlite3"
    database = Database(request.getfixturevalue("postgres") if on_postgres else url)
    database.migrate()
    yield database
    database.engine.dispose()


@contextmanager
def association(port: int, *contexts, title: str = "SCANNER", called: str = "HEPATICA"):
    entity = AE(title)
    entity.network_timeout = entity.dimse_timeout = 20
    for uid, syntax in contexts or ((CTImageStorage, ExplicitVRLittleEndian),):
        entity.add_requested_context(uid, syntax)
    found = entity.associate("127.0.0.1", port, ae_title=called)
    try:
        yield found
    finally:
        if found.is_established:
            found.release()


def send(port: int, *files: bytes, **more) -> list[Dataset]:
    datasets = [parsed(one) for one in files]
    kinds = {(one.SOPClassUID, one.file_meta.TransferSyntaxUID) for one in datasets}
    with association(port, *kinds, **more) as found:
        assert found.is_established
        return [found.send_c_store(one) for one in datasets]


def images(database) -> list[Image]:
    with database.reading() as session:
        return list(session.scalars(sa.select(Image).order_by(Image.instance_number)))


def test_an_echo_is_answered_and_a_stranger_is_not(own):
    with running(own, "SCANNER,CT1@10.0.0.0/8") as port:
        with association(port, (Verification, ExplicitVRLittleEndian)) as found:
            assert found.send_c_echo().Status == SUCCESS
        for title, called in (("STRANGER", "HEPATICA"), ("SCANNER", "ELSE"), ("CT1", "HEPATICA")):
            with association(port, title=title, called=called) as found:
                assert found.is_rejected and not found.is_established


def test_callers_are_known_by_name_and_address():
    known = Callers.of(Settings(node_callers=" A , B@10.0.0.7, C@10.1.0.0/16,B@::1"))
    assert known.admit("A", "1.2.3.4") and known.admit("A ", "::1")
    assert known.admit("B", "10.0.0.7") and known.admit("B", "::1")
    assert known.admit("B", "::ffff:10.0.0.7")
    assert not known.admit("B", "10.0.0.8") and not known.admit("a", "1.2.3.4")
    assert known.admit("C", "10.1.2.3") and not known.admit("C", "not an address")
    for wrong in ("A@here", "a name of seventeen", "A\\B", "@10.0.0.1"):
        with pytest.raises(ValueError, match="HEPATICA_NODE_CALLERS"):
            Settings(node_callers=wrong)


@pytest.mark.parametrize("own", ["sqlite", "postgresql"], indirect=True)
def test_what_is_sent_is_stored_once_and_marks_mark(own):
    files = [make_dicom(number=n, z=5.0 * n) for n in (1, 2)]
    report = marks.report(files[1], "CIRCLE", [(64, 64), (79, 64)])
    with running(own) as port:
        assert [one.Status for one in send(port, report, *files, files[0])] == [SUCCESS] * 4
        other = make_dicom(make_hu(99), number=1, z=5.0)
        (refused,) = send(port, other)
    assert refused.Status == DUPLICATE
    kept = images(own)
    assert [one.instance_number for one in kept] == [1, 2]
    with own.reading() as session:
        assert (kept[0].pixels(session) == make_hu(1)).all()
        assert session.scalars(sa.select(Lesion.image_id)).all() == [kept[1].id]
        actors = set(session.scalars(sa.select(Event.actor)))
    assert actors == {"DICOM node: SCANNER"}


@pytest.mark.parametrize("own", ["postgresql"], indirect=True)
def test_the_same_study_by_three_associations_at_once_is_here_once(own):
    files = [make_dicom(number=n, z=5.0 * n) for n in (1, 2, 3)]
    files.append(marks.report(files[1], "CIRCLE", [(64, 64), (79, 64)]))
    told: list[int] = []
    with running(own) as port:

        def by(*sent: bytes) -> None:
            told.extend(one.Status for one in send(port, *sent))

        orders = (files, files[::-1], files[2:] + files[:2])
        threads = [threading.Thread(target=by, args=order) for order in orders]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert told == [SUCCESS] * 12
    assert [one.instance_number for one in images(own)] == [1, 2, 3]
    with own.reading() as session:
        assert len(session.scalars(sa.select(Lesion.id)).all()) == 1


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_compressed_images_are_taken_as_they_are(syntax, own):
    values = stored_values()
    data = encoded(ct_dataset(values), syntax)
    with running(own) as port:
        assert [one.Status for one in send(port, data)] == [SUCCESS]
    (image,) = images(own)
    assert image.transfer_syntax_uid == syntax
    assert (image.rows, image.columns) == values.shape


def test_one_bad_instance_has_a_status_of_its_own_and_the_rest_goes_on(own):
    cut = parsed(make_dicom(number=2))
    cut.PixelData = cut.PixelData[:100]
    nobody = parsed(make_dicom(number=3, PatientID=""))
    mr = parsed(make_dicom(number=4, Modality="MR"))
    good = parsed(make_dicom(number=7))
    with running(own) as port, association(port) as found:
        told = [found.send_c_store(one) for one in (cut, nobody, mr, good)]
    statuses = [one.Status for one in told]
    assert statuses[0] & 0xF000 == 0xC000 and statuses[1:] == [0xC110, NOT_OF_CLASS, SUCCESS]
    for one in told[:3]:
        assert one.ErrorComment and "Secret" not in one.ErrorComment
    assert [one.instance_number for one in images(own)] == [7]


def test_the_log_says_what_was_refused_from_whom_and_nothing_of_a_patient(own, caplog):
    bad = parsed(make_dicom(number=2, PixelSpacing=[0, 0]))
    with running(own) as port, association(port) as found:
        assert found.send_c_store(bad).Status != SUCCESS
    [line] = [one.getMessage() for one in caplog.records if "refused" in one.getMessage()]
    assert re.fullmatch(r"An instance from \S+ was refused \(unusable\): PixelSpacing\.", line), (
        line
    )


def test_a_command_that_names_another_object_than_its_data_set_is_refused(own):
    data = make_dicom()
    named = (str(CTImageStorage), "1.2.3")
    store = Store(own, LIMITS, "portal", KEY)
    status, comment = store.take(data, named, Entry(Door.NODE), "tests")
    assert status == NOT_OF_CLASS and "different objects" in comment
    assert images(own) == []


def test_classes_that_cannot_be_kept_are_not_accepted(own):
    with running(own) as port, association(port, (MRImageStorage, ImplicitVRLittleEndian)) as found:
        assert not found.accepted_contexts


def test_more_associations_than_are_let_in_are_refused_and_later_ones_are_not(own):
    with running(own, associations=1) as port:
        with association(port) as first:
            assert first.is_established
            with association(port) as second:
                assert not second.is_established
        for _ in range(200):  # until the node has seen that the first is over
            with association(port) as third:
                if third.is_established:
                    break
            time.sleep(0.05)
        else:
            pytest.fail("a later association was never let in")


def test_nothing_is_acknowledged_that_the_database_could_not_write(own, monkeypatch):
    @contextmanager
    def broken(self):
        raise Unavailable("The database is full.")
        yield

    with running(own) as port:
        with monkeypatch.context() as patch:
            patch.setattr(Database, "transaction", broken)
            (told,) = send(port, make_dicom())
        assert told.Status == NOT_NOW
        assert send(port, make_dicom())[0].Status == SUCCESS


def test_a_drip_and_a_flood_are_cut_off_while_others_go_on(own, monkeypatch):
    monkeypatch.setattr(line, "PDU_S", 0.5)
    with running(own) as port:
        drip = socket.create_connection(("127.0.0.1", port))
        drip.sendall(b"\x01\x00\x00\x00")  # a PDU that never becomes whole
        flood = socket.create_connection(("127.0.0.1", port))
        flood.sendall(b"\x01\x00\xff\xff\xff\xff")
        assert send(port, make_dicom())[0].Status == SUCCESS
        for one in (drip, flood):
            one.settimeout(10)
            with suppress(ConnectionResetError):
                while one.recv(100):  # until the other side has closed; else this times out
                    pass
            one.close()


def threads_are_gone(before: int) -> bool:
    for _ in range(200):
        if threading.active_count() <= before:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.long
def test_a_crowd_that_says_nothing_keeps_nobody_out_and_leaves_nothing_behind(own, caplog):
    outside = threading.active_count()
    with running(own, associations=1) as port:
        before = threading.active_count()
        crowd = [socket.create_connection(("127.0.0.1", port)) for _ in range(40)]
        assert send(port, make_dicom(number=2))[0].Status == SUCCESS
        for one in crowd:
            one.close()
        assert threads_are_gone(before), "each had two threads"
        assert "made room for another" in caplog.text
        crowd = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
    assert threads_are_gone(outside)
    for one in crowd:
        one.close()


def asked_for() -> bytes:
    """An A-ASSOCIATE-RQ as pynetdicom writes it."""
    found: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as there:

        def take() -> None:
            one, _ = there.accept()
            found.append(one.recv(65536))
            one.close()

        taker = threading.Thread(target=take)
        taker.start()
        with association(there.getsockname()[1]):
            taker.join(20)
    return found[0]


def pdu(kind: int, body: bytes) -> bytes:
    return bytes([kind, 0]) + len(body).to_bytes(4, "big") + body


def fragment(header: int, data: bytes) -> bytes:
    """A P-DATA-TF of one fragment in the first context."""
    inner = bytes([1, header]) + data
    return pdu(4, len(inner).to_bytes(4, "big") + inner)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_what_makes_no_sense_or_breaks_off_takes_nobodys_place(own):
    asks = asked_for()
    senseless = [
        pdu(7, bytes([0, 0, 99, 99])),  # A-ABORT from nobody
        pdu(4, b"\xff\xff\xff\xff"),
        fragment(3, b"\x08\0\0\0\xff\xff\xff\xff"),  # a command without an end of its group
        fragment(3, bytes(200)),
        fragment(0, b"\xe0\x7f\x10\0" + b"x" * 5000),  # breaks off within a data set
        pdu(1, asks[6:]),
        pdu(9, b"???"),
    ]
    with running(own, associations=1) as port:
        before = threading.active_count()
        for told in (*senseless, asks[:50], b"\1\0" + bytes(200), asks[:60] + bytes(len(asks))):
            with socket.create_connection(("127.0.0.1", port)) as line:
                line.settimeout(2)
                if told in senseless:
                    line.sendall(asks)
                    assert line.recv(4096)[:1] == b"\2", "it is let in"
                line.sendall(told)
            assert threads_are_gone(before)
        assert send(port, make_dicom())[0].Status == SUCCESS


def test_messages_without_end_share_the_room_that_there_is():
    room = line.Room(1000)
    pairs = [socket.socketpair() for _ in range(2)]
    first, second = (line.Line(left, room=room) for left, _ in pairs)
    for _, right in pairs:
        right.sendall(b"x" * 1500)
    assert len(first.recv(600)) == 600
    with pytest.raises(OSError, match="more is on its way"):
        second.recv(600)
    first.message_came()
    assert len(second.recv(600)) == 600
    for one in (side for pair in pairs for side in pair):
        one.close()


def test_a_message_without_end_is_given_up():
    left, right = socket.socketpair()
    bounded = line.Line(left, most_bytes=1000)
    right.sendall(b"x" * 5000)
    assert len(bounded.recv(600)) == 600
    bounded.message_came()
    assert len(bounded.recv(600)) == len(bounded.recv(600)) == 600
    with pytest.raises(OSError, match="message is larger"):
        bounded.recv(line.MOST_PDU_BYTES)
    with pytest.raises(OSError, match="PDU is larger"):
        bounded.recv(line.MOST_PDU_BYTES + 1)
    left.close()
    right.close()


def test_logs_tell_nothing_of_who_was_sent(own, caplog):
    caplog.set_level(logging.DEBUG)
    with running(own) as port:
        send(port, make_dicom())
        with association(port, title="STRANGER"):
            pass
    told = "\n".join(record.getMessage() for record in caplog.records)
    for word in ("Sylvia", "12345678", "SECRET", str(parsed(make_dicom()).SOPInstanceUID)):
        assert word not in told


@pytest.mark.skipif(shutil.which("storescu") is None, reason="no storescu (dcmtk) here")
def test_storescu_of_dcmtk_sends_a_series(own, tmp_path):
    for n in (1, 2, 3):
        (tmp_path / f"{n}.dcm").write_bytes(make_dicom(number=n, z=5.0 * n))
    with running(own) as port:
        done = subprocess.run(
            ["storescu", "-aet", "SCANNER", "-aec", "HEPATICA", "127.0.0.1", str(port)]
            + [str(tmp_path / f"{n}.dcm") for n in (1, 2, 3)],
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(images(own)) == 3


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.long
def test_a_killed_node_has_lost_nothing_that_it_acknowledged(tmp_path):
    """SIGKILL in the middle of a series; sent again as senders do, each image is there once."""
    port, url = free_port(), f"sqlite:///{tmp_path}/killed.sqlite3"
    environment = {
        **os.environ,
        "HEPATICA_DATABASE_URL": url,
        "HEPATICA_INSTALLATION_KEY": "k" * 32,
        "HEPATICA_NODE_CALLERS": "SCANNER@127.0.0.1",
        "HEPATICA_LOG_FORMAT": "words",
    }
    command = ("dicom-node", "--aet", "HEPATICA", "--port", str(port))

    files = [make_dicom(make_hu(n, 64), number=n, z=5.0 * n) for n in range(1, 13)]
    acknowledged: set[int] = set()
    output, told = os.pipe()
    process = forked.app(*command, env=environment, stdout=told)
    os.close(told)
    try:
        with os.fdopen(output, "rb") as lines:
            assert any(line.startswith(b"DICOM node") for line in lines)
        wait_for(port)
        with association(port) as found:
            for number, one in enumerate(map(parsed, files)):
                if number == 5:
                    os.kill(process.pid, signal.SIGKILL)
                    found.dimse_timeout = 3  # nobody answers any more
                answer = found.send_c_store(one) if found.is_established else Dataset()
                if answer.get("Status") == SUCCESS:
                    acknowledged.add(int(one.InstanceNumber))
        process.wait(20)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(20)
    assert 5 <= len(acknowledged) < 12
    database = Database(url)
    assert acknowledged <= {one.instance_number for one in images(database)}
    with running(database, key=b"k" * 32) as again:
        assert {one.Status for one in send(again, *files)} == {SUCCESS}
    assert [one.instance_number for one in images(database)] == list(range(1, 13))
    database.engine.dispose()


def wait_for(port: int) -> None:
    for _ in range(600):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError("the node did not start")


def test_a_node_that_is_told_to_stop_ends_in_order(own):
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    listening = Listening("HEPATICA", "127.0.0.1", free_port())
    store = Store(own, LIMITS, "portal", KEY)
    node = Node(listening, Callers.of(Settings(node_callers="SCANNER")), store, Entry(Door.NODE))

    def tell() -> None:
        wait_for(listening.port)
        os.kill(os.getpid(), signal.SIGTERM)

    teller = threading.Thread(target=tell)
    teller.start()
    try:
        serve(node)
    finally:
        teller.join(20)
        for number, handler in before.items():
            signal.signal(number, handler)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", listening.port)) != 0


def test_the_command_refuses_what_it_cannot_serve(monkeypatch, tmp_path):
    database = Database(f"sqlite:///{tmp_path}/none.sqlite3")
    some = Settings(node_callers="SCANNER", installation_key="k" * 32)
    with pytest.raises(AppError, match="Nobody may send"):
        node_of(Settings(installation_key="k" * 32), database, Listening("A", "", 1), "portal")
    with pytest.raises(AppError, match="1 to 16 letters"):
        node_of(some, database, Listening("seventeen letters", "", 1), "portal")
    with pytest.raises(AppError, match="contrast phase"):
        node_of(some, database, Listening("A", "", 1), "venous")
    taken = socket.create_server(("127.0.0.1", 0))
    held = node_of(some, database, Listening("A", "127.0.0.1", taken.getsockname()[1]), "portal")
    with pytest.raises(AppError, match="cannot listen"):
        held.start()
    taken.close()
    database.engine.dispose()
