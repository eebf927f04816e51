"""looks: what a person was shown; deliveries: when a picture was sent; typed seeds, waiting times

Revision ID: 0012
Revises: 0011
"""

import sqlalchemy as sa
from alembic import op

from app.db import Moment

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

KEPT = ("look", "delivery")
"""Tables whose rows are neither changed nor deleted."""


def upgrade() -> None:
    op.create_table(
        "look",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("of", sa.String(length=20), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("at", Moment(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name=op.f("fk_look_user_id_user")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_look")),
        sa.UniqueConstraint(
            "user_id",
            "of",
            "subject_id",
            "seed",
            "count",
            name=op.f("uq_look_user_id_of_subject_id_seed_count"),
        ),
    )
    op.create_index(op.f("ix_look_at"), "look", ["at"])
    op.create_table(
        "delivery",
        sa.Column("trial_id", sa.Uuid(), nullable=False),
        sa.Column("at", Moment(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["trial_id"], ["trial.id"], name=op.f("fk_delivery_trial_id_trial")
        ),
        sa.PrimaryKeyConstraint("trial_id", name=op.f("pk_delivery")),
    )
    op.add_column("reader_study", sa.Column("typed_seed", sa.BigInteger(), nullable=True))
    op.add_column("reading", sa.Column("waited_ms", sa.BigInteger(), nullable=True))
    for table in KEPT:
        _refuse(table, "update")
        _refuse(table, "delete")
        if _is_postgresql():
            _refuse(table, "truncate")


def downgrade() -> None:
    for table in KEPT:
        for act in ("update", "delete", *(["truncate"] if _is_postgresql() else [])):
            _let_go(table, act)
    op.drop_column("reading", "waited_ms")
    op.drop_column("reader_study", "typed_seed")
    op.drop_table("delivery")
    op.drop_index(op.f("ix_look_at"), table_name="look")
    op.drop_table("look")


def _is_postgresql() -> bool:
    return op.get_bind().dialect.name == "postgresql"


def _refuse(table: str, act: str) -> None:
    """Let the database itself refuse an act on a table, as for the rows of migration 0009."""
    words = f"A row of {table} is never {act}d."
    if not _is_postgresql():
        op.execute(
            sa.text(
                f"CREATE TRIGGER keep_{table}_{act} BEFORE {act.upper()} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{words}'); END"
            )
        )
        return
    op.execute(
        sa.text(
            f"CREATE FUNCTION keep_{table}_{act}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            f"RAISE EXCEPTION '{words}' USING ERRCODE = 'restrict_violation'; END $$"
        )
    )
    each = "STATEMENT" if act == "truncate" else "ROW"
    op.execute(
        sa.text(
            f"CREATE TRIGGER keep_{table}_{act} BEFORE {act.upper()} ON {table} "
            f"FOR EACH {each} EXECUTE FUNCTION keep_{table}_{act}()"
        )
    )


def _let_go(table: str, act: str) -> None:
    if _is_postgresql():
        op.execute(sa.text(f"DROP TRIGGER keep_{table}_{act} ON {table}"))
        op.execute(sa.text(f"DROP FUNCTION keep_{table}_{act}()"))
    else:
        op.execute(sa.text(f"DROP TRIGGER keep_{table}_{act}"))
