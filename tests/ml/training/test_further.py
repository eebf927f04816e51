"""The conditional GAN and the diffusion model: what each is made of, and that each learns."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from ml.__main__ import main
from ml.checkpoints.checkpoint import Checkpoint, tensors_from_bytes
from ml.checkpoints.serving import Generator
from ml.config import (
    TRAININGS,
    Conditional,
    Config,
    ConfigError,
    Copying,
    Diffusion,
    Experiment,
    Gan,
    GeneratorKind,
)
from ml.progress import Progress, RunDir
from ml.training import (
    augmented,
    budget,
    cgan,
    diffusion,
    drawing,
    joint,
    learner,
    runtime,
    watched,
)
from ml.training.learned import EndedTraining, Look
from ml.training.networks import cgan as networks
from ml.training.networks import edm, export
from tests.ml.discs import data_set

pytestmark = pytest.mark.long

CPU = torch.device("cpu")
TINY = Config(
    gan=Gan(
        width=4, discriminator_width=4, latent=8, epochs=6, batch=8, learning_rate=2e-3, ema=0.5,
        sheet_every=3, restarts=0, collapse_spread=1e-6, collapse_correlation=1e-6,
    ),
    diffusion=Diffusion(width=4, steps=2, budget=2.0, ema=0.5),
    cgan=Conditional(shift_px=2, burn_in=0.5),
)  # fmt: skip
KINDS = (GeneratorKind.CGAN, GeneratorKind.DIFFUSION)


@pytest.fixture(scope="module")
def rois() -> tuple[np.ndarray, np.ndarray]:
    """Dark and bright ROIs in turn, (64, 64, 64), with their classes."""
    rng = np.random.default_rng(0)
    labels = np.arange(64) % 2
    pixels = rng.normal(0, 0.15, (64, 64, 64)) + np.where(labels, 0.6, -0.6)[:, None, None]
    return np.clip(pixels, -1, 1).astype(np.float32), labels


def _fit(
    kind: GeneratorKind, rois: tuple[np.ndarray, np.ndarray], path: Path,
    settings: Config = TINY, watch: watched.Watch | None = None,
) -> list[Progress]:  # fmt: skip
    runtime.prepare()
    steps = joint.fit(kind, *rois, 2, settings, RunDir(path), "t", watch=watch)
    return list(steps)


# -- what the discriminator is shown ---------------------------------------------------------------


def _moves(*numbers: float) -> torch.Tensor:
    return torch.tensor([numbers])


def test_rois_are_moved_whole_and_the_edge_is_repeated() -> None:
    roi = torch.rand(1, 1, 8, 8)
    plain = (0.5, 0.5, 0.5, 0.0, 0.0)
    assert torch.equal(augmented.shown(roi, _moves(*plain), 2), roi)
    assert torch.equal(augmented.shown(roi, _moves(-1, *plain[1:]), 2), roi.flip(2))
    assert torch.equal(augmented.shown(roi, _moves(0, -1, *plain[2:]), 2), roi.flip(3))
    assert torch.equal(augmented.shown(roi, _moves(0, 0, -1, 0, 0), 2), roi.transpose(2, 3))
    shifted = augmented.shown(roi, _moves(*plain[:3], 0.99, 0.0), 2)
    assert torch.equal(shifted[:, :, :6], roi[:, :, 2:])
    assert torch.equal(shifted[:, :, 6:], roi[:, :, 7:].expand(-1, -1, 2, -1))
    assert torch.equal(
        augmented.shown(roi, _moves(*plain[:3], 0.0, -1.0), 2)[..., 2:], roi[..., :6]
    )


def test_gradients_go_back_to_the_pixels_that_were_shown() -> None:
    roi = torch.rand(3, 1, 8, 8, requires_grad=True)
    draws = torch.rand(3, augmented.DRAWS) * 2 - 1
    weight = torch.rand(3, 1, 8, 8)
    (augmented.shown(roi, draws, 0) * weight).sum().backward()
    assert roi.grad is not None
    # without a shift each pixel is shown once: its gradient is the weight of where it went
    assert torch.equal(augmented.shown(roi.grad, draws, 0), weight)


class _Recorder(torch.nn.Module):
    """Takes down what a discriminator is shown, and as what."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def forward(self, rois: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        self.seen.append((rois.detach(), positions))
        return self.weight * rois.mean((1, 2, 3))


