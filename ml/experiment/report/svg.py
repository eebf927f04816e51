"""Small charts as SVG text: no dependency, crisp at any size, readable in light and dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from math import dist, sqrt

COLOURS = (
    "#5b8ff9", "#e8684a", "#5ad8a6", "#f6bd16", "#9270ca", "#6dc8ec", "#ff99c3", "#8d99ae",
    "#a9714b",
)  # fmt: skip


ON_EACH_OTHER = "Where some lie on each other, those beneath are drawn wider."
"""What a reader of a chart of several lines has to know."""
SIDE_BY_SIDE = "Arms of one point each, of the same number, stand side by side."
"""The same where arms may have one point."""
_SAME_PX = 1.5
_LINE_PX, _POINT_PX = 1.8, 3.4
_WIDER_PX = 2.4
_BESIDE_PX, _WIDEST_PX = 9.0, 44.0

_Line = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Series:
    """A line with markers and a band: points are (x, value, low, high); low may be None."""

    label: str
    points: Sequence[tuple[float, float, float | None, float | None]]
    colour: str
    paper: bool = False
    """Dashed with hollow markers: not measured here."""


def document(width: int, height: int, title: str, body: str) -> str:
    """An SVG figure with a title for those who cannot see it."""
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="{escape(title, quote=True)}" xmlns="http://www.w3.org/2000/svg">{body}</svg>'
    )


def text(x: float, y: float, words: str, anchor: str = "start", soft: bool = False) -> str:
    """Words at (x, y) in pixels of the figure, escaped; ``soft`` ones are fainter."""
    kind = "soft" if soft else "ink"
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} class="{kind}">{escape(words)}</text>'


def curve(series: Sequence[Series], title: str, x_label: str, x_ticks: Sequence[float]) -> str:
    """``chart`` with the names of its lines beneath, as HTML."""
    return chart(series, title, x_label, x_ticks) + legend(series)


def chart(
    series: Sequence[Series],
    title: str,
    x_label: str,
    x_ticks: Sequence[float],
    narrowest: float = 0.0,
) -> str:
    """Accuracy against samples; the x axis goes with the square root, so small sizes have room.

    Args:
        narrowest: where the x axis begins.
    """
    width, height, left, bottom, top = 760, 400, 56, 46, 14
    plot_right = width - 26
    shown = [point for item in series for point in item.points]
    values = [v for point in shown for v in point[1:] if v is not None]
    low = max(0.0, min(values, default=0.0) - 0.03)
    high = min(1.0, max(values, default=1.0) + 0.03)
    widest = max([point[0] for point in shown], default=1.0) or 1.0

    def at_x(value: float) -> float:
        share = (sqrt(value) - sqrt(narrowest)) / (sqrt(widest) - sqrt(narrowest))
        return left + (plot_right - left) * share

    def at_y(value: float) -> float:
        return top + (height - bottom - top) * (high - value) / (high - low)

    parts = []
    step = 0.05 if high - low < 0.45 else 0.1
    tick = round(low / step) * step
    while tick <= high:
        if tick >= low:
            y = at_y(tick)
            parts.append(
                f'<line x1="{left}" x2="{plot_right}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>'
            )
            parts.append(text(left - 8, y + 4, f"{100 * tick:.0f} %", "end", soft=True))
        tick = round(tick + step, 4)
    for value in x_ticks:
        if value <= widest:
            parts.append(text(at_x(value), height - bottom + 18, f"{value:g}", "middle", soft=True))
    parts.append(text((left + plot_right) / 2, height - 8, x_label, "middle", soft=True))
    aside = _beside([[at_x(point[0]) for point in item.points] for item in series])
    lines = [
        [(at_x(point[0]) + by, at_y(point[1])) for point in item.points]
        for item, by in zip(series, aside, strict=True)
    ]
    deep = covered_points(lines)
    dots = []
    for item, by, line, wider, covered in zip(
        series, aside, lines, covered_lines(lines), deep, strict=True
    ):
        band = [(at_x(x) + by, a, b) for x, _, a, b in item.points
                if a is not None and b is not None]  # fmt: skip
        if len(band) > 1:
            edge = [f"{x:.1f},{at_y(b):.1f}" for x, _, b in band]
            edge += [f"{x:.1f},{at_y(a):.1f}" for x, a, _ in reversed(band)]
            parts.append(
                f'<polygon points="{" ".join(edge)}" fill="{item.colour}" fill-opacity="0.13"/>'
            )
        elif band:
            x, a, b = band[0]
            parts.append(
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{at_y(a):.1f}" '
                f'y2="{at_y(b):.1f}" stroke="{item.colour}" '
                f'stroke-width="{_LINE_PX + _WIDER_PX * max(covered):g}"/>'
            )
        dash = ' stroke-dasharray="5 4"' if item.paper else ""
        parts.append(_polyline(line, item.colour, wider, dash))
        fill = "none" if item.paper else item.colour
        dots += [
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{_POINT_PX + _WIDER_PX * depth:g}" '
            f'fill="{fill}" stroke="{item.colour}" stroke-width="1.5"/>'
            for (x, y), depth in zip(line, covered, strict=True)
        ]
    parts += dots  # after every band, bar and line, which would hide them
    return document(width, height, title, "".join(parts))


def _beside(places: Sequence[Sequence[float]]) -> list[float]:
    """How far each series is moved aside: those of one point at one place stand in a row there.

    Their bars would hide one another, with the points on them. A line is never moved.

    Args:
        places: the x of every point of each series, in pixels.
    """
    aside = [0.0] * len(places)
    for at in {round(xs[0]) for xs in places if len(xs) == 1}:
        row = [n for n, xs in enumerate(places) if len(xs) == 1 and round(xs[0]) == at]
        apart = min(_BESIDE_PX, _WIDEST_PX / max(1, len(row) - 1))
        for place, n in enumerate(row):
            aside[n] = apart * (place - (len(row) - 1) / 2)
    return aside


def covered_lines(lines: Sequence[_Line]) -> list[int]:
    """Of each line (pixels) how many drawn after it lie one over the other on a stretch of it.

    So much wider it is drawn, to be seen beneath them.
    """
    depths = [0] * len(lines)
    for place in reversed(range(len(lines))):
        over = [
            depths[later]
            for later in range(place + 1, len(lines))
            if _run_together(lines[place], lines[later])
        ]
        depths[place] = 1 + max(over) if over else 0
    return depths


def covered_points(lines: Sequence[_Line]) -> list[list[int]]:
    """The same of each point of each line: how many points drawn later lie on it."""
    depths: list[list[int]] = [[0] * len(line) for line in lines]
    for place in reversed(range(len(lines))):
        for number, point in enumerate(lines[place]):
            over = [
                depth
                for line, of_line in zip(lines[place + 1 :], depths[place + 1 :], strict=True)
                for other, depth in zip(line, of_line, strict=True)
                if dist(point, other) < _SAME_PX
            ]
            depths[place][number] = 1 + max(over) if over else 0
    return depths


def _run_together(one: _Line, other: _Line) -> bool:
    near = [any(dist(point, there) < _SAME_PX for there in other) for point in one]
    return any(both == (True, True) for both in pairwise(near))


def _polyline(line: _Line, colour: str, wider: int, dash: str = "") -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in line)
    stroke = f'stroke="{colour}" stroke-width="{_LINE_PX + _WIDER_PX * wider:g}"{dash}'
    return f'<polyline points="{points}" fill="none" {stroke}/>'


def legend(series: Sequence[Series]) -> str:
    """The names of the lines beside their colours, as an HTML list: hollow for the paper's.

    A drawing and no background: browsers leave backgrounds out on paper.
    """
    entries = "".join(
        '<li><svg class="swatch" viewBox="0 0 12 12" width="12" height="12" aria-hidden="true">'
        f'<circle cx="6" cy="6" r="4.5" fill="{"none" if item.paper else item.colour}" '
        f'stroke="{item.colour}" stroke-width="1.5"/></svg>{escape(item.label)}</li>'
        for item in series
    )
    return f'<ul class="legend">{entries}</ul>'


def forest(rows: Sequence[tuple[str, float, float, float, str]], title: str) -> str:
    """Differences with intervals, one row each: (label, value, low, high, note); zero is marked."""
    width, row_height, left, right = 760, 26, 190, 190
    height = 34 + row_height * len(rows)
    reach = max([0.02, *(max(abs(row[2]), abs(row[3])) for row in rows)]) * 1.05

    def at(value: float) -> float:
        return left + (width - left - right) * (value + reach) / (2 * reach)

    parts = [f'<line x1="{at(0):.1f}" x2="{at(0):.1f}" y1="4" y2="{height - 26}" class="zero"/>']
    for side in (-1, 0, 1):
        value = side * reach / 1.05
        parts.append(text(at(value), height - 8, f"{100 * value:+.0f}", "middle", soft=True))
    for i, (label, value, low, high, note) in enumerate(rows):
        y = 18 + i * row_height
        parts.append(text(4, y + 4, label))
        parts.append(
            f'<line x1="{at(low):.1f}" x2="{at(high):.1f}" y1="{y}" y2="{y}" class="bar"/>'
            f'<circle cx="{at(value):.1f}" cy="{y}" r="4" class="mark"/>'
        )
        parts.append(text(width - right + 12, y + 4, note, soft=True))
    return document(width, height, title, "".join(parts))


def losses(steps: Sequence[Sequence[float]], title: str) -> str:
    """Losses over steps: (discriminator, generator), the second dashed; or one alone."""
    width, height, left, bottom, top = 340, 200, 40, 22, 8
    highest = max((value for step in steps for value in step), default=1.0) or 1.0

    def at(step: int, value: float) -> str:
        x = left + (width - left - 8) * step / max(1, len(steps) - 1)
        return f"{x:.1f},{top + (height - bottom - top) * (1 - value / highest):.1f}"

    parts = []
    for share in (0.0, 0.5, 1.0):
        y = top + (height - bottom - top) * (1 - share)
        parts.append(f'<line x1="{left}" x2="{width - 8}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
        parts.append(text(left - 6, y + 4, f"{share * highest:.1f}", "end", soft=True))
    parts.append(text(left, height - 4, "1", soft=True))
    parts.append(text(width - 8, height - 4, f"{len(steps)}", "end", soft=True))
    dashes = ("", ' stroke-dasharray="4 3"')
    for which, dash in enumerate(dashes[: len(steps[0]) if steps else 0]):
        line = " ".join(at(i, step[which]) for i, step in enumerate(steps))
        parts.append(f'<polyline points="{line}" class="bar" fill="none"{dash}/>')
    return document(width, height, title, "".join(parts))


def scatter(
    points: Sequence[tuple[float, float]],
    labels: Sequence[int],
    strong: Sequence[bool],
    title: str,
) -> str:
    """Points in the plane by class; the ``strong`` ones large with a rim."""
    size, edge = 360, 12
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    span = max(max(xs) - min(xs), max(ys) - min(ys), 1e-9)

    def at(value: float, all_of: Sequence[float]) -> float:
        middle = (min(all_of) + max(all_of)) / 2
        return size / 2 + (size - 2 * edge) * (value - middle) / span

    order = sorted(range(len(points)), key=lambda i: strong[i])
    marks = "".join(
        f'<circle cx="{at(xs[i], xs):.1f}" cy="{at(ys[i], ys):.1f}" '
        f'r="{4 if strong[i] else 2}" fill="{COLOURS[labels[i] % len(COLOURS)]}" '
        f'fill-opacity="{1 if strong[i] else 0.4}" class="{"rim" if strong[i] else ""}"/>'
        for i in order
    )
    return document(
        size, size, title, f'<rect width="{size}" height="{size}" class="stage"/>{marks}'
    )


def matrix(counts: Sequence[Sequence[float]], names: Sequence[str], title: str) -> str:
    """A confusion matrix; rows are the truth. Shade goes with the share of the row."""
    cell, left, top = 80, 104, 40
    n = len(names)
    parts = [text(left + n * cell / 2, 12, "called", "middle", soft=True)]
    for j, name in enumerate(names):
        parts.append(text(left + (j + 0.5) * cell, 30, name[:12], "middle", soft=True))
    for i, row in enumerate(counts):
        total = sum(row) or 1
        parts.append(text(left - 8, top + (i + 0.5) * cell + 4, names[i][:14], "end", soft=True))
        for j, count in enumerate(row):
            share = count / total
            tint = COLOURS[0] if i == j else COLOURS[1]
            parts.append(
                f'<rect x="{left + j * cell}" y="{top + i * cell}" width="{cell - 2}" '
                f'height="{cell - 2}" fill="{tint}" fill-opacity="{0.08 + 0.6 * share:.2f}"/>'
            )
            shown = f"{count:g}" if float(count).is_integer() else f"{count:.1f}"
            parts.append(text(left + (j + 0.5) * cell, top + (i + 0.5) * cell + 5, shown, "middle"))
    return document(left + n * cell, top + n * cell, title, "".join(parts))


def paired_colours(names: Sequence[str]) -> Mapping[str, str]:
    """One colour per name, in order."""
    return {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}


def square(series: Sequence[Series], title: str, x_label: str, y_label: str) -> str:
    """Shares against shares, 0–1 both, with the diagonal; each series with its own band."""
    size, left, top = 300, 46, 8
    side = size - left - 12

    def at(x: float, y: float) -> str:
        return f"{left + side * x:.1f},{top + side * (1 - y):.1f}"

    parts = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        (x, y), (right, up) = (at(share, share).split(","), at(1, 1).split(","))
        parts.append(f'<line x1="{left}" x2="{right}" y1="{y}" y2="{y}" class="grid"/>')
        parts.append(f'<line x1="{x}" x2="{x}" y1="{up}" y2="{top + side}" class="grid"/>')
        parts.append(text(left - 6, float(y) + 4, f"{100 * share:.0f}", "end", soft=True))
        parts.append(text(float(x), top + side + 15, f"{100 * share:.0f}", "middle", soft=True))
    parts.append(f'<polyline points="{at(0, 0)} {at(1, 1)}" class="zero" fill="none"/>')
    lines = [
        [(left + side * x, top + side * (1 - y)) for x, y, *_ in item.points] for item in series
    ]
    for item, line, wider in zip(series, lines, covered_lines(lines), strict=True):
        band = [(x, a, b) for x, _, a, b in item.points if a is not None and b is not None]
        if len(band) > 1:
            edge = [at(x, b) for x, _, b in band] + [at(x, a) for x, a, _ in reversed(band)]
            parts.append(
                f'<polygon points="{" ".join(edge)}" fill="{item.colour}" fill-opacity="0.13"/>'
            )
        parts.append(_polyline(line, item.colour, wider))
    parts.append(text(left + side / 2, size - 8, x_label, "middle", soft=True))
    turned = f'<g transform="rotate(-90 10 {top + side / 2:.0f})">'
    parts.append(f"{turned}{text(10, top + side / 2 + 4, y_label, 'middle', soft=True)}</g>")
    return document(size, size, title, "".join(parts))
