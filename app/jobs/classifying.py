"""Lesions classified one beside the other: each is answered or refused by itself.

An item is what is known of one lesion before it is scored, as JSON, so that a job can keep it: an
ROI that was cut already (`of_roi`), an image that is held here and a box on it (`of_image`), or why
there is neither (`refused`). An answer is `answer_of` with ``status`` 200, or a refusal.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy.orm import Session, joinedload

from app.db import Database
from app.errors import AppError, Forbidden, NotFound, Unreadable
from app.inference import Inference, Scores, scored
from app.models.cases.case import Image, Series
from app.models.cases.lesion import Lesion
from app.models.cases.review import Review
from app.models.checkpoint import Checkpoint
from app.models.ground.event import Event
from app.models.reader_studies.enrolment import Enrolment
from app.models.reader_studies.look import Look, Seen, Shown
from app.watch import Watch
from ml.ground.errors import HepaticaError
from ml.ground.records import to_json
from ml.images import roi
from ml.images.ct_slice import CTSlice
from ml.images.roi import Box, Roi
from ml.lesion import ROI_SIZE_PX
from ml.trust.agreement import ALONE
from ml.trust.answer import Said

Item = dict[str, Any]
Answer = dict[str, Any]

AT_ONCE = 32
"""Lesions that are scored in one call of the network, and after which progress is told."""


def of_roi(found: Roi, *, phantom: bool) -> Item:
    """An item of an ROI that was cut from what was sent.

    ``unclipped`` is there where that is known: None where the window cut nothing off.
    """
    beyond: Item = {}
    if found.unclipped is not None:
        cut_off = found.unclipped is not found.pixels
        beyond["unclipped"] = _packed(found.unclipped) if cut_off else None
    return {
        "roi": _packed(found.pixels),
        **beyond,
        "calibrated": found.calibrated,
        "box": _sides(found.box),
        "square": _sides(found.square),
        "side_mm": found.side_mm,
        "warnings": list(found.warnings),
        "phantom": phantom,
    }


def of_image(image: Image, box: Box | None, lesion: uuid.UUID | None = None) -> Item:
    """An item of an image that is held here; no box: the image is the ROI itself.

    Args:
        lesion: of the case, where the place is that of one.
    """
    found = {"image": str(image.id), "case": str(image.series.case_id), "box": _sides(box)}
    return {**found, "lesion": str(lesion)} if lesion else found


def refused(error: AppError | HepaticaError) -> Answer:
    """Why a lesion was not classified, as problem details within a list."""
    kind = error if isinstance(error, AppError) else Unreadable(str(error))
    return {"status": kind.status, "title": kind.title, "detail": str(error)}


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
            answers = []
            for one in cut:
                if isinstance(one, _Cut):
                    if one.image_id is not None:
                        self._scored.add(one.image_id)
                    found = scored(network, one.roi, next(said), phantom=one.phantom)
                    answers.append({"status": 200, **answer_of(one.roi, found, version, one.more)})
                else:
                    answers.append(one)
            yield answers

    def _cut(self, held: _Held, item: Item) -> _Cut | Answer:
        if "refused" in item:
            return dict(item["refused"])
        try:
            cut = held.cut(item) if "image" in item else _Cut(sent_roi(item), item["phantom"], {})
            self.watch.refuse(self.person, cut.roi.pixels, cut.image_id)
        except (AppError, HepaticaError) as error:
            if isinstance(error, AppError) and error.status >= 500:
                raise
            if isinstance(error, AppError) and "event" in error.more:
                self._events.append(error.more["event"])
            return refused(error)
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
    more: Answer
    image_id: uuid.UUID | None = None


def sent_roi(item: Item) -> Roi:
    """The ROI of an item as `of_roi` made it."""
    pixels = _unpacked(item["roi"])
    unclipped = None
    if "unclipped" in item:
        unclipped = pixels if item["unclipped"] is None else _unpacked(item["unclipped"])
    return Roi(
        pixels,
        item["calibrated"],
        Box(*item["box"]) if item["box"] else None,
        Box(*item["square"]),
        item["side_mm"],
        tuple(item["warnings"]),
        unclipped,
    )


def _packed(pixels: npt.NDArray[np.float32]) -> str:
    return base64.b64encode(np.ascontiguousarray(pixels, "<f4").tobytes()).decode("ascii")


def _unpacked(text: str) -> npt.NDArray[np.float32]:
    found = np.frombuffer(base64.b64decode(text), "<f4").reshape(ROI_SIZE_PX, ROI_SIZE_PX)
    return found.astype(np.float32)


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
        ids = {uuid.UUID(item["image"]) for item in items if "image" in item}
        if not ids:
            return cls(session, by, {})
        query = (
            sa.select(Image)
            .options(joinedload(Image.series).joinedload(Series.case))
            .where(Image.id.in_(ids))
        )
        return cls(session, by, {image.id: image for image in session.scalars(query)})

    def cut(self, item: Item) -> _Cut:
        """The ROI of an item.

        Raises:
            NotFound: its image was deleted.
            Forbidden: it is closed to whoever asks.
            RoiError: there is no ROI at this place.
        """
        image = self.images.get(uuid.UUID(item["image"]))
        if image is None:
            raise NotFound("The image was deleted meanwhile.")
        case, by = image.series.case, self.by
        self._refuse_closed(case.id)
        box = Box(*item["box"]) if item["box"] else None
        if by.review_first and by.person is not None:
            _refuse_covered(self.session, image, box, by.person)
        network = by.checkpoint
        found = roi.make(self._slice(image), box, network.window_hu, grey_range=network.grey_range)
        warnings = (*found.warnings, *([case.phase_warning] if case.phase_warning else []))
        named = {"study": case.uid, "series": image.series.uid, "instance": image.uid}
        told = replace(found, warnings=tuple(dict.fromkeys(warnings)))
        more = {"case": str(case.id), "image": named}
        if "lesion" in item:
            more["lesion"] = item["lesion"]
        return _Cut(told, image.phantom, more, image.id)

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


def answer_of(found: Roi, scores: Scores, version: str, more: Answer | None = None) -> Answer:
    """What is answered of one lesion: rectangles as [x, y, width, height] in pixels.

    Args:
        version: of the checkpoint.
    """
    return {
        "checkpoint": scores.checkpoint,
        "version": version,
        "lesion_class": scores.said.lesion_class,
        "probabilities": dict(scores.said.probabilities),
        "calibrated": scores.said.calibrated,
        "prediction_set": to_json(scores.said.prediction_set),
        "unlike_training": _unlike(scores.said),
        "second_opinion": to_json(scores.said.second_opinion),
        "agreement": to_json(scores.said.agreement),
        "roi": {
            "box": _rounded(found.box),
            "square": _rounded(found.square),
            "side_mm": None if found.side_mm is None else round(found.side_mm, 3),
        },
        "calibrated_hu": found.calibrated,
        "limits": scores.limits,
        "warnings": [
            *scores.warnings,
            *scores.said.reasons,
            *([ALONE] if scores.said.agreement is None else []),
        ],
        **(more or {}),
    }


def _unlike(said: Said) -> Answer | None:
    found = said.unlike_training
    if found is None:
        return None
    return {"score": round(found.score, 3), "flag": found.flag, "reasons": list(found.reasons)}


def together(checkpoint: str, answers: Sequence[Answer]) -> Answer:
    """All answers of a call or a job, with how many there are of each kind."""
    good = sum(one["status"] == 200 for one in answers)
    return {
        "checkpoint": checkpoint,
        "classified": good,
        "refused": len(answers) - good,
        "lesions": list(answers),
    }


def _sides(box: Box | None) -> list[float] | None:
    return None if box is None else [box.x, box.y, box.width, box.height]


def _rounded(box: Box | None) -> list[float] | None:
    return None if box is None else [round(side, 3) for side in (_sides(box) or ())]
