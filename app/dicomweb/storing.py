"""STOW-RS: instances come in, and end where uploads do (PS3.18 10.5)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydicom.dataset import Dataset
from starlette.responses import Response

from app.auth import Someone
from app.db import Db
from app.decoding import Decoding, limits
from app.dicomweb import addresses, delivery
from app.dicomweb.related import parts
from app.errors import BadRequest, OtherMedia
from app.media import DICOM_JSON, JSON, Media, Offer, chosen
from app.models.cases.case import PHASES, PSEUDONYM, Accepted, Case, MarksReceived, Receipt
from app.models.cases.entry import Door, Entry
from app.models.people.user import User
from app.objects.related import DICOM, RELATED
from app.uploads.parcel import Addressee, Parcel, Refusal, RefusalCode
from ml.images.dicom import CT_CLASSES

router = APIRouter()

COERCED = 0xB000
"""Warning reason "coercion of data elements": what is kept is de-identified, under other UIDs."""

_REASONS = {
    RefusalCode.NOT_CT: 0x0122,
    RefusalCode.UNSUPPORTED_SYNTAX: 0xC122,
    RefusalCode.TOO_LARGE: 0xA700,
    RefusalCode.TAKEN: 0x0111,
    RefusalCode.OWN: 0x0111,
    RefusalCode.BURNED_IN: 0x0110,
    RefusalCode.OTHER_STUDY: 0xA900,
    RefusalCode.OTHER_PATIENT: 0x0110,
    RefusalCode.PSEUDONYM: 0x0110,
    RefusalCode.LEAVING: 0xA700,
    RefusalCode.NO_PATIENT: 0x0110,
}
"""Failure reasons (PS3.18 I.2.2; of one that is here already PS3.7 C.5.7)."""
_NOT_UNDERSTOOD, _NOT_OF_CLASS = 0xC000, 0xA900

PSEUDONYM_HEADER = "hepatica-pseudonym"
"""A header of our own: what to call a patient whom the objects do not name. It is in no address."""

_ANSWERS = (Offer(DICOM_JSON), Offer(JSON))


async def _delivered(request: Request, asker: Someone) -> Parcel:
    """The instances of a request, decoded when it is their turn.

    Raises:
        NotAcceptable: the client takes no JSON, so it would not learn what became of them.
        OtherMedia: no DICOM.
        BadRequest: the body or a parameter makes no sense.
    """
    chosen(request, _ANSWERS)
    _phase(request)
    _pseudonym(request)
    most = limits(request.app.state.settings)
    instances = await _instances(request, most.files)
    to = Addressee(request.path_params.get("study", ""))
    decoding: Decoding = request.app.state.decoding
    return await decoding.of_upload(asker.name, lambda: delivery.opened(instances, to, most))


@router.post("/studies")
@router.post("/studies/{study}")
def store(
    request: Request, asker: Someone, parcel: Annotated[Parcel, Depends(_delivered)], db: Db
) -> Response:
    """Store every instance that can be used; the answer says what became of each.

    200: all are stored. 202: some are. 409: none is; 400 where none is DICOM, and 413 where all
    are too large.
    """
    receipt = Case.receive(
        db,
        parcel,
        User.of_id(db, asker.person) if asker.person else None,
        contrast_phase=_phase(request),
        pseudonym=_pseudonym(request),
        key=request.app.state.key,
        actor=asker.name,
        entry=Entry.at(request.app.state.settings, Door.STOW, asker.name),
    )
    told = _told(receipt, addresses.root(request)).to_json_dict()
    kind = chosen(request, _ANSWERS).kind
    return Response(json.dumps(told), _status(receipt), media_type=kind)


def _phase(request: Request) -> str:
    """The contrast phase that the sender states for all it sends: a parameter of our own.

    Raises:
        BadRequest: no such phase, two of them, or a parameter that is not read.
    """
    given = [name for name, _ in request.query_params.multi_items()]
    if given not in ([], ["contrast_phase"]):  # misspelt, it would be "unknown" for ever
        raise BadRequest("The address may have ?contrast_phase=… once, and nothing else after it.")
    phase = request.query_params.get("contrast_phase", "unknown")
    if phase not in PHASES:
        raise BadRequest(f"contrast_phase can be {', '.join(PHASES)}.")
    return phase


def _pseudonym(request: Request) -> str:
    told = request.headers.get(PSEUDONYM_HEADER, "").strip()
    if told and not PSEUDONYM.fullmatch(told):
        raise BadRequest(
            "Hepatica-Pseudonym may have 1 to 40 letters, digits, spaces and . : + - _ ."
        )
    return told


async def _instances(request: Request, most: int) -> list[bytes]:
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise OtherMedia("Send the body as it is, without Content-Encoding.")
    content = Media.of(request.headers.get("content-type", ""))
    if content.name == DICOM:
        body = b"".join([chunk async for chunk in request.stream()])
        if not body:
            raise BadRequest("Nothing was sent. Send a DICOM file.")
        return [body]
    if content.name != RELATED or content.kind not in ("", DICOM):
        raise OtherMedia(
            f'Send instances as {RELATED}; type="{DICOM}", or one as {DICOM}. Metadata and bulk '
            "data apart from each other are not taken."
        )
    found = await parts(content, request.stream(), most)
    if not found:
        raise BadRequest("No instance was sent. Send DICOM files, each as a part of the body.")
    for number, part in enumerate(found, 1):
        if part.media.name not in ("", DICOM):
            raise OtherMedia(f"Part {number} of the body is no {DICOM}. Nothing was stored.")
    return [part.data for part in found]


def _status(receipt: Receipt) -> int:
    if receipt.took:
        return 202 if receipt.refused else 200
    if all(one.identity is None for one in receipt.refused):
        return 400
    too_large = all(one.code is RefusalCode.TOO_LARGE for one in receipt.refused)
    return 413 if too_large else 409


def _told(receipt: Receipt, base: str) -> Dataset:
    """The response's data set (PS3.18 I.1); beside each instance words for people (0040,A160)."""
    answer = Dataset()
    stored = sorted(receipt.accepted, key=lambda one: delivery.number_of(one.file))
    studies = {one.address.study_uid for one in stored}
    answer.RetrieveURL = addresses.of_study(base, studies.pop()) if len(studies) == 1 else None
    if receipt.took:
        answer.ReferencedSOPSequence = [
            *(_stored(one, base) for one in stored),
            *(_marking(one) for one in receipt.marks),
        ]
    refused = delivery.in_order(receipt.refused)
    failed = [one for one in refused if one.identity and one.identity.sop_uid]
    if failed:
        answer.FailedSOPSequence = [_failed(one) for one in failed]
    others = [one for one in refused if one not in failed]
    if others:
        answer.OtherFailuresSequence = [_failed(one) for one in others]
    return answer


