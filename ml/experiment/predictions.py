"""Every prediction of a run as a table: ROC curves, paired tests and subgroups can be done again.

One line per lesion, arm, seed and way of picking a size; ``fixed`` ones are told by their size.
Probabilities have nine digits, which is all of a float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ml.experiment.evaluation import Outcome, Outputs
from ml.experiment.results import PREDICTIONS
from ml.experiment.results.scores import Selection
from ml.ground import delimited
from ml.progress import RunDir

CSV, PARQUET = PREDICTIONS, "predictions.parquet"
COLUMNS = ("lesion", "file", "patient", "arm", "selection", "seed", "fold", "truth")
"""Before the classes' columns, ``probability_KEY``."""
SIZES = ("classic_per_fold", "synthetic_per_fold", "model")
"""After them: ROIs added to a training fold, all classes together; the model of ``features``.

Then the data set's groups, ``group_NAME``, empty where a lesion has none.
"""


def write(outputs: Outputs, run_dir: RunDir) -> str:
    """Write ``predictions.csv``, and the same as Parquet where pyarrow is installed.

    Returns:
        What was written, in words.

    Raises:
        OutputError: the system does not let it be written.
    """
    groups = sorted({name for line in outputs.lines for name in line.groups})
    columns = (
        *COLUMNS,
        *(f"probability_{key}" for key in outputs.keys),
        *SIZES,
        *(f"group_{name}" for name in groups),
    )
    rows = list(_rows(outputs, groups))
    run_dir.write_bytes(CSV, delimited.written(columns, map(_cells, rows)).encode())
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        return f"{len(rows)} predictions in {CSV}; no {PARQUET}, since pyarrow is not installed"
    stream = pa.BufferOutputStream()
    values = map(list, zip(*rows, strict=True))
    parquet.write_table(pa.table(dict(zip(columns, values, strict=True))), stream)
    run_dir.write_bytes(PARQUET, stream.getvalue().to_pybytes())
    return f"{len(rows)} predictions in {CSV} and {PARQUET}"


def _cells(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(f"{value:.9g}" if isinstance(value, float) else value for value in row)


def _rows(outputs: Outputs, groups: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    for size in outputs.sizes:
        for seed in outputs.seeds:
            outcome = outputs.same(size, seed)
            if outcome is not None:
                yield from _of(outputs, groups, size.arm, Selection.FIXED, seed, outcome)
    for how in (Selection.PAPER, Selection.NESTED):
        for seed in outputs.seeds:
            for arm, outcome in outputs.selected(how, seed).items():
                yield from _of(outputs, groups, arm, how, seed, outcome)


def _of(
    outputs: Outputs, groups: Sequence[str], arm: str, how: Selection, seed: int, outcome: Outcome
) -> Iterator[tuple[Any, ...]]:
    for i, line in enumerate(outputs.lines):
        fold = int(outcome.folds[i])
        size = outcome.sizes[fold]
        yield (
            line.id,
            line.file,
            line.patient,
            arm,
            how.value,
            seed,
            fold,
            line.lesion_class,
            *outcome.probabilities[i].tolist(),
            size.classic,
            size.added * len(outputs.keys),
            size.model,
            *(line.groups.get(name, "") for name in groups),
        )
