"""A real OHIF: its published build, fetched once by npm and kept outside the repository."""

from __future__ import annotations

import fcntl
import hashlib
import json
import mimetypes
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import httpx

VERSION = "3.13.2"
SHA256 = "b189d3963bfc58e9394a9db8c7be75d07beb029ec211dbb126d47b62969dd3f1"
_NAME = f"ohif-{VERSION}"
mimetypes.add_type("application/javascript", ".mjs")
mimetypes.add_type("application/wasm", ".wasm")


class Missing(Exception):
    """There can be no OHIF here; why."""


def build() -> Path:
    """The folder of the build.

    Raises:
        Missing: it is not here and cannot be fetched.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hepatica"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{_NAME}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (cache / _NAME / "index.html").is_file():
            _fetch(cache)
    return cache / _NAME


def _fetch(cache: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise Missing(f"no npm on this machine to fetch @ohif/app@{VERSION}")
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        try:
            subprocess.run(
                [npm, "pack", f"@ohif/app@{VERSION}", "--silent"],
                cwd=folder, check=True, capture_output=True, timeout=60,
            )  # fmt: skip
        except (subprocess.SubprocessError, OSError) as error:
            raise Missing(f"npm cannot fetch @ohif/app@{VERSION}: {type(error).__name__}") from None
        (archive,) = Path(folder).glob("*.tgz")
        if hashlib.sha256(archive.read_bytes()).hexdigest() != SHA256:
            raise Missing(f"what npm calls @ohif/app@{VERSION} is not what it was")
        with tarfile.open(archive) as opened:
            opened.extractall(folder, filter="data")
        (Path(folder) / "package" / "dist").rename(cache / _NAME)


def configuration(root: str) -> bytes:
    """``app-config.js`` for a DICOMweb at ``root`` on the same origin."""
    told = {
        "routerBasename": None,
        "extensions": [],
        "modes": [],
        "showStudyList": True,
        "investigationalUseDialog": {"option": "never"},
        "defaultDataSourceName": "dicomweb",
        "dataSources": [
            {
                "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
                "sourceName": "dicomweb",
                "configuration": {
                    "friendlyName": "tests",
                    "name": "tests",
                    "qidoRoot": root,
                    "wadoRoot": root,
                    "wadoUriRoot": root,
                    "imageRendering": "wadors",
                    "thumbnailRendering": "wadors",
                    "enableStudyLazyLoad": True,
                    "supportsFuzzyMatching": False,
                    "supportsWildcard": False,
                    "supportsReject": False,
                    "omitQuotationForMultipartRequest": True,
                    "bulkDataURI": {"enabled": True},
                },
            }
        ],
    }
    return f"window.config = {json.dumps(told)};".encode()


class OneOrigin:
    """An ASGI application: OHIF, and below it a PACS and our own DICOMweb.

    Args:
        folder: OHIF's build.
        own: the application whose ``/dicomweb`` is asked with ``token``.
        pacs: address of another DICOMweb, with a slash at the end; asked with ``login``.

    ``root``: which of both OHIF asks, ``/dicom-web`` or ``/dicomweb``.
    """

    def __init__(
        self, folder: Path, own: Any, token: str, pacs: str, login: tuple[str, str]
    ) -> None:
        self.root = "/dicom-web"
        self._folder = folder.resolve()
        self._own = own
        self._token = token
        self._pacs = pacs
        self._login = login

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/dicomweb/"):
            if scope["type"] == "http":
                word = (b"authorization", f"Bearer {self._token}".encode())
                scope = {**scope, "headers": [*scope["headers"], word]}
            await self._own(scope, receive, send)
        elif scope["path"].startswith("/dicom-web/"):
            await self._ask(scope, send)
        else:
            await self._file(scope["path"], send)

    async def _ask(self, scope: Any, send: Any) -> None:
        path = scope["path"].removeprefix("/dicom-web/")
        query = scope["query_string"].decode("ascii")
        kept = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in scope["headers"]
            if name in (b"accept",)
        }
        async with httpx.AsyncClient(auth=self._login, timeout=30, trust_env=False) as client:
            address = f"{self._pacs}{path}" + (f"?{query}" if query else "")
            reply = await client.get(address, headers=kept)
        kind = reply.headers.get("content-type", "application/octet-stream")
        await _send(send, reply.status_code, kind, reply.content)

    async def _file(self, path: str, send: Any) -> None:
        if path == "/app-config.js":
            await _send(send, 200, "application/javascript", configuration(self.root))
            return
        wanted = (self._folder / path.lstrip("/")).resolve()
        if not wanted.is_file() or not wanted.is_relative_to(self._folder):
            wanted = self._folder / "index.html"
        kind = mimetypes.guess_type(wanted.name)[0] or "application/octet-stream"
        lasting = b"no-store" if wanted.name == "index.html" else b"max-age=3600"
        await _send(send, 200, kind, wanted.read_bytes(), lasting)


async def _send(
    send: Any, status: int, kind: str, body: bytes, lasting: bytes = b"no-store"
) -> None:
    headers = [
        (b"content-type", kind.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", lasting),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