def test_real_and_drawn_are_shown_moved_each_time_anew() -> None:
    pair = cgan.Pair(2, TINY.cgan, TINY.gan, CPU, 0)
    pair.discriminator = _Recorder()
    latents = torch.from_numpy(pair.latents(np.random.default_rng(0), 6))
    real, answers = torch.rand(6, 1, 64, 64), torch.tensor([1, 1, 1, 0, 0, 0])
    drawn = pair.generator(latents).detach()
    pair.discriminator_loss(real, answers, drawn, latents).backward()
    pair.generator_loss(drawn, latents)
    asked = latents[:, 8].long()
    assert asked.tolist() == [0, 1, 0, 1, 0, 1]
    given = zip(pair.discriminator.seen, (real, drawn, drawn), (answers, asked, asked), strict=True)
    for time, ((shown, said), rois, classes) in enumerate(given):
        first = 9 + time * augmented.DRAWS
        moves = latents[:, first : first + augmented.DRAWS]
        assert torch.equal(shown, augmented.shown(rois, moves, 2))
        assert not torch.equal(shown, rois) and torch.equal(said, classes)


# -- networks --------------------------------------------------------------------------------------


def test_class_is_projected_onto_the_features() -> None:
    torch.manual_seed(0)
    network = networks.Discriminator(3, 4).eval()
    rois = torch.rand(5, 1, 64, 64)
    with torch.no_grad():
        first, second = (network(rois, torch.full((5,), key)) for key in (0, 2))
        features = rois
        for down in network.downs:
            features = torch.nn.functional.leaky_relu(down(features), 0.2)
        told = network.classes.weight[0] - network.classes.weight[2]
    assert torch.allclose(first - second, features.sum((2, 3)) @ told, atol=1e-6)
    assert (first - second).abs().max() > 1e-4


def test_every_layer_of_the_discriminator_is_under_spectral_norm() -> None:
    torch.manual_seed(0)
    network = networks.Discriminator(3, 4)
    for layer in (*network.downs, network.output, network.classes):
        for _ in range(50):  # power iterations
            weight = layer.weight
        assert torch.linalg.matrix_norm(weight.flatten(1), 2).item() == pytest.approx(1, rel=0.02)


def test_class_alone_changes_what_is_drawn_and_onnx_draws_the_same() -> None:
    import onnxruntime

    torch.manual_seed(1)
    network = networks.Generator(3, 4, 10)
    for shift in network.shifts.parameters():
        shift.data += 0.3 * torch.randn_like(shift)
    for up in network.body.ups:
        up.weight.data *= 8
    latents = torch.rand(7, 10) * 2 - 1
    rows = [torch.cat([latents, torch.full((7, 1), float(key))], 1) for key in range(3)]
    network(torch.cat(rows))  # statistics of its own
    network.eval()
    with torch.no_grad():
        expected = [network(row).numpy() for row in rows]
    assert np.abs(expected[0] - expected[1]).max() > 0.01
    tensors = runtime.arrays(network)
    for key in range(3):
        session = onnxruntime.InferenceSession(export.conditional(tensors, key))
        (served,) = session.run(["rois"], {"latents": latents.numpy()})
        assert np.abs(served - expected[key]).max() < 1e-5


@pytest.mark.parametrize("width", [3, 8, 24])
def test_operations_are_those_of_the_networks(width: int) -> None:
    def counted(network: torch.nn.Module, *inputs: torch.Tensor) -> float:
        with FlopCounterMode(display=False) as counter:
            network(*inputs)
        return counter.get_total_flops() / 1e9

    denoiser = edm.Denoiser(3, width, 0.5)
    one = torch.zeros(1, dtype=torch.long)
    found = counted(denoiser, torch.zeros(1, 1, 64, 64), torch.ones(1), one)
    assert budget.denoiser_gflop(width) == pytest.approx(found, rel=0.02)  # what tells the level
    drawn = counted(networks.Generator(3, width, 10).eval(), torch.zeros(1, 11))
    named = counted(networks.Discriminator(3, width).eval(), torch.zeros(1, 1, 64, 64), one)
    settings = Gan(width=width, discriminator_width=width)
    # of a transposed convolution the products that meet no input are counted by torch as well
    assert budget.gan_gflop(settings) == pytest.approx(3 * drawn + 8 * named, rel=0.03)


