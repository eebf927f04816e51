"""``python -m ml``: the commands; each imports what it needs when it runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

from cyclopts import Group, Parameter, Token
from cyclopts.validators import LimitedChoice

from ml.dataset import columns
from ml.ground import terminal
from ml.ground.terminal import Jobs, Whole
from ml.phantom import VERSION, Version

if TYPE_CHECKING:
    from ml.config import Config
    from ml.images.greys import Chosen

application = terminal.command_line(
    "python -m ml", "The science of Hepatica: from images to figures with intervals."
)
preparing = terminal.group(
    application, "prepare", "Make a data set of a folder of labelled images."
)
readers = terminal.group(application, "readers", "Statistics of reader studies.")


# Options that several commands have.

Assignments = Annotated[
    tuple[str, ...], Parameter(name="--set", metavar="KEY=VALUE", consume_multiple=1)
]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Training:
    """One training.

    Attributes:
        data: a data set, from prepare.
        out: the run's folder.
        preset: quick (a minute, learns nothing), shipped (minutes on a CPU), paper (wants a GPU:
            hours on a CPU).
        assignments: settings instead of the preset's, such as gan.epochs=40 seed=1.
        name: the checkpoint's name; of checkpoints of several classes the beginning.
        checkpoint: where it goes, instead of RUN/checkpoint; several go in folders there.
        device: cpu or cuda.
    """

    data: Annotated[Path, Parameter(metavar="DATA")]
    out: Annotated[Path, Parameter(metavar="RUN")]
    preset: Annotated[str, Parameter(metavar="NAME")] = "shipped"
    assignments: Assignments = ()
    name: Annotated[str | None, Parameter(metavar="NAME")] = None
    checkpoint: Annotated[Path | None, Parameter(metavar="DIR")] = None
    device: Annotated[str, Parameter(metavar="NAME")] = "cpu"

    def settings(self) -> Config:
        """The preset's settings with what was assigned; tells of hours before they pass."""
        from ml import config

        if self.preset == "paper" and self.device == "cpu":
            print(
                "The preset paper takes hours on a CPU: --device cuda uses a GPU, --preset "
                "shipped takes minutes.",
                file=sys.stderr,
            )
        return config.preset(self.preset).override(self.assignments)

    @property
    def lower(self) -> bool:
        """Whether the number of augmented ROIs is a suggestion that must fit the data set."""
        from ml import config

        return "augment.per_fold" not in config.named(self.assignments)

    def command(self, *words: str) -> str:
        """The command that trains the same again; folders by their role, not their place here."""
        name, *more = words
        parts = [f"python -m ml {name} --data DATA --out RUN", *more, f"--preset {self.preset}"]
        if self.assignments:
            parts += ["--set", *self.assignments]
        return " ".join(parts)


def _print_result(result: object, text: str, as_json: bool) -> None:
    print(json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False) if as_json else text)


# From images to a data set.


def _counts(_type: object, tokens: Sequence[Token]) -> dict[str, int]:
    text = tokens[0].value
    counts: dict[str, int] = {}
    for entry in text.split(","):
        key, equals, number = entry.partition("=")
        if not equals or not number.strip().isdecimal() or key.strip() in counts:
            raise ValueError(f"{text!r} is not of the form cyst=53,metastasis=64.")
        counts[key.strip()] = int(number)
    return counts


def _ends(_type: object, tokens: Sequence[Token]) -> tuple[float, float]:
    text = tokens[0].value
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError as error:
        raise ValueError(f"{text!r} is not of the form 0,255.") from error
    return low, high


_SIZE = Group("Size (one of)", validator=LimitedChoice(1, 1))


def _version(_type: object, tokens: Sequence[Token]) -> Version:
    text = tokens[0].value
    if text not in set(Version):
        raise ValueError(f"{text!r} is none of {', '.join(Version)}.")
    return Version(text)


_VERSION = Parameter(
    metavar="1|2",
    converter=_version,
    n_tokens=1,
    accepts_keys=False,
    show_choices=False,
    show_default=str,
)


