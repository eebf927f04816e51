"""authenticator apps with recovery codes, passwords to be changed, where a sign-in was begun

Revision ID: 0030
Revises: 0029
"""

import sqlalchemy as sa
from alembic import op

from app.db import Moment

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "second_factor",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("made_at", Moment(timezone=True), nullable=False),
        sa.Column("confirmed_at", Moment(timezone=True), nullable=True),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["user.id"], name=op.f("fk_second_factor_user_id_user")
        ),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_second_factor")),
    )
    op.create_table(
        "recovery_code",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("code_hash", sa.String(length=40), nullable=False),
        sa.Column("used_at", Moment(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["user_id"], ["user.id"], name=op.f("fk_recovery_code_user_id_user")
        ),
        sa.PrimaryKeyConstraint("user_id", "code_hash", name=op.f("pk_recovery_code")),
    )
    op.add_column(
        "user",
        sa.Column("password_temporary", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    for name, length in (("address", 100), ("browser", 60)):
        op.add_column(
            "sign_in",
            sa.Column(name, sa.String(length=length), nullable=False, server_default=""),
        )


def downgrade() -> None:
    op.drop_column("sign_in", "browser")
    op.drop_column("sign_in", "address")
    op.drop_column("user", "password_temporary")
    op.drop_table("recovery_code")
    op.drop_table("second_factor")
