"""A checkpoint's card, made of its record, its measurements and its owner's words."""

from __future__ import annotations

from pathlib import Path

from ml.checkpoints.card import drawing, measured, network, recorded, trusted, words
from ml.checkpoints.card.card import Card
from ml.checkpoints.card.entry import capital
from ml.checkpoints.card.subject import Subject
from ml.checkpoints.card.words import OwnersWords
from ml.checkpoints.checkpoint import Checkpoint


def card(
    checkpoint: Checkpoint,
    said: OwnersWords | None = None,
    files: network.Network | None = None,
) -> Card:
    """The card; the same of the same.

    Args:
        said: what the owner typed; None: nothing.
        files: what the network's files say; None where they are not at hand.
    """
    of = Subject(checkpoint, said or OwnersWords(), files)
    calibrated = trusted.fitted(of) is not None
    caveats = checkpoint.caveats
    return Card(
        name=checkpoint.name,
        kind=checkpoint.kind,
        digest=checkpoint.digests.get("model.onnx", ""),
        summary=_summary(of),
        cautions=(
            recorded.RESEARCH,
            *([f"{capital('; '.join(caveats))}."] if caveats else []),
        ),
        keywords=(
            "computed tomography", "lesion", checkpoint.kind,
            *(one.display for one in checkpoint.scheme.classes),
        ),
        identity=recorded.identity(of),
        developer=recorded.developer(of),
        stage=recorded.stage(of),
        intended_use=recorded.intended_use(of),
        population=recorded.population(of),
        out_of_scope=recorded.out_of_scope(of),
        limits=recorded.limits(of, calibrated),
        input=recorded.takes(of),
        output=recorded.answers(of, calibrated),
        architecture=recorded.architecture(of),
        pretraining=recorded.pretraining(of),
        training_data=recorded.training_data(of),
        demographics=recorded.demographics(of),
        reference_standard=recorded.reference_standard(of),
        annotation_quality=recorded.annotation_quality(of),
        split=recorded.split(of),
        synthetic_data=recorded.synthetic_data(of),
        training=recorded.training(of),
        sample_size=recorded.sample_size(of),
        discrimination=measured.discrimination(of),
        calibration=trusted.calibration(of),
        prediction_sets=trusted.prediction_sets(of),
        novelty=trusted.novelty(of),
        decision_use=measured.decision_use(of),
        subgroups=measured.subgroups(of),
        external_test=measured.external_test(of),
        failures=measured.failures(of),
        robustness=trusted.robustness(of),
        readers=measured.readers(of),
        human_factors=measured.human_factors(of),
        monitoring=measured.monitoring(of),
        maintenance=recorded.maintenance(of),
        security=recorded.security(of),
        ethics=recorded.ethics(of),
        registration=recorded.registration(of),
        code=recorded.code(of),
        availability=recorded.availability(of),
        compute=recorded.compute(of),
        references=recorded.references(of),
        logs=recorded.logs(of),
    )  # fmt: skip


def of_folder(folder: str | Path, said: OwnersWords | None = None) -> Card:
    """The card of a checkpoint's folder, with the words that are beside it.

    Args:
        said: the owner's words instead of those.

    Raises:
        CheckpointError: no checkpoint, or files that are not those that were trained.
        WordsError: ``words.json`` cannot be read or kept.
    """
    checkpoint = Checkpoint.load(folder)
    typed = words.beside(folder) if said is None else said
    return card(checkpoint, typed, network.of_folder(checkpoint))


def _summary(of: Subject) -> str:
    told = of.checkpoint
    if of.classifies:
        return (
            f"The CNN of Frid-Adar et al. (2018): a 64 × 64 ROI in, one number for each of "
            f"{of.classes} out."
        )
    drawn = told.scheme.display(str(told.lesion_class))
    numbers = "uniform" if told.sampler is None else "standard normal"
    return (
        f"{drawing.of(told).name}: {told.latent_size} {numbers} numbers in, a 64 × 64 ROI of class "
        f"“{drawn}” out."
    )
