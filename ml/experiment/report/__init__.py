"""``results.json`` and what lies beside it → ``report.html``, one file that needs nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ml.errors import HepaticaError
from ml.experiment.report import embedding, markdown, page
from ml.progress import Progress, RunDir


class ReportError(HepaticaError):
    """A folder of which no report can be made."""


def write(folder: Path) -> Iterator[Progress]:
    """Write ``folder/report.html``.

    Raises:
        ReportError: there is no ``results.json`` that can be read.
    """
    results = _results(folder)
    try:
        yield Progress(0, 2, "placing the features in the plane (t-SNE)")
        planes = embedding.planes(folder)
        yield Progress(1, 2, "writing the report")
        html = page.render(results, folder, planes)
    except (OSError, KeyError) as error:
        raise _not_whole(folder, error) from error
    RunDir(folder).write_bytes("report.html", html.encode())
    yield Progress(2, 2, f"report in {folder / 'report.html'}")


def table(folder: Path) -> str:
    """The nested scores as a Markdown table.

    Raises:
        ReportError: as ``write``.
    """
    try:
        return markdown.table(_results(folder))
    except KeyError as error:
        raise _not_whole(folder, error) from error


def _results(folder: Path) -> dict[str, Any]:
    try:
        results: dict[str, Any] = RunDir(folder).read_json("results.json")
    except (OSError, json.JSONDecodeError) as error:
        raise _not_whole(folder, error) from error
    return results


def _not_whole(folder: Path, error: Exception) -> ReportError:
    return ReportError(
        f"{folder} has no whole results.json ({error!r}); let the experiment end first."
    )
