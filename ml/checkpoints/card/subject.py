"""What a card is made from, and the sentences that several fields share."""

from __future__ import annotations

from dataclasses import dataclass

from ml.checkpoints.card.entry import Gap, Source, Statement
from ml.checkpoints.card.network import Network
from ml.checkpoints.card.words import OwnersWords
from ml.checkpoints.checkpoint import Checkpoint, CheckpointKind
from ml.images.ct_slice import ImageKind

UNMEASURED = "not measured for this checkpoint"
NOT_TYPED = "the owner has not typed it"


@dataclass(frozen=True)
class Subject:
    """A checkpoint, what its owner typed, and what its files say.

    Attributes:
        network: None where the files are not at hand.
    """

    checkpoint: Checkpoint
    words: OwnersWords
    network: Network | None

    @property
    def classifies(self) -> bool:
        """Whether it is a classifier."""
        return self.checkpoint.kind == CheckpointKind.CLASSIFIER

    @property
    def is_simulated(self) -> bool:
        """Whether it was trained on phantoms."""
        return self.checkpoint.training_kind == ImageKind.PHANTOM

    @property
    def classes(self) -> str:
        """The classes for people, with commas between."""
        return ", ".join(item.display for item in self.checkpoint.scheme.classes)

    @property
    def notes(self) -> tuple[str, ...]:
        """How it was trained and tested, a sentence each."""
        return tuple(self.checkpoint.metrics.notes or ())

    def settings(self, group: str) -> dict[str, object]:
        """The settings of one group of its training, by name; none where they were not kept."""
        found = self.checkpoint.config.get(group)
        return dict(found) if isinstance(found, dict) else {}


def typed(text: str, about: str = "", otherwise: str = NOT_TYPED) -> Statement | Gap:
    """The owner's words, or that there are none."""
    return Statement(text, Source.OWNER, about) if text else Gap(otherwise, about)


def added(text: str, about: str = "") -> Statement | None:
    """The owner's words beside others; None where there are none, which then is no gap."""
    return Statement(text, Source.OWNER, about) if text else None


def recorded(text: str, about: str = "") -> Statement:
    """What ``checkpoint.json`` says."""
    return Statement(text, Source.RECORD, about)


def of_software(text: str, about: str = "") -> Statement:
    """What is true of every checkpoint of this software."""
    return Statement(text, Source.SOFTWARE, about)


def listed(settings: dict[str, object]) -> str:
    """``batch 64, width 32``: settings with their values, in the order of the record."""
    return ", ".join(
        f"{name.replace('_', ' ')} {value:g}"
        if isinstance(value, int | float) and not isinstance(value, bool)
        else f"{name.replace('_', ' ')} {value}"
        for name, value in settings.items()
    )
