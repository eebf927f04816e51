"""A lesion beside others: the nearest reviewed ones of this installation, and the nearest that a
network was trained on; and those that a network got wrong.

All by the network that classified the lesion and by what its checkpoint keeps: features of one
network mean nothing to another. Nothing is stored. What may be shown to whom says
`app.models.beside`; a training lesion that is a lesion of this installation is shown as that one.
Pictures of other training lesions come with the checkpoint, where they are simulated, and nobody
who reads blind is shown them.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from sqlalchemy.orm import Session

from app.errors import Damaged, Forbidden, NotFound
from app.inference import Inference
from app.models import beside
from app.models.cases.lesion import Lesion
from app.models.checkpoint import Checkpoint
from app.models.people.user import User
from app.models.reader_studies.enrolment import Blindness
from app.training_lesions import (
    OfCheckpoint,
    OfInstallation,
    Pictured,
    Sources,
    as_lesion,
    no_keeper,
    none_kept,
    seen_of,
    version_of,
)
from ml.checkpoints.checkpoint import SIMULATED
from ml.checkpoints.serving import Classifier
from ml.ground.counted import counted
from ml.ground.errors import HepaticaError
from ml.images import ends, quick
from ml.images import roi as roi_maker
from ml.images.ct_slice import ImageKind
from ml.images.roi import Roi
from ml.trust import compared
from ml.trust.compared import Strip
from ml.trust.evidence import TrustError
from ml.trust.lesions import Lesions
from ml.trust.similar import NEAREST, Near, Space, Worth
from ml.trust.training_rois import TrainingRois

BUDGET_S = 0.4
"""So long the features of reviewed lesions are computed for one answer; the next goes on."""
FEW = 20
"""Of fewer reviewed lesions even the nearest may be unlike."""
_AT_ONCE = 8
_MOST_FEATURES = 50_000
_MOST_CHECKPOINTS = 8

Vector = npt.NDArray[np.float32]
Key = TypeVar("Key")
Made = TypeVar("Made")


@dataclass(frozen=True)
class Neighbours:
    """The nearest lesions of one kind, and what has to be said of them."""

    shown: tuple[Pictured, ...] = ()
    told: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """A lesion beside others.

    Attributes:
        why_not: why nothing is compared at all; "" where it is.
        strips: its measurements beside those of each class, of the lesions that may be told.
        unit: what a distance of 1 is; "" where no distance is told.
        worth: what the nearest training lesions tell; None where that is not known.
    """

    why_not: str = ""
    reviewed: Neighbours = Neighbours()
    training: Neighbours = Neighbours()
    strips: tuple[Strip, ...] = ()
    unit: str = ""
    worth: Worth | None = None

    @property
    def seen(self) -> tuple[uuid.UUID, ...]:
        """The lesions of this installation that are shown."""
        return seen_of((*self.reviewed.shown, *self.training.shown))


@dataclass(frozen=True)
class Wrong:
    """A lesion that was named wrongly by a network that had not seen it; classes for people."""

    lesion: Pictured
    truth: str
    p_truth: float
    said: str
    p_said: float


@dataclass(frozen=True)
class Mistakes:
    """What a classifier got wrong, out of fold.

    Attributes:
        why_not: why that is not known; "" where it is.
        mixed: (truth, said, lesions), the most frequent first.
        word: what the numbers are: probability or score.
        wrong: with pictures, the surest first; ``told`` says what is left out.
    """

    why_not: str = ""
    n_lesions: int = 0
    n_patients: int = 0
    n_wrong: int = 0
    mixed: tuple[tuple[str, str, int], ...] = ()
    word: str = ""
    wrong: tuple[Wrong, ...] = ()
    told: tuple[str, ...] = ()

    @property
    def seen(self) -> tuple[uuid.UUID, ...]:
        """The lesions of this installation that are shown."""
        return seen_of(one.lesion for one in self.wrong)


@dataclass(frozen=True)
class NearTraining:
    """A synthetic ROI beside the one that is least different of those its generator learned from.

    Attributes:
        why_not: why it is not told; "" where it is.
        picture: that lesion, where it may be shown; ``told`` says why not.
        difference: between the two, in words.
        distance: in the ``unit``; None where nothing was held out.
        symmetry: how the synthetic ROI is turned to lie nearest (`ml.statistics.symmetry`).
        compared: with how many.
    """

    why_not: str = ""
    picture: Pictured | None = None
    difference: str = ""
    distance: float | None = None
    unit: str = ""
    symmetry: int = 0
    compared: int = 0
    told: tuple[str, ...] = ()

    @property
    def seen(self) -> tuple[uuid.UUID, ...]:
        """The lesion of this installation that is shown, if any."""
        return seen_of(() if self.picture is None else (self.picture,))


class Comparing:
    """What has been read and computed for comparisons in one process, shared by its threads."""

    def __init__(self, inference: Inference) -> None:
        """Read nothing yet."""
        self._inference = inference
        # by the digest of what is kept: some of it may be erased while this process lives
        self._kept: dict[str, Lesions] = {}
        self._spaces: dict[tuple[uuid.UUID, str], Space | str] = {}
        self._lines: dict[uuid.UUID, dict[str, uuid.UUID]] = {}
        # by generator, and by the kept lesions that the rows are of
        self._rois: dict[tuple[uuid.UUID, str], TrainingRois | str] = {}
        # by checkpoint first: the features of one are never those of another
        self._features: dict[uuid.UUID, dict[uuid.UUID, Vector | None]] = {}

    # -- what is asked -------------------------------------------------------------------------

    def of(
        self,
        session: Session,
        user: User,
        lesion: Lesion,
        checkpoint: Checkpoint,
        *,
        review_first: bool,
    ) -> Comparison:
        """A lesion beside others, for a person who may see it and what is said of it.

        Args:
            review_first: whether a person's own class comes before those of others.
        """
        network = self._inference.classifier(session, checkpoint)
        roi = lesion.roi(session, checkpoint.window_hu, checkpoint.grey_range)
        if roi.calibrated != (network.meta.measured_hu is not None):
            return Comparison(
                "Nothing is compared: the grey levels of this image mean something else than those "
                f"of the lesions that {checkpoint.name} was trained on."
            )
        own = network.outputs(roi.pixels[None]).features[0]
        space = self._space(session, checkpoint)
        found = beside.reviewed(session, user, lesion, review_first=review_first)
        reviewed = self._reviewed(session, lesion, checkpoint, found, own, space)
        if isinstance(space, str):
            return Comparison(reviewed=reviewed, training=Neighbours(told=(space,)))
        blindness = Blindness.of(session, user.id)
        if blindness is not None:  # a measurement with a class can tell which lesion it is, too
            none = Neighbours((), (_blind(blindness),))
            return Comparison("", reviewed, none, (), space.unit, space.worth)
        kept = space.lesions
        sources = self._sources(session, user, checkpoint, kept, review_first, lesion)
        training = self._training(session, lesion, checkpoint, sources, own, space)
        displays = [one.display for one in checkpoint.scheme.classes]
        allowed = np.asarray([sources.counts(row) for row in range(len(kept))])
        measured = _measured(network, roi, kept)
        inside = np.asarray([one.windowed for one in measured])
        strips = compared.strips(kept, inside, displays, allowed, measured)
        return Comparison("", reviewed, training, strips, space.unit, space.worth)

    def mistakes(
        self, session: Session, user: User, checkpoint: Checkpoint, *, review_first: bool
    ) -> Mistakes:
        """The lesions of its data set that a classifier got wrong.

        Raises:
            Damaged, CheckpointError: what is kept of them cannot be read.
        """
        kept = self._lesions(session, checkpoint)
        if kept is None:
            return Mistakes(none_kept(checkpoint))
        scheme, told = checkpoint.scheme, kept.record()
        wrong: list[Wrong] = []
        notes: tuple[str, ...] = ()
        blindness = Blindness.of(session, user.id)
        if blindness is not None:
            notes = (_blind(blindness),)
        else:
            sources = self._sources(session, user, checkpoint, kept, review_first)
            rows = [row for row in map(int, kept.wrong) if sources.has(row)]
            for one, row in zip(
                sources.shown(session, [Near(row, None) for row in rows]), rows, strict=True
            ):
                was = kept.mistake(row)
                truth, said = scheme.display(was.truth), scheme.display(was.said)
                wrong.append(Wrong(one, truth, was.p_truth, said, was.p_said))
            notes = sources.told
        return Mistakes(
            "",
            told.n_lesions,
            told.n_patients,
            told.n_wrong,
            tuple(
                (scheme.display(one.truth), scheme.display(one.said), one.n_lesions)
                for one in told.mixed
            ),
            "probability" if told.calibrated else "score",
            tuple(wrong),
            notes,
        )

    def picture(
        self, session: Session, user: User, checkpoint: Checkpoint, lesion_id: str
    ) -> bytes:
        """A training lesion's picture out of a checkpoint, as PNG.

        Raises:
            NotFound: the checkpoint keeps no such picture, or its lesions are lesions of this
                installation, which are shown at their cases.
            Forbidden: a blinded reading of this person is under way.
        """
        kept = self._lesions(session, checkpoint)
        if (
            kept is None
            or lesion_id not in kept.ids
            or not kept.pictures
            or version_of(session, checkpoint) is not None
        ):
            raise NotFound(f"{checkpoint.name} shows no picture of a lesion of that name.")
        blindness = Blindness.of(session, user.id)
        if blindness is not None:
            raise Forbidden(_blind(blindness), event="training lesion refused to a blinded reader")
        return kept.pictures[kept.ids.index(lesion_id)]

    def nearest_training(
        self,
        session: Session,
        user: User,
        generator: Checkpoint,
        roi: npt.NDArray[np.float32],
        *,
        review_first: bool,
    ) -> NearTraining:
        """Beside a ROI (64, 64) that ``generator`` drew, for a person who reads nothing blind.

        Raises:
            Damaged, CheckpointError: what is kept of its lesions cannot be read.
        """
        keeper = generator.keeper_of_its_lesions(session)
        kept = None if keeper is None else self._lesions(session, keeper)
        if keeper is None or kept is None:
            return NearTraining(no_keeper(generator))
        key = (generator.id, keeper.lesions_digest)
        known = _cached(self._rois, key, lambda: _training_rois(session, generator, keeper, kept))
        if isinstance(known, str):
            return NearTraining(f"No training ROI of {generator.name} stands beside it: {known}.")
        found = known.nearest(roi)
        sources = self._sources(session, user, keeper, kept, review_first)
        shown = [Near(found.row, None)] if sources.has(found.row) else []
        unit = (
            "1 is as far as a lesion of patients that it had not seen usually lies from its "
            f"nearest one (median of {counted(known.held, 'lesion')})."
        )
        return NearTraining(
            "",
            next(iter(sources.shown(session, shown)), None),
            _difference(generator, found.difference),
            found.distance,
            unit if found.distance is not None else "",
            found.symmetry,
            len(known.rows),
            () if shown else ("The lesion itself is not shown to you.", *sources.told),
        )

    # -- reviewed lesions ----------------------------------------------------------------------

    def _reviewed(
        self,
        session: Session,
        lesion: Lesion,
        checkpoint: Checkpoint,
        found: beside.Found,
        own: Vector,
        space: Space | str,
    ) -> Neighbours:
        known = self._features_of(session, checkpoint, [one.id for one in found.lesions])
        asked = [one for one in found.lesions if one.id in known]
        features = {one.id: vector for one in asked if (vector := known[one.id]) is not None}
        ready = [one for one in asked if one.id in features]
        notes = [*_compared(len(ready), len(asked), len(found.lesions)), *found.told]
        if ready and lesion.image.series.case.patient_hmac is None:
            notes.append(
                "This case names no patient, so it is not known whether one of them is of the same."
            )
        if not ready:
            return Neighbours((), tuple(notes))
        others = np.stack([features[one.id] for one in ready]).astype(np.float64)
        if isinstance(space, Space):
            away = space.distances(own, others)
        else:  # nothing to tell a distance in, but an order
            away = np.linalg.norm(others - own, axis=1)
        places = [int(place) for place in np.argsort(away, kind="stable")[:NEAREST]]
        scheme = checkpoint.scheme
        said = beside.classes_of(session, [ready[place].id for place in places], scheme)
        return Neighbours(
            tuple(
                as_lesion(
                    ready[place],
                    checkpoint,
                    said[ready[place].id],
                    float(away[place]) if isinstance(space, Space) else None,
                )
                for place in places
            ),
            tuple(notes),
        )

    def _features_of(
        self, session: Session, checkpoint: Checkpoint, lesions: Sequence[uuid.UUID]
    ) -> Mapping[uuid.UUID, Vector | None]:
        """The network's features of lesions by id, as far as time allows; they are kept.

        None of a lesion whose image is damaged, or has grey values that this network does not take.
        """
        if sum(map(len, list(self._features.values()))) > _MOST_FEATURES:
            self._features.clear()
        known = self._features.setdefault(checkpoint.id, {})
        network = self._inference.classifier(session, checkpoint)
        waiting = [one for one in lesions if one not in known]
        until = monotonic() + BUDGET_S
        for start in range(0, len(waiting), _AT_ONCE):
            if start and monotonic() >= until:
                break
            rois: dict[uuid.UUID, npt.NDArray[np.float32]] = {}
            for one in waiting[start : start + _AT_ONCE]:
                lesion = Lesion.require(session, one)
                try:
                    roi = lesion.roi(session, checkpoint.window_hu, checkpoint.grey_range)
                except (HepaticaError, Damaged):
                    known[one] = None
                    continue
                rois[one] = roi.pixels
            if rois:
                features = network.outputs(np.stack(list(rois.values()))).features
                known.update(zip(rois, features, strict=True))
        return known

    # -- training lesions ----------------------------------------------------------------------

    def _training(
        self,
        session: Session,
        lesion: Lesion,
        checkpoint: Checkpoint,
        sources: Sources,
        own: Vector,
        space: Space,
    ) -> Neighbours:
        kept = space.lesions
        allowed = kept.trained & np.asarray([sources.has(row) for row in range(len(kept))])
        shown = sources.shown(session, space.nearest(own, allowed))
        notes = sources.told
        if checkpoint.training_kind == ImageKind.PHANTOM and not lesion.image.phantom:
            notes = (f"{checkpoint.name} was {SIMULATED}.", *notes)
        return Neighbours(tuple(shown), notes)

    def _sources(
        self,
        session: Session,
        user: User,
        checkpoint: Checkpoint,
        kept: Lesions,
        review_first: bool,
        lesion: Lesion | None = None,
    ) -> Sources:
        """Where the lesions of its data set can be shown from to a person, beside ``lesion``."""
        version = version_of(session, checkpoint)
        if version is None:
            return OfCheckpoint(checkpoint, kept, lesion)
        lines = _cached(self._lines, version.id, lambda: version.lesions(session))
        ids = list(lines.values())
        found = beside.among(session, user, ids, lesion, review_first=review_first)
        return OfInstallation(checkpoint, kept, version.name, lines, found)

    # -- what is read once ---------------------------------------------------------------------

    def _lesions(self, session: Session, checkpoint: Checkpoint) -> Lesions | None:
        if not checkpoint.keeps_lesions:
            return None
        return _cached(self._kept, checkpoint.lesions_digest, lambda: checkpoint.lesions(session))

    def _space(self, session: Session, checkpoint: Checkpoint) -> Space | str:
        """The lesions in the network's features, or why there is no such thing."""
        kept = self._lesions(session, checkpoint)
        if kept is None:
            return none_kept(checkpoint)

        def made() -> Space | str:
            try:
                return Space.of(kept)
            except TrustError as error:
                return f"Nothing is compared with the lesions of {checkpoint.name}: {error}."

        return _cached(self._spaces, (checkpoint.id, checkpoint.lesions_digest), made)


