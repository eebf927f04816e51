"""A PACS at the doors: instances answered by SR per second, and STOW against a real Orthanc's.

A study comes in one STOW request with a report that marks a lesion on each of its slices, as
viewers save them, and is asked for by that report: one answer by SR for a study and run. It is
compared with decoding and scoring the same slices in one process that does nothing else. Both are
measured in turn, in the same run, on the same bytes, once both have done a study before. Orthanc
keeps files as they come, and here every pixel is decoded, checked and compressed.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

import marks
import orthanc
from bench.running import ROOT, environment_for, environment_with, free_port, running
from factories import make_dicom, make_hu
from ml.checkpoints import checkpoint, serving
from ml.images import dicom, roi
from ml.images.roi import Box
from stow import content_type, parsed, related

STUDIES, SLICES_EACH = 10, 10
SERIES = 200
ROUNDS = 5
_SIDE = 512
_MIDDLE = _SIDE / 2


def answers() -> Iterator[str]:
    """The section: answers first, then STOW alone."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        settings = environment_for(Path(folder))
        token = subprocess.run(
            [sys.executable, "-m", "app", "token", "add", "bench", "--role", "machine"],
            cwd=ROOT, env=environment_with(settings),
            capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip
        port = free_port()
        server = running(
            ["-m", "app", "serve", "--port", str(port)], port, "/health/ready", **settings
        )
        here = _Door(stack.enter_context(server), f"Bearer {token}")
        yield from _answered(here)
        yield from _stored(here, Path(folder), stack)


class _Door:
    """A server that is asked over HTTP, as a PACS does."""

    def __init__(self, address: str, authorization: str) -> None:
        self._address, self._authorization = address, authorization

    def post(self, path: str, body: bytes, kind: str, accept: str) -> bytes:
        """The answer's body; a refusal ends the benchmark."""
        request = urllib.request.Request(self._address + path, body, method="POST")
        for name, value in (
            ("Authorization", self._authorization), ("Content-Type", kind), ("Accept", accept),
        ):  # fmt: skip
            request.add_header(name, value)
        with urllib.request.urlopen(request, timeout=300) as reply:
            if reply.status != 200:
                raise RuntimeError(f"{path} answered {reply.status}")
            return bytes(reply.read())

    def store(self, path: str, files: Sequence[bytes]) -> float:
        """Seconds of one STOW request."""
        body = related(*files)
        begun = time.perf_counter()
        self.post(path, body, content_type(), "application/dicom+json")
        return time.perf_counter() - begun


def _answered(here: _Door) -> Iterator[str]:
    """Instances per second from STOW to the report, beside decoding and bare inference alone."""
    network = _network()
    circle = [(_MIDDLE, _MIDDLE), (_MIDDLE + 16, _MIDDLE)]
    ours, bare = [], []
    for number in range(ROUNDS + 1):
        first = number == 0  # not counted: libraries and weights are loaded
        studies = [
            _slices(f"study {number} {n}", SLICES_EACH) for n in range(1 if first else STUDIES)
        ]
        said = [
            marks.report_on(images, "CIRCLE", circle, instance=f"{number} {n}")
            for n, images in enumerate(studies)
        ]
        alone, answered = _bare(network, studies), _answer(here, studies, said)
        if not first:
            bare.append(alone)
            ours.append(answered)
    count = STUDIES * SLICES_EACH
    yield (
        f"{count} instances stored, marked, classified, answered by SR: "
        f"{count / statistics.median(ours):.1f} per second"
    )
    ratios = [alone / answered for alone, answered in zip(bare, ours, strict=True)]
    yield (
        f"decoding and bare inference alone: {count / statistics.median(bare):.1f} per second; "
        f"ratio {statistics.median(ratios):.2f} ({_span(ratios)})"
    )


def _answer(here: _Door, studies: Sequence[Sequence[bytes]], said: Sequence[bytes]) -> float:
    """Seconds to store studies with the reports that mark them, and have them answered."""
    asked = [{"lesions": [{"marks": str(parsed(report).SOPInstanceUID)}]} for report in said]
    begun = time.perf_counter()
    for images, report, body in zip(studies, said, asked, strict=True):
        here.store("/dicomweb/studies?contrast_phase=portal", [*images, report])
        here.post(
            "/api/v1/classifications", json.dumps(body).encode(), "application/json",
            "application/dicom",
        )  # fmt: skip
    return time.perf_counter() - begun


_Network = tuple[checkpoint.Checkpoint, serving.Classifier]


def _network() -> _Network:
    root = next(path for path in checkpoint.shipped() if path.name == "phantom-cnn")
    described = checkpoint.Checkpoint.load(root)
    return described, serving.Classifier((root / "model.onnx").read_bytes(), described, 1)


def _bare(network: _Network, studies: Sequence[Sequence[bytes]]) -> float:
    """Seconds to decode the files and score the middle of each, in one process."""
    described, classifier = network
    box = Box(_MIDDLE - 16, _MIDDLE - 16, 32, 32)
    begun = time.perf_counter()
    for data in (one for images in studies for one in images):
        (image,) = dicom.read(data, "file")
        pixels = roi.make(image, box, described.window_hu).pixels
        classifier.probabilities(np.asarray(pixels, np.float32)[None])
    return time.perf_counter() - begun


def _stored(here: _Door, folder: Path, stack: ExitStack) -> Iterator[str]:
    """STOW of one series of 200 slices in one request, here and in Orthanc."""
    if reason := orthanc.missing():
        yield f"STOW against Orthanc is not measured: {reason}"
        return
    pacs = stack.enter_context(orthanc.Orthanc.started(folder / "orthanc"))
    word = b64encode(f"{orthanc.PERSON}:{orthanc.PASSWORD}".encode()).decode()
    there = _Door(pacs.rest, f"Basic {word}")
    ours, theirs = [], []
    for number in range(ROUNDS):
        files = _slices(f"series {number}", SERIES)
        ours.append(here.store("/dicomweb/studies?contrast_phase=portal", files))
        theirs.append(there.store("/dicom-web/studies", files))
    mine, other = statistics.median(ours), statistics.median(theirs)
    ratios = [own / foreign for own, foreign in zip(ours, theirs, strict=True)]
    yield f"STOW of {SERIES} slices of {_SIDE} × {_SIDE} here: {mine:.2f} s ({_span(ours)})"
    yield (
        f"the same bytes in Orthanc: {other:.2f} s ({_span(theirs)}); "
        f"ratio {statistics.median(ratios):.2f} ({_span(ratios)})"
    )


def _span(values: Sequence[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f} of {len(values)}"


def _slices(study: str, count: int) -> list[bytes]:
    return [
        make_dicom(make_hu(n, side=_SIDE), study=study, number=n, z=2.5 * n)
        for n in range(1, count + 1)
    ]
