"""What was said of a case goes back to its PACS: once, about its own images, or not in silence."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import shutil
import subprocess
import time
import uuid
from datetime import UTC, datetime, timedelta

import deletions
import numpy as np
import pytest
import sqlalchemy as sa
from bad_pacs import answer, bad_pacs
from pydicom import dcmread

import forked
import studies
from app.db import Database, now
from app.jobs.messenger import Messengers
from app.models import Case, Checkpoint, Event, Measure, Prediction, ReturnedObject, User
from app.models.cases.entry import Door, Entry, Term
from app.models.cases.lesion import Lesion
from app.models.cases.link import Link
from app.models.jobs.tried import WAITS_S
from app.objects import returned, said
from app.pacs import outbox
from app.pacs.configured import ConfiguredPacs, PacsSettings
from app.uploads import opening
from app.uploads.parcel import Limits
from factories import make_dicom, make_hu
from ml.checkpoints.checkpoint import CheckpointKind
from ml.images.roi import Box
from ml.images.ruler import Kind
from ml.trust.answer import Said
from orthanc import PASSWORD, PERSON
from stow import parsed
from tests.ml.dicom_files import enhanced_file, stored_values

KEY = b"a key for tests, thirty-two characters or more"
BACK = Entry(Door.STOW, frozenset({Term.RETURN_RESULTS}), "main")
LIMITS = Limits(files=100, unpacked_bytes=10**9, pixels=10**9)
HTML = b"<!DOCTYPE html><html><body>Sign in</body></html>"
SENT = [
    make_dicom(make_hu(n), number=n, z=5.0 * n, study="returned", PatientID="PAT-7",
               PatientName="Größe^Ada", StudyDate="20191105", StudyTime="093711",
               AccessionNumber="ACC-0815", FrameOfReferenceUID="1.2.3.777",
               SpecificCharacterSet="ISO_IR 192")
    for n in (1, 2)
]  # fmt: skip


def answered_case(session, *files: bytes, entry: Entry = BACK) -> Case:
    """A case whose images each have a lesion that a network scored and ada reviewed."""
    ada = studies.make_user(session, "ada", "researcher")
    parcel = opening.opened([(f"{n}.dcm", data) for n, data in enumerate(files)], LIMITS)
    told = {"contrast_phase": "portal", "pseudonym": "", "key": KEY, "entry": entry}
    receipt = Case.receive(session, parcel, ada, **told)
    assert not receipt.refused, receipt.refused
    network = Checkpoint.served(session, CheckpointKind.CLASSIFIER)[-1]
    scores = {"cyst": 0.125, "metastasis": 0.75, "hemangioma": 0.125}
    case = Case.require(session, receipt.accepted[0].case_id)
    images = sorted(case.series[0].images, key=lambda one: (one.instance_number, one.frame))
    for image in images[:2]:
        lesion = Lesion.mark(session, image, Box(20, 20, 20, 16), ada)
        Prediction.record(session, lesion, network, Said(scores), [])
        studies.review(session, lesion, "metastasis", by=ada)
    session.flush()
    return case


def use(app, *pacs: PacsSettings) -> Messengers:
    """Let the application return results to these."""
    app.state.pacs = ConfiguredPacs({one.name: one for one in pacs})
    app.state.messenger = Messengers(
        app.state.database, {}, app.state.pacs, app.state.settings, KEY
    )
    return app.state.messenger


def main_pacs(url: str, **more) -> PacsSettings:
    told = {"connect_s": 1, "read_s": 1, "total_s": 3, "takes_results": True, **more}
    return PacsSettings(name="main", url=url, **told)


def of_orthanc(orthanc, **more) -> PacsSettings:
    patient = {"connect_s": 10, "read_s": 20, "total_s": 60}
    return main_pacs(orthanc.url, user=PERSON, password=PASSWORD, **patient, **more)


@pytest.fixture
def case(database):
    with database.transaction() as session:
        return answered_case(session, *SENT)


@pytest.fixture
def api(client, token):
    client.headers["authorization"] = f"Bearer {token}"
    return client


def order(api, case, **wanted):
    return api.post(f"/api/v1/cases/{case.id}/returns", json=wanted)


def try_to_the_end(session, messenger) -> None:
    """Every try that an object gets, one after the other."""
    for _ in range(len(WAITS_S) + 1):
        session.execute(sa.update(ReturnedObject).values(due_at=now() - timedelta(seconds=1)))
        session.commit()
        assert messenger.act()


def states(api, case) -> list[str]:
    returns = api.get(f"/api/v1/cases/{case.id}/returns").json()["returns"]
    return [one["state"] for one in returns]


def references_of(found) -> set[str]:
    return {
        str(element.value)
        for element in found.iterall()
        if element.keyword == "ReferencedSOPInstanceUID"
    }


def test_an_answer_stands_once_in_a_real_pacs_under_its_patient(api, app, case, orthanc):
    orthanc.forget()
    orthanc.give(*SENT)
    messenger = use(app, of_orthanc(orthanc))
    for _ in range(2):  # ordered twice it is the same answer
        for by in ("network", "radiologist"):
            reply = order(api, case, by=by)
            assert reply.status_code == 200, reply.text
        while messenger.act():
            pass
        assert states(api, case) == ["sent"] * 8  # SR, PR and a SC for each lesion, of both
    series = case.series[0]
    ours = {case.uid, series.uid, *(image.uid for image in series.images)}
    sent, held = [parsed(one) for one in SENT], orthanc.held()
    made = [dcmread(io.BytesIO(data)) for uid, data in held.items()
            if uid not in {one.SOPInstanceUID for one in sent}]  # fmt: skip
    assert sorted(one.Modality for one in made) == ["OT"] * 4 + ["PR"] * 2 + ["SR"] * 2
    assert len({one.SeriesInstanceUID for one in made}) == 6
    for one in made:
        assert (one.PatientID, one.PatientName) == ("PAT-7", "Größe^Ada")
        assert (one.StudyInstanceUID, one.AccessionNumber) == (sent[0].StudyInstanceUID, "ACC-0815")
        assert references_of(one) <= {image.SOPInstanceUID for image in sent}
        assert references_of(one) or one.Modality == "OT"
        assert "PatientIdentityRemoved" not in one
        values = {str(element.value) for element in one.iterall() if element.VR == "UI"}
        assert not values & ours
    [study] = orthanc.ask("/studies?expand")
    assert study["MainDicomTags"]["StudyDate"] == "20191105"


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="no dciodvfy on this machine")
@pytest.mark.parametrize("kind", outbox.KINDS)
def test_what_goes_back_is_valid_also_about_frames(kind, session, tmp_path):
    pixels = np.stack([stored_values(seed=n) for n in (1, 2, 3)])
    frames = [{"intercept": -1024, "z": 5.0 * n} for n in (1, 2, 3)]
    case = answered_case(session, enhanced_file(pixels, frames))
    link = Link.of(session, case, KEY)
    accounts = said.by_networks(session, case)
    [row, *_] = outbox.order(
        session, main_pacs("http://127.0.0.1:1/x"), link, accounts, [kind], by="x", key=KEY
    )
    data, _ = outbox._made(session, row, KEY)
    assert data == outbox._made(session, row, KEY)[0]
    made = parsed(data)
    [source] = {one.sop_uid for one in link.objects.values()}
    if kind != "sc":
        assert references_of(made) == {source}
        told = [one for one in made.iterall() if one.keyword == "ReferencedFrameNumber"]
        assert {int(one.value) for one in told} == {1, 2}
    (tmp_path / "a.dcm").write_bytes(data)
    told = subprocess.run(["dciodvfy", tmp_path / "a.dcm"], capture_output=True, text=True)
    faults = [line for line in told.stderr.splitlines() if line.startswith("Error")]
    assert faults == []


def returned_of(session, case, kind) -> list:
    """What goes back of a case's network, read again."""
    link = Link.of(session, case, KEY)
    accounts = said.by_networks(session, case)
    pacs = main_pacs("http://127.0.0.1:1/x")
    rows = outbox.order(session, pacs, link, accounts, [kind], by="x", key=KEY)
    return [parsed(outbox._made(session, row, KEY)[0]) for row in rows]


