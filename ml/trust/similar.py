"""Which lesions a network finds most like another one.

The distance is the plain one (Euclidean) between the network's features, its last layer before the
classes. The classes' numbers are sums of these features, so lesions that lie close by it are called
alike, and every feature counts as much as it does there. The angle between features finds the true
class a little more often, because it repeats the class that the network named more often still;
what that says of the distances is in `DECISIONS.md`.

What lies close is alike to the network. Where the network is wrong its neighbours are wrong with
it, which is why `Worth` is told beside them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ml.trust.evidence import TrustError
from ml.trust.lesions import Lesions

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

NEAREST = 3
"""So many are told at most."""
_REST = 1e-6


@dataclass(frozen=True)
class Near:
    """One lesion beside another.

    Attributes:
        row: which one.
        distance: 1 is as far as a lesion that the network had not seen usually lies from the
            nearest one that it was trained on; None where none is told.
    """

    row: int
    distance: float | None


@dataclass(frozen=True)
class Worth:
    """What the nearest training lesions of lesions tell that the network had not seen.

    Attributes:
        n_lesions: how many these are.
        nearest: how many neighbours of each were looked at.
        true, named: the share of neighbours of its true class, and of the class that the network
            named.
    """

    n_lesions: int
    nearest: int
    true: float
    named: float


@dataclass(frozen=True)
class Space:
    """The lesions of a data set in the features of one network.

    Attributes:
        usual: the distance that counts as 1.

    Raises:
        TrustError: the network has the same features of every lesion, or was trained on none of
            them.
    """

    lesions: Lesions
    usual: float

    @classmethod
    def of(cls, lesions: Lesions) -> Space:
        """Of lesions as a checkpoint keeps them.

        The unit is the median distance of held-out lesions to the nearest training lesion; where
        nothing was held out, that of training lesions to the nearest one of another patient.
        """
        if not lesions.trained.any():
            raise TrustError("the network was trained on none of the lesions that are kept")
        rows = np.flatnonzero(~lesions.trained)
        asked = rows if rows.size else np.flatnonzero(lesions.trained)
        trained = np.flatnonzero(lesions.trained)
        patients = np.unique(np.asarray(lesions.patients), return_inverse=True)[1]
        features = lesions.features.astype(np.float64)
        away = _apart(features[asked], features[trained])
        away[patients[asked, None] == patients[trained]] = np.inf
        nearest = away.min(axis=1)
        usual = float(np.median(nearest[np.isfinite(nearest)])) if np.isfinite(nearest).any() else 0
        # products of large numbers leave a rest where features are equal
        if not usual > _REST * max(1.0, float(np.abs(features).max())):
            raise TrustError("the network tells none of the lesions apart that are kept")
        return cls(lesions, usual)

    @cached_property
    def _features(self) -> Floats:
        return self.lesions.features.astype(np.float64)

    def distances(self, features: npt.NDArray[np.floating], others: Floats) -> Floats:
        """(m,) from one lesion (d,) to others (m, d), in the unit of ``usual``.

        Raises:
            TrustError: features of another network, or that are not finite.
        """
        own = np.asarray(features, np.float64)
        wanted = self.lesions.features.shape[1]
        if own.shape != (wanted,) or others.ndim != 2 or others.shape[1] != wanted:
            raise TrustError(
                f"features of shape {own.shape} and {others.shape} are not those of this "
                f"checkpoint, which has {wanted}"
            )
        if not (np.isfinite(own).all() and np.isfinite(others).all()):
            raise TrustError("a feature is not a finite number")
        return np.asarray(np.sqrt(((others - own) ** 2).sum(axis=1)) / self.usual)

    def nearest(
        self, features: npt.NDArray[np.floating], allowed: Bools, most: int = NEAREST
    ) -> tuple[Near, ...]:
        """The kept lesions that lie nearest to one with these features (d,), the nearest first.

        Args:
            allowed: (n,) which may be told.

        Raises:
            TrustError: as ``distances``.
        """
        rows = np.flatnonzero(allowed)
        away = self.distances(features, self._features[rows])
        order = np.argsort(away, kind="stable")[:most]
        return tuple(Near(int(rows[place]), float(away[place])) for place in order)

    @property
    def unit(self) -> str:
        """What a distance of 1 is, in a sentence."""
        if self.lesions.trained.all():
            return (
                "1 is as far as a lesion that it was trained on usually lies from the nearest one "
                "of another patient."
            )
        return (
            "1 is as far as a lesion that it had not seen usually lies from the nearest one that "
            "it was trained on."
        )

    @cached_property
    def worth(self) -> Worth | None:
        """What neighbours told of the held-out lesions; None where nothing was held out."""
        kept = self.lesions
        rows = np.flatnonzero(~kept.trained)
        if not rows.size:
            return None
        trained = np.flatnonzero(kept.trained)
        away = _apart(self._features[rows], self._features[trained])
        near = trained[np.argsort(away, axis=1, kind="stable")[:, :NEAREST]]
        classes = kept.labels[near]
        return Worth(
            len(rows),
            near.shape[1],
            float((classes == kept.labels[rows, None]).mean()),
            float((classes == kept.said[rows].argmax(axis=1)[:, None]).mean()),
        )


def _apart(some: Floats, others: Floats) -> Floats:
    """(n, m) distances between (n, d) and (m, d)."""
    squares = (some**2).sum(axis=1)[:, None] + (others**2).sum(axis=1) - 2 * some @ others.T
    return np.asarray(np.sqrt(np.maximum(squares, 0.0)))
