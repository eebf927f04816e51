"""Checkpoints: a folder of JSON, ONNX, safetensors and a model card; never pickle, never torch.

checkpoint.json       what it is: config, scheme, data set digest, commit, metrics, file digests
model.onnx            what serves (ONNX Runtime)
weights.safetensors   what training and research go on from
trust.safetensors     what a classifier's answers are made with besides the network, if anything
lesions.safetensors   the lesions of its data set, for cases to be compared with; if they were kept
CARD.md               its card for people (``ml.checkpoints.card``)
words.json            what its owner typed for the card; often there is none
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from ml import config as settings
from ml.checkpoints import metrics
from ml.checkpoints.members import Ensemble
from ml.checkpoints.metrics import (
    ClassifierMetrics,
    HeldOutScore,
    Metrics,
)
from ml.checkpoints.sampler import Sampler
from ml.config import GeneratorKind
from ml.ground.errors import HepaticaError, reason
from ml.ground.records import RecordError, from_json, to_json
from ml.images import greys
from ml.images.ct_slice import ImageKind
from ml.lesion import LesionScheme
from ml.trust import lesions as kept
from ml.trust import record as trusted
from ml.trust.evidence import Missing, TrustError
from ml.trust.lesions import Lesions, LesionsRecord
from ml.trust.record import Figures, Trust

FORMAT = 1
SIMULATED = "trained on simulated CT, no evidence about this patient"
"""Said beside every score of a phantom-trained checkpoint on any other image."""
UNCALIBRATED = (
    "the image has no Hounsfield units, the checkpoint was trained on calibrated CT: "
    "its grey levels mean something else"
)
CALIBRATED = (
    "the checkpoint was trained on images without Hounsfield units, this image has them: "
    "its grey levels mean something else"
)

LEAST_HELD_OUT = 30
"""Of fewer held-out lesions a figure hardly says how often a classifier is right."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")
WEIGHTS = Path(__file__).resolve().parents[1] / "weights"
"""The folder of the checkpoints that come with the software."""
FILES = ("model.onnx", "weights.safetensors")
"""The files of a network, in a checkpoint's folder."""
TRUST_FILE = "trust.safetensors"
LESIONS_FILE = "lesions.safetensors"


class CheckpointKind(StrEnum):
    """What a network does."""

    CLASSIFIER = "classifier"
    """An ROI in, probabilities of the classes out."""
    GENERATOR = "generator"
    """A latent vector in, an ROI of one class out."""


