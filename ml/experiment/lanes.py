"""Trainings on one GPU, several at a time: each in a thread of this process, on its own stream.

Processes share a GPU in turns; streams of one process share it at once. Tasks that need no GPU run
beside them on the cores, in processes.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from ml.experiment import parallel
from ml.ground.errors import HepaticaError
from ml.progress import Progress

_BEAT_S = 2.0

Told = Any | Progress | None
"""A task that has ended, something that must be said, or None: still at work."""


class MemoryFullError(HepaticaError):
    """One training alone does not fit the GPU's memory."""


class LostDeviceError(HepaticaError):
    """The GPU failed while trainings were on it."""


class Lanes:
    """So many trainings at a time on a device.

    One that finds no memory is put back, and from then on there is a lane less; it goes on from its
    saved state.

    Args:
        function: does one task.
        stop: file that is written to tell the tasks to end; see ``parallel.each``.
        device: ``cuda`` or ``cuda:N``; ``cpu`` for tests.
        count: lanes at first.
    """

    def __init__(
        self,
        function: Callable[[Any], Any],
        tasks: Sequence[Any],
        stop: Path,
        device: str,
        count: int,
    ) -> None:
        self._function, self._stop, self._device = function, stop, device
        self._left = deque(tasks)
        self._told: queue.Queue[Told | BaseException] = queue.Queue()
        self._lock = threading.Lock()
        self._closed = False
        self._alone: list[Any] = []
        self._alive = min(count, len(tasks))
        self._threads = [
            threading.Thread(target=self._lane, name=f"lane {i}", daemon=True)
            for i in range(self._alive)
        ]

    def begin(self) -> None:
        """Start the lanes."""
        for thread in self._threads:
            thread.start()

    @property
    def ended(self) -> bool:
        """Whether no lane is at work and all is told."""
        return self._told.empty() and not any(thread.is_alive() for thread in self._threads)

    def news(self, wait_s: float = 0.0) -> Iterator[Told]:
        """What was told since; None once if nothing was within ``wait_s``.

        Raises:
            HepaticaError: what a task refused; a GPU without memory for one training, or lost.
        """
        try:
            first = self._told.get(timeout=wait_s) if wait_s else self._told.get_nowait()
        except queue.Empty:
            if wait_s:
                yield None
            return
        yield self._checked(first)
        while not self._told.empty():
            yield self._checked(self._told.get_nowait())

    def close(self) -> None:
        """End the lanes after their present epoch, if they have not ended."""
        self._closed = True
        if any(thread.is_alive() for thread in self._threads):
            self._stop.write_text("the run was cancelled\n")
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(60)

    def _checked(self, told: Told | BaseException) -> Told:
        if isinstance(told, BaseException):
            raise told
        return told

    def _lane(self) -> None:
        with _own_stream(self._device):
            while True:
                with self._lock:
                    if self._closed or not self._left:
                        self._alive -= 1
                        return
                    task = self._left.popleft()
                if not self._did(task):
                    return

    def _did(self, task: Any) -> bool:
        """Do a task; whether the lane goes on."""
        try:
            self._function(task)
            self._told.put(task)
            return True
        except parallel.Stopped:
            return False
        except BaseException as error:
            if not _is_out_of_memory(error):
                self._closed = True
                self._told.put(_translated(error, self._device))
                return False
        with self._lock:
            self._left.appendleft(task)
            alone = self._alive == 1
            if alone and task not in self._alone:
                # another may have been there when it failed
                self._alone.append(task)
                again = True
            else:
                again = False
                self._alive -= 1
            left = self._alive
        if again:
            _release(self._device)
            return True
        if alone:
            self._closed = True
            self._told.put(
                MemoryFullError(
                    f"The GPU's memory ({self._device}) does not hold one training alone; give the "
                    "GPU to this run alone, or lower the networks' widths or batch. What is done "
                    "is kept: go on with --resume."
                )
            )
            return False
        _release(self._device)
        words = (
            f"the GPU's memory ({self._device}) does not hold {left + 1} trainings at a time: "
            f"{left} from now on"
        )
        self._told.put(Progress(0, 1, words, said=True))
        return False


def each(
    function: Callable[[Any], Any],
    trainings: Sequence[Any],
    others: Sequence[Any],
    stop: Path,
    device: str,
    lanes: int,
    jobs: int,
) -> Iterator[Told]:
    """Trainings on a device and other tasks on the cores, at the same time.

    Closing the generator ends both.

    Args:
        lanes: trainings at a time.
        jobs: other tasks at a time.

    Raises:
        HepaticaError: as ``Lanes.news`` and ``parallel.each``.
    """
    on_device = Lanes(function, trainings, stop, device, lanes)
    on_cores = parallel.each(function, others, stop, jobs) if others else iter(())
    on_device.begin()
    try:
        for told in on_cores:
            yield told
            yield from on_device.news()
        while not on_device.ended:
            yield from on_device.news(_BEAT_S)
    finally:
        on_device.close()
        if close := getattr(on_cores, "close", None):
            close()


def _own_stream(device: str) -> AbstractContextManager[object]:
    if not device.startswith("cuda"):
        return nullcontext()
    import torch

    return torch.cuda.stream(torch.cuda.Stream(torch.device(device)))  # type: ignore[no-untyped-call]


def _is_out_of_memory(error: BaseException) -> bool:
    import torch

    return isinstance(error, torch.OutOfMemoryError)


def _release(device: str) -> None:
    """Give back memory that PyTorch keeps for later: the other lanes need it."""
    if device.startswith("cuda"):
        import torch

        from ml.training import captured

        with captured.alone():
            torch.cuda.empty_cache()


def _translated(error: BaseException, device: str) -> BaseException:
    """A failure of the device as a refusal that says what to do; anything else as it is."""
    if isinstance(error, HepaticaError):
        return error
    if type(error).__name__ == "AcceleratorError" or "CUDA error" in str(error):
        first = str(error).splitlines()[0]
        found = LostDeviceError(
            f"The GPU ({device}) failed ({first}). What is done is kept, and trainings that had "
            "begun go on from their last saved epoch: start the run again with --resume."
        )
        found.__cause__ = error
        return found
    return error
