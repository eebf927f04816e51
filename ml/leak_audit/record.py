"""What a leak audit found, with its types, and its JSON form."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ml.ground import records
from ml.ground.records import RecordError
from ml.leak_audit.rendering import LeakAuditError

VERSION = 2
"""Of the JSON form. The first did not say it; it had no traces, practice or names of images."""


class Colour(StrEnum):
    """A verdict, from good to bad."""

    GREEN = "green"
    AMBER = "amber"
    RED = "red"


class Group(StrEnum):
    """What a feature is of: the file, what was done to its numbers, or what the picture shows."""

    RENDERING = "rendering"
    TRACES = "traces"
    CONTENT = "content"


@dataclass(frozen=True)
class Feature:
    """One cheap feature: area real against synthetic with its 95 % interval, and the verdict.

    ``images`` are places in the audit's ``pictures`` that the feature alone gives away: those that
    bear a mark, or lie beyond every image of the other kind.
    """

    name: str
    group: Group
    auc: float
    low: float | None
    high: float | None
    verdict: Colour
    detail: str
    images: tuple[int, ...] = ()


@dataclass(frozen=True)
class Classifier:
    """A ridge regression on all content features, out-of-fold; None when refused."""

    auc: float | None
    low: float | None
    high: float | None
    verdict: Colour
    folds: int
    features: int
    detail: str


@dataclass(frozen=True)
class Images:
    """How many images were audited; ``practice`` more were audited with them."""

    real: int
    synthetic: int
    practice: int = 0


@dataclass(frozen=True)
class Duplicates:
    """Pairs of images, by name, with the same pixels or nearly: 20 of each at most, all counted."""

    exact: tuple[tuple[str, str], ...]
    exact_count: int
    near: tuple[tuple[str, str], ...]
    near_count: int


@dataclass(frozen=True)
class Audit:
    """The written record; ``verdict`` is the worst of all.

    ``smallest_auc_found`` is None where so few images could not show any; ``bound`` is what a
    lower limit must pass; ``skipped`` are files that were no images; ``pictures`` are the names of
    all that were audited, practice among them.
    """

    verdict: Colour
    text: str
    n: Images
    features: tuple[Feature, ...]
    classifier: Classifier
    duplicates: Duplicates
    smallest_auc_found: float | None
    bound: float
    skipped: tuple[str, ...]
    version: int = 1
    pictures: tuple[str, ...] = ()

    @property
    def blocks(self) -> bool:
        """A study with these images must not open."""
        return self.verdict is Colour.RED

    def coloured(self) -> dict[str, Colour]:
        """The images that an amber or red feature gives away, by name, with the worst colour.

        An audit of the first version names none.
        """
        found: dict[str, Colour] = {}
        for colour in (Colour.AMBER, Colour.RED):
            for feature in self.features:
                if feature.verdict is colour:
                    found |= {self.pictures[place]: colour for place in feature.images}
        return found

    def telling(self, picture: str) -> tuple[str, ...]:
        """The amber and red features that give an image away, by name, red first."""
        return tuple(
            feature.name
            for colour in (Colour.RED, Colour.AMBER)
            for feature in self.features
            if feature.verdict is colour
            and any(self.pictures[place] == picture for place in feature.images)
        )

    def to_json(self) -> Any:
        """The JSON form, as a protocol freezes it."""
        return records.to_json(self)


@dataclass(frozen=True)
class NotAudited:
    """The record where no audit can be made; ``text`` says why."""

    verdict: str
    text: str
    n: Images
    features: tuple[Feature, ...] = ()
    classifier: None = None
    version: int = 1

    @property
    def smallest_auc_found(self) -> None:
        """Nothing would be found."""

    def coloured(self) -> dict[str, Colour]:
        """None: nothing was looked for."""
        return {}

    def telling(self, _picture: str) -> tuple[str, ...]:
        """Nothing either."""
        return ()

    def to_json(self) -> Any:
        """The JSON form, as a protocol freezes it."""
        return {**records.to_json(self), "features": [], "classifier": None}


Record = Audit | NotAudited


def from_json(data: Any) -> Record:
    """The record whose ``to_json`` is ``data``; without a version it is of the first.

    Raises:
        LeakAuditError: another version, or something missing, unknown or of another type.
    """
    version = data.get("version", 1) if isinstance(data, dict) else 1
    if version not in (1, VERSION):
        raise LeakAuditError(
            f"This leak audit is of version {version!r}; this program reads 1 and {VERSION}. Use "
            "the program that wrote it, or a newer one."
        )
    try:
        if isinstance(data, dict) and "duplicates" not in data:
            return records.from_json(NotAudited, data)
        found = records.from_json(Audit, data)
    except RecordError as error:
        raise LeakAuditError(f"This is no record of a leak audit: {error}") from error
    if any(not 0 <= place < len(found.pictures) for one in found.features for place in one.images):
        raise LeakAuditError("This is no record of a leak audit: it tells of images it lacks.")
    return found
