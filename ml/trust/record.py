"""All that a checkpoint knows of its own trustworthiness: figures as JSON, arrays beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.ground import records
from ml.ground.errors import HepaticaError
from ml.images.ends import Values
from ml.images.measurements import Measured
from ml.statistics import multinomial
from ml.trust import beside, calibration, conformal
from ml.trust.answer import PredictionSet, Said
from ml.trust.beside import Beside
from ml.trust.calibration import Calibration, Reliability
from ml.trust.conformal import Coverage, Sets
from ml.trust.evidence import Missing, OutOfFold, TrustError, names, refuse_version
from ml.trust.novelty import Novelty, NoveltyError, NoveltyRecord, Reference, Unlike
from ml.trust.opinion import Opinion, OpinionRecord, SecondOpinion
from ml.trust.together import Together
from ml.trust.tried import Detections, Robustness

Floats = npt.NDArray[np.float64]
Tensors = Mapping[str, npt.NDArray[Any]]

VERSION = 1
NOT_CALIBRATED = "this checkpoint was not calibrated"
NOT_MEASURED = "its training kept nothing to tell it by"
_ABSENT = Missing(NOT_MEASURED)
_UNTRIED = Missing("it was not tried on anything when it was trained")
_DIGITS = 6
"""Of what is said: what lesions are scored together with moves the digits behind."""
_SETS, _NOVELTY, _OPINION = "sets.", "novelty.", "opinion."


@dataclass(frozen=True)
class Counted:
    """Lesions that something was fitted on."""

    n_lesions: int
    n_patients: int
    lesions_of_class: Mapping[str, int]

    @classmethod
    def of(cls, found: OutOfFold) -> Counted:
        """How many they are."""
        return cls(len(found), found.n_patients, found.counts)


@dataclass(frozen=True)
class Figures:
    """What stands in ``checkpoint.json`` under ``trust``.

    Attributes:
        fitted_on: the lesions that calibration and sets come from, each scored by a network
            trained without it.
        calibration: the temperature and what it is worth.
        coverage: of prediction sets at the usual levels, each fold by the others' thresholds; a
            level that has too few lesions is left out.
        held_out_coverage: the same on patients that nothing was fitted on.
        novelty: when an ROI is called unlike the training ROIs.
        opinion: of the second model.
        beside: the second model and the network on the same lesions; None where one is missing.
        together: of an ensemble, what its networks are worth together; None of one network.
        together_elsewhere: the same on lesions that are none of its data set's; None where there
            were none to ask.
        detections: what is flagged as unlike the training ROIs.
        robustness: how answers change with another scan, window or mark of the same lesions.
    """

    version: int
    fitted_on: Counted
    calibration: Calibration | Missing
    coverage: tuple[Coverage, ...] = ()
    held_out_coverage: tuple[Coverage, ...] = ()
    novelty: NoveltyRecord | Missing = _ABSENT
    opinion: OpinionRecord | Missing = _ABSENT
    beside: Beside | None = None
    together: Together | Missing | None = None
    together_elsewhere: Together | None = None
    detections: Detections | Missing = _UNTRIED
    robustness: Robustness | Missing = _UNTRIED


@dataclass(frozen=True)
class Looks:
    """How the lesions look: measured, and to the networks.

    Attributes:
        measured: (n, k) of all lesions.
        distances: (n, 2) of each, by the network that held it out, to the ROIs it was trained on
            (``Reference.scores``).
        reference: the ROIs that the network was trained on which serves, or why there is none.
        displays: of the classes, for people.
    """

    measured: Measured
    distances: Floats
    reference: Reference | Missing
    displays: tuple[str, ...]


@dataclass(frozen=True)
class Seen:
    """n ROIs as they are asked about.

    Attributes:
        logits: (n, classes).
        features: (n, d) of the network.
        alike: (n,), whether the greys of an ROI mean what those of the training ROIs did.
        measurements: (m, k) by ``ml.images.quick`` of those whose greys do, in their order; of
            others measurements say nothing.
        foreign: why each is of another kind of image than what was calibrated on; None: it is not.
        of_slice: of each of the ``measurements`` what people are told; None: no window changed
            them.
    """

    logits: Floats
    features: Floats
    alike: npt.NDArray[np.bool_]
    measurements: Floats
    foreign: Sequence[str | None]
    of_slice: Sequence[Values] | None = None


@dataclass(frozen=True)
class Trust:
    """What a classifier's answers are made with, besides its network."""

    figures: Figures
    sets: Sets | None = None
    novelty: Novelty | None = None
    opinion: SecondOpinion | None = None

    # -- fitting -------------------------------------------------------------------------------

    @classmethod
    def of(
        cls,
        lesions: OutOfFold,
        held_out_fold: int | None = None,
        looks: Looks | None = None,
        seed: int = 0,
    ) -> Trust:
        """From lesions that networks of the same training scored without having seen them.

        Args:
            held_out_fold: whose patients the network that serves was not trained on: neither
                calibration nor sets are fitted on them, and both are tried on them. None: it was
                trained on all.
            looks: of all lesions; None: neither novelty nor second opinion.
            seed: of resampling, and of the draw of one lesion a patient.
        """
        own = lesions.folds != held_out_fold
        found, held_out = lesions.only(own), lesions.only(~own)
        made = cls(Figures(VERSION, Counted.of(found), Missing(NOT_MEASURED)))
        if lesions.unseen:
            lacking = Missing(
                f"all lesions of class {', '.join(lesions.unseen)} were held out in one fold, by a "
                "network that had seen none"
            )
            made = replace(made, figures=replace(made.figures, calibration=lacking))
        else:
            made = made._calibrated(found, held_out, seed)
        return made if looks is None else made._looked_at(lesions, looks, seed)

    def _calibrated(self, found: OutOfFold, held_out: OutOfFold, seed: int) -> Trust:
        try:
            fitted, scaled = calibration.fitted(found, seed)
        except TrustError as error:
            return replace(self, figures=replace(self.figures, calibration=Missing(str(error))))
        sets = Sets.of(found, scaled, seed)
        covered = tuple(
            one
            for level in conformal.LEVELS
            if (one := conformal.cross_covered(found, scaled, level, seed)) is not None
        )
        tried: tuple[Coverage, ...] = ()
        if len(held_out) and not held_out.missing:
            fitted = replace(fitted, held_out=_judged(fitted, held_out, seed))
            tried = _tried(fitted, sets, held_out, seed)
        figures = replace(
            self.figures, calibration=fitted, coverage=covered, held_out_coverage=tried
        )
        return replace(self, figures=figures, sets=sets)

    def _looked_at(self, lesions: OutOfFold, looks: Looks, seed: int) -> Trust:
        figures, patients = self.figures, names(lesions.patients)
        found = _novelty(lesions, looks, patients, seed)
        novelty = None if isinstance(found, Missing) else found
        told = found if isinstance(found, Missing) else found.record()
        figures, opinion = replace(figures, novelty=told), None
        try:
            opinion = SecondOpinion.fit(
                looks.measured,
                lesions.labels,
                patients,
                lesions.classes,
                seed,
                folds=lesions.folds,
                displays=looks.displays,
            )
            figures = replace(figures, opinion=opinion.record())
        except HepaticaError as error:
            figures = replace(figures, opinion=Missing(clause(error)))
        if opinion is not None and not isinstance(figures.calibration, Missing):
            # both out of fold on every lesion, the network's scaled as those of other folds ask
            compared = beside.beside(
                lesions.labels,
                opinion.out_of_fold,
                calibration.cross_fitted(lesions),
                patients,
                lesions.classes,
            )
            figures = replace(figures, beside=compared)
        return replace(self, figures=figures, novelty=novelty, opinion=opinion)

    # -- saying --------------------------------------------------------------------------------

    @property
    def temperature(self) -> float:
        """What logits are divided by; 1 where none was fitted."""
        fitted = self.figures.calibration
        return 1.0 if isinstance(fitted, Missing) else fitted.temperature

    def said(self, seen: Seen, level: float, classes: tuple[str, ...]) -> list[Said]:
        """What is said of each ROI.

        Args:
            level: of the prediction sets.
            classes: keys of the scheme.
        """
        scored = self._scored(seen, level, classes)
        rows = np.flatnonzero(seen.alike)
        features, measurements = seen.features[rows], seen.measurements
        unlike: dict[int, Unlike] = {}
        opinions: dict[int, Opinion] = {}
        if self.novelty is not None and rows.size:
            told = self.novelty.judge(features, measurements, seen.of_slice)
            rounded = [replace(one, score=round(one.score, _DIGITS)) for one in told]
            unlike = dict(zip(rows, rounded, strict=True))
        if self.opinion is not None and rows.size:
            said_too = self.opinion.opinions(measurements, seen.of_slice)
            opinions = dict(zip(rows, map(_rounded, said_too), strict=True))
        return [
            replace(
                said,
                unlike_training=unlike.get(place),
                second_opinion=opinions.get(place),
                reasons=(*said.reasons, *self._lacking(bool(seen.alike[place]))),
            )
            for place, said in enumerate(scored)
        ]

    def _lacking(self, alike: bool) -> Iterator[str]:
        if not alike:
            yield (
                "Neither its likeness to the training ROIs nor a second opinion: the grey levels "
                "of this image mean something else than theirs."
            )
            return
        if self.novelty is None:
            yield f"Likeness to the training ROIs is not known: {_why(self.figures.novelty)}."
        if self.opinion is None:
            yield f"No second opinion: {_why(self.figures.opinion)}."

    def _scored(self, seen: Seen, level: float, classes: tuple[str, ...]) -> list[Said]:
        fitted = self.figures.calibration
        if isinstance(fitted, Missing):
            why = f"{NOT_CALIBRATED}: {fitted.missing}"
            return [_plain(row, classes, why) for row in seen.logits]
        probabilities = fitted.probabilities(seen.logits)
        sets: list[PredictionSet] | None = None
        reasons: tuple[str, ...] = ()
        if self.sets is not None:
            try:
                sets = self._sets(probabilities, self.sets.thresholds(level), level, classes)
            except TrustError as error:
                reasons = (f"No prediction set: {error}.",)
        found = []
        for place, (row, foreign) in enumerate(zip(probabilities, seen.foreign, strict=True)):
            named = _named(row, classes)
            if foreign is not None:
                found.append(Said(named, reasons=(_scores_only(foreign),)))
            else:
                own = None if sets is None else sets[place]
                found.append(Said(named, calibrated=True, prediction_set=own, reasons=reasons))
        return found

    def _sets(
        self, probabilities: Floats, thresholds: Floats, level: float, classes: tuple[str, ...]
    ) -> list[PredictionSet]:
        inside = conformal.members(probabilities, thresholds)
        order = np.argsort(-probabilities, axis=1, kind="stable")
        return [
            PredictionSet(level, tuple(classes[place] for place in falling if own[place]))
            for falling, own in zip(order, inside, strict=True)
        ]

    # -- as a file -----------------------------------------------------------------------------

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """The arrays, for ``trust.safetensors``."""
        sets = {} if self.sets is None else dict(self.sets.probabilities)
        novelty = {} if self.novelty is None else self.novelty.tensors()
        opinion = {} if self.opinion is None else self.opinion.tensors()
        return {
            **{f"{_SETS}{name}": one for name, one in sets.items()},
            **{f"{_NOVELTY}{name}": one for name, one in novelty.items()},
            **{f"{_OPINION}{name}": one for name, one in opinion.items()},
        }

    @classmethod
    def read(cls, figures: Figures, tensors: Tensors, classes: tuple[str, ...]) -> Trust:
        """The inverse of ``figures`` and ``tensors``.

        Raises:
            TrustError, NoveltyError, OpinionError: arrays that do not belong to the figures.
        """
        novelty, opinion = figures.novelty, figures.opinion
        _check_figures(figures, classes)
        return cls(
            figures,
            sets=None
            if isinstance(figures.calibration, Missing)
            else Sets(classes, _calibration_lesions(_under(_SETS, tensors), classes)),
            novelty=None
            if isinstance(novelty, Missing)
            else Novelty.from_tensors(novelty, _under(_NOVELTY, tensors)),
            opinion=None
            if isinstance(opinion, Missing)
            else SecondOpinion.from_tensors(opinion, _under(_OPINION, tensors)),
        )


