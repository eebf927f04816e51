"""Answers of the network as objects: a report for a PACS, a picture for people."""

from __future__ import annotations

import io
import uuid
from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from PIL import Image as Picture
from sqlalchemy.orm import Session, joinedload

from app.db import now
from app.errors import NotAcceptable, Unreadable
from app.inference import Scores, ServedClassifier
from app.jobs.answers import Answer, Classified
from app.models.cases.case import Case, Image, Series
from app.models.cases.lesion import Lesion
from app.models.checkpoint import Checkpoint
from app.objects import scored
from app.objects.said import Account, By, predicted
from app.objects.scored import Scored
from ml.ground.records import to_json
from ml.images.ct_slice import CTSlice
from ml.images.roi import Box, Roi

PNG = "image/png"


def report(
    session: Session, answers: Sequence[Answer], checkpoint: Checkpoint, at: datetime, key: bytes
) -> bytes:
    """A structured report (TID 1500) of all the answers, as a DICOM file.

    Args:
        at: when it was said; the same answers of the same moment are the same object.
        key: of the installation.

    Raises:
        Unreadable: a lesion was refused, or they lie in several studies; ``lesions`` tells more.
    """
    # highdicom takes 0.3 s to import, which no start of the server is to wait for
    from app.objects import report as reports
    from app.objects.part10 import written

    found = account(session, answers, checkpoint, at)
    return written(reports.made(found, key))


def picture(
    session: Session, answers: Sequence[Answer], checkpoint: Checkpoint, at: datetime
) -> bytes:
    """The slice with the box and the scores, as PNG.

    Raises:
        NotAcceptable: there are several lesions.
        Unreadable: as `report`.
    """
    if len(answers) > 1:
        raise NotAcceptable("A PNG shows one lesion. Ask for one, or for JSON or a report.")
    found = account(session, answers, checkpoint, at)
    return drawn(found.statements[0].image.slice(session), found)


def sent(image: CTSlice, found: Roi, scores: Scores, served: ServedClassifier) -> bytes:
    """An image that was sent along and is not kept, with the box and the scores, as PNG."""
    meta = served.network.meta
    box = found.box or found.square
    lesion = Lesion(number=1, x=box.x, y=box.y, width=box.width, height=box.height)
    statement = predicted(lesion, uuid.uuid4(), scores.said, scores.warnings, meta.scheme)
    case = Case(pseudonym="")
    told = Account(case, By.NETWORK, meta.name, served.version, now(), (statement,))
    return drawn(image, told)


def drawn(image: CTSlice, found: Account) -> bytes:
    """One account's first lesion on its slice, as PNG."""
    from app.objects import capture  # imports highdicom

    stream = io.BytesIO()
    Picture.fromarray(capture.drawn(image, found.statements[0], found)).save(stream, "PNG")
    return stream.getvalue()


def account(
    session: Session, answers: Sequence[Answer], checkpoint: Checkpoint, at: datetime
) -> Account:
    """The answers about images that are held here as an account of the network."""
    good = [one for one in answers if isinstance(one, Classified)]
    if len(good) < len(answers):
        raise Unreadable(
            "Not every lesion was classified, and a report that leaves some out would not say so. "
            "Ask for JSON, or leave out the lesions that are refused.",
            lesions=to_json(answers),
        )
    placed = [(one, one.held.image.instance) for one in good if one.held is not None]
    if len(placed) < len(good):
        raise NotAcceptable(
            "A report refers to images that are held here, and these were sent with the call. "
            "Send them to /dicomweb/studies, then classify by reference."
        )
    uids = {uid for _, uid in placed}
    query = (
        sa.select(Image)
        .options(joinedload(Image.series).joinedload(Series.case))
        .where(Image.uid.in_(uids))
    )
    images = {image.uid: image for image in session.scalars(query)}
    if len(images) < len(uids):
        raise Unreadable("An image was deleted meanwhile, so no object can refer to it.")
    cases: dict[object, Case] = {one.series.case.id: one.series.case for one in images.values()}
    if len(cases) > 1:
        raise Unreadable("A report is of one study, and these lesions lie in several.")
    (case,) = cases.values()
    places = [_scored(images[uid], one) for one, uid in placed]
    return scored.account(case, checkpoint, at, places)


def _scored(image: Image, answer: Classified) -> Scored:
    box = answer.roi.box or (0.0, 0.0, float(image.columns), float(image.rows))
    return Scored(image, Box(*box), answer.said, answer.warnings)
