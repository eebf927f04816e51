"""What stands beside a classifier's answer: is it worth anything?

On fresh phantom patients, whose seeds nothing else uses, and, where HEPATICA_TEST_DATA is set, on
real images. Phantoms and the networks of real images are kept in ``var/bench-trust``; the first run
makes them: about 10 minutes of each of two idle cores. Every interval is a 95 % one over patients.
"""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
from PIL import Image

from bench import pool
from bench.running import ROOT
from ml.checkpoints import serving
from ml.checkpoints.checkpoint import Checkpoint
from ml.checkpoints.members import parted
from ml.config import Augment, Classifier, Config
from ml.dataset import prepare
from ml.dataset.folds import patient_folds
from ml.dataset.manifest import Manifest
from ml.experiment import fresh_phantoms
from ml.experiment.fresh_phantoms import TEST, Chunk, FreshLesions
from ml.images import measurements, quick, roi
from ml.lesion import LIVER, LesionScheme
from ml.phantom import SHIPPED, series
from ml.statistics import multinomial
from ml.statistics.figure import Figure
from ml.training import classifier, shipped, trying, unlike
from ml.trust import (
    agreement,
    beside,
    calibration,
    conformal,
    randomised,
    saliency,
    together,
    tried,
)
from ml.trust.agreement import Agreeing
from ml.trust.beside import Figures
from ml.trust.calibration import Calibration
from ml.trust.conformal import Coverage
from ml.trust.evidence import Missing, OutOfFold, TrustError, numbered
from ml.trust.novelty import share
from ml.trust.opinion import SecondOpinion
from ml.trust.record import Trust
from ml.trust.saliency import Method, Score
from ml.trust.stability import Bar, Disturbance, Stability, flips
from ml.trust.together import Gain, Together

