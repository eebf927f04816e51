"""The processes of one server: begun from one that has imported everything, ended with it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from multiprocessing import forkserver


def prepare(module: str) -> None:
    """Let a process beside this one import ``module``; uvicorn's web processes are forked from it.

    A web process of its own imports for seconds: at each start, after this one has migrated the
    database, and again when one has ended and is replaced.
    """
    import uvicorn._subprocess

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([module])
    # uvicorn names no setting for it, and takes every context that starts processes alike
    uvicorn._subprocess.spawn = context  # type: ignore[assignment]
    forkserver.ensure_running()


def end_with_parent() -> None:
    """End this process, as SIGTERM does, once the one that started it is gone.

    Else web processes whose supervisor was killed would go on, and keep the port from the next one.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="parent", daemon=True).start()