def read_figures(data: Any) -> Figures:
    """The figures of a ``checkpoint.json``.

    Raises:
        TrustError: of another version.
        RecordError: of another form.
    """
    refuse_version(data, VERSION, "what a checkpoint is trusted by")
    return records.from_json(Figures, data, "trust")


def untold(logits: Floats, classes: tuple[str, ...]) -> Said:
    """What is said by a checkpoint of which nothing of this was measured: the network's numbers."""
    said = _plain(logits, classes, NOT_CALIBRATED)
    more = "Neither its likeness to the training ROIs nor a second opinion: " + NOT_MEASURED + "."
    return replace(said, reasons=(*said.reasons, more))


def _plain(logits: Floats, classes: tuple[str, ...], why: str) -> Said:
    row = multinomial.softmax(np.asarray(logits, np.float64))
    return Said(_named(row, classes), reasons=(_scores_only(why),))


def _scores_only(why: str) -> str:
    return f"These are scores, no probabilities, and there is no prediction set: {why}."


def _named(row: Floats, classes: tuple[str, ...]) -> dict[str, float]:
    return {key: round(float(value), _DIGITS) for key, value in zip(classes, row, strict=True)}


def _rounded(opinion: Opinion) -> Opinion:
    chances = {key: round(value, _DIGITS) for key, value in opinion.probabilities.items()}
    return replace(opinion, probabilities=chances)


