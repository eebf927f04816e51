"""From the words in a table to the classes of a scheme, and from a file to its patient."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from enum import StrEnum
from itertools import combinations
from pathlib import PurePosixPath

from ml.dataset.table import CellError, PrepareError
from ml.lesion import LIVER, LesionClass, LesionScheme, is_readable

_MOST_CLASSES = 40
_ALIKE = 0.85
_LONG = 7
"""Shorter words differ in few letters and are different all the same (HCC, ICC)."""
_NOTHING = r"nan|nat|<na>|n/a|null|#(n/?[abdv]|.*[!?])"
_NOBODY = re.compile(
    rf"{_NOTHING}|none|nil|na|n\.a\.|k\. ?a\.|-+|\?+|\.+|unknown|unbekannt|inconnue?|"
    r"desconocid[oa]|sconosciut[oa]|onbekend|anon(ym(ous|e|i[sz]ed|is[ée]e?|isiert)?)?|"
    r"an[oó]nim[oa]",
    re.IGNORECASE,
)
"""What people and programs write where there is nobody."""
_NO_CLASS = re.compile(_NOTHING, re.IGNORECASE)
"""What programs write where there is nothing, in any language of a spreadsheet (#N/A, #NV); a
person may well call a class unknown."""
_SHORTENED = re.compile(r"\d([.,]\d+)?e\+\d+", re.IGNORECASE)
"""A long number as spreadsheets save it: what told patients apart is gone."""


def key_of(label: str) -> str:
    """A label as a class's key: ``Focal nodular hyperplasia`` → ``focal_nodular_hyperplasia``."""
    label = unicodedata.normalize("NFC", label)  # ä may be written as one letter or as two
    key = re.sub(r"[^a-z0-9]+", "_", label.strip().lower()).strip("_")[:40].rstrip("_")
    return key if key[:1].isalpha() else f"class_{key}".rstrip("_")


def mapping(text: str) -> dict[str, str]:
    """``Mets=metastasis,0=cyst,other=`` as label → class; an empty class leaves its rows out.

    Raises:
        ValueError: not of that form, or a label twice.
    """
    found: dict[str, str] = {}
    for entry in text.split(","):
        label, equals, to = entry.partition("=")
        if not equals or not label.strip() or _plain(label) in map(_plain, found):
            raise ValueError(f"{text!r} is not of the form Mets=metastasis,0=cyst,other=.")
        found[label.strip()] = to.strip()
    return found


def _plain(label: str) -> str:
    return " ".join(unicodedata.normalize("NFC", label).split()).casefold()


def _as_read(label: str) -> str:
    """A label without what makes no other word of it: case, spaces, hyphens between words.

    A sign stays (``C+``, ``-1``, ``cyst?``), as do letters and digits of every script.
    """
    text = unicodedata.normalize("NFKC", label)
    text = "".join(letter for letter in text if unicodedata.category(letter) != "Cf")
    text = " ".join(text.replace("_", " ").split()).casefold()
    return re.sub(r"(?<=[^\W\d])-(?=\w)|(?<=\w)-(?=[^\W\d])", " ", text)


@dataclass(frozen=True)
class Labels:
    """Which class each label means.

    Attributes:
        scheme: the classes.
        inferred: whether they were made of the labels.
        left_out: rows whose labels were mapped to nothing, by label.
    """

    scheme: LesionScheme
    inferred: bool
    left_out: Mapping[str, int]
    _to: Mapping[str, str] = field(repr=False)

    @classmethod
    def of(
        cls,
        labels: Iterable[str],
        scheme: LesionScheme | None,
        mapped: Mapping[str, str],
        name: str,
    ) -> Labels:
        """What the labels of a data set mean.

        Args:
            labels: of every row, empty where a row has none.
            scheme: None: made of the labels.
            mapped: what ``mapping`` gave.
            name: of the data set; an inferred scheme has it too.

        Raises:
            PrepareError: a mapped label that no row has, or labels of which no scheme is made:
                one alone, over 40, two that may be one class, or two that differ in signs alone.
        """
        counts = Counter(label for label in labels if label)
        seen = {_plain(label) for label in counts}
        for label in mapped:
            if _plain(label) not in seen:
                raise PrepareError(
                    f"--map names {label!r}, but no row has that class; there are "
                    f"{_listed(counts)}."
                )
        to = {_plain(label): key for label, key in mapped.items()}
        out = {label: n for label, n in counts.items() if to.get(_plain(label)) == ""}
        if scheme is not None:
            for label, key in mapped.items():
                if key and key_of(key) not in scheme.keys:
                    raise PrepareError(
                        f"--map {label}={key}: scheme {scheme.name!r} has no class {key!r}; it has "
                        f"{', '.join(scheme.keys)}."
                    )
            return cls(scheme, False, out, to)
        kept = {
            label: n for label, n in counts.items() if label not in out and not _is_blank(label, to)
        }
        words: dict[str, str] = {}
        for label in kept:
            word = " ".join(to.get(_plain(label), label).split())
            if not is_readable(word):
                raise PrepareError(f"The class {word!r} has characters that nobody can read.")
            key = key_of(word)
            first = words.setdefault(key, word)
            if _as_read(first) != _as_read(word):
                raise PrepareError(_one_key(label, first, key))
            if _plain(label) not in to and _is_other(label, key, LIVER):
                raise PrepareError(_one_key(label, key, key))
        _refuse_unlikely(words, {key_of(key) for key in mapped.values() if key}, kept)
        return cls(_scheme(words, name), True, out, to)

    def class_of(self, label: str) -> str | None:
        """The key of a label's class; None where its rows are left out.

        Raises:
            CellError: no label, or one that the scheme lacks.
        """
        if not label:
            raise CellError("no class; label it or remove the row.")
        word = self._to.get(_plain(label), label)
        if not word:
            return None
        if _is_blank(label, self._to):
            raise CellError(
                f"class {label!r} is what a program writes where it has none; correct the table, "
                f'or leave these rows out: --map "{label}=".'
            )
        key = key_of(word)
        if key not in self.scheme.keys:
            raise CellError(
                f"class {label!r} is not in scheme {self.scheme.name!r} "
                f'({", ".join(self.scheme.keys)}); say which it is: --map "{label}=CLASS".'
            )
        if (
            _plain(label) not in self._to
            and not self.inferred
            and _is_other(label, key, self.scheme)
        ):
            raise CellError(_one_key(label, key, key))
        return key

    def notes(self) -> list[str]:
        """What was decided, for people to read."""
        told = []
        if self.inferred and self.scheme != LIVER:
            told.append(f"The classes were made of the labels: {', '.join(self.scheme.keys)}.")
        if self.left_out:
            told.append(f"Left out as told (--map): {_listed(self.left_out)}.")
        return told


def _is_blank(label: str, to: Mapping[str, str]) -> bool:
    """Whether a label is what a program writes where there is none, and nobody mapped it."""
    return _plain(label) not in to and _NO_CLASS.fullmatch(label) is not None


def _listed(counts: Mapping[str, int]) -> str:
    """``Mets (12), cyst (8) …`` of labels and their rows."""
    shown = [f"{label} ({n})" for label, n in [*counts.items()][:12]]
    return ", ".join(shown) + (" …" if len(counts) > 12 else "") or "none"


def _is_other(label: str, key: str, scheme: LesionScheme) -> bool:
    """Whether a label of that key differs from the scheme's class in more than its writing."""
    names = {_as_read(one) for entry in scheme.classes if entry.key == key
             for one in (entry.key, entry.display)}  # fmt: skip
    return bool(names) and names.isdisjoint({_as_read(label), _as_read(f"class {label}")})


def _one_key(label: str, other: str, key: str) -> str:
    return (
        f"The classes {label!r} and {other!r} would both be {key!r}, since a class is told by the "
        f'letters a to z and by digits. If they are one, say so: --map "{label}={other}"; if not, '
        f'give each a word of its own: --map "{label}=WORD".'
    )


def _refuse_unlikely(words: Mapping[str, str], sure: set[str], kept: Mapping[str, int]) -> None:
    if not words:
        raise PrepareError("No row has a class.")
    if len(words) == 1:
        raise PrepareError(
            f"Every row has one class ({_listed(kept)}); two are the least that can be told apart."
        )
    if len(words) > _MOST_CLASSES:
        raise PrepareError(
            f"{len(words)} different classes ({_listed(kept)}): is it the right column? Say "
            "which is (--columns class=HEADER), or give a scheme (--scheme FILE)."
        )
    others = [key for key in LIVER.keys if key not in words]
    for one, other in combinations([*words, *others], 2):
        if one not in words or {one, other} <= sure or not _alike(one, other):
            continue
        both = f"{words[one]!r} and {words.get(other, other)!r}"
        raise PrepareError(
            f"The classes {both} may be one. If they are, map one to the other: --map "
            f'"{words[one]}={other}"; if not, say so: --map '
            f'"{words[one]}={one}{f",{words[other]}={other}" if other in words else ""}".'
        )


def _alike(one: str, other: str) -> bool:
    if f"{one}s" == other or f"{other}s" == one:
        return True
    apart = [set(key.split("_")) for key in (one, other)]
    short = [part for part in apart[0] ^ apart[1] if len(part) <= 2 or part.isdecimal()]
    if short or min(len(one), len(other)) < _LONG:
        return False  # grade 1, grade 2; type a, type b
    return SequenceMatcher(None, one, other).ratio() >= _ALIKE


def _scheme(words: Mapping[str, str], name: str) -> LesionScheme:
    if set(words) == set(LIVER.keys):
        return LIVER
    known = {entry.key: entry for entry in LIVER.classes}
    order = [key for key in LIVER.keys if key in words]
    order += sorted((key for key in words if key not in known), key=_natural)
    classes = [known.get(key) or LesionClass(key, words[key]) for key in order]
    return LesionScheme(key_of(name), tuple(classes))


def _natural(key: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part)
            for part in re.split(r"(\d+)", key)]  # fmt: skip


