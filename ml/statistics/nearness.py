"""How near some ROIs come to held-out lesions, and to a program's eye: the draws of each measure.

In two spaces: the features of a network that was trained elsewhere, and named measurements, scaled
by the lesions of the fold's own training patients. What the one does not look at, the other may: a
network of phantoms hardly sees a black disc on a nodule, the measurements do (Fréchet radiomic
distance, Konz et al. 2024, arXiv 2412.01496).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml.statistics import fidelity, two_sample

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

NEIGHBOURS = 5
MEASURES = ("kid", "fid", "density", "coverage")
RADIOMICS, APART = "radiomics-", "told-apart"
"""What names of draws in measurements begin with; the name of those of the program."""


@dataclass(frozen=True)
class Side:
    """Some ROIs, seen two ways.

    Attributes:
        features: (n, d) of the network; None where there is none to ask.
        radiomics: (n, k) named measurements as they are.
        kinds: (n,) class positions.
        owners: (n,) patients; of synthetic ROIs each its own.
        weights: (b, n) how often each counts in each resample of the bootstrap.
    """

    features: Floats | None
    radiomics: Floats
    kinds: Ints
    owners: tuple[str, ...]
    weights: Floats


def draws(drawn: Side, held: Side, training: Floats, seed: int) -> dict[str, Floats]:
    """Each measure: its value first, then its bootstrap resamples.

    Density and coverage are of as many ROIs of each class on either side: coverage grows with the
    number that is drawn.

    Args:
        drawn: whose nearness is told; ``held``: the held-out lesions.
        training: (m, k) measurements of the fold's training lesions, by which they are scaled.
        seed: of the choice of the equal numbers, and of the program's parts.
    """
    a, b = (np.concatenate([np.ones((1, len(of.owners))), of.weights]) for of in (drawn, held))
    rows = _as_many(drawn.kinds, held.kinds, np.random.default_rng([seed, 1]))
    centre, spread = training.mean(axis=0), training.std(axis=0)
    known = spread > 0

    def scaled(of: Side) -> Floats:
        return np.asarray((of.radiomics[:, known] - centre[known]) / spread[known])

    spaces = {RADIOMICS: (scaled(drawn), scaled(held))}
    if drawn.features is not None and held.features is not None:
        spaces[""] = drawn.features, held.features
    found: dict[str, Floats] = {}
    for name, (first, second) in spaces.items():
        found[f"{name}kid"] = fidelity.kid(first, second, a, b)
        found[f"{name}fid"] = fidelity.fid(first, second, a, b)
        if len(rows[1]) > NEIGHBOURS:
            density, coverage = fidelity.density_parts(second[rows[1]], first[rows[0]], NEIGHBOURS)
            found[f"{name}density"] = fidelity.weighted_mean(density, a[:, rows[0]])
            found[f"{name}coverage"] = fidelity.weighted_mean(coverage, b[:, rows[1]])
    told = two_sample.tested(
        held.radiomics, drawn.radiomics, held.owners, drawn.owners, held.kinds, drawn.kinds, seed
    )
    if told is not None:
        found[APART] = told.area(np.concatenate([b, a], axis=1))
    return found


def _as_many(drawn: Ints, held: Ints, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Rows of either side, as many of each class; of the side that has more, some by chance."""
    chosen: tuple[list[Ints], list[Ints]] = ([], [])
    for kind in np.unique(np.concatenate([drawn, held])):
        of = [np.flatnonzero(side == kind) for side in (drawn, held)]
        count = min(map(len, of))
        for rows, into in zip(of, chosen, strict=True):
            into.append(np.sort(rng.permutation(rows)[:count]))
    first, second = (np.concatenate(of) for of in chosen)
    return first, second
