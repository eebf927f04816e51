"""``POST /api/v1/classifications``: lesions in, class probabilities out, at once or as a job.

An image or an ROI that is sent along is classified and not stored; images that are held here are
named by reference, many lesions in one call. The busiest route: an ROI is decoded on the event
loop, anything larger in threads of its own, and ROIs that wait at the same moment are scored
together.
"""

from __future__ import annotations

import io
import json
import math
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.responses import Response

from app.auth import Machine, machine
from app.bodies import files_of, multipart, text_of, told_once
from app.decoding import Decoding, ReadFrame
from app.errors import BadRequest, NotAcceptable, NotFound, Unreadable
from app.inference import Scores, ServedClassifier, ServingDesk
from app.jobs import rendering
from app.jobs.answers import Classified
from app.jobs.items import Item, RefusedItem, SentRoi
from app.jobs.orders import AT_ONCE, PlaceOrder
from app.media import JSON, Media, Offer, chosen
from app.models.cases.case import PHASES, warning_of
from app.models.cases.reference import Reference
from app.models.checkpoint import VERSION_SAYS
from app.models.reader_studies.look import Seen, Shown
from app.routes.api import jobs, references
from app.routes.api.once import PARAMETER, Pledge, once
from app.routes.api.problems import problems, refuse_query
from app.watch import Watch
from ml.checkpoints.checkpoint import Checkpoint
from ml.ground.errors import HepaticaError
from ml.images import archive, dicom, picture, roi
from ml.images.ct_slice import CTSlice
from ml.images.roi import Box, Roi

router = APIRouter(tags=["classifications"])

_SMALL_BYTES = 32_768
_SMALL_PIXELS = 256 * 256  # few bytes can be many pixels: 2 kB of PNG unpack to 16 million
_ARRAY_BYTES = 1_000_000  # of one ROI: 64 × 64 numbers of 8 bytes are 32,768
_PLACE = ("box", "center", "diameter_mm", "frame")
_FIELDS = ("image", *_PLACE, "contrast_phase", "lesions", "hook")
_OFFERS = (Offer(JSON), Offer(rendering.PNG))
_NUMBER = re.compile(r"\s*[+-]?(\d{1,30}\.?\d{0,30}|\.\d{1,30})([eE][+-]?\d{1,3})?\s*", re.ASCII)


class RoiAnswer(BaseModel):
    """What was cut: rectangles as [x, y, width, height] in pixels of the image."""

    box: list[float] | None = Field(description="The lesion's box; null when the image is the ROI.")
    square: list[float] = Field(description="What the network saw.")
    side_mm: float | None = Field(description="Side of the square in mm, where spacing is known.")


_OF_NUMBERS = (
    "Numbers are of the image. What is compared is within the checkpoint's window, whose ends "
    "stand for what lies beyond; a number that this changes is followed by the one in the window: "
    "mean 800 HU (in the window 250 HU). Of an ROI that is sent by itself nobody knows what lay "
    "beyond: a number that this may have changed is told as a bound (at least 250 HU), or as not "
    "known beyond the window."
)


class PredictionSetAnswer(BaseModel):
    """The classes that cannot be excluded."""

    level: float = Field(description="How often the true class is among them, 0…1.")
    classes: list[str] = Field(description="The likeliest first; never none.")


class UnlikeAnswer(BaseModel):
    """How far an ROI is from those that the network was trained on."""

    score: float = Field(description="1 is the limit: 19 of 20 lesions it never saw are nearer.")
    flag: bool = Field(description="Whether that is too far: do not rely on the class.")
    reasons: list[str] = Field(
        description=f"What raised it; empty where it is not flagged. {_OF_NUMBERS}"
    )


class SecondOpinionAnswer(BaseModel):
    """What a regression on named measurements says of the same ROI."""

    model: str
    probabilities: dict[str, float] = Field(description="Per class, 0…1, calibrated out of fold.")
    reasons: list[str] = Field(
        description=f"For its likeliest class, the strongest first. {_OF_NUMBERS}"
    )


class AgreementAnswer(BaseModel):
    """What the networks of an ensemble say by themselves of the same ROI."""

    networks: int = Field(description="How many they are.")
    agree: int = Field(description="How many of them name `lesion_class`.")
    lowest: float = Field(description="The least that one of them gives that class, 0…1 …")
    highest: float = Field(description="… and the most.")


