"""Graded questions: how realistic an image is, as a researcher words it and a protocol keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.errors import Unreadable
from app.models.reader_studies.stored import Stored
from ml.readers.grades import POINTS, GradedQuestion

MOST_QUESTIONS = 4
"""As many as there are rows of keys at the desk."""
MOST_TEXT, MOST_ANCHOR = 200, 60
_BETWEEN = "|"


@dataclass(frozen=True)
class Graded(GradedQuestion, Stored):
    """A question with its five anchors, as it is stored."""


_ANCHORS = (
    "clearly artificial",
    "rather artificial",
    "in between",
    "rather natural",
    "like a CT image in every way",
)
QUESTIONS = (
    Graded("How realistic is the image as a whole?", _ANCHORS),
    Graded("How realistic are texture and margin of the lesion?", _ANCHORS),
    Graded("How realistic is the tissue around the lesion?", _ANCHORS),
)
"""What is asked where nothing else was typed; the first is what the hypothesis is of."""


def typed(text: str) -> tuple[Graded, ...]:
    """A question a line: its text, then the anchors from 1 to 5, with | between them.

    Raises:
        Unreadable: a line that is none, too many, or two alike.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not 1 <= len(lines) <= MOST_QUESTIONS:
        raise Unreadable(f"Ask 1 to {MOST_QUESTIONS} graded questions, one a line.").about("graded")
    found = tuple(_line(line, number) for number, line in enumerate(lines, 1))
    if len({one.text for one in found}) < len(found):
        raise Unreadable("Two graded questions have the same text.").about("graded")
    return found


def said(questions: Sequence[Graded]) -> str:
    """The text that `typed` reads back."""
    return "\n".join(f" {_BETWEEN} ".join((one.text, *one.anchors)) for one in questions)


def _line(line: str, number: int) -> Graded:
    text, *anchors = (part.strip() for part in line.split(_BETWEEN))
    if len(anchors) != POINTS or not all((text, *anchors)):
        raise Unreadable(
            f"Graded question {number} needs its text and {POINTS} anchors, from the least to the "
            f"most realistic, with {_BETWEEN} between them; it has {len(anchors)}."
        ).about("graded")
    if len(text) > MOST_TEXT or max(map(len, anchors)) > MOST_ANCHOR:
        raise Unreadable(
            f"Graded question {number}: give the text in at most {MOST_TEXT} characters, each "
            f"anchor in at most {MOST_ANCHOR}."
        ).about("graded")
    if len(set(anchors)) < POINTS:
        raise Unreadable(f"Graded question {number}: two of its anchors are the same.").about(
            "graded"
        )
    return Graded(text, tuple(anchors))
