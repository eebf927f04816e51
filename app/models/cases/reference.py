"""Images named by UIDs: those under which they leave, or those with which they came."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import Session, contains_eager

from app.errors import NotFound, Unreadable
from app.models.cases.case import Case, Image, Series
from app.models.cases.uids import kept


@dataclass(frozen=True)
class Reference:
    """One image of what is held here; what is not told is not asked for.

    Attributes:
        study, series, instance: UIDs of ours or of the sender; "" where it is not told.
        frame: of a multi-frame object, from 1.
    """

    study: str = ""
    series: str = ""
    instance: str = ""
    frame: int | None = None

    def known(self, session: Session, key: bytes) -> list[uuid.UUID]:
        """Ids of the images of an object, ours or the sender's UID; none where it is not here."""
        found = sa.or_(Image.uid == self.instance, Image.sop_uid == kept(self.instance, key))
        return list(session.scalars(sa.select(Image.id).where(found))) if self.instance else []

    def image(self, session: Session, key: bytes) -> Image:
        """The image, with its series and case.

        Args:
            key: of the installation.

        Raises:
            Unreadable: no UID is told, or several images are meant.
            NotFound: there is none.
        """
        told = (
            (Case.uid, Case.study_uid, self.study),
            (Series.uid, Series.series_uid, self.series),
            (Image.uid, Image.sop_uid, self.instance),
        )
        if not any(uid for *_, uid in told):
            raise Unreadable("Name the image by study, series or instance.")
        query = (
            sa.select(Image)
            .join(Series, Series.id == Image.series_id)
            .join(Case, Case.id == Series.case_id)
            .options(contains_eager(Image.series).contains_eager(Series.case))
            .where(
                *(
                    sa.or_(ours == uid, theirs == kept(uid, key))
                    for ours, theirs, uid in told
                    if uid
                )
            )
        )
        found = list(session.scalars(query.limit(2) if self.frame is None else query))
        if self.frame is not None:
            found = [one for one in found if self._is_frame(one, len(found))]
        if not found:
            raise NotFound(
                "There is no such image here. Send it to /dicomweb/studies first, or name a "
                "configured PACS that it is fetched from."
            )
        if len(found) > 1:
            what = "frame" if self.instance else "instance"
            raise Unreadable(f"Several images are meant; name the {what}.")
        return found[0]

    def _is_frame(self, image: Image, of: int) -> bool:
        """By our UIDs each frame is an object of its own, whose only frame is its first."""
        alone = of == 1 and self.instance == image.uid and self.frame == 1
        return alone or image.frame == self.frame