@application.command
def phantom(
    *,
    patients: Annotated[Whole | None, Parameter(metavar="N", group=_SIZE)] = None,
    counts: Annotated[
        dict[str, int] | None,
        Parameter(
            metavar="CLASS=N,…", group=_SIZE, converter=_counts, accepts_keys=False, n_tokens=1
        ),
    ] = None,
    seed: Annotated[Whole, Parameter(metavar="S")] = 0,
    difficulty: Annotated[float | None, Parameter(metavar="D")] = None,
    phantom_version: Annotated[Version, _VERSION] = VERSION,
    key_slices_only: bool = False,
    out: Annotated[Path, Parameter(metavar="DIR")],
) -> None:
    """Simulate portal-phase liver CT with known truth, as DICOM series.

    Args:
        patients: how many patients.
        counts: exact lesion counts instead, such as cyst=53,metastasis=64,hemangioma=65.
        seed: of the simulation.
        difficulty: 0 textbook … 1 heavy overlap; default 0.2 of version 1 and 0.05 of 2, which
            they are calibrated at.
        phantom_version: 2, or 1, whose liver is easier to tell from a real one; see README.
        key_slices_only: write only the slice through each lesion.
        out: a new folder.
    """
    from ml.phantom import series
    from ml.progress import drive

    if counts is not None:
        drive(series.write_cohort(counts, seed, out, difficulty, key_slices_only, phantom_version))
    elif patients is not None:
        drive(series.write(patients, seed, out, difficulty, key_slices_only, phantom_version))


def _range(_type: object, tokens: Sequence[Token]) -> tuple[float, float] | str:
    from ml.images import greys

    text = tokens[0].value
    if text in [*greys.OfImage]:
        return greys.OfImage(text)
    try:
        return greys.checked([float(part) for part in text.split(",")])
    except greys.GreyRangeError as error:
        raise ValueError(str(error)) from error
    except ValueError as error:
        raise ValueError(f"{text!r} is neither image nor of the form 0,4095.") from error


def _pairs(_type: object, tokens: Sequence[Token]) -> dict[str, str]:
    from ml.dataset import labels

    return labels.mapping(tokens[0].value)


