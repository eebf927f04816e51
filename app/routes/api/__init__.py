"""What programs call. Every POST computes and stores nothing of what was sent."""

from fastapi import APIRouter

from app.routes.api import classifications, info, plans, reports, synthetics
from app.routes.api.problems import problems

router = APIRouter(prefix="/api/v1", responses=problems(400, 401, 403, 404, 422, 429, 503))
for part in (classifications, synthetics, plans, reports, info):
    router.include_router(part.router)
