"""What an erasure takes with it, counted before it is begun; and what stands in its way."""

from __future__ import annotations

import hashlib
import uuid
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.db import in_parts
from app.errors import Conflict, NotFound
from app.models.cases.case import Case, Image, Series
from app.models.cases.lesion import Lesion
from app.models.cases.marking import Marking
from app.models.cases.measure import Measure
from app.models.cases.prediction import Prediction
from app.models.cases.review import Review
from app.models.checkpoint import Checkpoint
from app.models.ground.blob import Blob
from app.models.jobs.returned_object import ReturnedObject
from app.models.reader_studies.protocol import Protocol
from app.models.reader_studies.stimulus import Stimulus
from app.models.reader_studies.study import ReaderStudy
from app.models.reader_studies.unblinding import Unblinding
from app.models.runs.dataset import DatasetVersion
from app.models.runs.run import Run
from app.models.study_results.analysis import Analysis

Ids = Sequence[uuid.UUID]
Held = Sequence[tuple[DatasetVersion, Mapping[str, uuid.UUID]]]
"""Frozen versions that hold lesions, each with the ids of its lines about them and the lesion of
each."""


@dataclass(frozen=True)
class FromVersion:
    """ROIs that go out of a frozen data set, whose name, digest and counts stay."""

    name: str
    digest: str
    rois: int


@dataclass(frozen=True)
class FromCheckpoint:
    """Lesions that a checkpoint kept to compare with, and keeps no longer."""

    name: str
    lesions: int


@dataclass(frozen=True)
class FromStudy:
    """Pictures that a finished reader study loses; its answers and numbers stay."""

    study: str
    title: str
    pictures: int


@dataclass(frozen=True)
class Extent:
    """Everything that goes, in numbers; no name and no key of a patient is in it.

    Attributes:
        pixel_bytes: of images, as they are stored.
        ways_back: cases that could be answered to the PACS that they came from.
        returned: objects that were sent to a PACS, where they stay; ``unsent`` go.
        other_cases: of the same patients, which stay.
        shared: stored pixels that another case has too, which stay.
        objects_sha256: SHA-256 over the digests of the stored objects that go, in order, one a
            line: who has all of them can tell that it was these. "" where none goes.
    """

    cases: int = 0
    series: int = 0
    images: int = 0
    pixel_bytes: int = 0
    lesions: int = 0
    reviews: int = 0
    measures: int = 0
    predictions: int = 0
    markings: int = 0
    ways_back: int = 0
    returned: int = 0
    unsent: int = 0
    versions: tuple[FromVersion, ...] = ()
    runs: tuple[str, ...] = ()
    checkpoints: tuple[FromCheckpoint, ...] = ()
    studies: tuple[FromStudy, ...] = ()
    objects_sha256: str = ""
    other_cases: int = 0
    shared: int = 0

    @property
    def touches_others(self) -> bool:
        """Whether a data set or a reader study loses something."""
        return bool(self.versions or self.studies)

    @classmethod
    def of(cls, session: Session, cases: Ids, studies: Ids = ()) -> Extent:
        """Of these cases, and of the pictures of these studies."""
        lesions = lesions_of(session, cases)
        versions = held_by(session, lesions)
        digests = {version.digest for version, _ in versions}
        pictures = pictures_of(session, lesions, studies)
        objects, pixel_bytes, shared = _pixels(session, cases)
        objects |= {digest for some in pictures.values() for digest in some}
        known = {one.id: one for one in _studies(session, pictures)}
        within_cases = Series.case_id, Lesion.case_id
        return cls(
            cases=len(cases),
            series=_number(session, Series.id, within_cases[0], cases),
            images=_images(session, cases),
            pixel_bytes=pixel_bytes,
            lesions=len(lesions),
            reviews=_number(session, Review.id, Review.lesion_id, lesions),
            measures=_number(session, Measure.id, Measure.lesion_id, lesions),
            predictions=_number(session, Prediction.id, Prediction.lesion_id, lesions),
            markings=len(markings_of(session, cases)),
            ways_back=_number(session, Case.id, Case.id, cases, Case.link.is_not(None)),
            returned=_number(
                session, ReturnedObject.id, ReturnedObject.case_id, cases,
                ReturnedObject.state == "sent",
            ),
            unsent=_number(
                session, ReturnedObject.id, ReturnedObject.case_id, cases,
                ReturnedObject.state == "waiting",
            ),
            versions=tuple(
                FromVersion(version.name, version.digest, len(ids)) for version, ids in versions
            ),
            runs=tuple(
                run.short_name
                for run in runs_on(session, [version.id for version, _ in versions])
                if run.report_digest is not None
            ),
            checkpoints=_checkpoints(session, versions, digests),
            studies=tuple(
                FromStudy(str(one), known[one].title, len(some)) for one, some in pictures.items()
            ),
            objects_sha256=_together(objects),
            other_cases=_others(session, cases),
            shared=shared,
        )  # fmt: skip


