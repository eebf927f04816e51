"""A patient's data deleted everywhere: afterwards none of its bytes is in any file."""

from __future__ import annotations

import base64
import copy
import io
import json
import logging
import shutil
import uuid
import zipfile
from pathlib import Path

import pytest
import sqlalchemy as sa
from traces import rows

import answered
import kept_lesions
import studies
from app.db import Database, now
from app.errors import Conflict, Gone
from app.models import (
    Blob,
    Case,
    Checkpoint,
    DatasetVersion,
    Erasure,
    Event,
    Image,
    Job,
    KeptAnswer,
    Lesion,
    Marking,
    Protocol,
    ReaderStudy,
    Reading,
    Run,
    Stimulus,
)  # fmt: skip
from app.models.cases.measure import Measure
from app.models.correction import correct_phase, rename
from app.models.erasures.certificate import Certificate
from app.models.erasures.chosen import chosen, refuse_staying
from app.models.erasures.erasure import ErasureKind
from app.models.erasures.extent import Extent, cases_called, hindrances
from app.models.jobs.job import JobKind, JobState
from app.models.reader_studies.design import Design
from app.models.reader_studies.unblinded import Unblinded
from app.models.runs.run import RunState
from app.models.study_results import exports
from app.models.study_results.answers import Answers
from app.models.study_results.results import Results
from app.operation.erasing import Erasing
from app.operation.register import Register
from app.settings import Settings
from ml.images.ruler import Kind
from ml.lesion import LIVER
from serving import command_here

pytestmark = pytest.mark.long

NAME = "PLANTED-9471"
"""The pseudonym; the PatientID has studies.PATIENT_WORD in it."""


def no_network(*_):
    return []


