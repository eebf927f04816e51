"""A PACS is asked as the standard has it; whatever it does wrong ends, in words of its own."""

from __future__ import annotations

import json
import logging
import re
import shutil
import ssl
import subprocess

import pytest
from bad_pacs import answer, bad_pacs
from pydicom.uid import ComprehensiveSRStorage

from app.errors import BadRequest
from app.pacs import faults
from app.pacs.client import Pacs
from app.pacs.configured import PacsSettings
from factories import make_dicom, make_hu
from orthanc import PASSWORD, PERSON
from stow import content_type, parsed, related

FILE = make_dicom()
OBJECT = parsed(FILE)
AT = (OBJECT.StudyInstanceUID, OBJECT.SeriesInstanceUID, OBJECT.SOPInstanceUID)
OTHER = make_dicom(number=2)
HTML = b"<!DOCTYPE html><html><body>Sign in</body></html>"


@pytest.fixture
def pacs(orthanc):
    settings = PacsSettings(name="main", url=orthanc.url, user=PERSON, password=PASSWORD)
    with Pacs(settings) as it:
        yield it


def matches(*items: dict[str, str]) -> bytes:
    """QIDO matches of tag → text."""
    return json.dumps([{tag: {"vr": "UI", "Value": [text]} for tag, text in item.items()}
                       for item in items]).encode()  # fmt: skip


class Asking:
    """A client of a PACS that behaves so, with little patience."""

    def __init__(self, behave, tls=None, **more):
        self._stand = bad_pacs(behave, tls)
        self._more = {"connect_s": 1, "read_s": 1, "total_s": 3, **more}

    def __enter__(self):
        self.server = self._stand.__enter__()
        self.pacs = Pacs(PacsSettings(name="main", url=self.server.url, **self._more))
        return self

    def __exit__(self, *error):
        self.pacs.__exit__(*error)
        self._stand.__exit__(*error)


def test_a_real_pacs_is_searched_fetched_from_and_stored_to(pacs, orthanc):
    files = [make_dicom(make_hu(n), number=n, series=str(n % 2)) for n in (1, 2, 3)]
    orthanc.give(*files)
    study = parsed(files[0]).StudyInstanceUID
    [found] = pacs.studies(study)
    assert (found.study_uid, found.modality) == (study, "CT")
    assert {one.modality for one in pacs.series(study)} == {"CT"}
    known = {one.sop_uid: one for one in pacs.instances(study)}
    assert len(known) == 3
    for file in files:
        one = known[parsed(file).SOPInstanceUID]
        assert pacs.retrieve(one.study_uid, one.series_uid, one.sop_uid) == file
        assert len(pacs.instances(study, one.series_uid)) in (1, 2)
        assert pacs.instances(study, one.series_uid, one.sop_uid) == [one]
    assert pacs.studies("1.2.3") == pacs.instances("1.2.3") == []
    with pytest.raises(faults.NotInPacs):
        pacs.retrieve("1.2.3", "1.2.4", "1.2.5")

    new = make_dicom(number=9)
    uid = parsed(new).SOPInstanceUID
    assert not pacs.holds(uid)
    assert pacs.store([new]).sop_uids == {uid}
    assert pacs.holds(uid) and pacs.holds(uid, study)
    pacs.deliver(new)  # again is no fault
    assert orthanc.held()[uid] == new


def test_a_wrong_password_is_told(orthanc):
    settings = PacsSettings(name="main", url=orthanc.url, user=PERSON, password="wrong")
    with Pacs(settings) as pacs, pytest.raises(faults.NotLetIn, match=r"user and password"):
        pacs.studies("1.2.3")


def one_file(data: bytes):
    return answer(200, related(data), content_type())


