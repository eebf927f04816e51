"""The nested scores of a run as a Markdown table, for a README or a paper's draft."""

from __future__ import annotations

from collections.abc import Sequence

from ml.experiment.report import figures, generators
from ml.experiment.results.scores import ArmComparison, ArmSummary, Selection
from ml.statistics.comparison import p_text


def table(summary: Sequence[ArmSummary], comparisons: Sequence[ArmComparison]) -> str:
    """One line per arm, everything in % or points with 95 % intervals.

    Args:
        summary: of any selection; the nested one is told.
        comparisons: under nested selection.
    """
    against = {row.arm: row for row in comparisons}
    rows = [row for row in summary if row.selection == Selection.NESTED]
    most = max((row.seeds for row in rows), default=0)
    fresh = any(row.true_balanced_accuracy is not None for row in rows)
    corrected = any(row.holm_p is not None for row in comparisons)
    p = "p (Holm)" if corrected else "p (not corrected)"
    head = ["arm", "sensitivity", "specificity", "balanced accuracy", "against classic", p]
    if fresh:
        head += ["true balanced accuracy", "true effect"]
    lines = [head, ["---"] * len(head)]
    for row in rows:
        compared = against.get(row.name)
        cells = [
            row.name if row.seeds == most else f"{row.name} ({row.seeds} of {most} seeds)",
            figures.share(row.sensitivity["weighted"]),
            figures.share(row.specificity["weighted"]),
            figures.share(row.balanced_accuracy),
            figures.share(compared.difference if compared else None, signed=True),
            _p(compared, corrected),
        ]
        if fresh:
            cells.append(figures.share(row.true_balanced_accuracy))
            cells.append(figures.share(compared.true_difference if compared else None, signed=True))
        lines.append(cells)
    return _written(lines)


def generators_table(rows: Sequence[Sequence[str]]) -> str:
    """The generators beside each other, of ``generators.rows``; "" where there are none."""
    lines = [generators.HEAD, ["---"] * len(generators.HEAD), *rows] if rows else []
    return _written(lines)


def _written(lines: Sequence[Sequence[str]]) -> str:
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _p(compared: ArmComparison | None, corrected: bool) -> str:
    """Of runs whose primary hypotheses are others, the p of a secondary one as it is."""
    p = None if compared is None else compared.holm_p if corrected else compared.p
    return "" if p is None else p_text(p)
