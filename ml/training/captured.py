"""A training step that a GPU repeats by itself, as a CUDA graph.

A step of the CNN is forty kernels of a few microseconds, and the host takes longer to start each
than the GPU to do it. Captured, all forty are started at once. A captured step does the same work
on the same memory every time; what differs from step to step it reads from tensors.
"""

from __future__ import annotations

import gc
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress

import torch

_PLAIN = 2
"""Steps of each size that are made as they come, so that all libraries are ready for a capture."""
_ALONE = threading.RLock()
"""One capture at a time: trainings are threads of one process, each on a stream of its own."""


def alone() -> AbstractContextManager[object]:
    """Context in which no other training is captured, for what a capture does not bear."""
    return _ALONE


class Captured:
    """Calls ``step(size)``: on a GPU from the third call of each size on as a CUDA graph.

    The first calls are steps like all others: the numbers are the same whenever capturing begins.

    Args:
        step: one step on the device's present stream, which must not be its default one; reads
            and writes the same tensors every time, and never waits for the device.
    """

    def __init__(self, step: Callable[[int], None], device: torch.device) -> None:
        self._step = step
        self._capturing = device.type == "cuda"
        self._seen: Counter[int] = Counter()
        self._graphs: dict[int, torch.cuda.CUDAGraph] = {}

    def __call__(self, size: int) -> None:
        """One step of ``size`` ROIs."""
        graph = self._graphs.get(size)
        if graph is None:
            if not self._capturing or self._seen[size] < _PLAIN:
                self._seen[size] += 1
                self._step(size)
                return
            graph = self._graphs[size] = self._captured(size)
        graph.replay()

    def _captured(self, size: int) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        with _ALONE:
            collecting = gc.isenabled()
            gc.disable()  # what it would free may not be freed within a capture
            try:
                graph.capture_begin(capture_error_mode="thread_local")
                try:
                    self._step(size)
                except BaseException:
                    with suppress(RuntimeError):
                        graph.capture_end()
                    raise
                graph.capture_end()
            finally:
                if collecting:
                    gc.enable()
        return graph
