"""Settings of training: frozen dataclasses, presets, overrides by name, and the seeds they give.

A setting has one name everywhere: ``gan.epochs`` on the command line, ``{"gan": {"epochs": …}}``
in ``config.json``, ``config.gan.epochs`` in the code.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from ml.ground import seeds
from ml.ground.errors import HepaticaError

C = TypeVar("C", bound="Config")


class ConfigError(HepaticaError):
    """A setting that does not exist, has the wrong type, or an impossible value."""


def _number(value: object) -> object:
    """Written numbers as numbers: "1e3", " 7 ", "1_000"; refuses a boolean, which is none."""
    try:
        if isinstance(value, bool):
            raise ValueError
        if isinstance(value, str):
            return int(value) if value.lstrip("+-").isdigit() else float(value)
    except ValueError:
        raise PydanticCustomError("wanted", "a number") from None
    return value


def _whole(value: object) -> object:
    """``_number`` where only a whole one will do: 3.0 and "1e3" are whole, 1.5 is not."""
    try:
        number = _number(value)
        if isinstance(number, float) and number.is_integer():
            return int(number)
        if isinstance(number, int):
            return number
    except PydanticCustomError:
        pass
    raise PydanticCustomError("wanted", "a whole number")


def _sizes(value: object) -> object:
    """Numbers in one text, "500+1000" or "500, 1000", one by one."""
    return re.split(r"[+,\s]+", value) if isinstance(value, str) else value


Whole = Annotated[int, BeforeValidator(_whole)]
"""A whole number, however it is written."""
Number = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]
"""A finite number, however it is written."""
Sizes = Annotated[tuple[Whole, ...], BeforeValidator(_sizes)]
"""Whole numbers: a list, or a text such as ``500+1000``."""
Shares = Annotated[tuple[Number, ...], BeforeValidator(_sizes)]
"""Numbers: a list, or a text such as ``0.25+0.5+1``."""


def _words(value: object) -> object:
    """Words in one text, "cgan+diffusion" or "cgan, diffusion", one by one; "" is none."""
    return (
        [word for word in re.split(r"[+,\s]+", value) if word] if isinstance(value, str) else value
    )


class _Named:
    """What reads a group of settings refuses names that the group does not have."""

    __pydantic_config__ = ConfigDict(extra="forbid")


def _require(ok: bool, what: str) -> None:
    if not ok:
        raise ConfigError(what)


def _within(of: object, prefix: str, bounds: Mapping[str, tuple[float, float]]) -> None:
    """Refuse a number outside its bounds, both of which are allowed.

    The upper ones are far beyond anything useful: they turn a slip of the finger into a sentence
    instead of hours, or a full memory.
    """
    for name, (low, high) in bounds.items():
        value = getattr(of, name)
        _require(
            low <= value <= high, f"{prefix}{name} must be {low:,} to {high:,}, not {value:,}."
        )


_LARGEST = 2**53
"""JSON's readers agree on whole numbers up to here."""


MOST_VIEWS = 50_000
"""Most views of one lesion."""


@dataclass(frozen=True)
class Augment(_Named):
    """Classic augmentation (Frid-Adar et al. 2018, sections III-A and IV-B).

    Each lesion gets ``rotations`` rotated ROIs; each of these also ``flips`` flips,
    ``translations`` shifts and ``scales`` changes of margin: N = rotations (1 + flips +
    translations + scales) = 480 for the paper's numbers.
    """

    per_fold: Whole = 5000
    """Augmented ROIs added per training fold; the paper's groups: 0, 500 … 5000 … 15000."""
    rotations: Whole = 30
    flips: Whole = 3
    """0–3: up-down, left-right, both."""
    translations: Whole = 7
    scales: Whole = 5
    shift_px: Number = 4.0
    """Largest shift in pixels of the slice …"""
    shift_share: Number = 0.1
    """… and as a share of the lesion's diameter; the smaller of both holds."""
    tissue_low: Number = 0.1
    """Least extra margin per side, in lesion diameters."""
    tissue_high: Number = 0.4

    def __post_init__(self) -> None:
        _within(
            self,
            "augment.",
            {
                "per_fold": (0, 1_000_000),
                "rotations": (1, 3600),
                "flips": (0, 3),  # a picture has three
                "translations": (0, 1000),
                "scales": (0, 1000),
                # a data set keeps no pixels beyond these (ml.images.roi: MAX_SHIFT_PX, MAX_TISSUE)
                "shift_px": (0, 4),
                "shift_share": (0, 1),
            },
        )
        _require(
            0 <= self.tissue_low <= self.tissue_high <= 0.4,
            "augment.tissue_low and tissue_high must be 0 to 0.4, the low one first.",
        )
        # all of a lesion's views are drawn, and then shuffled, before the first is cut
        _require(
            self.per_lesion <= MOST_VIEWS,
            f"augment gives {self.per_lesion} views of a lesion, rotations × (1 + flips + "
            f"translations + scales); at most {MOST_VIEWS} are drawn.",
        )

    @property
    def per_lesion(self) -> int:
        """N, the views that one lesion can give."""
        return self.rotations * (1 + self.flips + self.translations + self.scales)