_MAP = Parameter(metavar="A=B,…", converter=_pairs, accepts_keys=False, n_tokens=1)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What may be chosen of a preparation.

    Attributes:
        scheme: liver, or a JSON file with the classes and their names; default: made of the
            labels.
        map: labels that are written otherwise, such as Mets=metastasis,0=cyst; other= leaves
            those rows out.
        patient: how patients are known where no column tells them: image (each image is of
            another one), folder, dicom (PatientID, which is replaced by a number), or a regular
            expression for the file's path with the patient in brackets.
        table: another table than the one of the usual name.
        renamed: this help's names of columns for other words in the header, such as
            class=Befund,file=Bild.
        whole: each image is the ROI itself, whatever its size.
        allow_mixed_patients: accept lesions of several classes in one patient.
        boxes: what the numbers of the column box are: x,y,width,height or x1,y1,x2,y2; needed
            where they could be both.
        grey_range: grey values that become black and white, of images without Hounsfield units,
            such as 0,4095, or image: each image's own, as magnetic resonance needs; default the
            full range of their 8 or 16 bits.
        test: another folder of the same make, whose lesions test and are never trained on.
        about: what you know of the data and reports repeat: a JSON object with any of source,
            dates, inclusion, reference_standard, scanner, labellers.
        out: a new folder.
    """

    scheme: Annotated[str | None, Parameter(metavar="FILE")] = None
    map: Annotated[dict[str, str] | None, _MAP] = None
    patient: Annotated[str | None, Parameter(metavar="HOW")] = None
    table: Annotated[Path | None, Parameter(metavar="FILE")] = None
    renamed: Annotated[dict[str, str] | None, Parameter(name="--columns"), _MAP] = None
    whole: bool = False
    allow_mixed_patients: bool = False
    boxes: columns.Boxes | None = None
    grey_range: Annotated[
        tuple[float, float] | str | None,
        Parameter(
            name="--range",
            metavar="LOW,HIGH|image",
            converter=_range,
            n_tokens=1,
            allow_leading_hyphen=True,
        ),
    ] = None
    test: Annotated[Path | None, Parameter(metavar="DIR")] = None
    about: Annotated[Path | None, Parameter(metavar="FILE")] = None
    out: Annotated[Path, Parameter(metavar="DATA")]

    def run(self, what: str, folder: Path, unit: columns.Unit | None = None) -> None:
        """Prepare what is in ``folder``."""
        from ml.dataset import prepare
        from ml.dataset.about import About
        from ml.dataset.entries import Options
        from ml.lesion import LesionScheme
        from ml.progress import drive

        steps = {"images": prepare.images, "dicom": prepare.dicom, "nifti": prepare.volumes}[what]
        options = Options(
            mixed_patients=self.allow_mixed_patients,
            boxes=self.boxes,
            grey_range=cast("Chosen | None", self.grey_range),
            whole=self.whole,
            mapped=self.map or {},
            patients=self.patient,
            columns=self.renamed or {},
            table=self.table,
            test=self.test,
            about=None if self.about is None else About.load(self.about),
            unit=unit,
        )
        scheme = None if self.scheme is None else LesionScheme.load(self.scheme)
        drive(steps(folder, scheme, self.out, options))


@preparing.command(name="images", help_epilogue=columns.IMAGES)
def prepare_images(
    folder: Annotated[Path, Parameter(name="DIR")], /, *, preparation: Preparation
) -> None:
    """PNG, JPEG or DICOM with labels.csv beside them, or in a folder for each class.

    contact-sheet.png in DATA shows what was cut, summary.md tells it in numbers.

    Args:
        folder: holds the images.
    """
    preparation.run("images", folder)


@preparing.command(name="dicom", help_epilogue=columns.DICOM)
def prepare_dicom(
    folder: Annotated[Path, Parameter(name="DIR")], /, *, preparation: Preparation
) -> None:
    """DICOM series with lesions.csv, such as phantom writes, or with SEG or RTSTRUCT objects.

    contact-sheet.png in DATA shows what was cut, summary.md tells it in numbers.

    Args:
        folder: holds the table and the images.
    """
    preparation.run("dicom", folder)


@preparing.command(name="nifti", help_epilogue=columns.NIFTI)
def prepare_nifti(
    folder: Annotated[Path, Parameter(name="DIR")],
    /,
    *,
    preparation: Preparation,
    unit: columns.Unit | None = None,
) -> None:
    """NIfTI volumes and masks with labels.csv.

    contact-sheet.png in DATA shows what was cut, summary.md tells it in numbers.

    Args:
        folder: holds the table and the volumes.
        unit: what the volumes' values are, which NIfTI does not tell.
    """
    preparation.run("nifti", folder, unit)


@preparing.command(name="inspect")
def prepare_inspect(folder: Annotated[Path, Parameter(name="DIR")], /) -> None:
    """Say what is in a folder, and which command makes a data set of it.

    Args:
        folder: holds images, or is an npz.
    """
    from ml.dataset import inspect

    print(inspect.look(folder).text)


# From a data set to networks.


@application.command(name="classifier")
def train_classifier(*, training: Training, cross_validate: bool = False) -> None:
    """Train the CNN on a data set's training patients and score the others.

    Args:
        cross_validate: also train on the other folds, so that every lesion is tested once.
    """
    from ml.progress import drive
    from ml.training import classifier

    words = ["--cross-validate"] if cross_validate else []
    drive(
        classifier.train(
            training.data,
            training.settings(),
            training.out,
            name=training.name or "classifier",
            checkpoint=training.checkpoint,
            cross_validate=cross_validate,
            command=training.command("classifier", *words),
            device=training.device,
            lower=training.lower,
        )
    )


@application.command(name="gan")
def train_gan(
    *, training: Training, lesion_class: Annotated[str, Parameter(metavar="CLASS")]
) -> None:
    """Train the DCGAN of one class on a data set's training patients.

    Args:
        lesion_class: a class of the data set, such as cyst.
    """
    from ml.progress import drive
    from ml.training import gan

    drive(
        gan.train(
            training.data,
            lesion_class,
            training.settings(),
            training.out,
            name=training.name,
            checkpoint=training.checkpoint,
            command=training.command("gan", f"--lesion-class {lesion_class}"),
            device=training.device,
            lower=training.lower,
        )
    )


@application.command(name="cgan")
def train_cgan(*, training: Training) -> None:
    """Train a conditional GAN for few lesions, one of all classes; a checkpoint for each class."""
    _train_joint("cgan", training)


@application.command(name="diffusion")
def train_diffusion(*, training: Training) -> None:
    """Train a diffusion model at the cgan's training budget; a checkpoint for each class."""
    _train_joint("diffusion", training)


