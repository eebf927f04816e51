"""The clerk: does what was queued, one thing after the other, beside the requests.

Each web process has one in a thread of its own; ``python -m app clerk`` is one without a web. Any
number of them share a database. Whatever they do is claimed in it first, so that of several one
does it, and what a killed one left is done by another.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import uuid
from collections.abc import Mapping
from time import monotonic

from app.db import Database
from app.errors import AppError, Conflict, Unavailable
from app.faults import code, trouble
from app.inference import Inference
from app.jobs.classifying import Answer, Classifying, together
from app.jobs.hooks import Hook
from app.models.checkpoint import Checkpoint
from app.models.jobs.job import Job
from app.models.jobs.kept_answer import KeptAnswer
from app.models.jobs.notice import Notice
from app.settings import Settings
from app.watch import Watch
from ml.ground.errors import HepaticaError

log = logging.getLogger("hepatica.clerk")

_PAUSE_S = 5.0
_SWEEP_EVERY_S = 3600.0


class Clerk:
    """Does jobs and sends notices until it is told to stop."""

    def __init__(
        self,
        database: Database,
        inference: Inference,
        watch: Watch,
        hooks: Mapping[str, Hook],
        settings: Settings,
    ) -> None:
        self.name = f"clerk {socket.gethostname()[:60]}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        self._database = database
        self._inference = inference
        self._watch = watch
        self._hooks = hooks
        self._settings = settings
        self._sweep_at = 0.0
        self._bell = threading.Event()
        self._stopped = False
        self._thread: threading.Thread | None = None

    # -- in a thread of a web process ----------------------------------------------------------

    def start(self) -> None:
        """Begin in a thread of its own."""
        self._thread = threading.Thread(target=self.work, name="clerk", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after what is in hand; what takes longer is claimed again by another."""
        self._stopped = True
        self._bell.set()
        if self._thread is not None:
            self._thread.join(10)

    def ring(self) -> None:
        """Something was queued here: look now and not at the next turn."""
        self._bell.set()

    # -- work ----------------------------------------------------------------------------------

    def work(self, *, poll_s: float = 1.0, once: bool = False) -> None:
        """Do what is due as it comes; with ``once`` return when nothing is."""
        while not self._stopped:
            self._bell.clear()
            try:
                found = self.act()
            except Exception as error:
                if not isinstance(error, Unavailable) and trouble(error) is None:
                    log.exception("The clerk met an unexpected fault and goes on.")
                elif not isinstance(error, Unavailable):  # any other is in the log
                    log.error("The database failed: %s", code(error))
                self._bell.wait(_PAUSE_S)
                continue
            if once and not found:
                return
            if not found:
                self._bell.wait(poll_s)

    def act(self) -> bool:
        """Do one thing that is due; False when nothing is."""
        return self._do_job() or self._send_notice() or self._sweep()

    def _sweep(self) -> bool:
        """Forget what was kept for its time; never more to do."""
        if monotonic() >= self._sweep_at:
            self._sweep_at = monotonic() + _SWEEP_EVERY_S
            with self._database.transaction() as session:
                Job.forget(session, self._settings.jobs_kept_days)
                KeptAnswer.forget(session, self._settings.answers_kept_hours)
        return False

    # -- jobs ----------------------------------------------------------------------------------

    def _do_job(self) -> bool:
        with self._database.reading() as session:
            if not Job.is_due(session):
                return False
        with self._database.transaction() as session:
            job = Job.claim(session, self.name)
            if job is None:
                return True
            job_id, claim = job.id, job.claims
        try:
            self._classify(job_id, claim)
        except Conflict:
            return True  # somebody else has it now, or it was cancelled
        except (AppError, HepaticaError) as error:
            if isinstance(error, Unavailable):
                raise  # it is claimed again when this clerk was not heard of for a while
            self._fail(job_id, claim, str(error))
        except Exception as error:
            if trouble(error) is not None:
                raise
            log.exception("Job %s ended with an unexpected fault.", job_id)
            told = f"An unexpected fault ended the job ({type(error).__name__}). The log has more."
            self._fail(job_id, claim, told)
        return True

    def _classify(self, job_id: uuid.UUID, claim: int) -> None:
        answers: list[Answer] = []
        with self._database.reading() as session:
            job = session.get_one(Job, job_id)
            checkpoint = job.checkpoint or Checkpoint.classifier(session)
            classifying = Classifying(
                self._inference,
                self._watch,
                checkpoint,
                job.owner_id,
                self._settings.review_first,
            )
            for some in classifying.steps(session, (job.asked or {})["items"]):
                answers += some
                with self._database.transaction() as own:
                    held = Job.of_clerk(own, job_id, self.name, claim)
                    if not held.progressed(own, len(answers)):
                        return
            classifying.record(self._database, job.asked_by)
            name = checkpoint.name
        with self._database.transaction() as own:
            Job.of_clerk(own, job_id, self.name, claim).finish(own, together(name, answers))

    def _fail(self, job_id: uuid.UUID, claim: int, error: str) -> None:
        try:
            with self._database.transaction() as session:
                Job.of_clerk(session, job_id, self.name, claim).fail(session, error)
        except Conflict:
            return

    # -- notices -------------------------------------------------------------------------------

    def _send_notice(self) -> bool:
        with self._database.reading() as session:
            if not Notice.is_due(session):
                return False
        with self._database.transaction() as session:
            notice = Notice.claim(session)
            if notice is None:
                return True
            notice_id, hook, tries = notice.id, self._hooks.get(notice.hook), notice.tries
            body = self._words(notice.job)
        told = hook.send(str(notice_id), body) if hook else "no hook of this name is configured"
        with self._database.transaction() as session:
            notice = session.get_one(Notice, notice_id)
            if notice.tries != tries:  # so slow that another clerk tried as well
                return True
            if not told:
                notice.sent()
                return True
            notice.failed(session, self.name, told)
            what = f"Notice {notice_id} to hook {notice.hook}, try {tries}: {told}."
            if notice.is_over:
                log.error("%s It is given up.", what)
            else:
                log.warning("%s It is tried again.", what)
        return True

    def _words(self, job: Job) -> bytes:
        link = f"{self._settings.public_origin}{job.address}"
        told = {"job": str(job.id), "state": job.state.value, "link": link}
        return json.dumps(told).encode()
