"""own UIDs of cases, series and images; objects known by their bytes; cases that a program sent

Revision ID: 0016
Revises: 0015
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # rows that are here get their UIDs when the server starts: they are made with its key
    with op.batch_alter_table("case") as batch_op:
        batch_op.add_column(sa.Column("uid", sa.String(length=64), nullable=True))
        batch_op.alter_column("uploaded_by_id", existing_type=sa.Uuid(), nullable=True)
        batch_op.create_unique_constraint(op.f("uq_case_uid"), ["uid"])
    with op.batch_alter_table("series") as batch_op:
        batch_op.add_column(sa.Column("uid", sa.String(length=64), nullable=True))
        batch_op.create_index(op.f("ix_series_uid"), ["uid"])
    with op.batch_alter_table("image") as batch_op:
        batch_op.add_column(sa.Column("uid", sa.String(length=64), nullable=True))
        batch_op.add_column(sa.Column("transfer_syntax_uid", sa.String(length=64), nullable=True))
        batch_op.add_column(sa.Column("source_hmac", sa.String(length=64), nullable=True))
        batch_op.create_index(op.f("ix_image_uid"), ["uid"])
        batch_op.create_index(op.f("ix_image_sop_uid"), ["sop_uid"])


def downgrade() -> None:
    # a case that nobody uploaded has no place in the older schema
    held = op.get_bind().scalar(sa.text('SELECT COUNT(*) FROM "case" WHERE uploaded_by_id IS NULL'))
    if held:
        raise RuntimeError(
            f"{held} cases were sent by programs that act for nobody, which the older version "
            "cannot hold. Delete them first, or restore the backup that was made before."
        )
    with op.batch_alter_table("image") as batch_op:
        batch_op.drop_index(op.f("ix_image_sop_uid"))
        batch_op.drop_index(op.f("ix_image_uid"))
        batch_op.drop_column("source_hmac")
        batch_op.drop_column("transfer_syntax_uid")
        batch_op.drop_column("uid")
    with op.batch_alter_table("series") as batch_op:
        batch_op.drop_index(op.f("ix_series_uid"))
        batch_op.drop_column("uid")
    with op.batch_alter_table("case") as batch_op:
        batch_op.drop_constraint(op.f("uq_case_uid"), type_="unique")
        batch_op.alter_column("uploaded_by_id", existing_type=sa.Uuid(), nullable=False)
        batch_op.drop_column("uid")
