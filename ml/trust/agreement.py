"""How far the networks of an ensemble agree, on one ROI and on many lesions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml.statistics import multinomial
from ml.statistics.figure import Figure
from ml.trust.evidence import Missing, names
from ml.trust.novelty import INTERVAL, share

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

ALONE = "No agreement: the checkpoint is one network, with no other to agree."
"""Why there is none beside the answer of a single network."""
_DIGITS = 6
"""As of the probabilities that it stands beside."""


@dataclass(frozen=True)
class Agreement:
    """What the networks of an ensemble say by themselves of one ROI.

    Attributes:
        networks: how many they are.
        agree: how many of them name the class that their mean names.
        lowest, highest: what they give that class, 0–1, scaled as the mean is.
    """

    networks: int
    agree: int
    lowest: float
    highest: float

    @property
    def words(self) -> str:
        """``2 of 3 networks agree``, of one ``1 of 3 networks agrees``."""
        return f"{self.agree} of {self.networks} networks agree{'s' if self.agree == 1 else ''}"


@dataclass(frozen=True)
class Agreeing:
    """Of lesions that none of the networks had seen.

    Attributes:
        unanimous: share of the lesions of which all networks name one class.
        right_unanimous, right_divided: share of right answers of the mean where they do, and where
            they do not; ``n`` is how many lesions those are.
    """

    networks: int
    n_lesions: int
    n_patients: int
    unanimous: Figure
    right_unanimous: Figure
    right_divided: Figure


def told(members: Floats, named: Ints, temperature: float = 1.0) -> list[Agreement]:
    """Of each ROI.

    Args:
        members: (n, networks, classes), the logits of each network.
        named: (n,) position of the class that their mean names.
        temperature: what the mean's are divided by.
    """
    networks = members.shape[1]
    given = multinomial.softmax(members / temperature)
    agree = (members.argmax(axis=2) == named[:, None]).sum(axis=1)
    own = np.take_along_axis(given, named[:, None, None], axis=2)[:, :, 0]
    return [
        Agreement(
            networks, int(count), round(float(row.min()), _DIGITS), round(float(row.max()), _DIGITS)
        )
        for count, row in zip(agree, own, strict=True)
    ]


def agreeing(mean: Floats, members: Floats, labels: Ints, patients: Ints) -> Agreeing | Missing:
    """Of lesions that none of the networks had seen.

    Args:
        mean: (n, classes), probabilities or logits of the ensemble.
        members: (n, networks, classes), of each network.
        labels: (n,) positions of the true classes.
        patients: (n,) whose they are, numbered.
    """
    if not len(labels):
        return Missing("there is no lesion to ask")
    named = mean.argmax(axis=1)
    unanimous = (members.argmax(axis=2) == named[:, None]).all(axis=1)
    owners = names(patients)

    def right(chosen: npt.NDArray[np.bool_]) -> Figure:
        rows = np.flatnonzero(chosen)
        return share(
            (named == labels)[rows], [owners[row] for row in rows], method=f"right; {INTERVAL}"
        )

    return Agreeing(
        members.shape[1],
        len(labels),
        len(np.unique(patients)),
        share(unanimous, owners, method=f"all networks name one class; {INTERVAL}"),
        right(unanimous),
        right(~unanimous),
    )