class ClassificationAnswer(BaseModel):
    """Class probabilities of one ROI."""

    checkpoint: str
    version: str = Field(description=VERSION_SAYS)
    lesion_class: str = Field(description="The likeliest class. Research use only.")
    probabilities: dict[str, float] = Field(
        description="Per class, 0…1, adding up to 1: probabilities where `calibrated` says so, "
        "else scores."
    )
    calibrated: bool = Field(
        description="Whether they were calibrated for images of this kind, on lesions that the "
        "network had not seen."
    )
    prediction_set: PredictionSetAnswer | None = Field(
        description="The classes that cannot be excluded; null where a warning says why."
    )
    unlike_training: UnlikeAnswer | None = Field(
        description="Whether the ROI is unlike those that the network was trained on; null where a "
        "warning says why."
    )
    second_opinion: SecondOpinionAnswer | None = Field(
        description="Of a simpler model, with its reasons; null where a warning says why."
    )
    agreement: AgreementAnswer | None = Field(
        description="Of the networks whose mean answers; null where one network answers, as a "
        "warning then says."
    )
    roi: RoiAnswer
    calibrated_hu: bool = Field(description="Whether the image was in Hounsfield units.")
    limits: str = Field(description="What stands behind the score: preset, training, test.")
    warnings: list[str]


class ImageNamed(BaseModel):
    """An image that is held here, by the UIDs under which it leaves."""

    study: str
    series: str
    instance: str


class LesionAnswer(ClassificationAnswer):
    """One lesion of several, classified."""

    status: int = Field(description="200.")
    case: str | None = Field(None, description="Where the image is held here.")
    image: ImageNamed | None = Field(None, description="The same.")
    lesion: str | None = Field(None, description="Of the case, where the place is that of one.")


class LesionRefusal(BaseModel):
    """One lesion of several, and why it was not classified."""

    status: int
    title: str
    detail: str


class LesionsAnswer(BaseModel):
    """Several lesions, or what was asked for by reference: each answered or refused by itself."""

    checkpoint: str
    classified: int
    refused: int
    lesions: list[LesionAnswer | LesionRefusal] = Field(description="In the order of the request.")


_COORDINATES = (
    "x runs to the right and y down; 0,0 is the outer corner of the first pixel, whose centre is "
    "0.5,0.5."
)
_BODY: dict[str, object] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["image"],
                "properties": {
                    "image": {
                        "type": "string",
                        "format": "binary",
                        "description": "CT DICOM, PNG, JPEG, or a 64 × 64 ROI as PNG, npy, npz.",
                    },
                    "box": {
                        "type": "string",
                        "description": f"x,y,width,height in pixels. {_COORDINATES}",
                        "example": "200,180,40,36",
                    },
                    "center": {
                        "type": "string",
                        "description": f"x,y in pixels; needs diameter_mm. {_COORDINATES}",
                        "example": "220,198",
                    },
                    "diameter_mm": {
                        "type": "number",
                        "exclusiveMinimum": 0,
                        "description": "Diameter of the lesion in mm; needs center.",
                    },
                    "frame": {
                        "type": "integer",
                        "minimum": 1,
                        "description": "Which frame of a multi-frame object.",
                    },
                    "contrast_phase": {
                        "type": "string",
                        "enum": list(PHASES),
                        "default": "unknown",
                        "description": "Of the image. The networks were trained on portal-phase "
                        "images; of any other there is a warning.",
                    },
                    "lesions": {
                        "type": "string",
                        "description": "JSON: a list of places, each with box, or center and "
                        "diameter_mm, and frame; each is answered or refused by itself.",
                    },
                    "hook": {
                        "type": "string",
                        "description": "A configured hook that is told the end of the job.",
                    },
                },
            }
        },
        "application/json": {"schema": references.SCHEMA},
    },
}


