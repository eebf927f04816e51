"""WADO-RS: what is kept can be retrieved: whole, as metadata, frame by frame, rendered
(PS3.18 10.4).

Each first look at a picture is written down before it leaves, as in the viewer.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator, Sequence

from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from app.auth import Asker, Someone
from app.db import Database, ReadDb
from app.dicomweb import addresses, held
from app.dicomweb.pictures import JPEG, PNG, THUMBNAIL_PX, Rendering, Viewport
from app.errors import BadRequest, NotFound
from app.media import BYTES, DICOM_JSON, EXPLICIT, JSON, Offer, chosen
from app.models.cases.case import Image
from app.models.reader_studies.look import Seen, Shown
from app.objects import rebuilt
from app.objects.related import DICOM, Writing
from app.witness import Witness
from ml.ground.counted import counted

router = APIRouter()

_STUDY = "/studies/{study}"
_SERIES = _STUDY + "/series/{series}"
_INSTANCE = _SERIES + "/instances/{instance}"
_FRAMES = _INSTANCE + "/frames/{frames}"

_FILES = Offer(DICOM, multipart=True, syntax=EXPLICIT)
_ONE_FILE = Offer(DICOM, syntax=EXPLICIT)
_PARTS = Offer(BYTES, multipart=True, syntax=EXPLICIT)
_ONE_PART = Offer(BYTES, syntax=EXPLICIT)
_TEXTS = (Offer(DICOM_JSON), Offer(JSON))
_PICTURES = (Offer(JPEG), Offer(PNG))
_SEVERAL_PICTURES = (Offer(JPEG, multipart=True), Offer(PNG, multipart=True))
_PIXEL_DATA = "7FE00010"
_THUMBNAIL = Viewport(THUMBNAIL_PX, THUMBNAIL_PX)
_FRAME = re.compile(r"[1-9]\d{0,5}", re.ASCII)
_MOST_FRAMES = 2000


# -- whole -------------------------------------------------------------------------------------


@router.get(_STUDY)
def study(request: Request, asker: Someone, db: ReadDb, study: str) -> Response:
    """Every instance of a study."""
    return _whole(request, asker, held.images(db, asker, _key(request), study))


@router.get(_SERIES)
def series(request: Request, asker: Someone, db: ReadDb, study: str, series: str) -> Response:
    """Every instance of a series."""
    return _whole(request, asker, held.images(db, asker, _key(request), study, series))


@router.get(_INSTANCE)
def instance(
    request: Request, asker: Someone, db: ReadDb, study: str, series: str, instance: str
) -> Response:
    """One instance; of a multi-frame object each of its frames."""
    return _whole(request, asker, held.images(db, asker, _key(request), study, series, instance))


def _whole(request: Request, asker: Asker, images: Sequence[Image]) -> Response:
    offer = chosen(request, (_FILES, _ONE_FILE) if len(images) == 1 else (_FILES,))
    _saw(request, asker, images)
    if offer.multipart:
        return _streamed(request, images, DICOM)
    content, _ = next(_parts(request, [images[0].id], DICOM))
    return Response(content, media_type=f"{DICOM}; transfer-syntax={EXPLICIT}")


# -- metadata ----------------------------------------------------------------------------------


@router.get(_STUDY + "/metadata")
def study_metadata(request: Request, asker: Someone, db: ReadDb, study: str) -> Response:
    """Attributes of every instance of a study, without pixels."""
    return _metadata(request, asker, db, study)


@router.get(_SERIES + "/metadata")
def series_metadata(
    request: Request, asker: Someone, db: ReadDb, study: str, series: str
) -> Response:
    """Attributes of every instance of a series, without pixels."""
    return _metadata(request, asker, db, study, series)


@router.get(_INSTANCE + "/metadata")
def instance_metadata(
    request: Request, asker: Someone, db: ReadDb, study: str, series: str, instance: str
) -> Response:
    """Attributes of an instance, without pixels."""
    return _metadata(request, asker, db, study, series, instance)


def _metadata(request: Request, asker: Asker, db: ReadDb, *address: str) -> Response:
    """JSON (PS3.18 F.2); in place of the pixels stands where they are."""
    kind = chosen(request, _TEXTS).kind
    base = addresses.root(request)
    images, found = held.images(db, asker, _key(request), *address), []
    _opened(request, asker, images)
    for image in images:
        told = rebuilt.header(image).to_json_dict()
        at = addresses.of_instance(base, held.address(image))
        vr = "OB" if image.dtype == "uint8" else "OW"
        told[_PIXEL_DATA] = {"vr": vr, "BulkDataURI": f"{at}/bulkdata/{_PIXEL_DATA}"}
        found.append(told)
    return Response(json.dumps(found), media_type=kind)


# -- pixels ------------------------------------------------------------------------------------


@router.get(_FRAMES)
def frames(
    request: Request,
    asker: Someone,
    db: ReadDb,
    study: str,
    series: str,
    instance: str,
    frames: str,
) -> Response:
    """The pixels of frames, little-endian and uncompressed, in the order that is asked for."""
    found = _frames(held.images(db, asker, _key(request), study, series, instance), frames)
    return _pixels(request, asker, db, found)


@router.get(_INSTANCE + "/bulkdata/{tag}")
def bulk_data(
    request: Request, asker: Someone, db: ReadDb, study: str, series: str, instance: str, tag: str
) -> Response:
    """The value that metadata name by an address: pixels, of which alone there is that much."""
    if tag.upper() != _PIXEL_DATA:
        raise NotFound(f"There are no bulk data but those of Pixel Data ({_PIXEL_DATA}).")
    return _pixels(
        request, asker, db, held.images(db, asker, _key(request), study, series, instance)
    )


def _pixels(request: Request, asker: Asker, db: ReadDb, images: Sequence[Image]) -> Response:
    offer = chosen(request, (_PARTS, _ONE_PART) if len(images) == 1 else (_PARTS,))
    _saw(request, asker, images)
    if not offer.multipart:
        raw = rebuilt.raw_pixels(images[0].stored_pixels(db))
        return Response(raw, media_type=f"{BYTES}; transfer-syntax={EXPLICIT}")
    return _streamed(request, images, BYTES)


def _frames(images: Sequence[Image], told: str) -> list[Image]:
    """The images that a list of frame numbers names, from 1.

    Raises:
        BadRequest: it is no such list.
        NotFound: the instance has no such frame.
    """
    numbers = [one.strip() for one in told.split(",")]
    if len(numbers) > _MOST_FRAMES or not all(_FRAME.fullmatch(one) for one in numbers):
        raise BadRequest("Name frames by their numbers from 1, with commas between.")
    if len(set(numbers)) < len(numbers):  # PS3.18 10.4.1.1.4: a short address, an endless answer
        raise BadRequest("A frame is named twice. Name each once; they come in the order asked.")
    one_alone = len(images) == 1
    by_number = {1 if one_alone else image.frame: image for image in images}
    missing = [one for one in numbers if int(one) not in by_number]
    if missing:
        raise NotFound(
            f"The instance has {counted(len(images), 'frame')}; there is no frame {missing[0]}."
        )
    return [by_number[int(one)] for one in numbers]


# -- rendered ----------------------------------------------------------------------------------


@router.get(_STUDY + "/rendered")
def rendered_study(request: Request, asker: Someone, db: ReadDb, study: str) -> Response:
    """Every image of a study as a picture, each a part of the body; a single one by itself."""
    return _all_pictures(request, asker, db, held.images(db, asker, _key(request), study))


@router.get(_SERIES + "/rendered")
def rendered_series(
    request: Request, asker: Someone, db: ReadDb, study: str, series: str
) -> Response:
    """Every image of a series as a picture."""
    return _all_pictures(request, asker, db, held.images(db, asker, _key(request), study, series))


@router.get(_INSTANCE + "/rendered")
def rendered(
    request: Request, asker: Someone, db: ReadDb, study: str, series: str, instance: str
) -> Response:
    """An instance as a picture; of a multi-frame object its first frame."""
    found = held.images(db, asker, _key(request), study, series, instance)
    return _picture(request, asker, db, found[0])


@router.get(_FRAMES + "/rendered")
def rendered_frame(
    request: Request,
    asker: Someone,
    db: ReadDb,
    study: str,
    series: str,
    instance: str,
    frames: str,
) -> Response:
    """One frame as a picture."""
    found = _frames(held.images(db, asker, _key(request), study, series, instance), frames)
    return _picture(request, asker, db, _only(found))


@router.get(_STUDY + "/thumbnail")
def study_thumbnail(request: Request, asker: Someone, db: ReadDb, study: str) -> Response:
    """A small picture of the image in the middle of the study's first series."""
    found = held.images(db, asker, _key(request), study)
    first = [image for image in found if image.series_id == found[0].series_id]
    return _picture(request, asker, db, first[len(first) // 2], _THUMBNAIL)


@router.get(_SERIES + "/thumbnail")
def series_thumbnail(
    request: Request, asker: Someone, db: ReadDb, study: str, series: str
) -> Response:
    """A small picture of the image in the middle of a series."""
    found = held.images(db, asker, _key(request), study, series)
    return _picture(request, asker, db, found[len(found) // 2], _THUMBNAIL)


@router.get(_INSTANCE + "/thumbnail")
def thumbnail(
    request: Request, asker: Someone, db: ReadDb, study: str, series: str, instance: str
) -> Response:
    """A small picture of an instance."""
    found = held.images(db, asker, _key(request), study, series, instance)
    return _picture(request, asker, db, found[0], _THUMBNAIL)


@router.get(_FRAMES + "/thumbnail")
def frame_thumbnail(
    request: Request,
    asker: Someone,
    db: ReadDb,
    study: str,
    series: str,
    instance: str,
    frames: str,
) -> Response:
    """A small picture of one frame."""
    found = _frames(held.images(db, asker, _key(request), study, series, instance), frames)
    return _picture(request, asker, db, _only(found), _THUMBNAIL)


def _only(images: Sequence[Image]) -> Image:
    """The one image that a picture is asked of.

    Raises:
        BadRequest: there are several.
    """
    if len(images) > 1:
        raise BadRequest("Pictures are given of one frame at a time.")
    return images[0]


def _all_pictures(request: Request, asker: Asker, db: ReadDb, images: Sequence[Image]) -> Response:
    """One after the other as parts of a body; each is drawn when it is its turn."""
    if len(images) == 1:
        return _picture(request, asker, db, images[0])
    kind = chosen(request, _SEVERAL_PICTURES).kind
    rendering = Rendering.of(request.query_params)
    _saw(request, asker, images)
    database: Database = request.app.state.database
    base = addresses.root(request)

    def drawn(ids: Sequence[uuid.UUID]) -> Iterator[tuple[bytes, str]]:
        for image_id in ids:
            with database.reading() as session:
                image = Image.require(session, image_id)
                at = addresses.of_instance(base, held.address(image))
                yield rendering.drawn(session, image, kind), f"{at}/rendered"

    return _sent(drawn([image.id for image in images]), Writing(kind))


def _picture(
    request: Request, asker: Asker, db: ReadDb, image: Image, default: Viewport | None = None
) -> Response:
    kind = chosen(request, _PICTURES).kind
    rendering = Rendering.of(request.query_params, default)
    _saw(request, asker, [image])
    return Response(rendering.drawn(db, image, kind), media_type=kind)


def _key(request: Request) -> bytes:
    key: bytes = request.app.state.key
    return key


# -- how it leaves -----------------------------------------------------------------------------


def _saw(request: Request, asker: Asker, images: Sequence[Image]) -> None:
    """Write down what a person is shown; a program that acts for nobody has no eyes of its own."""
    _opened(request, asker, images)
    if asker.person is not None:
        witness: Witness = request.app.state.witness
        witness.saw(*(Seen(asker.person, Shown.IMAGE, image.id) for image in images))


def _opened(request: Request, asker: Asker, images: Sequence[Image]) -> None:
    """Write down whose data somebody is given, be it a person or a program."""
    witness: Witness = request.app.state.witness
    witness.opened(asker.name, *{image.series.case_id for image in images})


def _streamed(request: Request, images: Sequence[Image], kind: str) -> Response:
    """Images one after the other as parts of a body: files, or pixels alone.

    One at a time is in memory, and the database is left alone in between. What fails at the first
    is told by a status; what fails later cuts the body short, before its last boundary.
    """
    return _sent(_parts(request, [image.id for image in images], kind), Writing(kind, EXPLICIT))


def _sent(parts: Iterator[tuple[bytes, str]], writing: Writing) -> Response:
    first = next(parts)

    def every() -> Iterator[tuple[bytes, str]]:
        yield first
        yield from parts

    return StreamingResponse(writing.written(every()), media_type=writing.content_type)


def _parts(request: Request, ids: Sequence[uuid.UUID], kind: str) -> Iterator[tuple[bytes, str]]:
    database: Database = request.app.state.database
    base = addresses.root(request)
    for image_id in ids:
        with database.reading() as session:
            image = Image.require(session, image_id)
            raw = rebuilt.raw_pixels(image.stored_pixels(session))
            content = rebuilt.file(image, raw) if kind == DICOM else raw
            at = addresses.of_instance(base, held.address(image))
        yield content, at if kind == DICOM else f"{at}/frames/1"
