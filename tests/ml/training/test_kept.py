"""What is kept of a data set's lesions: of patients neither a name nor a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trust_lesions
from ml.dataset.manifest import Manifest
from ml.images.ct_slice import ImageKind
from ml.lesion import LIVER
from ml.statistics import multinomial
from ml.training.kept import kept
from ml.trust import calibration
from ml.trust.evidence import OutOfFold, TrustError, numbered
from ml.trust.lesions import NO_PICTURES, Lesions
from ml.trust.record import Trust


class _Made:
    """A data set whose ROIs are at hand."""

    def __init__(self, kind: ImageKind, each: int) -> None:
        self.of = trust_lesions.lesions(each)
        lines: Any = tuple(map(self.line, range(len(self.of.labels))))
        self.manifest = Manifest("made", LIVER, kind, lines, root=Path())
        rng = np.random.default_rng(1)
        logits = 2 * np.eye(3)[self.of.labels] + rng.normal(0, 1.5, (len(lines), 3))
        patients = numbered(self.of.patients)
        self.lesions = OutOfFold(
            logits, self.of.labels, patients, patients % 3, trust_lesions.CLASSES
        )

    def line(self, row: int) -> Any:
        class Line:
            id, patient = f"{row + 1:04}", f"Miller^{self.of.patients[row]}"

        return Line

    def kept(self, scale: float = 1.0) -> Lesions:
        features = scale * np.arange(len(self.of.labels) * 4, dtype=np.float32).reshape(-1, 4)
        return kept(
            self.manifest, self.of.rois, self.lesions, Trust.of(self.lesions, 0),
            self.lesions.folds != 0, features, self.of.measured,
        )  # fmt: skip


def test_simulated_patients_keep_their_names_and_their_lesions_a_picture():
    found = _Made(ImageKind.PHANTOM, 12).kept()
    assert found.patients[0] == "Miller^0-0" and len(found.pictures) == 36
    assert found.no_pictures == ""


@pytest.mark.parametrize("kind", [ImageKind.CALIBRATED, ImageKind.UNCALIBRATED])
def test_patients_are_numbered_and_have_no_pictures(kind):
    made = _Made(kind, 12)
    found = made.kept()
    assert found.pictures == () and found.no_pictures == NO_PICTURES
    assert "Miller" not in str(found.patients) + found.tensors()["names"].tobytes().decode()
    # lesions of one patient stay together, those of two apart
    pairs = set(zip(made.of.patients, found.patients, strict=True))
    assert len(pairs) == len(set(made.of.patients)) == len(set(found.patients))


def test_what_was_said_is_calibrated_by_the_other_folds():
    made = _Made(ImageKind.PHANTOM, 40)
    found = made.kept()
    assert found.calibrated and found.record().calibrated
    assert np.allclose(found.said, calibration.cross_fitted(made.lesions), atol=1e-6)
    assert not np.allclose(found.said, multinomial.softmax(made.lesions.logits), atol=1e-2)


def test_of_too_few_lesions_for_a_temperature_they_are_scores():
    made = _Made(ImageKind.PHANTOM, 3)
    found = made.kept()
    assert not found.calibrated and not found.record().calibrated
    assert np.allclose(found.said, multinomial.softmax(made.lesions.logits), atol=1e-6)


def test_features_too_large_for_half_precision_are_refused():
    with pytest.raises(TrustError, match="half precision"):
        _Made(ImageKind.PHANTOM, 12).kept(scale=1e5)
