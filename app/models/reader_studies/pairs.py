"""Pairs: which two pictures of a study stand side by side."""

from __future__ import annotations

from collections.abc import Sequence

from app.errors import Conflict
from app.models.reader_studies.planned import PlannedDrawing
from app.models.reader_studies.stimulus import Source, Stimulus
from app.models.reader_studies.task import Task

Pair = tuple[Stimulus, Stimulus]
"""The one that is asked for first."""


def contests(planned: Sequence[PlannedDrawing], stimuli: Sequence[Stimulus]) -> list[Pair]:
    """The pairs of a study of preferences: two drawings that were planned one after the other.

    The first of a pair is of the generator whose name comes first.

    Raises:
        Conflict: a drawing is missing, or two of one generator met.
    """
    known = {(one.checkpoint_id, one.seed): one for one in stimuli}
    shown = [known.get((one.checkpoint, one.seed)) for one in planned]
    pairs: list[Pair] = []
    for one, other in zip(shown[::2], shown[1::2], strict=True):
        if one is None or other is None or _generator(one) == _generator(other):
            raise Conflict("The pairs cannot be made as planned. Compose the study anew.")
        first, second = sorted((one, other), key=_generator)
        pairs.append((first, second))
    return sorted(pairs, key=lambda pair: min(one.pixels_digest for one in pair))


def _generator(stimulus: Stimulus) -> str:
    return stimulus.checkpoint.generator if stimulus.checkpoint else ""


def paired(task: Task, stimuli: Sequence[Stimulus]) -> list[Pair]:
    """Every picture in one pair, with one of its own lesion class; none where the task has none.

    Which two meet follows from the SHA-256 of their bytes, which says nothing of what they show;
    it is the same for every reader.

    Raises:
        Conflict: pictures are left over.
    """
    pairs: list[Pair] = []
    if task is not Task.CHOICE:
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
