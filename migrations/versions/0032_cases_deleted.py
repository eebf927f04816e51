"""cases deleted on their own page: a deletion of them is one like that of a patient

Revision ID: 0032
Revises: 0031
"""

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

_BEFORE = "kind IN ('patient','old cases','old pictures')"
_NOW = "kind IN ('patient','cases','old cases','old pictures')"


def upgrade() -> None:
    _let(_BEFORE, _NOW)


def downgrade() -> None:
    # the older version has one word for what a person asked for
    op.execute(sa.text("UPDATE erasure SET kind = 'patient' WHERE kind = 'cases'"))
    _let(_NOW, _BEFORE)


def _let(before: str, now: str) -> None:
    """Change which kinds there may be."""
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        [check] = sa.inspect(connection).get_check_constraints("erasure")
        name = op.f(str(check["name"]))
        op.drop_constraint(name, "erasure", type_="check")
        op.create_check_constraint(name, "erasure", now)
        return
    kept = "SELECT type, sql FROM sqlite_master WHERE tbl_name = 'erasure' AND sql IS NOT NULL"
    rows = connection.execute(sa.text(kept)).all()
    [table] = [row.sql for row in rows if row.type == "table"]
    anew = table.replace(before, now)
    if anew == table:
        raise RuntimeError("The table erasure is not as the revision before this one left it.")
    connection.exec_driver_sql(f"CREATE TABLE erasure_anew ({anew.partition('(')[2]}")
    connection.exec_driver_sql("INSERT INTO erasure_anew SELECT * FROM erasure")
    connection.exec_driver_sql("DROP TABLE erasure")
    connection.exec_driver_sql("ALTER TABLE erasure_anew RENAME TO erasure")
    for row in rows:
        if row.type != "table":
            connection.exec_driver_sql(row.sql)
