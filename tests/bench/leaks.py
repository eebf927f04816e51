"""The leak audit against planted faults, and against honest pictures: both rates, counted.

Real nodules where HEPATICA_TEST_DATA names them, else nothing but phantoms. Every picture goes
through the encoder of a study, so that files tell nothing. The nodules were enlarged from 51 px
before they were published: whatever is done to one afterwards breaks that, and is found by it
too. An offset that clips nothing is no rule, and is not found.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from app.models.reader_studies.stimulus import stimulus_png
from bench.planted import FAULTS, Grey, whole
from ml.images import roi
from ml.images.regrid import redrawn
from ml.leak_audit.audit import compare
from ml.leak_audit.record import Audit
from ml.leak_audit.rendering import Encoded
from ml.leak_audit.seen import Seen, look
from ml.phantom.series import draw_lesion_slices
from ml.statistics.exact import clopper_pearson

REPEATS = 2
SPLITS = 100
SIZES = (40, 15)
PHANTOMS = 48
_PROCESSES = 2


def found() -> Iterator[str]:
    """Faults planted into one kind, and splits of honest pictures (two to three minutes)."""
    nodules = Path(os.environ.get("HEPATICA_TEST_DATA", "absent")) / "nodules_ct64" / "images"
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    os.environ.update(threads)  # of the processes that are started below
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(_PROCESSES, mp_context=context) as pool:
        phantoms = [pool.submit(_phantoms, seed, PHANTOMS // 2) for seed in (1, 2)]
        if nodules.is_dir():
            folder = str(nodules)
            yield from pool.submit(_times, folder).result()
            yield "verdicts on one fault in all images of one kind, and by what at most"
            yield from pool.map(_planted, [folder] * len(FAULTS), FAULTS)
            for size in SIZES:
                yield from _rates(pool, folder, None, size, SPLITS, "real nodules")
            yield from _rates(pool, folder, None, SIZES[0], SPLITS // 4, "redrawn nodules", True)
        else:
            yield "HEPATICA_TEST_DATA is not set: no nodules, honest phantoms alone"
        drawn = [picture for part in phantoms for picture in part.result()]
        yield from _rates(pool, "", drawn, PHANTOMS // 2, SPLITS, "phantoms")


def _rates(
    pool: ProcessPoolExecutor,
    folder: str,
    pictures: list[Grey] | None,
    size: int,
    splits: int,
    name: str,
    regrid: bool = False,
) -> Iterator[str]:
    halves = [range(k, splits, _PROCESSES) for k in range(_PROCESSES)]
    parts = [pool.submit(_honest, folder, pictures, size, half, regrid) for half in halves]
    counted: Counter[str] = Counter()
    for part in parts:
        counted.update(part.result())
    told = []
    for colour in ("red", "amber"):
        low, high = clopper_pearson(counted[colour], splits)
        told.append(
            f"{colour} {counted[colour]} of {splits} ({100 * low:.1f} to {100 * high:.1f} %)"
        )
    yield f"honest splits of {size} against {size} {name}: {', '.join(told)}"


# -- in a process of its own ----------------------------------------------------------------------


@cache
def _nodules(folder: str) -> list[Grey]:
    found = []
    for path in sorted(Path(folder).glob("*.png")):
        with Image.open(path) as picture:
            found.append(whole(np.asarray(picture, dtype=np.float64) / 257))
    return found


def _phantoms(seed: int, count: int) -> list[Grey]:
    found = []
    counts = {"cyst": count - 2 * (count // 3), "metastasis": count // 3, "hemangioma": count // 3}
    for made, number, image in draw_lesion_slices(counts, seed):
        box = image.box(number)
        assert box is not None, made.patient_id
        values = roi.cut(image.hu, roi.Box(*box), image.spacing_mm, roi.AIR_HU)
        found.append(roi.to_grey(roi.normalise(values, (-150.0, 250.0))))
    return found


def _encoded(pictures: Sequence[Grey], name: str) -> list[Encoded]:
    pixels = [picture.astype(np.float32) / 127.5 - 1 for picture in pictures]
    return [Encoded(stimulus_png(one), f"{name} {place}") for place, one in enumerate(pixels)]


@cache
def _known(folder: str) -> list[Seen]:
    return look(_encoded(_nodules(folder), "nodule"))


def _planted(folder: str, fault: str) -> str:
    told: dict[int, list[Audit]] = {size: [] for size in SIZES}
    most = max(SIZES)
    for repeat in range(REPEATS):
        rng = np.random.default_rng(repeat)
        order = rng.permutation(len(_nodules(folder)))
        changed = [FAULTS[fault](_nodules(folder)[k], rng) for k in order[most : 2 * most]]
        marked = look(_encoded(changed, "changed"))
        real = [_known(folder)[k] for k in order[:most]]
        for size in SIZES:
            told[size].append(compare(real[:size], marked[:size]))
    counts = ", ".join(
        f"{size} + {size}: " + " ".join(f"{n} {colour}" for colour, n in _colours(audits).items())
        for size, audits in told.items()
    )
    worst = [f for f in told[most][0].features if f.verdict is told[most][0].verdict]
    by = max(worst, key=lambda f: f.auc).name if worst else "the classifier"
    return f"{fault:34} {counts}; {'none' if told[most][0].verdict == 'green' else by}"


def _colours(audits: Sequence[Audit]) -> Counter[str]:
    return Counter(str(one.verdict) for one in audits)


def _honest(
    folder: str, pictures: list[Grey] | None, size: int, splits: Sequence[int], regrid: bool
) -> Counter[str]:
    if regrid:
        known = look(_encoded([_redrawn(k, one) for k, one in enumerate(_nodules(folder))], "n"))
    else:
        known = _known(folder) if pictures is None else look(_encoded(pictures, "phantom"))
    counted: Counter[str] = Counter()
    for split in splits:
        order = np.random.default_rng(1000 + split).permutation(len(known))
        kinds = [[known[k] for k in order[at : at + size]] for at in (0, size)]
        counted[str(compare(*kinds).verdict)] += 1
    return counted


def _redrawn(seed: int, picture: Grey) -> Grey:
    return roi.to_grey(redrawn(picture.astype(np.float32) / 127.5 - 1, seed))


def _times(folder: str) -> list[str]:
    lines = []
    for side in (64, 128):
        images = []
        for number, picture in enumerate(_nodules(folder)[:120]):
            data = io.BytesIO()
            Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC).save(
                data, "PNG"
            )
            images.append(Encoded(data.getvalue(), str(number)))
        compare(look(images[:10]), look(images[10:20]))  # what is kept between audits
        begun = time.process_time()
        compare(look(images[:60]), look(images[60:]))
        seconds = time.process_time() - begun
        lines.append(f"an audit of 60 + 60 images of {side} px: {seconds:.2f} s of one core")
    return lines
