"""A classifier tried on what it was not trained on: two tables of its card.

Of one that was trained on phantoms: on phantom patients that no training saw, other parts and other
scans of them. Of any other: on its own lesions, each by the network that had not seen it, in the
ways that can be made of an ROI.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ml.config import seed_for
from ml.dataset.folds import Fold
from ml.dataset.manifest import Line, Manifest
from ml.images import quick
from ml.images.ct_slice import ImageKind
from ml.phantom import series
from ml.phantom.lesions import CLASSES, difficulty_of
from ml.phantom.patient import slice_uids
from ml.progress import Progress
from ml.statistics import multinomial
from ml.training import unlike
from ml.training.unlike import PLAIN, PROCESSED, SCANS, UNLIKE, VIEWS, Picture
from ml.trust import tried
from ml.trust.calibration import Calibration
from ml.trust.evidence import Missing, numbered
from ml.trust.novelty import Novelty, Reference
from ml.trust.record import Trust
from ml.trust.together import on_others
from ml.trust.tried import Detection, Detections, Disturbed, Robustness

if TYPE_CHECKING:  # the whole experiment trains where there is no ONNX
    from ml.checkpoints.serving import Classifier

_OWN = 3
"""Of a data set's own patients, which cost less, so many times as many are asked about at most."""
_NODULES = "lung nodules, or real images of anything else"
_NO_IMAGES = "no such images come with the software"
_NO_PHANTOM = "this needs images of another part or another scan of the same patients"

Floats = npt.NDArray[np.float64]
Step = Generator[Progress, None, Trust]


@dataclass(frozen=True)
class Answered:
    """Pictures (n) with what was said of each.

    Attributes:
        probabilities: (n, classes) as they are served: calibrated where there is a calibration.
        flagged: (n,) as unlike the training ROIs; None where that is not known.
    """

    pictures: Sequence[Picture]
    probabilities: Floats
    flagged: npt.NDArray[np.bool_] | None


def answered(
    network: Classifier, trust: Trust, novelty: Novelty | None, pictures: Sequence[Picture]
) -> Answered:
    """What a network says of pictures.

    Args:
        trust: whose temperature is used.
        novelty: by the training ROIs of this very network; None: nothing is flagged.

    Raises:
        NoveltyError: a novelty score of another network.
    """
    rois = np.stack([one.pixels for one in pictures])
    outputs = network.outputs(rois)
    flagged = None
    if novelty is not None:
        sizes = [one.diameter_mm for one in pictures]
        values = quick.measure(rois, network.meta.measured_hu, sizes).values
        flagged = novelty.scores(outputs.features, values) > novelty.threshold
    return Answered(
        pictures,
        multinomial.softmax(outputs.logits.astype(np.float64) / trust.temperature),
        flagged,
    )


def together(parts: Iterable[Answered]) -> Answered:
    """Several as one; flagged where all are."""
    every = list(parts)
    flags = [one.flagged for one in every if one.flagged is not None]
    return Answered(
        [picture for one in every for picture in one.pictures],
        np.concatenate([one.probabilities for one in every]),
        np.concatenate(flags) if len(flags) == len(every) else None,
    )


def detections(found: Answered, ways: Mapping[str, str]) -> tuple[Detection, ...]:
    """How often the pictures of each way are flagged; a way without any is left out.

    Raises:
        ValueError: whether they are flagged is not known.
    """
    if found.flagged is None:
        raise ValueError("no novelty score")
    rows = []
    for name, what in ways.items():
        own = [row for row, one in enumerate(found.pictures) if one.name == name]
        if own:
            owners = [found.pictures[row].patient for row in own]
            rows.append(tried.detection(name, what, found.flagged[own], owners))
    return tuple(rows)


