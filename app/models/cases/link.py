"""The link of a case back to the PACS that it came from, opened for whoever sends a result there.

It is there where an administrator allowed `return-results` at the door by which the case came in,
and goes with the case.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.models.cases.case import Case, Image, Series
from app.models.cases.way_back import Examination, SourceObject


@dataclass(frozen=True)
class Link:
    """Where the answer to a case belongs.

    Attributes:
        examination: patient and study as the sender named them.
        objects: by the id of an `Image` here, the object that it came from. Images of the case
            that came by a door where nothing is kept are missing: of them nothing is sent back.
    """

    examination: Examination
    objects: Mapping[uuid.UUID, SourceObject] = field(repr=False)

    @staticmethod
    def is_kept(session: Session, case_id: uuid.UUID) -> bool:
        """Whether a case has one, without opening it."""
        found = sa.select(Case.id).where(Case.id == case_id, Case.link.is_not(None))
        return session.scalar(found) is not None

    @staticmethod
    def of(session: Session, case: Case, key: bytes) -> Link | None:
        """The link of a case; None where none is kept.

        Args:
            key: of the installation.

        Raises:
            Damaged: it was sealed under another key, or changed in the database.
        """
        text = session.scalar(sa.select(Case.link).where(Case.id == case.id))
        if text is None:
            return None
        rows = session.execute(
            sa.select(Image.id, Image.link)
            .join(Series, Series.id == Image.series_id)
            .where(Series.case_id == case.id, Image.link.is_not(None))
        )
        return Link(
            Examination.opened(text, case.id, key),
            {row.id: SourceObject.opened(row.link, case.id, row.id, key) for row in rows},
        )