def _train_joint(kind: str, training: Training) -> None:
    from ml.config import GeneratorKind
    from ml.progress import drive
    from ml.training import joint

    drive(
        joint.train(
            GeneratorKind(kind),
            training.data,
            training.settings(),
            training.out,
            name=training.name,
            checkpoints=training.checkpoint,
            command=training.command(kind),
            device=training.device,
            lower=training.lower,
        )
    )


@application.command
def synthesize(
    *,
    checkpoint: Annotated[Path, Parameter(metavar="DIR")],
    count: Annotated[Whole, Parameter(metavar="N")],
    seed: Annotated[Whole, Parameter(metavar="S")] = 0,
    truncation: Annotated[float, Parameter(metavar="T")] = 1.0,
    out: Annotated[Path, Parameter(metavar="DIR")],
) -> None:
    """Draw synthetic ROIs from a generator.

    Args:
        checkpoint: the generator's.
        count: how many.
        seed: draws S, S+1, …
        truncation: scale of the latent, 0 to 1.
        out: a new folder.
    """
    from ml.checkpoints import synthesize as synthetic
    from ml.progress import drive

    drive(synthetic.draw(checkpoint, count, seed, out, truncation))


@application.command
def card(
    checkpoint: Annotated[Path, Parameter(metavar="CHECKPOINT")],
    /,
    *,
    format: Literal["markdown", "json", "chai-xml", "checklist"] = "markdown",
    words: Annotated[Path | None, Parameter(metavar="FILE")] = None,
) -> None:
    """Print a checkpoint's model card: forty fields, each filled or empty for a reason.

    Args:
        checkpoint: its folder.
        format: markdown for people, json for programs, chai-xml (CHAI Applied Model Card, v0.2),
            or checklist (CLAIM 2024, TRIPOD+AI, STARD-AI: item by item).
        words: JSON or TOML of what only its owner can say, such as funding = "…"; default
            words.json in the folder, where there is one.
    """
    from ml.checkpoints.card import exports, making
    from ml.checkpoints.card import words as typed

    said = None if words is None else typed.load(words)
    made = making.of_folder(checkpoint, said)
    sys.stdout.flush()
    sys.stdout.buffer.write(exports.written(made, exports.Format(format)))


@application.command
def weights(
    *,
    out: Annotated[Path, Parameter(metavar="DIR")],
    work: Annotated[Path, Parameter(metavar="DIR")] = Path("var/weights"),
    jobs: Jobs = 2,
    measure: bool = False,
) -> None:
    """Train the shipped checkpoints again (phantoms).

    Args:
        out: gets a folder per checkpoint.
        work: scratch; a killed run goes on from there.
        jobs: trainings at a time.
        measure: train nothing, and measure again how far the generators in DIR are from lesions
            that they never saw.
    """
    from ml.progress import drive
    from ml.training import shipped

    drive(shipped.measure(out, work) if measure else shipped.train(out, work, jobs))


# Phantoms against real tissue.


