"""The doors of a PACS (DICOM PS3.18): STOW-RS, and QIDO-RS and WADO-RS over what is kept."""

from fastapi import APIRouter

from app.dicomweb import retrieving, searching, storing

router = APIRouter(prefix="/dicomweb", include_in_schema=False)
for part in (storing, searching, retrieving):
    router.include_router(part.router)
