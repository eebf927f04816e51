"""The messenger: tells hooks the end of jobs, and sends results back to the PACS.

Beside the clerk and not after it: nobody's job waits for a receiver that is slow.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping

from app.db import Database
from app.jobs.hooks import Hook
from app.jobs.loop import Loop
from app.models.jobs.job import Job
from app.models.jobs.notice import Notice
from app.pacs import outbox
from app.pacs.configured import ConfiguredPacs
from app.settings import Settings

log = logging.getLogger("hepatica.clerk")


class Messenger(Loop):
    """Sends notices and results until it is told to stop."""

    kind = "messenger"

    def __init__(
        self,
        database: Database,
        hooks: Mapping[str, Hook],
        pacs: ConfiguredPacs,
        settings: Settings,
        key: bytes,
    ) -> None:
        super().__init__()
        self._database = database
        self._hooks = hooks
        self._pacs = pacs
        self._settings = settings
        self._key = key

    def act(self) -> bool:
        """Send one thing that is due; False when nothing is."""
        noticed = self._send_notice()
        return self._send_result() or noticed

    def _send_result(self) -> bool:
        why = outbox.send_next(self._database, self._pacs, self._key, self.name)
        return why is not None

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
        link = f"{self._settings.public_origin}{job.address}"
        told = {"job": str(job.id), "state": job.state.value, "link": link}
        return json.dumps(told).encode()
