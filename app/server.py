"""The application, loaded once, and served by uvicorn in one process or in several."""

from __future__ import annotations

import gc
import socket
from dataclasses import dataclass
from functools import partial

import uvicorn
from fastapi import FastAPI

from app import logs
from app.db import Database
from app.edge import KEEP_ALIVE_S, Edge
from app.jobs import hooks
from app.main import create_app, furnish
from app.models.checkpoint import Checkpoint
from app.oidc import Provider
from app.operation import started
from app.operation.syslog import Receiver
from app.pacs.configured import ConfiguredPacs
from app.processes import NOT_STARTED, Place, WebProcesses
from app.settings import Settings

_GRACE_S = 10
"""So long requests may take to their end when the server is to stop."""


@dataclass(frozen=True)
class Server:
    """The application and how it is served; nothing is begun yet, and no connection made."""

    settings: Settings
    app: FastAPI
    config: uvicorn.Config

    @classmethod
    def of(cls, settings: Settings) -> Server:
        """Load all that serving needs.

        Raises:
            HookRefused, OidcRefused, PacsRefused, SyslogRefused, KeyRefused: what the settings
                name is not what it should be.
        """
        ConfiguredPacs.of(settings)
        hooks.read(settings.hooks_file)
        Receiver.of(settings)
        Provider.of(settings, settings.key())
        app = create_app(settings)
        config = uvicorn.Config(
            app,
            access_log=False,  # addresses of cases do not belong in a log: app.counting has a line
            log_config=logs.configuration(settings),
            log_level=settings.log_level,
            server_header=False,
            loop="app.accepting:OneByOne",
            http=Edge,
            ws="none",
            timeout_keep_alive=KEEP_ALIVE_S,
            proxy_headers=False,  # the application reads them, once it has seen who is connected
            timeout_graceful_shutdown=_GRACE_S,
        )
        config.load()
        return cls(settings, app, config)

    def register(self, database: Database, by: str) -> None:
        """Register the shipped checkpoints, and write down that the server was started."""
        with database.transaction() as session:
            Checkpoint.register_shipped(session)
            started.record(session, self.settings, by)

    def run(self, listening: socket.socket, processes: int) -> int:
        """Serve until SIGTERM or SIGINT; the exit code.

        Args:
            listening: the socket that connections come to.
            processes: how many serve; the database has no connection here then.
        """
        # what is here stays: nobody need look whether it is garbage, and where nobody looks its
        # memory is shared by all processes
        gc.collect()
        gc.freeze()
        if processes == 1:
            return self._serve(listening)
        return WebProcesses(processes, partial(self._serve_at, listening)).run()

    def _serve_at(self, listening: socket.socket, place: Place) -> int:
        furnish(self.app, self.settings, place)
        return self._serve(listening)

    def _serve(self, listening: socket.socket) -> int:
        server = uvicorn.Server(self.config)
        server.run(sockets=[listening])
        return 0 if server.started else NOT_STARTED
