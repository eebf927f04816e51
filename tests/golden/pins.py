"""What must not change unseen: computed anew here, compared with ``pins.json`` by the tests.

``PYTHONPATH=. python -m tests.golden.pins`` writes the file again; a change of it is argued in the
commit that makes it.
"""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from app.models.reader_studies.protocol import digest_of
from app.models.reader_studies.questions import Choices
from app.models.reader_studies.stimulus import stimulus_png
from ml.dataset.manifest import Manifest
from ml.leak_audit.audit import audit
from ml.leak_audit.rendering import Encoded
from ml.lesion import LIVER
from ml.readers import exchange, tidy
from ml.readers.analysis import analyse
from ml.readers.reading import Protocol, Reading, present, ratings_by_generator
from ml.readers.rehearsal import Design, Rehearsal
from ml.statistics import power
from ml.training import runtime
from tests.ml import discs

PINS = Path(__file__).with_name("pins.json")
RULES = Protocol(resamples=200, classes=LIVER.keys)


def readings(readers: int = 3, images: int = 48, seed: int = 5) -> list[Reading]:
    """A study of two generators that was read by readers of some skill."""
    rng = np.random.default_rng(seed)
    found = []
    for j in range(readers):
        order = rng.permutation(images) + 1
        for k in range(images):
            synthetic = k % 2 == 0
            latent = rng.normal(3.5 + (0.4 if synthetic else -0.4), 1.3)
            truth = LIVER.keys[k % 3]
            found.append(
                Reading(
                    f"R{j + 1}",
                    f"c{k}",
                    synthetic,
                    int(np.clip(round(latent), 1, 6)),
                    generator=("dcgan", "acgan")[k // 2 % 2] if synthetic else None,
                    position=int(order[k]),
                    patient=None if synthetic else f"p{k // 4}",
                    lesion_class=truth,
                    answered_class=truth if rng.random() < 0.7 else "cyst",
                    reasons=("texture",) if synthetic and rng.random() < 0.3 else (),
                    active_ms=int(rng.integers(1500, 9000)),
                )
            )
    return found


def picture(seed: int) -> npt.NDArray[np.float32]:
    """An ROI in [−1, 1] of whole numbers, the same on every machine."""
    y, x = np.mgrid[:64, :64]
    grey = (x * (seed % 7 + 1) + y * (seed % 5 + 2) + (x * y * seed) % 61) % 256
    return (grey / 127.5 - 1).astype(np.float32)


def encoded(first: int, count: int = 24) -> list[Encoded]:
    made = []
    for seed in range(first, first + count):
        stream = io.BytesIO()
        rng = np.random.default_rng(seed)
        grey = (picture(seed) + 1) * 100 + rng.integers(0, 40, (64, 64))
        Image.fromarray(grey.astype(np.uint8)).save(stream, "PNG", compress_level=0)
        made.append(Encoded(stream.getvalue(), f"{seed}.png"))
    return made


def of_reader_studies() -> dict[str, Any]:
    """Analysis, audit, plan, rehearsal: figures; files and pictures: bytes."""
    rated = ratings_by_generator(present(readings()).first)
    rehearsal = Rehearsal(Design(readers=3, images=24), studies=3, seed=1)
    list(rehearsal.run())
    content = {"questions": Choices.of(LIVER, confidence=True, reasons=True).to_dict(), "seed": 7}
    return {
        "analysis": analyse(readings(), RULES).to_json(),
        "leak audit": audit(encoded(0), encoded(500)).to_json(),
        "plan": power.plan(5, 120, 0.1, margin=0.1).to_json(),
        "rehearsal": rehearsal.outcome().to_json(),
        "protocol digest": digest_of(content),
        "bytes": {
            "stimulus": _digest(stimulus_png(picture(3))),
            "long csv": _digest(exchange.long_csv(rated).encode()),
            "imrmc": _digest(exchange.imrmc(rated, "pinned").encode()),
            "answers": _digest(tidy.table(tidy.ANSWERS, []).encode()),
            "trials": _digest(tidy.table(tidy.TRIALS, []).encode()),
        },
    }


def of_experiment(folder: Path) -> dict[str, Any]:
    """The whole experiment of ``discs.finished``: its files, and every number."""
    manifest, run = Manifest.load(folder / "data"), folder / "run"
    return {"digest of the data": manifest.digest, **of_run(run)}


def of_run(run: Path) -> dict[str, Any]:
    """The files of a run, and what of its results lasts."""
    results = json.loads((run / "results.json").read_text("utf-8"))
    return {
        "files": sorted(
            path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()
        ),
        "results": _lasting(results),
    }


def _lasting(value: Any) -> Any:
    """Without what differs from run to run: times, machines, commits, versions.

    Nor the points of ROC curves: their areas are pinned.
    """
    passing = {"times", "device", "commit", "roc"}
    if isinstance(value, Mapping):
        return {k: _lasting(v) for k, v in value.items() if k not in passing}
    return [_lasting(one) for one in value] if isinstance(value, list) else value


def canary() -> str:
    """A digest of a few training steps: machines on which it is the same train to the same bits."""
    runtime.prepare()  # as the process that trained, which may be another
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 8, 5), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(8 * 784, 3)
    )
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    images = torch.randn(32, 1, 32, 32)
    for _ in range(3):
        optimizer.zero_grad()
        net(images).logsumexp(1).mean().backward()
        optimizer.step()
    return _digest(b"".join(one.detach().numpy().tobytes() for one in net.parameters()))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def plain(value: Any) -> Any:
    """As it comes back from JSON."""
    return json.loads(json.dumps(value, allow_nan=False))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        discs.finished(Path(folder))
        pins = {
            **of_reader_studies(),
            "experiment": of_experiment(Path(folder)),
            "canary": canary(),
        }
    PINS.write_text(json.dumps(pins, indent=1, sort_keys=True) + "\n", "utf-8")


if __name__ == "__main__":
    main()
