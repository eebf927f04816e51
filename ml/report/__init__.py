"""``results.json`` and what lies beside it → ``report.html``, one file that needs nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ml.errors import HepaticaError
from ml.progress import Progress, RunDir
from ml.report import embedding, page


class ReportError(HepaticaError):
    """A folder of which no report can be made."""


def write(folder: Path) -> Iterator[Progress]:
    """Write ``folder/report.html``.

    Raises:
        ReportError: there is no ``results.json`` that can be read.
    """
    run = RunDir(folder)
    try:
        results: dict[str, Any] = run.read_json("results.json")
        yield Progress(0, 2, "placing the features in the plane (t-SNE)")
        planes = embedding.planes(folder)
        yield Progress(1, 2, "writing the report")
        html = page.render(results, folder, planes)
    except (OSError, json.JSONDecodeError, KeyError) as error:
        raise ReportError(
            f"{folder} has no whole results.json ({error!r}); let the experiment end first."
        ) from error
    run.write_bytes("report.html", html.encode())
    yield Progress(2, 2, f"report in {folder / 'report.html'}")
