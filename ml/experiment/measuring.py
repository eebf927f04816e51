"""Measuring (torch): fidelity, variety, memorisation of synthetic ROIs; the CNNs' features.

Features come from a network of our own: the shipped classifier, which was trained on phantoms.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ml.checkpoints.checkpoint import Checkpoint, CheckpointError, tensors_from_bytes
from ml.checkpoints.members import parted
from ml.config import Experiment, seed_for
from ml.dataset.folds import Fold
from ml.dataset.manifest import Line, Manifest
from ml.experiment import arms, evaluation, measured_lesions
from ml.experiment.folder import RunFolder
from ml.experiment.measured import FEATURE_NETWORK, SHOWN, ResampledPatients
from ml.experiment.outcomes import Distances, Measurement, Missing, NearestPair, Twins
from ml.experiment.results.origin import FeatureFigures
from ml.experiment.results.scores import Selection
from ml.experiment.tasks import OUTER, CutPasted, Measure, Rois, TrainClassifier
from ml.experiment.training_sets import (
    Pixels,
    classic_rois,
    failed_generator,
    fold_of,
    manifest_of,
    synthetic_rois,
    views_each,
    views_needed,
)
from ml.ground.records import to_json
from ml.progress import RunDir
from ml.statistics import classification, copies, fidelity, memorisation, nearness, symmetry
from ml.training import runtime
from ml.training.networks.cnn import Cnn

_BATCH = 256
_LEAST_TWINS = 8
"""Of fewer real lesions nobody can say how alike they are."""


@lru_cache(maxsize=1)
def network() -> Cnn:
    """The feature network, of an ensemble its first; CheckpointError where it is not there."""
    stored = parted(Checkpoint.load(FEATURE_NETWORK).weights())[0]
    tensors = {name: torch.from_numpy(array) for name, array in stored.items()}
    net = Cnn(
        classes=len(tensors["output.bias"]),
        features=len(tensors["dense.bias"]),
        width=len(tensors["conv1.bias"]),
    )
    net.load_state_dict(tensors)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    net.eval()
    return net


def features_of(net: Cnn, rois: Pixels) -> Pixels:
    """(n, features) of ROIs (n, 64, 64) in [-1, 1]."""
    with torch.no_grad():
        parts = [
            net.features(part[:, None])
            for part in torch.split(torch.from_numpy(np.ascontiguousarray(rois)), _BATCH)
        ]
    features: Pixels = torch.cat(parts).numpy()
    return features


def perform(folder: RunFolder, settings: Experiment, task: Measure) -> None:
    """Measure, unless it has been done; leaves ``result.json`` and ``draws.npz``."""
    if folder.has_result(task.name):
        return
    runtime.prepare()
    out = folder.task(task.name)
    try:
        net = network()
    except CheckpointError as error:
        out.write_json("result.json", to_json(Missing(str(error))))
        return
    manifest = manifest_of(folder.data)
    fold = fold_of(manifest, settings, task.seed, task.fold, OUTER)
    scheme = manifest.scheme
    most_rois = settings.fidelity_rois
    if task.kind == Rois.TISSUE:
        there = [folder.result(CutPasted(key)).rois for key in scheme.keys]
        most_rois = min(most_rois, *there)
    elif task.kind != Rois.REAL:
        failed = failed_generator(folder, task.kind, OUTER, task.fold, task.seed, scheme.keys)
        if failed:
            missing = Missing(f"generator {failed[0]} collapsed")
            out.write_json("result.json", to_json(missing))
            return
    row = {line.id: i for i, line in enumerate(manifest.lines)}
    table = measured_lesions.of_data(folder.data, settings.window_hu, with_size=False)
    patients = ResampledPatients.of(manifest, settings)

    def of_lines(lines: Sequence[Line], rois: Pixels) -> nearness.Side:
        owners = tuple(line.patient for line in lines)
        return nearness.Side(
            features=features_of(net, rois).astype(np.float64),
            radiomics=table[[row[line.id] for line in lines]],
            kinds=np.asarray([scheme.index(line.lesion_class) for line in lines]),
            owners=owners,
            weights=patients.of_patients(owners),
        )

    # as many of each class on either side: FID of other sizes is another figure
    lines = [list(fold.train.only(key))[:most_rois] for key in scheme.keys]
    tested = list(fold.test)
    held = np.stack([manifest.roi(line, settings.window_hu) for line in tested])
    most = None
    if task.kind == Rois.REAL:
        chosen = [line for own in lines for line in own]
        rois = np.stack([manifest.roi(line, settings.window_hu) for line in chosen])
        side = of_lines(chosen, rois)
    else:
        most = synthetic_rois(folder, fold, task.kind, OUTER, task.seed, most_rois)
        rois = np.concatenate([most[0][most[1] == i][: len(own)] for i, own in enumerate(lines)])
        each = [f"{task.kind} {i}" for i in range(len(rois))]
        seed = seed_for("fidelity", task.name, settings.seed)
        side = nearness.Side(
            features=features_of(net, rois).astype(np.float64),
            radiomics=measured_lesions.of_rois(rois, manifest, settings.window_hu),
            kinds=np.repeat(np.arange(len(scheme)), [len(own) for own in lines]),
            owners=tuple(each),
            weights=classification.patient_resamples(each, len(patients.weights), seed),
        )
    training = table[[row[line.id] for line in fold.train]]
    seed = seed_for("nearness", task.name, settings.seed)
    draws = nearness.draws(side, of_lines(tested, held), training, seed)
    out.write_arrays("draws.npz", draws)
    distances, twins = None, None
    if most is not None:
        distances = _memorisation(folder, settings, manifest, fold, task, most, held, net)
        twins = _twins(manifest, fold, most, settings.window_hu)
    out.write_json("result.json", to_json(Measurement(len(rois), len(held), distances, twins)))


@dataclass(frozen=True)
class _Found:
    """For each query its nearest reference: ``both`` draws the two as they lie on each other.

    ``symmetries`` are −1 where any turn and shift counts.
    """

    gap: npt.NDArray[np.float64]
    where: npt.NDArray[np.int64]
    symmetries: npt.NDArray[np.int64]
    both: Callable[[int], npt.NDArray[Any]]


_Search = Callable[[Pixels, int], _Found]
"""Among references (m, 64, 64), for queries that are fixed; each so many begin with a lesion as it
is, and views of it follow."""


def _by_description(describe: Callable[[Pixels], Pixels], queries: Pixels) -> _Search:
    asked = memorisation.turns(queries, describe)

    def search(references: Pixels, _each: int) -> _Found:
        gap, where, how = memorisation.nearest(asked, describe(references))

        def both(i: int) -> npt.NDArray[Any]:
            turned = symmetry.turned(queries[i : i + 1], int(how[i]))[0]
            return np.stack([turned, references[where[i]]])

        return _Found(gap, where, how, both)

    return search


_Nearest = Callable[[Pixels, Sequence[Pixels]], copies.Nearest]
"""As `copies.nearest`."""


class _Compared:
    """`copies.nearest`, not twice of the same ROIs: two spaces ask of the same lesions, and to turn
    and shift each reference is most of what a measurement takes."""

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, bytes], copies.Nearest] = {}

    def nearest(self, queries: Pixels, references: Sequence[Pixels]) -> copies.Nearest:
        """The most alike of ``references`` for each of ``queries``."""
        self.together([queries], references)
        return self._known[_digest(queries), _digest(references)]

    def together(self, groups: Sequence[Pixels], references: Sequence[Pixels]) -> None:
        """Compare several groups at once, of which each is asked for later."""
        against = _digest(references)
        new = [one for one in groups if (_digest(one), against) not in self._known]
        if not new:
            return
        found, start = copies.nearest(np.concatenate(new), references), 0
        for one in new:
            self._known[_digest(one), against] = found.of(slice(start, start + len(one)))
            start += len(one)


def _digest(rois: Iterable[Pixels]) -> bytes:
    digest = hashlib.sha256()
    for roi in rois:
        digest.update(roi.tobytes())
    return digest.digest()


def by_features(net: Cnn, queries: Pixels, nearest: _Nearest = copies.nearest) -> _Search:
    """Under the 8 symmetries, and as the lesion most like it by correlation lies on each query.

    A network's features change with turns and shifts; so what is turned and shifted is first laid
    on what it may be a copy of.
    """
    square = _by_description(partial(features_of, net), queries)
    alike = _by_correlation(queries, nearest)

    def search(references: Pixels, each: int) -> _Found:
        found, near = square(references, each), alike(references[::each], 1)
        laid = np.stack([near.both(i) for i in range(len(queries))])
        gap = memorisation.apart(features_of(net, laid[:, 0]), features_of(net, laid[:, 1]))
        better = gap < found.gap
        return _Found(
            np.where(better, gap, found.gap),
            np.where(better, near.where * each, found.where),
            np.where(better, near.symmetries, found.symmetries),
            lambda i: near.both(i) if better[i] else found.both(i),
        )

    return search


def _by_correlation(queries: Pixels, nearest: _Nearest) -> _Search:
    def search(references: Pixels, _each: int) -> _Found:
        among = list(references)
        near = nearest(queries, among)
        anyhow = np.full(len(queries), -1)
        return _Found(near.gap, near.where, anyhow, lambda i: near.both(i, queries, among))

    return search


def _memorisation(
    folder: RunFolder,
    settings: Experiment,
    manifest: Manifest,
    fold: Fold,
    task: Measure,
    synthetic: tuple[Pixels, npt.NDArray[np.int64]],
    held: Pixels,
    net: Cnn,
) -> dict[str, Distances]:
    """Distances class by class, in each space; the nearest pairs go to ``pairs.npz``."""
    scheme = manifest.scheme
    each = views_each(settings, fold, settings.base)
    held_labels = np.asarray([scheme.index(line.lesion_class) for line in fold.test])
    compared = _Compared()
    # correlation tries turns and shifts itself, so that it needs no views
    spaces: dict[str, tuple[int, Callable[[Pixels], _Search]]] = {
        memorisation.PIXELS: (each, partial(_by_description, memorisation.flat)),
        memorisation.FEATURES: (each, lambda rois: by_features(net, rois, compared.nearest)),
        memorisation.COPIES: (0, lambda rois: _by_correlation(rois, compared.nearest)),
    }
    measured: dict[str, Distances] = {}
    pictures: dict[str, npt.NDArray[Any]] = {}
    for space, (views, of) in spaces.items():
        ours: list[tuple[str, npt.NDArray[np.float64]]] = []
        theirs: dict[str, npt.NDArray[np.float64]] = {}
        nearer: list[npt.NDArray[np.bool_]] = []
        pairs: list[tuple[NearestPair, Callable[[], npt.NDArray[Any]]]] = []
        for position, key in enumerate(scheme.keys):
            lines = list(fold.train.only(key))
            queries = synthetic[0][synthetic[1] == position]
            references, _ = classic_rois(folder, manifest, task.seed, lines, views)
            plain = references[:: 1 + views]
            unseen = held[held_labels == position]
            if space != memorisation.PIXELS:
                compared.together([queries, unseen], list(plain))
            search = of(queries)
            found = search(references, 1 + views)
            ours.append((key, found.gap))
            for i in range(len(queries)):
                how = None if found.symmetries[i] < 0 else int(found.symmetries[i])
                pair = NearestPair(
                    lesion_class=key,
                    roi=i,
                    distance=float(found.gap[i]),
                    training_line=lines[int(found.where[i]) // (1 + views)].id,
                    training_view=int(found.where[i]) % (1 + views),
                    symmetry=how,
                    flagged=False,
                )
                pairs.append((pair, partial(found.both, i)))
            if not len(unseen):
                continue
            theirs[key] = of(unseen)(references, 1 + views).gap
            # as many training originals as there are held-out ones: 50 % are nearer to either
            rng = runtime.generator("nearer", task.name, position)
            some = plain[np.sort(rng.permutation(len(plain))[: len(unseen)])]
            few = unseen[np.sort(rng.permutation(len(unseen))[: len(some)])]
            nearer.append(search(some, 1).gap < search(few, 1).gap)
        judged = memorisation.judged(ours, theirs)
        own = np.concatenate([gap for _, gap in ours])
        other = np.concatenate(list(theirs.values()))
        order = np.argsort(own, kind="stable")[:SHOWN]
        pictures[space] = np.stack([pairs[i][1]() for i in order])
        measured[space] = Distances(
            synthetic=tuple(own.tolist()),
            held_out=tuple(other.tolist()),
            threshold=float(np.quantile(other, memorisation.EXPECTED)),
            flagged=int(judged.flagged.sum()),
            nearer_to_training=float(np.concatenate(nearer).mean()),
            nearest_pairs=tuple(
                replace(pairs[i][0], flagged=bool(judged.flagged[i])) for i in order
            ),
            thresholds=judged.thresholds,
            nearer_than_any=int(judged.nearer_than_any.sum()),
        )
    halved = {key: value.astype(np.float16) for key, value in pictures.items()}
    folder.task(task.name).write_arrays("pairs.npz", halved)
    return measured


def _twins(
    manifest: Manifest,
    fold: Fold,
    synthetic: tuple[Pixels, npt.NDArray[np.int64]],
    window_hu: tuple[float, float],
) -> tuple[Twins, ...]:
    """How many synthetic ROIs are alike among themselves, beside as many real ones."""
    told = []
    for position, key in enumerate(manifest.scheme.keys):
        drawn = synthetic[0][synthetic[1] == position]
        lines = list(fold.train.only(key))[: len(drawn)]
        if len(lines) < _LEAST_TWINS:
            continue
        real = copies.twins(np.stack([manifest.roi(line, window_hu) for line in lines]))
        gaps = copies.twins(drawn[: len(lines)])
        alike = gaps < np.quantile(real, memorisation.EXPECTED)
        medians = float(np.median(gaps)), float(np.median(real))
        told.append(Twins(key, len(lines), float(alike.mean()), *medians))
    return tuple(told)


# -- what the CNNs' features show ------------------------------------------------------------------


def embedding(folder: RunFolder, outputs: evaluation.Outputs) -> dict[str, FeatureFigures]:
    """What the features of the first fold's networks show; the arrays go to ``embedding.npz``."""
    picked = outputs.selected(Selection.NESTED, outputs.seeds[0])
    chosen = {
        arm: TrainClassifier(picked[arm].sizes[0], OUTER, 0, outputs.seeds[0]).name
        for arm in (arms.CLASSIC, arms.DCGAN)
        if arm in picked
    }
    figures: dict[str, FeatureFigures] = {}
    arrays: dict[str, npt.NDArray[Any]] = {}
    for name, shown, found in _features(folder, outputs.settings, outputs.manifest, chosen):
        figures[name] = shown
        arrays |= {f"{name}|{key}": value for key, value in found.items()}
    fold = fold_of(outputs.manifest, outputs.settings, outputs.seeds[0], 0, OUTER)
    for key in outputs.keys:
        # what the sample sheets of the generators are to be seen beside
        lines = list(fold.train.only(key))[:32]
        rois, _ = classic_rois(folder, outputs.manifest, outputs.seeds[0], lines, 0)
        arrays[f"real|{key}"] = rois.astype(np.float16)
    RunDir(folder.run).write_arrays("embedding.npz", arrays, compressed=True)
    return figures