def disturbances(
    found: Answered, ways: Mapping[str, str], classes: Sequence[str]
) -> tuple[Disturbed, ...]:
    """How the answers to each lesion change from `PLAIN` on; a way without any is left out.

    Args:
        classes: keys, in the order of the probabilities.

    Raises:
        ValueError: a lesion of none of them.
    """
    plain = {one.lesion: row for row, one in enumerate(found.pictures) if one.name == PLAIN}
    rows = []
    for name, what in ways.items():
        after = [row for row, one in enumerate(found.pictures) if one.name == name]
        if after:
            own = [found.pictures[row] for row in after]
            rows.append(
                tried.disturbed(
                    name,
                    what,
                    np.asarray([classes.index(one.lesion_class) for one in own]),
                    found.probabilities[[plain[one.lesion] for one in own]],
                    found.probabilities[after],
                    [one.patient for one in own],
                )
            )
    return tuple(rows)


def tables(
    manifest: Manifest,
    network: Classifier,
    trust: Trust,
    folds: Sequence[Fold],
    networks: Mapping[int, tuple[Classifier, Reference | Missing]],
    patients: int,
    seed: int,
) -> Step:
    """Try the network that serves, on phantoms where its data set is of phantoms.

    Args:
        network: that serves, with its ``trust``.
        networks: of each fold, with the ROIs that it was trained on.

    Returns:
        ``trust`` with both tables.

    Yields:
        Progress of its own, from 0.
    """
    if of_phantoms(manifest):
        return (yield from on_phantoms(manifest, network, trust, patients))
    return (yield from on_own_lesions(manifest, folds, networks, trust, patients, seed))


def on_phantoms(manifest: Manifest, network: Classifier, trust: Trust, patients: int) -> Step:
    """Try a network on fresh phantom patients; about 0.8 s of one core for each.

    Args:
        manifest: what it was trained on, phantoms of the liver's classes (`of_phantoms`).
        trust: of this network.

    Returns:
        ``trust`` with both tables.

    Yields:
        One Progress a patient.
    """
    known = {line.phantom_uid for line in manifest.lines} - {""}
    difficulty = difficulty_of(manifest.of_phantom, manifest.difficulty)
    parts = []
    for index in range(patients):
        patient = series.patient(unlike.SEED, difficulty, index, version=manifest.of_phantom)
        if known & set(slice_uids(patient)):
            why = f"the phantom patients of seed {unlike.SEED} are in its data set"
            return _with(trust, Missing(why), Missing(why))
        pictures = unlike.of_phantom(patient, network.meta.window_hu)
        parts.append(answered(network, trust, trust.novelty, pictures))
        yield Progress(index + 1, patients, f"tried on {index + 1} of {patients} fresh phantoms")
    told = (
        f"the largest lesion of each of {patients} phantom patients that no training saw (patients "
        f"0 to {patients - 1} of seed {unlike.SEED}, difficulty {difficulty:g}, phantom "
        f"{manifest.phantom})"
    )
    found = together(parts)
    trust = _ensemble(network, trust, found.pictures, told)
    ways = {PLAIN: "the lesions as they are, which should not be flagged", **UNLIKE}
    return _tabled(trust, found, told, ways, {**SCANS, **VIEWS}, manifest.scheme.keys,
                   {_NODULES: _NO_IMAGES}, {})  # fmt: skip


def _ensemble(network: Classifier, trust: Trust, pictures: Sequence[Picture], told: str) -> Trust:
    """With what the networks of an ensemble are worth together, which they tell of these alone."""
    if network.meta.ensemble is None:
        return trust
    plain = [one for one in pictures if one.name == PLAIN]
    outputs = network.outputs(np.stack([one.pixels for one in plain]))
    if outputs.members is None:
        raise ValueError("an ensemble that does not tell what each of its networks says")
    fitted, keys = trust.figures.calibration, network.meta.scheme.keys
    found = on_others(
        outputs.logits.astype(np.float64),
        outputs.members.astype(np.float64),
        np.asarray([keys.index(one.lesion_class) for one in plain]),
        numbered([one.patient for one in plain]),
        fitted if isinstance(fitted, Missing) else fitted.temperature,
        told,
    )
    return replace(trust, figures=replace(trust.figures, together_elsewhere=found))


