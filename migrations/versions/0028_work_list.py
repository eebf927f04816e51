"""the work list counts nothing: slices, lesions and the state of reviews stand in their case

Revision ID: 0028
Revises: 0027

Triggers keep them, whoever writes. On SQLite a table that is made anew (``batch_alter_table``)
loses its triggers: a later migration that does so to ``image`` or ``lesion`` makes them again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

_KEPT = ("slice_count", "lesion_count", "review_state")
_WALKED = {
    "uploaded": (),
    "alphabet": (sa.text("lower(pseudonym)"),),
    "contrast_phase": ("contrast_phase",),
    **{name: (name,) for name in _KEPT},
}
_ACTS = ("insert", "update", "delete")

_STATE = """
    CASE WHEN NOT EXISTS (
        SELECT 1 FROM lesion WHERE lesion.case_id = "case".id AND withdrawn_at IS NULL
    ) THEN 'no_lesion' WHEN EXISTS (
        SELECT 1 FROM lesion
        WHERE lesion.case_id = "case".id AND withdrawn_at IS NULL AND reviewed IS {false}
    ) THEN 'awaiting' ELSE 'reviewed' END"""


def upgrade() -> None:
    op.add_column(
        "case", sa.Column("slice_count", sa.Integer(), server_default="0", nullable=False)
    )
    op.add_column(
        "case", sa.Column("lesion_count", sa.Integer(), server_default="0", nullable=False)
    )
    op.add_column(
        "case",
        sa.Column("review_state", sa.String(20), server_default="no_lesion", nullable=False),
    )
    op.execute(
        sa.text(
            f"""UPDATE "case" SET review_state = {_state()}, lesion_count = (
                SELECT count(*) FROM lesion
                WHERE lesion.case_id = "case".id AND withdrawn_at IS NULL
            ), slice_count = (
                SELECT count(*) FROM image JOIN series ON series.id = image.series_id
                WHERE series.case_id = "case".id
            )"""  # noqa: S608
        )
    )
    op.drop_index("ix_case_created_at", table_name="case")
    for name, columns in _WALKED.items():
        op.create_index(f"ix_case_{name}", "case", [*columns, "created_at", "id"])
    op.drop_index("ix_review_by_id", table_name="review")
    op.create_index("ix_review_own", "review", ["by_id", "created_at"])
    for table in ("image", "lesion"):
        for act in _ACTS if table == "lesion" else ("insert", "delete"):
            (_trigger_of_sqlite if _is_sqlite() else _trigger_of_postgresql)(table, act)


def _is_sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"


def _state() -> str:
    return _STATE.format(false="0" if _is_sqlite() else "false")


def _row(act: str) -> str:
    return "old" if act == "delete" else "new"


def _lesions(act: str) -> str:
    """How the number of lesions that stand changes with a row, and the state after it."""
    stands = "CASE WHEN {0}.withdrawn_at IS NULL THEN 1 ELSE 0 END"
    more = f" + {stands.format('new')}" if act != "delete" else ""
    less = f" - {stands.format('old')}" if act != "insert" else ""
    return (
        f'UPDATE "case" SET lesion_count = lesion_count{more}{less}, review_state = {_state()} '  # noqa: S608
        f"WHERE id = {_row(act)}.case_id;"
    )


def _trigger_of_sqlite(table: str, act: str) -> None:
    if table == "lesion":
        does, of = _lesions(act), " OF withdrawn_at, reviewed" if act == "update" else ""
    else:
        sign, of = "+" if act == "insert" else "-", ""
        does = (
            f'UPDATE "case" SET slice_count = slice_count {sign} 1 '  # noqa: S608
            f"WHERE id = (SELECT case_id FROM series WHERE id = {_row(act)}.series_id);"
        )
    op.execute(
        sa.text(f"CREATE TRIGGER tally_{table}_{act} AFTER {act}{of} ON {table} BEGIN {does} END")
    )


def _trigger_of_postgresql(table: str, act: str) -> None:
    """Of images once for all that one statement writes: an upload writes hundreds."""
    if table == "lesion":
        does, when = _lesions(act), "FOR EACH ROW"
    else:
        sign = "+" if act == "insert" else "-"
        when = f"REFERENCING {_row(act)} TABLE AS written FOR EACH STATEMENT"
        does = (
            f'UPDATE "case" SET slice_count = slice_count {sign} found.number FROM ('  # noqa: S608
            "SELECT series.case_id, count(*) AS number FROM written "
            "JOIN series ON series.id = written.series_id GROUP BY series.case_id"
            ') AS found WHERE "case".id = found.case_id;'
        )
    of = " OF withdrawn_at, reviewed" if (table, act) == ("lesion", "update") else ""
    name = f"tally_{table}_{act}"
    op.execute(
        sa.text(
            f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ "
            f"BEGIN {does} RETURN NULL; END $$"
        )
    )
    op.execute(
        sa.text(
            f"CREATE TRIGGER {name} AFTER {act}{of} ON {table} {when} EXECUTE FUNCTION {name}()"
        )
    )


def downgrade() -> None:
    for table in ("image", "lesion"):
        for act in _ACTS if table == "lesion" else ("insert", "delete"):
            if _is_sqlite():
                op.execute(sa.text(f"DROP TRIGGER tally_{table}_{act}"))
            else:
                op.execute(sa.text(f"DROP TRIGGER tally_{table}_{act} ON {table}"))
                op.execute(sa.text(f"DROP FUNCTION tally_{table}_{act}()"))
    for name in _WALKED:
        op.drop_index(f"ix_case_{name}", table_name="case")
    op.create_index("ix_case_created_at", "case", ["created_at"])
    op.drop_index("ix_review_own", table_name="review")
    op.create_index("ix_review_by_id", "review", ["by_id"])
    for name in _KEPT:
        op.drop_column("case", name)
