"""Marking lesions on images."""

from __future__ import annotations

import math
import uuid
from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from app.auth import Reader
from app.comparing import Comparing
from app.db import Db, ReadDb
from app.errors import Unreadable
from app.maps import map_told
from app.models.cases.case import Image
from app.models.cases.lesion import Lesion, Shape
from app.models.cases.prediction import Prediction
from app.models.cases.slip import Slip, refuse_other_person
from app.models.checkpoint import Checkpoint
from app.models.reader_studies.enrolment import Enrolment
from app.models.reader_studies.look import Seen, Shown
from app.models.reader_studies.stimulus import Stimulus
from app.presenters import Standing, panel, window_ends, window_told
from app.responses import fragment, page, see_other, wants_fragment
from app.watch import Watch
from app.witness import Witness
from ml.checkpoints.checkpoint import CheckpointKind
from ml.images.roi import Box
from ml.trust.saliency import Method

router = APIRouter(include_in_schema=False)

Pixels = Annotated[float, Form()]


@router.post("/images/{image_id}/lesions")
def create(
    request: Request,
    user: Reader,
    db: Db,
    image_id: uuid.UUID,
    x: Pixels,
    y: Pixels,
    width: Pixels,
    height: Pixels,
    person: Annotated[str, Form()] = "",
    lesion: Annotated[uuid.UUID | None, Form()] = None,
    replaces: Annotated[uuid.UUID | None, Form()] = None,
    shape: Annotated[Shape, Form()] = Shape.BOX,
) -> Response:
    """Mark a lesion by its box (slice pixels); it is scored at once, unless it must not be.

    ``lesion`` is the id it gets: sent again under the same id, a box is marked once.
    """
    if not all(math.isfinite(value) for value in (x, y, width, height)):
        raise Unreadable("The box must be four numbers: x, y, width, height in pixels.")
    image = Image.require(db, image_id)
    Enrolment.refuse_case(db, user, image.series.case_id)
    if person:
        refuse_other_person(person, user)
    box = Box(x, y, width, height)
    marked = Lesion.mark(db, image, box, user, lesion_id=lesion, replaces=replaces, shape=shape)
    if replaces is not None:
        Stimulus.tell_withdrawal(db, replaces, user.name)
    for checkpoint in Checkpoint.served(db, CheckpointKind.CLASSIFIER)[-1:]:
        roi = marked.roi(db, checkpoint.window_hu, checkpoint.grey_range).pixels
        watch: Watch = request.app.state.watch
        if not Prediction.of_lesion(db, marked.id) and watch.may_score(user.id, image.id, roi):
            request.app.state.inference.classify(db, marked, checkpoint)
    return _panel(request, user, db, marked, 201)


@router.get("/lesions/{lesion_id}")
def show(request: Request, user: Reader, db: ReadDb, lesion_id: uuid.UUID) -> Response:
    """The panel of one lesion for a script; a browser goes to its case.

    Raises:
        NotFound: no such lesion.
        Forbidden: a blinded reading of this person could be about its case.
    """
    lesion = Lesion.require(db, lesion_id)
    Enrolment.refuse_case(db, user, lesion.case_id)
    return _panel(request, user, db, lesion, 200)


@router.get("/lesions/{lesion_id}/stability")
def stability(
    request: Request, user: Reader, db: ReadDb, lesion_id: uuid.UUID, checkpoint: str
) -> Response:
    """How far until that checkpoint names another class, computed now.

    Raises:
        NotFound, Forbidden: as ``Standing.asked``.
    """
    lesion, said = Standing.asked(request, db, user, lesion_id, checkpoint)
    network = said.checkpoint
    found = request.app.state.inference.stability(db, lesion, network)
    return fragment(
        request,
        "lesions/_stability.html",
        found=found,
        display=network.scheme.display,
        lines=[(bar.sentence(network.scheme.display), bar) for bar in found.bars],
    )


