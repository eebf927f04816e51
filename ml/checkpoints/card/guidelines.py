"""Which fields of the card answer the items of three guidelines for reports.

Items are named by their numbers in the editions below; the titles are our own words for what they
ask, and replace none of the guidelines' texts. A guideline asks for the report of a study: what
only a paper can hold is said to be missing, with the reason.

CLAIM 2024 Update  Tejani AS, Klontzas ME, Gatti AA, et al. Radiol Artif Intell 2024;6(4):e240300;
                   44 items, whose numbers are not those of CLAIM 2020
TRIPOD+AI          Collins GS, Moons KGM, Dhiman P, et al. BMJ 2024;385:e078378; 27 items
STARD-AI           Sounderajah V, Guni A, Liu X, et al. Nat Med 2025;31:3283-3289; 40 items
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ml.checkpoints.card.card import KEYS


@dataclass(frozen=True)
class Ask:
    """A field of the card, or one part of it (the ``about`` of its statements)."""

    field: str
    about: str | None = None


@dataclass(frozen=True)
class Item:
    """One item of a guideline: the fields that answer it, or why none does."""

    number: str
    title: str
    asks: tuple[Ask, ...]
    why: str


@dataclass(frozen=True)
class Guideline:
    """A guideline and the edition that is followed."""

    name: str
    edition: str
    items: tuple[Item, ...]


_A_PAPER = "a text of the paper on a study, which a card does not replace"
_NO_OUTCOME = "does not apply: a class that a lesion has now is named, nothing that comes later"
_NOT_KNOWN = "neither the record nor the software knows it; the owner can say it in field {}"
_DATA = "training_data:sites, years, scanners"


def _item(number: str, title: str, *asks: str, why: str = "") -> Item:
    found = []
    for ask in asks:
        field, colon, about = ask.partition(":")
        assert field in KEYS, field
        found.append(Ask(field, about if colon else None))
    assert bool(found) != bool(why), number
    return Item(number, title, tuple(found), why)


CLAIM = Guideline(
    "CLAIM 2024",
    "CLAIM 2024 Update (Tejani et al., Radiol Artif Intell 2024;6(4):e240300)",
    (
        _item("1", "Which kind of AI it is", "architecture:network"),
        _item("2", "Summary of the study", why=_A_PAPER),
        _item("3", "Background, use and role", "intended_use:intended use"),
        _item("4", "Aims and hypotheses", why=_A_PAPER),
        _item("5", "Prospective or retrospective", _DATA),
        _item("6", "What the study was for", "intended_use:intended use"),
        _item("7", "Where the data come from", "training_data"),
        _item("8", "Who was taken in, who left out", _DATA),
        _item("9", "Preprocessing", "input:form", "input:values"),
        _item("10", "Parts of the data that are used", "input:form"),
        _item("11", "De-identification", why=(
            "not part of the card: the application keeps pixels and allow-listed tags alone; who "
            "makes a data set elsewhere answers for it")),
        _item("12", "Missing data", "demographics"),
        _item("13", "Acquisition of the images", _DATA),
        _item("14", "How the reference standard was got", "reference_standard"),
        _item("15", "Why this reference standard", "reference_standard"),
        _item("16", "Who made the annotations", "reference_standard"),
        _item("17", "Annotation of the test set", "reference_standard", "annotation_quality"),
        _item("18", "Agreement within and between annotators", "annotation_quality"),
        _item("19", "How the data were parted", "split:parts", "split:test"),
        _item("20", "Level at which parts share nothing", "split:rule"),
        _item("21", "Intended sample size", "sample_size"),
        _item("22", "The model", "architecture"),
        _item("23", "Software and versions", "code"),
        _item("24", "Where the weights began", "pretraining"),
        _item("25", "Training", "training"),
        _item("26", "How the final model was chosen", "training:settings that were tried before"),
        _item("27", "Ensembles", "architecture:network"),
        _item("28", "Measures of performance", "discrimination"),
        _item("29", "Uncertainty and significance", "discrimination"),
        _item("30", "Robustness", "robustness"),
        _item("31", "Explanations of answers", why=(
            "no explanation was validated here: a map of what moves a score is drawn when somebody "
            "asks, and told beside how far maps of networks with random weights look like it")),
        _item("32", "Test on internal data", "discrimination"),
        _item("33", "Test on external data", "external_test"),
        _item("34", "Registration as a trial", "registration"),
        _item("35", "Numbers taken in and left out", "training_data:trained on", _DATA),
        _item("36", "Patients of each part", "demographics"),
        _item("37", "Performance with uncertainty", "discrimination"),
        _item("38", "Diagnostic performance with precision", "discrimination", "calibration"),
        _item("39", "Analysis of failures", "failures"),
        _item("40", "Limitations", "limits"),
        _item("41", "What it means for practice", "intended_use:intended use"),
        _item("42", "Protocol or further details", "registration"),
        _item("43", "Availability of software, model, data", "availability", "code"),
        _item("44", "Funding and its role", "developer:funding"),
    ),
)  # fmt: skip

TRIPOD = Guideline(
    "TRIPOD+AI",
    "TRIPOD+AI (Collins et al., BMJ 2024;385:e078378)",
    (
        _item("1", "Title", why=_A_PAPER),
        _item("2", "Abstract", why=_A_PAPER),
        _item("3a", "Context and rationale", why=_A_PAPER),
        _item(
            "3b",
            "Population, purpose, users",
            "intended_use:intended use",
            "intended_use:users",
            "population",
        ),
        _item("3c", "Known inequalities of health", "limits:risks and biases"),
        _item("4", "Objectives", why=_A_PAPER),
        _item("5a", "Sources of the data", "training_data"),
        _item("5b", "Dates of the data", _DATA),
        _item("6a", "Setting and centres", _DATA),
        _item("6b", "Who was eligible", _DATA),
        _item("6c", "Treatments", why=_NOT_KNOWN.format(12)),
        _item("7", "Preparation of the data", "input:form", "input:values"),
        _item("8a", "Outcome and how it was assessed", "reference_standard"),
        _item("8b", "Who assessed the outcome", "reference_standard"),
        _item("8c", "Blinding of that assessment", "reference_standard"),
        _item("9a", "Choice of predictors", why="the ROI's pixels alone are the predictors"),
        _item("9b", "Definition of predictors", "input"),
        _item("9c", "Who assessed predictors", "intended_use:how to use it"),
        _item("10", "Sample size", "sample_size"),
        _item("11", "Missing data", "demographics"),
        _item("12a", "Use of the data, and its parts", "split"),
        _item("12b", "How predictors were handled", "input:values"),
        _item("12c", "Model, tuning, internal validation", "architecture", "training"),
        _item("12d", "Differences between clusters", "subgroups"),
        _item("12e", "Measures of performance", "discrimination", "calibration", "decision_use"),
        _item("12f", "Updating of the model", "maintenance"),
        _item("12g", "How answers are computed", "output", "code"),
        _item("13", "Imbalance of the classes", "training_data:data set", "training:augmentation"),
        _item("14", "Fairness", "limits:risks and biases"),
        _item("15", "Output and thresholds", "output"),
        _item("16", "Training against evaluation data", "split"),
        _item("17", "Ethics approval and consent", "ethics"),
        _item("18a", "Funding", "developer:funding"),
        _item("18b", "Conflicts of interest", "developer:conflicts"),
        _item("18c", "Protocol", "registration"),
        _item("18d", "Registration", "registration"),
        _item("18e", "Availability of the data", "availability:data"),
        _item("18f", "Availability of the code", "availability:licence of the code", "code"),
        _item("19", "Involvement of patients", "developer:who was consulted"),
        _item("20a", "Flow of participants", "training_data:trained on", _DATA),
        _item("20b", "Characteristics of participants", "demographics"),
        _item("20c", "Comparison with the development data", "demographics"),
        _item("21", "Numbers in each analysis", "training_data:trained on", "discrimination"),
        _item("22", "The full model", "architecture", "availability"),
        _item("23a", "Performance with intervals", "discrimination", "subgroups"),
        _item("23b", "Performance across clusters", "subgroups"),
        _item("24", "Results of updating", why=(
            "does not apply: a checkpoint is not updated; another one has a card of its own")),
        _item("25", "Interpretation", why=_A_PAPER),
        _item("26", "Limitations", "limits"),
        _item("27a", "Poor or missing input", "out_of_scope", "novelty"),
        _item(
            "27b", "What users must do and know", "intended_use:how to use it", "intended_use:users"
        ),
        _item("27c", "Next steps", why=_A_PAPER),
    ),
)  # fmt: skip

STARD = Guideline(
    "STARD-AI",
    "STARD-AI (Sounderajah et al., Nat Med 2025;31:3283-3289)",
    (
        _item("1", "Title: AI, and a measure of accuracy", why=_A_PAPER),
        _item("2", "Abstract", why=_A_PAPER),
        _item(
            "3",
            "Background, use, place in the work",
            "intended_use:intended use",
            "intended_use:step of the work",
        ),
        _item("4", "Objectives and hypotheses", why=_A_PAPER),
        _item("5", "Prospective or retrospective", _DATA),
        _item("6", "Ethics approval", "ethics"),
        _item("7", "Who and what was eligible", _DATA),
        _item("8", "How participants were found", _DATA),
        _item("9", "Where and when", _DATA),
        _item("10", "Consecutive, random or convenience", _DATA),
        _item("11", "Source of the data", "training_data"),
        _item("12", "Who annotated, and how", "reference_standard", "annotation_quality"),
        _item("13", "Devices and software", _DATA, "code"),
        _item("14", "Acquisition and preprocessing", "input:form", "input:values", _DATA),
        _item("15a", "The index test", "architecture", "input"),
        _item("15b", "How it was developed", "split", "training"),
        _item("15c", "Cut-offs of the index test", "output"),
        _item("15d", "Its users and their expertise", "intended_use:users"),
        _item("16a", "The reference standard", "reference_standard"),
        _item("16b", "Why this reference standard", "reference_standard"),
        _item("16c", "Its cut-offs or categories", "output:classes"),
        _item("17a", "What readers of the index test knew", why=(
            "the network sees the ROI and nothing else; what people knew who marked the lesions is "
            "the owner's to say in field 14")),
        _item("17b", "What assessors of the standard knew", "reference_standard"),
        _item("18", "How accuracy was estimated", "discrimination"),
        _item("19", "Results that decide nothing", "prediction_sets", "decision_use"),
        _item("20", "Missing data", "demographics"),
        _item("21", "Variability of accuracy", "subgroups", "robustness"),
        _item("22", "Sample size", "sample_size"),
        _item("23", "Errors, bias and fairness: how", "failures", "subgroups"),
        _item("24", "Flow of participants", "training_data:trained on", _DATA),
        _item("25", "Characteristics of each part", "demographics"),
        _item("26a", "Severity of the disease", "demographics"),
        _item("26b", "Other diagnoses", "demographics"),
        _item("27", "Time between test and standard", why=_NOT_KNOWN.format(14)),
        _item("28", "Whether the data are like those of use", "population", _DATA),
        _item("29", "How external data differ", "external_test"),
        _item("30", "Cross-tabulation", "failures"),
        _item("31", "Accuracy with precision", "discrimination"),
        _item("32", "Adverse events", why=_NOT_KNOWN.format(30)),
        _item("33", "Limitations", "limits"),
        _item("34", "What it means for practice", "intended_use:intended use"),
        _item("35", "Ethics of its use, fairness", "ethics", "limits:risks and biases"),
        _item("36", "Registration", "registration"),
        _item("37", "Protocol", "registration"),
        _item("38", "Funding", "developer:funding"),
        _item("39", "Commercial interests", "developer:conflicts"),
        _item("40a", "Availability of data and code", "availability", "code"),
        _item("40b", "Whether outputs are kept and can be audited", "logs"),
    ),
)  # fmt: skip

GUIDELINES: Mapping[str, Guideline] = {
    "claim-2024": CLAIM,
    "tripod-ai": TRIPOD,
    "stard-ai": STARD,
}
