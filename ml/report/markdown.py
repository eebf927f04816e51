"""The nested scores of a run as a Markdown table, for a README or a paper's draft."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ml.report.page import NESTED


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
            "" if holm is None else "< 0.001" if holm < 0.001 else f"{holm:.3f}",
        ]
        if fresh:
            cells.append(_interval(row["true_balanced_accuracy"]))
            cells.append(_interval(compared.get("true_difference"), signed=True))
        lines.append(cells)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _interval(entry: Mapping[str, Any] | None, signed: bool = False) -> str:
    if not entry or entry["value"] is None:
        return ""
    told = [
        f"{100 * entry[key]:{'+' if signed else ''}.1f}"
        for key in ("value", "low", "high")
        if entry[key] is not None
    ]
    return told[0] if len(told) < 3 else f"{told[0]} ({told[1]} to {told[2]})"
