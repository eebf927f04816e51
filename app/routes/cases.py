"""The work list, uploads, and the case in its viewer."""

from __future__ import annotations

import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from sqlalchemy.orm import Session
from starlette.responses import JSONResponse, Response

from app.auth import Reader
from app.bodies import Multipart, files_of, text_of
from app.db import Db, ReadDb
from app.errors import BadRequest, Forbidden, Unreadable
from app.models.case import PHASES, Case, Receipt, Series
from app.models.checkpoint import Checkpoint
from app.models.enrolment import Enrolment
from app.models.lesion import Lesion
from app.models.parcel import Parcel, Refusal
from app.models.stimulus import Stimulus
from app.models.worklist import FILTERS, work_list
from app.responses import page, see_other, wants_json
from app.views import covered_for, lesion_json, panel_context, scheme_view

router = APIRouter(include_in_schema=False)

_KNOWN = "here already"

PRESETS = [  # window centre and width in HU for the eye
    {"key": "liver", "name": "Liver", "level": 90, "width": 180},
    {"key": "soft", "name": "Soft tissue", "level": 40, "width": 400},
    {"key": "bone", "name": "Bone", "level": 400, "width": 1800},
    {"key": "lung", "name": "Lung", "level": -600, "width": 1500},
]


@router.get("/cases")
def index(
    request: Request, user: Reader, db: ReadDb, filter: str = "all", page_number: int = 1
) -> Response:
    return _work_list_page(request, user, db, filter, page_number, None)


@router.post("/cases")
def create(request: Request, user: Reader, db: Db, form: Multipart) -> Response:
    """Take in an upload: the good files go in, the bad ones are listed."""
    configuration = request.app.state.settings
    uploads = files_of(form, "files")
    if not uploads:
        raise BadRequest("No file was sent. Choose DICOM, PNG or JPEG files, or a zip of them.")
    parcel = Parcel.open(
        uploads,
        max_files=configuration.max_upload_files,
        max_bytes=int(configuration.max_unpacked_mb * 1e6),
    )
    receipt = Case.receive(
        db,
        parcel,
        user,
        contrast_phase=text_of(form, "contrast_phase", "unknown"),
        pseudonym=text_of(form, "pseudonym"),
        key=request.app.state.key,
    )
    if not receipt.accepted:
        if wants_json(request):
            reasons = [{"file": item.file, "reason": item.reason} for item in receipt.refused]
            raise Unreadable("No file could be taken in; nothing was changed.", refused=reasons)
        return _work_list_page(request, user, db, "all", 1, receipt)
    if wants_json(request):
        return JSONResponse(_outcome(receipt))
    return _work_list_page(request, user, db, "all", 1, receipt)


@router.get("/cases/{case_id}")
def show(
    request: Request,
    user: Reader,
    db: ReadDb,
    case_id: uuid.UUID,
    lesion: uuid.UUID | None = None,
    image: uuid.UUID | None = None,
) -> Response:
    case = Case.require(db, case_id)
    Enrolment.refuse_case(db, user, case.id)
    lesions = Lesion.of_case(db, case.id)
    selected = next((item for item in lesions if item.id == lesion), None)
    if selected is None and image is None and lesions:
        selected = lesions[0]  # what was marked is what one came to see
    marked = [lesion_json(db, item, covered_for(request, db, user, item)) for item in lesions]
    counts: dict[uuid.UUID, int] = {}
    for item in lesions:
        counts[item.image_id] = counts.get(item.image_id, 0) + 1
    series = [_series(item, number, counts) for number, item in enumerate(case.series, 1)]
    images = [image for item in case.series for image in item.images]
    return page(
        request,
        "cases/show.html",
        case={
            "id": case.id,
            "pseudonym": case.pseudonym,
            "phantom": case.phantom,
            "contrast_phase": case.contrast_phase,
            "phase_warning": case.phase_warning,
            "warnings": list(dict.fromkeys(text for image in images for text in image.warnings)),
            "uploaded_at": case.created_at,
        },
        series=series,
        lesions=marked,
        selected_lesion=selected.id if selected else None,
        selected_image=image,
        panel=panel_context(request, db, user, selected) if selected else None,
        scheme=scheme_view(Checkpoint.scheme_for_review(db)),
        review_first=request.app.state.settings.review_first,
        viewer_json={
            "case_id": str(case.id),
            "series": series,
            "lesions": marked,
            "presets": PRESETS,
            "selected_lesion": str(selected.id) if selected else None,
        },
    )