class Planted:
    """An installation with one patient among others, in everything that can hold a patient."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder
        self.settings = Settings(
            database_url=url,
            installation_key=studies.KEY.decode(),
            deletions_file=folder / "deletions.jsonl",
            runs_dir=folder / "runs",
        )
        self.database = Database(url)
        self.database.migrate()
        with studies.made_anew(), self.database.transaction() as session:
            self._fill(session)
        with self.database.transaction() as session:
            self._analyse(session)
        self.database.forget()
        self.traces = self._traces()

    def _fill(self, session) -> None:
        study = studies.make_study(
            session, studies.make_user(session, "ada"), per_class=2, real=6, synthetic=6
        )
        self.study = study.id
        answered.answer(session, study, 1, answered.guessing(3, 1.0))
        answered.unblind(session, study, studies.make_user(session, "maker", "researcher"))
        lesion = session.scalars(
            sa.select(Lesion).join(Stimulus, Stimulus.lesion_id == Lesion.id).limit(1)
        ).one()
        self.lesion, self.case = lesion.id, lesion.case_id
        case = session.get(Case, self.case)
        case.pseudonym = NAME
        maker = studies.make_user(session, "maker", "researcher")
        packed = DatasetVersion.pack(session, "frozen", LIVER, "phantom")
        version = DatasetVersion.freeze(session, maker, packed)
        self.version = version.id
        picture = base64.b64encode(self.png(session)).decode()
        report = f'<html><body><p>figures</p><img alt="x" src="data:image/png;base64,{picture}">'
        run = Run(
            dataset_id=version.id, preset="quick", seeds=1, queued_by_id=maker.id,
            owner_id=maker.id, state=RunState.DONE, ended_at=now(),
        )  # fmt: skip
        session.add(run)
        session.flush()
        run.finish(session, b'{"a": 1}', f"{report}</body></html>".encode())
        self.run = run.id
        line = next(k for k, one in version.lesions(session).items() if one == self.lesion)
        self.line = line
        ids = (line, *(k for k in version.lesions(session) if k != line))
        kept = kept_lesions.named(kept_lesions.lesions(), ids)
        self.features = kept.features[0].tobytes()
        root = kept_lesions.saved(self.folder / "kept", kept, digest=version.digest)
        self.checkpoint = Checkpoint.register(session, root, "tests", serve=False).id
        for path in sorted(root.iterdir()):
            path.unlink()
        session.add(
            Job(
                kind=JobKind.CLASSIFICATION, state=JobState.DONE, asked_by="x", total=1,
                ended_at=now(), result={"answers": [{"case": str(self.case), "note": NAME}]},
            )
        )  # fmt: skip
        body = json.dumps({"case_id": str(self.case), "warnings": [f"It is called {NAME}."]})
        session.add(
            KeptAnswer(
                scope="a", key="b", digest="c", claim=uuid.uuid4(), heard_at=now(), status=200,
                headers=[], body=body.encode(),
            )
        )  # fmt: skip
        session.add(
            Marking(
                uid="2.25.77", study_uid="2.25.78", kind="SR", patient_hmac=case.patient_hmac,
                source_hmac="s" * 64, content_hmac="c" * 64, transfer_syntax_uid="1.2",
                waiting=[], sent_by="x",
            )
        )  # fmt: skip
        scratch = self.settings.runs_dir / str(self.run) / "data"
        scratch.mkdir(parents=True)
        (scratch / "0001.npy").write_bytes(self.hu(session))

    def _analyse(self, session) -> None:
        study = session.get(ReaderStudy, self.study)
        Results.of(session, session, Unblinded(study), no_network)

    def copied(self, folder: Path) -> Planted:
        """The same again in another folder, for a test to change."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        other = copy.copy(self)
        other.folder, other.url = folder, f"sqlite:///{folder}/db/h.sqlite3"
        other.database = Database(other.url)
        other.settings = self.settings.model_copy(
            update={"deletions_file": folder / "deletions.jsonl", "runs_dir": folder / "runs"}
        )
        return other

    def image(self, session) -> Image:
        return session.get(Lesion, self.lesion).image

    def png(self, session) -> bytes:
        of = sa.select(Stimulus.pixels_digest).where(Stimulus.lesion_id == self.lesion)
        return Blob.read(session, session.scalars(of).one())

    def context(self, archive: bytes) -> bytes:
        """What the frozen data set has of the lesion, as it is compressed there."""
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            found = opened.getinfo(f"frozen/contexts/{self.line}.npy")
        begin = found.header_offset + 30 + len(found.filename) + 200
        return archive[begin : begin + 64]

    def hu(self, session) -> bytes:
        return self.image(session).pixels(session)[40].astype("<i2").tobytes()

    def _traces(self) -> dict[str, bytes]:
        """What must be found before, and nowhere afterwards."""
        with self.database.reading() as session:
            case, image = session.get(Case, self.case), self.image(session)
            version = session.get(DatasetVersion, self.version)
            report = session.get(Run, self.run).report(session)
            middle = report.index(b"base64,") + 2000
            return {
                "pseudonym": NAME.encode(),
                "HMAC of the PatientID": case.patient_hmac.encode(),
                "HMAC of the study": case.study_uid.encode(),
                "HMAC of the object": image.sop_uid.encode(),
                "HMAC of its bytes": image.source_hmac.encode(),
                "digest of the pixels": image.pixels_digest.encode(),
                "pixels as they are stored": image.stored_pixels(session)[300:364],
                "pixels": self.hu(session),
                "rows of the picture": self.png(session)[2000:2064],
                "the frozen data set": self.context(version.archive(session)),
                "a report's picture": report[middle : middle + 80],
                "a network's features": self.features,
            }

    def files(self) -> dict[str, bytes]:
        """Every file of the installation; those of PostgreSQL are its own, see `rows`."""
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in self.folder.rglob("*")
            if path.is_file()
        }

    def rows(self) -> dict[str, bytes]:
        """Every table of the database, byte strings as they are."""
        with self.database.engine.connect() as connection:
            return rows(connection)

    def found(self, held: dict[str, bytes]) -> set[str]:
        return {
            what
            for what, trace in self.traces.items()
            if any(trace in one for one in held.values())
        }

    def erase(self, case: uuid.UUID | None = None) -> Erasure:
        """A case, or all that there is of the patient."""
        erasing = Erasing(self.database, self.settings)
        kind = ErasureKind.PATIENT if case is None else ErasureKind.CASES
        with self.database.transaction() as session:
            ids = [case] if case else [one.id for one in cases_called(session, NAME)]
            begun = Erasure.begin(session, kind, "admin", Extent.of(session, ids), cases=ids)
        for _ in erasing.run(begun.id, "tests"):
            pass
        with self.database.reading() as session:
            return session.get(Erasure, begun.id)


@pytest.fixture(scope="module")
def once_planted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted")
    made = Planted(f"sqlite:///{folder}/db/h.sqlite3", folder)
    made.database.engine.dispose()
    return made


