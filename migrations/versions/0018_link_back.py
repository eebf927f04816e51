"""the way back to the PACS, encrypted; senders' UIDs as keyed digests

Revision ID: 0018
Revises: 0017
"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # UIDs that are here in clear become digests when the server starts: they need its key
    op.add_column("case", sa.Column("link", sa.LargeBinary(), nullable=True))
    op.add_column("image", sa.Column("link", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    # the older version would take the digests for UIDs: what comes again would be stored twice
    held = op.get_bind().scalar(sa.text("SELECT COUNT(*) FROM image WHERE sop_uid LIKE 'hmac:%'"))
    if held:
        raise RuntimeError(
            f"{held} images are known by digests of their UIDs, which the older version cannot "
            "compare. Restore the backup that was made before."
        )
    with op.batch_alter_table("image") as batch_op:
        batch_op.drop_column("link")
    with op.batch_alter_table("case") as batch_op:
        batch_op.drop_column("link")
