"""What a request's address names: cases, series and images that whoever asks may see.

An address may use the UIDs under which things leave, or those with which they came, of which
digests are kept: whoever sent an object need not keep a list of ours. By the UID of a multi-frame
object all its frames are found.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, contains_eager

from app.auth import Asker
from app.errors import NotFound
from app.models.cases.case import Address, Case, Image, Series
from app.models.cases.uids import kept
from app.models.reader_studies.enrolment import Enrolment


def case(session: Session, asker: Asker, study: str, key: bytes) -> Case:
    """The case of a study.

    Args:
        key: of the installation.

    Raises:
        NotFound: there is none.
        Forbidden: a blinded reading could be about it.
    """
    found = session.scalars(
        sa.select(Case).where(is_of(Case.uid, Case.study_uid, study, key))
    ).first()
    if found is None:
        raise NotFound("There is no such study here.")
    Enrolment.refuse_case_to(session, asker.person, found.id)
    return found


def images(
    session: Session, asker: Asker, key: bytes, study: str, series: str = "", instance: str = ""
) -> list[Image]:
    """The images of a study, of a series, or of one object (its frames), in a fixed order.

    Each comes with its series and case.

    Args:
        key: of the installation.

    Raises:
        NotFound: there is no such study, series or instance.
        Forbidden: a blinded reading could be about the case.
    """
    of = case(session, asker, study, key)
    query = (
        sa.select(Image)
        .join(Series, Series.id == Image.series_id)
        .join(Case, Case.id == Series.case_id)
        .options(contains_eager(Image.series).contains_eager(Series.case))
        .where(Series.case_id == of.id)
        .order_by(*IMAGE_ORDER)
    )
    if series:
        query = query.where(is_of(Series.uid, Series.series_uid, series, key))
    if instance:
        query = query.where(is_of(Image.uid, Image.sop_uid, instance, key))
    found = list(session.scalars(query))
    if not found:
        what = "instance" if instance else "series"
        raise NotFound(f"There is no such {what} in this study here.")
    return found


def is_of(ours: Any, theirs: Any, uid: str, key: bytes) -> sa.ColumnElement[bool]:
    """Whether a row has this UID: as it leaves (``ours``), or as it came (``theirs``, a digest)."""
    return sa.or_(ours == uid, theirs == kept(uid, key))


STUDY_ORDER = (Case.created_at, Case.id)
SERIES_ORDER = (Series.created_at, Series.id)
INSTANCE_ORDER = (Image.created_at, Image.frame, Image.id)
"""From the oldest on, so that what comes meanwhile, in an older study or series too, shifts no page
of a search; the last part ends all ties."""

IMAGE_ORDER = (
    *SERIES_ORDER,
    sa.func.coalesce(Image.instance_number, 2**31 - 1),
    Image.frame,
    Image.created_at,
    Image.id,
)
"""Of one study, as its images follow each other: for what is given whole."""


def address(image: Image) -> Address:
    """The UIDs under which an image leaves."""
    return Address(image.series.case.uid or "", image.series.uid or "", image.uid or "")
