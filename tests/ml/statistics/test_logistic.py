import numpy as np
import pytest
import statsmodels.api as sm

from ml.statistics import logistic


def drawn(seed: int, n: int = 200):
    rng = np.random.default_rng(seed)
    design = np.column_stack([np.ones(n), rng.normal(size=(n, 2))])
    chance = 1 / (1 + np.exp(-design @ [0.3, 1.0, -0.5]))
    return design, (rng.random(n) < chance).astype(float)


def test_a_separated_sample_has_no_maximum():
    x = np.linspace(-1, 1, 20)
    design = np.column_stack([np.ones(20), x])
    found = logistic.fit(design, x > 0, worst_condition=1e10)
    assert found is None or not found.converged or np.abs(design @ found.weights).max() > 25


def test_weights_and_errors_are_those_of_statsmodels():
    design, outcome = drawn(0)
    found, theirs = logistic.fit(design, outcome), sm.Logit(outcome, design).fit(disp=0)
    assert found is not None and found.converged
    assert found.weights == pytest.approx(theirs.params, abs=1e-6)
    errors = np.sqrt(np.diag(np.linalg.inv(found.information)))
    assert errors == pytest.approx(theirs.bse, abs=1e-6)


def test_a_ridge_is_at_its_maximum_where_the_gradient_ends():
    design, outcome = drawn(1)
    penalty = np.array([0.0, 5.0, 5.0])
    found = logistic.fit(design, outcome, penalty)
    assert found is not None
    p = 1 / (1 + np.exp(-design @ found.weights))
    assert design.T @ (outcome - p) == pytest.approx(penalty * found.weights, abs=1e-8)
    plain = logistic.fit(design, outcome)
    assert np.abs(found.weights[1:]).sum() < np.abs(plain.weights[1:]).sum()
