"""images: orientation and position in the patient

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # unknown for images that came before: their files are not kept
    with op.batch_alter_table("image") as batch_op:
        batch_op.add_column(sa.Column("orientation", sa.JSON(none_as_null=True), nullable=True))
        batch_op.add_column(sa.Column("position", sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("image") as batch_op:
        batch_op.drop_column("position")
        batch_op.drop_column("orientation")
