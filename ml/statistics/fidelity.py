"""How near synthetic ROIs are to real ones, in the features of a network: arrays in, numbers out.

Features are (n, d). ``weights`` are bootstrap counts (resamples, n); a row of ones is the sample
itself. KID has an unbiased estimator and is the one to read at these sizes; FID is biased upwards
by few ROIs (Chong and Forsyth 2020), so it only means something beside the same distance between
two sets of real ROIs of the same sizes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def kid(first: Floats, second: Floats, weights_first: Floats, weights_second: Floats) -> Floats:
    """Unbiased squared maximum mean discrepancy with the kernel (x·y/d + 1)³, per resample.

    Binkowski et al. 2018. Pairs of a ROI with itself never count, also where it is drawn twice.
    NaN where a resample has no pair.

    Args:
        first, second: features (n, d) and (m, d).
        weights_first, weights_second: (b, n) and (b, m): how often a resample draws each ROI.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        within_first = _mean_pair(_kernel(first, first), weights_first)
        within_second = _mean_pair(_kernel(second, second), weights_second)
        across = ((weights_first @ _kernel(first, second)) * weights_second).sum(axis=1)
        across /= weights_first.sum(axis=1) * weights_second.sum(axis=1)
        return np.asarray(within_first + within_second - 2 * across)


def _kernel(first: Floats, second: Floats) -> Floats:
    return np.asarray((first @ second.T / first.shape[1] + 1) ** 3)


def _mean_pair(kernel: Floats, weights: Floats) -> Floats:
    total = ((weights @ kernel) * weights).sum(axis=1) - (weights**2) @ np.diagonal(kernel)
    return np.asarray(total / (weights.sum(axis=1) ** 2 - (weights**2).sum(axis=1)))


def fid(first: Floats, second: Floats, weights_first: Floats, weights_second: Floats) -> Floats:
    """Fréchet distance of two Gaussians with the samples' means and covariances, per resample.

    Heusel et al. 2017. The trace of the root of a product of covariances is the sum of the
    singular values of the product of the centred samples, which needs no d × d matrix.
    NaN where a resample has fewer than two ROIs. Arguments as for ``kid``.
    """
    values = np.full(len(weights_first), np.nan)
    for i, (a, b) in enumerate(zip(weights_first, weights_second, strict=True)):
        if min(a.sum(), b.sum()) < 2:
            continue
        mean_a, centred_a = _centred(first, a)
        mean_b, centred_b = _centred(second, b)
        product = centred_a @ centred_b.T
        if product.shape[0] < product.shape[1]:
            product = product.T
        roots = np.sqrt(np.maximum(np.linalg.eigvalsh(product.T @ product), 0)).sum()
        spread = (centred_a**2).sum() + (centred_b**2).sum()
        values[i] = ((mean_a - mean_b) ** 2).sum() + spread - 2 * roots
    return values


def _centred(features: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Mean, and rows scaled so that their products are the covariance."""
    drawn = np.flatnonzero(weights > 0)
    some: Floats = features[drawn]
    counts: Floats = weights[drawn]
    total = float(counts.sum())
    mean: Floats = (counts[:, None] * some).sum(axis=0) / total
    scaled: Floats = np.sqrt(counts / (total - 1))[:, None] * (some - mean[None])
    return mean, scaled


def density_parts(real: Floats, synthetic: Floats, k: int = 5) -> tuple[Floats, Floats]:
    """Density per synthetic ROI (m,) and coverage per real ROI (n,); their means are the measures.

    Naeem et al. 2020: a real ROI's ball reaches to its ``k``-th nearest real neighbour. Density
    counts in how many balls a synthetic ROI lies, over k; coverage whether a ball has any in it.

    Raises:
        ValueError: no more than ``k`` real ROIs.
    """
    if len(real) <= k:
        raise ValueError(f"density and coverage need more than {k} real ROIs, not {len(real)}")
    radius = np.sort(_distances(real, real), axis=1)[:, k]
    inside: npt.NDArray[np.bool_] = np.less(_distances(real, synthetic), radius[:, None])
    coverage: Floats = np.asarray(inside.any(axis=1), np.float64)
    return np.count_nonzero(inside, axis=0) / float(k), coverage


def _distances(first: Floats, second: Floats) -> Floats:
    square = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1)[None]
    return np.asarray(np.sqrt(np.maximum(square - 2 * first @ second.T, 0)))


def weighted_mean(values: Floats, weights: Floats) -> Floats:
    """Mean of ``values`` (n,) per resample; NaN where nothing was drawn."""
    with np.errstate(invalid="ignore"):
        return np.asarray(weights @ values / weights.sum(axis=1))


def neighbour_purity(
    features: Floats, labels: npt.ArrayLike, groups: npt.ArrayLike, k: int = 5
) -> float | None:
    """Share of the ``k`` nearest ROIs of other patients (``groups``) that have the same class.

    None where there is only one patient. ``features`` (n, d); labels and groups (n,).
    """
    classes, owners = np.asarray(labels), np.asarray(groups)
    gaps = _distances(features, features)
    gaps[owners[:, None] == owners[None]] = np.inf
    nearest = np.argsort(gaps, axis=1, kind="stable")[:, :k]
    usable = np.isfinite(np.take_along_axis(gaps, nearest, axis=1))
    same = classes[nearest] == classes[:, None]
    return float(same[usable].mean()) if usable.any() else None
