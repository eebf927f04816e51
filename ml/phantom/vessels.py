"""Vessel trees: branches joined to the nearest vessel, radii by Murray's law."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]

MURRAY = 2.7
"""Exponent of r_parent^n = Σ r_child^n; 3 for ideal flow (Murray 1926), 2.3…3 where measured."""


@dataclass(frozen=True)
class Vessels:
    """Tapered pieces of vessel: ``start`` and ``end`` (n, 3) in mm, ``radius`` (n, 2) at each."""

    start: Points
    end: Points
    radius: Points

    def __len__(self) -> int:
        return len(self.start)

    def near(self, z: float, reach: float) -> npt.NDArray[np.intp]:
        """Indices of the pieces that a slab of half thickness ``reach`` mm around ``z`` may cut."""
        thick = self.radius.max(axis=1) + reach
        low = np.minimum(self.start[:, 2], self.end[:, 2]) - thick
        high = np.maximum(self.start[:, 2], self.end[:, 2]) + thick
        return np.flatnonzero((low < z) & (z < high))


@dataclass(frozen=True)
class Skeleton:
    """The large branches of a tree: ``points`` (m, 3) in mm, and of each the one before it.

    ``parents``: positions in ``points``, each before its own; −1 of the root, which is the first.
    """

    points: Points
    parents: tuple[int, ...]

    @classmethod
    def line(cls, points: Points) -> Skeleton:
        """One branch."""
        return cls(points, tuple(range(-1, len(points) - 1)))


def grow(
    rng: np.random.Generator, trunk: Skeleton, leaves: npt.NDArray[np.floating], leaf_radius: float
) -> Vessels:
    """A tree from ``trunk`` to each of ``leaves`` (n, 3), those nearest to its last point first."""
    nodes = [np.asarray(point, float) for point in trunk.points]
    parents = list(trunk.parents)
    order = np.argsort(np.linalg.norm(leaves - trunk.points[-1], axis=1))
    for leaf in leaves[order]:
        known = np.asarray(nodes)
        # a branch that leaves its parent backwards is not how vessels grow: trunk first is cheaper
        gap = np.linalg.norm(known - leaf, axis=1)
        parent = int(np.argmin(gap[1:])) + 1 if len(known) > 1 else 0
        pieces = max(2, int(gap[parent] / 9))
        sideways = rng.normal(0, 0.09 * gap[parent], 3)
        for i in range(1, pieces + 1):
            t = i / pieces
            bend = 4 * t * (1 - t)
            nodes.append(known[parent] * (1 - t) + leaf * t + bend * sideways)
            parents.append(parent if i == 1 else len(nodes) - 2)
    flow = np.zeros(len(nodes))
    children = np.zeros(len(nodes), int)
    for i in range(len(nodes) - 1, 0, -1):
        if children[i] == 0:
            flow[i] = leaf_radius**MURRAY * rng.uniform(0.6, 1.6)
        flow[parents[i]] += flow[i]
        children[parents[i]] += 1
    radius = flow ** (1 / MURRAY)
    at = np.asarray(nodes)
    child = np.arange(1, len(nodes))
    parent_of = np.asarray(parents)[1:]
    ends = np.stack([np.minimum(radius[parent_of], 1.25 * radius[child]), radius[child]], axis=1)
    return Vessels(at[parent_of], at[child], ends)
