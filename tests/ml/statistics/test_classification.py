"""Scores against the paper's own tables, scikit-learn, and what an interval must do."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from ml.statistics.classification import (
    balanced_accuracy,
    confusion,
    patient_resamples,
    percentile_interval,
    score,
    sensitivities,
    specificities,
    weighted,
)

KEYS = ("cyst", "metastasis", "hemangioma")
CNN_AUG = [[52, 1, 0], [2, 44, 18], [0, 18, 47]]
CNN_AUG_GAN = [[53, 0, 0], [2, 52, 10], [1, 13, 51]]


def _drawn(seed: int, n: int = 120, classes: int = 3):  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, n)
    table = rng.random((n, classes)) + 0.6 * np.eye(classes)[truth]
    table = np.round(table, 1)  # ties
    return truth, table / table.sum(axis=1, keepdims=True), [f"p{i // 2}" for i in range(n)]


@pytest.mark.parametrize(
    ("matrix", "sensitivity", "specificity", "mean_sensitivity", "mean_specificity"),
    [
        (CNN_AUG, [98.1, 68.7, 72.3], [98.4, 83.9, 84.6], 78.6, 88.4),
        (CNN_AUG_GAN, [100, 81.2, 78.5], [97.7, 89.0, 91.4], 85.7, 92.4),
    ],
)
def test_confusion_matrices_of_the_paper_give_its_printed_values(
    matrix, sensitivity, specificity, mean_sensitivity, mean_specificity
) -> None:  # type: ignore[no-untyped-def]
    # the paper rounds some of its printed values and cuts others: one unit of the last digit
    def printed(values):  # type: ignore[no-untyped-def]
        return pytest.approx(values, abs=0.1)

    assert 100 * sensitivities(matrix) == printed(sensitivity)
    assert 100 * specificities(matrix) == printed(specificity)
    assert 100 * weighted(sensitivities(matrix), matrix) == printed(mean_sensitivity)
    assert 100 * weighted(specificities(matrix), matrix) == printed(mean_specificity)


def test_macro_averages_differ_from_the_weighted_as_the_paper_notes() -> None:
    assert 100 * balanced_accuracy(CNN_AUG) == pytest.approx(79.7, abs=0.05)
    assert 100 * balanced_accuracy(CNN_AUG_GAN) == pytest.approx(86.6, abs=0.05)


def test_weighted_sensitivity_is_the_accuracy() -> None:
    truth, table, patients = _drawn(1)
    result = score(truth, table, patients, KEYS, resamples=50)
    assert result.accuracy.value == pytest.approx(sk.accuracy_score(truth, table.argmax(1)))


def test_agrees_with_scikit_learn() -> None:
    truth, table, patients = _drawn(2)
    predicted = table.argmax(axis=1)
    result = score(truth, table, patients, KEYS, resamples=50)
    assert (result.matrix == sk.confusion_matrix(truth, predicted)).all()
    assert result.balanced_accuracy.value == pytest.approx(
        sk.balanced_accuracy_score(truth, predicted)
    )
    for i, key in enumerate(KEYS):
        is_class, said = truth == i, predicted == i
        assert result.sensitivity[key].value == pytest.approx(sk.recall_score(is_class, said))
        assert result.specificity[key].value == pytest.approx(sk.recall_score(~is_class, ~said))
        assert result.auc[key].value == pytest.approx(sk.roc_auc_score(is_class, table[:, i]))
    assert result.auc["macro"].value == pytest.approx(
        sk.roc_auc_score(truth, table, multi_class="ovr", average="macro")
    )


def test_each_bootstrap_interval_is_that_of_the_resampled_patients() -> None:
    truth, table, patients = _drawn(3)
    result = score(truth, table, patients, KEYS, resamples=200, seed=9)
    names = sorted(set(patients))
    weights = patient_resamples(patients, 200, 9)
    areas, balanced = [], []
    for row in weights.astype(int):
        chosen = np.repeat(np.arange(len(truth)), row)
        areas.append(sk.roc_auc_score(truth[chosen] == 0, table[chosen, 0]))
        balanced.append(
            sk.recall_score(
                truth[chosen], table[chosen].argmax(1), average="macro", zero_division=0
            )
        )
    assert weights.sum() == pytest.approx(200 * len(truth), rel=0.05)
    assert len(names) == 60
    assert (result.auc["cyst"].low, result.auc["cyst"].high) == pytest.approx(
        tuple(np.quantile(areas, [0.025, 0.975]))
    )
    assert (result.balanced_accuracy.low, result.balanced_accuracy.high) == pytest.approx(
        tuple(np.quantile(balanced, [0.025, 0.975]))
    )


def test_rois_of_a_patient_are_drawn_together() -> None:
    weights = patient_resamples(["a", "b", "a", "c"], 100, 0)
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, 0] != weights[:, 1]).any()
    # three patients are drawn each time
    assert (weights[:, 0] + weights[:, 1] + weights[:, 3] == 3).all()


def test_interval_widens_when_many_rois_come_from_few_patients() -> None:
    rng = np.random.default_rng(4)
    right = np.repeat(rng.random(12) < 0.7, 10)
    truth = np.arange(120) % 2
    table = np.eye(2)[np.where(right, truth, 1 - truth)]
    alone = score(truth, table, [str(i) for i in range(120)], ("a", "b"), resamples=500)
    grouped = score(truth, table, [str(i // 10) for i in range(120)], ("a", "b"), resamples=500)
    assert grouped.accuracy.high - grouped.accuracy.low > 1.8 * (
        alone.accuracy.high - alone.accuracy.low
    )


def test_class_without_lesions_has_no_sensitivity_and_spoils_nothing() -> None:
    result = score([0, 0, 1], [[0.9, 0.1, 0], [0.2, 0.8, 0], [0.1, 0.9, 0]], list("abc"), KEYS, 50)
    assert result.sensitivity["hemangioma"].value is None
    assert result.balanced_accuracy.value == pytest.approx(0.75)
    assert result.accuracy.value == pytest.approx(2 / 3)
    assert result.to_dict()["sensitivity"]["hemangioma"]["value"] is None


@pytest.mark.parametrize(
    ("truth", "table", "patients"),
    [
        ([], np.zeros((0, 3)), []),
        ([0], [[0.1, 0.9]], ["a"]),
        ([0], [[np.nan, 0, 0]], ["a"]),
        ([0], [[1, 0, 0]], ["a", "b"]),
        ([3], [[1, 0, 0]], ["a"]),
    ],
)
def test_nonsense_is_refused(truth, table, patients) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=r"class position|probabilities|patient"):
        score(truth, table, patients, KEYS, resamples=5)


def test_confusion_refuses_lists_of_different_length() -> None:
    with pytest.raises(ValueError, match="same length"):
        confusion([0, 1], [0], 2)


def test_interval_leaves_out_resamples_without_a_value() -> None:
    interval = percentile_interval(0.5, [np.nan, 0.4, 0.6])
    assert 0.4 <= interval.low < interval.high <= 0.6