RETRIEVING = {
    "a web page": (answer(200, HTML, "text/html"), faults.NotDicomWeb, "web page"),
    "a web page that calls itself DICOM": (one_file(HTML), faults.NotDicomWeb, "web page"),
    "nothing": (answer(200, b"", "application/dicom"), faults.CutShort, "nothing"),
    "something else": (answer(200, b"\0" * 200, "image/png"), faults.NotDicomWeb, "else"),
    "another instance": (one_file(OTHER), faults.OtherThanAsked, "another instance"),
    "two instances": (answer(200, related(FILE, OTHER), content_type()),
                      faults.OtherThanAsked, "2 instances"),
    "half a multipart, whole for HTTP": (answer(200, related(FILE)[:5000], content_type()),
                                         faults.CutShort, "before its end"),
    "half a multipart, cut on the line": (
        answer(200, related(FILE)[:5000], content_type(), content_length=9000),
        faults.CutShort, "before its end"),
    "no boundary": (answer(200, related(FILE), "multipart/related"), faults.NotDicomWeb, "bound"),
    "another boundary": (answer(200, b"x" + related(FILE), content_type()),
                         faults.NotDicomWeb, "not multipart"),
    "a damaged file": (one_file(FILE[:160]), faults.NotDicomWeb, "damaged"),
    "compressed": (answer(200, b"x", content_encoding="gzip"), faults.NotDicomWeb, "compressed"),
    "not there": (answer(404), faults.NotInPacs, "does not hold"),
    "not let in": (answer(401), faults.NotLetIn, "let this"),
    "forbidden": (answer(403), faults.NotLetIn, "let this"),
    "elsewhere": (answer(302, location="http://127.0.0.1:1/x"), faults.Redirected, "127.0.0.1:1"),
    "busy": (answer(503), faults.PacsBusy, "now"),
    "broken": (answer(500), faults.PacsBusy, "now"),
    "not so": (answer(406), faults.Refused, "check"),
    "no HTTP": (b"+OK POP3\r\n\r\n", faults.NotDicomWeb, "HTTP"),
    "no answer": (b"", faults.PacsDown, "without an answer"),
}  # fmt: skip


@pytest.mark.parametrize("what", RETRIEVING)
def test_each_fault_of_a_retrieve_is_told(what, caplog):
    reply, error, words = RETRIEVING[what]
    caplog.set_level(logging.DEBUG)
    with Asking(lambda _: reply) as asking, pytest.raises(error, match=words) as told:
        asking.pacs.retrieve(*AT)
    said = " ".join([str(told.value), caplog.text])
    assert not any(uid in said for uid in AT), "a UID would be logged"


def test_an_instance_may_come_without_multipart():
    with Asking(lambda _: answer(200, FILE, "application/dicom")) as asking:
        assert asking.pacs.retrieve(*AT) == FILE


def test_a_pacs_that_knows_no_encoding_as_it_is_is_asked_without():
    def behave(asked):
        return answer(400) if "transfer-syntax" in asked.headers["accept"] else one_file(FILE)

    with Asking(behave) as asking:
        assert asking.pacs.retrieve(*AT) == FILE


def test_more_than_the_limit_is_not_read():
    def endless(asked):
        yield answer(200, b"", content_type(), content_length=10**12)
        while True:
            yield b"x" * 65536

    with Asking(endless, max_instance_mb=1) as asking, pytest.raises(faults.TooMuch, match="2 MB"):
        asking.pacs.retrieve(*AT)
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-type: text/plain\r\n\r\n"
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    with (
        Asking(lambda _: iter([chunked, *[chunk] * 40]), max_instance_mb=1) as asking,
        pytest.raises(faults.TooMuch),
    ):
        asking.pacs.retrieve(*AT)


@pytest.mark.parametrize("before", [b"", answer(200, b"", content_type(), content_length=90000)])
def test_a_pacs_that_drips_is_never_silent_and_yet_ends(before):
    def drips(_asked):
        yield before
        for byte in (before and related(FILE)) or answer(200, b"x" * 90000, cookie="x" * 9000):
            asking.server.closing.wait(0.1)
            yield bytes([byte])

    with (
        Asking(drips, read_s=0.5, total_s=0.8) as asking,
        pytest.raises(faults.PacsSlow, match=r"within 0\.8 seconds"),
    ):
        asking.pacs.retrieve(*AT)


