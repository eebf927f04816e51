"""sketches are shared, and say who changed each step last; an index for what was said last

Revision ID: 0034
Revises: 0033
"""

import sqlalchemy as sa
from alembic import op

from app.db import Moment

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sketch_sharing",
        sa.Column("sketch_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["sketch_id"],
            ["sketch.id"],
            name=op.f("fk_sketch_sharing_sketch_id_sketch"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["user.id"], name=op.f("fk_sketch_sharing_user_id_user")
        ),
        sa.PrimaryKeyConstraint("sketch_id", "user_id", name=op.f("pk_sketch_sharing")),
    )
    op.create_index(op.f("ix_sketch_sharing_user_id"), "sketch_sharing", ["user_id"], unique=False)
    op.create_table(
        "sketch_change",
        sa.Column("sketch_id", sa.Uuid(), nullable=False),
        sa.Column("step", sa.String(length=20), nullable=False),
        sa.Column("by_id", sa.Uuid(), nullable=False),
        sa.Column("at", Moment(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["sketch_id"],
            ["sketch.id"],
            name=op.f("fk_sketch_change_sketch_id_sketch"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["by_id"], ["user.id"], name=op.f("fk_sketch_change_by_id_user")),
        sa.PrimaryKeyConstraint("sketch_id", "step", name=op.f("pk_sketch_change")),
    )
    op.create_index("ix_review_given", "review", ["created_at"], unique=False)
    op.create_index("ix_prediction_given", "prediction", ["created_at"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_prediction_given", table_name="prediction")
    op.drop_index("ix_review_given", table_name="review")
    op.drop_table("sketch_change")
    op.drop_table("sketch_sharing")