def cases_called(session: Session, pseudonym: str) -> list[Case]:
    """The cases of the patient who is called so, also those under another pseudonym; oldest first.

    Raises:
        NotFound: nobody is.
        Conflict: two patients are, so that it is not clear who is meant.
    """
    named = session.scalars(sa.select(Case).where(Case.pseudonym == pseudonym.strip())).all()
    if not named:
        raise NotFound("No case has this pseudonym. Nothing was deleted.")
    patients = {case.patient_hmac for case in named if case.patient_hmac}
    if len(patients) > 1:
        raise Conflict(
            f"{len(patients)} patients are called so: their cases came with different PatientIDs. "
            "Nothing was deleted. Give the cases of one of them another pseudonym first, on the "
            "page of each case."
        )
    others = sa.select(Case).where(Case.patient_hmac.in_(patients))
    found = {case.id: case for case in (*named, *session.scalars(others))}
    return sorted(found.values(), key=lambda case: (case.created_at, case.id))


def lesions_of(session: Session, cases: Ids) -> list[uuid.UUID]:
    """Every lesion of these cases, withdrawn ones too."""
    return [
        lesion
        for some in in_parts(cases)
        for lesion in session.scalars(sa.select(Lesion.id).where(Lesion.case_id.in_(some)))
    ]


def held_by(session: Session, lesions: Collection[uuid.UUID]) -> Held:
    """The frozen versions that hold any of them."""
    wanted = set(lesions)
    if not wanted:
        return []
    found = []
    for version in DatasetVersion.all(session):
        lines = {line: one for line, one in version.lesions(session).items() if one in wanted}
        if lines:
            found.append((version, lines))
    return found


def runs_on(session: Session, versions: Ids) -> list[Run]:
    """Every run on these versions."""
    return [
        run
        for some in in_parts(versions)
        for run in session.scalars(
            sa.select(Run).where(Run.dataset_id.in_(some)).order_by(Run.created_at)
        )
    ]


def pictures_of(
    session: Session, lesions: Collection[uuid.UUID], studies: Ids = ()
) -> dict[uuid.UUID, set[str]]:
    """Study → the digests of its pictures of these lesions, or of all where the study is named.

    Those that were erased before are left out; and of a named study those that another one shows
    too, which is not named.
    """
    found: dict[uuid.UUID, set[str]] = {}
    standing = (
        sa.select(Stimulus.study_id, Stimulus.pixels_digest)
        .join(Blob, Blob.digest == Stimulus.pixels_digest)
        .where(Blob.erased_at.is_(None))
    )
    for some in in_parts(list(lesions)):
        for study, digest in session.execute(standing.where(Stimulus.lesion_id.in_(some))):
            found.setdefault(study, set()).add(digest)
    for some in in_parts(studies):
        others = sa.orm.aliased(Stimulus)
        shared = sa.exists().where(
            others.pixels_digest == Stimulus.pixels_digest, others.study_id.not_in(list(studies))
        )
        whole = standing.where(Stimulus.study_id.in_(some), ~shared)
        for study, digest in session.execute(whole):
            found.setdefault(study, set()).add(digest)
    return found


def markings_of(session: Session, cases: Ids) -> list[uuid.UUID]:
    """Objects that mark lesions of these cases, or wait for images of patients of whom no other
    case stays."""
    found: set[uuid.UUID] = set()
    going = set(cases)
    for some in in_parts(cases):
        of = sa.select(Case.uid, Case.patient_hmac).where(Case.id.in_(some))
        told = session.execute(of).all()
        uids = [row.uid for row in told if row.uid]
        patients = {row.patient_hmac for row in told if row.patient_hmac}
        everybody = sa.select(Case.id, Case.patient_hmac).where(Case.patient_hmac.in_(patients))
        patients -= {row.patient_hmac for row in session.execute(everybody) if row.id not in going}
        found |= set(
            session.scalars(
                sa.select(Marking.id).where(
                    sa.or_(Marking.study_uid.in_(uids), Marking.patient_hmac.in_(patients))
                )
            )
        )
    return sorted(found)


