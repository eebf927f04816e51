"""Nearest lesions: by one network's features, in a unit that says what is far."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import kept_lesions
from ml.trust.evidence import TrustError
from ml.trust.lesions import Lesions
from ml.trust.similar import NEAREST, Space


@pytest.fixture(scope="module")
def kept() -> Lesions:
    return kept_lesions.lesions()


@pytest.fixture(scope="module")
def space(kept) -> Space:
    return Space.of(kept)


def test_a_training_lesion_lies_nearest_to_itself_and_those_of_its_class_next(kept, space):
    alike = 0
    for row in np.flatnonzero(kept.trained):
        near = space.nearest(kept.features[row], kept.trained)
        assert near[0].row == row and near[0].distance == 0
        assert [one.distance for one in near] == sorted(one.distance for one in near)
        alike += int(kept.labels[near[1].row] == kept.labels[row])
    assert alike >= 0.7 * kept.trained.sum()


def test_only_what_is_allowed_is_told_and_as_many_as_there_are(kept, space):
    allowed = np.zeros(len(kept), bool)
    allowed[[2, 5]] = True
    assert {one.row for one in space.nearest(kept.features[0], allowed)} == {2, 5}
    assert space.nearest(kept.features[0], np.zeros(len(kept), bool)) == ()
    assert len(space.nearest(kept.features[0], np.ones(len(kept), bool))) == NEAREST


def test_one_is_what_is_usual_between_a_lesion_held_out_and_the_nearest_training_lesion(kept):
    features = np.zeros((4, 2), np.float16)
    features[:, 0] = [0, 10, 12, 3]  # the last two are held out: 2 and 3 away
    small = kept_lesions.named(kept, ["a", "b", "c", "d"])
    small = replace(small, features=features, trained=np.array([True, True, False, False]))
    small = replace(small, patients=("a", "b", "c", "d"))
    space = Space.of(small)
    assert space.usual == 2.5
    near = space.nearest(np.array([5.0, 0.0]), small.trained, 1)
    assert (near[0].row, near[0].distance) == (0, 2.0)
    # where nothing was held out, between training lesions of two patients
    whole = Space.of(replace(small, trained=np.ones(4, bool)))
    assert whole.usual == 2.5
    assert "had not seen" in space.unit and "of another patient" in whole.unit


def test_features_of_another_network_are_refused(kept, space):
    with pytest.raises(TrustError, match="not those of this checkpoint, which has 256"):
        space.nearest(np.zeros(64), kept.trained)
    with pytest.raises(TrustError, match="not a finite number"):
        space.nearest(np.full(256, np.nan), kept.trained)


def test_a_network_that_tells_nothing_apart_has_no_neighbours(kept):
    with pytest.raises(TrustError, match="tells none of the lesions apart"):
        Space.of(replace(kept, features=np.ones((24, 256), np.float16)))
    with pytest.raises(TrustError, match="trained on none"):
        Space.of(replace(kept, trained=np.zeros(24, bool)))


def test_what_neighbours_are_worth_is_told_of_lesions_that_were_held_out(kept, space):
    assert space.worth.n_lesions == 9 and space.worth.nearest == NEAREST
    # all 9 are told apart by the network itself, one of them is said to be another class
    by_hand = [
        kept.labels[[one.row for one in space.nearest(kept.features[row], kept.trained)]]
        for row in np.flatnonzero(~kept.trained)
    ]
    truth = kept.labels[~kept.trained]
    shares = [(near == label).mean() for near, label in zip(by_hand, truth, strict=True)]
    assert space.worth.true == pytest.approx(np.mean(shares))
    assert Space.of(replace(kept, trained=np.ones(24, bool))).worth is None
