"""Progress lines, and files of a run that are whole or not there."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ml.ground.errors import HepaticaError
from ml.progress import Progress, RunDir, drive, remaining_s, spoken


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def steps(count: int) -> Iterator[Progress]:
    for i in range(1, count + 1):
        yield Progress(i, count, f"step {i}")


def test_a_value_that_is_no_json_leaves_the_old_file(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    run.write_json("results.json", {"a": 1})
    for bad in (float("nan"), object()):
        with pytest.raises((TypeError, ValueError)):
            run.write_json("results.json", {"a": bad})
    assert run.read_json("results.json") == {"a": 1}


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunDir(tmp_path)
    run.write_bytes("a.bin", b"old")

    def broken(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", broken)
    with pytest.raises(HepaticaError, match="no space"):
        run.write_bytes("a.bin", b"new")
    assert (tmp_path / "a.bin").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


def test_json_is_stable_and_in_utf_8(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "deep" / "run")
    one = run.write_json("a.json", {"b": 1, "a": "ü"}).read_bytes()
    two = run.write_json("sub/b.json", {"a": "ü", "b": 1}).read_bytes()
    assert one == two
    assert "ü".encode() in one


def test_the_log_grows_by_a_line_each(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    run.log(Progress(1, 2, "a", {"loss": 0.5}))
    run.log(Progress(2, 2, "b"))
    first, second = map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines())
    assert (first["text"], first["figures"]) == ("a", {"loss": 0.5})
    assert "figures" not in second
    assert second["at"] >= first["at"]


def test_the_time_left_is_in_proportion_to_what_is_left() -> None:
    assert remaining_s(0, 10, 5) is None
    assert remaining_s(2, 10, 4) == 16
    assert remaining_s(10, 10, 4) == 0


@pytest.mark.parametrize(
    ("seconds", "words"), [(4.4, "4 s"), (89, "89 s"), (180, "3 min"), (9000, "2.5 h")]
)
def test_durations_are_spoken_in_the_unit_that_fits(seconds: float, words: str) -> None:
    assert spoken(seconds) == words


def test_a_file_gets_the_first_and_the_last_line_of_quick_work() -> None:
    out = io.StringIO()
    drive(steps(1000), out)
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("[1/1000] step 1")
    assert "left" not in lines[0]  # too early to tell
    assert lines[-1] == "[1000/1000] step 1000"
    assert len(lines) < 10


def test_what_was_done_before_is_not_taken_for_the_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr("ml.progress.time.monotonic", lambda: next(clock))
    out = io.StringIO()
    resumed = (Progress(done, 100, "training") for done in (90, 91, 92))
    drive(resumed, out)
    # one step in ten seconds, eight steps to go: not a second or two
    assert out.getvalue().splitlines()[-1].endswith("about 80 s left")


def test_a_file_is_told_once_a_minute_what_is_no_news(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 2000, 10))
    monkeypatch.setattr("ml.progress.time.monotonic", lambda: next(clock))
    out = io.StringIO()
    waiting = [Progress(3, 9, "waiting")] * 20 + [Progress(4, 9, "waiting"), Progress(9, 9, "done")]
    drive(iter(waiting), out)
    lines = out.getvalue().splitlines()
    assert [line[:13] for line in lines] == ["[3/9] waiting"] * 4 + ["[4/9] waiting", "[9/9] done"]


def test_a_terminal_has_one_line_rewritten() -> None:
    out = Terminal()
    drive(steps(5), out)
    assert out.getvalue().count("\r") == 5
    assert out.getvalue().count("\n") == 1


def test_work_is_driven_to_its_end_and_its_errors_pass() -> None:
    done = []

    def work() -> Iterator[Progress]:
        for i in range(3):
            done.append(i)
            yield Progress(i, 3, "")
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        drive(work(), io.StringIO())
    assert done == [0, 1, 2]
