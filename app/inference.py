"""Networks at work: checkpoints loaded once per process, their outputs turned into rows.

The only place where a network's output becomes a Prediction or a synthetic ROI.
"""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic, perf_counter

import numpy as np
import numpy.typing as npt
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from app.counting import Computed
from app.db import Database
from app.errors import Damaged, Unavailable, Unreadable
from app.kept_drawings import KeptDrawings
from app.models.cases.lesion import Lesion
from app.models.cases.prediction import Prediction
from app.models.checkpoint import Checkpoint
from app.models.reader_studies.study import ReaderStudy, StudyState
from ml.checkpoints import serving
from ml.checkpoints.checkpoint import CheckpointError, CheckpointKind
from ml.checkpoints.members import parted
from ml.images import roi as roi_maker
from ml.images.roi import Box, Roi
from ml.trust import saliency
from ml.trust.answer import Said
from ml.trust.explained import Explained, explain
from ml.trust.saliency import Method, Score
from ml.trust.stability import Stability, flips

SET_LEVEL = 0.9
"""Of prediction sets, where an administrator has not chosen another."""

ROIs = npt.NDArray[np.float32]
MOST_SYNTHETICS = 1024
"""Most synthetic ROIs of one request, of a generator whose network is computed once for each."""

_RENDERED_S = 0.02
"""To render and audit an image of a reader study that is there."""
ASK_EVERY_S = 5.0
"""A server process notices within this time that another one promoted a classifier."""


@dataclass(frozen=True)
class Scores:
    """What a classifier says of one ROI, and what limits it."""

    checkpoint: str
    said: Said
    warnings: list[str]
    limits: str = ""


