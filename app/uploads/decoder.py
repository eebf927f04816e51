"""The process that reads what people send: started by ``processes``, and good for nothing else.

``python -m app.uploads.decoder`` imports all that reading needs, and then forks a process for each
upload that it is told of. Such a process has no environment of the application's, no connection,
no key and no file but the socket that the upload comes by, and can open none; its memory and its
time are limited. However it ends, the one that asked is told, and asks another one.
"""

from __future__ import annotations

import encodings.aliases
import gc
import importlib
import os
import pkgutil
import resource
import selectors
import signal
import socket
import sys
import traceback
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, NoReturn

import imagecodecs
from PIL import Image
from pydicom.pixels import decoders

from app.uploads import opening, sandbox
from app.uploads.opening import Known
from app.uploads.parcel import (
    Addressee,
    Limits,
    Outcome,
    PackedSlice,
    ParcelFile,
    ParcelMarking,
    Refusal,
)
from app.uploads.wire import ORDER, START, STATUS, Ended, Line
from ml.ground.errors import HepaticaError
from ml.images import dicom
from ml.images.ct_slice import CTSlice

_ASKED_LATE = (
    "scipy.ndimage",
    "pydicom.filewriter",
    "pydicom.overlays",
    "PIL.MpoImagePlugin",
    "PIL.TiffImagePlugin",
)
"""What the libraries import only once a file asks for it."""

_LOOKS_EVERY_S = 2.0
_MOST_SENT = 2**40
"""Bytes of one file that comes here: who sends it has limited it."""
_SPARE_BYTES = 2**27
"""Address space of threads, beyond what is allowed to the files."""


def main() -> int:
    """Fork what is asked for on standard input, until that is closed."""
    load()
    with socket.socket(fileno=os.dup(0)) as control:
        _Forking(control).run()
    return 0


def load() -> None:
    """Import and begin all that a file may ask for: afterwards no file can be opened."""
    for name in ("jpeg8_decode", "jpegls_decode", "jpeg2k_decode", "deflate_encode"):
        getattr(imagecodecs, name)
    Image.preinit()
    codecs = sorted(set(encodings.aliases.aliases.values()))
    pixels = pkgutil.iter_modules([str(Path(decoders.__file__).parent)])
    for name in (
        *(f"encodings.{one}" for one in codecs),
        *(f"{decoders.__name__}.{one.name}" for one in pixels),
        *_ASKED_LATE,
    ):
        with suppress(ImportError, LookupError):  # of another system, or of a library not here
            importlib.import_module(name)
    gc.collect()
    gc.freeze()


class _Forking:
    """The process that has everything loaded, and never sees a file."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._running: dict[int, tuple[int, int]] = {}
        """Process id → its number for the one that asks, and the pipe for how it ended."""
        self._parent = os.getppid()
        self._bell, self._rung = socket.socketpair()
        self._bell.setblocking(False)
        self._rung.setblocking(False)

    def run(self) -> None:
        """Until the one that asks is gone."""
        signal.set_wakeup_fd(self._rung.fileno())
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # who asks ends us, once it needs nothing more
        with selectors.DefaultSelector() as selector:
            selector.register(self._control, selectors.EVENT_READ)
            selector.register(self._bell, selectors.EVENT_READ)
            while os.getppid() == self._parent:
                ready = {key.fileobj for key, _ in selector.select(_LOOKS_EVERY_S)}
                if self._bell in ready:
                    with suppress(BlockingIOError):
                        while self._bell.recv(4096):
                            pass
                self._reap()
                if self._control in ready and not self._obey():
                    break
        for pid in self._running:
            os.kill(pid, signal.SIGKILL)

    def _obey(self) -> bool:
        """Do what is asked; False where nobody asks any more."""
        order, files, _, _ = socket.recv_fds(self._control, ORDER.size, 2)
        if len(order) < ORDER.size:
            return False
        what, number = ORDER.unpack(order)
        if what == START:
            self._start(number, *files)
        else:
            for pid, (known, _) in self._running.items():
                if known == number:
                    os.kill(pid, signal.SIGKILL)
        return True

    def _start(self, number: int, connection: int, pipe: int) -> None:
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError:  # the one that asks sees both ends closed without a word
            os.close(connection)
            os.close(pipe)
            return
        if pid == 0:
            self._be(connection, parent)
        os.close(connection)
        self._running[pid] = number, pipe

    def _be(self, connection: int, parent: int) -> NoReturn:
        """What the new process does, and nothing else."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            line = Line(socket.socket(fileno=connection), _MOST_SENT, waits=False)
            serve(line, sandbox.enter(parent, connection))
            status = 0
        finally:
            os._exit(status)

    def _reap(self) -> None:
        while self._running:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            _, pipe = self._running.pop(pid, (0, -1))
            if pipe >= 0:
                with suppress(OSError):
                    os.write(pipe, STATUS.pack(os.waitstatus_to_exitcode(status)))
                os.close(pipe)


