"""Web, clerk and DICOM node are killed with kill -9 between "receive" and "send back".

Studies come by STOW, by the node and from the PACS at once, to processes that are killed at random,
and while the PACS has an object that it has not acknowledged yet. In the end all is here once, and
the PACS holds one report, one presentation state and one capture of each study.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from archive import Archive, uids
from bad_pacs import bad_pacs
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE

import marks
from app.db import Database, now
from app.models import (
    ApiToken,
    Case,
    Checkpoint,
    Event,
    Image,
    Job,
    Lesion,
    Prediction,
    ReturnedObject,
)
from app.models.jobs.job import JobState
from app.place import ROOT
from factories import make_dicom, make_hu
from serving import environment
from stow import content_type, parsed, related

pytestmark = pytest.mark.timeout(1300)
PATIENCE_S = 1200
"""For a machine that does much else."""
SLICES = 5
INSIDE = np.zeros((1, 128, 128), bool)
INSIDE[0, 49:79, 50:78] = True


def study(name: str) -> list[bytes]:
    """Slices of a patient of its own, the object that marks one lesion among them."""
    told = {"study": name, "patient_id": f"PAT-{name}", "StudyDate": "20191105", "StudyID": "1"}
    slices = [make_dicom(make_hu(n), number=n, z=5.0 * n, **told) for n in range(1, SLICES + 1)]
    seg = marks.segmentation(slices[:1], INSIDE, instance=f"seg of {name}", StudyID="1")
    return [*slices[:2], seg, *slices[2:]]


class Part:
    """One process of the installation, which can be killed and started again."""

    def __init__(self, name: str, folder: Path, told: dict[str, str], port: int = 0) -> None:
        self.name, self.port, self._told = name, port, told
        self._log = folder / f"{name}.log"
        self._turn = threading.Lock()
        self.kills = 0
        words = {
            "web": ["serve", "--port", str(port)],
            "dicom-node": ["dicom-node", "--aet", "HEPATICA", "--port", str(port)],
            "clerk": ["clerk"],
        }
        self._command = [sys.executable, "-m", "app", *words[name]]
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command, cwd=ROOT, env=self._told, stdout=log, stderr=log
            )

    def kill(self) -> None:
        """End it at once and start it again; one killer at a time."""
        if self._turn.acquire(blocking=False):
            try:
                self.kills += self.process.poll() is None
                self.close()
                self.start()
            finally:
                self._turn.release()

    def close(self) -> None:
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(20)

    @property
    def answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Road:
    """An installation whose senders do not give up, its PACS, and who kills on the way."""

    def __init__(self, url: str, folder: Path, archive: Archive, pacs_url: str, seed: int) -> None:
        self.archive, self.until = archive, time.monotonic() + PATIENCE_S
        self.random = random.Random(seed)
        self.faults: list[str] = []
        entry = {"name": "main", "url": pacs_url, "takes_results": True, "aet": "ARCHIVE",
                 "connect_s": 2, "read_s": 5, "total_s": 10}  # fmt: skip
        doors = ("STOW", "PULL", "NODE")
        told = environment(
            url, folder,
            HEPATICA_PACS=json.dumps([entry]),
            HEPATICA_NODE_CALLERS="ARCHIVE@127.0.0.1",
            HEPATICA_CLASSIFY_QUIET_SERIES="true",
            HEPATICA_SERIES_QUIET_S="0.5",
            **{f"HEPATICA_DOOR_{door}": "return-results" for door in doors},
        )  # fmt: skip
        self.database = Database(url)
        self.database.migrate()
        with self.database.transaction() as session:
            Checkpoint.register_shipped(session)
            self.token = ApiToken.add(session, "pacs", "machine")
        self.web = Part("web", folder, told, free_port())
        self.node = Part("dicom-node", folder, told, free_port())
        self.clerk = Part("clerk", folder, told)
        self.parts = (self.web, self.node, self.clerk)

    def close(self) -> None:
        for part in self.parts:
            part.close()
        self.database.engine.dispose()

    # -- senders, who send again until it is acknowledged ---------------------------------------

    def by_stow(self, files: list[bytes]) -> None:
        for file in files:
            self._ask("/dicomweb/studies", related(file), content_type())

    def by_fetch(self, study_uid: str) -> None:
        told = json.dumps({"study": study_uid}).encode()
        key = str(uuid.uuid4())
        self._ask("/api/v1/fetches", told, "application/json", key)

    def _ask(self, path: str, body: bytes, kind: str, key: str = "") -> None:
        headers = {"authorization": f"Bearer {self.token}", "content-type": kind}
        headers |= {"idempotency-key": key} if key else {}
        while time.monotonic() < self.until:
            line = http.client.HTTPConnection("127.0.0.1", self.web.port, timeout=20)
            try:
                line.request("POST", path, body, headers)
                reply = line.getresponse()
                told = reply.read()
            except (OSError, http.client.HTTPException):
                time.sleep(0.2)
                continue
            finally:
                line.close()
            if reply.status in (200, 202):
                return
            if reply.status not in (409, 503) or (reply.status == 409 and not key):
                raise RuntimeError(f"{path}: {reply.status} {told.decode()}")
            time.sleep(0.5)
        raise RuntimeError(f"{path} was never acknowledged")

    def by_node(self, files: list[bytes]) -> None:
        left = [parsed(one) for one in files]
        kinds = {one.SOPClassUID for one in left} | {CTImageStorage}
        while left and time.monotonic() < self.until:
            caller = AE("ARCHIVE")
            caller.connection_timeout = caller.acse_timeout = caller.dimse_timeout = 5
            for kind in kinds:
                caller.add_requested_context(kind, ExplicitVRLittleEndian)
            found = caller.associate("127.0.0.1", self.node.port, ae_title="HEPATICA")
            while left and found.is_established:
                told = found.send_c_store(left[0])
                if told.get("Status") != 0:
                    break
                left.pop(0)
            if found.is_established:
                found.release()
            time.sleep(0.2)
        if left:
            raise RuntimeError("the node never acknowledged")

    # -- what goes on meanwhile -----------------------------------------------------------------

    def at_once(self, *senders: Callable[[], None]) -> list[threading.Thread]:
        def kept(send: Callable[[], None]) -> None:
            try:
                send()
            except Exception as error:
                self.faults.append(f"{type(error).__name__}: {error}")

        threads = [threading.Thread(target=kept, args=(one,), daemon=True) for one in senders]
        for thread in threads:
            thread.start()
        return threads

    def hurry(self) -> None:
        """What a killed process had in hand is due now and not in a minute."""
        with self.database.transaction() as session:
            session.execute(sa.update(ReturnedObject).values(due_at=now()))
            session.execute(
                sa.update(Job)
                .where(Job.state == JobState.RUNNING)
                .values(heard_at=now() - timedelta(seconds=90))
            )

    def is_over(self, studies: int) -> bool:
        with self.database.reading() as session:
            sent = sa.select(sa.func.count()).where(ReturnedObject.state == "sent")
            jobs = sa.select(sa.func.count()).where(Job.state.in_(("queued", "running")))
            return session.scalar(sent) >= 3 * studies and not session.scalar(jobs)

    def check(self, studies: list[list[bytes]], fetches: int) -> None:
        assert self.faults == []
        taken = [parsed(one) for one in self.archive.taken.values()]
        per_study = Counter((str(one.StudyInstanceUID), str(one.Modality)) for one in taken)
        known = {uids(one[0])[0] for one in studies}
        assert per_study == {(uid, kind): 1 for uid in known for kind in ("SR", "PR", "OT")}
        with self.database.reading() as session:
            count = {row: session.scalar(sa.select(sa.func.count()).select_from(row))
                     for row in (Case, Image, Lesion, Prediction, ReturnedObject)}  # fmt: skip
            assert list(count.values()) == [n * len(studies) for n in (1, SLICES, 1, 1, 3)]
            told = sa.select(sa.func.count()).where(Event.kind == "result returned")
            assert session.scalar(told) == 3 * len(studies)
            jobs = session.scalars(sa.select(Job)).all()
            assert [job.state for job in jobs] == [JobState.DONE] * fetches
            assert [job.result["images"] for job in jobs] == [SLICES] * fetches


@contextmanager
def road(url: str, folder: Path, held: list[bytes], seed: int) -> Iterator[Road]:
    archive = Archive(held)
    with bad_pacs(archive) as pacs:
        found = Road(url, folder, archive, pacs.url, seed)
        try:
            yield found
        finally:
            found.close()


def travelled(url: str, folder: Path, kills: int, rounds: int, seed: int) -> None:
    """Send studies by STOW, node and fetch at once, and kill on the way, round by round."""
    names = [f"{door} {n}" for n in range(rounds) for door in ("stow", "node", "fetch")]
    studies = {name: study(name) for name in names}
    held = [file for name in names if name.startswith("fetch") for file in studies[name]]
    with road(url, folder, held, seed) as way:
        way.archive.at_post = _sometimes(way, kills)
        for n in range(rounds):
            threads = way.at_once(
                lambda n=n: way.by_stow(studies[f"stow {n}"]),
                lambda n=n: way.by_node(studies[f"node {n}"]),
                lambda n=n: way.by_fetch(uids(studies[f"fetch {n}"][0])[0]),
            )
            for _ in range(kills):
                time.sleep(way.random.uniform(0.2, 4.0))
                way.random.choice(way.parts).kill()
            for thread in threads:
                thread.join(max(0.0, way.until - time.monotonic()))
            while not way.is_over(3 * (n + 1)):
                assert time.monotonic() < way.until, f"not over in time: {way.faults}"
                way.hurry()
                time.sleep(1.0)
        assert all(part.kills for part in way.parts), "some part was never killed"
        way.check(list(studies.values()), fetches=rounds)


def _sometimes(way: Road, kills: int) -> Callable[[], None]:
    """Kills whoever sends while the PACS has the object and has not said so."""
    left = [kills]

    def at_post() -> None:
        if left[0] > 0 and way.random.random() < 0.4:
            left[0] -= 1
            for part in (way.web, way.clerk):
                part.kill()

    return at_post


@pytest.mark.chaos
def test_sqlite_answers_each_study_once_however_often_its_processes_are_killed(tmp_path):
    travelled(f"sqlite:///{tmp_path}/way.sqlite3", tmp_path, kills=4, rounds=2, seed=5)


@pytest.mark.chaos
def test_postgresql_answers_each_study_once_however_often_its_processes_are_killed(
    tmp_path, postgres
):
    travelled(postgres, tmp_path, kills=4, rounds=2, seed=6)
