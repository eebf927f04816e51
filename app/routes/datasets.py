"""Dataset versions: freezing reviewed lesions, and taking them elsewhere."""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from app.auth import Researcher
from app.db import Db, ReadDb
from app.errors import AppError
from app.models.checkpoint import Checkpoint
from app.models.ground.event import Event
from app.models.reader_studies.enrolment import Enrolment
from app.models.reader_studies.look import Look, Seen, Shown
from app.models.runs.dataset import MIXED, DatasetVersion
from app.models.runs.known_lesions import KINDS, KnownLesions
from app.responses import page, see_other
from ml.ground.errors import HepaticaError

router = APIRouter(include_in_schema=False)


@router.get("/datasets")
def index(request: Request, user: Researcher, db: ReadDb) -> Response:
    """The frozen versions, what could be frozen now, and the form for it."""
    return _index(
        request,
        db,
        {"name": "", "kind": "phantom", "mixed_patients": False, "cases": []},
        None,
        200,
    )


@router.post("/datasets")
def create(
    request: Request,
    user: Researcher,
    reading: ReadDb,
    db: Db,
    case: Annotated[list[uuid.UUID], Form(default_factory=list)],
    name: Annotated[str, Form()] = "",
    kind: Annotated[str, Form()] = "",
    mixed_patients: Annotated[bool, Form()] = False,
) -> Response:
    """Freeze the reviewed lesions of one kind, of the cases named or of all; packing only reads,
    so nobody waits for it."""
    Enrolment.refuse_synthetics(reading, user)
    try:
        scheme = Checkpoint.scheme_for_review(reading)
        archive = DatasetVersion.pack(
            reading, name.strip(), scheme, kind, mixed_patients=mixed_patients, cases=case
        )
        version = DatasetVersion.freeze(db, user, archive)
    except (AppError, HepaticaError) as error:
        typed: dict[str, object] = {
            "name": name,
            "kind": kind,
            "mixed_patients": mixed_patients,
            "cases": case,
        }
        return _index(request, reading, typed, error, 422)
    return see_other("/datasets", f"Version {version.name} with {version.rois} ROIs is frozen.")


@router.get("/datasets/{version_id}/download")
def download(user: Researcher, look: ReadDb, db: Db, version_id: uuid.UUID) -> Response:
    """The data set as a file; who took it is in the record before the first byte leaves."""
    Enrolment.refuse_synthetics(look, user)
    version = DatasetVersion.require(look, version_id)
    archive = version.archive(look)
    Event.record(db, user.name, "dataset version downloaded", str(version.id), name=version.name)
    Look.keep(db, [Seen(user.id, Shown.VERSION, version.id)])
    headers = {"content-disposition": f'attachment; filename="{version.name}.zip"'}
    return Response(archive, media_type="application/zip", headers=headers)


def _index(
    request: Request, db: ReadDb, form: dict[str, object], error: Exception | None, status: int
) -> Response:
    pool = KnownLesions.of(db, Checkpoint.scheme_for_review(db))
    return page(
        request,
        "datasets/index.html",
        status,
        versions=DatasetVersion.all(db),
        kinds=KINDS,
        mixed=MIXED,
        counts={kind: pool.counts(kind) for kind in KINDS},
        form=form,
        error=error,
    )