def _novelty(
    lesions: OutOfFold, looks: Looks, patients: Sequence[str], seed: int
) -> Novelty | Missing:
    """By all lesions, each of which its own network had not seen; they need no class for it."""
    if isinstance(looks.reference, Missing):
        return looks.reference
    try:
        return Novelty.of(looks.reference, looks.distances, patients, lesions.folds, seed)
    except NoveltyError as error:
        return Missing(clause(error))


def _why(missing: object) -> str:
    return missing.missing if isinstance(missing, Missing) else NOT_MEASURED


def clause(error: HepaticaError) -> str:
    """A refusal as it follows after a colon."""
    text = str(error).rstrip(".")
    return text[:1].lower() + text[1:]


def _under(prefix: str, tensors: Tensors) -> dict[str, npt.NDArray[Any]]:
    return {
        name.removeprefix(prefix): one for name, one in tensors.items() if name.startswith(prefix)
    }


def _calibration_lesions(tensors: Tensors, classes: tuple[str, ...]) -> dict[str, Floats]:
    found: dict[str, Floats] = {}
    for key in classes:
        own = tensors.get(key)
        if own is None or own.ndim != 1 or not ((own >= 0) & (own <= 1)).all():
            raise TrustError(f"The calibration lesions of class {key} are missing or damaged.")
        found[key] = np.sort(own.astype(np.float64))
    return found


