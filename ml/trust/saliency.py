"""What moves a score: two maps of an ROI, computed from the weights of the network that serves.

The score of a class is taken as its log odds, log p / (1 − p), which rise and fall with what the
page shows and do not go flat near 0 and 1. They are of the mean logits of several networks, and
scaled by the temperature, as what is shown.

* *gradient × input* (Simonyan et al. 2014; Shrikumar et al. 2016): how the score moves with a grey
  value, times how far that grey is from the mean of the training ROIs.
* *Grad-CAM* (Selvaraju et al. 2017): what the last convolution says at each of its 12 × 12 places,
  its channels weighted by how the score moves with them through the two dense layers, on the mean
  over all places; what speaks against the class is left out. Of several networks the channels are
  those of all.

Neither is an explanation of why a class was named, and neither knows whether it is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from ml.lesion import ROI_SIZE_PX
from ml.statistics import multinomial
from ml.trust.differentiated import Cnn, Pass, SaliencyError, Tensors, centres

Floats = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.floating]

ROUNDING = 1e-4
"""What single precision may move a logit by, in parts of the largest one; measured: 1e-6."""


class Method(StrEnum):
    """How a map is made."""

    CAM = "grad-cam"
    GRADIENT = "gradient"

    @property
    def words(self) -> str:
        """For people."""
        return {Method.CAM: "Grad-CAM", Method.GRADIENT: "gradient × input"}[self]

    @property
    def limits(self) -> str:
        """What a map shows and what none can say, which stands beside each."""
        shows = {
            Method.CAM: "where the network found features that raise this score on the mean over "
            "all places",
            Method.GRADIENT: "where a small change of grey would move this score",
        }[self]
        return (
            f"It shows {shows}: not why the class was named, not whether it is right, and not "
            "where a finding is."
        )


@dataclass(frozen=True)
class Score:
    """Which score of each of n ROIs a map is of.

    Attributes:
        positions: (n,) of the classes.
        temperature: logits are divided by it before they become what is shown.
    """

    positions: Sequence[int]
    temperature: float = 1.0


def networks(members: Sequence[Tensors]) -> tuple[Cnn, ...]:
    """The networks whose mean answers.

    Args:
        members: the tensors of each.

    Raises:
        SaliencyError: none, other networks than this software trains, or classes that differ.
    """
    found = tuple(Cnn.of(tensors) for tensors in members)
    if len({one.classes for one in found}) != 1:
        raise SaliencyError("The networks of one checkpoint must exist and have the same classes.")
    return found


def refuse_other(seen: Sequence[Pass], served: Pixels) -> None:
    """Nothing where the networks answer as the one that serves does; else SaliencyError.

    Args:
        seen: what each network computed of n ROIs.
        served: (n, classes), the logits by which the served network answers for them.
    """
    own = together(seen)
    off = np.abs(own - served).max() if own.shape == served.shape else np.inf
    if not off <= ROUNDING * max(1.0, float(np.abs(own).max())):
        raise SaliencyError(
            "What moves the score cannot be shown: the weights that are kept beside the network "
            "do not give the answer of the network that serves, so a map would be of another one. "
            "Register the checkpoint again from the folder that its training wrote."
        )


def together(seen: Sequence[Pass]) -> Floats:
    """(n, classes), the mean logits of networks that saw the same n ROIs."""
    return np.asarray(np.mean([one.logits for one in seen], axis=0), np.float64)


def maps(seen: Sequence[Pass], rois: Pixels, score: Score, method: Method) -> Floats:
    """(n, 64, 64): what of ROIs (n, 64, 64) moves the score, pixel by pixel.

    Of gradient × input above 0 for the class, below 0 against it, in log odds; of Grad-CAM 0 or
    above.

    Args:
        seen: what each network computed of these ROIs.
    """
    by = _by_logit(together(seen), score) / len(seen)
    backs = [one.back(by) for one in seen]
    if method == Method.GRADIENT:
        greys = np.asarray(rois, np.float64)
        # (grey + 1) / 2 − mean is half of how far the grey is from the mean
        parts = [
            back.greys * 2 * one.network.centred(greys)
            for one, back in zip(seen, backs, strict=True)
        ]
        return np.asarray(np.sum(parts, axis=0), np.float64)
    places = [
        np.einsum("nk,nkij->nij", back.places.mean(axis=(2, 3)), one.places)
        for one, back in zip(seen, backs, strict=True)
    ]
    cam = np.maximum(np.sum(places, axis=0), 0)
    spread = _spread()
    return np.asarray(spread @ cam @ spread.T, np.float64)


def _by_logit(logits: Floats, score: Score) -> Floats:
    """(n, classes), how the log odds move with the logits that become what is shown.

    Log odds of class c are z_c / T − log Σ_(k≠c) exp(z_k / T), of logits z and temperature T.
    """
    n, classes = logits.shape
    positions = np.asarray(score.positions)
    if positions.shape != (n,) or not ((positions >= 0) & (positions < classes)).all():
        raise SaliencyError(f"Of {n} ROIs and {classes} classes there is no such score.")
    if classes < 2:
        raise SaliencyError("A network of one class has a score that nothing moves.")
    chosen = np.eye(classes, dtype=bool)[positions]
    others = multinomial.softmax(np.where(chosen, -np.inf, logits / score.temperature))
    return np.where(chosen, 1.0, -others) / score.temperature


def _spread() -> Floats:
    """(64, 12): a map of places as one of pixels, linear between them, constant at the edge."""
    at, places = np.arange(ROI_SIZE_PX), centres()
    return np.stack([np.interp(at, places, one) for one in np.eye(len(places))], axis=1)
