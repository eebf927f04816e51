"""The curve as one SVG that stands by itself, with what the paper claimed beside it."""

from __future__ import annotations

from ml.experiment import arms
from ml.experiment.curve.record import Curve
from ml.experiment.report import paper, svg

SHOWN = (
    arms.FEATURES, arms.CLASSIC, arms.EQUAL, arms.DCGAN, arms.ACGAN, arms.ORACLE, *arms.FURTHER,
)  # fmt: skip
"""Arms that are drawn; the table has them all."""
PAPERS_LESIONS = round(paper.LESIONS * 2 / 3)
"""The paper trained on two of three folds of its lesions."""
_STYLE = (
    "text{font:13px system-ui,sans-serif}.ink{fill:#1f2328}.soft{fill:#59636e}"
    ".grid{stroke:#d1d9e0;stroke-width:1}.page{fill:#fff}"
    "@media(prefers-color-scheme:dark){.ink{fill:#f0f6fc}.soft{fill:#9198a1}"
    ".grid{stroke:#3d444d}.page{fill:#0d1117}}"
)
_ROW_PX = 20
_PAPERS = "#7d8590"


def series(found: Curve) -> list[svg.Series]:
    """The lines that are drawn, and what the paper's DCGANs added."""
    colours = svg.paired_colours(SHOWN)
    lines = []
    for arm in SHOWN:
        points = [one for one in found.points if one.arm == arm]
        known = [
            (float(one.size), one.balanced_accuracy.value, one.balanced_accuracy.low,
             one.balanced_accuracy.high)
            for one in points
            if one.balanced_accuracy.value is not None
        ]  # fmt: skip
        if known:
            lines.append(svg.Series(arm, known, colours[arm]))
    (low, lower), (high, higher) = (paper.SUMMARY[arm][1:] for arm in (arms.CLASSIC, arms.DCGAN))
    if low is not None and lower is not None and high is not None and higher is not None:
        label = (
            f"Frid-Adar et al. 2018, {PAPERS_LESIONS} private lesions, with DCGANs: "
            f"sens. {_percents(low, high)}, spec. {_percents(lower, higher)}"
        )
        x = float(PAPERS_LESIONS)
        claimed = [(x, low, None, None), (x, high, None, None)]
        lines.append(svg.Series(label, claimed, _PAPERS, paper=True))
    return lines


def _percents(low: float, high: float) -> str:
    return f"{100 * low:.1f} to {100 * high:.1f} %"


def drawn(found: Curve) -> str:
    """An SVG document with its legend; readable on light and on dark ground."""
    lines = series(found)
    title = (
        "Phantoms: balanced accuracy on fresh lesions by the number of training lesions, "
        f"{found.told_seeds}"
    )
    ticks = found.sizes
    plot = svg.chart(lines, title, "training lesions", ticks, narrowest=0.7 * ticks[0])
    width, height, top = 760, 400, 24
    rows = []
    for i, line in enumerate(lines):
        y = top + height + 18 + _ROW_PX * i
        fill = "none" if line.paper else line.colour
        rows.append(
            f'<circle cx="62" cy="{y - 4}" r="4.5" fill="{fill}" stroke="{line.colour}" '
            f'stroke-width="1.5"/>{svg.text(74, y, line.label)}'
        )
    whole = top + height + 18 + _ROW_PX * len(lines)
    body = (
        f'<style>{_STYLE}</style><rect width="{width}" height="{whole}" class="page"/>'
        f"{svg.text(8, 18, title)}"
        f'<g transform="translate(0 {top})">{plot}</g>{"".join(rows)}'
    )
    return svg.document(width, whole, title, body) + "\n"
