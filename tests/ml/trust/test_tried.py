"""Rows of what a classifier was tried on."""

from __future__ import annotations

import numpy as np
import pytest

from ml.ground.records import from_json, to_json
from ml.statistics.figure import Figure
from ml.trust.evidence import Missing
from ml.trust.record import Figures
from ml.trust.tried import Detections, Disturbed, Robustness, detection, disturbed


def test_the_same_answers_never_flip_and_change_nothing() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 60)
    answers = rng.dirichlet((1, 1, 1), 60)
    names = [str(i) for i in range(60)]
    row = disturbed("same", "as they were", truth, answers, answers, names)
    assert row.flipped.value == 0 and row.flipped.ends is not None and row.flipped.n == 60
    assert row.accuracy.value == row.probability.value == 0
    assert from_json(Disturbed, to_json(row)) == row


def test_answers_that_are_worse_are_told_so() -> None:
    truth = np.arange(90) % 3
    right = np.eye(3)[truth]
    names = [str(i) for i in range(90)]
    row = disturbed("off", "all called the first class", truth, right, np.eye(3)[[0] * 90], names)
    assert row.flipped.value == pytest.approx(2 / 3)
    for change in (row.accuracy, row.probability):
        assert change.value == pytest.approx(-2 / 3)
        assert change.ends is not None and change.ends[1] < 0


def test_the_true_class_s_probability_may_fall_while_no_class_flips() -> None:
    truth = np.arange(90) % 3
    rng = np.random.default_rng(1)
    sure = 0.9 - rng.uniform(0, 0.05, (90, 1))
    before = np.where(np.eye(3)[truth] > 0, sure, (1 - sure) / 2)
    after = np.where(np.eye(3)[truth] > 0, sure - 0.2, (1.2 - sure) / 2)
    row = disturbed("x", "x", truth, before, after, [str(i) for i in range(90)])
    assert row.flipped.value == row.accuracy.value == 0
    assert row.probability.value == pytest.approx(-0.2)


def test_lesions_of_one_patient_are_drawn_together() -> None:
    flagged = np.arange(60) < 30
    alone = detection("x", "x", flagged, [str(i) for i in range(60)])
    shared = detection("x", "x", flagged, [str(i // 6) for i in range(60)])
    widths = [row.rate.ends[1] - row.rate.ends[0] for row in (alone, shared)]
    assert widths[1] > 1.5 * widths[0]


def test_answers_to_other_lesions_are_refused() -> None:
    with pytest.raises(ValueError, match="answers to the same lesions"):
        disturbed("x", "x", np.zeros(3, int), np.eye(3), np.eye(3)[:2], ["a", "b", "c"])


def test_a_record_keeps_its_tables_and_one_of_before_says_that_it_has_none() -> None:
    old = {
        "version": 1,
        "fitted_on": {"n_lesions": 0, "n_patients": 0, "lesions_of_class": {}},
        "calibration": {"missing": "too few"},
    }
    before = from_json(Figures, old)
    assert isinstance(before.detections, Missing) and "not tried" in before.detections.missing
    assert to_json(before) == old
    rate = Figure(0.5, 0.4, 0.6, 10)
    flagged = detection("a", "b", np.ones(9, bool), list("abcdefghi"))
    rows = {
        "detections": Detections("x", 10, (flagged,), untried={"nodules": "none"}),
        "robustness": Robustness("x", 10, 9, rate, True, ()),
    }
    data = to_json(Figures(**(before.__dict__ | rows)))
    assert from_json(Figures, data) == Figures(**(before.__dict__ | rows))
    assert data["detections"]["untried"] == {"nodules": "none"}
