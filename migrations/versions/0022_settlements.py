"""series that are complete are settled: when something came last, and what became of each state

Revision ID: 0022
Revises: 0021
"""

import sqlalchemy as sa
from alembic import op

from app.db import Moment

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("series", sa.Column("stirred_at", Moment(timezone=True), nullable=True))
    op.create_index(op.f("ix_series_stirred_at"), "series", ["stirred_at"])
    op.create_table(
        "settlement",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("series_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.String(length=64), nullable=False),
        sa.Column("images", sa.Integer(), nullable=False),
        sa.Column("lesions", sa.Integer(), nullable=False),
        sa.Column("scored", sa.Integer(), nullable=False),
        sa.Column("checkpoint_id", sa.Uuid(), nullable=True),
        sa.Column("notes", sa.JSON(), nullable=False),
        sa.Column("at", Moment(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["checkpoint_id"],
            ["checkpoint.id"],
            name=op.f("fk_settlement_checkpoint_id_checkpoint"),
        ),
        sa.ForeignKeyConstraint(
            ["series_id"],
            ["series.id"],
            name=op.f("fk_settlement_series_id_series"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_settlement")),
        sa.UniqueConstraint("series_id", "state", name=op.f("uq_settlement_series_id_state")),
    )


def downgrade() -> None:
    op.drop_table("settlement")
    op.drop_index(op.f("ix_series_stirred_at"), table_name="series")
    with op.batch_alter_table("series") as batch_op:
        batch_op.drop_column("stirred_at")
