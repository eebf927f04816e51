"""The machine that a run computes on (torch): what it is, and how fast it does what a run does."""

from __future__ import annotations

import platform
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from math import inf
from pathlib import Path
from statistics import fmean

import joblib
import numpy as np
import numpy.typing as npt
import torch

from ml.config import Experiment, Gan, GeneratorKind
from ml.dataset.augment import views_of
from ml.dataset.manifest import Manifest
from ml.experiment import fresh_phantoms
from ml.experiment.costs import Rates, nominal
from ml.experiment.results.origin import Device
from ml.experiment.training_sets import manifest_of
from ml.images.roi import View
from ml.phantom import Version
from ml.phantom.lesions import CLASSES
from ml.statistics import classification
from ml.training import acgan, classifier, cnn_steps, gan, gan_steps, joint, runtime
from ml.training.learner import Learner

LANES = {"generator": 4, "classifier": 8}
"""Trainings that share a GPU at a time: with more, an H100 made no more steps in all."""
_BESIDE_S = {"generator": 1.6, "classifier": 0.33}
"""Seconds of an H100 that a training costs beside its steps: reading, the first steps of each size,
drawing, scoring, writing. From a run of 24 generators and 54 classifiers (DECISIONS.md, GPU)."""
_PROBES = 4
"""Processes that are timed at most where the trainings are on a GPU: there the cores do little."""
_FEW, _LEAST = 8, 2
"""ROIs of the first steps that are timed: at the paper's widths a whole batch takes a CPU long."""
_LONG_S = 0.5
"""A step that takes longer is not timed whole, but counted up from the few."""
_TIMED_S = 0.4
"""For so long is each kind of work timed."""
_STEPS = 16
"""Of the epochs that are timed on a GPU."""


def described(settings: Experiment) -> Device:
    """The device that the settings name, and the machine that it is in."""
    gpu = None
    if settings.device.startswith("cuda"):
        gpu = torch.cuda.get_device_name(runtime.device(settings.device))
    return Device(
        device=settings.device,
        machine=platform.machine(),
        processor=_processor(),
        python=platform.python_version(),
        torch=str(torch.__version__),
        gpu=gpu,
    )


def _processor() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def rates(settings: Experiment, manifest: Manifest, jobs: int) -> Rates:
    """How fast this machine does what a run does, while every core has such work.

    Args:
        jobs: tasks at a time on the cores: so many processes are timed at the same time.
    """
    if settings.device.startswith("cuda"):
        with ThreadPoolExecutor(1) as beside:
            of_gpu = beside.submit(_of_a_gpu, settings, len(manifest.scheme))
            cores = _of_the_cores(settings, manifest, min(jobs, _PROBES))
            return replace(cores, **of_gpu.result())
    return _of_the_cores(settings, manifest, jobs)


def _of_the_cores(settings: Experiment, manifest: Manifest, processes: int) -> Rates:
    started = time.perf_counter()
    probe = partial(_of_a_core, settings, manifest.root)
    if processes == 1:
        found = [probe(0)]
    else:
        with joblib.parallel_config("loky", inner_max_num_threads=1):
            work = joblib.Parallel(n_jobs=processes)
            found = work(joblib.delayed(probe)(i) for i in range(processes))
    ended = time.perf_counter()
    together = Rates(
        *(fmean(one) for one in zip(*(_numbers(rate) for _, rate in found), strict=True))
    )
    begin_s = max(0.0, ended - started - max(seconds for seconds, _ in found))
    return replace(together, begin_s=begin_s, score_s=_score_s(settings, manifest))


def _numbers(of: Rates) -> tuple[float, ...]:
    return tuple(getattr(of, name) for name in Rates.__dataclass_fields__)


# -- one core --------------------------------------------------------------------------------------


def _of_a_core(settings: Experiment, data: Path, number: int) -> tuple[float, Rates]:
    """What one process measures beside the others, and how long it took.

    Args:
        number: of the process: each simulates other patients.
    """
    started, worked = time.perf_counter(), time.process_time()
    runtime.prepare()
    manifest = manifest_of(data)
    found = nominal(settings)
    if not settings.device.startswith("cuda"):
        found = replace(found, **_steps_on_a_core(settings, len(manifest.scheme)))
    found = replace(found, view_s=_view_s(settings, manifest), measure_s=Rates.measure_s)
    if fresh_phantoms.possible(manifest):
        found = replace(found, lesion_s=_lesion_s(settings, number, manifest.of_phantom))
    took = time.perf_counter() - started
    # what is not timed takes longer, too, on a machine that others use
    others = max(1.0, took / max(1e-3, time.process_time() - worked))
    return took, replace(
        found,
        task_s=found.task_s * others,
        generator_task_s=found.generator_task_s * others,
        measure_s=found.measure_s * others,
    )


