"""What was pasted and found, as a page of Markdown for people."""

from __future__ import annotations

from collections.abc import Sequence

from ml.checkpoints.card.escaping import table
from ml.experiment.tissue.asked import Asked
from ml.experiment.tissue.compared import Compared
from ml.experiment.tissue.made import Made
from ml.experiment.tissue.record import Found
from ml.statistics.figure import Figure

_SIMULATED = (
    "The lesions are **phantoms**: simulated, with a known truth, in liver tissue of real slices. "
    "Nothing here is evidence about a patient."
)


def page(found: Found) -> str:
    """The whole page."""
    return "\n".join(
        [
            "# Phantom lesions in real liver tissue",
            "",
            _SIMULATED,
            "",
            _made(found.made),
            "",
            "## What classifiers trained on phantoms say of them",
            "",
            *_asked(found.asked),
            "",
            "Balanced accuracy: the mean of the classes' shares right. Intervals are 95 % ones "
            "over patients. The rows of phantom tissue are of fresh phantoms; at the pixels and "
            "greys of the slices, they tell what coarser pixels alone cost.",
            "",
            "## Phantom liver beside real liver",
            "",
            *_compared(found.compared),
            "",
            "## Limits",
            "",
            *(f"- {one}" for one in _limits(found.made)),
            "",
            f"Made by: `{found.command}`",
            "",
        ]
    )


def _made(found: Made) -> str:
    counts = ", ".join(f"{number} {key}" for key, number in found.counts.items())
    left = "".join(
        f" Left out: {number} slices ({why})." for why, number in sorted(found.left_out.items())
    )
    return (
        f"{sum(found.counts.values())} lesions ({counts}) in {found.slices} slices of "
        f"{found.patients} patients; phantom {found.phantom_version}, "
        f"difficulty {found.difficulty:g}, seed {found.seed}. "
        f"{found.shrunk} of them are smaller than drawn, because the liver had no more room."
        f"{left}"
    )


def _asked(rows: Sequence[Asked]) -> list[str]:
    classes = list(rows[0].classes)
    heads = ["Classifier", "Tissue", "Lesions", "Patients", "Balanced accuracy", *classes]
    body = [
        [
            one.classifier,
            one.where,
            str(one.lesions),
            str(one.patients),
            _percent(one.balanced),
            *(_percent(one.classes[key]) if key in one.classes else "none" for key in classes),
        ]
        for one in rows
    ]
    return table(heads, body)


def _compared(found: Compared | str) -> list[str]:
    if isinstance(found, str):
        return [found]
    body = [
        [
            one.what,
            _value(one.phantom, one.unit),
            _value(one.real, one.unit),
            "–" if one.gap is None else f"{one.gap:+.1f}",
        ]
        for one in found.rows
    ]
    told = [[one.how, f"{one.area}"] for one in found.told]
    return [
        f"Squares of {found.side_mm:g} mm without a lesion, {found.squares[0]} of "
        f"{found.patients[0]} phantom patients and {found.squares[1]} of {found.patients[1]} real "
        "ones, both at the pixels and greys of the slices. Means of patients with 95 % intervals; "
        "the difference is phantom less real in standard deviations of patients.",
        "",
        *table(["Number", "Phantom", "Real", "Difference"], body),
        "",
        "A classifier (extremely randomised trees on the measurements of the arm `features`) that "
        "is asked of each square whether it is real; 0.5 is what chance gives, and the patients it "
        "is asked about are none that it learned from:",
        "",
        *table(["Squares", "Area under the ROC curve"], told),
    ]


def _limits(found: Made) -> list[str]:
    low, high = found.greys_hu
    return [
        f"HU under {low:g} and over {high:g} are unknown to the slices; lesions are clipped like "
        "everything else.",
        f"The spacing of a pixel, {found.spacing_mm:g} mm, the HU of black and white and the "
        f"thickness of a slice, {found.thickness_mm:g} mm, are what the command was told; pictures "
        "do not tell them.",
        "Masks say where the liver is, not whether it is healthy: places with much darker tissue "
        "about are left out, others' lesions that are as bright as liver are not seen.",
        "Point spread and noise within a lesion are those of the liver about it, as far as they "
        "can be told from one slice; structure finer than "
        "4.5 mm counts as noise.",
        "Lesions do not displace vessels, nor bend the liver's edge.",
    ]


def _percent(figure: Figure) -> str:
    return _value(figure, "%", 100)


def _value(figure: Figure, unit: str, times: float = 1) -> str:
    if figure.value is None:
        return f"not defined ({figure.note})"
    places = 1 if unit else 2
    told = f"{times * figure.value:.{places}f}" + (f" {unit}" if unit else "")
    if figure.ends is None:
        return f"{told} (no interval)"
    low, high = (f"{times * end:.{places}f}" for end in figure.ends)
    return f"{told} ({low} to {high})"