@dataclass(frozen=True)
class Gan(_Named):
    """DCGAN of one class (Frid-Adar et al. 2018, section III-B); the defaults are the paper's.

    The paper leaves open: the discriminator's widths (here half the generator's, 64-128-256-512),
    the choice of the weights kept (here an exponential moving average at the last epoch).
    """

    width: Whole = 128
    """Channels of the generator's last hidden layer (32 × 32); 8 × as many at 4 × 4."""
    discriminator_width: Whole = 64
    """Channels of the discriminator's first layer."""
    latent: Whole = 100
    epochs: Whole = 70
    batch: Whole = 64
    learning_rate: Number = 2e-4
    beta1: Number = 0.5
    beta2: Number = 0.999
    ema: Number = 0.999
    """Decay per step of the averaged generator; 0 keeps the last weights."""
    sheet_every: Whole = 5
    """Epochs between sample sheets, checks for collapse and saved states."""
    restarts: Whole = 3
    """How often a collapsed training begins again with the next seed."""
    collapse_spread: Number = 0.3
    """Collapsed when the samples' mean pairwise distance falls under this share of the real one."""
    collapse_correlation: Number = 0.2
    """… or when 1 − mean correlation with the nearest other sample falls under this share of the
    same among real ROIs."""

    def __post_init__(self) -> None:
        _within(
            self,
            "gan.",
            {
                "width": (1, 1024),
                "discriminator_width": (1, 1024),
                "latent": (1, 10_000),
                "epochs": (1, 100_000),
                "batch": (2, 4096),  # batch normalisation needs two
                "learning_rate": (1e-12, 1e6),
                "sheet_every": (1, 100_000),
                "restarts": (0, 100),
                "collapse_spread": (0, 1000),
                "collapse_correlation": (0, 1000),
            },
        )
        for name in ("beta1", "beta2", "ema"):
            _require(0 <= getattr(self, name) < 1, f"gan.{name} must be in [0, 1).")


class GeneratorKind(StrEnum):
    """What draws synthetic ROIs."""

    DCGAN = "dcgan"
    """One of each class (Frid-Adar et al. 2018, section III-B)."""
    ACGAN = "acgan"
    """One of all classes, which the discriminator also names (section III-C)."""
    CGAN = "cgan"
    """One of all classes for small data (`Conditional`); not the paper's."""
    DIFFUSION = "diffusion"
    """One of all classes that removes noise step by step (`Diffusion`); not the paper's."""


Kinds = Annotated[tuple[GeneratorKind, ...], BeforeValidator(_words)]
"""Generators: a list, or a text such as ``cgan+diffusion``."""
FURTHER = (GeneratorKind.CGAN, GeneratorKind.DIFFUSION)
"""Generators beyond the paper, which are trained where they are named."""


class Copying(StrEnum):
    """What a training does when its samples are nearer to training lesions than these to others."""

    WARN = "warn"
    """It goes on, and says so wherever it is told of."""
    STOP = "stop"
    """It ends with the weights of the last look at which it did not copy."""


def _refuse_copying(group: str, given: object) -> None:
    _require(given in tuple(Copying), _one_of(f"{group}.copying", Copying, repr(given)))


