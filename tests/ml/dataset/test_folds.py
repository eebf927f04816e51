"""Folds: no patient is on both sides, no synthetic ROI is a test, classes are balanced."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ml.config import EXPERIMENTS, Split
from ml.dataset.folds import (
    Fold,
    FoldError,
    LeakageError,
    Part,
    folds_of,
    given,
    inner_of,
    patient_folds,
)
from ml.dataset.manifest import Line, Manifest
from ml.images.roi import Box
from ml.lesion import LIVER, LesionClass, LesionScheme

TWO = LesionScheme("two", (LesionClass("a", "a"), LesionClass("b", "b")))


def _line(i: int, lesion_class: str, patient: str, source: str = "phantom") -> Line:
    return Line(
        id=f"{i:04d}",
        file=f"contexts/{i:04d}.npy",
        lesion_class=lesion_class,
        patient=patient,
        source=source,
        box=Box(20, 20, 10, 10),
        spacing_mm=(0.7, 0.7),
        diameter_mm=7.0,
        seed=None,
        sha256="0" * 64,
    )


def _manifest(entries: list[tuple[str, str]], scheme: LesionScheme = LIVER) -> Manifest:
    lines = tuple(_line(i, key, patient) for i, (key, patient) in enumerate(entries))
    return Manifest("test", scheme, "phantom", lines, Path())


def _liver(seed: int) -> Manifest:
    """The paper's 53, 64, 65 lesions over patients with one to five."""
    rng = np.random.default_rng(seed)
    keys = ["cyst"] * 53 + ["metastasis"] * 64 + ["hemangioma"] * 65
    rng.shuffle(keys)
    patients = np.repeat(np.arange(182), rng.integers(1, 6, 182))[:182]
    return _manifest([(key, f"p{patient}") for key, patient in zip(keys, patients, strict=True)])