def _check_figures(figures: Figures, classes: tuple[str, ...]) -> None:
    """TrustError where answers made with them would be of other classes, or no probabilities."""
    fitted, novelty, opinion = figures.calibration, figures.novelty, figures.opinion
    if isinstance(fitted, Calibration) and not (
        np.isfinite(fitted.temperature) and fitted.temperature > 0
    ):
        raise TrustError(f"A temperature is above 0, not {fitted.temperature:g}.")
    if isinstance(novelty, NoveltyRecord):
        limits = (*novelty.scales, novelty.threshold)
        if not (np.isfinite(limits).all() and min(limits) > 0):
            raise TrustError("Scales and threshold of the novelty score must be above 0.")
    if isinstance(opinion, OpinionRecord) and opinion.classes != classes:
        raise TrustError(
            f"The second opinion is of {', '.join(opinion.classes)}, the network of "
            f"{', '.join(classes)}."
        )


def _judged(fitted: Calibration, held_out: OutOfFold, seed: int) -> Reliability:
    return calibration.reliability(
        fitted.probabilities(held_out.logits),
        held_out.labels, held_out.patients, held_out.classes, seed,
    )  # fmt: skip


def _tried(fitted: Calibration, sets: Sets, held_out: OutOfFold, seed: int) -> tuple[Coverage, ...]:
    chosen = conformal.one_each(held_out.patients, held_out.labels, seed)
    row, labels = fitted.probabilities(held_out.logits[chosen]), held_out.labels[chosen]
    found = []
    for level in conformal.LEVELS:
        try:
            inside = conformal.members(row, sets.thresholds(level))
        except TrustError:
            continue
        found.append(conformal.coverage(inside, labels, held_out.classes, level))
    return tuple(found)
