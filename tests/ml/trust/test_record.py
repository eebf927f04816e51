"""What a checkpoint is trusted by: fitted, kept, read again, and said of a lesion."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ml.ground.records import RecordError, to_json
from ml.statistics import multinomial
from ml.trust.answer import Said
from ml.trust.calibration import Calibration
from ml.trust.evidence import Missing, OutOfFold, TrustError
from ml.trust.record import Seen, Trust, read_figures, untold

CLASSES = ("cyst", "metastasis", "hemangioma")


def lesions(n: int, seed: int = 0, factor: float = 3.0) -> OutOfFold:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    logits = factor * (1.5 * np.eye(3)[labels] + rng.standard_normal((n, 3)))
    return OutOfFold(logits, labels, np.arange(n), np.arange(n) // 3 % 3, CLASSES)


def said(trust: Trust, logits: list[float], foreign: str | None = None, level: float = 0.9) -> Said:
    row = np.array([logits])
    seen = Seen(row, np.zeros((1, 8)), np.array([True]), np.zeros((1, 4)), [foreign])
    return trust.said(seen, level, CLASSES)[0]


@pytest.fixture(scope="module")
def trust() -> Trust:
    return Trust.of(lesions(240), held_out_fold=2)


def test_what_is_kept_is_read_again(trust: Trust) -> None:
    figures = read_figures(json.loads(json.dumps(to_json(trust.figures))))
    again = Trust.read(figures, trust.tensors(), CLASSES)
    assert again.figures == trust.figures
    assert said(again, [2.0, 1.5, -1.0]) == said(trust, [2.0, 1.5, -1.0])


def test_nothing_is_fitted_on_the_fold_that_was_held_out(trust: Trust) -> None:
    every = lesions(240)
    assert trust.figures.fitted_on.n_lesions == np.sum(every.folds != 2)
    fitted = trust.figures.calibration
    assert isinstance(fitted, Calibration)
    assert fitted.held_out is not None
    assert fitted.held_out.n_lesions == np.sum(every.folds == 2)
    moved = every.logits + 5 * (every.folds == 2)[:, None] * np.array([1.0, 0.0, 0.0])
    other = Trust.of(
        OutOfFold(moved, every.labels, every.patients, every.folds, CLASSES), held_out_fold=2
    )
    assert said(other, [2.0, 1.5, -1.0]) == said(trust, [2.0, 1.5, -1.0])


def test_a_calibrated_answer(trust: Trust) -> None:
    found = said(trust, [6.0, 5.0, -9.0])
    assert found.calibrated
    assert found.prediction_set is not None
    assert found.prediction_set.classes == ("cyst", "metastasis")
    own = multinomial.softmax(np.array([6.0, 5.0, -9.0]))
    assert 0.5 < found.probabilities["cyst"] < own[0]
    assert sum(found.probabilities.values()) == pytest.approx(1, abs=2e-6)


def test_an_image_of_another_kind_gets_scores_and_the_reason(trust: Trust) -> None:
    found = said(trust, [6.0, 5.0, -9.0], "calibrated on phantoms")
    assert not found.calibrated
    assert found.prediction_set is None
    assert found.reasons[0] == (
        "These are scores, no probabilities, and there is no prediction set: calibrated on "
        "phantoms."
    )


def test_a_level_beyond_the_lesions_is_refused_in_words(trust: Trust) -> None:
    found = said(trust, [0.0, 0.0, 0.0], level=0.99)
    assert found.calibrated
    assert found.prediction_set is None
    assert "needs 99 calibration lesions" in found.reasons[0]
    assert [one.level for one in trust.figures.held_out_coverage] == [0.8, 0.85, 0.9, 0.95]


def test_equal_logits_leave_every_class_open(trust: Trust) -> None:
    found = said(trust, [0.0, 0.0, 0.0])
    assert found.prediction_set is not None
    assert set(found.prediction_set.classes) == set(CLASSES)


def test_too_few_lesions_give_scores_with_the_reason() -> None:
    few = Trust.of(lesions(12))
    assert isinstance(few.figures.calibration, Missing)
    found = said(few, [1.0, 0.0, 0.0])
    assert found.probabilities == untold(np.array([1.0, 0.0, 0.0]), CLASSES).probabilities
    assert "12 out-of-fold lesions: a temperature needs 30" in found.reasons[0]
    assert Trust.read(few.figures, few.tensors(), CLASSES) == few


def test_a_class_that_only_networks_without_it_scored_is_not_calibrated() -> None:
    every = lesions(240)
    held = OutOfFold(
        every.logits, every.labels, every.patients,
        np.where(every.labels == 2, 1, every.folds), CLASSES,
    )  # fmt: skip
    trust = Trust.of(held)
    assert isinstance(trust.figures.calibration, Missing)
    found = said(trust, [6.0, 5.0, -9.0])
    assert not found.calibrated and found.prediction_set is None
    assert "all lesions of class hemangioma were held out in one fold" in found.reasons[0]


def test_damage_is_refused(trust: Trust) -> None:
    with pytest.raises(TrustError, match="class cyst are missing"):
        Trust.read(trust.figures, {}, CLASSES)
    with pytest.raises(TrustError, match="Version 9"):
        read_figures({**to_json(trust.figures), "version": 9})
    with pytest.raises(RecordError):
        read_figures({"version": 1})
