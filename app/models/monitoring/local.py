"""The local test: a checkpoint's answers beside what is known of the site's own lesions since.

Of a lesion there is one answer of a checkpoint, the first and only one. Its class is that of the
review that stands and comes first: pathology before all else, then the newest. A review by imaging
alone counts only where it is asked for, and never where its reviewer saw a score: a class that
followed the network's would confirm the network. Who changed theirs after the score is taken at
their word of before.

Lesions of patients who are in the data set that the checkpoint was trained on are left out, all of
them: a network knows whom it has seen.
"""

from __future__ import annotations

import uuid
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.db import in_parts
from app.models.cases.case import Case, Image
from app.models.cases.prediction import Prediction
from app.models.cases.review import CANNOT_TELL, Basis
from app.models.checkpoint import Checkpoint
from app.models.monitoring.given import Given, blind, chains
from app.models.monitoring.scope import Scope, members
from app.models.runs.dataset import DatasetVersion
from ml.images.ct_slice import ImageKind
from ml.statistics.figure import Figure
from ml.trust.local import Known, LocalTest, share, share_of

MOST = 1000
"""Lesions that are tested on: the ones reviewed last. More would tell little and take long."""
MOST_VALUES = 8
"""Phases, or scanners, that are told: those of the most patients."""
_NOT_TOLD = "not told"
_REASONS = ("trained", "imaging", "seen", "other")
_SEED = 20181210


class Standard(StrEnum):
    """What a lesion's class must rest on."""

    CONFIRMED = "confirmed"
    """Pathology or follow-up."""
    ANY = "any"
    """Also imaging alone, where no score was in sight."""


STANDARDS: Mapping[Standard, str] = {
    Standard.CONFIRMED: "pathology or follow-up",
    Standard.ANY: "also imaging only, given before a score was seen",
}
"""In words for people."""


class Trained(StrEnum):
    """What is known of the checkpoint's own training data here."""

    HERE = "here"
    """The data set is a version of this installation: its patients are known."""
    PARTLY = "partly"
    """The same, and some of its patients' data were deleted since: who they were is not known."""
    ELSEWHERE = "elsewhere"
    """The data set is not kept here: whose lesions were in it is not known."""
    OTHER_KIND = "other_kind"
    """It was trained on phantoms and tried on patients, or the other way round."""


@dataclass(frozen=True)
class LeftOut:
    """Scored and reviewed lesions on which nothing was tested, by the first reason that holds.

    Attributes:
        other: their reviews, or that which comes first, say other, cannot tell, or a class that
            the checkpoint does not know.
        imaging: reviewed by imaging alone, which was not asked for.
        seen: reviewed by imaging alone, with a score in sight.
        trained: of patients in the checkpoint's own training data.
        older: beyond the `MOST` that were reviewed last.
    """

    other: int
    imaging: int
    seen: int
    trained: int
    older: int


@dataclass(frozen=True)
class Subgroup:
    """Lesions of one phase or one scanner."""

    group: str
    value: str
    n_lesions: int
    n_patients: int
    right: Figure
    sensitivity: Mapping[str, Figure]


@dataclass(frozen=True)
class Local:
    """The local test.

    Attributes:
        basis: how many lesions' classes rest on what.
        disagreed: lesions of which reviews that stand, and count, name different classes.
        subgroups: by phase, then by scanner.
        values_left_out: how many further phases or scanners have fewer patients than those told.
    """

    standard: Standard
    trained: Trained
    left_out: LeftOut
    basis: Mapping[str, int]
    disagreed: int
    test: LocalTest
    subgroups: tuple[Subgroup, ...]
    values_left_out: int

    @classmethod
    def of(
        cls, session: Session, scope: Scope, given: Sequence[Given], standard: Standard
    ) -> Local:
        """On all that is watched."""
        keys = scope.checkpoint.scheme.keys
        trained, patients = _trained(session, scope.checkpoint, scope.kind)
        truths, left = _truths(given, keys, standard, patients)
        chosen = sorted(truths, key=lambda one: one.at, reverse=True)[:MOST]
        known, groups = _known(session, scope, chosen, keys)
        subgroups, further = _subgroups(known, groups)
        return cls(
            standard=standard,
            trained=trained,
            left_out=LeftOut(
                left["other"], left["imaging"], left["seen"], left["trained"],
                len(truths) - len(chosen),
            ),
            basis=dict(Counter(one.basis.value for one in chosen)),
            disagreed=sum(one.disagreed for one in chosen),
            test=LocalTest.of(known, _SEED),
            subgroups=subgroups,
            values_left_out=further,
        )  # fmt: skip


@dataclass(frozen=True)
class _Truth:
    lesion: uuid.UUID
    lesion_class: str
    basis: Basis
    disagreed: bool
    at: datetime


def _trained(
    session: Session, checkpoint: Checkpoint, kind: ImageKind
) -> tuple[Trained, frozenset[str]]:
    """Whether the checkpoint can have seen lesions of this kind here, and which patients."""
    if (checkpoint.training_kind == ImageKind.PHANTOM) != (kind == ImageKind.PHANTOM):
        return Trained.OTHER_KIND, frozenset()
    found = DatasetVersion.by_digest(session, [checkpoint.dataset_digest])
    if not found:
        return Trained.ELSEWHERE, frozenset()
    version = found[checkpoint.dataset_digest]
    return Trained.PARTLY if version.remains else Trained.HERE, version.whose(session)


