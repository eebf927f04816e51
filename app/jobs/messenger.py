"""The messengers: one tells hooks the end of jobs, one for each PACS sends results back there, and
one sends the audit trail to where it is kept as well.

Beside the clerk and not after it: nobody's job waits for a receiver that is slow, nor does what is
sent to another PACS.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping

import sqlalchemy as sa

from app.db import Database
from app.jobs.auditor import Auditor
from app.jobs.hooks import Hook
from app.jobs.loop import Beside, Loop, shares_by_pacs
from app.models.jobs.job import Job
from app.models.jobs.notice import Notice
from app.models.jobs.returned_object import ReturnedObject
from app.operation.syslog import Receiver
from app.pacs import outbox
from app.pacs.configured import ConfiguredPacs
from app.settings import Settings

log = logging.getLogger("hepatica.clerk")


class Messengers(Beside):
    """Send notices, results and the audit trail until they are told to stop."""

    def __init__(
        self,
        database: Database,
        hooks: Mapping[str, Hook],
        pacs: ConfiguredPacs,
        settings: Settings,
        key: bytes,
    ) -> None:
        shares = shares_by_pacs(ReturnedObject.pacs, pacs.names)
        senders = [Sender(database, pacs, key, one) for one in shares]
        receiver = Receiver.of(settings)
        auditors = [Auditor(database, receiver)] if receiver else []
        super().__init__([Messenger(database, hooks, settings), *senders, *auditors])


class Sender(Loop):
    """Sends results to a PACS, one after the other.

    Args:
        which: what holds for these results.
    """

    kind = "sender"

    def __init__(
        self,
        database: Database,
        pacs: ConfiguredPacs,
        key: bytes,
        which: sa.ColumnElement[bool],
    ) -> None:
        super().__init__()
        self._database = database
        self._pacs = pacs
        self._key = key
        self._which = which

    def act(self) -> bool:
        """Send one result that is due; False when none is."""
        why = outbox.send_next(self._database, self._pacs, self._key, self.name, self._which)
        return why is not None


class Messenger(Loop):
    """Tells hooks the end of jobs, one after the other."""

    kind = "messenger"

    def __init__(self, database: Database, hooks: Mapping[str, Hook], settings: Settings) -> None:
        super().__init__()
        self._database = database
        self._hooks = hooks
        self._settings = settings

    def act(self) -> bool:
        """Send one notice that is due; False when none is."""
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
            notice.told(session, self.name, told)
            if not told:
                return True
            what = f"Notice {notice_id} to hook {notice.hook}, try {tries}: {told}."
            if notice.is_over:
                log.error("%s It is given up.", what)
            else:
                log.warning("%s It is tried again.", what)
        return True

    def _words(self, job: Job) -> bytes:
        link = f"{self._settings.public_root}{job.address}"
        told = {"job": str(job.id), "state": job.state.value, "link": link}
        return json.dumps(told).encode()
