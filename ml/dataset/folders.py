"""A folder for each class, perhaps under folders for training and test, as people download them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ml.dataset.entries import Entry, Mark, Options
from ml.dataset.files import Files
from ml.dataset.labels import Whose, nobody

_SPLITS = ("train", "training", "val", "valid", "validation", "test", "testing")
_LITTER = ("thumbs.db", "desktop.ini", "__macosx")
_OTHER = (".txt", ".md", ".pdf", ".csv", ".tsv", ".json", ".xml", ".xlsx", ".html", ".py", ".zip")
"""What lies beside images and is none."""


def files(folder: Path) -> Iterator[Path]:
    """Every file under a folder that could be an image, in order; hidden ones and litter not."""
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        hidden = any(part.startswith(".") or part.lower() in _LITTER for part in parts)
        if path.is_file() and not hidden and path.suffix.lower() not in _OTHER:
            yield path


def classes(folder: Path) -> dict[str, list[Path]]:
    """The images of each class, if a folder has at least two folders with images; else empty."""
    found = _named(folder)
    return found if len(found) > 1 else {}


def only_class(folder: Path) -> str | None:
    """The one folder that holds all images of a folder; None where there are several, or none."""
    found = _named(folder)
    return next(iter(found)) if len(found) == 1 else None


def _named(folder: Path) -> dict[str, list[Path]]:
    """Images by the folder that would be their class."""
    found: dict[str, list[Path]] = {}
    for path in files(folder):
        parts = path.relative_to(folder).parts
        named = parts[_depth(parts) : -1]
        if named:
            found.setdefault(named[0], []).append(path)
    return found


def _depth(parts: tuple[str, ...]) -> int:
    """How many folders stand above that of the class: one for training and test, or none."""
    return int(len(parts) > 2 and parts[0].lower() in _SPLITS)


def entries(folder: Path, source: Files, options: Options) -> tuple[list[Entry], list[str]]:
    """An entry for every image, and what was left aside.

    Raises:
        PrepareError: nothing tells whose the images are.
    """
    found = classes(folder)
    if options.patients is None:
        what = f"{folder} has a folder for each class ({', '.join(list(found)[:8])})"
        raise nobody(what, Whose.FOLDER, Whose.DICOM, Whose.IMAGE)
    made = []
    for name, paths in found.items():
        for path in paths:
            file = path.relative_to(folder).as_posix()
            parts = path.relative_to(folder).parts
            depth = _depth(parts)
            under = "/".join(parts[: depth + 1])
            groups = {"split": parts[0].lower()} if depth else {}
            made.append(Entry(file, name, "", partial(_marks, source, file), under, groups))
    notes = [f"Classes were told by folders: {', '.join(f'{n} {k}' for k, n in _counts(made))}."]
    aside = [path.name for path in files(folder) if path not in _taken(found)]
    if aside:
        notes.append(f"Not in a class's folder, and not used: {_some(aside)}.")
    return made, notes


def _marks(source: Files, file: str) -> list[Mark]:
    return [Mark(one, file, None) for one in source.only(file)]


def _counts(made: list[Entry]) -> list[tuple[str, int]]:
    return list(Counter(entry.label for entry in made).items())


def _taken(found: dict[str, list[Path]]) -> set[Path]:
    return {path for paths in found.values() for path in paths}


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" … ({len(names)} in all)" if len(names) > 5 else "")
