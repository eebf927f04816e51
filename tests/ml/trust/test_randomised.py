"""Maps against those of networks that learned nothing: likeness, the check, and what it says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy

from ml.checkpoints.checkpoint import Checkpoint, shipped
from ml.checkpoints.members import parted
from ml.images import roi
from ml.phantom import series
from ml.statistics.figure import Figure
from ml.trust import randomised
from ml.trust.differentiated import LAYERS, Cnn
from ml.trust.randomised import ALIKE, Check, Likeness, Step, likeness, structural_similarity
from ml.trust.saliency import Method, Score, networks


@pytest.fixture(scope="module")
def network() -> Cnn:
    (folder,) = [one for one in shipped() if one.name == "phantom-cnn"]
    return networks(parted(Checkpoint.load(folder).weights()))[0]


@pytest.fixture(scope="module")
def rois() -> np.ndarray:
    found = []
    for index in range(4):
        image = series.patient(7_700_000, index=index).key_slice(1)
        box = image.box(1)
        assert box is not None
        found.append(roi.cut(image.hu, roi.Box(*box), image.spacing_mm, roi.AIR_HU))
    return roi.normalise(np.stack(found), roi.DEFAULT_WINDOW_HU)


def _map(seed: int) -> np.ndarray:
    return np.round(np.random.default_rng(seed).normal(0, 2, (64, 64)))  # with ties


def test_a_map_is_like_itself_and_its_strengths_like_those_of_its_reverse() -> None:
    own = _map(0)
    assert likeness(own, own) == Likeness(*[pytest.approx(1)] * 3)
    reverse = likeness(own, -own)
    assert reverse == Likeness(pytest.approx(1), pytest.approx(-1), pytest.approx(1))
    assert likeness(own, 1e-6 * own) == Likeness(*[pytest.approx(1)] * 3)  # whatever its scale


def test_rank_correlations_are_those_of_spearman() -> None:
    first, second = _map(1), 0.5 * _map(1) + _map(2)
    found = likeness(first, second)
    assert found is not None
    pairs = [(first, second, found.signed), (abs(first), abs(second), found.rank)]
    for one, other, value in pairs:
        expected = scipy.stats.spearmanr(one.ravel(), other.ravel()).statistic
        assert value == pytest.approx(expected, abs=1e-12)


def test_structural_similarity_is_that_of_its_formula() -> None:
    rng = np.random.default_rng(3)
    first, second = rng.random((11, 11)), rng.random((11, 11))
    at = np.arange(-5, 6)
    window = np.exp(-(at**2) / (2 * 1.5**2))
    window = np.outer(window, window) / window.sum() ** 2
    padded = [np.pad(one, 5, mode="symmetric") for one in (first, second)]
    found = []
    for row in range(11):
        for column in range(11):
            x, y = (one[row : row + 11, column : column + 11] for one in padded)
            mx, my = (window * x).sum(), (window * y).sum()
            vx, vy = (window * (x - mx) ** 2).sum(), (window * (y - my) ** 2).sum()
            xy = (window * (x - mx) * (y - my)).sum()
            c1, c2 = 0.01**2, 0.03**2
            found.append((2 * mx * my + c1) * (2 * xy + c2)
                         / ((mx**2 + my**2 + c1) * (vx + vy + c2)))  # fmt: skip
    assert structural_similarity(first, second) == pytest.approx(float(np.mean(found)))


def test_an_empty_map_is_compared_with_none() -> None:
    assert likeness(np.zeros((64, 64)), _map(0)) is None
    assert likeness(_map(0), np.full((64, 64), 2.0)) is None


def test_a_layer_is_made_random_as_training_begins_and_no_other_is_touched(network: Cnn) -> None:
    for layer in LAYERS:
        found = randomised.without(network, layer, [0, 0])
        known, own = network.layers[layer], found.layers[layer]
        taps = 9 if layer.startswith("conv") else 1
        most = np.sqrt(6 / (sum(known.weight.shape[:2]) * taps))
        assert np.abs(own.weight).max() <= most
        if own.weight.size > 1000:
            assert own.weight.std() == pytest.approx(most / np.sqrt(3), rel=0.05)
        assert not own.bias.any()
        assert all(found.layers[name] is network.layers[name] for name in LAYERS if name != layer)
        again = randomised.without(network, layer, [0, 0]).layers[layer].weight
        other = randomised.without(network, layer, [1, 0]).layers[layer].weight
        assert (own.weight == again).all() and not (own.weight == other).any()


def test_layers_become_random_from_the_answer_down(network: Cnn, rois: np.ndarray) -> None:
    (found,) = randomised.check(
        [network.see(rois[:1])], rois[:1], Score([0]), Method.GRADIENT, draws=1
    )
    assert found is not None
    assert [step.layers for step in found.steps] == [LAYERS[: i + 1] for i in range(5)]
    # by hand, from nothing: what the third step is
    other = network.single()
    for layer in LAYERS[:3]:
        other = randomised.without(other, layer, [0, 0, 0])
    score = Score([0])
    first, second = (
        randomised.maps([one.see(rois[:1])], rois[:1], score, Method.GRADIENT)[0]
        for one in (network, other)
    )
    assert found.steps[2].likeness == likeness(first, second)


def test_grad_cam_of_the_shipped_network_depends_on_what_it_learned(
    network: Cnn, rois: np.ndarray
) -> None:
    seen = [network.see(rois)]
    named = seen[0].logits.argmax(axis=1).tolist()
    for one in randomised.check(seen, rois, Score(named), Method.CAM):
        assert one is not None and one.passes
        assert "look otherwise" in one.sentence


def test_gradient_times_input_does_not_and_says_so(network: Cnn, rois: np.ndarray) -> None:
    seen = [network.see(rois)]
    named = seen[0].logits.argmax(axis=1).tolist()
    for one in randomised.check(seen, rois, Score(named), Method.GRADIENT):
        assert one is not None and one.passes is False
        assert one.steps[-1].likeness is not None
        assert abs(one.steps[-1].likeness.signed) < 0.2  # its signs are the network's own
        assert "says little about what was learned" in one.sentence


def test_several_networks_are_made_random_each_by_itself(network: Cnn, rois: np.ndarray) -> None:
    pair = [network.see(rois[:1])] * 2
    (twice,) = randomised.check(pair, rois[:1], Score([0]), Method.CAM, draws=2)
    (once,) = randomised.check(pair[:1], rois[:1], Score([0]), Method.CAM, draws=2)
    assert twice != once
    assert randomised.check(pair, rois[:1], Score([0]), Method.CAM, draws=2) == [twice]
    other = randomised.check(pair, rois[:1], Score([0]), Method.CAM, draws=2, seed=1)
    assert other != [twice]


def test_of_an_empty_map_there_is_no_check(network: Cnn, rois: np.ndarray) -> None:
    output = network.layers["output"]
    none = Cnn(
        {**network.layers, "output": replace(output, weight=np.zeros_like(output.weight))},
        network.mean,
    )
    assert randomised.check([none.see(rois[:2])], rois[:2], Score([0, 1]), Method.CAM, 1) == [
        None, None,
    ]  # fmt: skip


def _check(rank: float | None, empty: int = 0, lowest: float = 0.0, highest: float = 0.0) -> Check:
    told = None if rank is None else Likeness(rank, 0.0, 0.1)
    step = Step(LAYERS, told, lowest, highest, empty)
    return Check(tuple(replace(step, layers=LAYERS[: i + 1]) for i in range(5)), 6)


def test_what_is_said_of_a_check() -> None:
    passed = _check(0.1, 1, -0.2, 0.45)
    assert passed.passes is True
    assert passed.sentence == (
        "Maps of networks with random weights look otherwise (rank correlation 0.10, mean of 5 "
        "from −0.20 to 0.45; 1 more gave no map): this one depends on what was learned. That is "
        "the least that can be asked of a map."
    )
    failed = _check(ALIKE)
    assert failed.passes is False
    assert "are strong in the same places (rank correlation 0.50" in failed.sentence
    reverse = _check(-0.7)
    assert reverse.passes is False and "are its reverse" in reverse.sentence
    none = _check(None, 6)
    assert none.passes is None and "nothing to compare" in none.sentence


def test_checks_of_many_are_told_with_intervals_over_patients() -> None:
    ranks = [0.2, 0.3, 0.6, 0.1, 0.9, 0.4]
    found = randomised.of_many(
        [*map(_check, ranks), None, _check(None, 6)], Method.CAM, [*"aabbccdd"]
    )
    assert (found.n, found.n_patients, found.empty) == (8, 4, 1)
    assert found.passing.value == pytest.approx(4 / 6)
    every = randomised.of_many([_check(0.1)] * 30, Method.CAM, [str(i) for i in range(30)])
    assert every.passing.value == 1
    assert every.passing.ends is not None and 0.8 < every.passing.ends[0] < 1  # 30 prove not all
    rank = found.steps[-1].rank
    assert rank.value == pytest.approx(np.mean(ranks))
    assert rank.ends is not None
    assert 0.25 <= rank.ends[0] < rank.known < rank.ends[1] <= 0.65  # the means of the patients
    assert [one.layers for one in found.steps] == [LAYERS[: i + 1] for i in range(5)]


def test_of_maps_that_are_all_empty_nothing_is_claimed() -> None:
    found = randomised.of_many([None, None], Method.CAM, ["a", "b"])
    assert found.empty == 2
    assert isinstance(found.passing, Figure) and found.passing.value is None
    assert found.passing.note == "no map could be compared"


def test_checks_need_their_patients() -> None:
    for checks, patients in (([], []), ([None], ["a", "b"])):
        with pytest.raises(ValueError, match="needs its patient"):
            randomised.of_many(checks, Method.CAM, patients)
