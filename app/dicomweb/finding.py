"""Searches over what is kept (QIDO-RS): studies, series and instances, from the oldest on.

UIDs are looked up by the database; whatever else is asked for is compared with the attributes that
the rebuilt object has, so that what is found is what would be retrieved. An attribute that is not
kept here matches nothing, and the answer says so: to leave it out of the question would find
other patients.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Any

import sqlalchemy as sa
from pydicom.datadict import keyword_for_tag, tag_for_keyword
from pydicom.dataset import Dataset
from sqlalchemy.orm import Session, contains_eager

from app.auth import Asker
from app.dicomweb import addresses, held
from app.dicomweb.matching import FUZZY_WARNING, MOST_RESULTS, Key, Query
from app.models.cases.case import Case, Image, Series
from app.models.cases.uids import kept, mapped
from app.models.reader_studies.enrolment import Enrolment
from app.objects import rebuilt

_AT_ONCE = 200


class Level(StrEnum):
    """What is searched for."""

    STUDY = "study"
    SERIES = "series"
    INSTANCE = "instance"


def _tags(*keywords: str) -> frozenset[int]:
    return frozenset(int(tag_for_keyword(word) or 0) for word in keywords)


_STUDY = _tags(
    "SpecificCharacterSet", "StudyDate", "StudyTime", "AccessionNumber", "InstanceAvailability",
    "ModalitiesInStudy", "ReferringPhysicianName", "RetrieveURL", "PatientName", "PatientID",
    "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyID", "NumberOfStudyRelatedSeries",
    "NumberOfStudyRelatedInstances",
)  # fmt: skip
_SERIES = _tags(
    "SpecificCharacterSet", "Modality", "SeriesDescription", "RetrieveURL", "SeriesInstanceUID",
    "SeriesNumber", "NumberOfSeriesRelatedInstances", "StudyInstanceUID",
)  # fmt: skip
_INSTANCE = _tags(
    "SpecificCharacterSet", "SOPClassUID", "SOPInstanceUID", "InstanceAvailability", "RetrieveURL",
    "InstanceNumber", "Rows", "Columns", "BitsAllocated", "SeriesInstanceUID", "StudyInstanceUID",
)  # fmt: skip
"""What an answer tells of each by default (PS3.18 10.6.3.3)."""

_BY_UID = {
    int(tag_for_keyword(word) or 0): (depth, columns)
    for depth, (word, columns) in enumerate(
        {
            "StudyInstanceUID": (Case.uid, Case.study_uid),
            "SeriesInstanceUID": (Series.uid, Series.series_uid),
            "SOPInstanceUID": (Image.uid, Image.sop_uid),
        }.items()
    )
}
"""Attributes by which the database finds, in UIDs of ours and digests of the sender's, and how deep
they lie: below studies 1, below series 2."""


@dataclass(frozen=True)
class Found:
    """One page of results.

    Attributes:
        warnings: what whoever asks should know of them, for the header Warning.
    """

    results: tuple[Dataset, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Search:
    """A search at one level, for whoever asks.

    Attributes:
        study, series: what the address narrows it to; "" for all.
        base: root of the addresses that are told.
        key: of the installation.
    """

    level: Level
    query: Query
    asker: Asker
    base: str
    key: bytes
    study: str = ""
    series: str = ""

    def found(self, session: Session) -> Found:
        """The page that is asked for."""
        told = [FUZZY_WARNING] if self.query.fuzzy else []
        statement, left = self._statement(session, told)
        if dated := [key.name for key in left if key.value and key.path[0] in _DATES]:
            told.append(
                f"{', '.join(dated)}: true dates are not kept. Where a door keeps dates they are "
                "moved, by days that nobody is told."
            )
        unknown = [key.name for key in left if key.value and key.path[0] not in _KNOWN[self.level]]
        if unknown:
            told.append(
                f"{', '.join(unknown)}: not kept here, or not of a {self.level}; nothing has it."
            )
            return Found((), tuple(told))
        first, limit = self.query.offset, self.query.limit
        if left:
            rows = self._of(session, statement)
            fitting = (one for one in rows if all(self._fits(key, one) for key in left))
            page = list(islice(fitting, first, first + limit + 1))
        else:
            page = list(self._of(session, statement.offset(first).limit(limit + 1)))
        if len(page) > limit and limit == MOST_RESULTS:
            told.append("There are additional results that can be requested.")
        return Found(tuple(self._told(one) for one in page[:limit]), tuple(told))

    def _statement(
        self, session: Session, told: list[str]
    ) -> tuple[sa.Select[Any], tuple[Key, ...]]:
        """What the database can find, and the keys that are left to be compared."""
        statement, depth = _STATEMENTS[self.level]()
        if self.study:
            of = held.case(session, self.asker, self.study, self.key)
            statement = statement.where(Case.id == of.id)
        if self.series:
            statement = statement.where(
                held.is_of(Series.uid, Series.series_uid, self.series, self.key)
            )
        closed = Enrolment.closed_to(session, self.asker.person)
        if closed is not None and not self.study:
            statement = statement.where(~closed)
            told.append(
                "Studies that a blinded reading could be about are left out until it is over."
            )
        left = []
        for key in self.query.keys:
            lies, columns = _BY_UID.get(key.path[0], (depth + 1, None))
            if key.value and columns is not None and lies <= depth:
                ours, theirs = columns
                digests = [kept(uid, self.key) for uid in key.uids]
                statement = statement.where(sa.or_(ours.in_(key.uids), theirs.in_(digests)))
            else:
                left.append(key)
        return statement, tuple(key for key in left if key.value)

    def _fits(self, key: Key, found: Dataset) -> bool:
        if key.vr == "UI" and len(key.path) == 1 and keyword_for_tag(key.path[0]) not in _CLASSES:
            either = ",".join([*key.uids, *(mapped(uid, self.key) for uid in key.uids)])
            return Key(key.path, key.name, key.vr, either).fits(found)
        return key.fits(found)

    def _of(self, session: Session, statement: sa.Select[Any]) -> Iterator[Dataset]:
        """Each row as the attributes that it has."""
        rows = session.execute(statement.execution_options(yield_per=_AT_ONCE))
        for some in rows.partitions(_AT_ONCE):
            yield from self._described(session, [row[0] for row in some])

    def _described(self, session: Session, some: Sequence[Any]) -> Iterator[Dataset]:
        if self.level is Level.STUDY:
            return self._studies(session, some)
        if self.level is Level.SERIES:
            return self._serieses(session, some)
        return self._instances(some)

    # -- rows as attributes --------------------------------------------------------------------

    def _studies(self, session: Session, cases: Sequence[Case]) -> Iterator[Dataset]:
        """Cases with what is counted in them."""
        counted = {
            row.case_id: row
            for row in session.execute(
                sa.select(
                    Series.case_id,
                    sa.func.count(Series.id.distinct()).label("series"),
                    sa.func.count(Image.id).label("images"),
                    sa.func.max(sa.cast(Image.calibrated, sa.Integer)).label("some_ct"),
                    sa.func.min(sa.cast(Image.calibrated, sa.Integer)).label("all_ct"),
                )
                .join(Image, Image.series_id == Series.id)
                .where(Series.case_id.in_([case.id for case in cases]))
                .group_by(Series.case_id)
            )
        }
        for case in cases:
            row = counted.get(case.id)
            if row is not None:
                yield self._study(case, row)

    def _study(self, case: Case, row: Any) -> Dataset:
        found = rebuilt.of_study(case)
        kinds = [rebuilt.modality(True)] * row.some_ct + [rebuilt.modality(False)] * (
            1 - row.all_ct
        )
        found.ModalitiesInStudy = kinds
        found.NumberOfStudyRelatedSeries = row.series
        found.NumberOfStudyRelatedInstances = row.images
        found.InstanceAvailability = "ONLINE"
        found.RetrieveURL = addresses.of_study(self.base, case.uid or "")
        return found

    def _serieses(self, session: Session, series: Sequence[Series]) -> Iterator[Dataset]:
        """Series with what is counted in them and what their first image says of them."""
        inside = [one.id for one in series]
        place = sa.func.row_number().over(
            partition_by=Image.series_id, order_by=(Image.created_at, Image.id)
        )
        ranked = sa.select(Image.id, place.label("place")).where(Image.series_id.in_(inside))
        first = ranked.subquery()
        firsts = {
            image.series_id: image
            for image in session.scalars(
                sa.select(Image).join(first, first.c.id == Image.id).where(first.c.place == 1)
            )
        }
        counts = sa.select(Image.series_id, sa.func.count()).where(Image.series_id.in_(inside))
        counted = {row[0]: row[1] for row in session.execute(counts.group_by(Image.series_id))}
        for one in series:
            if one.id in firsts:
                found = rebuilt.of_study(one.case)
                found.update(rebuilt.of_series(one, firsts[one.id]))
                found.NumberOfSeriesRelatedInstances = counted[one.id]
                found.InstanceAvailability = "ONLINE"
                found.RetrieveURL = addresses.of_series(
                    self.base, one.case.uid or "", one.uid or ""
                )
                yield found

    def _instances(self, images: Sequence[Image]) -> Iterator[Dataset]:
        """Images with all that the rebuilt object says."""
        for image in images:
            found = rebuilt.header(image)
            found.InstanceAvailability = "ONLINE"
            found.RetrieveURL = addresses.of_instance(self.base, held.address(image))
            yield found

    def _told(self, found: Dataset) -> Dataset:
        """The attributes that the answer tells: those by default, and what was asked for."""
        if self.query.include is None:
            return found
        wanted = set(_DEFAULTS[self.level]) | self.query.include
        if self.level is not Level.STUDY and not self.study:
            wanted |= _STUDY
        if self.level is Level.INSTANCE and not self.series:
            wanted |= _SERIES
        wanted |= {key.path[0] for key in self.query.keys}
        told = Dataset()
        for element in found:
            if int(element.tag) in wanted:
                told.add(element)
        return told


_CLASSES = frozenset({"SOPClassUID"})
"""UIDs that are the same everywhere."""


def _of_studies() -> tuple[sa.Select[Any], int]:
    return sa.select(Case).order_by(*held.STUDY_ORDER), 0


def _of_series() -> tuple[sa.Select[Any], int]:
    statement = (
        sa.select(Series)
        .join(Case, Case.id == Series.case_id)
        .options(contains_eager(Series.case))
        .order_by(*held.SERIES_ORDER)
    )
    return statement, 1


def _of_instances() -> tuple[sa.Select[Any], int]:
    statement = (
        sa.select(Image)
        .join(Series, Series.id == Image.series_id)
        .join(Case, Case.id == Series.case_id)
        .options(contains_eager(Image.series).contains_eager(Series.case))
        .order_by(*held.INSTANCE_ORDER)
    )
    return statement, 2


_STATEMENTS = {
    Level.STUDY: _of_studies,
    Level.SERIES: _of_series,
    Level.INSTANCE: _of_instances,
}
_DEFAULTS = {Level.STUDY: _STUDY, Level.SERIES: _SERIES, Level.INSTANCE: _INSTANCE}
_DATES = _tags(*rebuilt.DATES)
_EMPTY = _tags(*rebuilt.NOT_KEPT)
_KNOWN = {
    Level.STUDY: (_STUDY | _tags("PatientIdentityRemoved", "DeidentificationMethod")) - _EMPTY,
    Level.SERIES: (_STUDY | _SERIES)
    - _EMPTY
    - _tags("ModalitiesInStudy", "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances"),
    Level.INSTANCE: _tags(*rebuilt.KNOWN),
}
"""Attributes that an object of a level can have a value of."""