def serve(line: Line, taken: int | None) -> None:
    """Read what comes, until nobody sends any more.

    Args:
        taken: bytes of address space that are not the files'.
    """
    with suppress(Ended):
        while True:
            kind, told, data = line.receive()
            if taken is not None:
                most = taken + _SPARE_BYTES + told["memory"]
                resource.setrlimit(resource.RLIMIT_AS, (most, most))
            try:
                if kind == "parcel":
                    _open(line, told)
                else:
                    _read(line, told, data)
                line.send("over")
            except Ended:
                raise
            except MemoryError:
                line.send("memory")
                return
            except BaseException as error:
                line.send("fault", _described(error))
                return


def _described(error: BaseException) -> str:
    """The kind of a fault and where it is, the innermost place last, without a value."""
    frames = [
        f"{Path(frame.f_code.co_filename).name}:{line}"
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    told = f" ({error})" if isinstance(error, sandbox.Sealed) else ""
    return f"{type(error).__name__}{told} at {', '.join(frames[-6:])}"


def _open(line: Line, told: Any) -> None:
    known = Known(dict(told["done"]), frozenset(told["deadly"]), told["spent_s"])
    to = None if told["study"] is None else Addressee(told["study"])
    limits = Limits(**told["limits"])
    for place, one in opening.outcomes(
        _sent(line), limits, to, known, lambda place, name: line.send("at", [place, name])
    ):
        _tell(line, place, one)


def _sent(line: Line) -> Iterator[tuple[str, bytes]]:
    """The files, each asked for when it is needed."""
    while True:
        line.send("next")
        kind, name, data = line.receive()
        if kind == "end":
            return
        yield name, data


def _tell(line: Line, place: int, one: Outcome) -> None:
    if isinstance(one, ParcelFile):
        for item in one.slices:
            line.send("slice", _without_pixels(item), item.pixels)
        identity = one.identity and asdict(one.identity)
        line.send("file", [place, {"file": one.file, "identity": identity}])
    elif isinstance(one, ParcelMarking):
        line.send("marking", [place, asdict(one)])
    elif isinstance(one, Refusal):
        line.send("refusal", [place, asdict(one)])
    else:
        line.send("passed over", [place, asdict(one)])


def _read(line: Line, told: Any, data: bytes) -> None:
    """The frames that are asked for, each by itself."""
    for number in told["frames"]:
        line.send("at", [0, told["name"]])
        try:
            found = dicom.read_frame(data, told["name"], number)
        except HepaticaError as error:
            line.send("unusable", str(error))
            continue
        raw = found.pixels.astype(found.pixels.dtype.newbyteorder("<"), copy=False)
        what = {**_without_pixels(found), "shape": [*found.size, raw.dtype.name]}
        line.send("image", what, raw.tobytes())


def _without_pixels(item: PackedSlice | CTSlice) -> dict[str, object]:
    told = {one.name: getattr(item, one.name) for one in fields(item) if one.name != "pixels"}
    told["tags"] = dict(item.tags)
    return told


if __name__ == "__main__":
    sys.exit(main())
