"""the analysis of a reader study, kept once computed

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

import app.db

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "analysis",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("unblinding_id", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=40), nullable=False),
        sa.Column("elapsed_s", sa.Double(), nullable=False),
        sa.Column("made_at", app.db.Moment(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["digest"], ["blob.digest"], name=op.f("fk_analysis_digest_blob")),
        sa.ForeignKeyConstraint(
            ["unblinding_id"], ["unblinding.id"], name=op.f("fk_analysis_unblinding_id_unblinding")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_analysis")),
        sa.UniqueConstraint("unblinding_id", name=op.f("uq_analysis_unblinding_id")),
    )


def downgrade() -> None:
    op.drop_table("analysis")