@application.command
def paste(
    *,
    images: Annotated[Path, Parameter(metavar="DIR")],
    masks: Annotated[Path, Parameter(metavar="DIR")],
    spacing_mm: Annotated[float, Parameter(metavar="MM")],
    hu: Annotated[
        tuple[float, float],
        Parameter(
            metavar="LOW,HIGH",
            converter=_ends,
            n_tokens=1,
            accepts_keys=False,
            allow_leading_hyphen=True,
        ),
    ],
    patient: Annotated[str, Parameter(metavar="REGEX")],
    thickness_mm: Annotated[float, Parameter(metavar="MM")] = 3.0,
    count: Annotated[Whole, Parameter(metavar="N")] = 1000,
    seed: Annotated[Whole, Parameter(metavar="S")] = 0,
    difficulty: Annotated[float | None, Parameter(metavar="D")] = None,
    phantom_version: Annotated[Version, _VERSION] = VERSION,
    checkpoint: Annotated[Path | None, Parameter(metavar="DIR")] = None,
    out: Annotated[Path, Parameter(metavar="DIR")],
) -> None:
    """Paste phantom lesions into real liver slices, and ask classifiers about them.

    report.md in DIR tells how often a network and the simple model, both trained on phantoms, are
    right about lesions in real tissue, and in what phantom liver differs from real liver.

    Args:
        images: PNG or JPEG slices.
        masks: a mask of the liver for each, of the same name; bright is liver.
        spacing_mm: of a pixel, which a picture does not tell.
        hu: of black and of white, which a picture does not tell, such as 0,255.
        patient: a regular expression for a picture's name with the patient in brackets.
        thickness_mm: of a slice.
        count: lesions; a patient's are of one class.
        seed: of the lesions.
        difficulty: of the lesions, as of phantom.
        phantom_version: which phantom draws lesions and liver, as of phantom.
        checkpoint: a classifier; default the one that comes with the program.
        out: a new folder.
    """
    from ml.experiment.tissue import paste as pasting
    from ml.experiment.tissue.slices import Folder
    from ml.phantom.lesions import difficulty_of
    from ml.progress import drive

    told = "" if difficulty is None else f" --difficulty {difficulty:g}"
    other = "" if checkpoint is None else " --checkpoint DIR"
    command = (
        f"python -m ml paste --images DIR --masks DIR --spacing-mm {spacing_mm:g} "
        f"--hu {hu[0]:g},{hu[1]:g} --patient '{patient}' --thickness-mm {thickness_mm:g} "
        f"--count {count} --seed {seed} --phantom-version {phantom_version}{told}{other} --out DIR"
    )
    drive(
        pasting.run(
            pasting.Asking(
                Folder(images, masks, spacing_mm, hu, patient),
                count,
                seed,
                thickness_mm,
                command,
                difficulty_of(phantom_version, difficulty),
                checkpoint,
                phantom_version,
            ),
            out,
        )
    )


# The experiment.


