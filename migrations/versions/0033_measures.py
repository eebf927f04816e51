"""measures that are kept with a lesion

Revision ID: 0033
Revises: 0032
"""

import sqlalchemy as sa
from alembic import op

from app.db import Moment

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "measure",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("lesion_id", sa.Uuid(), nullable=False),
        sa.Column("image_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("points", sa.JSON(), nullable=False),
        sa.Column("px", sa.Double(), nullable=True),
        sa.Column("mm", sa.Double(), nullable=True),
        sa.Column("n", sa.Integer(), nullable=True),
        sa.Column("mean", sa.Double(), nullable=True),
        sa.Column("sd", sa.Double(), nullable=True),
        sa.Column("low", sa.Integer(), nullable=True),
        sa.Column("high", sa.Integer(), nullable=True),
        sa.Column("mm2", sa.Double(), nullable=True),
        sa.Column("by_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", Moment(timezone=True), nullable=False),
        sa.Column("withdrawn_at", Moment(timezone=True), nullable=True),
        sa.Column("withdrawn_by_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint(
            "kind IN ('length','rectangle','disc','outline')", name=op.f("ck_measure_kind")
        ),
        sa.CheckConstraint(
            "(kind = 'length') = (px IS NOT NULL) AND (kind = 'length') = (n IS NULL)",
            name=op.f("ck_measure_length_or_values"),
        ),
        sa.ForeignKeyConstraint(["by_id"], ["user.id"], name=op.f("fk_measure_by_id_user")),
        sa.ForeignKeyConstraint(
            ["image_id"], ["image.id"], name=op.f("fk_measure_image_id_image"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["lesion_id"],
            ["lesion.id"],
            name=op.f("fk_measure_lesion_id_lesion"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["withdrawn_by_id"], ["user.id"], name=op.f("fk_measure_withdrawn_by_id_user")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_measure")),
    )
    op.create_index(op.f("ix_measure_lesion_id"), "measure", ["lesion_id"])
    op.create_index(op.f("ix_measure_image_id"), "measure", ["image_id"])


def downgrade() -> None:
    kept = op.get_bind().scalar(sa.text("SELECT count(*) FROM measure"))
    if kept:
        raise RuntimeError(
            f"{kept} measures were kept with lesions, which the older version cannot hold. Restore "
            "the backup that was made before this version instead."
        )
    op.drop_table("measure")