class CheckpointError(HepaticaError):
    """A checkpoint that cannot be loaded or used."""


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint says about itself.

    Attributes:
        lesion_class: the class that a generator draws; None for a classifier.
        window_hu: the window whose ends are −1 and 1 of the network's ROIs.
        training_kind: what the network was trained on.
        grey_range: the grey values whose ends are −1 and 1 for images without HU; None: the full
            range of their type.
        commit: the code that trained it; ends in ``+`` when files differed from that commit.
        metrics: what was measured, by kind.
        preset: the named settings that trained it; "" for others, or where it is not known.
        latent_size: length of a generator's latent vector; None for a classifier.
        command: how to train it again.
        root: the folder, None when it came from elsewhere (a database).
        digests: SHA-256 of ``model.onnx``, ``weights.safetensors`` and, where there are such,
            ``trust.safetensors`` and ``lesions.safetensors``.
        trust: of a classifier, how far its answers can be believed; None: it was not measured.
        ensemble: the networks of a classifier whose mean answers; None: it is one network.
        lesions: of a classifier, the lesions of its data set; None: they were not kept.
        network: of a generator, what draws.
        sampler: of a diffusion model, how it is drawn from; None for anything else.
    """

    name: str
    kind: CheckpointKind
    scheme: LesionScheme
    lesion_class: str | None
    window_hu: tuple[float, float]
    training_kind: ImageKind
    dataset_digest: str
    commit: str
    config: dict[str, Any]
    metrics: Metrics
    latent_size: int | None = None
    command: str = ""
    dataset_name: str = ""
    preset: str = ""
    root: Path | None = None
    digests: dict[str, str] = field(default_factory=dict)
    grey_range: greys.Chosen | None = None
    trust: Figures | None = None
    ensemble: Ensemble | None = None
    lesions: LesionsRecord | None = None
    network: GeneratorKind = GeneratorKind.DCGAN
    sampler: Sampler | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise CheckpointError(
                f"Checkpoint name {self.name!r} must be lower-case letters, digits, '.', '_', '-'."
            )
        self._take("kind", CheckpointKind)
        self._take("training_kind", ImageKind)
        self._take("network", GeneratorKind)
        if self.lesion_class is not None:
            self.scheme.index(self.lesion_class)
        if self.kind == CheckpointKind.GENERATOR and not (self.latent_size and self.lesion_class):
            raise CheckpointError(
                f"Checkpoint {self.name}: a generator names its latent size and lesion class."
            )
        if self.kind == CheckpointKind.GENERATOR and self.ensemble is not None:
            raise CheckpointError(f"Checkpoint {self.name}: generators form no ensemble.")
        if (self.network == GeneratorKind.DIFFUSION) != (self.sampler is not None):
            raise CheckpointError(
                f"Checkpoint {self.name}: a diffusion model has a sampler, and nothing else has."
            )

    def _take(self, name: str, vocabulary: type[StrEnum]) -> None:
        """Make a word the member that it names."""
        word = getattr(self, name)
        try:
            object.__setattr__(self, name, vocabulary(word))
        except ValueError as error:
            raise CheckpointError(
                f"Checkpoint {self.name}: {name.replace('_', ' ')} {word!r} is none of "
                f"{', '.join(vocabulary)}."
            ) from error

    # -- reading -------------------------------------------------------------------------------

    @classmethod
    def load(cls, root: str | Path) -> Checkpoint:
        """Read a checkpoint's folder; its files are checked when they are asked for.

        Raises:
            CheckpointError: no ``checkpoint.json`` there, or not one of this program.
        """
        folder = Path(root)
        try:
            text = (folder / "checkpoint.json").read_text("utf-8")
        except OSError as error:
            raise CheckpointError(
                f"{folder} holds no readable checkpoint.json ({reason(error)}); give the folder "
                "that a training run wrote."
            ) from error
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            raise CheckpointError(f"{folder / 'checkpoint.json'} is not JSON: {error}.") from error
        return replace(cls.from_dict(data), root=folder)

    @classmethod
    def from_dict(cls, data: Any) -> Checkpoint:
        """Read ``to_dict``'s form.

        Raises:
            CheckpointError: a format or a field that this program does not know.
        """
        try:
            if data["format"] != FORMAT:
                raise CheckpointError(
                    f"Checkpoint format {data['format']!r} is not {FORMAT}, the one this program "
                    "reads; train it again or use the matching program."
                )
            low, high = (float(end) for end in data["window_hu"])
            return cls(
                name=str(data["name"]),
                kind=data["kind"],
                scheme=LesionScheme.from_dict(data["scheme"]),
                lesion_class=data["lesion_class"],
                window_hu=(low, high),
                training_kind=data["training_kind"],
                dataset_digest=str(data["dataset_digest"]),
                commit=str(data["commit"]),
                config=dict(data["config"]),
                metrics=metrics.read(data["kind"], data["metrics"]),
                latent_size=data["latent_size"],
                command=str(data.get("command", "")),
                dataset_name=str(data.get("dataset_name", "")),
                preset=str(data.get("preset") or settings.preset_of(data["config"])),
                digests={str(k): str(v) for k, v in data["digests"].items()},
                grey_range=greys.read(data.get("grey_range")),
                trust=trusted.read_figures(data["trust"]) if data.get("trust") else None,
                ensemble=from_json(Ensemble, data["ensemble"], "ensemble")
                if data.get("ensemble")
                else None,
                lesions=kept.read_record(data["lesions"]) if data.get("lesions") else None,
                network=data.get("network", GeneratorKind.DCGAN),
                sampler=from_json(Sampler, data["sampler"], "sampler")
                if data.get("sampler")
                else None,
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            if isinstance(error, HepaticaError) and not isinstance(error, RecordError):
                raise
            raise CheckpointError(f"This is no checkpoint.json of Hepatica: {error!r}.") from error

    def to_dict(self) -> dict[str, object]:
        """What ``checkpoint.json`` holds."""
        return {
            "format": FORMAT,
            "name": self.name,
            "kind": self.kind,
            "scheme": self.scheme.to_dict(),
            "lesion_class": self.lesion_class,
            "window_hu": list(self.window_hu),
            "training_kind": self.training_kind,
            "dataset_name": self.dataset_name,
            "dataset_digest": self.dataset_digest,
            "commit": self.commit,
            "command": self.command,
            "preset": self.preset,
            "config": self.config,
            "metrics": to_json(self.metrics),
            "latent_size": self.latent_size,
            "digests": self.digests,
            **({} if self.grey_range is None else {"grey_range": greys.stored(self.grey_range)}),
            **({} if self.trust is None else {"trust": to_json(self.trust)}),
            **({} if self.ensemble is None else {"ensemble": to_json(self.ensemble)}),
            **({} if self.lesions is None else {"lesions": to_json(self.lesions)}),
            **({} if self.network == GeneratorKind.DCGAN else {"network": self.network}),
            **({} if self.sampler is None else {"sampler": to_json(self.sampler)}),
        }

    def onnx(self) -> bytes:
        """The network as ONNX; CheckpointError when missing or changed since training."""
        return self._read("model.onnx")

    def weights(self) -> dict[str, npt.NDArray[Any]]:
        """The network's tensors by name; CheckpointError when missing or changed.

        Of an ensemble ``ml.checkpoints.members.parted`` gives each network's.
        """
        return tensors_from_bytes(self._read("weights.safetensors"))

    def trust_bytes(self) -> bytes | None:
        """What its answers are made with; None where nothing was measured.

        Raises:
            CheckpointError: missing or changed since training.
        """
        return None if TRUST_FILE not in self.digests else self._read(TRUST_FILE)

    def trust_of(self, data: bytes | None) -> Trust | None:
        """What answers are made with, of the bytes of ``trust.safetensors``; None without any.

        Raises:
            CheckpointError: they do not belong to this checkpoint.
        """
        if self.trust is None:
            return None
        tensors = {} if data is None else tensors_from_bytes(data)
        try:
            return Trust.read(self.trust, tensors, self.scheme.keys)
        except HepaticaError as error:
            raise CheckpointError(f"Checkpoint {self.name}: {error}") from error

    def lesions_bytes(self) -> bytes | None:
        """The lesions of its data set as a file; None where they were not kept.

        Raises:
            CheckpointError: missing or changed since training.
        """
        return None if LESIONS_FILE not in self.digests else self._read(LESIONS_FILE)

    def lesions_of(self, data: bytes) -> Lesions:
        """The lesions, of the bytes of ``lesions.safetensors``.

        Raises:
            CheckpointError: they do not belong to this checkpoint, or it keeps none.
        """
        if self.lesions is None:
            raise CheckpointError(f"Checkpoint {self.name} keeps no lesions of its data set.")
        try:
            return Lesions.read(self.lesions, tensors_from_bytes(data), self.scheme.keys)
        except TrustError as error:
            raise CheckpointError(f"Checkpoint {self.name}: {error}") from error

    def _read(self, file: str) -> bytes:
        if self.root is None:
            raise CheckpointError(f"Checkpoint {self.name} has no folder to read {file} from.")
        try:
            data = (self.root / file).read_bytes()
        except OSError as error:
            raise CheckpointError(
                f"Checkpoint {self.name}: {file} cannot be read ({reason(error)})."
            ) from error
        if hashlib.sha256(data).hexdigest() != self.digests.get(file):
            raise CheckpointError(
                f"Checkpoint {self.name}: {file} is not the file that was trained (its SHA-256 "
                "differs); copy the folder again."
            )
        return data

    @property
    def version(self) -> str:
        """What answers: `version_of` its network and all that its answers are made with besides."""
        trusted = digest_of_trust(self.digests.get(TRUST_FILE), self.trust and to_json(self.trust))
        return version_of(self.digests.get(FILES[0], ""), trusted)

    # -- what it means -------------------------------------------------------------------------

    @property
    def measured_hu(self) -> tuple[float, float] | None:
        """The window in which its ROIs are measured; None where they are grey values, all seen."""
        return None if self.training_kind == ImageKind.UNCALIBRATED else self.window_hu

    @property
    def evaluations(self) -> int:
        """How often a generator's network is computed for one image."""
        return 1 if self.sampler is None else self.sampler.evaluations

    @property
    def held_out(self) -> HeldOutScore | None:
        """The score on patients that this very network never saw; None when nobody was held out."""
        return self.metrics.test if isinstance(self.metrics, ClassifierMetrics) else None

    @property
    def out_of_fold(self) -> HeldOutScore | None:
        """Of an ensemble that saw every lesion: the score of its networks that had not seen each.

        None of another classifier, whose own score says more, and where it was not measured.
        """
        if self.ensemble is None or not self.ensemble.saw_all:
            return None
        return (
            self.metrics.cross_validation if isinstance(self.metrics, ClassifierMetrics) else None
        )

    @property
    def trained_on(self) -> tuple[int, int] | None:
        """Lesions and patients that it was trained on; None where that was not written down."""
        counts = self.metrics.training
        if counts is not None:
            return counts.n_lesions, counts.n_patients
        for note in self.metrics.notes or ():  # of a checkpoint without ``training``
            found = _TRAINED.search(note)
            if found:
                return int(found[1]), int(found[2])
        return None

    @property
    def caveats(self) -> tuple[str, ...]:
        """What speaks against serving it, and must be said beside everything that it says."""
        found = [settings.PROVES_NOTHING] if self.preset == settings.QUICK else []
        if self.kind == CheckpointKind.CLASSIFIER:
            tested = self.held_out or self.out_of_fold
            lesions = tested.n_lesions if tested else 0
            if not lesions:
                found.append("nothing was held out: how often it is right is not known")
            elif lesions < LEAST_HELD_OUT:
                found.append(
                    f"tested on {lesions} held-out lesion{'' if lesions == 1 else 's'}: "
                    "how often it is right is hardly known"
                )
        return tuple(found)

    @property
    def limits(self) -> str:
        """What stands behind it in a few words: preset, training, what was measured on how many."""
        return self.limits_of(calibrated=True)

    def limits_of(self, *, calibrated: bool) -> str:
        """The same, beside one of its numbers.

        Args:
            calibrated: whether that number is: beside another one nothing is said of the images
                that others were calibrated on.
        """
        preset = f"preset {self.preset}" if self.preset else "settings of its own"
        counts = self.trained_on
        on = f", {counts[0]} lesions of {counts[1]} patients" if counts else ""
        said = f"Trained on {KINDS_SAID[self.training_kind]}{on}, {preset}"
        first = f"{self.caveats[0].capitalize()}. " if self.caveats else ""
        if self.kind != CheckpointKind.CLASSIFIER:
            return f"{first}{said}."
        several = f"; mean of {self.ensemble.words}" if self.ensemble else ""
        of_numbers = self.calibrated_on
        if not calibrated and self.trust and not isinstance(self.trust.calibration, Missing):
            of_numbers = "The score is not calibrated for this kind of image"
        return f"{first}{said}{several}; {self.measured}. {of_numbers}."

    @property
    def calibrated_on(self) -> str:
        """Whether its numbers are probabilities, and of what images."""
        if self.trust is None:
            return "The score is not calibrated"
        if isinstance(self.trust.calibration, Missing):
            return f"The score is not calibrated: {self.trust.calibration.missing}"
        counted = self.trust.fitted_on
        return (
            f"Calibrated on {counted.n_lesions} lesions of {counted.n_patients} patients, "
            "out of fold"
        )

    def foreign(self, phantom_image: bool, calibrated: bool) -> str | None:
        """Why its calibration says nothing of an image of this kind; None where it does.

        Args:
            calibrated: whether the image is in HU.
        """
        if phantom_image and not calibrated:
            return "simulated pictures without Hounsfield units are none that it was calibrated on"
        kind = (
            ImageKind.PHANTOM
            if phantom_image
            else ImageKind.CALIBRATED
            if calibrated
            else ImageKind.UNCALIBRATED
        )
        if kind == self.training_kind:
            return None
        return f"it was calibrated on {KINDS_SAID[self.training_kind]}, and this image is none"

    @property
    def measured(self) -> str:
        """How often a classifier was right, with the interval and on how many."""
        test, where = self.held_out or self.out_of_fold, "held-out "
        if test is None:
            return "nothing was held out"
        accuracy = test.balanced_accuracy
        between = alone = ""
        if accuracy.ends is not None:
            low, high = accuracy.ends
            between = f" ({100 * low:.0f} to {100 * high:.0f} %)"
        if self.held_out is None and self.ensemble is not None:
            one = self.ensemble.of_fold == 1
            alone = "each network by itself: " if one else "the networks of each fold: "
            alone, where = f"as a whole not measured, since they saw every lesion; {alone}", ""
        who = "phantom patients" if self.training_kind == ImageKind.PHANTOM else "patients"
        end = ", each by networks that had not seen it" if alone else ""
        return (
            f"{alone}balanced accuracy {100 * accuracy.known:.0f} %{between} on "
            f"{test.n_lesions} lesions of {test.n_patients} {where}{who}{end}"
        )

    def warnings_for(self, phantom_image: bool, calibrated: bool) -> tuple[str, ...]:
        """What must be said beside a result on an image of this kind."""
        warnings = list(self.caveats)
        if self.training_kind == ImageKind.PHANTOM and not phantom_image:
            warnings.append(SIMULATED)
        if not calibrated and self.training_kind != ImageKind.UNCALIBRATED:
            warnings.append(UNCALIBRATED)
        if calibrated and self.training_kind == ImageKind.UNCALIBRATED:
            warnings.append(CALIBRATED)
        return tuple(warnings)


