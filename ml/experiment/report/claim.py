"""The items of CLAIM 2024 with what a run knows of them, and which are the authors' to say."""

from __future__ import annotations

from html import escape

from ml.checkpoints.card.guidelines import CLAIM
from ml.dataset.about import About
from ml.experiment.report import paper
from ml.experiment.results import Results
from ml.experiment.results.scores import Selection

_AUTHORS = "not known to the software: for the authors to say"


def section(results: Results) -> str:
    """HTML: a table that is folded away."""
    known = answers(results)
    rows = "".join(
        f'<tr><td>{escape(item.number)}</td><td class="left">{escape(item.title)}</td>'
        f'<td class="left">{escape(known.get(item.number, _AUTHORS))}</td></tr>'
        for item in CLAIM.items
    )
    return (
        f"<h2>CLAIM 2024</h2><details><summary>{len(known)} of {len(CLAIM.items)} items that the "
        f"run knows something of</summary><p>{escape(CLAIM.edition)}. Numbers are the guideline's, "
        "titles our own words for what it asks. A guideline is met by the report of a study, not "
        "by this list.</p>"
        '<div class="scroll" tabindex="0"><table><tr><th>item</th><th class="left">asks for</th>'
        f'<th class="left">what the run knows</th></tr>{rows}</table></div></details>'
    )


def answers(results: Results) -> dict[str, str]:
    """By the number of the item, for those that the run can answer, wholly or in part."""
    data, asked, scores = results.found.dataset, results.found.asked, results.found.scores
    settings, device = asked.settings, results.run.device
    counts = ", ".join(f"{number} {key}" for key, number in data.counts.items())
    nested = sorted({row.name for row in scores.summary if row.selection == Selection.NESTED})
    divided = (
        f"{settings.folds} folds, every patient tested once, again with each of "
        f"{len(asked.seeds)} seeds"
        if data.split is None
        else "the data set's own split: "
        + ", ".join(
            f"{name} {part.lesions} lesions of {part.patients} patients"
            for name, part in data.split.items()
        )
    )
    about = data.about or About()
    owners = {
        "5": about.dates, "7": about.source, "8": about.inclusion, "13": about.scanner,
        "14": about.reference_standard, "16": about.labellers,
    }  # fmt: skip
    said = {number: f"The owner says: {words}" for number, words in owners.items() if words}
    return said | {
        "1": f"Classifiers of lesions and generators of synthetic lesions, in {len(nested)} arms: "
        f"{', '.join(nested)}.",
        "4": "Each generator against as many classic ROIs, as one family of two hypotheses that "
        "the program names before a run; everything else is secondary."
        if scores.primary is not None
        else "Every arm against classic augmentation, as one family.",
        "9": "ROIs of 64 × 64 around each lesion, "
        + (
            "the grey range of the data set"
            if data.kind == "uncalibrated"
            else f"window {settings.window_hu[0]:g} to {settings.window_hu[1]:g} HU"
        )
        + "; every setting stands under Every choice.",
        "19": f"{divided[0].upper()}{divided[1:]}.",
        "20": "Patients: nobody trains and tests, in folds, generators or the choice of a size.",
        "21": "Not planned by the software; the smallest effect that could have been shown stands "
        "under Limits.",
        "22": "The CNN, DCGAN and ACGAN of Frid-Adar et al. 2018, with widths and depths under All "
        "settings" + (f"; the simple model: {scores.features}" if scores.features else "."),
        "23": f"Commit {results.run.commit}; Python {device.python}, PyTorch {device.torch}, on "
        f"{device.device}.",
        "24": "Random weights by the seed; nothing was trained before.",
        "25": "Augmentation, optimisers, steps, seeds: under Every choice and All settings.",
        "26": "Sizes and models were chosen on validation patients of the training part alone; "
        "the paper's way, on what is reported, is told apart from it.",
        "27": "None: every network stands by itself.",
        "28": "Balanced accuracy, sensitivity and specificity per class, area under the ROC curve"
        + (", Brier score, log loss and calibration error." if scores.probabilities else "."),
        "29": scores.inference or paper.INFERENCE,
        "32": "Scores, of lesions of the same data set."
        if data.split is None
        else "None; the test part is the one that the data set names.",
        "33": "None, unless the data set's test part is of elsewhere."
        if data.split is not None
        else "None.",
        "35": f"{data.lesions} lesions of {data.patients} patients: {counts}. What was left out "
        "before, the data set's summary.md says.",
        "37": "Scores, with 95 % intervals.",
        "38": "Scores, Confusion"
        + (" and How far probabilities can be believed." if scores.probabilities else "."),
        "39": "Confusion" + (", Subgroups" if scores.subgroups else "") + ", and every prediction "
        "in predictions.csv.",
        "40": "Limits.",
        "43": f"The software is open (commit above); the command: {asked.command}. Data set digest "
        f"{data.digest}.",
    }
