"""The report's section on what a run could not show: the smallest effect, and its limits."""

from __future__ import annotations

import math
from html import escape

from ml.experiment.results import Results
from ml.experiment.results.scores import ArmComparison

_REACH, _CHANCE = 1.959964, 0.841621
"""Quantiles of the normal distribution: of a two-sided 5 %, and of a chance of 80 %."""


def smallest(found: ArmComparison) -> float | None:
    """The true difference that would have been shown with a chance of 80 %, about; over 0.

    By the width of the interval that was found: the standard error times both quantiles. Infinity
    where that is more than a difference can be (1), or where the interval is cut off there, so that
    no standard error follows from it. None where there is no interval.
    """
    ends = found.difference.ends
    if ends is None:
        return None
    reach = (ends[1] - ends[0]) / 2 * (1 + _CHANCE / _REACH)
    return math.inf if reach > 1 or ends[0] <= -1 or ends[1] >= 1 else reach


def section(results: Results) -> str:
    """HTML."""
    effects = "".join(f"<li>{escape(words)}</li>" for words in _effects(results))
    limits = "".join(f"<li>{escape(words)}</li>" for words in _limits(results))
    shown = (
        "<p>Smallest true difference in balanced accuracy that these lesions and seeds would have "
        "shown with a chance of 80 % (p under 0.05, two-sided, not corrected), by the width of the "
        f"interval that was found:</p><ul>{effects}</ul>"
        if effects
        else ""
    )
    return f"<h2>Limits</h2>{shown}<ul>{limits}</ul>"


def _effects(results: Results) -> list[str]:
    scores = results.found.scores
    told = []
    for one in scores.primary if scores.primary is not None else scores.comparisons:
        effect = smallest(one)
        if effect is not None:
            points = (
                f"{100 * effect:.1f} points"
                if math.isfinite(effect)
                else "none, not even the greatest that there can be (100 points)"
            )
            told.append(f"{one.arm} against {one.against}: {points}")
    return told


def _limits(results: Results) -> list[str]:
    data, asked, scores = results.found.dataset, results.found.asked, results.found.scores
    rarest = min(data.counts, key=lambda key: data.counts[key])
    told = [
        f"{data.lesions} lesions of {data.patients} patients, {data.counts[rarest]} of the rarest "
        f"class ({rarest}): shares of single classes have wide intervals.",
        "Single two-dimensional ROIs around lesions that somebody marked: nothing is said of "
        "finding lesions, of other slices or of a patient's history.",
        "The classes are those of the data set's labels; how they came about "
        + (
            "stands under The data set, unchecked."
            if data.about is not None and data.about.reference_standard
            else "the software does not know."
        ),
    ]
    if results.found.synthetic.tissue is not None:
        told.append(
            "classic+tissue: the tissue is real and the lesions in it are simulated; what the arm "
            "adds or costs is said of this simulation, not of lesions of patients."
        )
    if data.kind == "phantom":
        told.append("Simulated images: no figure is one of patients.")
    elif data.split is None:
        told.append(
            "Every lesion is of this data set, tested once in folds of it: nothing is said of "
            "other hospitals, scanners or populations."
        )
    else:
        told.append(
            "Tested on the part that the data set names, whose numbers are told at the top: how "
            "it differs from the rest the software does not know."
        )
    if data.kind == "uncalibrated":
        told.append("Grey values without Hounsfield units: densities are not comparable.")
    if len(asked.seeds) == 1:
        told.append("One seed: with others, networks and generators would be others.")
    if scores.failed:
        told.append(f"{len(scores.failed)} classifiers were not trained, for want of a generator.")
    if scores.subgroups is None:
        told.append(
            "No group is known within which figures could differ (site, scanner, age, sex)."
        )
    return told
