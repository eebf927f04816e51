"""Multinomial logistic regression with a ridge, against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from ml.statistics import ridged
from ml.statistics.multinomial import softmax


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("ridge", [0.5, 20.0])
def test_probabilities_are_those_of_scikit_learn(classes: int, ridge: float) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, 90)
    design = rng.normal(0, 1, (90, 6)) + labels[:, None] * rng.normal(0, 1, 6)
    own = ridged.fit(design, labels, classes, ridge)
    # of two classes scikit-learn has one weight, which is twice each of two that add up to 0
    theirs = LogisticRegression(C=(2 if classes == 2 else 1) / ridge, tol=1e-10, max_iter=10_000)
    expected = theirs.fit(design, labels).predict_proba(design)
    assert softmax(own.logits(design)) == pytest.approx(expected, abs=1e-5)
    assert own.weights.sum(axis=1) == pytest.approx(0, abs=1e-9)


def test_separated_classes_and_a_class_of_nobody_have_a_maximum() -> None:
    design = np.linspace(-1, 1, 20)[:, None]
    labels = (design[:, 0] > 0).astype(np.int64)
    own = ridged.fit(design, labels, 3, 1.0)
    chances = softmax(own.logits(design))
    assert np.isfinite(own.weights).all()
    assert chances[:, 2].max() < 1e-3
    assert (chances.argmax(axis=1) == labels).all()


def test_where_it_begins_does_not_change_the_end() -> None:
    rng = np.random.default_rng(1)
    design, labels = rng.normal(0, 1, (60, 5)), rng.integers(0, 3, 60)
    first = ridged.fit(design, labels, 3, 100.0)
    cold, warm = (ridged.fit(design, labels, 3, 2.0, start) for start in (None, first))
    assert warm.weights == pytest.approx(cold.weights, abs=1e-6)
