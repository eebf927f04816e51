"""readings: the lesion class is a question that a study may leave out

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("reading") as batch_op:
        batch_op.alter_column("lesion_class", existing_type=sa.String(length=40), nullable=True)
    # what a downgrade wrote
    op.execute(sa.text("UPDATE reading SET lesion_class = NULL WHERE lesion_class = ''"))


def downgrade() -> None:
    # a class that was not asked for: no scheme has an empty key
    op.execute(sa.text("UPDATE reading SET lesion_class = '' WHERE lesion_class IS NULL"))
    with op.batch_alter_table("reading") as batch_op:
        batch_op.alter_column("lesion_class", existing_type=sa.String(length=40), nullable=False)
