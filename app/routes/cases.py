"""The work list, uploads, and the case in its viewer."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from functools import lru_cache, partial
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, Query, Request
from sqlalchemy.orm import Session
from starlette.responses import JSONResponse, Response

from app import rooted
from app.auth import Reader
from app.bodies import Multipart, files_of, text_of
from app.db import Db, ReadDb
from app.decoding import Decoding, limits
from app.deleting import cases_deleted
from app.errors import BadRequest, Unreadable
from app.models.cases.case import (
    PHASES,
    PICTURES,
    Accepted,
    Case,
    Image,
    ImageStack,
    Receipt,
    Series,
    being_deleted,
)
from app.models.cases.entry import Door, Entry
from app.models.cases.lesion import Lesion
from app.models.cases.marking import Marking
from app.models.cases.settlement import Settlement
from app.models.correction import PhaseCorrection, may_correct
from app.models.erasures.chosen import refuse_staying
from app.models.erasures.erasure import Erasure, ErasureKind
from app.models.people.user import User
from app.models.reader_studies.enrolment import Blindness, Enrolment
from app.models.worklist import MOST, Filter, Order, Wanted, work_list
from app.presenters import (
    Standing,
    lesion_json,
    marking_told,
    measures_json,
    panel_context,
    returns_told,
)
from app.responses import page, wants_json
from app.uploads import asking
from app.uploads.parcel import Parcel, RefusalCode
from ml.images.description import DESCRIPTION, PER_SECOND
from ml.images.orientation import Edges
from ml.images.voi import Table, Window

router = APIRouter(include_in_schema=False)

WINDOWS = [  # window centre and width in HU for the eye
    {"key": "liver", "name": "Liver", "level": 90, "width": 180},
    {"key": "soft", "name": "Soft tissue", "level": 40, "width": 400},
    {"key": "bone", "name": "Bone", "level": 400, "width": 1800},
    {"key": "lung", "name": "Lung", "level": -600, "width": 1500},
]
MOST_BESIDE = 12
"""So many other cases of a patient are offered beside one, the newest."""
MOST_OF_FILES = 3
"""So many windows of a case's files stand beside ours."""