def _truths(
    given: Sequence[Given], keys: tuple[str, ...], standard: Standard, trained: frozenset[str]
) -> tuple[list[_Truth], Counter[str]]:
    """Lesions with a class that counts, and how many have none for which reason."""
    before = _last_blind(given)
    counting: dict[str, list[Given]] = {}
    reasons: defaultdict[str, set[str]] = defaultdict(set)
    beyond: dict[str, bool] = {}  # lesion → whether the review that comes first names no class here
    for review in given:
        if not review.stands:
            continue
        # who sees the score changes to it rather than from it: what they gave before counts
        one = review
        if review.basis == Basis.IMAGING:
            one = before.get((review.lesion, review.by), review)
        if one.patient in trained:
            reasons[one.lesion].add("trained")
        elif one.lesion_class == CANNOT_TELL:
            reasons[one.lesion].add("other")
        elif one.basis == Basis.IMAGING and one.visible:
            reasons[one.lesion].add("seen")
        elif one.basis == Basis.IMAGING and standard is Standard.CONFIRMED:
            reasons[one.lesion].add("imaging")
        elif one.lesion_class not in keys:
            reasons[one.lesion].add("other")
            beyond.setdefault(one.lesion, one.lesion not in counting)
        else:
            counting.setdefault(one.lesion, []).append(one)
    # what is no class here by the review that comes first has none by a lesser one
    others = {lesion for lesion, is_first in beyond.items() if is_first}
    counting = {lesion: told for lesion, told in counting.items() if lesion not in others}
    left = Counter(
        "other" if lesion in others else next(one for one in _REASONS if one in told)
        for lesion, told in reasons.items()
        if lesion not in counting
    )
    return [
        _Truth(
            uuid.UUID(str(lesion)),
            told[0].lesion_class,
            told[0].basis,
            lesion in beyond or len({one.lesion_class for one in told}) > 1,
            told[0].at,
        )
        for lesion, told in counting.items()
    ], left


def _last_blind(given: Sequence[Given]) -> dict[tuple[str, str], Given]:
    """The last that each person gave of each lesion by imaging alone, before they saw a score."""
    found = {}
    for chain in chains(given):
        for one in blind(chain):
            if one.basis == Basis.IMAGING:
                found[one.lesion, one.by] = one
    return found


def _known(
    session: Session, scope: Scope, truths: Sequence[_Truth], keys: tuple[str, ...]
) -> tuple[Known, dict[str, list[str]]]:
    """The lesions with what was said of them, and the phase and scanner of each."""
    said = Prediction.said
    told = {one.lesion: one for one in truths}
    columns = sa.select(
        Prediction.lesion_id,
        Prediction.probabilities,
        said["calibrated"].as_boolean(),
        said[("prediction_set", "level")].as_float(),
        said[("prediction_set", "classes")],
        Case.whose(),
        Case.contrast_phase,
        Image.tags["Manufacturer"].as_string(),
        Image.tags["ManufacturerModelName"].as_string(),
    )
    rows = [
        row
        for some in in_parts(list(told))
        for row in session.execute(scope.within(columns).where(Prediction.lesion_id.in_(some)))
    ]
    rows.sort(key=lambda row: str(row[0]))  # the same draws, whatever the order of the database
    return Known(
        labels=np.asarray([keys.index(told[row[0]].lesion_class) for row in rows], np.int64),
        probabilities=np.asarray(
            [[row[1][key] for key in keys] for row in rows], np.float64
        ).reshape(-1, len(keys)),
        patients=members([row[5] for row in rows]),
        calibrated=np.asarray([bool(row[2]) for row in rows], bool),
        levels=np.asarray([np.nan if row[3] is None else row[3] for row in rows], np.float64),
        inside=np.asarray([[key in (row[4] or ()) for key in keys] for row in rows], bool).reshape(
            -1, len(keys)
        ),
        classes=keys,
    ), {
        "phase": [row[6] for row in rows],
        "scanner": [scanner(row[7], row[8]) for row in rows],
    }


def scanner(manufacturer: str | None, model: str | None) -> str:
    """Manufacturer and model as one name."""
    return " ".join(part for part in (manufacturer, model) if part) or _NOT_TOLD


def _subgroups(
    known: Known, groups: Mapping[str, Sequence[str]]
) -> tuple[tuple[Subgroup, ...], int]:
    found, further = [], 0
    for group, values in groups.items():
        each = np.asarray(values, dtype=object)
        own = [
            _subgroup(known, group, value, np.asarray(each == value, bool)) for value in set(values)
        ]
        own.sort(key=lambda one: (-one.n_patients, one.value))
        found += own[:MOST_VALUES]
        further += len(own[MOST_VALUES:])
    return tuple(found), further


def _subgroup(known: Known, group: str, value: str, chosen: npt.NDArray[np.bool_]) -> Subgroup:
    own = known.only(chosen)
    return Subgroup(
        group=group,
        value=value,
        n_lesions=len(own.labels),
        n_patients=own.n_patients,
        right=share(own.right, own.patients),
        sensitivity={
            key: share_of(own.right, own.labels == place, own.patients)
            for place, key in enumerate(known.classes)
        },
    )
