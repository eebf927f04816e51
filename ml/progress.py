"""Progress of long work, and the folder in which a run explains itself."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from ml.errors import HepaticaError


@dataclass(frozen=True)
class Progress:
    """One step of long work: ``done`` of ``total`` (any unit), a line of text, named figures."""

    done: int
    total: int
    text: str
    figures: Mapping[str, float] | None = None


@dataclass(frozen=True)
class RunDir:
    """A folder that explains itself: ``config.json``, ``log.jsonl``, ``results.json`` …"""

    path: Path

    def __post_init__(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)

    def write_bytes(self, name: str, data: bytes) -> Path:
        """Write a file whole or not at all: a killed process leaves the old one in place."""
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
        try:
            with partial.open("wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            partial.replace(target)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise HepaticaError(
                f"{target} cannot be written: {error.strerror}. Make room or choose another --out."
            ) from error
        return target

    def write_json(self, name: str, value: Any) -> Path:
        text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
        return self.write_bytes(name, text.encode() + b"\n")

    def read_json(self, name: str) -> Any:
        return json.loads((self.path / name).read_text("utf-8"))

    def log(self, progress: Progress) -> None:
        """Append one line to ``log.jsonl``."""
        entry = {key: value for key, value in asdict(progress).items() if value is not None}
        path = self.path / "log.jsonl"
        try:
            with path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps({"at": time.time(), **entry}) + "\n")
        except OSError as error:
            raise HepaticaError(
                f"{path} cannot be written: {error.strerror}. Make room or choose another --out."
            ) from error


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

    On a terminal one line is rewritten; elsewhere a line is printed at most every 5 s.
    """
    out = sys.stderr if stream is None else stream
    tty = out.isatty()
    started = time.monotonic()
    printed = -5.0
    before: int | None = None  # a run that is resumed has much behind it already
    for step in steps:
        before = max(0, step.done - 1) if before is None else before
        elapsed = time.monotonic() - started
        if not tty and elapsed - printed < 5 and step.done < step.total:
            continue
        printed = elapsed
        left = remaining_s(step.done - before, step.total - before, elapsed)
        estimate = (
            f", about {spoken(left)} left" if left is not None and step.done < step.total else ""
        )
        line = f"[{step.done}/{step.total}] {step.text}{estimate}"
        out.write(f"\r\033[2K{line}" if tty else line + "\n")
        out.flush()
    if tty:
        out.write("\n")
