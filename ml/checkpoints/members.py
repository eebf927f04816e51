"""Ensembles: several networks of one architecture that answer together, in one checkpoint.

What they say together is the mean of their logits, whose softmax is the geometric mean of their
probabilities (a logarithmic pool: Genest & Zidek 1986, Stat Sci 1:114). Like the plain mean of
probabilities (Lakshminarayanan et al. 2017, arXiv 1612.01474) it never has a larger log loss than
its networks have on average. Logits and not probabilities are averaged because a temperature
divides them before or after alike: one that was fitted on single networks serves their mean. The
probabilities of networks that are far too sure lose in their mean what the temperature needs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from ml.ground.errors import HepaticaError

Tensors = Mapping[str, npt.NDArray[Any]]

_MEMBER = re.compile(r"members\.(0|[1-9]\d*)\.(.+)")


class MembersError(HepaticaError):
    """Networks that cannot answer together, or tensors that are of none of them."""


@dataclass(frozen=True)
class Ensemble:
    """Which networks answer together.

    Attributes:
        networks: how many they are.
        folds: of how many folds. 1: all were trained on the same patients, and what was held out
            from one was held out from all. More: each lesion was seen by some.

    Raises:
        MembersError: one network alone, or unequally many of the folds.
    """

    networks: int
    folds: int = 1

    def __post_init__(self) -> None:
        if self.networks < 2 or self.folds < 1 or self.networks % self.folds:
            raise MembersError(
                f"{self.networks} network{'' if self.networks == 1 else 's'} of {self.folds} "
                f"fold{'' if self.folds == 1 else 's'} are no ensemble: it has two networks or "
                "more, equally many of each fold."
            )

    @property
    def of_fold(self) -> int:
        """How many networks are of each fold; those of the test fold are the first."""
        return self.networks // self.folds

    @property
    def saw_all(self) -> bool:
        """Whether every lesion of the data set was seen by some of the networks."""
        return self.folds > 1

    @property
    def words(self) -> str:
        """``3 networks of different seeds``, or of which folds they are."""
        if not self.saw_all:
            return f"{self.networks} networks of different seeds, trained on the same patients"
        each = "" if self.of_fold == 1 else f", {self.of_fold} of each"
        return f"{self.networks} networks of {self.folds} folds{each}"


def joined(members: Sequence[Tensors]) -> dict[str, npt.NDArray[Any]]:
    """Several networks' tensors under one roof: ``members.0.conv1.weight``; of one, as they are.

    Raises:
        MembersError: no network, or networks whose tensors differ in name or shape.
    """
    if not members:
        raise MembersError("An ensemble of no network says nothing.")
    refuse_unequal(members)
    if len(members) == 1:
        return dict(members[0])
    return {
        f"members.{place}.{name}": tensor
        for place, member in enumerate(members)
        for name, tensor in member.items()
    }


def parted(tensors: Tensors) -> list[dict[str, npt.NDArray[Any]]]:
    """The inverse of ``joined``: each network's tensors; of a single network a list of one.

    Raises:
        MembersError: tensors of members beside others, a member that is missing, or one that
            differs from the others in name or shape.
    """
    found: dict[int, dict[str, npt.NDArray[Any]]] = {}
    for name, tensor in tensors.items():
        match = _MEMBER.fullmatch(name)
        if match:
            found.setdefault(int(match[1]), {})[match[2]] = tensor
    if not found:
        return [dict(tensors)]
    if sum(map(len, found.values())) != len(tensors):
        raise MembersError("Some tensors are of members of an ensemble, and others of none.")
    if sorted(found) != list(range(len(found))):
        raise MembersError(
            f"Of an ensemble the members {', '.join(map(str, sorted(found)))} are there, counted "
            "from 0; others are missing."
        )
    members = [found[place] for place in range(len(found))]
    refuse_unequal(members)
    return members


def refuse_unequal(members: Sequence[Tensors]) -> None:
    """Nothing for networks of one architecture and as many classes; else MembersError."""
    shapes = [{name: tensor.shape for name, tensor in member.items()} for member in members]
    for place, own in enumerate(shapes[1:], 1):
        name = next(
            (key for key in sorted({*own, *shapes[0]}) if own.get(key) != shapes[0].get(key)), None
        )
        if name is not None:
            raise MembersError(
                f"The networks of an ensemble must be alike; member {place} differs from member 0 "
                f"in {name}: {_told(own.get(name))} and {_told(shapes[0].get(name))}."
            )


def _told(shape: tuple[int, ...] | None) -> str:
    return "not there" if shape is None else " × ".join(map(str, shape)) or "one number"
