"""The least of a run from which it is evaluated and reported again, in one small file.

``PYTHONPATH=. python -m tests.golden.stored_run RUN DATA FRESH FILE.zip`` makes it of a run on
phantoms. Whatever pictures there are, of lesions and of synthetic ROIs, are replaced by even grey:
figures do not rest on them once the tasks are done.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np

from ml.dataset.manifest import Line, Manifest, sha256_of
from ml.experiment.report.embedding import Plane

TODAY = Path(__file__).with_name("run.zip")
"""Two folds, two seeds, every arm: ``run``, ``data`` and ``fresh``; made at commit 474d984."""
OLD = Path(__file__).with_name("run-d3d9a5e.zip")
"""Two folds, one seed, made by the program of commit d3d9a5e; ``run`` alone."""


def unpacked(stored: Path, folder: Path) -> Path:
    """The run's folder, with ``data`` and ``fresh`` beside it."""
    with ZipFile(stored) as file:
        file.extractall(folder)
    return folder / "run"


def pack(run: Path, data: Path | None, fresh: Path | None, target: Path) -> None:
    """Write ``target``; without data it can be reported only."""
    with ZipFile(target, "w", ZIP_DEFLATED, compresslevel=9) as file:
        digests = {}
        if data is not None:
            before, after, files = _grey_data(data)
            digests[before] = after
            for name, content in files:
                _add(file, f"data/{name}", content)
        for name in ("config.json", "results.json"):
            text = (run / name).read_text("utf-8")
            for before, after in digests.items():
                text = text.replace(before, after)
            _add(file, f"run/{name}", text.encode())
        _add(file, "run/embedding.npz", _grey(run / "embedding.npz", "real|"))
        shown = json.loads((run / "results.json").read_text("utf-8"))["memorisation"]["kinds"]
        task = shown["dcgan"]["pixels"]["pairs"][0]["task"]
        _add(file, f"run/tasks/{task}/pairs.npz", _grey(run / "tasks" / task / "pairs.npz", ""))
        if data is None or fresh is None:
            return
        for path in sorted((run / "tasks").rglob("*")):
            if path.name in ("result.json", "outputs.npz", "draws.npz"):
                _add(file, f"run/{path.relative_to(run).as_posix()}", path.read_bytes())
        for path in sorted(fresh.glob("*.npz")):
            _add(file, f"fresh/{path.name}", _grey(path, "rois", rest=True))


def planes(names: tuple[str, ...] = ("classic", "classic+dcgan")) -> tuple[Plane, ...]:
    """Places as t-SNE might give them; its own differ between machines."""
    at = np.arange(12.0)
    places = np.stack([at, at**2 % 7], axis=1)
    return tuple(Plane(name, places, np.arange(12) % 3, np.arange(12) % 4 == 0) for name in names)


def sections(page: str) -> dict[str, str]:
    """SHA-256 of a report's sections by their titles, pictures left out: their packing differs.

    So are the names under which links find the sections.
    """
    plain = re.sub(r"data:image/png;base64,[^\"]*", "", page)
    plain = re.sub(r'<h2 id="[^"]*">', "<h2>", plain)
    head, *parts = plain.split("<h2>")
    named = {"": head, **{part.partition("</h2>")[0]: part for part in parts}}
    return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in named.items()}


def _add(file: ZipFile, name: str, content: bytes) -> None:
    file.writestr(ZipInfo(name), content, ZIP_DEFLATED)  # no time: the same file every time


def _grey(path: Path, pictures: str, rest: bool = False) -> bytes:
    """An archive of arrays whose pictures, by the beginning of their names, are even grey."""
    with np.load(path) as stored:
        kept = {
            name: np.zeros_like(array) if name.startswith(pictures) else array
            for name, array in stored.items()
            if rest or name.startswith(pictures)
        }
    stream = io.BytesIO()
    np.savez_compressed(stream, **kept)
    return stream.getvalue()


def _grey_data(data: Path) -> tuple[str, str, list[tuple[str, bytes]]]:
    """The digest before and after, and the files of a data set of even grey."""
    manifest = Manifest.load(data)
    files: list[tuple[str, bytes]] = []
    lines: list[Line] = []
    for line in manifest.lines:
        context = np.zeros_like(np.load(manifest.context_path(line)))
        stream = io.BytesIO()
        np.save(stream, context)
        files.append((f"contexts/{line.id}.npy", stream.getvalue()))
        lines.append(replace(line, sha256=sha256_of(context)))
    after = replace(manifest, lines=tuple(lines)).digest
    head = json.loads((data / "manifest.json").read_text("utf-8"))
    entries = [{**line.to_dict(), "phantom_uid": line.phantom_uid} for line in lines]
    files.append(("lines.jsonl", "".join(json.dumps(one) + "\n" for one in entries).encode()))
    files.append(("manifest.json", json.dumps({**head, "digest": after}).encode()))
    return manifest.digest, after, files


if __name__ == "__main__":
    of, at, beside, made = (None if word == "-" else Path(word) for word in sys.argv[1:])
    if of is None or made is None:
        sys.exit(__doc__)
    pack(of, at, beside, made)
