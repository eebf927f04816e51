"""The web processes of one server: forked from one that has everything loaded, begun anew when one
ends, gone when that one is.

What is needed once is done before: the forking process has imported the application, brought the
database up to date, and listens. It has no thread and no connection, and answers nobody; the
others share its socket and most of its memory. What they tell each other lies in memory that all
of them have (`Board`), and the one with number 0 does what needs one process (`Place.is_first`).
"""

from __future__ import annotations

import logging
import mmap
import os
import select
import signal
import struct
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import NoReturn

log = logging.getLogger("hepatica")

MOST_BY_DEFAULT = 4
"""Web processes where nobody says how many: each opens up to 17 connections, and a PostgreSQL
server carries a hundred."""
NOT_STARTED = 3
"""Exit code of a process that could not begin to serve; uvicorn has the same."""
HUNG_AFTER_S = 60.0
"""A process that told nothing for so long is ended, and another one begun."""
_ENDED_WITHIN_S = 45.0
"""So long a process may take to end after SIGTERM: requests have 10 s, and each loop as much."""
_SHORT_LIFE_S = 30.0
"""A process that ends sooner than this is begun again after a pause, longer each time."""
_LONGEST_PAUSE_S = 30.0
_LOOK_EVERY_S = 1.0

_CGROUPS = Path("/sys/fs/cgroup")


def by_default(own: Path = Path("/proc/self/cgroup"), root: Path = _CGROUPS) -> int:
    """How many web processes there are where nobody says: one for each core that may be used.

    Args:
        own: names the control group of this process (Linux).
        root: where control groups are.
    """
    if not hasattr(os, "fork"):
        return 1
    allowed = getattr(os, "sched_getaffinity", None)
    cores = len(allowed(0)) if allowed else os.cpu_count() or 1
    return max(1, int(min(cores, MOST_BY_DEFAULT, _quota(own, root))))


def _quota(own: Path, root: Path) -> float:
    """Cores' worth of time that control groups leave to this process; infinity without a limit."""
    with suppress(OSError, ValueError):
        path = next(
            line.partition("::")[2].strip("/")
            for line in own.read_text().splitlines()
            if line.startswith("0::")
        ).split("/")
        groups = [root.joinpath(*path[:depth]) for depth in range(len(path) + 1)]
        return min((one for group in groups for one in _limits(group)), default=float("inf"))
    return float("inf")


def _limits(group: Path) -> Iterator[float]:
    with suppress(OSError, ValueError):
        most, period = (group / "cpu.max").read_text().split()
        if most != "max":
            yield int(most) / int(period)


class Board:
    """Memory that all web processes have: of each when it was last heard of, and its figures.

    Each writes its own slot alone; what is read half-written is read again.
    """

    _SLOT = 4 * 1024 * 1024  # taken from the system as it is written
    _HEARD = struct.Struct("d?")
    _HEAD = struct.Struct("II")
    _TRIES = 100

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._memory = mmap.mmap(-1, slots * self._SLOT)

    def tell(self, slot: int, *, is_up: bool) -> None:
        """That process lives now, and whether it serves yet."""
        self._HEARD.pack_into(self._memory, slot * self._SLOT, monotonic(), is_up)

    def heard(self, slot: int) -> tuple[float, bool]:
        """When it lived last, by the monotonic clock, and whether it served."""
        at, is_up = self._HEARD.unpack_from(self._memory, slot * self._SLOT)
        return at, is_up

    def post(self, slot: int, figures: bytes) -> None:
        """Replace its figures; ValueError where there is no room for them."""
        place = slot * self._SLOT + self._HEARD.size
        if len(figures) > self._SLOT - self._HEARD.size - self._HEAD.size:
            raise ValueError(f"{len(figures)} bytes are too many for a slot")
        begin = place + self._HEAD.size
        self._memory[begin : begin + len(figures)] = figures
        self._HEAD.pack_into(self._memory, place, len(figures), zlib.crc32(figures))

    def read(self, slot: int) -> bytes:
        """Its figures; nothing where there are none, or it was killed while it wrote them."""
        place = slot * self._SLOT + self._HEARD.size
        begin = place + self._HEAD.size
        for _ in range(self._TRIES):
            length, check = self._HEAD.unpack_from(self._memory, place)
            figures = self._memory[begin : begin + min(length, self._SLOT)]
            if zlib.crc32(figures) == check:
                return figures
        return b""


class Bell:
    """Rung in one process, heard in another: something was queued."""

    def __init__(self) -> None:
        self.file, self._write = os.pipe()
        os.set_blocking(self.file, False)
        os.set_blocking(self._write, False)

    def ring(self) -> None:
        """Let the other one hear it; where it has not heard the last ones yet, it will anyway."""
        with suppress(BlockingIOError):
            os.write(self._write, b"!")

    def heard(self) -> None:
        """What was rung until now is heard."""
        with suppress(BlockingIOError):
            os.read(self.file, 4096)


@dataclass(frozen=True)
class Place:
    """Which of the web processes of a server this one is."""

    number: int = 0
    board: Board | None = None
    bell: Bell | None = None

    @property
    def is_first(self) -> bool:
        """Whether it does what needs one process, such as the jobs that were queued."""
        return self.number == 0

    def tell(self, figures: bytes = b"", *, is_up: bool = True) -> None:
        """This process lives, and what it has counted."""
        if self.board is not None:
            self.board.tell(self.number, is_up=is_up)
            if figures:
                self.board.post(self.number, figures)

    def told(self) -> bytes:
        """What was told last from this place, by a process before this one first of all."""
        return b"" if self.board is None else self.board.read(self.number)

    def told_by_others(self) -> list[bytes]:
        """What the processes at the other places have told."""
        if self.board is None:
            return []
        others = (slot for slot in range(self.board.slots) if slot != self.number)
        return [found for slot in others if (found := self.board.read(slot))]


