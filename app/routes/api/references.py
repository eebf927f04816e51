"""Lesions by reference: many in one call, on images that are held here, each answered by itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

import sqlalchemy as sa
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from app.auth import Machine
from app.bodies import json_of
from app.db import now
from app.errors import AppError, Forbidden, NotFound, Unreadable
from app.inference import ServedClassifier
from app.jobs import rendering
from app.jobs.classifying import Answer, Classifying, Item, of_image, refused, together
from app.media import JSON, Offer, chosen
from app.models.cases.marking import Mark, Marking
from app.models.cases.reference import Reference
from app.models.cases.uids import mapped
from app.models.checkpoint import Checkpoint
from app.objects.related import DICOM
from app.routes.api.jobs import Sending, queued, rendered
from app.routes.api.once import Pledge, once
from ml.ground.errors import HepaticaError
from ml.images.roi import Box

MOST = 1000
"""Most lesions of one call."""
AT_ONCE = 16
"""More lesions than this are a batch, which is a job whether it is preferred or not."""

_OFFERS = (Offer(JSON), Offer(DICOM), Offer(rendering.PNG))
_KINDS: dict[int, type[AppError]] = {403: Forbidden, 404: NotFound}
Number = Annotated[float, Field(allow_inf_nan=False)]


class PlaceOrder(BaseModel):
    """A place on an image: a box in pixels, or a circle by its centre and diameter."""

    model_config = ConfigDict(extra="forbid")

    frame: int | None = Field(None, ge=1, le=10**6, description="Of a multi-frame object, from 1.")
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
            return [{"refused": refused(error)}]

    def _marked(self, session: Session, key: bytes) -> list[Item]:
        """A lesion, or a refusal, for each region of an object that marks lesions."""
        if self.model_fields_set != {"marks"}:
            raise Unreadable("Where an object marks the lesions, give nothing beside marks.")
        marking = session.scalars(
            sa.select(Marking).where(Marking.uid.in_([self.marks, mapped(self.marks, key)]))
        ).one_or_none()
        if marking is None:
            raise NotFound(
                "There is no object of that UID here which marks lesions. Send it to "
                "/dicomweb/studies first."
            )
        found = [_of_mark(mark) for mark in marking.marks]
        waits = Unreadable("The images of a region are not here yet. Send them first.")
        return [*found, *({"refused": refused(waits)} for _ in marking.waiting)]

    def _found(self, session: Session, key: bytes) -> Item:
        image = Reference(self.study, self.series, self.instance, self.frame).image(session, key)
        return of_image(image, self.box_on(image.spacing_mm))


def _of_mark(mark: Mark) -> Item:
    lesion = mark.lesion
    if lesion is None:
        return {"refused": refused(Unreadable(f"A region marks nothing: {mark.reason}"))}
    if lesion.withdrawn_at is not None:
        return {"refused": refused(NotFound(f"Lesion {lesion.number} was withdrawn."))}
    return of_image(lesion.image, lesion.box, lesion.id)


class ClassificationOrder(BaseModel):
    """Lesions to be classified by reference."""

    model_config = ConfigDict(extra="forbid")

    lesions: list[LesionOrder] = Field(
        min_length=1, max_length=MOST, description=f"1 to {MOST}; more than {AT_ONCE} are a job."
    )
    hook: str | None = Field(
        None, max_length=60, description="A configured hook that is told the end of the job."
    )


Order = TypeVar("Order")


def read(body: Any, kind: TypeAdapter[Order]) -> Order:
    """An order from JSON.

    Raises:
        RequestValidationError: it is none; field by field.
    """
    try:
        return kind.validate_python(body)
    except ValidationError as error:
        faults = [{**one, "loc": ("body", *one["loc"])} for one in error.errors()]
        raise RequestValidationError(faults) from None


def _schema() -> dict[str, Any]:
    """Of the body, in one piece."""
    whole = ClassificationOrder.model_json_schema()
    del whole["$defs"]
    whole["properties"]["lesions"]["items"] = LesionOrder.model_json_schema()
    return whole


SCHEMA = _schema()
_ORDER = TypeAdapter(ClassificationOrder)
PLACES = TypeAdapter(Annotated[list[PlaceOrder], Field(min_length=1, max_length=MOST)])
"""Lesions of one image that is sent along."""


def refuse_all(answers: Sequence[Answer]) -> None:
    """Nothing while one of the lesions was classified, or may be.

    Raises:
        Forbidden, NotFound, Unreadable: none was; ``lesions`` says why of each.
    """
    if any(one.get("status") == 200 for one in answers):
        return
    alike = len({one["status"] for one in answers}) == 1
    kind = _KINDS.get(answers[0]["status"], Unreadable) if alike else Unreadable
    raise kind(f"No lesion was classified. {answers[0]['detail']}", lesions=list(answers))


async def classify(request: Request, program: Machine, served: ServedClassifier) -> Response:
    """The answer to lesions by reference, at once or as a job."""
    body = await json_of(request)
    order = read(body, _ORDER)
    sent = Sending.of(request, order.hook, batch=len(order.lesions) > AT_ONCE)
    offer = chosen(request, _OFFERS)

    async def act(pledge: Pledge) -> Response:
        return await run_in_threadpool(
            _answered, request, program, served, order, sent, offer, pledge
        )

    return await once(request, program, lambda: [json.dumps(body, sort_keys=True).encode()], act)


def _answered(
    request: Request,
    program: Machine,
    served: ServedClassifier,
    order: ClassificationOrder,
    sent: Sending,
    offer: Offer,
    pledge: Pledge,
) -> Response:
    state = request.app.state
    state.watch.refuse(program.owner_id)
    with state.database.reading() as session:
        items = [item for lesion in order.lesions for item in lesion.items(session, state.key)]
    return scored(request, program, served, items, sent, offer, pledge)


def scored(
    request: Request,
    program: Machine,
    served: ServedClassifier,
    items: Sequence[Item],
    sent: Sending,
    offer: Offer,
    pledge: Pledge,
) -> Response:
    """The answer to items, at once or as a job.

    Raises:
        Forbidden, NotFound, Unreadable: none of them can be classified; ``lesions`` says why.
    """
    state = request.app.state
    if len(items) > MOST:
        raise Unreadable(f"{len(items)} lesions are marked; {MOST} is the most of one call.")
    refuse_all([item.get("refused", {"status": 200}) for item in items])
    if sent.asynchronous:
        return queued(request, program, served.checkpoint_id, items, sent, pledge)
    with state.database.reading() as session:
        checkpoint = session.get_one(Checkpoint, served.checkpoint_id)
        classifying = Classifying(
            state.inference,
            state.watch,
            checkpoint,
            program.owner_id,
            state.settings.review_first,
        )
        answers = [one for some in classifying.steps(session, items) for one in some]
        classifying.record(state.database, program.actor)
        refuse_all(answers)
        if offer.kind != JSON:
            return rendered(request, session, answers, checkpoint, now(), offer)
        return JSONResponse(together(checkpoint.name, answers))
