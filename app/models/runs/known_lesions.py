"""Pools: the lesions with a known class and the generators that a reader study can draw from."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy
import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.models.cases.case import Case, Image
from app.models.cases.lesion import Lesion
from app.models.cases.review import BASES, CANNOT_TELL, Review
from app.models.checkpoint import Checkpoint
from ml.checkpoints.checkpoint import CheckpointKind
from ml.images.ct_slice import ImageKind
from ml.lesion import LesionScheme

KINDS: Mapping[str, str] = {
    ImageKind.PHANTOM: "phantom (simulated CT)",
    ImageKind.CALIBRATED: "CT in Hounsfield units",
    ImageKind.UNCALIBRATED: "grey values without Hounsfield units",
}
"""Kind of image → words for people."""


_ASKED_AT_ONCE = 1000


@dataclass(frozen=True)
class KnownLesion:
    """A lesion whose class is known, by the review or the dataset version that says so."""

    id: uuid.UUID
    case_id: uuid.UUID
    patient: str
    kind: ImageKind
    lesion_class: str
    basis: str


@dataclass(frozen=True)
class ClassCount:
    """What there is of one class and kind."""

    lesion_class: str
    display: str
    lesions: int
    patients: int
    generators: tuple[str, ...]


@dataclass(frozen=True)
class KnownLesions:
    """Known lesions and served generators under one scheme.

    ``withdrawn``: how many frozen lesions were withdrawn since, and so are not in it.
    """

    scheme: LesionScheme
    lesions: tuple[KnownLesion, ...]
    generators: tuple[Checkpoint, ...]
    withdrawn: int = 0

    @staticmethod
    def schemes(session: Session) -> dict[str, LesionScheme]:
        """The schemes that served checkpoints know, by name."""
        rows = Checkpoint.served(session, CheckpointKind.GENERATOR) + Checkpoint.served(
            session, CheckpointKind.CLASSIFIER
        )
        return {row.scheme.name: row.scheme for row in rows}

    @classmethod
    def of(
        cls,
        session: Session,
        scheme: LesionScheme,
        without_cases: Collection[uuid.UUID] = (),
        without_lesions: Collection[uuid.UUID] = (),
        frozen: Mapping[uuid.UUID, str] | None = None,
    ) -> KnownLesions:
        """What the database holds under ``scheme``, but for the cases and lesions named.

        With ``frozen``, lesion → class as dataset versions have it, those lesions and no others.
        """
        generators = [
            row
            for row in Checkpoint.served(session, CheckpointKind.GENERATOR)
            if row.scheme.keys == scheme.keys and row.lesion_class in scheme.keys
        ]
        known = (
            _known_lesions(session, scheme) if frozen is None else _frozen_lesions(session, frozen)
        )
        kept = tuple(
            item
            for item in known
            if item.case_id not in without_cases and item.id not in without_lesions
        )
        gone = 0 if frozen is None else len(frozen) - len(known)
        return cls(scheme, kept, tuple(generators), gone)

    def of_kind(self, kind: str) -> tuple[KnownLesion, ...]:
        """The lesions on images of one kind, a key of ``KINDS``."""
        return tuple(item for item in self.lesions if item.kind == kind)

    def counts(self, kind: str) -> list[ClassCount]:
        """Per class of the scheme: lesions, their patients, and who can draw it."""
        counts = []
        for item in self.scheme.classes:
            lesions = [one for one in self.of_kind(kind) if one.lesion_class == item.key]
            drawing = [
                row.name
                for row in self.generators
                if row.training_kind == kind and row.lesion_class == item.key
            ]
            counts.append(
                ClassCount(
                    item.key,
                    item.display,
                    len(lesions),
                    len({one.patient for one in lesions}),
                    tuple(drawing),
                )
            )
        return counts


def _lesions() -> sa.Select[uuid.UUID, uuid.UUID, str | None, str, bool, bool]:
    """Lesions that stand, with what says whose they are and of which kind."""
    return (
        sa.select(
            Lesion.id,
            Case.id,
            Case.patient_hmac,
            Case.pseudonym,
            Image.phantom,
            Image.calibrated,
        )
        .join(Image, Image.id == Lesion.image_id)
        .join(Case, Case.id == Lesion.case_id)
        .where(Lesion.withdrawn_at.is_(None))
    )


def _known_lesions(session: Session, scheme: LesionScheme) -> list[KnownLesion]:
    """Every lesion with a class, by its newest review that stands; pathology before the others.

    One that cannot tell leaves the class to the others; one that names another than the scheme's
    does not: such a lesion has none here.
    """
    rows = session.execute(
        _lesions()
        .add_columns(Review.lesion_class, Review.basis)
        .join(Review, Review.lesion_id == Lesion.id)
        .where(
            Review.lesion_class != CANNOT_TELL,
            Review.stands(),
        )
        .order_by(*Review.precedence())
    )
    known: dict[uuid.UUID, KnownLesion] = {}
    seen: set[uuid.UUID] = set()
    for lesion_id, case_id, hmac, pseudonym, phantom, calibrated, lesion_class, basis in rows:
        if lesion_id in seen:
            continue
        seen.add(lesion_id)
        if lesion_class not in scheme.keys:
            continue
        patient, kind = _patient_and_kind(hmac, pseudonym, phantom, calibrated)
        known[lesion_id] = KnownLesion(
            lesion_id, case_id, patient, kind, lesion_class, BASES[basis]
        )
    return sorted(known.values(), key=lambda item: str(item.id))


def _frozen_lesions(session: Session, frozen: Mapping[uuid.UUID, str]) -> list[KnownLesion]:
    """The lesions of dataset versions that stand, each with its frozen class."""
    known = []
    ids = list(frozen)
    for start in range(0, len(ids), _ASKED_AT_ONCE):
        some = ids[start : start + _ASKED_AT_ONCE]
        rows = session.execute(_lesions().where(Lesion.id.in_(some)))
        for lesion_id, case_id, hmac, pseudonym, phantom, calibrated in rows:
            patient, kind = _patient_and_kind(hmac, pseudonym, phantom, calibrated)
            known.append(
                KnownLesion(lesion_id, case_id, patient, kind, frozen[lesion_id], "dataset version")
            )
    return sorted(known, key=lambda item: str(item.id))


def _patient_and_kind(
    hmac: str | None, pseudonym: str, phantom: bool, calibrated: bool
) -> tuple[str, ImageKind]:
    kind = (
        ImageKind.PHANTOM
        if phantom
        else ImageKind.CALIBRATED
        if calibrated
        else ImageKind.UNCALIBRATED
    )
    return hmac or f"pseudonym:{pseudonym}", kind


def one_per_patient(
    lesions: Sequence[KnownLesion], wanted: dict[str, int], rng: np.random.Generator
) -> list[KnownLesion]:
    """``wanted`` lesions of each class, at random, from as many different patients as possible.

    A largest matching of places to patients (Hopcroft & Karp 1973); places that no further
    patient can fill get another lesion of a patient already in. The caller has checked that there
    are enough lesions of each class.
    """
    shuffled = [lesions[index] for index in rng.permutation(len(lesions))]
    by_class: dict[str, dict[str, list[KnownLesion]]] = {key: {} for key in wanted}
    for item in shuffled:
        if item.lesion_class in by_class:
            by_class[item.lesion_class].setdefault(item.patient, []).append(item)
    places = [key for key, count in wanted.items() for _ in range(count)]
    patients = list(dict.fromkeys(item.patient for item in shuffled))
    column = {patient: index for index, patient in enumerate(patients)}
    edges = [
        (place, column[patient]) for place, key in enumerate(places) for patient in by_class[key]
    ]
    matched = _matching(edges, len(places), len(patients))
    chosen: list[KnownLesion] = []
    unfilled: list[str] = []
    for place, key in enumerate(places):
        if matched[place] < 0:
            unfilled.append(key)
        else:
            chosen.append(by_class[key][patients[matched[place]]][0])
    taken = {item.id for item in chosen}
    for key in unfilled:
        item = next(one for one in shuffled if one.lesion_class == key and one.id not in taken)
        taken.add(item.id)
        chosen.append(item)
    return chosen


def _matching(edges: list[tuple[int, int]], rows: int, columns: int) -> npt.NDArray[Any]:
    """For each row the column matched to it, or −1."""
    if not edges:
        return np.full(rows, -1)
    places, patients = zip(*edges, strict=True)
    graph = scipy.sparse.csr_array(
        (np.ones(len(edges), np.int8), (places, patients)), shape=(rows, columns)
    )
    matched: npt.NDArray[Any] = scipy.sparse.csgraph.maximum_bipartite_matching(
        graph, perm_type="column"
    )
    return matched


def balanced(count: int, counts: Sequence[ClassCount], order: Sequence[str]) -> dict[str, int]:
    """``count`` spread over the classes as evenly as can be.

    What does not divide goes to the classes first in ``order`` that have patients, else lesions,
    to spare.
    """
    base, extra = divmod(count, len(counts))
    known = {item.lesion_class: item for item in counts}

    def spare(key: str) -> int:
        item = known[key]
        return 0 if item.patients > base else 1 if item.lesions > base else 2

    favoured = sorted(order, key=spare)[:extra]
    return {item.lesion_class: base + (item.lesion_class in favoured) for item in counts}
