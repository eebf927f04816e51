"""`python -m app pacs check` says what works and what does not, and leaves nothing behind."""

from __future__ import annotations

import json
import re
import socket

import pytest
from bad_pacs import answer, bad_pacs

from app.pacs.check import State, check
from app.pacs.configured import PacsSettings
from factories import make_dicom
from orthanc import PASSWORD, PERSON
from serving import command_here
from stow import parsed


@pytest.fixture
def told(tmp_path, monkeypatch):
    """``told([{…}], "main")``: status, output and complaint of the command."""

    def run(entries, *arguments):
        monkeypatch.setenv("HEPATICA_PACS", json.dumps(entries))
        done = command_here(f"sqlite:///{tmp_path}/x.sqlite3", tmp_path, "pacs", "check",
                            *arguments)  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    return run


def entry(orthanc, **more):
    return {"name": "main", "url": orthanc.url, "user": PERSON, "password": PASSWORD, **more}


def test_a_real_pacs_is_tried_and_left_as_it_was(orthanc, told):
    status, out, _ = told([entry(orthanc)])
    assert status == 0
    for service in ("QIDO-RS works", "WADO-RS works: it says of an instance that nobody has",
                    "STOW-RS works: a body that is no DICOM is refused",
                    "C-ECHO was not tried: its entry names no aet"):  # fmt: skip
        assert service in out
    assert orthanc.held() == {}
    orthanc.give(make_dicom())
    assert "WADO-RS works: one instance of 0.0 MB was fetched" in told([entry(orthanc)], "main")[1]
    assert len(orthanc.held()) == 1


def test_a_test_object_is_stored_on_demand_alone_and_is_named(orthanc, told):
    status, out, _ = told([entry(orthanc)], "--store")
    assert status == 0
    [study] = re.findall(r"stays there: study (2\.25\.\d+)", out)
    [stored] = [parsed(data) for data in orthanc.held().values()]
    assert (stored.StudyInstanceUID, stored.PatientID) == (study, "HEPATICA-CHECK")


def test_what_fails_is_told_and_the_exit_status_says_so(orthanc, told):
    wrong = entry(orthanc, password="wrong")
    down = {"name": "down", "url": "http://127.0.0.1:1/dicom-web"}
    status, out, complaint = told([wrong, down])
    assert status == 1
    assert out.count("does not work") == 6
    assert "QIDO-RS does not work: The PACS main does not let this installation in (401)" in out
    assert "STOW-RS does not work: The PACS down cannot be reached: connection refused" in out
    assert "6 of the trials failed" in complaint
    elsewhere = entry(orthanc, url=f"{orthanc.rest}/nowhere")
    out = told([elsewhere], "main")[1]
    assert f"has no search at {orthanc.rest}/nowhere/studies (404)" in out
    assert "STOW-RS does not work: The PACS main takes nothing at" in out


def test_a_dicom_server_is_echoed_or_told_why_not(orthanc, told):
    server = {"aet": orthanc.aet, "dicom_host": "127.0.0.1", "dicom_port": orthanc.dicom_port}
    status, out, _ = told([entry(orthanc, **server)])
    assert status == 0
    assert f"C-ECHO works: ORTHANC answers at 127.0.0.1:{orthanc.dicom_port}" in out
    out = told([entry(orthanc, **{**server, "dicom_port": 1})])[1]
    assert "C-ECHO does not work: The DICOM server of the PACS main does not answer at" in out


def test_there_must_be_one_of_that_name(told):
    assert "HEPATICA_PACS" in told([])[2]
    status, _, complaint = told([{"name": "main", "url": "http://127.0.0.1:1"}], "other")
    assert (status, "There is: main" in complaint) == (1, True)


@pytest.mark.parametrize(
    ("reply", "state", "words"),
    [
        (answer(200), State.WORKS, "means nothing"),
        (answer(400), State.WORKS, "is refused"),
        (answer(415), State.WORKS, "is refused"),
        (answer(500), State.UNTRIED, "--store"),
        (answer(405), State.FAILS, "does not take"),
        (answer(501), State.FAILS, "does not take"),
        (answer(200, b"<html>", "text/html"), State.FAILS, "web page"),
    ],
)
def test_stow_is_judged_by_how_it_meets_nonsense(reply, state, words):
    def behave(asked):
        return reply if asked.method == "POST" else answer(200, b"[]")

    with bad_pacs(behave) as server:
        found = {one.service: one for one in check(PacsSettings(name="main", url=server.url))}
    assert found["STOW-RS"].state is state
    assert words in found["STOW-RS"].words


def test_a_pacs_that_finds_what_nobody_has_does_not_work():
    found_all = answer(200, json.dumps([{"0020000D": {"vr": "UI", "Value": ["1.2.3"]}}]).encode())
    with bad_pacs(lambda _: found_all) as server:
        [qido, *_] = check(PacsSettings(name="main", url=server.url))
    assert (qido.state, "with others" in qido.words) == (State.FAILS, True)


def test_an_unencrypted_way_is_warned_of():
    far = PacsSettings(name="far", url="http://pacs.invalid/", connect_s=0.1)
    assert "whoever is on the way" in next(iter(check(far))).words


def test_hooks_are_reached_and_told_nothing(tmp_path, monkeypatch, told):
    monkeypatch.setenv("RIS", "a secret of thirty-two characters")
    file = tmp_path / "hooks.toml"
    monkeypatch.setenv("HEPATICA_HOOKS_FILE", str(file))
    down = {"name": "down", "url": "http://127.0.0.1:1/dicom-web"}
    with socket.create_server(("127.0.0.1", 0)) as there:
        port = there.getsockname()[1]
        file.write_text(
            f'[ris]\nurl = "http://127.0.0.1:{port}/told?key=1"\nsecret_env = "RIS"\n'
            '[off]\nurl = "http://127.0.0.1:1/x"\nsecret_env = "RIS"\n'
        )
        status, out, complaint = told([down])
        line, _ = there.accept()
        assert line.recv(100) == b""
        line.close()
    assert f"hook ris: http://127.0.0.1:{port}\n  it can be reached" in out and "key=1" not in out
    assert "hook off: http://127.0.0.1:1\n  it fails: no answer (Connection refused)" in out
    assert status == 1 and "4 of the trials failed" in complaint
    assert "hook" not in told([down], "down")[1]
    file.write_text("[ris]\nurl = 1\n")
    status, _, complaint = told([down])
    assert status == 1 and "HEPATICA_HOOKS_FILE" in complaint and "url must be text" in complaint
