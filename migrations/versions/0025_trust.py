"""what a checkpoint's answers are made with, and what was said beside a prediction's class

Revision ID: 0025
Revises: 0024
"""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("checkpoint") as batch_op:
        batch_op.add_column(sa.Column("trust_digest", sa.String(length=64), nullable=True))
        batch_op.create_foreign_key(
            op.f("fk_checkpoint_trust_digest_blob"), "blob", ["trust_digest"], ["digest"]
        )
    op.add_column("prediction", sa.Column("said", sa.JSON(), nullable=True))
    _find_again()


def _find_again() -> None:
    """What a way down left: the bytes, and their digest in what the checkpoint says of itself."""
    connection = op.get_bind()
    checkpoint = sa.table(
        "checkpoint", sa.column("id"), sa.column("meta", sa.JSON), sa.column("trust_digest")
    )
    blob = sa.table("blob", sa.column("digest"))
    for row in connection.execute(sa.select(checkpoint.c.id, checkpoint.c.meta)).all():
        digest = (row.meta.get("digests") or {}).get("trust.safetensors")
        if digest and connection.scalar(sa.select(blob.c.digest).where(blob.c.digest == digest)):
            connection.execute(
                checkpoint.update().where(checkpoint.c.id == row.id).values(trust_digest=digest)
            )


def downgrade() -> None:
    with op.batch_alter_table("prediction") as batch_op:
        batch_op.drop_column("said")
    with op.batch_alter_table("checkpoint") as batch_op:
        batch_op.drop_constraint(op.f("fk_checkpoint_trust_digest_blob"), type_="foreignkey")
        batch_op.drop_column("trust_digest")