class Whose(StrEnum):
    """Ways to know a patient that are no pattern."""

    IMAGE = "image"
    """Every image is a patient of its own."""
    FOLDER = "folder"
    """All images of a folder are one patient's."""
    DICOM = "dicom"
    """The PatientID in the file."""


@dataclass
class Patients:
    """Who the patient of an image is.

    Attributes:
        rule: a ``Whose``, a pattern with one group for the path of a file, or None: as the table
            says.
    """

    rule: Whose | re.Pattern[str] | None = None
    _numbers: dict[tuple[str, str], str] = field(default_factory=dict)

    @classmethod
    def told(cls, text: str | None) -> Patients:
        """``image``, ``folder``, ``dicom``, or a regular expression with a group.

        Raises:
            PrepareError: none of these.
        """
        if text is None:
            return cls()
        if text in [*Whose]:
            return cls(Whose(text))
        try:
            pattern = re.compile(text)
        except re.error as error:
            raise PrepareError(f"--patient {text!r} is no regular expression: {error}.") from error
        if pattern.groups != 1:
            raise PrepareError(
                f"--patient is image, folder, dicom, or a regular expression with one group in "
                f"brackets that is the patient, such as '(P[0-9]+)_'; {text!r} has "
                f"{pattern.groups}."
            )
        return cls(pattern)

    def of(self, cell: str, file: str, patient_id: str, issuer: str) -> str:
        """The patient of an image.

        Args:
            cell: what the table says.
            file: path relative to the folder; under the folder of its class where there is one.
            patient_id, issuer: as in a DICOM file; they are replaced by a number.

        Raises:
            CellError: nobody is named.
        """
        if self.rule is None:
            return named(cell)
        if self.rule == Whose.IMAGE:
            return file
        if self.rule == Whose.FOLDER:
            folder = PurePosixPath(file).parent.as_posix()
            if folder == ".":
                raise CellError(
                    f"file {file!r} lies in no folder of its own, so --patient folder names nobody."
                )
            return folder
        if self.rule == Whose.DICOM:
            named(patient_id)
            number = f"patient-{len(self._numbers) + 1:04d}"
            return self._numbers.setdefault((patient_id, issuer), number)
        if isinstance(self.rule, re.Pattern) and (match := self.rule.search(file)):
            return named(match[1] or "")
        raise CellError(f"file {file!r} does not match --patient.")


