"""Where things are found at these doors: absolute addresses, of this installation's own UIDs."""

from __future__ import annotations

from fastapi import Request

from app.models.cases.case import Address
from app.settings import Settings


def root(request: Request) -> str:
    """``https://…/dicomweb``: under the public origin where one is set, else as it was asked."""
    configuration: Settings = request.app.state.settings
    asked = f"{request.url.scheme}://{request.url.netloc}"
    return f"{configuration.public_origin or asked}/dicomweb"


def of_study(base: str, study_uid: str) -> str:
    """The address of a study."""
    return f"{base}/studies/{study_uid}"


def of_series(base: str, study_uid: str, series_uid: str) -> str:
    """The address of a series."""
    return f"{of_study(base, study_uid)}/series/{series_uid}"


def of_instance(base: str, at: Address) -> str:
    """The address of an instance."""
    return f"{of_series(base, at.study_uid, at.series_uid)}/instances/{at.sop_uid}"
