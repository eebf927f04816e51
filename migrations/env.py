"""Alembic's way in: the address from the settings, the schema from the models."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context

import app.models  # noqa: F401 - every table must be known
from app.db import Base, make_engine
from app.settings import settings


def run(connection: sa.Connection) -> None:
    """Migrate over one connection, in one transaction."""
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
    engine = make_engine(settings().database_url)
    with engine.connect() as opened:
        run(opened)
        opened.commit()
    engine.dispose()