class Inference:
    """The loaded networks of one process, shared by its threads."""

    def __init__(self, threads: int, level: float = SET_LEVEL) -> None:
        """Load nothing yet.

        Args:
            threads: of one call of a network.
            level: of prediction sets.
        """
        self._threads = threads
        self.level = level
        self.computed = Computed()
        self._lock = threading.Lock()
        # by checkpoint and not by its bytes: a training that is repeated makes the same bytes under
        # another name, and what is said has the name, the figures and the kind of image of one
        self._classifiers: dict[uuid.UUID, serving.Classifier] = {}
        self._generators: dict[uuid.UUID, serving.Generator] = {}
        self._drawings = KeptDrawings()

    def classifier(self, session: Session, checkpoint: Checkpoint) -> serving.Classifier:
        """The classifier behind a checkpoint, loaded at first use.

        Raises:
            Damaged: its stored weights are not what was stored.
            CheckpointError: they cannot be used, or the checkpoint is a generator.
        """
        with self._lock:
            loaded = self._classifiers.get(checkpoint.id)
            if loaded is None:
                loaded = serving.Classifier(
                    checkpoint.onnx(session),
                    checkpoint.file,
                    self._threads,
                    checkpoint.trust(session),
                )
                self._classifiers[checkpoint.id] = loaded
            return loaded

    def generator(self, session: Session, checkpoint: Checkpoint) -> serving.Generator:
        """The generator behind a checkpoint, loaded at first use.

        Raises:
            Unreadable: it is a classifier.
            Damaged: its stored weights are not what was stored.
            CheckpointError: they cannot be used.
        """
        if checkpoint.kind != CheckpointKind.GENERATOR:
            raise Unreadable(f"{checkpoint.name} is a classifier and draws nothing.")
        with self._lock:
            loaded = self._generators.get(checkpoint.id)
            if loaded is None:
                loaded = serving.Generator(checkpoint.onnx(session), checkpoint.file, self._threads)
                self._generators[checkpoint.id] = loaded
            return loaded

    def said(
        self, network: serving.Classifier, rois: Sequence[Roi], phantoms: Sequence[bool]
    ) -> list[Said]:
        """What a network says of ROIs, at this installation's level, and counted."""
        begun = perf_counter()
        said = network.said(rois, phantoms, self.level)
        self.computed.note(len(rois), perf_counter() - begun)
        return said

    def scores(
        self, session: Session, checkpoint: Checkpoint, roi: Roi, *, phantom: bool
    ) -> Scores:
        """What is said of one ROI, with the warnings that belong beside it."""
        network = self.classifier(session, checkpoint)
        (said,) = self.said(network, [roi], [phantom])
        return scored(network, roi, said, phantom=phantom)

    def classes(self, session: Session, checkpoint: Checkpoint, rois: ROIs) -> list[str]:
        """The most probable class of each ROI; (n, 64, 64) in [−1, 1] → n keys. Stores nothing."""
        found = self.classifier(session, checkpoint).probabilities(rois)
        return [checkpoint.scheme.keys[index] for index in found.argmax(axis=1)]

    def classify(self, session: Session, lesion: Lesion, checkpoint: Checkpoint) -> Prediction:
        """Score a lesion and store the Prediction."""
        image = lesion.image
        roi = lesion.roi(session, checkpoint.window_hu, checkpoint.grey_range)
        found = self.scores(session, checkpoint, roi, phantom=image.phantom)
        warnings = list(found.warnings)
        if image.series.case.phase_warning:
            warnings.append(image.series.case.phase_warning)
        return Prediction.record(
            session, lesion, checkpoint, found.said, list(dict.fromkeys(warnings))
        )

    def stability(self, session: Session, lesion: Lesion, checkpoint: Checkpoint) -> Stability:
        """How far until the class of a lesion flips; stores nothing."""
        network = self.classifier(session, checkpoint)
        image, box = lesion.image.slice(session), lesion.box
        window, greys = checkpoint.window_hu, checkpoint.grey_range
        found = roi_maker.make(image, box, window, grey_range=greys)

        def cut(dx: float, dy: float, scale: float) -> ROIs:
            centre = (box.x + box.width / 2 + dx, box.y + box.height / 2 + dy)
            moved = Box.centred(*centre, box.width * scale, box.height * scale)
            return roi_maker.make(image, moved, window, grey_range=greys).pixels

        return flips(
            network.probabilities,
            None if found.box is None else cut,
            found.pixels,
            classes=checkpoint.scheme.keys,
            window_hu=window if found.calibrated else None,
            diameter_px=None if found.box is None else max(box.width, box.height),
        )

    def saliency(
        self,
        session: Session,
        lesion: Lesion,
        prediction: Prediction,
        lesion_class: str,
        method: Method,
        *,
        checked: bool,
    ) -> Explained:
        """What moves what a network said of a lesion; stores nothing.

        Args:
            prediction: what it said.
            lesion_class: key of the class whose score is asked about.
            checked: compare the map with those of networks with random weights.

        Raises:
            SchemeError: the network knows no such class.
            SaliencyError: it is none of which this can be told, or not the one that serves.
            MembersError: the networks of an ensemble do not belong together.
            Damaged: its stored weights are not what was stored.
        """
        checkpoint = prediction.checkpoint
        position = checkpoint.scheme.index(lesion_class)
        network = self.classifier(session, checkpoint)
        roi = lesion.roi(session, checkpoint.window_hu, checkpoint.grey_range)
        # scores of a kind of image that nothing was fitted on are scaled as well; what was said
        # before anything was fitted is not
        scaled = network.trust if prediction.said is not None else None
        return explain(
            saliency.networks(parted(checkpoint.weights(session))),
            roi,
            network.outputs(roi.pixels[None]).logits,
            Score([position], 1.0 if scaled is None else scaled.temperature),
            method,
            checked=checked,
        )

    def draw(
        self,
        session: Session,
        checkpoint: Checkpoint,
        seeds: Sequence[int],
        truncation: float = 1.0,
    ) -> ROIs:
        """One synthetic ROI per seed, (n, 64, 64) in [−1, 1]; image n depends on seed n alone.

        Args:
            seeds: whole numbers in [0, 2⁶⁴).
            truncation: as `truncation_from` allows it.

        Raises:
            Unreadable: the checkpoint is a classifier.
            CheckpointError: a seed out of range.
            Damaged: the stored weights are not what was stored.
        """
        generator = self.generator(session, checkpoint)
        return self._drawings.draw(checkpoint.id, generator, seeds, truncation)

    def rendering_s(self, session: Session, study: ReaderStudy) -> int:
        """Whole seconds that rendering and auditing the images of a draft takes, about; 0 for a
        study that is none.

        A generator whose weights are damaged counts nothing: opening the study says so.
        """
        if study.state is not StudyState.DRAFT:
            return 0
        seconds = study.images * _RENDERED_S
        for row, count in study.drawings(session).items():
            if row.file.evaluations > 1:
                with suppress(Damaged, CheckpointError):
                    generator = self.generator(session, row)
                    seconds += self._drawings.seconds(row.id, generator, count)
        return max(1, round(seconds))


def scored(classifier: serving.Classifier, roi: Roi, said: Said, *, phantom: bool) -> Scores:
    """What is said of an ROI, with the warnings that belong beside it."""
    return Scores(
        checkpoint=classifier.meta.name,
        said=said,
        warnings=[
            *classifier.meta.warnings_for(phantom_image=phantom, calibrated=roi.calibrated),
            *roi.warnings,
        ],
        limits=classifier.limits_of(said),
    )