@application.command(name="experiment")
def run_experiment(
    *,
    data: Annotated[Path, Parameter(metavar="DATA")],
    preset: Annotated[str | None, Parameter(metavar="NAME")] = None,
    seeds: Annotated[Whole | None, Parameter(metavar="N")] = None,
    out: Annotated[Path, Parameter(metavar="RUN")],
    assignments: Assignments = (),
    device: Annotated[str | None, Parameter(metavar="NAME")] = None,
    jobs: Jobs = 0,
    cluster: Annotated[str | None, Parameter(metavar="ADDRESS")] = None,
    fresh: Annotated[Path | None, Parameter(metavar="DIR")] = None,
    tissue: Annotated[Path | None, Parameter(metavar="PASTED")] = None,
    config: Annotated[Path | None, Parameter(metavar="FILE")] = None,
    resume: bool = False,
    dry_run: bool = False,
) -> None:
    """The paper's whole experiment: folds, generators, arms, statistics.

    Args:
        data: a data set, from prepare.
        preset: quick, compact or paper (wants a GPU); default quick.
        seeds: repeats; default 1.
        out: the run's folder.
        assignments: settings instead of the preset's, such as gan.epochs=40 classic=500+2000.
        device: cpu or cuda, instead of the preset's.
        jobs: tasks at a time; 0: one per core.
        cluster: a Ray cluster that sees DATA, RUN and PASTED, such as auto.
        fresh: where fresh phantoms are kept, for several runs; default RUN/fresh.
        tissue: a folder from paste, whose lesions are a further arm, phantom lesions in real
            tissue; given again with --resume.
        config: the config.json of another run, whose settings and seeds are taken instead of a
            preset's; --set changes single ones.
        resume: go on with RUN, with the settings that it has.
        dry_run: check everything, print the plan, train nothing.
    """
    from ml.config import ConfigError
    from ml.dataset.manifest import Manifest
    from ml.experiment import report
    from ml.experiment import run as experiment
    from ml.experiment.request import Request
    from ml.experiment.tissue.stock import Stock
    from ml.progress import RunDir, drive

    if config and (preset or resume):
        raise ConfigError(
            "--config brings all settings of a run: leave --preset out; with --resume the run has "
            "its own."
        )
    changes = [*assignments, *([f"device={device}"] if device else [])]
    manifest = Manifest.load(data)
    stock = None if tissue is None else Stock.load(tissue)
    asked = (
        Request.again(out, preset, changes, seeds, manifest, stock)
        if resume
        else Request.of_file(config, changes, seeds).with_tissue(stock, manifest).on(manifest)
        if config
        else Request.of(preset, changes, seeds).with_tissue(stock, manifest).fitted(manifest)
    )
    if dry_run:
        for words in experiment.rehearse(
            asked.settings,
            manifest,
            out,
            seeds=asked.seeds,
            jobs=jobs,
            fresh=fresh,
            capped=asked.capped,
            tissue=tissue,
        ):
            print(words, flush=True)
        return
    drive(
        experiment.run(
            asked.settings,
            manifest,
            RunDir(out),
            seeds=asked.seeds,
            jobs=jobs,
            cluster=cluster,
            fresh=fresh,
            command=asked.command,
            capped=asked.capped,
            tissue=tissue,
        )
    )
    drive(report.write(out))


def _numbers(_type: object, tokens: Sequence[Token]) -> tuple[int, ...]:
    text = tokens[0].value
    try:
        return tuple(int(part) for part in text.split("+"))
    except ValueError as error:
        raise ValueError(f"{text!r} is not of the form 20+40+80+160.") from error


@application.command(name="curve")
def learning_curve(
    *,
    preset: Annotated[str, Parameter(metavar="NAME")] = "quick",
    sizes: Annotated[
        tuple[int, ...],
        Parameter(metavar="N+N+…", converter=_numbers, n_tokens=1, accepts_keys=False),
    ] = (20, 40, 80, 160),
    seeds: Annotated[Whole, Parameter(metavar="N")] = 3,
    out: Annotated[Path, Parameter(metavar="OUT")],
    assignments: Assignments = (),
    phantom_version: Annotated[Version, _VERSION] = VERSION,
    device: Annotated[str | None, Parameter(metavar="NAME")] = None,
    jobs: Jobs = 0,
    fresh: Annotated[Path | None, Parameter(metavar="DIR")] = None,
    dry_run: bool = False,
) -> None:
    """Where does synthetic data help? Every arm by the number of training lesions, on phantoms.

    report.md, curve.svg and curve.json in OUT tell what each arm is worth on fresh phantom
    lesions. Given again, the command goes on where it was killed; with more seeds it adds some.

    Args:
        preset: of the experiment: quick, compact or paper (wants a GPU).
        sizes: training lesions, smaller sets part of larger ones.
        seeds: repeats, each with training patients of its own.
        out: the curve's folder.
        assignments: settings instead of the preset's, such as fresh_lesions=6000.
        phantom_version: which phantom is trained and tested on, as of phantom.
        device: cpu or cuda, instead of the preset's.
        jobs: trainings at a time; 0: one per core.
        fresh: where fresh phantoms are kept, for several curves and runs; default OUT/fresh.
        dry_run: check everything, print the plan, train nothing.
    """
    from ml.experiment.curve import run as curve
    from ml.experiment.curve.asked import Asking
    from ml.progress import drive

    changes = [*assignments, *([f"device={device}"] if device else [])]
    asking = Asking.of(preset, sizes, changes, seeds, phantom_version)
    if dry_run:
        for words in curve.rehearse(asking, out, jobs, fresh):
            print(words, flush=True)
        return
    drive(curve.run(asking, out, jobs, fresh))