@dataclass(frozen=True)
class Conditional(_Named):
    """A conditional GAN for small data, beside what it takes from the GAN's own settings.

    Projection discriminator (Miyato & Koyama 2018) under spectral norm (Miyato et al. 2018),
    differentiable geometric augmentation of real and drawn alike (Zhao et al. 2020), averaged
    weights after a long burn-in. Widths, epochs, batch and learning rate are those of ``gan``; in
    an experiment those of ``acgan``, which is one generator of all classes as well.
    """

    shift_px: Whole = 8
    """Largest shift that real and drawn ROIs are shown to the discriminator with, after one of the
    8 symmetries of the square. All are exact: none smooths the grain."""
    burn_in: Number = 0.3
    """Share of the steps before the averaging of weights begins."""
    copying: Copying = Copying.WARN

    def __post_init__(self) -> None:
        _within(self, "cgan.", {"shift_px": (0, 32)})
        _require(0 <= self.burn_in < 1, "cgan.burn_in must be in [0, 1).")
        _refuse_copying("cgan", self.copying)


@dataclass(frozen=True)
class Diffusion(_Named):
    """A class-conditional diffusion model, EDM (Karras et al. 2022), small enough for two cores.

    Batch and number of ROIs are the GAN's, and the epochs are as many as cost the same as the
    conditional GAN of the same settings (`ml.training.budget`).
    """

    width: Whole = 0
    """Channels at 32 × 32; twice as many below. 0: those of the GAN's generator, at most 32."""
    budget: Number = 1.0
    """Of the conditional GAN's multiplications and additions, so many times as many."""
    learning_rate: Number = 1e-3
    beta2: Number = 0.99
    ema: Number = 0.999
    """Decay per step of the averaged weights."""
    sigma_data: Number = 0.5
    """Standard deviation of the ROIs that the preconditioning assumes."""
    noise_mean: Number = -1.2
    """Mean of ln σ in training, σ the noise's standard deviation …"""
    noise_sd: Number = 1.2
    """… and its standard deviation (table 1 of the paper)."""
    sigma_min: Number = 0.002
    """Noise of the last step in drawing but one, after which there is none …"""
    sigma_max: Number = 80.0
    """… and of the first."""
    rho: Number = 7.0
    """How much denser the steps lie at little noise."""
    steps: Whole = 18
    """Of Heun's method in drawing: an image costs twice as many evaluations of the network, less
    one."""
    copying: Copying = Copying.WARN

    def __post_init__(self) -> None:
        _within(
            self,
            "diffusion.",
            {
                "width": (0, 256),
                "budget": (1e-6, 1000),
                "learning_rate": (1e-12, 1e6),
                "sigma_data": (1e-3, 1000),
                "noise_mean": (-20, 20),
                "noise_sd": (1e-3, 20),
                "sigma_min": (1e-6, 1),
                "sigma_max": (1, 1e6),
                "rho": (1, 100),
                "steps": (2, 256),
            },
        )
        for name in ("beta2", "ema"):
            _require(0 <= getattr(self, name) < 1, f"diffusion.{name} must be in [0, 1).")
        _refuse_copying("diffusion", self.copying)


class Schedule(StrEnum):
    """How the learning rate goes through a training."""

    CONSTANT = "constant"
    """The paper's."""
    LINEAR = "linear"
    """It rises over the first tenth of the steps and then falls to 0: few steps end calmly."""


