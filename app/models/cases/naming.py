"""UIDs for what was stored before cases, series and images had UIDs of their own."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.db import serialise
from app.models.cases.case import Case, Image, Series, uid_of_case, uid_of_image, uid_of_series


def name_older(session: Session, key: bytes) -> int:
    """Give whatever has none the UID under which it leaves; how many images got one.

    Args:
        key: of the installation.
    """
    if session.scalar(sa.select(Image.id).where(Image.uid.is_(None)).limit(1)) is None:
        return 0
    serialise(session, "case received")  # nothing comes in between
    for case in session.scalars(sa.select(Case).where(Case.uid.is_(None))).all():
        case.uid = uid_of_case(case, key)
    rows = sa.select(Series, Case).join(Case, Case.id == Series.case_id)
    for series, case in session.execute(rows.where(Series.uid.is_(None))).all():
        series.uid = uid_of_series(series, case, key)
    session.flush()
    older = sa.select(Image, Series).join(Series, Series.id == Image.series_id)
    found = session.execute(older.where(Image.uid.is_(None))).all()
    for image, series in found:
        image.uid = uid_of_image(image, series, key)
    session.flush()
    return len(found)
