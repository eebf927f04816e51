"""Lesion schemes: the ordered classes that a data set and a checkpoint each name."""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml.ground.errors import HepaticaError, reason

ROI_SIZE_PX = 64
"""Side of an ROI in pixels (Frid-Adar et al. 2018, section III-A)."""

_KEY = re.compile(r"[a-z][a-z0-9_]{0,39}")
_UNREADABLE = ("Cc", "Cs", "Zl", "Zp")
"""Kinds of characters that end a line, steer a terminal, or are halves of others."""


class SchemeError(HepaticaError):
    """A lesion scheme that cannot be read, or a class that it does not have."""


@dataclass(frozen=True)
class Code:
    """A coded concept (DICOM PS3.3 8.8): value, coding scheme designator, meaning."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True)
class LesionClass:
    """One class of a scheme: ``key`` in data, ``display`` for people, ``code`` for DICOM."""

    key: str
    display: str
    code: Code | None = None


@dataclass(frozen=True)
class LesionScheme:
    """An ordered list of two or more lesion classes; the order is the order of a network's outputs.

    Raises:
        SchemeError: fewer than two classes, a key used twice, or a key that is not
            lower-case letters, digits and underscores.
    """

    name: str
    classes: tuple[LesionClass, ...]

    def __post_init__(self) -> None:
        if len(self.classes) < 2:
            raise SchemeError(
                f"Lesion scheme {self.name!r} has {len(self.classes)} class(es); give at least two."
            )
        for key in self.keys:
            if not _KEY.fullmatch(key):
                raise SchemeError(
                    f"Lesion scheme {self.name!r}: class key {key!r} must be lower-case letters, "
                    "digits and underscores, and start with a letter."
                )
            if self.keys.count(key) > 1:
                raise SchemeError(f"Lesion scheme {self.name!r} names class {key!r} twice.")

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of the classes, in the order of a network's outputs."""
        return tuple(lesion_class.key for lesion_class in self.classes)

    def __len__(self) -> int:
        return len(self.classes)

    def index(self, key: str) -> int:
        """Position of a class in the network's output; SchemeError when the scheme lacks it."""
        try:
            return self.keys.index(key)
        except ValueError:
            raise SchemeError(
                f"Lesion scheme {self.name!r} has no class {key!r}; it has {', '.join(self.keys)}."
            ) from None

    def display(self, key: str) -> str:
        """The name of a class for people; SchemeError when the scheme lacks it."""
        return self.classes[self.index(key)].display

    def hotkeys(self) -> dict[str, str]:
        """One letter per class (key → letter): the first letter of its name that is still free."""
        letters: dict[str, str] = {}
        for lesion_class in self.classes:
            candidates = [c for c in lesion_class.display.lower() + lesion_class.key if c.isalpha()]
            spare = "abcdefghijklmnopqrstuvwxyz"
            letters[lesion_class.key] = next(
                c for c in [*candidates, *spare] if c not in letters.values()
            )
        return letters

    def to_dict(self) -> dict[str, object]:
        """The JSON form: ``{"name", "classes": [{"key", "display", "code"?}]}``."""
        return {"name": self.name, "classes": [_entry(item) for item in self.classes]}

    @classmethod
    def from_dict(cls, data: Any) -> LesionScheme:
        """Read the JSON form; ``display`` defaults to the key, ``code`` to none.

        Raises:
            SchemeError: the form is not that of a scheme.
        """
        try:
            name, entries = str(data["name"]), list(data["classes"])
            classes = tuple(
                LesionClass(
                    key=str(entry["key"]),
                    display=str(entry.get("display", entry["key"])),
                    code=Code(**entry["code"]) if entry.get("code") else None,
                )
                for entry in entries
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise SchemeError(
                "A lesion scheme is JSON of the form "
                '{"name": …, "classes": [{"key": …, "display": …, "code": …}]}; '
                f"this one is not ({error})."
            ) from error
        return cls(name, classes)

    @classmethod
    def load(cls, source: str | Path) -> LesionScheme:
        """``liver``, or the path of a JSON file.

        Raises:
            SchemeError: no such file, not JSON, not a scheme, or classes that people or DICOM could
                not tell apart.
        """
        if str(source) == "liver":
            return LIVER
        try:
            data = json.loads(Path(source).read_text("utf-8"))
        except OSError as error:
            raise SchemeError(f"Lesion scheme {source} cannot be read: {reason(error)}.") from error
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise SchemeError(f"Lesion scheme {source} is not JSON: {error}.") from error
        found = cls.from_dict(data)
        _refuse_unreadable(found)
        return found


def is_readable(text: str) -> bool:
    """Whether a text is one line that people can read."""
    return bool(text.strip()) and not any(unicodedata.category(c) in _UNREADABLE for c in text)


def _refuse_unreadable(scheme: LesionScheme) -> None:
    shown: dict[str, str] = {}
    for one in scheme.classes:
        if not is_readable(one.display):
            raise SchemeError(
                f"Lesion scheme {scheme.name!r}: the display {one.display!r} of class {one.key!r} "
                "is no line that people can read."
            )
        other = shown.setdefault(" ".join(one.display.split()).casefold(), one.key)
        if other != one.key:
            raise SchemeError(
                f"Lesion scheme {scheme.name!r}: classes {other!r} and {one.key!r} have the same "
                f"display {one.display!r}; give each its own."
            )
        code = one.code
        if code is not None and not (_fits(code.value, 16) and _fits(code.scheme, 16)
                                     and _fits(code.meaning, 64)):  # fmt: skip
            raise SchemeError(
                f"Lesion scheme {scheme.name!r}: the code of class {one.key!r} has value and "
                "scheme of 1 to 16 characters and a meaning of 1 to 64, without backslash "
                "(PS3.5 6.2, SH and LO)."
            )


def _fits(value: object, most: int) -> bool:
    """Whether a value is a text that DICOM keeps in so many characters."""
    return (
        isinstance(value, str) and len(value) <= most and "\\" not in value and is_readable(value)
    )


def _entry(item: LesionClass) -> dict[str, str | dict[str, str]]:
    entry: dict[str, str | dict[str, str]] = {"key": item.key, "display": item.display}
    if item.code is not None:
        entry["code"] = {
            "value": item.code.value,
            "scheme": item.code.scheme,
            "meaning": item.code.meaning,
        }
    return entry


LIVER = LesionScheme(
    "liver",
    (
        LesionClass("cyst", "cyst", Code("367643001", "SCT", "Cyst")),
        LesionClass("metastasis", "metastasis", Code("128462008", "SCT", "Metastasis")),
        LesionClass("hemangioma", "hemangioma", Code("400210000", "SCT", "Hemangioma")),
    ),
)
"""The three classes of Frid-Adar et al. (2018), in the order of their tables."""
