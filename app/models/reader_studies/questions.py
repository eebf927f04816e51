"""Questions: what a reader is asked of an image, and the keys that answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from app.models.reader_studies.graded import Graded
from app.models.reader_studies.stored import Json, Stored
from app.models.reader_studies.task import Part, Task
from ml.lesion import LesionScheme
from ml.readers.pairs import Side

RATINGS = (
    "certainly real",
    "probably real",
    "unsure, rather real",
    "unsure, rather synthetic",
    "probably synthetic",
    "certainly synthetic",
)
"""The answer scale: rating 1 … 6."""

CALLED_SYNTHETIC = 4
"""From this rating on a reader calls an image synthetic."""

CONFIDENCES = ("a guess", "unsure", "fairly sure", "sure", "certain")
"""How sure a reader is of the lesion class: 1 … 5."""

REASONS = {
    "texture": "texture",
    "edge": "lesion edge",
    "vessels": "background vessels",
    "noise": "noise",
    "other": "other",
}
"""Why an image looks synthetic: key → words."""


@dataclass(frozen=True)
class Choice(Stored):
    """One possible answer and the key that gives it."""

    key: str
    display: str
    hotkey: str


GRADE_KEYS = ("12345", "QWERT", "ASDFG", "ZXCVB")
"""The keys of each graded question, from the lowest grade: a row of a keyboard each."""


@dataclass(frozen=True)
class Row(Stored):
    """A graded question: the name of its field, its text, and its grades with their anchors."""

    name: str
    text: str
    grades: tuple[Choice, ...]


@dataclass(frozen=True)
class Choices(Stored):
    """What a reader may answer; the same on every trial."""

    classes: tuple[Choice, ...]
    ratings: tuple[Choice, ...]
    pause_key: str
    confidences: tuple[Choice, ...] = ()
    reasons: tuple[Choice, ...] = ()
    sides: tuple[Choice, ...] = ()
    rows: tuple[Row, ...] = ()

    @staticmethod
    def of(
        scheme: LesionScheme,
        *,
        task: Task = Task.ORIGIN,
        part: Part = Part.WHOLE,
        lesion_class: bool = True,
        confidence: bool = False,
        reasons: bool = False,
        graded: Sequence[Graded] = (),
    ) -> Choices:
        """The classes of a scheme by letter, and the scale by number; or the sides of a pair, or
        the ``graded`` questions.

        The first part of an unaware study asks for the class, the second for the scale.

        Without ``lesion_class`` no classes, with ``confidence`` five points for the class, with
        ``reasons`` the checklist.
        """
        if task.is_paired:
            sides = tuple(
                Choice(side, f"the {side} one", str(number)) for number, side in enumerate(Side, 1)
            )
            return Choices((), (), "P", sides=sides)
        if task is Task.REALISM:
            return Choices((), (), "P", rows=_rows(graded))
        if part is Part.TOLD:
            lesion_class = confidence = False
        rated = part is not Part.UNAWARE
        letters = scheme.hotkeys()
        classes = tuple(
            Choice(item.key, item.display, letters[item.key].upper())
            for item in (scheme.classes if lesion_class else ())
        )
        ratings = tuple(
            Choice(str(number), words, str(number))
            for number, words in enumerate(RATINGS if rated else (), 1)
        )
        taken = {item.hotkey for item in classes}
        pause_key = _free("PZXWQ", taken)
        sure = (
            [
                Choice(str(number), words, _free("ASDFGJKLYU", taken))
                for number, words in enumerate(CONFIDENCES, 1)
            ]
            if confidence
            else []
        )
        why = (
            [
                Choice(key, words, _free(key.upper() + "IOBRQWXZJKLYU", taken))
                for key, words in REASONS.items()
            ]
            if reasons and rated
            else []
        )
        return Choices(classes, ratings, pause_key, tuple(sure), tuple(why))

    def to_dict(self) -> Json:
        """The JSON form, as a protocol keeps it and the desk's script reads it."""
        return asdict(self)


def _rows(graded: Sequence[Graded]) -> tuple[Row, ...]:
    return tuple(
        Row(
            f"grade_{number}",
            one.text,
            tuple(
                Choice(str(grade), anchor, key)
                for grade, (anchor, key) in enumerate(zip(one.anchors, keys, strict=True), 1)
            ),
        )
        for number, (one, keys) in enumerate(zip(graded, GRADE_KEYS, strict=False), 1)
    )


def _free(wanted: str, taken: set[str]) -> str:
    """The first key of ``wanted`` that no choice has yet; from then on it is taken."""
    key = next(key for key in wanted + "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if key not in taken)
    taken.add(key)
    return key
