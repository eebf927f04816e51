"""The watch: the network scores no picture of a study that is being read, and nothing for readers.

A network's word on the very picture that lies on the desk would answer the class question. Who
reads blind gets no score at all, whatever they send: a refusal that depended on the picture would
tell which pictures are in the study. Anybody else, a token that is nobody's first of all, might
act for a reader: their pictures are compared with those of the studies being read, and one that is
recognised, cropped, brightened or mirrored though it be, is not scored. That tells them that the
picture is in a study, and nothing that they could not see by comparing it themselves.
"""

from __future__ import annotations

import io
import threading
import uuid
from dataclasses import dataclass
from time import monotonic

import numpy as np
import numpy.typing as npt
from PIL import Image as Picture
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from app.db import Database
from app.errors import Forbidden, Unavailable
from app.models.ground.blob import Blob
from app.models.reader_studies.enrolment import Enrolment
from app.models.reader_studies.stimulus import Stimulus
from ml.statistics.recognition import Recognition

ASK_EVERY_S = 5.0
"""A server process notices within this time that a study was opened or read to its end."""


@dataclass(frozen=True)
class _Read:
    """What is being read blind, and by whom.

    ``sources`` are the slices that its real images were cut from: they are there for all who do
    not read, with their scores.
    """

    studies: frozenset[uuid.UUID]
    readers: frozenset[uuid.UUID]
    sources: frozenset[uuid.UUID]
    pictures: Recognition


class Watch:
    """Knows the pictures of the studies that are being read, and asks again every few seconds."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._ask_at = 0.0
        self._known = _Read(frozenset(), frozenset(), frozenset(), Recognition(()))

    async def refuse_program(
        self, owner_id: uuid.UUID | None, roi: npt.NDArray[np.float32]
    ) -> None:
        """Refuse to score an ROI (64, 64) for a program of this person, or of nobody.

        Raises:
            Forbidden: its owner reads blind, or the picture is one of a study that is being read.
        """
        if monotonic() >= self._ask_at:
            await run_in_threadpool(self._ask)
        known = self._known
        if owner_id in known.readers:
            raise _reads_blind()
        if len(known.pictures) and await run_in_threadpool(known.pictures.knows, roi):
            raise _being_read()

    def refuse(
        self,
        owner_id: uuid.UUID | None,
        roi: npt.NDArray[np.float32] | None = None,
        image_id: uuid.UUID | None = None,
    ) -> None:
        """The same from a thread: for a person at all, of an ROI (64, 64), of a slice held here.

        Raises:
            Forbidden: as `refuse_program`.
        """
        self._ask()
        known = self._known
        if owner_id in known.readers:
            raise _reads_blind()
        if roi is not None and image_id not in known.sources and known.pictures.knows(roi):
            raise _being_read()

    def compares(self) -> bool:
        """Whether pictures are being read, so that an ROI could be one of them."""
        self._ask()
        return len(self._known.pictures) > 0

    def may_score(
        self, user_id: uuid.UUID, image_id: uuid.UUID, roi: npt.NDArray[np.float32]
    ) -> bool:
        """Whether a lesion that a person marks on a slice may be scored, by its ROI (64, 64)."""
        self._ask()
        known = self._known
        if user_id in known.readers:
            return False
        return image_id in known.sources or not known.pictures.knows(roi)

    def _ask(self) -> None:
        with self._lock:
            if monotonic() < self._ask_at:
                return
            try:
                with self._database.reading() as session:
                    self._look(session)
            except Unavailable:  # it is in the log; what is known holds until the next question
                pass
            self._ask_at = monotonic() + ASK_EVERY_S

    def _look(self, session: Session) -> None:
        readers, studies = Enrolment.being_read(session)
        if studies != self._known.studies:
            shown = Stimulus.shown_in(session, studies)
            pictures = Recognition([_grey(Blob.read(session, one)) for one in shown.digests])
            self._known = _Read(studies, readers, shown.images, pictures)
        elif readers != self._known.readers:
            self._known = _Read(studies, readers, self._known.sources, self._known.pictures)


def _reads_blind() -> Forbidden:
    return Forbidden(
        "The person for whom this token acts reads blind, or has read a study that colleagues "
        "still read: the network scores nothing for them until it is over.",
        event="scoring refused to a blinded reader",
    )


def _being_read() -> Forbidden:
    return Forbidden(
        "This picture is one of a reader study that is being read, so it is not scored before the "
        "reading is over.",
        event="scoring refused of a picture being read",
    )


def _grey(png: bytes) -> npt.NDArray[np.uint8]:
    return np.asarray(Picture.open(io.BytesIO(png)))
