"""unaware studies: trials of two parts, what readers noticed, and that they were told

Revision ID: 0015
Revises: 0014
"""

import sqlalchemy as sa
from alembic import op

from app.db import Moment

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

KEPT = ("remark", "debriefing")
"""Tables whose rows are not changed; they are deleted with a draft only."""
OPENED_FOR = (
    "SELECT 1 FROM protocol JOIN enrolment ON enrolment.study_id = protocol.study_id "
    "WHERE enrolment.id = OLD.enrolment_id"
)


def upgrade() -> None:
    op.add_column(
        "trial",
        sa.Column("part", sa.String(length=10), nullable=False, server_default="whole"),
    )
    op.add_column(
        "reader_study",
        sa.Column("unaware", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    for table, column in (
        ("remark", sa.Column("text", sa.Text(), nullable=False)),
        ("debriefing", sa.Column("text_digest", sa.String(length=64), nullable=False)),
    ):
        op.create_table(
            table,
            sa.Column("enrolment_id", sa.Uuid(), nullable=False),
            column,
            sa.Column("at", Moment(timezone=True), nullable=False),
            sa.ForeignKeyConstraint(
                ["enrolment_id"],
                ["enrolment.id"],
                name=op.f(f"fk_{table}_enrolment_id_enrolment"),
            ),
            sa.PrimaryKeyConstraint("enrolment_id", name=op.f(f"pk_{table}")),
        )
        _keep(table)


def downgrade() -> None:
    unaware = op.get_bind().scalar(sa.text("SELECT COUNT(*) FROM reader_study WHERE unaware"))
    if unaware:
        raise RuntimeError(
            f"{unaware} studies are unaware ones, which the older version would tell their readers "
            "of. Restore the backup that was made before this version instead."
        )
    for table in KEPT:
        _let_go(table)
        op.drop_table(table)
    op.drop_column("reader_study", "unaware")
    op.drop_column("trial", "part")


def _is_postgresql() -> bool:
    return op.get_bind().dialect.name == "postgresql"


def _keep(table: str) -> None:
    """Refuse changes, and deletions while the study was opened."""
    truncate = (("truncate", ""),) if _is_postgresql() else ()
    for act, condition in (("update", ""), ("delete", OPENED_FOR), *truncate):
        words = f"A row of {table} is never {act}d."
        if not _is_postgresql():
            when = f"WHEN EXISTS ({condition})" if condition else ""
            op.execute(
                sa.text(
                    f"CREATE TRIGGER keep_{table}_{act} BEFORE {act.upper()} ON {table} {when} "
                    f"BEGIN SELECT RAISE(ABORT, '{words}'); END"
                )
            )
            continue
        guard = f"IF NOT EXISTS ({condition}) THEN RETURN OLD; END IF; " if condition else ""
        op.execute(
            sa.text(
                f"CREATE FUNCTION keep_{table}_{act}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                f"{guard}RAISE EXCEPTION '{words}' USING ERRCODE = 'restrict_violation'; END $$"
            )
        )
        each = "STATEMENT" if act == "truncate" else "ROW"
        op.execute(
            sa.text(
                f"CREATE TRIGGER keep_{table}_{act} BEFORE {act.upper()} ON {table} "
                f"FOR EACH {each} EXECUTE FUNCTION keep_{table}_{act}()"
            )
        )


def _let_go(table: str) -> None:
    for act in ("update", "delete", *(("truncate",) if _is_postgresql() else ())):
        if _is_postgresql():
            op.execute(sa.text(f"DROP TRIGGER keep_{table}_{act} ON {table}"))
            op.execute(sa.text(f"DROP FUNCTION keep_{table}_{act}()"))
        else:
            op.execute(sa.text(f"DROP TRIGGER keep_{table}_{act}"))
