"""What programs call. An image that is sent is not stored; a job keeps its ROI till its end."""

from fastapi import APIRouter

from app.routes.api import (
    cards,
    classifications,
    fetches,
    info,
    jobs,
    monitoring,
    plans,
    reports,
    returns,
    synthetics,
)
from app.routes.api.problems import problems

router = APIRouter(prefix="/api/v1", responses=problems(400, 401, 403, 404, 422, 429, 503))
for part in (
    classifications, fetches, jobs, synthetics, plans, reports, returns, info, cards, monitoring,
):  # fmt: skip
    router.include_router(part.router)
