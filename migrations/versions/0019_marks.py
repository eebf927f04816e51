"""marks: DICOM objects that mark lesions, and lesions that no person marked

Revision ID: 0019
Revises: 0018
"""

import sqlalchemy as sa
from alembic import op

from app.db import Moment

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("lesion") as batch_op:
        batch_op.alter_column("marked_by_id", existing_type=sa.Uuid(), nullable=True)
    op.create_table(
        "marking",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("uid", sa.String(length=64), nullable=False),
        sa.Column("study_uid", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=30), nullable=False),
        sa.Column("patient_hmac", sa.String(length=64), nullable=True),
        sa.Column("source_hmac", sa.String(length=64), nullable=False),
        sa.Column("content_hmac", sa.String(length=64), nullable=False),
        sa.Column("transfer_syntax_uid", sa.String(length=64), nullable=False),
        sa.Column("waiting", sa.JSON(), nullable=False),
        sa.Column("sent_by", sa.String(length=100), nullable=False),
        sa.Column("created_at", Moment(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_marking")),
        sa.UniqueConstraint("uid", name=op.f("uq_marking_uid")),
    )
    op.create_index(op.f("ix_marking_study_uid"), "marking", ["study_uid"])
    op.create_table(
        "mark",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("marking_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("part", sa.Integer(), nullable=False),
        sa.Column("label", sa.String(length=64), nullable=False),
        sa.Column("tracking_id", sa.String(length=64), nullable=False),
        sa.Column("tracking_uid", sa.String(length=64), nullable=False),
        sa.Column("form", sa.String(length=10), nullable=False),
        sa.Column("diameter_mm", sa.Double(), nullable=True),
        sa.Column("lesion_id", sa.Uuid(), nullable=True),
        sa.Column("known", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=False),
        sa.Column("created_at", Moment(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["lesion_id"], ["lesion.id"], name=op.f("fk_mark_lesion_id_lesion"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["marking_id"],
            ["marking.id"],
            name=op.f("fk_mark_marking_id_marking"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mark")),
        sa.UniqueConstraint(
            "marking_id", "number", "part", name=op.f("uq_mark_marking_id_number_part")
        ),
    )
    op.create_index(op.f("ix_mark_lesion_id"), "mark", ["lesion_id"])


def downgrade() -> None:
    held = op.get_bind().scalar(sa.text("SELECT COUNT(*) FROM lesion WHERE marked_by_id IS NULL"))
    if held:
        raise RuntimeError(
            f"{held} lesions were marked by DICOM objects and by no person, which the older "
            "version cannot hold. Restore the backup that was made before this version instead."
        )
    op.drop_index(op.f("ix_mark_lesion_id"), table_name="mark")
    op.drop_table("mark")
    op.drop_index(op.f("ix_marking_study_uid"), table_name="marking")
    op.drop_table("marking")
    with op.batch_alter_table("lesion") as batch_op:
        batch_op.alter_column("marked_by_id", existing_type=sa.Uuid(), nullable=False)