def _learner(
    settings: Experiment, kind: GeneratorKind, classes: int
) -> tuple[Gan, Callable[..., Learner]]:
    """What trains a kind of generator: its settings, and what builds it from them."""
    match kind:
        case GeneratorKind.DCGAN:
            return settings.gan, gan.Pair
        case GeneratorKind.ACGAN:
            return settings.acgan, partial(acgan.Pair, classes)
        case _:
            return joint.learner(kind, settings, classes)


def _steps_on_a_core(settings: Experiment, classes: int) -> dict[str, float]:
    device = torch.device("cpu")
    most = max(settings.classifier.batch, settings.gan.batch, settings.acgan.batch)
    rois = _rois(most)
    answers = np.arange(most) % classes

    def classify(count: int) -> Callable[[], object]:
        recipe = replace(settings.classifier, batch=count)
        network = classifier.build(classes, 0.5, recipe)
        steps = cnn_steps.Steps(network, rois[:count], answers[:count], recipe, device)
        drawn = cnn_steps.draw(recipe, count, 0, "rate")
        return lambda: steps.run(drawn)

    def generate(kind: GeneratorKind, count: int) -> Callable[[], object]:
        recipe, make = _learner(settings, kind, classes)
        few = replace(recipe, batch=count)
        steps = gan_steps.Steps(rois[:count], answers[:count], few, device)
        steps.begin(make(few, device, "rate"))
        return lambda: steps.run(np.random.default_rng(0), 1)

    kinds = (GeneratorKind.DCGAN, GeneratorKind.ACGAN, *settings.further_generators)
    return {
        "classifier_s": _step_s(classify, settings.classifier.batch),
        **{
            f"{kind}_s": _step_s(
                partial(generate, kind), _learner(settings, kind, classes)[0].batch
            )
            for kind in kinds
        },
    }


def _step_s(step_of: Callable[[int], Callable[[], object]], batch: int) -> float:
    """Seconds of a step of ``batch`` ROIs; where that is long, by those of two smaller ones."""
    few, least = min(batch, _FEW), min(batch, _LEAST)
    small, large = step_of(least), step_of(few)
    small()
    if few > least:
        # a hiccup of the machine counts for ten, so what is long is believed the third time
        whole_s = inf
        for _ in range(3):
            whole_s = min(whole_s, _counted_up(small, large, (batch - few) / (few - least)))
            if whole_s <= _LONG_S:
                break
        else:
            return whole_s
    step = step_of(batch)
    step()
    return _repeated(step)


def _counted_up(small: Callable[[], object], large: Callable[[], object], more: float) -> float:
    """Seconds of a step that is larger than ``large`` by ``more`` times what that is larger by."""
    some_s, more_s = _timed(small), _timed(large)
    return more_s + more * max(0.0, more_s - some_s)


def _timed(step: Callable[[], object]) -> float:
    started = time.perf_counter()
    step()
    return time.perf_counter() - started


def _repeated(step: Callable[[], object]) -> float:
    """Seconds of one of many, for ``_TIMED_S`` and at least three."""
    started, count = time.perf_counter(), 0
    while count < 3 or time.perf_counter() - started < _TIMED_S:
        step()
        count += 1
    return (time.perf_counter() - started) / count


