"""Erasing: what was begun is done part by part, each in a transaction of its own.

Between two parts everybody else can write, and a process may be killed: whoever goes on finds what
is left. First goes what was made of the cases (data sets' ROIs, what checkpoints and reports keep
of them, studies' pictures), then what names them, then case after case: its rows at once, so that
none is seen by half, and its pixels after them.
"""

from __future__ import annotations

import logging
import shutil
import uuid
from collections.abc import Iterator, Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.db import Database, in_parts
from app.errors import AppError, NotFound, Unavailable
from app.models.cases.case import Case, Image, Series, drop_pixels
from app.models.cases.marking import Marking
from app.models.checkpoint import Checkpoint
from app.models.erasures.erasure import Erasure
from app.models.erasures.extent import (
    Extent,
    held_by,
    hindrances,
    lesions_of,
    markings_of,
    pictures_of,
    runs_on,
)
from app.models.ground.blob import Blob
from app.models.ground.event import Event
from app.models.jobs.job import Job
from app.models.jobs.kept_answer import KeptAnswer
from app.models.jobs.returned_object import ReturnedObject
from app.models.runs.dataset import DatasetVersion
from app.operation.register import Register
from app.settings import Settings
from ml.ground import records
from ml.progress import Progress

log = logging.getLogger("hepatica.clerk")

AT_ONCE_BYTES = 16_000_000
"""Stored bytes that one transaction deletes at most, a single larger object apart: SQLite writes
zeros over each, and nobody else writes meanwhile."""
AT_ONCE = 100


