"""Fidelity, variety and memorisation of the synthetic ROIs, and what the CNNs' features show.

Features come from a network of our own: the shipped classifier, which was trained on phantoms.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ml.checkpoints.checkpoint import WEIGHTS, Checkpoint, CheckpointError, tensors_from_bytes
from ml.config import Experiment, seed_for
from ml.dataset.folds import Fold
from ml.dataset.manifest import Manifest
from ml.experiment import trainings
from ml.experiment.trainings import OUTER, Pixels, Place
from ml.statistics import classification, comparison, fidelity, memorisation, symmetry
from ml.training import runtime
from ml.training.networks.cnn import Cnn

KINDS = ("real", "dcgan", "acgan")
"""``real``: the training lesions in the place of synthetic ROIs, as a baseline."""
NETWORK = "phantom-cnn"
SHOWN = 8
_DRAWN = ("kid", "fid", "density", "coverage")
_BATCH = 256
_RESAMPLES = 500


@dataclass(frozen=True)
class Measure:
    """Measure one kind of ROIs in one fold of one seed."""

    kind: str
    fold: int
    seed: int

    @property
    def name(self) -> str:
        return f"measure-{self.kind}-{self.fold}-{self.seed}"


def tasks(settings: Experiment, seeds: Sequence[int]) -> tuple[Measure, ...]:
    return tuple(
        Measure(kind, fold, seed)
        for seed in seeds
        for fold in range(settings.folds)
        for kind in KINDS
    )


@lru_cache(maxsize=1)
def network() -> tuple[Cnn, Checkpoint]:
    """The feature network; CheckpointError where it is not there."""
    root = WEIGHTS / NETWORK
    meta = Checkpoint.load(root)
    tensors = {name: torch.from_numpy(array) for name, array in meta.weights().items()}
    net = Cnn(
        classes=len(tensors["output.bias"]),
        features=len(tensors["dense.bias"]),
        width=len(tensors["conv1.bias"]),
    )
    net.load_state_dict(tensors)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    net.eval()
    return net, meta


def features_of(net: Cnn, rois: Pixels) -> Pixels:
    """(n, features) of ROIs (n, 64, 64) in [-1, 1]."""
    with torch.no_grad():
        parts = [
            net.features(part[:, None])
            for part in torch.split(torch.from_numpy(np.ascontiguousarray(rois)), _BATCH)
        ]
    told: Pixels = torch.cat(parts).numpy()
    return told


def perform(place: Place, settings: Experiment, task: Measure) -> None:
    """Measure, unless it has been done; leaves ``result.json`` and ``draws.npz``."""
    if place.done(task.name):
        return
    runtime.prepare()
    out = place.task(task.name)
    try:
        net, _ = network()
    except CheckpointError as error:
        out.write_json("result.json", {"missing": str(error)})
        return
    manifest = trainings.manifest_of(place.data)
    fold = trainings.fold_of(manifest, settings, task.seed, task.fold, OUTER)
    held = np.stack([manifest.roi(line, settings.window_hu) for line in fold.test])
    train = np.stack([manifest.roi(line, settings.window_hu) for line in fold.train])
    scheme = manifest.scheme
    train_labels = np.asarray([scheme.index(line.lesion_class) for line in fold.train])
    # as many of each class on either side: FID of other sizes is another figure
    shared = [
        min(int((train_labels == i).sum()), settings.fidelity_rois) for i in range(len(scheme))
    ]
    owners: list[str] | None = None
    if task.kind == "real":
        rows = np.concatenate(
            [np.flatnonzero(train_labels == i)[:count] for i, count in enumerate(shared)]
        )
        drawn, most = train[rows], None
        lines = list(fold.train)
        owners = [lines[row].patient for row in rows]
    else:
        keys = scheme.keys
        failed = [
            name
            for key in keys
            if "failed"
            in place.result(
                name := trainings.generator_of(task.kind, OUTER, task.fold, task.seed, key).name
            )
        ]
        if failed:
            out.write_json("result.json", {"missing": f"generator {failed[0]} collapsed"})
            return
        most = trainings.synthetic_rois(
            place, settings, fold, task.kind, OUTER, task.seed, settings.fidelity_rois
        )
        drawn = np.concatenate([most[0][most[1] == i][:count] for i, count in enumerate(shared)])
    draws = _fidelity(
        settings,
        task,
        _Resampled.of(manifest, settings),
        [line.patient for line in fold.test],
        owners,
        features_of(net, drawn),
        features_of(net, held),
    )
    stream = io.BytesIO()
    np.savez(stream, **draws)  # type: ignore[arg-type]
    out.write_bytes("draws.npz", stream.getvalue())
    result: dict[str, Any] = {"rois": len(drawn), "held_out": len(held)}
    if most is not None:
        result["memorisation"] = _memorisation(
            place, settings, manifest, fold, task, most, held, net
        )
    out.write_json("result.json", result)


@dataclass(frozen=True)
class _Resampled:
    """How often each patient is drawn in each resample; the same in all folds and seeds.

    Seeds repeat the same patients. Drawn anew in each, they would pass for further patients.
    """

    column: dict[str, int]
    weights: npt.NDArray[np.float64]

    @classmethod
    def of(cls, manifest: Manifest, settings: Experiment) -> _Resampled:
        patients = sorted(manifest.patients)
        count = min(settings.resamples, _RESAMPLES)
        weights = classification.patient_resamples(patients, count, settings.seed)
        return cls({patient: i for i, patient in enumerate(patients)}, weights)

    def of_patients(self, owners: Sequence[str]) -> npt.NDArray[np.float64]:
        """(resamples, n) for things of these patients."""
        return self.weights[:, [self.column[owner] for owner in owners]]


def _fidelity(
    settings: Experiment,
    task: Measure,
    resampled: _Resampled,
    tested: Sequence[str],
    owners: Sequence[str] | None,
    drawn: Pixels,
    held: Pixels,
) -> dict[str, npt.NDArray[np.float64]]:
    """Each measure: its value first, then its bootstrap resamples.

    Args:
        tested: patients of ``held``.
        owners: patients of ``drawn``; None for synthetic ROIs, which are drawn one by one.
    """
    first, second = drawn.astype(np.float64), held.astype(np.float64)
    held_weights = resampled.of_patients(tested)
    if owners is None:
        each = [str(i) for i in range(len(drawn))]
        seed = seed_for("fidelity", task.name, settings.seed)
        drawn_weights = classification.patient_resamples(each, len(held_weights), seed)
    else:
        drawn_weights = resampled.of_patients(owners)
    a = np.concatenate([np.ones((1, len(drawn))), drawn_weights])
    b = np.concatenate([np.ones((1, len(held))), held_weights])
    draws = {"kid": fidelity.kid(first, second, a, b), "fid": fidelity.fid(first, second, a, b)}
    if len(held) > 5:
        density, coverage = fidelity.density_parts(second, first)
        draws["density"] = fidelity.weighted_mean(density, a)
        draws["coverage"] = fidelity.weighted_mean(coverage, b)
    return draws


def _memorisation(
    place: Place,
    settings: Experiment,
    manifest: Manifest,
    fold: Fold,
    task: Measure,
    synthetic: tuple[Pixels, npt.NDArray[np.int64]],
    held: Pixels,
    net: Cnn,
) -> dict[str, Any]:
    """Distances class by class, in pixels and features; the nearest pairs go to ``pairs.npz``."""
    scheme = manifest.scheme
    each = trainings.views_each(manifest, settings, fold, settings.base)
    held_labels = np.asarray([scheme.index(line.lesion_class) for line in fold.test])
    spaces: dict[str, Callable[[Pixels], Pixels]] = {
        "pixels": memorisation.flat,
        "features": partial(features_of, net),
    }
    told: dict[str, Any] = {}
    pictures: dict[str, npt.NDArray[Any]] = {}
    for space, describe in spaces.items():
        ours: list[npt.NDArray[np.float64]] = []
        theirs: list[npt.NDArray[np.float64]] = []
        nearer: list[npt.NDArray[np.bool_]] = []
        rows: list[dict[str, Any]] = []
        for position, key in enumerate(scheme.keys):
            lines = list(fold.train.only(key))
            queries = synthetic[0][synthetic[1] == position]
            references, _ = trainings.classic_rois(place, manifest, task.seed, lines, each)
            asked, known = memorisation.turns(queries, describe), describe(references)
            gap, where, how = memorisation.nearest(asked, known)
            ours.append(gap)
            rows += [
                {
                    "class": key,
                    "roi": i,
                    "distance": float(gap[i]),
                    "training_line": lines[int(where[i]) // (1 + each)].id,
                    "training_view": int(where[i]) % (1 + each),
                    "symmetry": int(how[i]),
                    "_pair": (symmetry.turned(queries[i : i + 1], int(how[i]))[0],
                              references[where[i]]),
                }
                for i in range(len(queries))
            ]  # fmt: skip
            unseen = held[held_labels == position]
            if not len(unseen):
                continue
            theirs.append(memorisation.nearest(memorisation.turns(unseen, describe), known)[0])
            # as many training originals as there are held-out ones: 50 % are nearer to either
            plain = known[:: 1 + each]
            rng = runtime.generator("nearer", task.name, position)
            some = plain[np.sort(rng.permutation(len(plain))[: len(unseen)])]
            few = describe(unseen[np.sort(rng.permutation(len(unseen))[: len(some)])])
            to_training = memorisation.nearest(asked, some)[0]
            nearer.append(to_training < memorisation.nearest(asked, few)[0])
        own, other = np.concatenate(ours), np.concatenate(theirs)
        threshold = float(np.quantile(other, memorisation.EXPECTED))
        ranked = sorted(rows, key=lambda row: row["distance"])[:SHOWN]
        pictures[space] = np.stack([np.stack(row.pop("_pair")) for row in ranked])
        told[space] = {
            "synthetic": own.tolist(),
            "held_out": other.tolist(),
            "threshold": threshold,
            "flagged": int((own < threshold).sum()),
            "nearer_to_training": float(np.concatenate(nearer).mean()),
            "nearest_pairs": [{**row, "flagged": row["distance"] < threshold} for row in ranked],
        }
    stream = io.BytesIO()
    np.savez(stream, **{key: value.astype(np.float16) for key, value in pictures.items()})  # type: ignore[arg-type]
    place.task(task.name).write_bytes("pairs.npz", stream.getvalue())
    return told


# -- all folds and seeds together ------------------------------------------------------------------


def collect(
    place: Place, settings: Experiment, manifest: Manifest, seeds: Sequence[int]
) -> dict[str, Any]:
    """``fidelity`` and ``memorisation`` of ``results.json``, and how the generators fared."""
    told: dict[str, Any] = {"generators": _generators(place, settings, manifest, seeds)}
    try:
        _, meta = network()
    except CheckpointError as error:
        missing = {"missing": f"no feature network: {error}"}
        return {**told, "fidelity": missing, "memorisation": missing}
    named = {
        "network": f"{meta.name}: the paper's CNN trained on {meta.dataset_name} "
        f"({meta.training_kind}), digest {meta.dataset_digest[:12]}",
        "trained_on_this_data": meta.dataset_digest == manifest.digest,
        "features": "the dense layer before the output",
    }
    fidelity_of: dict[str, Any] = {}
    memorised: dict[str, Any] = {}
    for kind in KINDS:
        of = [task for task in tasks(settings, seeds) if task.kind == kind]
        done = [task for task in of if "missing" not in place.result(task.name)]
        if not done:
            fidelity_of[kind] = {"missing": place.result(of[0].name)["missing"]}
            continue
        fidelity_of[kind] = _fidelity_of(place, settings, done)
        if kind != "real":
            memorised[kind] = _memorised(place, settings, manifest, done)
    return {
        **told,
        "fidelity": {
            **named,
            "against": "held-out lesions of the same fold; real: the training lesions, as many "
            "of each class as synthetic ones",
            "interval": "95 % bootstrap over patients, seeds and synthetic ROIs, folds averaged; "
            "density's over ROIs drawn and coverage's over held-out lesions alone; FID's is moved "
            "by the bootstrap's own bias",
            "kinds": fidelity_of,
        },
        "memorisation": {
            **named,
            "distance": "root mean square difference to the nearest ROI that the generator was "
            "trained on (augmented ones too), of the same class, under 8 symmetries",
            "flagged_below": f"the {memorisation.EXPECTED:.0%} quantile of the same distance for "
            "held-out lesions",
            "interval": "95 % bootstrap over patients, seeds and synthetic ROIs",
            "kinds": memorised,
        },
    }


def _fidelity_of(place: Place, settings: Experiment, done: Sequence[Measure]) -> dict[str, Any]:
    """Folds averaged, then seeds, which are drawn again within each resample."""
    draws: dict[str, dict[int, list[npt.NDArray[np.float64]]]] = {name: {} for name in _DRAWN}
    for task in done:
        with np.load(place.task(task.name).path / "draws.npz") as stored:
            for name in stored.files:
                draws[name].setdefault(task.seed, []).append(stored[name])
    result: dict[str, Any] = {"folds_and_seeds": len(done)}
    for name, found in draws.items():
        if found:
            by_seed = np.stack([np.mean(folds, axis=0) for folds in found.values()])
            value, drawn = float(by_seed[:, 0].mean()), by_seed[:, 1:]
            turns = comparison.turns(len(drawn), drawn.shape[1], settings.seed).T
            resampled = (drawn * turns).sum(axis=0)
            if name == "fid":
                # a resample has fewer different ROIs, which FID takes for distance
                resampled += value - np.nanmean(resampled)
            result[name] = classification.percentile_interval(value, resampled).to_dict()
    return result


def _memorised(
    place: Place, settings: Experiment, manifest: Manifest, done: Sequence[Measure]
) -> dict[str, Any]:
    result: dict[str, Any] = {}
    patients = _Resampled.of(manifest, settings)
    seeds = sorted({task.seed for task in done})
    turns = comparison.turns(len(seeds), len(patients.weights), settings.seed)
    share = {seed: turns[:, [i]] for i, seed in enumerate(seeds)}
    for space in ("pixels", "features"):
        told = [(task, place.result(task.name)["memorisation"][space]) for task in done]
        ours = np.concatenate([entry["synthetic"] for _, entry in told])
        theirs = np.concatenate([entry["held_out"] for _, entry in told])
        rng = np.random.default_rng([settings.seed, 3])
        one_by_one = [
            rng.poisson(1.0, (len(turns), len(entry["synthetic"]))) * share[task.seed]
            for task, entry in told
        ]
        by_patient = [
            patients.of_patients(_tested(settings, manifest, task)) * share[task.seed]
            for task, _ in told
        ]
        some = _medians(ours, np.concatenate(one_by_one, axis=1))
        other = _medians(theirs, np.concatenate(by_patient, axis=1))
        ratio = float(np.median(ours) / np.median(theirs))
        pairs = [
            {"task": task.name, "fold": task.fold, "seed": task.seed, "place": i, **pair}
            for task, entry in told
            for i, pair in enumerate(entry["nearest_pairs"])
        ]
        pairs.sort(key=lambda pair: pair["distance"])
        flagged = sum(entry["flagged"] for _, entry in told)
        result[space] = {
            "synthetic_rois": len(ours),
            "held_out_lesions": len(theirs),
            "median_synthetic": float(np.median(ours)),
            "median_held_out": float(np.median(theirs)),
            "ratio_of_medians": classification.percentile_interval(ratio, some / other).to_dict(),
            "flagged": flagged,
            "flagged_share": flagged / len(ours),
            "expected_share": memorisation.EXPECTED,
            "nearer_to_training": float(np.mean([e["nearer_to_training"] for _, e in told])),
            "pairs": pairs[:SHOWN],
        }
    return result


def _tested(settings: Experiment, manifest: Manifest, task: Measure) -> list[str]:
    """Patients of the held-out distances of ``_memorisation``: class by class."""
    fold = trainings.fold_of(manifest, settings, task.seed, task.fold, OUTER)
    return [
        line.patient
        for key in manifest.scheme.keys
        for line in fold.test
        if line.lesion_class == key
    ]


def _medians(
    values: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Weighted median of ``values`` (n,) for each row of ``weights`` (resamples, n)."""
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weights[:, order], axis=1)
    return np.asarray(values[order][(below >= below[:, -1:] / 2).argmax(axis=1)])