def most_of(checkpoint: Checkpoint, most: int = MOST_SYNTHETICS) -> int:
    """Most images of one request of a generator: fewer, the longer each takes.

    Args:
        most: of a generator whose network is computed once for an image.
    """
    return max(1, most // checkpoint.file.evaluations)


def refuse_many(checkpoint: Checkpoint, count: int, most: int = MOST_SYNTHETICS) -> None:
    """Nothing for as many images as `most_of`; Unreadable for more."""
    if count > most_of(checkpoint, most):
        raise Unreadable(
            f"{checkpoint.name} computes its network {checkpoint.file.evaluations} times for an "
            f"image: choose at most {most_of(checkpoint, most)} at a time, not {count}. Further "
            "seeds give more."
        )


def seeds_from(first: int, count: int) -> list[int]:
    """``count`` seeds from ``first`` on; Unreadable when out of range."""
    if not 1 <= count <= MOST_SYNTHETICS:
        raise Unreadable(f"Choose a count from 1 to {MOST_SYNTHETICS}, not {count}.")
    if not 0 <= first <= 2**53 - count:
        raise Unreadable(f"Choose a seed from 0 to {2**53 - count}, not {first}.")
    return list(range(first, first + count))


def truncation_from(asked: float) -> float:
    """The scale of the latent: 0.01 to 1 in hundredths, so that one picture has one name.

    Raises:
        Unreadable: anything else.
    """
    if not 0.01 <= asked <= 1 or round(asked, 2) != asked:
        raise Unreadable(f"Choose a truncation from 0.01 to 1 in hundredths, not {asked:g}.")
    return asked


@dataclass(frozen=True)
class _Waiting:
    roi: Roi
    phantom: bool
    future: asyncio.Future[Said]


class ServedClassifier:
    """The classifier of the API: ROIs that wait at the same moment are scored in one call.

    One thread computes while the event loop parses the next requests, so the two cores of a small
    server work at the same time, and what gathered meanwhile goes in one batch.
    """

    _MOST = 64

    def __init__(
        self,
        network: serving.Classifier,
        checkpoint_id: uuid.UUID,
        version: str,
        inference: Inference,
    ) -> None:
        self.network = network
        self._inference = inference
        self.checkpoint_id = checkpoint_id
        self.version = version
        self._waiting: list[_Waiting] = []
        self._busy = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="classifier")

    async def scores(self, roi: Roi, *, phantom: bool) -> Scores:
        """What is said of one ROI, with the warnings that belong beside it."""
        future: asyncio.Future[Said] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(roi, phantom, future))
        if not self._busy:
            self._start()
        return scored(self.network, roi, await future, phantom=phantom)

    def _start(self) -> None:
        batch, self._waiting = self._waiting[: self._MOST], self._waiting[self._MOST :]
        self._busy = True
        loop = asyncio.get_running_loop()
        rois, phantoms = [one.roi for one in batch], [one.phantom for one in batch]
        said = self._inference.said
        done = loop.run_in_executor(self._thread, said, self.network, rois, phantoms)
        done.add_done_callback(lambda result: self._finish(batch, result))

    def _finish(self, batch: list[_Waiting], result: asyncio.Future[list[Said]]) -> None:
        self._busy = False
        error = result.exception()
        for position, one in enumerate(batch):
            if one.future.done():  # its client went away
                continue
            if error is not None:
                one.future.set_exception(error)
            else:
                one.future.set_result(result.result()[position])
        if self._waiting:
            self._start()


class ServingDesk:
    """Knows the classifier of the API, and asks the database again every few seconds.

    Several server processes share one database: a promotion reaches the others through it.
    """

    def __init__(self, database: Database, inference: Inference) -> None:
        self._database = database
        self._inference = inference
        self._lock = threading.Lock()
        self._ask_at = 0.0
        self._known: tuple[uuid.UUID, ServedClassifier] | None = None

    async def classifier(self) -> ServedClassifier | None:
        """The one promoted last; None when none is served."""
        now = monotonic()
        if now >= self._ask_at:
            # set before asking: requests that come meanwhile go on with what is known, and a
            # ``forget`` meanwhile holds
            self._ask_at = now + ASK_EVERY_S
            await run_in_threadpool(self._ask)
        return self._known[1] if self._known else None

    def forget(self) -> None:
        """Ask at the next request."""
        self._ask_at = 0.0

    def _ask(self) -> None:
        # one at a time, so that an older answer never replaces a newer one
        with self._lock:
            try:
                with self._database.reading() as session:
                    self._look(session)
            except Unavailable:  # it is in the log; scoring needs no more than what is known
                if self._known is None:
                    raise

    def _look(self, session: Session) -> None:
        rows = Checkpoint.served(session, CheckpointKind.CLASSIFIER)
        if not rows:
            self._known = None
        elif self._known is None or self._known[0] != rows[-1].id:
            network = self._inference.classifier(session, rows[-1])
            self._known = (
                rows[-1].id,
                ServedClassifier(network, rows[-1].id, rows[-1].version, self._inference),
            )
