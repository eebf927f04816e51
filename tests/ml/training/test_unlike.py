"""The pictures that a classifier is asked about though it was not trained on their like."""

from __future__ import annotations

import numpy as np

from ml.phantom.lesions import CLASSES
from ml.training import unlike


def test_one_patient_is_seen_in_every_way_that_has_a_name() -> None:
    pictures = unlike.of_patient(0)
    found = unlike.by_name(pictures)
    assert list(found) == [unlike.PLAIN, *unlike.UNLIKE, *unlike.SCANS]
    assert all(len(own) == 1 for own in found.values())
    assert len({one.patient for one in pictures}) == 1
    for one in pictures:
        assert one.pixels.shape == (64, 64) and one.pixels.dtype == np.float32
        assert -1 <= one.pixels.min() <= one.pixels.max() <= 1
        has_lesion = one.name == unlike.PLAIN or one.name in unlike.SCANS
        assert (one.lesion_class in range(len(CLASSES))) == has_lesion
    plain = found[unlike.PLAIN][0].pixels
    assert (found["upside-down"][0].pixels == plain[::-1]).all()
    assert (found["inverted"][0].pixels == -plain).all()
    rough = [np.diff(found[name][0].pixels).std() for name in ("noise x2", unlike.PLAIN)]
    assert rough[0] > 1.3 * rough[1]