@application.command(name="report")
def write_report(
    folder: Annotated[Path, Parameter(name="RUN")],
    /,
    *,
    table: bool = False,
    again: bool = False,
    data: Annotated[Path | None, Parameter(metavar="DATA")] = None,
    fresh: Annotated[Path | None, Parameter(metavar="DIR")] = None,
    mlflow: Annotated[str | None, Parameter(metavar="EXPERIMENT")] = None,
) -> None:
    """Write RUN/report.html from RUN/results.json.

    Args:
        folder: the run's.
        table: only print the nested scores, as a Markdown table.
        again: first evaluate the finished run anew from the files of its tasks (no PyTorch);
            needs --data.
        data: the run's data set.
        fresh: its fresh phantoms, where not in RUN/fresh.
        mlflow: then tell the run to MLflow, where that is installed, under this experiment;
            MLFLOW_TRACKING_URI says where.
    """
    from ml.config import ConfigError
    from ml.experiment import again as anew
    from ml.experiment import report
    from ml.progress import drive

    if not again and (data or fresh):
        raise ConfigError("--data and --fresh are for evaluating a run again; give --again too.")
    if again and data is None:
        raise ConfigError(
            "--again needs the data set that the run was of, which is not in the run's folder: "
            "give it with --data DATA."
        )
    if again and data is not None:
        drive(anew.evaluate(folder, data, fresh))
    if table:
        print(report.table(folder), end="")
    else:
        drive(report.write(folder))
    if mlflow is not None:
        from ml.experiment import tracking

        drive(tracking.log(folder, mlflow))


# Reader studies.

Margin = Annotated[float, Parameter(metavar="M")]


@readers.command(name="analyse")
def analyse_ratings(
    file: Annotated[Path, Parameter(name="FILE")],
    /,
    *,
    covariance: Literal["delong", "jackknife"] | None = None,
    margin: Margin = 0.10,
    json: bool = False,
) -> None:
    """Analyse a file of ratings.

    Args:
        file: CSV reader,treatment,case,truth,rating, or .imrmc.
        covariance: of the areas; default delong where it applies.
        margin: of equivalence.
        json: print JSON.
    """
    from ml.readers import files, tables
    from ml.statistics.mrmc import CovarianceMethod

    method = CovarianceMethod(covariance) if covariance else None
    result = tables.analyse_ratings(files.load(file), method, margin=margin)
    _print_result(result.to_json(), tables.analysis_text(result), json)


