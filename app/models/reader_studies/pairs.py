"""Pairs: which two pictures of a study stand side by side."""

from __future__ import annotations

from collections.abc import Sequence

from app.errors import Conflict
from app.models.reader_studies.stimulus import Source, Stimulus
from app.models.reader_studies.task import Task

Pair = tuple[Stimulus, Stimulus]
"""The one that is asked for first."""


def paired(task: Task, stimuli: Sequence[Stimulus]) -> list[Pair]:
    """Every picture in one pair, with one of its own lesion class; none where the task has none.

    Which two meet follows from the SHA-256 of their bytes, which says nothing of what they show;
    it is the same for every reader.

    Raises:
        Conflict: pictures are left over.
    """
    pairs: list[Pair] = []
    if not task.is_paired:
        return pairs
    for key in sorted({one.lesion_class for one in stimuli}):
        own = sorted(
            (one for one in stimuli if one.lesion_class == key), key=lambda one: one.pixels_digest
        )
        synthetic = [one for one in own if one.truth == Source.SYNTHETIC]
        real = [one for one in own if one.truth == Source.REAL]
        if len(synthetic) != len(real):
            raise Conflict(
                f"Of {key} there are {len(real)} real and {len(synthetic)} synthetic images, and "
                "each stands beside one of the other kind. Compose the study anew."
            )
        pairs += zip(synthetic, real, strict=True)
    return sorted(pairs, key=lambda pair: min(one.pixels_digest for one in pair))