def digest_of_trust(trust_digest: str | None, figures: object) -> str:
    """SHA-256 of all that answers are made with besides the network; "" where there is nothing.

    Of the arrays and of the figures: a temperature, or a threshold of novelty, is one of these.

    Args:
        trust_digest: SHA-256 of ``trust.safetensors``; None: there is none.
        figures: as ``checkpoint.json`` has them under ``trust``; None: it has none.
    """
    if not figures and trust_digest is None:
        return ""
    return hashlib.sha256(json.dumps([trust_digest, figures], sort_keys=True).encode()).hexdigest()


def version_of(onnx_digest: str, trusted: str) -> str:
    """``NETWORK-TRUST``: 12 letters of the network's digest, and 8 of `digest_of_trust` where it is
    any. The same checkpoint has the same version everywhere; another calibration of the same
    network has another one."""
    return f"{onnx_digest[:12]}-{trusted[:8]}" if trusted else onnx_digest[:12]


def shipped() -> tuple[Path, ...]:
    """The folders of the checkpoints that come with the program, by name."""
    return tuple(sorted(path.parent for path in WEIGHTS.glob("*/checkpoint.json")))


def tensors_to_bytes(tensors: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Named arrays of any shape as safetensors, by name; the same ones give the same bytes.

    Raises:
        SafetensorError: a type that the format does not know, such as objects.
    """
    ordered = {name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)}
    return save_tensors(ordered)


def tensors_from_bytes(data: bytes) -> dict[str, npt.NDArray[Any]]:
    """The inverse of ``tensors_to_bytes``; CheckpointError when it is something else."""
    try:
        return load_tensors(data)
    except SafetensorError as error:
        raise CheckpointError(f"The weights are not in safetensors form: {error}.") from error


def current_commit() -> str:
    """The commit of this working tree, ``+`` added when files differ; ``unknown`` outside."""
    here = Path(__file__).resolve().parent

    def git(*arguments: str) -> str:
        done = subprocess.run(  # noqa: S603  fixed program and arguments
            # looking must not lock the index against the person's own git
            ["git", "--no-optional-locks", "-C", str(here), *arguments],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
        return done.stdout.strip()

    try:
        commit = git("rev-parse", "--short=12", "HEAD")
        return commit + ("+" if git("status", "--porcelain", "-uno", "--", str(here)) else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


_TRAINED = re.compile(r"Trained on (?:the )?(\d+) lesions of (\d+) patients")
KINDS_SAID: Mapping[ImageKind, str] = {
    ImageKind.PHANTOM: "simulated CT (phantoms)",
    ImageKind.CALIBRATED: "CT in Hounsfield units",
    ImageKind.UNCALIBRATED: "grey values without Hounsfield units",
}