@readers.command(name="plan")
def plan_study(
    *,
    readers: Annotated[Whole, Parameter(metavar="J")],
    cases: Annotated[Whole, Parameter(metavar="K")],
    effect: Annotated[float, Parameter(metavar="D")],
    components: Annotated[Path | None, Parameter(metavar="FILE")] = None,
    margin: Margin = 0.10,
    alpha: Annotated[float, Parameter(metavar="A")] = 0.05,
    claim: Literal["different", "equivalent", "generators"] | None = None,
    generators: Annotated[Whole, Parameter(metavar="G")] = 2,
    middle: Annotated[float, Parameter(metavar="A")] = 0.65,
    offset: Annotated[float, Parameter(metavar="D")] = 0.0,
    points: Literal[5, 6] = 6,
    pilot: Annotated[Path | None, Parameter(metavar="FILE")] = None,
    cautious: bool = False,
    studies: Annotated[Whole, Parameter(metavar="N")] = 1000,
    grid: bool = False,
    power: Annotated[float, Parameter(metavar="P")] = 0.80,
    seed: Annotated[Whole, Parameter(metavar="S")] = 0,
    jobs: Jobs = 1,
    json: bool = False,
) -> None:
    """How many readers and images: closed formulas first, then simulated studies.

    Args:
        readers: how many readers.
        cases: images under one generator, half of them synthetic; generators share the real ones.
        effect: difference of areas to show.
        components: JSON with var, cov1, cov2, cov3, ms_tr and cases, as analyse --json prints; for
            the closed formulas alone.
        margin: of equivalence.
        alpha: chance of a false positive.
        claim: simulate this one alone.
        generators: how many are compared.
        middle: mean area of the generators that are compared.
        offset: true distance from 0.5 where equivalence is to be shown.
        points: of the answers: 6 for real or synthetic, 5 for graded realism; a pilot says its own.
        pilot: ratings of a pilot study, CSV reader,treatment,case,truth,rating, or .imrmc.
        cautious: take the upper end of the readers' spread in the pilot.
        studies: how many are simulated of each design; 0: closed formulas only.
        grid: simulate a grid of readers and images too, and name the smallest that is enough.
        power: that is wanted of the grid.
        seed: of the simulation.
        jobs: processes at a time; 0: one per core.
        json: print JSON.
    """
    import os

    from ml.config import ConfigError
    from ml.progress import drive
    from ml.readers import files, tables
    from ml.readers.hypothesis import Claim
    from ml.readers.pilots import estimate
    from ml.readers.planning import Planning
    from ml.readers.simulation import QUESTIONS
    from ml.statistics.latent import CUTS_OF_GRADES, Latent
    from ml.statistics.power import Pilot

    if cautious and pilot is None:
        raise ConfigError("--cautious takes the spread of a pilot; name its file with --pilot.")
    model = Latent(cuts=CUTS_OF_GRADES) if points == 5 else None
    found = estimate(files.load(pilot), pilot.name) if pilot else None
    claims = [Claim[claim.upper()]] if claim else tuple(QUESTIONS)
    planning = Planning(
        readers, cases, effect, margin, alpha, claims,
        generators, middle, offset, found.model(cautious) if found else model, found,
        Pilot.load(components) if components else None, studies, seed, grid, power,
    )  # fmt: skip
    drive(planning.run(jobs or os.cpu_count() or 1))
    result = planning.plan()
    _print_result(result.to_json(), tables.study_plan_text(result), json)


@readers.command(name="rehearse")
def rehearse_study(
    *,
    readers: Annotated[Whole, Parameter(metavar="J")] = 5,
    images: Annotated[Whole, Parameter(metavar="K")] = 120,
    studies: Annotated[Whole, Parameter(metavar="N")] = 500,
    area: Annotated[float, Parameter(metavar="A")] = 0.5,
    seed: Annotated[Whole, Parameter(metavar="S")] = 0,
    margin: Margin = 0.10,
    json: bool = False,
) -> None:
    """Simulated readers through the real analysis.

    Args:
        readers: how many readers.
        images: images in all.
        studies: how many studies are simulated.
        area: true AUC before rounding to ratings.
        seed: of the simulation.
        margin: of equivalence.
        json: print JSON.
    """
    from ml.progress import drive
    from ml.readers import tables
    from ml.readers.rehearsal import Design, Rehearsal, RoeMetz

    design = Design(readers, images, margin=margin, ratings=RoeMetz.with_area(area))
    rehearsal = Rehearsal(design, studies, seed)
    drive(rehearsal.run())
    result = rehearsal.outcome()
    _print_result(result.to_json(), tables.rehearsal_text(result), json)


@application.command
def leak_audit(
    *,
    real: Annotated[Path, Parameter(metavar="DIR")],
    synthetic: Annotated[Path, Parameter(metavar="DIR")],
    json: bool = False,
) -> None:
    """Can real and synthetic images be told apart by their files?

    Args:
        real: a folder of real images.
        synthetic: a folder of synthetic ones.
        json: print JSON.
    """
    from ml.leak_audit import audit
    from ml.leak_audit.words import audit_text

    result = audit.audit_folders(real, synthetic)
    _print_result(result.to_json(), audit_text(result), json)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 a refusal (told on stderr), 2 wrong arguments, 130 interrupted."""
    with terminal.ended_tidily():
        return terminal.run(application, argv)


if __name__ == "__main__":
    sys.exit(main())
