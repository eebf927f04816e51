"""``make fuzz``, its first half: damaged files at the readers and at STOW.

Each is refused, and none a fault.

An execution is one mutated file at one target. It fails where the target raises what is no refusal,
answers with 500 or more, takes more than `SECONDS` of processor time, or makes the process larger
than `GROWTH_MB`. Every execution follows from the seed and its number, so a failure is made again
by ``--only NUMBER``. A run that is ended goes on where its log ends. An execution that ended the
process twice (it hung, or a decoder crashed) counts as a failure and is not tried again.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import resource
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from fuzz import mutation, seeds, targets

SECONDS = 10.0
"""Of processor time for one file; a hang is seen after `_HUNG_S`."""
GROWTH_MB = 1500
_HUNG_S = 300
_MEMORY_BYTES = 8 << 30
_EVERY = 500


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=2000, help="executions in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after these")
    parser.add_argument("--log", type=Path, default=Path("var/fuzz"), help="folder of the log")
    parser.add_argument("--only", type=int, help="make one execution again")
    asked = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    found = seeds.all_of_them()
    with targets.opened() as doors:
        if asked.only is not None:
            name, data, target = chosen(found, doors, asked.seed, asked.only)
            print(f"{asked.only}: {name} at {target}: {doors[target](data)}")
            return 0
        return run(found, doors, asked)


def chosen(
    found: list[tuple[str, bytes]], doors: targets.Doors, seed: int, number: int
) -> tuple[str, bytes, str]:
    """(name of the seed file, mutated bytes, target) of an execution."""
    rng = mutation.Rng(f"{seed} {number}")
    name, whole = found[rng.randrange(len(found))]
    other = found[rng.randrange(len(found))][1]
    data = mutation.mutated(whole, other, rng)
    return name, data, targets.chosen(doors, number, rng)


def run(found: list[tuple[str, bytes]], doors: targets.Doors, asked: argparse.Namespace) -> int:
    asked.log.mkdir(parents=True, exist_ok=True)
    log = Log(asked.log / f"seed-{asked.seed}.jsonl")
    begun, first = time.monotonic(), log.next
    print(f"{first} of {asked.count} executions are done; {len(found)} files; {sorted(doors)}")
    number = first
    while number < asked.count and time.monotonic() - begun < 60 * asked.minutes:
        name, data, target = chosen(found, doors, asked.seed, number)
        log.begin(number)
        faulthandler.dump_traceback_later(_HUNG_S, exit=True)
        before, large = time.process_time(), _megabytes()
        try:
            doors[target](data)
            fault = ""
        except Exception as error:
            fault = f"{type(error).__name__} in {_place(error)}"
        faulthandler.cancel_dump_traceback_later()
        spent = time.process_time() - before
        if not fault and spent > SECONDS:
            fault = f"{spent:.0f} s of processor time"
        if not fault and _megabytes() - large > GROWTH_MB:
            fault = f"{_megabytes() - large} MB more"
        if fault:
            log.fail(number, name, target, fault, data)
        number += 1
        if number % _EVERY == 0 or number == asked.count:
            log.tell(number, time.monotonic() - begun)
    log.tell(number, time.monotonic() - begun)
    return 1 if log.failures else 0


def _megabytes() -> int:
    """The most memory that this process had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def _place(error: BaseException) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(last.filename).name}:{last.lineno}"


class Log:
    """What was executed, one line of JSON each, and the files that made a fault."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._now = path.with_suffix(".now")
        self.next, self.failures = 0, 0
        for line in path.read_text("utf-8").splitlines() if path.exists() else ():
            told: dict[str, Any] = json.loads(line)
            self.next = max(self.next, told.get("done", 0), told.get("failed", -1) + 1)
            self.failures = max(self.failures, told.get("failures", 0))
        self._tries = 0
        if self._now.exists():  # the run before ended within this one
            number, self._tries = map(int, self._now.read_text("ascii").split() or (0, 0))
            self.next = max(self.next, number)
            if self.next == number and self._tries > 1:
                self.fail(number, "", "", "it ended the process twice", b"")
                self.next, self._tries = number + 1, 0

    def begin(self, number: int) -> None:
        self._tries = self._tries + 1 if number == self.next else 1
        self._now.write_text(f"{number} {self._tries}", "ascii")

    def fail(self, number: int, name: str, target: str, fault: str, data: bytes) -> None:
        self.failures += 1
        (self._path.parent / f"{self._path.stem}-{number}.bin").write_bytes(data)
        self._write(failed=number, file=name, target=target, fault=fault, failures=self.failures)

    def tell(self, done: int, seconds: float) -> None:
        self._write(done=done, failures=self.failures, seconds=round(seconds))
        print(f"{done} executions, {self.failures} faults, {seconds:.0f} s", flush=True)

    def _write(self, **told: Any) -> None:
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    sys.exit(main())
