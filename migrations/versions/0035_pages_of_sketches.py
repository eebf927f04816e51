"""a step of a sketch says from which page it was changed last, by which of its tries

Revision ID: 0035
Revises: 0034
"""

import sqlalchemy as sa
from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "sketch_change",
        sa.Column("page", sa.String(length=36), nullable=False, server_default=""),
    )
    op.add_column(
        "sketch_change", sa.Column("turn", sa.Integer(), nullable=False, server_default="0")
    )


def downgrade() -> None:
    op.drop_column("sketch_change", "turn")
    op.drop_column("sketch_change", "page")
