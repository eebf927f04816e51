"""A database of each earlier schema comes up to date and goes back to what it was."""

from __future__ import annotations

from collections import Counter

import alembic.command
import pytest
import sqlalchemy as sa

from app import place
from app.db import Database
from tests.golden import old_studies

NEWEST = len(old_studies.OTHERS) + len(old_studies.NAMES) + 1
IN_EVERY_RUN = (1, 6, 13, 20, NEWEST)


def contents(database: Database) -> dict[str, Counter[tuple[object, ...]]]:
    """Table → its rows; the key-value table of Alembic itself as well."""
    with database.engine.connect() as connection:
        return {
            f"{name}({', '.join(sorted(column['name'] for column in columns))})": Counter(
                tuple(row)
                for row in connection.execute(
                    sa.text(
                        "SELECT "
                        + ", ".join(f'"{one}"' for one in sorted(c["name"] for c in columns))
                        + f' FROM "{name}"'
                    )
                )
            )
            for name, columns in (
                (name, sa.inspect(connection).get_columns(name))
                for name in sa.inspect(connection).get_table_names()
            )
        }


@pytest.mark.parametrize(
    "number",
    [
        one if one in IN_EVERY_RUN else pytest.param(one, marks=pytest.mark.slow)
        for one in range(1, NEWEST + 1)
    ],
)
def test_an_upgrade_can_be_undone_and_loses_nothing(number, tmp_path):
    database = Database(f"sqlite:///{old_studies.unpacked(f'schema-{number:04}', tmp_path)}")
    before = contents(database)
    database.migrate()
    assert contents(database) != before
    configuration = place.migrations()
    with database.migrating() as connection:
        configuration.attributes["connection"] = connection
        alembic.command.downgrade(configuration, f"{number:04}")
    after = contents(database)
    assert after.keys() == before.keys()
    differing = {name for name in before if before[name] != after[name]}
    assert differing == set()
    database.engine.dispose()
