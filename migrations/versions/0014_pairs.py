"""pairs: a trial may show two pictures, and a reading may name one of them instead of a rating

Revision ID: 0014
Revises: 0013
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

REBUILT = ("trial", "reading")
"""Tables that SQLite writes anew for this, which their triggers do not survive."""


def upgrade() -> None:
    with op.batch_alter_table("trial") as batch_op:
        batch_op.add_column(sa.Column("right_id", sa.Uuid(), nullable=True))
        batch_op.create_foreign_key(
            op.f("fk_trial_right_id_stimulus"), "stimulus", ["right_id"], ["id"]
        )
        batch_op.create_index(op.f("ix_trial_right_id"), ["right_id"])
    with op.batch_alter_table("reading") as batch_op:
        batch_op.alter_column("rating", existing_type=sa.Integer(), nullable=True)
        batch_op.add_column(sa.Column("choice", sa.String(length=5), nullable=True))
        batch_op.create_check_constraint(op.f("ck_reading_choice"), "choice IN ('left','right')")
    _keep_again()


def downgrade() -> None:
    # a reading without a rating has no place in the older schema
    held = op.get_bind().scalar(sa.text("SELECT COUNT(*) FROM reading WHERE rating IS NULL"))
    if held:
        raise RuntimeError(
            f"{held} readings are of pairs, which the older version cannot hold. Restore the "
            "backup that was made before this version instead."
        )
    with op.batch_alter_table("reading") as batch_op:
        batch_op.drop_constraint(op.f("ck_reading_choice"), type_="check")
        batch_op.drop_column("choice")
        batch_op.alter_column("rating", existing_type=sa.Integer(), nullable=False)
    with op.batch_alter_table("trial") as batch_op:
        batch_op.drop_index(op.f("ix_trial_right_id"))
        batch_op.drop_constraint(op.f("fk_trial_right_id_stimulus"), type_="foreignkey")
        batch_op.drop_column("right_id")
    _keep_again()


def _keep_again() -> None:
    """The triggers of 0009 on the tables that were rebuilt; PostgreSQL kept them."""
    if op.get_bind().dialect.name == "postgresql":
        return
    for table in REBUILT:
        for act in ("update", "delete"):
            op.execute(
                sa.text(
                    f"CREATE TRIGGER keep_{table}_{act} BEFORE {act.upper()} ON {table} "
                    f"BEGIN SELECT RAISE(ABORT, 'A row of {table} is never {act}d.'); END"
                )
            )
