"""Files that end, stop or fill the process that reads them: refused by name, and all goes on."""

from __future__ import annotations

import json
import os
import platform
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pydicom.data
import pytest
from fuzz import seeds

import stow
from app.errors import Unavailable, Unreadable
from app.models.cases.entry import Door, Entry
from app.node.storing import NO_RESOURCES, NOT_UNDERSTOOD, SUCCESS, Store
from app.place import ROOT
from app.uploads import asking, opening, processes, sandbox
from app.uploads.asking import Images
from app.uploads.parcel import Limits, RefusalCode
from app.uploads.processes import Readers
from app.uploads.wire import Line
from factories import make_dicom, make_png, make_zip
from ml.images.ct_slice import DicomError

LIMITS = Limits(files=1000, unpacked_bytes=10**9, pixels=10**9, seconds=100.0)

PLANTED = """
import json, os, resource, signal, socket, threading
from ml.images import dicom, picture

def do(data, name):
    at = data.find(b"planted ")
    if at < 0:
        return
    what = data[at + 8 : at + 13]
    if what == b"crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if what == b"oomed":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == b"hangs":
        threading.Event().wait()
    if what == b"grows":
        grown = [bytearray(2**24) for _ in range(10**6)]
    if what == b"opens":
        open("/etc/hostname").read()
    if what == b"looks":
        files = [n for n in range(200) if exists(n)]
        told = {
            "environment": sorted(os.environ),
            "files": files,
            "does": [name for name, act in ACTS.items() if can(act)],
        }
        raise dicom.Corrupt(json.dumps(told))

ACTS = {
    "connect": socket.socket,
    "pair": socket.socketpair,
    "pipe": os.pipe,
    "fork": lambda: os.fork() or os._exit(0),
    "start": lambda: os.execv("/bin/true", ["true"]),
    "signal": lambda: os.kill(os.getppid(), 0),
    "delete": lambda: os.unlink("/tmp/nothing of that name"),
    "rename": lambda: os.rename("/tmp/nothing of that name", "/tmp/another"),
    "folder": lambda: os.mkdir("/tmp"),
    "list": lambda: os.listdir("/"),
    "raise": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (9, 9)),
}

def can(act):
    # done, or refused for its own reasons only: there is no such file
    try:
        act()
    except (FileNotFoundError, FileExistsError):
        return True
    except (OSError, ValueError):
        return False
    return True

def exists(number):
    try:
        os.fstat(number)
    except OSError:
        return False
    return True

def planted(read):
    def instead(data, name, *more, **named):
        do(data, name)
        return read(data, name, *more, **named)
    return instead

picture.read = planted(picture.read)
dicom._dataset = planted(dicom._dataset)
"""
"""A decoder with holes in it: it does what the bytes of a file say."""


def png(what: str = "") -> bytes:
    return make_png() + (f"planted {what}".encode() if what else b"")


def slice_of(what: str, number: int = 1) -> bytes:
    return make_dicom(number=number, StudyDescription=f"planted {what}")


@pytest.fixture(scope="module")
def holed(tmp_path_factory):
    """The processes that read, with that decoder in them."""
    folder = tmp_path_factory.mktemp("planted")
    (folder / "sitecustomize.py").write_text(PLANTED)
    patch = pytest.MonkeyPatch()
    patch.syspath_prepend(folder)
    found = Readers()
    found.start()
    patch.setattr(asking, "readers", lambda: found)
    yield found
    found.stop()
    patch.undo()


@pytest.mark.parametrize(
    ("what", "words", "code"),
    [
        ("crash", "the process that read it crashed (SIGSEGV)", RefusalCode.UNUSABLE),
        ("oomed", "the system ended the process", RefusalCode.TOO_LARGE),
        ("hangs", "seconds there was no image of it", RefusalCode.UNUSABLE),
        ("grows", "more than the 150 MB of memory", RefusalCode.TOO_LARGE),
    ],
)
def test_a_file_that_ends_its_process_is_refused_by_name_and_the_others_are_read(
    holed, monkeypatch, what, words, code
):
    monkeypatch.setattr(asking, "SILENCE_S", 1.0 if what == "hangs" else 60.0)
    zipped = make_zip({"1.dcm": make_dicom(number=2), f"{what}.png": png(what), "2.png": png()})
    uploads = [("first.dcm", make_dicom()), ("a.zip", zipped), ("last.png", png())]
    parcel = asking.parcel(uploads, replace(LIMITS, memory_bytes=150 * 10**6))
    [refusal] = parcel.refused
    assert refusal.file == f"a.zip/{what}.png"
    assert refusal.reason.startswith(f"a.zip/{what}.png: ")
    assert words in refusal.reason
    assert refusal.code is code
    assert [one.file for one in parcel.files] == [
        "first.dcm", "a.zip/1.dcm", "a.zip/2.png", "last.png",
    ]  # fmt: skip


