"""What earlier versions of the software stored otherwise: UIDs.

Cases, series and images had no UIDs of their own, and those of their senders stood in clear. Both
are mended when the server starts, since it takes its key.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.db import serialise
from app.models.cases.case import (
    PHANTOM_UID,
    PICTURE,
    PICTURES,
    Case,
    Image,
    Series,
    of_place,
    uid_of_case,
    uid_of_image,
    uid_of_series,
)
from app.models.cases.uids import KEPT, is_mapped, kept

_AT_ONCE = 500


def name_older(session: Session, key: bytes) -> int:
    """Give whatever has none the UID under which it leaves; how many images got one.

    Args:
        key: of the installation.
    """
    if session.scalar(sa.select(Image.id).where(Image.uid.is_(None)).limit(1)) is None:
        return 0
    serialise(session, "case received")  # nothing comes in between
    for case in session.scalars(sa.select(Case).where(Case.uid.is_(None))).all():
        case.uid = uid_of_case(case.study_uid or "", case.id, key)
    rows = sa.select(Series, Case).join(Case, Case.id == Series.case_id)
    for series, case in session.execute(rows.where(Series.uid.is_(None))).all():
        series.uid = uid_of_series(series.series_uid, case, key)
    session.flush()
    older = sa.select(Image, Series).join(Series, Series.id == Image.series_id)
    found = session.execute(older.where(Image.uid.is_(None))).all()
    for image, series in found:
        image.uid = uid_of_image(image.sop_uid, image.frame, series, key)
    session.flush()
    return len(found)


def veil_older(session: Session, key: bytes) -> int:
    """Put digests in the place of senders' UIDs that stand in clear; how many images had one.

    ``name_older`` comes first: from digests no UID can be made.

    Args:
        key: of the installation.
    """
    if not _anything_in_clear(session):
        return 0
    serialise(session, "case received")
    for case in session.scalars(sa.select(Case).where(_clear(Case.study_uid))).all():
        case.study_uid = kept(case.study_uid or "", key)
    other = _clear(Series.series_uid), Series.series_uid != PICTURES
    for series in session.scalars(sa.select(Series).where(*other)).all():
        series.series_uid = kept(series.series_uid, key)
    session.flush()
    count = 0
    for some in _in_clear(session):
        for image in some:
            tags = of_place(image.tags, key)
            if image.phantom:
                tags[PHANTOM_UID] = image.sop_uid
            image.tags, image.sop_uid = tags, kept(image.sop_uid, key)
        count += len(some)
        session.flush()
        for image in some:
            session.expunge(image)
    for image in _nameless(session):
        image.tags = of_place(image.tags, key)
        count += 1
    session.flush()
    return count


def _in_clear(session: Session) -> Iterator[Sequence[Image]]:
    """Images with a UID in clear, some at a time; each is mended before the next are asked for."""
    older = sa.select(Image).order_by(Image.id)
    while some := session.scalars(older.where(_clear(Image.sop_uid)).limit(_AT_ONCE)).all():
        yield some


def _nameless(session: Session) -> list[Image]:
    """Images of objects without a UID that tell a frame of reference all the same, in clear."""
    place = Image.tags["FrameOfReferenceUID"].as_string()
    found = sa.select(Image).where(Image.sop_uid.like(f"{PICTURE}%"), place.is_not(None))
    rows = session.scalars(found).all()
    return [image for image in rows if not is_mapped(image.tags["FrameOfReferenceUID"])]


def _anything_in_clear(session: Session) -> bool:
    found = session.scalar(sa.select(Image.id).where(_clear(Image.sop_uid)).limit(1))
    return found is not None or bool(_nameless(session))


def _clear(column: Any) -> sa.ColumnElement[bool]:
    return sa.and_(column.not_like(f"{KEPT}%"), column.not_like(f"{PICTURE}%"))
