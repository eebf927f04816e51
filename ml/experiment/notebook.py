"""What a notebook needs of the science: a data set, an arm, a whole experiment, its results.

``import ml`` is enough; nothing is loaded before it is used::

    import ml

    data = ml.load("DATA")                      # as `python -m ml prepare` made it
    simple = ml.arm(data, "features", seed=0)   # out of fold, models chosen on training patients
    print(simple.score.balanced_accuracy)       # a value with its 95 % interval
    print(simple.probabilities.shape)           # (lesions, classes), in the order of simple.lines

    found = ml.results("RUN")                   # of `python -m ml experiment`, or of ml.run
    print(*found.found.scores.answer, sep="\\n")
    table = ml.predictions("RUN")               # a dictionary for each line of predictions.csv

``arm`` needs scikit-learn and no PyTorch; ``run`` trains networks and needs all of ``[train]``;
the others need neither. What is refused is a `ml.ground.errors.HepaticaError`, whose message says
what to do.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ml.config import ConfigError, SimpleModel, experiment
from ml.dataset import folds
from ml.dataset.manifest import Line, Manifest
from ml.experiment import arms
from ml.experiment.predictions import CSV
from ml.experiment.request import Request, capped
from ml.experiment.results import Results, ResultsError
from ml.experiment.tasks import INNER, OUTER
from ml.statistics import classification, comparison


@dataclass(frozen=True)
class Arm:
    """An arm, every lesion that tests answered once by a model that did not see its patient.

    Attributes:
        lines: the lesions that tested, in the order of the data set.
        probabilities: (n, classes) in the order of the scheme.
        models: which model spoke in each fold, chosen within its training part.
        score: shares with 95 % intervals over patients.
    """

    name: str
    lines: tuple[Line, ...]
    probabilities: npt.NDArray[np.float64]
    models: tuple[str, ...]
    score: classification.Score


def load(data: str | Path) -> Manifest:
    """A data set, verified: raises ManifestError where it is none, damaged or altered."""
    return Manifest.load(Path(data))


def arm(data: Manifest, name: str = arms.FEATURES, seed: int = 0, **settings: object) -> Arm:
    """Train and test one arm that needs no network: ``features``, as in an experiment.

    Folds, nested selection and seeds are those of `python -m ml experiment` with the same settings,
    so that the numbers are its numbers for that seed.

    Args:
        settings: instead of those of the preset ``quick``, such as ``folds=5``.

    Raises:
        ConfigError: another arm, or an impossible setting.
        FoldError, LeakageError: a data set that cannot be divided.
    """
    # scikit-learn is loaded where it is needed
    from ml.dataset.measured import measured
    from ml.images.measurements import SIZE, measure
    from ml.training import simple

    if name != arms.FEATURES:
        raise ConfigError(
            f"ml.arm runs {arms.FEATURES}, which needs no network; {name!r} is trained with all "
            "others by ml.run, or by python -m ml experiment."
        )
    asked = [*_assignments(settings), f"seed={seed}"]
    chosen, _ = capped(experiment("quick").override(asked), data, 1, tuple(settings))
    found = measured(data, chosen.window_hu, measure)
    sized = all(line.size_mm is not None for line in data.lines)
    values = (found if sized else found.without(SIZE)).values
    row = {line.id: i for i, line in enumerate(data.lines)}
    labels = np.asarray([data.scheme.index(line.lesion_class) for line in data.lines])

    def answered(
        model: SimpleModel, fold: folds.Fold, part: str, index: int
    ) -> npt.NDArray[np.float64]:
        train, test = ([row[line.id] for line in side] for side in (fold.train, fold.test))
        told = (values[train], labels[train], values[test], len(data.scheme))
        return simple.probabilities(model, *told, part, index, seed)

    table = np.full((len(labels), len(data.scheme)), np.nan)
    models = []
    for fold in folds.folds_of(data, chosen, seed):
        inner = folds.inner_of(data, chosen, seed, fold)
        truth = labels[[row[line.id] for line in inner.test]]
        scores = {}
        for model in SimpleModel:
            right = answered(model, inner, INNER, fold.index).argmax(axis=1) == truth
            size = arms.ArmSize(arms.FEATURES, 0, model=model)
            scores[size] = float(comparison.balanced(right.astype(float), truth))
        picked = SimpleModel(arms.pick(scores, list(scores)).model)
        models.append(picked.value)
        tested = [row[line.id] for line in fold.test]
        table[tested] = answered(picked, fold, OUTER, fold.index)
    rows = np.flatnonzero(np.isfinite(table).all(axis=1))
    lines = tuple(data.lines[i] for i in rows)
    patients = [line.patient for line in lines]
    score = classification.score(
        labels[rows], table[rows], patients, data.scheme.keys, chosen.resamples, seed
    )
    return Arm(name, lines, table[rows], tuple(models), score)


def run(
    data: Manifest, out: str | Path, preset: str = "quick", seeds: int = 1, **settings: object
) -> Results:
    """The whole experiment, as `python -m ml experiment`; one that was killed goes on.

    Args:
        out: the run's folder, a new one or that of the same run.
        settings: instead of the preset's; a group's as ``**{"gan.epochs": 40}``.

    Raises:
        HepaticaError: as the command refuses.
    """
    from ml.experiment import report
    from ml.experiment import run as whole
    from ml.progress import RunDir

    asked = Request.of(preset, _assignments(settings), seeds).fitted(data)
    run_dir = RunDir(Path(out))
    for _ in whole.run(
        asked.settings, data, run_dir, asked.seeds, command=asked.command, capped=asked.capped
    ):
        pass
    for _ in report.write(run_dir.path):
        pass
    return results(out)


def results(folder: str | Path) -> Results:
    """What a finished run found, with its types; ResultsError where there is none."""
    return Results.load(Path(folder))


def predictions(folder: str | Path) -> list[Mapping[str, str]]:
    """Every line of a run's ``predictions.csv``; ResultsError where there is none."""
    file = Path(folder) / CSV
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError) as error:
        raise ResultsError(
            f"{file} cannot be read ({error!r}); let the experiment end, or evaluate it again: "
            "python -m ml report RUN --again --data DATA."
        ) from error


def _assignments(settings: Mapping[str, object]) -> list[str]:
    def told(value: object) -> str:
        return "+".join(map(str, value)) if isinstance(value, tuple | list) else str(value)

    return [f"{name}={told(value)}" for name, value in settings.items()]
