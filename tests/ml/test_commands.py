"""``python -m ml`` in the hands of people: full disks, impossible places, mistyped folders."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ml.__main__ import main
from ml.checkpoints import checkpoint
from ml.config import Experiment
from ml.ground import terminal
from tests.ml.discs import BARELY, TINY, data_set

COUNTS = "cyst=1,metastasis=1,hemangioma=1"
GENERATOR = next(str(one) for one in checkpoint.shipped() if "diffusion" in one.name)
Told = Callable[[], str]

WRITING = {
    "phantom": f"phantom --counts {COUNTS} --key-slices-only --out OUT",
    "prepare": "prepare images IMAGES --out OUT",
    "synthesize": f"synthesize --checkpoint {GENERATOR} --count 2 --out OUT",
    "classifier": f"classifier --data DATA --out OUT {BARELY}",
    "gan": f"gan --data DATA --lesion-class dark --out OUT {BARELY}",
    "experiment": "experiment --data DATA --out OUT --jobs 1",
    "weights": "weights --out OUT --work OUT/work --jobs 1",
}
READING = {
    "prepare images": "prepare images GONE --out OUT",
    "prepare dicom": "prepare dicom GONE --out OUT",
    "classifier": "classifier --data GONE --out OUT",
    "gan": "gan --data GONE --lesion-class dark --out OUT",
    "synthesize": "synthesize --checkpoint GONE --count 2 --out OUT",
    "experiment": "experiment --data GONE --out OUT",
    "dry run": "experiment --data GONE --out OUT --dry-run",
    "resume": "experiment --data DATA --out GONE --resume",
    "report": "report GONE",
    "table": "report GONE --table",
    "analyse": "readers analyse GONE",
    "plan": "readers plan --readers 3 --cases 9 --effect 0.1 --components GONE",
    "leak-audit": "leak-audit --real GONE --synthetic GONE",
    "card": "card GONE",
    "card's words": f"card {GENERATOR} --words GONE",
}


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``data``, a data set, and ``images``, a folder of labelled pictures."""
    root = tmp_path_factory.mktemp("given")
    data_set(root / "data", patients=8)
    (root / "images").mkdir()
    rows = ["file,class,patient"]
    for i, key in enumerate(("cyst", "metastasis", "hemangioma") * 2):
        values = np.random.default_rng(i).integers(0, 256, (64, 64)).astype(np.uint8)
        Image.fromarray(values).save(root / "images" / f"{i}.png")
        rows.append(f"{i}.png,{key},p{i}")
    (root / "images" / "labels.csv").write_text("\n".join(rows))
    return root


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Told:
    """What stands on standard error, which must be one clear refusal after the progress."""

    def check() -> str:
        out = capsys.readouterr().err
        lines = [line for line in out.splitlines() if not line.startswith(("[", "Few patients"))]
        assert "Traceback" not in out
        assert "None" not in out
        assert len(lines) == 1, out
        assert lines[0].startswith("error: ")
        assert lines[0].endswith(".")
        return lines[0]

    return check


def run(command: str, given: Path, out: Path) -> int:
    places = {"DATA": given / "data", "IMAGES": given / "images", "GONE": given / "gone"}
    words = command.replace("OUT", str(out)).split()
    return main([str(places.get(word, word)) for word in words])


