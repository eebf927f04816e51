"""A finished run evaluated and reported again: the same results, without what training needs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ml.__main__ import main
from ml.dataset.manifest import Manifest
from ml.experiment import again
from ml.progress import RunDir
from tests.ml.discs import data_set

HERE = Path(__file__).resolve().parents[3]
BARE = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names}:
            raise ModuleNotFoundError("No module named " + repr(name), name=name)
sys.meta_path.insert(0, Absent())
from ml.__main__ import main
sys.exit(main(sys.argv[1:]))
"""
"""``python -m ml`` where only what serving needs is installed."""
ABSENT = {"torch", "onnx", "onnxscript", "sklearn", "joblib", "threadpoolctl", "openTSNE"}


@pytest.fixture(scope="module")
def manifest(finished_run: Path) -> Manifest:
    return Manifest.load(finished_run / "data")


@pytest.fixture(scope="module")
def whole(finished_run: Path) -> Path:
    """A run of one seed that has ended."""
    return finished_run / "run"


@pytest.fixture
def done(whole: Path, tmp_path: Path) -> Path:
    """Its copy."""
    return Path(shutil.copytree(whole, tmp_path / "run"))


def _bare(*words: str) -> subprocess.CompletedProcess[str]:
    program = BARE.replace("{names}", repr(ABSENT))
    return subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=HERE, capture_output=True, text=True, timeout=200,
    )  # fmt: skip


def _results(folder: Path) -> dict[str, Any]:
    results: dict[str, Any] = RunDir(folder).read_json("results.json")
    return results


# -- refusals --------------------------------------------------------------------------------------