def test_an_upload_that_ends_processes_again_and_again_is_given_up(holed):
    uploads = [(f"{n}.png", png("crash" if n % 2 else "")) for n in range(9)]
    parcel = asking.parcel(uploads, LIMITS)
    assert [one.file for one in parcel.files] == ["0.png", "2.png", "4.png"]
    assert [one.file for one in parcel.refused] == ["1.png", "3.png", "5.png"] + [
        f"{n}.png" for n in (6, 7, 8)
    ]
    assert "crashed" in parcel.refused[2].reason
    assert "3 files of this upload ended the process" in parcel.refused[-1].reason


def lasting(parent: int) -> list[int]:
    """Its children, once they have been the same for two seconds: what hangs has begun to."""
    found = children(parent)
    for _ in range(30):
        time.sleep(2)
        before, found = found, children(parent)
        if found and found == before:
            return found
    raise AssertionError("no process stays")


def test_others_are_answered_while_a_file_hangs(holed, signed_in_as):
    ada, eve = signed_in_as("reader", "ada"), signed_in_as("reader", "eve")
    answers = []

    def hang() -> None:
        files = [("files", ("bad.png", png("hangs"))), ("files", ("good.dcm", make_dicom()))]
        answers.append(eve.post("/cases", files=files, headers={"accept": "application/json"}))

    eves = threading.Thread(target=hang)
    eves.start()
    assert ada.get("/health/live").status_code == 200
    reply = ada.post(
        "/cases",
        files=[("files", ("mine.png", png()))],
        data={"pseudonym": "P1"},
        headers={"accept": "application/json"},
    )
    assert reply.json()["accepted"], reply.text
    assert not answers
    for pid in lasting(holed._process.pid):
        os.kill(pid, signal.SIGKILL)
    eves.join()
    told = answers[0].json()
    assert [one["file"] for one in told["refused"]] == ["bad.png"]
    assert [one["file"] for one in told["accepted"]] == ["good.dcm"]


def test_every_other_door_refuses_it_likewise(holed, client, token, database, monkeypatch):
    bearer = {"authorization": f"Bearer {token}"}

    def classify(data: bytes):
        return client.post(
            "/api/v1/classifications",
            files={"image": ("a.dcm", data)},
            data={"box": "20,20,30,30"},
            headers=bearer,
        )

    assert classify(make_dicom()).status_code == 200
    refused = classify(slice_of("crash"))
    assert refused.status_code == 422
    assert refused.json()["detail"].startswith("a.dcm: the process that read it crashed")
    assert classify(make_dicom()).status_code == 200

    reply = client.post(
        "/dicomweb/studies",
        content=stow.related(make_dicom(), slice_of("crash", 2)),
        headers={**bearer, "content-type": stow.content_type()},
    )
    assert reply.status_code == 202
    assert "instance 2: the process that read it crashed" in reply.text

    store = Store(database, LIMITS, "unknown", b"k" * 32)
    entry = Entry(Door.NODE)
    for data, status in (
        (slice_of("crash", 3), NOT_UNDERSTOOD),
        (slice_of("oomed", 3), NO_RESOURCES),
        (make_dicom(number=3), SUCCESS),
    ):
        header = pydicom.dcmread(pydicom.filebase.DicomBytesIO(data), stop_before_pixels=True)
        named = (str(header.SOPClassUID), str(header.SOPInstanceUID))
        assert store.take(data, named, entry, "node")[0] == status


def test_the_process_has_nothing_that_is_worth_taking(holed, monkeypatch):
    monkeypatch.setenv("HEPATICA_INSTALLATION_KEY", "k" * 32)
    [refusal] = asking.parcel([("a.png", png("looks"))], LIMITS).refused
    told = json.loads(refusal.reason)
    assert not [name for name in told["environment"] if "HEPATICA" in name]
    assert len(told["files"]) == 4  # nothing, three times, and the socket that it is asked by
    filtered = sys.platform == "linux" and platform.machine() in sandbox._CALLS
    assert not filtered or told["does"] == []
    assert not set(told["does"]) & {"connect", "pair", "pipe"}


def test_what_was_not_loaded_before_is_a_fault_of_ours_and_no_damage(holed):
    with pytest.raises(asking.DecoderFault, match="open of hostname"):
        asking.parcel([("a.png", png("opens"))], LIMITS)