def test_a_pacs_that_is_silent_or_down_is_told():
    def silent(_asked):
        asking.server.closing.wait(10)
        return b""

    with (
        Asking(silent, read_s=0.3) as asking,
        pytest.raises(faults.PacsSlow, match=r"silent for 0\.3 seconds"),
    ):
        asking.pacs.studies("1.2.3")
    with (
        pytest.raises(faults.PacsDown, match="cannot be reached"),
        Pacs(PacsSettings(name="main", url=asking.server.url)) as pacs,
    ):
        pacs.studies("1.2.3")


def test_a_pacs_that_does_not_read_what_it_is_sent_is_given_up():
    with socket_that_never_reads() as port:
        settings = PacsSettings(name="main", url=f"http://127.0.0.1:{port}", read_s=0.4, total_s=2)
        with Pacs(settings) as pacs, pytest.raises(faults.PacsSlow):
            pacs.store([b"x" * 20_000_000])


def socket_that_never_reads():
    import contextlib
    import socket

    @contextlib.contextmanager
    def opened():
        with socket.create_server(("127.0.0.1", 0)) as listener:
            yield listener.getsockname()[1]

    return opened()


SEARCHES = {
    "a web page": (answer(200, HTML, "text/html"), faults.NotDicomWeb, "web page"),
    "no list": (answer(200, b'{"a": 1}'), faults.NotDicomWeb, "no list"),
    "half of it": (answer(200, b'[{"0020000D"'), faults.NotDicomWeb, "else"),
    "another study": (answer(200, matches({"0020000D": "1.2.9"})), faults.OtherThanAsked, "others"),
    "no study": (answer(200, b'[{"0020000D": {"Value": [7]}}]'), faults.OtherThanAsked, "others"),
    "deep nonsense": (answer(200, b"[" * 100_000), faults.NotDicomWeb, "else"),
}


@pytest.mark.parametrize("what", SEARCHES)
def test_each_fault_of_a_search_is_told(what):
    reply, error, words = SEARCHES[what]
    with Asking(lambda _: reply) as asking, pytest.raises(error, match=words):
        asking.pacs.studies("1.2.3")


def test_nothing_found_may_be_said_in_three_ways():
    for reply in (answer(200, b"[]"), answer(204), answer(200, b"")):
        with Asking(lambda _, reply=reply: reply) as asking:
            assert asking.pacs.studies("1.2.3") == []


def test_a_search_goes_on_until_nothing_new_comes():
    pages = [range(3), range(3, 5), ()]

    def paged(_asked):
        return answer(200, matches(*({"00080018": f"1.2.{n}"} for n in pages.pop(0))))

    with Asking(paged) as asking:
        assert len(asking.pacs.instances("1.2.3")) == 5
        asked = [re.search(r"offset=(\d+)", one.path)[1] for one in asking.server.asked]
    assert asked == ["0", "3", "5"]
    same = answer(200, matches({"00080018": "1.2.1"}, {"00080018": "1.2.2"}))
    with Asking(lambda _: same) as asking:
        assert len(asking.pacs.instances("1.2.3")) == 2
        assert asking.pacs.instances("1.2.3", sop_uid="1.2.1")[0].sop_uid == "1.2.1"
        assert not asking.pacs.holds("1.2.7", "1.2.3")
    with Asking(lambda _: same, max_instances=1) as asking, pytest.raises(faults.TooMuch):
        asking.pacs.instances("1.2.3")


FAILED = json.dumps(
    {
        "00081198": {
            "vr": "SQ",
            "Value": [
                {
                    "00081155": {"vr": "UI", "Value": [AT[2]]},
                    "00081197": {"vr": "US", "Value": [0xA700]},
                }
            ],
        }
    }
)


