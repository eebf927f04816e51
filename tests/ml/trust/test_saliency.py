"""What moves a score: the network in NumPy against torch, and both maps against torch's own way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import scipy
import torch
from torch.nn import functional

from ml.checkpoints import serving
from ml.checkpoints.checkpoint import shipped
from ml.checkpoints.members import Ensemble, joined, parted
from ml.statistics.multinomial import softmax
from ml.training import runtime
from ml.training.networks import export
from ml.training.networks.cnn import Cnn
from ml.trust.differentiated import SaliencyError, centres
from ml.trust.saliency import Method, Score, maps, networks, refuse_other, together


def _network(seed: int, classes: int = 3, width: int = 4, mean: float = 0.4) -> Cnn:
    torch.manual_seed(seed)
    made = Cnn(classes, mean=mean, features=16, width=width)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0, 0.1)  # training leaves none at 0
    return made.double().eval()


def _rois(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (n, 64, 64)).astype(np.float32)


def _ours(*members: Cnn) -> tuple:
    return networks([runtime.arrays(one) for one in members])


def _log_odds(members: Sequence[Cnn], x: torch.Tensor, of: Sequence[int], temperature: float):
    """As the page's number is made: mean logits, temperature, log odds; (n,)."""
    logits = torch.stack([one(x) for one in members]).mean(0)
    p = (logits / temperature).softmax(1)[torch.arange(len(x)), torch.tensor(of)]
    return (p / (1 - p)).log()