def unsigned(number, side=128, **tags) -> bytes:
    """As most scanners store it: from 0, with an intercept of -1024."""
    pixels = (make_hu(number, side) + 1024).astype(np.int16)
    told = {"RescaleIntercept": -1024, "z": 5.0 * number, "study": "unsigned", **tags}
    return make_dicom(pixels, number=number, **told)


def test_a_state_maps_stored_values_as_the_file_does(session):
    files = [unsigned(number, WindowCenter=40, WindowWidth=400) for number in (1, 2)]
    [state] = returned_of(session, answered_case(session, *files), "pr")
    for file in map(parsed, files):
        # PS3.4 N.2.1: the mapping of the state takes the place of the file's
        stored = file.pixel_array[64, 64]
        hu = stored * state.RescaleSlope + state.RescaleIntercept
        assert hu == stored * file.RescaleSlope + file.RescaleIntercept
        assert -50 < hu < 50
    assert state.RescaleType == "HU"
    [voi] = state.SoftcopyVOILUTSequence
    assert (voi.WindowCenter, voi.WindowWidth) == (40, 400)


def test_images_that_no_one_state_can_show_have_one_each(session):
    files = [
        unsigned(1, spacing=(2.4, 0.8)),
        unsigned(2, side=192),
        unsigned(3, study="other", RescaleType="US"),
        unsigned(4, study="other", RescaleIntercept=-1000),
    ]
    case = answered_case(session, *files[:2])
    states = returned_of(session, case, "pr")
    assert [one.InstanceNumber for one in states] == [1, 2]
    assert len({one.SeriesInstanceUID for one in states}) == 1
    areas = [one.DisplayedAreaSelectionSequence[0] for one in states]
    assert [list(one.PresentationPixelSpacing) for one in areas] == [[2.4, 0.8], [0.8, 0.8]]
    assert [list(one.DisplayedAreaBottomRightHandCorner) for one in areas] == [
        [128, 128], [192, 192],
    ]  # fmt: skip
    # without a window in the file a state without one would show every value there is
    assert states[0].SoftcopyVOILUTSequence[0].WindowWidth == 400
    [tall, _] = returned_of(session, case, "sc")
    assert tall.pixel_array.shape[0] > 2.9 * tall.pixel_array.shape[1]

    found = returned_of(session, answered_case(session, *files[2:]), "pr")
    assert sorted(float(one.RescaleIntercept) for one in found) == [-1024, -1000]


