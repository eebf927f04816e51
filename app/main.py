"""The application, put together: state, middleware, routes, handlers."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio.to_thread
import sqlalchemy as sa
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from app import dicomweb, place, routes
from app.auth import Attendance, OriginCheck, TokenDesk
from app.bodies import BodyLimit
from app.comparing import Comparing
from app.counting import Counted, Counts, Requests
from app.db import Database
from app.decoding import Decoding, limits
from app.doors import Answered, FrontDoor, SecurityHeaders
from app.drawings import Drawings
from app.inference import Inference, ServingDesk
from app.jobs import hooks
from app.jobs.clerk import Clerk
from app.jobs.fetcher import Fetchers
from app.jobs.loop import Beside, Elsewhere, Loop
from app.jobs.messenger import Messengers
from app.models.people.user import User
from app.oidc import Provider
from app.pacs.configured import ConfiguredPacs
from app.processes import ALONE, Bell, Place
from app.request_ids import LOOPBACK, Identified
from app.responses import install_handlers, scripts_tag
from app.rooted import Rooted
from app.settings import VERSION, Settings, settings
from app.simulations import Simulations
from app.turnstile import Turnstile
from app.uploads.processes import readers
from app.watch import Watch
from app.witness import Witness

DESCRIPTION = (
    "Liver lesion classification and synthesis. Research use only; not a medical device. "
    "An image that is sent along is not stored; of a job its ROIs are until it is over, and its "
    "result for a set time."
)


log = logging.getLogger("hepatica")

READERS_AFTER_S = 5.0
TELL_EVERY_S = 1.0
_FOR_GOOD = "public, max-age=31536000, immutable"
_CONDITIONS = {b"range", b"if-range", b"if-none-match", b"if-modified-since"}


class CachedFiles(StaticFiles):
    """Static files: kept for good under an address with their tag, asked after without one.

    Scripts under the tag of another version are not here: a page from before an upgrade would mix
    its own scripts with these. Those of this one are read once, for a page without a cache asks for
    some thirty of them, and what was changed on the disk since is no part of this version.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(directory=directory)
        self._scripts: dict[str, tuple[bytes, dict[str, str]]] = {}
        """Path → what is in it, and the headers of its answer."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file.

        Raises:
            HTTPException: 404 for a script under another version's tag, and as Starlette's.
        """
        script = re.fullmatch(r"js/v-([0-9a-f]+)/(.+)", path)
        if script is not None:
            if script[1] != scripts_tag():
                raise HTTPException(404)
            path = f"js/{script[2]}"
            if (known := self._known(path, scope)) is not None:
                return known
        response = await super().get_response(path, scope)
        tagged = script is not None or b"v=" in scope["query_string"]
        response.headers["cache-control"] = _FOR_GOOD if tagged else "no-cache"
        if script is not None and isinstance(response, FileResponse):
            body = await anyio.to_thread.run_sync(Path(response.path).read_bytes)
            self._scripts[path] = body, dict(response.headers)
        return response

    def _known(self, path: str, scope: Scope) -> Response | None:
        """A script that was read before, whole; None where it is asked for in another way."""
        asked = {name for name, _ in scope["headers"]}
        if scope["method"] != "GET" or asked & _CONDITIONS or path not in self._scripts:
            return None
        body, headers = self._scripts[path]
        return Response(body, headers=headers)


def create_app(configuration: Settings | None = None) -> FastAPI:
    """The web application for one installation; the schema must be migrated already."""
    chosen = configuration or settings()
    app = FastAPI(
        title="Hepatica",
        version=VERSION,
        description=DESCRIPTION,
        lifespan=_lifespan,
        docs_url=None,  # the pages of the docs would fetch scripts from the internet
        redoc_url=None,
        openapi_url=None,  # `app.routes.docs` has it: not everybody is to know of all calls yet
        servers=[{"url": chosen.root_path}] if chosen.root_path else None,
        redirect_slashes=False,  # its redirects name the host of the request
    )
    furnish(app, chosen)
    install_handlers(app)
    # the last one added is the first that a request meets
    app.add_middleware(BodyLimit, most_bytes=int(chosen.max_upload_mb * 1e6))
    app.add_middleware(OriginCheck, public_origin=chosen.public_origin)
    app.add_middleware(FrontDoor, names=chosen.names)
    app.add_middleware(Answered)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(Counted)
    app.add_middleware(Rooted, root_path=chosen.root_path)
    proxies = chosen.proxies or LOOPBACK
    app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=proxies)
    app.add_middleware(Identified, proxies=proxies)
    app.mount("/static", CachedFiles(directory=place.ROOT / "static"), name="static")
    for router in (*routes.ROUTERS, dicomweb.router):
        app.include_router(router)
    return app