def on_own_lesions(
    manifest: Manifest,
    folds: Sequence[Fold],
    networks: Mapping[int, tuple[Classifier, Reference | Missing]],
    trust: Trust,
    patients: int,
    seed: int,
) -> Step:
    """Try the networks of all folds, each on lesions that it had not seen.

    Args:
        networks: of each fold, with the ROIs that it was trained on.
        trust: of the network that serves: its temperature and its threshold are used.
        patients: `_OWN` times as many are asked about at most.
        seed: draws them.

    Returns:
        ``trust`` with both tables.

    Yields:
        One Progress a fold.
    """
    everyone = sorted(manifest.patients)
    rng = np.random.default_rng(seed_for("tried", seed))
    chosen = {everyone[i] for i in rng.permutation(len(everyone))[: _OWN * patients]}
    parts = []
    for done, fold in enumerate(folds, 1):
        network, reference = networks[fold.index]
        novelty = None
        if trust.novelty is not None and isinstance(reference, Reference):
            novelty = replace(trust.novelty, reference=reference)
        lines = [line for line in fold.test if line.patient in chosen]
        parts += [
            answered(network, trust, novelty, one) for one in _pictures(manifest, lines, network)
        ]
        yield Progress(done, len(folds), f"tried on the lesions of {done} of {len(folds)} folds")
    many = f"{len(chosen)}" if len(chosen) == len(everyone) else f"{len(chosen)} of {len(everyone)}"
    told = (
        f"lesions of {many} patients of its data set, each by the network of the fold that held it "
        "out; all is made of their ROIs"
    )
    found = together(parts)
    seen = {one.name for one in found.pictures}
    return _tabled(
        trust, found, told, UNLIKE, {**PROCESSED, **VIEWS}, manifest.scheme.keys,
        {_NODULES: _NO_IMAGES, **_untried(UNLIKE, seen)}, _untried({**SCANS, **VIEWS}, seen),
    )  # fmt: skip


def of_phantoms(manifest: Manifest) -> bool:
    """Whether phantoms of the same kind and classes can be made."""
    return manifest.kind == ImageKind.PHANTOM and set(manifest.scheme.keys) == set(CLASSES)


def _pictures(
    manifest: Manifest, lines: Sequence[Line], network: Classifier
) -> Iterable[list[Picture]]:
    return (unlike.of_line(manifest, line, network.meta.window_hu) for line in lines)


def _untried(ways: Mapping[str, str], seen: set[str]) -> dict[str, str]:
    marks = "its images are the ROIs themselves, or end at the lesion"
    return {
        what: marks if name.startswith(("mark", "off")) else _NO_PHANTOM
        for name, what in ways.items()
        if name not in seen
    }


def _tabled(
    trust: Trust,
    found: Answered,
    told: str,
    unlike_ways: Mapping[str, str],
    other_ways: Mapping[str, str],
    classes: Sequence[str],
    not_flagged: Mapping[str, str],
    not_disturbed: Mapping[str, str],
) -> Trust:
    plain = [row for row, one in enumerate(found.pictures) if one.name == PLAIN]
    own = [found.pictures[row] for row in plain]
    owners = [one.patient for one in own]
    truth = np.asarray([classes.index(one.lesion_class) for one in own])
    patients = len(set(owners))
    return _with(
        trust,
        trust.figures.novelty
        if isinstance(trust.figures.novelty, Missing)
        else Detections(told, patients, detections(found, unlike_ways), untried=not_flagged),
        Robustness(
            told,
            len(own),
            patients,
            tried.accuracy(truth, found.probabilities[plain], owners),
            isinstance(trust.figures.calibration, Calibration),
            disturbances(found, other_ways, classes),
            untried=not_disturbed,
        ),
    )


def _with(trust: Trust, flagged: Detections | Missing, disturbed: Robustness | Missing) -> Trust:
    figures = replace(trust.figures, detections=flagged, robustness=disturbed)
    return replace(trust, figures=figures)
