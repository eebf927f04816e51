"""The report as HTML: every figure with its interval, every choice, what it was computed from."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ml.config import GeneratorKind
from ml.experiment.outcomes import Collapsed, Missing
from ml.experiment.report import (
    believed,
    claim,
    data_set,
    embedding,
    failures,
    fidelity,
    figures,
    generators,
    limits,
    paper,
    svg,
    tissue,
)
from ml.experiment.report.embedding import Plane
from ml.experiment.results import Results
from ml.experiment.results.scores import ArmComparison, ArmSummary, Selection
from ml.experiment.results.synthetic import Memorisation, Synthetic
from ml.ground.counted import counted
from ml.ground.plain_text import number
from ml.ground.records import to_json
from ml.images.roi import to_grey
from ml.statistics.comparison import p_text
from ml.statistics.figure import Figure
from ml.training import budget
from ml.training.learned import GeneratorTraining

_Measure = Callable[[ArmSummary], Mapping[str, Figure]]
_EXACT = "widened to exact limits where few patients are right or wrong"
_CURVES = (
    "none", "classic", "classic+dcgan", "classic+acgan", "equal-compute", "oracle", "classic+cgan",
    "classic+diffusion", "classic+tissue",
)  # fmt: skip
_CONTROLS = ("equal-compute", "oracle")

_MUCH_ALIKE = 0.25

# an installation puts these rules under a class, with the colours of its own pages
_STYLE = """
:root{color-scheme:light dark;--page:#fff;--ink:#1b1b1b;--soft:#595959;--line:#d9d9d9;
--wash:#f4f4f4;--stage:#fafafa;--accent:#4b40b0}
@media(prefers-color-scheme:dark){:root{--page:#151515;--ink:#ececec;--soft:#b4b4b4;--line:#3a3a3a;
--wash:#202020;--stage:#1b1b1b;--accent:#b3abff}}
body{margin:0 auto;max-width:1160px;padding:24px 20px 64px;background:var(--page);color:var(--ink);
font:15px/1.5 system-ui,"Segoe UI","Noto Sans","DejaVu Sans",sans-serif}
h1{font-size:1.6rem;margin:0 0 4px}h2{font-size:1.2rem;margin:40px 0 8px;padding-top:12px;
border-top:1px solid var(--line)}h3{font-size:1rem;margin:20px 0 6px}
p{max-width:46rem;margin:8px 0}.soft{color:var(--soft);fill:var(--soft)}.ink{fill:var(--ink)}
svg{max-width:100%;height:auto}svg text{font:12px system-ui,"DejaVu Sans",sans-serif}
.grid{stroke:var(--line);stroke-width:1}.zero{stroke:var(--soft);stroke-dasharray:3 3}
.bar{stroke:var(--accent);stroke-width:2}.mark{fill:var(--accent)}.stage{fill:var(--stage)}
.rim{stroke:var(--page);stroke-width:1}
.scroll{overflow-x:auto}
table{border-collapse:collapse;margin:8px 0;font-variant-numeric:tabular-nums}
th,td{padding:4px 10px;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
th:first-child,td:first-child{text-align:left}th{font-weight:600}td.left,th.left{text-align:left;
white-space:normal}
tr.published td{color:var(--soft);font-style:italic}
.answer{background:var(--wash);border-left:4px solid var(--accent);padding:10px 14px;margin:12px 0}
.warn{border-left-color:#c98a00}.legend{display:flex;flex-wrap:wrap;gap:4px 18px;list-style:none;
padding:0;margin:4px 0}.legend li{display:flex;align-items:center;gap:6px}
.row{display:flex;flex-wrap:wrap;align-items:flex-start;gap:20px}
figure{margin:8px 0}figcaption{color:var(--soft)}
img{image-rendering:pixelated;background:#000;max-width:100%}
code,pre{font:13px ui-monospace,"DejaVu Sans Mono",monospace}code{overflow-wrap:anywhere}
pre{background:var(--wash);
padding:10px;overflow-x:auto}
@page{size:A4;margin:14mm 12mm}
@media print{:root{color-scheme:light;--page:#fff;--ink:#000;--soft:#3a3a3a;--line:#bdbdbd;
--wash:#fff;--stage:#fff;--accent:#4b40b0}
body{max-width:none;padding:0;font-size:10px}svg text{font-size:11px}p{max-width:none}
h1{font-size:16px}h2{font-size:13px;margin:18px 0 6px;padding-top:8px}h3{font-size:11px}
.scroll,pre{overflow:visible}pre{white-space:pre-wrap}code{font-size:9px}
table{width:100%;font-size:9px}th,td{padding:2px 4px;white-space:normal;overflow-wrap:break-word}
tr,figure,svg,.answer,img{break-inside:avoid}tr:nth-child(-n+3){break-before:avoid}
nav{display:none}h1,h2,h3,h4,.legend{break-after:avoid}p:has(+.scroll),p:has(+figure),p:has(+.row){break-after:avoid}
.scroll:has(tr:nth-child(-n+12):last-child){break-inside:avoid}
p:has(+h3),p:has(+p.soft){break-after:avoid}
details:not([open]){display:block}
details:not([open])>summary::after{content:" (folded away: open it to print it)"}
.row{display:block}
.row figure{display:inline-block;vertical-align:top;max-width:31%;margin:6px 8px 6px 0}}
"""


def render(results: Results, folder: Path, planes: tuple[Plane, ...] | None) -> str:
    """The whole page; ``folder`` is the run's, for pictures."""
    name = results.found.dataset.name
    sections = [
        _head(results),
        _curve(results),
        _scores(results),
        _believed(results),
        _subgroups(results),
        _compared(results),
        _matrices(results),
        _failures(results, folder),
        _fidelity(results),
        _sheets(results, folder),
        _memorisation(results, folder),
        _embedding(results, planes),
        _generators(results),
        tissue.section(results.found.synthetic.tissue),
        data_set.section(results.found.dataset),
        limits.section(results),
        _choices(results),
        claim.section(results),
        _provenance(results),
    ]
    head, *rest = filter(None, sections)
    links, linked = _linked(rest)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Experiment on {escape(name)}</title><style>{_STYLE}</style>"
        f"<body>{head}{links}{''.join(linked)}</body></html>\n"
    )


def _linked(sections: Sequence[str]) -> tuple[str, list[str]]:
    """Links to the sections, and the sections with what they lead to."""
    links, linked = "", []
    for section in sections:
        title = section.partition("<h2>")[2].partition("</h2>")[0]
        place = "report-" + re.sub("[^a-z0-9]+", "-", title.lower()).strip("-")
        links += f'<li><a href="#{place}">{title}</a></li>'
        linked.append(section.replace("<h2>", f'<h2 id="{place}">', 1))
    nav = f'<nav aria-label="Sections of the report"><ul class="legend">{links}</ul></nav>'
    return nav, linked


def _head(results: Results) -> str:
    data, asked, scores = results.found.dataset, results.found.asked, results.found.scores
    counts = ", ".join(f"{number} {key}" for key, number in data.counts.items())
    kind = {
        "phantom": "Simulated CT (phantoms), no patient.",
        "calibrated": "CT in Hounsfield units.",
        "uncalibrated": "Grey-value images without Hounsfield units.",
    }[data.kind]
    answers = "".join(f"<p>{escape(line)}</p>" for line in scores.answer)
    if not answers:
        answers = "<p>No comparison with synthetic ROIs could be made; see the generators.</p>"
    note = ""
    if data.calibration:
        note = f'<div class="answer warn"><p>{escape(data.calibration)}</p></div>'
    failed = ""
    if scores.failed:
        failed = (
            f'<div class="answer warn"><p>Not trained: {counted(len(scores.failed), "classifier")}'
            ", because a generator collapsed in every attempt; their arms are missing in those "
            "seeds, and the controls take the largest size there.</p></div>"
        )
    seeds = len(asked.seeds)
    steps = {
        kind: max(
            one.fared.steps if isinstance(one.fared, GeneratorTraining) else 0
            for one in results.found.synthetic.generators
            if one.kind == kind
        )
        for kind in ("dcgan", "acgan", *asked.settings.further_generators)
    }
    settings = asked.settings
    told = [
        f"{name} at most {steps[kind]} steps of batch {group.batch} at width {group.width}"
        for name, kind, group in (
            ("DCGANs", "dcgan", settings.gan),
            ("ACGANs", "acgan", settings.acgan),
            ("conditional GANs", "cgan", settings.joint),
        )
        if kind in steps
    ]
    if "diffusion" in steps:
        width = budget.width_of(settings.diffusion, settings.joint)
        told.append(
            f"diffusion models at most {steps['diffusion']} steps of batch {settings.joint.batch} "
            f"at width {width}"
        )
    trained = (
        f"The {' and the '.join(told)}; the paper's about 3,500 and 7,900 of batch 64 at width "
        "128. Undertrained generators hurt."
    )
    divided = f"{settings.folds} patient-separated folds"
    if data.split is not None:
        sizes = {
            name: f"{part.lesions} lesions of {part.patients} patients"
            for name, part in data.split.items()
        }
        chosen = sizes.get("val", "a part of the training patients")
        divided = (
            f"The data set's own split: tested on {sizes['test']} alone, trained on "
            f"{sizes['train']}; sizes and models were chosen on {chosen}, which every network that "
            "is tested was then trained on as well. Intervals are over the patients that test"
        )
    return (
        f"<h1>Did synthetic ROIs help? {escape(data.name)}</h1>"
        f'<p class="soft">{data.lesions} lesions of {data.patients} patients: '
        f"{escape(counts)}. {kind} {divided}, "
        f"{seeds} seed{'s' if seeds > 1 else ''}. The experiment of Frid-Adar et al. (2018) with "
        "the controls that it lacks. Research use only.</p>"
        f'{note}<div class="answer">{answers}<p class="soft">From the nested protocol: sizes were '
        f"picked on validation patients, never on the patients reported here. {trained}</p></div>"
        + failed
    )


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "") -> str:
    """Cells are HTML; a row whose first cell begins with ``*`` is the paper's."""
    top = "".join(f"<th>{cell}</th>" for cell in head)
    body = ""
    for row in rows:
        published = row[0].startswith("*")
        cells = "".join(f"<td>{cell.removeprefix('*')}</td>" for cell in row)
        body += f"<tr{' class=published' if published else ''}>{cells}</tr>"
    told = f'<p class="soft">{caption}</p>' if caption else ""
    return f'{told}<div class="scroll" tabindex="0"><table><tr>{top}</tr>{body}</table></div>'


def _intervals(results: Results) -> str:
    return paper.intervals(results.found.scores.inference)


def _tested(results: Results) -> str:
    """Which lesions are tested."""
    own = results.found.dataset.split is not None
    return "The lesions that the data set names for testing" if own else "All lesions"


def _curve(results: Results) -> str:
    colours = svg.paired_colours(_CURVES)
    series = []
    all_seeds = len(results.found.asked.seeds)
    curve = results.found.scores.curve
    # the controls are trained at the sizes that were chosen alone, and these differ by fold
    shown = [point for point in curve if point.name not in _CONTROLS or point.seeds == all_seeds]
    data = results.found.dataset
    sizes = len(results.found.asked.settings.synthetic_of(len(data.scheme)))
    told = _Added.of(results)
    trained = {row.name for row in results.found.scores.summary}
    partly = [
        name
        for name in _CONTROLS
        if name in trained and sum(point.name == name for point in shown) < sizes
    ]
    for arm in _CURVES:
        points = sorted(
            (
                float(told.times * point.added.total),
                point.accuracy.known,
                *(point.accuracy.ends or (None, None)),
            )
            for point in shown
            if point.name == arm
        )
        if points:
            series.append(svg.Series(arm, points, colours[arm]))
    for label, counts, arm in (
        ("classic: paper, private data", paper.CLASSIC, "classic"),
        ("classic + DCGAN: paper, private data", paper.DCGAN, "classic+dcgan"),
    ):
        known = [(float(told.papers * x), k / paper.LESIONS, None, None) for x, k in counts]
        series.append(svg.Series(label, known, colours[arm], paper=True))
    drawn = svg.curve(
        series,
        f"Accuracy against samples added {told.each}",
        f"ROIs added {told.each} (classic and synthetic together; square-root scale)",
        [told.papers * tick for tick in (0, 500, 1000, 2000, 5000, 8000, 12000, 17000)],
    )
    note = ""
    if partly:
        note = (
            f" {' and '.join(partly)}: trained only at the sizes that were chosen, and drawn where "
            "that was one size in every fold and seed."
        )
    return (
        "<h2>Accuracy against samples</h2>"
        f"<figure>{drawn}<figcaption>{_tested(results)}, each tested once per seed. Bands: 95 % "
        f"{_intervals(results)}. The curves are exploratory: "
        "reading the best size off them flatters it. Dashed: published points, on other, private "
        f"lesions, and not comparable in height. {svg.ON_EACH_OTHER} {svg.SIDE_BY_SIDE}"
        f"{escape(note)}"
        "</figcaption></figure>"
    )


@dataclass(frozen=True)
class _Added:
    """How added ROIs are told: per fold, or for the training part that a data set names.

    Attributes:
        each: in words.
        times: what a size per fold is multiplied by; ``papers``: one of the paper's.
    """

    each: str = "per fold"
    times: int = 1
    papers: int = 1

    @classmethod
    def of(cls, results: Results) -> _Added:
        if results.found.dataset.split is None:
            return cls()
        return cls("in all", results.found.asked.settings.folds - 1, paper.FOLDS - 1)


def _scores(results: Results) -> str:
    told, added = "", _Added.of(results)
    shares = results.found.asked.settings.shares
    for how, title, words in (
        (Selection.NESTED, "Nested selection", "size picked per fold on validation patients"),
        (
            Selection.PAPER,
            "The paper's protocol",
            "size picked on the accuracy that is reported: flattering",
        ),
    ):
        rows = []
        phantom = any(
            row.true_balanced_accuracy is not None for row in results.found.scores.summary
        )
        for row in _summary(results, how):
            cells = [
                escape(row.name),
                _sizes(results, row.name, how),
                # of one label each, weighted sensitivity is accuracy and macro the balanced one
                figures.share_html(row.sensitivity["weighted"]),
                figures.share_html(row.specificity["weighted"]),
                figures.share_html(row.sensitivity["macro"]),
                figures.share_html(row.specificity["macro"]),
            ]
            if phantom:
                cells.append(figures.share_html(row.true_balanced_accuracy))
            rows.append(cells)
            published = paper.SUMMARY.get(row.name)
            if how == Selection.PAPER and published:
                correct, _, spec = published
                classic, synthetic = 5000 * added.papers, 3000 * added.papers
                size = {
                    "none": "0",
                    "classic": str(classic),
                    "classic+dcgan": f"{classic} + {synthetic}",
                }
                line = [
                    "*" + escape(row.name) + ", published",
                    size.get(row.name, ""),
                    f"{_percent(correct / paper.LESIONS)} ({correct}/{paper.LESIONS} right)",
                    _percent(spec),
                    "",
                    "",
                ]
                rows.append([*line, ""] if phantom else line)
        head = [
            "arm", added.each, "sens. weighted", "spec. weighted", "sens. macro", "spec. macro",
        ]  # fmt: skip
        if phantom:
            head.append("true bal. acc.")
        caption = (
            f"%; {words}; mean over seeds; intervals: "
            f"{_intervals(results)}, {_EXACT}. "
            "Sensitivity weighted by class counts is accuracy, its macro mean balanced accuracy."
        )
        if shares:
            caption += (
                " Sizes with synthetic ROIs are shares of the classic ones beside them, which are "
                f"of real lesions: {', '.join(f'{share:g}' for share in shares)}."
            )
        if how == Selection.PAPER:
            caption += " Italic: the paper's own table, private data."
        told += f"<h3>{title}</h3>{_table(head, rows, caption)}"
    features = results.found.scores.features
    if features:
        told += f'<p class="soft">features: {escape(features)}</p>'
    return "<h2>Scores</h2>" + told + _per_class(results)


def _summary(results: Results, how: Selection) -> list[ArmSummary]:
    return [row for row in results.found.scores.summary if row.selection == how]


def _sizes(results: Results, arm: str, how: Selection) -> str:
    """The sizes that were picked: ``classic + synthetic``, each once; of no network, the models."""
    models = {
        model
        for score in results.found.scores.arms
        if score.name == arm and score.selection == how
        for model in score.models or ()
    }
    if models:
        return "<br>".join(f"{m} words" if m.isdecimal() else m for m in sorted(models))
    times = _Added.of(results).times
    shared = bool(results.found.asked.settings.shares)
    found = {
        (times * size.classic_per_fold, times * size.synthetic_per_fold)
        for score in results.found.scores.arms
        if score.name == arm and score.selection == how
        for size in score.chosen_per_fold
    }

    def told(classic: int, synthetic: int) -> str:
        share = f" ({synthetic / classic:.2g})" if shared and classic else ""
        return f"{classic} + {synthetic}{share}" if synthetic else f"{classic}"

    return "<br>".join(told(*one) for one in sorted(found))


def _per_class(results: Results) -> str:
    keys = results.found.dataset.scheme.keys
    rows = _summary(results, Selection.NESTED)

    def of(measures: Sequence[tuple[_Measure, str]], more: Sequence[str] = ()) -> str:
        head = ["arm", *(f"{word} {key}" for _, word in measures for key in (*keys, *more))]
        cells = [
            [escape(row.name)]
            + [
                figures.share_html(measure(row)[key])
                for measure, _ in measures
                for key in (*keys, *more)
            ]
            for row in rows
        ]
        return _table([escape(cell) for cell in head], cells)

    return (
        "<h3>Per class, one against the rest</h3>"
        '<p class="soft">%; nested selection; mean over seeds; intervals: '
        f"{_intervals(results)}, {_EXACT}.</p>"
        + of(((lambda row: row.sensitivity, "sens."), (lambda row: row.specificity, "spec.")))
        + of(((lambda row: row.auc, "AUC"),), ("macro",))
    )


def _believed(results: Results) -> str:
    """Empty where the results are of a version that did not count it."""
    told = results.found.scores.probabilities
    if told is None:
        return ""
    summary = _summary(results, Selection.NESTED)
    return (
        "<h2>How far probabilities can be believed</h2>"
        + _table(believed.HEAD, believed.rows(summary), f"Nested selection. {escape(told)}")
        + believed.curves(
            summary,
            results.found.dataset.scheme,
            _intervals(results),
        )
        + '<p class="soft">Every prediction stands in <code>predictions.csv</code>.</p>'
    )


_BY_GROUP = (
    "features", "classic", "classic+dcgan", "classic+acgan", "classic+cgan", "classic+diffusion",
    "classic+tissue", "equal-compute",
)  # fmt: skip


def _subgroups(results: Results) -> str:
    """Empty where the data set has no groups, or the results are of a version without them."""
    told, left_out = results.found.scores.subgroups, results.found.scores.groups_left_out
    if told is None:
        return ""
    shown = [arm for arm in _BY_GROUP if any(one.name == arm for one in told)]
    rows: dict[tuple[str, str], list[str]] = {}
    for one in told:
        counts = ", ".join(f"{count} {key}" for key, count in one.counts.items())
        row = rows.setdefault(
            (one.group, one.value),
            [
                escape(f"{one.group}: {one.value}"),
                f"{one.lesions} of {one.patients} patients <span class='soft'>({escape(counts)})"
                "</span>",
                *("–" for _ in shown),
            ],
        )
        if one.name in shown:
            row[2 + shown.index(one.name)] = figures.share_html(one.balanced_accuracy)
    words = (
        f" Not told, since they have too many values that are no numbers: "
        f"{escape(', '.join(left_out))}."
        if left_out
        else ""
    )
    return "<h2>Subgroups</h2>" + _table(
        ["group", "lesions", *map(escape, shown)],
        list(rows.values()),
        "Balanced accuracy, %, over the classes that occur; nested selection; mean over seeds; "
        f"intervals: {_intervals(results)}, {_EXACT}. Not "
        f"corrected for how many groups there are. Numbers are halved at their median.{words}",
    )


def _compared(results: Results) -> str:
    scores = results.found.scores
    if scores.primary is None:
        title = "Nested selection: confirmatory"
        told = _comparisons(scores.comparisons, title, "arm against classic", "against classic")
    else:
        told = _comparisons(
            scores.primary,
            "Primary: are synthetic ROIs worth more than as many classic ones?",
            "arm against equal-compute",
            "against equal-compute",
            "Two hypotheses, named before the run was begun; Holm's p is over these two alone. In "
            "each fold the control has as many ROIs as the arm that it stands against.",
        )
        told += _comparisons(
            scores.comparisons,
            "Secondary: against classic, nested selection, not corrected",
            "arm against classic",
            "against classic",
        )
        told += _comparisons(
            scores.secondary or (),
            "Secondary: other pairs, nested selection, not corrected",
            "pair",
        )
    told += _comparisons(
        scores.comparisons_paper_protocol,
        "The paper's protocol: exploratory, not corrected",
        "arm against classic",
    )
    notes = {
        row.share_of_oracle_gap.note
        for row in scores.comparisons
        if row.share_of_oracle_gap and row.share_of_oracle_gap.note
    }
    fresh = results.found.fresh
    if fresh:
        notes.add(
            f"True: every classifier on {fresh.test_lesions} lesions of fresh phantom patients "
            f"(difficulty {fresh.difficulty:g}); {fresh.note}."
        )
    title = "Against classic augmentation" if scores.primary is None else "Arm against arm"
    return (
        f"<h2>{title}</h2><p>Points of balanced accuracy, paired on the "
        f"same lesions and averaged over seeds. {escape(scores.inference or paper.INFERENCE)}</p>"
        + told
        + "".join(f'<p class="soft">{escape(note)}</p>' for note in sorted(notes))
    )


def _comparisons(
    comparisons: Sequence[ArmComparison],
    title: str,
    first: str,
    drawn_as: str = "",
    words: str = "",
) -> str:
    """A table; a forest plot as well, where ``drawn_as`` says what the arms stand against."""
    rows, marks = [], []
    phantom = any(row.true_difference is not None for row in comparisons)
    trained = any(row.training_share is not None for row in comparisons)
    for row in comparisons:
        gap = row.difference
        holm = "–" if row.holm_p is None else p_text(row.holm_p)
        pair = row.arm if first != "pair" else f"{row.arm} against {row.against}"
        cells = [
            escape(pair),
            str(len(row.seeds)),
            figures.share_html(gap, signed=True),
            escape(p_text(row.p)),
            escape(holm),
            escape(", ".join(map(p_text, row.mcnemar_p))),
        ]
        if trained:
            cells.append("–" if row.training_share is None else f"{100 * row.training_share:.0f}")
        if phantom:
            cells.append(figures.share_html(row.true_difference, signed=True))
            share = row.share_of_oracle_gap
            cells.append(figures.share_html(share.share) if share else "–")
        rows.append(cells)
        if gap.ends is not None:
            corrected = f"Holm p {holm}" if row.holm_p is not None else f"p {p_text(row.p)}"
            marks.append((row.arm, gap.known, *gap.ends, f"{100 * gap.known:+.1f}, {corrected}"))
    head = [first, "seeds", "difference", "p", "Holm p", "McNemar p per seed"]
    if trained:
        head.append("of its variance, chance of training, %")
    if phantom:
        head += ["true difference", "share of oracle gap, %"]
    told = f"<h3>{title}</h3>"
    if words:
        told += f"<p>{words}</p>"
    if drawn_as and marks:
        drawn = svg.forest(marks, f"Differences in balanced accuracy {drawn_as}, points")
        told += f"<figure>{drawn}</figure>"
    return told + _table(head, rows)


def _matrices(results: Results) -> str:
    scheme = results.found.dataset.scheme
    names = [item.display for item in scheme.classes]
    drawn = ""
    for row in _summary(results, Selection.NESTED):
        figure = svg.matrix(row.confusion_mean, names, f"Confusion of {row.name}")
        drawn += f"<figure>{figure}<figcaption>{escape(row.name)}</figcaption></figure>"
    if scheme.keys == paper.CLASSES:
        for name, counts in paper.MATRICES.items():
            figure = svg.matrix(counts, names, f"Published confusion of {name}")
            caption = f"{escape(name)}: paper, private data"
            drawn += f"<figure>{figure}<figcaption>{caption}</figcaption></figure>"
    return (
        "<h2>Confusion</h2><p>Rows are the truth; lesions per seed, mean over seeds; nested "
        f'selection.</p><div class="row">{drawn}</div>'
    )


def _failures(results: Results, folder: Path) -> str:
    displays = {item.key: item.display for item in results.found.dataset.scheme.classes}
    seed = results.found.asked.seeds[0]
    return failures.section(folder, displays, seed, lambda rois: _picture(rois, 1, 2))


def _fidelity(results: Results) -> str:
    synthetic = results.found.synthetic
    told = synthetic.fidelity
    head = "<h2>Fidelity and variety</h2>"
    if isinstance(told, Missing):
        return f"{head}<p>{escape(told.missing)}</p>"
    network = told.network
    known = " It was trained on this very data set." if network.trained_on_this_data else ""
    answers = "".join(f"<p>{line}</p>" for line in fidelity.answers(synthetic))
    measured = ""
    if told.radiomics and told.told_apart:
        measured = (
            f"<h3>In named measurements</h3><p>Measurements: {escape(told.radiomics)}.</p>"
            + _table((*fidelity.HEAD, "told apart"), fidelity.by_measurements(synthetic))
            + f'<p class="soft">Told apart: {escape(told.told_apart)}.</p>'
        )
    return (
        f"{head}{fidelity.few_held_out(results)}{answers}"
        f"<p>Distances to {escape(told.against)}. Features: {escape(network.features)} of "
        f"{escape(network.network)}.{known}</p>"
        + _table(fidelity.HEAD, fidelity.by_network(synthetic), escape(told.interval))
        + '<p class="soft">Small sets inflate FID; read it beside the baseline. KID is unbiased. '
        "Density above 1: synthetic ROIs crowd where real ones are dense; low coverage: they miss "
        f"kinds of lesions.</p>{measured}"
    )


def _picture(rois: npt.NDArray[Any], columns: int, scale: int = 1) -> str:
    """ROIs (n, 64, 64) in [-1, 1] side by side, as an ``src`` of their own."""
    rows = -(-len(rois) // columns)
    grid = np.zeros((rows * 66, columns * 66), np.uint8)
    grey = to_grey(rois.astype(np.float32))
    for i, roi in enumerate(grey):
        top, left = i // columns * 66, i % columns * 66
        grid[top : top + 64, left : left + 64] = roi
    picture = Image.fromarray(grid)
    if scale > 1:
        picture = picture.resize((grid.shape[1] * scale, grid.shape[0] * scale), 0)
    stream = io.BytesIO()
    picture.save(stream, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def _sheets(results: Results, folder: Path) -> str:
    seed = results.found.asked.seeds[0]
    drawn = ""
    with np.load(folder / "embedding.npz", allow_pickle=False) as stored:
        for item in results.found.dataset.scheme.classes:
            key = item.key
            sets = [("real training lesions", stored[f"real|{key}"][:16])]
            for kind, task in (
                ("DCGAN", f"dcgan-{key}-outer-0-{seed}"),
                ("ACGAN", f"acgan-outer-0-{seed}"),
                *(
                    (fidelity.NAMES[kind], f"{kind}-outer-0-{seed}")
                    for kind in results.found.asked.settings.further_generators
                ),
                (fidelity.NAMES["tissue"], f"tissue-{key}"),
            ):
                path = folder / "tasks" / task / f"rois-{key}.npy"
                if path.exists():
                    sets.append((kind, np.load(path, mmap_mode="r")[:16]))
            pictures = "".join(
                f'<figure><img alt="{len(rois)} ROIs, {escape(name)}" src="{_picture(rois, 4)}">'
                f"<figcaption>{escape(name)}</figcaption></figure>"
                for name, rois in sets
            )
            title = escape(item.display)
            drawn += f'<h3>{title}</h3><div class="row">{pictures}</div>'
    return (
        "<h2>Sample sheets</h2><p>First fold, first seed; the first ROIs drawn, none chosen.</p>"
        + drawn
        + _trainings(results, folder)
    )


def _trainings(results: Results, folder: Path) -> str:
    """How the generators of the first fold and seed came about: losses, and fixed latents."""
    seed, drawn = results.found.asked.seeds[0], ""
    for one in results.found.synthetic.generators:
        fared = one.fared
        chosen = one.of_held_out and (one.fold, one.seed) == (0, seed)
        if not chosen or isinstance(fared, Collapsed):
            continue
        name = escape(one.name)
        of = (
            "in removing noise"
            if one.kind == GeneratorKind.DIFFUSION
            else "of discriminator (full) and generator (dashed)"
        )
        figures = (
            f"<figure>{svg.losses(fared.losses, f'Losses of {name}')}<figcaption>Loss per epoch "
            f"{of}</figcaption></figure>"
        )
        for path in sorted((folder / "tasks" / one.name / "sheets").glob("*.png")):
            epoch = int(path.stem.rsplit("-", 1)[1])
            picture = base64.b64encode(path.read_bytes()).decode()
            figures += (
                f'<figure><img alt="Fixed latents of {name} after epoch {epoch}" width="300" '
                f'src="data:image/png;base64,{picture}">'
                f"<figcaption>the same latents, epoch {epoch}</figcaption></figure>"
            )
        drawn += f'<h4>{name}</h4><div class="row">{figures}</div>'
    return (
        "<details><summary>Training of these generators: losses, and the same latents as they "
        f"learned</summary>{drawn}</details>"
    )


def _twins(synthetic: Synthetic, told: Memorisation) -> str:
    """Which generators draw the same again and again."""
    rows = [
        [
            f"{fidelity.named(synthetic, kind)}, {escape(one.lesion_class)}",
            str(one.rois),
            f"{100 * one.share:.0f} %" + (" – much alike" if one.share > _MUCH_ALIKE else ""),
            f"{one.median:.3g}",
            f"{one.median_real:.3g}",
        ]
        for kind, classes in (told.twins or {}).items()
        for one in classes
    ]
    if not rows:
        return ""
    return (
        "<h3>Alike among themselves</h3>"
        + _table(["generator, class", "ROIs", "with a twin", "median gap", "real"], rows)
        + '<p class="soft">A twin: another synthetic ROI that is nearer, by correlation, than the '
        "nearest other one of 95 % of as many real ROIs, so 5 % would be expected. Many twins: the "
        "generator collapsed to few pictures, if with noise on them.</p>"
    )


def _memorisation(results: Results, folder: Path) -> str:
    synthetic = results.found.synthetic
    told = synthetic.memorisation
    head = "<h2>Memorisation</h2>"
    if isinstance(told, Missing):
        return f"{head}<p>{escape(told.missing)}</p>"
    rows, shown = [], ""
    for kind, spaces in told.kinds.items():
        for space, found in spaces.items():
            rows.append(
                [
                    f"{fidelity.named(synthetic, kind)}, {space}",
                    f"{found.median_synthetic:.3g}",
                    f"{found.median_held_out:.3g}",
                    fidelity.plain(found.ratio_of_medians),
                    f"{found.flagged} of {found.synthetic_rois} "
                    f"({100 * found.flagged_share:.1f} %, {100 * found.expected_share:.0f} "
                    "expected)",
                    "–" if found.nearer_than_any is None else str(found.nearer_than_any),
                    f"{100 * found.nearer_to_training:.0f} %",
                ]
            )
            pictures = ""
            for one in found.pairs:
                path, pair = folder / "tasks" / one.task / "pairs.npz", one.pair
                if not path.exists():
                    continue
                with np.load(path, allow_pickle=False) as stored:
                    both = stored[space][one.place]
                mark = "flagged" if pair.flagged else "not flagged"
                pictures += (
                    f'<figure><img alt="synthetic ROI and its nearest training ROI" '
                    f'src="{_picture(both, 2)}"><figcaption>{escape(pair.lesion_class)}, '
                    f"{pair.distance:.3g}, {mark}</figcaption></figure>"
                )
            title = f"{fidelity.NAMES[kind]}: nearest in {space}"
            shown += f'<h3>{title}</h3><div class="row">{pictures}</div>'
    own = (
        "<p>Held-out lesions are the data set's own test part. Where that is of another place, "
        "scanner or time, synthetic ROIs lie nearer to training lesions than it does without any "
        "being a copy.</p>"
        if results.found.dataset.split is not None
        else ""
    )
    return (
        f"{head}{fidelity.few_held_out(results)}{own}<p>Distance: {escape(told.distance)}. "
        f"Flagged: below {escape(told.flagged_below)}.</p>"
        + _table(
            ["ROIs", "median, synthetic", "median, held-out", "ratio", "flagged",
             "nearer than any held-out", "nearer to training"],
            rows,
        )
        + '<p class="soft">A ratio well under 1, or many more flagged than expected, speaks of '
        "copying; but smooth pictures are near to everything, so the last column compares with as "
        "many training as held-out lesions: 50 % if nothing is copied.</p>"
        + _twins(synthetic, told)
        + "<p>The nearest pairs: left synthetic, right its nearest training ROI.</p>" + shown
    )  # fmt: skip


def _embedding(results: Results, planes: tuple[Plane, ...] | None) -> str:
    names = [item.display for item in results.found.dataset.scheme.classes]
    head = "<h2>What the networks see</h2>"
    rows = [
        [
            escape(name),
            number(shown.silhouette, 3),
            number(shown.silhouette_originals, 3),
            _percent(shown.neighbour_purity),
            _percent(shown.neighbour_purity_originals),
        ]
        for name, shown in results.run.embedding.items()
    ]
    table = _table(
        ["network", "silhouette", "… lesions only", "kNN purity %", "… lesions only"],
        rows,
        "In the features themselves, not in the plane; neighbours are of other patients (k = 5).",
    )
    if planes is None:
        return f"{head}{table}<p>No t-SNE: openTSNE is not installed here.</p>"
    drawn = ""
    for plane in planes:
        positions = [(float(x), float(y)) for x, y in plane.positions]
        strong = plane.original.tolist()
        picture = svg.scatter(positions, plane.labels.tolist(), strong, f"t-SNE of {plane.name}")
        drawn += f"<figure>{picture}<figcaption>{escape(plane.name)}</figcaption></figure>"
    legend = svg.legend(
        [svg.Series(name, (), svg.COLOURS[i % len(svg.COLOURS)]) for i, name in enumerate(names)]
    )
    return (
        f"{head}<p>Features before the output, of the first fold's test lesions (large) and their "
        f"classic augmentations (small). {embedding.SETTINGS}. Two networks give two unrelated "
        f'planes.</p>{legend}<div class="row">{drawn}</div>{table}'
    )


def _generators(results: Results) -> str:
    rows = []
    for one in results.found.synthetic.generators:
        fared = one.fared
        if isinstance(fared, Collapsed):
            rows.append([escape(one.name), "collapsed in every attempt", "", "", ""])
            continue
        rows.append(
            [
                escape(one.name),
                str(fared.attempts),
                str(fared.steps),
                f"{fared.spread / fared.spread_real:.2f}",
                escape("; ".join(fared.collapsed)) or "–",
            ]
        )
    beside = [[escape(cell) for cell in row] for row in generators.rows(results)]
    compared = (
        _table(list(generators.HEAD), beside) + f'<p class="soft">{generators.READ}</p>'
        if beside
        else ""
    )
    return (
        f"<h2>Generators</h2>{compared}<details><summary>{len(rows)} trainings</summary>"
        + _table(
            ["generator", "attempts", "steps", "spread, share of real", "collapsed before"], rows
        )
        + "</details>"
    )


def _choices(results: Results) -> str:
    rows = "".join(
        f'<tr><td class="left">{escape(what)}</td><td class="left">{escape(how)}</td></tr>'
        for what, how in paper.choices(
            results.found.asked.settings.method_version,
            results.found.scores.inference,
            given=results.found.dataset.split is not None,
        )
    )
    asked = results.found.asked.config
    config = {key: value for key, value in asked.items() if key != "test_fold"}
    config["augment"] = {k: v for k, v in config["augment"].items() if k != "per_fold"}
    # those two belong to single trainings; here every fold is tested, at the sizes of the arms
    settings = escape(json.dumps(config, indent=1, sort_keys=True))
    return (
        "<h2>Every choice</h2><table>"
        f"{rows}</table><details><summary>All settings</summary><pre>{settings}</pre></details>"
    )


def _provenance(results: Results) -> str:
    times, data, later = results.run.times, results.found.dataset, results.evaluated_by
    device = sorted(to_json(results.run.device).items())
    by = f", evaluated again by commit <code>{escape(later)}</code>" if later else ""
    starts = len(times.starts)
    stages: dict[str, float] = {}
    for start in times.starts:
        for stage in start.stages:
            stages[stage.stage] = stages.get(stage.stage, 0.0) + stage.wall_s
    of_stages = ", ".join(f"{name or 'nothing'} {wall:.0f} s" for name, wall in stages.items())
    rows = [
        ("command", f"<code>{escape(results.found.asked.command)}</code>"),
        ("data set", f"{escape(data.name)}, digest <code>{escape(data.digest)}</code>"),
        ("code", f"commit <code>{escape(results.run.commit)}</code>{by}"),
        ("device", escape(", ".join(f"{key} {value}" for key, value in device))),
        ("wall time", f"{times.wall_s:.0f} s in {starts} start{'s' if starts > 1 else ''} "
                      f"({escape(of_stages)})"),
        ("finished", escape(times.finished_at)),
    ]  # fmt: skip
    body = "".join(
        f'<tr><td class="left">{name}</td><td class="left">{value}</td></tr>'
        for name, value in rows
    )
    return f"<h2>Where it comes from</h2><table>{body}</table>"
