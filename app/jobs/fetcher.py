"""The fetcher: a loop beside the clerk's, so that a slow PACS keeps nobody waiting for a score."""

from __future__ import annotations

import uuid

from app.db import Database
from app.jobs.fetching import Fetching, Hold, Wanted
from app.jobs.loop import JobLoop
from app.models.jobs.job import Job, JobKind
from app.pacs.configured import ConfiguredPacs
from app.settings import Settings


class Fetcher(JobLoop):
    """Fetches from configured PACS what jobs ask for, until it is told to stop."""

    kind = "fetcher"
    does = (JobKind.FETCH,)

    def __init__(
        self, database: Database, pacs: ConfiguredPacs, settings: Settings, key: bytes
    ) -> None:
        super().__init__(database)
        self.pacs = pacs
        self._settings = settings
        self._key = key

    def act(self) -> bool:
        """Do one fetch that is due; False when none is."""
        return self.do_job()

    def do(self, job_id: uuid.UUID, claim: int) -> None:
        """Fetch what a job asks for."""
        with self._database.reading() as session:
            job = session.get_one(Job, job_id)
            fetching = Fetching(
                Hold(self._database, job_id, self.name, claim),
                Wanted.of(job.asked or {}, self._key),
                self.pacs,
                self._settings,
                self._key,
                job.owner_id,
                job.asked_by,
                job.created_at,
            )
        fetching.run()