def hindrances(
    session: Session, cases: Ids, studies: Ids = (), held: Held | None = None
) -> list[str]:
    """What stands in the way of an erasure, in sentences that say what to do.

    Args:
        held: what frozen versions hold of the cases, where that is known.
    """
    lesions = lesions_of(session, cases)
    told: list[str] = []
    shown = pictures_of(session, lesions, studies)
    for study in _studies(session, shown):
        told += _why_not(session, study, len(shown[study.id]))
    for version, _ in held_by(session, lesions) if held is None else held:
        alive = [run for run in runs_on(session, [version.id]) if not run.is_over]
        told += [
            f"The run {run.short_name} on {version.name} waits or is at work, and has a copy of "
            "the data set. Cancel it, or wait until it is over."
            for run in alive
        ]
    return told


def _why_not(session: Session, study: ReaderStudy, pictures: int) -> Iterable[str]:
    of = f"The reader study “{study.title}” shows {pictures} of the pictures"
    if session.scalar(sa.select(Protocol.id).where(Protocol.study_id == study.id).limit(1)) is None:
        return
    closed = session.scalar(sa.select(Unblinding).where(Unblinding.study_id == study.id))
    if closed is None:
        yield f"{of} and is being read. Unblind it first, which closes it."
    elif Analysis.kept(session, closed) is None:
        yield f"{of}, and was not analysed yet, which needs them. Open its results first."


def _studies(session: Session, ids: Collection[uuid.UUID]) -> list[ReaderStudy]:
    query = sa.select(ReaderStudy).where(ReaderStudy.id.in_(list(ids)))
    return list(session.scalars(query.order_by(ReaderStudy.created_at)))


def _number(
    session: Session,
    what: sa.orm.InstrumentedAttribute[uuid.UUID],
    within: sa.orm.InstrumentedAttribute[uuid.UUID],
    ids: Ids,
    *more: sa.ColumnElement[bool],
) -> int:
    return sum(
        session.execute(
            sa.select(sa.func.count(what)).where(within.in_(some), *more)
        ).scalar_one()
        for some in in_parts(ids)
    )  # fmt: skip


def _images(session: Session, cases: Ids) -> int:
    query = sa.select(sa.func.count(Image.id)).join(Series, Series.id == Image.series_id)
    return sum(
        session.execute(query.where(Series.case_id.in_(some))).scalar_one()
        for some in in_parts(cases)
    )


def _others(session: Session, cases: Ids) -> int:
    """How many other cases there are of the same patients, by PatientID or pseudonym."""
    found: set[uuid.UUID] = set()
    for some in in_parts(cases):
        of = sa.select(Case.pseudonym, Case.patient_hmac).where(Case.id.in_(some))
        told = session.execute(of).all()
        patients = {row.patient_hmac for row in told if row.patient_hmac}
        same = Case.pseudonym.in_({row.pseudonym for row in told}) | Case.patient_hmac.in_(patients)
        found |= set(session.scalars(sa.select(Case.id).where(same)))
    return len(found - set(cases))


def _together(digests: Collection[str]) -> str:
    if not digests:
        return ""
    return hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest()


def _pixels(session: Session, cases: Ids) -> tuple[set[str], int, int]:
    """The digests of the pixels that go with these cases, how many bytes they are, and how many
    stay because another case has them too."""
    sizes: dict[str, int] = {}
    for some in in_parts(cases, 50):
        rows = session.execute(
            sa.select(Blob.digest, Blob.size)
            .join(Image, Image.pixels_digest == Blob.digest)
            .join(Series, Series.id == Image.series_id)
            .where(Series.case_id.in_(some))
            .distinct()
        )
        sizes |= {row.digest: row.size for row in rows}
    going, every = set(cases), len(sizes)
    for part in in_parts(sorted(sizes)):
        having = sa.select(Image.pixels_digest, Series.case_id).join(Series).distinct()
        for digest, case in session.execute(having.where(Image.pixels_digest.in_(part))):
            if case not in going:
                sizes.pop(digest, None)
    return set(sizes), sum(sizes.values()), every - len(sizes)


def _checkpoints(
    session: Session,
    versions: Held,
    digests: Collection[str],
) -> tuple[FromCheckpoint, ...]:
    lines: Counter[str] = Counter()
    for version, ids in versions:
        lines[version.digest] = max(lines[version.digest], len(ids))
    rows = session.scalars(
        sa.select(Checkpoint)
        .where(Checkpoint.dataset_digest.in_(list(digests)))
        .order_by(Checkpoint.name)
    )
    return tuple(
        FromCheckpoint(row.name, lines[row.dataset_digest]) for row in rows if row.keeps_lesions
    )
