"""The card: forty fields, each filled or empty for a reason that it tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Annotated, get_origin, get_type_hints

from ml.checkpoints.card.entry import Empty, Entry


class Part(StrEnum):
    """What fields are about, in the order of the card."""

    IDENTITY = "What it is"
    USE = "What it is for, and what not"
    NETWORK = "In, out, and between"
    DATA = "Data and training"
    MEASURED = "What was measured"
    UPKEEP = "Upkeep, openness, law"


@dataclass(frozen=True)
class Field:
    """One field, to be shown.

    Attributes:
        key: its name in JSON, which stays.
        number: 1 … 40.
    """

    key: str
    number: int
    title: str
    part: Part
    entry: Entry

    @property
    def is_empty(self) -> bool:
        """Whether it only says why it says nothing."""
        return isinstance(self.entry, Empty)


@dataclass(frozen=True)
class _Numbered:
    number: int
    title: str
    part: Part


@dataclass(frozen=True)
class Card:
    """What is known of a checkpoint.

    Attributes:
        name, kind: the checkpoint's.
        digest: SHA-256 of its network; "" where it was not written down.
        summary: what it is in a sentence.
        cautions: what has to be read before everything else.
        keywords: for catalogues.
    """

    name: str
    kind: str
    digest: str
    summary: str
    cautions: tuple[str, ...]
    keywords: tuple[str, ...]
    identity: Annotated[Entry, _Numbered(1, "Name, version, digest, release date", Part.IDENTITY)]
    developer: Annotated[
        Entry, _Numbered(2, "Developer, contact, funding, conflicts", Part.IDENTITY)
    ]
    stage: Annotated[Entry, _Numbered(3, "Release stage, regulatory status", Part.IDENTITY)]
    intended_use: Annotated[Entry, _Numbered(4, "Intended use, users, step of the work", Part.USE)]
    population: Annotated[Entry, _Numbered(5, "Patients it is meant for", Part.USE)]
    out_of_scope: Annotated[Entry, _Numbered(6, "Not meant for", Part.USE)]
    limits: Annotated[Entry, _Numbered(7, "Known limits and risks", Part.USE)]
    input: Annotated[Entry, _Numbered(8, "What it takes", Part.NETWORK)]
    output: Annotated[Entry, _Numbered(9, "What it answers", Part.NETWORK)]
    architecture: Annotated[Entry, _Numbered(10, "Architecture and files", Part.NETWORK)]
    pretraining: Annotated[Entry, _Numbered(11, "Pre-training, foundation models", Part.NETWORK)]
    training_data: Annotated[Entry, _Numbered(12, "Training data", Part.DATA)]
    demographics: Annotated[Entry, _Numbered(13, "Age, sex, size, causes; missing data", Part.DATA)]
    reference_standard: Annotated[Entry, _Numbered(14, "Reference standard", Part.DATA)]
    annotation_quality: Annotated[Entry, _Numbered(15, "Quality of the annotations", Part.DATA)]
    split: Annotated[Entry, _Numbered(16, "Split of the patients", Part.DATA)]
    synthetic_data: Annotated[Entry, _Numbered(17, "Synthetic data", Part.DATA)]
    training: Annotated[
        Entry, _Numbered(18, "Augmentation, optimiser, choice of settings", Part.DATA)
    ]
    sample_size: Annotated[Entry, _Numbered(19, "Sample size", Part.DATA)]
    discrimination: Annotated[Entry, _Numbered(20, "Discrimination", Part.MEASURED)]
    calibration: Annotated[Entry, _Numbered(21, "Calibration", Part.MEASURED)]
    prediction_sets: Annotated[Entry, _Numbered(22, "Prediction sets", Part.MEASURED)]
    novelty: Annotated[Entry, _Numbered(23, "Unlike the training data", Part.MEASURED)]
    decision_use: Annotated[Entry, _Numbered(24, "Use in decisions", Part.MEASURED)]
    subgroups: Annotated[Entry, _Numbered(25, "Subgroups", Part.MEASURED)]
    external_test: Annotated[Entry, _Numbered(26, "External and local test", Part.MEASURED)]
    failures: Annotated[Entry, _Numbered(27, "Where it was wrong", Part.MEASURED)]
    robustness: Annotated[Entry, _Numbered(28, "Robustness", Part.MEASURED)]
    readers: Annotated[Entry, _Numbered(29, "Comparison with readers", Part.MEASURED)]
    human_factors: Annotated[Entry, _Numbered(30, "Use by people", Part.MEASURED)]
    monitoring: Annotated[Entry, _Numbered(31, "Monitoring", Part.MEASURED)]
    maintenance: Annotated[Entry, _Numbered(32, "Updates", Part.UPKEEP)]
    security: Annotated[Entry, _Numbered(33, "Security", Part.UPKEEP)]
    ethics: Annotated[Entry, _Numbered(34, "Ethics and consent", Part.UPKEEP)]
    registration: Annotated[Entry, _Numbered(35, "Registration and protocol", Part.UPKEEP)]
    code: Annotated[Entry, _Numbered(36, "Code, command, environment", Part.UPKEEP)]
    availability: Annotated[Entry, _Numbered(37, "Availability and licences", Part.UPKEEP)]
    compute: Annotated[Entry, _Numbered(38, "Computing", Part.UPKEEP)]
    references: Annotated[Entry, _Numbered(39, "References", Part.UPKEEP)]
    logs: Annotated[Entry, _Numbered(40, "Logs", Part.UPKEEP)]

    @property
    def fields(self) -> tuple[Field, ...]:
        """All forty, by number."""
        return tuple(
            Field(key, one.number, one.title, one.part, getattr(self, key))
            for key, one in _numbered().items()
        )

    @property
    def parts(self) -> Sequence[tuple[Part, tuple[Field, ...]]]:
        """The fields of each part, in order."""
        every = self.fields
        return [(part, tuple(one for one in every if one.part is part)) for part in Part]

    def field(self, key: str) -> Field:
        """The field of that key; KeyError when there is none."""
        return {one.key: one for one in self.fields}[key]


@cache
def _numbered() -> dict[str, _Numbered]:
    hints = get_type_hints(Card, include_extras=True)
    return {
        key: hint.__metadata__[0] for key, hint in hints.items() if get_origin(hint) is Annotated
    }


KEYS: tuple[str, ...] = tuple(_numbered())
"""The keys of the forty fields, by number."""
