"""Fields 1 to 19 and 32 to 40: what the record, the software and the owner say of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping

from ml.checkpoints.card import drawing, several
from ml.checkpoints.card.entry import NOT_APPLICABLE, Entry, Gap, Source, Statement, capital, entry
from ml.checkpoints.card.subject import (
    Subject,
    added,
    listed,
    of_software,
    recorded,
    typed,
)
from ml.checkpoints.checkpoint import (
    CALIBRATED,
    KINDS_SAID,
    SIMULATED,
    UNCALIBRATED,
    CheckpointKind,
)
from ml.checkpoints.metrics import ClassifierMetrics
from ml.images import greys
from ml.images.ct_slice import ImageKind
from ml.images.roi import MARGIN
from ml.lesion import ROI_SIZE_PX

RESEARCH = "Research use only. Not a medical device. No diagnosis may rest on it."
_NO_PATIENTS = f"{NOT_APPLICABLE}: its lesions were simulated"
_TRAINED_ON: Mapping[ImageKind, str] = {
    ImageKind.PHANTOM: "simulated CT (phantoms), no patient",
    ImageKind.CALIBRATED: KINDS_SAID[ImageKind.CALIBRATED],
    ImageKind.UNCALIBRATED: "grey-value images without Hounsfield units",
}


# What it is.


def identity(of: Subject) -> Entry:
    """Field 1."""
    told, words = of.checkpoint, of.words
    digest = told.digests.get("model.onnx")
    version = (
        f". Its answers bear the version {told.version}: letters of this digest and, where there "
        "is any, of that of all else that makes them."
        if of.classifies
        else ""
    )
    return entry(
        recorded(f"{told.name}, a {told.kind}.", "name"),
        typed(words.version, "version", "the owner has typed none; digests tell one from another"),
        recorded(f"SHA-256 of model.onnx: {digest}{version}", "digest")
        if digest
        else Gap("it was not written down", "digest"),
        typed(words.released, "release date", "the record keeps none, and the owner typed none"),
    )


def developer(of: Subject) -> Entry:
    """Field 2."""
    words = of.words
    return entry(
        typed(words.developer, "developer"),
        typed(words.contact, "contact"),
        typed(words.funding, "funding"),
        typed(words.conflicts, "conflicts"),
        typed(words.stakeholders, "who was consulted"),
    )


def stage(of: Subject) -> Entry:
    """Field 3."""
    words = of.words
    return entry(
        of_software(RESEARCH),
        typed(words.release_stage, "release stage"),
        typed(
            words.regulatory_status,
            "regulatory status",
            "the owner has typed no approval or clearance, and the software claims none",
        ),
    )


# What it is for, and what not.


def intended_use(of: Subject) -> Entry:
    """Field 4."""
    words = of.words
    how = (
        "A person marks a lesion on one slice, or a program sends a slice with its place; the "
        "network scores the ROI around it. The person's own class comes first in the application."
        if of.classifies
        else "It draws ROIs of its class, to train with or to compare with real ones."
    )
    return entry(
        of_software(how, "how to use it"),
        typed(words.intended_use, "intended use"),
        typed(words.users, "users"),
        typed(words.workflow, "step of the work"),
    )


def population(of: Subject) -> Entry:
    """Field 5."""
    none = (
        recorded("Its training and its figures are about simulated lesions, so about no patients.")
        if of.is_simulated
        else None
    )
    return entry(none, typed(of.words.population, "patients"))


def out_of_scope(of: Subject) -> Entry:
    """Field 6."""
    told = of.checkpoint
    warned = []
    if of.is_simulated:
        warned.append(f"On any image that is not a phantom: {SIMULATED}.")
    if told.training_kind == ImageKind.UNCALIBRATED:
        warned.append(f"On images with Hounsfield units: {CALIBRATED}.")
    else:
        warned.append(f"On images without Hounsfield units: {UNCALIBRATED}.")
    if of.classifies:
        warned.append(
            f"Whatever is none of {of.classes}: it names one of them all the same. It finds no "
            "lesion and does not say that there is none."
        )
    return entry(of_software(" ".join(warned)), typed(of.words.out_of_scope, "further uses"))


def limits(of: Subject, calibrated: bool) -> Entry:
    """Field 7."""
    told = of.checkpoint
    said: list[Statement | Gap | None] = []
    if told.caveats:
        said.append(Statement(f"{capital('; '.join(told.caveats))}.", Source.MEASURED))
    if of.is_simulated:
        said.append(
            recorded(
                f"On any image that is not a phantom: {SIMULATED}. Its figures are on simulated "
                "lesions and say nothing about accuracy on patients."
            )
        )
    if told.kind == CheckpointKind.GENERATOR:
        said.append(
            of_software(
                "A synthetic ROI has no scale in millimetres, no patient and no truth beyond the "
                "class it was asked for. The check for collapse is a floor, not a proof of variety."
            )
        )
    else:
        scores = "" if calibrated else " Its scores are not calibrated."
        said.append(of_software(f"It knows only its classes and always names one of them.{scores}"))
    said.append(of_software("One 2-D slice is seen; nothing else about the patient."))
    return entry(*said, typed(of.words.risks, "risks and biases"))


# In, out, and between.


def takes(of: Subject) -> Entry:
    """Field 8."""
    told = of.checkpoint
    if not of.classifies:
        return entry(recorded(drawing.takes(told)))
    return entry(
        of_software(
            f"One ROI of {ROI_SIZE_PX} × {ROI_SIZE_PX} pixels: a square around the lesion's "
            f"centre with {MARGIN:g} of its longer side as margin on each side, resampled "
            "bicubically in floating point. A slice as DICOM, PNG or array with the lesion's place "
            "is turned into it by the same code as in training.",
            "form",
        ),
        recorded(f"{mapped(of)}.", "values"),
        recorded(f"Trained on {_TRAINED_ON[told.training_kind]}.", "kind of image"),
        Gap(
            "which were trained on was not written down, so none is refused",
            "pixel spacing, slice thickness, kernel, contrast phase",
        ),
    )


def mapped(of: Subject) -> str:
    """Which values become −1 … 1."""
    told = of.checkpoint
    if told.training_kind != ImageKind.UNCALIBRATED:
        low, high = told.window_hu
        return f"{low:g} … {high:g} HU become -1 … 1"
    if told.grey_range is None:
        return "The full range of an image's 8 or 16 bits becomes -1 … 1"
    if isinstance(told.grey_range, greys.OfImage):
        return f"Grey values, {greys.words(told.grey_range)}, become -1 … 1"
    low, high = told.grey_range
    return f"Grey values {low:g} … {high:g} become -1 … 1"


def answers(of: Subject, calibrated: bool) -> Entry:
    """Field 9."""
    told = of.checkpoint
    scheme = told.scheme
    if not of.classifies:
        drawn = scheme.display(str(told.lesion_class))
        return entry(
            recorded(f"An ROI of {ROI_SIZE_PX} × {ROI_SIZE_PX} pixels of the class “{drawn}”.")
        )
    coded = "; ".join(
        f"{one.display} ({one.code.scheme} {one.code.value} “{one.code.meaning}”)"
        if one.code
        else f"{one.display} (no code)"
        for one in scheme.classes
    )
    means = (
        "A number for each class between 0 and 1, together 1: probabilities, calibrated as "
        "told below for the kind of image that it was calibrated on, and scores on any other."
        if calibrated
        else "A number for each class between 0 and 1, together 1 (softmax): a score, which is "
        "not how often it is right."
    )
    return entry(
        recorded(f"Lesion scheme {scheme.name}: {coded}.", "classes"),
        of_software(
            f"{means} The class with the largest is named; there is no threshold. It is no "
            "diagnosis.",
            "what a number means",
        ),
    )


def architecture(of: Subject) -> Entry:
    """Field 10."""
    network = of.network
    settings = {
        key: value
        for key, value in _group(of).items()
        if key in ("width", "features", "dropout", "discriminator_width", "latent", "sigma_data")
    }
    return entry(
        of_software(
            "The CNN of Frid-Adar et al. (2018): three convolutions, two dense layers."
            if of.classifies
            else drawing.of(of.checkpoint).network,
            "network",
        ),
        several.networks(of),
        recorded(f"{capital(listed(settings))}.", "widths")
        if settings
        else Gap("not written down", "widths"),
        recorded(
            f"model.onnx ({network.onnx_bytes:,} bytes"
            + (f", ONNX opset {network.opset}" if network.opset else "")
            + f"); weights.safetensors with {network.n_weights:,} numbers.",
            "files",
        )
        if network
        else Gap("they are not at hand here", "files"),
    )


def _group(of: Subject) -> dict[str, object]:
    """The settings of its training."""
    return of.settings("classifier") if of.classifies else drawing.settings(of.checkpoint)


def _sources(of: Subject) -> tuple[str, ...]:
    return (drawing.PAPER,) if of.classifies else drawing.of(of.checkpoint).sources


def pretraining(of: Subject) -> Entry:
    """Field 11."""
    return entry(
        of_software(
            "None: this software begins every training with random weights and uses no foundation "
            "model."
        )
    )


# Data and training.


def training_data(of: Subject) -> Entry:
    """Field 12."""
    told = of.checkpoint
    counts = told.trained_on
    measured = told.metrics
    every = measured.cross_validation if isinstance(measured, ClassifierMetrics) else None
    spread = None
    if every is not None and every.confusion is not None:
        each = ", ".join(
            f"{told.scheme.display(key)} {sum(row)}"
            for key, row in zip(every.classes, every.confusion, strict=True)
        )
        spread = recorded(
            f"{each}: {every.n_lesions} lesions of {every.n_patients} patients.", "data set"
        )
    return entry(
        recorded(f"{capital(_TRAINED_ON[told.training_kind])}.", "kind"),
        recorded(
            f"{told.dataset_name or 'Unnamed'}, digest {told.dataset_digest}", "data set's name"
        ),
        recorded(f"{counts[0]} lesions of {counts[1]} patients.", "trained on")
        if counts
        else Gap("how many lesions was not written down", "trained on"),
        spread,
        added(of.words.training_data, "sites, years, scanners")
        or (
            recorded("None: the images are simulated.", "sites, years, scanners")
            if of.is_simulated
            else typed("", "sites, years, scanners")
        ),
    )


def _about_patients(of: Subject, text: str, instead: str) -> Entry:
    """A field that only the owner can fill, and that phantoms leave empty."""
    if of.is_simulated and not text:
        return entry(Gap(instead))
    return entry(typed(text))


def demographics(of: Subject) -> Entry:
    """Field 13."""
    return _about_patients(
        of,
        of.words.demographics,
        f"{_NO_PATIENTS}, of nobody's age, sex or disease, and no value is missing",
    )


def reference_standard(of: Subject) -> Entry:
    """Field 14."""
    known = (
        recorded("The simulation knows the class of each lesion that it draws; nobody read them.")
        if of.is_simulated
        else None
    )
    words = of.words.reference_standard
    return entry(known, added(words) if known else typed(words))


def annotation_quality(of: Subject) -> Entry:
    """Field 15."""
    return _about_patients(
        of, of.words.annotation_quality, f"{_NO_PATIENTS}, so nobody annotated them"
    )


def split(of: Subject) -> Entry:
    """Field 16."""
    config = of.checkpoint.config
    folds, seed = config.get("folds"), config.get("seed")
    how: Statement | Gap = Gap("not written down", "parts")
    if isinstance(folds, int) and isinstance(seed, int):
        held = 0 if "classic" in config else config.get("test_fold", 0)
        out = f"part {held} was held out, counted from 0"
        if of.checkpoint.ensemble is not None and of.checkpoint.ensemble.saw_all:
            out = "each was held out from the networks of one fold, none from all"
        how = recorded(f"{folds} parts, seed {seed}; {out}.", "parts")
    return entry(
        of_software(
            "By patient: all lesions of a patient are in one part. A training that finds a patient "
            "on both sides ends with an error.",
            "rule",
        ),
        how,
        *(recorded(note, "test") for note in of.notes if note.startswith("Tested")),
        Gap(
            "the summary of the data set tells of copies; the checkpoint does not keep the result",
            "search for duplicate images",
        ),
    )


def synthetic_data(of: Subject) -> Entry:
    """Field 17."""
    told = [recorded(note) for note in of.notes if "synthetic" in note]
    if not of.classifies:
        told.append(of_software("It is trained on ROIs of its data set, on none that was drawn."))
    return entry(*told, *([] if told else [Gap("whether any was used was not written down")]))


def training(of: Subject) -> Entry:
    """Field 18."""
    augment = of.settings("augment")
    kept = {
        key: value
        for key, value in _group(of).items()
        if key
        in ("epochs", "batch", "learning_rate", "momentum", "schedule", "clip", "precision",
            "beta1", "beta2", "ema", "burn_in", "shift_px", "budget", "noise_mean", "noise_sd")
    }  # fmt: skip
    optimiser = (
        "Stochastic gradient descent (Nesterov)"
        if of.classifies
        else drawing.of(of.checkpoint).optimiser
    )
    return entry(
        *(recorded(note, "training") for note in of.notes),
        recorded(f"{capital(listed(augment))}.", "augmentation")
        if augment
        else Gap("not written down", "augmentation"),
        recorded(f"{optimiser}: {listed(kept)}.", "optimiser")
        if kept
        else Gap("not written down", "optimiser"),
        recorded(f"The preset {of.checkpoint.preset}.", "settings")
        if of.checkpoint.preset
        else recorded("Its own, of no preset.", "settings"),
        typed(
            of.words.configurations,
            "settings that were tried before",
            "not written down, and the owner has not typed it",
        ),
    )


def sample_size(of: Subject) -> Entry:
    """Field 19."""
    return entry(typed(of.words.sample_size))


# Upkeep, openness, law.


def maintenance(of: Subject) -> Entry:
    """Field 32."""
    return entry(
        of_software(
            "A checkpoint never changes: other weights have another digest, and are promoted by a "
            "person on a page that says what they replace."
        ),
        typed(of.words.maintenance, "schedule, and what is tested again"),
    )


def security(of: Subject) -> Entry:
    """Field 33."""
    return entry(
        of_software(
            "JSON, ONNX and safetensors: no pickle, and nothing that is run as a program. The "
            "SHA-256 of each stands in checkpoint.json and is compared whenever they are "
            "read. They are not signed. LICENSES.md lists the packages that the software uses, "
            "constraints.txt their versions, SECURITY.md what protects an installation.",
            "files",
        ),
        typed(of.words.security_contact, "contact"),
    )


def ethics(of: Subject) -> Entry:
    """Field 34."""
    none = (
        recorded("No patient's data were used: its images were simulated.")
        if of.is_simulated
        else None
    )
    return entry(none, added(of.words.ethics) if none else typed(of.words.ethics))


def registration(of: Subject) -> Entry:
    """Field 35."""
    return entry(typed(of.words.registration))


def code(of: Subject) -> Entry:
    """Field 36."""
    told = of.checkpoint
    dirty = told.commit.endswith("+")
    known = told.commit and told.commit != "unknown"
    return entry(
        recorded(
            f"Commit {told.commit.removesuffix('+')}"
            + (", with files that differed from it." if dirty else "."),
            "code",
        )
        if known
        else Gap("the commit was not known when it was trained", "code"),
        Statement(told.command, Source.RECORD, "command", verbatim=True)
        if told.command
        else Gap("not written down", "command"),
        of_software("constraints.txt of that commit pins every package.", "environment")
        if known
        else None,
    )


def availability(of: Subject) -> Entry:
    """Field 37."""
    words = of.words
    return entry(
        typed(words.licence, "licence of the network"),
        of_software("Apache-2.0.", "licence of the code"),
        recorded(
            "They are simulated by this software (python -m ml phantom); the digest above tells "
            "whether a data set that is made again is the same.",
            "data",
        )
        if of.is_simulated
        else None,
        added(words.data_availability, "data")
        if of.is_simulated
        else typed(words.data_availability, "data"),
    )


def compute(of: Subject) -> Entry:
    """Field 38."""
    return entry(
        typed(of.words.compute, "", "not measured for this checkpoint, and the owner typed none")
    )


def references(of: Subject) -> Entry:
    """Field 39."""
    return entry(
        *(of_software(source, "method") for source in _sources(of)),
        typed(of.words.references, "this network and its evaluation"),
    )


def logs(of: Subject) -> Entry:
    """Field 40."""
    return entry(
        of_software(
            "The application keeps every score with the checkpoint that gave it, every review with "
            "whether the score was visible before it, and a record of who did what that is only "
            "added to. A deleted case takes its scores and reviews along.",
            "what is kept",
        ),
        typed(of.words.logs, "how long, and who reads it"),
    )
