"""Brier score, log loss and calibration error, computed again by hand and on known populations."""

from __future__ import annotations

import numpy as np
import pytest

from ml.statistics import calibration, comparison
from ml.statistics.calibration import brier, by_chance, error, log_loss, reliability

TRUTH = np.array([0, 1, 2, 1])
TABLE = np.array([[0.8, 0.1, 0.1], [0.3, 0.4, 0.3], [0.5, 0.25, 0.25], [0.0, 1.0, 0.0]])


def test_brier_score_and_log_loss_are_those_of_the_formulas() -> None:
    sums = [0.04 + 0.01 + 0.01, 0.09 + 0.36 + 0.09, 0.25 + 0.0625 + 0.5625, 0.0]
    assert brier(TRUTH, TABLE) == pytest.approx(sums)
    assert log_loss(TRUTH, TABLE) == pytest.approx(-np.log([0.8, 0.4, 0.25, 1.0]))
    certain = np.array([[0.0, 1.0]])
    assert log_loss(np.array([0]), certain) == pytest.approx([-np.log(calibration.LEAST)])
    assert brier(np.array([0]), certain) == pytest.approx([2.0])


def test_calibration_error_is_the_gap_of_each_bin_by_its_mass() -> None:
    confidence = np.array([0.9, 0.6, 0.8, 0.7])
    right = np.array([1.0, 0.0, 0.0, 1.0])
    # two bins: (0.6, 0.7) half right, (0.8, 0.9) half right
    found = error(confidence, right, np.ones((1, 4)), bins=2)
    assert found == pytest.approx([(abs(1.3 - 1) + abs(1.7 - 1)) / 4])


def test_a_lesion_that_counts_twice_is_two_lesions() -> None:
    rng = np.random.default_rng(1)
    confidence, right = rng.random(40), (rng.random(40) < 0.5).astype(float)
    weights = rng.integers(0, 3, (5, 40)).astype(float)
    for row, found in zip(weights, error(confidence, right, weights), strict=True):
        times = row.astype(int)
        again = error(
            np.repeat(confidence, times), np.repeat(right, times), np.ones((1, times.sum()))
        )
        assert found == pytest.approx(again[0])


@pytest.mark.parametrize("order", [1, -1])
def test_equal_confidences_are_one_bin_in_whatever_order_they_come(order: int) -> None:
    """Parted by their place in the data set, which is sorted by class, they would show a gap."""
    right = np.r_[np.ones(60), np.zeros(40)][::order]
    assert error(np.full(100, 0.6), right, np.ones((1, 100))) == pytest.approx([0.0], abs=1e-12)


def test_a_calibrated_network_shows_the_error_that_chance_gives_and_a_bold_one_more() -> None:
    rng = np.random.default_rng(2)
    confidence = rng.uniform(1 / 3, 1, 3000)
    right = (rng.random(3000) < confidence).astype(float)
    floor = by_chance(confidence, 200, 0)
    assert 0.01 < floor < 0.03
    assert error(confidence, right, np.ones((1, 3000)))[0] < 2 * floor
    assert by_chance(confidence[:60], 200, 0) > 3 * floor
    bold = np.minimum(1.0, confidence + 0.2)
    assert error(bold, right, np.ones((1, 3000)))[0] > 0.1


def test_the_reliability_plot_holds_every_lesion_once() -> None:
    rng = np.random.default_rng(3)
    confidence, right = rng.random((3, 50)), (rng.random((3, 50)) < 0.5).astype(float)
    bins = reliability(confidence, right)
    assert sum(one.lesions for one in bins) == pytest.approx(50)
    assert sum(one.lesions * one.right for one in bins) == pytest.approx(right.sum() / 3)
    assert [one.confidence for one in bins] == sorted(one.confidence for one in bins)


def test_intervals_hold_their_values_and_curves_agree_with_their_areas() -> None:
    rng = np.random.default_rng(4)
    truth = np.repeat([0, 1, 2], 40)
    patients = [f"p{i // 2}" for i in range(120)]
    logits = rng.normal(0, 1, (2, 120, 3)) + 1.2 * np.eye(3)[truth]
    tables = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    found = comparison.believed(truth, tables, patients, 400, 0)
    for one in (found.brier, found.log_loss, found.error):
        assert one.ends is not None and one.ends[0] < one.known < one.ends[1]
    assert found.brier.known == pytest.approx(brier(truth, tables).mean())
    curves = comparison.curves(truth, tables, patients, "abc", 400, 0)
    areas = comparison.rates(truth, tables, patients, "abc", 400, 0)["auc"]
    for key, curve in curves.items():
        area = np.trapezoid(curve.sensitivity, curve.false_positives)
        assert area == pytest.approx(areas[key].known, abs=0.01)
        bounds = zip(curve.low, curve.sensitivity, curve.high, strict=True)
        assert all(low - 0.02 <= value <= high + 0.02 for low, value, high in bounds)


def test_a_class_without_lesions_has_no_curve() -> None:
    tables = np.full((1, 4, 3), 1 / 3)
    curves = comparison.curves(np.array([0, 0, 1, 1]), tables, list("abcd"), "xyz", 100, 0)
    assert set(curves) == {"x", "y"}
    # nothing tells the lesions apart: the diagonal
    assert curves["x"].sensitivity == curves["x"].false_positives