class Erasing:
    """Goes on with what was begun, until it is told to stop."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self.register = Register(settings.deletions_file)
        self._runs_dir = settings.runs_dir
        self._now: Iterator[Progress] | None = None

    def act(self, by: str) -> bool:
        """Do one part of what is under way; False when nothing can be done."""
        if self._now is None:
            self._now = self._everything(by)
        try:
            next(self._now)
        except StopIteration:
            self._now = None
            return False
        except BaseException:
            self._now = None
            raise
        return True

    def _everything(self, by: str) -> Iterator[Progress]:
        with self._database.reading() as session:
            begun = Erasure.unfinished(session)
        for erasure_id in begun:
            try:
                yield from self.run(erasure_id, by)
            except AppError as refusal:
                if not (isinstance(refusal, Unavailable) and refusal.logged):
                    log.error("Deletion %s waits: %s", erasure_id, refusal.detail)

    def waits_for(self, session: Session, erasure: Erasure) -> list[str]:
        """Why it does not go on, as sentences; none: it does, or has ended."""
        if erasure.ended_at is not None:
            return []
        try:
            self.register.refuse_unusable()
        except AppError as refusal:
            return [refusal.detail]
        return hindrances(session, self._left(session, erasure), erasure.study_ids)

    def run(self, erasure_id: uuid.UUID, by: str) -> Iterator[Progress]:
        """Do all that is left of one.

        Nothing is done where something came in its way since it was begun, such as a study that a
        restored backup has open again; it is asked again later.

        Raises:
            Unavailable: the register cannot be written, or the database does not do its part.
        """
        with self._database.reading() as session:
            erasure = Erasure.require(session, erasure_id)
            if erasure.ended_at is not None or self.waits_for(session, erasure):
                return
            if not self.register.holds(erasure_id):  # all of it is here yet, and no more can come
                self._count(session, erasure)
            self.register.note(erasure)
            cases, total = self._left(session, erasure), len(erasure.cases) + 1
            studies, done = erasure.study_ids, len(erasure.cases) - len(cases)
            lesions = set(lesions_of(session, cases))
            versions = [version.id for version, _ in held_by(session, lesions)]
        self._folders(versions)  # first: whoever goes on later does not know of which any more
        yield Progress(done, total, "what was made of the cases is deleted")
        for version_id in versions:
            self._out_of_version(version_id, lesions, by)
            yield Progress(done, total, "a data set is cleared")
        for _ in self._pictures(lesions, studies, by):
            yield Progress(done, total, "pictures of studies are deleted")
        self._what_names(cases, by)
        yield Progress(done, total, "jobs and answers that name the cases are deleted")
        yield from self._bytes(erasure_id, Progress(done, total, "pixels are deleted"))
        for number, case_id in enumerate(cases, done + 1):
            self._case(erasure_id, case_id, by)
            yield from self._bytes(erasure_id, Progress(number, total, "pixels are deleted"))
        with self._database.transaction() as session:
            erasure = Erasure.require(session, erasure_id)
            if erasure.ended_at is None:
                erasure.end(session, by)
        self._database.forget(tables=_TABLES)
        yield Progress(total, total, "the deletion has ended")

    def _count(self, look: Session, erasure: Erasure) -> None:
        """Let it tell what goes, with what was added after it was asked for."""
        extent = Extent.of(look, erasure.case_ids, erasure.study_ids)
        if extent != erasure.extent:
            with self._database.transaction() as session:
                Erasure.require(session, erasure.id).extent_json = records.to_json(extent)

    def _left(self, session: Session, erasure: Erasure) -> list[uuid.UUID]:
        """Those of its cases that are still here, in its order."""
        here = {
            one
            for some in in_parts(erasure.case_ids)
            for one in session.scalars(sa.select(Case.id).where(Case.id.in_(some)))
        }
        return [one for one in erasure.case_ids if one in here]

    def _out_of_version(self, version_id: uuid.UUID, lesions: set[uuid.UUID], by: str) -> None:
        """Take lesions out of a frozen data set, and out of what was made of it.

        In one transaction, so that what a checkpoint keeps and what is left go together.
        """
        with self._database.reading() as look:
            version = DatasetVersion.require(look, version_id)
            number, left = len(version.remains), version.without(look, lesions)
        if left is None:
            return
        with self._database.transaction() as session:
            version = DatasetVersion.require(session, version_id)
            if len(version.remains) != number:
                return  # somebody else was faster
            version.erase(session, left, by)
            query = sa.select(Checkpoint).where(Checkpoint.dataset_digest == version.digest)
            for checkpoint in session.scalars(query).all():
                if checkpoint.keeps_lesions:
                    checkpoint.erase_lesions(session, left.gone)
            for run in runs_on(session, [version_id]):
                run.erase_pictures(session)

    def _pictures(
        self, lesions: set[uuid.UUID], studies: Sequence[uuid.UUID], by: str
    ) -> Iterator[None]:
        with self._database.reading() as look:
            found = pictures_of(look, lesions, studies)
        said = False  # with the first of them, for two studies can show one picture
        for some in in_parts(sorted(set().union(*found.values()))):
            with self._database.transaction() as session:
                for study, digests in () if said else found.items():
                    Event.record(
                        session, by, "study lost pictures", str(study), pictures=len(digests)
                    )
                Blob.erase(session, some)
            said = True
            yield

    def _what_names(self, cases: Sequence[uuid.UUID], by: str) -> None:
        with self._database.reading() as look:
            names = set(map(str, cases))
            for some in in_parts(cases):
                of = sa.select(Case.uid, Series.uid).join(Series).where(Case.id.in_(some))
                names |= {uid for row in look.execute(of) for uid in row if uid}
                images = sa.select(Image.id, Image.uid).join(Series)
                for row in look.execute(images.where(Series.case_id.in_(some))):
                    names |= {str(row.id), row.uid or ""}
            markings = markings_of(look, cases)
        with self._database.transaction() as session:
            Job.forget_naming(session, names, by)
            KeptAnswer.forget_naming(session, names)
            for some in in_parts(markings):
                session.execute(sa.delete(Marking).where(Marking.id.in_(some)))

    def _case(self, erasure_id: uuid.UUID, case_id: uuid.UUID, by: str) -> None:
        with self._database.transaction() as session:
            try:
                case = Case.require(session, case_id)
            except NotFound:
                return  # somebody else was faster
            ReturnedObject.drop_unsent(session, case_id, by)
            digests = case.leave(session, by)
            erasure = Erasure.require(session, erasure_id)
            erasure.waiting = sorted({*erasure.waiting, *digests})

    def _bytes(self, erasure_id: uuid.UUID, step: Progress) -> Iterator[Progress]:
        """Pixels whose rows are gone."""
        while True:
            with self._database.transaction() as session:
                erasure = Erasure.require(session, erasure_id)
                waiting = erasure.waiting
                if not waiting:
                    return
                some = _few(session, waiting)
                drop_pixels(session, some)
                erasure.waiting = [one for one in waiting if one not in some]
            yield step

    def _folders(self, versions: Sequence[uuid.UUID]) -> None:
        """Scratch of runs on the data sets: they are over, and a worker may not come by soon."""
        with self._database.reading() as look:
            over = [run.id for run in runs_on(look, versions) if run.is_over]
        for run_id in over:
            shutil.rmtree(self._runs_dir / str(run_id), ignore_errors=True)


_TABLES = (
    "case", "series", "image", "lesion", "review", "measure", "prediction", "marking", "mark",
    "settlement", "returned_object", "job", "kept_answer", "erasure",
)  # fmt: skip
"""Where the deleted rows stood."""


def _few(session: Session, digests: Sequence[str]) -> set[str]:
    """The first of them that are not too many and not too large together; one at least."""
    query = sa.select(Blob.digest, Blob.size).where(Blob.digest.in_(digests[:AT_ONCE]))
    sizes = {row.digest: row.size for row in session.execute(query)}
    taken: set[str] = set()
    total = 0
    for digest in digests[:AT_ONCE]:
        total += sizes.get(digest, 0)
        if taken and total > AT_ONCE_BYTES:
            break
        taken.add(digest)
    return taken
