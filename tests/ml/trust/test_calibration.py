"""A temperature is found again, and figures say of true probabilities that they are true."""

from __future__ import annotations

import numpy as np
import pytest

from ml.statistics import multinomial
from ml.trust import calibration
from ml.trust.evidence import OutOfFold, TrustError

CLASSES = ("cyst", "metastasis", "hemangioma")


def drawn(n: int, factor: float, seed: int = 0, shift: tuple[float, ...] = (0, 0, 0)) -> OutOfFold:
    """Lesions of true probabilities softmax(z), scored with logits ``factor`` · z + shift."""
    rng = np.random.default_rng(seed)
    true = 2 * rng.standard_normal((n, 3))
    labels = (rng.random((n, 1)) > multinomial.softmax(true).cumsum(axis=1)).sum(axis=1)
    patients = np.arange(n) // 2
    return OutOfFold(factor * true + np.asarray(shift), labels, patients, patients % 3, CLASSES)


def test_a_temperature_is_found_again() -> None:
    found, probabilities = calibration.fitted(drawn(900, 3.0))
    assert found.temperature == pytest.approx(3.0, rel=0.15)
    assert found.before.slope.known == pytest.approx(1 / 3, abs=0.06)
    low, high = found.after.slope.ends or (0, 0)
    assert low < 1 < high
    assert found.after.error.known < 0.06 < found.before.error.known
    assert found.after.brier.known < found.before.brier.known
    assert probabilities.sum(axis=1) == pytest.approx(1)


def test_vector_scaling_takes_a_shift_away_that_a_temperature_cannot() -> None:
    found, _ = calibration.fitted(drawn(900, 1.0, shift=(1.0, 0.0, -1.0)))
    assert found.vector.log_loss.known < found.after.log_loss.known - 0.02
    assert found.after.intercepts["cyst"].known < -0.5  # named too often


def test_true_probabilities_are_told_as_true_in_most_data_sets() -> None:
    inside = 0
    for seed in range(30):
        found = drawn(120, 1.0, seed)
        told = calibration.reliability(
            multinomial.softmax(found.logits), found.labels, found.patients, CLASSES, seed
        )
        low, high = told.slope.ends or (0, 0)
        inside += low < 1 < high
    assert inside >= 25  # of 28.5 expected at 95 %


def test_the_call_is_never_another_one() -> None:
    lesions = drawn(200, 2.0)
    found, _ = calibration.fitted(lesions)
    assert (
        found.probabilities(lesions.logits).argmax(axis=1) == lesions.logits.argmax(axis=1)
    ).all()


@pytest.mark.parametrize("classes", [2, 9])
def test_other_schemes(classes: int) -> None:
    rng = np.random.default_rng(1)
    labels = np.arange(270) % classes
    logits = 4 * (np.eye(classes)[labels] + 0.6 * rng.standard_normal((270, classes)))
    keys = tuple(f"class-{i}" for i in range(classes))
    lesions = OutOfFold(logits, labels, np.arange(270), np.arange(270) % 4, keys)
    found, _ = calibration.fitted(lesions)
    assert set(found.after.intercepts) == set(keys)
    assert sum(one.known for one in found.after.intercepts.values()) == pytest.approx(0, abs=1e-9)


def test_lesions_that_are_all_called_rightly_have_no_slope_and_a_bounded_temperature() -> None:
    labels = np.arange(90) % 3
    lesions = OutOfFold(np.eye(3)[labels], labels, np.arange(90), np.arange(90) % 3, CLASSES)
    found, _ = calibration.fitted(lesions)
    assert found.temperature == calibration.COOLEST
    assert found.before.slope.value is None
    assert "no slope" in (found.before.slope.note or "")


@pytest.mark.parametrize(("scale", "words"), [(60, "too extreme"), (-3, "wrong"), (0.05, "alike")])
def test_numbers_that_no_temperature_within_the_bounds_mends_are_no_probabilities(
    scale: float, words: str
) -> None:
    lesions = drawn(300, 1.0)
    off = OutOfFold(
        scale * lesions.logits, lesions.labels, lesions.patients, lesions.folds, CLASSES
    )
    with pytest.raises(TrustError, match=words):
        calibration.fitted(off)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda one: one.only(np.arange(300) < 20), "needs 30"),
        (lambda one: one.only(one.labels != 0), "no out-of-fold lesion is of class cyst"),
        (lambda one: one.only(one.folds == 0), "one fold"),
        (
            lambda one: OutOfFold(np.zeros((300, 3)), one.labels, one.patients, one.folds, CLASSES),
            "the same of every lesion",
        ),
    ],
)
def test_what_cannot_be_calibrated_is_said(change, words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(TrustError, match=words):
        calibration.fitted(change(drawn(300, 2.0)))


def test_a_patient_in_two_folds_is_refused() -> None:
    with pytest.raises(TrustError, match="two folds"):
        OutOfFold(
            np.zeros((2, 2)), np.array([0, 1]), np.array([5, 5]), np.array([0, 1]), ("a", "b")
        )
