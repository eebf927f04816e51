"""What a run found, put together of what its tasks left: at its end, or again later."""

from __future__ import annotations

from collections.abc import Sequence

from ml.config import Experiment, Split
from ml.dataset.folds import parts_told
from ml.dataset.manifest import Manifest
from ml.experiment import arms, comparing, evaluation, fresh_phantoms, measured
from ml.experiment.folder import RunFolder
from ml.experiment.outcomes import Missing
from ml.experiment.results import Evaluated
from ml.experiment.results.origin import Asked, DataSet, FreshPatients, PartSize
from ml.experiment.results.synthetic import FeatureNetwork
from ml.experiment.tasks import OUTER, TrainClassifier
from ml.experiment.training_sets import fresh_of
from ml.phantom.lesions import CALIBRATION, DIFFICULTY


def evaluated(
    folder: RunFolder,
    outputs: evaluation.Outputs,
    network: FeatureNetwork | Missing,
    command: str,
    capped: Sequence[str],
) -> Evaluated:
    """Everything of ``results.json`` but what only the run itself can tell.

    Args:
        network: what ``measured.feature_network`` said when the run measured.
        command: which does the run again.
        capped: what ``request.capped`` told of the settings.
    """
    settings, manifest = outputs.settings, outputs.manifest
    return Evaluated(
        dataset=DataSet(
            name=manifest.name,
            kind=manifest.kind,
            digest=manifest.digest,
            scheme=manifest.scheme,
            lesions=len(manifest.lines),
            patients=len(manifest.patients),
            counts=manifest.counts(),
            calibration=phantom_note(manifest),
            split=_split(settings, manifest),
            about=manifest.about,
        ),
        asked=Asked(settings.dump(), outputs.seeds, command, tuple(capped)),
        scores=comparing.evaluate(outputs, _features(folder, outputs)),
        synthetic=measured.collect(folder, settings, manifest, outputs.seeds, network),
        fresh=fresh_patients(settings, manifest),
    )


def _split(settings: Experiment, manifest: Manifest) -> dict[str, PartSize] | None:
    parts = parts_told(manifest) if settings.split == Split.GIVEN else None
    if parts is None:
        return None
    return {
        name: PartSize(len(part), len(part.patients)) for name, part in parts.items() if len(part)
    }


def _features(folder: RunFolder, outputs: evaluation.Outputs) -> str | None:
    """What the simple model is; None where there is none."""
    sizes = [size for size in outputs.sizes if size.arm == arms.FEATURES]
    if not sizes:
        return None
    first = folder.result(TrainClassifier(sizes[0], OUTER, 0, outputs.settings.seed))
    sized = first.with_size
    size = "size included" if sized else "the size left out, since it is not known of every lesion"
    return (
        f"{first.measurements} measurements of each ROI (greys, rim and centre, edge, texture; "
        f"{size}; ml/images/measurements.py), learned from the real training lesions alone, "
        "without views of them, by logistic regression with one of two ridges or by extremely "
        "randomised trees; which of the three, nested selection says in each fold."
    )


def phantom_note(manifest: Manifest) -> str | None:
    """What stands beside every result on phantoms; None for other data."""
    if manifest.phantom is None:
        return None
    note = (
        "Phantoms: simulated CT with known truth, no patient. They are of phantom "
        f"{manifest.phantom}."
    )
    if manifest.difficulty is None:
        return f"{note} Their difficulty is not known."
    if manifest.difficulty != DIFFICULTY[manifest.phantom]:
        return f"{note} Their difficulty, {manifest.difficulty:g}, is not the calibrated one."
    return f"{note} {CALIBRATION[manifest.phantom]}"


def fresh_patients(settings: Experiment, manifest: Manifest) -> FreshPatients | None:
    """The fresh lesions that a run is tested on; None where there can be none."""
    chunks = fresh_of(settings, manifest)
    if not chunks:
        return None
    each = 3 * fresh_phantoms.CHUNK
    return FreshPatients(
        test_lesions=each * sum(chunk.use == fresh_phantoms.TEST for chunk in chunks),
        oracle_lesions=each * sum(chunk.use == fresh_phantoms.ORACLE for chunk in chunks),
        seed=settings.fresh_seed,
        difficulty=settings.difficulty,
        note=f"phantom {manifest.phantom}; equal numbers of each class; no patient of the data "
        "set; one pool for all folds, arms and seeds",
    )
