"""sign-ins: last use; refused sign-ins counted; the fingerprint of the installation key

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op

import app.db

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "fingerprint",
        sa.Column("of", sa.String(length=40), nullable=False),
        sa.Column("value", sa.String(length=64), nullable=False),
        sa.Column("created_at", app.db.Moment(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("of", name=op.f("pk_fingerprint")),
    )
    op.create_table(
        "sign_in_tally",
        sa.Column("account", sa.String(length=40), nullable=False),
        sa.Column("place", sa.String(length=40), nullable=False),
        sa.Column("since", app.db.Moment(timezone=True), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("told", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("account", "place", name=op.f("pk_sign_in_tally")),
    )
    op.create_index(op.f("ix_sign_in_tally_since"), "sign_in_tally", ["since"])
    with op.batch_alter_table("sign_in") as batch_op:
        batch_op.add_column(sa.Column("seen_at", app.db.Moment(timezone=True), nullable=True))
    # whoever is signed in at the upgrade stays so
    table = sa.table("sign_in", sa.column("seen_at", app.db.Moment()))
    op.execute(sa.update(table).values(seen_at=app.db.now()))
    with op.batch_alter_table("sign_in") as batch_op:
        batch_op.alter_column("seen_at", existing_type=app.db.Moment(timezone=True), nullable=False)


def downgrade() -> None:
    with op.batch_alter_table("sign_in") as batch_op:
        batch_op.drop_column("seen_at")
    op.drop_index(op.f("ix_sign_in_tally_since"), table_name="sign_in_tally")
    op.drop_table("sign_in_tally")
    op.drop_table("fingerprint")
