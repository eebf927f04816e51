"""What a request's address names: cases, series and images that whoever asks may see.

An address may use the UIDs under which things leave, or those with which they came: whoever sent an
object need not keep a list of ours. By the UID of a multi-frame object all its frames are found.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.orm import Session, contains_eager

from app.auth import Asker
from app.errors import NotFound
from app.models.cases.case import Address, Case, Image, Series
from app.models.reader_studies.enrolment import Enrolment


def case(session: Session, asker: Asker, study: str) -> Case:
    """The case of a study.

    Raises:
        NotFound: there is none.
        Forbidden: a blinded reading could be about it.
    """
    found = session.scalars(
        sa.select(Case).where(sa.or_(Case.uid == study, Case.study_uid == study))
    ).first()
    if found is None:
        raise NotFound("There is no such study here.")
    Enrolment.refuse_case_to(session, asker.person, found.id)
    return found


def images(
    session: Session, asker: Asker, study: str, series: str = "", instance: str = ""
) -> list[Image]:
    """The images of a study, of a series, or of one object (its frames), in a fixed order.

    Each comes with its series and case.

    Raises:
        NotFound: there is no such study, series or instance.
        Forbidden: a blinded reading could be about the case.
    """
    of = case(session, asker, study)
    query = (
        sa.select(Image)
        .join(Series, Series.id == Image.series_id)
        .join(Case, Case.id == Series.case_id)
        .options(contains_eager(Image.series).contains_eager(Series.case))
        .where(Series.case_id == of.id)
        .order_by(*IMAGE_ORDER)
    )
    if series:
        query = query.where(sa.or_(Series.uid == series, Series.series_uid == series))
    if instance:
        query = query.where(sa.or_(Image.uid == instance, Image.sop_uid == instance))
    found = list(session.scalars(query))
    if not found:
        what = "instance" if instance else "series"
        raise NotFound(f"There is no such {what} in this study here.")
    return found


STUDY_ORDER = (Case.created_at, Case.id)
SERIES_ORDER = (*STUDY_ORDER, Series.created_at, Series.id)
IMAGE_ORDER = (
    *SERIES_ORDER,
    sa.func.coalesce(Image.instance_number, 2**31 - 1),
    Image.frame,
    Image.created_at,
    Image.id,
)
"""From the oldest on, so that what comes meanwhile shifts no page; the last part ends all ties."""


def address(image: Image) -> Address:
    """The UIDs under which an image leaves."""
    return Address(image.series.case.uid or "", image.series.uid or "", image.uid or "")
