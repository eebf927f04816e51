"""The card as Markdown: CARD.md, for people."""

from __future__ import annotations

from itertools import pairwise

from ml.checkpoints.card import escaping
from ml.checkpoints.card.card import Card, Field
from ml.checkpoints.card.entry import RELIABILITY, Empty, Statement, capital
from ml.checkpoints.card.escaping import cell, code, markdown


def written(card: Card) -> str:
    """The whole card."""
    lines = [f"# {markdown(card.name)}", "", markdown(card.summary), ""]
    for caution in card.cautions:
        lines += [f"**{markdown(caution)}**", ""]
    lines += [
        "Lines that begin with > were typed by the owner and checked by nobody; the others come "
        "from the record of the training, from measurements, or are true of every checkpoint of "
        "this software. Fields without an entry say why.",
    ]
    for part, fields in card.parts:
        lines += ["", f"## {part}"]
        for field in fields:
            lines += ["", *_field(field)]
    return "\n".join(lines) + "\n"


def _field(field: Field) -> list[str]:
    head = f"### {field.number}. {field.title}"
    if isinstance(field.entry, Empty):
        return [head, "", f"*{markdown(field.entry.told)}*"]
    lines = [head]
    for statement in field.entry.statements:
        lines += ["", *_statement(statement)]
    if field.entry.unsaid:
        lines += ["", f"*{markdown(field.entry.unsaid)}*"]
    return lines


def _statement(statement: Statement) -> list[str]:
    about = f"{capital(markdown(statement.about))}: " if statement.about else ""
    if statement.verbatim:
        return [about.strip(), "", *code(statement.text)]
    lines = _broken(f"{about}{markdown(statement.text)}")
    if statement.is_owners:
        return [f"> {line}".rstrip() for line in lines]
    return [*lines, *figures(statement)]


def _broken(text: str) -> list[str]:
    """Its lines, each ended where it ends."""
    lines = text.split("\n")
    broken = [f"{line}\\" if line and after else line for line, after in pairwise(lines)]
    return [*broken, lines[-1]]


def figures(statement: Statement) -> list[str]:
    """The figures of a statement: those of the whole in a sentence, the others as a table."""
    whole, table = statement.whole, statement.table
    lines: list[str] = []
    if whole:
        told = capital(", ".join(f"{cell(one.measure)} {one.told}" for one in whole))
        lines += ["", f"{told}."]
    if table:
        lines += ["", *escaping.table(table.head, table.rows)]
    if statement.curves:
        lines += ["", capital(RELIABILITY)]
        for curve in statement.curves:
            lines += ["", *escaping.table(curve.table.head, curve.table.rows)]
    return lines
