"""Classification through HTTP against what parsing and inference allow."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bench.load import multipart_post, rate
from bench.running import ROOT, environment_for, environment_with, free_port, running
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


def classification() -> Iterator[str]:
    """Requests per second at 1, 8 and 32 connections; body: a 64 × 64 PNG ROI, with a token."""
    root = next(path for path in checkpoint.shipped() if path.name == "phantom-cnn")
    network = serving.Classifier(
        (root / "model.onnx").read_bytes(), checkpoint.Checkpoint.load(root), 2
    )
    rois = _rois()
    with tempfile.TemporaryDirectory() as folder:
        settings = environment_for(Path(folder))
        token = subprocess.run(
            [sys.executable, "-m", "app", "token", "add", "bench", "--role", "machine"],
            cwd=ROOT, env=environment_with(settings),
            capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip
        port, parse_port = free_port(), free_port()
        server = running(
            ["-m", "app", "serve", "--port", str(port)], port, "/health/ready", **settings
        )
        baseline = running(["tests/bench/parse_only.py", str(parse_port)], parse_port, "/ready")
        with server, baseline:
            bodies = png_rois()
            ours = [
                multipart_post("/api/v1/classifications", f"127.0.0.1:{port}", token, "roi.png", b)
                for b in bodies
            ]
            theirs = [
                multipart_post("/parse", f"127.0.0.1:{parse_port}", token, "roi.png", b)
                for b in bodies
            ]
            for connections in CONNECTIONS:
                rate(port, ours, connections, 1)
                rate(parse_port, theirs, connections, 1)
                rounds = []
                for _ in range(ROUNDS):
                    a = max(_bare(network, rois, 1), _bare(network, rois, 8))
                    b, _ = rate(parse_port, theirs, connections, SECONDS)
                    c, latency = rate(port, ours, connections, SECONDS)
                    rounds.append((a, b, c, c * (1 / a + 1 / b), latency))
                medians = (statistics.median(column) for column in zip(*rounds, strict=True))
                a, b, c, share, latency = medians
                yield (
                    f"{connections} connections: {c:.0f} classifications/s through HTTP, median "
                    f"{latency:.1f} ms; (a) ONNX Runtime alone {a:.0f} ROIs/s, (b) an endpoint "
                    f"that only parses {b:.0f}/s; share of 1/(1/a + 1/b): {share:.2f} (aim 0.80)"
                )
    yield (
        f"(a) 2 threads, the better of batch 1 and 8; (b) the same body; medians of {ROUNDS} "
        f"rounds of {SECONDS:g} s"
    )
