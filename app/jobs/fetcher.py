"""The fetchers: a loop for each PACS, beside the clerk's.

So a slow PACS keeps nobody waiting for a score, nor for what another PACS holds.
"""

from __future__ import annotations

import uuid

import sqlalchemy as sa

from app.db import Database
from app.jobs.fetching import Fetching, Hold, Wanted
from app.jobs.loop import Beside, JobLoop, shares_by_pacs
from app.models.jobs.job import Job, JobKind
from app.pacs.configured import ConfiguredPacs
from app.settings import Settings


class Fetchers(Beside):
    """Fetch from configured PACS what jobs ask for, until they are told to stop."""

    def __init__(
        self, database: Database, pacs: ConfiguredPacs, settings: Settings, key: bytes
    ) -> None:
        shares = shares_by_pacs(Job.asked["pacs"].as_string(), pacs.names)
        super().__init__([Fetcher(database, pacs, settings, key, (one,)) for one in shares])


class Fetcher(JobLoop):
    """Fetches what some jobs ask for, one after the other.

    Args:
        which: what holds for these jobs.
    """

    kind = "fetcher"
    does = (JobKind.FETCH,)

    def __init__(
        self,
        database: Database,
        pacs: ConfiguredPacs,
        settings: Settings,
        key: bytes,
        which: tuple[sa.ColumnElement[bool], ...] = (),
    ) -> None:
        super().__init__(database)
        self.which = which
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