@router.post(
    "/classifications",
    summary="Classify lesions",
    response_model=ClassificationAnswer | LesionsAnswer,
    responses={
        200: {
            "description": "One lesion of an image that was sent; or several, or by reference, in "
            "`lesions`; or the report or picture that `Accept` asked for.",
            "content": {one.kind: {} for one in references.OFFERS[1:]},
        },
        202: {
            "description": "A job, where `Prefer: respond-async` or a batch made it one.",
            "model": jobs.JobAnswer,
            "headers": {
                "Location": {
                    "description": "Where the job is asked after.",
                    "schema": {"type": "string"},
                }
            },
        },
        **problems(403, 406, 409, 413),
    },
    openapi_extra={
        "requestBody": _BODY,
        "parameters": [PARAMETER, jobs.PREFER],
        "security": [{"HTTPBearer": []}],
    },
)
async def classify(request: Request) -> Response:
    """Send an image and where the lesion is; get a probability for each class.

    A 64 × 64 image needs no place: it is the ROI itself. Several lesions of one image go into
    `lesions`, and each is answered or refused by itself. `contrast_phase` says the phase of an
    image that is sent; of any but the portal one there is a warning. Of images that are held here
    send JSON: `lesions`, each with `study`, `series`, `instance`, `frame` as far as they are needed
    (UIDs of `/dicomweb` or of whoever sent the image) and `box`, or `center` and `diameter_mm`, or
    `marks` alone, the UID of a DICOM object that marks them; each is answered or refused by itself.
    `pacs` names a configured PACS from which a study that is not here is fetched first.
    `Accept` chooses JSON, PNG, or `application/dicom` for a report about images that are held
    here. With `Prefer: respond-async`, or more than 16 lesions, the
    answer is a job. An image that is sent along is not stored; its ROI is until its job is over.
    """
    refuse_query(request)
    desk: ServingDesk = request.app.state.served
    served = await desk.classifier()
    if served is None:
        raise NotFound("No classifier is served by this installation.")
    # asked for here and not as dependencies: solving those costs as much as parsing the body
    program = await machine(request)
    if Media.of(request.headers.get("content-type", "")).name == JSON:
        return await references.classify(request, program, served)
    return await _of_upload(request, program, served)


async def _of_upload(request: Request, program: Machine, served: ServedClassifier) -> Response:
    form = await multipart(request)
    _refuse_unknown(form)
    places = _places(form)
    batch = len(places) > AT_ONCE
    sent = jobs.Sending.of(request, text_of(form, "hook") or None, batch=batch)
    offer = chosen(request, _OFFERS[:1] if sent.asynchronous or places else _OFFERS)
    uploads = files_of(form, "image")
    if len(uploads) != 1:
        raise BadRequest("Send one file in the field `image`.")
    told_name, data = uploads[0]
    # what is kept of a call for a while says nothing of a file's name, which may name a patient
    name = told_name if not (sent.asynchronous or places) else "the image"
    place, phase_warning = _place(form), _phase_warning(form)
    meta = served.network.meta

    decoding: Decoding = request.app.state.decoding
    watch: Watch = request.app.state.watch
    read = decoding.reader_of(str(program.token_id))

    async def cut() -> _Found:
        if _is_small(data):
            found = _found(dicom.read_frame, name, data, place, meta)
        else:
            found = await decoding.of_one(lambda: _found(read, name, data, place, meta))
        await watch.refuse_program(program.owner_id, found.roi.pixels)
        if phase_warning is None:
            return found
        warnings = (*found.roi.warnings, phase_warning)
        return replace(found, roi=replace(found.roi, warnings=warnings))

    async def still() -> None:
        """What is answered again is refused as it would be now."""
        await run_in_threadpool(watch.refuse, program.owner_id)
        if not await run_in_threadpool(watch.compares):
            return  # nothing for which the image would have to be decoded once more
        if not places:
            await cut()
            return
        for item in await decoding.of_one(lambda: _items(read, name, data, places, meta)):
            if isinstance(item, SentRoi):
                await watch.refuse_program(program.owner_id, item.roi.pixels)

    async def act(pledge: Pledge) -> Response:
        if places:
            return await _of_many(
                request, program, served, places, (name, data), phase_warning, sent, pledge
            )
        found = await cut()
        await run_in_threadpool(_note, request, program, [found.slice])
        if sent.asynchronous:
            items = [SentRoi(found.roi, found.phantom)]
            return await run_in_threadpool(
                jobs.queued, request, program, served.checkpoint_id, items, sent, pledge
            )
        scores = await served.scores(found.roi, phantom=found.phantom)
        if offer.kind == rendering.PNG:
            drawn = await run_in_threadpool(_drawn, found, scores, served)
            return Response(drawn, media_type=rendering.PNG)
        answer = Classified.of(found.roi, scores, served.version)
        return Response(json.dumps(answer.told()), media_type=JSON)

    def said() -> list[bytes]:
        fields = [f"{key}={value}" for key, value in form.multi_items() if isinstance(value, str)]
        return [json.dumps(sorted(fields)).encode(), told_name.encode(), data]

    return await once(request, program, said, act, still)


