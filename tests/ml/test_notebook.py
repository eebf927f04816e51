"""``import ml`` in a notebook: the example of its documentation runs, without PyTorch."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import ml
from ml.config import ConfigError
from ml.experiment import notebook
from ml.experiment.results import ResultsError
from tests.golden import stored_run
from tests.ml.discs import data_set

_HERE = Path(__file__).resolve().parents[2]
_WITHOUT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "onnx", "onnxruntime", "fastapi", "sqlalchemy"):
            raise ModuleNotFoundError(f"{name} is not needed here", name=name)
sys.meta_path.insert(0, Absent())
"""


def example() -> str:
    """The code of the module's documentation."""
    text = (notebook.__doc__ or "").partition("::\n")[2].partition("``arm`` needs")[0]
    return textwrap.dedent(text)


def test_the_example_runs_without_pytorch(tmp_path: Path) -> None:
    data_set(tmp_path / "DATA", patients=12, each=1)
    run = stored_run.unpacked(stored_run.TODAY, tmp_path / "stored")
    again = ["report", str(run), "--again", "--data", str(run.parent / "data"), "--table"]
    again += ["--fresh", str(run.parent / "fresh")]
    code = f"{_WITHOUT}\nfrom ml.__main__ import main\nassert main({again!r}) == 0\n"
    code += example().replace('"RUN"', repr(str(run)))
    code += "assert {line['truth'] for line in table} == set(found.found.dataset.scheme.keys)\n"
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=200,
        env={"PYTHONPATH": str(_HERE), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert "(12, 2)" in ended.stdout


def test_an_arm_answers_every_lesion_out_of_fold_and_refuses_what_needs_a_network(
    tmp_path: Path,
) -> None:
    data = ml.load(data_set(tmp_path / "data", patients=12, each=2).root)
    found = ml.arm(data, folds=3, seed=4)
    assert [line.id for line in found.lines] == [line.id for line in data.lines]
    assert np.allclose(found.probabilities.sum(axis=1), 1) and len(found.models) == 3
    assert found.score.balanced_accuracy.value > 0.8  # discs and rings
    assert np.array_equal(ml.arm(data, folds=3, seed=4).probabilities, found.probabilities)
    with pytest.raises(ConfigError, match=r"'classic' is trained with all others by ml\.run"):
        ml.arm(data, "classic")
    with pytest.raises(ConfigError, match="no setting"):
        ml.arm(data, fold=3)


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    for ask in (ml.results, ml.predictions):
        with pytest.raises(ResultsError, match="let the experiment end"):
            ask(tmp_path)
    with pytest.raises(AttributeError, match="no attribute 'arms'"):
        ml.arms  # noqa: B018