def test_a_process_is_nobody_elses_and_one_that_was_lost_blames_no_file(holed):
    images = Images(LIMITS)
    images.frame("ada", png(), "a.png", None)
    images.frame("eve", make_dicom(), "a.dcm", 1)
    ada, eve = images._kept["ada"], images._kept["eve"]
    assert ada is not eve
    ada.kill()
    assert ada.ended() == -signal.SIGKILL
    images.frame("ada", png(), "a.png", None)
    assert images._kept["ada"] is not ada
    with pytest.raises(DicomError, match="has 1 frame"):
        images.frame("ada", make_dicom(), "a.dcm", 2)
    for n in range(8):
        images.frame(f"person {n}", png(), "a.png", None)
    assert len(images._kept) == asking._KEPT
    images.close()


def test_what_forks_them_may_end_itself(holed):
    images = Images(LIMITS)
    images.frame("ada", png(), "a.png", None)
    os.kill(holed._process.pid, signal.SIGKILL)
    holed._process.wait()
    assert len(asking.parcel([("a.png", png())], LIMITS).files) == 1
    images.frame("ada", png(), "a.png", None)
    images.close()


def test_where_none_can_be_started_it_is_for_a_moment(monkeypatch):
    class Broken(Readers):
        def _connected(self):
            raise BlockingIOError("no room for a process")

    monkeypatch.setattr(asking, "readers", Broken)
    with pytest.raises(Unavailable, match="no room for the process"):
        asking.parcel([("a.png", png())], LIMITS)

    readers = Readers()  # one that ends before it was asked
    monkeypatch.setattr(processes.sys, "executable", "/bin/false")
    monkeypatch.setattr(asking, "readers", lambda: readers)
    with pytest.raises(Unavailable):
        asking.parcel([("a.png", png())], LIMITS)


PARENT = """
import sys
from app.uploads import asking, processes
from app.uploads.parcel import Limits
from tests.app.uploads.test_asking import png

processes.readers().start()
print(processes.readers()._process.pid, flush=True)
asking.parcel([("a.png", png("hangs"))], Limits(9, 10**9, 10**9))
"""


@pytest.mark.long
def test_none_outlives_the_one_that_asked(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(PLANTED)
    path = os.pathsep.join([str(tmp_path), str(ROOT), str(ROOT / "tests")])
    environment = {**os.environ, "PYTHONPATH": path}
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    forks = int(parent.stdout.readline())
    while not (found := children(forks)):
        os.sched_yield()
    parent.kill()
    parent.wait()
    for pid in (forks, *found):
        while alive(pid):
            os.sched_yield()


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    "message",
    [
        ("slice", {"rows": 4}, b"x"),
        ("file", ["one", {"file": "a"}], b""),
        ("refusal", [1, {"file": "a", "reason": 7}], b""),
        ("secret", None, b""),
        ("at", {"rows": [1]}, b""),
    ],
)
def test_what_makes_no_sense_is_not_believed(message):
    ours, theirs = socket.socketpair()
    there = Line(theirs)
    there.send(*message)

    class Worker:
        line = Line(ours)
        killed = False

        def kill(self) -> None:
            self.killed = True

        def ended(self) -> int:
            return -9

    worker = Worker()
    with pytest.raises(asking._Death, match="makes no sense"):
        asking._Upload([], LIMITS, None).read(worker)
    assert worker.killed


def test_no_answer_is_larger_than_a_slice_can_be():
    ours, theirs = socket.socketpair()
    theirs.sendall(b"\0\0\0\x02" + b"\xff" * 8 + b"[]")
    with pytest.raises(asking.UnusableMessage, match="more than a message has"):
        Line(ours).receive(5.0)


def test_what_is_read_there_is_what_is_read_here():
    """Of every kind of file, in every character set: nothing is loaded too late."""
    found = seeds.all_of_them()
    for folder in ("charset_files", "test_files"):
        root = Path(pydicom.data.__file__).parent / folder
        found += [(one.name, one.read_bytes()) for one in sorted(root.glob("*.dcm"))]
    there, here = asking.parcel(found, LIMITS), opening.opened(found, LIMITS)
    assert there == here
    assert len(here.files) > 20 and len(here.markings) > 5 and len(here.refused) > 50


def test_processes_that_end_at_nothing_end_the_upload(holed, monkeypatch):
    monkeypatch.setattr(asking, "_lost", lambda *_: ("it was lost.", RefusalCode.UNUSABLE))
    monkeypatch.setattr(asking._Upload, "_told", lambda _: None)
    with pytest.raises(Unreadable, match="it was lost"):
        asking.parcel([("a.png", png())], LIMITS)