def _stored(one: Accepted, base: str) -> Dataset:
    item = Dataset()
    if one.identity is not None:
        item.ReferencedSOPClassUID = one.identity.sop_class_uid
        item.ReferencedSOPInstanceUID = one.identity.sop_uid
    item.RetrieveURL = addresses.of_instance(base, one.address)
    item.WarningReason = COERCED
    item.TextValue = _sentences(
        [
            "It is here already." if one.known else "",
            "Kept are its pixels and technical tags, de-identified and under UIDs of their own.",
            *one.warnings,
        ]
    )
    return item


def _marking(one: MarksReceived) -> Dataset:
    """Of an object that marks lesions its regions are kept, and no object to retrieve."""
    item = Dataset()
    item.ReferencedSOPClassUID = one.identity.sop_class_uid
    item.ReferencedSOPInstanceUID = one.identity.sop_uid
    item.WarningReason = COERCED
    item.TextValue = _sentences(["Kept are the places that it marks.", *one.words])
    return item


def _failed(one: Refusal) -> Dataset:
    item = Dataset()
    known = one.identity
    if known is not None and known.sop_uid:
        item.ReferencedSOPClassUID = known.sop_class_uid
        item.ReferencedSOPInstanceUID = known.sop_uid
    item.FailureReason = _reason(one)
    item.TextValue = one.reason
    if one.code is RefusalCode.NO_PATIENT:
        item.TextValue = (
            f"{one.file}: it names no patient. Send it with a PatientID, or name the patient by "
            "the header Hepatica-Pseudonym."
        )
    return item


def _reason(one: Refusal) -> int:
    if one.identity is None:
        return _REASONS.get(one.code, _NOT_UNDERSTOOD)
    if one.code is RefusalCode.NOT_CT and one.identity.sop_class_uid in CT_CLASSES:
        return _NOT_OF_CLASS  # a localizer, a map: the class is taken, this object is not
    return _REASONS.get(one.code, _NOT_OF_CLASS)


def _sentences(told: Sequence[str]) -> str:
    return " ".join(text for text in told if text)
