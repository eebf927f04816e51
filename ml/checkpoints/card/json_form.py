"""The card as JSON with keys that stay, for programs.

``format``      1; a later form that an older reader would misread gets another number
``checkpoint``  name, kind (classifier or generator), digest (SHA-256 of model.onnx, or "")
``summary``, ``cautions``, ``keywords``
``fields``      key → number (1 … 40), title, ``empty`` (why it says nothing, or null),
                ``statements`` (text, source, about, figures, sample, curves) and ``gaps`` (about,
                reason)
``checklists``  guideline → edition and items (item, title, asks, why): which fields, or statements
                about what in them, answer it

``source`` is ``record``, ``measured``, ``owner`` or ``software``. A figure has ``measure``, ``of``
(a class or another part, or ""), ``value``, ``low`` and ``high`` (95 % interval; null where not
defined), ``n`` (lesions, where they are not the sample's) and ``share`` (whether 1 means 100 %);
``sample`` says on how many lesions of how many patients. A curve is a reliability plot: ``name``
and ``points``, each with ``said`` (mean probability of the called class), ``right`` (the share of
its ``n`` lesions that was called rightly), ``low`` and ``high`` (as if lesions were independent).
"""

from __future__ import annotations

import json
import math

from ml.checkpoints.card.card import Card, Field
from ml.checkpoints.card.entry import Curve, Empty, Measured, Sample, Statement
from ml.checkpoints.card.guidelines import GUIDELINES, Guideline

FORMAT = 1


def form(card: Card) -> dict[str, object]:
    """The card as what JSON can hold."""
    return {
        "format": FORMAT,
        "checkpoint": {"name": card.name, "kind": str(card.kind), "digest": card.digest},
        "summary": card.summary,
        "cautions": list(card.cautions),
        "keywords": list(card.keywords),
        "fields": {field.key: _field(field) for field in card.fields},
        "checklists": {key: _checklist(one) for key, one in GUIDELINES.items()},
    }


def written(card: Card) -> str:
    """The same as text."""
    return json.dumps(form(card), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _field(field: Field) -> dict[str, object]:
    found = field.entry
    statements, gaps = ((), ()) if isinstance(found, Empty) else (found.statements, found.gaps)
    return {
        "number": field.number,
        "title": field.title,
        "empty": found.reason if isinstance(found, Empty) else None,
        "statements": [_statement(one) for one in statements],
        "gaps": [{"about": one.about, "reason": one.reason} for one in gaps],
    }


def _statement(statement: Statement) -> dict[str, object]:
    return {
        "text": statement.text,
        "source": str(statement.source),
        "about": statement.about,
        "figures": [_figure(one) for one in statement.figures],
        "sample": None if statement.sample is None else _sample(statement.sample),
        "curves": [_curve(one) for one in statement.curves],
    }


def _figure(measured: Measured) -> dict[str, object]:
    found = measured.figure
    return {
        "measure": measured.measure,
        "of": measured.of,
        "value": _finite(found.value),
        "low": _finite(found.low),
        "high": _finite(found.high),
        "n": found.n,
        "share": measured.share,
    }


def _curve(curve: Curve) -> dict[str, object]:
    return {
        "name": curve.name,
        "points": [
            {
                "said": _finite(one.said),
                "right": _finite(one.right.value),
                "low": _finite(one.right.low),
                "high": _finite(one.right.high),
                "n": one.right.n,
            }
            for one in curve.points
        ],
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _sample(sample: Sample) -> dict[str, object]:
    return {
        "name": sample.name,
        "n_lesions": sample.n_lesions,
        "n_patients": sample.n_patients,
        "interval": sample.interval,
    }


def _checklist(guideline: Guideline) -> dict[str, object]:
    return {
        "edition": guideline.edition,
        "items": [
            {
                "item": one.number,
                "title": one.title,
                "asks": [{"field": ask.field, "about": ask.about} for ask in one.asks],
                "why": one.why,
            }
            for one in guideline.items
        ],
    }
