"""Deletions that were begun, gone on with until they have ended."""

from __future__ import annotations

from fastapi import FastAPI

from app.db import Database
from app.operation.erasing import Erasing


def finish(database: Database, app: FastAPI) -> None:
    """Do what the clerk does, until nothing is left to do."""
    erasing = Erasing(database, app.state.settings)
    while erasing.act("tests"):
        pass