@router.post("/cases/{case_id}/deletion")
def delete(
    user: Reader, db: Db, case_id: uuid.UUID, typed: Annotated[str, Form()] = ""
) -> Response:
    """Delete a case for good; its pseudonym must be typed."""
    case = Case.require(db, case_id)
    Enrolment.refuse_case(db, user, case.id)
    if not user.may("admin") and case.uploaded_by_id != user.id:
        raise Forbidden(
            "Only the person who uploaded the case, or an administrator, can delete it.",
            event="case deletion refused",
        )
    if typed.strip() != case.pseudonym:
        raise Unreadable(
            f"The case was not deleted: type its pseudonym {case.pseudonym} exactly to delete it."
        )
    Stimulus.refuse_removal(db, case.id)
    case.remove(db, user.name)
    return see_other("/cases", f"Case {case.pseudonym} and everything in it was deleted.")


def _work_list_page(
    request: Request,
    user: Reader,
    db: ReadDb,
    chosen: str,
    page_number: int,
    receipt: Receipt | None,
) -> Response:
    chosen = chosen if chosen in FILTERS else "all"
    configuration = request.app.state.settings
    found = work_list(
        db, user, chosen=chosen, page=page_number, review_first=configuration.review_first
    )
    return page(
        request,
        "cases/index.html",
        422 if receipt is not None and not receipt.accepted else 200,
        cases=found.items,
        filter=chosen,
        counts=found.counts,
        page=found.page,
        pages=found.pages,
        upload={"max_mb": configuration.max_upload_mb, "phases": PHASES},
        outcome=None if receipt is None else _told(db, receipt),
    )


def _told(session: Session, receipt: Receipt) -> dict[str, Any]:
    """What became of an upload, by case and by reason, for a page without scripts."""
    cases: dict[str, dict[str, Any]] = {}
    for entry in receipt.accepted:
        group = cases.setdefault(
            entry["case_url"],
            {
                "url": entry["case_url"],
                "id": entry["case_id"],
                "files": [],
                "known": 0,
                "warnings": [],
            },
        )
        group["files"].append(entry["file"])
        known = [text for text in entry["warnings"] if _KNOWN in text]
        group["known"] += bool(known)
        group["warnings"] += [text for text in entry["warnings"] if text not in known]
    for group in cases.values():
        group["warnings"] = list(dict.fromkeys(group["warnings"]))
        case = Case.require(session, uuid.UUID(group["url"].rpartition("/")[2]))
        group["pseudonym"] = case.pseudonym
    reasons: dict[str, list[str]] = {}
    for refusal in receipt.refused:
        reasons.setdefault(refusal.reason.removeprefix(f"{refusal.file}: "), []).append(
            refusal.file
        )
    return {
        "accepted": len(receipt.accepted),
        "known": sum(group["known"] for group in cases.values()),
        "refused": len(receipt.refused),
        "nameless": any("names no patient" in reason for reason in reasons),
        "cases": list(cases.values()),
        "reasons": [{"reason": reason, "files": files} for reason, files in reasons.items()],
    }


def _without_name(refusal: Refusal) -> str:
    """The reason without its file's name, so that files with one reason share a line."""
    reason = refusal.reason.removeprefix(f"{refusal.file}: ")
    if reason.startswith(f"{refusal.file} "):
        return f"The file{reason.removeprefix(refusal.file)}"
    return reason


def _outcome(receipt: Receipt) -> dict[str, Any]:
    refused = [{"file": item.file, "reason": item.reason} for item in receipt.refused]
    return {"accepted": receipt.accepted, "refused": refused}


def _series(series: Series, number: int, lesions: dict[uuid.UUID, int]) -> dict[str, Any]:
    first = series.images[0]
    spacing = first.spacing_mm
    label = f"Series {number}" if series.series_uid != "pictures" else "Pictures"
    size = f"{first.columns} × {first.rows}"
    return {
        "id": str(series.id),
        "label": label,
        "spacing": f"{size}, {spacing[0]:.2f} × {spacing[1]:.2f} mm"
        if spacing
        else f"{size}, no pixel spacing",
        "images": [
            {
                "id": str(image.id),
                "number": position,
                "rows": image.rows,
                "columns": image.columns,
                "dtype": image.dtype,
                "calibrated": image.calibrated,
                "spacing_mm": list(image.spacing_mm) if image.spacing_mm else None,
                "lesions": lesions.get(image.id, 0),
            }
            for position, image in enumerate(series.images, 1)
        ],
    }