def test_what_a_pacs_did_not_store_is_told_with_its_reason():
    for status in (200, 202, 409):
        with Asking(lambda _, s=status: answer(s, FAILED.encode())) as asking:
            told = asking.pacs.store([FILE])
        [failure] = told.failures
        assert (failure.code, failure.words) == (0xA700, "it is out of room (A700)")
        with pytest.raises(faults.NotStored, match=r"1 of the objects: it is out of room"):
            told.refuse_failures("main")
    for status, error in ((400, faults.Refused), (413, faults.Refused), (404, faults.NotInPacs),
                          (507, faults.PacsBusy), (401, faults.NotLetIn)):  # fmt: skip
        with Asking(lambda _, s=status: answer(s)) as asking, pytest.raises(error):
            asking.pacs.store([FILE])
    with Asking(lambda _: answer(200, HTML, "text/html")) as asking, pytest.raises(
        faults.NotDicomWeb
    ):  # fmt: skip
        asking.pacs.store([FILE])


@pytest.mark.parametrize("said", [b"", b"<xml/>", FAILED.encode(), b"{}"])
def test_a_success_that_stored_nothing_is_found_out(said):
    def loses(asked):
        return answer(200, said) if asked.method == "POST" else answer(200, b"[]")

    with Asking(loses) as asking, pytest.raises(faults.NotStored):
        asking.pacs.deliver(FILE, within_s=0)
    [post, get] = asking.server.asked
    assert int(post.headers["content-length"]) == len(post.body) > len(FILE)
    assert FILE in post.body
    assert f"SOPInstanceUID={AT[2]}" in get.path


@pytest.mark.parametrize("uid", ["", "1", "1.2/../..", "1.02.3", "1.2?x=1", "1." * 40 + "1", "x"])
def test_what_is_no_uid_reaches_no_pacs(uid):
    with Asking(lambda _: answer(200, b"[]")) as asking:
        for ask in (
            lambda pacs: pacs.studies(uid),
            lambda pacs: pacs.series(uid),
            lambda pacs: pacs.retrieve("1.2", uid, "1.2"),
            lambda pacs: pacs.holds(uid),
        ):
            with pytest.raises(BadRequest, match="no UID") as told:
                ask(asking.pacs)
            assert len(uid) < 3 or uid not in str(told.value)
        assert asking.server.asked == []


def test_the_environment_has_no_say_in_where_it_goes(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with Asking(lambda _: answer(200, b"[]"), token="a-token") as asking:
        assert asking.pacs.studies("1.2.3") == []
        [asked] = asking.server.asked
    assert asked.headers["authorization"] == "Bearer a-token"
    assert asked.path.startswith("/dicom-web/studies?StudyInstanceUID=1.2.3&")


def test_a_certificate_that_is_not_trusted_ends_it(tmp_path):
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here to make a certificate")
    for name, host in (("own", "IP:127.0.0.1"), ("other", "DNS:other.example.org")):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-days", "2", "-subj", "/CN=pacs", "-addext", f"subjectAltName={host}",
             "-keyout", f"{tmp_path}/{name}.key", "-out", f"{tmp_path}/{name}.pem"],
            check=True, capture_output=True,
        )  # fmt: skip

    def asking(name, **more):
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(tmp_path / f"{name}.pem", tmp_path / f"{name}.key")
        return Asking(lambda _: answer(200, b"[]"), tls, **more)

    with asking("own") as one, pytest.raises(faults.Untrusted, match="self-signed"):
        one.pacs.studies("1.2.3")
    with asking("own", ca_bundle=tmp_path / "own.pem") as one:
        assert one.pacs.studies("1.2.3") == []
    with (
        asking("other", ca_bundle=tmp_path / "other.pem") as one,
        pytest.raises(faults.Untrusted, match="127"),
    ):
        one.pacs.studies("1.2.3")


def test_a_report_is_delivered_too(pacs, orthanc):
    report = make_dicom(SOPClassUID=ComprehensiveSRStorage, Modality="SR",
                        without=("PixelData", "Rows", "Columns"))  # fmt: skip
    pacs.deliver(report)
    assert list(orthanc.held().values()) == [report]
