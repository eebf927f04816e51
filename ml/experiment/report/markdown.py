"""The nested scores of a run as a Markdown table, for a README or a paper's draft."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ml.experiment.report import figures
from ml.experiment.report.page import NESTED
from ml.statistics.comparison import p_text


def table(results: Mapping[str, Any]) -> str:
    """One line per arm, everything in % or points with 95 % intervals.

    Args:
        results: of ``results.json``; ``summary`` and ``comparisons`` are read.
    """
    against = {row["arm"]: row for row in results["comparisons"]}
    rows = [row for row in results["summary"] if row["selection"] == NESTED]
    fresh = any("true_balanced_accuracy" in row for row in rows)
    head = ["arm", "sensitivity", "specificity", "balanced accuracy", "against classic", "p (Holm)"]
    if fresh:
        head += ["true balanced accuracy", "true effect"]
    lines = [head, ["---"] * len(head)]
    for row in rows:
        compared = against.get(row["name"], {})
        holm = compared.get("holm_p")
        cells = [
            row["name"],
            _interval(row["sensitivity"]["weighted"]),
            _interval(row["specificity"]["weighted"]),
            _interval(row["balanced_accuracy"]),
            _interval(compared.get("difference"), signed=True),
            "" if holm is None else p_text(holm),
        ]
        if fresh:
            cells.append(_interval(row["true_balanced_accuracy"]))
            cells.append(_interval(compared.get("true_difference"), signed=True))
        lines.append(cells)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _interval(entry: Mapping[str, Any] | None, signed: bool = False) -> str:
    return " ".join(filter(None, figures.interval(entry, signed)))