def test_a_state_about_images_whose_mapping_was_not_kept_is_not_sent(session):
    case = answered_case(session, unsigned(1))
    for image in case.series[0].images:
        image.tags = {word: told for word, told in image.tags.items() if "Rescale" not in word}
    session.flush()
    with pytest.raises(returned.NotKept, match="was not kept when this case came"):
        returned_of(session, case, "pr")
    assert len(returned_of(session, case, "sr")) == 1


@pytest.mark.parametrize(("offset", "time"), [("+0200", "140000"), ("-0330", "083000"), ("", None)])
@pytest.mark.parametrize("kind", outbox.KINDS)
def test_times_are_those_of_the_senders_zone(session, kind, offset, time):
    more = {"TimezoneOffsetFromUTC": offset} if offset else {}
    case = answered_case(session, unsigned(1, StudyDate="20260714", StudyTime="143000", **more))
    at = datetime(2026, 7, 14, 12, 0, 0, tzinfo=UTC)
    session.execute(sa.update(Prediction).values(created_at=at))
    session.expire_all()
    [made] = returned_of(session, case, kind)
    assert (made.StudyDate, made.StudyTime) == ("20260714", "143000")
    assert made.get("TimezoneOffsetFromUTC", "") == offset
    local = at.astimezone().strftime("%H%M%S")
    assert made.ContentTime == made.InstanceCreationTime == (time or local)
    assert made.get("PresentationCreationTime", made.ContentTime) == made.ContentTime


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"StudyInstanceUID": "1.2.840.0113619.2.55"}, "no valid StudyInstanceUID"),
        ({"PatientID": "Gr\xf6\xdfe"}, "PatientID of this case's files cannot be read"),
    ],
)
def test_what_could_not_join_its_study_is_refused_and_does_not_wait(session, tags, words):
    file = make_dicom(**{name: told for name, told in tags.items() if name != "PatientID"})
    if "PatientID" in tags:
        plain = make_dicom(patient_id="Grossen")
        file = plain.replace(b"Grossen ", "Gr\xf6\xdfe   ".encode("latin-1"))
    case = answered_case(session, file)
    with pytest.raises(outbox.NoWayBack, match=words):
        returned_of(session, case, "sr")