@contextmanager
def no_room(most_bytes: int) -> Iterator[None]:
    """Files may not grow beyond this: the system then refuses as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(autouse=True)
def small_experiment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("ml.config.experiment", _tiny)
    monkeypatch.setattr("ml.experiment.request.experiment", _tiny)
    yield


def _tiny(_name: str) -> Experiment:
    return TINY


@pytest.mark.parametrize("command", WRITING.values(), ids=WRITING)
def test_a_full_disk_is_told_in_one_line(
    command: str, given: Path, tmp_path: Path, told: Told
) -> None:
    with no_room(1000):
        assert run(command, given, tmp_path / "out") == 1
    words = told()
    assert "cannot be written: " in words
    assert "ake room" in words


@pytest.mark.parametrize("name", ["phantom", "prepare", "synthesize"])
@pytest.mark.parametrize("place", ["out", "deep/er/out"])
def test_a_full_disk_leaves_nothing_behind(
    name: str, place: str, given: Path, tmp_path: Path, told: Told
) -> None:
    with no_room(1000):
        assert run(WRITING[name], given, tmp_path / place) == 1
    told()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", WRITING.values(), ids=WRITING)
@pytest.mark.parametrize("place", ["file/out", "/dev/null/out"])
def test_an_impossible_place_is_told_in_one_line(
    command: str, place: str, given: Path, tmp_path: Path, told: Told
) -> None:
    (tmp_path / "file").write_text("mine")
    assert run(command, given, tmp_path / place) == 1
    assert "cannot be" in told()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("command", READING.values(), ids=READING)
def test_a_mistyped_folder_is_told_and_not_made(
    command: str, given: Path, tmp_path: Path, told: Told
) -> None:
    before = sorted(given.iterdir())
    assert run(command, given, tmp_path / "out") == 1
    assert "gone" in told()
    assert sorted(given.iterdir()) == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["classifier", "gan", "experiment"])
def test_a_run_is_not_written_into_a_data_set(name: str, given: Path, told: Told) -> None:
    before = sorted(path.name for path in (given / "data").iterdir())
    assert run(WRITING[name], given, given / "data") == 1
    assert "holds a data set" in told()
    assert sorted(path.name for path in (given / "data").iterdir()) == before


@pytest.mark.parametrize("jobs", ["-3", "1.5", "many", "100000", "²"])
def test_an_impossible_number_of_jobs_is_refused(jobs: str, given: Path, tmp_path: Path) -> None:
    assert run(f"experiment --data DATA --out OUT --jobs {jobs}", given, tmp_path / "out") == 2


def test_an_empty_folder_becomes_the_output_and_stays_the_same_folder(
    given: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    inode = (tmp_path / "out").stat().st_ino
    assert run(WRITING["prepare"], given, tmp_path / "out") == 0
    assert (tmp_path / "out").stat().st_ino == inode
    assert (tmp_path / "out" / "manifest.json").exists()


def test_too_little_memory_is_told_in_one_line(
    given: Path, tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("ml.dataset.prepare.images", none_left)
    assert run(WRITING["prepare"], given, tmp_path / "out") == 1
    assert "memory" in told()


def test_a_reader_who_has_seen_enough_is_no_fault(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as broken:
        monkeypatch.setattr("sys.stdout", broken)
        ask = ["readers", "plan", "--readers", "5", "--cases", "120", "--effect", "0.1"]
        assert main([*ask, "--studies", "0"]) == 1
    assert capfd.readouterr().err == ""


@pytest.mark.long
def test_a_command_that_is_ended_leaves_nothing_half_made(tmp_path: Path) -> None:
    words = ["phantom", "--patients", "50", "--out", str(tmp_path / "made" / "out")]
    (tmp_path / "made").mkdir()
    command = [sys.executable, "-m", "ml", *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        while not list((tmp_path / "made").iterdir()):
            assert running.poll() is None
            time.sleep(0.05)
        running.terminate()
        told = running.stderr.read()
    assert running.returncode == 130 and told.splitlines()[-1] == "interrupted"
    assert not list((tmp_path / "made").iterdir())


def test_an_end_that_is_asked_for_goes_to_this_process_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), terminal.ended_tidily():
        ready, told = os.pipe()
        child = os.fork()
        if not child:
            os.write(told, b".")  # what comes before Python has forked is lost
            time.sleep(60)
            os._exit(1)
        os.read(ready, 1)
        os.kill(child, signal.SIGTERM)
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGTERM
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
    assert signal.getsignal(signal.SIGTERM) is before