# -- words -----------------------------------------------------------------------------------------


def _compared(ready: int, asked: int, found: int) -> Iterator[str]:
    """Of how many reviewed lesions these are the nearest.

    Args:
        asked: of how many the network's features were asked for by now.
    """
    if not found:
        yield "No other reviewed lesion of this installation can be compared."
    elif asked < found:
        yield (
            f"Compared with {ready} of {found} reviewed lesions, those that were marked last; more "
            "are compared when this is opened again."
        )
    else:
        few = f"; fewer than {FEW}, so that even the nearest may be unlike" if ready < FEW else ""
        number = counted(ready, "lesion")
        yield f"Compared with {number} of this installation that somebody reviewed{few}."
    if ready < asked:
        yield (
            f"Not compared: {counted(asked - ready, 'lesion')} whose image is damaged, or has "
            "grey values that the network does not take."
        )


def _blind(blindness: Blindness) -> str:
    return (
        f"{blindness.words} Until then you are shown no lesions that a network was trained on, "
        f"with their classes. {blindness.remedy}"
    )


def _difference(generator: Checkpoint, difference: float) -> str:
    """A root mean square difference of values in [−1, 1], in the unit of the images.

    Both lesions are known within the window alone.
    """
    if generator.file.measured_hu is None:
        return f"{100 * difference / 2:.1f} % of the range of grey"
    low, high = generator.window_hu
    return f"{difference * (high - low) / 2:.0f} HU in the window of {generator.window_words}"


