"""Lesions classified one beside the other: each item is answered or refused by itself."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import sqlalchemy as sa
from sqlalchemy.orm import Session, joinedload

from app.db import Database
from app.errors import AppError, Forbidden, NotFound
from app.inference import Inference, scored
from app.jobs.answers import Answer, Classified, ImageUids, Refusal, Whereabouts
from app.jobs.items import HeldPlace, Item, RefusedItem
from app.models.cases.case import Image, Series
from app.models.cases.lesion import Lesion
from app.models.cases.review import Review
from app.models.checkpoint import Checkpoint
from app.models.ground.event import Event
from app.models.reader_studies.enrolment import Enrolment
from app.models.reader_studies.look import Look, Seen, Shown
from app.watch import Watch
from ml.ground.errors import HepaticaError
from ml.images import roi
from ml.images.ct_slice import CTSlice
from ml.images.roi import Box, Roi

AT_ONCE = 32
"""Lesions that are scored in one call of the network, and after which progress is told."""


@dataclass(frozen=True)
class Classifying:
    """Lesions scored by one checkpoint, for one person or for a program of nobody's."""

    inference: Inference
    watch: Watch
    checkpoint: Checkpoint
    person: uuid.UUID | None
    review_first: bool
    _events: list[str] = field(default_factory=list)
    _scored: set[uuid.UUID] = field(default_factory=set)
    """Images held here of which something was scored."""

    def steps(self, session: Session, items: Sequence[Item]) -> Iterator[list[Answer]]:
        """The answers, some at a time, in the order of the items.

        Raises:
            Damaged, CheckpointError: the network's weights cannot be used.
        """
        network = self.inference.classifier(session, self.checkpoint)
        version = self.checkpoint.version
        for first in range(0, len(items), AT_ONCE):
            part = items[first : first + AT_ONCE]
            held = _Held.of(session, part, self)
            cut = [self._cut(held, item) for item in part]
            good = [one for one in cut if isinstance(one, _Cut)]
            rois, phantoms = [one.roi for one in good], [one.phantom for one in good]
            said = iter(self.inference.said(network, rois, phantoms) if good else ())
            answers: list[Answer] = []
            for one in cut:
                if isinstance(one, _Cut):
                    if one.image_id is not None:
                        self._scored.add(one.image_id)
                    found = scored(network, one.roi, next(said), phantom=one.phantom)
                    answers.append(Classified.of(one.roi, found, version, one.held))
                else:
                    answers.append(one)
            yield answers

    def _cut(self, held: _Held, item: Item) -> _Cut | Refusal:
        if isinstance(item, RefusedItem):
            return item.refused
        try:
            cut = held.cut(item) if isinstance(item, HeldPlace) else _Cut(item.roi, item.phantom)
            self.watch.refuse(self.person, cut.roi.pixels, cut.image_id)
        except (AppError, HepaticaError) as error:
            if isinstance(error, AppError) and error.status >= 500:
                raise
            if isinstance(error, AppError) and "event" in error.more:
                self._events.append(error.more["event"])
            return Refusal.of(error)
        return cut

    def record(self, database: Database, actor: str) -> None:
        """Write down, before it is answered, on which images the person is told a score, and what
        was refused so that an administrator should know of it."""
        scored = [] if self.person is None else sorted(self._scored)
        if not self._events and not scored:
            return
        with database.transaction() as session:
            for kind in dict.fromkeys(self._events):
                Event.record(session, actor, kind, "/api/v1/classifications")
            if self.person is not None:
                Look.keep(session, (Seen(self.person, Shown.SCORE, one) for one in scored))


@dataclass(frozen=True)
class _Cut:
    roi: Roi
    phantom: bool
    held: Whereabouts | None = None
    image_id: uuid.UUID | None = None


@dataclass
class _Held:
    """The images of some items, asked for together; each is unpacked once for its lesions."""

    session: Session
    by: Classifying
    images: dict[uuid.UUID, Image]
    _closed: dict[uuid.UUID, AppError | None] = field(default_factory=dict)
    _last: tuple[uuid.UUID, CTSlice] | None = None

    @classmethod
    def of(cls, session: Session, items: Sequence[Item], by: Classifying) -> _Held:
        ids = {item.image for item in items if isinstance(item, HeldPlace)}
        if not ids:
            return cls(session, by, {})
        query = (
            sa.select(Image)
            .options(joinedload(Image.series).joinedload(Series.case))
            .where(Image.id.in_(ids))
        )
        return cls(session, by, {image.id: image for image in session.scalars(query)})

    def cut(self, item: HeldPlace) -> _Cut:
        """The ROI at a place.

        Raises:
            NotFound: its image was deleted.
            Forbidden: it is closed to whoever asks.
            RoiError: there is no ROI at this place.
        """
        image = self.images.get(item.image)
        if image is None:
            raise NotFound("The image was deleted meanwhile.")
        case, by = image.series.case, self.by
        self._refuse_closed(case.id)
        box = item.box
        if by.review_first and by.person is not None:
            _refuse_covered(self.session, image, box, by.person)
        network = by.checkpoint
        found = roi.make(self._slice(image), box, network.window_hu, grey_range=network.grey_range)
        warnings = (*found.warnings, *([case.phase_warning] if case.phase_warning else []))
        told = replace(found, warnings=tuple(dict.fromkeys(warnings)))
        at = Whereabouts(
            str(case.id),
            ImageUids(case.uid, image.series.uid, image.uid),
            str(item.lesion) if item.lesion else None,
        )
        return _Cut(told, image.phantom, at, image.id)

    def _refuse_closed(self, case_id: uuid.UUID) -> None:
        if case_id not in self._closed:
            self._closed[case_id] = None
            try:
                Enrolment.refuse_case_to(self.session, self.by.person, case_id)
            except AppError as refusal:
                self._closed[case_id] = refusal
        if (closed := self._closed[case_id]) is not None:
            raise closed

    def _slice(self, image: Image) -> CTSlice:
        if self._last is None or self._last[0] != image.id:
            self._last = image.id, image.slice(self.session)
        return self._last[1]


def _refuse_covered(session: Session, image: Image, box: Box | None, person: uuid.UUID) -> None:
    """Their own class comes first: asked for by its place, a lesion's score is covered too."""
    for lesion in Lesion.of_case(session, image.series.case_id):
        if lesion.lies_at(image, box) and Review.current(session, lesion.id, person) is None:
            raise Forbidden(
                f"At this place lies lesion {lesion.number}, which has no class of yours yet, and "
                "yours comes first here. Review it, or ask with a token that acts for nobody."
            )