class Precision(StrEnum):
    """What a training step multiplies in; weights and loss stay in float32."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    """Faster on processors that have such instructions."""


class SimpleModel(StrEnum):
    """What the arm ``features`` learns measurements with, the simplest first."""

    RIDGED = "ridged"
    """Logistic regression with a strong ridge."""
    LOGISTIC = "logistic"
    """The same with a weaker one."""
    TREES = "trees"
    """Extremely randomised trees."""


class Mixing(StrEnum):
    """Two training ROIs made into one, with a share of each label."""

    MIXUP = "mixup"
    """Their weighted mean (Zhang et al. 2018, arXiv 1710.09412)."""
    CUTMIX = "cutmix"
    """A rectangle of one in the other (Yun et al. 2019, arXiv 1905.04899)."""


class Committee(StrEnum):
    """Which of the networks that were trained serve together."""

    TEST_FOLD = "test_fold"
    """Those that were trained without the test fold: it tells how often they are right."""
    EVERY_FOLD = "every_fold"
    """Those of every fold: each lesion was seen by some of them, and no figure is of all."""


class Split(StrEnum):
    """How an experiment divides patients into those that are trained on and those that test."""

    FOLDS = "folds"
    """Every patient tests once."""
    GIVEN = "given"
    """The data set names those that test, once and for all (`ml.dataset.folds.given`)."""
    FRESH = "fresh"
    """Every patient trains, and fresh phantoms alone test (`python -m ml curve`)."""


_WORDS: Mapping[str, type[StrEnum]] = {
    "split": Split,
    "classifier.schedule": Schedule,
    "classifier.precision": Precision,
    "classifier.committee": Committee,
    "cgan.copying": Copying,
    "diffusion.copying": Copying,
    "further_generators": GeneratorKind,
}

_OF_ENSEMBLES = ("members", "committee")
MOST_MEMBERS = 10
"""Most networks of one fold."""
MOST_TOGETHER = 30
"""Most networks that serve together."""


def _one_of(name: str, known: Iterable[str], given: str) -> str:
    return f"{name} must be {' or '.join(known)}, not {given}."


@dataclass(frozen=True)
class Classifier(_Named):
    """The paper's CNN and its training (section IV-A); momentum is the usual 0.9, not stated."""

    epochs: Whole = 150
    batch: Whole = 64
    learning_rate: Number = 0.001
    momentum: Number = 0.9
    dropout: Number = 0.5
    features: Whole = 256
    """Width of the dense layer before the output."""
    width: Whole = 32
    """Channels of the first convolution; the second has twice and the third four times as many."""
    schedule: Schedule = Schedule.CONSTANT
    clip: Number = 0.0
    """Longest gradient: larger ones are shortened to it, or a large learning rate can leave a
    network that answers one class for ever. 0, as the paper: any."""
    precision: Precision = Precision.FLOAT32
    members: Whole = 1
    """Networks that are trained on the same patients, alike but for their seeds."""
    committee: Committee = Committee.TEST_FOLD

    def __post_init__(self) -> None:
        _within(
            self,
            "classifier.",
            {
                "members": (1, MOST_MEMBERS),
                "epochs": (1, 100_000),
                "batch": (1, 4096),
                "learning_rate": (1e-12, 1e6),
                "features": (1, 16_384),
                "width": (1, 1024),
                "clip": (0, 1e6),
            },
        )
        # a reader has seen to this; whoever makes one in Python may give any word
        for name, known in _WORDS.items():
            if name.startswith("classifier."):
                given = getattr(self, name.removeprefix("classifier."))
                _require(given in tuple(known), _one_of(name, known, repr(given)))
        _require(0 <= self.momentum < 1, "classifier.momentum must be in [0, 1).")
        _require(0 <= self.dropout < 1, "classifier.dropout must be in [0, 1).")

    @property
    def every_fold(self) -> bool:
        """Whether the networks of all folds serve together."""
        return self.committee == Committee.EVERY_FOLD

    @property
    def of_one(self) -> Classifier:
        """What one network is told, whichever others are trained and serve with it."""
        return dataclasses.replace(self, members=1, committee=Committee.TEST_FOLD)

    def dump(self) -> dict[str, Any]:
        """By name; of an ensemble nothing is said where there is none.

        So a single network's settings, and whatever is named by their digest, are those that they
        were before there were ensembles.
        """
        values, plain = dataclasses.asdict(self), dataclasses.asdict(Classifier())
        for name in _OF_ENSEMBLES:
            if values[name] == plain[name]:
                del values[name]
        return values


