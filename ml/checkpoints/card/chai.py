"""The card as the CHAI Applied Model Card, schema v0.2 (https://mc.chai.org/v0.2/schema.xsd).

The schema has texts, which readers of it take for Markdown, and three groups of metrics whose
values are JSON. What it has no element for stands where it is nearest: calibration, prediction
sets, novelty and robustness under safety. What is not known is said to be not stated, with the
reason, since the schema asks for nearly every element. No signature is made.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from xml.etree import ElementTree as ET

from ml.checkpoints.card.card import Card
from ml.checkpoints.card.entry import (
    Empty,
    Entry,
    Measured,
    Statement,
    capital,
    first_of,
    missing_of,
)
from ml.checkpoints.card.escaping import markdown, shown

NAMESPACE = "https://mc.chai.org/v0.2/schema.xsd"
_LEVEL = 95
"""Per cent: intervals of this software are 95 % ones."""
BIBTEX = """@article{fridadar2018gan,
  author = {Frid-Adar, Maayan and Diamant, Idit and Klang, Eyal and Amitai, Michal and Goldberger, \
Jacob and Greenspan, Hayit},
  title = {{GAN}-based synthetic medical image augmentation for increased {CNN} performance in \
liver lesion classification},
  journal = {Neurocomputing},
  volume = {321},
  pages = {321--331},
  year = {2018}
}"""


def written(card: Card) -> str:
    """The document, with its XML declaration (UTF-8)."""
    root = ET.Element(_name("AppliedModelCard"))
    _basic(root, card)
    _uses(root, card)
    _trust(root, card)
    _metrics(root, card)
    resources = _group(root, "Resources")
    _text(resources, "EvaluationReferences", _whole(card.external_test))
    _text(resources, "ClinicalTrial", _whole(card.registration))
    _text(
        resources,
        "PeerReviewedPublications",
        _part(card.references, "this network and its evaluation"),
    )
    _text(resources, "PatientConsentOrDisclosure", _whole(card.ethics))
    _text(root, "Bibliography", BIBTEX)
    ET.indent(root)
    body = ET.tostring(root, encoding="unicode", default_namespace=NAMESPACE)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{body}\n'


def _name(tag: str) -> str:
    return f"{{{NAMESPACE}}}{tag}"


def _group(parent: ET.Element, tag: str) -> ET.Element:
    return ET.SubElement(parent, _name(tag))


def _text(parent: ET.Element, tag: str, text: str) -> None:
    _group(parent, tag).text = shown(text)


def _basic(root: ET.Element, card: Card) -> None:
    basic = _group(root, "BasicInfo")
    _text(basic, "ModelName", card.name)
    _text(basic, "ModelDeveloper", _part(card.developer, "developer"))
    _text(basic, "DeveloperContact", _part(card.developer, "contact"))
    release = _group(root, "ReleaseInfo")
    _text(release, "ReleaseStage", _whole(card.stage))
    _text(release, "ReleaseDate", _part(card.identity, "release date"))
    _text(
        release,
        "ReleaseVersion",
        "\n\n".join(_part(card.identity, about) for about in ("version", "digest")),
    )
    _text(release, "GlobalAvailability", _whole(card.availability))
    _text(release, "RegulatoryApproval", _part(card.stage, "regulatory status"))
    summary = _group(root, "ModelSummary")
    _text(summary, "Summary", "\n\n".join(map(markdown, (card.summary, *card.cautions))))
    keywords = _group(summary, "Keywords")
    for word in card.keywords:
        _text(keywords, "Keyword", word)


def _uses(root: ET.Element, card: Card) -> None:
    uses = _group(root, "UsesAndDirections")
    _text(
        uses,
        "IntendedUseAndWorkflow",
        "\n\n".join(
            f"{capital(about)}: {_part(card.intended_use, about)}"
            for about in ("intended use", "step of the work")
        ),
    )
    _text(uses, "PrimaryIntendedUsers", _part(card.intended_use, "users"))
    _text(uses, "HowToUse", _part(card.intended_use, "how to use it"))
    _text(uses, "TargetedPatientPopulation", _whole(card.population))
    _text(uses, "CautionedOutOfScopeSettings", _whole(card.out_of_scope))
    warnings = _group(root, "Warnings")
    _text(warnings, "KnownRisksAndLimitations", _whole(card.limits))
    _text(
        warnings,
        "KnownBiasesOrEthicalConsiderations",
        "\n\n".join((_part(card.limits, "risks and biases"), _whole(card.ethics))),
    )
    _text(
        warnings,
        "ClinicalRiskLevel",
        "Not classified. Research use only; not a medical device.",
    )


def _trust(root: ET.Element, card: Card) -> None:
    trust = _group(root, "TrustIngredients")
    facts = _group(trust, "AISystemFacts")
    _text(facts, "OutcomesAndOutputs", _whole(card.output))
    _text(facts, "ModelType", _whole(card.architecture))
    _text(facts, "FoundationModels", _whole(card.pretraining))
    _text(facts, "InputDataSource", _part(card.input, "kind of image"))
    _text(facts, "OutputAndInputDataTypes", "\n\n".join((_whole(card.input), _whole(card.output))))
    _text(
        facts,
        "DevelopmentDataCharacterization",
        _titled(card, "training_data", "demographics", "reference_standard", "annotation_quality",
                "split", "synthetic_data", "sample_size"),
    )  # fmt: skip
    _text(facts, "BiasMitigationApproaches", _titled(card, "subgroups", "training"))
    _text(facts, "OngoingMaintenance", _titled(card, "maintenance", "monitoring"))
    _text(facts, "Security", _whole(card.security))
    _text(facts, "Transparency", _titled(card, "code", "availability", "compute", "logs"))
    openness = _group(trust, "TransparencyInformation")
    _text(openness, "FundingSource", _part(card.developer, "funding"))
    _text(openness, "ThirdPartyInformation", _part(card.developer, "conflicts"))
    _text(openness, "StakeholdersConsulted", _part(card.developer, "who was consulted"))


def _metrics(root: ET.Element, card: Card) -> None:
    metrics = _group(root, "KeyMetrics")
    _metric(
        metrics,
        "UsefulnessUsabilityEfficacy",
        "How often it says what the reference standard says, on patients that it never saw; and "
        "what people do with it.",
        card,
        ("discrimination", "external_test", "readers", "human_factors", "decision_use"),
    )
    _metric(
        metrics, "FairnessEquity", "Whether it does as well for everybody.", card, ("subgroups",)
    )
    _metric(
        metrics,
        "SafetyReliability",
        "Whether its numbers mean what they say, what it does with what it does not know, and "
        "where it is wrong.",
        card,
        ("calibration", "prediction_sets", "novelty", "robustness", "failures"),
    )


def _metric(parent: ET.Element, tag: str, goal: str, card: Card, keys: Sequence[str]) -> None:
    metric = _group(parent, tag)
    _text(metric, "MetricGoal", goal)
    results = _group(metric, "Results")
    found = [one for key in keys for one in _figures(card.field(key).entry)]
    for label, value in found or [("Not measured", {"kind": "single", "value": None})]:
        result = _group(results, "MetricResult")
        _text(result, "Label", label)
        _text(result, "ValueJson", json.dumps(value, ensure_ascii=False, allow_nan=False))
    _text(metric, "Interpretation", _titled(card, *keys))
    _text(metric, "TestType", _whole(card.split) if found else "Not measured.")
    _text(metric, "TestingDataDescription", _titled(card, "training_data", "demographics"))
    _text(metric, "ValidationProcessAndJustification", _titled(card, "split", "sample_size"))


def _figures(entry: Entry) -> Iterator[tuple[str, dict[str, object]]]:
    if isinstance(entry, Empty):
        return
    for statement in entry.statements:
        for one in statement.figures:
            yield _label(statement, one), _value(one)


def _label(statement: Statement, measured: Measured) -> str:
    sample = statement.sample
    on = (
        f"{sample.name}: {sample.n_lesions} lesions of {sample.n_patients} patients"
        if sample
        else statement.about
    )
    return ", ".join(part for part in (measured.measure, measured.of, on) if part)


def _value(measured: Measured) -> dict[str, object]:
    """In the forms of CHAI's own examples: one value, or an estimate with its interval."""
    found = measured.figure
    scale, unit = (100.0, {"unit": "%"}) if measured.share else (1.0, {})
    if found.value is None or not math.isfinite(found.value):
        return {"kind": "single", "value": None}
    if found.ends is None or not all(map(math.isfinite, found.ends)):
        return {"kind": "single", "value": round(scale * found.value, 4), **unit}
    low, high = found.ends
    return {
        "kind": "estimate_ci",
        "estimate": round(scale * found.value, 4),
        "lower": round(scale * low, 4),
        "upper": round(scale * high, 4),
        "level": _LEVEL,
        **unit,
    }


def _titled(card: Card, *keys: str) -> str:
    fields = [card.field(key) for key in keys]
    return "\n\n".join(f"{field.title}. {_whole(field.entry)}" for field in fields)


def _part(entry: Entry, about: str) -> str:
    found = first_of(entry, about)
    if found is not None:
        return markdown(found)
    return f"Not stated: {markdown(missing_of(entry, about) or 'nothing is known of it')}."


def _whole(entry: Entry) -> str:
    if isinstance(entry, Empty):
        return markdown(entry.told)
    told = [_statement(one) for one in entry.statements]
    if entry.unsaid:
        told.append(markdown(entry.unsaid))
    return "\n\n".join(told)


def _statement(statement: Statement) -> str:
    about = f"{capital(markdown(statement.about))}: " if statement.about else ""
    typed = " (typed by the owner)" if statement.is_owners else ""
    return f"{about}{markdown(statement.text)}{typed}"