def furnish(app: FastAPI, chosen: Settings, process: Place = ALONE) -> None:
    """Give the application all that it keeps between requests, each of it new.

    Args:
        process: which of the web processes of its server this one is.
    """
    database = Database(chosen.database_url)
    key = chosen.key()
    app.state.process = process
    app.state.settings = chosen
    app.state.key = key
    app.state.provider = Provider.of(chosen, key)
    app.state.pacs = ConfiguredPacs.of(chosen)
    app.state.returns_results = any(one.takes_results for one in app.state.pacs.all)
    app.state.database = database
    app.state.requests = Requests()
    app.state.turnstile = Turnstile(database, key, chosen.session_hours)
    app.state.attendance = Attendance(database)
    app.state.witness = Witness(database)
    app.state.watch = Watch(database)
    app.state.inference = Inference(chosen.inference_threads, chosen.set_level)
    app.state.counts = Counts(
        app.state.requests, app.state.inference.computed, process.told(), process.told_by_others
    )
    app.state.comparing = Comparing(app.state.inference)
    app.state.tokens = TokenDesk(database, chosen.token_cache_s)
    app.state.decoding = Decoding(limits(chosen))
    app.state.drawings = Drawings()
    app.state.simulations = Simulations(database)
    app.state.demo = False
    app.state.served = ServingDesk(database, app.state.inference)
    app.state.hooks = hooks.read(chosen.hooks_file)
    if process.is_first or process.bell is None:
        app.state.clerk = Clerk(database, app.state.inference, app.state.watch, chosen)
        app.state.messenger = Messengers(database, app.state.hooks, app.state.pacs, chosen, key)
        app.state.fetcher = Fetchers(database, app.state.pacs, chosen, key)
    else:
        elsewhere = Elsewhere(process.bell.ring)
        app.state.clerk = app.state.messenger = app.state.fetcher = elsewhere


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    # every sync handler runs in this pool; more threads than cores only wait for the database
    anyio.to_thread.current_default_thread_limiter().total_tokens = 16
    database: Database = app.state.database
    with database.reading() as session:
        app.state.demo = session.scalar(sa.select(sa.exists().where(User.demo))) or False
    # what reads files is loaded once this process is up, or when the first file comes
    later = asyncio.get_running_loop().call_later(READERS_AFTER_S, readers().start)
    await app.state.served.classifier()  # loaded now, so that the first score is instant too
    loops = (app.state.clerk, app.state.messenger, app.state.fetcher)
    if app.state.settings.clerk:
        for loop in loops:
            loop.start()
    telling = asyncio.create_task(_told_again_and_again(app))
    process: Place = app.state.process
    if process.is_first and process.bell is not None:
        asyncio.get_running_loop().add_reader(process.bell.file, _heard, process.bell, loops)
    yield
    telling.cancel()
    for loop in loops:
        await anyio.to_thread.run_sync(loop.stop)
    process.tell(app.state.counts.own().to_bytes())
    later.cancel()
    app.state.decoding.close()
    app.state.witness.close()
    database.engine.dispose()


async def _told_again_and_again(app: FastAPI) -> None:
    """Tell the other processes of the server that this one lives, and what it has counted."""
    process: Place = app.state.process
    while True:
        try:
            process.tell(app.state.counts.own().to_bytes())
        except Exception:
            log.exception("What this process has counted cannot be told to the others.")
        await asyncio.sleep(TELL_EVERY_S)


def _heard(bell: Bell, loops: Iterable[Loop | Beside]) -> None:
    bell.heard()
    for loop in loops:
        loop.ring()