@dataclass(frozen=True)
class Config(_Named):
    """Everything that training is told; ``dump`` of it stands in every run folder."""

    seed: Whole = 0
    folds: Whole = 3
    """Parts into which the patients are split; training takes all but one."""
    test_fold: Whole = 0
    """The part held out by ``classifier`` and ``gan``."""
    window_low_hu: Number = -150.0
    window_high_hu: Number = 250.0
    augment: Augment = field(default_factory=Augment)
    gan: Gan = field(default_factory=Gan)
    classifier: Classifier = field(default_factory=Classifier)
    cgan: Conditional = field(default_factory=Conditional)
    diffusion: Diffusion = field(default_factory=Diffusion)

    def __post_init__(self) -> None:
        _within(
            self,
            "",
            {
                "seed": (0, _LARGEST),
                "folds": (2, 1000),
                "window_low_hu": (-32768, 32767),
                "window_high_hu": (-32768, 32767),
            },
        )
        _require(0 <= self.test_fold < self.folds, "test_fold must be in 0 … folds − 1.")
        _require(
            self.window_low_hu < self.window_high_hu, "window_low_hu must be below window_high_hu."
        )
        if self.classifier.every_fold:
            together = self.folds * self.classifier.members
            _require(
                together <= MOST_TOGETHER,
                f"classifier.committee=every_fold serves {together} networks together, folds × "
                f"classifier.members; at most {MOST_TOGETHER} do.",
            )

    @property
    def window_hu(self) -> tuple[float, float]:
        """(low, high) in HU: what the networks see as [−1, 1]."""
        return (self.window_low_hu, self.window_high_hu)

    @property
    def joint(self) -> Gan:
        """Of a generator of all classes: widths, epochs, batch and learning rate."""
        return self.gan

    def dump(self) -> dict[str, Any]:
        """Nested JSON form; ``load`` of it gives an equal Config.

        A list or text that is empty is left out, and generators beyond the paper where nothing was
        set of them: settings from before there were any stay as they were.
        """
        values = {**dataclasses.asdict(self), "classifier": self.classifier.dump()}
        return {
            name: value
            for name, value in values.items()
            if value not in ((), "", _further().get(name, ()))
        }

    def override(self: C, assignments: Sequence[str]) -> C:
        """The same kind of settings with some changed: ``["gan.epochs=40", "seed=1"]``.

        Raises:
            ConfigError: no ``=``, an unknown key (the nearest known one is named), a value of
                the wrong type or out of range.
        """
        values = dataclasses.asdict(self)
        for assignment in assignments:
            key, equals, text = assignment.partition("=")
            if not equals:
                raise ConfigError(f"{assignment!r} sets nothing; write it as key=value.")
            section, leaf = _find(values, key.strip(), type(self))
            section[leaf] = text.strip()
        return load(values, type(self))


MOST_ROIS = 1_000_000
"""Most ROIs of a size of an arm."""


