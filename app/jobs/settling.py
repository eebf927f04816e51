"""Series that have become quiet: their marks are classified by themselves, where that is wanted.

The answer goes back to the PACS that the case came from, where an administrator allows that.
"""

from __future__ import annotations

import logging
import uuid

from sqlalchemy.orm import Session

from app.db import Database
from app.errors import AppError, Unavailable
from app.faults import described, trouble
from app.inference import Inference
from app.models.cases.case import Case, Series
from app.models.cases.lesion import Lesion
from app.models.cases.prediction import Prediction
from app.models.cases.settlement import Settlement
from app.models.checkpoint import Checkpoint
from app.objects import said
from app.pacs import outbox
from app.pacs.configured import ConfiguredPacs
from app.settings import Settings
from app.watch import Watch
from ml.checkpoints.checkpoint import CheckpointKind
from ml.ground.errors import HepaticaError

log = logging.getLogger("hepatica.clerk")

NO_NETWORK = "No network is served, so it has no score."


class Settling:
    """Settles one quiet series after the other; each state of each once, by whichever process."""

    def __init__(
        self, database: Database, inference: Inference, watch: Watch, settings: Settings
    ) -> None:
        self._database = database
        self._inference = inference
        self._watch = watch
        self._settings = settings
        self._pacs = ConfiguredPacs.of(settings)
        self._wanted = settings.classify_quiet_series
        self._quiet_s = settings.series_quiet_s

    def act(self, by: str) -> bool:
        """Settle one series that is due; False when none is.

        Args:
            by: who does it, for the record.
        """
        with self._database.reading() as session:
            found = Settlement.quiet(session, self._quiet_s)
        if found is None:
            return False
        try:
            # all of it or nothing: killed in between, it is done by the next one
            with self._database.transaction() as session:
                series = Settlement.claim(session, found, self._quiet_s)
                if series is not None and self._wanted:
                    self._settle(session, series, by)
        except Exception as error:
            if isinstance(error, Unavailable) or trouble(error) is not None:
                raise
            log.error(
                "A series could not be settled; it is left until something comes to it: %s",
                described(error),
            )
            self._leave(found)
        return True

    def _leave(self, series_id: uuid.UUID) -> None:
        with self._database.transaction() as session:
            Settlement.claim(session, series_id, self._quiet_s)

    def _settle(self, session: Session, series: Series, by: str) -> None:
        lesions = Settlement.marked(session, series)
        if not lesions or not Settlement.is_new(session, series, lesions):
            return  # without marks it stays in the work list, awaiting them
        served = Checkpoint.served(session, CheckpointKind.CLASSIFIER)
        network = served[-1] if served else None
        notes = [
            f"Lesion {one.number}: {why}"
            for one in lesions
            if (why := self._score(session, one, network))
        ]
        scored = len(lesions) - len(notes)
        if network is not None and scored:
            notes += self._sent_back(session, series.case, network, by)
        Settlement.record(session, series, lesions, scored, network, notes, by)

    def _sent_back(self, session: Session, case: Case, network: Checkpoint, by: str) -> list[str]:
        """Have the answer sent to the PACS, where one takes results; why it is not, if so."""
        if not any(one.takes_results for one in self._pacs.all):
            return []
        key = self._settings.key()
        accounts = [one for one in said.by_networks(session, case) if one.name == network.name]
        try:
            with session.begin_nested():
                pacs, link = outbox.destination(session, self._pacs, case, key)
                outbox.order(session, pacs, link, accounts, outbox.KINDS, by=by, key=key)
        except Unavailable:
            raise
        except AppError as error:
            return [f"Nothing is sent to the PACS: {error}"]
        return []

    def _score(self, session: Session, lesion: Lesion, network: Checkpoint | None) -> str:
        """Score a lesion that has no score of this network; why it has none, or ""."""
        if network is None:
            return NO_NETWORK
        known = Prediction.of_lesion(session, lesion.id)
        if any(one.checkpoint_id == network.id for one in known):
            return ""
        try:
            roi = lesion.roi(session, network.window_hu, network.grey_range)
            self._watch.refuse(None, roi.pixels, lesion.image_id)
            self._inference.classify(session, lesion, network)
        except Unavailable:
            raise
        except (AppError, HepaticaError) as error:
            return str(error)
        return ""
