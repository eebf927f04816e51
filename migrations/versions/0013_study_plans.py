"""study plans: what pilots say of readers, and powers that were simulated

Revision ID: 0013
Revises: 0012
"""

import sqlalchemy as sa
from alembic import op

from app.db import Moment

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "simulated_power",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("assumptions", sa.JSON(), nullable=False),
        sa.Column("shown", sa.Integer(), nullable=False),
        sa.Column("studies", sa.Integer(), nullable=False),
        sa.Column("version", sa.String(length=40), nullable=False),
        sa.Column("made_at", Moment(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_simulated_power")),
    )
    op.create_table(
        "pilot",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("source", sa.String(length=200), nullable=False),
        sa.Column("ratings_digest", sa.String(length=64), nullable=False),
        sa.Column("study_id", sa.Uuid(), nullable=True),
        sa.Column("estimate", sa.JSON(), nullable=False),
        sa.Column("made_by_id", sa.Uuid(), nullable=False),
        sa.Column("made_at", Moment(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["made_by_id"], ["user.id"], name=op.f("fk_pilot_made_by_id_user")),
        sa.ForeignKeyConstraint(
            ["study_id"],
            ["reader_study.id"],
            name=op.f("fk_pilot_study_id_reader_study"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pilot")),
    )
    with op.batch_alter_table("pilot") as batch_op:
        batch_op.create_index(batch_op.f("ix_pilot_made_at"), ["made_at"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_pilot_ratings_digest"), ["ratings_digest"], unique=False
        )


def downgrade() -> None:
    op.drop_table("pilot")
    op.drop_table("simulated_power")
