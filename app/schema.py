"""The schema of a database beside the one that this version of the software works with."""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache

import sqlalchemy as sa
from alembic import command
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from app import place
from app.errors import Conflict


class Schema(StrEnum):
    """How far a database is, in words."""

    ABSENT = "the database is empty"
    OLDER = "the database has an older schema"
    CURRENT = "the schema is the one of this version"
    NEWER = "the database was made by a newer version of the software"


class OtherSchema(Conflict):
    """The database cannot be worked with by this version."""


@lru_cache
def _revisions() -> tuple[frozenset[str], frozenset[str]]:
    """(every revision that this version knows, the newest ones)"""
    scripts = ScriptDirectory.from_config(place.migrations())
    known = frozenset(one.revision for one in scripts.walk_revisions())
    return known, frozenset(scripts.get_heads())


def known() -> frozenset[str]:
    """Every revision that this version can bring up to date."""
    return _revisions()[0]


def of(connection: sa.Connection) -> Schema:
    """How far the database behind a connection is."""
    found = frozenset(MigrationContext.configure(connection).get_current_heads())
    ours, newest = _revisions()
    if not found:
        return Schema.ABSENT
    if not found <= ours:
        return Schema.NEWER
    return Schema.CURRENT if found == newest else Schema.OLDER


def require(found: Schema) -> None:
    """Nothing when the schema is this version's.

    Raises:
        OtherSchema: it is not; what to do.
    """
    if found == Schema.NEWER:
        raise OtherSchema(
            f"{_sentence(found)} Start the newer version, or restore the backup that was made "
            "before it."
        )
    if found != Schema.CURRENT:
        raise OtherSchema(f"{_sentence(found)} `python -m app serve` brings it up to date.")


def upgrade(connection: sa.Connection) -> None:
    """Bring the schema to the newest revision, over a connection on which nobody else migrates.

    Raises:
        OtherSchema: the database is newer than this version.
    """
    found = of(connection)
    if found == Schema.NEWER:
        require(found)
    configuration = place.migrations()
    configuration.attributes["connection"] = connection
    command.upgrade(configuration, "head")


def _sentence(found: Schema) -> str:
    return f"{found.value[:1].upper()}{found.value[1:]}."
