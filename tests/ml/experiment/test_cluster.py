"""A real Ray cluster of two nodes on loopback: another place, a killed worker, the same numbers."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ml.experiment import run as experiment
from ml.progress import RunDir
from tests.ml.discs import SMALL, data_set

pytest.importorskip("ray", reason="Ray is not installed (extra cluster)")

HERE = Path(__file__).resolve().parents[3]
RAY = Path(sys.executable).with_name("ray")
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(HERE), "RAY_AUTH_MODE": "disabled"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _start(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    log = (folder / f"{words[0].strip('-')}-{time.monotonic_ns()}.log").open("wb")
    return subprocess.Popen(
        [str(RAY), "start", "--block", "--num-cpus=1", "--object-store-memory=100000000",
         "--node-ip-address=127.0.0.1", *words],
        env={**os.environ, **_QUIET}, stdout=log, stderr=log, start_new_session=True, cwd=HERE,
    )  # fmt: skip


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, set[int]]]:
    """Head and one more node, ended by their process groups."""
    for key, value in _QUIET.items():
        monkeypatch.setenv(key, value)
    port = _free_port()
    # Ray keeps sockets there, whose paths may not be long
    scratch = Path("/tmp") / f"hepatica-ray-{os.getpid()}"
    head = _start(
        tmp_path, "--head", f"--port={port}", "--include-dashboard=false",
        f"--temp-dir={scratch}",
    )  # fmt: skip
    nodes = [head]
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.2)
        nodes.append(_start(tmp_path, f"--address=127.0.0.1:{port}"))
        yield f"127.0.0.1:{port}", {node.pid for node in nodes}
    finally:
        import ray

        ray.shutdown()
        for node in nodes:
            if node.poll() is None:
                os.killpg(node.pid, signal.SIGTERM)
        for node in nodes:
            try:
                node.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(node.pid, signal.SIGKILL)
        shutil.rmtree(scratch, ignore_errors=True)


@pytest.mark.timeout(300)
def test_cluster_with_a_worker_killed_gives_the_same_results(
    cluster: tuple[str, set[int]], tmp_path: Path
) -> None:
    import ray

    manifest = data_set(tmp_path / "data")
    list(experiment.run(SMALL, manifest, RunDir(tmp_path / "here"), jobs=1))
    there = RunDir(tmp_path / "there")
    killed = 0
    nodes: set[str] = set()
    for step in experiment.run(SMALL, manifest, there, cluster=cluster[0]):
        nodes |= {node["NodeID"] for node in ray.nodes() if node["Alive"]}
        if not killed and step.text.startswith("generator 3"):
            killed = _kill_a_worker(cluster[1])
    assert killed, "no worker was found to kill"
    assert len(nodes) == 2
    results = [RunDir(tmp_path / name).read_json("results.json") for name in ("here", "there")]
    for result in results:
        del result["times"], result["commit"]
    assert results[0] == results[1]


def _kill_a_worker(nodes: set[int]) -> int:
    """SIGKILL one process of the nodes that is at work for us; its pid, or 0."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            pid = int(path.parent.name)
            words = path.read_bytes().split(b"\0")[0]
            if words.startswith(b"ray::PoolActor") and os.getsid(pid) in nodes:
                os.kill(pid, signal.SIGKILL)
                return pid
        except (OSError, ProcessLookupError):
            continue
    return 0
