"""Fidelity and memorisation: formulas against brute force, planted copies found."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm

from ml.statistics import fidelity, memorisation, symmetry


def _sets(seed: int = 0) -> tuple[fidelity.Floats, fidelity.Floats]:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 1, (60, 8)), rng.normal(0.4, 1.3, (40, 8))


def _ones(*sets: fidelity.Floats) -> list[fidelity.Floats]:
    return [np.ones((1, len(found))) for found in sets]


def test_fid_equals_the_formula_with_matrix_roots() -> None:
    a, b = _sets()
    first, second = np.cov(a.T), np.cov(b.T)
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(
        first + second - 2 * np.real(sqrtm(first @ second))
    )
    assert fidelity.fid(a, b, *_ones(a, b))[0] == pytest.approx(expected, rel=1e-6)


def test_resampled_fid_is_that_of_the_resample() -> None:
    a, b = _sets()
    weights = np.random.default_rng(1).multinomial(60, np.full(60, 1 / 60), size=1).astype(float)
    drawn = np.repeat(a, weights[0].astype(int), axis=0)
    expected = fidelity.fid(drawn, b, *_ones(drawn, b))[0]
    assert fidelity.fid(a, b, weights, np.ones((1, 40)))[0] == pytest.approx(expected)


def test_kid_equals_the_double_sum() -> None:
    a, b = _sets()

    def kernel(x: fidelity.Floats, y: fidelity.Floats) -> float:
        return float((x @ y / 8 + 1) ** 3)

    within_a = np.mean([kernel(x, y) for i, x in enumerate(a) for j, y in enumerate(a) if i != j])
    within_b = np.mean([kernel(x, y) for i, x in enumerate(b) for j, y in enumerate(b) if i != j])
    across = np.mean([kernel(x, y) for x in a for y in b])
    expected = within_a + within_b - 2 * across
    assert fidelity.kid(a, b, *_ones(a, b))[0] == pytest.approx(expected)


def test_kid_of_one_distribution_is_zero_on_average() -> None:
    rng = np.random.default_rng(3)
    values = []
    for _ in range(200):
        a, b = rng.normal(size=(20, 8)), rng.normal(size=(20, 8))
        values.append(fidelity.kid(a, b, *_ones(a, b))[0])
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(200)


def test_density_and_coverage_of_near_and_far_sets() -> None:
    real, _ = _sets()
    density, coverage = fidelity.density_parts(real, real)
    assert density.mean() > 0.9 and coverage.mean() == 1.0
    density, coverage = fidelity.density_parts(real, real + 100)
    assert density.sum() == 0 and coverage.sum() == 0
    one = np.repeat(real[:1], 30, axis=0)
    assert fidelity.density_parts(real, one)[1].mean() < 0.5
    with pytest.raises(ValueError, match="more than 5"):
        fidelity.density_parts(real[:5], real)


def test_neighbour_purity_ignores_the_same_patient() -> None:
    features = np.asarray([[0.0], [0.01], [5.0], [5.01], [0.5], [5.5]])
    labels, owners = [0, 0, 1, 1, 0, 1], [0, 0, 1, 1, 2, 3]
    assert fidelity.neighbour_purity(features, labels, owners, k=1) == 1.0
    alternating = [0, 1, 0, 1, 1, 0]
    assert fidelity.neighbour_purity(features, alternating, owners, k=1) < 1.0


@pytest.mark.parametrize("way", range(symmetry.SYMMETRIES))
def test_copy_is_found_however_it_is_turned(way: int) -> None:
    rng = np.random.default_rng(way)
    training = rng.uniform(-1, 1, (20, 64, 64)).astype(np.float32)
    copies = symmetry.turned(training[[7, 3]], way)
    fresh = rng.uniform(-1, 1, (1, 64, 64)).astype(np.float32)
    asked = memorisation.turns(np.concatenate([copies, fresh]), memorisation.flat)
    gaps, where, how = memorisation.nearest(asked, memorisation.flat(training))
    assert where[:2].tolist() == [7, 3]
    assert gaps[:2].max() < 1e-2 < 0.5 < gaps[2]
    for copy, index, back in zip(copies, where, how, strict=False):
        turned = symmetry.turned(copy[None], int(back))[0]
        assert np.array_equal(turned, training[index])


def test_the_eight_symmetries_differ() -> None:
    roi = np.random.default_rng(0).uniform(-1, 1, (1, 64, 64)).astype(np.float32)
    turned = {symmetry.turned(roi, i).tobytes() for i in range(symmetry.SYMMETRIES)}
    assert len(turned) == 8
