"""Patient-separated folds: no patient is ever on both sides, and no synthetic ROI is ever a test.

Frid-Adar et al. (2018, section IV-A): three folds, separated by patient, balanced over classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ml.config import Experiment, Split, seed_for
from ml.dataset.manifest import Line, Manifest, Source
from ml.ground.counted import counted
from ml.ground.errors import HepaticaError
from ml.lesion import LesionScheme


class LeakageError(HepaticaError):
    """A test patient in training, or a synthetic ROI in a test set."""


class FoldError(HepaticaError):
    """A data set that cannot be split as asked: too few patients, or a class that runs out."""


@dataclass(frozen=True)
class Part:
    """One side of a fold: lines of a manifest, in the manifest's order."""

    lines: tuple[Line, ...]

    def __iter__(self) -> Iterator[Line]:
        return iter(self.lines)

    def __len__(self) -> int:
        return len(self.lines)

    @property
    def patients(self) -> frozenset[str]:
        """Whose lesions they are; a patient with several lesions once."""
        return frozenset(line.patient for line in self.lines)

    def only(self, lesion_class: str) -> Part:
        """The lines of one class."""
        return Part(tuple(line for line in self.lines if line.lesion_class == lesion_class))


@dataclass(frozen=True)
class Fold:
    """Training and test lines of one split.

    Raises:
        LeakageError: a patient on both sides, or a synthetic line in ``test``.
    """

    index: int
    scheme: LesionScheme
    train: Part
    test: Part

    def __post_init__(self) -> None:
        both = self.train.patients & self.test.patients
        if both:
            raise LeakageError(
                f"Patient {min(both)!r} is in training and in test of fold {self.index}; "
                "split the patients, not their ROIs."
            )
        for line in self.test:
            if line.source == Source.SYNTHETIC:
                raise LeakageError(
                    f"ROI {line.id} in the test set of fold {self.index} is synthetic; "
                    "only real lesions and phantoms can test."
                )

    def validation(self, parts: int, seed: int) -> Fold:
        """This fold's training patients split again: for choosing settings without the test set.

        The first of ``parts`` folds: about 1 / ``parts`` of every class is its ``test``.

        Raises:
            FoldError: too few training patients for ``parts``, or a class that runs out among them.
        """
        return split(self.train, self.scheme, parts, seed)[0]


def patient_folds(manifest: Manifest, k: int, seed: int) -> tuple[Fold, ...]:
    """``k`` folds over the patients of a manifest, stratified by class; every lesion tests once.

    Raises:
        FoldError: fewer patients than folds, or a class without a training patient somewhere.
        LeakageError: the manifest holds synthetic lines.
    """
    return split(Part(tuple(manifest.lines)), manifest.scheme, k, seed)


_PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""Words of the group ``split`` → the part that they mean."""


def part_of(word: str) -> str | None:
    """Which part the word of a group ``split`` means: train, val or test; None if it is none."""
    return _PARTS.get(word.strip().lower())


def parts_told(manifest: Manifest) -> dict[str, Part] | None:
    """The parts ``train``, ``val`` and ``test`` that the group ``split`` of a data set tells.

    None unless every line is in one of them, and both training and test have some.
    """
    told = [part_of(line.groups.get("split", "")) for line in manifest.lines]
    if None in told or not {"train", "test"} <= set(told):
        return None
    return {
        name: Part(
            tuple(line for line, own in zip(manifest.lines, told, strict=True) if own == name)
        )
        for name in ("train", "val", "test")
    }


def given(manifest: Manifest) -> tuple[Fold, Fold | None]:
    """The one fold that the data set names, and the one on whose test part settings are chosen.

    The first trains on what is for training and for validation. The second is within its training
    part; None where the data set names nothing for validation.

    Raises:
        FoldError: no such split, or a class without a lesion in one of the parts.
        LeakageError: a patient in two parts, or a synthetic line that tests.
    """
    parts = parts_told(manifest)
    if parts is None:
        raise FoldError(
            "The data set names no split of its own: every lesion needs train, val or test in the "
            "column split, and some of them test. Without it leave split=given out: every patient "
            "tests once, in folds."
        )
    train, val, test = parts["train"], parts["val"], parts["test"]
    for name, one in parts.items():
        missing = [key for key in manifest.scheme.keys if not len(one.only(key))]
        if len(one) and missing:
            raise FoldError(
                f"Of class {missing[0]!r} the column split has no lesion in {name}; give some, or "
                "leave the split to the program with --set split=folds."
            )
    try:
        inner = Fold(0, manifest.scheme, train, val) if len(val) else None
        tested = {line.id for line in test}
        whole = Part(tuple(line for line in manifest.lines if line.id not in tested))
        return Fold(0, manifest.scheme, whole, test), inner
    except LeakageError as error:
        raise LeakageError(
            f"The column split does not keep patients apart: {error} Correct it, or leave the "
            "split to the program with --set split=folds."
        ) from error


def folds_of(manifest: Manifest, settings: Experiment, seed: int) -> tuple[Fold, ...]:
    """The folds that an experiment trains and tests in one seed; raises as they do."""
    if settings.split == Split.GIVEN:
        return (given(manifest)[0],)
    if settings.split == Split.FRESH:
        return (Fold(0, manifest.scheme, Part(tuple(manifest.lines)), Part(())),)
    return patient_folds(manifest, settings.folds, seed)


def inner_of(manifest: Manifest, settings: Experiment, seed: int, fold: Fold) -> Fold:
    """The fold, within a fold's training part, on whose test part sizes and models are chosen."""
    inner = given(manifest)[1] if settings.split == Split.GIVEN else None
    return inner or fold.validation(settings.validation_parts, seed)


def split(part: Part, scheme: LesionScheme, k: int, seed: int) -> tuple[Fold, ...]:
    """``patient_folds`` of some lines.

    Patients go, those with most lesions first and equals in seeded order, each to the fold that
    is then nearest to an equal share of every class.

    Raises:
        FoldError: fewer than two folds or patients than folds, or a class without a lesion, or
            without one to train on somewhere.
        LeakageError: a line is synthetic.
        SchemeError: a line's class is not in the scheme.
    """
    synthetic = [line for line in part if line.source == Source.SYNTHETIC]
    if synthetic:
        raise LeakageError(
            f"ROI {synthetic[0].id} is synthetic; folds are made of real lesions or phantoms only."
        )
    names = sorted(part.patients)
    if k < 2 or len(names) < k:
        raise FoldError(
            f"{counted(len(names), 'patient')} cannot make {k} folds; two or more are needed each "
            "way."
        )
    counts = {name: np.zeros(len(scheme)) for name in names}
    for line in part:
        counts[line.patient][scheme.index(line.lesion_class)] += 1
    total = np.sum(list(counts.values()), axis=0)
    for key, number in zip(scheme.keys, total, strict=True):
        if number == 0:
            raise FoldError(
                f"Class {key!r} has no lesion; give some, or leave it out of the scheme."
            )

    rng = np.random.default_rng(seed_for("folds", seed))
    order = [names[i] for i in rng.permutation(len(names))]
    order.sort(key=lambda name: -counts[name].sum())
    target = total / k
    held = np.zeros((k, len(scheme)))
    patients = np.zeros(k)
    chosen: dict[str, int] = {}
    for left, name in zip(range(len(order), 0, -1), order, strict=True):
        empty = np.flatnonzero(patients == 0)
        options = empty if len(empty) >= left else np.arange(k)
        # squared shortfall of each class, as a share of its target, that this patient removes
        gain = (
            ((target - held) / target) ** 2 - ((target - held - counts[name]) / target) ** 2
        ).sum(axis=1)
        best = max(options, key=lambda i: (round(float(gain[i]), 9), -patients[i], -i))
        chosen[name] = int(best)
        held[best] += counts[name]
        patients[best] += 1

    folds = tuple(
        Fold(
            index,
            scheme,
            Part(tuple(line for line in part if chosen[line.patient] != index)),
            Part(tuple(line for line in part if chosen[line.patient] == index)),
        )
        for index in range(k)
    )
    for fold in folds:
        for key in scheme.keys:
            if not len(fold.train.only(key)):
                raise FoldError(
                    f"All lesions of class {key!r} fall into fold {fold.index}, so none is left to "
                    "train on; give more patients of that class, or fewer folds."
                )
    return folds