def test_an_object_that_a_library_cannot_write_ends_with_a_reason(
    api, app, case, session, monkeypatch
):
    def broken(*_args, **_more):
        raise ValueError("All referenced images must have the same dimensions.")

    monkeypatch.setattr("app.objects.report.made", broken)
    messenger = use(app, main_pacs("http://127.0.0.1:9/dicom-web"))
    order(api, case, formats=["sr"])
    try_to_the_end(session, messenger)
    [told] = api.get(f"/api/v1/cases/{case.id}/returns").json()["returns"]
    assert told["state"] == "given up"
    assert told["error"] == "It could not be made (ValueError)."


def test_an_answer_in_the_pacs_that_was_corrected_since_is_not_called_well(
    app, case, signed_in_as, session
):
    use(app, main_pacs("http://127.0.0.1:9/x"))
    ada = signed_in_as("researcher", name="ada")
    address = f"/cases/{case.id}"
    ada.post(f"{address}/returns")
    session.execute(sa.update(ReturnedObject).values(state="sent", ended_at=now()))
    session.commit()
    assert "8 objects in the PACS (main)" in ada.get(address).text
    lesion = Lesion.of_case(session, case.id)[0]
    studies.review(session, lesion, "cyst", by=studies.make_user(session, "ada", "researcher"))
    session.commit()
    page = ada.get(address).text
    assert "4 objects in the PACS (main) say what was corrected or withdrawn since" in page
    assert "rejected in the PACS" in page
    assert "4 objects in the PACS (main)</span>" in page


def test_a_report_that_corrects_another_names_it_and_nobody_elses(session, database):
    case = answered_case(session, *SENT)
    link = Link.of(session, case, KEY)
    pacs = main_pacs("http://127.0.0.1:9/x")
    lesion = Lesion.of_case(session, case.id)[0]

    def report(name, *, sent=True):
        [account] = [one for one in said.by_radiologists(session, case) if one.name == name]
        [row] = outbox.order(session, pacs, link, [account], ["sr"], by="x", key=KEY)
        made = parsed(outbox._made(session, row, KEY)[0])
        if sent:
            row.succeeded()
            session.flush()
        return made

    ada, bob = (studies.make_user(session, name, "researcher") for name in ("ada", "bob"))
    first = report("ada")
    assert "PredecessorDocumentsSequence" not in first
    studies.review(session, lesion, "hemangioma", by=bob)
    assert "PredecessorDocumentsSequence" not in report("bob")  # ada's is another person's
    studies.review(session, lesion, "cyst", by=ada)
    waits = report("ada", sent=False)
    studies.review(session, lesion, "hemangioma", by=ada)
    for made in (waits, report("ada")):  # what never came to the PACS is no predecessor
        [study] = made.PredecessorDocumentsSequence
        [series] = study.ReferencedSeriesSequence
        [instance] = series.ReferencedSOPSequence
        assert study.StudyInstanceUID == first.StudyInstanceUID
        assert series.SeriesInstanceUID == first.SeriesInstanceUID
        assert instance.ReferencedSOPInstanceUID == first.SOPInstanceUID
        assert instance.ReferencedSOPClassUID == first.SOPClassUID


def forgetful(asked):
    """Says yes to everything, and keeps nothing."""
    if asked.method == "POST":
        uid = asked.body.split(b"2.25.")[1].split(b"\0")[0]
        stored = {"00081155": {"vr": "UI", "Value": [f"2.25.{uid.decode(errors='ignore')}"]}}
        return answer(200, json.dumps({"00081199": {"vr": "SQ", "Value": [stored]}}).encode())
    return answer(200, b"[]")


def refusing(asked):
    if asked.method == "POST":
        failed = {"00081155": {"vr": "UI", "Value": ["1.2"]},
                  "00081197": {"vr": "US", "Value": [0xA700]}}  # fmt: skip
        return answer(409, json.dumps({"00081198": {"vr": "SQ", "Value": [failed]}}).encode())
    return answer(204)