async def _of_many(
    request: Request,
    program: Machine,
    served: ServedClassifier,
    places: Sequence[PlaceOrder],
    file: tuple[str, bytes],
    phase_warning: str | None,
    sent: jobs.Sending,
    pledge: Pledge,
) -> Response:
    """Several lesions of one image that is sent along."""
    decoding: Decoding = request.app.state.decoding
    meta = served.network.meta
    await run_in_threadpool(request.app.state.watch.refuse, program.owner_id)
    read = decoding.reader_of(str(program.token_id))
    shown: list[CTSlice] = []
    items = await decoding.of_one(lambda: _items(read, *file, places, meta, shown))
    if phase_warning is not None:
        items = [one.warned(phase_warning) if isinstance(one, SentRoi) else one for one in items]
    await run_in_threadpool(_note, request, program, shown)
    return await run_in_threadpool(
        references.scored, request, program, served, items, sent, _OFFERS[0], pledge
    )


def _note(request: Request, program: Machine, slices: Sequence[CTSlice | None]) -> None:
    """That a person's program is told a score of what is held here as well, by its UID: their own
    class of it is not one that was given before they knew any."""
    if program.owner_id is None:
        return
    uids = {one.sop_uid for one in slices if one is not None and one.sop_uid}
    state = request.app.state
    with state.database.reading() as session:
        images = [
            image for uid in uids for image in Reference("", "", uid).known(session, state.key)
        ]
    state.witness.saw(*(Seen(program.owner_id, Shown.SCORE, image) for image in images))


def _items(
    read: ReadFrame,
    name: str,
    data: bytes,
    places: Sequence[PlaceOrder],
    meta: Checkpoint,
    seen: list[CTSlice] | None = None,
) -> list[Item]:
    """The ROI of each place, or why there is none; frames, decoded once, go into ``seen``."""
    _refuse_form(name, data)
    frames: dict[int | None, CTSlice] = {}
    items: list[Item] = []
    for place in places:
        try:
            if place.frame not in frames:
                frames[place.frame] = read(data, name, place.frame)
                if seen is not None:
                    seen.append(frames[place.frame])
            shown = frames[place.frame]
            box = place.box_on(shown.spacing_mm)
            cut = roi.make(shown, box, meta.window_hu, grey_range=meta.grey_range)
            items.append(SentRoi(cut, shown.phantom))
        except (Unreadable, HepaticaError) as error:
            items.append(RefusedItem.of(error))
    return items


def _places(form: FormData) -> list[PlaceOrder]:
    """The lesions of the field ``lesions``; none where it was not sent."""
    told = text_of(form, "lesions")
    if not told:
        return []
    if any(text_of(form, name) for name in _PLACE):
        raise Unreadable("Where lesions is sent, the places stand in it: leave the others out.")
    try:
        places = json.loads(told, object_pairs_hook=told_once)
    except (ValueError, RecursionError):
        raise Unreadable("lesions must be a list of places as JSON.") from None
    return references.read(places, references.PLACES, "lesions")


def _phase_warning(form: FormData) -> str | None:
    """What to say of the contrast phase, as of an image that is held here."""
    phase = text_of(form, "contrast_phase") or "unknown"
    if phase not in PHASES:
        raise Unreadable(f"contrast_phase can be {', '.join(PHASES)}.")
    return warning_of(phase)


def _refuse_unknown(form: FormData) -> None:
    """A field that nobody reads, or one that was sent twice, is a mistake in what was asked."""
    names = [name for name, _ in form.multi_items()]
    unknown = sorted(set(names) - set(_FIELDS))
    if unknown:
        told = ", ".join(name[:40] for name in unknown[:5])
        raise Unreadable(
            f"There is no field {told} in this call; there are {', '.join(_FIELDS)}. Nothing was "
            "classified."
        )
    twice = next((name for name in _FIELDS if names.count(name) > 1), None)
    if twice == "image":
        raise BadRequest("Send one file in the field `image`.")
    if twice is not None:
        raise Unreadable(f"The field {twice} was sent {names.count(twice)} times; send it once.")


def _is_small(data: bytes) -> bool:
    """Whether it is decoded here and at once: an array, or a small picture of nothing but pixels.

    Nobody notices the event loop standing still for it; and since all its bytes were counted before
    it is decoded, there is nothing in it that could overrun a decoder.
    """
    if len(data) > _SMALL_BYTES:
        return False
    return roi.is_array(data) or picture.is_plain(data, _SMALL_PIXELS)


