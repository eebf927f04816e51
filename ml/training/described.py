"""What a trained network is described by, before it is measured."""

from __future__ import annotations

from dataclasses import asdict

from ml.checkpoints.checkpoint import Checkpoint, CheckpointKind
from ml.checkpoints.metrics import ClassifierMetrics, GeneratorMetrics
from ml.checkpoints.sampler import Sampler
from ml.config import FURTHER, Config, GeneratorKind
from ml.dataset.manifest import Manifest
from ml.lesion import ROI_SIZE_PX


def described(
    manifest: Manifest,
    settings: Config,
    name: str,
    commit: str,
    *,
    draws: str | None = None,
    without: str = "",
    command: str = "",
    preset: str = "",
    network: GeneratorKind = GeneratorKind.DCGAN,
) -> Checkpoint:
    """A checkpoint of this data and these settings, without figures.

    Args:
        draws: the class that it draws; None: it classifies.
        without: the group of settings that had no part in it, and is left out.
        network: what draws.
    """
    told = {key: value for key, value in settings.dump().items() if key != without}
    for kind in FURTHER:
        told.pop(kind, None)
    if network in FURTHER:
        told[network] = asdict(getattr(settings, network))
    return Checkpoint(
        name=name,
        kind=CheckpointKind.CLASSIFIER if draws is None else CheckpointKind.GENERATOR,
        scheme=manifest.scheme,
        lesion_class=draws,
        window_hu=settings.window_hu,
        training_kind=manifest.kind,
        grey_range=manifest.grey_range,
        dataset_digest=manifest.digest,
        dataset_name=manifest.name,
        commit=commit,
        config=told,
        metrics=ClassifierMetrics() if draws is None else GeneratorMetrics(),
        latent_size=None if draws is None else _latent_size(settings, network),
        command=command,
        preset=preset,
        network=network,
        sampler=Sampler.of(settings.diffusion) if network == GeneratorKind.DIFFUSION else None,
    )


def _latent_size(settings: Config, network: GeneratorKind) -> int:
    if network == GeneratorKind.DIFFUSION:
        return ROI_SIZE_PX**2
    return settings.gan.latent if network == GeneratorKind.DCGAN else settings.joint.latent
