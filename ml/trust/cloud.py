"""Training ROIs as a cloud of points, and how far another point lies from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Tensors = dict[str, npt.NDArray[np.float32]]

_COMPONENTS = 32
_SHRUNK = 0.5
"""How far the variances go to being equal. This and the number of components were chosen by how
many edges, pink noises, flat greys, magnifications, bones and fat they flag at 5 % false alarms, on
phantom patients (seeds 770000 and 910000) that no reported test uses."""


@dataclass(frozen=True)
class Cloud:
    """Training ROIs in one space of d columns.

    Attributes:
        centre, unit: (d,), subtracted and multiplied; a column that does not vary has unit 0.
        means: (classes, d) of the classes that have training ROIs.
        basis: (d, m), the leading components within classes.
        spreads: (m,), the variance along each; ``rest`` that in every other direction.
    """

    centre: Floats
    unit: Floats
    means: Floats
    basis: Floats
    spreads: Floats
    rest: float

    @classmethod
    def fit(cls, values: Floats, labels: Ints) -> Cloud:
        """Of training ROIs (n, d); NaN is a value that is not known."""
        known = np.isfinite(values)
        count = np.maximum(known.sum(axis=0), 1)
        centre = np.where(known, values, 0.0).sum(axis=0) / count
        filled = np.where(known, values, centre)
        present = np.unique(labels)
        member = np.searchsorted(present, labels)
        means = np.stack([filled[labels == key].mean(axis=0) for key in present])
        spread = (filled - means[member]).std(axis=0)
        least = 1e-6 * np.maximum(1.0, np.abs(centre))
        unit = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > least)
        centre, unit = single(centre), single(unit)
        means = single((means - centre) * unit)
        within = (filled - centre) * unit - means[member]
        _, singular, directions = np.linalg.svd(within, full_matrices=False)
        free = max(1, len(values) - len(present))
        variances = np.zeros(values.shape[1])
        variances[: len(singular)] = singular**2 / free
        kept = min(_COMPONENTS, len(singular))
        shared = float(variances.mean())
        left = float(variances[kept:].mean()) if kept < len(variances) else 0.0
        return cls(
            centre,
            unit,
            means,
            single(directions[:kept].T),
            single((1 - _SHRUNK) * variances[:kept] + _SHRUNK * shared),
            float(np.float32((1 - _SHRUNK) * left + _SHRUNK * shared)),
        )

    def distances(self, values: Floats) -> Floats:
        """(n,) of ROIs (n, d) to the nearest class, in standard deviations of a column."""
        known = np.isfinite(values)
        # a value that is not known lies where it says nothing
        at = np.where(known, (values - self.centre) * self.unit, 0.0)
        off = at[:, None, :] - self.means
        if not known.all():
            off = np.where(known[:, None, :], off, 0.0)
        along = off @ self.basis
        squares = along * along
        across = np.maximum((off * off).sum(axis=2) - squares.sum(axis=2), 0.0)
        total = (squares / self.spreads).sum(axis=2) + across / max(self.rest, 1e-12)
        return np.asarray(np.sqrt(total.min(axis=1) / off.shape[2]))

    def tensors(self) -> Tensors:
        """What ``of_tensors`` reads."""
        named = {
            "centre": self.centre,
            "unit": self.unit,
            "means": self.means,
            "basis": self.basis,
            "spreads": self.spreads,
            "rest": np.asarray([self.rest]),
        }
        return {name: np.asarray(values, np.float32) for name, values in named.items()}

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, npt.NDArray[np.floating]]) -> Cloud:
        """The inverse of ``tensors``; KeyError or ValueError where it is something else."""
        own = {name: np.asarray(tensors[name], np.float64) for name in _NAMES}
        rest = own.pop("rest")
        columns, components = own["basis"].shape
        fits = (
            own["centre"].shape == own["unit"].shape == (columns,)
            and own["means"].ndim == 2
            and own["means"].shape[1] == columns
            and own["spreads"].shape == (components,)
            and rest.shape == (1,)
            and all(np.isfinite(values).all() for values in own.values())
        )
        if not fits:
            raise ValueError("shapes or values that do not belong together")
        return cls(**own, rest=float(rest[0]))


_NAMES = ("centre", "unit", "means", "basis", "spreads", "rest")


def single(values: npt.NDArray[np.floating]) -> Floats:
    """As it is stored, so that what was fitted and what was read say the same."""
    return np.asarray(values, np.float32).astype(np.float64)
