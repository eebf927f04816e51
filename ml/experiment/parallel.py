"""Independent tasks on the cores of this machine, or of a Ray cluster, through joblib.

A task leaves its result in files, so that a task that is done is never done again, a worker that
dies costs only its own task, and where a task runs changes nothing.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import joblib

from ml.ground.errors import HepaticaError

_BEAT_S = 2.0
_LOST = (
    "TerminatedWorkerError", "BrokenProcessPool", "RayActorError", "ActorDiedError",
    "ActorUnavailableError", "WorkerCrashedError", "NodeDiedError", "RayTaskError",
)  # fmt: skip
_TRIES = 4


class Stopped(Exception):
    """The run was cancelled while this task was at work."""


class ClusterError(HepaticaError):
    """A cluster that cannot be used."""


class Watch:
    """Told after every step of a task, ends it when its run was cancelled or killed.

    Args:
        stop: file that stands there as soon as the tasks are to end.
        owner: process that started the workers of this machine; 0 where there is none to watch.
    """

    def __init__(self, stop: Path, owner: int = 0) -> None:
        self.stop = stop
        self.owner = owner

    def __call__(self) -> None:
        """After a step: nothing while the run goes on; a worker whose owner died ends its process.

        Raises:
            Stopped: the stop file stands there.
        """
        if self.owner and os.getpid() != self.owner and os.getppid() != self.owner:
            # raising would leave an idle worker with nobody to give it work
            os._exit(1)
        if self.stop.exists():
            raise Stopped


def each(
    function: Callable[[Any], Any],
    tasks: Sequence[Any],
    stop: Path,
    jobs: int,
    cluster: str | None = None,
    is_done: Callable[[Any], bool] = bool,
) -> Iterator[Any | None]:
    """Call ``function`` on every task; yield each task when it is done, and None while waiting.

    A lost worker's task is given to another, up to three times. Closing the generator ends the
    tasks: at once on this machine, after their present step on a cluster.

    Args:
        stop: file that is written to tell the tasks to end; of this start of the run alone, or
            one that lost its run would stop its successor.
        is_done: whether a task has left its result; how a cluster's progress is known, since
            Ray's backend of joblib hands nothing over before all is done.

    Raises:
        ClusterError: Ray is missing or does not answer.
        HepaticaError: whatever a task refused.
    """
    left = list(tasks)
    for attempt in range(_TRIES):
        done: list[Any] = []
        try:
            for task in _once(function, left, stop, jobs, cluster, is_done):
                if task is not None:
                    done.append(task)
                yield task
            return
        except Exception as error:
            if type(error).__name__ not in _LOST or _refusal(error) or attempt == _TRIES - 1:
                raise _refusal(error) or error from error
            left = [task for task in left if task not in done]
            yield None


def _refusal(error: BaseException) -> HepaticaError | None:
    """The refusal of our own that a cluster's error wraps, if any."""
    cause = getattr(error, "cause", None)
    for known in (error, cause, error.__cause__):
        if isinstance(known, HepaticaError):
            return known
    return None


def _once(
    function: Callable[[Any], Any],
    tasks: list[Any],
    stop: Path,
    jobs: int,
    cluster: str | None,
    is_done: Callable[[Any], bool],
) -> Iterator[Any | None]:
    told: queue.Queue[tuple[str, Any]] = queue.Queue()

    def work() -> None:
        try:
            with _backend(jobs, cluster):
                parallel = joblib.Parallel(
                    n_jobs=-1 if cluster else jobs,
                    return_as="list" if cluster else "generator_unordered",
                    batch_size=1,
                    pre_dispatch="all" if cluster else "2*n_jobs",
                )
                calls = (joblib.delayed(_named)(function, i, task) for i, task in enumerate(tasks))
                for index in parallel(calls):
                    told.put(("done", tasks[index]))
            told.put(("end", None))
        except BaseException as error:
            told.put(("failed", error))

    thread = threading.Thread(target=work, name="tasks", daemon=True)
    thread.start()
    finished = False
    given: set[Any] = set()
    try:
        while True:
            try:
                what, value = told.get(timeout=_BEAT_S)
            except queue.Empty:
                for task in [t for t in tasks if cluster and t not in given and is_done(t)]:
                    given.add(task)
                    yield task
                yield None
                continue
            if what == "done":
                if value not in given:
                    given.add(value)
                    yield value
                continue
            finished = True
            if what == "failed":
                raise value
            return
    finally:
        if not finished:
            stop.write_text("the run was cancelled\n")
            if not cluster and jobs > 1:
                _kill_workers()
            thread.join(60)


def _named(function: Callable[[Any], Any], index: int, task: Any) -> int:
    function(task)
    return index


def _kill_workers() -> None:
    from joblib.externals.loky import get_reusable_executor

    # reuse: joblib's own executor, whatever it was started with
    get_reusable_executor(reuse=True).shutdown(wait=False, kill_workers=True)


def _backend(jobs: int, cluster: str | None) -> Any:
    if cluster is None:
        if jobs == 1:
            return joblib.parallel_config("sequential")
        return joblib.parallel_config("loky", inner_max_num_threads=1)
    try:
        import ray
        from ray.util.joblib import register_ray
    except ImportError as error:
        raise ClusterError(
            "--cluster needs Ray, which is not installed here: pip install 'hepatica[cluster]'."
        ) from error
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if not ray.is_initialized():
        try:
            ray.init(address=cluster, log_to_driver=False, logging_level=logging.ERROR)
        except Exception as error:  # Ray raises many unrelated types
            raise ClusterError(f"The cluster at {cluster} does not answer: {error}") from error
    register_ray()  # type: ignore[no-untyped-call,unused-ignore]
    return joblib.parallel_config("ray")