def _refused(run: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that is told; whatever results there were stay."""
    path = run / "results.json"
    before = path.read_bytes() if path.exists() else None
    assert main(["report", str(run), "--again", "--data", str(data)]) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("[")]
    assert len(lines) == 1 and lines[0].startswith("error: ") and lines[0].endswith(".")
    assert (path.read_bytes() if path.exists() else None) == before
    assert not (run / again.FIRST).exists()
    assert not (run / "report.html").exists()
    return lines[0]


def test_a_folder_that_holds_no_run_is_refused_and_not_made(
    manifest: Manifest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "holds no run" in _refused(tmp_path / "gone", manifest.root, capsys)
    assert not (tmp_path / "gone").exists()


def test_a_run_that_has_not_ended_is_refused_with_how_to_go_on(
    manifest: Manifest, done: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (done / "results.json").unlink()
    told = _refused(done, manifest.root, capsys)
    assert "has not ended" in told and "--resume" in told


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"commit": "x"}'])
def test_damaged_results_are_refused(
    content: str, manifest: Manifest, done: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (done / "results.json").write_text(content)
    assert "is damaged" in _refused(done, manifest.root, capsys)


def test_another_data_set_is_refused(
    done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = data_set(tmp_path / "other", patients=20)
    assert "is not the data set of the run" in _refused(done, other.root, capsys)


@pytest.mark.parametrize(
    "name", ["acgan-inner-1-0", "none-0-0-outer-1-0", "classic-10-0-inner-0-0", "measure-real-1-0"]
)
def test_a_run_without_the_result_of_one_task_is_refused(
    name: str, manifest: Manifest, done: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(done / "tasks" / name)
    told = _refused(done, manifest.root, capsys)
    assert "lacks the results of 1 of" in told and name in told


@pytest.mark.parametrize(
    "file",
    ["none-0-0-outer-1-0/outputs.npz", "measure-real-1-0/draws.npz", "acgan-outer-0-0/result.json"],
)
@pytest.mark.parametrize("content", [None, b"PK\x03\x04 cut off"])
def test_a_damaged_or_missing_file_of_a_task_is_refused(
    file: str,
    content: bytes | None,
    manifest: Manifest,
    done: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = done / "tasks" / file
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    told = _refused(done, manifest.root, capsys)
    assert "is damaged" in told or "lacks the results of 1 of" in told


@pytest.mark.parametrize(
    ("words", "message"),
    [(["--again"], "give it with --data"), (["--data", "data"], "give --again too"),
     (["--fresh", "fresh"], "give --again too")],
)  # fmt: skip
def test_half_a_command_is_refused(
    words: list[str], message: str, done: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(done), *words]) == 1
    assert message in capsys.readouterr().err
    assert not (done / "report.html").exists()


# -- what it gives ---------------------------------------------------------------------------------


def test_a_finished_run_is_evaluated_and_reported_again_without_torch(
    manifest: Manifest, whole: Path, done: Path
) -> None:
    """Nor onnx, scikit-learn, joblib: on the base install, from the files of the tasks."""
    (done / "predictions.csv").unlink()
    ended = _bare("report", str(done), "--again", "--data", str(manifest.root))
    assert ended.returncode == 0, ended.stderr[-2000:]
    written = (done / "predictions.csv").read_bytes()
    assert written == (whole / "predictions.csv").read_bytes()
    assert "is not what it was" not in ended.stderr
    assert _results(done) == _results(whole)
    assert not (done / again.FIRST).exists()
    assert manifest.digest in (done / "report.html").read_text()


def test_the_bare_installation_of_these_tests_cannot_train(
    manifest: Manifest, tmp_path: Path
) -> None:
    ended = _bare("experiment", "--data", str(manifest.root), "--out", str(tmp_path / "run"))
    assert ended.returncode != 0
    assert "No module named" in ended.stderr


def test_what_the_tasks_left_decides_and_not_the_first_results(
    manifest: Manifest, whole: Path, done: Path
) -> None:
    first = _results(done)
    answer, first["answer"] = first["answer"], ["Something else."]
    del first["curve"]
    RunDir(done).write_json("results.json", first)
    steps = list(again.evaluate(done, manifest.root))
    [told] = [step.text for step in steps if step.said]
    assert "is not what it was, in: answer, and has what it had not, in: curve." in told
    found = _results(done)
    assert found.pop("evaluated_by")
    assert found == _results(whole)
    assert found["answer"] == answer
    assert RunDir(done).read_json(again.FIRST) == first


def test_the_first_results_are_kept_however_often_a_run_is_evaluated(
    manifest: Manifest, done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = {**_results(done), "answer": ["Something else."]}
    RunDir(done).write_json("results.json", first)
    monkeypatch.setattr(again, "current_commit", lambda: "second")
    list(again.evaluate(done, manifest.root))
    monkeypatch.setattr(again, "current_commit", lambda: "third")
    steps = list(again.evaluate(done, manifest.root))
    assert not any(step.said for step in steps)
    assert _results(done)["evaluated_by"] == "second"
    RunDir(done).write_json("results.json", {**_results(done), "summary": []})
    list(again.evaluate(done, manifest.root))
    assert _results(done)["evaluated_by"] == "third"
    assert RunDir(done).read_json(again.FIRST) == first


def test_a_report_names_the_commit_that_evaluated_again(
    manifest: Manifest, done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    RunDir(done).write_json("results.json", {**_results(done), "answer": []})
    monkeypatch.setattr(again, "current_commit", lambda: "0ther")
    assert main(["report", str(done), "--again", "--data", str(manifest.root)]) == 0
    assert "evaluated again by commit <code>0ther</code>" in (done / "report.html").read_text()


def test_the_feature_network_is_the_one_that_measured(
    manifest: Manifest, done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that comes with the program may have been trained again since."""
    monkeypatch.setattr("ml.experiment.measured.FEATURE_NETWORK", tmp_path / "none")
    before = (done / "results.json").read_bytes()
    list(again.evaluate(done, manifest.root))
    assert (done / "results.json").read_bytes() == before
    assert json.loads(before)["fidelity"]["network"].startswith("phantom-cnn")
