"""Alembic's way in: the address from the settings, the schema from the models."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context

import app.models  # noqa: F401 - every table must be known
from app.db import Base, Database
from app.engine import keep_rows
from app.settings import settings


def run(connection: sa.Connection) -> None:
    """Migrate over one connection, in one transaction."""
    if connection.dialect.name == "sqlite" and not connection.in_transaction():
        keep_rows(connection)
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
        user_module_prefix="app.db.",
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    with Database(settings().database_url).migrating() as opened:
        run(opened)
