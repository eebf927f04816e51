"""``results.json`` and what lies beside it → ``report.html``, one file that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ml.experiment.report import embedding, generators, markdown, page
from ml.experiment.results import Results, ResultsError
from ml.ground.errors import HepaticaError
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
        raise ReportError(
            f"{folder} lacks something that the report shows ({error!r}); copy the run's folder "
            "again, whole."
        ) from error
    RunDir(folder).write_bytes("report.html", html.encode())
    yield Progress(2, 2, f"report in {folder / 'report.html'}")


def table(folder: Path) -> str:
    """The nested scores as a Markdown table, and a second one of the generators.

    Raises:
        ReportError: as ``write``.
    """
    return tables(_results(folder))


def tables(results: Results) -> str:
    """What ``table`` gives, of results."""
    scores = results.found.scores
    found = [
        markdown.table(scores.summary, scores.comparisons),
        markdown.generators_table(generators.rows(results)),
    ]
    return "\n".join(filter(None, found))


def _results(folder: Path) -> Results:
    try:
        return Results.load(folder)
    except ResultsError as error:
        raise ReportError(str(error)) from error