def nobody(what: str, *ways: Whose, pattern: bool = True) -> PrepareError:
    """The refusal of images of which nothing tells whose they are.

    Args:
        what: what was looked at, to begin the sentence.
        ways: that can tell it there.
        pattern: whether files have paths of which a part can be the patient.
    """
    how = [_WAYS[way] for way in ways]
    if pattern:
        how.insert(0, "--patient '(P[0-9]+)_' (the part of a file's name in brackets)")
    said = how[0] if len(how) == 1 else f"{', '.join(how[:-1])}, or {how[-1]}"
    return PrepareError(
        f"{what}, and nothing tells whose the images are; patients must be told apart to split "
        f"them. Say how: {said}."
    )


_WAYS = {
    Whose.FOLDER: "--patient folder (a folder for each patient)",
    Whose.DICOM: "--patient dicom (PatientID)",
    Whose.IMAGE: "--patient image if every image is of another patient",
}


def named(patient: str) -> str:
    """The patient a cell names.

    Raises:
        CellError: nobody, or a number that a spreadsheet shortened.
    """
    if not patient or _NOBODY.fullmatch(patient):
        told = f"patient {patient!r} names nobody" if patient else "no patient"
        raise CellError(f"{told}; patients must be told apart to split them.")
    if _SHORTENED.fullmatch(patient):
        raise CellError(
            f"patient {patient!r} is a number that a spreadsheet shortened, so patients cannot be "
            "told apart; format the column as text and export it again."
        )
    return patient