# -- making ----------------------------------------------------------------------------------------


def _measured(network: Classifier, roi: Roi, kept: Lesions) -> ends.Values:
    """The measurements of an ROI in the order of those of the lesions; NaN: not known."""
    window = network.meta.measured_hu
    own = quick.measure(roi.pixels[None], window, [roi.longer_side_mm])
    [values] = ends.values([roi], own, window)
    by_name = {one.name: value for one, value in zip(own.of, values, strict=True)}
    unknown = ends.Value.of(np.nan)
    return tuple(by_name.get(one.name, unknown) for one in kept.measured.of)


def _training_rois(
    session: Session, generator: Checkpoint, keeper: Checkpoint, kept: Lesions
) -> TrainingRois | str:
    """The ROIs that a generator learned from, or why there are none to compare with.

    Those of patients are in the dataset version alone, where this installation has it.
    """
    version = version_of(session, keeper)
    if version is not None:
        rois, _ = version.rois_of(session, generator.window_hu)
        place = {name: row for row, name in enumerate(version.lesions(session))}
        rois = rois[[place[name] for name in kept.ids]]
    elif kept.pictures:
        rois = np.stack([roi_maker.from_png(one) for one in kept.pictures])
    else:
        return kept.no_pictures
    own = kept.labels == kept.classes.index(generator.lesion_class or "")
    # one of all classes tells how many it saw of all
    counted = [
        (int(some.sum()), len({kept.patients[row] for row in np.flatnonzero(some)}))
        for some in (own & kept.trained, kept.trained)
    ]
    if generator.file.trained_on not in (None, *counted):
        return "which of the lesions of its data set it was trained on is not known"
    try:
        return TrainingRois.of(rois, own, kept.trained)
    except TrustError as error:
        return str(error)


def _cached(held: dict[Key, Made], key: Key, make: Callable[[], Made]) -> Made:
    """What is held under a key, made at first; two threads may make the same, of which one stays.

    Of many checkpoints only some are held: what is dropped is read again.
    """
    known = held.get(key)
    if known is None:
        known = make()
        if len(held) >= _MOST_CHECKPOINTS:
            held.clear()
        held[key] = known
    return known