def dripping(asked):
    yield b"HTTP/1.1 200 OK\r\n"
    for _ in range(40):
        time.sleep(0.2)
        yield b"x"


@pytest.mark.parametrize(
    ("behave", "words"),
    [
        (forgetful, "does not find it"),
        (refusing, "out of room"),
        (lambda _asked: answer(200, HTML, "text/html"), "web page"),
        (lambda _asked: answer(503), "cannot do it now"),
        (dripping, "did not end its answer"),
        (None, "reach"),
    ],
    ids=["yes", "409", "html", "503", "drips", "down"],
)
def test_what_a_pacs_does_not_hold_stays_on_the_way(
    api, app, case, monkeypatch, behave, words, session
):
    monkeypatch.setattr(outbox, "FOUND_WITHIN_S", 0.1)
    with bad_pacs(behave or forgetful) as server:
        url = server.url if behave else "http://127.0.0.1:9/dicom-web"
        messenger = use(app, main_pacs(url, total_s=1.5))
        assert order(api, case, formats=["sr"]).status_code == 200
        assert messenger.act()
        assert not messenger.act()  # not due again yet
    row = session.scalars(sa.select(ReturnedObject)).one()
    assert (row.state, row.tries) == ("waiting", 1)
    assert row.due_at > now()
    assert re.search(words, row.error), row.error


def test_it_is_given_up_loudly_and_an_administrator_may_try_again(
    api, app, case, session, signed_in_as, caplog
):
    messenger = use(app, main_pacs("http://127.0.0.1:9/dicom-web"))
    order(api, case, formats=["sr"])
    try_to_the_end(session, messenger)
    assert states(api, case) == ["given up"]
    assert session.scalars(sa.select(Event).where(Event.kind == "return given up")).one()
    assert [one for one in caplog.records if one.levelno == logging.ERROR]
    told = "".join(one.getMessage() for one in caplog.records)
    assert not any(word in told for word in ("PAT-7", "Ada", "ACC-0815"))
    admin = signed_in_as("admin")
    listed = admin.get("/returns")
    assert listed.status_code == 200
    assert case.pseudonym in listed.text
    row = session.scalars(sa.select(ReturnedObject)).one()
    assert admin.post(f"/returns/{row.id}/again").status_code == 303
    assert states(api, case) == ["waiting"]
    assert admin.post(f"/returns/{row.id}/again").status_code == 409
    assert signed_in_as("reader").get("/returns").status_code == 403


def test_nothing_goes_back_where_nobody_allowed_it(api, app, database, case):
    closed = main_pacs("http://127.0.0.1:9/x", takes_results=False)
    other = PacsSettings(name="other", url="http://127.0.0.1:9/y", takes_results=True)
    third = PacsSettings(name="third", url="http://127.0.0.1:9/z", takes_results=True)
    use(app)
    assert "No configured PACS takes results" in order(api, case).text
    use(app, closed, other)  # it came from the first
    assert "The PACS main takes no results" in order(api, case).text
    for elsewhere in ("other", "absent"):
        reply = order(api, case, pacs=elsewhere)
        assert reply.status_code == 409 and "another person's" in reply.text
    with database.transaction() as session:
        files = [make_dicom(make_hu(3), study="by upload")]
        strict = answered_case(session, *files, entry=Entry(Door.STOW))
        files = [make_dicom(make_hu(4), study="from elsewhere")]
        entry = Entry(Door.NODE, BACK.terms, "CT99")
        elsewhere = answered_case(session, *files, entry=entry)
    assert "returning enabled" in order(api, strict).text
    use(app, other, third)
    assert "Several PACS take results" in order(api, elsewhere).text
    assert order(api, elsewhere, pacs="third").status_code == 200


def test_what_was_withdrawn_since_is_not_sent(api, app, case, session, database):
    messenger = use(app, main_pacs("http://127.0.0.1:9/x"))
    order(api, case, formats=["sr"])
    with database.transaction() as db:
        lesion = Lesion.of_case(db, case.id)[0]
        lesion.withdraw(db, studies.make_user(db, "boss", "admin"))
    assert messenger.act()
    [told] = api.get(f"/api/v1/cases/{case.id}/returns").json()["returns"]
    assert (told["state"], told["tries"]) == ("given up", 1)
    assert "does not stand any more" in told["error"]


