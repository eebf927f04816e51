"""grades: a reading may hold grades of realism, one for each question of the study

Revision ID: 0017
Revises: 0016
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("reading", sa.Column("grades", sa.JSON(), nullable=True))


def downgrade() -> None:
    held = op.get_bind().scalar(sa.text("SELECT COUNT(*) FROM reading WHERE grades IS NOT NULL"))
    if held:
        raise RuntimeError(
            f"{held} readings are grades of realism, which the older version cannot hold. Restore "
            "the backup that was made before this version instead."
        )
    op.drop_column("reading", "grades")
