import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ml.statistics import area


def test_there_is_no_area_without_both_kinds():
    assert np.isnan(area.auc([1, 1], [0.1, 0.2]))
    assert np.isnan(area.weighted([1, 0], [0.1, 0.2], np.array([[2.0, 0.0]]))).all()


def test_ties_count_half():
    assert area.auc([1, 0], [0.5, 0.5]) == 0.5


@pytest.mark.parametrize("digits", [1, 8])
def test_it_is_that_of_scikit_learn_with_and_without_weights(digits):
    rng = np.random.default_rng(digits)
    truth, score = rng.integers(0, 2, 90), np.round(rng.random(90), digits)
    weights = rng.integers(0, 4, (5, 90)).astype(float)
    assert area.auc(truth, score) == pytest.approx(roc_auc_score(truth, score))
    assert area.weighted(truth, score, weights) == pytest.approx(
        [roc_auc_score(truth, score, sample_weight=row) for row in weights]
    )


def test_the_order_of_the_cases_changes_no_bit():
    rng = np.random.default_rng(3)
    truth, score = rng.integers(0, 2, 77), rng.random(77)
    order = rng.permutation(77)
    found = area.auc(truth, score)
    assert area.auc(truth[order], score[order]) == found
    assert area.weighted(truth, score, np.ones((1, 77))) == [found]
