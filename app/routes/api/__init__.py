"""What programs call. Every POST computes and stores nothing."""

from fastapi import APIRouter

from app.routes.api import classifications, info, synthetics

router = APIRouter(prefix="/api/v1")
for part in (classifications, synthetics, info):
    router.include_router(part.router)