def _view_s(settings: Experiment, manifest: Manifest) -> float:
    lines = manifest.lines[:: max(1, len(manifest.lines) // 8)]
    wanted = [
        (line, view)
        for line in lines
        for view in (View(), *views_of(line, settings.augment, settings.seed)[:5])
    ]

    def cut() -> None:
        for line, view in wanted:
            manifest.roi(line, settings.window_hu, view)

    cut()
    return _repeated(cut) / len(wanted)


def _lesion_s(settings: Experiment, number: int, phantom: Version) -> float:
    from ml.phantom.series import draw_lesion_slices

    each = dict.fromkeys(CLASSES, 2)
    started = time.perf_counter()
    found = sum(1 for _ in draw_lesion_slices(each, number, settings.difficulty, phantom))
    return (time.perf_counter() - started) / found


def _score_s(settings: Experiment, manifest: Manifest) -> float:
    """Seconds that the figures of one arm take; measured on random answers."""
    rng = np.random.default_rng(0)
    keys = manifest.scheme.keys
    truth = [manifest.scheme.index(line.lesion_class) for line in manifest.lines]
    patients = [line.patient for line in manifest.lines]
    table = rng.dirichlet(np.ones(len(keys)), len(truth))
    started = time.perf_counter()
    classification.score(truth, table, patients, keys, settings.resamples, settings.seed)
    return time.perf_counter() - started


# -- a GPU -----------------------------------------------------------------------------------------


def _of_a_gpu(settings: Experiment, classes: int) -> dict[str, float]:
    """One over the steps that all lanes together make in a second, of each network."""
    runtime.prepare()
    kinds = (GeneratorKind.DCGAN, GeneratorKind.ACGAN, *settings.further_generators)
    found = {
        f"{name}_s": 1 / steps_per_s(settings, kind, classes, LANES[stage])
        for name, kind, stage in (
            ("classifier", "cnn", "classifier"),
            *((kind.value, kind.value, "generator") for kind in kinds),
        )
    }
    return {
        **found,
        "task_s": _BESIDE_S["classifier"],
        "generator_task_s": _BESIDE_S["generator"],
    }


def steps_per_s(
    settings: Experiment, kind: str, classes: int, lanes: int, seconds: float = _TIMED_S
) -> float:
    """Training steps that ``lanes`` networks together make in a second on the settings' device.

    Args:
        kind: ``cnn``, or a generator's.
        seconds: for so long it is measured, about.
    """
    device = runtime.device(settings.device)
    batch = (
        settings.classifier.batch
        if kind == "cnn"
        else _learner(settings, GeneratorKind(kind), classes)[0].batch
    )
    rois = _rois(_STEPS * batch)
    answers = np.arange(len(rois)) % classes
    made = [0] * lanes
    ready, begin = threading.Barrier(lanes + 1), threading.Event()
    until = [0.0]
    failed: list[BaseException] = []

    def lane(number: int) -> None:
        try:
            with runtime.stream(device):
                epoch = _epochs(settings, kind, rois, answers, classes, device, number)
                for _ in range(2):
                    epoch()
                ready.wait()
                begin.wait()
                while time.perf_counter() < until[0]:
                    epoch()
                    made[number] += _STEPS
        except BaseException as error:
            failed.append(error)
            ready.abort()

    threads = [threading.Thread(target=lane, args=(i,), daemon=True) for i in range(lanes)]
    for thread in threads:
        thread.start()
    try:
        ready.wait()
    except threading.BrokenBarrierError:
        begin.set()
        for thread in threads:
            thread.join()
        raise failed[0] from None
    started = time.perf_counter()
    until[0] = started + seconds
    begin.set()
    for thread in threads:
        thread.join()
    return sum(made) / (time.perf_counter() - started)


def _epochs(
    settings: Experiment, kind: str, rois: npt.NDArray[np.float32], answers: npt.NDArray[np.int64],
    classes: int, device: torch.device, number: int,
) -> Callable[[], object]:  # fmt: skip
    """What makes an epoch of one more network, and waits for it."""
    if kind == "cnn":
        recipe = settings.classifier
        network = classifier.build(classes, 0.5, recipe, number)
        of_cnn = cnn_steps.Steps(network, rois, answers, recipe, device)
        drawn = cnn_steps.draw(recipe, len(rois), 0, number)

        def classify() -> None:
            of_cnn.run(drawn)
            of_cnn.told()

        return classify
    chosen, make = _learner(settings, GeneratorKind(kind), classes)
    of_gan = gan_steps.Steps(rois, answers, chosen, device)
    of_gan.begin(make(chosen, device, number))

    def generate() -> None:
        of_gan.run(np.random.default_rng(number), 1)
        of_gan.told()

    return generate


def _rois(count: int) -> npt.NDArray[np.float32]:
    """Noise in [-1, 1]: zeros would be multiplied faster."""
    noise = np.random.default_rng(0).uniform(-1, 1, (count, 64, 64))
    return noise.astype(np.float16).astype(np.float32)