def test_a_case_that_is_deleted_says_what_is_not_sent_any_more(
    api, app, case, signed_in_as, session, database
):
    messenger = use(app, main_pacs("http://127.0.0.1:9/x"))
    order(api, case, formats=["sr", "pr"])
    admin = signed_in_as("admin")
    reply = admin.post(f"/cases/{case.id}/deletion", data={"typed": case.pseudonym})
    deletions.finish(database, app)
    session.expire_all()
    told = admin.get(reply.headers["location"]).text
    assert re.search(r"results that had not reached a PACS\W.*?\b2\b", told, re.S)
    assert session.scalars(sa.select(ReturnedObject)).all() == []
    dropped = sa.select(sa.func.count()).where(Event.kind == "return dropped")
    assert session.scalar(dropped) == 2
    assert not messenger.act()


def test_the_case_page_sends_the_answer_of_whoever_reviewed(app, case, signed_in_as, session):
    ada, ben = signed_in_as("researcher", name="ada"), signed_in_as("reader", name="ben")
    address = f"/cases/{case.id}"
    assert "No configured PACS takes results" in ada.get(address).text
    use(app, main_pacs("http://127.0.0.1:9/x"))
    assert "Send the answer to the PACS" in ada.get(address).text
    assert "Every lesion needs a class of yours first" in ben.get(address).text
    lesion = session.scalars(sa.select(Lesion).where(Lesion.case_id == case.id)).first()
    by = session.scalars(sa.select(User).where(User.name == "ada")).one()
    assert "will stay here" not in ada.get(address).text
    points = [(10.0, 10.0), (20.0, 10.0)]
    Measure.keep(session, lesion, lesion.image, Kind.LENGTH, points, by, measure_id=uuid.uuid4())
    session.commit()
    words = "What is sent tells classes; 1 measure of yours will stay here."
    assert words in ada.get(address).text
    assert ben.post(f"{address}/returns").status_code == 409
    assert session.scalars(sa.select(ReturnedObject)).all() == []
    assert ada.post(f"{address}/returns").headers["location"] == address
    assert "8 objects on the way (main)" in ada.get(address).text


@pytest.mark.long
def test_kill_9_on_the_way_leaves_one_object_of_each_in_the_pacs(tmp_path, orthanc, checkpoints):
    orthanc.forget()
    database = Database(f"sqlite:///{tmp_path}/outbox.sqlite3")
    database.migrate()
    pacs = of_orthanc(orthanc)
    with database.transaction() as session:
        for folder in checkpoints:
            Checkpoint.register(session, folder, "tests")
        case = answered_case(session, *SENT)
        link = Link.of(session, case, KEY)
        accounts = said.by_networks(session, case) + said.by_radiologists(session, case)
        rows = outbox.order(session, pacs, link, accounts, outbox.KINDS, by="x", key=KEY)
    told = {"name": "main", "url": orthanc.url, "user": PERSON, "password": PASSWORD,
            "takes_results": True}  # fmt: skip
    environment = {
        **os.environ,
        "HEPATICA_DATABASE_URL": f"sqlite:///{tmp_path}/outbox.sqlite3",
        "HEPATICA_INSTALLATION_KEY": KEY.decode(),
        "HEPATICA_PACS": json.dumps([told]),
    }

    def count() -> int:
        return len(orthanc.ask("/instances"))

    for _ in range(2):
        process, before = forked.app("clerk", "--once", env=environment), count()
        while process.poll() is None and count() == before:
            time.sleep(0.01)
        assert process.poll() is None
        process.kill()
        process.wait(20)
        with database.transaction() as session:
            session.execute(sa.update(ReturnedObject).values(due_at=now()))
    assert forked.app("clerk", "--once", env=environment).wait(120) == 0
    assert set(orthanc.held()) == {row.sop_uid for row in rows}
    assert count() == len(rows)
    with database.reading() as session:
        kept = session.scalars(sa.select(ReturnedObject)).all()
        assert {row.state for row in kept} == {"sent"}
        assert max(row.tries for row in kept) > 1
    database.engine.dispose()