@router.get("/cases")
def index(
    request: Request,
    user: Reader,
    db: ReadDb,
    filter: str = Filter.ALL,
    search: Annotated[str, Query(max_length=100)] = "",
    order: str = Order.UPLOADED,
    down: bool = True,
    place: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    """The work list, a page of it: all of what is asked for stands in the address.

    A filter, an order or a place that there is not is the first one, as of an address that was
    kept from another version.
    """
    wanted = Wanted(
        Filter(filter) if filter in set(Filter) else Filter.ALL,
        search,
        Order(order) if order in set(Order) else Order.UPLOADED,
        down,
        place,
    )
    return _work_list_page(request, user, db, wanted, None)


async def _opened(request: Request, user: Reader, form: Multipart) -> Parcel:
    """The upload, decoded when it is its turn."""
    uploads = files_of(form, "files")
    if not uploads:
        raise BadRequest("No file was sent. Choose DICOM, PNG or JPEG files, or a zip of them.")
    most = limits(request.app.state.settings)
    decoding: Decoding = request.app.state.decoding
    return await decoding.of_upload(user.name, lambda: asking.parcel(uploads, most))


@router.post("/cases")
def create(
    request: Request,
    user: Reader,
    db: Db,
    form: Multipart,
    parcel: Annotated[Parcel, Depends(_opened)],
) -> Response:
    """Take in an upload: the good files go in, the bad ones are listed."""
    receipt = Case.receive(
        db,
        parcel,
        user,
        contrast_phase=text_of(form, "contrast_phase", "unknown"),
        pseudonym=text_of(form, "pseudonym"),
        key=request.app.state.key,
        entry=Entry.at(request.app.state.settings, Door.UPLOAD),
    )
    root = rooted.at(request.scope, "")
    if not receipt.took:
        if wants_json(request):
            raise Unreadable(
                "No file could be taken in; nothing was changed.",
                refused=receipt.to_dict(root)["refused"],
            )
        return _work_list_page(request, user, db, Wanted(), receipt)
    if wants_json(request):
        return JSONResponse(receipt.to_dict(root) | {"cases": _cases_of(db, receipt, root)})
    return _work_list_page(request, user, db, Wanted(), receipt)


@router.get("/cases/{case_id}")
def show(
    request: Request,
    user: Reader,
    db: ReadDb,
    case_id: uuid.UUID,
    lesion: uuid.UUID | None = None,
    image: uuid.UUID | None = None,
) -> Response:
    """The case with its series, images and lesions, one of which is selected.

    ``lesion`` selects one, ``image`` opens a slice; with neither it is the first lesion.

    Raises:
        NotFound: no such case.
        Forbidden: a blinded reading of this person could be about it.
    """
    case = Case.require(db, case_id)
    Enrolment.refuse_case(db, user, case.id)
    request.app.state.witness.opened(user.name, case.id)
    standings = Standing.of_all(request, db, user, Lesion.of_case(db, case.id))
    selected = next((item for item in standings if item.lesion.id == lesion), None)
    if lesion is None and image is None and standings:
        selected = standings[0]  # what was marked is what one came to see
    marked = [lesion_json(item) for item in standings]
    series = _series(case, standings)
    remarks = [text for item in case.series for text in item.remarks]
    images = [one for item in case.series for one in item.images]
    shown = any(one.id == image for one in images)
    return page(
        request,
        "cases/show.html",
        case={
            "id": case.id,
            "pseudonym": case.pseudonym,
            "phantom": case.phantom,
            "contrast_phase": case.contrast_phase,
            "phase_warning": case.phase_warning,
            "warnings": list(
                dict.fromkeys([*remarks, *(text for one in images for text in one.warnings)])
            ),
            "uploaded_at": case.created_at,
            "correctable": may_correct(case, user),
            "patient_known": case.patient_hmac is not None,
        },
        phases=[(name, name) for name in PHASES],
        corrections=PhaseCorrection.of_case(db, case.id),
        series=series,
        lesions=marked,
        selected_lesion=selected.lesion.id if selected else None,
        selected_image=image if shown else None,
        settlements=Settlement.of_case(db, case),
        markings=[marking_told(item) for item in Marking.of_case(db, case)],
        absent=[*_leaving(db, case), *_absent(db, case, standings, lesion, image, shown)],
        panel=panel_context(db, user, selected) if selected else None,
        review_first=request.app.state.settings.review_first,
        returns=returns_told(
            db, [one for one in request.app.state.pacs.all if one.takes_results], user, case
        ),
        viewer_json={
            "case_id": str(case.id),
            "person": {"id": str(user.id), "name": user.name},
            "series": series,
            "lesions": marked,
            "presets": [*WINDOWS, *_windows_of(images)],
            "measures": {str(item.lesion.id): measures_json(item, user) for item in standings},
            "selected_lesion": str(selected.lesion.id) if selected else None,
        },
    )


@router.get("/cases/{case_id}/beside")
def beside(request: Request, user: Reader, db: ReadDb, case_id: uuid.UUID) -> JSONResponse:
    """The stacks and marks of the patient's other cases, the newest first, to be seen beside it.

    Cases that a blinded reading of this person could be about are counted, and not told.

    Raises:
        NotFound: no such case.
        Forbidden: a blinded reading of this person could be about it.
    """
    case = Case.require(db, case_id)
    Enrolment.refuse_case(db, user, case.id)
    others, closed = Case.others_of_patient(db, case, Enrolment.closes(db, user), MOST_BESIDE)
    told = []
    for other in others:
        request.app.state.witness.opened(user.name, other.id)
        standings = Standing.of_all(request, db, user, Lesion.of_case(db, other.id))
        phase = "" if other.contrast_phase == "unknown" else f", {other.contrast_phase}"
        told.append(
            {
                "id": str(other.id),
                "label": f"{other.pseudonym}{phase}, uploaded {other.created_at:%Y-%m-%d}",
                "series": _series(other, standings),
                "lesions": [lesion_json(item) for item in standings],
            }
        )
    return JSONResponse({"cases": told, "closed": closed})


def _series(case: Case, standings: list[Standing]) -> list[dict[str, object]]:
    """The stacks of a case, as the viewer scrolls them."""
    counts: dict[uuid.UUID, int] = {}
    for item in standings:
        counts[item.lesion.image_id] = counts.get(item.lesion.image_id, 0) + 1
    return [
        stack
        for number, item in enumerate(case.series, 1)
        for stack in _stacks(item, number, counts)
    ]


def _leaving(session: Session, case: Case) -> list[str]:
    """That the case is being deleted, where it is."""
    going = Erasure.of_case(session, case.id)
    if going is None:
        return []
    whole = going.kind is ErasureKind.PATIENT
    with_patient = ", with all that there is of its patient" if whole else ""
    return [
        f"This case is being deleted for good{with_patient}. Its lesions are "
        "withdrawn already; nothing that is added now stays."
    ]


def _windows_of(images: Iterable[Image]) -> list[dict[str, object]]:
    """The windows that the files of a case name, and their tables (VOI LUT), each once."""
    named: dict[Window | Table, None] = {}
    for image in images:
        named |= dict.fromkeys(image.windows)
        named |= {image.table: None} if image.table else {}
    return [
        {
            "key": f"file-{number}",
            "name": "File" if number == 1 else f"File {number}",
            **(_of_table(one) if isinstance(one, Table) else _of_window(one)),
        }
        for number, one in enumerate(list(named)[:MOST_OF_FILES], 1)
    ]


def _of_window(one: Window) -> dict[str, object]:
    width = max(1, round(one.width))
    return {"level": round(one.center), "width": width, "curve": one.function.value}


def _of_table(one: Table) -> dict[str, object]:
    """Level and width are those of what it changes: what is dragged goes on from there."""
    low, high = one.steps[0][0], one.steps[-1][0]
    level, width = round((low + high) / 2), max(1, high - low)
    return {"level": level, "width": width, "curve": "table", "steps": one.steps}


def _absent(
    db: ReadDb,
    case: Case,
    standings: list[Standing],
    lesion: uuid.UUID | None,
    image: uuid.UUID | None,
    shown: bool,
) -> list[str]:
    """What the address asks for and this case does not have, in words."""
    told = []
    if lesion is not None and all(item.lesion.id != lesion for item in standings):
        gone = Lesion.withdrawn(db, case.id, lesion)
        told.append(gone.farewell(db) if gone else "This case has no lesion of that address.")
    if image is not None and not shown:
        told.append("This case has no slice of that address.")
    return told


@router.post("/cases/{case_id}/deletion")
def delete(
    request: Request,
    user: Reader,
    look: ReadDb,
    db: Db,
    case_id: uuid.UUID,
    typed: Annotated[str, Form()] = "",
) -> Response:
    """Begin to delete a case for good; its pseudonym must be typed.

    Raises:
        NotFound: no such case.
        Forbidden: somebody else's upload, or a blinded reading could be about it.
        Unreadable: another pseudonym was typed.
        Conflict: something stands in the way, or only an administrator may.
        Unavailable: the register of deletions cannot be written.
    """
    case = Case.require(look, case_id)
    Enrolment.refuse_case(look, user, case.id)
    refuse_staying(look, [case], user)  # before a word of it is told
    if typed.strip() != case.pseudonym:
        raise Unreadable(
            f"The case was not deleted: type its pseudonym {case.pseudonym} exactly to delete it."
        ).about("typed")
    return cases_deleted(request, user, look, db, [case])


def _work_list_page(
    request: Request,
    user: Reader,
    db: ReadDb,
    wanted: Wanted,
    receipt: Receipt | None,
) -> Response:
    configuration = request.app.state.settings
    found = work_list(db, user, wanted, review_first=configuration.review_first)
    return page(
        request,
        "cases/index.html",
        422 if receipt is not None and not receipt.took else 200,
        cases=found.items,
        leaving=being_deleted(db),
        some_closed=found.closed,
        closed_because=_closed_because(db, user) if found.closed else "",
        review_first=configuration.review_first,
        filter=wanted.filter,
        wanted=wanted,
        address=partial(_address, wanted),
        here=_address(wanted, place=wanted.place).partition("?")[2],
        found=found.found,
        counts=found.counts,
        most=MOST,
        may_freeze=user.may("researcher"),
        places=found.pages,
        upload={"max_mb": configuration.max_upload_mb, "phases": PHASES},
        outcome=None if receipt is None else _told(db, receipt),
    )


def _address(wanted: Wanted, **changed: object) -> str:
    """The work list's address as it is wanted, but for what is changed; from its first page on."""
    asked = asdict(replace(wanted, place="")) | changed
    usual = asdict(Wanted())
    told = {name: value for name, value in asked.items() if value != usual[name]}
    query = urlencode({name: int(v) if isinstance(v, bool) else v for name, v in told.items()})
    return f"/cases?{query}" if query else "/cases"


def _closed_because(session: Session, user: User) -> str:
    """Why cases are closed to a person, as a sentence."""
    blindness = Blindness.of(session, user.id)
    return blindness.words if blindness else ""


def _cases_of(session: Session, receipt: Receipt, root: str) -> list[dict[str, str]]:
    """What the cases of an upload are called."""
    return [
        {
            "case_url": f"{root}/cases/{case_id}",
            "pseudonym": Case.require(session, case_id).pseudonym,
        }
        for case_id in dict.fromkeys(item.case_id for item in receipt.accepted)
    ]


def _told(session: Session, receipt: Receipt) -> dict[str, object]:
    """What became of an upload, by case and by reason, for a page without scripts."""
    cases: dict[uuid.UUID, list[Accepted]] = {}
    for entry in receipt.accepted:
        cases.setdefault(entry.case_id, []).append(entry)
    reasons: dict[str, list[str]] = {}
    for refusal in receipt.refused:
        reason = refusal.reason.removeprefix(f"{refusal.file}: ")
        reasons.setdefault(reason, []).append(refusal.file)
    return {
        "accepted": len(receipt.accepted),
        "known": sum(entry.known for entry in receipt.accepted),
        "marks": [item.to_dict("") for item in receipt.marks],
        "refused": len(receipt.refused),
        "nameless": any(item.code == RefusalCode.NO_PATIENT for item in receipt.refused),
        "cases": [
            {
                "url": f"/cases/{case_id}",
                "pseudonym": Case.require(session, case_id).pseudonym,
                "files": [entry.file for entry in entries],
                "known": sum(entry.known for entry in entries),
                "warnings": list(
                    dict.fromkeys(text for entry in entries for text in entry.warnings)
                ),
            }
            for case_id, entries in cases.items()
        ],
        "reasons": [{"reason": reason, "files": files} for reason, files in reasons.items()],
        "passed_over": receipt.passed_over,
    }


def _stacks(series: Series, number: int, lesions: dict[uuid.UUID, int]) -> list[dict[str, object]]:
    """The stacks of a series, as the viewer scrolls them."""
    label = "Pictures" if series.series_uid == PICTURES else f"Series {number}"
    return [
        _stack(stack, f"{label}, {stack.apart}" if stack.apart else label, lesions)
        for stack in series.stacks
    ]


@lru_cache(maxsize=64)  # the slices of a series have the same
def _sides(edges: Edges) -> Mapping[str, str]:
    return asdict(edges)


def _stack(stack: ImageStack, label: str, lesions: dict[uuid.UUID, int]) -> dict[str, object]:
    first = stack.images[0]
    spacing = first.spacing_mm
    per_second = first.tags.get(PER_SECOND)
    size = f"{first.columns} × {first.rows}"
    return {
        "id": str(first.id),
        "label": label,
        "description": first.tags.get(DESCRIPTION, ""),
        "frame": first.tags.get("FrameOfReferenceUID", ""),
        "per_second": None if per_second is None else float(per_second),
        "spacing": f"{size}, {spacing[0]:.2f} × {spacing[1]:.2f} mm"
        if spacing
        else f"{size}, no pixel spacing",
        "images": [
            {
                "id": str(image.id),
                "number": position,
                "instance_number": image.instance_number,
                "place": image.place,
                "middle": image.middle,
                "edges": _sides(image.edges) if image.edges else None,
                "rows": image.rows,
                "columns": image.columns,
                "dtype": image.dtype,
                "calibrated": image.calibrated,
                "spacing_mm": list(image.spacing_mm) if image.spacing_mm else None,
                "lesions": lesions.get(image.id, 0),
            }
            for position, image in enumerate(stack.images, 1)
        ],
    }
