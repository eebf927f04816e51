"""The forms in which a card leaves, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from ml.checkpoints.card import chai, checklist, json_form, markdown
from ml.checkpoints.card.card import Card


class Format(StrEnum):
    """Forms of the card."""

    MARKDOWN = "markdown"
    """For people: CARD.md."""
    JSON = "json"
    """For programs, with keys that stay."""
    CHAI_XML = "chai-xml"
    """CHAI Applied Model Card, schema v0.2."""
    CHECKLIST = "checklist"
    """By the items of CLAIM 2024, TRIPOD+AI and STARD-AI."""


@dataclass(frozen=True)
class Form:
    """How a format is written and called.

    Attributes:
        label: for people.
        ending: of its file's name, after the checkpoint's.
        media_type: as HTTP tells it.
    """

    label: str
    ending: str
    media_type: str
    write: Callable[[Card], str]


FORMS: Mapping[Format, Form] = {
    Format.MARKDOWN: Form("Markdown", "-card.md", "text/markdown; charset=utf-8", markdown.written),
    Format.JSON: Form("JSON", "-card.json", "application/json", json_form.written),
    Format.CHAI_XML: Form("CHAI XML", "-card.xml", "application/xml", chai.written),
    Format.CHECKLIST: Form(
        "Checklists", "-checklists.md", "text/markdown; charset=utf-8", checklist.written
    ),
}


def written(card: Card, format: Format) -> bytes:
    """The card in that form, UTF-8."""
    return FORMS[format].write(card).encode()
