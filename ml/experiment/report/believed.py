"""The report's section on probabilities: ROC curves, and how far the numbers can be believed."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ml.experiment.report import figures, svg
from ml.experiment.results.scores import ArmSummary
from ml.lesion import LesionScheme

_Point = tuple[float, float, float | None, float | None]
_DRAWN = (
    "features", "classic", "classic+dcgan", "classic+acgan", "equal-compute", "classic+cgan",
    "classic+diffusion", "classic+tissue",
)  # fmt: skip
"""Arms whose curves are drawn; all have figures."""


def rows(summary: Sequence[ArmSummary]) -> list[list[str]]:
    """Cells (HTML) of each arm that has figures: Brier score, log loss, calibration error."""
    return [
        [
            escape(row.name),
            figures.number_html(row.brier, ".3f"),
            figures.number_html(row.log_loss, ".3f"),
            figures.number_html(row.calibration_error, ".3f"),
            f"{row.calibration_error_by_chance:.3f}",
        ]
        for row in summary
        if row.calibration_error_by_chance is not None
    ]


HEAD = ("arm", "Brier score", "log loss", "calibration error", "… by chance alone")


def curves(summary: Sequence[ArmSummary], scheme: LesionScheme, intervals: str) -> str:
    """A ROC plane per class with the drawn arms, and one reliability plot each.

    Args:
        intervals: how they were made, in words.
    """
    shown = [row for row in summary if row.name in _DRAWN and row.roc is not None]
    colours = svg.paired_colours(_DRAWN)
    drawn = ""
    for item in scheme.classes:
        series = []
        for row in shown:
            curve = (row.roc or {}).get(item.key)
            if curve is not None:
                # one band: more would hide each other
                band = row.name == "classic"
                points: list[_Point] = [
                    (x, y, low if band else None, high if band else None)
                    for x, y, low, high in zip(
                        curve.false_positives, curve.sensitivity, curve.low, curve.high, strict=True
                    )
                ]
                series.append(svg.Series(row.name, points, colours[row.name]))
        if series:
            title = f"ROC of {item.display} against the rest"
            figure = svg.square(series, title, "false positives, %", "sensitivity, %")
            drawn += f"<figure>{figure}<figcaption>{escape(item.display)}</figcaption></figure>"
    reliable = ""
    for row in shown:
        bins: list[_Point] = [
            (one.confidence, one.right, None, None) for one in row.reliability or ()
        ]
        figure = svg.square(
            [svg.Series(row.name, bins, colours[row.name])],
            f"Reliability of {row.name}",
            "confidence in the called class, %",
            "right, %",
        )
        reliable += f"<figure>{figure}<figcaption>{escape(row.name)}</figcaption></figure>"
    legend = svg.legend([svg.Series(row.name, (), colours[row.name]) for row in shown])
    return (
        f'<h3>ROC, one class against the rest</h3>{legend}<div class="row">{drawn}</div>'
        '<p class="soft">Mean of the seeds\' curves at equal false positives; the band, of classic '
        f"alone, is pointwise, 95 % {intervals}. Nested selection. "
        f"{svg.ON_EACH_OTHER}</p>"
        f'<h3>Reliability</h3><div class="row">{reliable}</div>'
        '<p class="soft">Bins of equal mass, all seeds together; under the diagonal a network is '
        "too sure of itself. Few lesions are in a bin: read it beside the calibration error and "
        "what chance alone gives.</p>"
    )