WINDOW = roi.DEFAULT_WINDOW_HU
FRESH_SEED = 5_000_000
FRESH = int(os.environ.get("HEPATICA_BENCH_FRESH", "3000"))
"""Fresh lesions; fewer while one tries something."""
PATIENTS = min(120, FRESH // 5)
"""Fresh patients that are asked in other ways, on other scanners, and how far from a flip."""
_LARGEST = "the largest lesion of each of these patients, as it is"
_KEPT = ROOT / "var" / "bench-trust"
_DATA = os.environ.get("HEPATICA_TEST_DATA")

Printed = Iterator[str]


@dataclass(frozen=True)
class Lesions:
    """ROIs with all that is known of them; ``folds`` are the network's, -1 for fresh ones."""

    rois: np.ndarray
    labels: np.ndarray
    patients: list[str]
    sizes: list[float | None]
    folds: np.ndarray

    def only(self, chosen: np.ndarray) -> Lesions:
        rows = np.flatnonzero(chosen)
        return Lesions(
            self.rois[rows], self.labels[rows], [self.patients[i] for i in rows],
            [self.sizes[i] for i in rows], self.folds[rows],
        )  # fmt: skip

    @property
    def measured(self) -> measurements.Measured:
        return quick.measure(self.rois, WINDOW, self.sizes)


# -- what is asked of ------------------------------------------------------------------------------


@cache
def _network() -> serving.Classifier:
    found = serving.load(ROOT / "ml/weights/phantom-cnn")
    assert isinstance(found, serving.Classifier)
    return found


@cache
def _known() -> Lesions:
    """The lesions that the shipped classifier was trained and tested on, made again."""
    data = _KEPT / f"{shipped.NAME}-{shipped.SEED}-{shipped.DIFFICULTY:g}-{SHIPPED}"
    if not (data / "manifest.json").exists():
        images = _KEPT / f"dicom-{os.getpid()}"
        for _ in series.write_cohort(
            shipped.COUNTS, shipped.SEED, images, shipped.DIFFICULTY, True, SHIPPED
        ):
            pass
        for _ in prepare.dicom(images, LIVER, data):
            pass
    return _of(Manifest.load(data), _network().meta.config)


def _of(manifest: Manifest, config: dict[str, object]) -> Lesions:
    fold_of = {
        line.id: fold.index
        for fold in patient_folds(manifest, int(str(config["folds"])), int(str(config["seed"])))
        for line in fold.test
    }
    lines = manifest.lines
    return Lesions(
        manifest.rois(WINDOW),
        np.asarray([manifest.scheme.index(line.lesion_class) for line in lines]),
        [line.patient for line in lines],
        [line.size_mm for line in lines],
        np.asarray([fold_of[line.id] for line in lines]),
    )


@cache
def _fresh() -> Lesions:
    chunks = tuple(
        Chunk(TEST, i, 1, FRESH_SEED, shipped.DIFFICULTY, WINDOW, SHIPPED)
        for i in range(FRESH // (3 * fresh_phantoms.CHUNK))
    )
    missing = [one for one in chunks if not fresh_phantoms.is_made(one, _KEPT)]
    for _ in pool.each(partial(fresh_phantoms.make, folder=_KEPT), missing):
        pass
    found: FreshLesions = fresh_phantoms.load(chunks, TEST, _KEPT, LIVER.keys)
    count = len(found.labels)
    return Lesions(
        found.rois[:, 0], found.labels, found.patients.tolist(), found.diameters_mm.tolist(),
        np.full(count, -1),
    )  # fmt: skip


@cache
def _tried() -> trying.Answered:
    each = pool.each(
        partial(unlike.of_patient, difficulty=shipped.DIFFICULTY, version=SHIPPED), range(PATIENTS)
    )
    pictures = [one for some in each for one in some]
    return trying.answered(_network(), _trust(), _trust().novelty, pictures)


@cache
def _trust() -> Trust:
    found = _network().trust
    assert found is not None and found.novelty is not None
    return found


def _opinion(lesions: Lesions, measured: measurements.Measured | None = None) -> SecondOpinion:
    return SecondOpinion.fit(
        measured or lesions.measured, lesions.labels, lesions.patients, LIVER.keys, 0,
        folds=lesions.folds if len(np.unique(lesions.folds)) > 1 else None,
    )  # fmt: skip


# -- what is printed -------------------------------------------------------------------------------


def section() -> Printed:
    for part in (
        probabilities,
        networks,
        sets,
        measured,
        opinions,
        detections,
        stability,
        moved,
        robustness,
        nodules,
    ):
        yield f"-- {part.__doc__}"
        yield from part()


def _percent(one: Figure) -> str:
    if one.value is None:
        return "not defined"
    if one.ends is None:
        return f"{100 * one.value:.1f} %"
    return f"{100 * one.value:.1f} % ({100 * one.ends[0]:.1f} to {100 * one.ends[1]:.1f})"


def _told(figures: Figures) -> str:
    return (
        f"balanced accuracy {_percent(figures.balanced_accuracy)}, AUC {_percent(figures.auc)}, "
        f"log loss {figures.log_loss}, Brier {figures.brier}"
    )


def _pair(first: str, second: str, found: beside.Beside) -> Printed:
    yield f"{found.n_lesions} lesions of {found.n_patients} patients"
    yield f"{first}: {_told(found.features)}"
    yield f"{second}: {_told(found.network)}"
    yield (
        f"difference: balanced accuracy {_percent(found.balanced_accuracy)}, AUC "
        f"{_percent(found.auc)}, log loss {found.log_loss}, Brier {found.brier}"
    )


@cache
def _answered() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the fresh lesions: the network's own probabilities, the calibrated ones, patients."""
    fitted = _trust().figures.calibration
    assert isinstance(fitted, Calibration)
    logits = _network().outputs(_fresh().rois).logits.astype(np.float64)
    return multinomial.softmax(logits), fitted.probabilities(logits), numbered(_fresh().patients)


def probabilities() -> Printed:
    """the network's numbers as probabilities, on fresh lesions"""
    before, after, patients = _answered()
    labels = _fresh().labels
    yield f"{len(labels)} lesions of {len(np.unique(patients))} patients"
    every = OutOfFold(before, labels, patients, np.zeros(len(labels), int), LIVER.keys)
    for name, table in (("before", before), ("after", after)):
        yield from _reliable(name, table, every)


def _reliable(name: str, table: np.ndarray, of: OutOfFold) -> Printed:
    found = calibration.reliability(table, of.labels, of.patients, of.classes, 0)
    shifts = ", ".join(f"{key} {one}" for key, one in found.intercepts.items())
    yield (
        f"{name}: slope {found.slope}, calibration error {found.error} (by chance "
        f"{found.error_by_chance:.3f}), Brier {found.brier}, log loss {found.log_loss}; "
        f"intercepts {shifts}"
    )


def networks() -> Printed:
    """the networks of an ensemble together and by themselves, on fresh lesions"""
    network, labels = _network(), _fresh().labels
    told = network.meta.ensemble
    if told is None:
        yield "the shipped classifier is one network"
        return
    outputs, (plain, scaled, patients) = network.outputs(_fresh().rois), _answered()
    assert outputs.members is not None
    each = np.moveaxis(outputs.members.astype(np.float64), 1, 0)
    yield f"{told.words}; {len(labels)} lesions of {len(np.unique(patients))} patients"
    yield from _agreed(agreement.agreeing(plain, outputs.members, labels, patients))
    alone, served = (multinomial.softmax(each / heat) for heat in (1.0, _trust().temperature))
    for name, mean, members in (
        ("as they are, against each", plain, alone),
        ("by the temperature that serves, against each", scaled, served),
        ("by the temperature that serves, against the first", scaled, served[:1]),
    ):
        yield from _gained(name, together.gain(mean, members, labels, patients))


def _agreed(found: Agreeing | Missing) -> Printed:
    if isinstance(found, Missing):
        yield found.missing
        return
    yield (
        f"all name one class: {_percent(found.unanimous)}; right where they do: "
        f"{_percent(found.right_unanimous)} of {found.right_unanimous.n}, where they do not: "
        f"{_percent(found.right_divided)} of {found.right_divided.n}"
    )


def _gained(name: str, found: Gain | Missing) -> Printed:
    yield f"{name}:"
    if isinstance(found, Missing):
        yield f"  {found.missing}"
        return
    accuracy = found.balanced_accuracy
    yield (
        f"  balanced accuracy {_percent(accuracy.ensemble)} against {_percent(accuracy.members)}, "
        f"difference {_percent(accuracy.difference)}"
    )
    for what, one in (
        ("log loss", found.log_loss),
        ("Brier", found.brier),
        ("slope", found.slope),
        ("calibration error", found.error),
    ):
        yield (
            f"  {what} {_exact(one.ensemble)} against {_exact(one.members)}, difference "
            f"{'of the distances from 1 ' if what == 'slope' else ''}{_exact(one.difference)}"
        )


def _exact(one: Figure) -> str:
    if one.value is None or one.ends is None:
        return str(one)
    return f"{one.value:.3f} ({one.ends[0]:.3f} to {one.ends[1]:.3f})"


def sets() -> Printed:
    """how often the true class is in the prediction set, on fresh lesions, one a patient"""
    _, after, patients = _answered()
    own = _trust().sets
    labels = _fresh().labels
    chosen = conformal.one_each(patients, labels)
    for level in (0.9, 0.95):
        try:
            assert own is not None
            inside = conformal.members(after[chosen], own.thresholds(level))
        except TrustError as error:
            yield f"{100 * level:g} %: {error}"
            continue
        yield from _covered(conformal.coverage(inside, labels[chosen], LIVER.keys, level))


def _covered(found: Coverage) -> Printed:
    yield f"{100 * found.level:g} %: {_percent(found.overall)} of {found.overall.n} lesions"
    for name, rows in (("class", found.by_class), ("size", found.by_size)):
        yield "  " + ", ".join(f"{name} {key} {_percent(one)}" for key, one in rows.items())
    yield "  " + ", ".join(
        f"{100 * share:.0f} % of the sets have {size}" for size, share in found.sizes.items()
    )


def measured() -> Printed:
    """quick measurements against all of them"""
    lesions = _known()
    every = measurements.measure(lesions.rois, WINDOW, lesions.sizes)
    few = lesions.measured
    both = [_opinion(lesions, one).out_of_fold for one in (few, every)]
    found = beside.beside(lesions.labels, *both, lesions.patients, LIVER.keys)
    yield from _pair(f"{len(few.of)} quick", f"{len(every.of)} in all", found)
    one, size = lesions.rois[:1], lesions.sizes[:1]
    times = {
        "network": _milliseconds(lambda: _network().outputs(one)),
        "quick": _milliseconds(lambda: quick.measure(one, WINDOW, size)),
        "all": _milliseconds(lambda: measurements.measure(one, WINDOW, size), 30),
    }
    opinion, novelty = _trust().opinion, _trust().novelty
    outputs = _network().outputs(one)
    times["novelty"] = _milliseconds(lambda: novelty.judge(outputs.features, few.values[:1]))
    times["opinion"] = _milliseconds(lambda: opinion.opinions(few.values[:1]))
    yield "one ROI, median: " + ", ".join(f"{name} {ms:.2f} ms" for name, ms in times.items())


def _milliseconds(work: Callable[[], object], count: int = 200) -> float:
    work()
    spent = []
    for _ in range(count):
        begun = time.perf_counter()
        work()
        spent.append(time.perf_counter() - begun)
    return 1000 * float(np.median(spent))


def opinions() -> Printed:
    """the second opinion against the network"""
    lesions, network = _known(), _network()
    held_out = lesions.folds == int(str(network.meta.config["test_fold"]))
    if network.meta.ensemble is not None and network.meta.ensemble.saw_all:
        held_out[:] = False
    model = _opinion(lesions)
    yield f"out of fold, {len(lesions.labels)} lesions: {_told(model.figures)}"
    trained = lesions.only(~held_out)
    own = _opinion(trained)
    yield "trained on the network's own training lesions, asked of fresh ones:"
    fresh = _fresh()
    answers = own.probabilities(fresh.measured.values)
    _, theirs, _ = _answered()
    found = beside.beside(fresh.labels, answers, theirs, fresh.patients, LIVER.keys)
    yield from _pair("measurements", "network, calibrated", found)
    yield found.sentence
    of = own.opinions(fresh.measured.values[:600])
    spoken = np.mean([": as in " in one.reasons[0] for one in of])
    yield f"{100 * spoken:.0f} % of {len(of)} have a reason that is a measurement by itself"


def detections() -> Printed:
    """unlike the training ROIs: how often it is said"""
    novelty, fresh = _trust().novelty, _fresh()
    yield (
        f"threshold from {novelty.n_held_out} held-out lesions of {novelty.n_patients} patients; "
        f"false alarms among them {_percent(novelty.false_alarms)}"
    )
    rows = [_detection("fresh", "fresh lesions of the same kind", fresh.rois, fresh.sizes,
                       fresh.patients)]  # fmt: skip
    rows += trying.detections(_tried(), {unlike.PLAIN: _LARGEST, **unlike.UNLIKE})
    if _DATA:
        rows += list(_real(Path(_DATA)))
    else:
        yield "HEPATICA_TEST_DATA is not set: nothing real was asked of"
    for row in rows:
        yield f"{row.what}: {_percent(row.rate)} of {row.rate.n}"


def _detection(
    name: str, what: str, rois: np.ndarray, sizes: Sequence[float | None], patients: Sequence[str]
) -> tried.Detection:
    pictures = [
        unlike.Picture(name, roi, size, who, who, "")
        for roi, size, who in zip(rois, sizes, patients, strict=True)
    ]
    found = trying.answered(_network(), _trust(), _trust().novelty, pictures)
    return tried.detection(name, what, found.flagged, patients)


def _real(folder: Path) -> Iterator[tried.Detection]:
    """Lung nodules, and tumours in slices of liver CT."""
    with (folder / "nodules_ct64" / "labels.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    nodules = []
    for row in rows:
        grey = np.asarray(Image.open(folder / "nodules_ct64" / row["file"]), np.float64)
        hu = -1000 + 1400 * grey / 65535
        nodules.append(roi.normalise(hu.astype(np.float32), WINDOW))
    names = [row["patient"] for row in rows]
    yield _detection("nodules", "lung nodules (real)", np.stack(nodules), [None] * len(rows), names)
    tumours, owners = [], []
    base = folder / "liver_slices" / "hepatic_vessel"
    for path in sorted((base / "images").iterdir()):
        mask = np.asarray(Image.open(base / "masks" / path.name).convert("RGB"))
        red = (mask[..., 0] > 127) & (mask[..., 1] < 128)
        ys, xs = np.nonzero(red)
        if len(ys) < 50:
            continue
        grey = np.asarray(Image.open(path).convert("L")).astype(np.int16)
        box = roi.Box(
            float(xs.min()), float(ys.min()), float(np.ptp(xs) + 1), float(np.ptp(ys) + 1)
        )
        tumours.append(roi.normalise(roi.cut(grey, box, None, None), WINDOW))
        owners.append(path.stem.split("_")[0] if "_" in path.stem else path.stem)
    if tumours:
        what = "liver tumours in CT (real; grey taken for HU from 0 to 255)"
        yield _detection("tumours", what, np.stack(tumours), [None] * len(tumours), owners)


def stability() -> Printed:
    """how far until the class flips"""
    found = list(pool.each(_asked, range(PATIENTS)))
    spent = [one for _, one in found]
    yield (
        f"{PATIENTS} fresh lesions, {found[0][0].views} views each: median "
        f"{np.median(spent):.2f} s, longest {max(spent):.2f} s"
    )
    for kind in Disturbance:
        bars = [bar for one, _ in found for bar in one.bars if bar.disturbance == kind]
        flipped = np.asarray([bar.flips_at is not None for bar in bars])
        owners = [str(i) for i in range(len(bars))]
        unit, reach = bars[0].unit, max(max(bar.tried, default=0) for bar in bars)
        yield (
            f"{bars[0].words}: median distance {_median(bars, reach)} {unit}; "
            f"{_percent(share(flipped, owners))} flip within {reach:g} {unit}"
        )


def _median(bars: Sequence[Bar], reach: float) -> str:
    """The distance within which half of the lesions flip, with its interval over patients.

    A lesion that no step flips is farther than every step.
    """
    at = np.asarray([np.inf if bar.flips_at is None else bar.flips_at for bar in bars])
    drawn = np.random.default_rng(0).integers(len(at), size=(2000, len(at)))
    medians = np.quantile(at[drawn], 0.5, axis=1, method="higher")
    value = np.quantile(at, 0.5, method="higher")
    low, high = np.quantile(medians, [0.025, 0.975], method="higher")
    told = [f"{one:g}" if np.isfinite(one) else f"over {reach:g}" for one in (value, low, high)]
    return f"{told[0]} ({told[1]} to {told[2]})"


def _asked(index: int) -> tuple[Stability, float]:
    patient = series.patient(unlike.SEED, shipped.DIFFICULTY, index, version=SHIPPED)
    image = patient.key_slice(1)
    found = image.box(1)
    assert found is not None
    box = roi.Box(*found)

    def cut(dx: float, dy: float, scale: float) -> np.ndarray:
        x, y = box.center
        mark = roi.Box.centred(x + dx, y + dy, box.width * scale, box.height * scale)
        return roi.normalise(roi.cut(image.hu, mark, image.spacing_mm, roi.AIR_HU), WINDOW)

    plain = cut(0, 0, 1)
    begun = time.perf_counter()
    answer = flips(
        _network().probabilities, cut, plain,
        classes=LIVER.keys, window_hu=WINDOW, diameter_px=max(box.width, box.height),
    )  # fmt: skip
    return answer, time.perf_counter() - begun


def moved() -> Printed:
    """maps of what moves the score, against those of networks with random weights"""
    network, fresh = _network(), _fresh()
    own = saliency.networks(parted(network.meta.weights()))
    first = np.unique(fresh.patients, return_index=True)[1][:PATIENTS]
    lesions = fresh.only(np.isin(np.arange(len(fresh.labels)), first))
    named = network.outputs(lesions.rois).logits.argmax(axis=1)
    for method in Method:
        checks, spent = [], []
        for i in range(len(named)):
            pixels, score = lesions.rois[i : i + 1], Score(named[i : i + 1].tolist())
            begun = time.perf_counter()
            seen = [one.see(pixels) for one in own]
            saliency.maps(seen, pixels, score, method)
            drawn = time.perf_counter()
            checks += randomised.check(seen, pixels, score, method)
            spent.append((drawn - begun, time.perf_counter() - drawn))
        found = randomised.of_many(checks, method, lesions.patients)
        alone, checked = 1000 * np.median(spent, axis=0)
        yield (
            f"{method.words}, of the class that is named, {found.n} lesions of {found.n_patients} "
            f"patients: {_percent(found.passing)} pass, {found.empty} are empty; median "
            f"{alone:.0f} ms for the map, {checked:.0f} ms for its check"
        )
        for step in found.steps:
            yield (
                f"  random from the output to {step.layers[-1]}: rank correlation {step.rank}, "
                f"with sign {step.signed}, structural similarity {step.structure}"
            )


def robustness() -> Printed:
    """the same patients scanned, shown and marked otherwise"""
    yield f"{PATIENTS} lesions of as many patients; each beside itself as it is"
    ways = {**unlike.SCANS, **unlike.VIEWS}
    yield from _changes(trying.disturbances(_tried(), ways, LIVER.keys))


def _changes(rows: Sequence[tried.Disturbed]) -> Printed:
    for row in rows:
        yield (
            f"{row.what}: another class {_percent(row.flipped)}, balanced accuracy by "
            f"{_percent(row.accuracy)}, the true class's probability by {_percent(row.probability)}"
        )


def nodules() -> Printed:
    """real lung nodules, out of fold: measurements against the network, both trained here"""
    if not _DATA:
        yield "HEPATICA_TEST_DATA is not set"
        return
    scheme = LesionScheme.from_dict(
        {"name": "nodules", "classes": [{"key": k} for k in ("non_solid", "sub_solid", "solid")]}
    )
    data, run = _KEPT / "nodules", _KEPT / "nodules-run"
    if not (data / "manifest.json").exists():
        for _ in prepare.images(Path(_DATA) / "nodules_ct64", scheme, data):
            pass
    manifest = Manifest.load(data)
    settings = Config(
        augment=Augment(per_fold=1500),
        classifier=Classifier(epochs=15, learning_rate=0.02, features=64, width=8, members=3),
    )
    for _ in classifier.train(data, settings, run, cross_validate=True):
        pass
    lesions, ensemble = _of(manifest, settings.dump()), Checkpoint.load(run / "checkpoint")
    served = replace(ensemble, ensemble=None)
    logits = np.full((len(lesions.labels), len(scheme)), np.nan)
    for fold in np.unique(lesions.folds):
        out = lesions.folds == fold
        held = serving.Classifier((run / f"fold-{fold}" / "model.onnx").read_bytes(), served)
        logits[out] = held.outputs(lesions.rois[out]).logits
    every = OutOfFold(
        logits, lesions.labels, numbered(lesions.patients), lesions.folds, scheme.keys
    )
    yield from _reliable("before", multinomial.softmax(logits), every)
    scaled = calibration.cross_fitted(every)
    yield from _reliable("after, each fold by the others", scaled, every)
    for level in (0.9, 0.95):
        covered = conformal.cross_covered(every, scaled, level)
        if covered is None:
            yield f"{100 * level:g} %: too few calibration lesions"
        else:
            yield from _covered(covered)
    values = quick.measure(lesions.rois, None)
    model = SecondOpinion.fit(
        values, lesions.labels, lesions.patients, scheme.keys, 0, folds=lesions.folds
    )
    found = beside.beside(lesions.labels, model.out_of_fold, scaled, lesions.patients, scheme.keys)
    yield from _pair("measurements", "network (an eighth of the paper's width), calibrated", found)
    yield found.sentence
    yield f"such as: {model.opinions(values.values[:1])[0].reasons[0]}"
    assert ensemble.trust is not None
    worth = ensemble.trust.together
    assert isinstance(worth, Together)
    yield f"{worth.networks} networks of a fold together, out of fold"
    yield from _agreed(worth.agreeing)
    yield from _gained("as they are, against each", worth.before)
    yield from _gained("each by its own temperature, against each", worth.after)
    figures = served.trust
    assert figures is not None
    if isinstance(figures.detections, Missing) or isinstance(figures.robustness, Missing):
        raise RuntimeError(f"not tried: {figures.detections}, {figures.robustness}")
    yield f"tried on {figures.detections.tried_on}"
    for row in figures.detections.rows:
        yield f"flagged as unlike: {row.what}: {_percent(row.rate)} of {row.rate.n}"
    yield from _changes(figures.robustness.rows)
