"""What programs call. Every POST computes and stores nothing."""

from fastapi import APIRouter

from app.routes.api import classifications, info, synthetics

router = APIRouter(prefix="/api/v1")
for part in (info, classifications, synthetics):
    router.include_router(part.router)
