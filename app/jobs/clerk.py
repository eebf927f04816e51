"""The clerk: does what was queued, one thing after the other, beside the requests.

Each web process has one in a thread of its own; ``python -m app clerk`` is one without a web. Any
number of them share a database. Whatever they do is claimed in it first, so that of several one
does it, and what a killed one left is done by another.
"""

from __future__ import annotations

import uuid
from contextlib import suppress
from time import monotonic

from app.db import Database
from app.errors import Conflict
from app.inference import Inference
from app.jobs.answers import Answer, together
from app.jobs.classifying import Classifying
from app.jobs.items import items_of
from app.jobs.loop import JobLoop
from app.jobs.settling import Settling
from app.models.cases.marking import Marking
from app.models.checkpoint import Checkpoint
from app.models.ground import trail
from app.models.jobs.job import Job, JobKind
from app.models.jobs.kept_answer import KeptAnswer
from app.operation.erasing import Erasing
from app.operation.retention import Due
from app.settings import Settings
from app.watch import Watch

_SWEEP_EVERY_S = 3600.0
_ERASE_EVERY_S = 5.0
"""So often it is asked whether a deletion was begun elsewhere, or can go on."""


class Clerk(JobLoop):
    """Does jobs that the network is asked for, until it is told to stop."""

    kind = "clerk"
    does = (JobKind.CLASSIFICATION,)

    def __init__(
        self, database: Database, inference: Inference, watch: Watch, settings: Settings
    ) -> None:
        super().__init__(database)
        self._inference = inference
        self._watch = watch
        self._settings = settings
        self._settling = Settling(database, inference, watch, settings)
        self._erasing = Erasing(database, settings)
        self._sweep_at = self._erase_at = 0.0

    def act(self) -> bool:
        """Do one thing that is due; False when nothing is."""
        return self.do_job() or self._settling.act(self.name) or self._erase() or self._sweep()

    def ring(self) -> None:
        """Something was queued here, or a deletion begun: look now."""
        self._erase_at = 0.0
        super().ring()

    def _erase(self) -> bool:
        """Go on with deletions that were begun; what waits is asked again after a while."""
        if monotonic() < self._erase_at:
            return False
        try:
            more = self._erasing.act(self.name)
        except Exception:
            self._erase_at = monotonic() + _ERASE_EVERY_S
            raise
        self._erase_at = 0.0 if more else monotonic() + _ERASE_EVERY_S
        return more

    def _sweep(self) -> bool:
        """Forget what was kept for its time, and seal the audit trail; never more to do."""
        if monotonic() >= self._sweep_at:
            self._sweep_at = monotonic() + _SWEEP_EVERY_S
            with self._database.transaction() as session:
                Job.forget(session, self._settings.jobs_kept_days)
                KeptAnswer.forget(session, self._settings.answers_kept_hours)
                Marking.give_up(session, self._settings.marks_wait_days, self.name)
                trail.seal(session, self._settings.key(), self.name)
            self._retain()
        return False

    def _retain(self) -> None:
        """Begin to delete what is older than the settings keep it."""
        with self._database.reading() as session:
            due = Due.of(session, self._settings)
        if due.cases or due.studies:
            self._erasing.register.refuse_unusable()
            with suppress(Conflict):
                due.begin(self._database, self.name)

    def do(self, job_id: uuid.UUID, claim: int) -> None:
        """Classify what a job asks for."""
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
            for some in classifying.steps(session, items_of(job.asked)):
                answers += some
                with self._database.transaction() as own:
                    held = Job.of_clerk(own, job_id, self.name, claim)
                    if not held.progressed(own, len(answers)):
                        return
            classifying.record(self._database, job.asked_by)
            name = checkpoint.name
        with self._database.transaction() as own:
            Job.of_clerk(own, job_id, self.name, claim).finish(own, together(name, answers))
