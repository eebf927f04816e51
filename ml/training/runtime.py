"""The machine that training runs on: threads, device, memory, seeds, saved states (torch).

One torch thread per task and a seed hashed from the task's name: the cores or machines that share
the work change no number on the same kind of CPU.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from threadpoolctl import threadpool_limits

from ml.config import Precision
from ml.config import seed_for as seed_for
from ml.ground.errors import HepaticaError
from ml.ground.records import from_json, to_json
from ml.progress import RunDir
from ml.training.learned import Unfinished

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h of glibc


_SEEDED = threading.RLock()
_SAVING_SHARE = 0.05
"""Of the time of a training, at most, that goes into saving unfinished states."""


class DeviceError(HepaticaError):
    """A device was asked for that this machine does not have."""


class StateError(HepaticaError):
    """A run folder that holds the state of another run."""


def prepare(threads: int = 1) -> None:
    """Make this process ready to train: repeatable kernels, few threads, memory that is kept.

    glibc hands large blocks back to the system after each use and the next step faults their pages
    in again: 365–380 ROIs/s against 394–400 on the paper's CNN with channels last, one core.
    """
    torch.set_num_threads(threads)
    # NumPy's sums depend on how many threads share them
    threadpool_limits(threads)
    # use_deterministic_algorithms does the same, and imports a compiler for two seconds to tell it
    torch.set_deterministic_debug_mode("error")
    # memory is always written before it is read here; filling it first takes 5 % of a step
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if torch.cuda.is_available():
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
    # cuBLAS is only repeatable with a fixed workspace, and reads this when it starts
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_M_MMAP_MAX, 0)
            mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def device(name: str = "cpu") -> torch.device:
    """``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        DeviceError: no such device here.
    """
    try:
        chosen = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(f"{name!r} is no device; use cpu or cuda.") from error
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise DeviceError("A GPU was asked for (cuda), but torch sees none; use device cpu.")
    if chosen.type not in ("cpu", "cuda"):
        raise DeviceError(f"Training on {name!r} is not supported; use cpu or cuda.")
    return chosen


def mixed(chosen: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Context of a forward pass in training whose products are in ``precision``."""
    if precision == Precision.FLOAT32:
        return nullcontext()
    return torch.autocast(chosen.type, torch.bfloat16)


@contextmanager
def seeded(*parts: object) -> Iterator[None]:
    """Torch's own random numbers of the CPU (initial weights) from a named seed, then as before.

    One thread at a time: they are the process's.
    """
    with _SEEDED, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed_for(*parts))
        yield


def stream(chosen: torch.device) -> AbstractContextManager[object]:
    """Context of a training's own stream on a GPU, within which its steps are captured.

    A thread that has one already keeps it. What follows on the stream before waits for it.
    """
    if chosen.type != "cuda" or not _on_default_stream(chosen):
        return nullcontext()
    return _own_stream(chosen)


def _on_default_stream(chosen: torch.device) -> bool:
    return torch.cuda.current_stream(chosen) == torch.cuda.default_stream(chosen)


@contextmanager
def _own_stream(chosen: torch.device) -> Iterator[None]:
    before, own = torch.cuda.current_stream(chosen), torch.cuda.Stream(chosen)  # type: ignore[no-untyped-call]
    own.wait_stream(before)
    with torch.cuda.stream(own):
        yield
    before.wait_stream(own)


def generator(*parts: object) -> np.random.Generator:
    """NumPy random numbers from a named seed."""
    return np.random.default_rng(seed_for(*parts))


def arrays(module: torch.nn.Module) -> dict[str, npt.NDArray[Any]]:
    """A network's parameters and buffers by name, as NumPy arrays of their own."""
    return {
        name: tensor.detach().cpu().contiguous().numpy().copy()
        for name, tensor in module.state_dict().items()
    }


class Pace:
    """When to save an unfinished state: at first, and then so that saving takes little of the time.

    A state of the paper's DCGAN is 300 MB, and a GPU trains it for a second in the time that a disk
    takes to write it.
    """

    def __init__(self) -> None:
        self._next = 0.0

    def due(self) -> bool:
        """Whether it is time to save."""
        return time.monotonic() >= self._next

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Around saving: the longer it takes, the later the next one is due."""
        started = time.monotonic()
        yield
        ended = time.monotonic()
        self._next = ended + (ended - started) / _SAVING_SHARE


def save_state(
    out: RunDir,
    name: str,
    modules: Mapping[str, torch.nn.Module],
    optimizers: Mapping[str, torch.optim.Optimizer],
    told: Unfinished,
) -> None:
    """Write everything that going on needs into one safetensors file, whole or not at all."""
    tensors: dict[str, torch.Tensor] = {}
    for key, module in modules.items():
        for field, tensor in module.state_dict().items():
            tensors[f"{key}|{field}"] = tensor.detach().cpu().contiguous().clone()
    for key, optimizer in optimizers.items():
        for i, parameter in enumerate(_parameters(optimizer)):
            for field, value in optimizer.state.get(parameter, {}).items():
                if isinstance(value, torch.Tensor):
                    tensors[f"{key}|{i}|{field}"] = value.detach().cpu().contiguous().clone()
    out.write_bytes(name, save(tensors, metadata={"told": json.dumps(to_json(told))}))


def load_state(
    out: RunDir,
    name: str,
    modules: Mapping[str, torch.nn.Module],
    optimizers: Mapping[str, torch.optim.Optimizer],
    task: str,
) -> Unfinished | None:
    """Restore ``save_state`` in place; returns what it told, or None when there is no state.

    Raises:
        StateError: the state is unreadable, or told a ``task`` other than this one.
    """
    path = out.path / name
    if not path.exists():
        return None
    try:
        with safe_open(path, "pt") as stored:
            told = from_json(Unfinished, json.loads(stored.metadata()["told"]))
            tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise StateError(f"{path} cannot be read ({error}); remove it to begin again.") from error
    if told.task != task:
        raise StateError(
            f"{out.path} holds an unfinished run with other settings or data; "
            f"give an empty folder, or remove {path} to begin again."
        )
    for key, module in modules.items():
        module.load_state_dict({field: tensors[f"{key}|{field}"] for field in module.state_dict()})
    for key, optimizer in optimizers.items():
        for i, parameter in enumerate(_parameters(optimizer)):
            prefix = f"{key}|{i}|"
            for label, tensor in tensors.items():
                if label.startswith(prefix):
                    like = (
                        torch.empty_like(parameter)
                        if tensor.ndim
                        else torch.zeros((), device=parameter.device)
                    )
                    optimizer.state[parameter][label.removeprefix(prefix)] = like.copy_(tensor)
    return told


def _parameters(optimizer: torch.optim.Optimizer) -> list[torch.nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def task_of(pixels: npt.NDArray[Any], *parts: object) -> str:
    """A short name (16 hex digits) of a piece of work and of the pixels it works on.

    By it an unfinished state is recognised again: the same parts and pixels give the same name.
    """
    digest = hashlib.sha256(json.dumps([str(part) for part in parts]).encode())
    digest.update(np.ascontiguousarray(pixels).tobytes())
    return digest.hexdigest()[:16]