@pytest.mark.parametrize("settings", [TRAININGS["shipped"], Config(), Experiment()])
def test_diffusion_gets_the_budget_of_the_conditional_gan(settings: Config) -> None:
    spent = settings.joint.epochs * budget.gan_gflop(settings.joint)
    epochs = budget.diffusion_epochs(settings)
    one = budget.diffusion_gflop(budget.width_of(settings.diffusion, settings.joint))
    assert abs(epochs * one - spent) <= one / 2
    assert diffusion.schedule(settings).epochs == epochs > 1
    twice = replace(settings, diffusion=Diffusion(budget=2))
    assert budget.diffusion_epochs(twice) == pytest.approx(2 * epochs, abs=1)


# -- training --------------------------------------------------------------------------------------


def test_average_begins_after_the_burn_in() -> None:
    pair = cgan.Pair(2, Conditional(burn_in=0.5), replace(TINY.gan, ema=0.9), CPU, 0)
    assert [pair.new_weight(count, 20) for count in (0, 9)] == [1.0, 1.0]
    plain = [learner.new_weight(pair.settings, count) for count in (0, 5, 200)]
    assert [pair.new_weight(10 + count, 20) for count in (0, 5, 200)] == plain
    before = [p.detach().clone() for p in pair.average.parameters()]
    with torch.no_grad():
        for parameter in pair.generator.parameters():
            parameter.add_(1)
    pair.average_in(0.25)
    for mean, old in zip(pair.average.parameters(), before, strict=True):
        assert torch.allclose(mean, old + 0.25)
    pair.average_in(1.0)
    for mean, now in zip(pair.average.parameters(), pair.generator.parameters(), strict=True):
        assert torch.equal(mean, now)


