"""Where things are found at these doors: absolute addresses, of this installation's own UIDs."""

from __future__ import annotations

from fastapi import Request

from app.models.cases.case import Address
from app.settings import Settings

_LOCAL = ("localhost", "127.0.0.1", "[::1]")


def root(request: Request) -> str:
    """``https://…/dicomweb``: under the public origin where one is set, else as it was asked.

    Some clients leave the port out of Host. Where Host names the very machine that they reached,
    the port that they reached is added: what is told here is asked for again.
    """
    configuration: Settings = request.app.state.settings
    if configuration.public_origin:
        return f"{configuration.public_root}/dicomweb"
    scheme, netloc = request.url.scheme, request.url.netloc
    address, port = request.scope.get("server") or ("", None)
    usual = {"http": 80, "https": 443}.get(scheme)
    if netloc in (address, *_LOCAL) and port not in (None, usual):
        netloc = f"{netloc}:{port}"
    return f"{scheme}://{netloc}{configuration.root_path}/dicomweb"


def of_study(base: str, study_uid: str) -> str:
    """The address of a study."""
    return f"{base}/studies/{study_uid}"


def of_series(base: str, study_uid: str, series_uid: str) -> str:
    """The address of a series."""
    return f"{of_study(base, study_uid)}/series/{series_uid}"


def of_instance(base: str, at: Address) -> str:
    """The address of an instance."""
    return f"{of_series(base, at.study_uid, at.series_uid)}/instances/{at.sop_uid}"
