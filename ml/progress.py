"""Progress of long work, and the folder in which a run explains itself."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ml.ground.errors import HepaticaError, is_full, reason

if TYPE_CHECKING:
    import numpy.typing as npt


class OutputError(HepaticaError):
    """A file or folder that cannot be written, or that holds something already."""


@dataclass(frozen=True)
class Progress:
    """One step of long work: ``done`` of ``total`` (any unit), a line of text, named figures.

    ``said``: the text must be read; it is never left out, nor written over by the next step.
    """

    done: int
    total: int
    text: str
    figures: Mapping[str, float] | None = None
    said: bool = False


@dataclass(frozen=True)
class RunDir:
    """A folder that explains itself: ``config.json``, ``log.jsonl``, ``results.json`` …

    Only writing makes the folder: a mistyped one that is read leaves none behind.
    """

    path: Path

    def write_bytes(self, name: str, data: bytes) -> Path:
        """Write a file whole or not at all: a killed process leaves the old one in place.

        Raises:
            OutputError: the system did not let it be written (full disk, no permission).
        """
        target = self.path / name
        partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            partial.replace(target)
        except OSError as error:
            with suppress(OSError):
                partial.unlink()
            raise not_written(target, error) from error
        return target

    def write_arrays(
        self, name: str, arrays: Mapping[str, npt.NDArray[Any]], *, compressed: bool = False
    ) -> Path:
        """Write arrays by name as one ``.npz``, as ``write_bytes``."""
        import numpy as np  # whoever only tells of progress waits for no NumPy

        stream = io.BytesIO()
        (np.savez_compressed if compressed else np.savez)(stream, **arrays)  # type: ignore[arg-type]
        return self.write_bytes(name, stream.getvalue())

    def write_json(self, name: str, value: Any) -> Path:
        """Write indented JSON with sorted keys, as ``write_bytes`` does.

        Raises:
            OutputError: as for ``write_bytes``.
            ValueError: NaN or an infinite number, which JSON does not know.
        """
        text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
        # a file's name may have bytes that are no UTF-8: JSON keeps them as \udc…
        return self.write_bytes(name, text.encode("utf-8", "backslashreplace") + b"\n")

    def read_json(self, name: str) -> Any:
        """What ``write_json`` wrote.

        Raises:
            OSError: it is not there, or cannot be read.
            ValueError: it is not JSON in UTF-8.
        """
        return json.loads((self.path / name).read_text("utf-8"))

    def log(self, progress: Progress) -> None:
        """Append one line to ``log.jsonl``; OutputError when it cannot be written."""
        told = asdict(progress).items()
        entry = {key: value for key, value in told if value is not None and value is not False}
        path = self.path / "log.jsonl"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps({"at": time.time(), **entry}) + "\n")
        except OSError as error:
            raise not_written(path, error) from error


def not_written(path: Path, error: OSError) -> OutputError:
    """The refusal of a file or folder that the system did not let be written."""
    remedy = "Make room or choose" if is_full(error) else "Choose"
    return OutputError(f"{path} cannot be written: {reason(error)}. {remedy} another --out.")


def refuse_taken(out: Path) -> None:
    """Raises OutputError unless ``out`` is a folder still to be made, or an empty one."""
    try:
        taken = out.exists() and (not out.is_dir() or any(out.iterdir()))
    except OSError as error:
        raise not_written(out, error) from error
    if taken:
        raise OutputError(f"{out} exists and is not an empty folder; give a new folder with --out.")


def refuse_data_set(out: Path) -> None:
    """Raises OutputError where a run would be written among the files of a data set."""
    if (out / "manifest.json").exists():
        raise OutputError(f"{out} holds a data set; give a run a folder of its own with --out.")


@contextmanager
def whole(out: Path) -> Iterator[Path]:
    """A folder to write in, which becomes ``out`` at the end, or is removed with all that is in it.

    Raises:
        OutputError: ``out`` is taken, or the system did not let it be written.
    """
    refuse_taken(out)
    target = out.resolve()
    # an empty folder is not replaced: it may be where somebody stands, or a file system of its own
    home = target if target.is_dir() else target.parent
    made = [folder for folder in (home, *home.parents) if not folder.exists()]
    partial = home / f".{target.name}.{os.getpid()}.partial"
    done = False
    try:
        partial.mkdir(parents=True)
        yield partial
        if home is target:
            for entry in sorted(partial.iterdir()):
                entry.rename(target / entry.name)
        else:
            partial.rename(target)
        done = True
    except (OSError, OutputError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(cause, OSError):
            raise
        named = None if cause.filename is None else Path(os.fsdecode(cause.filename))
        if named is not None and not named.is_relative_to(home):
            raise  # something that was to be read
        raise not_written(out, cause) from cause
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if not done:
            with suppress(OSError):
                for folder in made:
                    folder.rmdir()


def remaining_s(done: int, total: int, elapsed_s: float) -> float | None:
    """Seconds left if the rest goes as the past did; None before a hundredth of it is done.

    Earlier, what it took to begin would be taken for the pace.
    """
    return elapsed_s / done * (total - done) if done > 0 and done >= total / 100 else None


def spoken(seconds: float) -> str:
    """A duration for people: ``40 s``, ``3 min``, ``2.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def drive(steps: Iterator[Progress], stream: TextIO | None = None) -> None:
    """Run long work to its end and print its progress with an estimate of the time left.

    On a terminal one line is rewritten; elsewhere a line is printed at most every 5 s, and one that
    says nothing new once a minute.
    """
    out = sys.stderr if stream is None else stream
    tty = out.isatty()
    started = time.monotonic()
    printed = -5.0
    shown: tuple[int, str] | None = None
    before: int | None = None  # a run that is resumed has much behind it already
    try:
        for step in steps:
            if step.said:
                out.write(f"\r\033[2K{step.text}\n" if tty else f"{step.text}\n")
                out.flush()
                continue
            before = max(0, step.done - 1) if before is None else before
            elapsed = time.monotonic() - started
            news = (step.done, step.text)
            pause = 60 if news == shown else 5
            if not tty and elapsed - printed < pause and step.done < step.total:
                continue
            printed, shown = elapsed, news
            left = remaining_s(step.done - before, step.total - before, elapsed)
            unfinished = left is not None and step.done < step.total
            estimate = f", about {spoken(left)} left" if left is not None and unfinished else ""
            line = f"[{step.done}/{step.total}] {step.text}{estimate}"
            out.write(f"\r\033[2K{line}" if tty else line + "\n")
            out.flush()
    finally:
        # a refusal begins a line of its own
        if tty:
            out.write("\n")