def _features(
    folder: RunFolder,
    settings: Experiment,
    manifest: Manifest,
    chosen: dict[str, str],
    views: int = 7,
) -> Iterator[tuple[str, FeatureFigures, dict[str, npt.NDArray[Any]]]]:
    """Features of the first fold's test lesions and their augmentations, per named classifier.

    Args:
        chosen: what to call a classifier → its task's name; its weights were kept.
    """
    fold = fold_of(manifest, settings, settings.seed, 0, OUTER)
    lines = list(fold.test)
    each = min(views, views_needed(manifest, settings, settings.seed))
    rois, labels = classic_rois(folder, manifest, settings.seed, lines, each)
    owners = np.repeat([line.patient for line in lines], 1 + each)
    plain = np.arange(len(labels)) % (1 + each) == 0
    recipe = settings.classifier
    for name, task in chosen.items():
        stored = (folder.task(task).path / "weights.safetensors").read_bytes()
        tensors = tensors_from_bytes(stored)
        net = Cnn(len(manifest.scheme), 0.0, recipe.dropout, recipe.features, recipe.width)
        net.load_state_dict({key: torch.from_numpy(value) for key, value in tensors.items()})
        net.eval()
        features = features_of(net, rois)
        double = features.astype(np.float64)
        figures = FeatureFigures(
            classifier=task,
            lesions=len(lines),
            views_each=each,
            silhouette=_silhouette(double, labels),
            silhouette_originals=_silhouette(double[plain], labels[plain]),
            neighbour_purity=fidelity.neighbour_purity(double, labels, owners),
            neighbour_purity_originals=fidelity.neighbour_purity(
                double[plain], labels[plain], owners[plain]
            ),
        )
        yield name, figures, {"features": features, "labels": labels, "original": plain}


def _silhouette(features: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]) -> float | None:
    """None where it is not defined: one class, or every lesion a class of its own."""
    from sklearn.metrics import silhouette_score

    if not 1 < len(np.unique(labels)) < len(labels):
        return None
    return float(silhouette_score(features, labels))