@pytest.mark.parametrize("kind", KINDS)
def test_class_learned_is_the_class_drawn(
    kind: GeneratorKind, rois: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    longer = replace(
        TINY, gan=replace(TINY.gan, epochs=12), diffusion=replace(TINY.diffusion, steps=6)
    )
    told = _fit(kind, rois, tmp_path, longer)
    assert set(told[-1].figures or {}) == (
        {"denoising_loss"}
        if kind == GeneratorKind.DIFFUSION
        else {"discriminator_loss", "generator_loss"}
    )
    tensors = tensors_from_bytes((tmp_path / "generator.safetensors").read_bytes())
    meta = _described(kind, longer)
    drawn = [
        Generator(export.of_class(kind, tensors, key, 0.5), meta).draw(range(20)) for key in (0, 1)
    ]
    beside = drawing.drawer(kind, tensors, longer, 2, 1, "cpu")(range(20))
    assert np.abs(beside - drawn[1]).max() < 1e-3  # a run's ROIs are the checkpoint's
    drawn = [rois.mean((1, 2)) for rois in drawn]
    assert (drawn[1] > drawn[0]).mean() > 0.9
    assert (tmp_path / "discriminator.safetensors").exists() == (kind == GeneratorKind.CGAN)


def _described(kind: GeneratorKind, settings: Config) -> Checkpoint:
    from ml.checkpoints.metrics import GeneratorMetrics
    from ml.checkpoints.sampler import Sampler
    from ml.lesion import LIVER

    is_diffusion = kind == GeneratorKind.DIFFUSION
    return Checkpoint(
        name="t", kind="generator", scheme=LIVER, lesion_class="cyst", window_hu=(-150.0, 250.0),
        training_kind="phantom", dataset_digest="d", commit="c", config={},
        metrics=GeneratorMetrics(), latent_size=4096 if is_diffusion else settings.gan.latent,
        network=kind, sampler=Sampler.of(settings.diffusion) if is_diffusion else None,
    )  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_same_training_gives_the_same_bytes_also_when_it_was_killed(
    kind: GeneratorKind, rois: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    stopping = replace(
        TINY,
        cgan=replace(TINY.cgan, copying=Copying.STOP),
        diffusion=replace(TINY.diffusion, copying=Copying.STOP),
    )
    watch = _Counting(rois[0][:0], rois[1][:0], [])
    for name in "ab":
        _fit(kind, rois, tmp_path / name, stopping, watch)
    steps = joint.fit(kind, *rois, 2, stopping, RunDir(tmp_path / "killed"), "t", watch=watch)
    for _ in range(4):  # saved after the third epoch at the latest
        next(steps)
    steps.close()
    _fit(kind, rois, tmp_path / "killed", stopping, watch)
    one, *others = (
        (tmp_path / name / "generator.safetensors").read_bytes() for name in ("a", "b", "killed")
    )
    assert others == [one, one]
    looks = EndedTraining.load(RunDir(tmp_path / "killed")).learned.looks
    assert looks == EndedTraining.load(RunDir(tmp_path / "a")).learned.looks
    assert looks[0].epoch == 1 and len({look.flagged for look in looks}) > 1


# -- copies ----------------------------------------------------------------------------------------


def _blobs(count: int, seed: int) -> np.ndarray:
    """Pictures of their own: smooth noise."""
    from scipy.ndimage import gaussian_filter

    noise = np.random.default_rng(seed).normal(size=(count, 64, 64))
    smooth = gaussian_filter(noise, (0, 5, 5))
    return (smooth / np.abs(smooth).max()).astype(np.float32)


def test_copies_are_seen_turned_and_noisy_and_other_pictures_are_not() -> None:
    known = _blobs(16, 0)
    watch = watched.Watch(known, np.zeros(16, np.int64), [f"p{i}" for i in range(16)])
    rng = np.random.default_rng(1)
    turned = np.stack([np.rot90(one, i % 4) for i, one in enumerate(known)])
    copied = (0.8 * turned + rng.normal(0, 0.05, turned.shape)).astype(np.float32)
    look = watch.look(3, copied, np.zeros(16, np.int64))
    assert look == Look(3, 16, 16) and watched.copying(look)
    assert "16 of 16 samples are nearer to one training lesion" in watched.words(look)
    fresh = watch.look(4, _blobs(16, 2), np.zeros(16, np.int64))
    assert fresh.samples == 16 and fresh.flagged <= 2 and not watched.copying(fresh)
    # the mean of all is near to all of them, and a copy of none
    mean = np.repeat(known.mean(axis=0, keepdims=True), 16, axis=0)
    assert watch.look(5, mean, np.zeros(16, np.int64)).flagged == 0


def test_of_few_patients_nothing_is_said() -> None:
    known = _blobs(12, 0)
    watch = watched.Watch(known, np.zeros(12, np.int64), [f"p{i % 4}" for i in range(12)])
    look = watch.look(1, known, np.zeros(12, np.int64))
    assert look == Look(1, 0, 0) and not watched.copying(look)


class _Counting(watched.Watch):
    """Tells of samples something that follows from them, and never that they are copies."""

    def look(self, epoch: int, samples: np.ndarray, positions: np.ndarray) -> Look:
        return Look(epoch, 10_000, int(1000 * abs(samples.mean())))


class _Copying(watched.Watch):
    """Finds copies from the third epoch on."""

    def look(self, epoch: int, samples: np.ndarray, positions: np.ndarray) -> Look:
        return Look(epoch, 64, 60 if epoch >= 3 else 1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_that_copies_says_so_and_stops_where_it_is_told_to(
    kind: GeneratorKind, rois: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    watch = _Copying(*(part[:0] for part in rois), [])
    told = _fit(kind, rois, tmp_path / "warn", TINY, watch)
    said = [step.text for step in told if step.said]
    assert said and "60 of 64 samples" in said[0] and "The training goes on" in said[0]
    learned = EndedTraining.load(RunDir(tmp_path / "warn")).learned
    assert learned.stopped is None and joint.copies_note(learned).startswith(
        "It copies: at the end"
    )

    group = "cgan" if kind == GeneratorKind.CGAN else "diffusion"
    stop = replace(TINY, **{group: replace(getattr(TINY, group), copying=Copying.STOP)})
    told = _fit(kind, rois, tmp_path / "stop", stop, watch)
    assert "The training ends here, and the weights of epoch 1 are kept" in told[-1].text
    learned = EndedTraining.load(RunDir(tmp_path / "stop")).learned
    assert (learned.stopped, learned.kept, len(learned.losses)) == (3, 1, 3)
    assert "ended and the weights of epoch 1 kept" in joint.copies_note(learned)
    short = replace(
        stop, gan=replace(stop.gan, epochs=1), diffusion=replace(stop.diffusion, budget=1e-6)
    )
    _fit(kind, rois, tmp_path / "short", short)
    if kind == GeneratorKind.DIFFUSION:  # no schedule: one epoch is the first of any number
        kept = (tmp_path / name / "generator.safetensors" for name in ("stop", "short"))
        first, second = (path.read_bytes() for path in kept)
        assert first == second


# -- the commands ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_command_leaves_a_checkpoint_for_each_class(kind: GeneratorKind, tmp_path: Path) -> None:
    data_set(tmp_path / "data", patients=18, each=1)
    words = [kind, "--data", str(tmp_path / "data"), "--out", str(tmp_path / "run"), "--set"]
    own = {"gan.latent": 8, "gan.width": 2, "gan.discriminator_width": 2, "gan.epochs": 1}
    own |= {"gan.batch": 8, "gan.collapse_spread": 0, "gan.collapse_correlation": 0}
    own |= {"augment.per_fold": 20, "diffusion.steps": 2}
    assert main([*words, *(f"{name}={value}" for name, value in own.items())]) == 0
    spread = set()  # each class has its own variety
    for key in ("dark", "ring"):
        meta = Checkpoint.load(tmp_path / "run" / "checkpoints" / f"{kind}-{key}")
        assert (meta.network, meta.lesion_class, meta.evaluations) == (
            kind, key, 3 if kind == GeneratorKind.DIFFUSION else 1,
        )  # fmt: skip
        assert kind in meta.config and meta.metrics.n_held_out_lesions == 3
        assert meta.metrics.synthetic_to_nearest_training is not None
        spread.add(meta.metrics.spread_as_share_of_real)
        assert Generator(meta.onnx(), meta).draw([1]).shape == (1, 64, 64)
        card = (meta.root / "CARD.md").read_text("utf-8")  # type: ignore[operator]
        assert "One network of all classes" in card and "python -m ml " + kind in card
        assert "Whether it copies was not looked at" in card  # nine patients of two folds' six
        assert (tmp_path / "run" / "sheets" / f"checkpoint-{key}.png").exists()
    assert len(spread) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_five_lesions_are_refused_in_one_line(
    kind: GeneratorKind, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data_set(tmp_path / "data", patients=5, each=1)
    words = [kind, "--data", str(tmp_path / "data"), "--out", str(tmp_path / "run")]
    assert main(words) == 1
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1
    assert "is not trained on 4 lesions" in told[0] and "Give at least 12" in told[0]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("assignment", "told"),
    [
        ("cgan.burn_in=1", "burn_in"),
        ("cgan.copying=never", "cgan.copying must be warn or stop"),
        ("diffusion.steps=1", "diffusion.steps must be 2 to 256"),
        ("diffusion.ema=1", "diffusion.ema"),
        ("further_generators=dcgan", "further_generators must be cgan or diffusion"),
        ("further_generators=cgan+cgan", "at most once"),
        ("further_generators=vae", "further_generators must be dcgan or acgan or cgan"),
    ],
)
def test_settings_that_cannot_be_are_refused(assignment: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Experiment().override([assignment])


def test_what_is_not_asked_for_is_not_told_of_and_what_is_comes_back() -> None:
    plain = Experiment().dump()
    assert not {"cgan", "diffusion", "further_generators"} & plain.keys()
    asked = Experiment().override(["further_generators=cgan, diffusion", "cgan.shift_px=3"])
    assert asked.dump()["further_generators"] == ("cgan", "diffusion")
    assert asked.dump()["cgan"] == {**asdict(Conditional()), "shift_px": 3}
    assert Experiment().override(["further_generators="]).further_generators == ()