@dataclass(frozen=True)
class _Place:
    box: tuple[float, ...] | None
    center: tuple[float, ...] | None
    diameter_mm: float | None
    frame: int | None

    @property
    def is_given(self) -> bool:
        return not (self.box is None and self.center is None and self.frame is None)


def _place(form: FormData) -> _Place:
    box = _numbers(text_of(form, "box"), 4, "box", "x,y,width,height")
    center = _numbers(text_of(form, "center"), 2, "center", "x,y")
    diameter = _numbers(text_of(form, "diameter_mm"), 1, "diameter_mm", "a number of mm")
    if diameter and diameter[0] <= 0:
        raise Unreadable("diameter_mm must be above zero.")
    frame = text_of(form, "frame")
    if frame and not (frame.isascii() and frame.isdigit() and len(frame) < 7):
        raise Unreadable(f"frame must be a whole number from 1, not {frame[:40]!r}.")
    if box is not None and (center is not None or diameter is not None):
        raise Unreadable("Give either box, or center with diameter_mm, not both.")
    if (center is None) != (diameter is None):
        raise Unreadable("center and diameter_mm go together: give both, or a box.")
    return _Place(
        box=box,
        center=center,
        diameter_mm=diameter[0] if diameter else None,
        frame=int(frame) if frame else None,
    )


def _numbers(text: str, count: int, field: str, form: str) -> tuple[float, ...] | None:
    if not text:
        return None
    parts = text.split(",")
    # float() also takes 1_000, other scripts' digits, nan and inf
    values = tuple(float(part) for part in parts if _NUMBER.fullmatch(part))
    if len(values) != count or not all(math.isfinite(value) for value in values):
        raise Unreadable(f"{field} must be {form}, not {text[:80]!r}.")
    return values


@dataclass(frozen=True)
class _Found:
    """The ROI of what was sent, whether it is from a phantom, and the slice it was cut from."""

    roi: Roi
    phantom: bool
    slice: CTSlice | None


def _found(read: ReadFrame, name: str, data: bytes, place: _Place, meta: Checkpoint) -> _Found:
    """What was sent, ready to be scored; HepaticaError for anything unusable."""
    if roi.is_array(data):
        if place.is_given:
            raise Unreadable(
                f"{name} is an array, which is the ROI itself: leave box, center, diameter_mm and "
                "frame out, or send the slice."
            )
        return _Found(_given(name, data), False, None)
    _refuse_form(name, data)
    shown = read(data, name, place.frame)
    box = Box(*place.box) if place.box else None
    if place.center is not None and place.diameter_mm is not None:
        x, y = place.center
        box = Box.around(x, y, place.diameter_mm, shown.spacing_mm)
    cut = roi.make(shown, box, meta.window_hu, grey_range=meta.grey_range)
    return _Found(cut, shown.phantom, shown)


def _refuse_form(name: str, data: bytes) -> None:
    """Unreadable for what holds no image of its own."""
    if archive.is_zip(data):
        raise Unreadable(
            f"{name} is a zip archive, and this call takes one image: unpack it and send the slice "
            "itself."
        )
    if roi.is_array(data):
        raise Unreadable(f"{name} is an array, which is one ROI itself: leave lesions out.")


def _drawn(found: _Found, scores: Scores, served: ServedClassifier) -> bytes:
    if found.slice is None:
        raise NotAcceptable("An array is no picture to draw on. Ask for JSON, or send the slice.")
    return rendering.sent(found.slice, found.roi, scores, served)


def _given(name: str, data: bytes) -> Roi:
    if max(len(data), _unpacked(data)) > _ARRAY_BYTES:
        raise Unreadable(
            f"{name} is larger than one ROI can be. Send an array of 64 × 64 numbers as npy or npz."
        )
    rois = roi.load(data, name)
    if len(rois) != 1:
        raise Unreadable(f"{name} holds {len(rois)} ROIs; send one at a time.")
    side = rois.shape[-1]
    warning = "the array is taken as Hounsfield units mapped from the checkpoint's window"
    warnings = (warning, *roi.flat(rois[0]))
    return Roi(rois[0], True, None, Box(0, 0, side, side), None, warnings)


def _unpacked(data: bytes) -> int:
    """What a zip says that it unpacks to; 0 for anything else, which ``ml.images.roi`` judges."""
    if data[:2] != b"PK":
        return 0
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as opened:
            return sum(member.file_size for member in opened.infolist())
    except Exception:  # a damaged zip, whatever zipfile makes of it
        return 0
