"""A classifier tried on a site's own lesions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ml.statistics import classification, exact
from ml.trust import calibration, conformal
from ml.trust.evidence import names
from ml.trust.local import LEAST, LEAST_CALIBRATED, RESAMPLES, Known, LocalTest, share

KEYS = ("cyst", "metastasis", "hemangioma")


def known(n: int, *, right: float = 2.0, seed: int = 0, per_patient: int = 1) -> Known:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    logits = rng.normal(size=(n, 3))
    logits[np.arange(n), labels] += right
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    inside = chances > 0.1
    inside[np.arange(n), chances.argmax(axis=1)] = True
    return Known(
        labels, chances, np.arange(n) // per_patient, np.ones(n, bool), np.full(n, 0.9), inside,
        KEYS,
    )  # fmt: skip


def test_the_figures_are_those_of_the_functions_that_made_the_card():
    lesions = known(150)
    found = LocalTest.of(lesions, seed=4)
    score = classification.score(
        lesions.labels, lesions.probabilities, names(lesions.patients), KEYS, RESAMPLES, 4
    )
    assert found.balanced_accuracy.value == score.balanced_accuracy.value
    assert found.balanced_accuracy.ends == score.balanced_accuracy.ends
    assert found.auc["cyst"].ends == score.auc["cyst"].ends
    told = calibration.reliability(lesions.probabilities, lesions.labels, lesions.patients, KEYS, 4)
    assert found.believed.slope.ends == told.slope.ends
    [covered] = found.coverage
    assert covered == conformal.coverage(lesions.inside, lesions.labels, KEYS, 0.9)


def test_every_figure_says_of_how_many_lesions_it_is():
    found = LocalTest.of(known(150))
    assert found.accuracy.n == found.auc["cyst"].n == found.believed.slope.n == 150
    assert found.sensitivity["cyst"].n == 50
    assert found.specificity["cyst"].n == 100


def test_of_nobody_nothing_is_said():
    found = LocalTest.of(known(0))
    assert found.n_patients == 0
    assert found.accuracy.note == f"too few: 0 patients, and {LEAST} are needed"
    assert found.coverage == ()
    assert found.believed.error_by_chance is None


@pytest.mark.parametrize("n", [LEAST - 1, LEAST])
def test_a_share_needs_its_patients(n):
    found = LocalTest.of(known(n))
    assert (found.accuracy.value is None) == (n < LEAST)
    # of fewer altogether not even how many there are of a class
    count = n if n < LEAST else -(-n // 3)
    assert found.sensitivity["cyst"].note == f"too few: {count} patients, and 20 are needed"
    assert bool(found.lesions_of_class) == bool(found.patients_of_class) == (n >= LEAST)
    assert found.coverage[0].by_class["cyst"].note.startswith(f"too few: {count} patients")
    assert found.coverage[0].by_class["cyst"].value is None


def test_patients_count_and_not_their_lesions():
    found = LocalTest.of(known(4 * (LEAST - 1), per_patient=4))
    assert found.n_lesions == 76
    assert found.accuracy.note == f"too few: {LEAST - 1} patients, and {LEAST} are needed"


def test_a_mean_over_classes_needs_some_patients_of_each():
    lesions = known(90)
    few = lesions.only((lesions.labels != 1) | (np.arange(90) < 12))
    found = LocalTest.of(few)
    assert found.accuracy.value is not None
    assert found.balanced_accuracy.note == "too few: 4 patients of metastasis, and 5 are needed"
    assert found.auc["metastasis"].note == "too few: 4 patients, and 20 are needed"


def test_a_class_without_any_lesion_leaves_probabilities_unjudged():
    lesions = known(120)
    found = LocalTest.of(lesions.only(lesions.labels != 2))
    assert found.believed.slope.value is None
    assert found.believed.slope.note == "no lesion of class hemangioma"


def test_scores_are_not_judged_as_probabilities():
    lesions = replace(known(150), calibrated=np.arange(150) < LEAST_CALIBRATED - 1)
    found = LocalTest.of(lesions)
    assert found.accuracy.value is not None
    assert found.believed.n_lesions == LEAST_CALIBRATED - 1
    assert found.believed.slope.note == "too few: 29 patients, and 30 are needed"


def test_sets_of_different_levels_are_judged_apart():
    lesions = replace(known(150), levels=np.where(np.arange(150) < 75, 0.8, 0.9))
    lesions.levels[:10] = np.nan
    assert [(one.level, one.overall.n) for one in LocalTest.of(lesions).coverage] == [
        (0.8, 65), (0.9, 75),
    ]  # fmt: skip


def test_the_interval_of_a_share_covers_where_patients_have_lesions_alike():
    rng = np.random.default_rng(7)
    covered, tries, chance = 0, 400, 0.8
    for _ in range(tries):
        patients = np.repeat(np.arange(40), 3)
        alike = rng.random(40) < 0.7  # in most patients all lesions fare alike
        of_patient = rng.random(40) < chance
        hits = np.where(alike[patients], of_patient[patients], rng.random(120) < chance)
        low, high = share(hits, patients).ends or (0.0, 1.0)
        covered += low <= chance <= high
    assert covered / tries >= 0.95


def test_a_share_of_nobody_has_no_value():
    none = np.zeros(0, bool)
    assert exact.share(none, np.zeros(0, np.int64)).note == "no lesion"
