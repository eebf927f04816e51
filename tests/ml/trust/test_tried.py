"""Rows of what a classifier was tried on."""

from __future__ import annotations

import numpy as np
import pytest

from ml.ground.records import from_json, to_json
from ml.trust.tried import Robustness, robustness


def test_the_same_answers_agree_wholly_and_change_nothing() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 60)
    answers = rng.dirichlet((1, 1, 1), 60)
    names = [str(i) for i in range(60)]
    row = robustness("same", "as they were", truth, answers, answers, names)
    assert row.agreement.value == 1 and row.agreement.ends is not None
    assert row.difference.value == 0
    assert from_json(Robustness, to_json(row)) == row


def test_answers_that_are_worse_are_told_so() -> None:
    truth = np.arange(90) % 3
    right = np.eye(3)[truth]
    names = [str(i) for i in range(90)]
    row = robustness("off", "all called the first class", truth, right, np.eye(3)[[0] * 90], names)
    assert row.agreement.value == pytest.approx(1 / 3)
    assert row.balanced_accuracy.value == pytest.approx(1 / 3)
    assert row.difference.ends is not None and row.difference.ends[1] < 0


def test_answers_to_other_lesions_are_refused() -> None:
    with pytest.raises(ValueError, match="answers to the same lesions"):
        robustness("x", "x", np.zeros(3, int), np.eye(3), np.eye(3)[:2], ["a", "b", "c"])
