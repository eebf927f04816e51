"""returned objects: what goes back to the PACS that a case came from

Revision ID: 0021
Revises: 0020
"""

import sqlalchemy as sa
from alembic import op

from app.db import Moment

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "returned_object",
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("pacs", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=2), nullable=False),
        sa.Column("said_by", sa.String(length=12), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("rows", sa.JSON(), nullable=False),
        sa.Column("sop_uid", sa.String(length=64), nullable=False),
        sa.Column("ordered_by", sa.String(length=140), nullable=False),
        sa.Column("created_at", Moment(timezone=True), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("due_at", Moment(timezone=True), nullable=False),
        sa.Column("ended_at", Moment(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.CheckConstraint("kind IN ('sr','pr','sc')", name=op.f("ck_returned_object_kind")),
        sa.CheckConstraint(
            "said_by IN ('network','radiologist')", name=op.f("ck_returned_object_said_by")
        ),
        sa.CheckConstraint(
            "state IN ('waiting','sent','given up')", name=op.f("ck_returned_object_state")
        ),
        sa.ForeignKeyConstraint(
            ["case_id"],
            ["case.id"],
            name=op.f("fk_returned_object_case_id_case"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_returned_object")),
        sa.UniqueConstraint("pacs", "sop_uid", name=op.f("uq_returned_object_pacs_sop_uid")),
    )
    op.create_index(
        op.f("ix_returned_object_case_id"), "returned_object", ["case_id"], unique=False
    )
    op.create_index(
        op.f("ix_returned_object_created_at"), "returned_object", ["created_at"], unique=False
    )
    op.create_index(op.f("ix_returned_object_state"), "returned_object", ["state"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_returned_object_state"), table_name="returned_object")
    op.drop_index(op.f("ix_returned_object_created_at"), table_name="returned_object")
    op.drop_index(op.f("ix_returned_object_case_id"), table_name="returned_object")
    op.drop_table("returned_object")