@pytest.fixture
def planted(once_planted, tmp_path):
    made = once_planted.copied(tmp_path)
    yield made
    made.database.engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def on_either(request, tmp_path):
    """Planted in a SQLite and in a PostgreSQL."""
    if request.param == "sqlite":
        return request.getfixturevalue("planted")
    return Planted(request.getfixturevalue("postgres"), tmp_path)


def test_nothing_of_a_patient_is_left_in_any_byte_and_what_stays_says_so(on_either, caplog):
    planted = on_either
    caplog.set_level(logging.DEBUG)
    sqlite = planted.url.startswith("sqlite")
    everything = set(planted.traces)
    # of what a PostgreSQL holds, what its tables give; scratch lies in files
    assert planted.found(planted.files() | planted.rows()) == everything
    if sqlite:
        assert planted.found(planted.files()) == everything
    with planted.database.reading() as session:
        others = session.scalar(sa.select(sa.func.count(Case.id))) - 1
        before = Results.kept(session, Unblinded(session.get(ReaderStudy, planted.study))).data
        frozen = session.get(DatasetVersion, planted.version)
        digest, rois = frozen.digest, frozen.rois

    told = planted.erase()

    assert told.ended_at is not None
    assert planted.found(planted.files() | planted.rows() | {"log": caplog.text.encode()}) == set()
    extent = told.extent
    assert (extent.cases, extent.images, extent.lesions, extent.reviews) == (1, 1, 1, 1)
    assert [(one.name, one.rois) for one in extent.versions] == [("frozen", 1)]
    assert [one.pictures for one in extent.studies] == [1]
    assert (len(extent.runs), extent.markings) == (1, 1)
    with planted.database.reading() as session:
        assert session.scalar(sa.select(sa.func.count(Case.id))) == others
        # the data set keeps its name, digest and counts, and says that it is not whole
        version = session.get(DatasetVersion, planted.version)
        assert (version.digest, version.rois, version.erased) == (digest, rois, 1)
        assert planted.lesion not in version.classes(session).values()
        assert len(version.classes(session)) == rois - 1
        assert "1 ROI was deleted" in version.erased_words
        with pytest.raises(Conflict, match="Freeze a new version"):
            version.refuse_erased()
        with pytest.raises(Gone):
            Blob.read(session, version.archive_digest)
        report = session.get(Run, planted.run).report(session)
        assert b"picture deleted" in report and b"figures" in report
        assert b"1 ROI was deleted from frozen" in report
        kept = session.get(Checkpoint, planted.checkpoint).lesions(session)
        assert len(kept) == rois - 1
        job = session.scalars(sa.select(Job)).one()
        assert (job.result, job.state) == (None, "done") and "was deleted" in job.error
        # the study keeps its record, its answers and its numbers
        study = session.get(ReaderStudy, planted.study)
        assert all(one.holds for one in session.scalars(sa.select(Protocol)))
        assert Results.kept(session, Unblinded(study)).data == before
        assert session.scalars(sa.select(Reading)).all()
        gone = Stimulus.gone(session, planted.study)
        assert len(gone) == 1
        archive = exports.images(session, Answers.of(session, Unblinded(study)))
        assert b"DELETED.txt" in archive
        kinds = session.scalars(sa.select(Event.kind).order_by(Event.at)).all()
        assert kinds[-5:] == [
            "deletion begun", "dataset version lost ROIs", "study lost pictures", "case deleted",
            "deletion ended",
        ]  # fmt: skip


def test_nothing_of_a_case_is_left_in_any_byte_where_another_of_its_patient_stays(on_either):
    planted = on_either
    of_patient = {"pseudonym", "HMAC of the PatientID"}
    with planted.database.transaction() as session:
        mine = session.get(Case, planted.case)
        [lesion] = studies.make_lesion(session, 901)
        other = session.get(Case, lesion.case_id)
        other.pseudonym, other.patient_hmac = mine.pseudonym, mine.patient_hmac
        waiting = session.scalars(sa.select(Marking)).one()
        waiting_id, waiting.waiting = waiting.id, ["2.25.79"]
        staff = studies.make_user(session, "ada")
        theirs = chosen(session, [planted.case])[0]
        theirs.uploaded_by_id = staff.id
        session.flush()
        with pytest.raises(Conflict, match="only an administrator"):
            refuse_staying(session, [theirs], staff)

    told = planted.erase(planted.case)

    assert told.ended_at is not None
    assert planted.found(planted.files() | planted.rows()) - of_patient == set()
    assert planted.found(planted.rows()) == of_patient  # those of the other case
    extent = told.extent
    assert (extent.cases, extent.other_cases, extent.markings) == (1, 1, 0)
    assert [(one.name, one.rois) for one in extent.versions] == [("frozen", 1)]
    assert any("1 other case of the same" in one for one in Certificate.of(extent).lines)
    with planted.database.reading() as session:
        assert session.get(Case, other.id).lesion_count == 1
        # it waits for images of the patient, of whom something stays
        assert session.get(Marking, waiting_id) is not None
        assert session.get(DatasetVersion, planted.version).erased == 1
        assert len(Stimulus.gone(session, planted.study)) == 1
    assert [one.kind for one in Register(planted.settings.deletions_file).read()] == ["cases"]