@dataclass(frozen=True)
class Experiment(Config):
    """The paper's whole experiment; the defaults are the paper's (sections III and IV).

    The paper's classic size (5000) is the ``base`` that synthetic ROIs are added to. It is fixed
    before anything is scored, so that every training is independent of every other.
    """

    method_version: Whole = 2
    """1: the paper's arms and the first controls, all compared with classic as one family. 2: also
    the simple model, MixUp, CutMix and repeated lesions, and two primary hypotheses. A run keeps
    the one that it was begun with."""
    classic: Sizes = (500, 1000, 2000, 3000, 5000, 7500, 10000, 15000)
    """Sizes of the classic arm: augmented ROIs added per training fold."""
    base: Whole = 5000
    """Classic ROIs per training fold in every arm with synthetic ROIs, and for the generators."""
    synthetic: Sizes = (100, 500, 1000, 2000, 3000, 4000)
    """Sizes of the arms with synthetic ROIs: added per class and training fold."""
    shares: Shares = ()
    """Instead of ``synthetic``: synthetic ROIs by their share of the ``base`` classic ones, which
    are of real lesions; 0.25+0.5+1, of which nested selection chooses. Empty: ``synthetic``."""
    acgan: Gan = field(default_factory=lambda: Gan(epochs=50, learning_rate=1e-4))
    visual_words: Sizes = ()
    """Sizes of the vocabulary of the arm ``visual-words``, such as 64+256, of which nested
    selection chooses. Empty: no such arm."""
    validation_parts: Whole = 4
    """Nested selection chooses a size on one of so many parts of the training patients."""
    least_steps: Whole = 0
    """Small training sets are gone through more often than ``classifier.epochs`` to reach this
    many steps; 0 leaves the epochs alone, as the paper does."""
    fresh_lesions: Whole = 3000
    """Phantom data only: lesions of fresh patients on which every classifier's true effect is
    measured."""
    oracle_lesions: Whole = 1500
    """Phantom data only: lesions of other fresh patients that stand in for synthetic ROIs."""
    fresh_seed: Whole = 900_000_001
    difficulty: Number = 0.05
    """Difficulty of fresh phantoms; where nobody names it, it becomes the data set's own."""
    fidelity_rois: Whole = 256
    """Synthetic ROIs per class that fidelity and memorisation are measured on."""
    resamples: Whole = 2000
    split: Split = Split.FOLDS
    """Sizes are told per fold in either case: of ``folds`` folds, all but one train."""
    further_generators: Kinds = ()
    """Generators beyond the paper whose arms are added: ``cgan``, ``diffusion``."""
    tissue: str = ""
    """Phantom lesions in real tissue whose arm is added: the digest of what ``python -m ml paste``
    made; ``--tissue`` names its folder and sets this. Empty: no such arm."""
    device: str = "cuda"

    @property
    def joint(self) -> Gan:
        """Of a generator of all classes: widths, epochs, batch and learning rate."""
        return self.acgan

    @property
    def tested_folds(self) -> int:
        """How many folds are trained and tested."""
        return self.folds if self.split == Split.FOLDS else 1

    def synthetic_of(self, classes: int) -> tuple[int, ...]:
        """The sizes of the arms with synthetic ROIs: ROIs per class and training fold.

        Args:
            classes: of the data set, over which a share is spread.
        """
        if not self.shares:
            return self.synthetic
        return tuple(sorted({max(1, round(one * self.base / classes)) for one in self.shares}))

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(
            list(self.shares) == sorted(set(self.shares))
            and len(self.shares) <= 20
            and all(0.01 <= one <= 100 for one in self.shares),
            "shares must be at most 20 numbers from 0.01 to 100, each larger than the one before, "
            "such as 0.25+0.5+1.",
        )
        _require(self.split in tuple(Split), _one_of("split", tuple(Split), repr(self.split)))
        _require(
            self.classifier.of_one == self.classifier,
            "An experiment trains one network of an arm, fold and seed: classifier.members and "
            "classifier.committee are for python -m ml classifier.",
        )
        _require(
            all(kind in FURTHER for kind in self.further_generators)
            and len(set(self.further_generators)) == len(self.further_generators),
            f"further_generators must be {' or '.join(FURTHER)}, each at most once; the paper's "
            "are trained in any case.",
        )
        _require(
            not self.further_generators or self.method_version > 1,
            "further_generators are no part of method_version 1.",
        )
        _require(
            not self.tissue or re.fullmatch("[0-9a-f]{64}", self.tissue) is not None,
            "tissue is the digest of pasted lesions: give their folder with --tissue, which sets "
            "it.",
        )
        _require(
            not self.tissue or self.method_version > 1, "tissue is no part of method_version 1."
        )
        for name in ("classic", "synthetic"):
            sizes = getattr(self, name)
            _require(
                bool(sizes) and min(sizes) >= 1 and list(sizes) == sorted(set(sizes)),
                f"{name} must be whole numbers from 1, each larger than the one before.",
            )
            _require(
                len(sizes) <= 100 and max(sizes) <= MOST_ROIS,
                f"{name} must be at most 100 sizes of at most {MOST_ROIS}.",
            )
        words = self.visual_words
        _require(
            list(words) == sorted(set(words))
            and len(words) <= 20
            and all(2 <= one <= 4096 for one in words),
            "visual_words must be at most 20 whole numbers from 2 to 4096, each larger than the "
            "one before, such as 64+256.",
        )
        _within(
            self,
            "",
            {
                "method_version": (1, 2),
                "base": (1, MOST_ROIS),
                "validation_parts": (2, 1000),
                "least_steps": (0, 10_000_000),
                "fresh_lesions": (10, 1_000_000),
                "oracle_lesions": (10, 1_000_000),
                "fresh_seed": (0, _LARGEST),
                "difficulty": (0, 1),
                "fidelity_rois": (10, 100_000),
                "resamples": (100, 1_000_000),
            },
        )


def _narrow(epochs: int, learning_rate: float) -> Gan:
    return Gan(
        width=8,
        discriminator_width=8,
        epochs=epochs,
        batch=32,
        learning_rate=learning_rate,
        ema=0.98,
        # sheets are where collapse is judged, and half-way these would be called collapsed
        sheet_every=epochs,
    )