@pytest.mark.parametrize("classes, width", [(2, 1), (3, 4), (9, 3)])
def test_it_computes_what_the_trained_network_computes(classes: int, width: int) -> None:
    torches, rois = _network(1, classes, width), _rois(3)
    (ours,) = _ours(torches)
    with torch.no_grad():
        expected = torches(torch.tensor(rois, dtype=torch.float64)[:, None]).numpy()
    assert np.allclose(ours.see(rois).logits, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("seeds", [(1,), (1, 2, 3)])
def test_gradient_times_input_is_what_autograd_gives(
    seeds: tuple[int, ...], temperature: float
) -> None:
    # one network and three, each with a mean of its own
    members = [_network(seed, mean=0.3 + seed / 20) for seed in seeds]
    rois, of = _rois(4), [0, 1, 2, 1]
    x = torch.tensor(rois, dtype=torch.float64)[:, None]
    parts = []
    for own in members:  # each network's own gradient meets its own mean
        seen = x.clone().requires_grad_()
        others = [one(x).detach() for one in members if one is not own]
        logits = torch.stack([own(seen), *others]).mean(0)
        p = (logits / temperature).softmax(1)[torch.arange(4), torch.tensor(of)]
        (p / (1 - p)).log().sum().backward()
        parts.append(seen.grad * (x - (2 * own.mean - 1)))
    expected = torch.stack(parts).sum(0)[:, 0].numpy()
    ours = _ours(*members)
    found = maps([one.see(rois) for one in ours], rois, Score(of, temperature), Method.GRADIENT)
    assert np.abs(found - expected).max() < 1e-9 * np.abs(expected).max()


def test_it_is_the_slope_of_the_log_odds_that_are_shown() -> None:
    members, rois = [_network(4, mean=0.5), _network(5, mean=0.5)], _rois(1)
    ours = _ours(*members)
    seen = [one.see(rois) for one in ours]
    found = maps(seen, rois, Score([2], 1.7), Method.GRADIENT)[0]
    step = 1e-6
    for row, column in [(5, 9), (31, 31), (40, 12), (60, 60), (20, 50), (33, 30)]:
        values = []
        for sign in (1, -1):
            x = torch.tensor(rois, dtype=torch.float64)[:, None]
            x[0, 0, row, column] += sign * step
            with torch.no_grad():
                values.append(_log_odds(members, x, [2], 1.7).item())
        slope = (values[0] - values[1]) / (2 * step)
        expected = slope * rois[0, row, column]  # a mean of 0.5 is a grey of 0
        assert found[row, column] == pytest.approx(expected, rel=1e-4, abs=1e-9)


def test_grad_cam_is_what_torch_gives_of_the_served_order() -> None:
    members, rois, of = [_network(6), _network(7)], _rois(3), [2, 0, 1]
    places, activations = [], []
    x = torch.tensor(rois, dtype=torch.float64)[:, None]
    for one in members:
        seen = (x + 1) / 2 - one.mean
        for conv in (one.conv1, one.conv2):
            seen = functional.max_pool2d(torch.relu(conv(seen)), 2)
        last = torch.relu(one.conv3(seen)).detach().requires_grad_()
        activations.append(last)
    logits = [
        one.output(torch.relu(one.dense(functional.max_pool2d(last, 2).flatten(1))))
        for one, last in zip(members, activations, strict=True)
    ]
    p = torch.stack(logits).mean(0).softmax(1)[torch.arange(3), torch.tensor(of)]
    (p / (1 - p)).log().sum().backward()
    for last in activations:
        weight = last.grad.mean((2, 3), keepdim=True)
        places.append((weight * last.detach()).sum(1))
    cam = torch.relu(torch.stack(places).sum(0)).numpy()
    # a place u of 12 lies at 8.5 + 4 u pixels
    at = np.clip((np.arange(64) - 8.5) / 4, 0, 11)
    where = np.stack(np.meshgrid(at, at, indexing="ij"))
    expected = [scipy.ndimage.map_coordinates(one, where, order=1) for one in cam]
    found = maps([one.see(rois) for one in _ours(*members)], rois, Score(of), Method.CAM)
    assert found.max() > 0
    assert np.abs(found - expected).max() < 1e-9 * found.max()


def test_a_place_lies_in_the_middle_of_the_pixels_that_it_sees() -> None:
    torches = _network(8)
    reached = np.zeros((64, 64))
    for seed in range(12):  # which of four is the largest differs
        x = torch.tensor(_rois(1, seed), dtype=torch.float64)[:, None].requires_grad_()
        seen = (x + 1) / 2 - torches.mean
        for conv in (torches.conv1, torches.conv2):
            seen = functional.max_pool2d(conv(seen), 2)
        torches.conv3(seen)[0, :, 5, 7].sum().backward()
        reached += np.abs(x.grad[0, 0].numpy())
    rows, columns = np.flatnonzero(reached.any(1)), np.flatnonzero(reached.any(0))
    assert (rows.min() + rows.max()) / 2 == centres()[5]
    assert (columns.min() + columns.max()) / 2 == centres()[7]
    assert rows.max() - rows.min() + 1 == 18


def test_of_two_classes_the_one_map_is_the_other_with_its_sign_turned() -> None:
    (ours,) = _ours(_network(9, classes=2))
    rois = _rois(1)
    first, second = (maps([ours.see(rois)], rois, Score([i]), Method.GRADIENT)[0] for i in range(2))
    assert np.allclose(first, -second)


def test_a_score_that_is_as_good_as_certain_still_has_a_map() -> None:
    certain = _network(10)
    with torch.no_grad():
        certain.output.bias[0] = 60.0
    rois = _rois(1)
    seen = [one.see(rois) for one in _ours(certain)]
    assert softmax(together(seen))[0, 0] == 1
    found = maps(seen, rois, Score([0]), Method.GRADIENT)
    assert np.isfinite(found).all() and np.abs(found).max() > 1e-4


# -- which network ---------------------------------------------------------------------------------


def _shipped() -> serving.Classifier:
    (folder,) = [one for one in shipped() if one.name == "phantom-cnn"]
    found = serving.load(folder)
    assert isinstance(found, serving.Classifier)
    return found


def test_the_shipped_network_is_known_again_whatever_it_is_shown() -> None:
    served = _shipped()
    ours = networks(parted(served.meta.weights()))
    rois = np.concatenate([_rois(6), np.full((1, 64, 64), -1, np.float32), np.ones((1, 64, 64))])
    outputs = served.outputs(rois.astype(np.float32))
    seen = [one.see(rois) for one in ours]
    refuse_other(seen, outputs.logits)
    assert np.abs(softmax(together(seen)) - outputs.probabilities).max() < 1e-5


def test_an_ensemble_is_known_again_by_its_mean() -> None:
    members = [runtime.arrays(_network(seed).float()) for seed in (11, 12, 13)]
    meta = replace(_shipped().meta, ensemble=Ensemble(3), trust=None)
    outputs = serving.Classifier(export.ensemble(members, 3), meta).outputs(_rois(4))
    own = networks(parted(joined(members)))
    refuse_other([one.see(_rois(4)) for one in own], outputs.logits)
    with pytest.raises(SaliencyError, match="a map would be of another one"):
        refuse_other([one.see(_rois(4)) for one in own[:2]], outputs.logits)


def test_another_network_than_the_one_that_serves_is_refused() -> None:
    served, rois = _shipped(), _rois(1)
    first, *others = parted(served.meta.weights())
    first["conv1.bias"] = first["conv1.bias"] + np.float32(0.01)  # so little is enough
    changed = networks([first, *others])
    with pytest.raises(SaliencyError, match="a map would be of another one"):
        refuse_other([one.see(rois) for one in changed], served.outputs(rois).logits)
    (two,) = _ours(_network(1, classes=2))
    with pytest.raises(SaliencyError, match="a map would be of another one"):
        refuse_other([two.see(rois)], served.outputs(rois).logits)
    own = networks(parted(served.meta.weights()))
    with pytest.raises(SaliencyError, match="a map would be of another one"):
        refuse_other([one.see(rois) for one in own], np.full((1, 3), np.nan))


def _changed(name: str, to: np.ndarray | None) -> dict[str, np.ndarray]:
    tensors = dict(runtime.arrays(_network(1)))
    if to is None:
        del tensors[name]
    else:
        tensors[name] = to
    return tensors


@pytest.mark.parametrize(
    "tensors, words",
    [
        ({}, "other layers"),
        ({"conv1.weight": np.zeros((4, 1, 3, 3))}, "other layers: conv1.bias"),
        (_changed("dense.bias", None), "other layers: dense.bias"),
        (_changed("conv4.weight", np.zeros(3)), "other layers: conv4.weight"),
        (_changed("conv2.weight", np.zeros((8, 4, 5, 5))), "other sizes"),
        (_changed("dense.weight", np.zeros((16, 100))), "other sizes"),
        (_changed("mean", np.zeros(2)), "other sizes"),
        (_changed("mean", np.array([np.nan])), "no finite number"),
    ],
)
def test_a_network_that_is_not_ours_is_refused_in_words(
    tensors: dict[str, np.ndarray], words: str
) -> None:
    with pytest.raises(SaliencyError, match=words):
        networks([tensors])


def test_networks_that_do_not_belong_together_are_refused() -> None:
    for members in ([], [_network(1), _network(1, classes=2)]):
        with pytest.raises(SaliencyError, match="have the same classes"):
            _ours(*members)


@pytest.mark.parametrize(
    "rois, words",
    [
        (np.zeros((64, 64)), "not \\(64, 64\\)"),
        (np.zeros((1, 32, 32)), "not \\(1, 32, 32\\)"),
        (np.zeros((0, 64, 64)), "n at least 1"),
        (np.full((1, 64, 64), np.inf), "not a finite number"),
    ],
)
def test_what_is_no_roi_is_refused(rois: np.ndarray, words: str) -> None:
    with pytest.raises(SaliencyError, match=words):
        _ours(_network(1))[0].see(rois)


@pytest.mark.parametrize("position, method", list(product([-1, 3], Method)))
def test_a_score_that_there_is_not_is_refused(position: int, method: Method) -> None:
    rois = _rois(1)
    with pytest.raises(SaliencyError, match="there is no such score"):
        maps([_ours(_network(1))[0].see(rois)], rois, Score([position]), method)


def test_of_one_class_nothing_moves_the_score() -> None:
    rois = _rois(1)
    with pytest.raises(SaliencyError, match="of one class"):
        maps([_ours(_network(1, classes=1))[0].see(rois)], rois, Score([0]), Method.CAM)