def test_pixels_that_another_case_has_too_stay_and_are_not_counted(planted):
    with planted.database.transaction() as session:
        lesions = [studies.make_lesion(session, 902), studies.make_lesion(session, 903)]
        one, two = (session.get(Case, lesion.case_id) for [lesion] in lesions)
        alone = Extent.of(session, [one.id]).pixel_bytes
        mine, theirs = one.series[0].images[0], two.series[0].images[0]
        theirs.pixels_digest = mine.pixels_digest
        session.flush()
        ids, digest = (one.id, two.id), mine.pixels_digest
        shared = Extent.of(session, ids[:1])
        assert alone and (shared.pixel_bytes, shared.shared, shared.objects_sha256) == (0, 1, "")
        assert any("another case has the very same" in one for one in Certificate.of(shared).lines)
        assert Extent.of(session, ids).pixel_bytes == alone
    assert planted.erase(ids[0]).extent.images == 1
    with planted.database.reading() as session:
        assert Blob.read(session, digest)
    planted.erase(ids[1])
    with planted.database.reading() as session:
        assert session.get(Blob, digest) is None


def test_what_is_read_or_trained_on_is_refused_by_name(planted):
    with planted.database.transaction() as session:
        run = session.get(Run, planted.run)
        run.state, run.ended_at = RunState.RUNNING, None
        maker = studies.make_user(session, "maker", "researcher")
        study = studies.compose(
            session, maker, title="Second reading", scheme=LIVER, real=6, synthetic=6, seed=8,
            design=Design(), draw=studies.draw,
        )  # fmt: skip
        study.enrol(session, studies.make_user(session, "bob"), maker)
        study.open(session, maker, study.pictures(session, studies.draw))
    with planted.database.transaction() as session:
        [case] = cases_called(session, NAME)
        told = " ".join(hindrances(session, [case.id]))
        assert "“Second reading” shows 1 of the pictures and is being read" in told
        assert f"The run {session.get(Run, planted.run).short_name} on frozen" in told
        with pytest.raises(Conflict, match="Nothing was deleted"):
            Erasure.begin(session, ErasureKind.PATIENT, "admin", Extent(), cases=[case.id])
        assert session.get(Lesion, planted.lesion).withdrawn_at is None