@router.get("/lesions/{lesion_id}/saliency")
def saliency(
    request: Request,
    user: Reader,
    db: ReadDb,
    lesion_id: uuid.UUID,
    checkpoint: str,
    of: str = "",
    method: Method = Method.CAM,
) -> Response:
    """What moves a score of that checkpoint, computed now: a piece for a script, else a page.

    Args:
        of: key of the class whose score it is; "" for the class that was named.
        method: how the map is made.

    Raises:
        NotFound, Forbidden: as ``Standing.asked``.
        SchemeError: no such class.
        SaliencyError: a network of which this cannot be told.
    """
    lesion, said = Standing.asked(request, db, user, lesion_id, checkpoint)
    of = of or said.lesion_class
    found = request.app.state.inference.saliency(db, lesion, said, of, method, checked=True)
    told = map_told(lesion, said, of, found)
    if wants_fragment(request):
        return fragment(request, "lesions/_saliency.html", map=told)
    return page(request, "lesions/saliency.html", lesion=lesion, map=told)


@router.get("/lesions/{lesion_id}/comparison")
def compare(
    request: Request, user: Reader, db: ReadDb, lesion_id: uuid.UUID, checkpoint: str
) -> Response:
    """The lesion beside reviewed ones and those that network was trained on, and its measurements
    beside theirs: a piece for a script, else a page.

    What is shown is written down as seen before it leaves.

    Raises:
        NotFound, Forbidden: as ``Standing.asked``.
    """
    lesion, said = Standing.asked(request, db, user, lesion_id, checkpoint)
    network = said.checkpoint
    comparing: Comparing = request.app.state.comparing
    first = request.app.state.settings.review_first
    found = comparing.of(db, user, lesion, network, review_first=first)
    witness: Witness = request.app.state.witness
    witness.saw(*(Seen(user.id, Shown.LESION, one) for one in found.seen))
    several = network.file.ensemble
    is_piece = wants_fragment(request)
    show = fragment if is_piece else page
    return show(
        request,
        "lesions/_comparison.html" if is_piece else "lesions/comparison.html",
        level=4 if is_piece else 2,
        lesion=lesion,
        found=found,
        checkpoint=network,
        own_picture=f"/lesions/{lesion.id}/roi.png?checkpoint={network.id}",
        window=window_told(network, lesion.image),
        window_ends=window_ends(network, lesion.image),
        of_one_fold=several is not None and several.saw_all,
    )


@router.post("/lesions/{lesion_id}/withdrawal")
def withdraw(
    request: Request,
    user: Reader,
    db: Db,
    lesion_id: uuid.UUID,
    lesion: Annotated[str, Form()] = "",
    number: Annotated[str, Form()] = "",
    person: Annotated[str, Form()] = "",
) -> Response:
    """Take a lesion back: the person who marked it, or an administrator."""
    standing = Lesion.require(db, lesion_id, hold=True)
    Enrolment.refuse_case(db, user, standing.case_id)
    Slip(lesion, number, person).check(standing, user)
    standing.withdraw(db, user)
    Stimulus.tell_withdrawal(db, standing.id, user.name)
    if wants_fragment(request):
        return Response(status_code=204)
    return see_other(f"/cases/{standing.case_id}", f"Lesion {standing.number} was withdrawn.")


@router.post("/lesions/{lesion_id}/restoration")
def restore(
    request: Request,
    user: Reader,
    db: Db,
    lesion_id: uuid.UUID,
    person: Annotated[str, Form()] = "",
) -> Response:
    """Bring a withdrawn lesion back: the person who withdrew it, or an administrator."""
    lesion = Lesion.held(db, lesion_id)
    Enrolment.refuse_case(db, user, lesion.case_id)
    if person:
        refuse_other_person(person, user)
    lesion.restore(db, user)
    Stimulus.tell_withdrawal(db, lesion.id, user.name, taken_back=True)
    return _panel(request, user, db, lesion, 200)


def _panel(request: Request, user: Reader, db: ReadDb, lesion: Lesion, status: int) -> Response:
    if not wants_fragment(request):
        return see_other(f"/cases/{lesion.case_id}?lesion={lesion.id}")
    return panel(request, db, user, lesion, status)