def _barely_trained(epochs: int) -> Gan:
    """Some forty steps: enough to go through every line of code; the collapse check is lenient."""
    return Gan(
        width=4,
        discriminator_width=4,
        epochs=epochs,
        batch=32,
        learning_rate=2e-3,
        ema=0.9,
        sheet_every=-(-epochs // 2),
        collapse_spread=0.05,
        collapse_correlation=0.02,
    )


QUICK = "quick"
PROVES_NOTHING = "quick run: shows that everything works, proves nothing"
"""Said of whatever the preset ``quick`` trained."""

TRAININGS: Mapping[str, Config] = {
    QUICK: Config(
        augment=Augment(per_fold=300),
        gan=_barely_trained(epochs=8),
        classifier=Classifier(epochs=4, learning_rate=0.02, features=64, width=8),
    ),
    "shipped": Config(
        gan=Gan(width=24, discriminator_width=16, epochs=20, batch=32, ema=0.995),
        classifier=Classifier(epochs=15, learning_rate=0.02),
    ),
    "paper": Config(),
}
"""Named settings of one training.

``quick``: every step of a training in a minute; its network has learned nothing to speak of.
``shipped``: what stands in ``ml/weights``: networks of a fifth of the paper's width and
smaller batches for the generators, fewer epochs at a larger step for the classifier, so that all of
them train on two CPU cores in under an hour.
``paper``: the widths and sizes of Frid-Adar et al. (2018), for a GPU: hours on a CPU.
"""

EXPERIMENTS: Mapping[str, Experiment] = {
    QUICK: Experiment(
        classic=(100, 300),
        base=300,
        synthetic=(50,),
        gan=_barely_trained(epochs=8),
        acgan=_barely_trained(epochs=3),
        classifier=Classifier(epochs=4, learning_rate=0.02, features=64, width=8),
        least_steps=60,
        fidelity_rois=32,
        # fresh phantoms took most of the time of a run that proves nothing
        fresh_lesions=120,
        oracle_lesions=120,
        resamples=1000,
        device="cpu",
    ),
    "compact": Experiment(
        classic=(500, 1000),
        base=1000,
        synthetic=(100, 400),
        gan=_narrow(epochs=10, learning_rate=1e-3),
        acgan=_narrow(epochs=7, learning_rate=5e-4),
        # the same number of steps for every classifier: few epochs, as many as 600 steps take
        classifier=Classifier(
            epochs=1, learning_rate=0.08, features=64, width=8, schedule=Schedule.LINEAR, clip=1.0
        ),
        least_steps=600,
        fidelity_rois=128,
        device="cpu",
    ),
    "paper": Experiment(),
}
"""Named experiments.

``quick``: every step of the method in a few minutes on two cores; its scores mean nothing.
``compact``: every arm with narrow networks and few sizes, a few minutes a seed on two cores.
``paper``: the widths and sizes of Frid-Adar et al. (2018), on a GPU.
"""


@cache
def _further() -> Mapping[str, object]:
    """What is left out of a dump that does not differ from it."""
    return {
        "cgan": dataclasses.asdict(Conditional()),
        "diffusion": dataclasses.asdict(Diffusion()),
    }


def preset(name: str) -> Config:
    """A preset by name; ConfigError names the known ones."""
    if name not in TRAININGS:
        raise ConfigError(f"There is no preset {name!r}; known: {', '.join(TRAININGS)}.")
    return TRAININGS[name]


def experiment(name: str) -> Experiment:
    """An experiment's preset by name; ConfigError names the known ones."""
    if name not in EXPERIMENTS:
        raise ConfigError(f"There is no preset {name!r}; known: {', '.join(EXPERIMENTS)}.")
    return EXPERIMENTS[name]


def keys(kind: type[Config] = Config) -> tuple[str, ...]:
    """Every setting by its dotted name."""
    return tuple(_dotted(dataclasses.asdict(kind())))


def load(data: Mapping[str, Any] | str | Path, kind: type[C] = Config) -> C:  # type: ignore[assignment]
    """A ``kind`` of settings from its dumped form or a JSON file; absent keys keep their defaults.

    Raises:
        ConfigError: unreadable file, unknown key, wrong type, impossible value.
    """
    if isinstance(data, str | Path):
        try:
            data = json.loads(Path(data).read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"Settings {data} cannot be read: {error}.") from error
    if not isinstance(data, Mapping):
        raise ConfigError("Settings are a JSON object of named values.")
    values = {str(name): value for name, value in data.items()}
    try:
        settings: C = _reader(kind).validate_python(values)  # type: ignore[arg-type]
    except ValidationError as refused:
        raise ConfigError(
            " ".join(_told(error, kind) for error in refused.errors(include_url=False))
        ) from None
    return settings


def kept(dump: Mapping[str, Any]) -> Experiment:
    """An experiment's settings as a run dumped them; one that names no method had the first.

    Raises:
        ConfigError: as ``load``.
    """
    still = {name: value for name, value in dump.items() if name not in _ENDED}
    return load({"method_version": 1, **still}, Experiment)


def named(assignments: Sequence[str]) -> tuple[str, ...]:
    """The settings that assignments such as ``gan.epochs=40`` name."""
    return tuple(assignment.partition("=")[0].strip() for assignment in assignments)


_ENDED = ("permutations",)
"""Settings of earlier versions that change nothing now."""
_NO_PART = ("seed", "device", "test_fold", "method_version", *_ENDED)


def preset_of(settings: Mapping[str, Any]) -> str:
    """The name of the preset that a dump, or a part of one, is of; "" for any other settings.

    Seed, device, fold and method are no part of a preset, nor how many networks serve together: it
    says how each is trained. A dump of an earlier version may lack settings that there are now.
    """
    plain = json.loads(json.dumps(settings))
    kept = {k: v for k, v in plain.items() if k not in _NO_PART}
    if isinstance(recipe := kept.get("classifier"), dict):
        kept["classifier"] = {k: v for k, v in recipe.items() if k not in _OF_ENSEMBLES}
    for group, values in _further().items():
        if kept.get(group) == json.loads(json.dumps(values)):
            del kept[group]  # a checkpoint of such a generator says its group in any case
    known: Mapping[str, Config] = EXPERIMENTS if "classic" in settings else TRAININGS
    for name, made in known.items():
        if kept and _holds(json.loads(json.dumps(made.dump())), kept):
            return name
    return ""


def _holds(whole: Mapping[str, Any], part: Mapping[str, Any]) -> bool:
    return all(
        key in whole
        and (_holds(whole[key], value) if isinstance(value, Mapping) else whole[key] == value)
        for key, value in part.items()
    )


def command(name: str, seeds: int, assignments: Sequence[str] = ()) -> str:
    """The command of an experiment; folders by their role, not their place on one machine."""
    words = [f"python -m ml experiment --data DATA --out RUN --preset {name} --seeds {seeds}"]
    return " ".join([*words, "--set", *assignments] if assignments else words)


def seed_for(*parts: object) -> int:
    """A seed in [0, 2⁶³) hashed (SHA-256) from what names a piece of work.

    ``seed_for("gan", "cyst", fold, seed)`` is the same on every machine and in every order of
    execution, so the cores that share the work change no number.
    """
    return seeds.of_text(json.dumps([str(part) for part in parts]))


def _dotted(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    names: list[str] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            names.extend(_dotted(value, f"{prefix}{key}."))
        else:
            names.append(prefix + key)
    return names


def _unknown(key: str, kind: type[Config]) -> ConfigError:
    near = difflib.get_close_matches(key, keys(kind), n=1, cutoff=0.0)
    return ConfigError(f"There is no setting {key!r}; the nearest is {near[0]!r}.")


def _find(values: dict[str, Any], key: str, kind: type[Config]) -> tuple[dict[str, Any], str]:
    if key not in keys(kind):
        raise _unknown(key, kind)
    *groups, leaf = key.split(".")
    for group in groups:
        values = values[group]
    return values, leaf


@cache
def _reader(kind: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _told(error: ErrorDetails, kind: type[Config]) -> str:
    """One sentence: which setting was given what, and what is allowed."""
    name = ".".join(part for part in error["loc"] if isinstance(part, str))
    given = reprlib.repr(error["input"])
    match error["type"]:
        case "unexpected_keyword_argument":
            return str(_unknown(name, kind))
        case "value_error":  # of a group that was read, and then looked at as a whole
            return str(error["ctx"]["error"])
        case "dataclass_type":
            return f"{name} is a group of settings; set one of them by {name}.name."
        case "tuple_type" if name in _WORDS:
            return f"{name} wants words such as {'+'.join(_WORDS[name])}, not {given}."
        case "tuple_type":
            like = (
                "numbers such as 0.25+0.5+1"
                if name == "shares"
                else "whole numbers such as 500+1000"
            )
            return f"{name} wants {like}, not {given}."
        case "enum":
            return _one_of(name, _WORDS[name], given)
        case "wanted":
            return f"{name} wants {error['msg']}, not {given}."
        case "string_type":
            return f"{name} wants a word, not {given}."
    return f"{name} wants a number, not {given}."  # beyond every float, or none of them
