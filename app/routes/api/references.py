"""Lesions by reference: many in one call, on images that are held here, each answered by itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import Field, TypeAdapter, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from app.auth import Machine
from app.bodies import json_of
from app.db import now
from app.errors import AppError, Forbidden, NotFound, Unreadable
from app.inference import ServedClassifier
from app.jobs import rendering
from app.jobs.answers import Refusal, together
from app.jobs.classifying import Classifying
from app.jobs.fetching import Wanted
from app.jobs.items import HeldPlace, Item, RefusedItem, is_absent
from app.jobs.orders import AT_ONCE, MOST, ClassificationOrder, LesionOrder, PlaceOrder, too_many
from app.media import JSON, Offer, chosen
from app.models.checkpoint import Checkpoint
from app.models.jobs.job import JobKind
from app.objects.related import DICOM
from app.pacs.client import refuse_unfit_uid
from app.routes.api.jobs import Sending, queued, queued_job, refuse_blind, rendered
from app.routes.api.once import Pledge, once
from ml.ground.records import to_json

OFFERS = (Offer(JSON), Offer(DICOM), Offer(rendering.PNG))
_KINDS: dict[int, type[AppError]] = {403: Forbidden, 404: NotFound}


Order = TypeVar("Order")


def read(body: Any, kind: TypeAdapter[Order], within: str = "") -> Order:
    """An order from JSON.

    Args:
        within: the field that the JSON was sent in; "" where it is the body.

    Raises:
        RequestValidationError: it is none; field by field.
    """
    try:
        return kind.validate_python(body)
    except ValidationError as error:
        place = ("body", within) if within else ("body",)
        faults = [{**one, "loc": (*place, *one["loc"])} for one in error.errors()]
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


def refuse_all(lesions: int, refusals: Sequence[Refusal]) -> None:
    """Nothing while one of the lesions was classified, or may be.

    Args:
        lesions: how many there are.

    Raises:
        Forbidden, NotFound, Unreadable: each is refused; ``lesions`` says why.
    """
    if len(refusals) < lesions:
        return
    alike = len({one.status for one in refusals}) == 1
    kind = _KINDS.get(refusals[0].status, Unreadable) if alike else Unreadable
    raise kind(f"No lesion was classified. {refusals[0].detail}", lesions=to_json(refusals))


async def classify(request: Request, program: Machine, served: ServedClassifier) -> Response:
    """The answer to lesions by reference, at once or as a job."""
    body = await json_of(request)
    order = read(body, _ORDER)
    batch = len(order.lesions) > AT_ONCE or bool(order.pacs)
    sent = Sending.of(request, order.hook, batch=batch)
    offer = chosen(request, OFFERS)
    if order.pacs:
        request.app.state.pacs.named(order.pacs)  # refused though all images are here
    elif "contrast_phase" in order.model_fields_set:
        raise Unreadable(
            "contrast_phase is of what is fetched, and without pacs nothing is: of images that are "
            "here it was told when they came. Leave it out, or name the PACS."
        )

    async def still() -> None:
        await run_in_threadpool(_refuse_closed_since, request, program, order)

    async def act(pledge: Pledge) -> Response:
        return await run_in_threadpool(
            _answered, request, program, served, order, sent, offer, pledge
        )

    return await once(
        request,
        program,
        lambda: [json.dumps(body, sort_keys=True).encode()],
        act,
        still,
    )


def _refuse_closed_since(request: Request, program: Machine, order: ClassificationOrder) -> None:
    """What a blinded reading has closed since it was answered is not answered again.

    Raises:
        Forbidden
    """
    state = request.app.state
    with state.database.reading() as session:
        items = [item for lesion in order.lesions for item in lesion.items(session, state.key)]
        cases = {item.case for item in items if isinstance(item, HeldPlace)}
        refuse_blind(state.watch, session, program.owner_id, cases)


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
        found = [lesion.items(session, state.key) for lesion in order.lesions]
    if order.pacs:
        absent = [
            lesion
            for lesion, items in zip(order.lesions, found, strict=True)
            if lesion.study and len(items) == 1 and is_absent(items[0])
        ]
        if absent:
            return _fetched(request, program, served, order, absent, sent, pledge)
    items = [item for some in found for item in some]
    return scored(request, program, served, items, sent, offer, pledge)


def _fetched(
    request: Request,
    program: Machine,
    served: ServedClassifier,
    order: ClassificationOrder,
    absent: Sequence[LesionOrder],
    sent: Sending,
    pledge: Pledge,
) -> Response:
    """A job that fetches what is not here, and then classifies all that is asked for.

    Raises:
        NotFound: no such PACS is configured.
        BadRequest: what stands for a UID is none.
        Unreadable: what is not here is of several studies.
    """
    state = request.app.state
    pacs = state.pacs.named(order.pacs).name
    told = {what: {str(getattr(one, what)) for one in absent}
            for what in ("study", "series", "instance")}  # fmt: skip
    if len(told["study"]) > 1:
        raise Unreadable(
            "Lesions on images of several studies that are not here cannot be fetched in one call. "
            "Fetch the studies first (/api/v1/fetches), or ask for one study at a time."
        )
    # no more than what all lesions lie in
    study, series, instance = (some.pop() if len(some) == 1 else "" for some in told.values())
    if not series:
        instance = ""
    for what, uid in (("study", study), ("series", series), ("instance", instance)):
        if uid:
            refuse_unfit_uid(uid, what)
    wanted = Wanted(
        pacs,
        study,
        series,
        instance,
        contrast_phase=order.contrast_phase,
        then=json.dumps([one.model_dump(exclude_unset=True) for one in order.lesions]),
    )
    asked = wanted.asked(state.key)
    response = queued_job(
        request, program, JobKind.FETCH, asked, 0, served.checkpoint_id, sent, pledge
    )
    state.fetcher.ring()
    return response


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
        raise Unreadable(too_many(len(items)))
    refuse_all(len(items), [item.refused for item in items if isinstance(item, RefusedItem)])
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
        refuse_all(len(answers), [one for one in answers if isinstance(one, Refusal)])
        if offer.kind != JSON:
            return rendered(request, session, answers, checkpoint, now(), offer)
        return JSONResponse(together(checkpoint.name, answers))
