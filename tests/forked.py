"""Processes of the application, forked from one that has imported all of it.

A process of its own takes three seconds of a core to import what it needs, and the tests start
dozens. These are such processes in all else: own memory, own connections, and they can be killed.
``python -m app`` itself is started by the tests of the documents, of the installation, and of what
leaves a machine.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from multiprocessing import current_process, reduction
from typing import Any

from app.place import ROOT

_IMPORTED = ["app.main", "app.demo", "app.node", "app.jobs", "app.objects.report", "uvicorn"]
"""With these nearly everything is; none of them reads the environment or opens anything."""


def prepare(*modules: str) -> None:
    """Import these as well; before the first process is started, else it does nothing."""
    _IMPORTED.extend(one for one in modules if one not in _IMPORTED)


class Forked:
    """What ``subprocess.Popen`` is, as far as the tests ask."""

    def __init__(self, process: Any) -> None:
        self._process = process
        self.pid: int = process.pid

    @property
    def returncode(self) -> int | None:
        """As ``poll``."""
        return self.poll()

    def poll(self) -> int | None:
        """The exit status; None while it runs."""
        code: int | None = self._process.exitcode
        return code

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, once it has ended; TimeoutExpired where that takes longer."""
        self._process.join(timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired("a forked process", timeout or 0)
        return code

    def terminate(self) -> None:
        """SIGTERM."""
        self._process.terminate()

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()


class _File:
    """A file descriptor that goes along to the process."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __reduce__(self) -> tuple[Any, ...]:
        return _own, (reduction.DupFd(self._number),)


def _own(duplicate: Any) -> int:
    number: int = duplicate.detach()
    return number


def app(
    *words: str,
    env: Mapping[str, str],
    stdin: int | None = None,
    stdout: int | None = None,
    stderr: int | None = None,
) -> Forked:
    """``python -m app …`` with this environment; descriptors that are not given are ours."""
    return _started(_command, words, env, stdin, stdout, stderr)


def program(text: str, *, env: Mapping[str, str], stdout: int, stderr: int) -> Forked:
    """``python -c text``."""
    return _started(_executed, [text], env, None, stdout, stderr)


def uvicorn(*words: str, env: Mapping[str, str], stdout: int, stderr: int) -> Forked:
    """``python -m uvicorn …``."""
    return _started(_uvicorn, words, env, None, stdout, stderr)


def _started(
    do: Callable[[Sequence[str]], Any],
    words: Sequence[str],
    env: Mapping[str, str],
    *streams: int | None,
) -> Forked:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_IMPORTED)
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"  # read as NumPy comes in: a fork has no second thread
    try:
        files = [None if one is None else _File(one) for one in (*_ours(streams),)]
        process = context.Process(target=_run, args=(do, tuple(words), dict(env), files))
        process.daemon = True  # it does not outlast the tests
        process.start()
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before
    return Forked(process)


def _ours(streams: Sequence[int | None]) -> list[int | None]:
    """Standard output and error of the forking process are those of its first test."""
    given = list(streams)
    for place, stream in ((1, sys.__stdout__), (2, sys.__stderr__)):
        if given[place] is None and stream is not None:
            with suppress(OSError, ValueError):
                given[place] = stream.fileno()
    return given


def _run(
    do: Callable[[Sequence[str]], Any],
    words: Sequence[str],
    env: Mapping[str, str],
    files: Sequence[int | None],
) -> None:
    current_process()._config["daemon"] = False  # type: ignore[attr-defined]  # may have its own
    os.environ.clear()
    os.environ.update(env)
    os.chdir(ROOT)
    for place, file in enumerate(files):
        if file is not None:
            os.dup2(file, place)
            os.close(file)
    if files[0] is not None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.exit(do(words))


def _command(words: Sequence[str]) -> int:
    from app.__main__ import main

    return main(list(words))


def _executed(words: Sequence[str]) -> None:
    exec(words[0], {"__name__": "__main__"})


def _uvicorn(words: Sequence[str]) -> Any:
    from uvicorn.main import main

    return main(list(words))