ALONE = Place()
"""Of a server with one process."""


@dataclass
class _Process:
    """One that was begun, or is to be."""

    pid: int = 0
    begun: float = 0.0
    due: float = 0.0
    pause_s: float = 0.0


class WebProcesses:
    """Begins the web processes of a server, looks after them, and ends them."""

    def __init__(self, count: int, serve: Callable[[Place], int]) -> None:
        """Begin nothing yet.

        Args:
            serve: what each does, until SIGTERM or SIGINT; returns its exit code.
        """
        self._serve = serve
        self._board = Board(count)
        self._bell = Bell()
        self._all = [_Process() for _ in range(count)]
        self._has_served = self._ending = False
        self._alive, self._lives = os.pipe()
        self._woken, self._wakes = os.pipe()
        os.set_blocking(self._wakes, False)
        os.set_blocking(self._woken, False)

    def run(self) -> int:
        """Serve until SIGTERM or SIGINT; the exit code: 0, or 3 where none could begin to."""
        signals = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
        before = [signal.signal(one, self._note) for one in signals]
        waker = signal.set_wakeup_fd(self._wakes, warn_on_full_buffer=False)
        try:
            code = self._until_ended()
            self._end_all()
            return code
        finally:
            signal.set_wakeup_fd(waker)
            for one, handler in zip(signals, before, strict=True):
                signal.signal(one, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._ending = self._ending or number != signal.SIGCHLD

    def _until_ended(self) -> int:
        looked = monotonic()
        while not self._ending:
            for number, one in enumerate(self._all):
                if one.pid == 0 and monotonic() >= one.due:
                    self._begin(number)
            select.select([self._woken], [], [], _LOOK_EVERY_S)
            with suppress(BlockingIOError):
                os.read(self._woken, 4096)
            if self._reap() and not self._has_served:
                return NOT_STARTED
            # where this process itself did not run, the others may not have run either
            slept = monotonic() - looked > 5 * _LOOK_EVERY_S
            looked = monotonic()
            self._look_after(forgive=slept)
        return 0

    def _begin(self, number: int) -> None:
        one = self._all[number]
        sys.stdout.flush()
        sys.stderr.flush()
        self._board.tell(number, is_up=False)
        # a signal that comes now is for the new process once it can tell what to do with it
        with _held_back(signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            one.pid = os.fork()
            if one.pid == 0:
                self._become(number)
        one.begun = monotonic()

    def _become(self, number: int) -> NoReturn:
        """Be the web process of that number; never returns into what was going on here."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for what in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
                signal.signal(what, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            for file in (self._lives, self._woken, self._wakes):
                os.close(file)
            threading.Thread(target=self._end_with_parent, name="parent", daemon=True).start()
            code = self._serve(Place(number, self._board, self._bell))
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except KeyboardInterrupt:
            code = 0
        except BaseException:
            log.critical("A web process ends by a fault.", exc_info=True)
        finally:
            with suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def _end_with_parent(self) -> None:
        """End this process, as SIGTERM does, once the one that forked it is gone.

        Else web processes whose server was killed would keep the port from the next one.
        """
        os.read(self._alive, 1)  # nothing is ever written: it returns when the other end is closed
        os.kill(os.getpid(), signal.SIGTERM)

    def _reap(self) -> bool:
        """Note who has ended, for whom another one is due; True when one could not begin."""
        failed = False
        for number, one in enumerate(self._all):
            if one.pid == 0:
                continue
            ended, status = os.waitpid(one.pid, os.WNOHANG)
            self._has_served = self._has_served or self._board.heard(number)[1]
            if not ended:
                continue
            code = os.waitstatus_to_exitcode(status)
            failed = failed or code == NOT_STARTED
            lived = monotonic() - one.begun
            one.pause_s = (
                0.0 if lived >= _SHORT_LIFE_S else min(_LONGEST_PAUSE_S, max(0.5, 2 * one.pause_s))
            )
            one.pid, one.due = 0, monotonic() + one.pause_s
            if not self._ending:
                again = f" in {one.pause_s:g} s" if one.pause_s else ""
                log.error("Web process %d %s. Another one is begun%s.", ended, _how(code), again)
        return failed

    def _look_after(self, *, forgive: bool) -> None:
        for number, one in enumerate(self._all):
            at, is_up = self._board.heard(number)
            if one.pid == 0 or monotonic() - at < HUNG_AFTER_S:
                continue
            if forgive:
                self._board.tell(number, is_up=is_up)
                continue
            log.error("Web process %d told nothing for %g s and is ended.", one.pid, HUNG_AFTER_S)
            with suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGKILL)

    def _end_all(self) -> None:
        """End those that are left: SIGTERM first, so that requests are answered to their end."""
        self._ending = True
        until = monotonic() + _ENDED_WITHIN_S
        what = signal.SIGTERM
        while left := [one.pid for one in self._all if one.pid]:
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, what)
            while any(one.pid for one in self._all) and monotonic() < until:
                select.select([self._woken], [], [], 0.2)
                with suppress(BlockingIOError):
                    os.read(self._woken, 4096)
                self._reap()
            if any(one.pid for one in self._all):
                log.error("Web processes did not end in %g s and are killed.", _ENDED_WITHIN_S)
                what, until = signal.SIGKILL, monotonic() + _ENDED_WITHIN_S


def _how(code: int) -> str:
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"


@contextmanager
def _held_back(*signals: signal.Signals) -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
