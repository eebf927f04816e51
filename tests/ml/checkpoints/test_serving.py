"""Serving refuses bad input, agrees with torch, and draws an image from its seed alone."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from ml.checkpoints.checkpoint import Checkpoint, CheckpointError
from ml.checkpoints.metrics import ClassifierMetrics
from ml.checkpoints.serving import Classifier, Generator, latent
from ml.lesion import LIVER, LesionClass, LesionScheme
from ml.training import runtime
from ml.training.networks import export
from ml.training.networks.cnn import Cnn
from ml.training.networks.dcgan import Generator as Network

META = Checkpoint(
    name="tiny",
    kind="classifier",
    scheme=LIVER,
    lesion_class=None,
    window_hu=(-150.0, 250.0),
    training_kind="phantom",
    dataset_digest="d",
    commit="c",
    config={},
    metrics=ClassifierMetrics(),
)
DRAWS = replace(META, kind="generator", lesion_class="cyst", latent_size=12)


@pytest.fixture(scope="module")
def network() -> Cnn:
    torch.manual_seed(0)
    return Cnn(3, mean=0.4).eval()


@pytest.fixture(scope="module")
def classifier(network: Cnn) -> Classifier:
    return Classifier(export.classifier(runtime.arrays(network)), META)


@pytest.fixture(scope="module")
def generator() -> Generator:
    torch.manual_seed(0)
    made = Network(6, latent=12)
    for up in made.ups:
        up.weight.data *= 8
    return Generator(export.generator(runtime.arrays(made.eval())), DRAWS)


def _rois(count: int) -> np.ndarray:
    return np.random.default_rng(count).uniform(-1, 1, (count, 64, 64)).astype(np.float32)


@pytest.mark.parametrize("shape", [(64, 64), (0, 64, 64), (1, 32, 32), (1, 1, 64, 64)])
def test_rois_of_another_shape_are_refused(classifier: Classifier, shape: tuple[int, ...]) -> None:
    with pytest.raises(CheckpointError, match="must be"):
        classifier.probabilities(np.zeros(shape, np.float32))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_roi_that_is_not_finite_is_refused(classifier: Classifier, value: float) -> None:
    rois = _rois(2)
    rois[1, 5, 5] = value
    with pytest.raises(CheckpointError, match="finite"):
        classifier.probabilities(rois)


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, "7", None, True])
def test_seed_out_of_range_is_refused(generator: Generator, seed: object) -> None:
    with pytest.raises(CheckpointError, match="seed"):
        generator.draw([seed])  # type: ignore[list-item]


@pytest.mark.parametrize("truncation", [0, -1, 1.01, float("nan")])
def test_truncation_out_of_range_is_refused(generator: Generator, truncation: float) -> None:
    with pytest.raises(CheckpointError, match="truncation"):
        generator.draw([1], truncation)


def test_damaged_network_is_refused() -> None:
    with pytest.raises(CheckpointError, match="cannot be used"):
        Classifier(b"no network", META)


def test_checkpoint_of_the_other_kind_is_refused(network: Cnn) -> None:
    onnx = export.classifier(runtime.arrays(network))
    with pytest.raises(CheckpointError, match="not a classifier"):
        Classifier(onnx, DRAWS)
    with pytest.raises(CheckpointError, match="not a generator"):
        Generator(onnx, META)


def test_network_with_another_number_of_classes_is_refused() -> None:
    onnx = export.classifier(runtime.arrays(Cnn(2)))
    with pytest.raises(CheckpointError, match="2 outputs for 3 classes"):
        Classifier(onnx, META)


def test_cnn_is_the_papers() -> None:
    network = Cnn(3)
    assert sum(parameter.numel() for parameter in network.parameters()) == 1_273_347
    assert network.dense.in_features == 6 * 6 * 128


@pytest.mark.parametrize("count", [1, 5, 64, 200])
def test_onnx_of_the_classifier_agrees_with_torch_to_1e_5(
    network: Cnn, classifier: Classifier, count: int
) -> None:
    rois = _rois(count)
    with torch.no_grad():
        images = torch.from_numpy(rois)[:, None]
        features, logits = network.features(images), network(images)
    served = classifier.outputs(rois)
    assert np.abs(served.logits - logits.numpy()).max() < 1e-5
    assert np.abs(served.features - features.numpy()).max() < 1e-5
    assert np.abs(served.probabilities - logits.softmax(1).numpy()).max() < 1e-5
    assert served.probabilities.dtype == np.float32
    assert (served.probabilities == classifier.probabilities(rois)).all()
    assert logits.std() > 0.01


def test_mean_of_the_training_images_is_inside_the_network(network: Cnn) -> None:
    other = Cnn(3, mean=0.1)
    other.load_state_dict({**network.state_dict(), "mean": torch.tensor(0.1)})
    shifted = Classifier(export.classifier(runtime.arrays(other)), META).outputs(_rois(2) - 0.6)
    plain = Classifier(export.classifier(runtime.arrays(network)), META).outputs(_rois(2))
    assert np.allclose(shifted.logits, plain.logits, atol=1e-5)


def test_two_classes_serve_as_three_do() -> None:
    scheme = LesionScheme("nodules", (LesionClass("a", "a"), LesionClass("b", "b")))
    torch.manual_seed(1)
    onnx = export.classifier(runtime.arrays(Cnn(2)))
    probabilities = Classifier(onnx, replace(META, scheme=scheme)).probabilities(_rois(3))
    assert probabilities.shape == (3, 2)
    assert np.allclose(probabilities.sum(axis=1), 1)


def test_image_depends_on_its_seed_alone(generator: Generator) -> None:
    together = generator.draw(range(64))
    for seed in (0, 7, 63):
        assert (generator.draw([seed])[0] == together[seed]).all()
    assert (generator.draw([63, 7])[1] == together[7]).all()
    assert together.shape == (64, 64, 64)
    assert together.dtype == np.float32
    assert np.abs(together).max() <= 1
    assert len({roi.tobytes() for roi in together}) == 64


def test_latents_of_a_seed_stay_what_they_are() -> None:
    """Shipped galleries and reader studies name synthetic ROIs by seed: this must never change."""
    assert latent(417, 3) == pytest.approx(
        [0.7837233543395996, -0.35576796531677246, 0.23700058460235596], abs=1e-7
    )
    many = np.stack([latent(seed, 100) for seed in range(500)])
    assert many.min() >= -1
    assert many.max() < 1
    assert many.mean() == pytest.approx(0, abs=0.01)
    assert many.std() == pytest.approx(3**-0.5, abs=0.005)


def test_truncation_draws_nearer_to_the_average_lesion(generator: Generator) -> None:
    middle = generator.draw([1], truncation=1e-6)[0]
    near, far = generator.draw(range(8), 0.3), generator.draw(range(8))
    assert np.abs(near - middle).mean() < 0.7 * np.abs(far - middle).mean()


@pytest.mark.parametrize("threads", [1, 2])
def test_many_threads_get_what_one_gets(network: Cnn, generator: Generator, threads: int) -> None:
    shared = Classifier(export.classifier(runtime.arrays(network)), META, threads)
    rois = _rois(16)
    expected = [shared.probabilities(rois[i : i + 1]) for i in range(16)]
    drawn = generator.draw(range(16))

    def both(i: int) -> tuple[np.ndarray, np.ndarray]:
        return shared.probabilities(rois[i : i + 1]), generator.draw([i])[0]

    work: Callable[[int], tuple[np.ndarray, np.ndarray]] = both
    with ThreadPoolExecutor(8) as pool:
        for i, (probabilities, roi) in enumerate(pool.map(work, list(range(16)))):
            assert (probabilities == expected[i]).all()
            assert (roi == drawn[i]).all()
