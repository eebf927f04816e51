"""Dataset versions, runs and the worker: frozen, claimed once, resumed, cancelled, promoted."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from app.db import Database, now
from app.errors import Conflict, Unreadable
from app.models import Case, Checkpoint, DatasetVersion, Image, Run, User, WorkerSign
from app.models.runs.dataset import MIXED, _zipped
from app.models.runs.run import LOST_AFTER_S, RunLine
from app.worker import Worker
from factories import hidden_fields, make_dicom, make_hu
from ml import config
from ml.dataset.manifest import Manifest
from ml.dataset.simulated import ASSUMED
from ml.experiment.request import Request
from ml.images.ct_slice import MADE_BY
from ml.phantom import Version, series
from ml.phantom.dicomfile import encode
from ml.progress import Progress
from tests.ml.discs import SMALL, data_set

REVIEW = {"confidence": 5, "basis": "pathology"}


@pytest.fixture
def reviewed(signed_in_as, session):
    """Three patients with a reviewed lesion each, one of every class."""
    browser = signed_in_as("reader")
    for number, lesion_class in enumerate(("cyst", "metastasis", "hemangioma")):
        dicom = make_dicom(make_hu(number), study=str(number), patient_id=f"patient {number}")
        browser.post("/cases", files={"files": ("a.dcm", dicom)}, data={"contrast_phase": "portal"})
        image = session.scalars(sa.select(Image).order_by(Image.created_at.desc())).first()
        review(browser, image, lesion_class)
    return browser


def review(browser, image, lesion_class, x=44):
    """Mark a lesion and say its class."""
    box = {"x": x, "y": 44, "width": 40, "height": 40}
    marked = browser.post(f"/images/{image.id}/lesions", data=box, headers={"x-fragment": "1"})
    lesion = json.loads(marked.headers["x-lesion"])["id"]
    answer = {**hidden_fields(marked.text), **REVIEW, "lesion_class": lesion_class}
    assert browser.post(f"/lesions/{lesion}/reviews", data=answer).status_code == 303


def test_a_version_holds_the_reviewed_lesions_and_its_digest_is_theirs(
    reviewed, signed_in_as, session, tmp_path
):
    researcher = signed_in_as("researcher")
    for name in ("first", "second"):
        reply = researcher.post("/datasets", data={"name": name, "kind": "calibrated"})
        assert reply.status_code == 303, reply.text
    first, second = DatasetVersion.all(session)
    assert first.digest == second.digest
    assert first.counts == {"cyst": 1, "metastasis": 1, "hemangioma": 1}
    body = researcher.get(f"/datasets/{first.id}/download").content
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        archive.extractall(tmp_path)
    loaded = Manifest.load(tmp_path / first.name)
    assert loaded.digest == first.digest
    assert b"patient 0" not in body  # patients go by their HMAC


def upload_phantoms(browser, session, version):
    """A patient of each class, of one phantom, marked and reviewed."""
    for index, lesion_class in enumerate(("cyst", "metastasis", "hemangioma")):
        made = series.patient(21, 0.1, index, lesion_class, lesions=1, version=version)
        dicom = encode(made, made.key_slice(1))
        browser.post("/cases", files={"files": ("a.dcm", dicom)}, data={"contrast_phase": "portal"})
        image = session.scalars(sa.select(Image).order_by(Image.created_at.desc())).first()
        review(browser, image, lesion_class)


def test_a_version_of_phantoms_knows_which_phantom_it_is_of_and_holds_one_of_them(
    signed_in_as, session, tmp_path
):
    browser, researcher = signed_in_as("reader"), signed_in_as("researcher")
    upload_phantoms(browser, session, Version.SECOND)
    assert researcher.post("/datasets", data={"name": "two", "kind": "phantom"}).status_code == 303
    [frozen] = DatasetVersion.all(session)
    found = frozen.unpack(session, tmp_path)
    assert (found.phantom, found.difficulty, found.notes) == (Version.SECOND, 0.1, ())

    upload_phantoms(browser, session, Version.FIRST)
    refused = researcher.post("/datasets", data={"name": "both", "kind": "phantom"})
    assert refused.status_code == 422
    assert "here are 3 of phantom 2, 3 of phantom 1" in refused.text

    for image in session.scalars(sa.select(Image)):  # as of a version that did not keep it
        image.tags = {word: told for word, told in image.tags.items() if word != MADE_BY}
    session.commit()
    assert researcher.post("/datasets", data={"name": "old", "kind": "phantom"}).status_code == 303
    [old] = (one for one in DatasetVersion.all(session) if one.name == "old")
    found = old.unpack(session, tmp_path / "old")
    assert (found.phantom, found.difficulty) == (Version.FIRST, None)
    assert ASSUMED in found.notes


def test_a_version_that_cannot_be_frozen_says_why(reviewed, signed_in_as, session):
    researcher = signed_in_as("researcher")
    for form in (
        {"name": "a name", "kind": "calibrated"},
        {"name": "empty", "kind": "phantom"},
        {"name": "odd", "kind": "magnetic"},
    ):
        assert researcher.post("/datasets", data=form).status_code == 422
    assert DatasetVersion.all(session) == []
    assert reviewed.post("/datasets", data={"name": "x", "kind": "calibrated"}).status_code == 403


def test_a_patient_with_two_classes_is_frozen_only_when_that_is_said_to_be_meant(
    reviewed, signed_in_as, session, tmp_path
):
    image = session.scalars(sa.select(Image).order_by(Image.created_at.desc())).first()
    review(reviewed, image, "cyst", x=20)  # beside its hemangioma
    researcher = signed_in_as("researcher")
    assert MIXED in researcher.get("/datasets").text
    form = {"name": "mixed", "kind": "calibrated"}
    refused = researcher.post("/datasets", data=form)
    assert refused.status_code == 422
    case = session.scalars(sa.select(Case).order_by(Case.created_at.desc())).first()
    assert f"1 patient has lesions of several classes: {case.pseudonym} " in refused.text
    assert f"(cyst, hemangioma). Correct the reviews, or tick “{MIXED}”." in refused.text
    assert "--" not in refused.text.partition("Refused")[2].partition("</div>")[0]
    assert 'name="mixed_patients" value="1" checked' not in refused.text
    assert DatasetVersion.all(session) == []

    reply = researcher.post("/datasets", data={**form, "mixed_patients": "1"})
    assert reply.status_code == 303, reply.text
    session.expire_all()
    [version] = DatasetVersion.all(session)
    assert version.counts == {"cyst": 2, "metastasis": 1, "hemangioma": 1}
    manifest = version.unpack(session, tmp_path)
    assert manifest.problems() == ()  # what training asks, too
    assert manifest.mixed_patients


def test_a_refused_form_keeps_that_mixed_patients_are_meant(signed_in_as):
    form = {"name": "a name", "kind": "calibrated", "mixed_patients": "1"}
    refused = signed_in_as("researcher").post("/datasets", data=form)
    assert refused.status_code == 422
    assert 'name="mixed_patients" value="1" checked' in refused.text


@pytest.fixture
def installation(tmp_path, monkeypatch):
    """A database of its own with a tiny dataset version, and a quick preset that is quicker."""
    monkeypatch.setattr(config, "experiment", lambda _name: replace(SMALL, device="cpu"))
    database = Database(f"sqlite:///{tmp_path}/runs.sqlite3")
    database.migrate()
    data_set(tmp_path / "discs")
    with database.transaction() as session:
        researcher = User.add(session, "rita", "researcher", "correct horse")
        version = DatasetVersion.freeze(session, researcher, _zipped(tmp_path / "discs"))
        version_id = version.id

    def queue(seeds: int = 1) -> Run:
        with database.transaction() as session:
            dataset = DatasetVersion.require(session, version_id)
            return Run.queue(session, User.require(session, "rita"), dataset, "quick", seeds)

    database.queue = queue
    return database


def test_an_impossible_run_is_refused(installation):
    with installation.transaction() as session:
        dataset, rita = DatasetVersion.all(session)[0], User.require(session, "rita")
        with pytest.raises(Unreadable):
            Run.queue(session, rita, dataset, "heroic", 1)
        with pytest.raises(Unreadable):
            Run.queue(session, rita, dataset, "quick", 0)


def test_a_run_asked_for_twice_while_it_waits_is_computed_once(installation):
    first, again, other = installation.queue(), installation.queue(), installation.queue(seeds=2)
    assert first.id == again.id != other.id
    with installation.transaction() as session:
        Run.require(session, first.id, to_change=True).cancel(
            session, User.require(session, "rita")
        )
    assert installation.queue().id != first.id


def test_a_run_is_claimed_once_and_again_only_when_its_worker_is_lost(installation):
    run = installation.queue()
    with installation.transaction() as session:
        assert Run.claim(session, "one").id == run.id
    with installation.transaction() as session:
        assert Run.claim(session, "two") is None
        Run.require(session, run.id).heard_at = now() - timedelta(seconds=LOST_AFTER_S + 1)
    with installation.transaction() as session:
        assert Run.claim(session, "two").id == run.id
    with installation.transaction() as session, pytest.raises(Conflict):
        Run.of_worker(session, run.id, "one")  # the first, waking up, no longer owns it


def test_a_sign_of_life_keeps_a_run(installation):
    run = installation.queue()
    with installation.transaction() as session:
        Run.claim(session, "one").heard_at = now() - timedelta(seconds=LOST_AFTER_S + 1)
    with installation.transaction() as session:
        WorkerSign.give(session, "one", run.id)
        assert WorkerSign.living(session) == 1
    with installation.transaction() as session:
        assert Run.claim(session, "two") is None
        assert Run.require(session, run.id).worker == "one"


def test_the_time_left_is_told_by_the_pace_of_this_claim(installation):
    run = installation.queue()
    with installation.transaction() as session:
        Run.claim(session, "one")
    with installation.transaction() as session:
        resumed = Run.require(session, run.id)
        resumed.save(session, Progress(900, 1000, "where the last worker stopped"))
        assert resumed.remaining_s is None
        session.flush()
        hundred_s_ago = now() - timedelta(seconds=100)
        resumed.started_at = hundred_s_ago - timedelta(seconds=1)
        session.execute(sa.update(RunLine).values(at=hundred_s_ago))
        resumed.save(session, Progress(910, 1000, "one task later"))
    with installation.reading() as session:
        assert Run.require(session, run.id).remaining_s == pytest.approx(900, rel=0.1)


def test_what_is_no_news_is_no_line_of_the_log(installation):
    run = installation.queue()
    with installation.transaction() as session:
        Run.claim(session, "one")
    same = Progress(3, 9, "epoch 8", {"loss": 0.5})
    for told in (same, same, same, Progress(3, 9, "epoch 8", {"loss": 0.4}), same):
        with installation.transaction() as session:
            claimed = Run.of_worker(session, run.id, "one")
            claimed.heard_at = None
            claimed.save(session, told)
            assert claimed.heard_at is not None
    with installation.reading() as session:
        log = Run.require(session, run.id).tail(session)
        assert [line.figures["loss"] for line in log] == [0.5, 0.4, 0.5]
        assert [line.number for line in log] == [1, 2, 3]


def never_falls_back(told: list[Progress]) -> None:
    """Nor when the report is written, which is of the same whole."""
    shares = [step.done / step.total for step in told]
    assert shares == sorted(shares)
    assert len({step.total for step in told}) == 1
    words = [step.text for step in told]
    assert words.index("writing the report") < words.index("exporting the checkpoints")


@pytest.mark.long
def test_a_worker_brings_a_run_to_its_report_and_its_checkpoints(
    installation, tmp_path, monkeypatch
):
    run = installation.queue()
    told = []
    save = Run.save

    def noted(self, session, progress):
        told.append(progress)
        save(self, session, progress)

    monkeypatch.setattr(Run, "save", noted)
    Worker(installation, tmp_path / "runs", jobs=1).work(once=True)
    never_falls_back(told)
    assert not any(str(tmp_path) in step.text for step in told)
    with installation.transaction() as session:
        ended = Run.require(session, run.id)
        assert (ended.state, ended.error) == ("done", None)
        results = json.loads(ended.results(session))
        assert results["dataset"]["digest"] == ended.dataset.digest
        assert results["command"] == Request.of("quick", [], 1).command
        assert results["command"].encode() in ended.report(session)
        assert ended.tail(session) != []
        made = Checkpoint.of_stem(session, ended.short_name)
        assert {row.kind for row in made} == {"classifier", "generator"}
        assert all(row.served_since is None for row in made)
        classifier = next(row for row in made if row.kind == "classifier")
        assert classifier.meta["preset"] == "quick"
        counts = classifier.meta["metrics"]["training"]
        [note] = [n for n in classifier.meta["metrics"]["notes"] if "lesions of" in n]
        said = f"Trained on the {counts['n_lesions']} lesions of {counts['n_patients']} patients of"
        assert note.startswith(f"{said} {SMALL.folds - 1} of {SMALL.folds} folds")
        with pytest.raises(Unreadable, match="proves nothing"):
            classifier.promote(session, "rita")
        classifier.promote(session, "rita", typed="SERVE")
        assert Checkpoint.classifier(session).id == classifier.id
        with pytest.raises(Conflict):
            classifier.retire(session, "rita")
    assert not (tmp_path / "runs" / str(run.id)).exists()  # scratch is gone


def test_a_queued_run_is_cancelled_at_once_and_a_running_one_at_its_next_step(
    installation, tmp_path
):
    waiting, running = installation.queue(), installation.queue(seeds=2)
    with installation.transaction() as session:
        Run.require(session, waiting.id).cancel(session, User.require(session, "rita"))
    worker = Worker(installation, tmp_path / "runs", jobs=1)
    with installation.transaction() as session:
        assert Run.claim(session, worker.name).id == running.id
        Run.require(session, running.id).cancel(session, User.require(session, "rita"))
    assert worker._save(running.id, Progress(1, 2, "a step")) is False
    with installation.reading() as session:
        states = {Run.require(session, one.id).state for one in (waiting, running)}
        assert states == {"cancelled"}
        with pytest.raises(Conflict):
            Run.require(session, running.id).cancel(session, User.require(session, "rita"))


def test_a_run_that_cannot_be_done_says_why(installation, tmp_path, monkeypatch):
    monkeypatch.setattr(config, "experiment", lambda _name: replace(SMALL, folds=40))
    run = installation.queue()
    Worker(installation, tmp_path / "runs", jobs=1).work(once=True)
    with installation.reading() as session:
        ended = Run.require(session, run.id)
        assert ended.state == "failed"
        assert "cannot make 40 folds" in ended.error


def test_the_pages_of_runs_say_that_no_worker_runs_and_how_to_start_one(signed_in_as):
    page = signed_in_as("researcher").get("/runs").text
    assert "make worker" in page
    assert signed_in_as("reader").get("/runs").status_code == 403
