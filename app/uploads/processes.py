"""The processes that read what people send, as seen by whoever asks them.

One of them, started with the application, has everything loaded and sees no file; for each upload
it forks one that does, in milliseconds.
"""

from __future__ import annotations

import atexit
import os
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from functools import cache
from itertools import count
from pathlib import Path
from select import select
from time import monotonic

from app.errors import Unavailable
from app.settings import plain_environment
from app.uploads.wire import KILL, ORDER, START, STATUS, Line

_ENDS_WITHIN_S = 10.0
"""So long is waited for word of how a process ended."""


class Worker:
    """A process that reads files for one person or program."""

    def __init__(self, readers: Readers, number: int, line: Line, status: int) -> None:
        self.line = line
        self.asked = 0
        """How often it was asked."""
        self._readers = readers
        self._number = number
        self._status = status

    def kill(self) -> None:
        """End it now, whatever it does."""
        self._readers.tell(KILL, self._number)

    def ended(self) -> int | None:
        """How it ended: minus a signal, or its exit code; None where nobody can tell."""
        until = monotonic() + _ENDS_WITHIN_S
        found = b""
        while len(found) < STATUS.size:
            ready, _, _ = select([self._status], [], [], max(0.0, until - monotonic()))
            piece = os.read(self._status, STATUS.size - len(found)) if ready else b""
            if not piece:
                return None
            found += piece
        code: int = STATUS.unpack(found)[0]
        return code

    def close(self) -> None:
        """It is needed no more, and ends since nobody will send it anything."""
        self.line.close()
        os.close(self._status)


class Readers:
    """The process that forks those that read: started when it is needed, and again if it ends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._numbers = count(1)

    def start(self) -> None:
        """Have it load what it needs now, and not at the first file."""
        with self._lock:
            self._connected()

    def worker(self) -> Worker:
        """A process of its own, for one person or program.

        Raises:
            Unavailable: the system starts none.
        """
        number = next(self._numbers)
        ours, theirs = socket.socketpair()
        status, told = os.pipe()
        try:
            self.tell(START, number, theirs.fileno(), told)
        except OSError as error:
            ours.close()
            os.close(status)
            raise none_started() from error
        finally:
            theirs.close()
            os.close(told)
        return Worker(self, number, Line(ours), status)

    def tell(self, what: bytes, number: int, *files: int) -> None:
        """Ask it for something; OSError where it cannot be started."""
        order = [ORDER.pack(what, number)]
        with self._lock:
            try:
                socket.send_fds(self._connected(), order, files)
            except OSError:  # it was ended, perhaps for want of memory, and what it forked with it
                self._forget()
                if what == START:
                    socket.send_fds(self._connected(), order, files)

    def stop(self) -> None:
        """End it and all that it forked."""
        with self._lock:
            self._forget()

    def _connected(self) -> socket.socket:
        if self._control is not None:
            return self._control
        ours, theirs = socket.socketpair()
        here = str(Path(__file__).resolve().parents[2])
        environment = plain_environment() | {
            "PYTHONPATH": os.pathsep.join([here, *(one for one in sys.path if one)]),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",  # it forks, so it must have one thread
            "MALLOC_ARENA_MAX": "2",
            # memory of one slice is used again for the next, and all of it ends with the process
            "MALLOC_MMAP_THRESHOLD_": str(2**25),
            "MALLOC_TRIM_THRESHOLD_": str(2**29),
        }
        try:
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "app.uploads.decoder"],
                    cwd="/",
                    env=environment,
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,  # a trace could hold values of a file
                    start_new_session=True,  # a Ctrl-C is ours, and what is under way goes on
                )
        except OSError:
            ours.close()
            raise
        self._control = ours
        return ours

    def _forget(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_ENDS_WITHIN_S)
            self._process = None


def none_started() -> Unavailable:
    """No process that reads files could be started, or it was lost at once."""
    return Unavailable(
        "Files cannot be read at this moment: the system has no room for the process that does. "
        "Nothing of this was stored; send it again in a moment.",
        retry_after_s=10,
    )


@cache
def readers() -> Readers:
    """Those of this process."""
    found = Readers()
    atexit.register(found.stop)
    return found


def _fresh_after_fork() -> None:
    readers.cache_clear()


os.register_at_fork(after_in_child=_fresh_after_fork)
