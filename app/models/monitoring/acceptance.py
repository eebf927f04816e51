"""How often radiologists give the network's class, apart by what they saw when they gave theirs.

A class that was given before any score was in sight is a look of its own, and how often it is the
network's is agreement. A class given with the score in sight tells how often the answer was taken:
who sees an answer tends to follow it, a wrong one too, so that is no accuracy. Whether somebody had
met the network's class elsewhere, in a report or in the PACS, is not known here.

Nothing is told by person: this is about the network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

from app.models.cases.review import CANNOT_TELL, OTHER
from app.models.monitoring.given import Given, blind, chains
from app.models.monitoring.scope import members
from ml.statistics import agreement
from ml.statistics.figure import Figure
from ml.trust import conformal
from ml.trust.local import LEAST, few, share, share_of

Bools = npt.NDArray[np.bool_]

_SEED = 20181210
"""Of the draw of one lesion a patient."""
KAPPA = "Cohen κ, delta method, one lesion a patient"


@dataclass(frozen=True)
class Pair:
    """One person's classes of one lesion, beside the network's.

    Attributes:
        called: the network's class.
        blind: the last that they gave without any score in sight; None: there is none.
        shown: the first that they gave with this network's score in sight, of who had given none
            before; None: there is none.
        stands: the last class that they gave on the basis of the blind one.
    """

    patient: str
    scored_at: datetime
    called: str
    blind: str | None
    shown: str | None
    stands: str


@dataclass(frozen=True)
class Agreed:
    """How often classes were the network's.

    Attributes:
        given: how many classes, a lesion's by several persons each counted.
        cannot_tell: how many answers "cannot tell" were left out of it.
        agreed: share of them that were the network's class; "other" never is.
        kappa: beyond chance.
        of_called, of_given: the same share by the network's class, and by the radiologist's.
    """

    given: int
    patients: int
    cannot_tell: int
    agreed: Figure
    kappa: Figure
    of_called: Mapping[str, Figure]
    of_given: Mapping[str, Figure]


@dataclass(frozen=True)
class Changed:
    """What became of classes that were given blind, once the score was uncovered.

    Attributes:
        to_network: of those that were not the network's, the share that was changed to it …
        to_another: … and to a third class.
        left_network: of those that were the network's, the share that was changed to another.
    """

    to_network: Figure
    to_another: Figure
    left_network: Figure


@dataclass(frozen=True)
class Acceptance:
    """Agreement by what was in sight; ``elsewhere`` counts persons' classes that belong to
    neither, since another network's score was in sight."""

    blind: Agreed
    shown: Agreed
    changed: Changed
    elsewhere: int

    @classmethod
    def of(cls, pairs: Sequence[Pair], classes: Sequence[str]) -> Acceptance:
        """Of persons' classes beside a network that knows ``classes``."""
        before = [(one.patient, one.called, one.blind) for one in pairs if one.blind is not None]
        shown = [(one.patient, one.called, one.shown) for one in pairs if one.shown is not None]
        return cls(
            _agreed(before, classes),
            _agreed(shown, classes),
            _changed(
                [
                    one
                    for one in pairs
                    if one.blind not in (None, CANNOT_TELL) and one.stands != CANNOT_TELL
                ]
            ),
            sum(one.blind is None and one.shown is None for one in pairs),
        )


def pairs(given: Sequence[Given]) -> list[Pair]:
    """Every person's classes of every lesion."""
    found = []
    for chain in chains(given):
        first, before = chain[0], blind(chain)
        shown = first.visible and first.at >= first.scored_at
        # a class that pathology or follow-up changed later says nothing of the score
        basis = before[-1].basis if before else first.basis
        found.append(
            Pair(
                patient=first.patient,
                scored_at=first.scored_at,
                called=first.called,
                blind=before[-1].lesion_class if before else None,
                shown=first.lesion_class if shown else None,
                stands=[one.lesion_class for one in chain if one.basis == basis][-1],
            )
        )
    return found


def agreed_blind(some: Sequence[Pair]) -> Figure:
    """Agreement of the classes that were given blind."""
    told = [one for one in some if one.blind not in (None, CANNOT_TELL)]
    hits = np.asarray([one.blind == one.called for one in told], bool)
    return share(hits, members([one.patient for one in told]))


def _agreed(given: Sequence[tuple[str, str, str]], classes: Sequence[str]) -> Agreed:
    told = [one for one in given if one[2] != CANNOT_TELL]
    patients = members([one[0] for one in told])
    called = np.asarray([one[1] for one in told], dtype=object)
    own = np.asarray([one[2] if one[2] in classes else OTHER for one in told], dtype=object)
    hits = np.asarray(called == own, bool)

    def by(values: npt.NDArray[np.object_]) -> dict[str, Figure]:
        return {key: share_of(hits, np.asarray(values == key, bool), patients) for key in classes}

    return Agreed(
        given=len(told),
        patients=len(np.unique(patients)),
        cannot_tell=len(given) - len(told),
        agreed=share(hits, patients),
        kappa=_kappa(called, own, patients, classes),
        of_called=by(called),
        of_given=by(own),
    )


def _kappa(
    called: npt.NDArray[np.object_],
    own: npt.NDArray[np.object_],
    patients: npt.NDArray[np.int64],
    classes: Sequence[str],
) -> Figure:
    count = len(np.unique(patients))
    if count < LEAST:
        return few(count, LEAST)
    chosen = conformal.one_each(patients, np.zeros_like(patients), _SEED)
    found = agreement.cohen(called[chosen].tolist(), own[chosen].tolist(), [*classes, OTHER]).kappa
    return Figure(found.value, found.low, found.high, found.n, KAPPA, found.note)


def _changed(given: Sequence[Pair]) -> Changed:
    patients = members([one.patient for one in given])
    agreed = np.asarray([one.blind == one.called for one in given], bool)
    to_network = np.asarray([one.stands == one.called for one in given], bool)
    kept = np.asarray([one.stands == one.blind for one in given], bool)

    return Changed(
        to_network=share_of(to_network, ~agreed, patients),
        to_another=share_of(~to_network & ~kept, ~agreed, patients),
        left_network=share_of(~to_network, agreed, patients),
    )
