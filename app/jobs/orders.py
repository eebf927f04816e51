"""What programs ask to have classified: places on images, and the images by reference."""

from __future__ import annotations

from typing import Annotated, Literal

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session, selectinload

from app.errors import AppError, NotFound, Unreadable
from app.jobs.items import HeldPlace, Item, RefusedItem
from app.models.cases.case import Image
from app.models.cases.lesion import Lesion
from app.models.cases.marking import Mark, Marking
from app.models.cases.reference import Reference
from app.models.cases.uids import mapped
from ml.ground.errors import HepaticaError
from ml.images.roi import Box

MOST = 1000
"""Most lesions of one call."""
AT_ONCE = 16
"""More lesions than this are a batch, which is a job whether it is preferred or not."""

Number = Annotated[float, Field(allow_inf_nan=False, strict=True)]  # true is no coordinate


def too_many(lesions: int) -> str:
    """Why so many lesions are refused: of one object there may be many."""
    return f"{lesions} lesions are marked; {MOST} is the most of one call."


class PlaceOrder(BaseModel):
    """A place on an image: a box in pixels, or a circle by its centre and diameter."""

    model_config = ConfigDict(extra="forbid")

    frame: int | None = Field(
        None, ge=1, le=10**6, strict=True, description="Of a multi-frame object, from 1."
    )
    box: list[Number] | None = Field(
        None, min_length=4, max_length=4, description="x, y, width, height in pixels."
    )
    center: list[Number] | None = Field(
        None, min_length=2, max_length=2, description="x, y in pixels; needs diameter_mm."
    )
    diameter_mm: Number | None = Field(None, gt=0, description="In mm; needs center.")

    def box_on(self, spacing_mm: tuple[float, float] | None) -> Box | None:
        """The box on an image with this (row, column) spacing; None where no place is told.

        Raises:
            Unreadable: both forms at once, or half of one.
            BoxError: it is no box, or a diameter without spacing.
        """
        if self.box is not None and (self.center is not None or self.diameter_mm is not None):
            raise Unreadable("Give either box, or center with diameter_mm, not both.")
        if (self.center is None) != (self.diameter_mm is None):
            raise Unreadable("center and diameter_mm go together: give both, or a box.")
        if self.center is not None and self.diameter_mm is not None:
            x, y = self.center
            return Box.around(x, y, self.diameter_mm, spacing_mm)
        return Box(*self.box) if self.box is not None else None


class LesionOrder(PlaceOrder):
    """One lesion: the image by UIDs, ours or the sender's, and the place on it."""

    study: str = Field("", max_length=64, description="Study Instance UID.")
    series: str = Field("", max_length=64, description="Series Instance UID.")
    instance: str = Field("", max_length=64, description="SOP Instance UID.")
    marks: str = Field(
        "",
        max_length=64,
        description="SOP Instance UID of a SEG, RTSTRUCT, SR or presentation state that was sent "
        "here: each lesion that it marks, instead of all else.",
    )

    def items(self, session: Session, key: bytes) -> list[Item]:
        """What is kept of it, or why it cannot be classified; several where an object marks it."""
        try:
            return self._marked(session, key) if self.marks else [self._found(session, key)]
        except (AppError, HepaticaError) as error:
            if isinstance(error, AppError) and error.status >= 500:
                raise
            return [RefusedItem.of(error)]

    def _marked(self, session: Session, key: bytes) -> list[Item]:
        """A lesion, or a refusal, for each region of an object that marks lesions."""
        if self.model_fields_set != {"marks"}:
            raise Unreadable("Where an object marks the lesions, give nothing beside marks.")
        marking = session.scalars(
            sa.select(Marking)
            .options(
                selectinload(Marking.marks)
                .joinedload(Mark.lesion)
                .joinedload(Lesion.image)
                .joinedload(Image.series)
            )
            .where(Marking.uid.in_([self.marks, mapped(self.marks, key)]))
        ).one_or_none()
        if marking is None:
            raise NotFound(
                "There is no object of that UID here which marks lesions. Send it to "
                "/dicomweb/studies first."
            )
        found = [_of_mark(mark) for mark in marking.marks]
        waits = Unreadable("The images of a region are not here yet. Send them first.")
        items: list[Item] = [*found, *(RefusedItem.of(waits) for _ in marking.waiting)]
        if not items:
            raise NotFound("Nothing is here any more of what this object marks.")
        return items

    def _found(self, session: Session, key: bytes) -> Item:
        image = Reference(self.study, self.series, self.instance, self.frame).image(session, key)
        return HeldPlace.on(image, self.box_on(image.spacing_mm))


def _of_mark(mark: Mark) -> Item:
    lesion = mark.lesion
    if lesion is None:
        return RefusedItem.of(Unreadable(f"A region marks nothing: {mark.reason}"))
    if lesion.withdrawn_at is not None:
        return RefusedItem.of(NotFound(f"Lesion {lesion.number} was withdrawn."))
    return HeldPlace.on(lesion.image, lesion.box, lesion.id)


class ClassificationOrder(BaseModel):
    """Lesions to be classified by reference."""

    model_config = ConfigDict(extra="forbid")

    lesions: list[LesionOrder] = Field(
        min_length=1, max_length=MOST, description=f"1 to {MOST}; more than {AT_ONCE} are a job."
    )
    pacs: str = Field(
        "",
        max_length=40,
        description="A configured PACS, from which a study that is not here is fetched first; the "
        "answer is a job then.",
    )
    contrast_phase: Literal["portal", "other", "unknown"] = Field(
        "unknown", description="Of what is fetched."
    )
    hook: str | None = Field(
        None, max_length=60, description="A configured hook that is told the end of the job."
    )
