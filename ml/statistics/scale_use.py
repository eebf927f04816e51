"""Whether a reader used the scale: a verdict needs answers that could have gone another way.

A reader who presses one key is right as often as a coin and has an area of 0.5 whatever the images
are: the smallest possible spread of the answers is the largest possible claim of equivalence. So it
is fixed beforehand from where on the scale counts as used (assay sensitivity, ICH E10, 1.5).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ml.statistics.proportion import ReadersError


@dataclass(frozen=True)
class ScaleRule:
    """From where on a reader used the scale.

    Attributes:
        least_off: share of the answers (0–1) that are not the commonest rating, at least.
        least_ratings: how many ratings were given at least once.
    """

    least_off: float = 0.10
    least_ratings: int = 3

    def __post_init__(self) -> None:
        if not 0 < self.least_off < 1:
            raise ReadersError(
                "The share of answers off the commonest rating must lie between 0 and 1, not "
                f"{self.least_off}."
            )
        if self.least_ratings < 2:
            raise ReadersError(
                f"At least 2 ratings must be used before there is a verdict, not "
                f"{self.least_ratings}."
            )

    @property
    def text(self) -> str:
        """The rule, to follow "a verdict needs"."""
        return (
            f"at least {100 * self.least_off:g} % of the answers off the commonest rating and "
            f"{self.least_ratings} ratings in use"
        )

    def fault(self, ratings: ArrayLike) -> str | None:
        """How little these answers (n,) of one reader used the scale; None if they did use it.

        Raises:
            ReadersError: no answer.
        """
        given = np.asarray(ratings, dtype=np.float64)
        if not given.size:
            raise ReadersError("There is no rating.")
        values, counts = np.unique(given, return_counts=True)
        off = given.size - int(counts.max())
        # a hair below, so that 6 of 60 are 10 %
        if off >= self.least_off * given.size - 1e-9 and len(values) >= self.least_ratings:
            return None
        noun = "rating" if len(values) == 1 else "ratings"
        return (
            f"{counts.max()} of {given.size} answers are {values[counts.argmax()]:g}, "
            f"{len(values)} {noun} in use"
        )
