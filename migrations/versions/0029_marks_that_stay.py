"""a lesion keeps its number when its box is moved, and a circle its shape

Revision ID: 0029
Revises: 0028
"""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

_ALONE = {"resolve_fks": False}
"""The tables that it refers to stay as they are and need not be looked at."""


def _triggers() -> list[str]:
    """Those of the table as SQLite keeps them: it loses them when it is made anew."""
    if op.get_bind().dialect.name != "sqlite":
        return []
    kept = sa.text("SELECT sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'lesion'")
    return list(op.get_bind().scalars(kept))


def upgrade() -> None:
    triggers = _triggers()
    with op.batch_alter_table("lesion", reflect_kwargs=_ALONE) as batch_op:
        batch_op.drop_constraint(op.f("uq_lesion_case_id_number"), type_="unique")
        batch_op.add_column(
            sa.Column("shape", sa.String(length=10), nullable=False, server_default="box")
        )
    for trigger in triggers:
        op.get_bind().exec_driver_sql(trigger)
    op.create_index(
        "uq_lesion_standing_number",
        "lesion",
        ["case_id", "number"],
        unique=True,
        sqlite_where=sa.text("withdrawn_at IS NULL"),
        postgresql_where=sa.text("withdrawn_at IS NULL"),
    )


def downgrade() -> None:
    op.drop_index("uq_lesion_standing_number", table_name="lesion")
    _number_apart()
    triggers = _triggers()
    with op.batch_alter_table("lesion", reflect_kwargs=_ALONE) as batch_op:
        batch_op.drop_column("shape")
        batch_op.create_unique_constraint(op.f("uq_lesion_case_id_number"), ["case_id", "number"])
    for trigger in triggers:
        op.get_bind().exec_driver_sql(trigger)


def _number_apart() -> None:
    """Boxes that shared a number get numbers of their own; the newest keeps it."""
    lesion = sa.table(
        "lesion",
        sa.column("id"),
        sa.column("case_id"),
        sa.column("number"),
        sa.column("created_at"),
        sa.column("withdrawn_at"),
    )
    connection = op.get_bind()
    rows = connection.execute(
        sa.select(lesion).order_by(lesion.c.withdrawn_at.is_not(None), lesion.c.created_at.desc())
    ).all()
    highest: dict[object, int] = {}
    for row in rows:
        highest[row.case_id] = max(highest.get(row.case_id, 0), row.number)
    taken: set[tuple[object, int]] = set()
    for row in rows:
        if (row.case_id, row.number) in taken:
            highest[row.case_id] += 1
            connection.execute(
                lesion.update().where(lesion.c.id == row.id).values(number=highest[row.case_id])
            )
        taken.add((row.case_id, row.number))
