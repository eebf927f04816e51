"""What a trained network is described by, before it is measured."""

from __future__ import annotations

from ml.checkpoints.checkpoint import Checkpoint, CheckpointKind
from ml.checkpoints.metrics import ClassifierMetrics, GeneratorMetrics
from ml.config import Config
from ml.dataset.manifest import Manifest


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
) -> Checkpoint:
    """A checkpoint of this data and these settings, without figures.

    Args:
        draws: the class that it draws; None: it classifies.
        without: the group of settings that had no part in it, and is left out.
    """
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
        config={key: value for key, value in settings.dump().items() if key != without},
        metrics=ClassifierMetrics() if draws is None else GeneratorMetrics(),
        latent_size=None if draws is None else settings.gan.latent,
        command=command,
        preset=preset,
    )
