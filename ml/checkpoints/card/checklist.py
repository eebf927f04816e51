"""The card by the items of three guidelines: each with its sentence, or why there is none."""

from __future__ import annotations

from ml.checkpoints.card.card import Card
from ml.checkpoints.card.entry import Empty, Statement, missing_of
from ml.checkpoints.card.escaping import cell, markdown
from ml.checkpoints.card.guidelines import GUIDELINES, Ask, Guideline, Item

_MOST = 600
"""Characters of an answer; the card has the rest."""


def written(card: Card) -> str:
    """The checklists, in Markdown."""
    lines = [
        f"# {markdown(card.name)}: checklists",
        "",
        *(f"**{markdown(caution)}**\n" for caution in card.cautions),
        "Numbers are those of the guidelines, titles our own words for what they ask. An answer is "
        "the card's own sentence with the number of its field, or why there is none. A guideline "
        "is met by the report of a study, not by this list.",
    ]
    for guideline in GUIDELINES.values():
        lines += ["", *_guideline(card, guideline)]
    return "\n".join(lines) + "\n"


def _guideline(card: Card, guideline: Guideline) -> list[str]:
    told = [(item, *answer(card, item)) for item in guideline.items]
    n = sum(found for _, found, _ in told)
    return [
        f"## {guideline.name}",
        "",
        f"{guideline.edition}. Answered, wholly or in part: {n} of {len(told)} items.",
        "",
        "| item | asks for | answer |",
        "|---|---|---|",
        *(
            f"| {item.number} | {cell(item.title)} | {cell(words)} |"
            if found
            else f"| {item.number} | {cell(item.title)} | *none: {cell(words)}* |"
            for item, found, words in told
        ),
    ]


def answer(card: Card, item: Item) -> tuple[bool, str]:
    """(whether the card says something to it, what it says, or why it says nothing)"""
    if item.why:
        return False, item.why
    found: list[str] = []
    missing: list[str] = []
    for ask in item.asks:
        said, words = _part(card, ask)
        (found if said else missing).append(words)
    return (True, " ".join(found)) if found else (False, "; ".join(dict.fromkeys(missing)))


def _part(card: Card, ask: Ask) -> tuple[bool, str]:
    field = card.field(ask.field)
    if isinstance(field.entry, Empty):
        why = field.entry.reason if ask.about is None else missing_of(field.entry, ask.about)
        return False, f"field {field.number}: {why}"
    statements = [
        one for one in field.entry.statements if ask.about is None or one.about == ask.about
    ]
    if not statements:
        why = missing_of(field.entry, ask.about or "") or "it says nothing of that"
        return False, f"field {field.number}: {why}"
    text = " ".join(_sentence(one) for one in statements)
    if len(text) > _MOST:
        text = f"{text[: _MOST - 1].rstrip()}…"
    return True, f"{text} (field {field.number})"


def _sentence(statement: Statement) -> str:
    whole, table = statement.whole, statement.table
    parts = [statement.text, *(f"{one.measure} {one.told}" for one in whole)]
    if table:
        parts.append("each class in the table")
    return "; ".join(part.rstrip(".") for part in parts) + "."
