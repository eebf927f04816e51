"""sketches: what was typed of a reader study before it is composed

Revision ID: 0010
Revises: 0009
"""

import sqlalchemy as sa
from alembic import op

from app.db import Moment

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sketch",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("made_by_id", sa.Uuid(), nullable=False),
        sa.Column("typed", sa.JSON(), nullable=False),
        sa.Column("by_preset", sa.JSON(), nullable=False),
        sa.Column("step", sa.String(length=20), nullable=False),
        sa.Column("refusal", sa.JSON(), nullable=True),
        sa.Column("study_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", Moment(timezone=True), nullable=False),
        sa.Column("changed_at", Moment(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["made_by_id"], ["user.id"], name=op.f("fk_sketch_made_by_id_user")
        ),
        sa.ForeignKeyConstraint(
            ["study_id"],
            ["reader_study.id"],
            name=op.f("fk_sketch_study_id_reader_study"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sketch")),
    )
    with op.batch_alter_table("sketch") as batch_op:
        batch_op.create_index(batch_op.f("ix_sketch_made_by_id"), ["made_by_id"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("sketch") as batch_op:
        batch_op.drop_index(batch_op.f("ix_sketch_made_by_id"))
    op.drop_table("sketch")