def _told(words: str) -> Manifest:
    """Two lesions a word: of a patient each, with that word in the column split."""
    made = _manifest([(LIVER.keys[i % 3], f"p{i}") for i in range(3 * len(words.split()))])
    lines = tuple(
        replace(line, groups={"split": words.split()[i // 3]}) for i, line in enumerate(made.lines)
    )
    return replace(made, lines=lines)


def test_a_split_that_the_data_set_names_is_taken_as_it_is() -> None:
    manifest = _told("train train Training val test test")
    fold, inner = given(manifest)
    assert [line.id for line in fold.train] == [line.id for line in manifest.lines[:12]]
    assert [line.id for line in fold.test] == [line.id for line in manifest.lines[12:]]
    assert inner is not None and not inner.test.patients & fold.test.patients
    assert [line.id for line in inner.test] == [line.id for line in manifest.lines[9:12]]
    fixed = replace(EXPERIMENTS["quick"], split=Split.GIVEN)
    assert folds_of(manifest, fixed, 0) == folds_of(manifest, fixed, 1) == (fold,)
    assert inner_of(manifest, fixed, 0, fold) == inner
    assert len(folds_of(manifest, EXPERIMENTS["quick"], 0)) == 3


def test_without_a_validation_part_one_is_made_of_training_patients() -> None:
    manifest = _told("train train train train test")
    fixed = replace(EXPERIMENTS["quick"], split=Split.GIVEN, validation_parts=2)
    [fold] = folds_of(manifest, fixed, 0)
    inner = inner_of(manifest, fixed, 0, fold)
    assert inner.test.patients < fold.train.patients
    assert inner.train.patients | inner.test.patients == fold.train.patients


@pytest.mark.parametrize(
    ("words", "changed", "refusal"),
    [
        ("train train", {}, "names no split of its own"),
        ("train site-b test", {}, "names no split of its own"),
        ("train train test", {"patient": "p0"}, "does not keep patients apart: Patient 'p0'"),
        ("train val test", {"lesion_class": "cyst"}, "'hemangioma' the column split has no lesion"),
    ],
)
def test_a_split_that_tests_on_what_trains_or_lacks_a_class_is_refused(
    words: str, changed: dict[str, str], refusal: str
) -> None:
    manifest = _told(words)
    lines = (*manifest.lines[:-1], replace(manifest.lines[-1], **changed))
    with pytest.raises((FoldError, LeakageError), match=refusal):
        given(replace(manifest, lines=lines))


def test_patient_on_both_sides_is_refused() -> None:
    train = Part((_line(0, "cyst", "p1"), _line(1, "cyst", "p2")))
    test = Part((_line(2, "cyst", "p2"),))
    with pytest.raises(LeakageError, match="'p2' is in training and in test"):
        Fold(0, LIVER, train, test)


def test_synthetic_roi_in_the_test_set_is_refused() -> None:
    synthetic = Part((_line(1, "cyst", "g", "synthetic"),))
    with pytest.raises(LeakageError, match=r"0001 in the test set.*synthetic"):
        Fold(0, LIVER, Part((_line(0, "cyst", "p"),)), synthetic)


def test_synthetic_rois_cannot_be_split_into_folds() -> None:
    manifest = _liver(0)
    lines = (*manifest.lines, _line(999, "cyst", "g", "synthetic"))
    with pytest.raises(LeakageError, match="0999 is synthetic"):
        patient_folds(replace(manifest, lines=lines), 3, 0)


def test_synthetic_rois_may_join_training_alone() -> None:
    fold = patient_folds(_liver(0), 3, 0)[0]
    more = Part((*fold.train, _line(999, "cyst", "g", "synthetic")))
    assert len(Fold(0, LIVER, more, fold.test).train) == len(fold.train) + 1
    with pytest.raises(LeakageError):
        Fold(0, LIVER, fold.train, Part((*fold.test, _line(9, "cyst", "g", "synthetic"))))


@pytest.mark.parametrize("patients", [1, 2])
def test_fewer_patients_than_folds_are_refused(patients: int) -> None:
    entries = [(key, f"p{i % patients}") for i, key in enumerate(LIVER.keys * 4)]
    with pytest.raises(FoldError, match=f"{patients} patient"):
        patient_folds(_manifest(entries), 3, 0)


def test_one_fold_is_no_split() -> None:
    with pytest.raises(FoldError):
        patient_folds(_liver(0), 1, 0)


def test_class_without_lesions_is_refused() -> None:
    with pytest.raises(FoldError, match="'hemangioma' has no lesion"):
        patient_folds(
            _manifest([("cyst", f"p{i}") for i in range(5)] + [("metastasis", "q")]), 2, 0
        )


def test_class_of_a_single_patient_is_refused_because_nothing_would_train_it() -> None:
    entries = [("a", f"p{i}") for i in range(6)] + [("b", "q"), ("b", "q")]
    with pytest.raises(FoldError, match="'b' fall into fold"):
        patient_folds(_manifest(entries, TWO), 3, 0)


@pytest.mark.parametrize("seed", range(5))
def test_every_lesion_tests_once_and_no_patient_trains_and_tests(seed: int) -> None:
    manifest = _liver(seed)
    folds = patient_folds(manifest, 3, seed)
    tested = Counter(line.id for fold in folds for line in fold.test)
    assert set(tested.values()) == {1}
    assert len(tested) == 182
    for fold in folds:
        assert not fold.train.patients & fold.test.patients
        assert len(fold.train) + len(fold.test) == 182


@pytest.mark.parametrize("seed", range(5))
def test_folds_hold_near_equal_shares_of_every_class(seed: int) -> None:
    for fold in patient_folds(_liver(seed), 3, seed):
        for key, number in zip(LIVER.keys, (53, 64, 65), strict=True):
            assert abs(len(fold.test.only(key)) - number / 3) <= 3


def test_folds_follow_from_the_seed_and_not_from_the_order_of_lines() -> None:
    manifest = _liver(1)
    turned = replace(manifest, lines=tuple(reversed(manifest.lines)))

    def split(source: Manifest, seed: int) -> list[frozenset[str]]:
        return [fold.test.patients for fold in patient_folds(source, 3, seed)]

    assert split(manifest, 0) == split(turned, 0)
    assert split(manifest, 0) != split(manifest, 1)


def test_as_many_patients_as_folds_fill_every_fold() -> None:
    entries = [("a", "p"), ("b", "p"), ("a", "q"), ("b", "q"), ("a", "r"), ("b", "r")]
    folds = patient_folds(_manifest(entries, TWO), 3, 0)
    assert all(len(fold.test.patients) == 1 for fold in folds)


def test_validation_part_is_taken_from_training_patients_alone() -> None:
    fold = patient_folds(_liver(2), 3, 0)[0]
    inner = fold.validation(4, 0)
    assert inner.train.patients | inner.test.patients == fold.train.patients
    assert not inner.test.patients & fold.test.patients