def test_nothing_is_made_of_what_is_being_deleted_and_what_was_made_is_told(on_either):
    """What was read before a deletion began is stored after it: a version, a study, a mark."""
    here = on_either

    def writing(act):
        with here.database.transaction() as session:
            return act(session, studies.make_user(session, "maker", "admin"))

    def prepared(session, maker):
        study = studies.compose(
            session, maker, title="Second reading", scheme=LIVER, real=6, synthetic=6, seed=8,
            design=Design(), draw=studies.draw,
        )  # fmt: skip
        study.enrol(session, studies.make_user(session, "bob"), maker)
        session.flush()
        pictures = study.pictures(session, studies.draw)
        archives = [
            DatasetVersion.pack(session, name, LIVER, "phantom") for name in ("late", "later")
        ]
        return study.id, pictures, archives, Extent.of(session, [here.case])

    study_id, pictures, (late, later), counted = writing(prepared)
    # one was stored after all was counted, and before it began
    writing(lambda session, maker: DatasetVersion.freeze(session, maker, late))

    def begin(session, _maker):
        return Erasure.begin(session, ErasureKind.CASES, "admin", counted, cases=[here.case]).id

    begun = writing(begin)

    def measured(session, maker):
        lesion = session.get(Lesion, here.lesion)
        measure_id = uuid.uuid4()
        session.add(
            Measure(
                id=measure_id, lesion_id=lesion.id, image_id=lesion.image_id, kind=Kind.LENGTH,
                points=[[1, 1], [9, 9]], px=11.3, by_id=maker.id,
            )
        )  # fmt: skip
        return measure_id

    measure = writing(measured)  # as one that was kept in the moment before it began
    refused = {
        "a version": lambda session, maker: DatasetVersion.freeze(session, maker, later),
        "a study": lambda session, maker: session.get(ReaderStudy, study_id).open(
            session, maker, pictures
        ),
        "a run": lambda session, maker: Run.queue(
            session, maker, session.get(DatasetVersion, here.version), "quick", 1
        ),
        "a lesion": lambda session, maker: Lesion.held(session, here.lesion).restore(
            session, maker
        ),
        "a measure": lambda session, maker: Measure.held(session, measure),
        "a name": lambda session, maker: rename(
            session, session.get(Case, here.case), maker, "Another"
        ),
        "a phase": lambda session, maker: correct_phase(
            session, session.get(Case, here.case), maker, before="portal", after="other"
        ),
    }
    for what, act in refused.items():
        with pytest.raises(Conflict, match="being deleted"):
            pytest.fail(f"{what} was made: {writing(act)}")
    for _ in Erasing(here.database, here.settings).run(begun, "tests"):
        pass
    for what in ("a version", "a study"):
        with pytest.raises(Conflict, match=r"1 of the lesions is being deleted .* or were"):
            pytest.fail(f"{what} was made: {writing(refused[what])}")
    with here.database.reading() as session:
        ended = session.get(Erasure, begun)
        assert ended.ended_at is not None
        assert {one.name for one in ended.extent.versions} == {"frozen", "late"}
        assert (counted.measures, ended.extent.measures) == (0, 1)
    assert here.found(here.rows()) == set()


def test_killed_at_any_part_it_is_gone_on_with_by_whoever_comes_next(planted):
    with planted.database.transaction() as session:
        ids = [case.id for case in cases_called(session, NAME)]
        extent = Extent.of(session, ids)
        begun = Erasure.begin(session, ErasureKind.PATIENT, "admin", extent, cases=ids).id
    parts = 0
    while True:
        parts += 1
        # each process does one part more than nothing, and is killed
        killed = Erasing(planted.database, planted.settings)
        steps = killed.run(begun, "tests")
        for _ in range(parts):
            next(steps, None)
        steps.close()
        with planted.database.reading() as session:
            if session.get(Erasure, begun).ended_at is not None:
                break
            case = session.get(Case, ids[0])
            if case is not None:  # as long as it is there it is whole
                assert session.scalar(sa.select(sa.func.count(Image.id))) and case.slice_count == 1
                assert planted.image(session).pixels(session).size
    assert parts >= 4
    assert planted.found(planted.files()) == set()
    assert [one.erasure for one in Register(planted.settings.deletions_file).read()] == [begun]


def test_a_backup_of_before_is_cleared_again_by_the_register(planted, tmp_path):
    with planted.database.transaction() as session:
        studies.make_lesion(session, 777)
        single = studies.make_lesion(session, 778)[0].case_id

    def run(url: str, *words: str) -> str:
        done = command_here(url, tmp_path, *words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "Nothing is in the way." in run(planted.url, "patient", "delete", NAME, "--dry-run")
    folder = run(planted.url, "backup", str(tmp_path / "backups")).partition(": ")[0]
    told = run(planted.url, "patient", "delete", NAME, "--reference", "A 12")
    assert "Certificate of deletion" in told and "Reference: A 12" in told
    assert "1  ROIs of a frozen data set: frozen" in told and "it ended" in told
    held = b"".join(path.read_bytes() for path in Path(folder).iterdir())
    assert planted.traces["pixels as they are stored"] in held  # what a backup holds, it holds
    planted.erase(single)
    fresh = f"sqlite:///{tmp_path}/fresh/h.sqlite3"
    assert run(fresh, "restore", folder).count("was done again") == 2
    restored = (tmp_path / "fresh" / "h.sqlite3").read_bytes()
    assert {what for what, trace in planted.traces.items() if trace in restored} == set()
    database = Database(fresh)
    with database.reading() as session:
        assert session.scalar(sa.select(sa.func.count(Case.id))) > 1
        again = session.scalars(sa.select(Erasure).order_by(Erasure.kind)).all()
        assert [one.kind for one in again] == [ErasureKind.CASES, ErasureKind.PATIENT]
        assert all(one.ended_at for one in again) and session.get(Case, single) is None
    database.engine.dispose()
    assert run(fresh, "verify").startswith("All is what was stored")
