"""Pixels of images and lesions: kept by the browser, and asked for anew at each view.

Each first view is written down before the answer, also where the browser has the bytes already:
another account may have fetched them.
"""

from __future__ import annotations

import io
import uuid

import numpy as np
import numpy.typing as npt
from fastapi import APIRouter, Request
from PIL import Image as Picture
from starlette.responses import Response

from app.auth import Reader
from app.db import ReadDb
from app.errors import NotFound
from app.models.cases.case import Image
from app.models.cases.lesion import Lesion
from app.models.cases.prediction import Prediction
from app.models.checkpoint import Checkpoint
from app.models.reader_studies.enrolment import Enrolment
from app.models.reader_studies.look import Seen, Shown
from app.presenters import Standing
from app.responses import KEPT, etag_of, unchanged
from app.witness import Witness
from ml.images import roi
from ml.images.greys import Chosen
from ml.images.roi import to_png
from ml.trust.saliency import Method

router = APIRouter(include_in_schema=False)

EYE_WINDOW_HU = (-50.0, 150.0)
"""The window of a picture made for the eye (width 200, level 50)."""
THUMBNAIL_PX = 64
COARSE = 8
"""So many pixels of a slice are one of its thumbnail at least, in each direction."""


def _saw(request: Request, user: Reader, shown: Image | Lesion) -> None:
    witness: Witness = request.app.state.witness
    if isinstance(shown, Image):
        of, case_id = Shown.IMAGE, shown.series.case_id
    else:
        of, case_id = Shown.LESION, shown.case_id
    witness.opened(user.name, case_id)
    witness.saw(Seen(user.id, of, shown.id))


@router.get("/images/{image_id}/pixels")
def image_pixels(request: Request, user: Reader, db: ReadDb, image_id: uuid.UUID) -> Response:
    """Little-endian rows × columns; sent as it is stored, a zlib stream the browser unpacks."""
    image = Image.require(db, image_id)
    Enrolment.refuse_case(db, user, image.series.case_id)
    _saw(request, user, image)
    etag = etag_of("pixels", image.id, image.pixels_digest)
    held = unchanged(request, etag)
    if held is not None:
        return held
    headers = {**KEPT, "etag": etag, "content-encoding": "deflate"}
    data = image.stored_pixels(db)
    return Response(data, media_type="application/octet-stream", headers=headers)


@router.get("/images/{image_id}/preview.png")
def image_preview(request: Request, user: Reader, db: ReadDb, image_id: uuid.UUID) -> Response:
    """The whole slice at the default window, for a page without scripts."""
    image = Image.require(db, image_id)
    Enrolment.refuse_case(db, user, image.series.case_id)
    _saw(request, user, image)
    etag = etag_of("preview", image.id, image.pixels_digest, *EYE_WINDOW_HU)
    held = unchanged(request, etag)
    if held is not None:
        return held
    return _png(_for_the_eye(db, image), etag)


@router.get("/cases/{case_id}/thumbnail.png")
def case_thumbnail(request: Request, user: Reader, db: ReadDb, case_id: uuid.UUID) -> Response:
    """The key slice of a case for a list, each pixel the mean of 8 × 8 of the slice or more.

    A lesion is some pixels in it, so it is no look at one that a blinded reading could ask about,
    and a part of the list, not an opening of the case.

    Raises:
        NotFound: no such case, or none with an image.
        Forbidden: a blinded reading of this person could be about it.
    """
    Enrolment.refuse_case(db, user, case_id)
    image = Lesion.key_image(db, case_id)
    etag = etag_of("thumbnail", image.id, image.pixels_digest, *EYE_WINDOW_HU)
    held = unchanged(request, etag)
    return held or _png(_coarse(_for_the_eye(db, image)), etag)


def _for_the_eye(db: ReadDb, image: Image) -> npt.NDArray[np.uint8]:
    window = EYE_WINDOW_HU if image.calibrated else image.slice(db).grey_range
    grey: npt.NDArray[np.uint8] = roi.to_grey(roi.normalise(image.pixels(db), window))
    return grey


def _coarse(grey: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Means of squares of a picture; what is left of the last row and column of them is cut off."""
    side = max(COARSE, -(-max(grey.shape) // THUMBNAIL_PX))
    rows, columns = (max(1, size // side) for size in grey.shape)
    whole = grey[: rows * side, : columns * side]
    high, wide = whole.shape[0] // rows, whole.shape[1] // columns
    means = whole.reshape(rows, high, columns, wide).mean(axis=(1, 3))
    coarse: npt.NDArray[np.uint8] = np.round(means).astype(np.uint8)
    return coarse


def _png(grey: npt.NDArray[np.uint8], etag: str) -> Response:
    stream = io.BytesIO()
    Picture.fromarray(grey).save(stream, "PNG", compress_level=1)
    return Response(stream.getvalue(), media_type="image/png", headers={**KEPT, "etag": etag})


@router.get("/lesions/{lesion_id}/roi.png")
def lesion_roi(
    request: Request,
    user: Reader,
    db: ReadDb,
    lesion_id: uuid.UUID,
    checkpoint: uuid.UUID | None = None,
) -> Response:
    """The ROI as that checkpoint sees it, 64 × 64 in its window; by default as the one did that
    scored it last, or as the served one would."""
    lesion = Lesion.require(db, lesion_id)
    Enrolment.refuse_case(db, user, lesion.case_id)
    if checkpoint is None:
        network = Prediction.network_of(db, Prediction.of_lesion(db, lesion.id))
    else:
        network = db.get(Checkpoint, checkpoint)
        if network is None:
            raise NotFound("There is no such checkpoint. Load the lesion again.")
    window: tuple[float, float] = roi.DEFAULT_WINDOW_HU
    greys: Chosen | None = None
    if network is not None:
        window, greys = network.window_hu, network.grey_range_of(lesion.image.dtype)
    _saw(request, user, lesion)
    etag = etag_of("roi", lesion.id, lesion.box, *window, greys)
    held = unchanged(request, etag)
    if held is not None:
        return held
    pixels = lesion.roi(db, window, greys).pixels
    return Response(to_png(pixels), media_type="image/png", headers={**KEPT, "etag": etag})


@router.get("/lesions/{lesion_id}/saliency.png")
def lesion_saliency(
    request: Request,
    user: Reader,
    db: ReadDb,
    lesion_id: uuid.UUID,
    checkpoint: str,
    of: str = "",
    method: Method = Method.CAM,
) -> Response:
    """The ROI as that checkpoint sees it, under the map of what moves its score; as the page
    ``/lesions/{lesion_id}/saliency`` explains it."""
    lesion, said = Standing.asked(request, db, user, lesion_id, checkpoint)
    _saw(request, user, lesion)
    of = of or said.lesion_class
    etag = etag_of("saliency", lesion.id, lesion.box, said.id, of, method)
    held = unchanged(request, etag)
    if held is not None:
        return held
    found = request.app.state.inference.saliency(db, lesion, said, of, method, checked=False)
    return Response(found.png(), media_type="image/png", headers={**KEPT, "etag": etag})
