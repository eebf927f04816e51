"""Classification through HTTP against what parsing and inference allow."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.load import multipart_post, rate
from bench.running import (
    ROOT,
    children_of,
    cpu_s,
    environment_for,
    environment_with,
    free_port,
    process_of,
)
from ml.checkpoints import checkpoint, serving
from ml.images.roi import to_png

CONNECTIONS = (1, 8, 32)
ROUNDS = 5
SECONDS = 3.0


def _rois() -> np.ndarray:
    """64 ROIs with the texture of CT: smooth noise around mid grey."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((64, 66, 66))
    smooth = sum(noise[:, i : i + 64, j : j + 64] for i in range(3) for j in range(3)) / 9
    return np.clip(0.2 + 0.5 * smooth, -1, 1).astype(np.float32)


def png_rois() -> list[bytes]:
    """They, as files."""
    return [to_png(roi) for roi in _rois()]


def _bare(network: serving.Classifier, rois: np.ndarray, batch: int) -> float:
    """ROIs per second of ONNX Runtime alone."""
    begun, done = time.perf_counter(), 0
    while time.perf_counter() - begun < SECONDS / 2:
        start = done % (len(rois) - batch + 1)
        network.probabilities(rois[start : start + batch])
        done += batch
    return done / (time.perf_counter() - begun)


@dataclass(frozen=True)
class _Peer:
    """Another server of networks, where a Python beside this one has it installed."""

    name: str
    module: str
    start: tuple[str, ...]
    ready: str
    path: str

    @property
    def python(self) -> Path | None:
        """The Python that has it (`make setup-peers`, or PEERS); None where none has."""
        found = Path(os.environ.get("PEERS", Path(sys.prefix) / "peers")) / "bin" / "python"
        asked = [
            str(found),
            "-c",
            f"import importlib.util as u; assert u.find_spec('{self.module}')",
        ]
        there = found.exists() and subprocess.run(asked, capture_output=True).returncode == 0
        return found if there else None

    def command(self, port: int) -> list[str]:
        """What it is started with."""
        return [one.format(port=port) for one in self.start]

    def requests(self, port: int, bodies: list[bytes]) -> list[bytes]:
        """The same bodies, at its address."""
        host = f"127.0.0.1:{port}"
        return [multipart_post(self.path, host, "none", "roi.png", one) for one in bodies]


@dataclass(frozen=True)
class _Asked:
    """A server, and what it is asked."""

    pid: int
    port: int
    requests: list[bytes]

    def rate(self, connections: int) -> tuple[float, float, float]:
        """(answers per second, median time of one in ms, its CPU for each in ms)."""
        before = cpu_s(self.pid)
        found, latency = rate(self.port, self.requests, connections, SECONDS)
        return found, latency, 1000 * (cpu_s(self.pid) - before) / (found * SECONDS)


PEERS = (
    _Peer(
        "LitServe", "litserve", ("tests/bench/peer_litserve.py", "{port}"), "/health", "/predict"
    ),
    _Peer(
        "BentoML",
        "bentoml",
        (
            "-m", "bentoml", "serve", "peer_bentoml:Classifier", "--host", "127.0.0.1",
            "--port", "{port}", "--working-dir", "tests/bench",
        ),
        "/readyz",
        "/classify",
    ),
)  # fmt: skip


def classification() -> Iterator[str]:
    """Requests per second at 1, 8 and 32 connections; body: a 64 × 64 PNG ROI, with a token."""
    root = next(path for path in checkpoint.shipped() if path.name == "phantom-cnn")
    network = serving.Classifier(
        (root / "model.onnx").read_bytes(), checkpoint.Checkpoint.load(root), 2
    )
    rois, bodies = _rois(), png_rois()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as servers:
        settings = environment_for(Path(folder))
        token = subprocess.run(
            [sys.executable, "-m", "app", "token", "add", "bench", "--role", "machine"],
            cwd=ROOT, env=environment_with(settings),
            capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip
        port, parse_port = free_port(), free_port()
        ours_at = process_of(
            ["-m", "app", "serve", "--port", str(port)], port, "/health/ready", **settings
        )
        server = servers.enter_context(ours_at)
        baseline = servers.enter_context(
            process_of(["tests/bench/parse_only.py", str(parse_port)], parse_port, "/ready")
        )
        peers = []
        for peer in PEERS:
            if (python := peer.python) is None:
                yield f"{peer.name} is not installed (`make setup-peers`): not compared"
                continue
            at = free_port()
            told = {"ONNX": str(root / "model.onnx"), "BENTOML_DO_NOT_TRACK": "True"}
            other = process_of(peer.command(at), at, peer.ready, python=python, **told)
            pid = servers.enter_context(other).pid
            peers.append((peer.name, _Asked(pid, at, peer.requests(at, bodies))))
        processes = max(1, len(children_of(server.pid)))
        yield f"web processes: {processes}; cores: {len(os.sched_getaffinity(0))}"
        ours, parsing = (
            _Asked(
                one.pid,
                to,
                [multipart_post(path, f"127.0.0.1:{to}", token, "roi.png", one) for one in bodies],
            )
            for one, path, to in (
                (server, "/api/v1/classifications", port),
                (baseline, "/parse", parse_port),
            )
        )
        for connections in CONNECTIONS:
            for asked in (ours, parsing, *(one for _, one in peers)):
                rate(asked.port, asked.requests, connections, 1)
            rounds = []
            for _ in range(ROUNDS):
                a = max(_bare(network, rois, 1), _bare(network, rois, 8))
                b, _, _ = parsing.rate(connections)
                c, latency, spent = ours.rate(connections)
                others = [one.rate(connections) for _, one in peers]
                rounds.append((a, b, c, c * (1 / a + 1 / b), latency, spent, others))
            a, b, c, share, latency, spent = (
                statistics.median(row[place] for row in rounds) for place in range(6)
            )
            yield (
                f"{connections} connections: {c:.0f} classifications/s through HTTP, median "
                f"{latency:.1f} ms, {spent:.2f} ms of the server's CPU each; (a) ONNX Runtime "
                f"alone {a:.0f} ROIs/s, (b) an endpoint that only parses {b:.0f}/s; share of "
                f"1/(1/a + 1/b): {share:.2f} (aim 0.80)"
            )
            for place, (name, _) in enumerate(peers):
                found = statistics.median(row[6][place][0] for row in rounds)
                spent = statistics.median(row[6][place][2] for row in rounds)
                times = statistics.median(row[2] / row[6][place][0] for row in rounds)
                yield (
                    f"  {name}: {found:.0f}/s, {spent:.2f} ms of its CPU each; ours {times:.2f} "
                    "times as many (aim 2)"
                )
    yield (
        f"(a) 2 threads, the better of batch 1 and 8; (b) the same body; medians of {ROUNDS} "
        f"rounds of {SECONDS:g} s; others: the same network and pictures, as many processes as "
        "cores, probabilities alone"
    )
