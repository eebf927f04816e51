"""What is said of one lesion beside its class, and the one path to it: web, API and report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ml.lesion import LesionScheme
from ml.trust.agreement import Agreement
from ml.trust.novelty import Unlike
from ml.trust.opinion import Opinion


@dataclass(frozen=True)
class PredictionSet:
    """The classes that cannot be excluded.

    Attributes:
        level: how often the true class is among them, whichever it is, 0–1.
        classes: keys of the scheme, the likeliest first; never none.
    """

    level: float
    classes: tuple[str, ...]

    def words(self, scheme: LesionScheme) -> str:
        """``cyst, metastasis or hemangioma (90 %)``; of all classes, that it is any of them."""
        names = [scheme.display(key) for key in self.classes]
        told = " or ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)
        if len(names) == len(scheme):
            told = f"any of the {len(scheme)} classes"
        return f"{told} ({100 * self.level:g} %)"


@dataclass(frozen=True)
class Said:
    """What a checkpoint says of one ROI.

    Attributes:
        probabilities: class → 0…1, adding up to 1, in the order of the scheme. Probabilities where
            ``calibrated`` says so, else scores.
        calibrated: whether they were calibrated for this kind of image.
        prediction_set: None where there is no honest one.
        unlike_training: how far the ROI is from those that the network was trained on; None where
            that is not known.
        second_opinion: of a simpler model, which names its reasons; None where there is none.
        reasons: why something of this is not there, a sentence each.
        agreement: of the networks of an ensemble; None where one network answers.
    """

    probabilities: Mapping[str, float]
    calibrated: bool = False
    prediction_set: PredictionSet | None = None
    unlike_training: Unlike | None = None
    second_opinion: Opinion | None = None
    reasons: tuple[str, ...] = ()
    agreement: Agreement | None = None

    @property
    def word(self) -> str:
        """What its numbers are: ``probability``, or ``score`` where they are none."""
        return "probability" if self.calibrated else "score"

    @property
    def lesion_class(self) -> str:
        """The key of the likeliest class; of equals the first in the scheme."""
        return max(self.probabilities, key=lambda key: self.probabilities[key])