def _generators(
    place: Place, settings: Experiment, manifest: Manifest, seeds: Sequence[int]
) -> list[dict[str, Any]]:
    rows = []
    for seed in seeds:
        for part in (OUTER, trainings.INNER):
            for fold in range(settings.folds):
                names = [
                    trainings.Generator("dcgan", part, fold, seed, key).name
                    for key in manifest.scheme.keys
                ]
                for name in (*names, trainings.Generator("acgan", part, fold, seed).name):
                    row = place.result(name)
                    patients = row.pop("patients")
                    rows.append({**row, "name": name, "patients": len(patients)})
    return rows


def embedding(
    place: Place, settings: Experiment, manifest: Manifest, chosen: dict[str, str], views: int = 7
) -> Iterator[tuple[str, dict[str, Any], dict[str, npt.NDArray[Any]]]]:
    """Features of the first fold's test lesions and their augmentations, per named classifier.

    Args:
        chosen: what to call a classifier → its task's name; its weights were kept.
    """
    fold = trainings.fold_of(manifest, settings, settings.seed, 0, OUTER)
    lines = list(fold.test)
    each = min(views, trainings.views_needed(manifest, settings, settings.seed))
    rois, labels = trainings.classic_rois(place, manifest, settings.seed, lines, each)
    owners = np.repeat([line.patient for line in lines], 1 + each)
    plain = np.arange(len(labels)) % (1 + each) == 0
    told = settings.classifier
    for name, task in chosen.items():
        stored = (place.task(task).path / "weights.safetensors").read_bytes()
        tensors = tensors_from_bytes(stored)
        net = Cnn(len(manifest.scheme), 0.0, told.dropout, told.features, told.width)
        net.load_state_dict({key: torch.from_numpy(value) for key, value in tensors.items()})
        net.eval()
        features = features_of(net, rois)
        double = features.astype(np.float64)
        figures = {
            "classifier": task,
            "lesions": len(lines),
            "views_each": each,
            "silhouette": _silhouette(double, labels),
            "silhouette_originals": _silhouette(double[plain], labels[plain]),
            "neighbour_purity": fidelity.neighbour_purity(double, labels, owners),
            "neighbour_purity_originals": fidelity.neighbour_purity(
                double[plain], labels[plain], owners[plain]
            ),
        }
        yield name, figures, {"features": features, "labels": labels, "original": plain}


def _silhouette(features: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]) -> float | None:
    """None where it is not defined: one class, or every lesion a class of its own."""
    from sklearn.metrics import silhouette_score

    if not 1 < len(np.unique(labels)) < len(labels):
        return None
    return float(silhouette_score(features, labels))
